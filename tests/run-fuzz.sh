#!/bin/sh
# Run fuzz targets given by name, one line each, two at a time.
# usage: run-fuzz.sh BUILD SECONDS NAME...     SECONDS 0: replay the seeds only
# FUZZ_SEED, a number from 1, makes mutations the same in every run as long as
# the code is; without it each run goes its own way. The log has the seed.
# New inputs are kept in BUILD/fuzz/corpus/NAME and used the next time; seeds
# in fuzz/corpus/NAME are only read.
# Appends "fuzz NAME pass|fail SECONDS" lines to BUILD/results, and figures of
# goals Z2, Z3, Z4 and Z6. What Z4 sums over long runs (PROOF_LONG=1) is
# BUILD/fuzz/executions, a line "KIND NAME EXECUTIONS" for each. There targets
# run one by one, and tests/proof/table.sh adds their figures up.
set -u
build=$1
time=$2
shift 2
. tests/lib/proof.sh
jobs=${FUZZ_JOBS:-2}
mkdir -p "$build/logs" "$build/fuzz"

# Targets in which one input is a whole conversation; the others are parsers.
sessions=' storvsp_packet storvsp_session vmbus_message hv_hypercall vhd_ops hv_ic '

# Executions after which $1 ends, whatever the time; -1: none. With a seed a
# faster machine must not go further than a slower one did.
runs_most()
{
	awk -F'\t' -v name="$1" -v seed="${FUZZ_SEED:-0}" '
		$1 == name && seed > 0 { most = $2 }
		END { print most ? most : -1 }' tests/proof/fuzz-runs.tsv
}

# Run $1 with its log in $2.
fuzz_one()
{
	log=$2
	set -- "$1" "$build/fuzz/corpus/$1" "fuzz/corpus/$1"
	mkdir -p "$2"
	if [ ! -d "$3" ]; then
		echo "no seeds in $3" >"$log"
		return 1
	fi
	opts="-timeout=60 -rss_limit_mb=2048 -print_final_stats=1"
	prefix=-artifact_prefix=$(realpath "$build")/fuzz/$1-
	if [ "$time" -eq 0 ]; then
		set -- "$build/fuzz/$1" -runs=0 "$prefix" "$3"
	else
		set -- "$build/fuzz/$1" -max_total_time="$time" \
			-runs="$(runs_most "$1")" \
			-seed="${FUZZ_SEED:-0}" "$prefix" "$2" "$3"
	fi
	# shellcheck disable=SC2086 # options are words
	timeout $((time + 300)) "$@" $opts >"$log" 2>&1 &&
		grep -q 'INITED' "$log" # all seeds were read
}

executions()
{
	sed -n 's/^stat::number_of_executed_units: *//p' "$build/logs/fuzz-$1.log"
}

# Edges found in the last quarter of the executions, in parts of 100,000 of
# all that were found.
late_edges()
{
	awk -v n="$(executions "$1")" '
		$1 ~ /^#[0-9]+$/ {
			for (i = 2; i < NF; i++)
				if ($i == "cov:") cov = $(i + 1)
			if (substr($1, 2) + 0 <= 0.75 * n) early = cov
		}
		END { printf "%d\n", cov ? 100000 * (cov - early) / cov : 0 }
	' "$build/logs/fuzz-$1.log"
}

# One target from start to the lines about it; status 1: it failed.
report()
{
	t=$1
	log=$build/logs/fuzz-$t.log
	start=$(date +%s)
	if fuzz_one "$t" "$log"; then
		echo "fuzz $t pass $(($(date +%s) - start))" >>"$build/results"
		echo "  ok    fuzz $t ($(executions "$t") executions)"
		return 0
	fi
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
	return 1
}

# The same, its lines kept in a file so that two do not mix.
report_kept()
{
	report "$1" >"$build/logs/fuzz-$1.lines"
	echo $? >"$build/logs/fuzz-$1.status"
}

bad=0
passed=' '
run_batch()
{
	for t; do report_kept "$t" & done
	wait
	for t; do
		cat "$build/logs/fuzz-$t.lines"
		if [ "$(cat "$build/logs/fuzz-$t.status")" -eq 0 ]; then
			passed="$passed$t "
		else
			bad=1
		fi
	done
}

batch=
count=0
for t in "$@"; do
	batch="$batch $t"
	count=$((count + 1))
	[ $((count % jobs)) -eq 0 ] || continue
	# shellcheck disable=SC2086 # names
	run_batch $batch
	batch=
done
# shellcheck disable=SC2086 # names
[ -z "$batch" ] || run_batch $batch

# -------------------------------------------------------------- figures --
met()
{
	if [ "$1" -eq 1 ]; then echo met; else echo unmet; fi
}

seeds=0 replayed=0 total=0 saturated=0
for t in "$@"; do
	n=$(find "fuzz/corpus/$t" -type f | wc -l)
	seeds=$((seeds + n))
	case $passed in *" $t "*) ;; *) continue ;; esac
	replayed=$((replayed + n))
	runs=$(executions "$t")
	total=$((total + ${runs:-0}))
	late=$(late_edges "$t")
	[ "$late" -ge 100 ] || saturated=$((saturated + 1))
	[ "${PROOF_LONG-}" != 1 ] || case $sessions in
	*" $t "*) echo "session $t $runs" ;;
	*) echo "parser $t $runs" ;;
	esac >>"$build/fuzz/executions"
done
proof_figure Z2 "$(met $((seeds == replayed && bad == 0)))" \
	"$replayed of $seeds inputs of $# targets under ASan and UBSan," \
	"$([ $bad = 0 ] && echo 0 || echo some) findings"
[ "$time" -gt 0 ] || exit $bad

enough=$((bad == 0 && time >= 10))
[ "${PROOF_LONG-}" != 1 ] ||
	enough=$((bad == 0 && time >= 900))
proof_figure Z3 "$(met $enough)" \
	"$total executions of $# targets in $((time * $#)) s," \
	"seed ${FUZZ_SEED:-random}"

[ "${PROOF_LONG-}" = 1 ] || exit $bad
proof_figure Z6 "$(met $((bad == 0)))" \
	"$saturated of $# targets saturated: fewer than one edge in a" \
	"thousand new in the last quarter of the executions"
sum() # KIND NAME...
{
	awk -v names=" $* " '
		names ~ "^ " $1 " " && index(names, " " $2 " ") { n += $3 }
		END { printf "%d", n }' "$build/fuzz/executions"
}
shallow=$(sum parser "$@")
deep=$(sum session "$@")
proof_figure Z4 "$(met $((bad == 0)))" \
	"$shallow executions of parsers and $deep of sessions in all long runs"
exit $bad
