#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Debian boots from a differencing disk over the demo's, and changes it; the
# parent stays as it was, to the byte. Then the child is merged down and the
# guest boots from the result.
#
# usage: chain.sh BUILD     (after demo.sh, which makes the parent)
set -u
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.." || exit 1
build=${1:?usage: chain.sh BUILD}
out=$build/demo
limit=900
# shellcheck source=lib.sh
. "$here/lib.sh"
PATH=$PATH:/usr/sbin:/sbin
parent=$out/chain-parent.vhd
child=$out/chain-child.vhd
failed=0
began=$(date +%s)

# One line of the summary for a command that has to succeed.
must() # WHAT COMMAND...
{
	what=$1
	shift
	why=$("$@" 2>&1)
	row "$what" $? "$(echo "$why" | tail -n 1)"
}

same_parent()
{
	sum=$(sha256sum <"$parent")
	row 'parent is byte-identical' "$(equal "$before" "${sum%% *}")" \
		"sha256 ${sum%% *}"
}

rm -f "$parent" "$child"
cp --sparse=always "$out/auto.vhd" "$parent" || exit 1
before=$(sha256sum <"$parent")
before=${before%% *}
must 'child over the demo disk' \
	"$build/bin/vhd" create --parent "$parent" "$child"
log=$out/chain.log
run_auto "$child"
echo
echo "chain: from the child ($(($(date +%s) - began)) s, log: $log)"
judge_guest
same_parent
must 'check of the chain' "$build/bin/vhd" check "$child"
rm -f "$out/flat.vhd"
must 'flattened' "$build/bin/vhd-convert" --to dynamic "$child" "$out/flat.vhd"
judge_image "$out/flat.vhd"
rm -f "$out/flat.vhd"

must 'merged into the parent' "$build/bin/vhd" merge --delete "$child"
must 'check of the result' "$build/bin/vhd" check "$parent"
judge_image "$parent"
log=$out/merged.log
direct=yes # the other way in
run_auto "$parent"
echo
echo "chain: from the merged disk ($(($(date +%s) - began)) s, log: $log)"
judge_guest
judge_image "$parent"
rm -f "$parent" "$child"
[ $failed -eq 0 ]
