#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What a guest of matrix.sh does when its shell runs, from its own disk: say
# what it is, write, read back, switch off. /etc/boot in the guest, started by
# busybox's init; each line for the tests begins with "guest: ".
say()
{
	echo "guest: $*"
}

dev=$(sed -n 's|^\(/dev/[^ ]*\) / ext4 .*|\1|p' /proc/mounts)
name=${dev##*/}
mount -o remount,rw /
say "root $dev"
say "driver of root $(cat "$(readlink -f \
	"/sys/class/block/$name/../device/../..")"/scsi_host/*/proc_name)"
say "machine $(busybox uname -m)"
say "processors $(busybox grep -c ^processor /proc/cpuinfo)"
dd if=/dev/urandom of=/data bs=65536 count=64 2>/dev/null
sum=$(md5sum </data)
sync
echo 3 >/proc/sys/vm/drop_caches
if [ "$(md5sum </data)" = "$sum" ]; then
	say "written and read back"
fi
say end
poweroff
