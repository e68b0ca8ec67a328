#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# One run of hv on a machine with KVM (see l1.sh) with a dynamic disk on an NBD
# server that is killed under it, again and again, with a write-back cache that
# goes with it. Part of run.sh's case "nbd", which judges what is left here.
#
# usage: nbd.sh BUILD DIR WORDS     DIR is writable
set -u
build=$1
dir=$2
socket=${TMPDIR:-/tmp}/nbd.socket
uri="nbd+unix:///?socket=$socket"

serve()
{
	rm -f "$socket"
	nbdkit -f -U "$socket" --filter=cache file "$dir/export" \
		cache=writeback 2>>"$dir/server.log" &
	server=$!
}

serve
while [ ! -S "$socket" ]; do sleep 0.1; done
timeout -k 5 400 "$build/bin/hv" run --accel kvm --no-reboot --memory 256M \
	--kernel "$build/guest/vmlinuz" --initrd "$build/guest/initrd" \
	--append "console=ttyS0 quiet mitigations=off panic=-1 $3" \
	--disk "$uri" --disk "$dir/fixed.vhd" --disk "$dir/ro.vhd,ro" \
	--console "$dir/console" </dev/null 2>"$dir/hv.err" &
hv=$!
kills=0
while kill -0 $hv 2>/dev/null; do
	sleep 5
	grep -q 'guest: disk' "$dir/console" 2>/dev/null || continue
	[ $kills -lt 6 ] || continue
	kill -9 $server
	wait $server 2>/dev/null
	kills=$((kills + 1))
	sleep 0.3
	serve
done
wait $hv
status=$?
echo $kills >"$dir/kills"
kill $server
wait $server
exit $status
