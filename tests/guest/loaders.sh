#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Boot loaders besides GRUB, on a machine with KVM (see l1.sh), where a file
# system can be mounted: extlinux is installed as its manual says, into ext4 on
# a partition, and boots a guest, whose disks change before it restarts;
# isolinux boots from a disc. Part of run.sh's case "loaders", which judges what
# is left here: NAME.console, NAME.err and NAME.status of each run, and "ctl".
#
# usage: loaders.sh BUILD DIR         DIR is writable; it has ext4.raw, a disk
#                                     with a file system from sector 2048,
#                                     initrd, extlinux.conf, more.vhd, disc.iso
# shellcheck disable=SC2154 # what inside.sh sets
set -u
# shellcheck source=tests/guest/inside.sh
. "$(dirname "$0")/inside.sh"
PATH=$PATH:/usr/sbin:/sbin
# Landlock knows no files of 9p, which is what DIR may be: hv ctl opens none.
here=$XDG_RUNTIME_DIR

install_extlinux()
{
	modprobe loop 2>/dev/null
	modprobe ext4 2>/dev/null
	cp "$dir/ext4.raw" "$here/disk" && mkdir "$here/at" &&
		mount -t ext4 -o loop,offset=$((2048 * 512)) "$here/disk" \
			"$here/at" || return 1
	mkdir "$here/at/boot" &&
		cp -L "$work/vmlinuz" "$dir/initrd" "$dir/extlinux.conf" \
			"$here/at/boot/" &&
		extlinux --install "$here/at/boot" || return 1
	umount "$here/at" || return 1
	dd if=/usr/lib/syslinux/mbr/mbr.bin of="$here/disk" bs=440 count=1 \
		conv=notrunc status=none &&
		"$build/bin/vhd-convert" -q --to dynamic "$here/disk" \
			"$here/disk.vhd"
}

# run NAME OPTION...: in the background, $guest.
run()
{
	name=$1
	shift
	: >"$dir/console"
	"$hv" run --accel kvm --name "$name" --memory 256M --timeout 150 \
		--stats --console "$dir/console" "$@" </dev/null \
		2>"$dir/$name.err" &
	guest=$!
}

over()
{
	wait $guest
	echo $? >"$dir/$name.status"
	mv "$dir/console" "$dir/$name.console"
	cat "$dir/$name.err"
}

install_extlinux || { echo 'no disk with extlinux'; exit 1; }
cp "$dir/more.vhd" "$here/" || exit 1
run extlinux --disk "$here/disk.vhd"
await 'ready for more' && ctl disk resize 0:0 +8M &&
	ctl disk add "$here/more.vhd"
over
run isolinux --disk "$dir/disc.iso,dvd"
over
run dvd --disk "$here/disk.vhd" --dvd "$dir/disc.iso" --boot dvd
over
cp "$here/disk.vhd" "$dir/" || exit 1
exit $failed
