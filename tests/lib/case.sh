# SPDX-License-Identifier: BSD-2-Clause
# What scripts of cases share: what a case says and asks, and how cases are
# run. Read by them, not run.
#
# The reader sets dir (a folder of its own), build, tier and prefix (its lines
# in BUILD/results are "TIER PREFIXCASE pass|fail|skip SECONDS"), has a
# function cases that prints "NAME FUNCTION ARGUMENT..." lines, and ends with
# run_cases "$@". Each case runs in $dir/case, empty at its beginning; the last
# command that it asked about has left $dir/out and $dir/err.
# shellcheck shell=sh disable=SC2154 # dir, build, tier, prefix: the reader's

# Of what is random: the same in every run, so that a commit passes or fails for
# good; SEED says another.
# shellcheck disable=SC2034 # the reader uses it
base_seed=${SEED:-1}

# --- what cases say

fail()
{
	echo "$*" >&2
	exit 1
}

skip()
{
	echo "$*" >"$dir/skip"
	exit 0
}

# --- what cases ask

# The exit status; the outputs in $dir/out and $dir/err.
status_of() # COMMAND...
{
	"$@" >"$dir/out" 2>"$dir/err"
	echo $?
}

expect() # STATUS COMMAND...
{
	want=$1
	shift
	"$@" >"$dir/out" 2>"$dir/err"
	got=$?
	[ "$got" = "$want" ] ||
		fail "status $got, not $want: $*; $(cat "$dir/err" "$dir/out")"
}

must() # COMMAND...
{
	expect 0 "$@"
}

# What the last command printed has this word.
said() # WORD
{
	grep -q -- "$1" "$dir/out" || fail "no '$1' in: $(cat "$dir/out")"
}

# What it said on stderr has it.
complained() # WORD
{
	grep -q -- "$1" "$dir/err" || fail "no '$1' in: $(cat "$dir/err")"
}

# Every file of the case; its change time tells of any write. Directories and
# pipes have times of their own.
state()
{
	find . -mindepth 1 \( -type d -o -type p -o -type s \) -printf '%p\n' \
		-o -mindepth 1 -printf '%p %s %T@ %C@\n' | sort
}

# One status, one line on stderr, and no other change to the folder.
refused_somehow() # STATUS COMMAND...
{
	before=$(state)
	expect "$@"
	[ "$(wc -l <"$dir/err")" -eq 1 ] ||
		fail "not one line: $*; $(cat "$dir/err")"
	[ "$before" = "$(state)" ] || fail "changed something: $*"
}

# The line has these words.
refused_for() # STATUS WORDS COMMAND...
{
	status=$1
	words=$2
	shift 2
	refused_somehow "$status" "$@"
	complained "$words"
}

# The line begins like that.
refused() # STATUS BEGIN COMMAND...
{
	status=$1
	begin=$2
	shift 2
	refused_somehow "$status" "$@"
	case $(cat "$dir/err") in
	"$begin"*) ;;
	*) fail "not '$begin...': $(cat "$dir/err")" ;;
	esac
}

# --- what cases change

# Write bytes over a file at an offset.
poke() # FILE OFFSET BYTES-AS-OCTAL-ESCAPES
{
	# shellcheck disable=SC2059 # escapes are the point
	printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# --- how they are run

# Small programs of tests/, into $dir.
compile() # SOURCE PROGRAM WORD...
{
	source=$1
	program=$2
	shift 2
	${CC:-cc} -D_GNU_SOURCE -I. -Wall -Wextra -Werror -o "$dir/$program" \
		"tests/$source.c" "$@" || exit 1
}

# Those that use the library, as it was built.
compile_with_vhd() # SOURCE PROGRAM WORD...
{
	compile "$@" "$build/lib/libvhd.a" -luring -laio -lisal -lnbd -pthread \
		${SAN:+$([ "$SAN" != 1 ] || echo -fsanitize=address,undefined)}
}

compile_chain()
{
	compile_with_vhd tools_chain chain tests/lib/diffimg.c \
		tests/lib/vhdimg.c tests/lib/memfile.c
}

# A reader with something to begin (in the case's own process) or to put away
# (after it) has its own.
case_begins() { :; }
case_over() { :; }

run_case() # NAME FUNCTION ARGUMENT...
{
	name=$1
	shift
	start=$(date +%s)
	mkdir "$dir/case"
	rm -f "$dir/skip"
	if ! (
		case_begins
		cd "$dir/case" && "$@"
	) 2>"$dir/log" >&2; then
		verdict=fail
		echo "  FAIL  $tier $prefix$name: $(tail -n 12 "$dir/log")"
		bad=1
	elif [ -e "$dir/skip" ]; then
		verdict=skip
		echo "  skip  $tier $prefix$name: $(cat "$dir/skip")"
	else
		verdict=pass
		echo "  ok    $tier $prefix$name"
	fi
	echo "$tier $prefix$name $verdict $(($(date +%s) - start))" \
		>>"${RESULTS:-$build/results}"
	case_over
	rm -rf --one-file-system "$dir/case"
}

run_cases() # [CASE]...: all by default
{
	bad=0
	wanted=" $* "
	cases >"$dir/cases"
	while read -r name words <&4; do
		case $wanted in
		'  ' | *" $name "*) ;;
		*) continue ;;
		esac
		# shellcheck disable=SC2086 # lists of words
		run_case "$name" $words
	done 4<"$dir/cases"
	return $bad
}
