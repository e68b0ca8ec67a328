#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Every operation there is on copies of the images that other people's programs
# made (../shared/corpus, or $CORPUS). What each leaves is read by
# tests/lib/oracle.c, which shares no code with the library, and where they are
# right about the format also by qemu-img and vhdiinfo.
#
# usage: cross_corpus.sh BUILD [CASE]...     (default: all cases)
#
# One line a case, "cross corpus:OPERATION:IMAGE pass|fail|skip SECONDS" in
# BUILD/results; one line where there is no corpus. Status 1 if a case failed.
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(cd "$1" && pwd) || exit 1
shift
corpus=${CORPUS:-$PWD/../shared/corpus}
results=${RESULTS:-$build/results}
PATH=$build/bin:$PATH
export PATH
cross=$build/tests/cross_vhd

if [ ! -d "$corpus" ]; then
	echo "  skip  corpus: no images of other programs in $corpus"
	echo "cross corpus skip 0" >>"$results"
	exit 0
fi
if [ ! -x "$cross" ]; then
	echo "  FAIL  corpus: $cross is not built (make unit-build)"
	exit 1
fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/corpus.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
umask 022
${CC:-cc} -D_GNU_SOURCE -Wall -Wextra -Werror -o "$dir/tool" \
	tests/verbs_tool.c || exit 1

# --- what cases say and ask

fail()
{
	echo "$*" >&2
	exit 1
}

must() # COMMAND...
{
	"$@" >"$dir/out" 2>"$dir/err" ||
		fail "status $?: $*; $(cat "$dir/err" "$dir/out")"
}

refused() # STATUS COMMAND...
{
	want=$1
	shift
	"$@" >"$dir/out" 2>"$dir/err"
	got=$?
	[ "$got" = "$want" ] ||
		fail "status $got, not $want: $*; $(cat "$dir/err" "$dir/out")"
}

poke() # FILE OFFSET BYTES-AS-OCTAL-ESCAPES
{
	# shellcheck disable=SC2059 # escapes are the point
	printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

bytes() # FILE OFFSET LENGTH
{
	dd if="$1" bs=1 skip="$2" count="$3" status=none
}

# By holes and data: the disks are up to 127 GiB of nothing.
same() # RAW1 RAW2
{
	[ "$(stat -c %s "$1")" = "$(stat -c %s "$2")" ] ||
		fail "sizes differ: $1 $2"
	must qemu-img compare -f raw -F raw "$1" "$2"
}

# The disk that these layers make, child first, is the model.
holds() # FILE [PARENT]...
{
	must "$cross" flat "$dir/flat.raw" "$@"
	same "$model" "$dir/flat.raw"
	rm -f "$dir/flat.raw"
}

# No error in it, or in what it stands on.
sound() # FILE
{
	vhd check --data --json "$1" >"$dir/out" 2>&1
	! grep -q '"severity": *"error"' "$dir/out" ||
		fail "check: $(cat "$dir/out")"
}

# No error but that the child is larger than its parent.
sound_larger() # FILE
{
	vhd check --data --json "$1" >"$dir/out" 2>&1
	! grep -q '"severity": *"error"' "$dir/out" ||
		grep -q '"parent-size"' "$dir/out" ||
		fail "check: $(cat "$dir/out")"
}

vhd_size() # FILE
{
	vhd inspect --larger-child --json "$1" |
		sed -n 's/.*"virtual-size": *\([0-9]*\).*/\1/p' | head -n 1
}

# Others read it, too. QEMU has no parents, and shows the geometry's size of
# what Virtual PC or itself claims to have made; libvhdi wants the parent.
others() # FILE
{
	must vhdiinfo "$1"
	must qemu-img convert -f vpc -O raw "$1" "$dir/theirs.raw"
	if [ "$(stat -c %s "$dir/theirs.raw")" != "$(stat -c %s "$model")" ]
	then
		must qemu-img convert -O raw --image-opts \
			"driver=vpc,force_size_calc=current_size,file.filename=$1" \
			"$dir/theirs.raw"
	fi
	same "$model" "$dir/theirs.raw"
	rm -f "$dir/theirs.raw"
}

# --- the images: $top, all $layers of it (child first) and the $model

unpack() # IMAGE
{
	gzip -dc "$corpus/$1.gz" >"$1" || fail "cannot unpack $1"
}

ext2()
{
	unpack ext2.vhd
	layers=ext2.vhd
}

virtualpc()
{
	unpack virtualpc-dynamic.vhd
	layers=virtualpc-dynamic.vhd
}

# Damaged on purpose by who made them: first refused, then put right.
mended()
{
	unpack image.vhd
	refused 3 vhd map image.vhd
	must vhd repair --yes --no-undo image.vhd
	layers=image.vhd
}

mended_child()
{
	mended
	unpack image-differential.vhd
	refused 3 vhd map image-differential.vhd
	must vhd repair --yes --no-undo image-differential.vhd
	layers='image-differential.vhd image.vhd'
}

# Windows 10's child has a parent that nobody published: one with its id and
# name, and content of its own, takes its place.
win10()
{
	unpack fat-differential.vhd
	refused 3 vhd map fat-differential.vhd
	grep -q 'fat-parent.vhd is missing' "$dir/err" ||
		fail "says: $(cat "$dir/err")"
	head -c 4194304 /dev/urandom >parent.raw
	must vhd convert -q --from raw --to fixed parent.raw fat-parent.vhd
	bytes fat-differential.vhd 552 16 |
		dd of=fat-parent.vhd bs=1 seek=$((4194304 + 68)) conv=notrunc \
		status=none
	must "$dir/tool" seal fat-parent.vhd 4194304 512
	rm parent.raw
	layers='fat-differential.vhd fat-parent.vhd'
}

is_child()
{
	[ "$layers" != "$top" ]
}

setup() # IMAGE
{
	"$1"
	top=${layers%% *}
	model=$PWD/model.raw
	# shellcheck disable=SC2086 # a list of names
	must "$cross" flat model.raw $layers
	parents=${layers#"$top"}
	# shellcheck disable=SC2086
	[ -z "$parents" ] || cat $parents | sha256sum >"$dir/parents"
}

# Whatever was done to the child, nothing was done to its parents.
parents_untouched()
{
	is_child || return 0
	# shellcheck disable=SC2086
	[ "$(cat $parents | sha256sum)" = "$(cat "$dir/parents")" ] ||
		fail "a parent was changed"
}

# --- the operations

# Reading: the known digest, and that nothing is written by it.
op_read()
{
	before=$(stat -c '%s %Y %Z' "$top")
	must vhd inspect --json "$top"
	sound "$top"
	must vhd map "$top"
	[ "$(awk 'NR > 1 && $1 != "Total" { n += $2 } END { printf "%.0f", n }' "$dir/out")" = \
		"$(stat -c %s model.raw)" ] || fail "the map does not add up"
	must vhd compare --format-b raw --strict "$top" model.raw
	[ "$top" != ext2.vhd ] || [ "$(sha256sum <model.raw)" = \
	"870be7ae16c1fa8faab05c6eb9205dc9a7ae35c5f552c5cf8a267c0bc6a5cb99  -" ] ||
		fail "another content than its makers say"
	[ "$before" = "$(stat -c '%s %Y %Z' "$top")" ] || fail "written to"
	is_child || others "$top"
}

# A byte that differs is seen.
op_compare()
{
	size=$(stat -c %s model.raw)
	for at in 0 $((size / 2)) $((size - 1)); do
		byte=$(bytes model.raw "$at" 1 | od -An -tu1)
		poke model.raw "$at" "$(printf '\\%o' $((byte ^ 255)))"
		refused 1 vhd compare --format-b raw "$top" model.raw
		grep -q "offset $at\$" "$dir/out" || fail "$(cat "$dir/out")"
		poke model.raw "$at" "$(printf '\\%o' "$byte")"
	done
	must vhd compare --format-b raw "$top" model.raw
}

op_convert()
{
	must vhd convert -q --to raw --verify "$top" out.raw
	same model.raw out.raw
	for how in 'fixed' 'dynamic' 'dynamic --block-size 512K' \
		'dynamic --block-size 16M'; do
		# 127 GiB of a fixed image are a hole here, but none elsewhere.
		# shellcheck disable=SC2086
		must vhd convert -q --to $how --verify "$top" out.vhd
		sound out.vhd
		holds out.vhd
		others out.vhd
		must vhd convert -q --to raw out.vhd back.raw
		same model.raw back.raw
		must qemu-img convert -f raw -O vpc -o force_size=on \
			back.raw theirs.vhd
		must vhd compare --strict theirs.vhd "$top"
		rm -f out.vhd back.raw theirs.vhd
	done
}

# What a crash or a bad cable does to it, and back.
op_repair()
{
	cp "$top" sound.vhd
	end=$(($(stat -c %s "$top") - 512))
	for harm in "poke $top 0 \\0\\0\\0\\0" "poke $top 100 x" \
		"poke $top $end \\307\\307\\307\\307" \
		"truncate -s -512 $top" "poke $top 548 \\1\\2\\3\\4"; do
		cp sound.vhd "$top"
		$harm
		cmp -s "$top" sound.vhd && fail "no harm: $harm"
		cp "$top" harmed.vhd
		refused 1 vhd check --quiet "$top"
		refused 1 vhd repair "$top"
		cmp "$top" harmed.vhd >&2 || fail "a dry run wrote: $harm"
		must vhd repair --yes --undo undo "$top"
		sound "$top"
		# shellcheck disable=SC2086
		holds $layers
		must vhd repair --undo-apply "$top" undo
		cmp "$top" harmed.vhd >&2 || fail "undo is not exact: $harm"
		rm undo
	done
}

op_salvage()
{
	must vhd repair --salvage out.vhd "$top"
	sound out.vhd
	holds out.vhd
	others out.vhd
}

# Written to by the library: the same bytes into the model.
op_write()
{
	must "$cross" change "$top" auto 77
	must "$cross" change model.raw raw 77
	sound "$top"
	# shellcheck disable=SC2086
	holds $layers
	is_child || others "$top"
}

# Written to by QEMU, and again by us.
op_qemu_io()
{
	size=$(stat -c %s model.raw)
	for write in 'write -P 0x5a 1536 70000' 'write -P 0xa5 0 512' \
		"write -P 0x11 $((size / 2 / 512 * 512)) 1024"; do
		must qemu-io -c "$write" --image-opts \
			"driver=vpc,force_size_calc=current_size,file.filename=$top"
		must qemu-io -f raw -c "$write" model.raw
	done
	# shellcheck disable=SC2086
	holds $layers
	op_write
}

# Longer and shorter again; what is new is zero.
op_resize()
{
	larger=
	! is_child || larger=--larger-child
	for by in +512 +4M +130G; do
		size=$(stat -c %s model.raw)
		must vhd resize -q $larger $by "$top"
		truncate -s "$(vhd_size "$top")" model.raw
		[ "$(stat -c %s model.raw)" -gt "$size" ] || fail "not longer"
		sound_larger "$top"
		# shellcheck disable=SC2086
		holds $layers
		is_child || others "$top"
		# Some file systems have the disk without a partition table,
		# and then only force makes it smaller.
		must vhd resize -q $larger --shrink --force "$size" "$top"
		truncate -s "$size" model.raw
		sound "$top"
		# shellcheck disable=SC2086
		holds $layers
		is_child || others "$top"
	done
	# What is written to must not be lost unasked.
	must "$cross" change "$top" auto 5
	must "$cross" change model.raw raw 5
	refused 3 vhd resize -q $larger --shrink -4096 "$top"
	# shellcheck disable=SC2086
	holds $layers
}

op_compact()
{
	must vhd compact -q "$top"
	sound "$top"
	# shellcheck disable=SC2086
	holds $layers
	must vhd compact -q --rewrite "$top"
	sound "$top"
	# shellcheck disable=SC2086
	holds $layers
	is_child || others "$top"
	# With holes between blocks, after a tail that is gone again.
	is_child || {
		size=$(stat -c %s model.raw)
		must vhd resize -q +9M "$top"
		truncate -s "$(vhd_size "$top")" model.raw
		must "$cross" change "$top" auto 78
		must "$cross" change model.raw raw 78
		must vhd resize -q --shrink --force "$size" "$top"
		truncate -s "$size" model.raw
		must vhd compact -q "$top"
		sound "$top"
		holds "$top"
		others "$top"
	}
}

op_set()
{
	must vhd set -q --id new --timestamp now --creator hyperv \
		--geometry max --hidden yes "$top"
	sound "$top"
	# shellcheck disable=SC2086
	holds $layers
	must vhd set -q --hidden no "$top"
	# A suspended machine depends on it: its layout stays as it is.
	must vhd set -q --saved-state yes "$top"
	cp "$top" kept.vhd
	refused 3 vhd resize -q --larger-child +4M "$top"
	refused 3 vhd resize -q --larger-child --shrink -512 "$top"
	refused 3 vhd compact -q "$top"
	refused 3 vhd compact -q --rewrite "$top"
	! is_child || refused 3 vhd merge -q "$top"
	cmp "$top" kept.vhd >&2 || fail "changed although it was refused"
	must vhd set -q --saved-state no "$top"
	sound "$top"
	is_child || others "$top"
}

# A child of it, written to, and brought down again.
op_snapshot()
{
	keep=$(sha256sum <"$top")
	must vhd snapshot -q "$top" child.vhd
	sound child.vhd
	# shellcheck disable=SC2086
	holds child.vhd $layers
	must "$cross" change child.vhd auto 79
	must "$cross" change model.raw raw 79
	sound child.vhd
	# shellcheck disable=SC2086
	holds child.vhd $layers
	refused 1 vhd diff child.vhd
	[ "$keep" = "$(sha256sum <"$top")" ] || fail "the parent was changed"
	must vhd convert -q --to dynamic --verify child.vhd out.vhd
	holds out.vhd
	must vhd repair -f --salvage out.vhd child.vhd
	holds out.vhd
	must vhd merge -q --delete child.vhd
	[ ! -e child.vhd ] || fail "the child is still there"
	sound "$top"
	# shellcheck disable=SC2086
	holds $layers
	is_child || others "$top"
}

# Onto a copy with other content, onto a flat image of its own, and back by
# name only.
op_rebase()
{
	parent=${layers#* }
	parent=${parent%% *}
	cp "$top" kept.vhd
	must vhd convert -q --to dynamic "$top" flat.vhd
	must vhd rebase -q --parent flat.vhd "$top"
	sound "$top"
	holds "$top" flat.vhd
	cp "$parent" other.vhd
	must vhd set -q --id new other.vhd
	must "$cross" change other.vhd auto 80
	must vhd rebase -q --parent other.vhd "$top"
	sound "$top"
	holds "$top" other.vhd
	# Told to believe it: the name and the id are those of the first.
	cp kept.vhd "$top"
	must vhd rebase -q --unsafe --parent other.vhd "$top"
	sound "$top"
	must vhd rebase -q --unsafe --parent "$parent" "$top"
	sound "$top"
	# shellcheck disable=SC2086
	holds $layers
}

# All the layers of a chain into the lowest.
op_merge()
{
	sound "$top"
	lowest=${layers##* }
	must vhd merge -q --all --force "$top"
	sound "$lowest"
	holds "$lowest"
	others "$lowest"
}

# --- the table: OPERATION IMAGE...

table()
{
	cat <<-EOF
	read ext2 virtualpc mended mended_child win10
	compare ext2 virtualpc mended mended_child win10
	convert ext2 virtualpc mended mended_child win10
	repair ext2 virtualpc mended mended_child win10
	salvage ext2 virtualpc mended mended_child win10
	write ext2 virtualpc mended mended_child win10
	qemu_io ext2 virtualpc mended
	resize ext2 virtualpc mended mended_child win10
	compact ext2 virtualpc mended mended_child win10
	set ext2 virtualpc mended mended_child win10
	snapshot ext2 virtualpc mended mended_child win10
	rebase mended_child win10
	merge mended_child win10
	EOF
}

run_case() # OPERATION IMAGE
{
	name=$1:$2
	start=$(date +%s)
	mkdir "$dir/case"
	if (cd "$dir/case" && setup "$2" && "op_$1" &&
		{ [ "$1" = merge ] || parents_untouched; }) \
		2>"$dir/log" >&2; then
		verdict=pass
		echo "  ok    corpus $name"
	else
		verdict=fail
		echo "  FAIL  corpus $name: $(tail -n 8 "$dir/log")"
		bad=1
	fi
	echo "cross corpus:$name $verdict $(($(date +%s) - start))" \
		>>"$results"
	rm -rf "$dir/case"
}

for program in qemu-img qemu-io vhdiinfo; do
	command -v $program >/dev/null || {
		echo "  FAIL  corpus: $program is missing (make deps)"
		exit 1
	}
done
bad=0
wanted=" $* "
table >"$dir/table"
while read -r operation images <&4; do
	for image in $images; do
		case $wanted in
		'  ' | *" $operation "* | *" $operation:$image "*)
			run_case "$operation" "$image" ;;
		esac
	done
done 4<"$dir/table"
exit $bad
