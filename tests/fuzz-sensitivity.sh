#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Do the fuzzers find defects? Each one of tests/proof/fuzz-defects.tsv is
# planted into a copy of the tree, its target is built and run for at most
# BUDGET seconds from the seeds in fuzz/corpus. Most are found as the seeds are
# replayed: the tree is tidied up only where its seeds have seen it. "Blind"
# counts those that are found from an empty corpus, too, and is for information.
#
# usage: fuzz-sensitivity.sh BUILD [BUDGET]       (60)
# Environment: MAKE, BLIND (seconds from an empty corpus; 0: not tried)
set -u
build=$(realpath -m "${1:?usage: fuzz-sensitivity.sh BUILD [BUDGET]}")
budget=${2:-60}
blind=${BLIND:-0}
make=${MAKE:-make}
cd "$(dirname "$0")/.." || exit 1
. tests/lib/proof.sh
table=tests/proof/fuzz-defects.tsv
work=$build/sensitivity
tree=$work/tree
unset MAKEFLAGS MFLAGS
rm -rf "$work"
mkdir -p "$tree" "$work/logs"
cp -r Makefile fuzz hv storvsp tests tools vhd "$tree" || exit 1

# Run a target in the tree: 0 if it ended with a finding.
finds() # TARGET SECONDS CORPUS LOG
{
	rm -rf "$work/new"
	mkdir -p "$work/new"
	timeout $(($2 + 60)) "$work/b/fuzz/$1" -max_total_time="$2" -seed=1 \
		-timeout=10 -rss_limit_mb=2048 \
		-artifact_prefix="$work/new/find-" "$work/new" $3 \
		>"$4" 2>&1
	[ $? -ne 0 ] && grep -qaE 'FINDING|ERROR: |runtime error|SUMMARY' "$4"
}

planted=0 found=0 alone=0
while IFS=$'\t' read -r file what becomes target about; do
	case $file in '#'* | '') continue ;; esac
	planted=$((planted + 1))
	log=$work/logs/$planted-$target
	# A copy from the working tree, so that make sees a newer file.
	sed "s~$what~$becomes~" "$file" >"$tree/$file"
	changed=$(diff "$file" "$tree/$file" | grep -c '^>')
	if [ "$changed" -ne 1 ]; then
		echo "  FAIL  $file: $changed lines changed by: $what"
		exit 1
	fi
	if ! "$make" --no-print-directory -C "$tree" BUILD="$work/b" -j2 \
	     "$work/b/fuzz/$target" >"$log.build" 2>&1; then
		echo "  FAIL  $file: does not build: see $log.build"
		exit 1
	fi
	start=$(date +%s)
	verdict='NOT FOUND'
	if finds "$target" "$budget" "fuzz/corpus/$target" "$log"; then
		verdict="found after $(($(date +%s) - start)) s"
		found=$((found + 1))
	fi
	if [ "$blind" -gt 0 ] && finds "$target" "$blind" '' "$log.blind"; then
		verdict="$verdict, blind too"
		alone=$((alone + 1))
	fi
	printf '  %-24s %-16s %s: %s\n' "$file" "$target" "$verdict" "$about"
	cp "$file" "$tree/$file"
	touch "$tree/$file"
done <"$table"

figure="$found of $planted planted defects, $budget s each, seed 1"
[ "$blind" -eq 0 ] ||
	figure="$figure; $alone of them in $blind s from an empty corpus"
echo "$figure"
verdict=unmet
[ "$planted" -ge 20 ] && [ $((found * 20)) -ge $((planted * 18)) ] &&
	verdict=met
proof_figure Z7 "$verdict" "$figure"
rm -rf "$tree" "$work/b" "$work/new"
[ "$verdict" = met ]
