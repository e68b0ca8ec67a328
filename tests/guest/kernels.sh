#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Get Debian's i386 kernels, with the modules that a guest with a disk needs,
# and a static busybox for them. Nothing is installed, and apt's own state is
# not touched: packages are fetched with lists of their own and unpacked here.
#
# usage: kernels.sh DIR
#
# Makes DIR/686, DIR/686-pae (vmlinuz, lib/modules/VERSION) and
# DIR/busybox-i386. What is there already is left; to have newer ones remove it.
set -u
out=$(realpath -m -- "${1:?usage: kernels.sh DIR}") || exit 1
PATH=$PATH:/usr/sbin:/sbin
modules='hv scsi ata cdrom input serio'

die()
{
	echo "kernels.sh: $*" >&2
	exit 1
}

apt() # COMMAND WORD...
{
	command=$1
	shift
	"$command" -q -o APT::Architecture=i386 -o APT::Architectures=i386 \
		-o Dir::State="$tmp/state" -o Dir::State::status=/dev/null \
		-o Dir::Cache="$tmp/cache" -o APT::Sandbox::User="$(id -un)" \
		-o Acquire::Retries=3 -o Acquire::Languages=none "$@"
}

# A package's file, as ./NAME.deb
fetch() # PACKAGE NAME
{
	(mkdir "$tmp/$2" && cd "$tmp/$2" && apt apt-get download "$1" &&
		mv ./*.deb "$tmp/$2.deb") >>"$tmp/log" 2>&1 && return
	tail -n 3 "$tmp/log" >&2
	die "cannot fetch $1 for i386"
}

kernel() # FLAVOUR
{
	package=$(apt apt-cache depends "linux-image-$1" 2>>"$tmp/log" |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' |
		head -n 1)
	[ -n "$package" ] || die "no linux-image-$1 for i386"
	fetch "$package" "$1"
	version=${package#linux-image-}
	set -- "$1" "./boot/vmlinuz-$version" \
		"./lib/modules/$version/modules.builtin" \
		"./lib/modules/$version/modules.builtin.modinfo" \
		"./lib/modules/$version/modules.order" \
		"./lib/modules/$version/kernel/arch" \
		"./lib/modules/$version/kernel/block" \
		"./lib/modules/$version/kernel/crypto" \
		"./lib/modules/$version/kernel/lib" \
		"./lib/modules/$version/kernel/fs/ext4" \
		"./lib/modules/$version/kernel/fs/jbd2" \
		"./lib/modules/$version/kernel/fs/mbcache.ko"
	for module in $modules; do
		set -- "$@" "./lib/modules/$version/kernel/drivers/$module"
	done
	flavour=$1
	shift
	mkdir -p "$tmp/root-$flavour"
	dpkg-deb --fsys-tarfile "$tmp/$flavour.deb" |
		tar -x -C "$tmp/root-$flavour" "$@" 2>>"$tmp/log"
	(cd "$tmp/root-$flavour" && mv "boot/vmlinuz-$version" vmlinuz &&
		rmdir boot && depmod -b . "$version") || die "$package: unknown shape"
	[ -e "$tmp/root-$flavour/lib/modules/$version/kernel/drivers/hv/hv_vmbus.ko" ] ||
		die "$package has no hv_vmbus"
	mv "$tmp/root-$flavour" "$out/$flavour"
}

[ ! -d "$out/686" ] || [ ! -d "$out/686-pae" ] || [ ! -e "$out/busybox-i386" ] ||
	exit 0
for tool in apt-get dpkg-deb depmod; do
	command -v $tool >/dev/null || die "$tool is missing"
done
mkdir -p "$out" || exit 1
tmp=$(mktemp -d "$out/new.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$tmp/state/lists/partial" "$tmp/cache/archives/partial"
# Another source may be out of order: what is missing shows below.
apt apt-get update >"$tmp/log" 2>&1
for flavour in 686 686-pae; do
	[ -d "$out/$flavour" ] || (kernel $flavour) || exit 1
done
if [ ! -e "$out/busybox-i386" ]; then
	fetch busybox-static busybox
	dpkg-deb -x "$tmp/busybox.deb" "$tmp/bb" &&
		mv "$tmp/bb/bin/busybox" "$out/busybox-i386" || exit 1
fi
