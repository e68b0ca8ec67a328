#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The unit tests where something watches them (goal Q4): all of them under ASan
# and UBSan, those with threads under TSan, a sample under valgrind. Part of
# the long column.
#
# usage: sanitize.sh BUILD [asan|tsan|valgrind]...
#
# Builds into BUILD/asan and BUILD/tsan; valgrind runs what is in BUILD. What
# TSan is told to leave alone is in tests/tsan.supp, with reasons.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=$(mkdir -p "$1" && cd "$1" && pwd) || exit 1
shift
. tests/lib/proof.sh
make=${MAKE:-make}
if [ $# -eq 0 ] && [ "${PROOF_LONG-}" != 1 ]; then
	echo "sanitizers are part of the long column (or make SAN=1 check)"
	exit 0
fi
unset MAKEFLAGS MAKEOVERRIDES MFLAGS
logs=$build/sanitize
mkdir -p "$logs"

# Several threads or queues at once; threads_check sees that none is missing.
threaded='vhd_threads vhd_queue vhd_queue_flush vhd_queue_host vhd_queue_alloc
vhd_written_flush vhd_engine vhd_model vhd_nbd_wait storvsp_thread
storvsp_channels storvsp_reset storvsp_full storvsp_remove storvsp_ide
storvsp_attention storvsp_compare vmbus_stress vmbus_fence hv_chips hv_pci
hv_synic hv_kvm hv_rouse hv_reset hv_ask hv_outlet tools_digest tools_fwdisk
tools_fwstress tools_ctl tools_ctl_disk tools_ctl_guest'
# Short ones, of each library: valgrind takes its time.
sample='vhd_repair vmbus_gpadl storvsp_vsp'

# Runs tests; says and counts those that fail or of which something is said.
# Words that every run must not have are in $bad_words.
run() # HOW FOLDER COMMAND... -- TEST...
{
	how=$1 folder=$2
	shift 2
	prefix=
	while [ "$1" != -- ]; do
		prefix="$prefix $1"
		shift
	done
	shift
	total=0 found=0
	for test; do
		log=$logs/$how.$test.log
		total=$((total + 1))
		# shellcheck disable=SC2086 # a command
		timeout 1200 env -u PROOF -u PROOF_LONG \
			-u PROOF_SHARD $prefix "$folder/tests/$test" >"$log" 2>&1 &&
			! grep -qE 'ERROR: |WARNING: ThreadSan|runtime error' \
				"$log" && continue
		found=$((found + 1))
		echo "  FAIL  $how $test: see $log"
	done
	echo "$how: $((total - found)) of $total tests without a finding"
	figure="$figure${figure:+, }$((total - found)) of $total under $how"
	[ $found -eq 0 ] || bad=1
}

build_tests() # FOLDER MAKE-ARGUMENT... -- TEST...
{
	folder=$1
	shift
	arguments=
	while [ "$1" != -- ]; do
		arguments="$arguments $1"
		shift
	done
	shift
	# shellcheck disable=SC2046,SC2086 # words
	"$make" --no-print-directory -j2 BUILD="$folder" $arguments \
		$(for test; do echo "$folder/tests/$test"; done) \
		>"$logs/build.log" 2>&1 && return
	grep -m 5 'error' "$logs/build.log"
	echo "  FAIL  build of $folder: see $logs/build.log"
	exit 1
}

# A unit test that starts threads is for TSan, too.
threads_check()
{
	starts='pthread_create|hv_run\(|hv_outlet_begin|ctl_server_start|ctlworld\.h'
	listed=$(echo "$threaded" | tr '\n' ' ')
	for test in $("$make" -s --no-print-directory unit-names); do
		grep -qE "$starts" \
			"tests/$test.c" || continue
		case " $listed " in
		*" $test "*) ;;
		*)
			echo "  FAIL  $test has threads and is not run under TSan"
			bad=1
			;;
		esac
	done
}

bad=0 figure=
# shellcheck disable=SC2048 # names
for part in ${*:-asan tsan valgrind}; do
	case $part in
	asan)
		unit=$("$make" -s --no-print-directory unit-names)
		# shellcheck disable=SC2086 # names
		build_tests "$build/asan" SAN=1 -- $unit
		# shellcheck disable=SC2086
		run ASan+UBSan "$build/asan" -- $unit
		;;
	tsan)
		threads_check
		# shellcheck disable=SC2086
		build_tests "$build/tsan" TSAN=1 -- $threaded
		TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp exitcode=66"
		export TSAN_OPTIONS
		# shellcheck disable=SC2086
		run TSan "$build/tsan" -- $threaded
		;;
	valgrind)
		command -v valgrind >/dev/null || {
			echo "  FAIL  no valgrind; run: make deps"
			exit 1
		}
		# shellcheck disable=SC2086
		build_tests "$build" -- $sample
		# shellcheck disable=SC2086
		run valgrind "$build" valgrind -q --error-exitcode=99 \
			--leak-check=full --errors-for-leak-kinds=definite \
			-- $sample
		;;
	*)
		echo "sanitize.sh: no part $part" >&2
		exit 2
		;;
	esac
done
verdict=unmet
[ $bad -ne 0 ] || verdict=met
[ $# -gt 0 ] || proof_figure Q4 $verdict "$figure"
exit $bad
