#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Disks on emulated IDE under Debian's generic kernel, which has a driver for
# it (the cloud kernel has none). Part of run.sh's case "ide", which judges the
# files left here.
#
# usage: ide.sh prepare BUILD DIR
#        ide.sh run BUILD DIR SEED OPERATIONS    on a machine with KVM: l1.sh
#
# How to boot it: --disk FILE,ide=0, a root on /dev/sda, and one of
#   - no hv_storvsc in the initramfs, and the word ata_piix.prefer_ms_hyperv=0
#     for modprobe, or prefer_ms_hyperv=0 for insmod: Debian's ata_piix leaves
#     disks of a "Virtual Machine" by Microsoft to hv_storvsc even where that
#     one never comes, as it does on Hyper-V;
#   - hv_vmbus and hv_storvsc in it, and no such word: the accelerator's way.
set -u
how=$1
build=$2
dir=$3
work=$build/guest
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

die()
{
	echo "ide.sh: $*" >&2
	exit 1
}

# Into $dir/rd/mod; their order into the list, with words for some.
modules() # LIST MODULE[:WORD]...
{
	list=$1
	shift
	for module; do
		modprobe -S "$version" --show-depends "${module%%:*}" |
			awk -v name="${module%%:*}" -v words="${module#*:}" '
			$1 == "insmod" { $1 = ""; print $2,
				$2 ~ "/" name ".ko$" && words != name ? words : "" }'
	done | awk '!seen[$1]++' >"$dir/order"
	while read -r path words; do
		cp "$path" "$dir/rd/mod/" || exit 1
		echo "${path##*/} $words"
	done <"$dir/order" >"$dir/rd/mod/$list"
	[ -s "$dir/rd/mod/$list" ] || die "$version has no such modules"
}

# What the first run's root does: it is the emulated disk.
root_init()
{
	cat <<-'EOT'
	#!/bin/busybox sh
	export PATH=/bin
	mount -t proc proc /proc
	say() { echo "guest: $*"; }
	say "root $(sed -n 's|^\([^ ]*\) / ext4 .*|\1|p' /proc/mounts)"
	head -c 3000000 /dev/urandom >/written
	sync
	echo 3 >/proc/sys/vm/drop_caches
	say "written $(md5sum </written | cut -d' ' -f1)"
	mount -o remount,ro / || say "still in use"
	say "done"
	poweroff -f
	EOT
}

prepare()
{
	kernel=$(find /boot -name 'vmlinuz-*-amd64' ! -name '*cloud*' \
		2>/dev/null | sort -V | tail -n 1)
	[ -n "$kernel" ] || die "no generic kernel in /boot; run: sudo make deps"
	version=${kernel#/boot/vmlinuz-}
	ln -sf "$kernel" "$dir/vmlinuz"
	cp -r "$work/rd" "$dir/rd" && rm -f "$dir"/rd/mod/* || exit 1
	modules order ata_piix:prefer_ms_hyperv=0 sd_mod sr_mod isofs ext4
	# ata_piix first: it must leave the disk alone of itself
	modules order-hv ata_piix sd_mod ext4 hv_vmbus hv_storvsc
	pack "$dir/rd" >"$dir/initrd" || exit 1
	mkdir -p "$dir/root/bin" "$dir/root/proc" "$dir/root/dev" \
		"$dir/iso" || exit 1
	cp "$work/rd/bin/busybox" "$dir/root/bin/busybox" || exit 1
	for applet in sh mount sed head sync md5sum cut poweroff; do
		ln -s busybox "$dir/root/bin/$applet" || exit 1
	done
	root_init >"$dir/root/init" && chmod 755 "$dir/root/init" || exit 1
	truncate -s 64M "$dir/root.raw" &&
		mke2fs -q -t ext4 -d "$dir/root" "$dir/root.raw" || exit 1
	"$build/bin/vhd-convert" --to dynamic "$dir/root.raw" \
		"$dir/root.vhd" >"$dir/convert" || exit 1
	qemu-img create -q -f vpc -o subformat=dynamic,force_size=on \
		"$dir/work.vhd" 32M || exit 1
	head -c 3000000 "$kernel" >"$dir/iso/file.bin"
	genisoimage -quiet -R -o "$dir/disc.iso" "$dir/iso"
}

# start NAME WORDS OPTION...: console and errors into files of that name.
start()
{
	name=$1
	words=$2
	shift 2
	timeout -k 5 200 "$build/bin/hv" run --accel kvm \
		--kernel "$dir/vmlinuz" --initrd "$dir/initrd" --memory 256M \
		--append "console=ttyS0 quiet mitigations=off panic=-1 $words" \
		"$@" </dev/null >"$dir/$name.console" 2>"$dir/$name.err"
	echo $? >"$dir/$name.status"
	cat "$dir/$name.err"
}

case $how in
prepare)
	prepare
	;;
run)
	start plain "test=ide seed=$4 operations=$5" \
		--disk "$dir/root.vhd,ide=0" --disk "$dir/work.vhd,ide=1" \
		--dvd "$dir/disc.iso,ide=2"
	cp "$dir/root.vhd" "$dir/first.vhd"
	start both test=both --disk "$dir/root.vhd,ide=0" \
		--dvd "$dir/disc.iso,ide=2"
	;;
*)
	die "$how: prepare or run"
	;;
esac
