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
cd "$(dirname "$0")/.." || exit 1
build=$(cd "$1" && pwd) || exit 1
shift
PATH=$build/bin:$PATH:/usr/sbin:/sbin
export PATH
dir=$(mktemp -d "${TMPDIR:-/tmp}/doors.XXXXXX") || exit 1
trap 'end_servers; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
umask 022
tier=tools prefix=doors-
. tests/lib/case.sh
. tests/lib/wait.sh

case_begins()
{
	trap end_servers EXIT
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

# Their files are in the folder that is removed next.
end_servers()
{
	for pid in $servers; do
		kill "$pid" 2>/dev/null
		(sleep 5; kill -KILL "$pid") >/dev/null 2>&1 &
		guard=$!
		wait "$pid" 2>/dev/null
		kill "$guard" 2>/dev/null
	done
	servers=
}

# Start a server and wait until it listens.
server() # SOCKET COMMAND...
{
	sock=$1
	shift
	"$@" >"$dir/server" 2>&1 &
	servers="$servers $!"
	last=$!
	until_ok serves "$PWD/$sock" && ! over $last ||
		fail "no server: $*: $(cat "$dir/server")"
}

serves() # SOCKET
{
	listens "$1" || over $last
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

# Encrypted, with a key that both ends have in a file.
nbd_tls()
{
	disk raw $((5 * 1024 * 1024))
	(
		umask 077
		for keys in right wrong; do
			echo "alice:$(head -c 32 /dev/urandom |
				od -An -tx1 | tr -d ' \n')" >$keys.psk
		done
	)
	kit s --tls=require --tls-psk=right.psk memory 6M
	tls=nbds+unix://alice@/?socket=$PWD/s\&tls-psk-file=$PWD
	must vhd-convert --verify raw "$tls/right.psk"
	must vhd-convert --to raw "$tls/right.psk" out
	cmp -n $((5 * 1024 * 1024)) raw out
	refused_for 3 'cannot connect' vhd-convert raw "$tls/wrong.psk"
	refused_for 3 'requires TLS' vhd-convert raw "$(uri s)"
}

formats()
{
	disk raw $((20 * 1024 * 1024))
	for f in qcow2 vmdk vhdx vdi; do
		must qemu-img convert -f raw -O $f raw "x,y.$f"
		must vhd-convert --from $f --to dynamic --verify "x,y.$f" out.$f
		must qemu-img compare -f raw -F vpc raw out.$f
		refused_for 3 "from $f" vhd-convert --to raw "x,y.$f" no
	done
	must vhd-convert --from raw --to raw x,y.qcow2 same
	cmp x,y.qcow2 same
	no_qemu_left
	vhd-convert -q --from qcow2 --to raw x,y.qcow2 - | cmp - raw ||
		fail "to standard output"
	must qemu-img create -f qcow2 -b x,y.qcow2 -F qcow2 child.qcow2
	must vhd-convert --from qcow2 --to raw child.qcow2 flat
	cmp raw flat
	refused_for 3 'backing file' vhd-convert --from qcow2 --no-parent \
		--to raw child.qcow2 no
	must vhd-convert -f --from qcow2 --no-parent --to raw x,y.qcow2 flat
	refused_for 3 'qemu-nbd says' vhd-convert --from vmdk --to raw \
		x,y.qcow2 no
	refused_for 3 'qemu-nbd says' vhd-convert --from qcow2 --to raw none no
	mkdir bin
	for program in vhd-convert; do
		ln -s "$(command -v $program)" bin/
	done
	refused_for 3 'not installed' env "PATH=$PWD/bin" vhd-convert \
		--from qcow2 --to raw x,y.qcow2 no
	no_qemu_left
}

no_qemu_left()
{
	until_ok qemu_gone || fail "qemu-nbd was left"
}

qemu_gone()
{
	! qemu_there
}

# Others may run the same test: one that is here, or has a file of here open.
qemu_there()
{
	for process in $(pgrep -f "filename=x,,y"); do
		! readlink "/proc/$process/cwd" "/proc/$process"/fd/* |
			grep -q "^$PWD" || return 0
	done
	return 1
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
	refused_for 3 'cannot connect' vhd-convert --to raw "$(uri none)" out
	refused_for 3 'cannot connect' vhd-convert raw "$(uri none)"
	refused_for 3 'cannot connect' vhd-convert raw nbd://localhost:1/
	kit s memory 5242368
	refused_for 3 'at least as large' vhd-convert raw "$(uri s)"
	kit ro -r memory 6M
	refused_for 3 'only be read' vhd-convert raw "$(uri ro)"
	kit odd memory 1000
	refused_for 3 'multiple of 512' vhd-convert --to raw "$(uri odd)" out
	kit none0 memory 0
	refused_for 3 '0 bytes' vhd-convert --to raw "$(uri none0)" out
	kit name --filter=exportname memory 6M exportname=right \
		exportname-strict=true
	must vhd-convert raw "$(uri name right)"
	refused_for 3 'cannot connect' vhd-convert raw "$(uri name wrong)"
	refused_for 2 'see vhd-convert --help' vhd-convert --to fixed raw "$(uri s)"
	refused_for 3 'no VHD footer' vhd-convert --from fixed --to raw \
		"$(uri s)" out
}

nbd_errors()
{
	disk raw $((20 * 1024 * 1024))
	kit bad-read --filter=error file raw error-pread-rate=60%
	refused_for 4 'cannot read at disk offset' vhd-convert --to dynamic \
		"$(uri bad-read)" out
	kit bad-status --filter=error file raw error-extents-rate=100%
	refused_for 4 'cannot learn where there is data' vhd-convert --to raw \
		"$(uri bad-status)" out
	kit bad-write --filter=error memory 20M error-pwrite-rate=60% \
		error=ENOSPC
	refused_for 4 'cannot write at disk offset.*No space' vhd-convert raw \
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
	for way in read idle write; do
		if [ $way = read ]; then
			kit $way --filter=log --filter=delay file raw \
				logfile=log.$way rdelay=3
			vhd-convert --to dynamic "$(uri $way)" out \
				2>"$dir/err" &
		elif [ $way = idle ]; then
			# between two requests, not within one
			kit $way --filter=log file raw logfile=log.$way
			vhd-convert --rate 4M --to dynamic "$(uri $way)" out \
				2>"$dir/err" &
		else
			kit $way --filter=log --filter=delay memory 20M \
				logfile=log.$way wdelay=3
			vhd-convert raw "$(uri $way)" 2>"$dir/err" &
		fi
		pid=$!
		within grep -qsE ' (Read|Write) ' log.$way
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
		# shellcheck disable=SC2086 # lists of words
		vhd-convert --to raw $what 2>"$dir/err" &
		pid=$!
		within hears $pid 2
		sleep 0.5
		begin=$(date +%s)
		kill -INT $pid
		wait $pid
		got=$?
		[ $got -eq 130 ] || fail "$what: status $got: $(cat "$dir/err")"
		# of 30 s that the servers take for anything
		[ $(($(date +%s) - begin)) -lt 20 ] || fail "$what: too late"
		grep -q 'interrupted by SIGINT' "$dir/err" ||
			fail "$what: $(cat "$dir/err")"
		[ ! -e out ] || fail "a file was left"
	done
	no_qemu_left
	# nor does it outlive one that had no time for anything
	vhd-convert --to raw --from qcow2 --rate 1M x,y.qcow2 out \
		2>"$dir/err" &
	pid=$!
	until_ok qemu_there || fail "no qemu-nbd"
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
	refused_for 2 'not one of' vhd-convert --digest sha256,none --to raw raw out
	refused_for 2 'not one of' vhd-convert --digest sha256, --to raw raw out
	refused_for 2 'more than 8' vhd-convert --to raw --digest \
		md5,md5,md5,md5,md5,md5,md5,md5,md5 raw out
}

# A long end of zeros is no reason not to hear a signal.
digest_interrupted()
{
	truncate -s 2T raw
	vhd-convert --digest sha256,md5 --from raw --to raw raw out \
		2>"$dir/err" &
	pid=$!
	within hears $pid 15
	sleep 0.5
	kill -TERM $pid
	wait $pid
	got=$?
	[ $got -eq 143 ] || fail "status $got: $(cat "$dir/err")"
	grep -q 'interrupted by SIGTERM' "$dir/err" || fail "$(cat "$dir/err")"
	[ ! -e out ] || fail "a file was left"
}

# --- all of them

. tests/convert_streams.sh

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
	nbd-tls nbd_tls
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

run_cases "$@"
