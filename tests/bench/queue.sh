#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Benchmark: 4 KiB random reads at depth 64 through vhd_queue (io_uring) on a
# fixed and a fully written dynamic VHD, against fio with io_uring on the raw
# bytes; page cache hot, and O_DIRECT.
#
# usage: queue.sh BUILD          JSON lines on standard output
#
# peer: fio at iodepth=64 and nothing else said. limit: the best this fio does
# on the same bytes with batches, registered files and fixed buffers, which is
# about what the kernel gives. All take turns, every second round backwards, so
# that a machine that speeds up or slows down favours none; medians. fio's
# clocks are off (gtod_reduce) in both, which only helps fio; its dropping of
# the page cache at the start (invalidate) is off, too.
set -u

rounds=6
seconds=2
mib=512
goal=0.95

die()
{
	echo "queue.sh: $*" >&2
	exit 1
}

build=${1:?usage: queue.sh BUILD}
bench=$build/bench/queue
[ -x "$bench" ] || die "no $bench; run: make bench-build"
command -v fio >/dev/null || die "fio is missing; run: make deps"
work=$(mktemp -d "$build/bench/queue.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

run_fio() # cached|direct OPTION...
{
	direct=0
	[ "$1" = cached ] || direct=1
	shift
	fio --name=read --filename="$work/raw" --size=${mib}m \
		--ioengine=io_uring --rw=randread --bs=4k --iodepth=64 \
		--direct=$direct --time_based --runtime=$seconds \
		--norandommap --randrepeat=0 --invalidate=0 --gtod_reduce=1 \
		--output-format=terse --terse-version=3 "$@" |
		awk -F';' '{ print $8 }'
}

# Operations a second of one contestant.
one() # fixed|dynamic|plain|best cached|direct
{
	case $1 in
	plain) run_fio "$2" ;;
	best) run_fio "$2" --registerfiles=1 --fixedbufs=1 \
		--iodepth_batch_submit=16 --iodepth_batch_complete_min=1 \
		--iodepth_batch_complete_max=64 ;;
	*) "$bench" read uring "$work/$1" "$2" 64 $seconds ||
		die "$1 $2 failed" ;;
	esac
}

median() # FILE
{
	sort -n "$1" | awk '{ v[NR] = $1 }
		END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# One JSON object.
report() # FORMAT MODE
{
	a=$(median "$work/$1-$2.n")
	b=$(median "$work/plain-$2.n")
	best=$(median "$work/best-$2.n")
	awk -v name="queue-$1-$2" -v a="$a" -v b="$b" -v best="$best" \
		-v goal=$goal 'BEGIN {
		if (b <= 0)
			exit 1
		printf "{\"name\": \"%s\", \"ours\": %d, \"peer\": %d, ", \
			name, a, b
		printf "\"limit\": %d, \"unit\": \"IOPS\", ", best
		printf "\"ratio\": %.3f, \"goal\": %s, ", a / b, goal
		printf "\"command\": \"make bench (tests/bench/queue.sh)\"}\n"
	}' || die "fio gave no number"
}

for format in raw fixed dynamic; do
	"$bench" fill $format "$work/$format" $mib || die "cannot fill $format"
done
sync
for mode in cached direct; do
	[ $mode = direct ] || cat "$work/raw" "$work/fixed" "$work/dynamic" \
		>/dev/null
	i=0
	while [ $i -lt $rounds ]; do
		order='fixed dynamic plain best'
		[ $((i % 2)) -eq 0 ] || order='best plain dynamic fixed'
		for who in $order; do
			one "$who" $mode >>"$work/$who-$mode.n"
		done
		i=$((i + 1))
	done
	report fixed $mode
	report dynamic $mode
done
