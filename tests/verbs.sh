#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The built `vhd` and its verbs as a user meets them: check, repair, create,
# map and compare, against qemu-img, vhdiinfo and images of other people's
# programs.
#
# usage: verbs.sh BUILD [CASE]...     (default: all cases)
#
# Environment: SAN=1: BUILD is sanitized (nothing is timed); SEED; CORPUS: folder
# of foreign images, *.vhd.gz (where there is none the corpus is skipped). One
# line a case; appends "verbs CASE pass|fail|skip SECONDS" to BUILD/results.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$(pwd)
build=$(cd "$1" && pwd) || exit 1
shift
PATH=$build/bin:$PATH:/usr/sbin:/sbin
export PATH
corpus=${CORPUS:-$root/../shared/corpus}
dir=$(mktemp -d "${TMPDIR:-/tmp}/verbs.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
umask 022
tier=verbs prefix=''
. tests/lib/case.sh
. tests/lib/wait.sh

verbs='bench check compact compare convert create diff inspect map merge rebase
repair resize set snapshot serve mount unmount'
ours='bench check compact compare create diff map merge rebase repair resize set
snapshot serve unmount'
products='hyperv azure virtualpc xenserver virtualbox qemu'

# --- what cases ask

value() # KEY, of the last command's JSON
{
	"$dir/json" "$1" <"$dir/out"
}

end_of() # FILE: where its trailing footer is
{
	echo $(($(stat -c %s "$1") - 512))
}

seal() # FILE OFFSET LENGTH
{
	"$dir/tool" seal "$1" "$2" "$3" || fail "cannot seal $1"
}

# The same bytes at the same field of both footers, sums right.
both() # FILE FIELD BYTES
{
	for at in 0 "$(end_of "$1")"; do
		poke "$1" $((at + $2)) "$3"
		seal "$1" "$at" 512
	done
}

header() # FILE FIELD BYTES
{
	poke "$1" $((512 + $2)) "$3"
	seal "$1" 512 1024
}

# A dynamic image of 16 MiB with three blocks of data, by qemu-img's tools.
three() # FILE
{
	rm -f "$1"
	qemu-img create -q -f vpc -o force_size=on "$1" 16M
	qemu-io -f vpc -c 'write -P 3 5M 64k' -c 'write -P 1 0 2M' \
		-c 'write -P 5 11M 512' "$1" >/dev/null
}

# --- cases: the front

names()
{
	for verb in $verbs; do
		must vhd --help
		said "^  $verb "
		must vhd "$verb" --help
		cp "$dir/out" help
		must "vhd-$verb" --help
		sed 's/vhd-/vhd /' "$dir/out" >help2
		sed 's/vhd-/vhd /' help >help1
		cmp help1 help2 || fail "vhd $verb is not vhd-$verb"
		must vhd "$verb" --version
	done
	must vhd --version
	refused 2 'vhd: needs a verb' vhd
	refused 2 'vhd: frob: no such verb' vhd frob
	refused 2 'vhd: ' vhd --frob
	for verb in $ours; do
		refused 2 "vhd $verb: " vhd "$verb"
		refused 2 "vhd-$verb: " "vhd-$verb" --no-such-option
	done
}

# Programs that are not links are found beside the front, then in PATH.
beside()
{
	must vhd create --quiet --size 1M one.vhd
	must vhd inspect one.vhd
	cp -L "$build/bin/vhd" alone
	must ./alone inspect one.vhd
	status=$(PATH=/nowhere status_of ./alone inspect one.vhd)
	[ "$status" = 3 ] || fail "status $status without vhd-inspect"
}

options_of() # VERB, as its help lists them
{
	vhd "$1" --help | sed -nE 's/^ +(-., )?(--[a-z-]+).*/\2/p' | sort -u
}

completion()
{
	vhd --help | sed -nE 's/^  ([a-z]+) .*/\1/p' | sort >want
	complete_words 'vhd ' | grep -v '^--' | sort >have
	diff want have >&2 || fail "completion has other verbs"
	echo "$verbs" | tr ' ' '\n' | sort | diff want - >&2 ||
		fail "the verbs tested here are not all there are"
	for verb in $verbs; do
		options_of "$verb" >want
		for how in "vhd $verb" "vhd-$verb"; do
			complete_words "$how --" | grep '^--' | sort -u >have
			diff want have >&2 ||
				fail "completion of $how has other options"
		done
	done
	[ "$(complete_words 'vhd che')" = check ] || fail "vhd che"
	[ "$(complete_words 'vhd c' | tr '\n' ' ')" = \
		'check compact compare convert create ' ] || fail "vhd c"
	[ "$(complete_words 'vhd check --for a')" = azure ] || fail "--for a"
	[ "$(complete_words 'vhd-repair --prefer ' | tr '\n' ' ')" = \
		'end copy ' ] || fail "--prefer"
	hv run --help | sed -nE 's/^ +(--[a-z-]+).*/\1/p' | sort -u >want
	complete_words 'hv run --' | sort -u >have
	diff want have >&2 || fail "completion of hv run has other options"
	for words in 'disk list' info; do
		# shellcheck disable=SC2086 # words
		hv ctl vm $words --help |
			sed -nE 's/^ +(--[a-z-]+).*/\1/p' | sort -u >want
		complete_words "hv ctl vm $words --" | sort -u >have
		diff want have >&2 ||
			fail "completion of hv ctl $words has other options"
	done
	: >file.vhd
	[ "$(complete_words 'vhd map fi')" = file.vhd ] || fail "files"
	for product in $products; do
		complete_words 'vhd create --for ' | grep -qx "$product" ||
			fail "no completion for $product"
	done
}

# What bash would offer for this line, cursor at its end.
complete_words() # LINE
{
	bash -c '
		. "$1" || exit 1
		read -ra COMP_WORDS <<<"$2"
		case $2 in *" ") COMP_WORDS+=("") ;; esac
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		case ${COMP_WORDS[0]} in hv) _hv ;; *) _vhd ;; esac
		printf "%s\n" "${COMPREPLY[@]}"
	' bash "$root/tools/vhd.bash-completion" "$1"
}

# A name, from the command line or a directory, does not steer a terminal.
names_are_text()
{
	name=$(printf 'n\033[31m.vhd')
	must vhd create --quiet --type dynamic --size 8M "$name"
	mkdir "d$name"
	while read -r words; do
		# shellcheck disable=SC2086 # a list of words
		timeout 20 vhd $words "$name" </dev/null >"$dir/out" \
			2>"$dir/err"
		cat "$dir/out" "$dir/err" >"$dir/text"
		[ -s "$dir/text" ] || fail "nothing said: $words"
		! grep -q "$(printf '\033')" "$dir/text" ||
			fail "an escape sequence: $words: $(cat "$dir/text")"
	done <<-EOF
	check
	check --$name
	check --for $name
	inspect
	map --start-offset $name
	convert --to raw --force --verbose $name z$name
	convert --to dynamic no$name
	create --size 1M --type $name
	diff no$name
	merge no$name
	mount no$name
	mount $name
	mount $name no$name
	rebase --parent no$name
	repair no$name
	resize +1M
	serve --socket no/$name
	set --id new
	unmount
	unmount d$name
	$name
	EOF
}

# Every option has its place in the manual page, which groff accepts.
manuals()
{
	for verb in $ours; do
		page=$root/tools/man/vhd-$verb.1
		for option in $(options_of "$verb" |
				grep -vxE -- '--(help|version)'); do
			escaped=$(echo "$option" | sed 's/-/\\-/g')
			grep -qF -- "$escaped" "$page" ||
				fail "$page has no $option"
		done
	done
	for word in $(sed -n 's/.*ROW([A-Z0-9_]*, "\([a-z0-9-]*\)".*/\1/p' \
			"$root/vhd/check_code.c"); do
		grep -qF "$(echo "$word" | sed 's/-/\\-/g')" \
			"$root/tools/man/vhd-check.1" ||
			fail "vhd-check.1 has no $word"
	done
	for verb in $verbs; do
		[ "$(grep -cF "vhd\-$verb (1)" "$root/tools/man/vhd.1")" -eq 2 ] ||
			fail "vhd.1 tells nothing of $verb"
	done
	command -v groff >/dev/null || return 0
	for page in "$root"/tools/man/vhd*.1; do
		groff -man -Tutf8 -ww -z "$page" 2>"$dir/err" ||
			fail "$page: groff"
		[ ! -s "$dir/err" ] || fail "$page: $(cat "$dir/err")"
	done
}

# --- cases: create

creation()
{
	for size in 512 1M 3145728 1G 2040G; do
		must vhd create --size $size "d.vhd"
		must vhd check d.vhd
		[ "$(qemu-img info -f vpc d.vhd --output=json |
			"$dir/json" virtual-size)" = \
			"$(vhd inspect --json d.vhd |
				"$dir/json" images.0.virtual-size)" ] ||
			fail "qemu-img sees another size of $size"
		rm d.vhd
	done
	for block in 4K 512K 2M 16M; do
		must vhd create --size 64M --block-size $block d.vhd
		must vhd check --quiet d.vhd
		rm d.vhd
	done
	must vhd create --type fixed --size 5M f.vhd
	must vhdiinfo f.vhd
	[ "$(stat -c %s f.vhd)" = 5243392 ] || fail "length of a fixed image"
	[ "$(stat -c %b f.vhd)" -lt 100 ] || fail "not sparse"
	must vhd create --type fixed --prealloc --size 5M --force f.vhd
	[ $(($(stat -c %b f.vhd) * 512)) -ge 5242880 ] || fail "not reserved"
	must vhd create --json --size 1M j.vhd
	[ "$(value size)" = 1048576 ] || fail "JSON of create"
	one=$(value id-hex)
	must vhd create --json --size 1M --force j.vhd
	[ "$(value id-hex)" != "$one" ] || fail "the same id twice"
}

bad_creation()
{
	must vhd create --quiet --size 1M there.vhd
	refused 3 'vhd create: there.vhd: ' vhd create --size 1M there.vhd
	refused 3 'vhd create: no/dir: ' vhd create --size 1M no/dir
	refused 3 'vhd create: .: ' vhd create --size 1M .
	refused 2 'vhd create: ' vhd create a.vhd
	refused 2 'vhd create: ' vhd create --size 1 a.vhd
	refused 2 'vhd create: ' vhd create --size 1KB a.vhd
	refused 2 'vhd create: ' vhd create --size 99999999999999999999 a.vhd
	refused 2 'vhd create: ' vhd create --size 1M --type raw a.vhd
	refused 2 'vhd create: ' vhd create --size 1M --prealloc a.vhd
	refused 2 'vhd create: ' vhd create --size 1M --type fixed \
		--block-size 1M a.vhd
	refused 2 'vhd create: ' vhd create --size 20M --for azure \
		--type dynamic a.vhd
	refused 2 'vhd create: ' vhd create --size 1M --for azure a.vhd
	refused 2 'vhd create: ' vhd create --size 200G --for virtualpc a.vhd
	refused 2 'vhd create: ' vhd create --size 1M --for nobody a.vhd
	refused 3 'vhd create: a.vhd: ' vhd create --size 2041G a.vhd
	refused 2 'vhd create: --block-size 3M' vhd create --size 1G --block-size 3M \
		a.vhd
	(
		ulimit -f 1
		refused 4 'vhd create: a.vhd: ' vhd create --size 2040G a.vhd
		refused 4 'vhd create: a.vhd: ' vhd create --size 9M \
			--type fixed --prealloc a.vhd
	) || exit 1
}

presets()
{
	for product in $products; do
		for size in 100M 104857601 126G 20M; do
			case $product:$size in
			*:104857601) size=104858112 ;;
			esac
			must vhd create --quiet --for "$product" --size $size \
				p.vhd
			must vhd check --for "$product" p.vhd
			said "$product takes this file"
			must qemu-img info -f vpc p.vhd
			rm p.vhd
		done
	done
	must vhd create --for virtualpc --size 1G p.vhd
	said "rounded up"
	must qemu-img info -f vpc --output=json p.vhd
	[ "$(value virtual-size)" = 1073995776 ] ||
		fail "not the size that geometry tells: $(value virtual-size)"
	must vhd create --for azure --size 20971521 --force p.vhd
	[ "$(stat -c %s p.vhd)" = 22020608 ] || fail "not whole MiB"
	must vhd create --for xenserver --size 100G --force p.vhd
	must vhd check --for xenserver p.vhd
	grep -q 'wants-batmap' "$dir/out" && fail "no batmap"
	[ "$(wc -l <"$dir/out")" -le 2 ] || fail "notes: $(cat "$dir/out")"
	head -c 5000000 /dev/urandom >raw
	truncate -s 8M raw
	must vhd convert -q --from raw --for xenserver raw x.vhd
	must vhd check --data --for xenserver x.vhd
	grep -q batmap "$dir/out" && fail "$(cat "$dir/out")"
	must qemu-img compare -q -f raw -F vpc raw x.vhd
	must vhd create --for xenserver --size 3M --force p.vhd
	must qemu-img info -f vpc --output=json p.vhd
	[ "$(value virtual-size)" = 4194304 ] || fail "not 2 MiB units"
}

# What one product takes another does not, and is told why.
demands()
{
	must vhd create --quiet --size 100M d.vhd
	expect 1 vhd check --for azure d.vhd
	said "wants-type"
	expect 1 vhd check --for virtualpc d.vhd
	said "wants-geometry"
	expect 1 vhd check --for xenserver d.vhd
	said "wants-creator"
	must vhd create --quiet --size 21M --block-size 512K --force d.vhd
	expect 1 vhd check --for virtualpc d.vhd
	said "wants-block-size"
	must vhd create --quiet --type fixed --size 20971520 --force d.vhd
	must vhd check --for azure d.vhd
	must vhd create --quiet --type fixed --size 20972032 --force d.vhd
	expect 1 vhd check --json --for azure d.vhd
	[ "$(value images.0.taken)" = false ] || fail "azure takes it"
	[ "$(value images.0.findings.1.code)" = wants-size ] ||
		[ "$(value images.0.findings.0.code)" = wants-size ] ||
		fail "no wants-size"
}

# --- cases: map

# qemu-img calls holes of a fixed disk's file data that is zero.
same_map() # FILE OPTION...
{
	file=$1
	shift
	qemu-img map --output=json -f vpc "$file" |
		sed 's/"data": [a-z]*/"data": -/' >theirs
	must vhd map --json "$@" "$file"
	sed 's/"data": [a-z]*/"data": -/' "$dir/out" >ours
	diff theirs ours >&2 || fail "another map of $file"
}

maps()
{
	three d.vhd
	same_map d.vhd
	vhd create --quiet --size 100M e.vhd
	same_map e.vhd
	vhd create --quiet --size 100M --block-size 512K --force e.vhd
	qemu-io -f vpc -c 'write 3M 64k' -c 'write 99M 1M' e.vhd >/dev/null
	same_map e.vhd
	qemu-img create -q -f vpc -o subformat=fixed,force_size=on f.vhd 8M
	qemu-io -f vpc -c 'write -P 7 1M 64k' -c 'write -P 8 7M 1M' f.vhd \
		>/dev/null
	same_map f.vhd
	must vhd map d.vhd
	[ "$(sed -n 2p "$dir/out" | tr -s ' ')" = '0 2097152 data 2100224' ] ||
		fail "text: $(cat "$dir/out")"
	poke d.vhd $((2048 + 512 + 2097152)) '\177'
	must vhd map d.vhd
	grep -q '^0 *512 *zero$' "$dir/out" || fail "a hidden sector"
	truncate -s 1M raw
	must vhd map raw
	grep -q '^0 *1048576 *zero *0$' "$dir/out" || fail "a raw hole"
	poke d.vhd 1536 '\0\0\0\0'
	refused 3 'vhd map: d.vhd: ' vhd map d.vhd
}

random_maps()
{
	qemu-img create -q -f vpc -o force_size=on r.vhd 64M
	number=$base_seed
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
		number=$(((number * 48271 + 11) % 2147483647))
		block=$((number % 32))
		qemu-io -f vpc -c "write -P $i ${block}M 4k" r.vhd >/dev/null
		same_map r.vhd
	done
	must vhd check r.vhd
}

# --- cases: compare

compares()
{
	head -c 3000320 /dev/urandom >raw
	must vhd convert -q --from raw --to dynamic raw d.vhd
	must vhd convert -q --from raw --to fixed raw f.vhd
	must vhd compare d.vhd f.vhd
	must vhd compare --format-b raw d.vhd raw
	must vhd compare --format raw raw raw
	must vhd compare --direct d.vhd f.vhd
	for at in 0 511 512 4095 1048576 3000319; do
		cp raw other
		poke other $at "$(other_byte raw $at)"
		expect 1 vhd compare --format-b raw d.vhd other
		said "first at disk offset $at\$"
		expect 1 vhd compare --json --format-a raw other f.vhd
		[ "$(value first-difference)" = $at ] || fail "JSON at $at"
		expect 1 qemu-img compare -q -f vpc -F raw f.vhd other
	done
	cp raw longer
	truncate -s 40M longer
	must vhd compare --format-b raw d.vhd longer
	said "the rest of the larger one is zero"
	must vhd compare --format-a raw longer f.vhd
	expect 1 vhd compare --strict --format-b raw d.vhd longer
	poke longer 39999999 x
	expect 1 vhd compare --format-b raw d.vhd longer
	said "first at disk offset 39999999\$"
	expect 1 vhd compare --quiet --format-a raw longer d.vhd
	[ ! -s "$dir/out" ] || fail "not quiet"
	refused 3 'vhd compare: missing: ' vhd compare d.vhd missing
	refused 2 'vhd compare: ' vhd compare d.vhd
	poke d.vhd 600 x
	refused 3 'vhd compare: d.vhd: ' vhd compare f.vhd d.vhd
}

other_byte() # FILE OFFSET
{
	byte=$(od -An -N1 -tu1 -j "$2" "$1")
	printf '\\%o' $((byte ^ 255))
}

# --- cases in files of their own

. tests/verbs_check.sh
. tests/verbs_repair.sh
. tests/verbs_resize.sh
. tests/verbs_child.sh
. tests/verbs_compact.sh
. tests/verbs_merge.sh
. tests/verbs_look.sh

# ---

cases()
{
	cat <<-EOF
	names names
	beside beside
	completion completion
	names-are-text names_are_text
	manuals manuals
	create creation
	create-refused bad_creation
	create-for presets
	child children
	child-refused bad_children
	child-written child_written
	snapshot snapshots
	snapshot-rename renames
	snapshot-cut renames_cut
	snapshot-killed renames_killed
	snapshot-left left_alone
	snapshot-twice renames_twice
	snapshot-refused bad_snapshots
	rebase rebases
	rebase-cut rebases_cut
	rebase-refused bad_rebases
	check-for demands
	check-damages damages
	check-bitmaps bitmaps
	check-chain chain_check
	map-chain chain_map
	no-vhd no_vhd
	locked locked
	check-2040G reverse
	repair mend
	repair-cut repair_cut
	repair-undo undo_files
	repair-undecided undecided
	repair-killed killed
	resize resizes
	resize-parents resize_parents
	resize-refused bad_resizes
	resize-killed resize_killed
	resize-full resize_full
	resize-foreign resize_foreign
	compact compacts
	compact-refused bad_compacts
	compact-rewrite rewrites
	compact-killed compact_killed
	compact-full compact_full
	compact-child compact_child
	compact-foreign compact_foreign
	compact-free free_ext
	compact-free-refused bad_free_ext
	compact-free-others free_others
	salvage salvage
	salvage-child salvage_child
	map maps
	map-random random_maps
	compare compares
	merge merging
	merge-between merging_between
	merge-dry merging_dry
	merge-refused bad_merging
	merge-others merging_others
	merge-cut merging_cut
	merge-full merging_full
	map-parts map_parts
	look-limited look_limited
	picture-map picture_map
	picture-sizes picture_sizes
	picture-svg picture_svg
	picture-parts picture_parts
	picture-2040G picture_2040G
	contributions contributions
	diff-chain diff_chain
	diff-two diff_two
	diff-foreign diff_foreign
	bench benches
	bench-few-files few_files
	bench-refused bad_benches
	bench-ended bench_ended
	set sets
	set-refused bad_sets
	set-in-use set_in_use
	set-parent set_parent
	foreign foreign
	foreign-damaged foreign_damaged
	EOF
}

compile tools_json json -ljson-c
compile tools_hold hold
compile verbs_tool tool
compile_chain
compile_with_vhd verbs_write write
run_cases "$@"
