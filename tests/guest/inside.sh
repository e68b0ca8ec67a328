# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# Sourced by scripts that run a guest with `hv ctl` beside it on a machine with
# KVM (see l1.sh). Their first two arguments are the build folder and a writable
# one, where the guest's console, what hv says ("err") and its exit status are
# left.
build=$1
dir=$2
hv=$build/bin/hv
work=$build/guest
export XDG_RUNTIME_DIR="${TMPDIR:-/tmp}"

# start NAME WORDS OPTION...: a guest in the background, $guest.
start()
{
	name=$1 words=$2
	shift 2
	"$hv" run --accel kvm --no-reboot --name "$name" --kernel "$work/vmlinuz" \
		--append "console=ttyS0 quiet mitigations=off panic=-1 $words" \
		--console "$dir/console" "$@" </dev/null 2>"$dir/err" &
	guest=$!
}

# Wait for a line of the guest's; false if it ends before.
await() # PATTERN
{
	until grep -qs "guest: $1" "$dir/console"; do
		kill -0 $guest 2>/dev/null || return 1
		sleep 0.1
	done
}

# One command of `hv ctl`, told in DIR/ctl with its answer; failures are
# counted in $failed.
failed=0
ctl() # WORD...
{
	echo "hv ctl $name $*" >>"$dir/ctl"
	"$hv" ctl "$name" "$@" >>"$dir/ctl" 2>&1 || failed=$((failed + 1))
}

# Room for a disk with on-error=pause on the tmpfs HOST of $room MiB: more of
# it, and on it goes, each time hv says that it is paused, until the guest ends.
# The number of times is left in DIR/pauses.
room()
{
	host=$1 more=$2 pauses=0
	while kill -0 $guest 2>/dev/null; do
		if [ "$(grep -c 'is paused' "$dir/err")" -gt $pauses ]; then
			pauses=$((pauses + 1))
			room=$((room + more))
			mount -o "remount,size=${room}m" "$host" || return 1
			"$hv" ctl "$name" disk resume 0 || return 1
			echo $pauses >"$dir/pauses"
		fi
		sleep "${pause_s:-0.1}"
	done
}

# The guest's end.
ended()
{
	wait $guest
	echo $? >"$dir/status"
	cat "$dir/err"
}
