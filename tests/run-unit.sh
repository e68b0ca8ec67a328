#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Run the unit tests given by name, several at once; one line each, the log
# only on failure.
# usage: run-unit.sh BUILD NAME...
# Appends "unit NAME pass|fail SECONDS" lines to BUILD/results.
#
# Environment: SEED (1): where random tests begin. tests/proof/repeat.sh takes
# new ones; here a tree passes or fails for good.
set -u
if [ "$1" != --one ]; then
	build=$1
	shift
	mkdir -p "$build/logs"
	exec tests/lib/pool.sh "$build/logs/pool" "$0" --one "$build" -- "$@"
fi
build=$2
t=$3
log=$build/logs/$t.log
start=$(date +%s)
verdict=pass
SEED=${SEED:-1} timeout 600 "$build/tests/$t" >"$log" 2>&1 || verdict=fail
echo "unit $t $verdict $(($(date +%s) - start))" >>"$build/results"
if [ $verdict = pass ]; then
	echo "  ok    unit $t ($(grep -c '^\[       OK \]' "$log") tests)"
	exit 0
fi
echo "  FAIL  unit $t: see $log"
grep -E '^\[  (FAILED|ERROR)|ERROR:|runtime error|Error:' "$log" | head -20
tail -5 "$log"
exit 1
