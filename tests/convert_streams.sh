# SPDX-License-Identifier: BSD-2-Clause
# Cases of tests/convert_doors.sh: pipes and gzip. Read by it, not run.
# shellcheck shell=sh disable=SC2154 # dir, last are the reader's

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
	refused_for 2 '--verify' vhd-convert --verify --to raw raw -
	refused_for 3 'batmap' vhd-convert --for xenserver raw out.vhd.gz
	vhd-convert -q --from raw --to fixed raw - |
		vhd convert -q --to dynamic - - |
		vhd convert -q --to raw - - | cmp - raw || fail "three in a row"
	refused_for 2 '--sparse no' vhd-convert --sparse no --to raw raw -
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
	refused_for 2 '512' vhd-convert --from raw --size 1000 --to raw - out
	refused_for 2 'has a size' vhd-convert --size 512 --to raw raw out
	refused_for 2 '--from raw' sh -c \
		'cat raw | vhd-convert --size 512 --to raw - out'
	refused_for 3 'sector' sh -c 'head -c 1000 raw | vhd-convert --to raw - out'
	refused_for 3 '.' sh -c ': | vhd-convert --to raw - out'
	refused_for 3 'footer' sh -c \
		'head -c 5120 raw | vhd-convert --from fixed --to raw - out'
	must vhd-convert --quiet --to dynamic raw d.vhd
	for size in 0 1000 4096; do
		for to in raw dynamic; do
			refused_for 3 '.' sh -c "head -c $size d.vhd |
				vhd-convert --from dynamic --to $to - out"
		done
	done
	rm d.vhd
	refused_for 3 'is not open' sh -c 'vhd-convert --to raw - out <&-'
	refused_for 3 'is not open' sh -c 'vhd-convert --to raw raw - >&-'
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
	refused_for 2 'gzip:LEVEL\|gzip:1' vhd-convert --compress gzip:0 --to raw \
		raw no
	refused_for 2 'not gzip' vhd-convert --compress xz --to raw raw no
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
	refused_for 3 '--decompress' vhd-convert --from raw --to raw two no
	must vhd-convert -f --from raw --decompress none --to raw two out
	cmp two out
	refused_for 3 'as gzip does' vhd-convert --decompress gzip --to raw raw no
}

gzip_damaged()
{
	disk raw $((20 * 1024 * 1024))
	gzip raw
	size=$(stat -c %s raw.gz)
	for to in raw fixed dynamic; do
		for at in 5 18 1000 $((size - 4)) $((size - 9)) $((size - 1)); do
			head -c $at raw.gz >cut.gz
			refused_for 3 'too early, at offset' vhd-convert --to $to \
				cut.gz no
		done
		for at in 12 5000 $((size / 2)) $((size - 6)); do
			cp raw.gz bad.gz
			printf '\252\125\252' |
				dd of=bad.gz bs=1 seek=$at conv=notrunc status=none
			refused_for 3 'damaged gzip data' vhd-convert --to $to \
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
		within hears $pid 2
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
	refused_for 4 '.' sh -c 'ulimit -f 2000; exec vhd-convert --to raw \
		noise.gz out'
	refused_for 4 '.' sh -c 'ulimit -f 2000; exec vhd-convert -q --to dynamic \
		noise.gz out'
	refused_for 4 'cannot write' sh -c 'ulimit -f 500; exec vhd-convert \
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
