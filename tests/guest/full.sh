#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# A guest whose disk lies on a host's file system that runs full, again and
# again, on a machine with KVM (see l1.sh): room is made and `hv ctl` resumes
# the disk each time. Part of run.sh's case "full", which judges what is left
# here.
#
# usage: full.sh BUILD DIR SEED OPERATIONS             DIR is writable
set -u
build=$1
dir=$2
seed=$3
operations=$4
work=$build/guest
hv=$build/bin/hv
export XDG_RUNTIME_DIR="${TMPDIR:-/tmp}"
host=$XDG_RUNTIME_DIR/full
room=3 # MiB

mkdir "$host" || exit 1
mount -t tmpfs -o size=${room}m tmpfs "$host" || exit 1
cp "$dir/disk.vhd" "$host/disk.vhd" || exit 1
"$hv" run --accel kvm --no-reboot --name full --kernel "$work/vmlinuz" \
	--initrd "$work/initrd" --memory 256M --timeout 240 --append \
	"console=ttyS0 quiet mitigations=off panic=-1 test=work \
seed=$seed operations=$operations" \
	--disk "$host/disk.vhd,on-error=pause" --console "$dir/console" \
	</dev/null 2>"$dir/err" &
guest=$!

pauses=0
while kill -0 $guest 2>/dev/null; do
	if [ "$(grep -c 'is paused' "$dir/err")" -gt $pauses ]; then
		pauses=$((pauses + 1))
		room=$((room + 6))
		mount -o remount,size=${room}m "$host" || exit 1
		"$hv" ctl full disk resume 0 || exit 1
	fi
	sleep 0.1
done
wait $guest
echo $? >"$dir/status"
echo $pauses >"$dir/pauses"
cat "$dir/err"
cp "$host/disk.vhd" "$dir/disk.vhd"
