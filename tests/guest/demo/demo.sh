#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Boot Debian 12 from a dynamic VHD under hv; what "make demo" runs.
#
# Environment: BUILD (build folder), MAKE, AUTO. Without AUTO the guest comes
# up on this terminal to a login prompt and its disk keeps what it writes
# (BUILD/demo/disk.vhd). With AUTO=1 the guest runs root/usr/local/sbin/
# demo-auto on a fresh copy and powers off; then the image is read here by
# other programs, and the summary and the exit status say whether all is well.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.." || exit 1
build=${BUILD:-build}
out=$build/demo
limit=900
# shellcheck source=lib.sh
. "$here/lib.sh"

tools/deps.sh build run demo || exit 1
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$out" || exit 1
${MAKE:-make} --no-print-directory -j2 all >"$out/make.log" 2>&1 || {
	grep -E 'error: |undefined reference|\*\*\* ' "$out/make.log" | head -n 20 >&2
	echo "demo: the programs do not build (log: $out/make.log)" >&2
	exit 1
}
"$here/image.sh" "$build" || exit 1

interactive()
{
	disk=$out/disk.vhd
	if [ ! -s "$disk" ] ||
	   [ -n "$(find "$out/debian.vhd" -newer "$disk")" ]; then
		cp --sparse=always "$out/debian.vhd" "$disk" || return 1
	fi
	echo "demo: booting Debian 12 from $disk (user root, password root)"
	run_guest "$disk"
}

automatic()
{
	disk=$out/run.vhd
	cp --sparse=always "$out/auto.vhd" "$disk" || return 1
	failed=0
	began=$(date +%s)
	log=$out/auto.log
	run_auto "$disk"
	echo
	echo "demo: summary ($(($(date +%s) - began)) s, log: $log)"
	judge_guest
	judge_image "$disk"
	[ $failed -eq 0 ]
}

case ${AUTO-} in
'' | 0) interactive ;;
*) automatic ;;
esac
