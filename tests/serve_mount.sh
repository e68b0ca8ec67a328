# SPDX-License-Identifier: BSD-2-Clause
# Cases of tests/serve.sh: mount and unmount. Read by it, not run.
# shellcheck shell=sh disable=SC2154 # dir, mib, top are the reader's

need_fuse()
{
	[ -c /dev/fuse ] && [ -r /dev/fuse ] && [ -w /dev/fuse ] ||
		skip "no /dev/fuse that may be used here"
	mkdir -p m
	must vhd create -q --size 1M probe.vhd
	vhd mount probe.vhd m 2>"$dir/err" ||
		skip "FUSE does not mount here: $(cat "$dir/err")"
	must vhd unmount m
}

mounted() # DIR
{
	awk -v at="$PWD/$1" '$5 == at { found = 1 } END { exit !found }' \
		/proc/self/mountinfo
}

# A disk of 64 MiB: ext4 (32 MiB, with the file "hello") and a partition of
# random bytes; disk.raw, and part1 and part2 as they are in it.
disk()
{
	mkdir -p tree
	echo hello >tree/hello
	head -c 300000 /dev/urandom >tree/random
	truncate -s 32M part1
	mke2fs -q -t ext4 -d tree part1 || fail "mke2fs"
	head -c 10240000 /dev/urandom >part2
	truncate -s 64M disk.raw
	printf 'start=2048,size=65536\nstart=70001,size=20000\n' |
		sfdisk -q disk.raw || fail "sfdisk"
	dd if=part1 of=disk.raw bs=512 seek=2048 conv=notrunc status=none
	dd if=part2 of=disk.raw bs=512 seek=70001 conv=notrunc status=none
}

mount_files()
{
	need_fuse
	disk
	for type in dynamic fixed; do
		must vhd convert -q --force --from raw --to $type disk.raw \
			d.vhd
		must vhd mount d.vhd m
		[ "$(ls m | tr '\n' ' ')" = 'disk p1 p2 ' ] ||
			fail "files: $(ls m)"
		cmp m/disk disk.raw >&2 || fail "the disk"
		cmp m/p1 part1 >&2 || fail "partition 1"
		cmp m/p2 part2 >&2 || fail "partition 2"
		# Any offset and length.
		dd if=m/disk bs=1 skip=1048500 count=700 status=none |
			cmp -n 700 -i 0:1048500 - disk.raw >&2 ||
			fail "parts of sectors"
		! sh -c ': >>m/disk' 2>/dev/null || fail "read-only is not"
		! touch m/new 2>/dev/null || fail "a new file"
		# Holes are holes.
		must cp --sparse=auto m/disk copy
		cmp copy disk.raw >&2 || fail "a sparse copy"
		refused 3 'vhd serve: d.vhd: ' vhd serve --writable d.vhd
		must vhd unmount m
		! mounted m || fail "still mounted"
		# Free at once.
		must vhd serve --writable --run true d.vhd
	done
	# by somebody without standard streams
	must sh -c 'exec vhd mount --format raw disk.raw m <&-'
	cmp m/p2 part2 >&2 || fail "a raw disk"
	# As any other file system.
	must umount m
	! mounted m || fail "still mounted"
}

mount_chain()
{
	need_fuse
	chain 5 $((6 * mib + 512))
	must vhd mount "$top" m
	cmp m/disk flat.raw >&2 || fail "other bytes"
	[ "$(ls m)" = disk ] || fail "files: $(ls m)"
	must vhd unmount m
}

mount_writable()
{
	need_fuse
	disk
	chain 3 $((64 * mib))
	must vhd convert -q --from raw --to dynamic disk.raw d.vhd
	for image in d.vhd "$top"; do
		[ $image = d.vhd ] || cp flat.raw disk.raw
		must vhd mount --writable $image m
		for at in 0 511 4095 1048575 40000000 66999999 5242881; do
			head -c $((at % 9000 + 1)) /dev/urandom >bytes
			dd if=bytes of=m/disk bs=64k oflag=seek_bytes \
				seek=$at conv=notrunc status=none ||
				fail "write at $at"
			dd if=bytes of=disk.raw bs=64k oflag=seek_bytes \
				seek=$at conv=notrunc status=none
		done
		must fallocate -p -o 2097152 -l 3145728 m/disk
		must fallocate -p -o 2097152 -l 3145728 disk.raw
		cmp m/disk disk.raw >&2 || fail "other bytes before"
		# The length is the disk's.
		! truncate -s 1M m/disk 2>/dev/null || fail "truncated"
		! dd if=/dev/zero of=m/disk bs=512 seek=131072 count=1 \
			conv=notrunc status=none 2>/dev/null ||
			fail "written behind the end"
		must vhd unmount m
		must vhd compare --format-b raw $image disk.raw
		must vhd check --data --quiet $image
	done
	# Whoever opens it to write truncates; what is written stays.
	must vhd mount --writable d.vhd m
	head -c $((64 * mib)) /dev/urandom >disk.raw
	must cp disk.raw m/disk
	must vhd unmount m
	must vhd compare --format-b raw d.vhd disk.raw
}

mount_overlay()
{
	need_fuse
	disk
	must vhd convert -q --from raw --to dynamic disk.raw d.vhd
	sha256sum d.vhd >before
	must vhd mount --overlay d.vhd m
	for at in 0 511 4095 1048575 40000000 66999999; do
		head -c $((at % 9000 + 1)) /dev/urandom >bytes
		for file in m/disk disk.raw; do
			dd if=bytes of=$file bs=64k oflag=seek_bytes \
				seek=$at conv=notrunc status=none ||
				fail "write at $at"
		done
	done
	cmp m/disk disk.raw >&2 || fail "other bytes"
	must vhd unmount m
	sha256sum -c --quiet before >&2 || fail "the image changed"
}

# What was synced is there when the server is killed.
mount_killed()
{
	need_fuse
	must vhd create -q --size 64M d.vhd
	head -c $mib /dev/urandom >bytes
	must vhd mount --writable d.vhd m
	dd if=bytes of=m/disk bs=$mib seek=33 conv=notrunc,fsync status=none
	kill -9 "$(server_of m)"
	within gone_or_dead
	umount -l m 2>/dev/null || fusermount3 -uz m
	must vhd check --data --quiet d.vhd
	must vhd convert -q --to raw d.vhd back.raw
	tail -c +$((33 * mib + 1)) back.raw | cmp -n $mib - bytes >&2 ||
		fail "synced bytes are lost"
}

server_of() # DIR
{
	for p in /proc/[0-9]*; do
		case $(tr '\0' ' ' 2>/dev/null <"$p/cmdline") in
		*"vhd-mount --writable d.vhd $1 ") echo "${p#/proc/}" ;;
		esac
	done | head -n 1
}

gone_or_dead()
{
	! ls m >/dev/null 2>&1
}

# --- file systems

part_image()
{
	disk
	must vhd convert -q --from raw --to dynamic disk.raw d.vhd
	sha256sum d.vhd >before
}

# Mounted with these options: what is in the file system, and what can be
# changed there, until it is unmounted by `vhd unmount` or umount.
file_system_works()
{
	must vhd mount --partition 1 d.vhd m
	[ "$(cat m/hello)" = hello ] || fail "no hello"
	cmp m/random tree/random >&2 || fail "other bytes"
	! touch m/hello 2>/dev/null || fail "read-only is not"
	(cd m && expect 3 vhd unmount "$PWD") || exit 1
	must vhd unmount m
	sha256sum -c --quiet before >&2 || fail "read-only changed the image"
	must vhd mount --overlay --partition 1 d.vhd m
	"$@" sh -c 'echo changed >m/hello' || fail "the overlay is read-only"
	[ "$(cat m/hello)" = changed ] || fail "no change"
	must vhd unmount m
	sha256sum -c --quiet before >&2 || fail "the overlay changed the image"
	must vhd mount --writable --partition 1 d.vhd m
	"$@" sh -c 'echo written >m/hello' || fail "not writable"
	must vhd unmount m
	must vhd check --data --quiet d.vhd
	must vhd mount --partition 1 d.vhd m
	[ "$(cat m/hello)" = written ] || fail "not written"
	# It ends by itself, too.
	umount m 2>/dev/null || must fusermount3 -u m
	within free d.vhd
	must vhd convert -q --to raw --force d.vhd back.raw
	tail -c +1048577 back.raw | head -c 33554432 >part1
	must e2fsck -fn part1
	[ -z "$(ls "$dir/run")" ] || fail "left behind: $(ls "$dir/run")"
}

free() # IMAGE
{
	vhd serve --writable --run true "$1" 2>/dev/null
}

mount_kernel()
{
	[ "$(id -u)" -eq 0 ] || skip "only root mounts by the kernel"
	need_fuse
	grep -qw ext4 /proc/filesystems || skip "this kernel has no ext4"
	part_image
	mount -o loop,ro part1 m 2>/dev/null ||
		skip "no loop devices that may be used here"
	umount m
	file_system_works
	must vhd mount --partition 1 -o noatime d.vhd m
	grep -q "$PWD/m .*noatime" /proc/self/mountinfo || fail "no noatime"
	must vhd unmount m
}

# As a user, whom FUSE programs serve.
mount_user()
{
	need_fuse
	command -v fuse2fs >/dev/null || skip "no fuse2fs"
	[ -u "$(command -v fusermount3)" ] || skip "fusermount3 is not setuid"
	[ -e /etc/mtab ] || skip "no /etc/mtab, which fusermount3 reads"
	part_image
	[ "$(id -u)" -eq 0 ] || { file_system_works; exit; }
	command -v setpriv >/dev/null || skip "no setpriv to become a user"
	chmod 755 "$dir"
	chown -R 65534:65534 . "$dir/run"
	: >"$dir/out"
	: >"$dir/err"
	chmod 666 "$dir/out" "$dir/err"
	cat >as_user <<-EOF2
	set -u
	dir='$dir'
	mib=$mib
	cd '$PWD'
	. '$root/tests/lib/case.sh'
	. '$root/tests/lib/wait.sh'
	. '$root/tests/serve_mount.sh'
	file_system_works
	EOF2
	rm m/* 2>/dev/null
	debugfs -w -R 'sif hello uid 65534' part1 2>/dev/null
	dd if=part1 of=disk.raw bs=512 seek=2048 conv=notrunc status=none
	vhd convert -q --force --from raw --to dynamic disk.raw d.vhd
	sha256sum d.vhd >before
	chown -R 65534:65534 .
	setpriv --reuid=65534 --regid=65534 --clear-groups \
		env HOME=/nonexistent TMPDIR="$PWD" sh ./as_user || exit 1
}

mount_ntfs()
{
	need_fuse
	command -v mkntfs >/dev/null && command -v ntfs-3g >/dev/null ||
		skip "no ntfs-3g"
	truncate -s 32M part
	mkntfs -q -F -p 0 -s 512 -H 16 -S 63 part >/dev/null 2>&1 ||
		fail "mkntfs"
	must vhd convert -q --from raw --to dynamic part d.vhd
	must vhd mount --writable --partition 0 d.vhd m
	[ "$(id -u)" -ne 0 ] || grep -q "$PWD/m .*fuse" /proc/self/mountinfo ||
		skip "this kernel mounts NTFS itself"
	cp "$root/README.md" m/ || fail "cannot write"
	must vhd unmount m
	must vhd mount --partition 0 d.vhd m
	cmp m/README.md "$root/README.md" >&2 || fail "other bytes"
	must vhd unmount m
	must vhd check --data --quiet d.vhd
}

mount_refused()
{
	need_fuse
	disk
	must vhd convert -q --from raw --to dynamic disk.raw d.vhd
	refused 2 'vhd-mount: ' vhd mount d.vhd
	refused 2 'vhd-mount: ' vhd mount --overlay --writable d.vhd m
	refused 2 'vhd-mount: ' vhd mount --partition x d.vhd m
	refused 2 'vhd-mount: ' vhd mount --partition 1 --foreground d.vhd m
	refused 3 'vhd-mount: nothing: ' vhd mount nothing m
	refused 3 'vhd-mount: no: not a directory' vhd mount d.vhd no
	refused 3 'vhd-mount: d.vhd: not a directory' vhd mount d.vhd d.vhd
	refused 3 "vhd-mount: $PWD/d.vhd: no partition 7" \
		vhd mount --partition 7 d.vhd m
	refused 3 "vhd-mount: $PWD/d.vhd: no partition 0" \
		vhd mount --partition 0 d.vhd m
	refused 3 "vhd-mount: $PWD/d.vhd: no known file system" \
		vhd mount --partition 2 d.vhd m
	refused 2 'vhd unmount: needs one directory' vhd unmount
	refused 3 "vhd unmount: $PWD/m: nothing is mounted" vhd unmount m
	refused 3 'vhd unmount: no: ' vhd unmount no
	refused 3 'vhd unmount: /proc: not mounted by vhd' vhd unmount /proc
	head -c 4000 d.vhd >cut.vhd
	refused 3 "vhd-mount: $PWD/cut.vhd: " vhd mount cut.vhd m
	must vhd mount d.vhd m
	refused 3 "vhd-mount: $PWD/d.vhd: " vhd mount --writable d.vhd tree
	exec 7<m/disk
	refused 3 "vhd unmount: $PWD/m: cannot unmount" vhd unmount m
	exec 7<&-
	must vhd unmount m
	! mounted m || fail "still mounted"
	[ -z "$(ls "$dir/run")" ] || fail "left behind: $(ls "$dir/run")"
}
