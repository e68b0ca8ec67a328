#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Crash consistency, goals C1 to C6: what tests/proof/crash.c says.
#
# usage: crash.sh BUILD
set -u
build=${1:?usage: crash.sh BUILD}
log=$build/logs/proof-crash.log
mkdir -p "$build/logs"

"$build/tests/proof/crash" >"$log" 2>&1
status=$?
grep -E '^BROKEN|^crash harness' "$log" | head -n 20
grep -vE '^BROKEN|^crash harness' "$log" | tail -n 8
[ $status -eq 0 ] || echo "  the whole of it: $log"
exit $status
