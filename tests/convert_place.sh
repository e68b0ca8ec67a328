#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# How vhd-convert places bytes and files: in place, for products, sparse or
# allocated, shared with the source, at a rate, resumed after any end.
#
# usage: convert_place.sh BUILD [CASE]...     (default: all cases)
#
# Environment: SAN=1: BUILD is sanitized.
# Blocks are shared on an XFS in a loop device where root can have one; where
# not, that case is skipped and says so. One line a case; appends "tools
# place-CASE pass|fail|skip SECONDS" to BUILD/results.
set -u
build=$(cd "$1" && pwd) || exit 1
cd "$(dirname "$0")/.." || exit 1
shift
PATH=$build/bin:$PATH:/usr/sbin:/sbin
export PATH
dir=$(mktemp -d "${TMPDIR:-/tmp}/place.XXXXXX") || exit 1
trap 'umount "$dir/xfs" 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
umask 022
tier=tools prefix=place-
. tests/lib/case.sh
. tests/lib/wait.sh

case_over()
{
	umount "$dir/xfs" 2>/dev/null
	rm -f "$dir/xfs.img"
}

# Whether calls can be made to fail. The leak sanitizer cannot be traced.
traced()
{
	strace -o /dev/null true 2>/dev/null || return 1
	[ "${SAN-}" != 1 ] || export ASAN_OPTIONS=detect_leaks=0
}

only() # NAME...: the files there are
{
	have=$(ls -A | sort | tr '\n' ' ')
	want=$(printf '%s\n' "$@" | sort | tr '\n' ' ')
	[ "$have" = "$want" ] || fail "there is: $have, and not: $want"
}

kib() # FILE
{
	du -k "$1" | cut -f1
}

# Data in pieces, some of it zero, some holes; not whole MiB.
disk() # FILE MIB
{
	rm -f "$1"
	truncate -s $(($2 * 1048576 + 512)) "$1"
	at=0
	while [ $at -lt "$2" ]; do
		head -c 1500000 /dev/urandom |
			dd of="$1" bs=1M seek=$at conv=notrunc status=none
		dd if=/dev/zero of="$1" bs=64k seek=$((at * 16 + 5)) count=3 \
			conv=notrunc status=none
		at=$((at + 4))
	done
	truncate -s $(($2 * 1048576 + 512)) "$1"
}

taken_by() # PRODUCT IMAGE: sparse and what it is called do not matter
{
	vhd check --for "$1" "$2" >"$dir/out" 2>&1
	grep -q "$1 takes this file" "$dir/out" || fail "$(cat "$dir/out")"
}

holds() # IMAGE TYPE RAW
{
	must vhd-convert -q -f --from "$2" --to raw "$1" "$dir/back"
	cmp "$dir/back" "$3" || fail "$1 has other content"
	rm "$dir/back"
}

# --- cases: what is said

output()
{
	for tool in vhd-convert vhd-inspect 'vhd create'; do
		for what in --help --version; do
			# shellcheck disable=SC2086 # a verb is a word more
			(exec $tool $what >/dev/full) 2>"$dir/err"
			[ $? -eq 4 ] || fail "$tool $what to a full disk"
			[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "not one line"
		done
	done
	disk r 4
	refused_for 3 'an empty name' vhd-convert --to raw r ''
	refused_for 3 'ends in a slash' vhd-convert --to raw r new/
	mkdir there
	refused_for 3 'is a directory' vhd-convert --to raw r there/
	for mode in 600 640 644 444 755; do
		chmod $mode r
		must vhd-convert -f --to raw r out
		want=$(printf '%o' $(((0$mode & 0666 | 0600) & ~022)))
		[ "$(stat -c %a out)" = "$want" ] ||
			fail "$mode became $(stat -c %a out)"
	done
	# The directory cannot be synced: the file is there nevertheless.
	traced || return 0
	rm out
	[ "$(status_of strace -o /dev/null -e inject=fsync:error=EIO:when=2 \
		vhd-convert -q --to raw r out)" = 4 ] || fail "not told"
	complained 'complete and in place'
	cmp r out || fail "not there"
}

usage()
{
	disk r 4
	while read -r line; do
		# shellcheck disable=SC2086 # words are the point
		refused_for 2 vhd-convert: vhd-convert $line
	done <<-EOL
	--in-place r
	--in-place --from raw r r
	--in-place --from raw --to raw r
	--in-place --from dynamic --to raw r
	--in-place --from raw --to dynamic r
	--in-place --from raw --verify r
	--in-place --from raw --rate 5M r
	--in-place --from raw --sparse no r
	--in-place --from raw --reflink never r
	--in-place --from raw --resume r
	--in-place --from raw --for xenserver r
	--for nobody r out
	--for azure --to dynamic r out
	--for xenserver --to fixed r out
	--for hyperv --to raw r out
	--for virtualpc --block-size 512K r out
	--to raw --sparse maybe r out
	--to raw --reflink perhaps r out
	--to raw --reflink always --sparse no r out
	--to raw --rate 0 r out
	--to raw --rate fast r out
	--to raw --rate 99999999999999999999 r out
	--to raw --resume --no-sync r out
	--to raw --quiet --verbose r out
	--to diff r out
	--to raw --parent r r out
	--to diff --parent r --resume r out
	--to diff --parent r --reflink always r out
	EOL
}

# --- cases: in place

in_place()
{
	disk r 8
	cp r d
	must vhd-convert --in-place --from raw d
	complained 'd: now a fixed VHD$'
	holds d fixed r
	must qemu-img convert -f vpc -O raw d q
	cmp q r || fail "qemu-img reads otherwise"
	refused_for 3 'looks like a VHD already' \
		vhd-convert --in-place --from raw d
	# the whole file as one disk, because the user insists
	cp d once
	must vhd-convert --force --in-place --from raw d
	refused_for 3 'disk itself looks like' vhd-convert --in-place --from fixed d
	must vhd-convert --force --in-place --from fixed d
	cmp d once || fail "not as before"
	must vhd-convert -q --in-place --from fixed d
	[ ! -s "$dir/err" ] || fail "--quiet said: $(cat "$dir/err")"
	cmp d r || fail "not the raw disk again"
	refused_for 3 'no VHD footer' vhd-convert --in-place --from fixed d
	must vhd-convert --in-place --from raw --for azure d
	complained '[0-9]* bytes larger, for azure'
	taken_by azure d
	truncate -s 1000 odd
	refused_for 3 'not whole sectors' vhd-convert --in-place --from raw odd
	: >empty
	refused_for 3 'of no use' vhd-convert --in-place --from raw empty
	refused_for 3 'is a directory' vhd-convert --in-place --from raw .
	refused_for 3 'check the name' vhd-convert --in-place --from raw nothing
	must vhd-convert --to dynamic r dyn
	refused_for 3 'footer says dynamic' vhd-convert --in-place --from fixed dyn
}

# As long as anybody has it, it does not change.
in_place_locked()
{
	disk r 4
	hold_file r
	refused_for 3 'is open elsewhere' vhd-convert --in-place --from raw r
	let_go
	must vhd-convert --in-place --from raw r
}

in_place_full()
{
	head -c 4194304 /dev/urandom >r
	# No byte more: the footer does not fit.
	before=$(state)
	got=$(status_of sh -c \
		'ulimit -f 8192 && exec vhd-convert --in-place --from raw r')
	[ "$got" = 4 ] || fail "status $got: $(cat "$dir/err")"
	[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "$(cat "$dir/err")"
	[ "$(stat -c %s r)" -eq 4194304 ] || fail "changed: $before"
	traced || return 0
	for call in pwrite64 fdatasync; do
		cp r d
		[ "$(status_of strace -o /dev/null \
			-e inject=$call:error=EIO \
			vhd-convert --in-place --from raw d)" = 4 ] ||
			fail "$call failed and was not told"
		[ $call = fdatasync ] || cmp r d || fail "changed"
	done
}

# --- cases: size, space, speed

presets()
{
	disk r 21
	for product in hyperv azure virtualpc xenserver virtualbox qemu; do
		must vhd-convert --verify --for $product r out.vhd
		taken_by $product out.vhd
		must vhd-convert -q --to raw out.vhd back
		cmp -n "$(stat -c %s r)" r back || fail "$product: differs"
		[ "$(tail -c +$(($(stat -c %s r) + 1)) back | tr -d '\0' |
			wc -c)" -eq 0 ] || fail "$product: no zeros behind"
		rm out.vhd back
	done
	must vhd-convert --for azure r azure.vhd
	complained '1048064 bytes larger than r, for azure'
	[ "$(stat -c %s azure.vhd)" -eq $((22 * 1048576 + 512)) ] ||
		fail "size $(stat -c %s azure.vhd)"
	truncate -s 1M small
	must vhd-convert -f --for azure small azure.vhd
	[ "$(stat -c %s azure.vhd)" -eq $((20 * 1048576 + 512)) ] ||
		fail "not as large as azure wants at least"
	truncate -s 2041G large
	refused_for 3 'hyperv takes up to 2190433320960' \
		vhd-convert --for hyperv large out
	must vhd-convert -f --for hyperv --to fixed r out.vhd
	complained 'out.vhd: fixed'
}

sparse()
{
	disk r 16
	size=$(($(stat -c %s r) / 1024))
	for to in raw fixed dynamic; do
		must vhd-convert --verify --sparse no --to $to r full.$to
		must vhd-convert --reflink never --to $to r thin.$to
		[ "$(kib full.$to)" -ge $(($(stat -c %s full.$to) / 1024)) ] ||
			fail "$to: $(kib full.$to) KiB only"
		[ "$(kib thin.$to)" -lt $((size * 3 / 4)) ] ||
			fail "$to: $(kib thin.$to) of $size KiB"
		holds full.$to $to r
		holds thin.$to $to r
	done
	# A full disk is told before anything is copied.
	head -c 16777216 /dev/urandom >dense
	got=$(status_of sh -c 'ulimit -f 16384 &&
		exec vhd-convert --sparse no --to raw dense out')
	[ "$got" = 4 ] || fail "status $got: $(cat "$dir/err")"
	[ ! -e out ] || fail "left a file"
}

rate()
{
	head -c 12582912 /dev/urandom >r
	start=$(date +%s%N)
	must vhd-convert --reflink never --rate 6M --to dynamic r out
	ms=$((($(date +%s%N) - start) / 1000000))
	[ $ms -ge 1700 ] || fail "12 MiB at 6M in $ms ms"
	holds out dynamic r
	# whatever the disk takes
	start=$(date +%s%N)
	must vhd-convert --reflink never --to dynamic r free
	free_ms=$((($(date +%s%N) - start) / 1000000))
	[ $ms -le $((15000 + 5 * free_ms)) ] ||
		fail "12 MiB at 6M in $ms ms, without in $free_ms ms"
}

# --- cases: children

# A parent, and the disk as it is some changes later.
generations()
{
	disk r 24
	cp r n
	printf abc | dd of=n bs=1 seek=5000000 conv=notrunc status=none
	head -c 40000 /dev/urandom |
		dd of=n bs=512 seek=26000 conv=notrunc status=none
	# data that is zero now, as zeros and as a hole; zeros that are data
	dd if=/dev/zero of=n bs=512 count=3000 seek=25 conv=notrunc status=none
	fallocate -p -o 8M -l 3M n
	head -c 4096 /dev/urandom |
		dd of=n bs=1M seek=19 conv=notrunc status=none
}

child()
{
	generations
	for type in fixed dynamic; do
		must vhd-convert -f --to $type r p.vhd
		sum=$(cksum <p.vhd)
		must vhd-convert -f --verify --parent p.vhd n c.vhd
		holds c.vhd auto n
		must vhd check --quiet --chain c.vhd
		[ "$(inspect_type c.vhd)" = differencing ] || fail "type"
		# no more than what differs
		differs=$(cmp -l r n | awk '{ s[int(($1 - 1) / 512)] = 1 }
			END { for (i in s) n++; print n * 512 }')
		must vhd-convert -f --json --to diff --parent p.vhd n c.vhd
		grep -q "\"written\": *$differs," "$dir/out" ||
			fail "not $differs bytes: $(cat "$dir/out")"
		# a child of the child that takes it all back, and one of nothing
		must vhd-convert -f --to diff --parent c.vhd r d.vhd
		holds d.vhd auto r
		must vhd-convert -f --to diff --parent p.vhd d.vhd e.vhd
		holds e.vhd auto r
		[ "$(kib e.vhd)" -le 32 ] || fail "$(kib e.vhd) KiB of nothing"
		must vhd-convert -f --to raw c.vhd back
		cmp n back || fail "differs"
		[ "$(cksum <p.vhd)" = "$sum" ] || fail "the parent was changed"
	done
	must vhd-convert -f --block-size 64K --sparse no --parent p.vhd n c.vhd
	holds c.vhd auto n
	refused_for 2 'is the parent' vhd-convert -f --parent p.vhd r p.vhd
	refused_for 3 nothing.vhd vhd-convert --parent nothing.vhd r new
	refused_for 3 'raw disk has no id' vhd-convert --parent r n new
	mkdir below
	refused_for 3 'not below' vhd-convert --parent p.vhd r below/new
	must vhd-convert --parent-dir . --parent p.vhd n below/c.vhd
	cp r s
	truncate -s +1M s
	refused_for 2 "more than the parent's" vhd-convert --parent p.vhd s new
	must vhd-convert --larger-child --verify --parent p.vhd s new
	must vhd-convert -f --larger-child --to raw new back
	cmp s back || fail "the larger one differs"
	truncate -s 1M s
	refused_for 2 "less than the parent's" vhd-convert --parent p.vhd s no
}

inspect_type() # FILE
{
	vhd inspect --json "$1" | sed -n 's/.*"format": *"\(.*\)".*/\1/p' |
		head -n 1
}

# --- cases: sharing

# An XFS to work on, for as long as this program runs.
xfs()
{
	[ "$(id -u)" -eq 0 ] && command -v mkfs.xfs >/dev/null ||
		skip "needs root and mkfs.xfs"
	truncate -s 400M "$dir/xfs.img"
	mkfs.xfs -q -f "$dir/xfs.img" || skip "mkfs.xfs fails here"
	mkdir -p "$dir/xfs"
	mount -o loop "$dir/xfs.img" "$dir/xfs" 2>/dev/null ||
		skip "no loop device or no XFS here"
	cd "$dir/xfs" || exit 1
}

shared()
{
	xfs
	disk r 40
	truncate -s 64M r # whole blocks
	sync
	before=$(df -k --output=used . | tail -1)
	for from in raw fixed dynamic; do
		[ $from = raw ] && src=r || src=raw.$from
		for to in raw fixed dynamic; do
			must vhd-convert -v --reflink always --verify \
				--from $from --to $to $src $from.$to
			complained ': 0 bytes read, 0 bytes written'
			holds $from.$to $to r
		done
	done
	sync
	# Nine copies take no more than their tables.
	after=$(df -k --output=used . | tail -1)
	[ $((after - before)) -lt 8192 ] ||
		fail "$((after - before)) KiB more in use"
	# A change in one is not seen in another.
	poke_at=$((1024 * 1024))
	printf changed | dd of=r bs=1 seek=$poke_at conv=notrunc status=none
	cp raw.raw kept
	holds raw.dynamic dynamic kept
	cmp -s r kept && fail "the source was not changed"
	# Zeros that are allocated stay so, or are looked for.
	must vhd-convert -f --to raw kept all
	must vhd-convert -v -f --sparse punch --to raw kept punched
	complained ' shared,'
	cmp kept punched || fail "differs"
	[ "$(kib punched)" -lt "$(kib all)" ] ||
		fail "$(kib punched) KiB, no fewer than $(kib all)"
	must vhd-convert -v -f --reflink never --to raw kept all
	! grep -q shared "$dir/err" || fail "shared nevertheless"
	# Other programs' blocks lie as they like: shared where they can be.
	must qemu-img convert -f raw -O vpc -o force_size=on kept q.vhd
	must vhd-convert --verify --to raw q.vhd q.raw
	cmp kept q.raw || fail "differs"
	complained ' shared,'
	refused_for 3 'does not lie on whole blocks' \
		vhd-convert --reflink always --to raw q.vhd out
	# What the file system refuses of its own is copied.
	refused_for 3 'Invalid cross-device link' \
		vhd-convert --reflink always --to raw r "$dir/other"
	must vhd-convert -v --to raw r "$dir/other"
	complained 'cannot be shared with SRC: Invalid cross-device link'
	cmp r "$dir/other" || fail "differs"
	rm "$dir/other"
	shared_refused
}

# The n-th range refused, by strace.
shared_refused()
{
	traced || return 0
	for error in EINVAL EOPNOTSUPP ETXTBSY EXDEV; do
		for when in 1 2 3+2; do
			for to in raw dynamic; do
				must strace -o /dev/null \
					-e inject=ioctl:error=$error:when=$when \
					vhd-convert -qf --verify --to $to r out
				holds out $to r
			done
			[ "$(status_of strace -o /dev/null \
				-e inject=ioctl:error=$error:when=1 \
				vhd-convert -q --reflink always --to raw r no)" \
				= 3 ] || fail "$error: $(cat "$dir/err")"
			[ ! -e no ] || fail "left a file"
		done
	done
	for error in EIO ENOSPC; do
		[ "$(status_of strace -o /dev/null \
			-e inject=ioctl:error=$error:when=2 \
			vhd-convert -q --to dynamic r no)" = 4 ] ||
			fail "$error: $(cat "$dir/err")"
		[ ! -e no ] || fail "left a file"
	done
}

# Where nothing can be shared all is copied, and said on request.
unshared()
{
	stat -f -c %T . | grep -q -e xfs -e btrfs && skip "blocks are shared here"
	disk r 8
	must vhd-convert -v --to dynamic r out
	complained 'blocks cannot be shared with SRC'
	holds out dynamic r
	refused_for 3 'cannot share' vhd-convert --reflink always --to raw r no
	cat r | refused_for 3 'is a stream' \
		vhd-convert --reflink always --to raw - no
}

# --- cases: resuming

# Begun at so slow a rate that a mark is written, then ended.
ended_by() # SIGNAL TO
{
	vhd-convert --resume --reflink never --rate 6M --to "$2" r out \
		2>"$dir/err" &
	pid=$!
	within marked .out.partial.journal
	sleep 0.3 # so that something lies behind the mark
	kill -"$1" $pid || fail "was through already"
	wait $pid
	given_back r .out.partial
	only r .out.partial .out.partial.journal
}

marked() # JOURNAL
{
	[ -s "$1" ] && [ "$(mark_of "$1")" -gt 0 ]
}

mark_of() # JOURNAL: the newer of the two
{
	for place in 0 4096; do
		[ "$(stat -c %s "$1")" -gt $place ] || continue
		od -An -t u8 -j $((place + 16)) -N 16 "$1"
	done | sort -n | tail -1 | awk '{ print $2 }'
}

resumed() # TO
{
	disk r 80
	for signal in INT KILL; do
		ended_by $signal "$1"
		[ $signal = KILL ] || complained 'what is done is kept'
		mark=$(mark_of .out.partial.journal)
		# What lies behind the mark may be anything at all.
		[ "$1" = raw ] && format=raw || format=vpc
		must qemu-io -f $format -c "write -P 0xaa $mark 3M" .out.partial
		must vhd-convert --resume --verify --to "$1" r out
		complained 'resumed at'
		only r out
		holds out "$1" r
		[ "$1" = raw ] || must vhd check --quiet out
		rm out
	done
}

resume_refused()
{
	disk r 80
	ended_by KILL dynamic
	for what in '--to raw' '--to fixed' '--block-size 512K --to dynamic' \
		'--for xenserver'; do
		# shellcheck disable=SC2086 # words are the point
		refused_for 3 'of another copy' vhd-convert --resume $what r out
	done
	cp -p r other
	refused_for 3 'SRC is another file' \
		vhd-convert --resume --to dynamic other out
	rm other
	touch -r r "$dir/stamp"
	printf x | dd of=r bs=1 seek=5 conv=notrunc status=none
	refused_for 3 'SRC was changed since' \
		vhd-convert --resume --to dynamic r out
	touch -r "$dir/stamp" r
	truncate -s +512 r
	refused_for 3 'another length' vhd-convert --resume --to dynamic r out
	truncate -s -512 r
	touch -r "$dir/stamp" r
	must vhd-convert --resume --to dynamic r out
	complained 'resumed at'
	rm out
	# A partial file that nothing tells of, and one of somebody's own.
	ended_by KILL dynamic
	mv .out.partial.journal j
	refused_for 3 'no journal tells' vhd-convert --resume --to dynamic r out
	rm -f .out.partial.journal
	mv j .out.partial.journal
	cp .out.partial copy && mv copy .out.partial
	refused_for 3 'partial file is another' \
		vhd-convert --resume --to dynamic r out
	rm .out.partial
	must vhd-convert --resume --to dynamic r out
	only r out
	rm out
	# Without --resume it is not looked at, nor touched.
	ended_by KILL dynamic
	must vhd-convert --to dynamic r out
	only r out .out.partial .out.partial.journal
	refused_for 3 'exists already' vhd-convert --resume --to dynamic r out
	must vhd-convert --resume --force --to dynamic r out
	only r out
	holds out dynamic r
	long=$(printf '%0245d' 0)
	refused_for 3 'long' vhd-convert --resume --to raw r "$long"
}

# Two records: one may be damaged, both may not.
resume_torn()
{
	disk r 80
	ended_by KILL raw
	cp -p .out.partial.journal "$dir/journal"
	for place in 0 4096; do
		cat "$dir/journal" >.out.partial.journal
		printf '\377' | dd of=.out.partial.journal bs=1 \
			seek=$((place + 30)) conv=notrunc status=none
		cp .out.partial "$dir/partial"
		must vhd-convert --resume --to raw r out
		cmp r out || fail "differs"
		mv out .out.partial
		cat "$dir/partial" >.out.partial
		rm "$dir/partial"
	done
	cat "$dir/journal" >.out.partial.journal
	for place in 0 4096; do
		printf '\377' | dd of=.out.partial.journal bs=1 \
			seek=$((place + 30)) conv=notrunc status=none
	done
	refused_for 3 'no journal tells' vhd-convert --resume --to raw r out
}

resume_two()
{
	disk r 80
	vhd-convert --resume --rate 2M --reflink never --to raw r out \
		2>"$dir/first" &
	pid=$!
	within test -s .out.partial.journal
	refused_for 3 'another copy to it is under way' \
		vhd-convert --resume --to raw r out
	kill $pid
	wait $pid
	only r .out.partial .out.partial.journal
	must vhd-convert --resume --to raw r out
	cmp r out || fail "differs"
	only r out
}

# All but the journal's end was done.
resume_finished()
{
	disk r 80
	ended_by KILL raw
	cp -p .out.partial.journal "$dir/journal"
	must vhd-convert --resume --to raw r out
	cp -p "$dir/journal" .out.partial.journal
	must vhd-convert --resume --to raw r out
	complained 'was complete already'
	only r out
	refused_for 3 'exists already' vhd-convert --resume --to raw r out
}

# Errors of either side, and then none.
resume_failed()
{
	traced || skip "strace may not trace"
	disk r 80
	for to in raw fixed dynamic; do
		[ "$(status_of strace -f -o /dev/null -P "$PWD/r" \
			-e inject=pread64:error=EIO:when=9 vhd-convert --resume \
			--reflink never --engine sync --to $to r out)" = 4 ] ||
			fail "$(cat "$dir/err")"
		[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "$(cat "$dir/err")"
		only r .out.partial .out.partial.journal
		must vhd-convert --resume --verify --to $to r out
		complained 'resumed at'
		only r out
		holds out $to r
		rm out
	done
	# A full disk, after the first mark.
	dd if=/dev/urandom of=r bs=1M count=80 conv=notrunc status=none
	for to in raw dynamic; do
		got=$(status_of sh -c "ulimit -f 61440 && exec vhd-convert \
			--resume --reflink never --rate 9M --to $to r out")
		[ "$to" = raw ] || [ "$got" = 4 ] ||
			fail "status $got: $(cat "$dir/err")"
		must vhd-convert --resume --force --to $to r out
		only r out
		holds out $to r
		rm out
	done
}

resume_device()
{
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	disk r 8
	truncate -s 8M r
	loop=$(losetup -f --show r 2>/dev/null) || skip "no loop device"
	got=$(status_of vhd-convert --resume --to raw "$loop" out)
	again=$(status_of vhd-convert --resume --verify --to raw "$loop" out)
	losetup -d "$loop"
	[ "$got" = 3 ] || fail "status $got without --verify"
	[ "$again" = 0 ] || fail "status $again with --verify"
	only r out
	cmp r out || fail "differs"
}

# --- all of them

cases()
{
	cat <<-EOF
	output output
	usage usage
	in-place in_place
	in-place-locked in_place_locked
	in-place-full in_place_full
	presets presets
	sparse sparse
	rate rate
	child child
	shared shared
	unshared unshared
	resume-raw resumed raw
	resume-fixed resumed fixed
	resume-dynamic resumed dynamic
	resume-refused resume_refused
	resume-torn resume_torn
	resume-two resume_two
	resume-finished resume_finished
	resume-failed resume_failed
	resume-device resume_device
	EOF
}

compile tools_hold hold
run_cases "$@"
