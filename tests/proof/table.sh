#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The goals of tests/proof/goals.tsv with the figures of a run: a table for
# people, and BUILD/proof/results.json of {id, goal, figure, met} for programs.
#
# usage: table.sh BUILD       exit status 1: a goal is not met or has no figure
#
# Figures are lines "ID<TAB>met|unmet<TAB>figure" in BUILD/proof/figures
# (tests/lib/proof.h, tests/lib/proof.sh). A goal with several of them is met
# if each one is; one without any was not run, and is not met.
set -u
build=${1:?usage: table.sh BUILD}
here=$(dirname "$0")
figures=$build/proof/figures
mkdir -p "$build/proof"
[ -f "$figures" ] || : >"$figures"

awk -F'\t' -v json="$build/proof/results.json" '
function quoted(s)
{
	gsub(/\\/, "\\\\", s)
	gsub(/"/, "\\\"", s)
	gsub(/[[:cntrl:]]/, " ", s)
	return "\"" s "\""
}
FILENAME == ARGV[1] {
	if (NF != 2) { print "goals.tsv:" FNR ": not 2 fields"; bad = 1 }
	order[++n] = $1
	goal[$1] = $2
	next
}
!($1 in goal) || ($2 != "met" && $2 != "unmet") || NF != 3 {
	print "figures:" FNR ": no goal, or not met or unmet: " $0
	bad = 1
	next
}
{
	if ($1 in figure)
		figure[$1] = figure[$1] "; " $3
	else
		figure[$1] = $3
	if ($2 == "unmet")
		unmet[$1] = 1
}
END {
	print "[" >json
	for (i = 1; i <= n; i++) {
		id = order[i]
		ran = id in figure
		met = ran && !(id in unmet)
		if (met) good++
		printf "%-3s %-7s %s\n", id, met ? "met" : ran ? "UNMET" : \
			"not run", goal[id]
		if (ran) printf "            %s\n", figure[id]
		printf "  {\"id\": %s, \"goal\": %s, \"figure\": %s, " \
			"\"met\": %s}%s\n", quoted(id), quoted(goal[id]), \
			ran ? quoted(figure[id]) : "null", \
			met ? "true" : "false", i < n ? "," : "" >json
	}
	print "]" >json
	printf "%d of %d goals met; %s\n", good, n, json
	exit bad || good < n
}' "$here/goals.tsv" "$figures"
