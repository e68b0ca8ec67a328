#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What long.sh puts down and table.sh makes of it, in a tree of its own whose
# pieces do what the test wants: no figure may stand for what did not run.
#
# usage: ledger.sh BUILD
set -u
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/ledger.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
bad=0

mkdir -p "$dir/tests/proof" "$dir/tests/guest" "$dir/vhd" "$dir/hv" \
	"$dir/storvsp" "$dir/tools" "$dir/fuzz" "$dir/build/proof"
cp "$here/long.sh" "$here/table.sh" "$dir/tests/proof/"
cd "$dir" || exit 1
printf 'FUZZ := one two\nall unit-build:\n\t@echo made >>made\n' >Makefile
printf 'Q4\tAnalysers\nF6\tFull\nQ5\tRepeats\t100\n' >tests/proof/goals.tsv
for goal in Z2 Z3 Z4 Z6; do
	printf '%s\tFuzzing\t1\n' $goal >>tests/proof/goals.tsv
done
unset PROOF PROOF_LONG PROOF_SHARD MAKE

expect() # WHAT COMMAND...
{
	what=$1
	shift
	if "$@" >said 2>&1; then
		echo "  ok    ledger: $what"
	else
		echo "  FAIL  ledger: $what"
		cat said tests/proof/long.tsv
		bad=1
	fi
}

is() # STATUS COMMAND...: it ends with that
{
	wanted=$1
	shift
	"$@"
	[ $? -eq "$wanted" ]
}

piece() # NAME SCRIPT: what it does when it runs
{
	printf '#!/bin/sh\n%s\n' "$2" >"tests/proof/$1.sh"
	chmod +x "tests/proof/$1.sh"
}

long()
{
	JOBS=1 tests/proof/long.sh build "$@"
}

# In the long column GOAL is met or UNMET, and the status of the table is so.
table() # STATUS GOAL met|UNMET
{
	is "$1" tests/proof/table.sh build long >table || return
	cat table
	awk -v goal="$2" -v verdict="$3" '
		/^[A-Z]/ { of = $1 }
		/^ .* long: / && of == goal { found = $1 == verdict }
		END { exit !found }' table
}

figure='printf "Q4\tmet\tnothing found\n" >>"$PROOF"'

piece analyze 'echo "a tool is not there: left out"'
expect 'what measures nothing of its goal has failed' is 1 long analyze
expect '... and so has the goal' table 1 Q4 UNMET
expect '... and it is run again' is 1 long analyze
piece analyze "$figure
echo changed >vhd/a.h"
expect 'what ran while its sources changed has failed' is 1 long analyze
piece analyze "$figure
exit 1"
expect 'what failed after its figure has failed' is 1 long analyze
expect '... and so has the goal, whatever the figure' table 1 Q4 UNMET
piece analyze "$figure"
expect 'what ended well is put down' is 0 long analyze
expect '... and its programs were made before' grep -q made made
rm -f made
expect 'what is done is not done again' is 0 long analyze
expect '... nor made' test ! -e made
# sanitize measures it, too
expect 'a goal needs all of its pieces' table 1 Q4 UNMET
piece sanitize "$figure"
expect 'another one' is 0 long sanitize
expect 'with all of them it is met' table 0 Q4 met
expect 'a part that is no part is refused' is 2 long repeat:3/11
expect 'a piece that is none is refused' is 2 long analyse
piece repeat 'printf "Q5\tmet\t90 repeats, 0 failures\n" >>"$PROOF"'
expect 'a part of a piece' is 0 long repeat:3/10
expect 'is not all of it' table 1 Q5 UNMET
expect 'its other parts' is 0 long repeat
expect '... are, and their sum counts' table 0 Q5 met
printf 'fuzz-one\tx\ty\t1\t1\tZ2\tmet\t3 of 3 inputs\n' >>tests/proof/long.tsv
expect 'one of two fuzz targets is not all of them' table 1 Z2 UNMET
printf 'fuzz-two\tx\ty\t1\t1\tZ2\tmet\t3 of 3 inputs\n' >>tests/proof/long.tsv
expect 'both are' table 0 Z2 met
printf 'fuzz-gone\tx\ty\t1\t1\tZ2\tmet\t3 of 3 inputs\n' >>tests/proof/long.tsv
expect 'a piece that is not there any more is told' table 1 Z2 met
expect '... by its name' grep -q 'fuzz-gone: no such piece' table
exit $bad
