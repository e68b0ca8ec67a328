# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# What the small test guest does in the case "kill": journalled file systems at
# work until hv is killed, and a look at them after the next start. It is
# /inmore.sh of the case's initramfs, which init.sh sources.
# shellcheck disable=SC2154 # what init.sh sets

# The first of them is ext4, the second XFS.
mount_both()
{
	load
	load more
	wait_for /dev/sda
	wait_for /dev/sdb
	mkdir -p /tmp /ext4 /xfs
	by_lun
	mount -t ext4 /tmp/sda /ext4 || say 'no ext4'
	mount -t xfs /tmp/sdb /xfs || say 'no xfs'
	dmesg | grep -iE 'ext4-fs|xfs \(|i/o error|sd[ab].*error' |
		sed 's/^/guest: dmesg /'
}

# The rounds before this one, on both.
look_back() # ROUND
{
	n=1
	while [ $n -lt "$1" ]; do
		for fs in ext4 xfs; do
			/bin/keep --look /$fs/$n $fs/$n "$(word seed)"
		done
		n=$((n + 1))
	done
	say "looked back from round $1"
}

# A round: it works until somebody kills what it runs on.
test_keep()
{
	mount_both
	round=$(word round)
	look_back "$round"
	for fs in ext4 xfs; do
		/bin/keep /$fs/"$round" $fs/"$round" "$(word seed)" &
	done
	wait
	say 'it was to work without an end'
}

# The last look: they are put down in order.
test_kept()
{
	mount_both
	look_back "$(word round)"
	umount /ext4 || say 'ext4 stays'
	umount /xfs || say 'xfs stays'
}
