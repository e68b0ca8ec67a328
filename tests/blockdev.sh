#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Images on block devices: loop devices of 512 and 4096-byte sectors. Needs
# root, and leave to set up loop devices; skipped without.
#
# usage: blockdev.sh BUILD
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(cd "$1" && pwd) || exit 1
results=$build/results
seed=${SEED:-1}
PATH=$build/bin:$PATH:/usr/sbin:/sbin
dir=$(mktemp -d "${TMPDIR:-/tmp}/blockdev.XXXXXX") || exit 1
loop=
bad=0
. tests/lib/wait.sh
. tests/lib/engine.sh

# The kernel does it when the last one has closed the device, which may be one
# that looks at each new device there is. Only then is the file what it was.
detach()
{
	[ -z "$loop" ] || { losetup -d "$loop" && until_ok detached; }
	detached=$?
	loop=
	return $detached
}

detached()
{
	! losetup -n -O BACK-FILE "$loop" 2>/dev/null | grep -q "^$dir/"
}
trap 'detach; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
cd "$dir" || exit 1

attach() # FILE SECTOR-BYTES
{
	loop=$(losetup --show -f -b "$2" "$1") || return 1
}

truncate -s 1M probe
if ! attach probe 512 2>/dev/null; then
	echo "tools blockdev skip 0" >>"$results"
	echo "no loop devices here: skipped"
	exit 0
fi
detach

check() # NAME COMMAND...
{
	name=$1
	shift
	start=$(date +%s)
	if "$@" >log 2>&1 && detach; then verdict=pass; else verdict=fail bad=1; fi
	detach
	[ $verdict = pass ] || { echo "  FAIL  $name (seed $seed)"; cat log; }
	echo "tools blockdev:$name $verdict $(($(date +%s) - start))" \
		>>"$results"
}

work() # ARGUMENT...
{
	"$build/tests/store_work" --seed "$seed" --ops 400 "$@"
}

# An empty dynamic image at the start of a device, behind which is rubbish.
lay() # SECTOR-BYTES DEVICE-SIZE ARGUMENT...
{
	sector=$1 size=$2
	shift 2
	rm -f new.vhd disk.img
	vhd create -q "$@" new.vhd || return 1
	head -c "$size" /dev/zero | tr '\0' '\167' >disk.img
	dd if=new.vhd of=disk.img conv=notrunc status=none
	attach disk.img "$sector"
}

# The same bytes for us and for an independent reader.
readers_agree()
{
	detach && vhd check -q --data disk.img &&
		vhd-convert -q --force --to raw disk.img ours.raw &&
		qemu-img convert -f vpc -O raw disk.img theirs.raw &&
		cmp ours.raw theirs.raw
}

raw()
{
	rm -f disk.img
	truncate -s 16M disk.img
	attach disk.img "$1" && work --format raw "$loop" &&
		detach && truncate -s 0 disk.img && truncate -s 16M disk.img &&
		attach disk.img "$1" && work --format raw --direct "$loop"
}

dynamic() # SECTOR-BYTES ARGUMENT...
{
	lay "$1" 40M --size 64M --block-size 512K || return 1
	shift
	work --mib 16 "$@" "$loop" && readers_agree
}

full()
{
	lay "$1" 8M --size 64M --block-size 512K || return 1
	work --mib 64 --errors "$loop" || return 1
	cat log
	readers_agree
}

# What changes an image does so within the device.
edited()
{
	lay 512 40M --size 32M --block-size 512K || return 1
	work --mib 8 "$loop" &&
		vhd-convert -q --to raw "$loop" before.raw &&
		vhd resize -q +32M "$loop" &&
		vhd compact -q "$loop" &&
		vhd set -q --id new "$loop" &&
		vhd check -q --data "$loop" &&
		vhd-convert -q --force --to raw "$loop" after.raw &&
		cmp -n 33554432 before.raw after.raw && readers_agree
}

# A footer that is damaged is put back where it belongs on a device.
repaired()
{
	lay 512 40M --size 32M --block-size 512K || return 1
	work --mib 8 "$loop" || return 1
	dd if=/dev/urandom of="$loop" bs=512 count=1 conv=notrunc status=none
	vhd check -q "$loop" && return 1
	vhd repair -q --yes --no-undo "$loop" ||
		vhd repair -q --yes "$loop" || return 1
	vhd check -q --data "$loop" && readers_agree
}

locked()
{
	lay 512 8M --size 8M || return 1
	"$build/tests/store_work" --seconds 60 --mib 4 "$loop" >first &
	worker=$!
	until_ok at_work && ! over $worker || return 1
	work --mib 4 "$loop" 2>second
	status=$?
	kill $worker
	wait $worker
	cat first second
	[ $status -eq 4 ] && grep -q 'is open elsewhere' second
}

at_work()
{
	grep -q 'at work' first || over $worker
}

engines=$(engines_here)
for sector in 512 4096; do
	check raw-$sector raw $sector
	for engine in $engines; do
		check dynamic-$sector-$engine dynamic $sector --engine $engine
		check direct-$sector-$engine dynamic $sector --direct \
			--engine $engine
	done
	check full-$sector full $sector
done
check edited edited
check repaired repaired
check locked locked
exit $bad
