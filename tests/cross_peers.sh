#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What the manual page vhd(1) says under OTHER PROGRAMS, claim by claim, tried
# with qemu-img and vhdiinfo. A claim that fails with the version that the page
# names is a failure; with another version it is only told.
#
# usage: cross_peers.sh BUILD
#
# One line a claim, "cross peers:CLAIM pass|fail|skip 0" in BUILD/results.
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(cd "$1" && pwd) || exit 1
page=$PWD/tools/man/vhd.1
results=${RESULTS:-$build/results}
PATH=$build/bin:$PATH
export PATH
for program in qemu-img qemu-io vhdiinfo; do
	command -v $program >/dev/null || {
		echo "  FAIL  peers: $program is missing (make deps)"
		exit 1
	}
done
dir=$(mktemp -d "${TMPDIR:-/tmp}/peers.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
umask 022
${CC:-cc} -D_GNU_SOURCE -Wall -Wextra -Werror -o "$dir/tool" \
	tests/verbs_tool.c || exit 1
bad=0

qemu_version=$(qemu-img --version | sed -n 's/.*version \([0-9]*\.[0-9]*\).*/\1/p')
vhdi_version=$(vhdiinfo -V | sed -n 's/.* \([0-9]\{8\}\).*/\1/p')

qemu_size() # FILE [OPTION]...
{
	file=$1
	shift
	qemu-img info --output=json "$@" "$file" |
		sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p' | tail -n 1
}

vhdi_size()
{
	vhdiinfo "$1" | sed -n 's/.*Media size.*(\([0-9]*\) bytes).*/\1/p;
	  s/.*Media size[^:]*: \([0-9]*\) bytes.*/\1/p'
}

poke() # FILE OFFSET BYTES-AS-OCTAL-ESCAPES
{
	# shellcheck disable=SC2059 # escapes are the point
	printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# --- QEMU

qemu_takes_fixed_for_raw()
{
	vhd create -q --type fixed --size 8M f.vhd &&
	[ "$(qemu_size f.vhd)" = 8389120 ] &&
	[ "$(qemu_size f.vhd -f vpc)" = 8388608 ]
}

# Zeros, and an exit status of success.
qemu_shows_no_parent()
{
	head -c 4194304 /dev/urandom >raw &&
	vhd convert -q --from raw --to dynamic raw base.vhd &&
	vhd snapshot -q base.vhd child.vhd &&
	qemu-img convert -f vpc -O raw child.vhd theirs &&
	truncate -s 4194304 zeros && cmp theirs zeros &&
	vhd compare -q --format-b raw child.vhd raw &&
	[ "$(vhd check --for qemu child.vhd | grep -c wants-type)" = 1 ]
}

# Our own never have such a geometry.
qemu_trusts_geometry()
{
	vhd create -q --size 100M d.vhd &&
	[ "$(qemu_size d.vhd -f vpc)" = 104857600 ] &&
	vhd set -q --creator vbox,4.2,Wi2k --geometry auto d.vhd &&
	[ "$(qemu_size d.vhd -f vpc)" = 104761344 ] &&
	[ "$(vhd check --for qemu d.vhd | grep -c wants-geometry)" = 1 ] &&
	vhd set -q --geometry max d.vhd &&
	[ "$(qemu_size d.vhd -f vpc)" = 104857600 ]
}

qemu_ignores_bitmaps()
{
	vhd create -q --size 4M d.vhd &&
	qemu-io -f vpc -c 'write -P 7 0 64k' d.vhd &&
	poke d.vhd $(($(vhd map --json d.vhd |
		sed -n 's/.*"offset": *\([0-9]*\).*/\1/p' | head -n 1) - 512)) \
		'\177' &&
	qemu-img convert -f vpc -O raw d.vhd theirs &&
	[ "$(head -c 512 theirs | tr -d '\7' | wc -c)" = 0 ] &&
	vhd convert -q --to raw d.vhd ours &&
	[ "$(head -c 512 ours | tr -d '\0' | wc -c)" = 0 ] &&
	vhd check --data d.vhd | grep -q bitmap-hides
}

qemu_refuses_more_than_2040_gib()
{
	vhd create -q --type fixed --size 2041G big.vhd &&
	! qemu-img info -f vpc big.vhd && vhd check -q big.vhd
}

# Two blocks in one place, or over the header: no word of it.
qemu_accepts_overlaps()
{
	vhd create -q --size 8M d.vhd &&
	qemu-io -f vpc -c 'write -P 1 0 8M' d.vhd &&
	dd if=d.vhd of=entry bs=1 skip=1536 count=4 status=none &&
	dd if=entry of=d.vhd bs=1 seek=1540 conv=notrunc status=none &&
	qemu-img info -f vpc d.vhd && ! vhd map d.vhd &&
	poke d.vhd 1540 '\0\0\0\0' && qemu-img info -f vpc d.vhd &&
	! vhd map d.vhd && vhdiinfo d.vhd
}

# --- libvhdi

vhdi_shows_original_size()
{
	vhd create -q --size 8M d.vhd && vhd resize -q +8M d.vhd &&
	[ "$(vhdi_size d.vhd)" = 8388608 ] &&
	[ "$(qemu_size d.vhd -f vpc)" = 16777216 ]
}

vhdi_needs_the_trailing_footer()
{
	vhd create -q --size 8M d.vhd && truncate -s -512 d.vhd &&
	! vhdiinfo d.vhd && vhd map d.vhd &&
	vhd repair -q --yes --no-undo d.vhd && vhdiinfo d.vhd
}

vhdi_knows_no_511()
{
	vhd create -q --type fixed --size 8M f.vhd && truncate -s -1 f.vhd &&
	! vhdiinfo f.vhd && vhd map f.vhd
}

vhdi_verifies_no_sum()
{
	vhd create -q --size 8M d.vhd && poke d.vhd 548 '\1\2\3\4' &&
	vhdiinfo d.vhd && qemu-img info -f vpc d.vhd && ! vhd map d.vhd
}

# ---

claim() # NAME VERSION INSTALLED
{
	rm -rf "$dir/case"
	mkdir "$dir/case"
	if (cd "$dir/case" && "$1") >"$dir/log" 2>&1; then
		verdict=pass
		echo "  ok    peers $1"
	elif [ "$2" != "$3" ]; then
		verdict=skip
		echo "  skip  peers $1: not so in version $3, tried with $2"
	else
		verdict=fail
		echo "  FAIL  peers $1: $(tail -n 3 "$dir/log")"
		bad=1
	fi
	echo "cross peers:$1 $verdict 0" >>"$results"
}

# The page names the versions that are meant here.
grep -q 'QEMU 7\.2' "$page" && grep -q 'libvhdi 20210425' "$page" || {
	echo "  FAIL  peers: vhd.1 names other versions"
	exit 1
}
for name in takes_fixed_for_raw shows_no_parent trusts_geometry \
	ignores_bitmaps refuses_more_than_2040_gib accepts_overlaps; do
	claim qemu_$name 7.2 "$qemu_version"
done
for name in shows_original_size needs_the_trailing_footer knows_no_511 \
	verifies_no_sum; do
	claim vhdi_$name 20210425 "$vhdi_version"
done
exit $bad
