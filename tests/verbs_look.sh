# SPDX-License-Identifier: BSD-2-Clause
# Cases of tests/verbs.sh: what people look at, inspect's pictures, map, diff,
# set, bench. Read by it, not run.
# shellcheck shell=sh disable=SC2154 # dir, corpus are the reader's

# --- pictures

# The map's cells alone: no labels, brackets, legend or colours.
cells()
{
	sed -n '/^$/,/^$/p' "$dir/out" |
		sed 's/\x1b\[[0-9]*m//g' |
		sed -nE 's/^ *[0-9][0-9.]*( [A-Za-z]+)? (.*)$/\2/p' |
		tr -d '\n'
}

# Looking writes nothing that a limit on file sizes would end.
look_limited()
{
	must vhd create --quiet --type dynamic --size 64M d.vhd
	for words in inspect 'inspect --map' map 'check --data'; do
		must sh -c "ulimit -f 20; exec vhd $words d.vhd"
	done
}

# 16 MiB, 2 MiB blocks 0, 2 and 5 in use; block 5 has 1 of 4096 sectors set.
picture_map()
{
	three d.vhd
	LC_ALL=C
	export LC_ALL
	place=$(vhd map --json d.vhd | "$dir/json" 4.offset)
	poke d.vhd $((place - 512)) '\200'
	for i in 1 2 3 4; do
		poke d.vhd $((place - 512 + i)) '\0'
	done
	dd if=/dev/zero of=d.vhd bs=1 seek=$((place - 511)) count=511 \
		conv=notrunc status=none
	must vhd inspect --map --width 29 d.vhd
	cells >have # 16 cells a row, 64 KiB a cell
	awk 'BEGIN {
		for (i = 0; i < 256; i++)
			printf "%s", (i < 32 || (i >= 64 && i < 96) ? "#" \
				: i == 160 ? "%" \
				: i > 160 && i < 192 ? "z" : ".")
	}' >want
	cmp want have || fail "another map: $(cat have)"
	said '  4.0 MiB  *25.0 %  used, in d.vhd'
	said '  512 bytes  *0.0 %  of it in bitmap-partial blocks (1)'
	said '  2.0 MiB  *12.5 %  zero-filled'
	said '  10 MiB  *62.5 %  hole'
	! grep -q '[^ -~]' "$dir/out" || fail "not ASCII"
	must vhd inspect --map --width 29 --zeros d.vhd
	said '  2.1 MiB  *12.9 %  used, in d.vhd'
	LC_ALL=C.UTF-8
	must vhd inspect --map --width 93 d.vhd
	said '█'
	! grep -q "$(printf '\033')" "$dir/out" || fail "colours unasked"
	[ "$(wc -L <"$dir/out")" -le 93 ] || fail "wider than asked"
	must vhd inspect --map --color always d.vhd
	grep -q "$(printf '\033')\[94m█" "$dir/out" || fail "no colours"
	refused 2 'vhd-inspect: ' vhd inspect --map --json d.vhd
	refused 2 'vhd-inspect: ' vhd inspect --map --width 19 d.vhd
	refused 2 'vhd-inspect: ' vhd inspect --map --width 1001 d.vhd
	refused 2 'vhd-inspect: ' vhd inspect --map --width 80x d.vhd
	refused 2 'vhd-inspect: ' vhd inspect --color blue d.vhd
}

# Every size from one sector on has a map, which has all of it.
picture_sizes()
{
	for size in 512 1024 4096 1000448 3G 2040G; do
		rm -f s.vhd
		must vhd create --quiet --size $size s.vhd
		for width in 20 80 1000; do
			must vhd inspect --map --width $width s.vhd
			case $(cells) in
			'' | *[!.·]*) fail "$size: $(cat "$dir/out")" ;;
			esac
		done
		must vhd inspect --svg s.svg s.vhd
		svg_sound s.svg
	done
}

# It is XML, draws, needs nothing else and runs nothing.
svg_sound() # FILE
{
	if command -v rsvg-convert >/dev/null; then
		rsvg-convert "$1" -o drawn.png || fail "$1 does not draw"
		[ "$(od -An -tx1 -j16 -N4 drawn.png | tr -d ' ')" = 000004b0 ] ||
			fail "not 1200 wide"
	fi
	! grep -Eiq '<script|href|on[a-z]+=|url\([^#]|@import' "$1" ||
		fail "$1 is not alone"
	[ "$(tail -n 1 "$1")" = '</svg>' ] || fail "$1 is cut"
}

picture_svg()
{
	three d.vhd
	name='<b>&"'\''.vhd'
	cp d.vhd "$name"
	must vhd inspect --svg a.svg "$name"
	svg_sound a.svg
	grep -q '&lt;b&gt;&amp;&quot;' a.svg || fail "not escaped"
	! grep -q '<b>' a.svg || fail "escaped in part"
	must vhd inspect --json --svg a.svg d.vhd
	[ "$(value images.0.allocation.data)" -gt 0 ] || fail "no JSON"
	grep -q 'd.vhd' a.svg || fail "an SVG is not replaced"
	printf 'precious' >text
	ln -s text link
	for to in text link d.vhd "$name" .; do
		status=$(status_of vhd inspect --svg "$to" d.vhd)
		[ "$status" = 3 ] || fail "$to: status $status"
		grep -q '^vhd-inspect: ' "$dir/err" || fail "no line"
	done
	[ "$(cat text)" = precious ] || fail "overwritten"
	must vhd check d.vhd
	[ "$(status_of vhd inspect --svg no/dir d.vhd)" = 3 ] || fail "no/dir"
	refused 2 'vhd-inspect: ' vhd inspect --svg x.svg d.vhd d.vhd
	(
		ulimit -f 1
		[ "$(status_of vhd inspect --svg full.svg d.vhd)" -ge 3 ]
	) || fail "a full disk is not told"
	[ ! -e full.svg ] || fail "half an SVG"
	[ -z "$(find . -name '.full*')" ] || fail "a temporary file is left"
}

# What the chain's report says of each layer is what its map adds up to.
contributions()
{
	for i in 1 2 3; do
		chain $i
		vhd map --json l3.vhd >map
		must vhd inspect --json l3.vhd
		sum=0
		for layer in 0 1 2 3; do
			want=$(awk -v d=$layer '
				index($0, "\"depth\": " d ",") &&
				/"data": true/ {
					sub(/.*"length": /, ""); n += $0 + 0
				} END { print n + 0 }' map)
			part=images.0.chain.$layer.contribution
			[ "$(value $part.seen)" = "$want" ] ||
				fail "layer $layer: not $want"
			[ "$(value $part.stored)" -ge "$want" ] ||
				fail "layer $layer: stored"
			sum=$((sum + want))
		done
		a=images.0.allocation
		[ "$(value $a.data)" = $sum ] || fail "data"
		[ $((sum + $(value $a.zero) + $(value $a.hole))) = 262656 ] ||
			fail "not the whole disk"
		[ "$(value images.0.chain.0.parent-match)" = full ] ||
			[ "$(value images.0.chain.0.parent-match)" = id-only ] ||
			fail "parent-match"
		must vhd inspect --json --zeros l3.vhd
		cp "$dir/out" zeros
		[ $(($("$dir/json" $a.data <zeros) + \
			$("$dir/json" $a.zero <zeros) + \
			$("$dir/json" $a.hole <zeros))) = 262656 ] ||
			fail "not the whole disk, with zeros"
		must vhd inspect --map --svg c.svg l3.vhd
		said "used, in l3.vhd"
		svg_sound c.svg
	done
	must vhd inspect l3.vhd
	said "gives .* of the disk"
	must vhd inspect --no-content l3.vhd
	mv l0.vhd elsewhere
	[ "$(status_of vhd inspect --map l3.vhd)" = 3 ] || fail "broken"
	said "in a parent that is not open"
	[ "$(status_of vhd inspect --json l3.vhd)" = 3 ] || fail "broken"
	[ "$(value images.0.chain.2.parent-match)" = missing ] || fail "match"
}

# A million blocks: nothing but tables is read.
picture_2040G()
{
	must vhd create --quiet --size 2040G big.vhd
	"$dir/tool" reverse big.vhd || skip "no file of 2040 GiB here"
	best=999999
	for i in 1 2 3; do
		line=$("$dir/tool" cost vhd inspect --map --svg big.svg big.vhd \
			2>"$dir/out") || fail "$(cat "$dir/out")"
		# shellcheck disable=SC2086 # three numbers
		set -- $line
		echo "$1 ms processor, $2 KiB, $3 ms" >&2
		[ "$1" -ge $best ] || best=$1
		[ "${SAN-}" = 1 ] || [ "$2" -lt 65536 ] || fail "$2 KiB"
	done
	[ "${SAN-}" = 1 ] || [ $best -lt 1000 ] || fail "$best ms"
	said "bitmaps were not read"
	svg_sound big.svg
}

# --- map

map_parts()
{
	three d.vhd
	must vhd map --start-offset 1M --max-length 2M d.vhd
	[ "$(sed -n 2p "$dir/out" | tr -s ' ')" = \
		'1048576 1048576 data 3148800' ] || fail "$(cat "$dir/out")"
	[ "$(sed -n 3p "$dir/out" | tr -s ' ')" = '2097152 1048576 hole' ] ||
		fail "$(cat "$dir/out")"
	said '^Total  *2097152  *2 MiB: data 1 MiB, hole 1 MiB$'
	must vhd map --json --start-offset 1M --max-length 2M d.vhd
	cp "$dir/out" ours
	qemu-img map --output=json -f vpc --start-offset=1M --max-length=2M \
		d.vhd >theirs
	diff theirs ours >&2 || fail "another part than qemu-img's"
	must vhd map --max-length 1T d.vhd
	refused 3 'vhd map: d.vhd: ' vhd map --start-offset 16M d.vhd
	must vhd map --start-offset 16776704 d.vhd
	refused 2 'vhd map: ' vhd map --start-offset 1 d.vhd
	refused 2 'vhd map: ' vhd map --max-length 0 d.vhd
	refused 2 'vhd map: ' vhd map --max-length 513 d.vhd
	chain 1
	must vhd map --json l3.vhd
	for layer in 0 1 2 3; do
		! grep "\"depth\": $layer, .*\"offset\"" "$dir/out" |
			grep -vq "\"filename\": \"$PWD/l$((3 - layer)).vhd\"" ||
			fail "no or another file name"
	done
}

# --- set

# All of a file but its footers.
inner() # FILE
{
	tail -c +513 "$1" | head -c -512 | cksum
}

set_value() # FILE KEY
{
	vhd inspect --json "$1" | "$dir/json" "images.0.$2"
}

sets()
{
	three d.vhd
	before=$(inner d.vhd)
	id=0123abcd-4567-89ef-8123-456789abcdef
	must vhd set --id $id d.vhd
	said "^d.vhd: id: .* -> $id\$"
	[ "$(set_value d.vhd id.windows)" = $id ] || fail "another id"
	must vhd set --id 00112233445566778899aabbccddeeff d.vhd
	[ "$(set_value d.vhd id.hex)" = 00112233445566778899aabbccddeeff ] ||
		fail "another id from hex"
	must vhd set --id "{$id}" d.vhd
	must vhd set --id "{$id}" d.vhd
	said "d.vhd: is so already"
	must vhd set --json --id new d.vhd
	[ "$(value changes.0.field)" = id ] || fail "JSON: $(cat "$dir/out")"
	[ "$(value changes.0.from)" = $id ] || fail "JSON: $(cat "$dir/out")"
	[ "$(value written-bytes)" = 1024 ] || fail "JSON: $(cat "$dir/out")"
	[ "$(set_value d.vhd id.windows)" = "$(value changes.0.to)" ] ||
		fail "JSON tells another id"
	must vhd set --saved-state yes d.vhd
	[ "$(set_value d.vhd footer.saved-state)" = true ] || fail "saved state"
	must vhd set --saved-state no --hidden yes --timestamp 2024-11-13 \
		--creator 'vbox,7.1,Wi2k' d.vhd
	[ "$(set_value d.vhd footer.saved-state)" = false ] || fail "not reset"
	[ "$(set_value d.vhd created)" = 2024-11-13T00:00:00Z ] || fail date
	[ "$(set_value d.vhd creator.application)" = vbox ] || fail creator
	[ "$(set_value d.vhd creator.version)" = 7.1 ] || fail version
	[ "$(set_value d.vhd footer.hidden)" = true ] || fail "not hidden"
	must vhd inspect d.vhd
	said "hidden: blktap"
	must vhd check d.vhd
	said " hidden: "
	must vhd set --hidden no d.vhd
	must vhd set --creator hyperv d.vhd
	must vhd set --geometry 1/2/3 --quiet d.vhd
	grep -q 'show 3072 of 16777216 bytes' "$dir/err" || fail "no warning"
	must vhd set --geometry auto d.vhd
	[ "$(set_value d.vhd geometry.cylinders)" = 481 ] || fail geometry
	must vhd set --geometry max d.vhd
	[ "$(set_value d.vhd geometry.cylinders)" = 65535 ] || fail geometry
	[ "$(inner d.vhd)" = "$before" ] || fail "more than the footers changed"
	must vhd check d.vhd
	must qemu-img info -f vpc d.vhd
	must vhdiinfo d.vhd
	sum=$(cksum <d.vhd)
	must vhd set --dry-run --id new d.vhd
	said 'nothing was written'
	[ "$(cksum <d.vhd)" = "$sum" ] || fail "not dry"
	must vhd create --quiet --type fixed --size 1M f.vhd
	must vhd set --id $id f.vhd
	must vhd check f.vhd
}

bad_sets()
{
	three d.vhd
	head -c 4096 /dev/zero >raw
	refused 2 'vhd set: ' vhd set d.vhd
	refused 2 'vhd set: ' vhd set --hidden yes
	for bad in '--id 1' '--id new2' --id=00112233445566778899aabbccddeef \
		--id=0123abcd-4567-89ef-8123-456789abcdeg \
		--id=0123abcd-456789ef-8123-456789abcdef \
		'--hidden maybe' '--geometry 1/2' '--geometry 0/1/1' \
		'--geometry 1/256/1' '--geometry 65536/1/1' '--geometry 1/1/1x' \
		'--creator nobody' '--creator abcde,1.0,Wi2k' '--creator a,1,b' \
		'--timestamp yesterday' '--timestamp 1999-12-31' \
		'--timestamp 2137-01-01' '--format raw'; do
		# shellcheck disable=SC2086 # option and argument
		refused 2 'vhd set: ' vhd set $bad d.vhd
	done
	refused 2 'vhd set: d.vhd: ' vhd set \
		--id 00000000000000000000000000000000 d.vhd
	refused 3 'vhd set: raw: ' vhd set --hidden yes raw
	refused 3 'vhd set: missing: ' vhd set --hidden yes missing
	poke d.vhd $(($(end_of d.vhd) + 100)) x
	refused 3 'vhd set: d.vhd: ' vhd set --hidden yes d.vhd
	must vhd repair --quiet --yes --no-undo d.vhd
	must vhd set --hidden yes d.vhd
	truncate -s -1 d.vhd
	refused 3 'vhd set: d.vhd: ' vhd set --hidden no d.vhd
}

set_in_use()
{
	three d.vhd
	hold_file d.vhd
	refused 3 'vhd set: d.vhd: ' vhd set --hidden yes d.vhd
	let_go
	must vhd set --hidden yes d.vhd
}

# Whose parent changes its id is told, by name, and can be helped.
set_parent()
{
	chain 1
	old=$(set_value l1.vhd id.windows)
	# A copy is nobody's parent while the other has its name and id.
	cp l1.vhd copy.vhd
	must vhd set --id new copy.vhd
	[ ! -s "$dir/err" ] || fail "warns of $(cat "$dir/err")"
	rm copy.vhd
	must vhd set --dry-run --id new l1.vhd
	grep -q "warning: .*/l2.vhd builds on this image" "$dir/err" ||
		fail "no warning: $(cat "$dir/err")"
	[ "$(wc -l <"$dir/err")" = 1 ] || fail "too many: $(cat "$dir/err")"
	must vhd set --json --id new l1.vhd
	[ "$(value children.0)" = "$PWD/l2.vhd" ] || fail "$(cat "$dir/out")"
	refused 3 'vhd map: l3.vhd: ' vhd map l3.vhd
	new=$(set_value l1.vhd id.windows)
	must vhd set --json --parent-id "$new" l2.vhd
	[ "$(value changes.0.field)" = parent-id ] || fail "parent-id"
	[ "$(value changes.0.from)" = "$old" ] || fail "parent-id from"
	[ ! -s "$dir/err" ] || fail "warns of $(cat "$dir/err")"
	must vhd compare --quiet --format-b raw l3.vhd flat.raw
	must vhd set --parent-id "$old" l2.vhd
	grep -q 'warning: .*is not the disk' "$dir/err" ||
		fail "no warning: $(cat "$dir/err")"
	must vhd set --id "$old" l1.vhd
	must vhd compare --quiet --format-b raw l3.vhd flat.raw
	refused 2 'vhd set: ' vhd set --parent-id new l2.vhd
	# Another name for the same disk: only set --parent finds it.
	mkdir moved
	mv l1.vhd moved/below.vhd
	refused 3 'vhd map: l3.vhd: ' vhd map l3.vhd
	cp l0.vhd moved
	sum=$(cksum <l2.vhd)
	must vhd set --dry-run --parent moved/below.vhd l2.vhd
	[ "$(cksum <l2.vhd)" = "$sum" ] || fail "not dry"
	must vhd set --parent moved/below.vhd --timestamp now l2.vhd
	said '^l2.vhd: parent: moved/below.vhd$'
	must vhd compare --quiet --format-b raw l3.vhd flat.raw
	mv moved/below.vhd l1.vhd
	must vhd set --json --parent l1.vhd l2.vhd
	[ "$(value parent)" = l1.vhd ] || fail "JSON: $(cat "$dir/out")"
	must vhd compare --quiet --format-b raw l3.vhd flat.raw
	refused 2 'vhd set: ' vhd set --parent l1.vhd --parent-id "$old" l2.vhd
	refused 3 'vhd set: l2.vhd: ' vhd set --parent l3.vhd l2.vhd
	refused 3 'vhd set: l2.vhd: ' vhd set --parent missing l2.vhd
	refused 3 'vhd set: l0.vhd: ' vhd set --parent l1.vhd l0.vhd
	case $(set_value l0.vhd format) in
	dynamic | fixed) ;;
	*) fail "l0.vhd" ;;
	esac
	refused 3 'vhd set: l0.vhd: ' vhd set --parent-id "$old" l0.vhd
	must vhd set --id new l3.vhd
	[ ! -s "$dir/err" ] || fail "warns of $(cat "$dir/err")"
	must vhd compare --quiet --format-b raw l3.vhd flat.raw
	below=$(set_value l0.vhd id.hex)
	refused 2 'vhd set: l1.vhd: ' vhd set --id "$below" l1.vhd
}

# --- diff

# The ranges that the last command printed as JSON, "start length" a line.
ranges()
{
	sed -n 's/.*"start": \([0-9]*\), "length": \([0-9]*\),.*/\1 \2/p' \
		"$dir/out"
}

# Sectors in which two raw disks of one size differ.
sectors_differing() # A B
{
	cmp -l "$1" "$2" | awk '{ s[int(($1 - 1) / 512)] = 1 }
		END { for (i in s) n++; print n + 0 }'
}

# The ranges are all that differs and nothing else: put into the old disk they
# make it the new one, and each of their sectors was another.
ranges_right() # OLD.raw NEW.raw
{
	cp "$1" made.raw
	ranges | while read -r start length; do
		dd if="$2" of=made.raw bs=512 status=none conv=notrunc \
			skip=$((start / 512)) seek=$((start / 512)) \
			count=$((length / 512))
	done
	cmp made.raw "$2" || fail "not all differences"
	[ "$(ranges | awk '{ n += $2 } END { print n / 512 + 0 }')" = \
		"$(sectors_differing "$1" "$2")" ] || fail "too many ranges"
}

diff_chain()
{
	for i in 1 2 3; do
		chain $i
		must vhd convert --quiet --to raw l2.vhd old.raw
		status=$(status_of vhd diff --json l2.vhd l3.vhd)
		want=1
		! cmp -s old.raw flat.raw || want=0
		[ "$status" = $want ] || fail "status $status, not $want"
		ranges_right old.raw flat.raw
		bytes=$(value range-bytes)
		expect $want vhd diff --json --content l3.vhd
		ranges_right old.raw flat.raw
		[ "$(value range-bytes)" = "$bytes" ] || fail "another sum"
		set=$(value set-bytes)
		[ "$(value identical-bytes)" = $((set - bytes)) ] ||
			fail "identical"
		[ "$(value parent)" = "$PWD/l2.vhd" ] || fail "parent"
		status_of vhd diff --json l3.vhd >status
		[ "$(value set-bytes)" = "$set" ] || fail "set"
		[ "$(value range-bytes)" = "$set" ] || fail "set ranges"
		[ "$(vhd inspect --json l3.vhd | "$dir/json" \
			images.0.chain.0.contribution.stored)" = "$set" ] ||
			fail "inspect has another sum"
		status_of vhd diff --json --no-parent l3.vhd >status
		[ "$(value set-bytes)" = "$set" ] || fail "without parent"
		must vhd diff l3.vhd l3.vhd
		said "holds the same"
		must vhd diff --format raw flat.raw flat.raw
		rm -f ./*.raw
	done
	refused 3 'vhd diff: l0.vhd: ' vhd diff l0.vhd
	refused 3 'vhd diff: missing: ' vhd diff l0.vhd missing
	refused 2 'vhd diff: ' vhd diff
	refused 2 'vhd diff: ' vhd diff l0.vhd l1.vhd l2.vhd
	refused 2 'vhd diff: ' vhd diff --no-parent --content l3.vhd
	refused 2 'vhd diff: ' vhd diff --no-parent l2.vhd l3.vhd
	mv l2.vhd elsewhere
	refused 3 'vhd diff: l3.vhd: ' vhd diff l3.vhd
}

# Disks of other types and sizes; a gap ends a range, an edge parts one.
diff_two()
{
	truncate -s 40M a.raw
	sfdisk -q a.raw <<-'END' || skip "no sfdisk"
	label: gpt
	start=2048, size=20480, type=L
	start=22528, size=20480, type=L
	END
	cp a.raw b.raw
	poke b.raw $((512 * 22527 + 511)) x
	poke b.raw $((512 * 22528)) x
	poke b.raw $((512 * 22530)) x
	poke b.raw 600 x
	poke b.raw 41943039 x
	must vhd convert --quiet --from raw --to dynamic a.raw a.vhd
	must vhd convert --quiet --from raw --to fixed b.raw b.vhd
	expect 1 vhd diff --json a.vhd b.vhd
	ranges_right a.raw b.raw
	[ "$(ranges | tr '\n' ' ')" = "512 512 11533824 512 11534336 512 \
11535360 512 41942528 512 " ] || fail "ranges: $(ranges)"
	for i in 0:null 1:1 2:2 3:2 4:null; do
		have=$(value ranges.${i%:*}.partition) || have=null
		[ "$have" = ${i#*:} ] || fail "partition of ${i%:*}: $have"
	done
	[ "$(value partitions.1.bytes)" = 1024 ] || fail "sum of partition 2"
	[ "$(value outside-bytes)" = 1024 ] || fail "sum outside"
	expect 1 vhd diff a.vhd b.vhd
	said '^11534336  *512  *2 Linux data$'
	said '^41942528  *512  *outside partitions$'
	said '^2.5 KiB *in 5 ranges of b.vhd differ$'
	expect 1 vhd diff --no-partitions a.vhd b.vhd
	said '^11533824  *1024$'
	expect 1 vhd diff --quiet a.vhd b.vhd
	[ ! -s "$dir/out" ] || fail "not quiet"
	truncate -s 60M a.raw
	must vhd diff --format raw a.raw a.raw
	rm a.vhd
	must vhd convert --quiet --from raw --to dynamic a.raw a.vhd
	expect 1 vhd diff b.vhd a.vhd
	said '^sizes 41943040 and 62914560'
	qemu-io -f vpc -c 'write -P 1 50M 1k' a.vhd >/dev/null
	expect 1 vhd diff --json b.vhd a.vhd
	ranges | grep -qx '52428800 1024' || fail "behind the shorter's end"
}

# Windows 10's: 18 sectors, of which 9 hold zeros as the parent does.
diff_foreign()
{
	[ -e "$corpus/fat-differential.vhd.gz" ] || skip "no $corpus"
	gzip -dc "$corpus/fat-differential.vhd.gz" >child.vhd
	expect 1 vhd diff --json --no-parent child.vhd
	[ "$(value set-bytes)" = 9216 ] || fail "set: $(value set-bytes)"
}

# --- bench

benches()
{
	three d.vhd
	sum=$(cksum <d.vhd)
	before=$(state)
	for engine in auto uring aio sync; do
		for pattern in rand seq; do
			status=$(status_of vhd bench --json --engine $engine \
				--pattern $pattern --count 700 --depth 9 d.vhd)
			case $engine:$status in
			*:0) ;;
			uring:[34] | aio:[34]) continue ;; # not allowed here
			*) fail "$engine: $(cat "$dir/err")" ;;
			esac
			[ "$(value requests)" = 700 ] || fail "requests"
			[ "$(value pattern)" = $pattern ] || fail "pattern"
			[ $engine = auto ] ||
				[ "$(value engine)" = $engine ] || fail engine
			[ "$(value latency-ns.min)" -le \
				"$(value latency-ns.p50)" ] &&
			[ "$(value latency-ns.p50)" -le \
				"$(value latency-ns.max)" ] || fail "times"
		done
	done
	must vhd bench --size 16M --count 3 --depth 2 d.vhd
	must vhd bench --size 512 --count 3000 --direct d.vhd
	must vhd bench --time 1 d.vhd
	said ' IOPS, '
	[ "$before" = "$(state)" ] || fail "reading changed something"
	must vhd bench -w --json --count 300 --flush-interval 7 d.vhd
	[ "$(value overlay)" = true ] || fail "no overlay"
	[ "$(value flushes)" -ge 42 ] || fail "flushes: $(value flushes)"
	[ "$(value end-flush-ns)" -gt 0 ] || fail "not durable at the end"
	[ "$(ls -A)" = d.vhd ] || fail "left behind: $(ls -A)"
	[ "$(cksum <d.vhd)" = "$sum" ] || fail "wrote to the image"
	must vhd bench -w --destroy --count 300 d.vhd
	[ "$(cksum <d.vhd)" != "$sum" ] || fail "nothing was destroyed"
	must vhd check d.vhd
	chain 1
	sum=$(cat l?.vhd | cksum)
	must vhd bench --count 100 l3.vhd
	must vhd bench -w --count 100 l3.vhd
	[ "$(cat l?.vhd | cksum)" = "$sum" ] || fail "wrote to a layer"
	must vhd bench --count 10 --format raw flat.raw
	must vhd bench -w --destroy --count 10 --format raw flat.raw
}

# Fewer files may be open than a ring has places for: it does without.
few_files()
{
	three d.vhd
	cp d.vhd e.vhd
	for files in 32 512 1022 1023; do
		for words in 'compare d.vhd e.vhd' 'bench --count 100 d.vhd' \
			'bench --engine auto --write --count 100 d.vhd' \
			'convert -q --force --to raw d.vhd out'; do
			must sh -c "ulimit -n $files; exec vhd $words"
		done
	done
}

bad_benches()
{
	three d.vhd
	truncate -s 1M raw.img
	for bad in '' '--depth 0 d.vhd' '--depth 1025 d.vhd' \
		'--size 0 d.vhd' '--size 513 d.vhd' '--size 17M d.vhd' \
		'--size 16M --depth 65 d.vhd' '--count 0 d.vhd' \
		'--count x d.vhd' '--time 86401 d.vhd' '--seed -1 d.vhd' \
		'--count 1 --time 1 d.vhd' '--destroy d.vhd' \
		'--flush-interval 1 d.vhd' '--pattern zigzag d.vhd' \
		'--engine steam d.vhd' 'd.vhd d.vhd'; do
		# shellcheck disable=SC2086 # options and arguments
		refused 2 'vhd bench: ' vhd bench $bad
	done
	refused 3 'vhd bench: raw.img: ' vhd bench -w raw.img
	refused 3 'vhd bench: missing: ' vhd bench missing
	must vhd create --quiet --size 512 tiny.vhd
	refused 3 'vhd bench: tiny.vhd: ' vhd bench tiny.vhd
	must vhd bench --size 512 --count 10 tiny.vhd
	hold_file d.vhd
	refused 3 'vhd bench: d.vhd: ' vhd bench --count 1 d.vhd
	refused 3 'vhd bench: d.vhd: ' vhd bench -w --count 1 d.vhd
	let_go
}

# Ctrl-C ends it with its report, and leaves nothing.
bench_ended()
{
	three d.vhd
	for write in '' -w; do
		# shellcheck disable=SC2086 # an option or none
		vhd bench $write --time 600 --json d.vhd >out 2>err &
		pid=$!
		within hears $pid 2
		sleep 0.5
		kill -INT $pid
		within over $pid
		wait $pid || fail "status $?: $(cat err)"
		[ "$("$dir/json" ended-early <out)" = true ] || fail "not told"
		[ "$("$dir/json" requests <out)" -gt 0 ] || fail "nothing done"
		rm out err
		[ "$(ls -A)" = d.vhd ] || fail "left behind: $(ls -A)"
	done
}

# Partitions stand above the cells they are in.
picture_parts()
{
	truncate -s 16M raw
	sfdisk -q raw <<-'END' || skip "no sfdisk"
	label: gpt
	start=2048, size=8192, type=L
	start=10240, size=128, type=L, name=x
	start=10368, size=16384, type=S
	END
	mke2fs -q -t ext2 -L 'my <root>' -E offset=1048576 raw 4M 2>err ||
		skip "no mke2fs: $(cat err)"
	must vhd convert --quiet --from raw --to dynamic raw d.vhd
	LC_ALL=C
	export LC_ALL
	must vhd inspect --map --width 29 --svg a.svg d.vhd
	svg_sound a.svg
	grep -q '1 ext2 &quot;my &lt;root&gt;&quot;, 4 MiB' a.svg ||
		fail "no partition in the SVG"
	while read -r line; do
		grep -qxF "             $line" "$dir/out" ||
			fail "no $line in $(cat "$dir/out")"
	done <<-'END'
	/1 ext2 "my <ro.
	_1 ext2 "my <r.\
	|/3 Linux swap__
	\
	END
	[ "$(grep -c '^             [/_|\\]' "$dir/out")" = 4 ] ||
		fail "more brackets: $(cat "$dir/out")"
	LC_ALL=C.UTF-8
	must vhd inspect --map --width 29 d.vhd
	said '^             ┌1 ext2 "my <ro…$'
}
