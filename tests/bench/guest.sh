#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Benchmark: a guest's fio on a dynamic VHD through hv's SCSI controller,
# against QEMU's virtio-scsi and virtio-blk on the same data, raw and as VHD.
#
# usage: guest.sh BUILD          JSON lines on standard output
#
# Environment: ROUNDS (default 3), SECONDS_EACH (of a job; default 2), HV_OPTS
# and VMMS (some of: hv scsi-raw scsi-vpc blk-raw blk-vpc) and JOBS, for
# experiments; PROFILE=1 adds what KVM traced of the exits to the log.
#
# The same kernel, initramfs, memory and processors for all, on one machine with
# KVM (tests/guest/l1.sh; a nested one where the processor has none), in turns;
# medians. Images are below TMPDIR, in the nested machine on ext4 on a disk in
# memory, and all go through the page cache. QEMU has what is fastest for it: an
# I/O thread and io_uring. Exits are KVM's own counters around each job,
# interrupts the guest's of the device. In a nested machine a second is one of
# the processor time that the machine was given, all of its parts together: what
# else this one does is left out.
set -u

rounds=${ROUNDS:-3}
each=${SECONDS_EACH:-2}
vmms=${VMMS:-hv scsi-raw scsi-vpc blk-raw blk-vpc}
options=${HV_OPTS-}
memory_mib=384
jobs=${JOBS:-randread-1 randwrite-1 randread-32 randwrite-32 read-1m write-1m}
profile=${PROFILE:-0}
counters='exits io_exits mmio_exits hypercalls halt_exits irq_exits irq_injections irq_window_exits insn_emulation'
here=$(cd "$(dirname "$0")" && pwd)

die()
{
	echo "guest.sh: $*" >&2
	exit 1
}

# --- inside the machine with KVM
start_vmm() # NAME
{
	# shellcheck disable=SC2086 # words
	words="console=ttyS0 quiet mitigations=off panic=-1 test=bench \
seconds=$each jobs=$(echo $jobs | tr ' ' ,)"
	# shellcheck disable=SC2086 # options
	[ "$1" != hv ] || exec "$build/bin/hv" run --accel kvm --no-reboot \
		--memory ${memory_mib}M --kernel "$kernel" \
		--initrd "$dir/initrd" --append "$words" --timeout 200 \
		--disk "$TMPDIR/images/disk.vhd" --disk "$dir/tools.iso,raw,ro" \
		--console "$console" $options
	case $1 in
	*-raw) image=$TMPDIR/images/disk.raw format=raw ;;
	*-vpc) image=$TMPDIR/images/disk.vhd format=vpc ;;
	esac
	case $1 in
	scsi-*) controller='-device virtio-scsi-pci,iothread=t'
		device=scsi-hd ;;
	blk-*) controller=
		device=virtio-blk-pci,iothread=t ;;
	esac
	# shellcheck disable=SC2086 # words
	exec qemu-system-x86_64 -machine q35 -accel kvm -cpu host \
		-m $memory_mib -nodefaults -no-user-config -display none \
		-no-reboot -serial "file:$console" -kernel "$kernel" \
		-initrd "$dir/initrd" -append "$words" -object iothread,id=t \
		-blockdev "driver=file,filename=$image,node-name=f,aio=io_uring,locking=off" \
		-blockdev "driver=$format,file=f,node-name=d" \
		-blockdev "driver=file,filename=$dir/tools.iso,node-name=tf,read-only=on,locking=off" \
		-blockdev 'driver=raw,file=tf,node-name=t,read-only=on' \
		$controller -device $device,drive=d -device $device,drive=t
}

count()
{
	for counter in $counters; do
		cat "/sys/kernel/debug/kvm/$counter" 2>/dev/null || echo 0
	done | tr '\n' ' '
}

# What KVM traces of exits, as histograms.
traced='kvm_exit:exit_reason kvm_msr:ecx,write kvm_emulate_insn:rip kvm_apic:rw,reg kvm_hv_hypercall:code'
trace() # begin|end
{
	[ "$profile" = 1 ] || return
	for event in $traced; do
		at=/sys/kernel/tracing/events/kvm/${event%:*}
		if [ "$1" = begin ]; then
			echo "hist:keys=${event#*:}" >"$at/trigger"
		else
			echo "${event%:*}"
			grep hitcount "$at/hist" | tail -n 12
			echo "!hist:keys=${event#*:}" >"$at/trigger"
		fi
	done
}

# One guest: its lines, those of marks with the counters behind them.
measure() # NAME
{
	console=$TMPDIR/console
	rm -f "$console" && mkfifo "$console" || return 1
	start_vmm "$1" </dev/null >"$TMPDIR/vmm.err" 2>&1 &
	vmm=$!
	# From a pipe: a line is seen when it is written, and counted then.
	tee "$TMPDIR/console.log" <"$console" | while read -r line; do
		line=${line%?} # the carriage return
		case $line in
		'guest: mark '*) echo "$1 ${line#guest: } $(count)"
			line=${line#guest: mark }
			trace "${line%% *}" ;;
		'guest: '*) echo "$1 ${line#guest: }" ;;
		esac
	done
	wait $vmm
	status=$?
	[ $status -ne 0 ] || ! grep -q '^guest: done' "$console.log" || return 0
	echo "$1: status $status" >&2
	tail -n 20 "$TMPDIR/vmm.err" "$console.log" >&2
	return 1
}

if [ "${1-}" = --inside ]; then
	build=$2 dir=$3 kernel=$4 rounds=$5 each=$6 vmms=$7 options=$8
	jobs=$9 profile=${10}
	mkdir "$TMPDIR/images" || exit 1
	if [ "${L1-}" = 1 ]; then # a machine of our own
		mount -t debugfs debugfs /sys/kernel/debug
		mount -t tracefs tracefs /sys/kernel/tracing
		modprobe brd rd_nr=1 rd_size=$((400 << 10)) && modprobe ext4 &&
			mkfs.ext4 -q -O ^has_journal /dev/ram0 &&
			mount /dev/ram0 "$TMPDIR/images" || exit 1
	fi
	cp "$dir/disk.vhd" "$dir/disk.raw" "$TMPDIR/images/" || exit 1
	# What is run for the first time is slow, most of all in emulation.
	for vmm in $vmms; do
		# shellcheck disable=SC2030 # only here
		(jobs=randread-1 each=1 && measure "$vmm") >/dev/null || exit 1
	done
	n=0
	while [ $n -lt "$rounds" ]; do
		for vmm in $vmms; do
			measure "$vmm" || exit 1
		done
		n=$((n + 1))
	done
	exit 0
fi

# --- outside
build=$(realpath -e -- "${1:?usage: guest.sh BUILD}") || exit 1
[ -x "$build/bin/hv" ] || die "$build/bin/hv is not built"
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/guest/lib.sh
. "$here/../guest/lib.sh"
dir=$build/bench/guest
rm -rf "$dir"
mkdir -p "$dir/more" || exit 1
"$here/../guest/initrd.sh" "$dir" || exit 1
kernel=$(readlink -f "$dir/vmlinuz")
cp "$here/../guest/inmore.sh" "$dir/more/" || exit 1
more_initrd "$dir/initrd.more" "$dir" "$dir/more" isofs virtio_pci virtio_blk \
	virtio_scsi && mv "$dir/initrd.more" "$dir/initrd" || exit 1
"$here/../guest/tools.sh" "$dir/tools.iso" fio || exit 1
# Incompressible, every block there: the same bytes in both. The VHD is one of
# ours, its blocks on 4 KiB, for QEMU too.
head -c 128M /dev/urandom >"$dir/disk.raw"
"$build/bin/vhd-convert" --to dynamic "$dir/disk.raw" "$dir/disk.vhd" &&
	qemu-img compare -q -f raw -F vpc "$dir/disk.raw" "$dir/disk.vhd" ||
	exit 1

# Processor time that the nested machine has used, in ticks; 0: there is none.
spent()
{
	[ -s "$L1_PID" ] && awk '{ sub(/.*\) /, ""); print $12 + $13 }' \
		"/proc/$(cat "$L1_PID")/stat" || echo 0
}

export L1_PID="$dir/pid"
# shellcheck disable=SC2031 # not changed here
{
	"$here/../guest/l1.sh" -m 3072 -t $((rounds * 600)) -w "$dir" \
		"$here/guest.sh" --inside "$build" "$dir" "$kernel" "$rounds" \
		"$each" "$vmms" "$options" "$jobs" "$profile"
	echo $? >"$dir/status"
} | while read -r line; do
	case $line in
	*' mark '*) echo "$line $(spent)" ;;
	*) echo "$line" ;;
	esac
done >"$dir/log"
[ "$(cat "$dir/status")" -eq 0 ] || { cat "$dir/log" >&2; exit 1; }

# Per guest and job: operations a second, MiB/s, interrupts and exits each.
awk -v hz="$(getconf CLK_TCK)" '
	$2 == "mark" && $3 == "begin" {
		for (i = 5; i <= NF; i++)
			before[i] = $i
	}
	$2 == "mark" && $3 == "end" {
		for (i = 5; i <= NF; i++)
			$i -= before[i]
		if (!$5 || !$6)
			next
		seconds = $NF ? $NF / hz : $5
		line = $1 " " $4 " " $6 / seconds " " $7 / 2048 / seconds
		for (i = 8; i < NF; i++)
			line = line " " $i / $6
		print line " " $6 / $5
	}' "$dir/log" >"$dir/runs"

# NAME JOB COLUMN: the median of the rounds.
median()
{
	awk -v name="$1" -v job="$2" -v column="$3" \
		'$1 == name && $2 == job { print $column }' "$dir/runs" |
		sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] + 0 }'
}

printf '%-13s %-9s %9s %9s %9s %9s' job guest ops/s MiB/s irqs/op exits/op
for counter in ${counters#exits }; do
	printf ' %s' "$counter"
done
echo
# shellcheck disable=SC2031 # they were not changed
for job in $jobs; do
	best=0
	for vmm in $vmms; do
		iops=$(median "$vmm" "$job" 3)
		printf '%-13s %-9s %9.0f %9.1f %9.2f %9.2f' "$job" "$vmm" \
			"$iops" "$(median "$vmm" "$job" 4)" \
			"$(median "$vmm" "$job" 5)" "$(median "$vmm" "$job" 6)"
		column=7
		for counter in ${counters#exits }; do
			printf " %${#counter}.2f" \
				"$(median "$vmm" "$job" $column)"
			column=$((column + 1))
		done
		echo
		if [ "$vmm" = hv ]; then
			ours=$iops
		else
			best=$(echo "$best $iops" |
				awk '{ print ($2 > $1 ? $2 : $1) }')
		fi
	done
	awk -v job="$job" -v ours="${ours:-0}" -v peer="$best" 'BEGIN {
		printf "{\"name\":\"guest-%s-vs-best-of-qemu\",", job
		printf "\"ours\":%d,\"peer\":%d,\"limit\":null,", ours, peer
		printf "\"unit\":\"ops/s\",\"ratio\":%.3f,", \
			peer ? ours / peer : 0
		printf "\"goal\":1,\"command\":\"tests/bench/run.sh guest\"}\n"
	}'
done
