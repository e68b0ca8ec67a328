#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# A guest of four processors that verifies what it writes, on a machine with
# KVM (see l1.sh), and under it, all at once: disks come and go, one grows, one
# lies on a host's file system that runs full, and the guest itself resets its
# controller. Part of run.sh's case "torture", which judges what is left here.
#
# usage: torture.sh BUILD DIR SEED ROUNDS LIMIT       DIR is writable
set -u
seed=$3
rounds=$4
limit=$5
# shellcheck source=tests/guest/inside.sh
. "$(dirname "$0")/inside.sh"
host=$XDG_RUNTIME_DIR/full
room=4 # MiB

mkdir "$host" || exit 1
mount -t tmpfs -o size=${room}m tmpfs "$host" || exit 1
cp "$dir/full.vhd" "$host/" || exit 1
# Landlock knows no files of 9p, which is what DIR may be: hv ctl opens none.
cp "$dir/grows.vhd" "$dir/comes.vhd" "$XDG_RUNTIME_DIR/" || exit 1

start torture "test=torture seed=$seed rounds=$rounds" \
	--initrd "$dir/initrd" --memory 384M --cpus 4 --channels 4 \
	--timeout "$limit" \
	--disk "$host/full.vhd,on-error=pause" \
	--disk "$XDG_RUNTIME_DIR/grows.vhd,controller=1" \
	--disk "$dir/tools.iso,dvd,controller=2"
# Not at once: resets shall meet a disk that is paused.
pause_s=0.7
room "$host" 6 >>"$dir/ctl" 2>&1 &
making=$!
round=0
while [ $round -lt "$rounds" ]; do
	lun=$((round + 1))
	await "ready for disk $round" || break
	ctl disk add --lun $lun "$XDG_RUNTIME_DIR/comes.vhd"
	await "ready for more $round" || break
	ctl disk resize 1:0 +8M
	await "ready to lose disk $round" || break
	if [ $((round % 2)) -eq 0 ]; then
		ctl disk remove $lun
	else
		ctl disk remove --now $lun
	fi
	round=$((round + 1))
done
ctl disk stats --json
await 'done'
wait $making || failed=$((failed + 1))
ended
cp "$host/full.vhd" "$XDG_RUNTIME_DIR/grows.vhd" \
	"$XDG_RUNTIME_DIR/comes.vhd" "$dir/"
exit $failed
