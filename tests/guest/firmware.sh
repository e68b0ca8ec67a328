#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Boot a disk by itself under hv, as somebody would at its console: log in at
# each prompt and type one command.
#
# usage: firmware.sh BUILD DISK OUT COMMAND [OPTION...]
#
#   DISK     as bootdisk.sh makes it
#   OUT      OUT.console, OUT.err and OUT.status are left
#   COMMAND  what is typed, one line a login ("reboot", "poweroff")
#   OPTION   more for hv run
set -u
build=${1:?usage: firmware.sh BUILD DISK OUT COMMANDS [OPTION...]}
disk=$2
out=$3
commands=$4
shift 4
limit=240
rm -f "$out.in" "$out.console" "$out.err" "$out.status"
mkfifo "$out.in" || exit 1

prompts() # NUMBER: so often it has asked who is there
{
	[ "$(grep -ao 'login: ' "$out.console" 2>/dev/null | wc -l)" -ge "$1" ]
}

# A shell has asked for a command since then. What comes before, login drops.
shell()
{
	tr -d '\0' <"$out.console" | awk '
		/login: / { up = 0; sub(/.*login: /, "") }
		/# / { up = 1 }
		END { exit !up }'
}

# Wait for one of these, as long as it runs.
prompt() # COMMAND...
{
	n=0
	until "$@"; do
		kill -0 "$pid" 2>/dev/null || return 1
		[ $n -lt $((limit * 5)) ] || return 1
		sleep 0.2
		n=$((n + 1))
	done
}

"$build/bin/hv" run --disk "$disk" --memory 256M --timeout $limit --stats \
	--console "$out.console" "$@" <"$out.in" 2>"$out.err" &
pid=$!
exec 3>"$out.in"
number=0
echo "$commands" | while read -r command; do
	number=$((number + 1))
	prompt prompts $number || exit 1
	printf 'root\n' >&3
	prompt shell || exit 1
	printf '%s\n' "$command" >&3
done
wait $pid
echo $? >"$out.status"
exec 3>&-
rm -f "$out.in"
