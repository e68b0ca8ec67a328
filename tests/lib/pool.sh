#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# One command for each of several names, as many at once as there are
# processors (JOBS says otherwise). What one prints comes in one piece when it
# ends; names that take long are best named first. Status 1 if one failed.
#
# usage: pool.sh FOLDER COMMAND... -- NAME...     FOLDER: for what they print
set -u
if [ "$1" = --one ]; then
	log=$2/$$
	shift 2
	"$@" >"$log" 2>&1
	status=$?
	cat "$log"
	rm -f "$log"
	[ $status -eq 0 ]
	exit
fi
folder=$1
shift
command=
while [ "$1" != -- ]; do
	command="$command $1"
	shift
done
shift
[ $# -gt 0 ] || exit 0
mkdir -p "$folder" || exit 1
# shellcheck disable=SC2086 # words
printf '%s\n' "$@" |
	xargs -P "${JOBS:-$(nproc)}" -n 1 "$0" --one "$folder" $command ||
	exit 1
