#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Two runs of hv on a machine with KVM (see l1.sh): SCSI commands by sg3_utils
# on two disks and a disc, and what is left of reservations in the next run.
# Part of run.sh's case "scsi", which judges the files left here.
#
# usage: scsi.sh BUILD DIR          DIR is writable
set -u
build=$1
dir=$2

start() # NAME WORDS
{
	timeout -k 5 200 "$build/bin/hv" run --accel kvm --no-reboot --memory 256M \
		--kernel "$build/guest/vmlinuz" --initrd "$dir/initrd" \
		--append "console=ttyS0 quiet mitigations=off panic=-1 $2" \
		--disk "$dir/a.vhd" \
		--disk "$dir/b.vhd,sector=4096,pr=$dir/b.pr" \
		--dvd "$dir/disc.iso" --console "$dir/$1.console" \
		</dev/null 2>"$dir/$1.err"
}

start first test=scsi || exit 1
start second test=scsi_again
