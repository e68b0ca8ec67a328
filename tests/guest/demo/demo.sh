#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Boot Debian 12 from a dynamic VHD under hv; what "make demo" runs.
#
# Environment: BUILD (build folder), MAKE, AUTO. Without AUTO the guest comes
# up on this terminal to a login prompt and its disk keeps what it writes
# (BUILD/demo/disk.vhd). With AUTO=1 the guest runs root/usr/local/sbin/
# demo-auto on a fresh copy and powers off; then the image is read here by
# other programs, and the summary and the exit status say whether all is well.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.." || exit 1
build=${BUILD:-build}
out=$build/demo
limit=900

tools/deps.sh build run demo || exit 1
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$out" || exit 1
${MAKE:-make} --no-print-directory -j2 all >"$out/make.log" 2>&1 || {
	grep -E 'error: |undefined reference|\*\*\* ' "$out/make.log" | head -n 20 >&2
	echo "demo: the programs do not build (log: $out/make.log)" >&2
	exit 1
}
"$here/image.sh" "$build" || exit 1

run_guest() # DISK WORDS-FOR-THE-KERNEL HV-ARGUMENT...
{
	disk=$1
	words=$2
	shift 2
	"$build/bin/hv" run --disk "$disk" --memory 512M \
		--kernel "$out/vmlinuz" --initrd "$out/initrd.img" \
		--append "root=/dev/sda1 ro console=ttyS0 quiet $words" "$@"
}

interactive()
{
	disk=$out/disk.vhd
	if [ ! -s "$disk" ] ||
	   [ -n "$(find "$out/debian.vhd" -newer "$disk")" ]; then
		cp --sparse=always "$out/debian.vhd" "$disk" || return 1
	fi
	echo "demo: booting Debian 12 from $disk (user root, password root)"
	run_guest "$disk" systemd.show_status=1
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
	tr -d '\r' <"$out/auto.log" | sed -n "s/^demo: $1 *//p" | tail -n 1 |
		sed 's/ *$//'
}

# The image as a plain file made by an independent program, and what is in it.
judge_image()
{
	raw=$out/auto.raw
	part="$raw?offset=1048576"
	why=$(qemu-img convert -q -f vpc -O raw "$1" "$raw" 2>&1)
	row 'qemu-img reads the image' $? "${why:-$(stat -c %s "$raw") bytes}"
	why=$(e2fsck -fn "$part" 2>&1)
	row 'e2fsck -fn' $? "$(echo "$why" | tail -n 1 | sed 's/^[^:]*: //')"
	sum=$(debugfs -R 'cat /var/tmp/demo-64M' "$part" 2>/dev/null | md5sum)
	row 'those 64 MiB in the image' \
		"$(equal "${sum%% *}" "$(said written)")" "md5 ${sum%% *}"
	rm -f "$raw"
}

automatic()
{
	disk=$out/auto.vhd
	cp --sparse=always "$out/debian.vhd" "$disk" || return 1
	failed=0
	began=$(date +%s)
	: >"$out/auto.log"
	{
		run_guest "$disk" \
			'demo.auto systemd.mask=systemd-logind.service' \
			--timeout $limit </dev/null 2>&1
		echo $? >"$out/status"
	} | tee "$out/auto.log"
	status=$(cat "$out/status")
	echo
	echo "demo: summary ($(($(date +%s) - began)) s, log: $out/auto.log)"
	row 'guest powered itself off' "$status" "status $status of hv"
	row 'VMBus version' "$(equal "$(said vmbus)" 5.3)" "$(said vmbus)"
	row 'disk driver' "$(equal "$(said driver)" hv_storvsc)" \
		"$(said driver)"
	row 'root' "$(equal "$(said root)" /dev/sda1)" "$(said root)"
	row 'vendor' "$(equal "$(said vendor)" Msft)" "$(said vendor)"
	row 'model' "$(equal "$(said model)" 'Virtual Disk')" "$(said model)"
	row '64 MiB written and read back' \
		"$(equal "$(said written)" "$(said read)")" \
		"md5 $(said read)"
	faults=$(grep -acE 'invalid opcode|Oops|BUG:|WARNING: CPU|Call Trace' \
		"$out/auto.log")
	row 'faults of its kernel' "$(equal "$faults" 0)" "$faults"
	row 'failed systemd units' "$(equal "$(said failed-units)" none)" \
		"$(said failed-units)"
	judge_image "$disk"
	[ $failed -eq 0 ]
}

case ${AUTO-} in
'' | 0) interactive ;;
*) automatic ;;
esac
