# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# The case "ic" of run.sh, which sources this: integration services with Linux's
# own driver and daemons.
# shellcheck disable=SC2154 # what run.sh sets

# The daemons, and what the kernel runs when it is asked to end or restart: it
# leaves the file system as a shutdown does.
ic_initrd() # FILE
{
	more=$dir/rd
	mkdir -p "$more/bin" "$more/sbin" "$more/etc"
	cp /usr/sbin/hv_kvp_daemon /usr/sbin/hv_vss_daemon "$more/bin/" &&
		cp /etc/os-release "$more/etc/" || return 1
	for word in poweroff reboot; do
		cat >"$more/sbin/$word" <<-EOF || return 1
			#!/bin/busybox sh
			export PATH=/bin
			exec >/dev/console 2>&1
			echo "guest: asked to $word"
			killall5 -9 2>/dev/null
			umount /mnt || mount -o remount,ro /mnt
			$word -f
		EOF
		chmod 755 "$more/sbin/$word"
	done
	more_initrd "$1" "$work" "$more" hv_utils ext4
}

ctl_status() # NAME
{
	sed -n "s/^$1 //p" "$dir/status"
}

# exits NAME STATUS [PATTERN]: how a command of ic.sh ended, and what it said.
exits()
{
	expect "$1: status" equal "$(ctl_status "$1")" "$2"
	[ $# -lt 3 ] || expect "$1: says so" grep -qE "$3" "$dir/$1.out" \
		"$dir/$1.err"
}

clean() # IMAGE: its file system needs no repair, and no journal
{
	qemu-img convert -f vpc -O raw "$dir/$1.vhd" "$dir/$1.raw" &&
		e2fsck -fn "$dir/$1.raw" >"$dir/$1.fsck" 2>&1 &&
		! dumpe2fs -h "$dir/$1.raw" 2>/dev/null | grep -q needs_recovery
}

# Integration services with Linux's own driver and daemons, by hv ctl.
case_ic()
{
	truncate -s 64M "$dir/raw"
	mke2fs -q -t ext4 "$dir/raw"
	qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on \
		"$dir/raw" "$dir/disk.vhd"
	images dynamic killed:64M
	expect 'an initramfs' ic_initrd "$dir/initrd"
	"$here/l1.sh" -t 500 -m 1024 -w "$dir" "$here/ic.sh" "$build" "$dir"
	expect 'the machine' equal $? 0
	exits early 3 'driver'
	exits info 0 'heartbeat +ok'
	exits info 0 'kvp +ready +[345]\.0'
	exits info 0 'shutdown +ready +3\.'
	exits info 0 'timesync +ready +4\.0'
	exits info 0 'vss +ready +5\.0'
	exits json 0 '"heartbeat": *"ok"'
	exits list 0 '^auto +OSName +.'
	exits list 0 '^guest +from-guest +hello'
	exits set 0
	expect 'the guest has the value' said "$dir/console" \
		'the host says greetingGrüße vom Wirt'
	exits own 0 '^external +greeting +Grüße vom Wirt'
	exits get 0 '^hello$'
	exits os 0 Debian
	exits delete 0
	exits none 1 'no key greeting'
	exits twice 1 'no such key'
	exits pause 0 paused
	exits paused 0 'state +paused'
	expect 'nothing moves meanwhile' [ -e "$dir/still" ]
	exits denied 3 'is paused'
	exits resume 0
	clock=$(value "$dir/console" 'clock is')
	now=$(cat "$dir/now")
	expect "its clock is ours ($clock, $now)" \
		[ $((now - clock)) -ge -2 -a $((now - clock)) -le 15 ]
	expect 'its own time stood still' [ "$(value "$dir/console" passed)" -lt 25 ]
	expect 'no processor seems stuck' not said "$dir/console" \
		'.*(soft lockup|rcu.*stall)'
	exits early-thaw 1 'not frozen'
	exits freeze 0 frozen
	exits frozen 0 'frozen +[0-9]+ s left'
	exits again 3 'frozen already'
	exits thaw 0 thawed
	expect 'the copy is clean without its journal' clean copy
	expect 'which one of a live file system is not' not clean live
	expect 'it went with its holder' not grep -q 'frozen' "$dir/let-go.out"
	exits limit 0 frozen
	exits over 1 'not frozen'
	exits console 0
	expect 'the console shows what was' grep -q 'guest: ' "$dir/attached"
	expect 'the guest heard it' said "$dir/console" 'heard typed'
	exits reboot 0 restarts
	expect 'in order' said "$dir/console" 'asked to reboot'
	exits second 0 'heartbeat +ok'
	exits shutdown 0 'has ended'
	expect 'in order, too' said "$dir/console" 'asked to poweroff'
	expect 'hv ends with 0' equal "$(ctl_status guest)" 0
	exits none-there 3 'no driver for this'
	exits kill 0 'has ended'
	expect 'killed: hv says so' equal "$(ctl_status killed)" 14
	for name in disk killed; do
		expect "$name: sound" "$build/bin/vhd-check" "$dir/$name.vhd"
	done
	expect 'the socket is gone' equal "$(cat "$dir/left")" ''
	exits gone 3 'no guest ic is running'
	expect 'its disk is clean' clean disk
}
