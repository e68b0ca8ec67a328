#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Make a disk that boots by itself: a boot loader that is put there by hand
# here, a Debian kernel, a small initramfs and a small root with a login.
#
# usage: bootdisk.sh [-t mbr|gpt] [-l grub|syslinux] [-s MIB] [-a WORDS]
#                    [-b FILE] KERNEL DISK
#
#   KERNEL   a version (6.1.0-18-cloud-amd64) whose /boot/vmlinuz-KERNEL and
#            modules are installed here, or a directory with vmlinuz and the
#            modules as lib/modules/VERSION (a package unpacked by dpkg -x)
#   DISK     is made: a dynamic VHD where its name ends in .vhd, else raw
#   -t       partition table (default mbr); gpt has a BIOS boot partition
#   -l       boot loader (default grub)
#   -s       size (default 96); -a: more words for the kernel
#   -m       modules of the initramfs, instead of all that may have the disk
#   -e       a directory whose files are put over the root's
#   -o       a directory that gets vmlinuz, initrd and cmdline, to be booted
#            directly
#   -b       a static busybox for its processor (default: the installed one)
#
# No loop device, no mount, no root.
set -u
PATH=$PATH:/usr/sbin:/sbin
table=mbr
loader=grub
size=96
words=
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

die()
{
	echo "bootdisk.sh: $*" >&2
	exit 1
}

busybox=$(command -v busybox)
wanted='hv_vmbus hv_storvsc ata_piix sd_mod ext4'
extra=
beside=
while getopts t:l:s:a:b:m:e:o: o; do
	case $o in
	t) table=$OPTARG ;;
	l) loader=$OPTARG ;;
	s) size=$OPTARG ;;
	a) words=$OPTARG ;;
	b) busybox=$OPTARG ;;
	m) wanted=$OPTARG ;;
	e) extra=$OPTARG ;;
	o) beside=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -eq 2 ] || die "usage: bootdisk.sh [-t mbr|gpt] [-l grub|syslinux] KERNEL DISK"
kernel=$1
disk=$2
case $table/$loader in
mbr/grub | gpt/grub | mbr/syslinux | gpt/syslinux) ;;
*) die "$table, $loader: no such table or loader" ;;
esac
work=$(mktemp -d "${TMPDIR:-/tmp}/bootdisk.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

if [ -d "$kernel" ]; then
	image=$(find "$kernel" -name 'vmlinuz*' | head -n 1)
	base=$kernel
	version=$(basename "$(find "$kernel/lib/modules" -mindepth 1 \
		-maxdepth 1 | head -n 1)")
else
	image=/boot/vmlinuz-$kernel
	base=/
	version=$kernel
fi
[ -r "$image" ] || die "$kernel: no such kernel"
[ -n "$busybox" ] || die 'no busybox; run: sudo make deps'

# --- the initramfs: to the root on the first disk that has one
initramfs()
{
	rd=$work/rd
	mkdir -p "$rd/bin" "$rd/mod" "$rd/proc" "$rd/sys" "$rd/dev" "$rd/root"
	cp "$busybox" "$rd/bin/busybox" || return 1
	[ -d "$base/lib/modules/$version/kernel" ] || die "$version: no modules"
	[ -e "$base/lib/modules/$version/modules.dep" ] ||
		depmod -b "$base" "$version" || return 1
	for module in $wanted; do
		modprobe -d "$base" -S "$version" --show-depends "$module" \
			2>/dev/null
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/modules"
	while read -r path; do
		cp "$path" "$rd/mod/" && echo "${path##*/}"
	done <"$work/modules" >"$rd/mod/order"
	cat >"$rd/init" <<-'END'
	#!/bin/busybox sh
	/bin/busybox --install -s /bin
	export PATH=/bin
	mount -t proc proc /proc
	mount -t sysfs sys /sys
	mount -t devtmpfs dev /dev
	echo "guest: initramfs of $(uname -r)"
	params() # MODULE: as the command line has them
	{
		tr ' ' '\n' </proc/cmdline | sed -n "s/^$1\.//p"
	}
	while read -r module; do
		insmod /mod/$module $(params ${module%.ko})
	done </mod/order
	uuid=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^root=UUID=//p')
	n=0
	while [ $n -lt 200 ]; do
		dev=$(findfs UUID="$uuid" 2>/dev/null) && break
		usleep 100000
		n=$((n + 1))
	done
	mount -t ext4 -o ro "$dev" /root || { echo 'guest: no root'; poweroff -f; }
	mount --move /proc /root/proc
	mount --move /sys /root/sys
	mount --move /dev /root/dev
	exec switch_root /root /sbin/init
	END
	chmod 755 "$rd/init"
	pack "$rd" | gzip -1
}

# --- the root: busybox's init, who asks for a name on the console
root_tree()
{
	r=$work/root
	mkdir -p "$r/bin" "$r/sbin" "$r/etc" "$r/proc" "$r/sys" "$r/dev" \
		"$r/tmp" "$r/root" "$r/boot/grub" "$r/boot/syslinux"
	cp "$busybox" "$r/bin/busybox" || return 1
	for name in sh getty login mount umount cat sed readlink poweroff \
		reboot sync stty dd md5sum; do
		ln -s busybox "$r/bin/$name"
	done
	ln -s ../bin/busybox "$r/sbin/init"
	ln -s ../bin/busybox "$r/sbin/poweroff"
	echo 'root::0:0:root:/root:/bin/sh' >"$r/etc/passwd"
	echo 'root:x:0:' >"$r/etc/group"
	echo hv >"$r/etc/hostname"
	cat >"$r/etc/inittab" <<-'END'
	::sysinit:/etc/boot
	ttyS0::respawn:/bin/getty -L ttyS0 115200 vt100
	::shutdown:/bin/umount -a -r
	END
	cat >"$r/etc/boot" <<-'END'
	#!/bin/sh
	dev=$(sed -n 's|^\(/dev/[^ ]*\) / ext4 .*|\1|p' /proc/mounts)
	mount -o remount,rw /
	echo "guest: root $dev"
	echo "guest: driver $(cat /sys/class/scsi_host/*/proc_name | sed -n '1p')"
	echo "guest: kernel $(cat /proc/sys/kernel/osrelease)"
	echo "guest: made by $(cat /sys/class/dmi/id/sys_vendor)"
	echo "guest: loader starts $(sed -n 's/^starts=//p' /boot/grub/grubenv)"
	echo "guest: boots $(cat /boots 2>/dev/null)x"
	echo "$(cat /boots 2>/dev/null)x" >/boots
	sync
	END
	chmod 755 "$r/etc/boot"
	[ -z "$extra" ] || cp -R "$extra/." "$r/" || return 1
	cp -L "$image" "$r/boot/vmlinuz" && initramfs >"$r/boot/initrd" ||
		return 1
	command_line="root=UUID=$uuid console=ttyS0 quiet panic=-1 $words"
	cat >"$r/boot/grub/grub.cfg" <<-END
	set timeout=1
	set default=0
	load_env
	set starts=\${starts}x
	save_env starts
	menuentry 'small guest' {
		linux /boot/vmlinuz $command_line
		initrd /boot/initrd
	}
	menuentry 'off' {
		halt
	}
	END
	grub-editenv "$r/boot/grub/grubenv" create || return 1
	cat >"$r/boot/syslinux/syslinux.cfg" <<-END
	default small
	prompt 1
	timeout 10
	label small
		kernel /boot/vmlinuz
		append initrd=/boot/initrd $command_line
	END
}

# at SECTOR FILE
at()
{
	dd if="$2" of="$work/disk" bs=512 seek="$1" conv=notrunc status=none
}

with_grub()
{
	part=msdos1
	[ "$table" = mbr ] || part=gpt2
	install_grub "$work/disk" "$core" $((first - core)) \
		"(hd0,$part)/boot/grub" biosdisk part_msdos part_gpt ext2 \
		normal linux configfile echo halt reboot ls loadenv
}

# syslinux in ext4 wants the file system mounted: extlinux. On FAT it does not,
# so the disk has a second, small file system with kernel and initramfs.
with_syslinux()
{
	mbr=/usr/lib/syslinux/mbr
	[ -r $mbr/mbr.bin ] || die 'no syslinux; run: sudo make deps'
	truncate -s "${fat_mib}M" "$work/fat"
	mformat -i "$work/fat" -F -h 255 -s 63 -T $((fat_mib * 2048)) \
		-H "$core" :: || return 1
	mmd -i "$work/fat" ::/boot
	mcopy -i "$work/fat" "$work/root/boot/vmlinuz" \
		"$work/root/boot/initrd" ::/boot/ &&
		mcopy -i "$work/fat" "$work/root/boot/syslinux/syslinux.cfg" \
			::/ || return 1
	syslinux -i "$work/fat" || return 1
	at "$core" "$work/fat"
	if [ "$table" = mbr ]; then
		head -c 440 $mbr/mbr.bin >"$work/boot"
	else
		head -c 440 $mbr/gptmbr.bin >"$work/boot"
	fi
	at 0 "$work/boot"
}

uuid=$(cat /proc/sys/kernel/random/uuid)
root_tree || die 'no root'
fat_mib=64
case $table/$loader in
mbr/grub)
	core=1
	first=2048
	parts="start=$first, type=83, bootable" ;;
gpt/grub)
	core=2048
	first=4096
	parts="start=$core, size=2048, type=21686148-6449-6E6F-744E-656564454649
	start=$first, type=L" ;;
mbr/syslinux)
	core=2048
	first=$((core + fat_mib * 2048))
	size=$((size + fat_mib))
	parts="start=$core, size=$((fat_mib * 2048)), type=c, bootable
	start=$first, type=83" ;;
gpt/syslinux)
	core=2048
	first=$((core + fat_mib * 2048))
	size=$((size + fat_mib))
	parts="start=$core, size=$((fat_mib * 2048)), type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, attrs=LegacyBIOSBootable
	start=$first, type=L" ;;
esac
truncate -s "${size}M" "$work/disk"
label=dos
[ "$table" = mbr ] || label=gpt
printf 'label: %s\n%s\n' $label "$parts" |
	sfdisk -q "$work/disk" || die 'no partitions'
mke2fs -q -t ext4 -U "$uuid" -d "$work/root" -E "offset=$((first * 512)),root_owner=0:0" \
	"$work/disk" "$((size - first / 2048 - 1))M" 2>"$work/mke2fs" ||
	die "no file system: $(cat "$work/mke2fs")"
with_"$loader" || die 'no boot loader'
if [ -n "$beside" ]; then
	mkdir -p "$beside" && cp "$work/root/boot/vmlinuz" \
		"$work/root/boot/initrd" "$beside/" || exit 1
	echo "$command_line" >"$beside/cmdline"
fi
case $disk in
*.vhd)
	qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on \
		"$work/disk" "$disk" || die 'no image' ;;
*) cp --sparse=always "$work/disk" "$disk" || die 'no image' ;;
esac
