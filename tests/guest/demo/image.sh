#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Make the demo's disk: Debian 12 in ext4 in a GPT partition, with GRUB in front
# of it, as a dynamic VHD.
#
# usage: image.sh BUILD
#
# Leaves in BUILD/demo: debian.vhd and auto.vhd (templates: nobody boots them,
# runs take a copy; the second one's boot menu chooses the demo's own script),
# vmlinuz and initrd.img (the guest's own), disk.raw. All is kept and made again
# only when this script, the files under root/ or vhd-convert are newer in
# substance. Needs root, for the chroot; no loop device, no mount.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=${1:?usage: image.sh BUILD}
out=$build/demo

# GRUB's partition begins where partitioning tools begin; the root, after it,
# ends one MiB before the disk does, for the second partition table.
grub_mib=1
start_mib=2
root_mib=2045
disk_mib=2048

# No recommended packages, no documentation: what a Debian needs to boot with
# systemd from a disk, and what the demo shows it with.
packages=systemd,systemd-sysv,dbus,udev,kmod,initramfs-tools,lz4,e2fsprogs
packages=$packages,linux-image-cloud-amd64,login,passwd,procps,util-linux
packages=$packages,fdisk,less,nano

# Units that only cost time here: timers, and services that find nothing to
# do without network or virtual terminals.
masked='apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer
	e2scrub_all.timer e2scrub_reap.service fstrim.timer
	systemd-tmpfiles-clean.timer
	systemd-pstore.service systemd-binfmt.service
	getty-static.service getty@tty1.service
	systemd-networkd-wait-online.service systemd-timesyncd.service'

# shellcheck source=tests/guest/lib.sh
. "$here/../lib.sh"

# Fixed, so that two builds of the same packages differ little.
root_uuid=d5b7f2ae-0c1e-4c6b-9c0e-6f6d1f0a5a01
disk_uuid=d5b7f2ae-0c1e-4c6b-9c0e-6f6d1f0a5a02
machine_id=d5b7f2ae0c1e4c6b9c0e6f6d1f0a5a03

die()
{
	echo "image.sh: $*" >&2
	exit 1
}

# Where this machine gets its own Debian packages; empty lets mmdebstrap
# choose.
sources()
{
	# shellcheck disable=SC2016 # the names are apt's
	apt-get indextargets --format \
		'$(ORIGIN) $(CODENAME) $(COMPONENT) deb $(REPO_URI) $(RELEASE) main' \
		'Created-By: Packages' 2>/dev/null |
	awk '$1 == "Debian" && $2 ~ /^bookworm/ && $3 == "main" &&
	     $5 ~ /^https?:/ && !seen[$0]++ { $1 = $2 = $3 = ""; print }' |
	sed 's/^ *//'
}

# Some sandboxes forbid mounts even to root; the packages here configure
# without /proc as well.
may_mount()
{
	mkdir -p "$out/probe"
	unshare -m mount -t proc proc "$out/probe" 2>/dev/null
	answer=$?
	rmdir "$out/probe"
	return $answer
}

make_root()
{
	root=$out/root
	rm -rf "$root"
	set --
	may_mount || set -- --skip=chroot/mount
	list=$(sources)
	echo "$list" | grep -q ' bookworm main' || list=
	# Our files come before the packages, so that the initramfs is made
	# once and right.
	echo "$list" | mmdebstrap --quiet --mode=root --variant=minbase "$@" \
		--format=directory --include="$packages" \
		--aptopt='APT::Install-Recommends "false"' \
		--aptopt='Acquire::Retries "3"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--essential-hook="cd '$here/root' && find . ! -type d -print0 |
			tar --null -T - --owner=0 --group=0 --mode=a+rX -cf - |
			tar -C \"\$1\" -xf -" \
		bookworm "$root" ${list:+-} >"$out/mmdebstrap.log" 2>&1 || {
		tail -n 20 "$out/mmdebstrap.log" >&2
		die "mmdebstrap failed (log: $out/mmdebstrap.log)"
	}
	echo debian >"$root/etc/hostname"
	echo '127.0.0.1 localhost debian' >"$root/etc/hosts"
	echo "UUID=$root_uuid / ext4 noatime,errors=remount-ro 0 0" \
		>"$root/etc/fstab"
	printf '%s\n' "$machine_id" >"$root/etc/machine-id"
	printf '%s\n%s\n\n' 'Debian GNU/Linux 12 on \l' \
		'Log in as root, password: root. To end: poweroff' \
		>"$root/etc/issue"
	echo root:root | chroot "$root" chpasswd ||
		die "the root password could not be set"
	for unit in $masked; do
		ln -sf /dev/null "$root/etc/systemd/system/$unit"
	done
	ln -sf ../demo-auto.service \
		"$root/etc/systemd/system/multi-user.target.wants/"
	mkdir -p "$root/etc/systemd/journald.conf.d"
	printf '[Journal]\nStorage=volatile\n' \
		>"$root/etc/systemd/journald.conf.d/demo.conf"
	{ cp "$root"/boot/vmlinuz-* "$out/vmlinuz" &&
	  cp "$root"/boot/initrd.img-* "$out/initrd.img"; } ||
		die "the root has no kernel or no initramfs"
	make_menu "$root"
}

# The boot menu; on the auto.vhd a file says which entry is chosen.
make_menu() # ROOT
{
	mkdir -p "$1/boot/grub" || die "no boot menu"
	kernel=$(basename "$1"/boot/vmlinuz-*)
	initrd=$(basename "$1"/boot/initrd.img-*)
	words="root=UUID=$root_uuid ro console=ttyS0 quiet"
	auto='demo.auto systemd.mask=systemd-logind.service'
	cat >"$1/boot/grub/grub.cfg" <<-END
	set timeout=3
	set default=0
	if [ -e /boot/grub/demo-auto ]; then
		set default=1
		set timeout=1
	fi
	menuentry 'Debian GNU/Linux 12' {
		linux /boot/$kernel $words systemd.show_status=1
		initrd /boot/$initrd
	}
	menuentry 'Debian GNU/Linux 12, the demo by itself' {
		linux /boot/$kernel $words $auto
		initrd /boot/$initrd
	}
	END
}

# A partition table and a file system with the root in it, as plain files.
make_disk()
{
	raw=$out/disk.raw
	rm -f "$raw"
	truncate -s ${disk_mib}M "$raw" || die "$raw cannot be made"
	sfdisk -q "$raw" <<-EOF || die "sfdisk failed"
	label: gpt
	label-id: $disk_uuid
	start=${grub_mib}MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name=grub
	start=${start_mib}MiB, size=${root_mib}MiB, type=linux, name=root
	EOF
	mke2fs -q -F -t ext4 -L root -U "$root_uuid" -m 1 \
		-E "offset=$((start_mib << 20)),lazy_itable_init=0,lazy_journal_init=0,hash_seed=$root_uuid" \
		-d "$out/root" "$raw" ${root_mib}M >"$out/mke2fs.log" 2>&1 || {
		tail -n 5 "$out/mke2fs.log" >&2
		die "mke2fs failed"
	}
	rm -rf "$out/root"
	install_grub "$raw" $((grub_mib * 2048)) 2048 '(hd0,gpt2)/boot/grub' \
		biosdisk part_gpt ext2 normal linux test echo ls configfile ||
		die "no boot loader"
}

mkdir -p "$out" || exit 1
key=$(cd "$here" && find image.sh ../lib.sh root -type f | LC_ALL=C sort |
	xargs cat | sha256sum)
if [ "$(cat "$out/key" 2>/dev/null)" != "$key" ] || [ ! -s "$out/disk.raw" ]
then
	[ "$(id -u)" -eq 0 ] || die "making the Debian root needs root: use sudo"
	rm -f "$out/key"
	echo "demo: making a Debian 12 root (once, about a minute)"
	make_root
	make_disk
	echo "$key" >"$out/key"
fi

# template NAME RAW: as a dynamic VHD.
template()
{
	rm -f "$out/$1"
	"$build/bin/vhd-convert" --from raw --to dynamic "$2" "$out/$1"
}

if [ ! -s "$out/debian.vhd" ] || [ ! -s "$out/auto.vhd" ] ||
   [ -n "$(find "$out/key" "$build/bin/vhd-convert" -newer "$out/auto.vhd")" ]
then
	echo "demo: converting it to a dynamic VHD"
	template debian.vhd "$out/disk.raw" || exit 1
	cp --sparse=always "$out/disk.raw" "$out/auto.raw" || exit 1
	debugfs -w -R 'write /dev/null boot/grub/demo-auto' \
		"$out/auto.raw?offset=$((start_mib << 20))" >"$out/grub.log" 2>&1 ||
		die "debugfs failed"
	template auto.vhd "$out/auto.raw" || exit 1
	rm -f "$out/auto.raw"
fi
