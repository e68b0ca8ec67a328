#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Run fuzz targets built for AFL++, one line each.
# usage: run-afl.sh BUILD SECONDS NAME...
# What it keeps is in BUILD/afl/work/NAME; a finding fails.
set -u
build=$1
time=$2
shift 2
mkdir -p "$build/logs" "$build/afl/work"
# No core pattern and no clock of processors has to be changed for these.
export AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_SKIP_CPUFREQ=1 \
	AFL_NO_UI=1 AFL_NO_AFFINITY=1 AFL_AUTORESUME=1 AFL_QUIET=1 \
	ASAN_OPTIONS=abort_on_error=1:symbolize=0:detect_leaks=0

value()
{
	sed -n "s/^$1 *: *//p" "$2" 2>/dev/null
}

bad=0
for t in "$@"; do
	work=$build/afl/work/$t
	log=$build/logs/afl-$t.log
	stats=$work/default/fuzzer_stats
	timeout $((time + 120)) afl-fuzz -i "fuzz/corpus/$t" -o "$work" \
		-V "$time" -t 10000 -m none -- "$build/afl/$t" >"$log" 2>&1
	status=$?
	crashes=$(value saved_crashes "$stats")
	hangs=$(value saved_hangs "$stats")
	if [ $status -eq 0 ] && [ "${crashes:-1}" = 0 ] &&
	   [ "${hangs:-1}" = 0 ]; then
		echo "  ok    afl $t ($(value execs_done "$stats") executions," \
			"$(value corpus_count "$stats") inputs kept," \
			"edges $(value bitmap_cvg "$stats"))"
		continue
	fi
	bad=1
	echo "  FAIL  afl $t: ${crashes:-no} crashes, ${hangs:-no} hangs: see" \
		"$log and $work/default"
	grep -aE 'PROGRAM ABORT|ERROR|FATAL' "$log" | head -n 5
done
exit $bad
