#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Two guests at once on a machine with KVM (see l1.sh): one means harm, the
# other one works on its disk. Part of run.sh's case "hostile", which judges
# the files left here.
#
# usage: hostile.sh BUILD DIR SEED OPERATIONS          DIR is writable
set -u
build=$1
dir=$2
seed=$3
operations=$4
work=$build/guest
hv=$build/bin/hv

fifo=${TMPDIR:-/tmp}/hostile.$$
mkfifo "$fifo" || exit 1
trap 'rm -f "$fifo"' EXIT
# Nicer than the other: what is at stake is harm, not the scheduler's fairness.
nice -n 5 "$hv" run --accel kvm --no-reboot --kernel "$work/hostile" --memory 64M --cpus 2 \
	--append "seed=$seed seconds=300" --timeout 330 \
	--disk "$dir/ro.vhd,ro" --disk "$dir/rw.vhd" \
	<"$fifo" >"$dir/hostile.console" 2>"$dir/hostile.err" &
hostile=$!
exec 3<>"$fifo" # both ways: no signal should hv have ended
began=$(date +%s)
"$hv" run --accel kvm --no-reboot --kernel "$work/vmlinuz" --initrd "$work/initrd" \
	--memory 256M --timeout 300 --append \
	"console=ttyS0 quiet mitigations=off panic=-1 test=work \
seed=$seed operations=$operations" \
	--disk "$dir/good.vhd" --console "$dir/good.console" \
	</dev/null 2>"$dir/good.err"
echo $? >"$dir/good.status"
kill -0 $hostile 2>/dev/null && echo yes >"$dir/together"
while kill -0 $hostile 2>/dev/null; do
	echo e >&3 # it may stop now
	sleep 0.3
done
wait $hostile
echo $? >"$dir/hostile.status"
echo $(($(date +%s) - began)) >"$dir/seconds"
