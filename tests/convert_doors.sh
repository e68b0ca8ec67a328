#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# vhd-convert through its other doors: NBD servers (nbdkit, qemu-nbd), formats
# of other programs, gzip, standard input and output, digests; right ones, and
# such as fail or lie.
#
# usage: convert_doors.sh BUILD [CASE]...     (default: all cases)
#
# One line a case; appends "tools doors-CASE pass|fail SECONDS" to
# BUILD/results. Servers listen on sockets in the case's own folder only and
# are ended by their ids.
set -u
build=$(cd "$1" && pwd) || exit 1
shift
PATH=$build/bin:$PATH:/usr/sbin:/sbin
export PATH
dir=$(mktemp -d "${TMPDIR:-/tmp}/doors.XXXXXX") || exit 1
trap 'end_servers; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
umask 022

# --- what cases say and ask

fail()
{
	echo "$*" >&2
	exit 1
}

status_of() # COMMAND...
{
	"$@" >"$dir/out" 2>"$dir/err"
	echo $?
}

must() # COMMAND...
{
	"$@" >"$dir/out" 2>"$dir/err" ||
		fail "status $? from: $*; $(cat "$dir/err")"
}

# One status, one line on stderr that has WORDS, and no file more or less.
refused() # STATUS WORDS COMMAND...
{
	want=$1
	words=$2
	shift 2
	before=$(state)
	got=$(status_of "$@")
	[ "$got" = "$want" ] ||
		fail "status $got, not $want: $*; $(cat "$dir/err")"
	[ "$(wc -l <"$dir/err")" -eq 1 ] ||
		fail "not one line: $*; $(cat "$dir/err")"
	grep -q -- "$words" "$dir/err" ||
		fail "no '$words' in: $(cat "$dir/err")"
	[ "$before" = "$(state)" ] || fail "changed something: $*"
}

state()
{
	find . -mindepth 1 -type f -printf '%p %s %T@\n' | sort
}

# A raw disk of data, holes, and zeros that are no holes.
disk() # FILE BYTES
{
	rm -f "$1"
	truncate -s "$2" "$1"
	n=$(($2 / 512))
	for at in 0 $((n / 7)) $((n / 3)) $((n / 2)); do
		head -c 300000 /dev/urandom |
			dd of="$1" bs=512 seek=$at conv=notrunc status=none
	done
	dd if=/dev/zero of="$1" bs=512 seek=$((n / 5)) count=3000 \
		conv=notrunc status=none
	printf end | dd of="$1" bs=1 seek=$(($2 - 3)) conv=notrunc status=none
	truncate -s "$2" "$1"
}

# --- servers

servers=

end_servers()
{
	for pid in $servers; do
		kill "$pid" 2>/dev/null
	done
	servers=
}

# Start a server and wait for its socket.
server() # SOCKET COMMAND...
{
	sock=$1
	shift
	"$@" >"$dir/server" 2>&1 &
	servers="$servers $!"
	last=$!
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ ! -S "$sock" ] || return 0
		sleep 0.1
	done
	fail "no server: $*: $(cat "$dir/server")"
}

kit() # SOCKET NBDKIT-ARGUMENT...
{
	sock=$1
	shift
	server "$sock" nbdkit -f -U "$sock" "$@"
}

# qemu-nbd with a file to write to or read.
qemu() # SOCKET FORMAT FILE [OPTION]...
{
	sock=$1
	format=$2
	file=$3
	shift 3
	server "$sock" qemu-nbd -t -k "$PWD/$sock" -f "$format" "$@" "$file"
}

uri() # SOCKET [EXPORT]
{
	echo "nbd+unix:///${2-}?socket=$PWD/$1"
}

# The start of an export is this file; it may be longer.
export_is() # SOCKET FILE
{
	nbdcopy "$(uri "$1")" got.raw || fail "nbdcopy"
	truncate -s "$(stat -c %s "$2")" got.raw
	cmp got.raw "$2" || fail "the export holds something else"
	rm got.raw
}

# --- cases: NBD

nbd_source()
{
	disk raw $((60 * 1024 * 1024 + 512))
	kit s file raw
	for to in raw fixed dynamic; do
		must vhd-convert -v --to $to --verify "$(uri s)" out.$to
	done
	# holes were not read, zeros were
	grep -q ' 2.6 MiB read, 1.2 MiB written' "$dir/err" ||
		fail "read too much: $(cat "$dir/err")"
	cmp raw out.raw
	must qemu-img compare -f raw -F vpc raw out.fixed
	must qemu-img compare -f raw -F vpc raw out.dynamic
	must vhd-convert --from raw --to dynamic raw direct
	must vhd compare direct out.dynamic
}

# Servers that say less, are slow, or want requests of their own size.
nbd_source_with() # FILTER,... PARAMETER...
{
	disk raw $((20 * 1024 * 1024))
	filters=$1
	shift
	# shellcheck disable=SC2046 # a list of words
	kit s $(printf -- '--filter=%s ' $(echo "$filters" | tr , ' ')) \
		file raw "$@"
	must vhd-convert --to dynamic --verify "$(uri s)" out
	must qemu-img compare -f raw -F vpc raw out
}

nbd_source_blocks()
{
	disk raw $((20 * 1024 * 1024))
	kit s --filter=blocksize-policy file raw blocksize-minimum=64K \
		blocksize-preferred=64K blocksize-maximum=128K \
		blocksize-error-policy=error
	must vhd-convert --to dynamic --verify "$(uri s)" out
	must qemu-img compare -f raw -F vpc raw out
}

nbd_sink()
{
	disk raw $((30 * 1024 * 1024 + 512))
	kit s memory 40M
	must vhd-convert --verify raw "$(uri s)"
	export_is s raw
	# over what was there before
	disk raw2 $((30 * 1024 * 1024 + 512))
	must vhd-convert --to fixed raw2 fixed
	must vhd-convert --verify fixed "$(uri s)"
	export_is s raw2
}

nbd_sink_with() # FILTER,... PARAMETER...
{
	disk raw $((20 * 1024 * 1024 + 512))
	filters=$1
	shift
	# shellcheck disable=SC2046 # a list of words
	kit s $(printf -- '--filter=%s ' $(echo "$filters" | tr , ' ')) \
		memory 21M "$@"
	# not blank: zeros must be written
	head -c 21M /dev/urandom >old
	must nbdcopy old "$(uri s)"
	must vhd-convert --verify raw "$(uri s)"
	export_is s raw
}

nbd_sink_blocks()
{
	disk raw $((20 * 1024 * 1024 + 512))
	head -c 21M /dev/urandom >store
	kit s --filter=blocksize-policy file store blocksize-minimum=32K \
		blocksize-preferred=32K blocksize-maximum=64K \
		blocksize-error-policy=error
	must vhd-convert --verify raw "$(uri s)"
	cmp -n "$(stat -c %s raw)" raw store
}

# What is behind the disk's end stays.
nbd_sink_longer()
{
	disk raw $((5 * 1024 * 1024))
	head -c 8M /dev/urandom >store
	tail -c 3M store >tail
	kit s file store
	must vhd-convert raw "$(uri s)"
	tail -c 3M store | cmp - tail
	cmp -n $((5 * 1024 * 1024)) raw store
}

# The end of a conversion is a flush.
nbd_flushed()
{
	disk raw 3000320
	cat >plugin.sh <<-END
	case \$1 in
	get_size) echo 4M ;;
	can_write | can_flush | can_multi_conn) exit 0 ;;
	can_zero) exit 3 ;;
	pwrite) dd of=$PWD/store oflag=seek_bytes seek=\$4 conv=notrunc \
		status=none; echo w >>$PWD/log ;;
	pread) dd if=$PWD/store iflag=skip_bytes,count_bytes skip=\$4 \
		count=\$3 status=none ;;
	flush) echo f >>$PWD/log ;;
	*) exit 2 ;;
	esac
	END
	chmod +x plugin.sh
	truncate -s 4M store
	kit s sh ./plugin.sh
	must vhd-convert raw "$(uri s)"
	[ "$(tail -n 1 log)" = f ] || fail "no flush at the end"
	[ "$(grep -c f log)" = 1 ] || fail "more than one flush"
	cmp -n 3000320 raw store
	: >log
	must vhd-convert --no-sync raw "$(uri s)"
	! grep -q f log || fail "flushed in spite of --no-sync"
}

formats()
{
	disk raw $((20 * 1024 * 1024))
	for f in qcow2 vmdk vhdx vdi; do
		must qemu-img convert -f raw -O $f raw "x,y.$f"
		must vhd-convert --from $f --to dynamic --verify "x,y.$f" out.$f
		must qemu-img compare -f raw -F vpc raw out.$f
		refused 3 "from $f" vhd-convert --to raw "x,y.$f" no
	done
	must vhd-convert --from raw --to raw x,y.qcow2 same
	cmp x,y.qcow2 same
	no_qemu_left
	must qemu-img create -f qcow2 -b x,y.qcow2 -F qcow2 child.qcow2
	must vhd-convert --from qcow2 --to raw child.qcow2 flat
	cmp raw flat
	refused 3 'backing file' vhd-convert --from qcow2 --no-parent \
		--to raw child.qcow2 no
	must vhd-convert -f --from qcow2 --no-parent --to raw x,y.qcow2 flat
	refused 3 'qemu-nbd says' vhd-convert --from vmdk --to raw \
		x,y.qcow2 no
	refused 3 'qemu-nbd says' vhd-convert --from qcow2 --to raw none no
	mkdir bin
	for program in vhd-convert; do
		ln -s "$(command -v $program)" bin/
	done
	refused 3 'not installed' env "PATH=$PWD/bin" vhd-convert \
		--from qcow2 --to raw x,y.qcow2 no
	no_qemu_left
}

no_qemu_left()
{
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		pgrep -f "filename=x,,y" >/dev/null || return 0
		sleep 0.1
	done
	fail "qemu-nbd was left"
}

format_sinks()
{
	disk raw $((20 * 1024 * 1024))
	for f in qcow2 vmdk vhdx; do
		must qemu-img create -f $f x.$f 24M
		qemu s.$f $f x.$f
		must vhd-convert --verify raw "$(uri s.$f)"
		kill $last
		wait $last
		must qemu-img convert -f $f -O raw x.$f back
		cmp -n $((20 * 1024 * 1024)) raw back
	done
}

# --- cases: servers that fail

nbd_refused()
{
	disk raw 5242880
	refused 3 'cannot connect' vhd-convert --to raw "$(uri none)" out
	refused 3 'cannot connect' vhd-convert raw "$(uri none)"
	kit s memory 5242368
	refused 3 'at least as large' vhd-convert raw "$(uri s)"
	kit ro -r memory 6M
	refused 3 'only be read' vhd-convert raw "$(uri ro)"
	kit odd memory 1000
	refused 3 'multiple of 512' vhd-convert --to raw "$(uri odd)" out
	kit none0 memory 0
	refused 3 '0 bytes' vhd-convert --to raw "$(uri none0)" out
	kit name --filter=exportname memory 6M exportname=right \
		exportname-strict=true
	must vhd-convert raw "$(uri name right)"
	refused 3 'cannot connect' vhd-convert raw "$(uri name wrong)"
	refused 2 'see vhd-convert --help' vhd-convert --to fixed raw "$(uri s)"
	refused 2 'see vhd-convert --help' vhd-convert --from fixed --to raw \
		"$(uri s)" out
}

nbd_errors()
{
	disk raw $((20 * 1024 * 1024))
	kit bad-read --filter=error file raw error-pread-rate=60%
	refused 4 'cannot read at disk offset' vhd-convert --to dynamic \
		"$(uri bad-read)" out
	kit bad-status --filter=error file raw error-extents-rate=100%
	refused 4 'cannot learn where there is data' vhd-convert --to raw \
		"$(uri bad-status)" out
	kit bad-write --filter=error memory 20M error-pwrite-rate=60% \
		error=ENOSPC
	refused 4 'cannot write at disk offset.*No space' vhd-convert raw \
		"$(uri bad-write)"
	head -c 20M /dev/urandom >store
	kit bad-zero --filter=error file store error-zero-rate=100%
	got=$(status_of vhd-convert raw "$(uri bad-zero)")
	[ "$got" = 4 ] || fail "status $got"
	grep -q 'cannot zero at disk offset' "$dir/err" ||
		fail "$(cat "$dir/err")"
}

# A server that is killed in the middle.
nbd_killed()
{
	disk raw $((20 * 1024 * 1024))
	for way in read write; do
		if [ $way = read ]; then
			kit $way --filter=delay file raw rdelay=3
			vhd-convert --to dynamic "$(uri $way)" out \
				2>"$dir/err" &
		else
			kit $way --filter=delay memory 20M wdelay=3
			vhd-convert raw "$(uri $way)" 2>"$dir/err" &
		fi
		pid=$!
		sleep 0.4
		kill -9 $last
		wait $pid
		got=$?
		[ $got -eq 4 ] || fail "$way: status $got: $(cat "$dir/err")"
		grep -q 'the server is gone' "$dir/err" ||
			fail "$way: $(cat "$dir/err")"
		[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "$(cat "$dir/err")"
		[ ! -e out ] || fail "a file was left"
	done
}

# SIGINT while a server is slow, or does not answer at all.
nbd_interrupted()
{
	disk raw $((20 * 1024 * 1024))
	must qemu-img convert -f raw -O qcow2 raw x,y.qcow2
	kit slow --filter=delay file raw rdelay=30
	kit mute --filter=delay file raw delay-open=30
	kit status --filter=delay file raw delay-extents=30
	kit sink --filter=delay memory 20M wdelay=30
	for what in "$(uri slow) out" "$(uri mute) out" "$(uri status) out" \
			"raw $(uri sink)" "--from qcow2 --rate 1M x,y.qcow2 out"
	do
		begin=$(date +%s)
		# shellcheck disable=SC2086 # lists of words
		vhd-convert --to raw $what 2>"$dir/err" &
		pid=$!
		sleep 0.5
		kill -INT $pid
		wait $pid
		got=$?
		[ $got -eq 130 ] || fail "$what: status $got: $(cat "$dir/err")"
		[ $(($(date +%s) - begin)) -lt 10 ] || fail "$what: too late"
		grep -q 'interrupted by SIGINT' "$dir/err" ||
			fail "$what: $(cat "$dir/err")"
		[ ! -e out ] || fail "a file was left"
	done
	no_qemu_left
	# nor does it outlive one that had no time for anything
	vhd-convert --to raw --from qcow2 --rate 1M x,y.qcow2 out \
		2>"$dir/err" &
	pid=$!
	sleep 0.5
	pgrep -f "filename=x,,y" >/dev/null || fail "no qemu-nbd"
	kill -9 $pid
	wait $pid
	no_qemu_left
	[ -z "$(ls -A | grep -vxE 'raw|x,y.qcow2|slow|mute|status|sink')" ] ||
		fail "left: $(ls -A)"
}

# --- cases: digests

hex_of() # PROGRAM FILE
{
	"$1" "$2" | cut -d' ' -f1
}

digests()
{
	disk raw $((40 * 1024 * 1024 + 512))
	must qemu-img convert -f raw -O qcow2 raw x.qcow2
	kit s memory 41M
	for way in "--from raw --to raw raw out" \
			"--from raw --to dynamic raw out" \
			"--from qcow2 --to fixed x.qcow2 out" \
			"--from raw raw $(uri s)" "--to raw $(uri s) out"
	do
		# shellcheck disable=SC2086 # a list of words
		must vhd-convert -f --digest sha256,md5,sha512,sha1,blake2b $way
		cp "$dir/out" said
		if [ "$way" = "--to raw $(uri s) out" ]; then
			cp raw whole
			truncate -s 41M whole
		fi
		of=raw
		[ ! -e whole ] || of=whole
		for name in sha256 md5 sha512 sha1; do
			grep -qx "$name  $(hex_of ${name}sum $of)" said ||
				fail "$name: $way: $(cat said)"
		done
		grep -qx "blake2b  $(hex_of b2sum $of)" said || fail b2
		[ "$(wc -l <said)" = 5 ] || fail "said more: $(cat said)"
	done
	must vhd-convert -f --json --digest sha256,crc32c --from raw \
		--to fixed raw out
	grep -q "\"sha256\": *\"$(hex_of sha256sum raw)\"" "$dir/out" ||
		fail "$(cat "$dir/out")"
	grep -q '"crc32c": *"[0-9a-f]\{8\}"' "$dir/out" || fail crc32c
	# of what DST holds, also where that is larger
	must vhd-convert -f --digest sha256 --from raw --for azure raw out
	head -c -512 out >grown
	grep -qx "sha256  $(hex_of sha256sum grown)" "$dir/out" || fail grown
	rm -f out
	refused 2 'not one of' vhd-convert --digest sha256,none --to raw raw out
	refused 2 'not one of' vhd-convert --digest sha256, --to raw raw out
	refused 2 'more than 8' vhd-convert --to raw --digest \
		md5,md5,md5,md5,md5,md5,md5,md5,md5 raw out
}

# A long end of zeros is no reason not to hear a signal.
digest_interrupted()
{
	truncate -s 2T raw
	vhd-convert --digest sha256,md5 --from raw --to raw raw out \
		2>"$dir/err" &
	pid=$!
	sleep 0.5
	kill -TERM $pid
	wait $pid
	got=$?
	[ $got -eq 143 ] || fail "status $got: $(cat "$dir/err")"
	grep -q 'interrupted by SIGTERM' "$dir/err" || fail "$(cat "$dir/err")"
	[ ! -e out ] || fail "a file was left"
}

# --- cases: streams

images() # disk raw, and the same as fixed and dynamic
{
	disk raw "$1"
	must vhd-convert -f --from raw --to fixed raw fixed
	must vhd-convert -f --from raw --to dynamic raw dynamic
}

# The same but for the id and the times in footers.
as_file() # MADE-BY-STREAM MADE-IN-PLACE
{
	[ "$(stat -c %s "$1")" = "$(stat -c %s "$2")" ] ||
		fail "$1 and $2: $(stat -c %s "$1" "$2")"
	n=$(cmp -l "$1" "$2" | wc -l)
	[ "$n" -le 56 ] || fail "$1 and $2 differ in $n bytes"
	must vhd check "$1"
}

to_stdout()
{
	for size in 512 5000192 $((40 * 1024 * 1024 + 512)); do
		images "$size"
		for to in raw fixed dynamic; do
			vhd-convert --from raw --to $to raw - 2>"$dir/err" |
				cat >out || fail "$(cat "$dir/err")"
			[ $to = raw ] || as_file out $to
			must vhd-convert -f --from $to --to raw out back
			cmp raw back
			vhd-convert -q --from dynamic --to $to dynamic - >out ||
				fail "to a file"
			must vhd-convert -f --from $to --to raw out back
			cmp raw back
		done
		vhd-convert -q --to dynamic --block-size 512K raw - | cat >out
		must qemu-img compare -f raw -F vpc raw out
	done
	got=$(status_of script -qec 'vhd-convert --to raw raw -' /dev/null)
	[ "$got" = 3 ] || fail "a terminal: status $got"
	grep -q 'standard output: is a terminal' "$dir/out" || fail terminal
	refused 2 '--verify' vhd-convert --verify --to raw raw -
	refused 2 '--sparse no' vhd-convert --sparse no --to raw raw -
}

from_stdin()
{
	for size in 512 5000192 $((40 * 1024 * 1024 + 512)); do
		images "$size"
		for from in raw fixed dynamic; do
			for to in raw fixed dynamic; do
				# shellcheck disable=SC2002 # a pipe is meant
				cat $from | must vhd-convert -f --to $to - out
				must vhd-convert -f --from $to --to raw out back
				cmp raw back
				must vhd-convert -f --from $from --verify \
					--to $to - out <$from
				# shellcheck disable=SC2002
				cat $from | must vhd-convert -f --from $from \
					--verify --to $to - out
				must vhd-convert -f --from $to --to raw out back
				cmp raw back
			done
		done
		# shellcheck disable=SC2002
		cat raw | must vhd-convert -f --from raw --size "$size" \
			--to dynamic - out
		as_file out dynamic
		# shellcheck disable=SC2002
		cat raw | vhd-convert --from raw --to dynamic - - \
			2>"$dir/err" | cat >out
		as_file out dynamic
	done
}

stdin_refused()
{
	disk raw 5000192
	for size in 4999680 5000704; do
		sh -c "cat raw | vhd-convert --from raw --size $size \
			--to dynamic - out" 2>"$dir/err"
		[ $? = 3 ] || fail "size $size: $(cat "$dir/err")"
	done
	refused 2 '512' vhd-convert --from raw --size 1000 --to raw - out
	refused 2 'has a size' vhd-convert --size 512 --to raw raw out
	refused 2 '--from raw' sh -c \
		'cat raw | vhd-convert --size 512 --to raw - out'
	refused 3 'sector' sh -c 'head -c 1000 raw | vhd-convert --to raw - out'
	refused 3 '.' sh -c ': | vhd-convert --to raw - out'
	refused 3 'footer' sh -c \
		'head -c 5120 raw | vhd-convert --from fixed --to raw - out'
	refused 3 'is not open' sh -c 'vhd-convert --to raw - out <&-'
	refused 3 'is not open' sh -c 'vhd-convert --to raw raw - >&-'
	got=$(status_of script -qec 'vhd-convert --to raw - out' /dev/null)
	[ "$got" = 3 ] || fail "a terminal: status $got"
}

gzip_out()
{
	for size in 512 5000192 $((60 * 1024 * 1024 + 512)); do
		images "$size"
		for to in raw fixed dynamic; do
			must vhd-convert -f --from raw --to $to --verify \
				--digest sha256 raw out.gz
			gzip -t out.gz || fail "gzip -t"
			zcat out.gz >out
			[ $to = raw ] || as_file out $to
			must vhd-convert -f --from $to --to raw out back
			cmp raw back
			grep -qx "sha256  $(hex_of sha256sum raw)" "$dir/out" ||
				[ ! -s "$dir/out" ] || fail "digest"
			vhd-convert -q --compress gzip:1 --from raw --to $to \
				raw - | zcat >out
			must vhd-convert -f --from $to --to raw out back
			cmp raw back
		done
	done
	must vhd-convert -f --compress none --from raw --to raw raw out.gz
	cmp raw out.gz
	must vhd-convert -f --compress gzip:9 --from raw --to raw raw named
	zcat <named | cmp - raw
	# one byte for a thousand is what deflate makes of zeros
	truncate -s 512M empty
	must vhd-convert --from raw --to fixed empty empty.gz
	[ "$(stat -c %s empty.gz)" -lt 600000 ] || fail "zeros are large"
	zcat empty.gz | cmp -n $((512 * 1024 * 1024)) - empty
	refused 2 'gzip:LEVEL\|gzip:1' vhd-convert --compress gzip:0 --to raw \
		raw no
	refused 2 'not gzip' vhd-convert --compress xz --to raw raw no
}

gzip_in()
{
	for size in 512 5000192 $((40 * 1024 * 1024 + 512)); do
		images "$size"
		for from in raw fixed dynamic; do
			gzip -1 -k -f $from
			for to in raw fixed dynamic; do
				must vhd-convert -f --to $to $from.gz out
				must vhd-convert -f --from $to --to raw out back
				cmp raw back
				must vhd-convert -f --from $from --decompress \
					gzip --to $to $from.gz out
				must vhd-convert -f --from $to --to raw out back
				cmp raw back
			done
			# by what it holds, not by its name
			mv $from.gz named
			must vhd-convert -f --verify --to raw named out
			cmp raw out
			must vhd-convert -f --to raw - out <named
			cmp raw out
			# shellcheck disable=SC2002
			cat named | must vhd-convert -f --to raw - out
			cmp raw out
		done
	done
	# members, one behind the other, and padding
	half=$((size / 1024 * 512))
	head -c $half raw | gzip >two
	tail -c +$((half + 1)) raw | gzip >>two
	head -c 3000 /dev/zero >>two
	must vhd-convert -f --to raw two out
	cmp raw out
	! grep -q ignored "$dir/err" || fail "told of padding"
	echo rubbish >>two
	must vhd-convert -f --to raw two out
	cmp raw out
	grep -q 'what follows the gzip data is ignored' "$dir/err" ||
		fail "said nothing: $(cat "$dir/err")"
	# a raw disk that begins so is not inflated where that is said
	truncate -s 1M two
	refused 3 '--decompress' vhd-convert --from raw --to raw two no
	must vhd-convert -f --from raw --decompress none --to raw two out
	cmp two out
	refused 3 'as gzip does' vhd-convert --decompress gzip --to raw raw no
}

gzip_damaged()
{
	disk raw $((20 * 1024 * 1024))
	gzip raw
	size=$(stat -c %s raw.gz)
	for to in raw fixed dynamic; do
		for at in 5 18 1000 $((size - 4)) $((size - 9)) $((size - 1)); do
			head -c $at raw.gz >cut.gz
			refused 3 'too early, at offset' vhd-convert --to $to \
				cut.gz no
		done
		for at in 12 5000 $((size / 2)) $((size - 6)); do
			cp raw.gz bad.gz
			printf '\252\125\252' |
				dd of=bad.gz bs=1 seek=$at conv=notrunc status=none
			refused 3 'damaged gzip data' vhd-convert --to $to \
				bad.gz no
		done
	done
}

# Nobody reads, somebody stops reading, somebody gets a signal.
pipes_broken()
{
	disk raw $((40 * 1024 * 1024))
	gzip -1 -k raw
	for what in 'raw' '--compress gzip raw' '--to dynamic raw'; do
		# shellcheck disable=SC2086 # a list of words
		{ vhd-convert --to raw $what - 2>"$dir/err"; echo $? >status; } |
			head -c 100 >/dev/null
		[ "$(cat status)" = 4 ] || fail "status $(cat status)"
		grep -q 'has closed the pipe' "$dir/err" || fail "no EPIPE"
		[ "$(wc -l <"$dir/err")" -eq 1 ] || fail "not one line"
	done
	rm status
	mkfifo pipe
	exec 5<>pipe # open, and never read
	for what in "--to raw raw -" "--to dynamic --from raw - out" \
			"--to raw --from raw - out" "--to raw - out" \
			"--compress gzip:9 --to raw raw -"; do
		before=$(state)
		# shellcheck disable=SC2086
		case $what in
		*'- out') vhd-convert $what <pipe 2>"$dir/err" & ;;
		*) vhd-convert $what >pipe 2>"$dir/err" & ;;
		esac
		pid=$!
		sleep 0.4
		kill -INT $pid
		wait $pid
		got=$?
		[ $got = 130 ] || fail "$what: status $got: $(cat "$dir/err")"
		grep -q 'interrupted by SIGINT' "$dir/err" ||
			fail "$what: $(cat "$dir/err")"
		[ "$before" = "$(state)" ] || fail "$what: left something"
	done
	[ -z "$(ls -A | grep -vxE 'raw|raw.gz|pipe')" ] || fail "left: $(ls -A)"
}

# Whatever fills the disk, no file stays.
streams_full()
{
	disk raw $((40 * 1024 * 1024))
	gzip -1 -k raw
	head -c 30000000 /dev/urandom | gzip -1 >noise.gz
	refused 4 '.' sh -c 'ulimit -f 2000; exec vhd-convert --to raw \
		noise.gz out'
	refused 4 '.' sh -c 'ulimit -f 2000; exec vhd-convert -q --to dynamic \
		noise.gz out'
	refused 4 'cannot write' sh -c 'ulimit -f 500; exec vhd-convert \
		--to raw noise.gz out.gz'
}

# A source that changes between the two readings of a dynamic stream.
survey_changed()
{
	truncate -s 20M store
	printf x | dd of=store conv=notrunc status=none
	# all of it is read once, in 40 parts, and then there is more
	cat >plugin.sh <<-END
	case \$1 in
	get_size) echo 20M ;;
	thread_model) echo serialize_all_requests ;;
	pread) dd if=$PWD/store iflag=skip_bytes,count_bytes skip=\$4 \
		count=\$3 status=none
		echo >>$PWD/log
		[ \$(wc -l <$PWD/log) != 40 ] || printf y |
			dd of=$PWD/store bs=1 seek=9000000 conv=notrunc \
			status=none ;;
	*) exit 2 ;;
	esac
	END
	chmod +x plugin.sh
	kit s sh ./plugin.sh
	{ vhd-convert --to dynamic "$(uri s)" - 2>"$dir/err"; echo $? >status; } |
		cat >out
	[ "$(cat status)" = 4 ] || fail "status $(cat status)"
	grep -q 'changed between its two readings, at disk offset 8998912' \
		"$dir/err" || fail "$(cat "$dir/err")"
}

stream_to_nbd()
{
	disk raw $((20 * 1024 * 1024))
	gzip -1 -k raw
	kit s memory 21M
	must vhd-convert raw.gz "$(uri s)"
	export_is s raw
	must vhd-convert --to raw "$(uri s)" - >whole.raw
	kit small memory 19M
	got=$(status_of vhd-convert raw.gz "$(uri small)")
	[ "$got" = 3 ] || fail "status $got: $(cat "$dir/err")"
	grep -q 'only 19922944 bytes' "$dir/err" || fail "$(cat "$dir/err")"
}

# --- all of them

cases()
{
	cat <<-EOF
	nbd-source nbd_source
	nbd-source-noextents nbd_source_with noextents
	nbd-source-slow nbd_source_with delay,multi-conn rdelay=2ms multi-conn-mode=disable
	nbd-source-blocks nbd_source_blocks
	nbd-sink nbd_sink
	nbd-sink-nozero nbd_sink_with nozero
	nbd-sink-plain nbd_sink_with nozero,noextents,multi-conn multi-conn-mode=disable
	nbd-sink-blocks nbd_sink_blocks
	nbd-sink-longer nbd_sink_longer
	nbd-flushed nbd_flushed
	nbd-refused nbd_refused
	nbd-errors nbd_errors
	nbd-killed nbd_killed
	nbd-interrupted nbd_interrupted
	formats formats
	format-sinks format_sinks
	digests digests
	digest-interrupted digest_interrupted
	to-stdout to_stdout
	from-stdin from_stdin
	stdin-refused stdin_refused
	gzip-out gzip_out
	gzip-in gzip_in
	gzip-damaged gzip_damaged
	pipes-broken pipes_broken
	streams-full streams_full
	survey-changed survey_changed
	stream-to-nbd stream_to_nbd
	EOF
}

run_case() # NAME WORD...
{
	name=$1
	shift
	start=$(date +%s)
	mkdir "$dir/case"
	if (
		trap end_servers EXIT
		cd "$dir/case" && "$@"
	) 2>"$dir/log" >&2; then
		verdict=pass
		echo "  ok    tools doors-$name"
	else
		verdict=fail
		echo "  FAIL  tools doors-$name: $(tail -n 12 "$dir/log")"
		bad=1
	fi
	echo "tools doors-$name $verdict $(($(date +%s) - start))" \
		>>"$build/results"
	rm -rf "$dir/case"
}

bad=0
wanted=" $* "
cases >"$dir/cases"
while read -r name words <&4; do
	case $wanted in
	'  ' | *" $name "*) ;;
	*) continue ;;
	esac
	# shellcheck disable=SC2086 # lists of words
	run_case "$name" $words
done 4<"$dir/cases"
exit $bad
