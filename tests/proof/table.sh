#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The goals of tests/proof/goals.tsv with the figures of a run: a table for
# people, and BUILD/proof/results.json for programs: {id, goal, figure, met,
# long}, where long is null or {figure, met, seconds, commits}.
#
# usage: table.sh BUILD [long]
#   exit status 1: a goal is not met or has no figure; "long": one that has a
#   long column is not met there
#
# Figures are lines "ID<TAB>met|unmet<TAB>figure" in BUILD/proof/figures
# (tests/lib/proof.h, tests/lib/proof.sh). A goal with several of them is met
# if each one is; one without any was not run, and is not met.
#
# Below stands what tests/proof/long.tsv holds of the long column (long.sh),
# with the processor's seconds and the commits it ran on. Figures of the parts
# of one piece that differ in numbers only are one figure with their sums, but
# for seeds and what comes after an "x", which are a range. The third field of
# goals.tsv says which goals have such sums, and how much they must come to:
# the first number of the figure, the second one behind a comma. A goal is met
# in the long column if all parts of all pieces that measure it (long.sh -g) ran
# to a good end, each met its own and the sum is enough.
set -u
build=${1:?usage: table.sh BUILD}
here=$(dirname "$0")
figures=$build/proof/figures
mkdir -p "$build/proof"
[ -f "$figures" ] || : >"$figures"
ledger=$here/long.tsv
if [ -s "$ledger" ]; then
	pieces=$build/proof/pieces
	"$here/long.sh" "$build" -g >"$pieces" || exit 1
else
	ledger=/dev/null
	pieces=/dev/null
fi

awk -F'\t' -v only_long="${2-}" -v json="$build/proof/results.json" '
function quoted(s)
{
	gsub(/\\/, "\\\\", s)
	gsub(/"/, "\\\"", s)
	gsub(/[[:cntrl:]]/, " ", s)
	return "\"" s "\""
}
function ranged(words)
{
	return words ~ /(seed|from|x) $/
}
# The words of a figure with "#" in place of its numbers, which go to num.
function take_apart(s,   words)
{
	numbers = 0
	while (match(s, /(^|[ (,])[0-9]+/)) {
		if (substr(s, RSTART, 1) !~ /[0-9]/) {
			RSTART++
			RLENGTH--
		}
		words = words substr(s, 1, RSTART - 1)
		wide[++numbers] = ranged(words)
		num[numbers] = substr(s, RSTART, RLENGTH)
		words = words "#"
		s = substr(s, RSTART + RLENGTH)
	}
	return words s
}
# Adds a figure of the long column to those of its goal.
function long_add(id, s,   k, i, at)
{
	k = id in least ? take_apart(s) : s
	if (!((id, k) in place)) {
		place[id, k] = ++kinds[id]
		kind[id, kinds[id]] = k
		width[id, kinds[id]] = id in least ? numbers : 0
	}
	at = place[id, k]
	for (i = 1; id in least && i <= numbers; i++) {
		if (!((id, at, i) in low)) {
			low[id, at, i] = high[id, at, i] = num[i]
			ranges[id, at, i] = wide[i]
			if (!wide[i])
				high[id, at, i] = 0
		}
		if (!wide[i])
			high[id, at, i] += num[i]
		else if (num[i] + 0 < low[id, at, i] + 0)
			low[id, at, i] = num[i]
		else if (num[i] + 0 > high[id, at, i] + 0)
			high[id, at, i] = num[i]
	}
}
function long_number(id, at, i)
{
	if (ranges[id, at, i] && low[id, at, i] != high[id, at, i])
		return low[id, at, i] ".." high[id, at, i]
	return sprintf("%d", high[id, at, i])
}
# All of its figures, as one.
function long_text(id,   at, i, s, text)
{
	for (at = 1; at <= kinds[id]; at++) {
		s = kind[id, at]
		for (i = 1; i <= width[id, at]; i++)
			sub(/#/, long_number(id, at, i), s)
		text = text (at > 1 ? "; " : "") s
	}
	return text
}
function long_enough(id,   n, i, want)
{
	n = split(least[id], want, ",")
	for (i = 1; i <= n; i++)
		if (high[id, 1, i] + 0 < want[i] + 0)
			return 0
	return 1
}
# How many parts ran of those that the pieces of the goal have.
function long_parts(id,   p, have, all)
{
	for (p in parts_of)
		if (index(" " goals_of[p] " ", " " id " ")) {
			all += parts_of[p]
			have += ran_parts[id, p]
		}
	return have < all ? have + 0 " of " all " parts" : ""
}
FILENAME == ARGV[1] {
	if (NF != 2 && NF != 3) {
		print "goals.tsv:" FNR ": not 2 or 3 fields"
		bad = 1
	}
	order[++n] = $1
	goal[$1] = $2
	if (NF == 3)
		least[$1] = $3
	next
}
FILENAME == ARGV[2] && ARGV[2] != "/dev/null" {
	split($0, word, " ")
	parts_of[word[1]] = word[2]
	goals_of[word[1]] = substr($0, length(word[1] " " word[2] " ") + 1)
	next
}
FILENAME == ARGV[3] && ARGV[3] != "/dev/null" {
	if (NF != 8 || ($6 != "-" && !($6 in goal))) {
		print "long.tsv:" FNR ": not 8 fields, or no goal"
		bad = 1
		next
	}
	piece = $1
	sub(/:.*/, "", piece)
	parts = $1
	if (!sub(/.*\//, "", parts))
		parts = 1
	if (parts_of[piece] != parts) {
		print "long.tsv:" FNR ": " $1 ": no such piece, or part of one"
		bad = 1
		next
	}
	if ($6 == "-") {
		if ($7 == "unmet") {
			print "long.tsv: " $1 " failed at " $3 ": " $8
			long_failed[piece]
			failures++
		}
		next
	}
	long_add($6, $8)
	if ($7 != "met")
		long_bad[$6] = 1
	if (!(($6, $1) in counted)) {
		counted[$6, $1]
		ran_parts[$6, piece]++
		seconds[$6] += $5
		if (index(commits[$6] " ", " " $3 " ") == 0)
			commits[$6] = commits[$6] " " $3
	}
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
	for (piece in long_failed) {
		words = split(goals_of[piece], word, " ")
		for (i = 1; i <= words; i++)
			long_bad[word[i]] = 1
	}
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
			"\"met\": %s, ", quoted(id), quoted(goal[id]), \
			ran ? quoted(figure[id]) : "null", \
			met ? "true" : "false" >json
		if (!kinds[id]) {
			printf "\"long\": null}%s\n", i < n ? "," : "" >json
			continue
		}
		missing = long_parts(id)
		met = !(id in long_bad) && missing == "" && long_enough(id)
		long++
		if (met) long_good++
		text = long_text(id) (missing == "" ? "" : "; " missing)
		printf "    %-7s long: %s [%d s, at%s]\n", \
			met ? "met" : "UNMET", text, seconds[id], commits[id]
		printf "\"long\": {\"figure\": %s, \"met\": %s, " \
			"\"seconds\": %d, \"commits\": %s}}%s\n", \
			quoted(text), met ? "true" : "false", seconds[id], \
			quoted(substr(commits[id], 2)), i < n ? "," : "" >json
	}
	print "]" >json
	printf "%d of %d goals met, %d of %d in the long column; %s\n", \
		good, n, long_good, long, json
	exit bad || (only_long ? failures || long_good < long : good < n)
}' "$here/goals.tsv" "$pieces" "$ledger" "$figures"
