#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Runs of hv on a machine with KVM (see l1.sh): how each ends, what the guest
# sees of its machine, what the console does. Part of run.sh's case "ends".
#
# usage: ends.sh BUILD DIR          DIR is writable
set -u
build=$1
dir=$2
work=$build/guest
bad=0

check() # WHAT COMMAND...
{
	what=$1
	shift
	if "$@"; then
		echo "ok: $what"
	else
		echo "FAILED: $what ($*)"
		bad=1
	fi
}

equal()
{
	[ "$1" = "$2" ] || { echo "got '$1', wanted '$2'"; return 1; }
}

value() # NAME NAME
{
	tr -d '\r' <"$dir/$1.console" | sed -n "s/^guest: $2 *//p"
}

# A guest that restarts in spite of itself would do so to the end of its time.
reboots=--no-reboot

# start NAME WORDS OPTION...: console and errors into files of that name.
start()
{
	name=$1
	words=$2
	shift 2
	timeout -k 5 240 "$build/bin/hv" run --accel kvm $reboots \
		--kernel "$work/vmlinuz" --initrd "$work/initrd" \
		--memory 256M --append \
		"console=ttyS0 quiet mitigations=off panic=-1 $words" "$@" \
		>"$dir/$name.console" 2>"$dir/$name.err"
}

# One run of the guest's test of that name and how it must end.
ends() # TEST STATUS PATTERN
{
	start "$1" "test=$1" </dev/null
	check "$1: status" equal $? "$2"
	check "$1: says so" grep -qE "$3" "$dir/$1.err"
}

began=$(date +%s)
ends reset 12 '^hv: the guest asked for a reset$'
took=$(($(date +%s) - began)) # to boot, among other things
ends crash 10 '^hv: the guest crashed: P0=.* P1=.* P2=.* P3=.* P4='

start triple 'test=reset reboot=t' </dev/null
check 'triple fault: status' equal $? 11

# Restarts in the same run, two of them: the disks stay, and what it wrote.
reboots=
start reboot 'test=reboot' --cpus 2 --disk "$dir/second.vhd" </dev/null
check 'reboot: status' equal $? 0
reboots=--no-reboot
check 'reboot: three boots' equal "$(value reboot boot)" '1
2
3'
check 'reboot: processors of each' equal "$(value reboot cpus)" '2
2
2'
check 'reboot: told' equal "$(grep -c 'the guest restarts' "$dir/reboot.err")" 2
check 'reboot: its disk' equal "$(value reboot no)" ''

# Looked at while it sleeps, and again in the end.
(
	n=0
	until grep -qs asleep "$dir/timeout.console" || [ $n -gt 1200 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	kill -QUIT "$(pgrep -P "$(pgrep -P $$ -x timeout)" -x hv)"
) &
start timeout 'test=sleep' --timeout $((10 + 2 * took)) --stats </dev/null
check 'timeout: status' equal $? 13
check 'timeout: told twice where it was' equal \
	"$(grep -c 'processor 0: ' "$dir/timeout.err")" 2

# Where an interrupt can come between STI and HLT, halts must have been ended.
between=$("$dir/shadow" 500)
roused=$(sed -n 's/^hv: had processors out of a halt \([0-9]*\) .*/\1/p' \
	"$dir/timeout.err")
check "a forgotten interrupt shadow ($between of 500) is known ($roused)" \
	[ "$between" -eq 0 -o "${roused:-0}" -gt 0 ]

# The size of the machine, and a disk with it.
start one 'test=facts' </dev/null
check 'one processor: status' equal $? 0
check 'one processor' equal "$(value one cpus)" 1
check 'Hyper-V' equal "$(value one hypervisor)" 'Microsoft Hyper-V'
check 'VMBus' equal "$(value one version)" 5.3
check 'the reference TSC page is its clock' equal "$(value one clock)" \
	hyperv_clocksource_tsc_page
now=$(date -u +%s)
guest_time=$(value one time)
check "its time is ours ($guest_time, $now)" \
	[ $((now - guest_time)) -ge -2 -a $((now - guest_time)) -le 60 ]
check 'quiet' equal "$(wc -l <"$dir/one.err")" 1

# --memory wins over the one that start gives.
start many 'test=facts disk=yes second=yes' --cpus 4 --memory 5G \
	--disk "$dir/disk.vhd" --disk "$dir/second.vhd,controller=3" </dev/null
check 'four processors and 5 GiB: status' equal $? 0
check 'four processors' equal "$(value many cpus)" 4
check 'all of them on' equal "$(value many online)" 0-3
memory=$(value many memory)
check "5 GiB ($memory)" [ "${memory% kB}" -gt 4900000 ]
check 'with a disk' equal "$(value many no)" ''
opened()
{
	sed -n "s/.*(scsi, index \\([0-9]*\\)) open: .* to VP \\([0-9]*\\)\$/\\$1/p" \
		"$dir/many.err" | sort -u | tr '\n' ' '
}
check 'a channel a processor' equal "$(opened 1)" '0 1 2 3 '
check 'each interrupts one of its own' equal "$(opened 2)" '0 1 2 3 '
check 'two controllers' equal \
	"$(grep -c '(scsi, index 0) open' "$dir/many.err")" 2

# Input that is a pipe, given before the guest listens, is all heard.
printf 'first\nsecond line\nend\n' | start echo 'test=echo'
check 'echo: status' equal $? 0
check 'echo: both lines' equal "$(value echo heard)" 'first
second line'

# Killed while it writes: what was flushed is there, and it can be used again.
"$build/bin/hv" run --accel kvm --kernel "$work/vmlinuz" --timeout 120 \
	--initrd "$work/initrd" --disk "$dir/killed.vhd" --append \
	'console=ttyS0 quiet mitigations=off test=endless seed=7' \
	</dev/null >"$dir/endless.console" 2>"$dir/endless.err" &
pid=$!
n=0
until [ "$(value endless durable | wc -l)" -ge 4 ] || [ $n -gt 900 ]; do
	sleep 0.1
	n=$((n + 1))
done
kill -KILL $pid
wait $pid
# The last line may be cut off: "12" of "127" is another promise.
[ -z "$(tail -c 1 "$dir/endless.console")" ] ||
	sed -i '$d' "$dir/endless.console"
value endless durable | sed -n '/^[0-9][0-9]*$/p' | tail -n 1 >"$dir/durable"
check 'killed: flushes were seen' [ -s "$dir/durable" ]
cp "$dir/killed.vhd" "$dir/reopened.vhd"
start again 'test=facts disk=yes' --disk "$dir/reopened.vhd" </dev/null
check 'reopened: status' equal $? 0
check 'reopened: the disk is there' equal "$(value again no)" ''
exit $bad
