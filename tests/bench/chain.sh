#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Benchmark: 4 KiB random reads at depth 64 (io_uring) through a chain of 1, 8
# and 32 images, page cache hot and O_DIRECT; the memory a chain takes; opening
# a disk of 2040 GiB.
#
# usage: chain.sh BUILD          JSON lines on standard output
#
# The lowest image is dynamic and wholly written; every one above it has random
# 4 KiB writes in every block, so that each read asks the bitmap of each layer
# until one has the data. peer: the lowest image alone. A warm-up that is not
# counted reads the bitmaps in. All take turns, every second round backwards;
# medians.
#
# Opening: an empty table, and one whose entries are all in use and in reverse
# order. peer is the goal of 10 ms; file and table are in the page cache; each
# time by a new process, the best of 31, since what else the machine does only
# adds.
set -u

rounds=6
seconds=2
mib=512
writes=2048 # a layer: eight of 512 in each block
goal=0.8

die()
{
	echo "chain.sh: $*" >&2
	exit 1
}

build=$(realpath -e -- "${1:?usage: chain.sh BUILD}") || exit 1
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
PATH=$build/bin:$PATH
queue=$build/bench/queue
chain=$build/bench/chain
[ -x "$chain" ] && [ -x "$queue" ] || die "no $chain; run: make bench-build"
work=$(mktemp -d "$build/bench/chain.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1

median() # FILE
{
	sort -n "$1" | awk '{ v[NR] = $1 }
		END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# One JSON object; more is better where RATIO is ours/peer.
report() # NAME OURS PEER UNIT RATIO GOAL
{
	awk -v name="$1" -v a="$2" -v b="$3" -v unit="$4" -v how="$5" \
		-v goal="$6" 'BEGIN {
		if (a <= 0 || b <= 0)
			exit 1
		printf "{\"name\": \"%s\", \"ours\": %d, \"peer\": %d, ", \
			name, a, b
		printf "\"limit\": null, \"unit\": \"%s\", ", unit
		printf "\"ratio\": %.3f, ", how == "more" ? a / b : b / a
		printf "\"goal\": %s, ", goal
		printf "\"command\": \"make bench (tests/bench/chain.sh)\"}\n"
	}' || die "no number for $1"
}

# --- reads

"$queue" fill dynamic 1.vhd $mib || die "cannot fill an image"
n=2
while [ $n -le 32 ]; do
	vhd create -q --parent $((n - 1)).vhd $n.vhd &&
		"$chain" write $n.vhd $n $writes || die "cannot make layer $n"
	n=$((n + 1))
done
sync .
for mode in cached direct; do
	[ $mode = direct ] || cat ./*.vhd >/dev/null
	i=0
	while [ $i -lt $rounds ]; do
		order='1 8 32'
		[ $((i % 2)) -eq 0 ] || order='32 8 1'
		for depth in $order; do
			"$queue" read uring $depth.vhd $mode 64 $seconds \
				>>"$depth-$mode.n" || die "$depth $mode failed"
		done
		i=$((i + 1))
	done
	flat=$(median 1-$mode.n)
	report "chain-8-$mode" "$(median 8-$mode.n)" "$flat" IOPS more $goal
	report "chain-32-$mode" "$(median 32-$mode.n)" "$flat" IOPS more null
done

# --- memory

flat=$("$chain" memory 1.vhd) || die "memory"
for depth in 8 32; do
	kib=$("$chain" memory $depth.vhd) || die "memory"
	report "chain-$depth-memory" "$kib" "$flat" KiB less null
done
rm -f ./*.vhd

# --- opening

${CC:-cc} -D_GNU_SOURCE -o tool "$root/tests/verbs_tool.c" || exit 1
best_of() # FILE
{
	i=0
	while [ $i -lt 31 ]; do
		"$chain" open "$1" || die "cannot open $1"
		i=$((i + 1))
	done | sort -n | head -n 1
}

vhd create -q --size 2040G big.vhd || exit 1
report open-2040G-empty "$(best_of big.vhd)" 10000 us less 1
if ./tool reverse big.vhd; then
	report open-2040G-full "$(best_of big.vhd)" 10000 us less 1
else
	echo "no file of 2040 GiB here: its opening is not measured"
fi
