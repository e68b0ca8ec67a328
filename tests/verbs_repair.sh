# SPDX-License-Identifier: BSD-2-Clause
# Cases of tests/verbs.sh: repair, and images of other people's programs.
# Read by it, not run.
# shellcheck shell=sh disable=SC2154 # dir, corpus are the reader's

# What --lossy alone may give up, a repair without it leaves to the byte.
repair_cut()
{
	head -c 8M /dev/urandom >r.raw
	must vhd convert --quiet --from raw --to dynamic r.raw c.vhd
	truncate -s 5000192 c.vhd
	cp c.vhd was.vhd
	expect 1 vhd repair --yes c.vhd
	tail -c +513 c.vhd | head -c 4999680 >have
	tail -c +513 was.vhd | cmp - have || fail "data was replaced"
	lost=$(sed -n 's/.*lost: \([0-9]*\) bytes.*/\1/p' "$dir/out" | head -n 1)
	must vhd repair --yes --lossy c.vhd
	said "lost: $lost bytes"
	must vhd check --quiet c.vhd
}

# The damage, and with "lossy" in front what must be agreed to.
mendable()
{
	cat <<-'EOF'
	- poke d.vhd $(($(end_of d.vhd) + 100)) x
	- truncate -s -512 d.vhd
	- truncate -s -1 d.vhd
	- poke d.vhd $(end_of d.vhd) '\307\307\307\307\307\307\307\307'
	- poke d.vhd 0 '\0\0\0\0\0\0\0\0'
	- poke d.vhd 90 x
	- poke d.vhd 64 '\1\2\3\4'; poke d.vhd $(($(end_of d.vhd) + 64)) '\1\2\3\4'
	- poke d.vhd 548 '\1\2\3\4'
	- header d.vhd 8 '\0\0\0\0\0\0\2\0'
	- both d.vhd 56 '\377\377\20\376'
	- both d.vhd 68 '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
	lossy poke d.vhd 1548 '\0\0\0\0'
	lossy poke d.vhd 1548 '\377\377\377\376'
	lossy poke d.vhd 1548 '\0\0\0\7'
	EOF
}

mend()
{
	three sound.vhd
	mendable | while read -r kind harm; do
		three d.vhd
		eval "$harm"
		cp d.vhd before.vhd
		expect 1 vhd check --quiet d.vhd
		expect 1 vhd repair d.vhd
		cmp d.vhd before.vhd || fail "a dry run wrote: $harm"
		rm -f undo
		lossy=
		if [ "$kind" = lossy ]; then
			expect 1 vhd repair --yes --undo undo d.vhd
			said "needs --lossy"
			cmp d.vhd before.vhd || fail "lossy unasked: $harm"
			lossy=--lossy
		fi
		must vhd repair --yes $lossy --undo undo d.vhd
		must vhd check d.vhd
		must vhd compare d.vhd sound.vhd
		must qemu-img compare -q -f vpc -F vpc d.vhd sound.vhd
		cp d.vhd after.vhd
		must vhd repair --yes $lossy --undo undo2 d.vhd
		said "nothing to repair"
		[ ! -e undo2 ] || fail "an undo file for nothing"
		cmp d.vhd after.vhd || fail "repaired twice: $harm"
		must vhd repair --undo-apply d.vhd undo
		cmp d.vhd before.vhd || fail "undo is not exact: $harm"
		must vhd repair --undo-apply d.vhd undo
		cmp d.vhd before.vhd || fail "second undo: $harm"
	done
}

undo_files()
{
	three d.vhd
	poke d.vhd 90 x
	cp d.vhd before.vhd
	must vhd repair --yes d.vhd
	[ -e d.vhd.undo ] || fail "no d.vhd.undo"
	cp d.vhd after.vhd
	: >taken
	poke d.vhd 90 x
	refused 3 'vhd repair: taken: ' vhd repair --yes --undo taken d.vhd
	must vhd repair --yes d.vhd
	[ -e d.vhd.undo.2 ] || fail "no d.vhd.undo.2"
	poke d.vhd 200 y
	refused 3 'vhd repair: d.vhd: ' vhd repair --undo-apply d.vhd d.vhd.undo
	must vhd repair --undo-apply --force d.vhd d.vhd.undo
	cmp d.vhd before.vhd || fail "a forced undo"
	refused 3 'vhd repair: taken: ' vhd repair --undo-apply d.vhd taken
	refused 3 'vhd repair: after.vhd: ' vhd repair --undo-apply after.vhd \
		after.vhd
	poke d.vhd.undo 600 z
	refused 3 'vhd repair: d.vhd.undo: ' vhd repair --undo-apply d.vhd \
		d.vhd.undo
	must vhd repair --yes --no-undo d.vhd
	[ ! -e d.vhd.undo.3 ] || fail "--no-undo kept something"
	refused 2 'vhd repair: ' vhd repair --yes --dry-run d.vhd
	refused 2 'vhd repair: ' vhd repair --undo a --no-undo d.vhd
	refused 2 'vhd repair: ' vhd repair --undo-apply d.vhd
	refused 2 'vhd repair: ' vhd repair --undo-apply --yes d.vhd a
	refused 2 'vhd repair: ' vhd repair --force d.vhd
	refused 2 'vhd repair: ' vhd repair --prefer none d.vhd
	refused 2 'vhd repair: ' vhd repair d.vhd d.vhd
}

# What nothing in the image decides.
undecided()
{
	three d.vhd
	poke d.vhd 68 '0123456789abcdef'
	seal d.vhd 0 512
	refused 3 'vhd repair: d.vhd: ' vhd repair --yes d.vhd
	must vhd repair --yes --prefer end d.vhd
	must vhd check d.vhd
	three d.vhd
	poke d.vhd 0 '\0\0\0\0\0\0\0\0'
	poke d.vhd "$(end_of d.vhd)" '\0\0\0\0\0\0\0\0'
	refused 3 'vhd repair: d.vhd: ' vhd repair --yes d.vhd
	must vhd repair --yes --size 16M d.vhd
	must vhd check d.vhd
	three sound.vhd
	must vhd compare d.vhd sound.vhd
	vhd create --quiet --type fixed --size 3M f.vhd
	truncate -s -512 f.vhd
	refused 3 'vhd repair: f.vhd: ' vhd repair --yes f.vhd
	must vhd repair --yes --format fixed f.vhd
	must vhd check f.vhd
	three d.vhd
	header d.vhd 32 '\0\60\0\0'
	refused 3 'vhd repair: d.vhd: ' vhd repair --yes --lossy d.vhd
}

# A repair killed at its n-th write, for every n: the next one finishes it,
# and the undo file of the first, where it is whole, brings all back.
killed()
{
	strace -o /dev/null true 2>/dev/null || skip "strace may not trace"
	three sound.vhd
	three d.vhd
	both d.vhd 68 '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
	both d.vhd 56 '\377\377\20\376'
	poke d.vhd 548 '\1\2\3\4'
	poke d.vhd 1548 '\0\0\0\0'
	poke d.vhd 90 x
	cp d.vhd before.vhd
	n=1
	while :; do
		cp before.vhd d.vhd
		rm -f undo undo2
		# LeakSanitizer cannot work under strace.
		ASAN_OPTIONS=detect_leaks=0 \
			strace -o /dev/null -e trace=pwrite64 \
			-e inject=pwrite64:signal=KILL:when=$n \
			vhd repair --quiet --yes --lossy --undo undo d.vhd
		status=$?
		cp d.vhd cut.vhd
		if ! cmp -s d.vhd before.vhd; then
			must vhd repair --undo-apply d.vhd undo
			cmp d.vhd before.vhd || fail "undo after write $n"
			cp cut.vhd d.vhd
		fi
		must vhd repair --quiet --yes --lossy --undo undo2 d.vhd
		must vhd check d.vhd
		must vhd compare d.vhd sound.vhd
		[ $status -ne 0 ] || break
		n=$((n + 1))
		[ $n -lt 100 ] || fail "never comes to an end"
	done
	[ $n -gt 8 ] || fail "killed only $((n - 1)) times"
	echo "killed at $((n - 1)) writes" >&2
}

salvage()
{
	three sound.vhd
	three d.vhd
	poke d.vhd 1548 '\0\0\0\0'
	truncate -s 4000000 d.vhd
	cp d.vhd before.vhd
	expect 1 vhd repair --salvage out.vhd d.vhd
	said "lost: 2097152 bytes of the disk from 6291456 (bat-in-metadata)"
	cmp d.vhd before.vhd || fail "the source was written to"
	must vhd check out.vhd
	must qemu-img convert -f vpc -O raw out.vhd out.raw
	must qemu-img convert -f vpc -O raw sound.vhd sound.raw
	cmp -n 1899520 out.raw sound.raw || fail "what was there is not there"
	refused 3 'vhd repair: out.vhd: ' vhd repair --salvage out.vhd d.vhd
	expect 1 vhd repair --json --salvage out.vhd --force d.vhd
	[ "$(value losses.0.why)" != null ] || fail "JSON of a salvage"
	must vhd repair --quiet --salvage whole.vhd sound.vhd
	must vhd compare whole.vhd sound.vhd
	refused 2 'vhd repair: ' vhd repair --salvage a --yes d.vhd
	(
		ulimit -f 2000
		refused 4 'vhd repair: ' vhd repair --quiet --salvage x.vhd \
			sound.vhd
	) || exit 1
}

# A child comes with what its parents hold, or without, and then says so.
salvage_child()
{
	"$dir/chain" 3 4194304 "$base_seed" || fail "no chain"
	must vhd repair --salvage whole.vhd l2.vhd
	must vhd compare --strict --format-b raw whole.vhd flat.raw
	must vhd check whole.vhd
	# The one copy of the header damaged: no program opens it.
	cp l2.vhd sound.vhd
	poke l2.vhd 548 '\1\2\3\4'
	refused 3 'vhd-convert: l2.vhd: ' vhd convert --to raw l2.vhd no
	must vhd repair --force --salvage whole.vhd l2.vhd
	said "of it from parents"
	must vhd compare --strict --format-b raw whole.vhd flat.raw
	must vhd repair --json --force --salvage whole.vhd l2.vhd
	[ "$(value parent-bytes)" -gt 0 ] || fail "nothing from the parents"
	mkdir away
	mv l2.vhd away
	refused 3 'vhd repair: away/l2.vhd: ' \
		vhd repair --salvage no.vhd away/l2.vhd
	grep -q 'l1.vhd is missing below' "$dir/err" ||
		fail "$(cat "$dir/err")"
	ln -s ../l1.vhd ../l0.vhd away
	must vhd repair --parent-dir . --force --salvage whole.vhd away/l2.vhd
	must vhd compare --strict --format-b raw whole.vhd flat.raw
	expect 1 vhd repair --no-parent --json --salvage alone.vhd away/l2.vhd
	[ "$(value losses.0.why)" = needs-parent ] || fail "JSON of a child"
	[ "$(value parent-bytes)" = 0 ] || fail "something from parents"
	must vhd check alone.vhd
	refused 2 'vhd repair: ' vhd repair --no-parent sound.vhd
	refused 2 'vhd repair: ' vhd repair --salvage a --no-parent \
		--parent-dir . sound.vhd
}

# --- cases: what other people's programs made

unpack()
{
	ls "$corpus"/*.vhd.gz >/dev/null 2>&1 || skip "no folder $corpus"
	for packed in "$corpus"/*.vhd.gz; do
		gzip -dc "$packed" >"$(basename "$packed" .gz)"
	done
}

foreign()
{
	unpack
	must vhd check --data ext2.vhd
	same_map ext2.vhd
	must vhd convert -q --to raw ext2.vhd ext2.raw
	[ "$(sha256sum <ext2.raw | cut -c 1-64)" = \
	870be7ae16c1fa8faab05c6eb9205dc9a7ae35c5f552c5cf8a267c0bc6a5cb99 ] ||
		fail "ext2.vhd holds something else"
	must vhd compare --format-b raw ext2.vhd ext2.raw
	must vhd repair --yes ext2.vhd
	said "nothing to repair"
	expect 1 vhd check --data fat-differential.vhd
	said "parent-missing"
	said "0xC03A000D"
	must vhd check --data --no-parent fat-differential.vhd
	said "its parent was not looked at"
	refused 3 'vhd map: fat-differential.vhd: ' vhd map \
		fat-differential.vhd
	must vhd map --no-parent fat-differential.vhd
	said parent
	expect 1 vhd check --for qemu fat-differential.vhd
	expect 1 vhd check virtualpc-dynamic.vhd
	said "geometry-cuts"
	expect 1 vhd check --for virtualpc virtualpc-dynamic.vhd
}

# Both footers carry a wrong sum.
foreign_damaged()
{
	unpack
	refused 3 'vhd-convert: image.vhd: ' vhd convert --to raw image.vhd x
	expect 1 vhd check image.vhd
	said "footer-checksum"
	said "copy-checksum"
	cp image.vhd before.vhd
	expect 1 vhd repair image.vhd
	cmp image.vhd before.vhd || fail "a dry run wrote"
	must vhd repair --yes --undo undo image.vhd
	must vhd check image.vhd
	must vhd convert -q --to raw image.vhd image.raw
	must qemu-img compare -q -f vpc -F raw image.vhd image.raw
	[ "$(sha256sum <image.raw | cut -c 1-64)" = \
	c6db12a7db548e193c29420c1b4533e4708b20c5033db5cc29ef075d48316d25 ] ||
		fail "image.vhd holds something else"
	must vhd repair --yes image.vhd
	said "nothing to repair"
	must vhd repair --undo-apply image.vhd undo
	cmp image.vhd before.vhd || fail "undo is not exact"
	cp image-differential.vhd before.vhd
	must vhd repair --yes --undo undo2 image-differential.vhd
	said "header-checksum"
	must vhd repair --undo-apply image-differential.vhd undo2
	cmp image-differential.vhd before.vhd || fail "undo is not exact"
}
