#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The long columns, piece by piece; what "make check-long" runs.
#
# usage: long.sh BUILD [-n|-g] [PIECE]...     (default: all of them)
#   PIECE: a name of the table below, or one part of it: crash or crash:3/17
#   -n: run nothing, say of each what is known
#   -g: run nothing, say "PIECE PARTS GOALS" of all, for table.sh
#
# Environment: MAKE, FUZZ_SECONDS (900 for each target), JOBS (pieces at once,
# but for those with guests; 1).
#
# A piece that ends is put down in long.tsv, which is kept under version
# control: lines "PIECE SOURCES COMMIT ELAPSED PROCESSOR ID met|unmet FIGURE"
# with tabs between, seconds, and "-" for ID where it measures no goal. A "+"
# behind the commit: with changes on top. Its former lines go, and those of
# another number of parts. tests/proof/table.sh shows them beside the quick
# column.
#
# What was met is not done again as long as its sources are the same: SOURCES
# is a hash over the contents of the files that the table names for it, of every
# header of ours that they include, and of the tests' library what these headers
# are of: tests/lib/NAME.c and NAME_*.c for tests/lib/NAME.h.
# Neither the compiler, its options, the libraries of the system nor the kernel
# count, nor what a script starts besides (guests). Those whose subject is the
# whole tree (mutants, repeat, sanitize) change with each line of it; a figure
# of an older commit is still shown, with that commit.
#
# A piece that measures nothing of one of its goals has failed, whatever it says
# itself: a tool may have been missing. So has one whose sources changed while
# it ran; its programs are brought up to date before it begins.
set -u
cd "$(dirname "$0")/../.." || exit 1
here=tests/proof
build=$(mkdir -p "$1" && cd "$1" && pwd) || exit 1
shift
# What every piece writes is about this tree, whoever called make.
unset MAKEFLAGS MAKEOVERRIDES MFLAGS
make=${MAKE:-make}
ledger=$here/long.tsv
seconds=${FUZZ_SECONDS:-900}
tab=$(printf '\t')

# What the programs are made of, in the words of the Makefile.
device='$(VHD_SRC) $(VMBUS_SRC) $(STORVSP_SRC)'
tool="$device "'$(HV_SRC) $(CLI_SRC) $(SANDBOX_SRC) $(wildcard tools/*/*.c)'
all="vhd/ hv/ storvsp/ tools/ tests/ fuzz/ Makefile"

# NAME|PARTS|GOALS|SOURCES|COMMAND, the shortest first within what belongs
# together. GOALS: what each part has a figure of, "-" for none. A word of
# SOURCES that ends in "/" is everything below it.
pieces()
{
	cat <<-EOF
	barriers|1|C5|$device \$(wildcard $here/crash*.c) $here/barriers.tsv|\$build/tests/proof/crash barriers
	crash|17|C1 C2 C3 C4 C6|$device \$(wildcard $here/crash*.c)|\$build/tests/proof/crash one two
	fault|10|F1 F2 F3|\$(VHD_SRC) \$(FAULT_SRC) tests/vhd_fault.c|\$build/tests/vhd_fault
	fault_guest|1|F4|$device tests/storvsp_fault_table.c|\$build/tests/storvsp_fault_table
	sim|20|D1 D2 D3|$device \$(wildcard $here/sim*.c) $here/sim.tsv|$here/sim.sh \$build
	agree|1|C7|$device tests/cross_vhd.c \$(wildcard $here/crash*.c) $here/agree.sh|$here/agree.sh \$build
	full|1|F6|$tool \$(wildcard $here/tool*.c) $here/tools.sh|$here/tools.sh \$build full
	calls|6|F5|$tool \$(wildcard $here/tool*.c) $here/tools.sh|$here/tools.sh \$build calls
	kills|2|F7|$tool \$(wildcard $here/tool*.c) $here/tools.sh|$here/tools.sh \$build kills
	memory|6|M1 M2|$tool \$(wildcard $here/tool*.c) $here/tools.sh|$here/tools.sh \$build memory
	nbd|1|-|$tool tests/store_work.c tests/nbd.sh|tests/nbd.sh \$build
	sandbox|1|S3|$tool $here/sandbox_threads.sh|$here/sandbox_threads.sh \$build
	mutants|8|Q3|$all|$here/mutants.sh \$build
	coverage|1|Q1|$all|$here/coverage.sh \$build
	analyze|1|Q4|$all|$here/analyze.sh \$build
	sanitize|1|Q4|$all|$here/sanitize.sh \$build
	repeat|10|Q5|$all|$here/repeat.sh \$build
	EOF
	for target in $(by_make '$(FUZZ)'); do
		echo "fuzz-$target|1|Z2 Z3 Z4 Z6|fuzz/$target.c \$(FUZZ_SRC_$target)|tests/run-fuzz.sh \$build $seconds $target"
	done
	cat <<-EOF
	fuzz-coverage|1|Z5|$all|$make -s BUILD=\$build fuzz-coverage
	fuzz-sensitivity|1|Z7|$all|$make -s BUILD=\$build fuzz-sensitivity
	guest-nbd|1|-|$tool tests/guest/|tests/guest/run.sh \$build nbd
	guest-torture|1|-|$tool tests/guest/|tests/guest/run.sh \$build torture
	guest-kill|1|-|$tool tests/guest/|tests/guest/run.sh \$build kill
	EOF
}

by_make() # EXPRESSION
{
	"$make" -s --no-print-directory BUILD="$dir/none" \
		--eval="long-words: ; @echo $1" long-words
}

# What includes what, "FILE<tab>HEADER" each, by the words in it; a header that
# make generates is made of what is here.
includes()
{
	folders='vhd hv storvsp tools tests fuzz'
	# shellcheck disable=SC2086 # names
	find $folders -name '*.[ch]' >"$dir/files"
	# shellcheck disable=SC2086
	grep -rHo --include='*.[ch]' '^# *include "[^"]*"' $folders |
		awk -F'"' 'NR == FNR { known[$0]; next }
		{
			file = $1
			sub(/:.*/, "", file)
			folder = file
			sub(/[^\/]*$/, "", folder)
			name = (folder $2) in known ? folder $2 : $2
			if (name in known)
				print file "\t" name
		}' "$dir/files" -
}

# Files that belong to a piece by what SOURCES names, one a line.
files() # SOURCES
{
	for word in $(by_make "$1"); do
		case $word in
		*/) find "$word" -type f ! -path '*/corpus/*' \
			! -path "$ledger" ;;
		*) echo "$word" ;;
		esac
	done >"$dir/named"
	[ -s "$dir/includes" ] || includes >"$dir/includes"
	awk -F"$tab" '
		FILENAME == ARGV[1] {
			if ($1 !~ /^tests\/lib\/.*\.c$/)
				next
			of = $1
			sub(/\.c$/, "", of)
			do heads[of ".h"] = heads[of ".h"] " " $1
			while (sub(/_[^_\/]*$/, "", of))
			next
		}
		FILENAME == ARGV[2] { heads[$1] = heads[$1] " " $2; next }
		{ todo[++n] = $1 }
		END {
			for (i = 1; i <= n; i++) {
				if (todo[i] in seen)
					continue
				seen[todo[i]]
				print todo[i]
				count = split(heads[todo[i]], h, " ")
				for (k = 1; k <= count; k++)
					todo[++n] = h[k]
			}
		}' "$dir/files" "$dir/includes" "$dir/named"
}

hash_now() # SOURCES
{
	files "$1" | LC_ALL=C sort >"$dir/hashed"
	[ -s "$dir/hashed" ] || { echo "long.sh: no files: $1" >&2; return 1; }
	xargs sha256sum <"$dir/hashed" | sha256sum | cut -c1-12
}

# The same, as it was when it was asked for first.
hash_of() # SOURCES
{
	name=$dir/hash-$(echo "$1" | cksum | cut -d' ' -f1)
	[ -s "$name" ] || hash_now "$1" >"$name" || return
	cat "$name"
}

hash_again() # SOURCES
{
	rm -f "$dir/includes"
	hash_now "$1"
}

# What it runs is made of these sources. One make at a time in the folder.
bring_up_to_date() # NAME
{
	case $1 in
	fuzz-coverage | fuzz-sensitivity) set -- fuzz-build ;;
	fuzz-*) set -- "$build/fuzz/${1#fuzz-}" ;;
	*) set -- all unit-build ;;
	esac
	flock "$build/proof/make.lock" "$make" -s --no-print-directory \
		BUILD="$build" "$@"
}

# Lines for goals that nothing was measured of.
missing() # FIGURES GOAL...
{
	list=$1
	shift
	for goal; do
		[ "$goal" = - ] || grep -q "^$goal$tab" "$list" ||
			echo "$goal${tab}unmet${tab}nothing was measured"
	done
}

# done: with these sources; old: with others; unmet: a figure is; or none
state() # PIECE HASH
{
	[ -f "$ledger" ] || { echo none; return; }
	awk -F"$tab" -v piece="$1" -v hash="$2" '
		$1 == piece {
			seen = 1
			if ($2 != hash) old = 1
			else if ($7 != "met") unmet = 1
		}
		END { print !seen ? "none" : old ? "old" : \
			unmet ? "unmet" : "done" }' "$ledger"
}

commit()
{
	hash=$(git rev-parse --short=12 HEAD 2>/dev/null) || hash=none
	git diff --quiet HEAD -- . ":!$ledger" 2>/dev/null || hash=$hash+
	echo "$hash"
}

# The lines in place of the piece's former ones and those of other parts.
put_down() # PIECE PARTS LINES
{
	(
		flock 9
		awk -F"$tab" -v piece="$1" -v parts="$2" '
			BEGIN { base = piece; sub(/:.*/, "", base) }
			{ of = $1; at = sub(/:[0-9]+\//, "/", of) }
			$1 != piece && !(at && index(of, base "/") == 1 &&
				of != base "/" parts)' \
			"$ledger" 2>/dev/null >"$dir/kept"
		sort -t"$tab" -k1,1V -s "$dir/kept" "$3" >"$ledger"
	) 9>"$build/proof/long.lock"
}

# Processor seconds of all that has ended below this shell.
processor()
{
	times >"$dir/times" # a pipe would have its own
	awk 'END {
		gsub(/[ms]/, " ")
		printf "%d\n", $1 * 60 + $2 + $3 * 60 + $4 + 0.5
	}' "$dir/times"
}

run_piece() # PIECE PARTS GOALS SOURCES COMMAND
{
	figures=$dir/figures
	log=$build/logs/long-$(echo "$1" | tr '/:' '--').log
	part=${1#*:}
	[ "$part" != "$1" ] || part=1/1
	: >"$figures"
	echo "$1 ..."
	if ! bring_up_to_date "${1%%:*}" >"$log" 2>&1 ||
	   ! hash=$(hash_again "$4"); then
		echo "  FAIL  $1: it cannot be built: see $log"
		return 1
	fi
	at=$(commit)
	start=$(date +%s)
	verdict=met
	why='it failed'
	(
		export PROOF="$figures" PROOF_LONG=1 PROOF_SHARD="$part"
		export BUILD="$build" MAKE="$make" RESULTS="$log.results"
		build=$build eval "$5" >"$log" 2>&1 </dev/null
		status=$?
		processor >"$dir/processor"
		exit $status
	) || verdict=unmet
	took=$(($(date +%s) - start))
	# shellcheck disable=SC2086 # words
	missing "$figures" $3 >"$dir/missing"
	[ ! -s "$dir/missing" ] || verdict=unmet
	cat "$dir/missing" >>"$figures"
	[ "$(hash_again "$4")" = "$hash" ] || {
		verdict=unmet
		why='sources changed while it ran'
	}
	if [ $verdict = unmet ]; then
		echo "-${tab}unmet${tab}$why" >>"$figures"
	elif [ ! -s "$figures" ]; then
		echo "-${tab}met${tab}passed" >>"$figures"
	fi
	sed "s|^|$1$tab$hash$tab$at$tab$took$tab$(cat "$dir/processor")$tab|" \
		"$figures" >"$dir/lines"
	put_down "$1" "$2" "$dir/lines"
	cut -f6- "$dir/lines" | sed 's/^/  /'
	[ $verdict = met ] && echo "  ok    $1 ($took s)" && return
	echo "  FAIL  $1 ($took s): see $log"
	tail -n 5 "$log"
	return 1
}

# The parts of a piece: NAME, or NAME:1/N and so on.
parts() # NAME N
{
	[ "$2" -gt 1 ] || { echo "$1"; return; }
	i=0
	while [ $i -lt "$2" ]; do
		i=$((i + 1))
		echo "$1:$i/$2"
	done
}

wanted() # PIECE [ASKED]...
{
	piece=$1
	shift
	[ $# -gt 0 ] || return 0
	for asked; do
		[ "$asked" != "$piece" ] && [ "$asked" != "${piece%%:*}" ] ||
			return 0
	done
	return 1
}

# PIECE...: each is one, or a part of one.
known()
{
	for asked; do
		name=${asked%%:*}
		count=$(awk -F'|' -v name="$name" '$1 == name { print $2 }' \
			"$dir/pieces")
		# shellcheck disable=SC2086 # a number, or nothing
		[ "$asked" = "$name" ] && [ -n "$count" ] ||
			{ [ -n "$count" ] && parts "$name" $count |
			  grep -qxF "$asked"; } || {
			echo "long.sh: $asked: no such piece" >&2
			return 1
		}
	done
}

only_say=
case ${1-} in
-n | -g) only_say=$1; shift ;;
esac
mkdir -p "$build/proof" "$build/logs"
dir=$(mktemp -d "${TMPDIR:-/tmp}/long.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
pieces >"$dir/pieces"
if [ "$only_say" = -g ]; then
	cut -d'|' -f1-3 --output-delimiter=' ' "$dir/pieces"
	exit
fi
known "$@" || exit 2
touch "$ledger"
bad=0
jobs=${JOBS:-1}
: >"$dir/later"
while IFS='|' read -r name count goals sources command <&3; do
	for piece in $(parts "$name" "$count"); do
		wanted "$piece" "$@" || continue
		hash=$(hash_of "$sources") || exit 1
		state=$(state "$piece" "$hash")
		if [ -n "$only_say" ]; then
			printf '%-20s %s %s\n' "$piece" "$hash" "$state"
		elif [ "$state" = "done" ]; then
			echo "$piece: done before, sources unchanged"
		elif [ "$jobs" -gt 1 ] && [ "${name%%-*}" != guest ]; then
			echo "$piece" >>"$dir/at-once"
		elif [ -s "$dir/at-once" ]; then
			echo "$piece" >>"$dir/later"
		else
			run_piece "$piece" "$count" "$goals" "$sources" \
				"$command" || bad=1
		fi
	done
done 3<"$dir/pieces"
if [ -s "$dir/at-once" ]; then
	# shellcheck disable=SC2046 # names
	JOBS=$jobs tests/lib/pool.sh "$build/logs/pool" env JOBS=1 \
		$here/long.sh "$build" -- $(cat "$dir/at-once") || bad=1
	while read -r piece <&3; do
		JOBS=1 $here/long.sh "$build" "$piece" || bad=1
	done 3<"$dir/later"
fi
exit $bad
