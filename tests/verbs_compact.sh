# SPDX-License-Identifier: BSD-2-Clause
# Cases of tests/verbs.sh: compacting. Read by it, not run.
# shellcheck shell=sh disable=SC2154 # dir, corpus are the reader's

# 32 MiB with sixteen blocks of which every other one was zeroed again, by
# qemu-io (dense layout, whole bitmaps).
holey() # FILE
{
	rm -f "$1"
	qemu-img create -q -f vpc -o force_size=on "$1" 32M
	for b in 0 2 4 7 3 6 11 1 8 10 5 9 12 13 15 14; do
		echo "write -P $((b + 1)) $((b * 2))M 2M"
	done | qemu-io -f vpc "$1" >/dev/null
	for b in 0 2 4 6 8 10 12 14; do
		echo "write -P 0 $((b * 2))M 2M"
	done | qemu-io -f vpc "$1" >/dev/null
}

compacts()
{
	holey d.vhd
	cp d.vhd was.vhd
	before=$(stat -c '%s %Y' d.vhd)
	must vhd compact --json --dry-run d.vhd
	[ "$(value blocks-zero)" = 8 ] || fail "blocks-zero"
	after=$(value file-size-after)
	[ "$before" = "$(stat -c '%s %Y' d.vhd)" ] || fail "a dry run wrote"
	must vhd compact d.vhd
	said '8 of 16 blocks given back (8 zero), 4 moved'
	[ "$(stat -c %s d.vhd)" = "$after" ] || fail "not as long as planned"
	[ "$after" -lt $((8 * 2097664 + 16384)) ] || fail "$after bytes left"
	must vhd check d.vhd
	must vhd compare --strict d.vhd was.vhd
	must qemu-img compare -q -f vpc -F vpc d.vhd was.vhd
	must vhd compact d.vhd
	said '0 of 8 blocks given back'
	# a table that a resize put behind the blocks
	must vhd resize --quiet 3G d.vhd
	must vhd resize --quiet --shrink --force 32M d.vhd
	must vhd compact --json d.vhd
	must vhd check d.vhd
	must vhd compare --strict d.vhd was.vhd
	# fixed: holes
	must vhd convert --quiet --to fixed --sparse=no was.vhd f.vhd
	full=$(stat -c %b f.vhd)
	must vhd compact --punch f.vhd
	[ "$(stat -c %b f.vhd)" -lt $((full * 6 / 10)) ] ||
		fail "$(stat -c %b f.vhd) of $full blocks left"
	must vhd compare --strict f.vhd was.vhd
	must vhd check --quiet f.vhd
}

bad_compacts()
{
	three d.vhd
	must vhd create --quiet --type fixed --size 3M f.vhd
	truncate -s 1M r.raw
	refused 3 'vhd compact: f.vhd: ' vhd compact f.vhd
	refused 3 'vhd compact: f.vhd: ' vhd compact --rewrite f.vhd
	refused 3 'vhd compact: r.raw: ' vhd compact r.raw
	refused 3 'vhd compact: none.vhd: ' vhd compact none.vhd
	refused 3 'vhd compact: none.vhd: ' vhd compact --rewrite none.vhd
	refused 2 'vhd compact: ' vhd compact --punch --rewrite d.vhd
	refused 2 'vhd compact: ' vhd compact d.vhd f.vhd
	ln d.vhd e.vhd
	refused 3 'vhd compact: d.vhd: ' vhd compact --rewrite d.vhd
	rm e.vhd
	both d.vhd 84 '\1'
	refused 3 'vhd compact: d.vhd: ' vhd compact d.vhd
	three d.vhd
	poke d.vhd 1548 '\0\0\0\7'
	refused 3 'vhd compact: d.vhd: ' vhd compact d.vhd
	refused 3 'vhd compact: d.vhd: ' vhd compact --rewrite d.vhd
}

rewrites()
{
	holey d.vhd
	cp d.vhd was.vhd
	chmod 640 d.vhd
	must vhd compact --json --rewrite --dry-run d.vhd
	after=$(value file-size-after)
	cmp d.vhd was.vhd || fail "a dry run wrote"
	must vhd compact --rewrite d.vhd
	[ "$(stat -c '%s %a' d.vhd)" = "$after 640" ] ||
		fail "$(stat -c '%s %a' d.vhd), not $after 640"
	must vhd check --quiet d.vhd
	must vhd inspect --json d.vhd
	[ "$(value images.0.blocks.aligned)" = 8 ] || fail "not aligned"
	must vhd compare --strict d.vhd was.vhd
	must qemu-img compare -q -f vpc -F vpc d.vhd was.vhd
	[ "$(ls -A | wc -l)" = 2 ] || fail "left behind: $(ls -A)"
}

# Killed at its n-th write: the same content each time.
compact_killed()
{
	strace -o /dev/null true 2>/dev/null || skip "strace may not trace"
	holey was.vhd
	for how in '' --rewrite; do
		n=1
		while :; do
			cp was.vhd k.vhd
			ASAN_OPTIONS=detect_leaks=0 \
				strace -o /dev/null -e trace=pwrite64 \
				-e inject=pwrite64:signal=KILL:when=$n \
				vhd compact --quiet $how k.vhd
			status=$?
			must vhd compare --strict k.vhd was.vhd
			must vhd compact --quiet $how k.vhd
			must vhd check --quiet k.vhd
			must vhd compare --strict k.vhd was.vhd
			[ $status -ne 0 ] || break
			n=$((n + 1))
		done
		[ $n -gt 4 ] || fail "only $n writes"
	done
	[ "$(ls -A | wc -l)" = 2 ] || fail "left behind: $(ls -A)"
}

# In place nothing is needed; a rewrite without room leaves all as it was.
compact_full()
{
	holey d.vhd
	cp d.vhd was.vhd
	(ulimit -f 8000 && vhd compact --rewrite d.vhd) 2>err &&
		fail "a full disk was not noticed"
	[ "$(wc -l <err)" -eq 1 ] || fail "$(cat err)"
	cmp d.vhd was.vhd || fail "a full disk changed it"
	rm err
	[ "$(ls -A | wc -l)" = 2 ] || fail "left behind: $(ls -A)"
	limit=$(($(stat -c %s d.vhd) / 512))
	(ulimit -f $limit && vhd compact --quiet d.vhd) ||
		fail "compacting needs space"
	must vhd compare --strict d.vhd was.vhd
}

# Random chains: whatever is done to the top, the disk stays, and so do the
# files below.
compact_child()
{
	seed=$base_seed
	echo "seed $seed" >&2
	for n in 2 3 4 5 6 7 8; do
		rm -f ./*.vhd
		"$dir/chain" $n 3145728 $((seed + n)) || fail "no chain"
		top=l$((n - 1)).vhd
		mkdir -p below
		rm -f below/*
		mv $top top
		cp ./*.vhd below
		mv top $top
		was=$(status_of vhd check --chain --quiet $top)
		for how in '' --parent-equal --rewrite \
			'--rewrite --parent-equal'; do
			must vhd compact --quiet $how $top
			must vhd compare --strict $top flat.raw
		done
		must vhd compact --json --parent-equal $top
		[ "$(value blocks-equal)" = 0 ] || fail "equal blocks again"
		refused 3 "vhd resize: $top: " vhd resize 4M $top
		refused 3 "vhd resize: $top: " vhd resize --shrink 2M $top
		must vhd resize --quiet --larger-child 200M $top
		must vhd compare --larger-child $top flat.raw
		must vhd compact --quiet --larger-child $top
		must vhd compare --larger-child $top flat.raw
		must vhd resize --quiet --shrink --larger-child 3M $top
		must vhd compare --strict $top flat.raw
		must vhd compact --quiet $top
		must vhd compare --strict $top flat.raw
		[ "$(status_of vhd check --chain --quiet $top)" -le "$was" ] ||
			fail "worse than before"
		for file in below/*; do
			cmp "$file" "${file#below/}" || fail "$file changed"
		done
	done
}

# A file full of old content, for a file system to be made in.
junk() # FILE MIBYTES
{
	yes 'what was here before' | head -c $(($2 << 20)) >"$1"
}

sources() # the files put onto them
{
	mkdir -p src
	cp "$root"/vhd/*.c src
	head -c 300000 "$build/bin/vhd" >src/long
}

# Compacted with --free the image in e.vhd is less than half as long, and e.raw
# holds what it has now.
freed() # RAW
{
	rm -f e.vhd
	must vhd convert --quiet --from raw --to dynamic "$1" e.vhd
	before=$(stat -c %s e.vhd)
	must vhd compact --json --free e.vhd
	[ "$(value blocks-free)" -gt 0 ] || fail "no block is free"
	[ "$(stat -c %s e.vhd)" -lt $((before * 7 / 10)) ] ||
		fail "$(stat -c %s e.vhd) of $before bytes left"
	must vhd check --quiet e.vhd
	must vhd convert --quiet --force --to raw e.vhd e.raw
}

# The line says why; nothing is changed, no directory left behind.
not_free() # RAW WORD
{
	rm -f e.vhd
	must vhd convert --quiet --from raw --to dynamic "$1" e.vhd
	refused 3 'vhd compact: e.vhd: ' vhd compact --free e.vhd
	grep -q "$2" "$dir/err" || fail "no '$2': $(cat "$dir/err")"
	tmp_is_empty || fail "left in TMPDIR"
}

free_ext()
{
	sources
	while read -r type options; do
		junk x.raw 48
		# shellcheck disable=SC2086 # a list of options
		mke2fs -q -F -t "$type" -E nodiscard $options -d src x.raw ||
			fail "mke2fs $type $options"
		freed x.raw
		must e2fsck -fn e.raw
		rm -rf back
		mkdir back
		debugfs -R 'rdump / back' e.raw 2>/dev/null
		rm -rf back/lost+found
		diff -r src back || fail "$type $options: files differ"
	done <<-EOF
	ext4
	ext4 -b 4096
	ext4 -b 4096 -O bigalloc,^resize_inode
	ext4 -b 1024 -g 1024
	ext4 -O ^metadata_csum,uninit_bg
	ext4 -O meta_bg,^resize_inode
	ext3 -b 2048
	ext2
	ext2 -O ^sparse_super,^resize_inode
	EOF
	# in a partition, the rest of the disk stays
	junk d.raw 80
	printf '%s\n' 'label: dos' 'start=4MiB, size=48MiB' |
		sfdisk -q d.raw >/dev/null
	dd if=x.raw of=d.raw bs=1M seek=4 conv=notrunc status=none
	freed d.raw
	cmp -n $((4 << 20)) d.raw e.raw || fail "in front of the partition"
	cmp -i $((52 << 20)) d.raw e.raw || fail "behind the partition"
	must e2fsck -fn "e.raw?offset=$((4 << 20))"
	# fixed: holes
	must vhd convert --quiet --from raw --to fixed --sparse=no x.raw f.vhd
	full=$(stat -c %b f.vhd)
	must vhd compact --punch --free f.vhd
	[ "$(stat -c %b f.vhd)" -lt $((full / 2)) ] || fail "not punched"
	must vhd convert --quiet --force --to raw f.vhd e.raw
	must e2fsck -fn e.raw
}

bad_free_ext()
{
	sources
	junk x.raw 48
	mke2fs -q -F -t ext4 -b 4096 -E nodiscard -d src x.raw
	cp x.raw y.raw
	debugfs -w -R 'feature needs_recovery' y.raw >/dev/null 2>&1
	not_free y.raw journal
	cp x.raw y.raw
	debugfs -w -R 'ssv state 0' y.raw >/dev/null 2>&1
	not_free y.raw 'not unmounted'
	# group descriptors, then the bitmap
	cp x.raw y.raw
	dd if=/dev/urandom of=y.raw bs=512 seek=8 count=1 conv=notrunc \
		status=none
	not_free y.raw damaged
	at=$(dumpe2fs x.raw 2>/dev/null |
		sed -n 's/.*Block bitmap at \([0-9]*\).*/\1/p;T;q')
	cp x.raw y.raw
	dd if=/dev/zero of=y.raw bs=4096 seek="$at" count=1 conv=notrunc \
		status=none
	not_free y.raw damaged
	# without sums the counts must agree
	mke2fs -q -F -t ext2 -b 4096 -E nodiscard -d src x.raw
	at=$(dumpe2fs x.raw 2>/dev/null |
		sed -n 's/.*Block bitmap at \([0-9]*\).*/\1/p;T;q')
	dd if=/dev/zero of=x.raw bs=4096 seek="$at" count=1 conv=notrunc \
		status=none
	not_free x.raw damaged
	truncate -s 8M z.raw
	not_free z.raw 'no file system'
}

tmp_is_empty()
{
	[ -z "$(find "$dir/tmp" -mindepth 1 2>/dev/null)" ]
}

free_others()
{
	[ -r /dev/fuse ] && [ -w /dev/fuse ] || skip "no FUSE here"
	mkdir mounted
	must vhd create --quiet --size 1M probe.vhd
	vhd mount probe.vhd mounted 2>"$dir/err" ||
		skip "FUSE does not mount here: $(cat "$dir/err")"
	must vhd unmount mounted
	rm -r mounted probe.vhd
	mkdir "$dir/tmp"
	TMPDIR=$dir/tmp
	export TMPDIR
	sources
	junk x.raw 320
	mkfs.xfs -q -f -K x.raw
	printf '%s\n' / '0 0' 'd--755 0 0' \
		"long ---644 0 0 src/long" '$' >proto
	mkfs.xfs -q -f -K -p proto x.raw
	freed x.raw
	must xfs_repair -n -f e.raw
	xfs_db -r -f -c 'path /long' -c 'print core.size' e.raw |
		grep -q 300000 || fail "the file is gone"
	junk n.raw 48
	mkntfs -q -Q -F n.raw >/dev/null 2>&1 || fail mkntfs
	must ntfscp -f n.raw src/long long
	freed n.raw
	must ntfsresize --info --no-progress-bar e.raw
	ntfscat e.raw long | cmp - src/long || fail "NTFS: the file differs"
	printf hibr >hiber
	head -c 8192 /dev/zero >>hiber
	must ntfscp -f n.raw hiber hiberfil.sys
	not_free n.raw hibernates
	for bits in 12 16 32; do
		size=48
		[ $bits != 12 ] || size=12
		junk v.raw $size
		must mkfs.fat -F $bits v.raw
		mcopy -i v.raw src/* :: || fail mcopy
		freed v.raw
		must fsck.fat -n e.raw
		rm -rf back
		mkdir back
		mcopy -n -i e.raw '::*' back
		diff -r src back || fail "FAT$bits: files differ"
	done
	# killed while another program looks: mount and directory go away
	must vhd convert --quiet --force --from raw --to dynamic n.raw e.vhd
	ntfs=$(stat -c %s e.vhd)
	for ms in 005 02 05 1 2; do
		for sig in INT TERM KILL; do
			timeout -s $sig 0.$ms vhd compact --quiet --dry-run \
				--free e.vhd
			until_ok tmp_is_empty || fail "left in TMPDIR"
		done
	done
	[ "$(stat -c %s e.vhd)" = "$ntfs" ] || fail "a dry run wrote"
	poke v.raw $((32 * 512 + 7)) '\007' # not unmounted
	not_free v.raw 'not unmounted'
	tmp_is_empty || fail "left in TMPDIR"
}

compact_foreign()
{
	[ -d "$corpus" ] || skip "no corpus"
	for gz in "$corpus"/*.vhd.gz; do
		name=$(basename "$gz" .gz)
		gzip -dc "$gz" >"$name"
	done
	mkdir was
	cp ./*.vhd was
	for name in *.vhd; do
		for how in '' --parent-equal --rewrite; do
			[ "$(status_of vhd map "$name")" = 0 ] || continue
			must vhd inspect --no-content "$name"
			! grep -q 'fixed VHD' "$dir/out" || continue
			must vhd compact --quiet $how "$name"
			must vhd compare --strict "$name" "was/$name"
			was=$(status_of vhd check --quiet "was/$name")
			[ "$(status_of vhd check --quiet "$name")" -le "$was" ] ||
				fail "$name: worse than before"
		done
	done
}
