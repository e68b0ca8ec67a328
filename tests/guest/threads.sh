#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Runs of hv on a machine with KVM (see l1.sh) under strace: what its threads
# call. Part of tests/proof/sandbox_threads.sh, which judges the traces.
#
# usage: threads.sh BUILD DIR          DIR is writable
set -u
build=$1
dir=$2
work=$build/guest
bad=0
reboots=--no-reboot

# traced NAME STATUS WORDS STRACE-OPTIONS -- OPTION...: strace's options, then
# hv's; the trace goes to NAME.trace.
traced()
{
	name=$1 status=$2 words=$3
	shift 3
	options=
	while [ "$1" != -- ]; do
		options="$options $1"
		shift
	done
	shift
	# shellcheck disable=SC2086 # words
	timeout -k 5 600 strace -f -qq -e signal=none $options \
		-o "$dir/$name.trace" \
		"$build/bin/hv" run --accel kvm $reboots --kernel "$work/vmlinuz" \
		--initrd "$work/initrd" --memory 256M --append \
		"console=ttyS0 quiet mitigations=off panic=-1 $words" "$@" \
		>"$dir/$name.console" 2>"$dir/$name.err"
	got=$?
	[ $got -eq "$status" ] && echo "ok: $name" && return
	echo "FAILED: $name: status $got, wanted $status"
	head -n 5 "$dir/$name.err"
	tail -n 5 "$dir/$name.console"
	bad=1
}

pattern='test=pattern seed=7 operations=60'
disks() # FIRST SECOND
{
	echo "--disk $dir/$1.vhd --disk $dir/$2.vhd --disk $dir/ro.vhd,ro"
}

# shellcheck disable=SC2046 # options
{
	traced aio 0 "$pattern" -e inject=io_uring_setup:error=ENOSYS -- \
		$(disks dynamic fixed) </dev/null
	traced plain 0 "$pattern" -e inject=io_uring_setup:error=ENOSYS \
		-e inject=io_setup:error=ENOSYS -- \
		$(disks child fixed) </dev/null
	# one with bitmaps to be read, by now, and one that grows
	traced rings 0 "$pattern" -- $(disks child grows) </dev/null
}
reboots=
traced reboot 0 test=reboot -- --cpus 2 --disk "$dir/grows.vhd" </dev/null
reboots=--no-reboot
traced crash 10 test=crash -- </dev/null
traced timeout 13 test=sleep -- --timeout 60 --disk "$dir/ro.vhd,ro" </dev/null

# On a terminal: the help, a stop by the terminal's key, and the way out.
export dir
cat >"$dir/keys" <<'EOF'
#!/bin/sh
n=0
until grep -q ready "$dir/terminal.console" || [ $n -gt 600 ]; do
	sleep 0.5
	n=$((n + 1))
done
printf '\001h'
sleep 1
pid=$(pidof hv)
kill -TSTP $pid
sleep 2
kill -CONT $pid
sleep 1
printf 'end\r'
while kill -0 $pid 2>/dev/null; do
	sleep 0.5
done
EOF
sh "$dir/keys" | script -qec "timeout --foreground -k 5 600 strace -f -qq -e signal=none \
	-o $dir/terminal.trace $build/bin/hv run --accel kvm --no-reboot \
	--kernel $work/vmlinuz --initrd $work/initrd --memory 256M --append \
	'console=ttyS0 quiet mitigations=off panic=-1 test=echo'" /dev/null \
	>"$dir/terminal.console" 2>&1
got=$?
[ $got -eq 0 ] && echo 'ok: terminal' || {
	echo "FAILED: terminal: status $got"
	tail -n 5 "$dir/terminal.console"
	bad=1
}
exit $bad
