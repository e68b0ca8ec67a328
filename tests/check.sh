#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The whole quick test suite, tier by tier; what "make check" runs.
#
# usage: check.sh [TIER]...       (default: all of them, in the order below)
#
# Environment: BUILD (build folder), MAKE, SAN (1: the tiers that run on this
# machine are built with ASan and UBSan; guests always run the optimised hv,
# built into build/).
#
# A tier's own scripts append lines "TIER NAME pass|fail|skip SECONDS" to
# BUILD/results; a tier that appends none gets one here, and one that fails
# without a line that says so gets that line. The last line of the output is
# "N passed, N failed", and ", N skipped" if some were.
#
# What tests measure of the goals in tests/proof/goals.tsv is gathered in
# BUILD/proof/figures. The long columns are tests/proof/long.sh's.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
make=${MAKE:-make}
export BUILD="$build"
results=$build/results

# Name, seconds allowed.
tiers()
{
	cat <<-EOF
	layers   60
	unit     1200
	cross    900
	tools    1800
	fuzz     900
	proof    900
	guest    1200
	debian   1500
	EOF
}

lines()
{
	if [ -f "$1" ]; then wc -l <"$1"; else echo 0; fi
}

# Compilers' words go to a log, and to the reader only when it fails.
build_quietly() # NAME MAKE-ARGUMENT...
{
	log=$build/logs/build-$1.log
	shift
	"$make" --no-print-directory "$@" >"$log" 2>&1 && return 0
	grep -E 'error: |undefined reference|\*\*\* ' "$log" | head -n 20
	echo "  FAIL  build of $*: see $log"
	return 1
}

# Scripts that may or may not append lines of their own; several at once, so
# those that take longest are best named first.
run_scripts() # TIER SCRIPT...
{
	group=$1
	shift
	tests/lib/pool.sh "$build/logs/pool" "$0" --script "$group" -- "$@"
}

run_script() # TIER SCRIPT
{
	group=$1
	name=$(basename "$2" .sh)
	own=$build/logs/results-$group-$name
	: >"$own"
	start=$(date +%s)
	verdict=pass
	RESULTS=$own "$2" "$build" || verdict=fail
	seconds=$(($(date +%s) - start))
	[ -s "$own" ] || echo "$group $name $verdict $seconds" >"$own"
	cat "$own" >>"$results"
	if [ $verdict = pass ]; then
		echo "  ok    $group $name ($seconds s)"
	else
		echo "  FAIL  $group $name ($seconds s)"
		return 1
	fi
}

# Guests are slow enough without sanitizers: they run the optimised build.
optimised()
{
	[ "${SAN-}" = 1 ] || return 0
	unset MAKEFLAGS MAKEOVERRIDES MFLAGS SAN
	export BUILD=build
	mkdir -p build/logs
	: >build/results
}

tier_layers()
{
	tests/layers.sh --self-test && tests/layers.sh && tests/style.sh &&
	tests/calls.sh --self-test
}

tier_unit()
{
	build_quietly unit -k -j2 unit-build
	built=$?
	"$make" --no-print-directory -s -k unit-run && return $built
}

tier_cross()
{
	build_quietly all -j2 all && build_quietly cross -j2 unit-build &&
	run_scripts cross tests/cross_*.sh
}

tier_tools()
{
	build_quietly all -j2 all "$build/tests/store_work" &&
	run_scripts tools tests/verbs.sh tests/convert_place.sh \
		tests/convert_doors.sh tests/interrupt.sh tests/serve.sh \
		tests/nbd.sh tests/blockdev.sh tests/tools.sh
}

tier_fuzz()
{
	# Each target reads its seeds first and then looks further; in the
	# same direction every time, so that a commit passes or fails for good.
	build_quietly fuzz -j2 fuzz-build &&
		FUZZ_SEED=${FUZZ_SEED:-1} "$make" --no-print-directory -s \
			fuzz TIME=10
	fuzzed=$?
	# The quick column reports coverage, the long one holds it to its list.
	build_quietly coverage -j2 fuzz-cov-build || fuzzed=1
	"$make" --no-print-directory -s fuzz-coverage
	return $fuzzed
}

# Harnesses that are no unit test of one module; each writes its figures.
tier_proof()
{
	build_quietly all -j2 all && build_quietly proof -j2 unit-build || return
	harnesses='tests/proof/sim.sh tests/proof/crash.sh tests/proof/tools.sh'
	for script in tests/proof/*.sh; do
		case " $harnesses tests/proof/table.sh tests/proof/long.sh " in
		*" $script "*) ;;
		*) harnesses="$harnesses $script" ;;
		esac
	done
	# shellcheck disable=SC2086 # names of this folder
	run_scripts proof $harnesses tests/calls.sh
}

tier_guest()
{
	optimised
	build_quietly guest -j2 all && tests/guest/run.sh "$BUILD"
}

tier_debian()
{
	optimised
	AUTO=1 tests/guest/demo/demo.sh && tests/guest/demo/chain.sh "$BUILD"
}

# Run one tier in a process of its own, so that a time limit can end it, and
# that has the signals which whoever started us may ignore.
run_tier() # NAME SECONDS
{
	name=$1
	log=$build/logs/tier-$name.log
	before=$(lines "$results")
	start=$(date +%s)
	echo "== $name"
	: >"$log" # before whoever reads along
	timeout -k 10 "$2" env --default-signal=INT,QUIT,PIPE "$0" --inside \
		"$name" </dev/null >"$log" 2>&1 &
	running=$!
	tail -n +1 -s 0.2 -f --pid=$running "$log" &
	wait $running
	status=$?
	running=
	wait
	[ "$status" -ne 124 ] || echo "  FAIL  $name: not done after $2 s"
	if [ "${SAN-}" = 1 ] && [ "$build" != build ] &&
	   { [ "$name" = guest ] || [ "$name" = debian ]; }; then
		cat build/results >>"$results"
	fi
	tier_times="$tier_times $name $(($(date +%s) - start))"
	added=$(tail -n "+$((before + 1))" "$results")
	verdict=pass
	[ "$status" -eq 0 ] || verdict=fail
	if [ -z "$added" ] ||
	   { [ $verdict = fail ] && ! echo "$added" | grep -q ' fail '; }; then
		echo "$name all $verdict $(($(date +%s) - start))" >>"$results"
	fi
	[ $verdict = pass ] || echo "$name $log" >>"$build/logs/failures"
}

case ${1-} in
--inside)
	"tier_$2"
	exit
	;;
--script)
	run_script "$2" "$3"
	exit
	;;
esac

# timeout(1) takes its child out of the terminal's reach.
running=
trap '[ -z "$running" ] || kill "$running"; exit 130' INT TERM

# What other programs say is read in one language only.
unset LANGUAGE
export LC_ALL=C
began=$(date +%s)
tier_times=
. tests/lib/proof.sh
tools/deps.sh || exit 1
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$build/logs" "$build/proof"
: >"$results"
case $build in
/*) PROOF=$build/proof/figures ;;
*) PROOF=$PWD/$build/proof/figures ;;
esac
export PROOF
: >"$PROOF"
rm -f "$PROOF.tally" # what programs add up: tests/lib/tally.h
: >"$build/logs/failures"
wanted=${*:-$(tiers | awk '{ print $1 }')}
for word in $wanted; do
	limit=$(tiers | awk -v name="$word" '$1 == name { print $2 }')
	[ -n "$limit" ] || { echo "check.sh: no tier $word" >&2; exit 2; }
	run_tier "$word" "$limit"
done

count()
{
	awk -v verdict="$1" '$3 == verdict { n++ } END { print n + 0 }' \
		"$results"
}

while read -r name log; do
	echo
	echo "== $name failed; log: $log"
	awk -v tier="$name" '$1 == tier && $3 == "fail" {
		print "  " $1, $2 }' "$results"
	tail -n 15 "$log"
done <"$build/logs/failures"
# Of the whole suite, what of it each tier took, and the goal for it (Q5).
took=$(($(date +%s) - began))
if [ $# -eq 0 ]; then
	verdict=unmet
	[ $took -gt 300 ] || verdict=met
	proof_figure Q5 $verdict "quick suite $took s, of 300:$tier_times"
fi
echo
tests/proof/table.sh "$build" | tail -n 1
echo "$took s:$tier_times; results: $results"
skipped=$(count skip)
[ "$skipped" -eq 0 ] && skipped='' || skipped=", $skipped skipped"
echo "$(count pass) passed, $(count fail) failed$skipped"
[ "$(count fail)" -eq 0 ] && [ ! -s "$build/logs/failures" ]
