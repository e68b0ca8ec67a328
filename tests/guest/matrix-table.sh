#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The table of guests from what matrix.sh found: to standard output, or into a
# file between the lines "<!-- guests -->" and "<!-- /guests -->".
#
# usage: matrix-table.sh RESULTS [FILE]
#
# A cell that was not run is empty; one that failed says so.
set -u
results=${1:?usage: matrix-table.sh RESULTS [FILE]}
file=${2-}

table()
{
	echo '| Kernel of Debian 12 | direct, 1 | 2 | 4 processors | firmware, 1 | 2 | 4 processors |'
	echo '|---|---|---|---|---|---|---|'
	awk '
		{ cell[$1, $2, $3] = $4 == "pass" ? "boots" : "**fails**" }
		function row(kernel, name,  mode, cpus) {
			printf "| %s |", name
			for (mode = 1; mode <= 2; mode++)
				for (cpus = 1; cpus <= 4; cpus *= 2)
					printf " %s |", cell[kernel, mode == 1 ? \
						"direct" : "firmware", cpus]
			printf "\n"
		}
		END {
			row("cloud", "amd64, cloud")
			row("generic", "amd64")
			row("686-pae", "i386, 686-pae")
			row("686", "i386, 686")
			row("plain", "amd64 without its Hyper-V modules (IDE)")
		}' "$results"
}

[ -r "$results" ] || { echo "matrix-table.sh: no $results" >&2; exit 1; }
[ -n "$file" ] || { table; exit; }
for line in '<!-- guests -->' '<!-- /guests -->'; do
	grep -qxF -- "$line" "$file" && continue
	echo "matrix-table.sh: $file has no place for it" >&2
	exit 1
done
new=$(mktemp "$file.XXXXXX") || exit 1
trap 'rm -f "$new"' EXIT
{
	sed '/^<!-- guests -->$/q' "$file"
	table
	sed -n '/^<!-- \/guests -->$/,$p' "$file"
} >"$new" && cat "$new" >"$file"
