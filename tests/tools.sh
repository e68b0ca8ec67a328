#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The built vhd-convert and vhd-inspect as a user meets them: conversions
# against qemu-img and vhdiinfo, every bad input, full disks, signals, and the
# installed library.
#
# usage: tools.sh BUILD [CASE]...     (default: all cases)
#
# Environment: MAKE; SAN=1: BUILD is sanitized; SEED. One line a case; appends
# "tools CASE pass|fail SECONDS" to BUILD/results. Everything happens in a
# temporary directory below $TMPDIR or /tmp.
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(cd "$1" && pwd) || exit 1
shift
PATH=$build/bin:$PATH:/usr/sbin:/sbin
export PATH
make=${MAKE:-make}
san=
[ "${SAN-}" != 1 ] || san='-fsanitize=address,undefined'
dir=$(mktemp -d "${TMPDIR:-/tmp}/tools.XXXXXX") || exit 1
trap 'umount "$dir/full" 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
umask 022
tier=tools prefix=''
. tests/lib/case.sh
. tests/lib/engine.sh
. tests/lib/wait.sh

case_over()
{
	rm -rf "$dir/root"
}

# One line that begins with the program, "limited" or not, and the path.
refused_at() # STATUS PATH COMMAND...
{
	at=$2
	program=$3
	[ "$3" != limited ] || program=$4
	wanted_status=$1
	shift 2
	refused "$wanted_status" "$program: $at: " "$@"
}

# Large sparse files by their data only.
same() # A B
{
	if [ "$(stat -c %s "$1")" -gt 100000000 ]; then
		qemu-img compare -f raw -F raw "$1" "$2" >&2
	else
		cmp "$1" "$2"
	fi
}

inspect_value() # FILE KEY
{
	vhd-inspect --json "$1" 2>/dev/null | "$dir/json" "images.0.$2"
}

# A raw disk with data at both ends and in between, and holes.
disk() # FILE BYTES
{
	rm -f "$1"
	truncate -s "$2" "$1"
	head -c 512 /dev/urandom | dd of="$1" conv=notrunc status=none
	head -c 512 /dev/urandom |
		dd of="$1" bs=512 seek=$(($2 / 512 - 1)) conv=notrunc \
		status=none
	[ "$2" -lt 1000000 ] || head -c 300000 /dev/urandom |
		dd of="$1" bs=4096 seek=$(($2 / 3 / 4096)) conv=notrunc \
		status=none
}

# --- cases: conversions

pairs() # BYTES
{
	disk raw "$1"
	must vhd-convert --from raw --to raw raw raw.raw
	for a in fixed dynamic; do
		must vhd-convert --to $a --verify raw "$a"
		must qemu-img convert -f vpc -O raw $a back
		same raw back || fail "qemu-img reads our $a otherwise"
		must qemu-img convert -f raw -O vpc \
			-o subformat=$a,force_size=on raw "q.$a"
		must vhd-convert --from $a --to raw "q.$a" "q.$a.raw"
		same raw "q.$a.raw" || fail "we read qemu-img's $a otherwise"
		[ "$(inspect_value $a virtual-size)" = "$1" ] ||
			fail "$a has another size"
	done
	for a in fixed dynamic; do
		for b in raw fixed dynamic; do
			must vhd-convert --to $b $a "$a.$b"
			must vhd-convert --to raw "$a.$b" "$a.$b.raw"
			same raw "$a.$b.raw" || fail "$a to $b differs"
		done
	done
	same raw raw.raw || fail "raw to raw differs"
}

libvhdi()
{
	disk raw 132120576
	for a in fixed dynamic; do
		must vhd-convert --to $a raw "$a.vhd"
		LC_ALL=C vhdiinfo "$a.vhd" >info || fail "vhdiinfo refuses $a"
		grep -q "Media size.*(132120576 bytes)" info ||
			fail "vhdiinfo sees another size: $(cat info)"
		grep -iq "Disk type.*$a" info ||
			fail "vhdiinfo sees another type: $(cat info)"
	done
}

options()
{
	disk raw 33554944
	for engine in auto uring aio sync; do
		# Some machines forbid an engine; it must say so then.
		got=$(status_of vhd-convert --engine $engine --to dynamic \
			raw $engine)
		case $engine-$got in
		*-0) must qemu-img compare -f raw -F vpc raw $engine ;;
		uring-* | aio-*) [ "$(wc -l <"$dir/err")" -eq 1 ] ||
			fail "--engine $engine: $(cat "$dir/err")" ;;
		*) fail "--engine $engine: $(cat "$dir/err")" ;;
		esac
	done
	for size in 4K 64K 512K 4M 256M; do
		must vhd-convert --block-size $size --to dynamic raw b$size
		must vhd-convert --verify --to raw b$size b$size.raw
		cmp raw b$size.raw || fail "--block-size $size differs"
	done
	for to in raw fixed dynamic; do
		must vhd-convert --direct --verify --to $to raw d$to
		must vhd-convert --no-sync --direct --to raw d$to d$to.raw
		cmp raw d$to.raw || fail "--direct --to $to differs"
	done
	must vhd-convert -q --to raw raw quiet
	[ ! -s "$dir/err" ] || fail "--quiet said: $(cat "$dir/err")"
}

sparse()
{
	# 64 MiB of zeros that are no holes, but for one sector
	head -c 67108864 /dev/zero >zeros
	poke zeros 50331648 x
	for to in raw fixed dynamic; do
		must vhd-convert --sparse punch --to $to zeros $to
		[ "$(du -k $to | cut -f1)" -le 32 ] ||
			fail "$to takes $(du -k $to | cut -f1) KiB"
	done
	[ "$(inspect_value dynamic blocks.used)" = 1 ] ||
		fail "more than one block in use"
	# far beyond what could be read in the time
	truncate -s 1T big
	poke big 1099511627775 x
	must vhd-convert --to dynamic big big.vhd
	must vhd-convert --verify --to raw big.vhd big.raw
	must qemu-img compare -f raw -F raw big big.raw
}

probe()
{
	disk raw 1048576
	must vhd-convert --to dynamic raw d
	grep -q '^vhd-convert: raw: taken as raw: ' "$dir/err" ||
		fail "probe not told: $(cat "$dir/err")"
	# A guest that writes a VHD into its raw disk keeps a raw disk.
	disk raw 4194304
	dd if=d of=raw bs=1536 count=1 conv=notrunc status=none
	must vhd-convert --to fixed --from raw raw fixed
	must vhd-convert --to raw fixed back
	grep -q 'taken as fixed' "$dir/err" || fail "fixed not probed"
	cmp raw back || fail "the forged start was believed"
	refused_at 3 raw vhd-convert --to raw raw other
	refused_at 3 d vhd-convert --from fixed --to raw d other
	refused_at 3 back vhd-convert --from dynamic --to raw back other
}

terminal()
{
	disk raw 8388608
	must script -qec 'vhd-convert --to dynamic raw d' /dev/null
	grep -q 'copying *[0-9]*% of 8 MiB' "$dir/out" ||
		fail "no progress on a terminal: $(cat -v "$dir/out")"
	must vhd-convert --to fixed raw f
	! grep -q copying "$dir/err" || fail "progress without a terminal"
}

# --- cases: refusals

# An image of two blocks: header at 512, table at 1536, footer at the end.
two_blocks()
{
	truncate -s 4M raw
	poke raw 0 first
	poke raw 2097152 second
	must vhd-convert -f --to dynamic raw good
}

both_refuse() # STATUS FILE
{
	refused_at "$1" "$2" vhd-convert --to raw "$2" out
	refused_at "$1" "$2" vhd-inspect "$2"
}

damaged()
{
	two_blocks
	len=$(stat -c %s good)
	for kind in cut equal zero table footers header version vhdx; do
		cp good $kind
	done
	truncate -s 2000000 cut
	dd if=good of=equal bs=1 skip=1536 seek=1540 count=4 conv=notrunc \
		status=none
	poke zero 1536 '\000\000\000\000'
	poke table 1536 '\000\377\377\377'
	poke footers 64 '\001\002\003\004'
	poke footers $((len - 512 + 64)) '\001\002\003\004'
	poke header 548 '\001\002\003\004'
	poke version 536 '\000\002'
	printf 'vhdxfile' >vhdx
	truncate -s 1M vhdx
	for kind in cut equal zero table footers header version vhdx; do
		both_refuse 3 $kind
	done
	# One good footer is enough, and it is told.
	cp good mended
	poke mended 64 '\001\002\003\004'
	must vhd-convert --to raw mended mended.raw
	cmp raw mended.raw || fail "read wrong with one footer"
	vhd-inspect mended | grep -q 'interrupted' || fail "damage not told"
}

no_image()
{
	mkdir directory
	mkfifo fifo
	: >empty
	head -c 1000 /dev/urandom >odd
	both_refuse 3 directory
	both_refuse 3 missing
	both_refuse 3 empty
	both_refuse 3 odd
	both_refuse 3 fifo
	both_refuse 3 missing/file
	refused_at 3 "$(printf 'a\nb' | tr '\n' ' ')" vhd-inspect 'a b'
}

locked()
{
	two_blocks
	hold_file good
	both_refuse 3 good
	must vhd-inspect --force good
	let_go
	must vhd-convert --to raw good out
}

existing()
{
	two_blocks
	echo precious >dst
	refused_at 3 dst vhd-convert --to raw good dst
	[ "$(cat dst)" = precious ] || fail "destination changed"
	# Replaced only by what is complete.
	cp good bad
	poke bad 1536 '\000\000\000\000'
	refused_at 3 bad vhd-convert --force --to raw bad dst
	must vhd-convert --force --to raw good dst
	cmp raw dst || fail "--force did not replace"
	ln good hard
	ln -s good soft
	for name in good hard soft ./good; do
		refused_at 2 "$name" vhd-convert --force --to raw good "$name"
	done
	mkdir directory
	refused_at 3 directory vhd-convert --force --to raw good directory
	refused_at 3 nowhere/dst vhd-convert --to raw good nowhere/dst
	refused_at 3 /dev/null vhd-convert --force --to raw good /dev/null
}

usage()
{
	two_blocks
	while read -r line; do
		# shellcheck disable=SC2086 # words are the point
		got=$(status_of vhd-convert $line)
		[ "$got" = 2 ] || fail "status $got: vhd-convert $line"
		[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "not one line: $line"
	done <<-EOL

	good out
	--to good out
	--to auto good out
	--to qcow2 good out
	--to raw good
	--to raw good out more
	--to raw --from ext4 good out
	--to raw --block-size 2M good out
	--to dynamic --block-size 2MB good out
	--to dynamic --block-size 0 good out
	--to dynamic --block-size 5000 good out
	--to dynamic --block-size 2K good out
	--to dynamic --block-size 512M good out
	--to raw --engine threads good out
	--to raw --frobnicate good out
	-z --to raw good out
	EOL
	[ "$(status_of vhd-inspect)" = 2 ] || fail "vhd-inspect without file"
	for tool in vhd-convert vhd-inspect; do
		must $tool --help
		grep -q "^usage: $tool " "$dir/out" || fail "no help"
		must $tool --version
	done
}

# --- cases: the machine fails

# The file size limit; its unit is 512 bytes here and 1024 in other shells.
limited() # COMMAND...
{
	(ulimit -f 16384 && exec "$@")
}

full()
{
	head -c 33554432 /dev/urandom >raw
	for to in raw fixed dynamic; do
		for engine in auto sync; do
			refused_at 4 out limited vhd-convert \
				--engine $engine --to $to raw out
		done
	done
	mkdir -p "$dir/full"
	mount -t tmpfs -o size=8m none "$dir/full" 2>/dev/null || return 0
	for to in raw fixed dynamic; do
		refused_at 4 "$dir/full/out" vhd-convert --to $to raw \
			"$dir/full/out"
		[ -z "$(ls -A "$dir/full")" ] || fail "left: $(ls -A \
			"$dir/full")"
	done
	umount "$dir/full"
}

# Whatever the moment, a signal leaves a complete file or none.
signals()
{
	head -c 200000000 /dev/urandom >raw
	seen=0
	for delay in 0.05 0.1 0.15 0.2 0.3 0.4 0.02 0.5 0.08 0.03 0.01; do
		for name in INT TERM; do
			vhd-convert --engine sync --to dynamic raw out \
				2>"$dir/err" &
			pid=$!
			sleep $delay
			kill -$name $pid 2>/dev/null
			wait $pid
			got=$?
			[ -z "$(ls -A | grep -vx -e raw -e out)" ] ||
				fail "left: $(ls -A)"
			if [ $got -eq 0 ]; then
				must qemu-img compare -f raw -F vpc raw out
				rm out
				continue
			fi
			[ ! -e out ] || fail "status $got, but a file"
			grep -q "out: interrupted by SIG$name" "$dir/err" ||
				continue # it had not begun
			[ "$(wc -l <"$dir/err")" -eq 1 ] ||
				fail "not one line: $(cat "$dir/err")"
			[ $got -gt 128 ] || fail "status $got for SIG$name"
			seen=$((seen + 1))
		done
		[ $seen -lt 6 ] || break
	done
	[ $seen -gt 0 ] || fail "never met the conversion running"
}

broken() # PATH STRACE-ARGUMENTS
{
	for to in raw dynamic; do
		before=$(state)
		# shellcheck disable=SC2086 # lists of words
		got=$(status_of strace -f -o "$dir/trace" $2 vhd-convert \
			--engine sync --to $to raw out)
		[ "$got" = 4 ] ||
			fail "status $got: $2 --to $to: $(cat "$dir/err")"
		[ "$(wc -l <"$dir/err")" -eq 1 ] ||
			fail "not one line: $2: $(cat "$dir/err")"
		grep -q "^vhd-convert: $1: " "$dir/err" ||
			fail "not about $1: $2: $(cat "$dir/err")"
		[ "$before" = "$(state)" ] || fail "left something: $2"
	done
}

# Calls that fail, by strace; where it may not trace, nothing is tested.
injected()
{
	disk raw 8388608
	strace -o /dev/null true 2>/dev/null || return 0
	[ -z "$san" ] || export ASAN_OPTIONS=detect_leaks=0
	# of the source: every read there is
	for n in 1 2 3 4 5; do
		broken raw "-P $PWD/raw -e inject=pread64:error=EIO:when=$n"
	done
	while read -r calls how; do
		broken out "-e inject=$calls:$how"
	done <<-EOL
	fsync error=EIO
	fsync error=ENOSPC
	linkat error=EIO
	pwrite64,pwritev error=ENOSPC:when=1+
	pwrite64,pwritev error=EIO:when=2+
	sync_file_range error=EIO
	ftruncate error=EFBIG
	EOL
	# No nameless files here: a dot name, and no trace of it afterwards.
	strace -o "$dir/trace" -e trace=openat vhd-convert --to raw raw one \
		2>/dev/null
	n=$(grep -n O_TMPFILE "$dir/trace" | cut -d: -f1)
	must strace -o "$dir/trace" -e trace=openat,renameat2 \
		-e "inject=openat:error=EOPNOTSUPP:when=$n" \
		vhd-convert --to raw raw two
	grep -q 'renameat2.*"\.two' "$dir/trace" || fail "no dot name seen"
	cmp raw two || fail "differs"
	[ "$(status_of strace -o "$dir/trace" \
		-e "inject=openat:error=EOPNOTSUPP:when=$n" \
		-e inject=fsync:error=EIO vhd-convert --to raw raw three)" \
		= 4 ] || fail "fsync failed and was not told"
	[ -z "$(ls -A | grep -vx -e raw -e one -e two)" ] ||
		fail "left: $(ls -A)"
}

# --- cases: inspection

# A random chain becomes one disk, whatever it becomes and however it is read.
chains()
{
	seed=$base_seed
	engines=$(engines_here)
	for n in 1 2 3 8; do
		"$dir/chain" $n 5243392 $((seed + n)) || fail "no chain"
		top=l$((n - 1)).vhd
		sum=$(cat l*.vhd | cksum)
		for to in raw fixed dynamic; do
			must vhd-convert --verify --force --to $to $top out.$to
			must vhd-convert --force --from $to --to raw out.$to \
				back
			cmp flat.raw back ||
				fail "seed $seed: $n layers to $to differ"
		done
		for engine in $engines; do
			must vhd-convert --force --direct --engine $engine \
				--to raw $top out.raw
			cmp flat.raw out.raw ||
				fail "seed $seed: $n layers by $engine differ"
		done
		must vhd compare --quiet $top flat.raw
		[ "$(cat l*.vhd | cksum)" = "$sum" ] || fail "layers changed"
		[ "$(inspect_value $top virtual-size)" = 5243392 ] ||
			fail "inspect: $(vhd-inspect $top)"
		[ $n -eq 1 ] || [ "$(inspect_value $top \
			chain.$((n - 1)).path)" = "$PWD/l0.vhd" ] ||
			fail "inspect: $(vhd-inspect --json $top)"
	done
	must vhd-inspect l7.vhd
	grep -q "Chain *0: $PWD/l7.vhd" "$dir/out" &&
	grep -q " 1: $PWD/l6.vhd" "$dir/out" &&
	grep -q "7: $PWD/l0.vhd" "$dir/out" || fail "text: $(cat "$dir/out")"
	refused_at 2 l2.vhd vhd-convert --force --to raw l7.vhd l2.vhd
	refused_at 3 l7.vhd vhd-convert --no-parent --to raw l7.vhd new
}

# Where parents may be, and what is said when they are not there.
parents()
{
	"$dir/chain" 2 1049088 "$base_seed" || fail "no chain"
	mkdir sub
	mv l1.vhd sub
	refused_at 3 sub/l1.vhd vhd-convert --to raw sub/l1.vhd new
	grep -q 'l0.vhd is missing below .*--parent-dir' "$dir/err" ||
		fail "says: $(cat "$dir/err")"
	[ "$(status_of vhd-inspect sub/l1.vhd)" = 3 ] || fail "inspect agrees"
	grep -q 'looked for l0.vhd' "$dir/out" || fail "$(cat "$dir/out")"
	[ "$(status_of vhd-inspect --json sub/l1.vhd)" = 3 ] || fail json
	grep -q '"why": *"parent-missing"' "$dir/out" || fail "$(cat "$dir/out")"
	# A link that leads out of the directory is not followed, unless ...
	ln -s ../l0.vhd sub/l0.vhd
	refused_at 3 sub/l1.vhd vhd-convert --to raw sub/l1.vhd new
	must vhd-convert --parent-dir . --to raw sub/l1.vhd new
	cmp new flat.raw || fail "differs"
	mkdir else
	refused_at 2 sub/l1.vhd vhd-convert --parent-dir else --to raw \
		sub/l1.vhd other
	rm sub/l0.vhd
	truncate -s 1M sub/l0.vhd
	refused_at 3 sub/l1.vhd vhd-convert --to raw sub/l1.vhd other
	grep -q 'not the disk it was made on' "$dir/err" ||
		fail "says: $(cat "$dir/err")"
	corpus=${CORPUS:-$OLDPWD/../shared/corpus}/fat-differential.vhd.gz
	[ -e "$corpus" ] || return 0
	gzip -dc "$corpus" >win10.vhd
	refused_at 3 win10.vhd vhd-convert --to raw win10.vhd other
	[ "$(status_of vhd-inspect win10.vhd)" = 3 ] || fail "inspect agrees"
	grep -q 'looked for fat-parent.vhd' "$dir/out" ||
		fail "$(cat "$dir/out")"
}

inspection()
{
	truncate -s 64M part
	mke2fs -q -t ext4 -L 'my root' part
	truncate -s 300M raw
	sfdisk -q raw <<-EOL
	label: gpt
	start=2048, size=16M, type=U, name="efi"
	start=40960, size=64M, type=L
	EOL
	dd if=part of=raw bs=512 seek=40960 conv=notrunc,sparse status=none
	must vhd-convert --to fixed raw fixed
	must vhd-convert --to dynamic raw dynamic
	# so much that it is not looked at as a whole
	head -c 80000000 /dev/urandom |
		dd of=raw bs=512 seek=200000 conv=notrunc status=none
	must vhd-convert --to dynamic raw large
	for a in raw fixed dynamic large; do
		p=content.partitions.1
		[ "$(inspect_value $a content.table)" = gpt ] &&
		[ "$(inspect_value $a $p.offset)" = 20971520 ] &&
		[ "$(inspect_value $a $p.filesystem.type)" = ext4 ] &&
		[ "$(inspect_value $a $p.filesystem.label)" = 'my root' ] ||
			fail "content of $a: $(vhd-inspect $a)"
		must vhd-inspect $a
		grep -q 'Linux data *ext4 "my root"' "$dir/out" ||
			fail "text of $a: $(cat "$dir/out")"
	done
	must vhd-convert --to dynamic part plain
	[ "$(inspect_value plain content.filesystem.type)" = ext4 ] ||
		fail "file system without a table"
	must vhd-inspect plain
	grep -q 'no partition table, ext4' "$dir/out" || fail "not told"
	# facts
	[ "$(inspect_value dynamic format)" = dynamic ] &&
	[ "$(inspect_value dynamic blocks.size)" = 2097152 ] &&
	[ "$(inspect_value dynamic blocks.count)" = 150 ] &&
	[ "$(inspect_value dynamic footer.state)" = sound ] &&
	[ "$(inspect_value dynamic footer.copy-state)" = sound ] &&
	[ "$(inspect_value dynamic creator.application)" = 'win ' ] &&
	[ "$(inspect_value dynamic blocks.used)" = \
		"$(inspect_value dynamic blocks.aligned)" ] ||
		fail "facts: $(vhd-inspect --json dynamic)"
	# several at once, the worst status of all
	[ "$(status_of vhd-inspect raw missing plain)" = 3 ] || fail "status"
	grep -q '^plain$' "$dir/out" || fail "stopped at the missing one"
	two_blocks
	poke good 1536 '\000\000\000\000'
	[ "$(inspect_value good fault.why)" = bat-in-metadata ] ||
		fail "fault not in JSON"
	vhd-inspect good 2>/dev/null | grep -q '^  Blocks  *2 of 2' ||
		fail "damaged image not shown"
}

chs()
{
	truncate -s 127M raw
	must qemu-img convert -f raw -O vpc -o force_size=off raw q
	must vhd-inspect q
	grep -q 'no reader truncates' "$dir/out" || fail "qemu's own is exact"
	# the same, with a size that its geometry does not give
	must vhd-convert --to dynamic raw ours
	grep -q . ours || fail "nothing written"
	must vhd-inspect ours
	grep -q 'no reader truncates' "$dir/out" || fail "ours is truncated"
}

# --- cases: the installed library

installed()
{
	(cd "$OLDPWD" && "$make" --no-print-directory -s install \
		BUILD="$build" ${SAN:+SAN=$SAN} DESTDIR="$dir/root" \
		PREFIX=/opt/vhd) >log 2>&1 || fail "make install: $(tail -5 log)"
	lib=$dir/root/opt/vhd/lib
	flags=$(PKG_CONFIG_SYSROOT_DIR=$dir/root \
		PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --cflags --libs vhd) ||
		fail "pkg-config does not know vhd"
	# shellcheck disable=SC2086 # lists of words
	${CC:-cc} -Wall -Wextra -Werror $san -o installed \
		"$OLDPWD/tests/installed.c" $flags || fail "does not compile"
	LD_LIBRARY_PATH=$lib ./installed disk.vhd >out ||
		fail "does not run: $(cat out)"
	[ "$(cat out)" = 'dynamic, 67108864 bytes, 2 block(s) used' ] ||
		fail "says: $(cat out)"
	must qemu-img convert -f vpc -O raw disk.vhd disk.raw
	[ "$(dd if=disk.raw bs=512 skip=4095 count=256 status=none |
		tr -d '\245' | wc -c)" -eq 0 ] || fail "qemu-img reads other data"
	# The header is the interface: no more, no less.
	nm -D --defined-only "$lib/libvhd.so.0" | sed -n 's/.* T //p' |
		sed 's/@.*//' | grep -v '^_' | sort >exported
	${CC:-cc} -E -P "$OLDPWD/vhd/vhd.h" | grep -oE '\<vhd_[a-z0-9_]+ *\(' |
		tr -d ' (' | sort -u | grep -vx vhd_fail >declared
	cmp exported declared || fail "$(diff exported declared)"
	for page in vhd-convert vhd-inspect; do
		[ -s "$dir/root/opt/vhd/share/man/man1/$page.1" ] ||
			fail "no manual page $page"
		must "$dir/root/opt/vhd/bin/$page" --version
	done
}

# Every program that reads a chain takes a top that is larger than the rest
# when it is told to, and only then.
larger_child()
{
	"$dir/chain" 3 1049088 "$base_seed" 2097664 || fail "no chain"
	for program in 'vhd inspect' 'vhd map' 'vhd compare l2.vhd' \
			'vhd convert --to raw -f -q'; do
		out=
		[ "${program#vhd convert}" = "$program" ] || out=new
		# shellcheck disable=SC2086 # lists of words
		[ "$(status_of $program l2.vhd $out)" = 3 ] ||
			fail "$program takes it unasked"
		# shellcheck disable=SC2086
		must $program --larger-child l2.vhd $out
	done
	cmp new flat.raw || fail "differs"
}

# Hyper-V's checkpoints and Virtual PC's undo disks are what they are, not what
# they are called.
other_names()
{
	disk raw 5242880
	must vhd convert -q --from raw --to dynamic raw base.vhd
	must vhd snapshot -q base.vhd 'disk_1A2B.avhd'
	must vhd snapshot -q disk_1A2B.avhd VirtualPCUndo_disk_0_0_1.vud
	for file in disk_1A2B.avhd VirtualPCUndo_disk_0_0_1.vud; do
		[ "$(inspect_value $file format)" = differencing ] ||
			fail "$file is not what it is"
		must vhd check $file
		must vhd compare --format-b raw $file raw
		must vhd map $file
		must vhd convert -q --verify --to raw $file back
		cmp raw back || fail "$file: differs"
		rm back
	done
	must vhd merge -q --all --delete VirtualPCUndo_disk_0_0_1.vud
	must vhd compare --format-b raw base.vhd raw
	cp base.vhd checkpoint.avhd
	[ "$(inspect_value checkpoint.avhd format)" = dynamic ] ||
		fail "the name decides"
}

# A set of parts, as Virtual PC up to 2004 made them: read by every program as
# one file, and the lost part is named.
split_set()
{
	disk raw 9000448
	for type in fixed dynamic; do
		must vhd-convert --from raw --to $type raw one.vhd
		for n in 0 1 2 3 4 5; do
			dd if=one.vhd of=part$n bs=1700000 skip=$n count=1 \
				status=none
			[ $n = 0 ] && name=set.vhd || name=set.v0$n
			[ -s part$n ] && mv part$n $name || rm part$n
		done
		for program in vhd-inspect 'vhd map' 'vhd check' \
			'vhd compare one.vhd'; do
			# shellcheck disable=SC2086
			must $program set.vhd
		done
		must vhd-inspect --json set.vhd
		grep -q '"split"' "$dir/out" || fail "no note of it"
		must vhd-convert --to raw --verify set.vhd back
		cmp raw back || fail "$type: differs"
		refused_at 3 set.v01 vhd-convert --to raw set.v01 new
		grep -q 'open set.vhd' "$dir/err" || fail "$(cat "$dir/err")"
		before=$(state)
		for program in 'vhd repair --yes' 'vhd compact' \
			'vhd compact --rewrite --dry-run' \
			'vhd compact --rewrite' 'vhd resize +1M' \
			'vhd set --id new'; do
			# shellcheck disable=SC2086
			[ "$(status_of $program set.vhd)" = 3 ] ||
				fail "$program: $(cat "$dir/err")"
		done
		[ "$before" = "$(state)" ] || fail "a set was changed"
		rm set.v01
		refused_at 3 set.vhd vhd-convert --to raw set.vhd new
		grep -q 'part .v01 is missing' "$dir/err" ||
			fail "$(cat "$dir/err")"
		rm -f set.* back one.vhd
	done
}

# Where /proc is not mounted, what needs it says so and leaves nothing.
no_proc()
{
	unshare -rm mount -t tmpfs none /proc 2>/dev/null || return 0
	# The sanitizers cannot do without: not even for their options.
	[ -z "$san" ] || return 0
	truncate -s 1M raw
	before=$(ls -A)
	kernel=$(ls /boot/vmlinuz* 2>/dev/null | head -n 1)
	for words in 'vhd-convert --to fixed raw new' 'vhd create --size 1M new' \
		"hv run --accel tcg --kernel $kernel"; do
		[ "$words" != 'hv run --accel tcg --kernel ' ] || continue
		# shellcheck disable=SC2016,SC2086 # words for the inner shell
		[ "$(status_of unshare -rm sh -c \
			'mount -t tmpfs none /proc && "$@"' sh $words)" = 4 ] ||
			fail "$words: $(cat "$dir/err")"
		grep -q ': /proc is not mounted here' "$dir/err" ||
			fail "$words says: $(cat "$dir/err")"
		[ "$(ls -A)" = "$before" ] || fail "$words left something"
	done
}

# A file that may not grow is an error of hv's, not its end.
hv_limit()
{
	strace -o /dev/null true 2>/dev/null || return 0
	[ -z "$san" ] || export ASAN_OPTIONS=detect_leaks=0
	status_of strace -o "$dir/trace" -e trace=rt_sigaction \
		hv run --kernel none >/dev/null
	for signal in SIGPIPE SIGXFSZ; do
		grep -q "$signal, {sa_handler=SIG_IGN" "$dir/trace" ||
			fail "hv dies of $signal"
	done
	must hv run --help
	grep -q 'or rw (the default)' "$dir/out" || fail "no word of rw"
}

# --- all of them

cases()
{
	cat <<-EOL
	pairs-512 pairs 512
	pairs-1M+512 pairs 1049088
	pairs-3M pairs 3145728
	pairs-5M-512 pairs 5242368
	pairs-127M pairs 133169152
	pairs-2040M+512 pairs 2139095552
	libvhdi libvhdi
	options options
	sparse sparse
	probe probe
	terminal terminal
	damaged damaged
	no-image no_image
	locked locked
	existing existing
	usage usage
	full-disk full
	signals signals
	injected injected
	chains chains
	parents parents
	larger-child larger_child
	other-names other_names
	split-set split_set
	no-proc no_proc
	hv-limit hv_limit
	inspect inspection
	inspect-chs chs
	installed installed
	EOL
}

compile tools_json json -ljson-c
compile tools_hold hold
compile_chain
run_cases "$@"
