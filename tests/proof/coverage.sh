#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Coverage of the primary files by the unit tests that are theirs (goals Q1, Q2),
# against the list of what is not covered and why.
#
# usage: coverage.sh BUILD [--list]      --list: print what is not covered
#
# Builds by gcc --coverage into BUILD/coverage. tests/proof/uncovered.tsv lists
# what the tests do not reach: file, function, what, text, reason; "what" is
# "line" or "branch", with ":N" where N of the function's lines with this text,
# or N ways out of this line, are meant. The check fails when the list and the
# figures differ in either direction. A reason "no unit test yet" is a debt: the
# goal is not met as long as there is one. Branches of asserts do not count:
# that one is never left the other way is what they say. A reason that begins
# with "varies: " is of what some runs reach.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=$(mkdir -p "$1" && cd "$1" && pwd) || exit 1
. tests/lib/proof.sh
make=${MAKE:-make}
list=tests/proof/uncovered.tsv
cov=$build/coverage
tab=$(printf '\t')

# The files that parse what a guest or an image says; each with branches >=
# this many percent, taken together.
branches_wanted=95
primary='
vhd/footer vhd/header vhd/geometry vhd/creator vhd/probe vhd/locator vhd/bat
vhd/batmap vhd/bitmap hv/vmbus/ring hv/vmbus/packet hv/vmbus/message
hv/vmbus/gpadl storvsp/scsi/command storvsp/scsi/inquiry storvsp/scsi/mode
storvsp/scsi/capacity storvsp/scsi/readwrite storvsp/scsi/sense
storvsp/scsi/reply storvsp/scsi/plain
storvsp/request storvsp/buffer storvsp/scsi/target storvsp/scsi/select
storvsp/scsi/opcodes storvsp/scsi/logsense storvsp/scsi/provision
storvsp/scsi/attention storvsp/blocks storvsp/scsi/reserve
storvsp/scsi/reserve_in storvsp/compare storvsp/turn storvsp/scsi/dvd
storvsp/scsi/dvd_info storvsp/scsi/dvd_mode'
tests='
vhd_footer vhd_header vhd_geometry vhd_creator vhd_probe vhd_locator vhd_bat
vhd_bitmap vhd_open vhd_map vhd_written vhd_check vhd_nomem vhd_keep
vhd_malformed_table vhd_malformed_footer vhd_malformed_parent
vhd_chain vhd_parent
vmbus_ring vmbus_ring_every vmbus_ring_hostile
vmbus_packet vmbus_message vmbus_gpadl vmbus_connection
vmbus_channel vmbus_flow vmbus_offer vmbus_nomem vmbus_hostile vmbus_pass
storvsp_command storvsp_inquiry storvsp_mode storvsp_select storvsp_capacity
storvsp_provision storvsp_readwrite storvsp_sense storvsp_request
storvsp_blocks storvsp_attention storvsp_reserve storvsp_compare storvsp_dvd
storvsp_buffer storvsp_target storvsp_vsp storvsp_fault storvsp_reset
storvsp_hostile storvsp_hostile_guest storvsp_hostile_scsi
storvsp_hostile_steps storvsp_gate storvsp_pause storvsp_limit storvsp_remove
storvsp_full'

# MC/DC needs a compiler that can count it (goal Q2).
mcdc()
{
	version=$(gcc -dumpversion)
	verdict=met
	figure="not claimed: gcc $version counts branches, not conditions"
	[ "${version%%.*}" -lt 14 ] || {
		verdict=unmet
		figure="gcc $version could count conditions, and is not asked to"
	}
	proof_figure Q2 $verdict "$figure"
}

# The list by itself: five fields, a primary file, a line of it, a reason.
form()
{
	grep -v '^#' "$list" | awk -F'\t' -v primary=" $(echo $primary) " '
	function faulty(why)
	{
		print "  FAIL  coverage: uncovered.tsv: " why ": " $0
		bad = 1
	}
	NF != 5 || $5 == "" { faulty("no reason"); next }
	$3 !~ /^(line|branch)(:[0-9]+)?$/ { faulty("no line, no branch") }
	!index(primary, " " substr($1, 1, length($1) - 2) " ") {
		faulty("not a primary file")
		next
	}
	!($1 in text) {
		while ((getline line < $1) > 0) {
			gsub(/\t/, " ", line)
			text[$1] = text[$1] line "\n"
		}
	}
	!index(text[$1], $4) { faulty("no such line") }
	!index(text[$1], $2 "(") { faulty("no such function") }
	END { exit bad }'
}

if [ $# -lt 2 ] && [ "${PROOF_LONG-}" != 1 ]; then
	mcdc
	form || exit 1
	echo "coverage.sh: $(grep -vc '^#' "$list") places that tests do not reach," \
		"each with its reason; measured by make coverage"
	exit 0
fi
unset MAKEFLAGS MAKEOVERRIDES MFLAGS
mkdir -p "$cov/logs"
# shellcheck disable=SC2046 # names
"$make" --no-print-directory -j2 COV=1 BUILD="$cov" \
	$(for test in $tests; do echo "$cov/tests/$test"; done) \
	>"$cov/logs/build.log" 2>&1 || {
	grep -m 5 'error' "$cov/logs/build.log"
	echo "  FAIL  coverage: build; see $cov/logs/build.log"
	exit 1
}
find "$cov/obj" -name '*.gcda' -delete
for test in $tests; do
	SEED=1 env -u PROOF -u PROOF_LONG -u PROOF_SHARD \
		timeout 1200 "$cov/tests/$test" >"$cov/logs/$test.log" 2>&1 || {
		tail -n 5 "$cov/logs/$test.log"
		echo "  FAIL  coverage: $test fails"
		exit 1
	}
done

# What gcov says of one file, as "line|branch<TAB>COUNT<TAB>function<TAB>text":
# a line of code, a way out of one, and how often each was taken.
counts() # FILE
{
	gcov -t -b -c -o "$cov/obj/$(dirname "$1")" "$1.c" 2>/dev/null |
	awk -v file="$1.c" '
	/^ *-: *0:Source:/ {
		source = $0
		sub(/.*0:Source:/, "", source)
	}
	source != file { next }
	/^function / { name = $2; next }
	/^branch / {
		if (text !~ /^(static_)?assert\(/)
			print "branch\t" (/never/ ? -1 : $4) "\t" name "\t" text
		next
	}
	/^call / { next }
	{
		count = $0
		sub(/:.*/, "", count)
		gsub(/[ *]/, "", count)
		text = $0
		sub(/^[^:]*:[^:]*:[ \t]*/, "", text)
		gsub(/\t/, " ", text)
		if (count ~ /^[0-9]/) print "line\t" count "\t" name "\t" text
		if (count ~ /^[#=]/) print "line\t0\t" name "\t" text
	}'
}

for file in $primary; do
	counts "$file" | awk -F'\t' -v file="$file.c" '
		{ print file "\t" $0 }
		END { if (!NR) exit 1 }' || {
		echo "  FAIL  coverage: gcov says nothing of $file.c" >&2
		exit 1
	}
done >"$cov/counts" || exit 1

# What was not reached, in the form of the list but for the reasons. The
# branches of a line that was never reached go with the line.
awk -F'\t' '
	$2 == "branch" && $3 == 0 || $2 == "line" && $3 == 0 {
		n[$1 "\t" $4 "\t" $2 "\t" $5]++
	}
	END {
		for (k in n) {
			split(k, f, "\t")
			print f[1] "\t" f[2] "\t" f[3] \
				(n[k] > 1 ? ":" n[k] : "") "\t" f[4]
		}
	}' "$cov/counts" | sort >"$cov/uncovered"
if [ "${2-}" = --list ]; then
	cat "$cov/uncovered"
	exit
fi
bad=0
form || bad=1
grep -v '^#' "$list" | cut -f 1-4 | sort >"$cov/listed"
# What one run reaches and the next does not counts as not reached.
grep "${tab}varies: " "$list" | cut -f 1-4 | sort - "$cov/uncovered" |
	uniq >"$cov/varied" && mv "$cov/varied" "$cov/uncovered"
comm -23 "$cov/uncovered" "$cov/listed" | sed 's/^/  not covered, not listed: /'
comm -13 "$cov/uncovered" "$cov/listed" | sed 's/^/  listed, but covered or gone: /'
cmp -s "$cov/uncovered" "$cov/listed" || bad=1

awk -F'\t' '
	$2 == "line" { lines++; if ($3 > 0) hit++ }
	$2 == "branch" { ways++; if ($3 > 0) taken++ }
	END { print hit, lines, taken, ways }' "$cov/counts" >"$cov/sums"
read -r hit lines taken ways <"$cov/sums"
debts=$(grep -c "${tab}no unit test yet\$" "$list")
listed=$(grep -vc '^#' "$list")
figure="line $hit of $lines, branch $taken of $ways \
($((taken * 1000 / ways / 10)).$((taken * 1000 / ways % 10)) %), $listed places \
not reached are listed, $((listed - debts)) with a reason, $debts without a test"
verdict=unmet
[ $bad -ne 0 ] || [ $((taken * 100)) -lt $((ways * branches_wanted)) ] ||
	[ "$debts" -gt 0 ] || verdict=met
echo "coverage: $figure"
proof_figure Q1 $verdict "$figure"
mcdc
[ $bad -eq 0 ]
