#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# A guest whose disk lies on a host's file system that runs full, again and
# again, on a machine with KVM (see l1.sh): room is made and `hv ctl` resumes
# the disk each time. Part of run.sh's case "full", which judges what is left
# here.
#
# usage: full.sh BUILD DIR SEED OPERATIONS             DIR is writable
set -u
# shellcheck source=tests/guest/inside.sh
. "$(dirname "$0")/inside.sh"
host=$XDG_RUNTIME_DIR/full
room=3 # MiB

mkdir "$host" || exit 1
mount -t tmpfs -o size=${room}m tmpfs "$host" || exit 1
cp "$dir/disk.vhd" "$host/disk.vhd" || exit 1
start full "test=work seed=$3 operations=$4" --initrd "$work/initrd" \
	--memory 256M --timeout 240 --disk "$host/disk.vhd,on-error=pause"
room "$host" 6 || failed=1
ended
cp "$host/disk.vhd" "$dir/disk.vhd"
exit $failed
