#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Images of this library and of other programs, each read by the other, bit
# for bit. Other programs: qemu-img, qemu-io, vhdiinfo, and the writers of the
# images in ../shared/corpus.
#
# usage: cross_vhd.sh BUILD      one line a case; status 1 if one failed
set -u
build=$1
vhd=$build/tests/cross_vhd
corpus=${CORPUS:-../shared/corpus}
results=${RESULTS:-$build/results}
bad=0

if [ ! -x "$vhd" ]; then
	echo "  FAIL  cross_vhd: $vhd is not built (make unit-build)"
	exit 1
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

# Run a case: its name, then a function with its arguments.
case_() # NAME FUNCTION [ARGUMENT]...
{
	name=$1
	shift
	if "$@" >"$dir/log" 2>&1; then
		echo "  ok    $name"
		echo "cross vhd:$(echo "$name" | tr ' ' '_') pass 0" >>"$results"
	else
		echo "  FAIL  $name"
		tail -n 5 "$dir/log"
		echo "cross vhd:$(echo "$name" | tr ' ' '_') fail 0" >>"$results"
		bad=1
	fi
	find "$dir" -mindepth 1 ! -name log -delete
}

# The sparse parts are skipped on both sides, so this is fast at any size.
same() # RAW1 RAW2
{
	[ "$(stat -c %s "$1")" = "$(stat -c %s "$2")" ] &&
	qemu-img compare -f raw -F raw "$1" "$2"
}

qemu_size()
{
	qemu-img info --output=json -f vpc "$1" |
	sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p' | tail -n 1
}

libvhdi_size()
{
	vhdiinfo "$1" | sed -n 's/.*Media size.*(\([0-9]*\) bytes).*/\1/p;
	  s/.*Media size[^:]*: \([0-9]*\) bytes.*/\1/p'
}

fact() # NAME FILE
{
	"$vhd" info "$2" | sed -n "s/^$1 //p"
}

# ------------------------------------------------------- ours, read by others

ours() # FORMAT SIZE BLOCK SEED
{
	"$vhd" make "$1" "$2" "$3" "$4" "$dir/a.vhd" &&
	"$vhd" make raw "$2" 0 "$4" "$dir/model" &&
	[ "$(qemu_size "$dir/a.vhd")" = "$2" ] &&
	qemu-img convert -f vpc -O raw "$dir/a.vhd" "$dir/theirs" &&
	same "$dir/model" "$dir/theirs" &&
	"$vhd" dump "$dir/a.vhd" auto "$dir/own" &&
	same "$dir/model" "$dir/own" &&
	[ "$(libvhdi_size "$dir/a.vhd")" = "$2" ] &&
	[ "$(fact notes "$dir/a.vhd")" = 0 ] &&
	[ "$(fact chs "$dir/a.vhd")" = "$2" ] &&
	[ "$(fact used "$dir/a.vhd")" = "$(fact aligned "$dir/a.vhd")" ]
}

# Other programs' writes to our image, and ours again on top.
taken_over() # BLOCK SIZE
{
	"$vhd" make dynamic "$2" "$1" 5 "$dir/a.vhd" &&
	"$vhd" make raw "$2" 0 5 "$dir/model" || return 1
	for write in 'write -P 0x5a 1536 70000' 'write -P 0xa5 9M 3M' \
		'write -P 0x11 5242368 1024' 'write -P 0 1M 64k'; do
		qemu-io -f vpc -c "$write" "$dir/a.vhd" &&
		qemu-io -f raw -c "$write" "$dir/model" || return 1
	done
	"$vhd" dump "$dir/a.vhd" dynamic "$dir/own" &&
	same "$dir/model" "$dir/own" &&
	"$vhd" change "$dir/a.vhd" dynamic 6 &&
	"$vhd" change "$dir/model" raw 6 &&
	qemu-img convert -f vpc -O raw "$dir/a.vhd" "$dir/theirs" &&
	same "$dir/model" "$dir/theirs"
}

# A writer that died after a flush: the footer is far behind the last block.
left_open() # SIZE
{
	"$vhd" make dynamic "$1" 0 7 "$dir/a.vhd" &&
	"$vhd" make raw "$1" 0 7 "$dir/model" &&
	"$vhd" die "$dir/a.vhd" dynamic 8 &&
	"$vhd" change "$dir/model" raw 8 &&
	qemu-img convert -f vpc -O raw "$dir/a.vhd" "$dir/theirs" &&
	same "$dir/model" "$dir/theirs" &&
	[ "$(libvhdi_size "$dir/a.vhd")" = "$1" ] &&
	"$vhd" change "$dir/a.vhd" dynamic 9 &&
	"$vhd" change "$dir/model" raw 9 &&
	[ "$(fact notes "$dir/a.vhd")" = 0 ] &&
	qemu-img convert -f vpc -O raw "$dir/a.vhd" "$dir/theirs" &&
	same "$dir/model" "$dir/theirs"
}

# The end of the file lost in a crash: others refuse, we repair, they read.
cut_off()
{
	"$vhd" make dynamic 67108864 0 3 "$dir/a.vhd" &&
	"$vhd" make raw 67108864 0 3 "$dir/model" &&
	truncate -s -4096 "$dir/a.vhd" &&
	[ "$(fact notes "$dir/a.vhd")" = 1 ] &&
	! vhdiinfo "$dir/a.vhd" &&
	"$vhd" why "$dir/a.vhd" dynamic rw &&
	[ "$(fact notes "$dir/a.vhd")" = 0 ] &&
	[ "$(libvhdi_size "$dir/a.vhd")" = 67108864 ] &&
	qemu-img convert -f vpc -O raw "$dir/a.vhd" "$dir/theirs" &&
	same "$dir/model" "$dir/theirs"
}

# ------------------------------------------------------- theirs, read by us

# QEMU may round the size up: the model then grows by zeros.
theirs() # OPTIONS SIZE
{
	"$vhd" make raw "$2" 0 11 "$dir/model" &&
	qemu-img convert -f raw -O vpc -o "$1" "$dir/model" "$dir/b.vhd" &&
	size=$(qemu_size "$dir/b.vhd") &&
	truncate -s "$size" "$dir/model" &&
	[ "$(fact size "$dir/b.vhd")" = "$size" ] &&
	[ "$(fact notes "$dir/b.vhd")" = 0 ] &&
	"$vhd" dump "$dir/b.vhd" auto "$dir/own" &&
	same "$dir/model" "$dir/own" &&
	"$vhd" change "$dir/b.vhd" auto 12 &&
	"$vhd" change "$dir/model" raw 12 &&
	qemu-img convert -f vpc -O raw "$dir/b.vhd" "$dir/theirs" &&
	same "$dir/model" "$dir/theirs" &&
	"$vhd" dump "$dir/b.vhd" auto "$dir/own" &&
	same "$dir/model" "$dir/own"
}

# -------------------------------------------------------------------- corpus

unpack()
{
	gzip -dc "$corpus/$1.gz" >"$dir/$1"
}

why_is() # FILE NUMBER
{
	[ "$("$vhd" why "$1" auto ro)" = "$2" ] &&
	[ "$("$vhd" why "$1" auto rw)" = "$2" ]
}

# The numbers of enum vhd_why, from the header, so that they stay true.
why_number() # NAME
{
	awk -v want="VHD_WHY_$1" '
	  /^enum vhd_why/ { in_it = 1; n = 0; next }
	  in_it && /^}/ { exit }
	  in_it && match($0, /VHD_WHY_[A-Z0-9_]+/) {
		if (substr($0, RSTART, RLENGTH) == want) { print n; exit }
		n++
	  }' vhd/err.h
}

corpus_ext2()
{
	unpack ext2.vhd && "$vhd" dump "$dir/ext2.vhd" auto "$dir/own" &&
	[ "$(sha256sum <"$dir/own")" = \
	"870be7ae16c1fa8faab05c6eb9205dc9a7ae35c5f552c5cf8a267c0bc6a5cb99  -" ]
}

corpus_virtualpc()
{
	unpack virtualpc-dynamic.vhd &&
	[ "$(fact format "$dir/virtualpc-dynamic.vhd")" = dynamic ] &&
	[ "$(fact size "$dir/virtualpc-dynamic.vhd")" = 136365211648 ] &&
	[ "$(fact chs "$dir/virtualpc-dynamic.vhd")" = 136363130880 ] &&
	[ "$(fact used "$dir/virtualpc-dynamic.vhd")" = 0 ] &&
	why_is "$dir/virtualpc-dynamic.vhd" 0
}

corpus_differencing()
{
	unpack fat-differential.vhd &&
	[ "$(fact format "$dir/fat-differential.vhd")" = differencing ] &&
	why_is "$dir/fat-differential.vhd" "$(why_number NEEDS_PARENT)"
}

corpus_wrong_checksum() # FILE
{
	unpack "$1" && why_is "$dir/$1" "$(why_number FOOTER_CHECKSUM)" &&
	[ "$(fact fault "$dir/$1")" = "$(why_number FOOTER_CHECKSUM)" ]
}

for tool in qemu-img qemu-io vhdiinfo; do
	command -v $tool >/dev/null || {
		echo "  FAIL  cross_vhd: $tool is missing (make deps)"
		exit 1
	}
done

seed=$(date +%s)
echo "  seed $seed"
for size in 512 1049088 3145728 41943552 104857600 1073741824; do
	case_ "fixed of $size" ours fixed $size 0 "$seed"
	case_ "dynamic of $size" ours dynamic $size 0 "$seed"
done
case_ "dynamic, 512 KiB blocks" ours dynamic 104857600 524288 "$seed"
case_ "dynamic, 16 MiB blocks" ours dynamic 104857600 16777216 "$seed"
case_ "dynamic, 4 KiB blocks" ours dynamic 41943552 4096 "$seed"
case_ "dynamic of 127 GiB" ours dynamic 136365211648 0 "$seed"
case_ "dynamic of 2040 GiB" ours dynamic 2190433320960 0 "$seed"
case_ "qemu-io writes to ours, we again" taken_over 0 67108864
case_ "the same, 512 KiB blocks" taken_over 524288 67108864
case_ "read while a writer died" left_open 1073741824
case_ "repaired after a cut" cut_off
case_ "QEMU dynamic" theirs subformat=dynamic 104857600
case_ "QEMU dynamic, exact size" \
	theirs subformat=dynamic,force_size=on 41943552
case_ "QEMU fixed" theirs subformat=fixed 104857600
case_ "QEMU fixed, exact size" theirs subformat=fixed,force_size=on 1049088

if [ -d "$corpus" ]; then
	case_ "corpus: ext2 of QEMU" corpus_ext2
	case_ "corpus: Windows Virtual PC" corpus_virtualpc
	case_ "corpus: differencing of Windows 10" corpus_differencing
	case_ "corpus: checksum wrong" corpus_wrong_checksum image.vhd
	case_ "corpus: the same, differencing" \
		corpus_wrong_checksum image-differential.vhd
else
	echo "  skip  corpus: no $corpus"
	echo "cross vhd:corpus skip 0" >>"$results"
fi
exit $bad
