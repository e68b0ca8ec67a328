#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Benchmark: vhd-convert against qemu-img convert -W -m 16 and cp
# --sparse=always, over what matters: how full the disk is, whether the source
# is in the page cache, buffered or O_DIRECT, from what to what.
#
# usage: matrix.sh BUILD [WAY [FULL]]     JSON lines on standard output
#
# Environment: SIZE_MIB (default 1024), ROUNDS (5).
#
# All are durable at the end: ours as it comes, qemu-img with -t writeback (it
# flushes at the end) or -t none, cp with a sync of the file and, like ours, of
# the directory that has its name. cp copies the source as it is, which is the
# least that any copy has to do. They take turns round by
# round, since the machine may do other work meanwhile; medians are told, of
# wall time, and of processor time (user and system) and the most memory held.
# The last lines are means over all cells. Nothing is shared with the source:
# --reflink=never, so that the copy itself is measured.
set -u
size_mib=${SIZE_MIB:-1024}
rounds=${ROUNDS:-5}

die()
{
	echo "matrix.sh: $*" >&2
	exit 1
}

cd "$(dirname "$0")/../.." || exit 1
build=$(cd "$1" && pwd) || exit 1
PATH=$build/bin:$build/bench:$PATH
dir=$(mktemp -d "$build/matrix.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
cd "$dir" || exit 1

# Data in pieces of 1 MiB spread over the disk: so many of 20 are there.
make_sources() # PER-20
{
	rm -f raw fixed dynamic
	truncate -s "${size_mib}M" raw || return 1
	at=0
	while [ $at -lt "$size_mib" ]; do
		[ $((at * 7 % 20)) -ge "$1" ] ||
			dd if=/dev/urandom of=raw bs=1M count=1 seek=$at \
				conv=notrunc status=none || return 1
		at=$((at + 1))
	done
	vhd-convert -q --reflink never --to dynamic raw dynamic &&
	vhd-convert -q --reflink never --to fixed raw fixed && sync .
}

contender() # WHO FROM TO IO CACHE
{
	case $2 in raw) from=raw ;; *) from=vpc ;; esac
	case $3 in raw) to=raw options= ;; *) to=vpc options='-o force_size=on' ;; esac
	case $4 in
	direct) ours=--direct qemu='-t none -T none' ;;
	*) ours='' qemu='-t writeback' ;;
	esac
	case $5 in cold) drop=-c ;; *) drop=-w ;; esac
	rm -f out
	sync .
	# shellcheck disable=SC2086 # lists of words
	case $1 in
	ours) measure $drop "$2" "t.$1" vhd-convert -q --reflink never $ours \
		--from "$2" --to "$3" "$2" out ;;
	qemu) measure $drop "$2" "t.$1" qemu-img convert $qemu -W -m 16 \
		-f $from -O $to $options "$2" out ;;
	cp) measure $drop "$2" "t.$1" sh -c "cp --sparse=always \
		--reflink=never $2 out && sync out ." ;;
	esac || die "$1 failed: $2 to $3"
}

median() # WHO COLUMN
{
	awk -v c="$2" '{ print $c }' "t.$1" | sort -n |
		sed -n "$((rounds / 2 + 1))p"
}

cell() # FROM TO FULL IO CACHE
{
	rm -f t.*
	for _ in $(seq "$rounds"); do
		for who in ours qemu cp; do
			contender $who "$1" "$2" "$4" "$5"
			[ $who != ours ] || [ -e checked ] || check "$2"
		done
	done
	echo "$1 to $2, $3 % full, $4, $5:" \
		"ours $(median ours 1), qemu-img $(median qemu 1)," \
		"cp $(median cp 1) ms; CPU $(median ours 2)," \
		"$(median qemu 2), $(median cp 2) ms; $(median ours 3) KiB"
	echo "$(median ours 1) $(median qemu 1) $(median cp 1)" \
		"$(median ours 2) $(median qemu 2) $(median ours 3)" >>cells
	awk -v o="$(median ours 1)" -v q="$(median qemu 1)" \
		-v c="$(median cp 1)" -v n="$1 to $2 $3% $4 $5" 'BEGIN {
		printf "{\"name\": \"%s\", \"ours\": %.3f, \"peer\": %.3f, " \
			"\"limit\": %.3f, \"unit\": \"s\", \"ratio\": %.2f, " \
			"\"goal\": 1.0, \"command\": \"matrix.sh\"}\n", n,
			o / 1e3, q / 1e3, c / 1e3, q / o }' </dev/null
}

check() # TO
{
	case $1 in raw) format=raw ;; *) format=vpc ;; esac
	qemu-img compare -q -f raw -F $format raw out || die "wrong content"
	: >checked
}

means()
{
	awk 'function line(name, ours, peer, limit, unit, goal) {
			printf "{\"name\": \"%s\", \"ours\": %.3f, " \
				"\"peer\": %.3f, \"limit\": %.3f, " \
				"\"unit\": \"%s\", \"ratio\": %.2f, " \
				"\"goal\": %s, \"command\": \"matrix.sh\"}\n",
				name, ours, peer, limit, unit,
				peer / ours, goal
		}
		{
			o += $1; q += $2; c += $3; uo += $4; uq += $5
			s += $2 / $1
			if ($1 > $2) lost++
			if ($1 > $3) behind++
			if ($4 > $5) cpu++
			if ($6 > rss) rss = $6
		}
		END {
			printf "%d cells: slower than qemu-img in %d, than " \
				"cp in %d; more CPU than qemu-img in %d; mean " \
				"speed-up over qemu-img %.2f; at most %d KiB\n",
				NR, lost, behind, cpu, s / NR, rss
			line("convert matrix (sum)", o / 1e3, q / 1e3,
				c / 1e3, "s", "1.5")
			line("convert matrix (CPU)", uo / 1e3, uq / 1e3, 0,
				"s", "1.0")
			line("convert matrix (memory)", rss / 1024, 64, 0,
				"MiB", "1.0")
		}' cells
}

ways=${2:-raw-dynamic dynamic-raw fixed-dynamic}
fulls=${3:-5 50 100}
for full in $fulls; do
	make_sources $((full / 5)) || die "cannot make the sources in $dir"
	for way in $ways; do
		rm -f checked
		for io in buffered direct; do
			for cache in warm cold; do
				cell "${way%-*}" "${way#*-}" "$full" $io $cache
			done
		done
	done
done
means
