#!/bin/sh
# Run the unit tests given by name; one line each, the log only on failure.
# usage: run-unit.sh BUILD NAME...
# Appends "TIER NAME pass|fail SECONDS" lines to BUILD/results.
set -u
build=$1
shift
mkdir -p "$build/logs"
bad=0
for t in "$@"; do
	log=$build/logs/$t.log
	start=$(date +%s)
	if timeout 300 "$build/tests/$t" >"$log" 2>&1; then
		n=$(grep -c '^\[       OK \]' "$log")
		echo "unit $t pass $(($(date +%s) - start))" >>"$build/results"
		echo "  ok    unit $t ($n tests)"
	else
		echo "unit $t fail $(($(date +%s) - start))" >>"$build/results"
		echo "  FAIL  unit $t: see $log"
		grep -E '^\[  (FAILED|ERROR)|ERROR:|runtime error|Error:' "$log" | head -20
		tail -5 "$log"
		bad=1
	fi
done
exit $bad
