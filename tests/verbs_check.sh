# SPDX-License-Identifier: BSD-2-Clause
# Cases of tests/verbs.sh: check. Read by it, not run.
# shellcheck shell=sh disable=SC2154 # dir, corpus are the reader's

# The damage, the word for it, and what Windows says; section by section of
# the format. Each starts from a sound image.
damages()
{
	while read -r word code harm; do
		case $word in '' | '#'*) continue ;; esac
		three d.vhd
		vhd create --quiet --force --type fixed --size 3M f.vhd
		eval "$harm"
		image=d.vhd
		case $harm in *f.vhd*) image=f.vhd ;; esac
		expect 1 vhd check $image
		said " $word: "
		[ "$code" = - ] || said "0xC03A00$code"
		expect 1 vhd check --json $image
		grep -q "\"code\":\"$word\"" "$dir/out" || fail "JSON: $word"
	done <<-'EOF'
	bat-in-metadata   0A  poke d.vhd 1536 '\0\0\0\0'
	bat-in-metadata   0A  poke d.vhd 1540 '\0\0\0\2'
	bat-in-metadata   0A  poke d.vhd 1540 '\0\0\0\3'
	bat-duplicate     0A  poke d.vhd 1540 '\0\0\20\6'; poke d.vhd 1544 '\0\0\20\6'
	bat-overlap       0A  poke d.vhd 1540 '\0\0\0\20'
	bat-past-end      0A  poke d.vhd 1540 '\377\377\377\376'
	bat-past-end      0A  truncate -s 3000000 d.vhd
	bat-cut           0A  truncate -s 3000000 d.vhd
	header-checksum   06  poke d.vhd 600 x
	footer-checksum   02  poke d.vhd $(($(end_of d.vhd) + 100)) x
	copy-checksum     02  poke d.vhd 100 x
	table-past-end    0A  header d.vhd 28 '\100\0\0\0'
	table-entries     0A  header d.vhd 28 '\0\0\0\0'
	table-short       0A  header d.vhd 28 '\0\0\0\7'
	block-size        0B  header d.vhd 32 '\0\0\0\0'
	block-size        0B  header d.vhd 32 '\0\60\0\0'
	block-size        0B  header d.vhd 32 '\0\0\1\0'
	block-size        0B  header d.vhd 32 '\200\0\0\0'
	table-offset      0A  header d.vhd 16 '\0\0\0\0\0\0\0\0'
	table-offset      0A  header d.vhd 16 '\0\0\0\0\0\0\6\1'
	table-offset      0A  header d.vhd 16 '\0\0\0\0\0\0\4\0'
	table-past-end    0A  header d.vhd 16 '\177\0\0\0\0\0\0\0'
	data-offset       08  both d.vhd 16 '\0\0\0\0\0\0\0\0'
	data-offset       08  both d.vhd 16 '\0\0\0\0\0\0\1\0'
	data-offset       08  both d.vhd 16 '\177\0\0\0\0\0\0\0'
	data-offset       08  both d.vhd 16 '\0\0\0\0\0\0\2\1'
	header-version    07  header d.vhd 24 '\0\2\0\0'
	footer-version    05  both d.vhd 12 '\0\2\0\0'
	footer-type       04  both d.vhd 60 '\0\0\0\0'
	footer-type       04  both d.vhd 60 '\0\0\0\1'
	footer-type       04  both d.vhd 60 '\0\0\0\6'
	file-length       13  both d.vhd 60 '\0\0\0\2'
	header-cookie     08  header d.vhd 0 CXSPARSE
	size              12  both d.vhd 48 '\0\0\0\0\0\0\0\0'
	size              12  both d.vhd 48 '\0\0\0\0\0\377\377\1'
	size              12  both d.vhd 48 '\100\0\0\0\0\0\0\0'
	file-length       13  poke f.vhd 3145776 '\0\0\0\0\0\100\0\0'; seal f.vhd 3145728 512
	size              12  poke f.vhd 3145776 '\0\0\0\0\0\0\0\0'; seal f.vhd 3145728 512
	footer-type       04  poke f.vhd 3145788 '\0\0\0\5'; seal f.vhd 3145728 512
	footer-version    05  poke f.vhd 3145740 '\0\2\0\0'; seal f.vhd 3145728 512
	footer-checksum   02  poke f.vhd 3145800 x
	footer-511        03  truncate -s -1 f.vhd
	footer-511        03  truncate -s -1 d.vhd
	footer-missing    01  truncate -s -512 d.vhd
	footer-missing    01  poke d.vhd $(end_of d.vhd) '\0\0\0\0\0\0\0\0'
	copy-missing      03  poke d.vhd 0 '\0\0\0\0\0\0\0\0'
	forged-start      -   head -c 2048 d.vhd | dd of=f.vhd conv=notrunc status=none
	next-offset       08  header d.vhd 8 '\0\0\0\0\0\0\2\0'
	saved-state       -   both d.vhd 84 '\1'
	poison-cookie     03  poke d.vhd $(end_of d.vhd) v_poison
	features          -   both d.vhd 8 '\0\0\1\2'
	id-zero           -   both d.vhd 68 '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
	timestamp         -   both d.vhd 24 '\377\377\377\0'
	geometry          03  both d.vhd 56 '\377\377\20\376'
	geometry-cuts     -   both d.vhd 28 'vbox'; both d.vhd 56 '\1\341\4\21'
	EOF
}

# A bitmap that hides data is found by reading the data, and only then.
bitmaps()
{
	three d.vhd
	must vhd check d.vhd
	must vhd check --data d.vhd
	# Block 0 is the second in the file.
	poke d.vhd $((2048 + 512 + 2097152)) '\177'
	must vhd check d.vhd
	expect 1 vhd check --data d.vhd
	said "bitmap-hides"
	said "0xC03A000C"
}

no_vhd()
{
	: >empty
	head -c 100000 /dev/urandom >raw
	printf vhdxfile | dd of=x.vhdx status=none
	truncate -s 1M x.vhdx
	mkdir folder
	mkfifo pipe
	for path in empty raw x.vhdx folder pipe missing; do
		refused 3 "vhd check: $path: " vhd check $path
		refused 3 "vhd repair: $path: " vhd repair --yes $path
		refused 3 "vhd repair: $path: " vhd repair --salvage out $path
	done
	refused 2 'vhd check: ' vhd check --format raw raw
	three d.vhd
	refused 3 'vhd check: d.vhd: ' vhd check --format fixed d.vhd
	must vhd check d.vhd d.vhd
	expect 3 vhd check d.vhd missing d.vhd
	[ "$(grep -c 'dynamic, 16 MiB' "$dir/out")" = 2 ] ||
		fail "one bad name keeps others from being checked"
}

locked()
{
	three d.vhd
	hold_file d.vhd
	refused 3 'vhd check: d.vhd: ' vhd check d.vhd
	refused 3 'vhd repair: d.vhd: ' vhd repair d.vhd
	refused 3 'vhd repair: d.vhd: ' vhd repair --yes d.vhd
	refused 3 'vhd map: d.vhd: ' vhd map d.vhd
	refused 3 'vhd compare: d.vhd: ' vhd compare d.vhd d.vhd
	must vhd check --force d.vhd
	must vhd map --force d.vhd
	let_go
}

# 2040 GiB, every block used, in reverse order: a second and 64 MiB. What other
# programs take of the machine meanwhile is not counted.
reverse()
{
	must vhd create --quiet --size 2040G big.vhd
	"$dir/tool" reverse big.vhd || skip "no file of 2040 GiB here"
	best=999999
	for i in 1 2 3; do
		line=$("$dir/tool" cost vhd check big.vhd 2>"$dir/err") ||
			fail "not sound: $(cat "$dir/err")"
		# shellcheck disable=SC2086 # three numbers
		set -- $line
		echo "$1 ms processor, $2 KiB, $3 ms" >&2
		[ "$1" -ge $best ] || best=$1
		[ "${SAN-}" = 1 ] || [ "$2" -lt 65536 ] || fail "$2 KiB"
	done
	[ "${SAN-}" = 1 ] || [ $best -lt 1000 ] || fail "$best ms"
	must vhd map big.vhd # its bitmaps are zero
	[ "$(sed -n 2p "$dir/out" | tr -s ' ')" = '0 2190433320960 zero' ] ||
		fail "another map: $(head "$dir/out")"
	poke big.vhd $((1536 + 4 * 777)) '\0\1\0\0'
	expect 1 vhd check big.vhd
	said "bat-overlap"
}

# --- chains

# A random chain of four; l0.vhd the lowest, flat.raw what the top reads as.
chain()
{
	seed=$((base_seed + $1))
	echo "seed $seed" >&2
	"$dir/chain" 4 262656 $seed || fail "no chain"
}

# Put together from the map alone, the disk is what it should be.
chain_map()
{
	for i in 1 2 3; do
		chain $i
		must vhd compare --format-b raw l3.vhd flat.raw
		must vhd map l3.vhd
		cp "$dir/out" map
		truncate -s 262656 made.raw
		tail -n +2 map | while read -r start length kind place file; do
			[ "$kind" = data ] || continue
			dd if="$file" of=made.raw bs=512 status=none \
				skip=$((place / 512)) seek=$((start / 512)) \
				count=$((length / 512)) conv=notrunc
		done
		cmp made.raw flat.raw || fail "the map is wrong"
		rm made.raw
		must vhd map --json l3.vhd
		[ "$("$dir/json" 0.start <"$dir/out")" = 0 ] || fail "no JSON"
	done
	# Of a random chain the layers above may cover all of the lowest.
	"$dir/chain" 4 262656 2 || fail "no chain"
	must vhd map --json l3.vhd
	grep -q '"depth": 3' "$dir/out" || fail "no depth"
}

chain_check()
{
	chain 7
	must vhd check --chain --json l3.vhd
	[ "$(value images.0.layers)" = 4 ] || fail "layers"
	[ "$(value images.3.path)" = "$PWD/l0.vhd" ] || fail "not the chain"
	must vhd check --no-parent l3.vhd
	said "was not looked at"
	mkdir other
	expect 1 vhd check --parent-dir other l3.vhd
	refused 2 'vhd check: ' vhd check --chain --no-parent l3.vhd
	mv l1.vhd other/
	expect 1 vhd check l3.vhd
	said "parent-missing"
	said "0xC03A000D"
	refused 3 'vhd compare: l3.vhd: ' vhd compare l3.vhd l3.vhd
	refused 3 'vhd map: l3.vhd: ' vhd map l3.vhd
	must vhd map --no-parent l3.vhd
	cp l0.vhd l1.vhd
	expect 1 vhd check l3.vhd
	said "parent-id"
	said "0xC03A000E"
	mv other/l1.vhd l1.vhd
	poke l1.vhd 600 x
	expect 1 vhd check l3.vhd
	said "parent-fault"
	said "0xC03A0019"
	expect 1 vhd check --chain l1.vhd
	said "header-checksum"
	seal l1.vhd 512 1024
	must vhd check l3.vhd
	both l0.vhd 48 '\0\0\0\0\0\3\377\0'
	expect 1 vhd check l3.vhd
	said "parent-"
}
