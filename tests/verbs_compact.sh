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
	seed=$(date +%s)
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
