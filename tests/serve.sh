#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Images served: vhd serve and the nbdkit plugin under nbdcopy, nbdinfo,
# qemu-img, qemu-io, nbdkit's filters and a client of our own; vhd mount.
#
# usage: serve.sh BUILD [CASE]...     (default: all cases)
#
# Environment: SAN=1: BUILD is sanitized. SEED: of random parts. One line a
# case; appends "serve CASE pass|fail|skip SECONDS" to BUILD/results.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$(pwd)
build=$(cd "$1" && pwd) || exit 1
shift
PATH=$build/bin:$PATH:/usr/sbin:/sbin
export PATH
dir=$(mktemp -d "${TMPDIR:-/tmp}/serve.XXXXXX") || exit 1
trap 'finish' EXIT
trap 'exit 130' INT TERM
umask 022
tier=serve prefix=''
. tests/lib/case.sh
. tests/lib/wait.sh
seed=$base_seed
plugin=$build/lib/nbdkit/nbdkit-vhd-plugin.so
mib=1048576
# A file system that is still mounted must not be emptied.
unmount_all()
{
	awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' \
		/proc/self/mountinfo | tac | while read -r left; do
		umount -l "$left" 2>/dev/null || fusermount3 -uz "$left"
	done
}

finish()
{
	unmount_all
	rm -rf --one-file-system "$dir"
}

case_over()
{
	unmount_all
	rm -rf --one-file-system "$dir"/run/*
}

# --- what cases ask

chain() # COUNT BYTES
{
	echo "seed $seed" >&2
	"$dir/chain" "$1" "$2" "$seed" || fail "cannot make a chain"
	top=l$(($1 - 1)).vhd
}

# Fixed, dynamic and raw images of the same random content, part of it zero.
three()
{
	head -c $((3 * mib)) /dev/urandom >flat.raw
	truncate -s 8M flat.raw
	head -c $((mib + 512)) /dev/urandom | dd of=flat.raw bs=512 \
		seek=11001 conv=notrunc status=none
	must vhd convert -q --from raw --to dynamic flat.raw dynamic.vhd
	must vhd convert -q --from raw --to fixed flat.raw fixed.vhd
}

# vhd serve with these words, in the background, its own output in "told"; ends
# with `unserve`.
serve() # WORD...
{
	: >told
	vhd serve "$@" >>told 2>told.err &
	server=$!
	within serving
	uri=$(sed -n 's/^    \(nbds\{0,1\}[+:].*\)/\1/p' told | head -n 1)
	[ -n "$uri" ] || fail "no address: $(cat told told.err)"
}

serving()
{
	kill -0 "$server" 2>/dev/null ||
		fail "no server: $(cat told told.err)"
	grep -q 'ends' told
}

unserve()
{
	kill "$server"
	wait "$server" || fail "the server's status: $?; $(cat told.err)"
	left=$(ls "$dir/run")
	[ -z "$left" ] || fail "left behind: $left"
}

# The process that does the serving.
nbdkit_pid()
{
	cat "/proc/$server/task/$server/children"
}

# --- cases: reading

# Through every client the same bytes.
same_content() # IMAGE FLAT
{
	must vhd serve --run "nbdcopy \"\$uri\" copy" "$1"
	cmp copy "$2" >&2 || fail "nbdcopy: other bytes of $1"
	must vhd serve --run \
		"qemu-img compare -f raw -F raw \"\$uri\" $2" "$1"
	must vhd serve --direct --run \
		"nbdcopy --connections=4 \"\$uri\" copy" "$1"
	cmp copy "$2" >&2 || fail "O_DIRECT: other bytes of $1"
	must vhd serve --run \
		"qemu-img convert -f raw -O qcow2 \"\$uri\" copy" "$1"
	must qemu-img compare -f qcow2 -F raw copy "$2"
	rm -f copy
}

reading()
{
	three
	same_content dynamic.vhd flat.raw
	same_content fixed.vhd flat.raw
	must vhd serve --format raw --run "nbdcopy \"\$uri\" copy" flat.raw
	cmp copy flat.raw >&2 || fail "raw: other bytes"
}

reading_chain()
{
	for depth in 2 5 9; do
		chain $depth $((5 * mib + 512))
		sha256sum l*.vhd >before
		same_content "$top" flat.raw
		sha256sum -c --quiet before >&2 || fail "a layer changed"
		rm -f l*.vhd
	done
}

# One line an extent of one kind: start, length, data or zero.
merged()
{
	awk '{ kind = $3 ~ /data/ ? "data" : "zero" }
		kind == last { len += $2; next }
		last != "" { print start, len, last }
		{ start = $1; len = $2; last = kind }
		END { print start, len, last }'
}

same_map() # IMAGE
{
	must vhd serve --run 'nbdinfo --map "$uri"' "$1"
	awk '{ print $1, $2, $4 }' "$dir/out" | merged >theirs
	must vhd map --host-holes "$1"
	awk '$1 ~ /^[0-9]+$/ && $2 ~ /^[0-9]+$/' "$dir/out" | merged >ours
	diff ours theirs >&2 || fail "another map of $1"
}

maps()
{
	three
	same_map dynamic.vhd
	same_map fixed.vhd
	grep -q zero ours || fail "no zeros in the map"
	chain 4 $((20 * mib))
	same_map "$top"
	vhd create -q --size 2040G huge.vhd
	same_map huge.vhd
	[ "$(cat ours)" = '0 2190433320960 zero' ] || fail "huge: $(cat ours)"
}

# What clients are told.
facts()
{
	three
	must vhd serve --run 'nbdinfo "$uri"' dynamic.vhd
	for fact in 'export-size: 8388608' 'is_read_only: true' \
		'can_multi_conn: true' 'block_size_minimum: 512' \
		'description: dynamic VHD, 1 layer'; do
		said "$fact"
	done
	must vhd serve --writable --run 'nbdinfo "$uri"' dynamic.vhd
	for fact in 'is_read_only: false' 'can_fua: true' 'can_trim: true' \
		'can_zero: true' 'can_fast_zero: true' 'can_flush: true'; do
		said "$fact"
	done
	must nbdkit --dump-plugin "$plugin"
	said '^thread_model=parallel'
}

# --- cases: writing

writing()
{
	three
	for image in dynamic.vhd fixed.vhd; do
		head -c $((8 * mib)) /dev/urandom >new.raw
		truncate -s 5M new.raw
		truncate -s 8M new.raw
		must vhd serve --writable --run 'nbdcopy new.raw "$uri"' $image
		must vhd compare --format-b raw $image new.raw
		must vhd check --data --quiet $image
		must qemu-img compare -f vpc -F raw $image new.raw
	done
}

# Space that is given back, and zeros that take none.
zeros()
{
	must vhd create -q --size 64M d.vhd
	must vhd serve --writable --run 'qemu-io -f raw \
		-c "write -P 5 10M 8M" -c "discard 11M 4M" \
		-c "write -z -u 16M 1M" -c "write -z 17M 64k" \
		-c "write -z -u 40M 20M" -c "read -P 5 10M 1M" \
		-c "read -P 0 11M 4M" -c "read -P 5 15M 1M" \
		-c "read -P 0 16M 1088k" -c "read -P 5 17472k 960k" "$uri"' \
		d.vhd
	! grep -q 'Pattern verification failed' "$dir/out" ||
		fail "$(cat "$dir/out")"
	must vhd check --data d.vhd
	must vhd map d.vhd
	! grep -q '^41943040 .*data' "$dir/out" ||
		fail "zeros took space: $(cat "$dir/out")"
	[ $(($(stat -c %b d.vhd) * 512)) -lt $((6 * mib)) ] ||
		fail "no space was given back: $(stat -c %b d.vhd)"
}

# Several clients at once against a flat disk, on images of which some blocks
# are there and some are not.
parallel()
{
	echo "seed $seed" >&2
	three
	for image in dynamic.vhd fixed.vhd; do
		must vhd serve --writable --run \
			"$dir/client parallel \"\$uri\" $seed model" $image
		must vhd compare --format-b raw $image model
		must vhd check --data --quiet $image
	done
}

# The same on the top of a chain, whose other layers stay as they are.
parallel_chain()
{
	chain 4 $((8 * mib + 512))
	sha256sum l[0-2].vhd >before
	must vhd serve --writable --run \
		"$dir/client parallel \"\$uri\" $seed model" "$top"
	must vhd compare --format-b raw "$top" model
	must vhd check --data --quiet "$top"
	sha256sum -c --quiet before >&2 || fail "a parent changed"
}

overlay()
{
	chain 3 $((6 * mib))
	sha256sum l*.vhd >before
	must vhd serve --overlay --run \
		"$dir/client parallel \"\$uri\" $seed model" "$top"
	sha256sum -c --quiet before >&2 || fail "a layer changed"
}

# Write the marks to an image, have the server killed while the client is
# there, and read the disk back.
killed() # IMAGE MARK...
{
	image=$1
	shift
	serve --writable "$image"
	rm -f go
	mkfifo go
	: >written
	"$dir/client" hold "$uri" "$@" <go >>written &
	client=$!
	exec 9>go
	within grep -q written written
	kill -9 "$(nbdkit_pid)"
	exec 9>&-
	wait "$client"
	! wait "$server" || fail "status 0 of a server that was killed"
	grep -q 'signal 9' told.err || fail "$(cat told.err)"
	rm -rf "$dir"/run/*
	must vhd check --data "$image"
	must vhd convert -q --force --to raw "$image" back.raw
}

# What was flushed, or written with FUA, is there after the server was killed
# in the middle of it; the rest is old or new; the image needs no repair.
durable()
{
	must vhd create -q --size 64M d.vhd
	killed d.vhd afua bplain cflush dplain
	holds a 1
	holds b 2 # flushed with c
	holds c 3
	holds 'd\0' 4
	# And nothing else.
	[ "$(tail -c +$((5 * mib + 1)) back.raw | tr -d '\0' | wc -c)" -eq 0 ] ||
		fail "bytes that nobody wrote"
	chain 3 $((8 * mib))
	sha256sum l[01].vhd >before
	killed "$top" efua fplain gflush hplain
	holds e 1
	holds f 2
	holds g 3
	sha256sum -c --quiet before >&2 || fail "a parent changed"
	cmp -n $mib flat.raw back.raw >&2 || fail "what nobody wrote: before"
	cmp -i $((5 * mib)) flat.raw back.raw >&2 ||
		fail "what nobody wrote: behind"
}

# Killed at any moment, with several clients writing and flushing.
killed_busy()
{
	echo "seed $seed" >&2
	chain 3 $((24 * mib))
	sha256sum l[01].vhd >before
	for round in 1 2 3 4 5 6; do
		serve --writable "$top"
		"$dir/client" parallel "$uri" $((seed + round)) model \
			2>/dev/null &
		client=$!
		sleep "0.$round"
		kill -9 "$(nbdkit_pid)" 2>/dev/null
		wait "$client"
		wait "$server"
		rm -rf "$dir"/run/*
		must vhd check --data "$top"
	done
	sha256sum -c --quiet before >&2 || fail "a parent changed"
}

# MiB number N of back.raw has no other bytes.
holds() # LETTERS N
{
	[ "$(dd if=back.raw bs=$mib skip="$2" count=1 status=none |
		tr -d "$1" | wc -c)" -eq 0 ] || fail "MiB $2 is not $1"
}

# With the last client gone everything is durable without a flush.
left_clean()
{
	must vhd create -q --size 64M d.vhd
	serve --writable d.vhd
	"$dir/client" hold "$uri" xplain </dev/null >written ||
		fail "the client failed"
	within clean_now
	kill -9 "$(nbdkit_pid)"
	! wait "$server" || fail "status 0"
	must vhd convert -q --to raw d.vhd back.raw
	holds x 1
}

clean_now()
{
	cp d.vhd now.vhd
	vhd map now.vhd | grep -q data
}

# --- cases: nbdkit's filters

filters()
{
	truncate -s 16M flat.raw
	printf 'start=2048,size=8192\nstart=12288,size=16384\n' |
		sfdisk -q flat.raw
	head -c $((8 * mib)) /dev/urandom | dd of=flat.raw bs=512 seek=12288 \
		conv=notrunc status=none
	must vhd convert -q --from raw --to dynamic flat.raw d.vhd
	must vhd serve --run 'nbdcopy "$uri" copy' d.vhd -- \
		--filter=partition partition=2
	tail -c +$((12288 * 512 + 1)) flat.raw | head -c $((8 * mib)) |
		cmp - copy >&2 || fail "partition 2"
	# A client that keeps to no blocks.
	must vhd serve --writable --run \
		'qemu-io -f raw -c "write -P 7 1000 3001" "$uri"' d.vhd -- \
		--filter=blocksize minblock=512
	must vhd convert -q --to raw d.vhd back.raw
	[ "$(tail -c +1001 back.raw | head -c 3001 | tr -d '\7' | wc -c)" = 0 ] ||
		fail "blocksize"
	cmp -n 1000 flat.raw back.raw >&2 || fail "blocksize, before"
	cmp -i 4001 flat.raw back.raw >&2 || fail "blocksize, behind"
}

# A file of whole sectors, as a raw disk is one, that gzip reads nevertheless.
gzip_filter()
{
	head -c 3000000 /dev/urandom >flat.raw
	truncate -s 8M flat.raw
	gzip -k flat.raw
	truncate -s %512 flat.raw.gz
	must vhd serve --format raw --run 'nbdcopy "$uri" copy' flat.raw.gz -- \
		--filter=gzip
	cmp copy flat.raw >&2 || fail "gzip"
}

# --- cases: how it runs

running()
{
	three
	serve dynamic.vhd
	grep -q 'dynamic, 8 MiB, read-only' told || fail "$(cat told)"
	must nbdinfo --size "$uri"
	expect 1 nbdcopy flat.raw "$uri"
	unserve
	serve --socket "a b%" --overlay dynamic.vhd
	must nbdinfo --size "$uri"
	unserve
	[ ! -e "a b%" ] || fail "the socket stays"
	serve --once dynamic.vhd
	must nbdinfo --size "$uri"
	wait "$server" || fail "status of --once"
	port=$((20000 + $$ % 20000)) # others may run the same test
	serve --port $port dynamic.vhd
	[ "$uri" = nbd://localhost:$port ] || fail "$uri"
	must nbdinfo --size "$uri"
	expect 4 vhd serve --port $port dynamic.vhd
	unserve
	expect 7 vhd serve --run 'exit 7' dynamic.vhd
	expect 7 sh -c "exec vhd serve --run 'exit 7' dynamic.vhd <&-"
	expect 1 vhd serve --run "$(printf 'nbdcopy flat.raw "$uri"')" \
		dynamic.vhd
	expect 7 vhd serve --socket named --run 'exit 7' dynamic.vhd
	[ ! -e named ] || fail "the socket stays when the command has ended"
	# The server does not outlive who started it.
	serve dynamic.vhd
	child=$(nbdkit_pid)
	kill -9 "$server"
	wait "$server"
	within gone "$child"
	rm -rf "$dir"/run/*
}

gone() # PID
{
	! kill -0 "$1" 2>/dev/null
}

# --- cases: what is wrong

refusals()
{
	three
	chain 3 $((2 * mib))
	refused 3 'vhd serve: nothing: ' vhd serve nothing
	refused 2 'vhd serve: needs one file' vhd serve
	refused 2 'vhd serve: ' vhd serve --overlay --writable dynamic.vhd
	refused 2 'vhd serve: ' vhd serve --port 0 dynamic.vhd
	refused 2 'vhd serve: ' vhd serve --port x dynamic.vhd
	refused 2 'vhd serve: ' vhd serve --port 65536 dynamic.vhd
	refused 2 'vhd serve: ' vhd serve --socket a --port 1 dynamic.vhd
	refused 2 'vhd serve: ' vhd serve --run a --once dynamic.vhd
	refused 2 'vhd serve: ' vhd serve --format vhdx dynamic.vhd
	: >there
	refused 3 'vhd serve: no/there: cannot listen there: No such file' \
		vhd serve --socket no/there dynamic.vhd
	refused 3 'vhd serve: there: exists' vhd serve --socket there \
		dynamic.vhd
	[ -e there ] || fail "somebody else's file was removed"
	mv l1.vhd away
	refused 3 "vhd serve: $top: the parent l1.vhd is missing" \
		vhd serve "$top"
	expect 1 nbdkit -r "$plugin" "$top" --run true
	complained "$top: the parent l1.vhd is missing"
	head -c 4000 dynamic.vhd >cut.vhd
	refused 3 'vhd serve: cut.vhd: ' vhd serve cut.vhd
	expect 1 nbdkit -r "$plugin" file=cut.vhd --run true
	complained 'cut.vhd: block '
	expect 1 nbdkit "$plugin" --run true
	complained 'which image'
	expect 1 nbdkit "$plugin" dynamic.vhd format=vmdk --run true
	complained 'format=vmdk: not one of'
	expect 1 nbdkit "$plugin" dynamic.vhd color=blue --run true
	complained 'color: no such parameter'
	expect 1 nbdkit "$plugin" dynamic.vhd direct=perhaps --run true
	mkdir alone
	ln -s "$(command -v vhd)" alone/vhd
	refused 3 'vhd serve: nbdkit, which does the serving, is not' \
		env PATH="$PWD/alone" vhd serve dynamic.vhd
	refused 3 'vhd serve: nbdkit, which does the serving, is not' \
		env PATH="$PWD/alone" vhd serve --run true dynamic.vhd
	[ -z "$(ls "$dir/run")" ] || fail "left behind: $(ls "$dir/run")"
}

# Who writes is alone; readers keep writers out.
locks()
{
	three
	hold_file dynamic.vhd
	refused 3 'vhd serve: dynamic.vhd: ' vhd serve dynamic.vhd
	expect 1 nbdkit -r "$plugin" dynamic.vhd --run true
	complained 'dynamic.vhd: is open elsewhere'
	let_go
	serve dynamic.vhd
	refused 3 'vhd serve: dynamic.vhd: ' vhd serve --writable dynamic.vhd
	expect 1 nbdkit "$plugin" dynamic.vhd --run='nbdinfo "$uri"'
	complained 'dynamic.vhd: is open elsewhere'
	must vhd serve --run 'nbdinfo --size "$uri"' dynamic.vhd
	unserve
	serve --writable dynamic.vhd
	must nbdinfo --size "$uri"
	refused 3 'vhd map: dynamic.vhd: ' vhd map dynamic.vhd
	unserve
	must vhd map dynamic.vhd
}

# Errors as clients see them.
errors()
{
	three
	must vhd serve --run "$dir/client refused \"\$uri\" 0 512" dynamic.vhd
	[ "$(cat "$dir/out")" = EPERM ] || fail "read-only: $(cat "$dir/out")"
	must vhd serve --writable --run \
		"$dir/client refused \"\$uri\" 100 512" dynamic.vhd
	[ "$(cat "$dir/out")" = EINVAL ] || fail "unaligned: $(cat "$dir/out")"
	must vhd create -q --size 1G d.vhd
	(
		ulimit -f 2048
		must vhd serve --writable --run \
			"$dir/client refused \"\$uri\" 0 4194304" d.vhd
	) || exit 1
	[ "$(cat "$dir/out")" = ENOSPC ] || fail "full: $(cat "$dir/out")"
	must vhd check --quiet d.vhd
}

# The plugin shows nbdkit one name, the shared library what its header says.
symbols()
{
	nm -D --defined-only "$plugin" | awk '$2 != "A" { print $3 }' |
		sed 's/@.*//' >names
	[ "$(cat names)" = plugin_init ] || fail "the plugin: $(cat names)"
	nm -D --defined-only "$build"/lib/libvhd.so.* |
		awk '$2 != "A" { print $3 }' | sed 's/@.*//' | sort >have
	${CC:-cc} -E -P -x c "$root/vhd/vhd.h" |
		grep -oE '\<vhd_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u >want
	# What is declared but inline, or of a type, is in neither.
	grep -vxE 'vhd_fail' want >wanted
	diff wanted have >&2 || fail "libvhd.so shows other names"
	${CC:-cc} -E -P -x c "$root/vhd/vhd.h" >text
	while read -r name; do
		grep -qw "$name" text || fail "$name is not in vhd.h"
	done <have
}

# --- cases in a file of their own

. tests/serve_mount.sh

# ---

cases()
{
	cat <<-EOF
	reading reading
	reading-chain reading_chain
	map maps
	facts facts
	writing writing
	zeros zeros
	parallel parallel
	parallel-chain parallel_chain
	overlay overlay
	durable durable
	killed-busy killed_busy
	left-clean left_clean
	filters filters
	gzip gzip_filter
	running running
	refusals refusals
	locks locks
	errors errors
	symbols symbols
	mount-files mount_files
	mount-chain mount_chain
	mount-writable mount_writable
	mount-overlay mount_overlay
	mount-killed mount_killed
	mount-kernel mount_kernel
	mount-user mount_user
	mount-ntfs mount_ntfs
	mount-refused mount_refused
	EOF
}

# nbdkit is not sanitized; what a sanitized plugin needs is given to it, and
# not to the commands it runs. With libasan so loaded p11-kit's destructor, which
# frees a locale, waits forever.
sanitized_nbdkit()
{
	runtime=$(${CC:-cc} -print-file-name=libasan.so)
	mkdir "$dir/bin" || exit 1
	echo 'void freelocale(void *l); void freelocale(void *l) { (void)l; }' |
		${CC:-cc} -x c -shared -fPIC -o "$dir/bin/locale.so" - || exit 1
	cat >"$dir/bin/nbdkit" <<-EOF
	#!/bin/bash
	words=()
	for word; do
		words+=("\${word/#--run=/--run=unset LD_PRELOAD; }")
	done
	LD_PRELOAD="$runtime $dir/bin/locale.so" ASAN_OPTIONS=detect_leaks=0 \
		exec $(command -v nbdkit) "\${words[@]}"
	EOF
	chmod +x "$dir/bin/nbdkit"
	PATH=$dir/bin:$PATH
}

for need in nbdkit nbdcopy nbdinfo qemu-io; do
	command -v $need >/dev/null || {
		echo "  FAIL  serve: no $need; run: make deps"
		exit 1
	}
done
compile serve_client client -lnbd -pthread
compile tools_hold hold
compile_chain
[ "${SAN-}" != 1 ] || sanitized_nbdkit
# Where default sockets go, so that what stays behind is seen; a compiler's
# cache may have files there, too.
mkdir "$dir/run"
export XDG_RUNTIME_DIR="$dir/run"
run_cases "$@"
