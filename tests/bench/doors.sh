#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Benchmark: vhd-convert through NBD, gzip and with a digest, against qemu-img
# convert -W -m 16, gzip and sha256sum; 256 MiB with half of it holes.
#
# usage: doors.sh BUILD          JSON lines on standard output
#
# Nothing is synced: the peers do not. All take turns; medians of wall time.
# For NBD the limit is nbdcopy, which is made for nothing else; both servers
# are nbdkit. Half of the data is text, so that there is something to
# compress. Space needed: 1 GiB in BUILD.
set -u

runs=3
size_mib=256
piece_mib=16 # data and hole in turn

die()
{
	echo "doors.sh: $*" >&2
	exit 1
}

cd "$(dirname "$0")/../.." || exit 1
build=$(cd "$1" && pwd) || exit 1
PATH=$build/bin:$PATH
dir=$(mktemp -d "$build/bench.XXXXXX") || exit 1
servers=
# shellcheck disable=SC2086 # a list of ids
trap 'kill $servers 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
cd "$dir" || exit 1

make_source()
{
	truncate -s ${size_mib}M raw || return 1
	seq 1 100000000 | head -c $((size_mib / 4))M >text
	at=0
	while [ $at -lt $size_mib ]; do
		for from in text /dev/urandom; do
			dd if=$from of=raw bs=1M count=$((piece_mib / 2)) \
				skip=$((at / 8)) seek=$at conv=notrunc \
				status=none || return 1
			at=$((at + piece_mib / 2))
		done
		at=$((at + piece_mib))
	done
	rm text
}

serve() # SOCKET NBDKIT-ARGUMENT...
{
	sock=$1
	shift
	nbdkit -f -U "$sock" "$@" >/dev/null 2>&1 &
	servers="$servers $!"
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ ! -S "$sock" ] || return 0
		sleep 0.2
	done
	die "no nbdkit"
}

# Each writes "out", or into the server "to".
contender() # NAME
{
	from="nbd+unix:///?socket=$dir/from"
	to="nbd+unix:///?socket=$dir/to"
	case $1 in
	nbd-in) vhd-convert -q --no-sync --to raw "$from" out ;;
	nbd-in-peer) qemu-img convert -W -m 16 -f raw -O raw "$from" out ;;
	nbd-in-limit) nbdcopy "$from" out ;;
	nbd-out) vhd-convert -q --no-sync --from raw raw "$to" ;;
	nbd-out-peer) qemu-img convert -n -W -m 16 -f raw -O raw raw "$to" ;;
	nbd-out-limit) nbdcopy raw "$to" ;;
	gzip-out) vhd-convert -q --no-sync --from raw --to raw --compress gzip \
		raw out ;;
	gzip-out-peer) gzip -6 <raw >out ;;
	gzip-in) vhd-convert -q --no-sync --to raw packed out ;;
	gzip-in-peer) zcat <packed >out ;;
	digest) vhd-convert -q --no-sync --reflink never --from raw --to raw \
		--digest sha256 raw out >/dev/null ;;
	digest-peer) cp --sparse=always raw out && sha256sum raw >/dev/null ;;
	esac
}

time_one() # NAME
{
	rm -f out
	cat raw >/dev/null
	began=$(date +%s%N)
	contender "$1" || die "$1 failed"
	echo $((($(date +%s%N) - began) / 1000000)) >>"ms.$1"
}

median() # NAME
{
	sort -n "ms.$1" | sed -n "$((runs / 2 + 1))p"
}

way() # NAME GOAL COMMAND LIMIT; that is empty where there is none
{
	echo "$1: $runs rounds"
	for _ in $(seq $runs); do
		time_one "$1"
		time_one "$1-peer"
		[ -z "$4" ] || time_one "$1-limit"
	done
	limit=null
	[ -z "$4" ] || limit=$(median "$1-limit" |
		awk '{ printf "%.3f", $1 / 1000 }')
	awk -v ours="$(median "$1")" -v peer="$(median "$1-peer")" \
		-v limit="$limit" -v name="$1" -v goal="$2" \
		-v command="$3" 'BEGIN {
		printf "{\"name\": \"%s\", \"ours\": %.3f, \"peer\": %.3f, " \
			"\"limit\": %s, \"unit\": \"s\", \"ratio\": %.2f, " \
			"\"goal\": %s, \"command\": \"%s\"}\n", name,
			ours / 1000, peer / 1000, limit,
			peer / (ours ? ours : 1), goal, command
	}' </dev/null
}

make_source || die "cannot make the source in $dir"
gzip -6 <raw >packed || die "gzip"
serve from file raw
serve to memory ${size_mib}M
q='qemu-img convert -W -m 16'
way nbd-in 1.0 "vhd-convert nbd+unix:... FILE vs $q" nbdcopy
way nbd-out 1.0 "vhd-convert FILE nbd+unix:... vs $q -n" nbdcopy
way gzip-out 1.5 "vhd-convert --compress gzip vs gzip -6" ''
way gzip-in 1.0 "vhd-convert x.gz vs zcat" ''
way digest 1.0 "vhd-convert --digest sha256 vs cp and sha256sum" ''
