#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Every verb that writes, cut off at random moments: by SIGINT, by SIGKILL, and
# by a full disk. What it reads only must stay as it was; what it makes must be
# absent or complete; what it changes must hold the old or the new content,
# after `vhd repair` if need be, or after the same command is run again.
#
# usage: interrupt.sh BUILD [VERB]...     (default: all)
#
# Environment: ROUNDS: cuts of each kind (default 4); SEED (1): of the moments,
# printed with each failure. A disk is filled where a tmpfs can be mounted in a
# private namespace. One line a verb; appends "interrupt VERB pass|fail
# SECONDS" to BUILD/results.
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(cd "$1" && pwd) || exit 1
shift
results=${RESULTS:-$build/results}
PATH=$build/bin:$PATH
export PATH
umask 022

if [ -z "${INTERRUPT_DIR-}" ]; then
	INTERRUPT_DIR=$(mktemp -d "${TMPDIR:-/tmp}/interrupt.XXXXXX") || exit 1
	export INTERRUPT_DIR
	[ -n "${KEEP-}" ] || trap 'rm -rf "$INTERRUPT_DIR"' EXIT
	if unshare -m true 2>/dev/null; then
		APART=1 unshare -m "$0" "$build" "$@"
	else
		"$0" "$build" "$@"
	fi
	exit
fi
. tests/lib/apart.sh
[ -z "${APART-}" ] || leave_mounts
dir=$INTERRUPT_DIR
small=$dir/small # a file system that can be filled
mkdir -p "$small" "$dir/plain"
mount -t tmpfs -o size=160m tmpfs "$small" 2>/dev/null && fills=1 || fills=0
rounds=${ROUNDS:-4}
seed=${SEED:-1}

fail()
{
	echo "$verb, cut by $cut: $* (SEED=$seed)" >&2
	[ ! -s "$dir/err" ] || sed 's/^/  said: /' "$dir/err" >&2
	exit 1
}

# --- the images that all begin with, made once

# Like a disk in use: data in many places, some of it zero, in 24 MiB.
make_images()
{
	verb=images cut=nothing
	cd "$dir" || exit 1
	truncate -s 24M old.raw
	for at in 0 3 4 9 10 11 17 20 23; do
		dd if=/dev/urandom of=old.raw bs=64k seek=$((at * 16)) \
			count=$((at % 4 * 4 + 4)) conv=notrunc status=none
	done
	vhd convert --from raw --to dynamic -q old.raw old.vhd ||
		fail "cannot make the images"
	vhd convert --from raw --to fixed -q old.raw fixed.vhd ||
		fail "cannot make the images"
	# Blocks that are zero now but have space, for compact.
	cp old.raw holes.raw
	dd if=/dev/zero of=holes.raw bs=1M seek=3 count=8 conv=notrunc \
		status=none
	cp old.vhd holes.vhd
	qemu-io -f vpc -c 'write -P 0 3M 8M' holes.vhd >/dev/null ||
		fail "cannot make the images"
	mkdir chain && cp old.vhd chain/p.vhd &&
	vhd create -q --parent chain/p.vhd chain/c.vhd &&
	vhd bench --write --destroy --count 60 --size 64K --seed 1 \
		chain/c.vhd >/dev/null &&
	vhd convert -q --to raw chain/c.vhd child.raw &&
	cp chain/p.vhd q.vhd && vhd set -q --id new q.vhd &&
	vhd bench --write --destroy --count 40 --size 64K --seed 2 \
		q.vhd >/dev/null ||
		fail "cannot make the images"
	cp old.vhd damaged.vhd
	truncate -s -512 damaged.vhd
}

same() # FILE SOURCE: byte for byte as at the beginning
{
	cmp -s "$1" "$dir/$2" || fail "$1 was changed"
}

holds() # IMAGE RAW: opens, is clean, and reads like that
{
	vhd compare "$1" "$dir/$2" >/dev/null 2>&1 &&
	vhd check --quiet "$1" >/dev/null 2>&1
}

mend() # IMAGE: what an owner does after a crash
{
	vhd check --quiet "$1" >/dev/null 2>&1 ||
		vhd repair --yes "$1" >"$dir/repair" 2>&1 ||
		fail "$1: cannot be repaired: $(tail -n 1 "$dir/repair")"
}

# Changed in place: old or new at once, new when run again.
old_or_new() # IMAGE OLD-RAW NEW-RAW
{
	mend "$1"
	holds "$1" "$2" || holds "$1" "$3" ||
		fail "$1 holds neither the old nor the new content"
	do_"$verb" >/dev/null 2>"$dir/err" || fail "cannot be run again"
	holds "$1" "$3" || fail "$1: wrong after the second run"
}

# Made anew: there and complete, or not there, and nothing beside it.
absent_or_whole() # IMAGE RAW
{
	if [ -e "$1" ]; then
		holds "$1" "$2" || fail "$1 is there, but not complete"
	fi
	case $cut in KILL*) ;; *) no_leftovers "$1" ;; esac
	do_"$verb" >/dev/null 2>"$dir/err" || [ -e "$1" ] ||
		fail "cannot be run again"
	holds "$1" "$2" || fail "$1: wrong after the second run"
}

no_leftovers() # IMAGE THAT MAY BE THERE
{
	left=$(find . -mindepth 1 -newer "$dir/began" ! -name "${1#./}" \
		-name '.*' | head -n 3)
	[ -z "$left" ] || fail "left behind: $left"
}

# --- verbs: prepare_V copies what is needed, do_V is the command, and judge_V
# looks at what a cut has left

verbs='create convert flat resumed child inplace salvage repair set
grow growfixed shrink compact rewrite punch snapshot rename merge delete
rebase'

prepare_create() { :; }
do_create() { vhd create --size 64M --type fixed --prealloc --force new.vhd; }
judge_create()
{
	[ -e "$dir/zero.raw" ] || truncate -s 64M "$dir/zero.raw"
	absent_or_whole new.vhd zero.raw
}

prepare_convert() { cp "$dir/old.raw" s.raw; }
do_convert() { vhd convert --from raw --to dynamic --force s.raw new.vhd; }
judge_convert()
{
	same s.raw old.raw
	absent_or_whole new.vhd old.raw
}

prepare_flat() { cp "$dir/old.vhd" s.vhd; }
do_flat() { vhd convert --to fixed --sparse no --force s.vhd new.vhd; }
judge_flat()
{
	same s.vhd old.vhd
	absent_or_whole new.vhd old.raw
}

# What is there of it goes on until it is complete.
prepare_resumed() { cp "$dir/old.raw" s.raw; }
do_resumed() { vhd convert --resume --from raw --to dynamic s.raw new.vhd; }
judge_resumed()
{
	same s.raw old.raw
	[ ! -e new.vhd ] || holds new.vhd old.raw ||
		fail "new.vhd is there, but not complete"
	do_resumed >/dev/null 2>"$dir/err" || [ -e new.vhd ] ||
		fail "cannot be resumed"
	holds new.vhd old.raw || fail "wrong after it was resumed"
	no_leftovers new.vhd
}

prepare_child() { cp "$dir/fixed.vhd" p.vhd; cp "$dir/holes.raw" s.raw; }
do_child() { vhd convert --force --from raw --parent p.vhd s.raw new.vhd; }
judge_child()
{
	same s.raw holes.raw
	same p.vhd fixed.vhd
	absent_or_whole new.vhd holes.raw
}

prepare_inplace() { cp "$dir/old.raw" d.img; }
do_inplace() { vhd convert --in-place --from raw --to fixed d.img; }
judge_inplace()
{
	if ! cmp -s d.img "$dir/old.raw"; then
		holds d.img old.raw || fail "neither raw nor fixed"
		return
	fi
	do_inplace >/dev/null 2>"$dir/err" || fail "cannot be run again"
	holds d.img old.raw || fail "wrong after the second run"
}

prepare_salvage() { cp "$dir/damaged.vhd" s.vhd; }
do_salvage() { vhd repair --salvage new.vhd --force s.vhd; }
judge_salvage()
{
	same s.vhd damaged.vhd
	absent_or_whole new.vhd old.raw
}

prepare_repair() { cp "$dir/damaged.vhd" d.vhd; }
do_repair() { rm -f d.vhd.undo*; vhd repair --yes d.vhd; }
judge_repair() { old_or_new d.vhd old.raw old.raw; }

# The raw disk of another size: zero behind, or cut.
resized() # NAME SIZE
{
	[ -e "$dir/$1" ] ||
		{ cp --sparse=always "$dir/old.raw" "$dir/$1" &&
		  truncate -s "$2" "$dir/$1"; }
}

prepare_grow() { cp "$dir/old.vhd" d.vhd; }
do_grow() { vhd resize 6G d.vhd; }
judge_grow()
{
	resized grown.raw 6G
	old_or_new d.vhd old.raw grown.raw
}

prepare_growfixed() { cp "$dir/fixed.vhd" d.vhd; }
do_growfixed() { vhd resize --prealloc 48M d.vhd; }
judge_growfixed()
{
	resized grown48.raw 48M
	old_or_new d.vhd old.raw grown48.raw
}

prepare_shrink() { cp "$dir/old.vhd" d.vhd; }
do_shrink() { vhd resize --shrink --force 18M d.vhd; }
judge_shrink()
{
	resized cut.raw 18M
	old_or_new d.vhd old.raw cut.raw
}

prepare_set() { cp "$dir/old.vhd" d.vhd; }
do_set() { vhd set --id new --geometry auto --timestamp now d.vhd; }
# One footer may have the old fields and one the new: it opens, and setting
# them again makes both alike.
judge_set()
{
	vhd compare d.vhd "$dir/old.raw" >/dev/null 2>&1 ||
		fail "d.vhd does not open"
	do_set >/dev/null 2>"$dir/err" || fail "cannot be run again"
	holds d.vhd old.raw || fail "wrong after the second run"
}

prepare_compact() { cp "$dir/holes.vhd" d.vhd; }
do_compact() { vhd compact d.vhd; }
judge_compact() { old_or_new d.vhd holes.raw holes.raw; }

prepare_rewrite() { cp "$dir/holes.vhd" d.vhd; }
do_rewrite() { vhd compact --rewrite d.vhd; }
judge_rewrite()
{
	case $cut in KILL*) ;; *) no_leftovers d.vhd ;; esac
	old_or_new d.vhd holes.raw holes.raw
}

prepare_punch() { cp --sparse=never "$dir/fixed.vhd" d.vhd; }
do_punch() { vhd compact --punch d.vhd; }
judge_punch() { old_or_new d.vhd old.raw old.raw; }

prepare_snapshot() { cp "$dir/old.vhd" p.vhd; }
do_snapshot() { vhd snapshot --force p.vhd c.vhd; }
judge_snapshot()
{
	absent_or_whole c.vhd old.raw
	same p.vhd old.vhd
}

# Under its own name the disk is there at every instant.
prepare_rename() { cp "$dir/old.vhd" d.vhd; }
do_rename() { vhd snapshot --rename base.vhd d.vhd; }
judge_rename()
{
	holds d.vhd old.raw || fail "d.vhd does not hold its content"
	case $cut in KILL*) ;; *) no_leftovers d.vhd ;; esac
	[ ! -e base.vhd ] || same base.vhd old.vhd
}

# Its content can be read through the child all the time.
prepare_merge() { cp "$dir"/chain/*.vhd .; }
do_merge() { vhd merge c.vhd; }
judge_merge()
{
	same c.vhd chain/c.vhd
	mend p.vhd
	holds c.vhd child.raw || fail "c.vhd reads otherwise"
	do_merge >/dev/null 2>"$dir/err" || fail "cannot be run again"
	holds p.vhd child.raw || fail "wrong after the second run"
}

prepare_delete() { cp "$dir"/chain/*.vhd .; }
do_delete() { vhd merge --delete c.vhd; }
judge_delete()
{
	mend p.vhd
	if [ -e c.vhd ]; then
		holds c.vhd child.raw || fail "c.vhd reads otherwise"
		do_delete >/dev/null 2>"$dir/err" || fail "cannot be run again"
	fi
	holds p.vhd child.raw || fail "p.vhd is not the merged disk"
}

# Onto a parent with other content: what the child reads never changes.
prepare_rebase() { cp "$dir"/chain/*.vhd "$dir/q.vhd" .; }
do_rebase() { vhd rebase --parent q.vhd c.vhd; }
judge_rebase()
{
	same p.vhd chain/p.vhd
	same q.vhd q.vhd
	mend c.vhd
	holds c.vhd child.raw || fail "c.vhd reads otherwise"
	do_rebase >/dev/null 2>"$dir/err" || fail "cannot be run again"
	holds c.vhd child.raw || fail "wrong after the second run"
}

# --- cutting

# The next random number below N; each call in a process of its own would
# repeat itself, so the counter is in a file.
below() # N
{
	n=$(($(cat "$dir/count" 2>/dev/null || echo 0) + 1))
	echo "$n" >"$dir/count"
	echo "$seed $n $1" | awk '{ srand($1 * 4099 + $2); rand(); rand()
		print int(rand() * $3) }'
}

fresh() # FOLDER
{
	cd "$1" || exit 1
	find . -mindepth 1 -delete
	prepare_"$verb" || fail "cannot prepare"
	touch "$dir/began"
}

by_signal() # SIGNAL
{
	cut=$1
	fresh "$dir/plain"
	us=$(below $((full_us + full_us / 8 + 2000)))
	export verb
	timeout -s "$cut" "$(printf '0.%06d' "$us")" \
		"$dir/run" >/dev/null 2>"$dir/err"
	status=$?
	[ $status -ne 124 ] && [ $status -ne 137 ] || echo >>"$dir/hits"
	cut="$1 after $us us"
	given_back ./*.vhd ./*.img
	judge_"$verb"
}

by_full_disk()
{
	cut='a full disk'
	[ $fills = 1 ] || return 0
	rm -f "$small/filler"
	fresh "$small"
	free=$(df --output=avail -k "$small" | tail -n 1)
	leave=$(below "$need_kib")
	fallocate -l $(((free - leave) * 1024)) filler || fail "no filler"
	cut="a full disk ($leave KiB free)"
	do_"$verb" >/dev/null 2>"$dir/err"
	status=$?
	case $status in
	0 | 3 | 4) ;;
	*) fail "status $status" ;;
	esac
	if [ $status -ne 0 ]; then
		echo >>"$dir/hits"
		[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "not one line"
	fi
	rm -f filler
	judge_"$verb"
}

# How long it takes and how much space, undisturbed.
measure()
{
	cut=nothing
	fresh "$dir/plain"
	before=$(du -sk . | cut -f1)
	from=$(date +%s%N)
	do_"$verb" >/dev/null 2>"$dir/err" || fail "fails undisturbed"
	full_us=$((($(date +%s%N) - from) / 1000))
	[ "$full_us" -lt 900000 ] || full_us=900000
	need_kib=$(($(du -sk . | cut -f1) - before))
	[ "$need_kib" -gt 64 ] || need_kib=64
	judge_"$verb"
}

one_verb()
{
	measure
	# timeout(1) kills a process, so that process is the verb itself.
	{
		echo '#!/bin/sh'
		sed -n "s/^do_$verb() { \(rm -f [^;]*; \)*\(.*\); }\$/exec \2/p" \
			"$me"
	} >"$dir/run"
	chmod +x "$dir/run"
	grep -q '^exec vhd' "$dir/run" || fail "cannot see its command"
	round=0
	while [ $round -lt "$rounds" ]; do
		by_signal INT
		by_signal KILL
		by_full_disk
		round=$((round + 1))
	done
}

. tests/lib/wait.sh
${CC:-cc} -D_GNU_SOURCE -Wall -Wextra -Werror -o "$dir/hold" \
	tests/tools_hold.c || exit 1
me=$(pwd)/tests/interrupt.sh
make_images
[ $fills = 1 ] || echo "  (no tmpfs can be mounted: no disk is filled)"
failed=0
for verb in ${*:-$verbs}; do
	start=$(date +%s)
	verdict=pass
	: >"$dir/hits"
	(one_verb) || verdict=fail
	[ $verdict = pass ] || failed=1
	seconds=$(($(date +%s) - start))
	echo "interrupt $verb $verdict $seconds" >>"$results"
	[ $verdict = pass ] && word='ok   ' || word='FAIL '
	echo "  $word interrupt $verb ($seconds s," \
		"$(wc -l <"$dir/hits") of $((rounds * (fills ? 3 : 2))) in time)"
done
exit $failed
