#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Print the ten longest functions and files; fail past the hard stops.
#
# usage: style.sh [ROOT]
#
# A function runs from a brace in the first column to the next one that closes
# there. One that is a flat table may be longer when the line before its
# opening brace or the first line inside says so and why: "table: REASON".
set -u
cd "${1:-.}" || exit 2

file_aim=600 file_max=1000
function_aim=40 function_max=70

sources()
{
	find vhd hv storvsp tools fuzz tests -type f \
		\( -name '*.[chS]' -o -name '*.asl' -o -name '*.sh' \) | sort
}

worst=$(mktemp) || exit 2
trap 'rm -f "$worst"' EXIT
status=0

sources | xargs wc -l | awk '$2 != "total"' | sort -rn >"$worst"
echo "longest files (aim $file_aim, stop $file_max):"
head -n 10 "$worst"
awk -v max=$file_max '$1 > max { exit 1 }' "$worst" || {
	echo "style: a file is longer than $file_max lines"
	status=1
}

sources | grep '\.[ch]$' | xargs awk '
	FNR == 1 { open = 0; before = "" }
	/^\{/ { open = FNR; name = before; table = before ~ /table: / }
	open && FNR == open + 1 && /table: / { table = 1 }
	/^\}/ && open {
		sub(/\(.*/, "", name)
		sub(/.*[ *]/, "", name)
		print FNR - open - 1, name, FILENAME ":" open,
			(table ? "table" : "")
		open = 0
	}
	# a long argument list: keep the line with the name
	/^[A-Za-z_].*\(/ { before = $0 }' | sort -rn >"$worst"
echo "longest functions (aim $function_aim, stop $function_max):"
head -n 10 "$worst"
awk -v max=$function_max '$1 > max && $4 != "table" { exit 1 }' "$worst" || {
	echo "style: a function is longer than $function_max lines"
	status=1
}
exit $status
