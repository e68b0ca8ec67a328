#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Goal C7: clean images read the same by QEMU, by the library and by the
# independent reader of the tests, whoever wrote them: images of the library,
# images that a power cut left and opening put right, and QEMU's.
#
# usage: agree.sh BUILD          environment: SEED (1), PROOF_LONG
set -u
build=${1:?usage: agree.sh BUILD}
# shellcheck source=tests/lib/proof.sh
. "$(dirname "$0")/../lib/proof.sh"
cross=$build/tests/cross_vhd
seed=${SEED:-1}
if [ "${PROOF_LONG-}" = 1 ]; then share=40; else share=1; fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/agree.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
echo "SEED=$seed"

# The next number below N, by the seed: the minimal standard generator.
draw() # N
{
	seed=$(((seed * 48271 + 11) % 2147483647))
	number=$((seed % $1))
}

pick() # WORD...
{
	draw $#
	shift $number
	word=$1
}

by_qemu() # IMAGE MODEL
{
	qemu-img convert -f vpc -O raw "$1" "$dir/theirs" &&
	cmp "$dir/theirs" "$2"
}

by_reader() # IMAGE MODEL
{
	"$cross" flat "$dir/flat" "$1" && cmp "$dir/flat" "$2"
}

by_library() # IMAGE MODEL
{
	"$cross" dump "$1" auto "$dir/own" && cmp "$dir/own" "$2"
}

ours()
{
	pick dynamic dynamic dynamic fixed
	format=$word
	pick 0 4096 16384 65536 524288
	block=$word
	draw 6000
	size=$(((number + 1) * 512))
	draw 1000000
	"$cross" make "$format" $size "$block" "$number" "$dir/a.vhd" &&
	"$cross" make raw $size 0 "$number" "$dir/model" &&
	by_qemu "$dir/a.vhd" "$dir/model" &&
	by_reader "$dir/a.vhd" "$dir/model"
}

theirs()
{
	pick subformat=dynamic subformat=dynamic subformat=fixed
	how=$word,force_size=on
	draw 6000
	size=$(((number + 1) * 512))
	draw 1000000
	"$cross" make raw $size 0 "$number" "$dir/model" &&
	qemu-img convert -f raw -O vpc -o "$how" "$dir/model" "$dir/a.vhd" &&
	by_library "$dir/a.vhd" "$dir/model" &&
	by_reader "$dir/a.vhd" "$dir/model"
}

put_right() # NUMBER
{
	by_qemu "$dir/cut/$1.vhd" "$dir/cut/$1.raw" &&
	by_library "$dir/cut/$1.vhd" "$dir/cut/$1.raw"
}

compared=0
bad=0
count() # FUNCTION [ARGUMENT]
{
	compared=$((compared + 1))
	before=$seed
	"$@" >"$dir/log" 2>&1 && return
	bad=$((bad + 1))
	echo "BROKEN $* (seed $before):"
	tail -n 3 "$dir/log"
}

first=$seed
cuts=$((10 * share))
mkdir "$dir/cut"
SEED=$seed "$build/tests/proof/crash" export "$dir/cut" $cuts || exit 1
n=0
while [ $n -lt $((20 * share)) ]; do
	count ours
	count theirs
	[ $n -ge $cuts ] || count put_right $n
	n=$((n + 1))
done
echo "$compared images compared, $bad differ"
want=$((50 * share))
met=unmet
[ $bad -ne 0 ] || [ $compared -lt $want ] || met=met
proof_figure C7 $met "$compared images compared, $bad differences, seed $first"
[ $bad -eq 0 ]
