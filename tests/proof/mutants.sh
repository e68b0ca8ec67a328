#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Tests of the tests: one-line defects planted in a copy of the tree, each of
# which a named unit test must notice (goal Q3).
#
# usage: mutants.sh BUILD [ID]...     (default: a seeded few; PROOF_LONG=1: all,
#                                      or those of PROOF_SHARD)
#
# Environment: SEED (default 1) and SAMPLE (default 12) choose the few, and SEED
# is what random tests begin with; SAN=1: BUILD is sanitized; MAKE.
#
# tests/proof/mutants.tsv has one defect a line: id, kind, file, function,
# line, replacement, tests. The line is given without its indentation and
# occurs once in the function ("-": in the file); "function:2" is its second
# occurrence. Each of the tests (a,b,c) must fail with the defect in, and pass
# without it. What shows only where two processors meet ("wrong-barrier") is run
# until it fails, 20 times at most, and is not among the few. Nothing in this
# tree or in BUILD is changed but by make itself.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=$(mkdir -p "$1" && cd "$1" && pwd) || exit 1
shift
table=tests/proof/mutants.tsv
seed=${SEED:-1}
sample=${SAMPLE:-12}
make=${MAKE:-make}
tree=$(pwd)
. tests/lib/proof.sh
tab=$(printf '\t')
dir=$(mktemp -d "${TMPDIR:-/tmp}/mutants.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

# Seconds that a test may take: a defect may well make one run for ever.
limit=300
tries=20

# --- the table

planted=$(grep -vc '^#' $table)

# What is asked for, into $dir/chosen.
choose() # [ID]...
{
	if [ $# -gt 0 ]; then
		for id; do
			grep "^$id$tab" $table || {
				echo "mutants.sh: no defect $id" >&2
				return 1
			}
		done
	elif [ "${PROOF_LONG-}" = 1 ]; then
		grep -v '^#' $table | awk -v part="${PROOF_SHARD:-1/1}" '
			BEGIN { split(part, of, "/") }
			NR % of[2] == of[1] % of[2]'
	else
		awk -F'\t' -v seed="$seed" -v want="$sample" '
			BEGIN { srand(seed) }
			!/^#/ && $2 != "wrong-barrier" { line[++n] = $0 }
			END {
				for (; want > 0 && n > 0; want--) {
					i = int(rand() * n) + 1
					print line[i]
					line[i] = line[n--]
				}
			}' $table
	fi >"$dir/chosen"
}

# --- planting

# The file with the defect, on stdout; status 1 where the line is not there
# exactly once. Texts go by the environment, which leaves backslashes alone.
mutate() # FILE FUNCTION LINE REPLACEMENT
{
	in=${2%%:*} nth=0
	[ "$in" = "$2" ] || nth=${2##*:}
	IN=$in NTH=$nth LINE=$3 NEW=$4 awk '
	BEGIN {
		want = ENVIRON["IN"]
		inside = want == "-"
	}
	want != "-" && /^[A-Za-z_].*\(/ && !/;$/ {
		name = $0
		sub(/\(.*/, "", name)
		sub(/.*[ *]/, "", name)
		inside = name == want
	}
	{
		text = $0
		sub(/^[ \t]+/, "", text)
		if (inside && text == ENVIRON["LINE"] &&
		    (++seen == ENVIRON["NTH"] || !+ENVIRON["NTH"])) {
			hits++
			print ENVIRON["NEW"]
			next
		}
		print
	}
	want != "-" && /^}/ { inside = 0 }
	END { exit hits != 1 }' "$1"
}

# A tree of its own, and what was built of this one, with all their times, so
# that make builds there only what a defect changes.
copy_tree()
{
	mkdir "$dir/tree" "$dir/tree/build" || return
	tar c Makefile vhd hv storvsp tools tests fuzz | tar x -C "$dir/tree" &&
	(cd "$build" && tar c obj lib gen .deps tests) |
		tar x -C "$dir/tree/build" --exclude='*/cases' || return
	find "$dir/tree/build" -name '*.d' -exec \
		sed -i "s|$build/|build/|g; s|${build#"$tree"/}/|build/|g" {} +
}

# Back to what was built without a defect; lists of dependencies may stay.
restore() # FILE
{
	cp -p "$1" "$dir/tree/$1"
	find "$dir/tree/build" -newer "$dir/stamp" -type f ! -name '*.d' |
		while read -r path; do
			part=${path#"$dir/tree/build/"}
			if [ -e "$build/$part" ]; then
				cp -p "$build/$part" "$path"
			else
				rm -f "$path"
			fi
		done
}

make_tests() # FOLDER BUILD TEST,...
{
	# shellcheck disable=SC2046 # names
	"$make" -C "$1" --no-print-directory -j2 BUILD="$2" SAN="${SAN-}" \
		$(echo "$3" | tr ',' '\n' | sed "s|^|$2/tests/|") \
		>"$dir/log" 2>&1
}

# Whether the test fails; a race is given more than one chance.
notices() # TEST KIND
{
	left=1
	[ "$2" != wrong-barrier ] || left=$tries
	while [ $left -gt 0 ]; do
		run_test "$1" || return 0
		left=$((left - 1))
	done
	return 1
}

run_test() # TEST
{
	(
		cd "$dir/tree" || exit 0
		# What a planted defect does is no figure.
		unset PROOF PROOF_LONG PROOF_SHARD
		SEED=$seed timeout -k 5 $limit "build/tests/$1"
		exit $? # by this shell, which says of signals in the log
	) >"$dir/log" 2>&1 </dev/null
}

# One defect: prints and counts what became of it.
plant()
{
	if ! mutate "$file" "$function" "$line" "$new" >"$dir/mutated"; then
		echo "  FAIL  $id: $file has no such line, or several"
		return 1
	fi
	touch "$dir/stamp"
	cp "$dir/mutated" "$dir/tree/$file"
	rc=0
	if ! make_tests "$dir/tree" build "$tests"; then
		echo "  FAIL  $id: does not build:"
		grep -m 3 'error' "$dir/log"
		rc=1
	else
		for test in $(echo "$tests" | tr ',' ' '); do
			notices "$test" "$kind" && continue
			echo "  FAIL  $id ($kind, $file): $test passes with it"
			rc=1
		done
	fi
	restore "$file"
	return $rc
}

# --- all of them

unset MAKEFLAGS MAKEOVERRIDES MFLAGS
choose "$@" || exit 2
# Without a defect everything named passes, or nothing can be learnt.
all=$(cut -f 7 "$dir/chosen" | tr ',' '\n' | sort -u | paste -sd ,)
make_tests . "$build" "$all" || { tail -n 5 "$dir/log"; exit 1; }
copy_tree || exit 1
for test in $(echo "$all" | tr ',' ' '); do
	run_test "$test" || {
		echo "  FAIL  $test fails without any defect"
		tail -n 5 "$dir/log"
		exit 1
	}
done
tried=0 killed=0
while IFS=$tab read -r id kind file function line new tests <&4; do
	tried=$((tried + 1))
	plant && killed=$((killed + 1))
done 4<"$dir/chosen"

what=all
[ "$tried" -eq "$planted" ] || [ "${PROOF_LONG-}" = 1 ] ||
	what="of $planted, seed $seed"
figure="$killed of $tried planted defects killed ($what)"
echo "$figure"
verdict=unmet
[ "$killed" -lt "$tried" ] || [ "$planted" -lt 60 ] || verdict=met
[ $# -gt 0 ] || proof_figure Q3 $verdict "$figure"
[ "$killed" -eq "$tried" ]
