#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Every image in the fuzz corpus that we accept, read by qemu-img and vhdiinfo
# too. Where they disagree with us, a row of tests/proof/corpus_peers.tsv must
# say why; a disagreement without one fails, and so does a row for which there
# is none any more.
#
# usage: corpus_peers.sh BUILD
#
# Compared: whether it opens, the size of the disk, its type (vhdiinfo), and
# what it holds (qemu-img, disks of up to 16 MiB that are not differencing).
# Images of vhd_chain and vhd_ops are made at run time and are not here.
set -u
build=$(cd "${1:?usage: corpus_peers.sh BUILD}" && pwd) || exit 1
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/proof.sh
classes=$PWD/tests/proof/corpus_peers.tsv
report=$build/proof/corpus_peers.txt
mkdir -p "$build/proof"
for program in qemu-img vhdiinfo; do
	command -v $program >/dev/null ||
		{ echo "  FAIL  $program is missing (make deps)"; exit 1; }
done
dir=$(mktemp -d "${TMPDIR:-/tmp}/corpus.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

"$build/tests/corpus_image" "$dir" fuzz/corpus/vhd_open/* \
	fuzz/corpus/vhd_repair/* fuzz/corpus/vhd_edit/* \
	fuzz/corpus/vhd_beside/* fuzz/corpus/vhd_merge/* >"$dir/list" ||
	{ echo "  FAIL  corpus_image"; exit 1; }

# What a peer said: "VERDICT<TAB>message"; nothing where it agrees.
qemu_says() # NAME SIZE
{
	local image=$dir/$1.vhd size
	if ! timeout 20 qemu-img info -f vpc --output=json "$image" \
	     >"$dir/info" 2>"$dir/says"; then
		printf 'refuses\t%s\n' "$(head -n 1 "$dir/says")"
		return
	fi
	size=$(sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p' "$dir/info" |
		tail -n 1)
	[ "$size" = "$2" ] || printf 'size\t%s\n' "$size"
	[ -e "$dir/$1.raw" ] || return
	if ! timeout 20 qemu-img convert -f vpc -O raw "$image" "$dir/theirs" \
	     2>"$dir/says"; then
		printf 'refuses\t%s\n' "$(head -n 1 "$dir/says")"
		return
	fi
	cmp -s -n "$((size < $2 ? size : $2))" "$dir/theirs" "$dir/$1.raw" ||
		printf 'content\t\n'
}

vhdi_says() # NAME SIZE FORMAT
{
	local says size type
	says=$(timeout 20 vhdiinfo "$dir/$1.vhd" 2>&1) || {
		printf 'refuses\t%s\n' \
			"$(echo "$says" | sed -n 's/.*\(libvhdi_\)/\1/p' |
				head -n 1)"
		return
	}
	size=$(echo "$says" | sed -n 's/.*Media size.*(\([0-9]*\) bytes).*/\1/p
		s/.*Media size[^:]*: \([0-9]*\) bytes.*/\1/p')
	[ "$size" = "$2" ] || printf 'size\t%s\n' "$size"
	type=$(echo "$says" | sed -n 's/.*Disk type[^:]*: *//p')
	case $3:$type in
	fixed:Fixed | dynamic:Dynamic | differencing:Differential) ;;
	*) printf 'type\t%s\n' "$type" ;;
	esac
}

images=0
while read -r name format size _ facts; do
	[ "$name" != '#' ] || continue
	images=$((images + 1))
	qemu_says "$name" "$size" | sed "s~^~qemu	~; s~\$~	$format $facts	$name~"
	vhdi_says "$name" "$size" "$format" |
		sed "s~^~vhdi	~; s~\$~	$format $facts	$name~"
done <"$dir/list" >"$dir/differences"

# PEER VERDICT MESSAGE FACTS NAME against PEER VERDICT FACT-RE MESSAGE-RE WHY.
awk -F'\t' '
FILENAME == ARGV[1] {
	if ($0 ~ /^#/ || NF == 0) next
	n++
	peer[n] = $1; verdict[n] = $2; fact[n] = $3; says[n] = $4; why[n] = $5
	next
}
{
	for (i = 1; i <= n; i++)
		if ($1 == peer[i] && $2 == verdict[i] &&
		    (" " $4 " ") ~ fact[i] && $3 ~ says[i])
			break
	if (i <= n) {
		count[i]++
		total++
		list[i] = list[i] "\n      " $5
		next
	}
	print "  UNEXPLAINED " $1 " " $2 ": " $5 ": " $3 " (" $4 ")"
	bad++
}
END {
	for (i = 1; i <= n; i++) {
		printf "%4d %s %s: %s%s\n", count[i], peer[i], verdict[i],
			why[i], list[i]
		if (!count[i]) {
			print "  NO SUCH DISAGREEMENT any more: " why[i]
			bad++
		}
	}
	printf "%d disagreements of %d classes, %d unexplained\n", total, n,
		bad
}' "$classes" "$dir/differences" >"$report"

grep -E 'UNEXPLAINED|NO SUCH' "$report"
summary="$images images read by qemu-img and vhdiinfo: $(tail -n 1 "$report")"
echo "  $summary ($(tail -n 1 "$dir/list" | cut -c3-)); $report"
verdict=met
case $summary in *', 0 unexplained') ;; *) verdict=unmet ;; esac
proof_figure Z2 $verdict "$summary"
[ $verdict = met ]
