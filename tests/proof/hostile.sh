#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The catalogue of hostile cases, hostile.tsv: lines "AREA<TAB>CASE<TAB>
# PROGRAM:TEST". Each names a unit test that has run and passed, and each test
# of the programs *_hostile* is named. hostile-seeds.tsv has the same cases as
# inputs of fuzz targets: "AREA<TAB>CASE<TAB>SEED", where SEED is TARGET/FILE
# below fuzz/corpus, or "- " and why there is none; each file "case-*" there is
# named. Then the sums over all test guests and the fuzz corpora of what was
# fetched twice and what was answered.
#
# usage: hostile.sh BUILD        goals G1, G2 and G4
#
# Reads the logs of the unit tier and the sums that it left in $PROOF.tally;
# what has not run yet is run.
set -u
build=${1:?usage: hostile.sh BUILD}
here=$(cd "$(dirname "$0")" && pwd)
table=$here/hostile.tsv
seeds=$here/hostile-seeds.tsv
wanted=100 # entries
mkdir -p "$build/logs"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
PROOF=${PROOF:-$work/figures}
export PROOF
. "$here/../lib/proof.sh"
bad=0

fault()
{
	echo "FAILED: $*"
	bad=1
}

# Run it, unless its log is of this program.
have_log() # PROGRAM
{
	log=$build/logs/$1.log
	[ -s "$log" ] && [ "$log" -nt "$build/tests/$1" ] && return
	"$build/tests/$1" >"$log" 2>&1 || fault "$1: see $log"
}

# ------------------------------------------------------------ catalogue --
awk -F'\t' 'NF != 3 || $3 !~ /^[a-z0-9_]+:[a-z0-9_]+$/ { print FNR ": " $0 }
	seen[$1 FS $2]++ { print FNR ": twice: " $2 }' "$table" >"$work/wrong"
[ ! -s "$work/wrong" ] || fault "hostile.tsv: $(cat "$work/wrong")"
awk -F'\t' 'NF != 3 || $3 !~ /^([a-z0-9_]+\/case-[a-z0-9-]+|- ..........*)$/ {
	print FNR ": " $0 }' "$seeds" >"$work/wrong"
[ ! -s "$work/wrong" ] || fault "hostile-seeds.tsv: $(cat "$work/wrong")"
cut -f3 "$seeds" | grep -v '^- ' | sort >"$work/seeds"
(cd "$here/../../fuzz/corpus" && ls -d ./*/case-*) | sed 's|^./||' | sort |
	comm -3 - "$work/seeds" >"$work/wrong"
[ ! -s "$work/wrong" ] ||
	fault "no such seed, or one that no case names: $(cat "$work/wrong")"
cut -f1,2 "$table" | sort >"$work/cases"
cut -f1,2 "$seeds" | sort | comm -13 "$work/cases" - >"$work/wrong"
[ ! -s "$work/wrong" ] || fault "seeds of no case: $(cat "$work/wrong")"
cut -f1,2 "$seeds" | sort | comm -23 "$work/cases" - >"$work/seedless"
sed 's/^/no seed, and no reason: /' "$work/seedless"
cut -f3 "$table" | sort -u >"$work/named"
{
	cut -d: -f1 "$work/named"
	for path in "$here"/../*_hostile*.c; do
		basename "$path" .c
	done
} | sort -u >"$work/programs"
while read -r program; do
	have_log "$program"
	sed -n "s/^\[       OK \] /$program:/p" "$build/logs/$program.log"
done <"$work/programs" | sort -u >"$work/passed"
comm -23 "$work/named" "$work/passed" >"$work/missing"
while read -r name; do
	fault "no test that passed: $name"
done <"$work/missing"
grep _hostile "$work/passed" | comm -13 "$work/named" - >"$work/unnamed"
while read -r name; do
	fault "no entry names $name"
done <"$work/unnamed"

entries=$(wc -l <"$table")
lost=$(cut -f3 "$table" | grep -cxFf "$work/missing")
met=unmet
[ $bad -ne 0 ] || [ "$entries" -lt $wanted ] || [ -s "$work/seedless" ] ||
	met=met
figure="$((entries - lost)) of $entries entries (wanted $wanted) held by \
$(wc -l <"$work/named") tests, $(wc -l <"$work/seeds") with a corpus seed, \
$(cut -f3 "$seeds" | grep -c '^- ') with a reason why not, \
$(wc -l <"$work/seedless") without either"
echo "G1 $met: $figure"
proof_figure G1 $met "$figure"

# ------------------------------------------------------- fetches, answers --
[ -s "$PROOF.tally" ] ||
	for program in $(make --no-print-directory -s watched); do
		"$build/tests/$program" >"$build/logs/$program.log" 2>&1 ||
			fault "$program: see $build/logs/$program.log"
	done
for path in "$build"/tests/replay_*; do
	target=${path##*/replay_}
	found=$build/fuzz/corpus/$target
	[ -d "$found" ] && [ -n "$(ls "$found")" ] || found=
	# shellcheck disable=SC2086 # a folder or none
	"$path" "$here/../../fuzz/corpus/$target" $found >"$work/out" 2>&1 ||
		fault "replay of $target: $(tail -n 2 "$work/out")"
done

sum() # NAME
{
	awk -v name="$1" '$1 == name { n += $2 } END { printf "%.0f", n }' \
		"$PROOF.tally"
}

twice=$(sum fetched-twice)
fetched=$(sum fetched)
inputs=$(sum inputs)
met=unmet
[ $bad -ne 0 ] || [ "$twice" -ne 0 ] || [ "$fetched" -eq 0 ] ||
	[ "$inputs" -eq 0 ] || met=met
figure="$twice of $fetched bytes of packets, in $(sum guests) test guests \
and $inputs corpus inputs"
echo "G2 $met: $figure"
proof_figure G2 $met "$figure"
[ $met = met ] || bad=1

issued=$(sum issued)
ended=$(($(sum completed) + $(sum cancelled) + $(sum refused)))
met=unmet
[ $bad -ne 0 ] || [ "$issued" -eq 0 ] || [ "$issued" -ne $ended ] || met=met
figure="$issued ids issued = $(sum completed) completed + $(sum cancelled) \
cancelled + $(sum refused) that want no completion, at $(sum guests) teardowns"
echo "G4 $met: $figure"
proof_figure G4 $met "$figure"
[ $met = met ] || bad=1
exit $bad
