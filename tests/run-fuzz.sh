#!/bin/sh
# Run fuzz targets given by name, one line each.
# usage: run-fuzz.sh BUILD SECONDS NAME...     SECONDS 0: replay the seeds only
# FUZZ_SEED, a number from 1, makes mutations the same in every run as long as
# the code is; without it each run goes its own way. The log has the seed.
# New inputs are kept in BUILD/fuzz/corpus/NAME and used the next time; seeds
# in fuzz/corpus/NAME are only read.
# Appends "fuzz NAME pass|fail SECONDS" lines to BUILD/results.
set -u
build=$1
time=$2
shift 2
mkdir -p "$build/logs"

# Run $1 with its log in $2.
fuzz_one() {
	log=$2
	set -- "$1" "$build/fuzz/corpus/$1" "fuzz/corpus/$1"
	mkdir -p "$2"
	if [ ! -d "$3" ]; then
		echo "no seeds in $3" >"$log"
		return 1
	fi
	opts="-timeout=10 -rss_limit_mb=2048 -print_final_stats=1"
	prefix=-artifact_prefix=$build/fuzz/$1-
	if [ "$time" -eq 0 ]; then
		set -- "$build/fuzz/$1" -runs=0 "$prefix" "$3"
	else
		set -- "$build/fuzz/$1" -max_total_time="$time" \
			-seed="${FUZZ_SEED:-0}" "$prefix" "$2" "$3"
	fi
	# shellcheck disable=SC2086 # options are words
	timeout $((time + 300)) "$@" $opts >"$log" 2>&1
}

bad=0
for t in "$@"; do
	log=$build/logs/fuzz-$t.log
	start=$(date +%s)
	if fuzz_one "$t" "$log"; then
		n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
		echo "fuzz $t pass $(($(date +%s) - start))" >>"$build/results"
		echo "  ok    fuzz $t (${n:-0} executions)"
		continue
	fi
	bad=1
	echo "fuzz $t fail $(($(date +%s) - start))" >>"$build/results"
	echo "  FAIL  fuzz $t: see $log"
	grep -aE 'FINDING:|ERROR:|runtime error:|SUMMARY:' "$log" | head -5
	input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
	if [ -n "$input" ]; then
		echo "        input:     $input"
		echo "        reproduce: $build/fuzz/$t $input"
		echo "        or from here: base64 -d | gunzip >INPUT"
		gzip -9nc "$input" | base64 | head -c 20000
	else
		tail -3 "$log"
	fi
done
exit $bad
