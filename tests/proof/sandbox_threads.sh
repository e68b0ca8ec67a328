#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The rules of hv's threads (goal S3): hv runs guests under strace on a machine
# with KVM, and what each of its threads calls once it has its filter is
# compared with the table in vhd-sandbox(7). A rule that no run needs must be
# in sandbox-rare.tsv with its reason. Minutes long: part of the long column.
#
# usage: sandbox_threads.sh BUILD [-v | -j]
#   -v: do it now, and keep the traces; -j: judge those that are there
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "$1" && pwd) || exit 1
# shellcheck source=tests/lib/proof.sh
. "$root/tests/lib/proof.sh"
PATH=$build/bin:$PATH:/usr/sbin:/sbin
if [ $# -lt 2 ] && [ "${PROOF_LONG-}" != 1 ]; then
	echo "hv's threads are traced in the long column"
	exit 0
fi
if [ "${SAN-}" = 1 ]; then
	echo "a sanitized build has no sandbox: skipped"
	exit 0
fi
dir=$build/proof/threads
trace()
{
	rm -rf "$dir"
	mkdir -p "$dir" "$build/guest" &&
	"$root/tests/guest/initrd.sh" "$build/guest" || return
	for disk in dynamic grows parent; do
		vhd create -q --size 32M "$dir/$disk.vhd" || return
	done
	vhd create -q --type fixed --size 16M "$dir/fixed.vhd" &&
	vhd create -q --type fixed --size 8M "$dir/ro.vhd" &&
	vhd create -q --parent "$dir/parent.vhd" "$dir/child.vhd" &&
	"$root/tests/guest/l1.sh" -t 3600 -m 1024 -w "$dir" \
		"$root/tests/guest/threads.sh" "$build" "$dir"
}
[ "${2-}" = -j ] || trace || exit 1

# A thread's role: v runs a processor; i or a (without rings) has a filter of
# its own besides; c is the rest. Each of them begins under c's filter, and its
# own comes on top: what a thread calls is met by both.
for trace in "$dir"/*.trace; do
	io=i
	case $trace in
	*/aio.trace | */plain.trace) io=a ;;
	esac
	awk -v io=$io '
	{ pid = $1; sub(/^[0-9]+ +/, "") }
	!first { first = pid }
	/^seccomp\(SECCOMP_SET_MODE_FILTER, 0, \{/ {
		if (pid == first)
			on = 1
		else
			own[pid] = 1
		if (pid != first)
			used["c", "seccomp"]
		next
	}
	!on { next }
	{
		if (match($0, /^[a-z0-9_]+\(/))
			call = substr($0, 1, RLENGTH - 1)
		else if (match($0, /^<\.\.\. [a-z0-9_]+/))
			call = substr($0, 6, RLENGTH - 5)
		else
			next
		if (/KVM_RUN/) cpu[pid] = 1
		if (pid in own) mine[pid, call]
		used["c", call]
	}
	END {
		for (k in mine) {
			split(k, f, SUBSEP)
			used[f[1] in cpu ? "v" : io, f[2]]
		}
		for (k in used) {
			split(k, f, SUBSEP)
			print f[1], f[2]
		}
	}' "$trace"
done | sort -u >"$dir/used"

sed -n '/BEGIN TABLE/,/END TABLE/{N;s/^\.BR \([a-z0-9_]*\) " (\([a-z]*\))"\n\(.*\)/\1 \2 \3/p;D}' \
	"$root/tools/man/vhd-sandbox.7" | grep -v 'answered: no such call' |
	cut -d' ' -f1-2 >"$dir/rules"
awk -v rare="$here/sandbox-rare.tsv" '
	BEGIN { while ((getline line < rare) > 0)
			if (line !~ /^#/) {
				split(line, f, "\t")
				if (f[3] != "")
					excused[f[1]] = excused[f[1]] f[2]
			} }
	NR == FNR { met[$2, $1]; next }
	{ for (i = 1; i <= length($2); i++) {
		role = substr($2, i, 1)
		if (role !~ /[viac]/)
			continue
		total++
		if (($1, role) in met)
			hit++
		else if (index(excused[$1], role))
			reason++
		else
			print $1, role
	  } }
	END { printf "%d %d %d\n", total, hit, reason >counts }' \
	counts="$dir/counts" "$dir/used" "$dir/rules" >"$dir/never"
read -r total hit reason <"$dir/counts"
unmet=$(wc -l <"$dir/never")
cat "$dir/never"
verdict=met
[ "$unmet" -eq 0 ] || verdict=unmet
runs=$(find "$dir" -name '*.trace' | wc -l)
proof_figure S3 $verdict "$hit of $total rules of hv's threads met in" \
	"$runs runs, $reason kept for a reason, $unmet neither"
echo "S3, threads: $hit of $total, $reason with a reason, $unmet neither"
[ $verdict = met ] || exit 1
[ $# -gt 1 ] || rm -rf "$dir"
