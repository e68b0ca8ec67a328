#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Images written by eight threads through vhd_queue, on each engine, read by
# qemu-img and compared with the flat model, byte for byte.
#
# usage: cross_model.sh BUILD
#
# Appends "cross model-ENGINE pass|fail SECONDS" to BUILD/results.
set -u
build=${1:?usage: cross_model.sh BUILD}
work=$(mktemp -d "${TMPDIR:-/tmp}/cross-model.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$build/logs"

# Every image in DIRECTORY against its model.
compare() # DIRECTORY
{
	count=0
	for vhd in "$1"/*.vhd; do
		raw=${vhd%.vhd}.raw
		qemu-img convert -f vpc -O raw "$vhd" "$vhd.out" || return 1
		# qemu-img rounds a raw file's length up to whole sectors only,
		# so the lengths are equal, too.
		cmp "$vhd.out" "$raw" || return 1
		rm -f "$vhd.out"
		count=$((count + 1))
	done
	[ $count -eq 5 ] || { echo "$count images, not 5"; return 1; }
}

bad=0
for engine in uring aio sync; do
	log=$build/logs/cross-model-$engine.log
	start=$(date +%s)
	verdict=pass
	mkdir "$work/$engine"
	{
		"$build/tests/vhd_model" "$engine" "$work/$engine" &&
		compare "$work/$engine"
	} >"$log" 2>&1 || verdict=fail
	echo "cross model-$engine $verdict $(($(date +%s) - start))" \
		>>"${RESULTS:-$build/results}"
	if [ $verdict = pass ]; then
		echo "  ok    cross model-$engine: 5 images, 20 rounds"
	else
		echo "  FAIL  cross model-$engine: see $log"
		tail -n 5 "$log"
		bad=1
	fi
done
exit $bad
