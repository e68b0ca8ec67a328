#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Run the benchmarks, print a table, write BUILD/bench/results.json.
#
# usage: run.sh [NAME]...        (default: queue vsc scale chain convert doors nbd
#                                 start guest)
#
# Environment: BUILD, MAKE. A benchmark NAME is tests/bench/NAME.sh: it gets
# the build folder as its argument and prints one JSON object a line, with the
# keys name, ours, peer, limit, unit, ratio, goal and command; its other lines
# go to the terminal. ratio is such that more is better and is to be compared
# with goal. A benchmark that fails is named, and the exit status says so.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
out=$build/bench

tools/deps.sh || exit 1
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$out" || exit 1
"${MAKE:-make}" --no-print-directory -j2 all bench-build \
	>"$out/build.log" 2>&1 || {
	tail -n 20 "$out/build.log" >&2
	echo "bench: the programs do not build (log: $out/build.log)" >&2
	exit 1
}

failed=
: >"$out/results.jsonl"
[ $# -gt 0 ] || set -- queue vsc scale chain convert doors nbd start guest
for name; do
	echo "== $name"
	"tests/bench/$name.sh" "$build" >"$out/$name.out" ||
		failed="$failed $name"
	grep -v '^{' "$out/$name.out"
	grep '^{' "$out/$name.out" >>"$out/results.jsonl"
done
{
	echo '['
	sed '$!s/$/,/' "$out/results.jsonl"
	echo ']'
} >"$out/results.json"

echo
sed 's/^{//; s/}$//' "$out/results.jsonl" | awk '
	# The value of a key; strings here hold no quotes or commas.
	function value(key,  rest)
	{
		if (!match($0, "\"" key "\"[ ]*:[ ]*"))
			return "-"
		rest = substr($0, RSTART + RLENGTH)
		if (rest ~ /^"/) {
			rest = substr(rest, 2)
			sub(/".*/, "", rest)
		} else {
			sub(/,.*/, "", rest)
		}
		return rest == "null" ? "-" : rest
	}
	BEGIN {
		printf "%-34s %12s %12s %-6s %7s %6s\n", "benchmark",
			"ours", "peer", "unit", "ratio", "goal"
	}
	{
		goal = value("goal")
		ratio = value("ratio")
		printf "%-34s %12s %12s %-6s %7s %6s%s\n", value("name"),
			value("ours"), value("peer"), value("unit"), ratio,
			goal, (goal != "-" && ratio + 0 < goal + 0 ? \
			"  below" : "")
	}'
echo
echo "written: $out/results.json"
[ -z "$failed" ] || { echo "bench: failed:$failed" >&2; exit 1; }
