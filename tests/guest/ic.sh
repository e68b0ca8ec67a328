#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# A guest with hv_utils and its daemons, and `hv ctl` beside it, on a machine
# with KVM (see l1.sh). Part of run.sh's case "ic", which judges the files left
# here: one for each command, its output, and "NAME STATUS" in DIR/status.
#
# usage: ic.sh BUILD DIR                               DIR is writable
set -u
build=$1
dir=$2
work=$build/guest
hv=$build/bin/hv
export XDG_RUNTIME_DIR="${TMPDIR:-/tmp}"

"$hv" run --accel kvm --name ic --kernel "$work/vmlinuz" \
	--initrd "$dir/initrd" --memory 256M --timeout 400 --cpus 2 --append \
	"console=ttyS0 quiet mitigations=off panic=-1 test=ic" \
	--disk "$dir/disk.vhd" --console "$dir/console" \
	</dev/null 2>"$dir/err" &
guest=$!

# Wait for the N-th line of the guest's.
await() # PATTERN [N]
{
	until [ "$(grep -cs "guest: $1" "$dir/console")" -ge "${2-1}" ]; do
		kill -0 $guest 2>/dev/null || return 1
		sleep 0.2
	done
}

ctl() # NAME WORD...
{
	name=$1
	shift
	"$hv" ctl ic "$@" >"$dir/$name.out" 2>"$dir/$name.err" </dev/null
	echo "$name $?" >>"$dir/status"
}

# Until the heartbeat of a guest that is just up is there.
alive()
{
	n=0
	until "$hv" ctl ic info 2>/dev/null | grep -q 'heartbeat *ok' ||
	      [ $n -gt 100 ]; do
		sleep 0.3
		n=$((n + 1))
	done
}

await 'test ic'
ctl early kvp list
await 'daemons run'
alive
ctl info info
ctl json info --json
ctl list kvp list
ctl set kvp set greeting 'Grüße vom Wirt'
await 'the host says'
ctl own kvp list --pool external
ctl get kvp get from-guest
ctl os kvp get OSName
ctl delete kvp delete greeting
await 'the host says no more'
ctl none kvp get greeting
ctl twice kvp delete greeting

# A clock that is wrong is right again after a pause.
await 'clock set back'
ctl pause pause
ctl paused info
before=$(wc -c <"$dir/console")
sleep 30
[ "$(wc -c <"$dir/console")" -eq "$before" ] && echo still >"$dir/still"
ctl denied kvp list
ctl resume resume
await 'clock is'
date -u +%s >"$dir/now"

# The same moment with and without the file systems held still.
ctl early-thaw thaw
cp "$dir/disk.vhd" "$dir/live.vhd"
ctl freeze freeze --limit 100
ctl frozen info
ctl again freeze
cp "$dir/disk.vhd" "$dir/copy.vhd"
ctl thaw thaw
# It goes with whoever holds it, and after its limit.
mkfifo "$XDG_RUNTIME_DIR/hold"
"$hv" ctl ic freeze --hold <"$XDG_RUNTIME_DIR/hold" >"$dir/hold.out" \
	2>"$dir/hold.err" &
holder=$!
exec 3>"$XDG_RUNTIME_DIR/hold"
until grep -qs frozen "$dir/hold.out"; do
	kill -0 $holder 2>/dev/null || break
	sleep 0.2
done
kill -KILL $holder
n=0
while "$hv" ctl ic info | grep -q frozen && [ $n -lt 20 ]; do
	sleep 0.3
	n=$((n + 1))
done
ctl let-go info
exec 3>&-
ctl limit freeze --limit 2
sleep 5
ctl over thaw

printf 'typed\n\001x' >"$XDG_RUNTIME_DIR/typed"
"$hv" ctl ic console <"$XDG_RUNTIME_DIR/typed" >"$dir/attached" 2>&1
echo "console $?" >>"$dir/status"
await 'heard typed'

ctl reboot reboot
await 'daemons run' 2
alive
ctl second info
ctl shutdown shutdown --timeout 100
wait $guest
echo "guest $?" >>"$dir/status"

# Ended at once, while it writes.
"$hv" run --accel kvm --name ic --kernel "$work/vmlinuz" \
	--initrd "$work/initrd" --memory 256M --timeout 200 --append \
	"console=ttyS0 quiet mitigations=off panic=-1 test=endless seed=7" \
	--disk "$dir/killed.vhd" --console "$dir/endless" \
	</dev/null 2>"$dir/err2" &
guest=$!
until [ "$(grep -cs 'guest: durable' "$dir/endless")" -ge 2 ]; do
	kill -0 $guest 2>/dev/null || break
	sleep 0.2
done
ctl none-there kvp list
ctl kill kill
wait $guest
echo "killed $?" >>"$dir/status"
ls "$XDG_RUNTIME_DIR/hv" >"$dir/left"
"$hv" ctl ic info >"$dir/gone.out" 2>&1
echo "gone $?" >>"$dir/status"
cat "$dir/err"
