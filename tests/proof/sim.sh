#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Deterministic simulation: runs BUILD/tests/proof/sim, whose seeds and events are
# the goals', and holds sim.tsv, the list of reasons that cannot occur in it,
# to the tests that it names: lines "why|row<TAB>NAME<TAB>REASON<TAB>
# PROGRAM:TEST", where PROGRAM is tests/PROGRAM.c or a script of tests/.
#
# usage: sim.sh BUILD        goals D1, D2 and D3
set -u
build=${1:?usage: sim.sh BUILD}
here=$(cd "$(dirname "$0")" && pwd)
table=$here/sim.tsv
bad=0

fault()
{
	echo "FAILED: $*"
	bad=1
}

while IFS='	' read -r kind name reason place; do
	[ -n "$reason" ] || fault "sim.tsv: no reason for $kind $name"
	program=${place%%:*}
	case $program in
	*.sh) file=$here/../$program ;;
	*) file=$here/../$program.c ;;
	esac
	grep -qE "(^|[ (])${place#*:}(\\(|,)" "$file" ||
		fault "sim.tsv: $kind $name: no test $place"
done <"$table"

mkdir -p "$build/logs"
log=$build/logs/sim.log
if ! "$build/tests/proof/sim" "$table" >"$log" 2>&1; then
	fault "sim: see $log"
	grep '^sim:' "$log" | tail -n 5
fi
grep ' seeds x ' "$log"
exit $bad
