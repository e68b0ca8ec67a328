#!/bin/busybox sh
# SPDX-License-Identifier: BSD-2-Clause
# First process of the small test guest. What it does is the word test=NAME of
# its command line; each line for the tests begins with "guest: ".
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

word() # NAME
{
	tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p" | tail -n 1
}

say()
{
	echo "guest: $*"
}

# Modules in the order of a list, some with words of their own.
load() # [LIST]
{
	while read -r module words; do
		# shellcheck disable=SC2086 # words
		insmod "/mod/$module" $words || say "cannot load $module"
	done <"/mod/${1:-order}"
}

# Disks appear a moment after their driver.
wait_for() # DEVICE
{
	n=0
	while [ ! -b "$1" ] && [ $n -lt 100 ]; do
		usleep 100000
		n=$((n + 1))
	done
	[ -b "$1" ] || say "no $1"
}

sum() # DEVICE
{
	echo 3 >/proc/sys/vm/drop_caches
	say "md5 $1 $(md5sum <"$1" | cut -d' ' -f1)"
}

# The kernel looks at several disks at once and names them as it gets to them;
# here a name means an address: sda is LUN 0.
by_lun()
{
	for lun in 0:sda 1:sdb 2:sdc; do
		for sys in /sys/block/sd?; do
			at=$(readlink "$sys/device")
			[ "${at##*:}" != "${lun%:*}" ] ||
				ln -s "/dev/${sys##*/}" "/tmp/${lun#*:}"
		done
	done
}

describe() # NAME
{
	sys=$(readlink "/tmp/$1")
	sys=/sys/block/${sys##*/}
	say "disk $1 $(cat $sys/size) ro $(cat $sys/ro)" \
		"vendor $(cat $sys/device/vendor)" \
		"model $(cat $sys/device/model)" \
		"wwid $(cat $sys/device/wwid)"
}

# Seeded writes to sda and sdb, a look at the read-only sdc.
test_pattern()
{
	load
	for d in sda sdb sdc; do
		wait_for /dev/$d
	done
	mkdir -p /tmp
	by_lun
	for d in sda sdb sdc; do
		describe $d
	done
	dmesg | grep -E 'hv_vmbus|hv_storvsc|\[sd' | sed 's/^/guest: dmesg /'
	for d in sda sdb; do
		pattern /tmp/$d "$(word seed)" "$(word operations)" ||
			say "pattern on $d failed"
	done
	if dd if=/dev/zero of=/tmp/sdc bs=4k count=1 conv=fsync 2>/dev/null
	then
		say "sdc was written to"
	fi
	sync
	for d in sda sdb sdc; do
		sum /tmp/$d
	done
}

# Seeded writes to one disk, beside whatever else runs on the host.
test_work()
{
	load
	wait_for /dev/sda
	pattern /dev/sda "$(word seed)" "$(word operations)" ||
		say "pattern on sda failed"
	sync
	sum /dev/sda
}

# Writes without an end, telling what is durable, until it is killed.
test_endless()
{
	load
	wait_for /dev/sda
	pattern /dev/sda "$(word seed)" 1000000 "guest: durable"
}

until_size() # SECTORS
{
	n=0
	while [ "$(cat /sys/block/sdb/size 2>/dev/null)" != "$1" ] &&
	      [ $n -lt 600 ]; do
		usleep 100000
		n=$((n + 1))
	done
}

# A disk comes, grows and goes while the other one is worked on.
test_life()
{
	load
	wait_for /dev/sda
	pattern /dev/sda "$(word seed)" "$(word operations)" ||
		say "pattern on sda failed" &
	say "ready for a disk"
	until_size 16384
	say "sdb has $(cat /sys/block/sdb/size)"
	yes before | head -c 65536 >/tmp/before
	yes after | head -c 65536 >/tmp/after
	dd if=/tmp/before of=/dev/sdb bs=64k conv=fsync 2>/dev/null ||
		say "no write to sdb"
	say "ready for more"
	until_size 32768
	say "sdb has $(cat /sys/block/sdb/size)"
	dd if=/tmp/after of=/dev/sdb bs=64k seek=255 conv=fsync 2>/dev/null ||
		say "no write to its end"
	say "ready to lose it"
	until_size ""
	say "sdb is gone"
	wait
	sync
	sum /dev/sda
}

# Its name in /tmp, once there is a disk of that size.
by_size() # NAME SECTORS
{
	n=0
	while [ ! -e "/tmp/$1" ] && [ $n -lt 600 ]; do
		for sys in /sys/block/sd*; do
			[ "$(cat "$sys/size" 2>/dev/null)" != "$2" ] ||
				ln -s "/dev/${sys##*/}" "/tmp/$1"
		done
		usleep 100000
		n=$((n + 1))
	done
	[ -b "/tmp/$1" ] || say "no $1"
}

# Three disks at once, one of which comes later and goes before the end.
test_added()
{
	load
	mkdir -p /tmp
	by_size local "$(word local)"
	by_size first "$(word first)"
	say "ready for a disk"
	by_size added "$(word added)"
	say "both disks"
	for d in local first added; do
		pattern /tmp/$d "$(word seed)" "$(word operations)" ||
			say "pattern on $d failed" &
	done
	wait
	sync
	for d in local first added; do
		sum /tmp/$d
	done
	say "ready to lose it"
	n=0
	added=$(readlink /tmp/added)
	while [ -e "/sys/block/${added##*/}" ] && [ $n -lt 600 ]; do
		usleep 100000
		n=$((n + 1))
	done
	[ -e "/sys/block/${added##*/}" ] || say "the added one is gone"
}

# Twelve writes, each of them flushed.
test_flush()
{
	load
	wait_for /dev/sda
	for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
		dd if=/dev/zero of=/dev/sda bs=4k count=1 seek=$((n * 700)) \
			conv=fsync 2>/dev/null || say "write $n failed"
	done
}

test_facts()
{
	load
	[ "$(word disk)" != yes ] || wait_for /dev/sda
	[ "$(word second)" != yes ] || wait_for /dev/sdb
	say "cpus $(grep -c ^processor /proc/cpuinfo)"
	say "online $(cat /sys/devices/system/cpu/online)"
	say "memory $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
	say "clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
	say "time $(date -u +%s)"
	say "hypervisor $(dmesg | sed -n 's/.*Hypervisor detected: //p')"
	say "version $(dmesg | sed -n 's/.*Vmbus version://p')"
	dmesg -r | grep '^<[0-4]>' | sed 's/^/guest: warning /'
}

# What a tool prints, and how it ends.
sg() # NAME COMMAND...
{
	name=$1
	shift
	"$@" >/tmp/out 2>&1
	status=$?
	sed "s/^/guest: $name| /" /tmp/out
	say "$name status $status"
}

# Disks and drive of the test: LUN 0, LUN 1 with blocks of 4 KiB, a disc.
begin_scsi()
{
	load
	while read -r module; do
		insmod "/mod/$module" || say "cannot load $module"
	done </mod/more
	for d in sda sdb sr0; do
		wait_for /dev/$d
	done
	mkdir -p /tmp /mnt
	by_lun
	a=/tmp/sda
	b=/tmp/sdb
	export PATH=/bin:/sg
}

# What sg3_utils make of every answer; run.sh's case "scsi" reads it.
test_scsi()
{
	begin_scsi
	for d in a:$a b:$b dvd:/dev/sr0; do
		sg inq-${d%%:*} sg_inq "${d#*:}"
		sg vpd-${d%%:*} sg_vpd --all "${d#*:}"
		sg opcodes-${d%%:*} sg_opcodes "${d#*:}"
		sg modes-${d%%:*} sg_modes --all "${d#*:}"
	done
	sg opcodes-times sg_opcodes --rctd $a
	sg modes-6 sg_modes --six --all $a
	sg modes-changeable sg_modes --all --control=1 $a
	sg luns sg_luns $a
	sg readcap-a sg_readcap --long $a
	sg readcap-b sg_readcap --long $b
	sg logs sg_logs --all $a
	sg requests sg_requests $a
	sg requests-desc sg_requests --desc $a
	sg turs sg_turs $a
	sg senddiag sg_senddiag --test $a
	sg seek sg_seek --pre-fetch --lba=64 --num-blocks=64 $a
	test_scsi_data
	test_scsi_reservations
	test_scsi_disc
}

test_scsi_data()
{
	tr '\0' a </dev/zero | dd of=$a bs=512 count=1024 conv=fsync 2>/dev/null
	sg unmap sg_unmap --force --lba=8 --num=8 $a
	head -c 512 /dev/zero | tr '\0' b >/tmp/sector
	sg same sg_write_same --16 --lba=64 --num=16 --in=/tmp/sector \
		--xferlen=512 $a
	sg same-ndob sg_write_same --16 --ndob --lba=128 --num=16 $a
	sg same-10 sg_write_same --10 --lba=200 --num=8 --in=/tmp/sector \
		--xferlen=512 $a
	head -c 512 /dev/zero | tr '\0' a >/tmp/both
	head -c 512 /dev/zero | tr '\0' c >>/tmp/both
	sg compare sg_compare_and_write --in=/tmp/both --lba=300 --num=1 $a
	sg compare-again sg_compare_and_write --in=/tmp/both --lba=300 \
		--num=1 -v $a
	sg verify sg_verify --lba=0 --count=1024 $a
	sg sync sg_sync $a
	sg status-a sg_get_lba_status --lba=0 --maxlen=4096 $a
	sg status-b sg_get_lba_status --lba=0 --maxlen=4096 $b
	sg wr-mode sg_wr_mode --page=0xa \
		--contents=0a,0a,06,10,00,00,00,00,00,00,00,00 $a
	sg sense sg_verify --lba=0x7fffffff --count=1 -vv $a
	sync
	sum $a
}

test_scsi_reservations()
{
	for d in a:$a b:$b; do
		sg pr-able-${d%%:*} sg_persist --in --report-capabilities \
			"${d#*:}"
	done
	sg pr-aptpl-a sg_persist --out --register --param-sark=0xabc \
		--param-aptpl $a
	sg pr-register sg_persist --out --register --param-sark=0xabc \
		--param-aptpl $b
	sg pr-reserve sg_persist --out --reserve --param-rk=0xabc \
		--prout-type=5 $b
	sg pr-keys sg_persist --in --read-keys $b
	sg pr-held sg_persist --in --read-reservation $b
	sg pr-full sg_persist --in --read-full-status $b
	sg pr-wrong sg_persist --out --release --param-rk=0xdef \
		--prout-type=5 $b
}

test_scsi_disc()
{
	sg config sg_get_config /dev/sr0
	sg disc-size sg_readcap /dev/sr0
	sg mount mount -t iso9660 -o ro /dev/sr0 /mnt
	say "disc md5 $(md5sum </mnt/file.bin | cut -d' ' -f1)"
	umount /mnt
	sg eject sg_start --eject /dev/sr0
	sg disc-out sg_turs /dev/sr0
	sg load sg_start --load /dev/sr0
	sg mount-again mount -t iso9660 -o ro /dev/sr0 /mnt
	say "again md5 $(md5sum </mnt/file.bin | cut -d' ' -f1)"
	umount /mnt
	dmesg | grep 'sr 0\|sr0' | sed 's/^/guest: dmesg /'
}

# What was reserved before the last power-off.
test_scsi_again()
{
	begin_scsi
	sg pr-held sg_persist --in --read-reservation $b
	sg pr-clear sg_persist --out --clear --param-rk=0xabc $b
	sg pr-keys sg_persist --in --read-keys $b
}

# Names again depend on what the kernel gets to first: ide0 is drive 0.
by_drive()
{
	for sys in /sys/block/sd?; do
		at=$(readlink "$sys/device")
		at=${at##*/}
		at=${at#*:*:}
		ln -s "/dev/${sys##*/}" "/tmp/ide${at%:*}"
	done
}

# Disks and a drive on emulated IDE, by the driver of any PC; then the first
# one is the root (ide.sh).
test_ide()
{
	load
	for d in sda sdb sr0; do
		wait_for /dev/$d
	done
	by_drive
	dmesg | grep -E ' ata|scsi host|hv_|Hyper-V' |
		sed 's/^/guest: dmesg /'
	say "modes $(cat /sys/class/ata_device/dev[12].[01]/dma_mode |
		grep DMA | xargs echo)"
	mkdir -p /mnt /new
	mount -t iso9660 -o ro /dev/sr0 /mnt || say "no disc"
	say "disc $(md5sum </mnt/file.bin | cut -d' ' -f1)"
	umount /mnt
	pattern /tmp/ide1 "$(word seed)" "$(word operations)" ||
		say "pattern on ide1 failed"
	sync
	sum /tmp/ide1
	root=$(readlink /tmp/ide0)
	say "first $root"
	mount -t ext4 "$root" /new || say "no root"
	mount --move /dev /new/dev
	umount /proc
	umount /sys
	exec switch_root /new /init
}

# The same disk by the accelerator: once. Then, against all advice, by both
# drivers: the emulated side reads and does not write.
test_both()
{
	load order-hv
	wait_for /dev/sda
	usleep 3000000
	say "disks $(ls -d /sys/block/sd? | wc -l)"
	say "vendor $(cat /sys/block/sda/device/vendor)"
	say "model $(cat /sys/block/sda/device/model)"
	mkdir -p /mnt
	mount -t ext4 /dev/sda /mnt || say "no file system"
	say "written $(md5sum </mnt/written | cut -d' ' -f1)"
	head -c 1000000 /dev/urandom >/mnt/again
	sync
	say "again $(md5sum </mnt/again | cut -d' ' -f1)"
	umount /mnt
	rmmod ata_piix
	insmod /mod/ata_piix.ko prefer_ms_hyperv=0
	wait_for /dev/sdb
	dd if=/dev/sda of=/tmp/a bs=64k count=64 iflag=direct 2>/dev/null
	dd if=/dev/sdb of=/tmp/b bs=64k count=64 iflag=direct 2>/dev/null
	cmp /tmp/a /tmp/b && say "both read the same"
	yes no | dd of=/dev/sdb bs=4k count=1 seek=2000 oflag=direct \
		2>/dev/null && say "sdb was written to"
	dmesg | grep -E ' ata|scsi host|storvsc' | sed 's/^/guest: dmesg /'
}

# What a host reads as a value of ours: a record of the daemon's second pool.
tell_host() # KEY VALUE
{
	{
		printf %s "$1"
		head -c $((512 - ${#1})) /dev/zero
		printf %s "$2"
		head -c $((2048 - ${#2})) /dev/zero
	} >>/var/lib/hyperv/.kvp_pool_1
}

# The file system is never at rest.
write_on()
{
	n=0
	while :; do
		n=$((n + 1))
		echo "$n" >"/mnt/$((n % 40))"
		mkdir -p "/mnt/d$((n % 7))/$((n % 5))"
		rm -rf "/mnt/d$(((n + 3) % 7))"
		[ $((n % 8)) -ne 0 ] || sync
		usleep 20000
	done
}

# Integration services: the daemons, and whatever the host does with them. It
# ends by the host's request, which runs /sbin/poweroff.
test_ic()
{
	load
	wait_for /dev/sda
	mkdir -p /mnt /tmp /var/lib /var/log
	mount -t ext4 /dev/sda /mnt || say "no file system"
	while read -r module; do
		insmod "/mod/$module" || say "cannot load $module"
	done </mod/more
	for daemon in kvp vss; do
		"/bin/hv_${daemon}_daemon" -n >/dev/null 2>&1 &
	done
	until [ -e /var/lib/hyperv/.kvp_pool_1 ]; do usleep 100000; done
	tell_host from-guest hello
	write_on &
	say "daemons run"
	until grep -qs greeting /var/lib/hyperv/.kvp_pool_0; do
		usleep 200000
	done
	say "the host says $(tr -d '\0' </var/lib/hyperv/.kvp_pool_0)"
	while grep -qs greeting /var/lib/hyperv/.kvp_pool_0; do
		usleep 200000
	done
	say "the host says no more"
	date -s 2001-01-01 >/dev/null
	say "clock set back"
	since=$(cut -d. -f1 /proc/uptime)
	while [ "$(date +%Y)" = 2001 ]; do usleep 100000; done
	say "clock is $(date -u +%s)"
	say "passed $(($(cut -d. -f1 /proc/uptime) - since))"
	read -r line
	say "heard $line"
	sleep 100000
}

# Every line that comes in goes out again, until "end".
test_echo()
{
	say ready
	while read -r line; do
		[ "$line" != end ] || break
		say "heard $line"
	done
}

test_reset()
{
	reboot -f
}

# Three boots in all: the disk tells which one this is.
test_reboot()
{
	load
	wait_for /dev/sda
	n=$(dd if=/dev/sda bs=512 count=1 2>/dev/null | tr -d '\0')
	case $n in
	'' | *[!0-9]*) n=0 ;;
	esac
	n=$((n + 1))
	say "boot $n"
	say "cpus $(grep -c ^processor /proc/cpuinfo)"
	echo $n | dd of=/dev/sda bs=512 conv=sync,fsync 2>/dev/null
	[ $n -ge 3 ] || reboot -f
}

test_crash()
{
	load
	echo c >/proc/sysrq-trigger
}

test_sleep()
{
	say asleep
	sleep 100000
}

# shellcheck source=tests/guest/inmore.sh
[ ! -e /inmore.sh ] || . /inmore.sh
say "test $(word test)"
"test_$(word test)"
say "done"
poweroff -f
