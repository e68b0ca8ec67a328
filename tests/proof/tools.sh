#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Every tool while memory, system calls or space fail it, or it is killed (goals
# M1, M2, F5 to F7): see tests/proof/tools.c.
#
# usage: tools.sh BUILD [memory|calls|kills|full [CASE]...]     (default: all)
#
# Environment: SEED, PROOF_LONG; SAN=1: BUILD is sanitized; ALL=1: tell every
# fault, not only the first.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=$(cd "$1" && pwd) || exit 1
shift
PATH=$build/bin:$PATH
NOMEM_SO=$build/tests/proof/nomem.so
# The library in front of ASan's is ours.
ASAN_OPTIONS=${ASAN_OPTIONS-}:verify_asan_link_order=0:allocator_may_return_null=1
export PATH NOMEM_SO ASAN_OPTIONS
umask 022

if [ -z "${TOOLS_DIR-}" ]; then
	base=${TMPDIR:-/tmp}
	[ -n "${TMPDIR-}" ] || [ ! -w /dev/shm ] || base=/dev/shm
	TOOLS_DIR=$(mktemp -d "$base/tools.XXXXXX") || exit 1
	export TOOLS_DIR
	trap 'rm -rf "$TOOLS_DIR"' EXIT
	trap 'exit 130' INT TERM
	if unshare -m true 2>/dev/null; then
		APART=1 unshare -m "$0" "$build" "$@"
	else
		"$0" "$build" "$@"
	fi
	exit
fi

. tests/lib/apart.sh
[ -z "${APART-}" ] || leave_mounts

# No leaks of the tools: what backtrace(3) loads for the library in front, and
# json-c's copy of a key that it then has no memory to add.
printf 'leak:%s\n' dl_open_worker_begin json_object_object_add_ex \
	>"$TOOLS_DIR/suppressions"
LSAN_OPTIONS=suppressions=$TOOLS_DIR/suppressions:print_suppressions=0
export LSAN_OPTIONS

one() # MODE [CASE]...
{
	mkdir "$TOOLS_DIR/$1" && cd "$TOOLS_DIR/$1" || return 1
	mkdir small
	if [ "$1" = full ] &&
	   mount -t tmpfs -o size=24m tmpfs small 2>/dev/null; then
		: >small/is-a-file-system
	fi
	"$build/tests/proof/tools" "$@"
}

if [ $# -gt 0 ]; then
	one "$@"
	exit
fi
bad=0
for mode in memory calls kills full; do
	(one $mode) || bad=1
done
exit $bad
