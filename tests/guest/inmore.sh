# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# What the small test guest does with programs from a disc of tools.sh, in
# /dev/sr0; init.sh sources it where the initramfs has it.
# shellcheck disable=SC2154 # what init.sh sets

begin_tools()
{
	load
	while read -r module; do
		insmod "/mod/$module" || say "cannot load $module"
	done </mod/more
	wait_for /dev/sr0
	mkdir -p /tmp /tools
	mount -t iso9660 -o ro /dev/sr0 /tools || say 'no tools'
}

tool() # NAME ARGUMENT...
{
	(run_tool "$@")
}

run_tool()
{
	program=$1
	shift
	exec /tools/lib/ld-linux-x86-64.so.2 --library-path /tools/lib \
		"/tools/bin/$program" "$@"
}

# The name of the disk of that size, once it is there.
disk_of() # SECTORS
{
	n=0
	while [ $n -lt 600 ]; do
		for sys in /sys/block/sd*; do
			[ "$(cat "$sys/size" 2>/dev/null)" != "$1" ] ||
				{ echo "${sys##*/}"; return; }
		done
		usleep 100000
		n=$((n + 1))
	done
	{
		say "no disk of $1 sectors"
		stuck
	} >/dev/console
	return 1
}

# Who waits for what, and which commands are out.
stuck()
{
	echo w >/proc/sysrq-trigger
	dmesg | tail -n 120 | sed 's/^/guest: stuck /'
	for sys in /sys/block/sd*; do
		say "stuck ${sys##*/} inflight $(cat "$sys/inflight")" \
			"state $(cat "$sys/device/state")" \
			"busy $(cat "$sys/device/device_busy")"
	done
	for host in /sys/class/scsi_host/host*; do
		say "stuck ${host##*/} $(cat "$host/state")" \
			"busy $(cat "$host/host_busy")"
	done
}

until_gone() # NAME
{
	n=0
	while [ -e "/sys/block/$1" ] && [ $n -lt 600 ]; do
		usleep 100000
		n=$((n + 1))
	done
	[ ! -e "/sys/block/$1" ] || say "$1 stays"
}

# Mixed random I/O by a job on each processor, every block of it read back.
verify() # LABEL DISK OFFSET SIZE-OF-EACH SEED
{
	tool fio --name="$1" --filename="/dev/$2" --offset="$3" \
		--offset_increment="$4" --size="$4" --numjobs=4 \
		--cpus_allowed=0-3 --cpus_allowed_policy=split \
		--ioengine=libaio --iodepth=16 --direct=1 --rw=randrw \
		--rwmixwrite=75 --bsrange=4k-64k --verify=crc32c \
		--verify_fatal=1 --verify_backlog=32 --randseed="$5" \
		>"/tmp/$1.out" 2>&1 && return
	say "VERIFY FAILED: $1"
	sed "s/^/guest: $1| /" "/tmp/$1.out"
	return 1
}

# Again and again, on the next 16 MiB each time, while others work.
passes() # LABEL DISK PARTS
{
	pass=0
	until [ -e /tmp/stop ] && [ $pass -ge "$3" ]; do
		verify "$1" "$2" $((pass % $3 * 16))m 4m $((seed + pass)) ||
			break
		pass=$((pass + 1))
	done
	say "passes of $1 $pass"
}

# Linux sends one kind of reset whatever is asked for, and keeps the controller
# still for 10 s after each.
resets() # DISK...
{
	count=0
	set -- "$@" -d -b -H
	until [ -e /tmp/stop ] && [ $count -ge 3 ]; do
		usleep 2500000
		tool sg_reset "$3" "/dev/$1" || say "RESET FAILED: $3 $1"
		count=$((count + 1))
		set -- "$2" "$1" "$4" "$5" "$3"
	done
	say "resets $count"
}

# One disk comes, is verified, and is taken away under writes.
come_and_go() # ROUND
{
	say "ready for disk $1"
	new=$(disk_of 16384) || return
	now=$(head -c 4194304 "/dev/$new" | md5sum)
	[ "$1" -eq 0 ] || [ "$now" = "$last" ] ||
		say "VERIFY FAILED: what disk $1 held"
	verify comes "$new" 0 1m $((seed + $1))
	last=$(head -c 4194304 "/dev/$new" | md5sum)
	say "ready for more $1"
	while :; do
		dd if=/dev/urandom of="/dev/$new" bs=64k seek=64 count=64 \
			oflag=direct 2>/dev/null || break
	done &
	usleep 300000
	say "ready to lose disk $1"
	until_gone "$new"
}

test_torture()
{
	begin_tools
	seed=$(word seed)
	say "cpus $(grep -c ^processor /proc/cpuinfo)"
	full=$(disk_of 131072)
	grows=$(disk_of 98304)
	dmesg -n 1
	passes full "$full" 4 &
	passes grows "$grows" 3 &
	resets "$full" "$grows" &
	round=0
	while [ $round -lt "$(word rounds)" ]; do
		come_and_go $round
		round=$((round + 1))
	done
	size=$((48 + 8 * round))
	n=0
	until [ "$(cat "/sys/block/$grows/size")" -eq $((size * 2048)) ] ||
		[ $n -gt 300 ]; do
		usleep 100000
		n=$((n + 1))
	done
	say "grown to $(cat "/sys/block/$grows/size")"
	verify end "$grows" $((size - 8))m 2m "$seed"
	: >/tmp/stop
	wait
	sync
	sum "/dev/$full" | sed 's|/dev/sd.|full|'
	sum "/dev/$grows" | sed 's|/dev/sd.|grows|'
	say "errors $(dmesg | grep -cE "(I/O|critical .*) error, dev ($full|$grows)[ ,]")"
	for channel in /sys/bus/vmbus/devices/*/channels/*; do
		say "interrupts of a channel $(cat "$channel/interrupts")"
	done
	dmesg | tail -n 40 | sed 's/^/guest: dmesg /'
}

# A look at the counters of the bench, for the host to look at its own.
look() # begin|end JOB
{
	read -r up _ </proc/uptime
	read -r reads _ read_sectors _ writes _ write_sectors _ \
		<"/sys/block/$disk/stat"
	interrupts=$(awk '/^ *HYP:|virtio/ { n += $2 } END { print n + 0 }' \
		/proc/interrupts)
	say "mark $1 $2 $up $((reads + writes))" \
		"$((read_sectors + write_sectors)) $interrupts"
}

# Counters are looked at while it runs, so that its start is no part of it.
bench_job() # NAME RW BLOCK DEPTH
{
	read -r from _ _ _ writes _ <"/sys/block/$disk/stat"
	from=$((from + writes + 50))
	now=0
	run_tool fio --name="$1" --filename="/dev/$disk" --rw="$2" --bs="$3" \
		--iodepth="$4" --ioengine=libaio --direct=1 --norandommap \
		--time_based --runtime=30 --size=100% >/tmp/out 2>&1 &
	while [ $now -lt $from ] && [ -e /proc/$! ]; do
		usleep 300000
		read -r now _ _ _ writes _ <"/sys/block/$disk/stat"
		now=$((now + writes))
	done
	look begin "$1"
	sleep "$(word seconds)"
	look end "$1"
	kill $! || sed 's/^/guest: fio /' /tmp/out
	wait
}

# What tests/bench/guest.sh measures, on the disk of 128 MiB; the programs are
# on any other.
test_bench()
{
	load
	while read -r module; do
		insmod "/mod/$module" || say "cannot load $module"
	done </mod/more
	mkdir -p /tmp /tools
	usleep 1000000
	for sys in /sys/block/sd* /sys/block/vd*; do
		[ -e "$sys" ] || continue
		if [ "$(cat "$sys/size")" = 262144 ]; then
			disk=${sys##*/}
		else
			mount -t iso9660 -o ro "/dev/${sys##*/}" /tools
		fi
	done
	for job in $(word jobs | tr , ' '); do
		case $job in
		rand*) bench_job "$job" "${job%-*}" 4k "${job#*-}" ;;
		*) bench_job "$job" "${job%-*}" 1m 4 ;;
		esac
	done
	grep -v ' 0$' /proc/interrupts | sed 's/^/guest: interrupts /'
}
