#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Make the small test guest: busybox, the disk driver's modules of the newest
# installed cloud kernel, and the program "pattern"; its /init is init.sh.
#
# usage: initrd.sh DIR        makes DIR/initrd and DIR/vmlinuz (a link)
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: initrd.sh DIR}
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/guest/lib.sh
. "$here/lib.sh"

die()
{
	echo "initrd.sh: $*" >&2
	exit 1
}

kernel=$(find /boot -name 'vmlinuz-*-cloud-amd64' 2>/dev/null | sort -V |
	tail -n 1)
[ -n "$kernel" ] || die "no cloud kernel in /boot; run: sudo make deps"
version=${kernel#/boot/vmlinuz-}
busybox=$(command -v busybox) || die "no busybox; run: sudo make deps"

rm -rf "$out/rd"
mkdir -p "$out/rd/bin" "$out/rd/dev" "$out/rd/proc" "$out/rd/sys" \
	"$out/rd/tmp" || exit 1
cp "$busybox" "$out/rd/bin/busybox" || exit 1
${CC:-gcc} -O2 -static -D_GNU_SOURCE -o "$out/rd/bin/pattern" \
	"$here/pattern.c" || die "pattern.c does not build"
cp "$here/init.sh" "$out/rd/init" || exit 1
chmod 755 "$out/rd/init"
put_modules "$out/rd" order '' "$version" hv_vmbus hv_storvsc sd_mod ||
	die "$version has no hv_storvsc"
pack "$out/rd" >"$out/initrd.new" || exit 1
mv "$out/initrd.new" "$out/initrd" && ln -sf "$kernel" "$out/vmlinuz"
