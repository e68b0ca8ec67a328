#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The unit tests again and again: one that fails now and then is a defect, of
# the test or of what it tests (goal Q5). Part of the long column only.
#
# usage: repeat.sh BUILD [TEST]...     (default: all unit tests)
#
# Environment: REPEATS (default 100 in the long column, or PROOF_SHARD's part of
# them; without either the script says so and ends); MAKE. Random tests take a new seed each time; the
# log of what failed is kept as BUILD/repeat/TEST.ROUND.log.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=$(mkdir -p "$1" && cd "$1" && pwd) || exit 1
shift
. tests/lib/proof.sh
make=${MAKE:-make}
if [ "${PROOF_LONG-}" = 1 ]; then
	part=${PROOF_SHARD:-1/1}
	repeats=${REPEATS:-$((100 / ${part#*/}))}
elif [ -n "${REPEATS-}" ]; then
	repeats=$REPEATS
else
	echo "repeats are part of the long column (or REPEATS=10)"
	exit 0
fi
unset MAKEFLAGS MAKEOVERRIDES MFLAGS
tests=${*:-$("$make" -s --no-print-directory unit-names BUILD="$build")}
out=$build/repeat
mkdir -p "$out"
rm -f "$out"/*.log
round=0 runs=0 failures=0
while [ $round -lt "$repeats" ]; do
	round=$((round + 1))
	for test in $tests; do
		log=$out/$test.$round.log
		runs=$((runs + 1))
		if env -u PROOF -u PROOF_LONG -u PROOF_SHARD timeout 600 \
		   "$build/tests/$test" >"$log" 2>&1; then
			rm -f "$log"
			continue
		fi
		failures=$((failures + 1))
		echo "  FAIL  $test in round $round: see $log"
		grep -E '^\[  (FAILED|ERROR)|^SEED|^seed' "$log" | head -n 5
	done
done
figure="$repeats repeats of the unit tests, $runs runs, $failures failed"
echo "$figure"
verdict=unmet
least=100
[ -z "${PROOF_SHARD-}" ] || least=1 # the goal is for the sum
[ $failures -ne 0 ] || [ "$repeats" -lt $least ] || verdict=met
[ $# -gt 0 ] || proof_figure Q5 $verdict "$figure"
[ $failures -eq 0 ]
