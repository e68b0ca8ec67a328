#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Small guests under hv: disks byte for byte, how runs end, locks, signals.
#
# usage: run.sh BUILD [CASE]...       (default: all)
#
# Environment: SEED (of the disk pattern; 1); JOBS (cases at once). Each case
# appends "guest NAME pass|fail SECONDS" to BUILD/results and leaves its log
# in BUILD/logs/guest-NAME.log. Independent readers judge the images: qemu-img
# and cmp against the same writes done here on a plain file.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath -e -- "${1:?usage: run.sh BUILD [CASE]...}") || exit 1
shift
hv=$build/bin/hv
work=$build/guest
seed=${SEED:-${GUEST_SEED:-1}}
operations=400
small_operations=120
small_seed=${SEED:-7}
limit=240
all_cases='ends torture pattern matrix hostile scsi kill ic firmware loaders life full unread ide flush locks refusals'
# Minutes of a nested machine for what tests/nbd.sh shows without a guest.
[ "${PROOF_LONG-}" != 1 ] || all_cases="$all_cases nbd"
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/lib/proof.sh
. "$here/../lib/proof.sh"
# shellcheck source=tests/lib/wait.sh
. "$here/../lib/wait.sh"
# shellcheck source=tests/guest/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/guest/firmware-case.sh
. "$here/firmware-case.sh"
# shellcheck source=tests/guest/ic-case.sh
. "$here/ic-case.sh"
# shellcheck source=tests/guest/kill-case.sh
. "$here/kill-case.sh"
# shellcheck source=tests/guest/loaders-case.sh
. "$here/loaders-case.sh"
# shellcheck source=tests/guest/torture-case.sh
. "$here/torture-case.sh"
# shellcheck source=tests/guest/unread-case.sh
. "$here/unread-case.sh"

# ------------------------------------------------------------- assertions --
failures=0

# expect WHAT COMMAND...: the command must succeed.
expect()
{
	what=$1
	shift
	if "$@"; then
		echo "ok: $what"
	else
		echo "FAILED: $what ($*)"
		failures=$((failures + 1))
	fi
}

equal()
{
	[ "$1" = "$2" ] || { echo "got '$1', wanted '$2'"; return 1; }
}

# What the guest said: said FILE PATTERN
said()
{
	tr -d '\r' <"$1" | grep -qE "^(guest: )?$2"
}

# The value in the guest's line "guest: NAME VALUE".
value() # FILE NAME
{
	tr -d '\r' <"$1" | sed -n "s|^guest: $2 ||p" | tail -n 1
}

md5()
{
	md5sum <"$1" | cut -d' ' -f1
}

guest() # WORDS OPTION...
{
	words=$1
	shift
	timeout -k 5 $limit "$hv" run --no-reboot --kernel "$work/vmlinuz" \
		--initrd "$work/initrd" --memory 256M \
		--append "console=ttyS0 quiet panic=-1 $words" "$@" </dev/null
}

# ----------------------------------------------------------------- images --

# Images in $dir, of just that size, which is not one of a geometry.
images() # dynamic|fixed NAME:SIZE...
{
	subformat=$1
	shift
	for image; do
		qemu-img create -q -f vpc \
			-o subformat="$subformat",force_size=on \
			"$dir/${image%:*}.vhd" "${image#*:}"
	done
}

# One that the guest may only read, ro.vhd, full of lines; its sum is printed.
protected() # LINE
{
	images fixed ro:8M
	yes "$1" | dd of="$dir/ro.vhd" bs=1M count=8 iflag=fullblock \
		conv=notrunc status=none
	md5 "$dir/ro.vhd"
}

sound() # NAME...
{
	for image; do
		expect "$image: sound" "$build/bin/vhd-check" "$dir/$image.vhd"
	done
}

# By an independent reader, which leaves $dir/NAME.raw.
readable() # NAME...
{
	for image; do
		expect "$image: qemu-img reads it" qemu-img convert -f vpc \
			-O raw "$dir/$image.vhd" "$dir/$image.raw"
	done
}

# A disk of SIZE as the guest will have left it, as raw bytes.
expected() # FILE SIZE
{
	rm -f "$1"
	truncate -s "$2" "$1" && "$work/rd/bin/pattern" "$1" "$seed" \
		$operations
}

# Where the guest wrote the pattern and says that it then read bytes of that
# sum.
as_written() # NAME SIZE SUM
{
	expect "$1: the same writes here" expected "$dir/$1.expected" "$2"
	expect "$1: the guest reads what it wrote" equal "$3" \
		"$(md5 "$dir/$1.expected")"
	readable "$1"
	expect "$1: every byte" cmp "$dir/$1.raw" "$dir/$1.expected"
}

# The pattern is what goes on beside something else.
small_load()
{
	seed=$small_seed
	operations=$small_operations
	echo "seed $seed"
}

# ------------------------------------------------------------------ cases --

# refused STATUS PATTERN OPTION...: one line that says so, and that status.
refused()
{
	status=$1
	pattern=$2
	shift 2
	timeout 20 "$hv" run "$@" </dev/null >"$dir/out" 2>"$dir/err"
	got=$?
	sed 's/^/  /' "$dir/err"
	expect "$*: status" equal $got "$status"
	expect "$*: one line" equal "$(cat "$dir/out" "$dir/err" | wc -l)" 1
	expect "$*: the reason" grep -qE "$pattern" "$dir/err"
}

# What cannot work is said before anything starts, and changes nothing.
case_refusals()
{
	k=$work/vmlinuz
	qemu-img create -q -f vpc -o subformat=dynamic "$dir/good.vhd" 16M
	head -c 1000 "$dir/good.vhd" >"$dir/cut.vhd"
	truncate -s 1M "$dir/raw"
	head -c 1M "$k" >"$dir/cut-kernel"
	truncate -s 500M "$dir/huge"
	: >"$dir/empty"
	before=$(md5 "$dir/good.vhd")

	refused 2 'needs at least 32M' --kernel "$k" --memory 1
	refused 2 'needs --kernel' --memory 64M
	refused 2 'not an option' --kernel "$k" "$dir/good.vhd"
	refused 3 'No such file' --kernel "$dir/none"
	refused 3 'is a directory' --kernel "$dir"
	refused 3 'ELF' --kernel "$hv"
	refused 3 'not a bzImage' --kernel "$dir/raw"
	refused 3 'shorter than its header' --kernel "$dir/cut-kernel"
	refused 3 'does not fit' --kernel "$k" --memory 32M
	refused 3 'No such file' --kernel "$k" --initrd "$dir/none"
	refused 3 'is empty' --kernel "$k" --initrd "$dir/empty"
	refused 3 'does not fit' --kernel "$k" --initrd "$dir/huge"
	refused 3 'No such file' --kernel "$k" --disk "$dir/none.vhd"
	refused 3 'frob is not a word' --kernel "$k" --disk "$dir/good.vhd,frob"
	refused 3 'no boot sector' --disk "$dir/good.vhd"
	refused 3 'no boot record' --dvd "$dir/raw"
	refused 3 'no disk here boots' --dvd "$dir/raw" --disk "$dir/good.vhd" \
		--boot dvd
	refused 2 'no DVD drive' --disk "$dir/good.vhd" --boot dvd
	refused 3 'directory' --kernel "$k" --disk "$dir"
	refused 3 'cut.vhd' --kernel "$k" --disk "$dir/cut.vhd"
	refused 3 'FILE,raw' --kernel "$k" --disk "$dir/raw"
	refused 3 'good.vhd' --kernel "$k" --disk "$dir/good.vhd,fixed"
	refused 3 'open elsewhere' --kernel "$k" --disk "$dir/good.vhd" \
		--disk "$dir/good.vhd"
	refused 2 "the guest's" --kernel "$k" --disk "$dir/good.vhd" \
		--console "$dir/good.vhd"
	refused 3 'this machine has' --kernel "$k" --memory 1T
	refused 2 'twice' --kernel "$k" --pin 0,0 --cpus 2
	refused 3 'cannot' --kernel "$k" --console "$dir/none/log"
	grep -qwE 'svm|vmx' /proc/cpuinfo ||
		refused 4 'no vmx or svm' --kernel "$k" --accel kvm
	expect 'the image is as it was' equal "$(md5 "$dir/good.vhd")" "$before"
}

case_pattern()
{
	echo "seed $seed"
	images dynamic dynamic:192M
	images fixed fixed:48M
	ro=$(protected protected)
	log=$dir/console
	guest "test=pattern seed=$seed operations=$operations" \
		--disk "$dir/dynamic.vhd" --disk "$dir/fixed.vhd" \
		--disk "$dir/ro.vhd,ro" --console "$log"
	expect 'hv ends with 0' equal $? 0
	expect 'VMBus 5.3' said "$log" 'dmesg .*hv_vmbus: Vmbus version:5\.3'
	expect 'hv_storvsc' said "$log" 'dmesg .*registering driver hv_storvsc'
	expect 'sda' said "$log" 'disk sda 393216 ro 0 vendor Msft +model Virtual Disk'
	expect 'sdb' said "$log" 'disk sdb 98304 ro 0 vendor Msft +model Virtual Disk'
	expect 'sdc is read-only' said "$log" 'disk sdc 16384 ro 1 vendor Msft'
	expect 'ids differ' equal "$(grep -o 'wwid .*' "$log" | sort -u |
		wc -l)" 3
	expect 'no write to sdc' equal "$(value "$log" 'sdc was')" ''
	expect 'no failed write' equal "$(value "$log" 'pattern on')" ''
	expect 'space given back' said "$log" '/tmp/sda: [1-9][0-9]* ranges discarded'
	expect 'a fixed disk keeps it' said "$log" '/tmp/sdb: 0 ranges discarded'
	expect 'to the end' said "$log" 'done'
	as_written dynamic 192M "$(value "$log" 'md5 /tmp/sda')"
	as_written fixed 48M "$(value "$log" 'md5 /tmp/sdb')"
	head -c 8M "$dir/ro.vhd" >"$dir/ro.raw"
	expect 'ro: the guest reads it' equal \
		"$(value "$log" 'md5 /tmp/sdc')" "$(md5 "$dir/ro.raw")"
	expect 'ro: file untouched' equal "$(md5 "$dir/ro.vhd")" "$ro"
}

# On NBD servers that die now and then: a disk of the start, one that is added.
case_nbd()
{
	images dynamic export:192M work:24M
	mv "$dir/export.vhd" "$dir/export" && truncate -s 256M "$dir/export"
	truncate -s 64M "$dir/added"
	"$here/l1.sh" -t 450 -w "$dir" "$here/nbd.sh" "$build" "$dir" \
		"test=added seed=$seed operations=$operations local=49152 \
first=393216 added=131072"
	expect 'hv ctl does all of it' equal $? 0
	sed 's/^/  /' "$dir/ctl"
	expect 'hv ends with 0' equal "$(cat "$dir/status")" 0
	log=$dir/console
	expect 'no server: refused' equal "$(cat "$dir/absent.status")" 3
	expect '... in a line' equal "$(wc -l <"$dir/absent")" 1
	expect 'one process connects, then none' equal \
		"$(xargs echo <"$dir/connectors")" '1 0'
	expect 'the servers died' test "$(cat "$dir/kills")" -ge 4
	expect 'it is said' grep -q 'the server does not answer' "$dir/err"
	expect '... and that it is there again' grep -q \
		'the server is there again' "$dir/err"
	expect 'no error' test -z "$(tr -d '\r' <"$log" |
		grep -E 'failed|I/O error')"
	expect 'to the end' said "$log" 'done'
	for disk in first:192M added:64M local:24M; do
		name=${disk%:*}
		expect "$name: the same writes here" expected \
			"$dir/expected.$name" "${disk#*:}"
		expect "$name: the guest reads what it wrote" equal \
			"$(value "$log" "md5 /tmp/$name")" \
			"$(md5 "$dir/expected.$name")"
	done
	expect 'added: every byte' cmp "$dir/added" "$dir/expected.added"
	expect 'first: qemu-img reads it' qemu-img convert -f vpc -O raw \
		"$dir/export" "$dir/raw"
	expect 'first: every byte' cmp "$dir/raw" "$dir/expected.first"
}

# sg3_utils, behind the small guest's own files.
scsi_initrd() # FILE
{
	mkdir -p "$dir/rd/sg"
	for tool in inq vpd opcodes modes luns readcap logs requests turs \
		senddiag seek unmap write_same compare_and_write verify sync \
		get_lba_status wr_mode persist get_config start; do
		cp "$(command -v sg_$tool)" "$dir/rd/sg/" || return 1
	done
	more_initrd "$1" "$work" "$dir/rd" sr_mod isofs
}

# status NAME WANTED: how a tool of the guest ended.
status()
{
	equal "$(value "$log" "$1 status")" "$2"
}

# printed NAME PATTERN: in what it printed.
printed()
{
	tr -d '\r' <"$log" | grep -E "^guest: $1\| " | grep -qE "$2"
}

# What the tools find wrong with answers, but where the answer is to be one.
complaints()
{
	tr -d '\r' <"$log" | grep -E '^guest: [a-z0-9-]+\| ' |
		grep -vE '^guest: (compare-again|pr-aptpl-a|pr-wrong|sense|disc-out)\|' |
		grep -iE 'malformed|invalid|too short|unexpect|truncat|corrupt|bad |error:|fail(ed|ure):|mismatch'
}

# An independent initiator's tools against every command that has one: no
# answer is malformed, and each says what the disk is. A disc is mounted.
# Reservations are there after a restart.
case_scsi()
{
	mkdir "$dir/iso"
	images dynamic a:64M b:64M
	head -c 3000000 "$hv" >"$dir/iso/file.bin"
	genisoimage -quiet -R -o "$dir/disc.iso" "$dir/iso"
	expect 'an initramfs' scsi_initrd "$dir/initrd"
	"$here/l1.sh" -t 300 -m 1024 -w "$dir" "$here/scsi.sh" "$build" "$dir"
	expect 'both runs' equal $? 0
	log=$dir/first.console
	for name in inq-a inq-b inq-dvd vpd-a vpd-b vpd-dvd opcodes-a \
		opcodes-b opcodes-dvd opcodes-times modes-a modes-b modes-dvd \
		modes-6 modes-changeable luns readcap-a readcap-b logs \
		requests requests-desc turs senddiag unmap same same-ndob \
		same-10 compare verify sync status-a status-b wr-mode \
		pr-able-a pr-able-b pr-register pr-reserve pr-keys pr-held \
		pr-full config disc-size mount eject load mount-again; do
		expect "$name" status "$name" 0
	done
	expect 'nothing malformed' equal "$(complaints)" ''
	expect 'a disk of Microsoft' printed inq-a 'Msft *$|Msft'
	expect 'a drive' printed inq-dvd 'Virtual DVD-ROM'
	expect '512 bytes' printed readcap-a 'block length=512 bytes'
	expect '4096 bytes' printed readcap-b 'block length=4096 bytes'
	expect 'thin' printed readcap-a 'lbpme=1'
	expect 'its limits' printed vpd-a 'Maximum compare and write length: 8'
	expect 'in larger blocks' printed vpd-b \
		'Maximum compare and write length: 1'
	for name in 'Compare and write' 'Persistent reserve out, reg' \
		'Write same\(16\)' 'Get LBA status' 'Log sense' 'Unmap'; do
		expect "commands: $name" printed opcodes-a "$name"
	done
	expect 'commands of a drive' printed opcodes-dvd 'Read TOC'
	expect 'a page of control' printed modes-a 'Control'
	expect 'of capabilities' printed modes-dvd 'capabilities'
	expect 'no log beyond exceptions' printed logs 'Informational'
	expect 'it differs now' status compare-again 14
	expect 'sense in descriptors' printed sense 'Descriptor format'
	expect 'a hole in the map' printed status-a 'deallocated|1: '
	expect 'nothing is kept on a' status pr-aptpl-a 5
	expect 'kept on b' printed pr-able-b 'Persist Through Power Loss Capable ?\(PTPL_C\): 1'
	expect 'the type' printed pr-held \
		'Write Exclusive, registrants only'
	expect 'a wrong key conflicts' status pr-wrong 24
	expect 'a profile' printed config 'DVD-ROM'
	expect 'no disc in an open drive' status disc-out 2
	expect 'the disc' equal "$(value "$log" 'disc md5')" \
		"$(md5 "$dir/iso/file.bin")"
	expect 'the disc again' equal "$(value "$log" 'again md5')" \
		"$(md5 "$dir/iso/file.bin")"
	expect 'to the end' said "$log" 'done'
	truncate -s 64M "$dir/a.expected"
	scsi_writes "$dir/a.expected"
	expect 'the guest reads its disk' equal \
		"$(value "$log" 'md5 /tmp/sda')" "$(md5 "$dir/a.expected")"
	log=$dir/second.console
	expect 'held after a restart' printed pr-held 'Key=0xabc|Key = 0xabc'
	expect 'cleared' status pr-clear 0
	expect 'no key left' printed pr-keys 'NO registered reservation keys'
}

# What test_scsi_data leaves on a disk of zeros.
scsi_writes() # FILE
{
	fill "$1" a 0 1024
	fill "$1" '\0' 8 8
	fill "$1" b 64 16
	fill "$1" '\0' 128 16
	fill "$1" b 200 8
	fill "$1" c 300 1
}

fill() # FILE CHARACTER SECTOR COUNT
{
	head -c $(($4 * 512)) /dev/zero | tr '\0' "$2" |
		dd of="$1" bs=512 seek="$3" conv=notrunc status=none
}

not()
{
	! "$@"
}

# Many short runs: in one machine with KVM.
case_ends()
{
	images dynamic disk:64M second:64M killed:64M
	expect 'shadow.c is built' "${CC:-gcc}" -O2 -D_GNU_SOURCE \
		-o "$dir/shadow" "$here/shadow.c"
	"$here/l1.sh" -t 900 -m 6144 -w "$dir" "$here/ends.sh" "$build" "$dir"
	expect 'all runs' equal $? 0
	# What was flushed before the kill must be there, whatever came of the
	# up to 64 writes behind it.
	durable=$(cat "$dir/durable")
	echo "operations 0 to $durable were durable"
	readable killed reopened
	for name in killed reopened; do
		expect "$name: all that was flushed" "$work/rd/bin/pattern" \
			--survived "$dir/$name.raw" 7 "$durable" \
			$((durable + 65))
	done
}

# Wait for a line on a console, as long as PID runs.
await() # PID FILE PATTERN
{
	n=0
	until said "$2" "$3" 2>/dev/null || [ $n -gt 1800 ]; do
		kill -0 "$1" 2>/dev/null || break
		sleep 0.1
		n=$((n + 1))
	done
	said "$2" "$3"
}

gone() # PID
{
	[ -z "$1" ] || ! kill -0 "$1" 2>/dev/null
}

# A few of the guests of `make check-guests`.
case_matrix()
{
	"$here/matrix.sh" "$build" quick
	expect 'each boots, writes, and leaves a clean disk' equal $? 0
}

# The emulated machine cannot measure it on a busy host. Linux shows a host's
# as bogomips.
told_its_tsc() # PID of QEMU
{
	want=$(awk '/^bogomips/ { print $3 * 500; exit }' /proc/cpuinfo)
	tr '\0 ' '\n\n' <"/proc/$1/cmdline" | awk -F= -v want="$want" '
		$1 == "tsc_early_khz" { told = $2 }
		END { exit !(told > want * 0.99 && told < want * 1.01) }'
}

# While a guest runs, its images belong to it: on this host, whatever runs it.
case_locks()
{
	qemu-img create -q -f vpc -o subformat=dynamic "$dir/disk.vhd" 16M
	"$hv" run --kernel "$work/vmlinuz" --initrd "$work/initrd" \
		--append 'console=ttyS0 quiet test=sleep' --timeout 200 \
		--disk "$dir/disk.vhd" --console "$dir/console" \
		</dev/null 2>"$dir/err" &
	pid=$!
	expect 'the guest runs' await $pid "$dir/console" asleep
	qemu=$(pgrep -P $pid qemu-system)
	[ -z "$qemu" ] ||
		expect 'the machine knows its TSC' told_its_tsc "$qemu"
	"$hv" run --kernel "$work/vmlinuz" --disk "$dir/disk.vhd" \
		2>"$dir/second"
	expect 'a second writer is refused' equal $? 3
	expect 'in one line' equal "$(wc -l <"$dir/second")" 1
	expect 'that says why' grep -q 'open elsewhere' "$dir/second"
	kill -TERM $pid
	wait $pid
	expect 'SIGTERM stops it' equal $? 14
	expect 'nothing of it is left' until_ok gone "$qemu"
	expect 'the lock is free' "$build/bin/vhd-inspect" "$dir/disk.vhd"
	expect 'qemu-img reads the image' qemu-img info -f vpc "$dir/disk.vhd"
	cat "$dir/err"
}

# A flush in the guest is a flush of the host's file.
case_flush()
{
	images dynamic disk:64M
	# A limit of seconds for strace and all below it.
	timeout -k 5 $limit strace -f --seccomp-bpf -qq -o "$dir/trace" \
		-e trace=fsync,fdatasync -e signal=none -y \
		"$hv" run --no-reboot --kernel "$work/vmlinuz" \
		--initrd "$work/initrd" \
		--memory 256M --disk "$dir/disk.vhd" --console "$dir/console" \
		--timeout 240 --append \
		"console=ttyS0 quiet panic=-1 test=flush" </dev/null
	expect 'ends with 0' equal $? 0
	flushes=$(grep -c "disk.vhd.*= 0" "$dir/trace")
	echo "flushes of the host's file: $flushes"
	expect 'every flush of the guest arrived' [ "$flushes" -ge 10 ]
}

# hv ctl: a disk is added to a guest that is at work, grows, is written to its
# new end, and is taken away.
case_life()
{
	small_load
	images dynamic work:64M extra:8M base:4M
	"$build/bin/vhd-create" -q --parent "$dir/base.vhd" "$dir/child.vhd"
	"$here/l1.sh" -t 300 -m 1024 -w "$dir" "$here/life.sh" "$build" \
		"$dir" "$seed" $operations
	expect 'all commands' equal $? 0
	cat "$dir/ctl"
	log=$dir/console
	expect 'ends with 0' equal "$(cat "$dir/status")" 0
	expect 'a child whose parent was moved is added' \
		grep -q '^disk 0:5, 4 MiB' "$dir/ctl"
	expect 'the guest finds it' said "$log" 'sdb has 16384'
	expect 'it sees it grow' said "$log" 'sdb has 32768'
	expect 'it sees it go' said "$log" 'sdb is gone'
	expect 'no failed write' equal "$(value "$log" 'no write to')" ''
	expect 'nor on the other' equal "$(value "$log" 'pattern on')" ''
	expect 'the socket is gone' equal "$(cat "$dir/left")" ''
	as_written work 64M "$(value "$log" 'md5 /dev/sda')"
	sound work extra
	readable extra
	truncate -s 16M "$dir/extra.expected"
	yes before | head -c 65536 |
		dd of="$dir/extra.expected" conv=notrunc status=none
	yes after | head -c 65536 | dd of="$dir/extra.expected" bs=64k \
		seek=255 conv=notrunc status=none
	expect 'every byte of the added one' cmp "$dir/extra.raw" \
		"$dir/extra.expected"
}

# The host's file system is full, several times: the disk waits for room, and
# the guest notices nothing.
case_full()
{
	small_load
	images dynamic disk:64M
	"$here/l1.sh" -t 300 -m 1024 -w "$dir" "$here/full.sh" "$build" \
		"$dir" "$seed" $operations
	expect 'every pause was resumed' equal $? 0
	echo "paused $(cat "$dir/pauses") times"
	expect 'ends with 0' equal "$(cat "$dir/status")" 0
	expect 'it was paused more than once' [ "$(cat "$dir/pauses")" -gt 1 ]
	expect 'no failed write' equal \
		"$(value "$dir/console" 'pattern on')" ''
	as_written disk 64M "$(value "$dir/console" 'md5 /dev/sda')"
	sound disk
}

# Guests without VMBus drivers: a root, a disk at work and a disc on emulated
# IDE. Then the same disk with hv_storvsc there: it is seen once, and not even a
# guest that asks for both can write by both.
case_ide()
{
	small_load
	expect 'kernel, disks, disc' "$here/ide.sh" prepare "$build" "$dir"
	"$here/l1.sh" -t 300 -m 1024 -w "$dir" "$here/ide.sh" run "$build" \
		"$dir" "$seed" $operations
	expect 'both runs' equal $? 0
	log=$dir/plain.console
	expect 'plain: ends with 0' equal "$(cat "$dir/plain.status")" 0
	expect 'plain: by bus-master DMA' equal \
		"$(value "$log" 'modes')" 'XFER_UDMA_2 XFER_UDMA_2 XFER_UDMA_2'
	expect 'plain: no driver of the VMBus' equal \
		"$(grep -c 'hv_vmbus\|hv_storvsc' "$log")" 0
	expect 'plain: the disc' equal "$(value "$log" disc)" \
		"$(md5 "$dir/iso/file.bin")"
	expect 'plain: no failed write' equal "$(value "$log" 'pattern on')" ''
	as_written work 32M "$(value "$log" 'md5 /tmp/ide1')"
	expect 'plain: the root is there' equal "$(value "$log" root)" \
		"$(value "$log" first)"
	expect 'plain: to the end' said "$log" 'done'
	expect 'plain: unmounted' equal "$(value "$log" 'still in')" ''
	written=$(value "$log" written)
	log=$dir/both.console
	expect 'both: ends with 0' equal "$(cat "$dir/both.status")" 0
	expect 'both: one disk' equal "$(value "$log" disks)" 1
	expect 'both: by storvsc' equal "$(value "$log" model | tr -d ' ')" \
		VirtualDisk
	expect 'both: what the other driver wrote' equal \
		"$(value "$log" written)" "$written"
	expect 'both: the emulated side reads' said "$log" 'both read the same'
	expect 'both: and cannot write' equal \
		"$(value "$log" 'sdb was written')" ''
	expect 'both: to the end' said "$log" 'done'
	sound first root
	readable first root
	for disk in first root; do
		expect "$disk: its file system is clean" \
			e2fsck -fn "$dir/$disk.raw"
		expect "$disk: what was written" equal "$(debugfs -R \
			'cat /written' "$dir/$disk.raw" 2>/dev/null |
			md5sum | cut -d' ' -f1)" "$written"
	done
	expect 'what was written by storvsc' equal "$(debugfs -R 'cat /again' \
		"$dir/root.raw" 2>/dev/null | md5sum | cut -d' ' -f1)" \
		"$(value "$dir/both.console" again)"
}

# A guest of its own kernel does the worst it can (hostile/acts.c), again and
# again, while another one works on its disk. The hostile one must be served
# after each act, and ends by its own hand; the other must not notice; what a
# guest can put into the log is bounded.
case_hostile()
{
	small_load
	"$here/hostile/build.sh" "$work/hostile"
	expect 'the hostile kernel is built' equal $? 0
	ro=$(protected hostile)
	images dynamic rw:64M good:64M
	"$here/l1.sh" -t 400 -m 1024 -w "$dir" "$here/hostile.sh" "$build" \
		"$dir" "$seed" $operations
	expect 'both runs' equal $? 0
	tr -d '\r' <"$dir/hostile.console" | grep -a '^hostile: '
	# what it did to itself at last, in one clear line
	expect 'the hostile guest is served to its end' grep -aq \
		'^hostile: served to the end' "$dir/hostile.console"
	expect 'none of its checks failed' equal \
		"$(grep -ac FAILED "$dir/hostile.console")" 0
	expect 'a processor raced against the host' grep -aqE \
		'^hostile: changed in a race [1-9]' "$dir/hostile.console"
	expect 'its status' equal "$(cat "$dir/hostile.status")" 11
	expect 'its end' grep -q 'triple fault' "$dir/hostile.err"
	expect 'both ran at once' [ -s "$dir/together" ]
	expect 'the other ends with 0' equal "$(cat "$dir/good.status")" 0
	expect 'and in peace' equal "$(wc -l <"$dir/good.err")" \
		"$(grep -c 'vmbus: \|storvsp: \|not registered for I/O' \
		"$dir/good.err")"
	expect 'no failed write' equal \
		"$(value "$dir/good.console" 'pattern on')" ''
	as_written good 64M "$(value "$dir/good.console" 'md5 /dev/sda')"
	sound rw # the hostile one's
	expect 'what was read-only is untouched' equal \
		"$(md5 "$dir/ro.vhd")" "$ro"
	# at once 64 + 16, then 8 + 1 a second (hv/vmbus/log.c, storvsp/log.h)
	seconds=$(cat "$dir/seconds")
	lines=$(wc -l <"$dir/hostile.err")
	limit=$((80 + 9 * (seconds + 1) + 8))
	echo "$lines lines in $seconds s"
	expect "at most $limit lines in its log" [ "$lines" -le $limit ]
	met=met
	[ $failures -eq 0 ] || met=unmet
	rounds=$(tr -d '\r' <"$dir/hostile.console" |
		sed -n 's/^hostile: rounds //p')
	proof_figure G6 $met "a hostile guest beside a good one: $rounds rounds \
of $(grep -c '^	{"' "$here/hostile/acts.c") acts, alive, the other's disk \
right, $lines log lines (limit $limit), seed $seed"
}

# ------------------------------------------------------------------- main --
# In a folder of its own, which only a failure leaves behind.
in_folder() # NAME
{
	dir=$work/case-$1
	rm -rf "$dir"
	mkdir "$dir" || exit 1
	"case_$1"
	[ $failures -ne 0 ] || rm -rf "$dir"
	exit $failures
}

run_case() # NAME
{
	name=$1
	log=$build/logs/guest-$name.log
	start=$(date +%s)
	(in_folder "$name") >"$log" 2>&1
	status=$?
	# QEMU's emulation stops now and then, and whatever runs in it: that
	# says nothing of the guest. Once more, then.
	if [ $status -ne 0 ] &&
	   grep -q '^l1.sh: the machine itself stands still' "$log"; then
		cp "$log" "$log.stood"
		echo "  again guest $name: its machine stood still ($log.stood)"
		(in_folder "$name") >"$log" 2>&1
		status=$?
	fi
	if [ $status -eq 0 ]; then
		verdict=pass mark='ok   ' where=
	else
		verdict=fail mark='FAIL ' where=": see $log"
	fi
	seconds=$(($(date +%s) - start))
	echo "guest $name $verdict $seconds" >>"${RESULTS:-$build/results}"
	echo "  $mark guest $name ($seconds s)$where"
	[ $verdict = pass ] || { grep '^FAILED' "$log"; return 1; }
}

if [ "${1-}" = --one ]; then
	run_case "$2"
	exit
fi
mkdir -p "$work" "$build/logs" || exit 1
"$here/initrd.sh" "$work" || exit 1
export GUEST_SEED="$seed"
# shellcheck disable=SC2086 # names
[ $# -gt 0 ] || set -- $all_cases
exec "$here/../lib/pool.sh" "$build/logs/pool" "$here/run.sh" "$build" --one \
	-- "$@"
