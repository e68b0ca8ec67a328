#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Benchmark: how the storage VSP scales over channels, LUNs and depth. Random
# 4 KiB reads by a guest in memory (tests/bench/vsc.c): of a disk that answers
# at once, and of a dynamic VHD in the page cache. Depth is that of a channel.
#
# usage: scale.sh BUILD     a table, and JSON lines, on standard output
#
# Writes BUILD/bench/scale.txt and BUILD/bench/scale.svg.
#
# Each channel has two threads, the guest's and the VSP's. Where that is more
# than the processors, neither looks for work before it sleeps (spin=0 poll=0):
# who spins would keep the other off its processor. The table says which.
#
# Environment: ROUNDS (default 3) of SECONDS_EACH (1) for each cell; medians.
set -u

rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-1}
mib=256
channels_all='1 2 4' luns_all='1 8 64' depths='1 4 16 64 256'

die()
{
	echo "scale.sh: $*" >&2
	exit 1
}

build=${1:?usage: scale.sh BUILD}
bench=$build/bench/vsc
[ -x "$bench" ] || die "no $bench; run: make bench-build"
work=$(mktemp -d "$build/bench/scale.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cores=$(nproc)

"$build/bench/queue" fill dynamic "$work/dynamic" $mib ||
	die "cannot fill the image"
cat "$work/dynamic" >/dev/null

cell() # DISK CHANNELS LUNS DEPTH: IOPS
{
	how='spin=100 poll=50'
	[ $((2 * $2)) -le "$cores" ] || how='spin=0 poll=0'
	disk=null
	[ "$1" = null ] || disk=$work/dynamic
	: >"$work/n"
	for _ in $(seq "$rounds"); do
		# shellcheck disable=SC2086 # words
		"$bench" channels="$2" luns="$3" depth="$4" $how \
			seconds="$seconds" "$disk" | cut -d' ' -f1 \
			>>"$work/n" || die "$* failed"
	done
	sort -n "$work/n" | sed -n "$(((rounds + 1) / 2))p"
}

for disk in null dynamic; do
	for channels in $channels_all; do
		waits=spin
		[ $((2 * channels)) -le "$cores" ] || waits='sleep'
		for luns in $luns_all; do
			for depth in $depths; do
				n=$(cell $disk "$channels" "$luns" "$depth")
				[ -n "$n" ] || exit 1
				echo "$disk $channels $luns $depth $waits $n"
			done
		done
	done
done >"$work/cells" || exit 1

awk -v cores="$cores" -v depths="$depths" '
	BEGIN {
		n = split(depths, d, " ")
		printf "thousands of requests a second, %d processors\n", cores
		printf "%-8s %8s %5s %6s", "disk", "channels", "LUNs", "waits"
		for (i = 1; i <= n; i++)
			printf " %8s", "depth" d[i]
		print ""
	}
	$1 " " $2 " " $3 != row {
		if (row != "")
			print ""
		row = $1 " " $2 " " $3
		printf "%-8s %8d %5d %6s", $1, $2, $3, $5
	}
	{ printf " %8.0f", $6 / 1000 }
	END { print "" }' "$work/cells" | tee "$build/bench/scale.txt"
awk -f tests/bench/scale.awk "$work/cells" >"$build/bench/scale.svg" ||
	die "cannot draw"
echo "drawn: $build/bench/scale.svg"

awk '{ n[$1, $2, $3, $4] = $6 }
	function line(name, a, b) {
		printf "{\"name\": \"%s\", \"ours\": %d, \"peer\": %d, " \
			"\"limit\": null, \"unit\": \"IOPS\", " \
			"\"ratio\": %.3f, \"goal\": null, \"command\": " \
			"\"make bench (tests/bench/scale.sh)\"}\n", name, a, b,
			a / b
	}
	END {
		line("scale-null-64-luns-to-1", n["null", 1, 64, 64],
			n["null", 1, 1, 64])
		line("scale-dynamic-64-luns-to-1", n["dynamic", 1, 64, 64],
			n["dynamic", 1, 1, 64])
		line("scale-null-4-channels-to-1", n["null", 4, 1, 64],
			n["null", 1, 1, 64])
		line("scale-dynamic-4-channels-to-1", n["dynamic", 4, 1, 64],
			n["dynamic", 1, 1, 64])
		line("scale-dynamic-depth-256-to-1", n["dynamic", 1, 1, 256],
			n["dynamic", 1, 1, 1])
	}' "$work/cells"
