#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Benchmark: random 4 KiB reads by a guest in memory through the whole storage
# VSP (tests/bench/vsc.c), one channel, one thread of the guest and one of the
# VSP.
#
# usage: vsc.sh BUILD [PART]...     JSON lines on standard output
#        parts: null fio qemu (default: all)
#
# null  A disk that answers at once: requests a second, instructions of the
#       VSP's a request (callgrind; both sides in one thread, so that none are
#       counted that wait), requests a system call (strace; what one more
#       hundred thousand requests cost).
# fio   A fixed and a fully written dynamic VHD, page cache hot and O_DIRECT,
#       depth 64 and 1, against fio with io_uring on the raw bytes, nothing
#       else said: it has one thread, and no guest. Depth 1 is told as the time
#       of a request; its ratio is that of fio's time and 3 us to ours. fio's
#       clocks are off (gtod_reduce), which only helps fio. registered: with
#       the guest's memory registered (hv --register-memory).
# qemu  The same images by qemu-img bench -f vpc at depth 64, by its io_uring
#       and its threads; the better of the two is the peer. It knows no random
#       order: a step of 211 MiB, around the end of the disk, has it read here
#       and there, too. Past the page cache the disk is the limit of both, and
#       there is no goal.
#
# All take turns, every second round backwards; medians. On a machine that has
# other work, run it with a scheduling class above that: chrt -f 1.
set -u

rounds=${ROUNDS:-5}
seconds=2
mib=512
step=221679616 # from one request of qemu-img's to the next

die()
{
	echo "vsc.sh: $*" >&2
	exit 1
}

build=${1:?usage: vsc.sh BUILD [PART]...}
shift
[ $# -gt 0 ] || set -- null fio qemu
bench=$build/bench/vsc
[ -x "$bench" ] || die "no $bench; run: make bench-build"
for tool in fio qemu-img strace valgrind; do
	command -v $tool >/dev/null || die "$tool is missing; run: make deps"
done
work=$(mktemp -d "$build/bench/vsc.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

median() # FILE
{
	sort -n "$1" | awk '{ v[NR] = $1 }
		END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

report() # NAME OURS PEER UNIT RATIO GOAL HOW
{
	echo "{\"name\": \"$1\", \"ours\": $2, \"peer\": $3, \"limit\": null," \
		"\"unit\": \"$4\", \"ratio\": $5, \"goal\": $6," \
		"\"command\": \"make bench (tests/bench/vsc.sh): $7\"}"
}

ratio() # A B
{
	awk -v a="$1" -v b="$2" 'BEGIN { if (b <= 0) exit 1
		printf "%.3f", a / b }' || die "a peer gave no number"
}

# ---------------------------------------------------------------- null disk

# Instructions of the VSP after `set-up`, for so many requests.
instructions() # DEPTH REQUESTS
{
	valgrind --tool=callgrind --callgrind-out-file="$work/cg" \
		--collect-atstart=no \
		--toggle-collect=storvsp_channel_step \
		--toggle-collect=storvsp_channel_idle \
		"$bench" threads=0 depth="$1" requests="$2" null \
		>/dev/null 2>"$work/log" || die "callgrind: $(cat "$work/log")"
	awk '/^(summary|totals):/ { print $2; exit }' "$work/cg"
}

calls() # REQUESTS
{
	strace -f -c -U calls -o "$work/st" "$bench" depth=64 requests="$1" \
		spin=1000000 poll=10000 null >/dev/null || die "strace failed"
	awk '$2 == "total" || NF == 1 { n = $1 } END { print n }' "$work/st"
}

null()
{
	for depth in 64 1; do
		: >"$work/n"
		for _ in $(seq "$rounds"); do
			"$bench" depth=$depth seconds=$seconds null |
				cut -d' ' -f1 >>"$work/n" || die "null failed"
		done
		report "vsc-null-depth-$depth" "$(median "$work/n" |
			awk '{ printf "%d", $1 }')" null IOPS null null \
			"vsc depth=$depth null"
		# whole rounds of both depths
		a=$(instructions $depth 1280)
		b=$(instructions $depth 12800)
		report "vsc-null-instructions-$depth" \
			$(((b - a) / (12800 - 1280))) null each null null \
			"callgrind vsc threads=0 depth=$depth null"
	done
	a=$(calls 100000)
	b=$(calls 1100000)
	[ "$b" -gt "$a" ] || b=$((a + 1))
	n=$((1000000 / (b - a)))
	report vsc-null-requests-per-syscall $n null each \
		"$(ratio $n 1000)" 1.0 "strace -f -c vsc null"
}

# ------------------------------------------------------------------- images

images()
{
	[ ! -e "$work/raw" ] || return
	for format in raw fixed dynamic; do
		"$build/bench/queue" fill $format "$work/$format" $mib ||
			die "cannot fill $format"
	done
	sync
}

run_fio() # cached|direct DEPTH
{
	direct=0
	[ "$1" = cached ] || direct=1
	fio --name=read --filename="$work/raw" --size=${mib}m \
		--ioengine=io_uring --rw=randread --bs=4k --iodepth="$2" \
		--direct=$direct --time_based --runtime=$seconds \
		--norandommap --randrepeat=0 --invalidate=0 --gtod_reduce=1 \
		--output-format=terse --terse-version=3 |
		awk -F';' '{ print $8 }'
}

run_qemu() # FORMAT cached|direct AIO
{
	cache=writeback count=1000000
	[ "$2" = cached ] || cache=none count=200000
	qemu-img bench -f vpc -t $cache -i "$3" -d 64 -s 4096 -S $step \
		-c $count -U "$work/$1" | awk -v n=$count '/completed/ {
			for (i = 1; i <= NF; i++)
				if ($i + 0 > 0) { printf "%d\n", n / $i; exit } }'
}

run_ours() # FORMAT cached|direct DEPTH REGISTERED
{
	direct=0
	[ "$2" = cached ] || direct=1
	"$bench" depth="$3" direct=$direct pin="$4" seconds=$seconds \
		"$work/$1" | cut -d' ' -f1
}

# One contestant's operations a second, noted under its name.
one() # WHO MODE DEPTH
{
	case $1 in
	fixed | dynamic) run_ours "$1" "$2" "$3" 0 ;;
	*-registered) run_ours "${1%-*}" "$2" "$3" 1 ;;
	fio) run_fio "$2" "$3" ;;
	*) run_qemu "${1%-*}" "$2" "${1#*-}" ;;
	esac >"$work/one"
	[ -s "$work/one" ] || die "$1 $2 at depth $3 gave no number"
	cat "$work/one" >>"$work/$1-$2-$3.n"
}

rounds_of() # MODE DEPTH WHO...
{
	mode=$1 depth=$2
	shift 2
	backwards=
	for who; do
		: >"$work/$who-$mode-$depth.n"
		backwards="$who $backwards"
	done
	[ "$mode" = direct ] || cat "$work/raw" "$work/fixed" "$work/dynamic" \
		>/dev/null
	i=0
	while [ $i -lt "$rounds" ]; do
		order=$*
		[ $((i % 2)) -eq 0 ] || order=$backwards
		for who in $order; do
			one "$who" "$mode" "$depth"
		done
		i=$((i + 1))
	done
}

whole() # NUMBER
{
	awk -v n="$1" 'BEGIN { printf "%d", n }'
}

fio_part()
{
	images
	for mode in cached direct; do
		formats='fixed dynamic'
		[ $mode = cached ] || formats="$formats dynamic-registered"
		# shellcheck disable=SC2086 # words
		rounds_of $mode 64 $formats fio
		peer=$(whole "$(median "$work/fio-$mode-64.n")")
		for format in $formats; do
			ours=$(whole "$(median "$work/$format-$mode-64.n")")
			report "vsc-$format-$mode-64" "$ours" "$peer" IOPS \
				"$(ratio "$ours" "$peer")" 0.9 "fio"
		done
		rounds_of $mode 1 fixed dynamic fio
		peer=$(median "$work/fio-$mode-1.n")
		for format in fixed dynamic; do
			ours=$(median "$work/$format-$mode-1.n")
			awk -v o="$ours" -v p="$peer" 'BEGIN {
				printf "%.2f %.2f %.3f\n", 1e6 / o, 1e6 / p,
					(1e6 / p + 3) / (1e6 / o) }' >"$work/us"
			read -r us peer_us near <"$work/us"
			report "vsc-$format-$mode-1" "$us" "$peer_us" us \
				"$near" 1.0 "fio"
		done
	done
}

qemu_part()
{
	images
	for mode in cached direct; do
		rounds_of $mode 64 fixed dynamic fixed-io_uring fixed-threads \
			dynamic-io_uring dynamic-threads
		for format in fixed dynamic; do
			ours=$(whole "$(median "$work/$format-$mode-64.n")")
			peer=0
			for aio in io_uring threads; do
				n=$(whole "$(median \
					"$work/$format-$aio-$mode-64.n")")
				[ "$n" -le "$peer" ] || peer=$n
			done
			goal=2.0
			[ "$mode" = cached ] || goal=null
			report "vsc-$format-$mode-qemu" "$ours" "$peer" IOPS \
				"$(ratio "$ours" "$peer")" $goal \
				"qemu-img bench"
		done
	done
}

for part; do
	case $part in
	null) null ;;
	fio) fio_part ;;
	qemu) qemu_part ;;
	*) die "no part $part" ;;
	esac
done
