#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The guests that hv runs: Debian's kernels, entered directly or booted from
# their own disk by its firmware, with 1, 2 and 4 processors. Each boots to a
# shell on its root disk (ext4 on a dynamic VHD), writes, reads that back and
# powers off; then the image must be sound and its file system clean.
#
# usage: matrix.sh BUILD [all | quick | KERNEL/MODE/CPUS...]     (default: all)
#
# All run in one machine with KVM (l1.sh). Lines "KERNEL MODE CPUS pass|fail
# SECONDS" go to BUILD/guest/matrix/results, from which matrix-table.sh makes
# the table in the README; BUILD/guest/matrix/CELL.* has what is left of a cell
# that failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath -e -- "${1:?usage: matrix.sh BUILD [CELL]...}") || exit 1
shift
work=$build/guest/matrix
kernels=$build/guest/kernels
root_off=1048576 # of the root file system in its disk
PATH=$PATH:/usr/sbin:/sbin

die()
{
	echo "matrix.sh: $*" >&2
	exit 1
}

# Kernel, its modules for the disk, processors.
all_cells()
{
	for kernel in cloud generic 686 686-pae plain; do
		for mode in direct firmware; do
			for cpus in 1 2 4; do
				echo $kernel/$mode/$cpus
			done
		done
	done
}

# Without what must be fetched first; one of each way into the guest.
quick_cells()
{
	echo cloud/direct/4 cloud/firmware/2 plain/firmware/1
}

# What the guest does once it has a shell.
root_files() # DIR
{
	mkdir -p "$1/etc"
	cp "$here/matrix-boot.sh" "$1/etc/boot" && chmod 755 "$1/etc/boot"
}

installed() # PATTERN-OF-NAME
{
	find /boot -name "$1" ! -name "${2:-none}" | sort -V | tail -n 1 |
		sed 's|.*/vmlinuz-||'
}

# The disk of a kernel, and what enters it directly.
template() # KERNEL
{
	set -- "$1" -e "$work/root" -o "$work/$1"
	case $1 in
	cloud) set -- "$@" "$(installed 'vmlinuz-*-cloud-amd64')" ;;
	generic) set -- "$@" \
		"$(installed 'vmlinuz-*-amd64' 'vmlinuz-*-cloud-amd64')" ;;
	plain) set -- "$@" -m 'ata_piix sd_mod ext4' \
		-a ata_piix.prefer_ms_hyperv=0 \
		"$(installed 'vmlinuz-*-amd64' 'vmlinuz-*-cloud-amd64')" ;;
	# spectre_v2=off: see NOTES in hv.1
	686 | 686-pae) set -- "$@" -b "$kernels/busybox-i386" \
		-a spectre_v2=off "$kernels/$1" ;;
	*) die "$1: no such kernel" ;;
	esac
	kernel=$1
	shift
	"$here/bootdisk.sh" "$@" "$work/$kernel.vhd"
}

# ------------------------------------------------------------- one cell's end

clean() # RAW
{
	e2fsck -fn "$1?offset=$root_off" >"$1.fsck" 2>&1 || {
		cat "$1.fsck"
		return 1
	}
	# replaying the journal is no part of "clean"
	! grep -qi journal "$1.fsck" || { cat "$1.fsck"; return 1; }
}

# Says what is wrong, if anything.
judge() # CELL
{
	name=$(echo "$1" | tr / -)
	kernel=${1%%/*}
	cpus=${1##*/}
	log=$work/$name.console
	bad=
	case $kernel in
	plain) driver=ata_piix ;;
	*) driver=storvsc_host ;;
	esac
	case $kernel in
	686*) machine=i686 ;;
	*) machine=x86_64 ;;
	esac
	wanted="root /dev/sda1
driver of root $driver
machine $machine
processors $cpus
written and read back
end"
	[ "$(cat "$work/$name.status")" = 0 ] || bad="status $(cat \
		"$work/$name.status"); $(cat "$work/$name.err")"
	told=$(tr -d '\r' <"$log" | sed -n '/^guest: initramfs/d; s/^guest: //p')
	[ "$told" = "$wanted" ] || bad="$bad; it said: $told"
	"$build/bin/vhd" check "$work/$name.vhd" >"$work/$name.check" 2>&1 ||
		bad="$bad; vhd check: $(cat "$work/$name.check")"
	qemu-img convert -f vpc -O raw "$work/$name.vhd" "$work/$name.raw" ||
		bad="$bad; qemu-img does not read it"
	fsck=$(clean "$work/$name.raw") || bad="$bad; e2fsck: $fsck"
	rm -f "$work/$name.raw" "$work/$name.raw.fsck"
	[ -z "$bad" ] || { echo "${bad#; }"; return 1; }
	rm -f "$work/$name".*
}

# ----------------------------------------------------------------------- main

case ${1-all} in
all) cells=$(all_cells) ;;
quick) cells=$(quick_cells) ;;
*) cells=$* ;;
esac
cells=$(echo "$cells" | tr '\n' ' ')
rm -rf "$work"
mkdir -p "$work" || exit 1
case $cells in
*686*) "$here/kernels.sh" "$kernels" || exit 1 ;;
esac
root_files "$work/root" || exit 1
for cell in $cells; do
	kernel=${cell%%/*}
	[ -e "$work/$kernel.vhd" ] || template "$kernel" ||
		die "no disk for $kernel"
	cp "$work/$kernel.vhd" "$work/$(echo "$cell" | tr / -).vhd" || exit 1
done
# A machine that hangs costs the cell that it was at; the others get a new one.
# A guest that hangs is ended before it (matrix-run.sh), and says where it is.
left=$cells
while [ -n "$left" ]; do
	# shellcheck disable=SC2086 # cells are words
	set -- $left
	"$here/l1.sh" -t $((450 + 70 * $#)) -m 1536 -w "$work" \
		"$here/matrix-run.sh" "$build" "$work" "$@" >>"$work/log" 2>&1
	left=
	for cell; do
		name=$work/$(echo "$cell" | tr / -)
		[ -s "$name.status" ] || left="$left $cell"
	done
	[ -n "$left" ] || break
	echo "the machine did not come to its end; left:$left" >>"$work/log"
	# shellcheck disable=SC2086
	set -- $left
	name=$work/$(echo "$1" | tr / -)
	echo none >"$name.status"
	touch "$name.console" "$name.err"
	left=${left#" $1"}
done
failed=0
for cell in $cells; do
	verdict=pass
	why=$(judge "$cell") || verdict=fail
	seconds=$(sed -n "s|^cell $cell ||p" "$work/log")
	echo "$cell $verdict $seconds" | tr / ' ' >>"$work/results"
	echo "$verdict: $cell ($seconds s)${why:+: $why}"
	[ $verdict = pass ] || failed=1
done
exit $failed
