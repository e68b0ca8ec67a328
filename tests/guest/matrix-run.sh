#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The guests of matrix.sh, one after the other, on a machine with KVM.
#
# usage: matrix-run.sh BUILD DIR CELL...
#
# Leaves NAME.console, NAME.err and NAME.status in DIR, and says how long each
# took: "cell CELL SECONDS".
set -u
PATH=$PATH:/usr/sbin:/sbin
build=$1
dir=$2
shift 2

# In QEMU's machine a PAE guest needs KVM without nested paging: see
# choose_paging in tools/hv/nested.c.
paging() # KERNEL
{
	want=Y
	[ "$1" != 686-pae ] || want=N
	have=$(cat /sys/module/kvm_amd/parameters/npt)
	[ "$have" = $want ] ||
		{ modprobe -r kvm_amd && modprobe kvm_amd npt=$want; }
}

for cell; do
	name=$(echo "$cell" | tr / -)
	kernel=${cell%%/*}
	cpus=${cell##*/}
	set -- --disk "$dir/$name.vhd"
	[ "$kernel" != plain ] || set -- --disk "$dir/$name.vhd,ide=0"
	case $cell in
	# what 32-bit guests need from firmware only
	*/direct/*) set -- --kernel "$dir/$kernel/vmlinuz" --initrd \
		"$dir/$kernel/initrd" --append \
		"$(sed 's/ spectre_v2=off//' "$dir/$kernel/cmdline")" "$@" ;;
	esac
	# Seconds of a machine whose clock may be wrong: measured on a busy host.
	[ "${L1-}" != 1 ] || paging "$kernel" || exit 1
	start=$(date +%s)
	timeout -k 5 420 "$build/bin/hv" run --accel kvm --no-reboot \
		--cpus "$cpus" --memory 256M --timeout 400 "$@" \
		--console "$dir/$name.console" </dev/null 2>"$dir/$name.err"
	echo $? >"$dir/$name.status"
	echo "cell $cell $(($(date +%s) - start))"
done
