# SPDX-License-Identifier: BSD-2-Clause
# Boot the demo's Debian from an image and judge what it did: shared by the
# scripts here, which set build, out and limit first.

# By the disk's own boot loader; where `direct` is set, by the kernel's file.
run_guest() # DISK HV-ARGUMENT...
{
	disk=$1
	shift
	[ -z "${direct-}" ] || set -- "$@" \
		--kernel "$out/vmlinuz" --initrd "$out/initrd.img" --append \
		"root=/dev/sda2 ro console=ttyS0 quiet demo.auto $masked"
	"$build/bin/hv" run --disk "$disk" --memory 512M "$@"
}
masked=systemd.mask=systemd-logind.service

# Boot a copy of auto.vhd, whose own script (root/usr/local/sbin/demo-auto) runs
# then; what is seen goes to $log, the exit status to $status.
run_auto() # DISK
{
	: >"$log"
	{
		run_guest "$1" --timeout $limit </dev/null 2>&1
		echo $? >"$out/status"
	} | tee "$log"
	status=$(cat "$out/status")
}

# One line of the summary: what, whether (0 is good), a value or a reason.
row()
{
	if [ "$2" -eq 0 ]; then
		printf '  ok    %-28s %s\n' "$1" "$3"
	else
		printf '  FAIL  %-28s %s\n' "$1" "$3"
		failed=$((failed + 1))
	fi
}

# 0 for two equal words; what the guest never said equals nothing.
equal()
{
	[ -n "$1" ] && [ "$1" = "$2" ]
	echo $?
}

# What the guest said about itself in a line "demo: NAME VALUE".
said()
{
	tr -d '\r' <"$log" | sed -n "s/^demo: $1 *//p" | tail -n 1 |
		sed 's/ *$//'
}

# That a machine without virtualization of its own stood still for a while, its
# host being busy, is no fault; a kernel tells of it with a trace, too.
count_faults()
{
	tr -d '\0\r' | LC_ALL=C awk '
		/soft lockup|detected stall|rcu: INFO:|hrtimer: interrupt took/ {
			stall = NR
			next
		}
		/Call Trace/ && stall && NR - stall < 60 { next }
		/invalid opcode|Oops|BUG:|WARNING: CPU|Call Trace/ { n++ }
		END { print n + 0 }'
}

# What the guest said of its hardware, its disk and itself.
judge_guest()
{
	row 'guest powered itself off' "$status" "status $status of hv"
	row 'VMBus version' "$(equal "$(said vmbus)" 5.3)" "$(said vmbus)"
	row 'disk driver' "$(equal "$(said driver)" hv_storvsc)" \
		"$(said driver)"
	row 'root' "$(equal "$(said root)" /dev/sda2)" "$(said root)"
	row 'vendor' "$(equal "$(said vendor)" Msft)" "$(said vendor)"
	row 'model' "$(equal "$(said model)" 'Virtual Disk')" "$(said model)"
	row '64 MiB written and read back' \
		"$(equal "$(said written)" "$(said read)")" \
		"md5 $(said read)"
	faults=$(count_faults <"$log")
	row 'faults of its kernel' "$(equal "$faults" 0)" "$faults"
	row 'failed systemd units' "$(equal "$(said failed-units)" none)" \
		"$(said failed-units)"
}

# The image as a plain file made by an independent program, and what is in it.
judge_image()
{
	raw=$out/auto.raw
	part="$raw?offset=2097152"
	why=$(qemu-img convert -q -f vpc -O raw "$1" "$raw" 2>&1)
	row 'qemu-img reads the image' $? "${why:-$(stat -c %s "$raw") bytes}"
	why=$(e2fsck -fn "$part" 2>&1)
	row 'e2fsck -fn' $? "$(echo "$why" | tail -n 1 | sed 's/^[^:]*: //')"
	sum=$(debugfs -R 'cat /var/tmp/demo-64M' "$part" 2>/dev/null | md5sum)
	row 'those 64 MiB in the image' \
		"$(equal "${sum%% *}" "$(said written)")" "md5 ${sum%% *}"
	rm -f "$raw"
}

