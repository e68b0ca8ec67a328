# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# The case "firmware" of run.sh, which sources this: disks that boot by
# themselves, and then under QEMU's own BIOS.
# shellcheck disable=SC2154 # what run.sh sets

# Words on a terminal's screen: what moves its cursor may stand in between.
shown() # WORDS FILE
{
	LC_ALL=C sed "s/$(printf '\033')\[[0-9;?]*[A-Za-z]//g" "$2" |
		grep -aq "$1"
}

# What is said of a disk that booted by itself and was left in order.
booted() # NAME CALLS
{
	log=$dir/$1.console
	expect "$1: ends with 0" equal "$(cat "$dir/$1.status")" 0
	expect "$1: from the BIOS' first line" grep -aq 'SeaBIOS (version' \
		"$log"
	expect "$1: with a menu" shown 'small guest' "$log"
	expect "$1: root on a disk of VMBus" said "$log" \
		'driver storvsc_host'
	expect "$1: the root" said "$log" 'root /dev/sda[12]'
	expect "$1: the maker" said "$log" 'made by Microsoft Corporation'
	expect "$1: the boot loader wrote" said "$log" 'loader starts x'
	calls=$(sed -n 's/.*firmware: \([0-9]*\) disk calls.*/\1/p' \
		"$dir/$1.err")
	sed -n 's/^hv: \(firmware: .*\)/\1/p' "$dir/$1.err"
	expect "$1: a call for each exit, not for each sector" \
		[ "${calls:-99999}" -lt "$2" ]
	sound "$1"
	readable "$1"
	expect "$1: its file system is clean" e2fsck -fn \
		"$dir/$1.raw?offset=$(($3 * 512))"
}

# The same disk under QEMU's own BIOS and IDE disk, nothing of it written: to
# the first process.
in_qemu() # NAME
{
	timeout -k 5 120 qemu-system-x86_64 -accel tcg -m 256 -nodefaults \
		-display none -no-reboot -snapshot -serial "file:$dir/$1.qemu" \
		-drive "file=$dir/$1.vhd,format=vpc,if=ide" </dev/null &
	pid=$!
	expect "$1: boots in QEMU" await $pid "$dir/$1.qemu" 'initramfs of'
	kill $pid 2>/dev/null
	wait $pid
}

# A disk boots by itself, twice in one run where it is started again: BIOS, boot
# loader, kernel, root. Then it is any other computer's.
case_firmware()
{
	version=$(basename "$(readlink "$work/vmlinuz")")
	for table in mbr gpt; do
		expect "$table: a disk" "$here/bootdisk.sh" -t $table \
			"${version#vmlinuz-}" "$dir/$table.vhd"
	done
	"$here/firmware.sh" "$build" "$dir/mbr.vhd" "$dir/mbr" 'reboot
poweroff'
	booted mbr 3000 2048
	expect 'mbr: a second start in the same run' said "$dir/mbr.console" \
		'boots xx'
	expect 'mbr: before which the boot loader could write' said \
		"$dir/mbr.console" 'loader starts xx'
	in_qemu mbr
	"$here/firmware.sh" "$build" "$dir/gpt.vhd" "$dir/gpt" poweroff
	booted gpt 1500 4096
}
