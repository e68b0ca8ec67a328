#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Benchmark: vhd-convert against qemu-img convert -W -m 16, 2 GiB with half of
# it holes, raw to dynamic and back.
#
# usage: convert.sh BUILD        JSON lines on standard output
#
# Three comparisons each way, since the two do not promise the same:
#   as they come   ours, on the disk at the end; qemu-img, which does not sync
#   both synced    qemu-img -t writeback: it flushes at the end, as we do
#   neither        ours with --no-sync; qemu-img as it comes
# The limit is cp --sparse=always of the source, synced or not likewise. All
# take turns; medians of wall time. The source is in the page cache, and disk
# and journal are at rest before each run. Space needed: 5 GiB in BUILD.
set -u

runs=5
size_mib=2048
piece_mib=8 # data and hole in turn

die()
{
	echo "convert.sh: $*" >&2
	exit 1
}

cd "$(dirname "$0")/../.." || exit 1
build=$(cd "$1" && pwd) || exit 1
PATH=$build/bin:$PATH
dir=$(mktemp -d "$build/bench.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
cd "$dir" || exit 1

make_source()
{
	truncate -s ${size_mib}M raw || return 1
	at=0
	while [ $at -lt $size_mib ]; do
		dd if=/dev/urandom of=raw bs=1M count=$piece_mib seek=$at \
			conv=notrunc status=none || return 1
		at=$((at + 2 * piece_mib))
	done
	vhd-convert -q --to dynamic raw dynamic
}

# Each writes "out".
contender() # NAME FROM TO
{
	case $2 in raw) from=raw ;; *) from=vpc ;; esac
	case $3 in raw) to=raw ;; *) to=vpc ;; esac
	case $1 in
	ours) vhd-convert -q --from "$2" --to "$3" "$2" out ;;
	ours-nosync) vhd-convert -q --no-sync --from "$2" --to "$3" "$2" out ;;
	qemu) qemu-img convert -W -m 16 -f $from -O $to "$2" out ;;
	qemu-synced) qemu-img convert -t writeback -W -m 16 -f $from -O $to \
		"$2" out ;;
	cp) cp --sparse=always "$2" out ;;
	cp-synced) cp --sparse=always "$2" out && sync out ;;
	esac
}

time_one() # NAME FROM TO
{
	rm -f out
	sync .
	cat "$2" >/dev/null
	began=$(date +%s%N)
	contender "$1" "$2" "$3" || die "$1 failed"
	echo $((($(date +%s%N) - began) / 1000000)) >>"$2.$1"
}

median() # FROM NAME
{
	sort -n "$1.$2" | sed -n "$((runs / 2 + 1))p"
}

report() # FROM TO WHAT OURS PEER LIMIT COMMAND
{
	awk -v ours="$(median "$1" "$4")" -v peer="$(median "$1" "$5")" \
		-v limit="$(median "$1" "$6")" \
		-v name="$1 to $2 ($3)" -v command="$7" 'BEGIN {
		printf "{\"name\": \"%s\", \"ours\": %.3f, \"peer\": %.3f, " \
			"\"limit\": %.3f, \"unit\": \"s\", \"ratio\": %.2f, " \
			"\"goal\": 2.0, \"command\": \"%s\"}\n", name,
			ours / 1000, peer / 1000, limit / 1000, peer / ours,
			command
	}' </dev/null
}

way() # FROM TO
{
	echo "$1 to $2: $runs rounds"
	for _ in $(seq $runs); do
		for who in ours qemu cp ours-nosync qemu-synced cp-synced; do
			time_one $who "$1" "$2"
			# the last ones' output is not an image
			case $who in cp*) continue ;; esac
			[ -e "$1.seen.$who" ] || check_output "$1" "$2"
			: >"$1.seen.$who"
		done
	done
	c="vhd-convert --to $2"
	q='qemu-img convert -W -m 16'
	report "$1" "$2" 'as they come' ours qemu cp "$c vs $q"
	report "$1" "$2" 'both synced' ours qemu-synced cp-synced \
		"$c vs $q -t writeback"
	report "$1" "$2" 'neither synced' ours-nosync qemu cp \
		"$c --no-sync vs $q"
}

check_output() # FROM TO
{
	case $2 in raw) format=raw ;; *) format=vpc ;; esac
	qemu-img compare -q -f raw -F $format raw out ||
		die "wrong content: $1 to $2"
}

make_source || die "cannot make the source in $dir"
way raw dynamic
way dynamic raw
