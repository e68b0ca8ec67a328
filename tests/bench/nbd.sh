#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Benchmark: the NBD engine against other NBD clients on one server, nbdkit's
# memory plugin, in turns; medians. One JSON object a line.
#
# usage: nbd.sh BUILD            SECONDS=N RUNS=N
set -u
seconds=${SECONDS_EACH:-2}
runs=${RUNS:-5}

die()
{
	echo "nbd.sh: $*" >&2
	exit 1
}

build=$(realpath -e -- "${1:?usage: nbd.sh BUILD}") || exit 1
PATH=$build/bin:$PATH
work=$(mktemp -d "$build/bench/nbd.XXXXXX") || exit 1
server=
trap '[ -z "$server" ] || kill $server; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
# The path of a socket is short.
link=$(mktemp -u /tmp/nbd-bench.XXXXXX)
nbdkit -f -U "$link" memory 256M 2>server.log &
server=$!
i=0
while [ ! -S "$link" ] && [ $((i += 1)) -lt 100 ]; do sleep 0.05; done
uri="nbd+unix:///?socket=$link"
dd if=/dev/urandom of=fill bs=1M count=256 status=none
nbdcopy fill "$uri" || die "the server does not work"

median()
{
	sort -n "$1" | awk '{ v[NR] = $1 }
		END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

ours() # read|write DEPTH
{
	how=
	[ "$1" = read ] || how='--destroy --write'
	# shellcheck disable=SC2086
	vhd bench $how --format raw --depth "$2" --time "$seconds" --json \
		"$uri" | sed -n 's/.*"iops": *\([0-9]*\).*/\1/p'
}

by_fio() # read|write DEPTH
{
	fio --name=x --ioengine=nbd --uri="$uri" --rw="rand$1" --bs=4k \
		--iodepth="$2" --time_based --runtime="$seconds" --size=256M \
		--output-format=terse --terse-version=3 2>/dev/null |
		awk -F';' -v w="$1" '/^3;/ { print w == "read" ? $8 : $49 }'
}

# qemu-img bench tells seconds for a count.
by_qemu() # read|write DEPTH
{
	w=
	[ "$1" = read ] || w=-w
	count=$((seconds * ($2 == 1 ? 10000 : 50000)))
	qemu-img bench $w -f raw -c $count -d "$2" -s 4096 -S 65536 "$uri" |
		awk -v n=$count '/completed in/ { printf "%d\n", n / $4 }'
}

for kind in read write; do
	for depth in 1 64; do
		: >a
		: >b
		: >c
		i=0
		while [ $((i += 1)) -le "$runs" ]; do
			ours $kind $depth >>a
			by_fio $kind $depth >>b
			by_qemu $kind $depth >>c
		done
		for peer in fio:b qemu-img:c; do
			awk -v a="$(median a)" -v b="$(median "${peer#*:}")" \
				-v name="nbd-$kind-d$depth-${peer%:*}" 'BEGIN {
				if (a <= 0 || b <= 0)
					exit 1
				printf "{\"name\": \"%s\", \"ours\": %d, ", name, a
				printf "\"peer\": %d, \"limit\": null, ", b
				printf "\"unit\": \"IOPS\", \"ratio\": %.3f, ", a / b
				print "\"goal\": null, \"command\": " \
				  "\"vhd bench --format raw URI\"}" }' ||
				die "no figure for $kind, depth $depth"
		done
	done
done
rm -f "$link"
