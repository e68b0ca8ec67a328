#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Static analysis of all product sources (goal Q4): gcc -fanalyzer, cppcheck,
# clang-tidy (.clang-tidy), and shellcheck over the scripts.
#
# usage: analyze.sh BUILD [TOOL]...    (default: all, in the long column)
#
# tests/proof/analyze.tsv lists what the tools say and what is wrong with that:
# tool, file, check, text of the line, reason. Anything else that they say is a
# failure, and so is a line of the list that no tool says any more.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=$(mkdir -p "$1" && cd "$1" && pwd) || exit 1
shift
. tests/lib/proof.sh
list=tests/proof/analyze.tsv
out=$build/analyze
mkdir -p "$out"
if [ $# -eq 0 ] && [ "${PROOF_LONG-}" != 1 ]; then
	echo "analysis is part of the long column (or make analyze)"
	exit 0
fi
all='fanalyzer cppcheck clang-tidy shellcheck'
tools=${*:-$all}
jobs=2

for need in cppcheck clang-tidy shellcheck; do
	command -v $need >/dev/null || {
		echo "  FAIL  analyze: no $need; run: make deps"
		exit 1
	}
done

# init.c is the static first process of a nested machine: built apart.
sources()
{
	find vhd hv storvsp tools -name '*.c' | sort
}

scripts()
{
	find tests tools -name '*.sh' | sort
}

flags()
{
	echo "-std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. \
-I$build/gen -I/usr/include/fuse3 -DCLI_VERSION=\"0\" \
-DHV_INIT_FILE=\"$build/gen/hv-init\""
}

# Each prints "FILE:LINE:COLUMN: ... [CHECK]" lines.
run_fanalyzer()
{
	# shellcheck disable=SC2046 # words
	sources | xargs -P $jobs -n 1 gcc $(flags) -pthread -O1 -g -fanalyzer \
		-Wno-analyzer-too-complex -c -o /dev/null 2>&1 |
		sed -n 's/^\([^ :]*:[0-9]*:\)[0-9]*: warning:.*\[-W\([^]]*\)\]$/\1 \2/p'
}

run_cppcheck()
{
	cppcheck -q -j $jobs --std=c11 \
		--enable=warning,portability,performance -D_GNU_SOURCE \
		-D__BYTE_ORDER__=1234 -D__ORDER_LITTLE_ENDIAN__=1234 -I. \
		-I"$build/gen" --template='{file}:{line}: {id}' \
		vhd hv storvsp tools 2>&1 | grep -v ': missingInclude'
}

run_clang_tidy()
{
	# shellcheck disable=SC2046 # words
	sources | xargs -P $jobs -I{} clang-tidy --quiet {} -- $(flags) \
		-include tests/proof/analyze_model.h \
		2>/dev/null |
		sed -n 's/^\([^ ]*:[0-9]*:\)[0-9]*: \(warning\|error\):.*\[\([^],]*\).*\]$/\1 \3/p' |
		sed "s|^$PWD/||"
}

run_shellcheck()
{
	scripts | xargs shellcheck -x -S warning -f gcc |
		sed -n 's/^\([^ :]*:[0-9]*:\)[0-9]*: .*\[\(SC[0-9]*\)\]$/\1 \2/p'
}

# "FILE:LINE: CHECK" into "TOOL<TAB>FILE<TAB>CHECK<TAB>text of the line".
with_text() # TOOL
{
	sort -u | while IFS=': ' read -r file line check; do
		printf '%s\t%s\t%s\t%s\n' "$1" "$file" "$check" \
			"$(sed -n "${line}s/^[ 	]*//p" "$file" | tr '\t' ' ')"
	done | sort -u
}

bad=0
ran=
for tool in $tools; do
	"run_$(echo "$tool" | tr - _)" | with_text "$tool" >"$out/$tool"
	grep -v '^#' $list | awk -F'\t' -v tool="$tool" '$1 == tool' \
		>"$out/$tool.listed"
	awk -F'\t' 'NF != 5 || $5 == "" {
		print "  FAIL  analyze.tsv: no reason: " $0 }' "$out/$tool.listed"
	cut -f 1-4 "$out/$tool.listed" | sort >"$out/$tool.known"
	comm -23 "$out/$tool" "$out/$tool.known" |
		sed 's/^/  FAIL  not listed: /'
	comm -13 "$out/$tool" "$out/$tool.known" |
		sed 's/^/  FAIL  listed, but not found any more: /'
	cmp -s "$out/$tool" "$out/$tool.known" || bad=1
	[ -z "$(awk -F'\t' 'NF != 5 || $5 == ""' "$out/$tool.listed")" ] || bad=1
	ran="$ran${ran:+, }$tool ($(wc -l <"$out/$tool.known") with reasons)"
done
verdict=unmet
[ $bad -ne 0 ] || verdict=met
[ "$tools" = "$all" ] || exit $bad
figure="nothing found by $ran"
[ $bad -eq 0 ] || figure="findings of $ran"
echo "$figure"
proof_figure Q4 $verdict "$figure"
exit $bad
