#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# How much of each input surface the seeds in fuzz/corpus reach, all targets
# together: lines and branches of the file under test only.
#
# usage: fuzz-coverage.sh BUILD FILE:TARGET...
#
# Built with clang's counters by "make fuzz-cov-build". The goal is 95 % of
# lines and 85 % of branches of each file; what each has, and why some have
# less, is in tests/proof/fuzz-coverage.tsv: FILE, lines, branches, reason. A
# file that is not in it, or has dropped by more than one point, fails.
# FUZZ_COVERAGE_WRITE=1 writes the new figures into it and keeps its reasons.
set -u
build=${1:?usage: fuzz-coverage.sh BUILD FILE:TARGET...}
shift
cd "$(dirname "$0")/.." || exit 1
. tests/lib/proof.sh
known=tests/proof/fuzz-coverage.tsv
table=$build/cov/table.tsv
profdata=$(command -v llvm-profdata-14 || command -v llvm-profdata)
cov=$(command -v llvm-cov-14 || command -v llvm-cov)
mkdir -p "$build/cov" "$build/logs"

# Run the seeds of target $1 and gather its counters.
replay()
{
	# some targets go to a folder of their own: no relative name
	LLVM_PROFILE_FILE=$(realpath "$build")/cov/$1.profraw \
		"$build/cov/$1" -runs=0 "fuzz/corpus/$1" \
		>"$build/logs/cov-$1.log" 2>&1
}

bad=0
raws=()
objects=()
for target in $(printf '%s\n' "${@##*:}" | sort -u); do
	replay "$target" || { echo "  FAIL  replay of $target"; bad=1; }
	raws+=("$build/cov/$target.profraw")
	objects+=(-object "$build/cov/$target")
done
[ $bad = 0 ] || exit 1
"$profdata" merge -sparse -o "$build/cov/all.profdata" "${raws[@]}" || exit 1
rm -f "${raws[@]}"

# FILE TARGET lines-reached lines branches-reached branches
"$cov" export -summary-only -instr-profile="$build/cov/all.profdata" \
	"${objects[@]:1}" "${@%%:*}" 2>"$build/logs/cov-export.log" |
python3 -c '
import json, os, sys
seen = {os.path.relpath(f["filename"]): f["summary"]
        for f in json.load(sys.stdin)["data"][0]["files"]}
for surface in sys.argv[1:]:
    name, target = surface.split(":")
    s = seen[name]
    print(name, target, s["lines"]["covered"], s["lines"]["count"],
          s["branches"]["covered"], s["branches"]["count"], sep="\t")
' "$@" >"$table.new" || exit 1

awk -F'\t' -v known="$known" -v next_known="$table" '
BEGIN {
	while ((getline line <known) > 0) {
		if (line ~ /^#/) { head = head line "\n"; continue }
		split(line, f, "\t")
		was_l[f[1]] = f[2]; was_b[f[1]] = f[3]; why[f[1]] = f[4]
	}
	printf "%s", head >next_known
	printf "%-27s %-16s %7s %9s\n", "file", "target", "lines", "branches"
}
{
	l = 100 * $3 / $4
	b = $6 ? 100 * $5 / $6 : 100
	low = l < 95 || b < 85
	note = low ? "below: " (why[$1] ? why[$1] : "NO REASON") : ""
	if (!($1 in was_l)) {
		note = "NOT IN THE TABLE"; dropped++
	} else if (l < was_l[$1] - 1 || b < was_b[$1] - 1) {
		note = sprintf("DROPPED from %s %% and %s %%", was_l[$1], was_b[$1])
		dropped++
	}
	printf "%-27s %-16s %6.1f%% %8.1f%% %s\n", $1, $2, l, b, note
	printf "%s\t%.1f\t%.1f\t%s\n", $1, l, b, low ? why[$1] : "" \
		>next_known
	n++
	good += !low
	open_ += low && !why[$1]
}
END {
	printf "%d of %d files reach 95 %% of lines and 85 %% of branches, %d " \
		"below without a reason, %d dropped\n", good, n, open_, \
		dropped
}' "$table.new" >"$build/cov/table.txt"
cat "$build/cov/table.txt"
rm -f "$table.new"
[ "${FUZZ_COVERAGE_WRITE-}" != 1 ] || cp "$table" "$known"

# The quick column reports; the long one asks for the goal.
summary=$(tail -n 1 "$build/cov/table.txt")
verdict=met
case $summary in
*", 0 dropped") ;;
*) verdict=unmet ;;
esac
status=$verdict
if [ "${PROOF_LONG-}" = 1 ] && ! echo "$summary" |
   awk '{ exit $1 != $3 }'; then
	verdict=unmet
fi
[ "${PROOF_LONG-}" = 1 ] ||
	summary="a report, the long column wants all: $summary"
proof_figure Z5 "$verdict" "$summary"
[ "$status" = met ]
