# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# The case "loaders" of run.sh, which sources this: boot loaders besides those
# of the case "firmware".
# shellcheck disable=SC2154 # what run.sh sets

# No word of the serial port: the BIOS has its screen there.
loader_config() # PREFIX TEST
{
	cat <<-END
	prompt 1
	timeout 5
	default small
	label small
		kernel $1vmlinuz
		append initrd=$1initrd console=ttyS0 quiet panic=-1 mitigations=off test=$2
	END
}

# ext4 as extlinux 6 reads it, in an empty first partition.
loader_disk()
{
	truncate -s 64M "$dir/ext4.raw"
	printf 'label: dos\nstart=2048, type=83, bootable\n' |
		sfdisk -q "$dir/ext4.raw" || return 1
	mke2fs -q -t ext4 -O ^64bit,^metadata_csum \
		-E offset=$((2048 * 512)) "$dir/ext4.raw" 63M \
		2>"$dir/mke2fs" || return 1
	loader_config /boot/ edd >"$dir/extlinux.conf"
	mkdir -p "$dir/rd" && cp "$here/inedd.sh" "$dir/rd/inmore.sh" &&
		more_initrd "$dir/initrd" "$work" "$dir/rd" edd &&
		qemu-img create -q -f vpc -o subformat=dynamic,force_size=on \
			"$dir/more.vhd" 16M
}

loader_disc()
{
	mkdir "$dir/iso" &&
		cp /usr/lib/ISOLINUX/isolinux.bin \
			/usr/lib/syslinux/modules/bios/ldlinux.c32 \
			"$dir/iso/" &&
		cp -L "$work/vmlinuz" "$work/initrd" "$dir/iso/" || return 1
	loader_config / facts >"$dir/iso/isolinux.cfg"
	genisoimage -quiet -R -b isolinux.bin -c boot.cat -no-emul-boot \
		-boot-load-size 4 -boot-info-table -o "$dir/disc.iso" \
		"$dir/iso"
}

# loader_booted NAME LOADER OTHER: BIOS, loader, kernel, first process, and off.
# What extlinux installs calls itself SYSLINUX.
loader_booted()
{
	log=$dir/$1.console
	expect "$1: ends with 0" equal "$(cat "$dir/$1.status")" 0
	expect "$1: by $2" shown "$2 6" "$log"
	expect "$1: and no other" not shown "$3 6" "$log"
	expect "$1: to the end" said "$log" 'done'
	calls=$(sed -n 's/.*firmware: \([0-9]*\) disk calls.*/\1/p' \
		"$dir/$1.err")
	sed -n 's/^hv: \(firmware: .*\)/\1/p' "$dir/$1.err"
	expect "$1: many sectors a call" [ "${calls:-99999}" -lt 3000 ]
}

case_loaders()
{
	dir=$work/loaders
	rm -rf "$dir"
	mkdir -p "$dir"
	expect 'a disk' loader_disk
	expect 'a disc' loader_disc
	"$here/l1.sh" -t 400 -m 1024 -w "$dir" "$here/loaders.sh" "$build" \
		"$dir"
	expect 'all runs' equal $? 0
	loader_booted extlinux SYSLINUX ISOLINUX
	cat "$dir/ctl"
	expect 'the BIOS knows the disks, and after a restart those of by then' \
		equal "$(tr -d '\r' <"$dir/extlinux.console" |
			sed -n 's/^guest: edd //p')" '80 131072
80 147456
81 32768'
	loader_booted isolinux ISOLINUX SYSLINUX
	loader_booted dvd ISOLINUX SYSLINUX
	expect 'the disk is sound' "$build/bin/vhd-check" "$dir/disk.vhd"
	[ "$failures" -ne 0 ] || rm -rf "$dir"
}
