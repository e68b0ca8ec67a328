# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# The case "kill" of run.sh, which sources this: hv is killed by SIGKILL in the
# middle of its guest's I/O. Each file that the guest was told is safe must be
# there, by the guest's own next look and by e2fsprogs on what the kill left.
# shellcheck disable=SC2154 # what run.sh sets

# A file system with nothing in it, as an image; for XFS the child of one.
kill_images()
{
	truncate -s 96M "$dir/raw"
	mke2fs -q -t ext4 "$dir/raw" &&
		qemu-img convert -f raw -O vpc \
			-o subformat=dynamic,force_size=on "$dir/raw" \
			"$dir/ext4.vhd" || return 1
	rm "$dir/raw"
	truncate -s 304M "$dir/raw"
	mkfs.xfs -q "$dir/raw" &&
		"$build/bin/vhd-convert" --to dynamic "$dir/raw" \
			"$dir/base.vhd" >/dev/null &&
		"$build/bin/vhd-create" -q --parent "$dir/base.vhd" \
			"$dir/xfs.vhd" && rm "$dir/raw"
}

kill_initrd()
{
	mkdir -p "$dir/rd/bin"
	${CC:-gcc} -O2 -static -D_GNU_SOURCE -o "$dir/rd/bin/keep" \
		"$here/keep.c" && cp "$here/inkeep.sh" "$dir/rd/inmore.sh" &&
		more_initrd "$dir/initrd" "$work" "$dir/rd" ext4 xfs
}

# What the guest was promised in rounds 1 to N, and whether it has it. A file
# may be newer than the last word of it; one that was renamed is whole even if
# nobody told of it.
kept_all() # N LOOK: the console of a later round
{
	n=1
	while [ $n -le "$1" ]; do
		tr -d '\r' <"$dir/console.$n"
		n=$((n + 1))
	done | grep -aE '^guest: kept [^ ]+ [0-9]+ [0-9]+ [0-9]+$' >"$dir/kept"
	tr -d '\r' <"$2" | grep -aE '^guest: has ' >"$dir/has"
	awk '
	FILENAME ~ /has$/ { version[$3] = $4; sum[$3] = $5; bytes[$3] = $6
		whole[$3] = $7 == "whole"
		if ($3 ~ /slot/ && !whole[$3]) bad($3 ": torn after its rename")
		next }
	{ last[$3] = $4; lastsum[$3] = $5; lastbytes[$3] = $6 }
	function bad(what) { print "LOST: " what; lost++ }
	END {
		for (f in last) {
			files++
			if (!(f in version)) bad(f ": is not there")
			else if (!whole[f]) bad(f ": torn")
			else if (version[f] < last[f])
				bad(f ": version " version[f] ", not " last[f])
			else if (version[f] == last[f] &&
			    (sum[f] != lastsum[f] || bytes[f] != lastbytes[f]))
				bad(f ": other content")
		}
		print files + 0 " promised files, " lost + 0 " lost"
		exit !files || lost
	}' "$dir/has" "$dir/kept"
}

# The image as the kill left it, by nobody's code but e2fsprogs': its journal is
# replayed here, then each file has the content that the guest found.
by_e2fsprogs() # ROUND
{
	left=$dir/killed.$1
	qemu-img convert -f vpc -O raw "$left/ext4.vhd" "$dir/raw" || return 1
	dumpe2fs -h "$dir/raw" 2>/dev/null | grep -q needs_recovery ||
		{ echo 'there is nothing to replay'; return 1; }
	e2fsck -E journal_only -p "$dir/raw"
	e2fsck -fn "$dir/raw" || return 1
	rm -rf "$dir/files"
	mkdir "$dir/files"
	debugfs -R "rdump /$1 $dir/files" "$dir/raw" 2>/dev/null
	sed -n "s|^guest: has ext4/\($1/[^ ]*\) [0-9]* \([0-9]* [0-9]*\) whole|\2 \1|p" \
		"$dir/has" | sort >"$dir/wanted"
	# a record behind the last whole one is no promise
	log=$(grep " $1/log$" "$dir/wanted")
	head -c "$(echo "$log" | cut -d' ' -f2)" "$dir/files/$1/log" >"$dir/log"
	mv "$dir/log" "$dir/files/$1/log"
	(cd "$dir/files" && cut -d' ' -f3 "$dir/wanted" | xargs cksum) |
		sort >"$dir/found"
	rm -f "$dir/raw"
	wc -l <"$dir/wanted"
	[ -s "$dir/wanted" ] && cmp "$dir/wanted" "$dir/found"
}

case_kill()
{
	dir=$work/kill
	rm -rf "$dir"
	mkdir -p "$dir"
	seed=$small_seed
	rounds=1
	[ "${PROOF_LONG-}" != 1 ] || { rounds=12; seed=${SEED:-1}; }
	echo "seed $seed, $rounds rounds"
	expect 'images' kill_images
	expect 'an initramfs' kill_initrd
	parent=$(md5 "$dir/base.vhd")
	"$here/l1.sh" -t $((120 + 120 * rounds)) -m 1024 -w "$dir" \
		"$here/kill.sh" "$build" "$dir" "$seed" $rounds
	expect 'all commands' equal $? 0
	cat "$dir/ctl"
	round=1
	while [ $round -le $rounds ]; do
		judge_round $round
		round=$((round + 1))
	done
	judge_end $round
	[ "$failures" -ne 0 ] || rm -rf "$dir"
}

judge_round() # ROUND
{
	expect "$1: killed" grep -q "^round $1 status 137" "$dir/status"
	sed 's/^/  /' "$dir/check.$1"
	for image in ext4 xfs; do
		expect "$1: vhd check has nothing worse than findings" \
			grep -qE "^status $image [01]$" "$dir/check.$1"
	done
	expect "$1: its socket is left, and nothing else" equal \
		"$(diff "$dir/left.0" "$dir/left.$1" | grep '^[<>]' |
			sed 's|.*/\(hv\)|\1|' | tr '\n' ' ')" \
		'hv hv/kill.sock '
	expect "$1: which nobody answers at" \
		grep -q "^round $1 stale 3" "$dir/status"
	sed 's/^/  /' "$dir/stale.$1"
	next=$dir/console.$(($1 + 1))
	expect "$1: the next start replays ext4's journal" said "$next" \
		'dmesg .*EXT4-fs \(sd[ab]\): recovery complete'
	expect "$1: and XFS's" said "$next" 'dmesg .*XFS \(sd[ab]\): Ending recovery'
	expect "$1: all that was promised is there" kept_all "$1" "$next"
	expect "$1: e2fsprogs find the same" by_e2fsprogs "$1"
}

judge_end() # ROUND
{
	log=$dir/console.$1
	expect 'the last run ends with 0' grep -q "^round $1 status 0" \
		"$dir/status"
	expect 'to the end' said "$log" 'done'
	expect 'both are unmounted' equal "$(value "$log" '[a-z0-9]* stays')" ''
	expect 'no processor, socket or file is left' equal \
		"$(diff "$dir/left.0" "$dir/left.end" | grep '^[<>]' |
			sed 's|.*/\(hv\)|\1|')" hv
	expect 'the parent was never touched' equal "$(md5 "$dir/base.vhd")" \
		"$parent"
	for image in ext4 xfs; do
		expect "$image: sound" "$build/bin/vhd-check" --chain \
			"$dir/$image.vhd"
	done
	expect 'ext4: qemu-img reads it' qemu-img convert -f vpc -O raw \
		"$dir/ext4.vhd" "$dir/ext4.raw"
	expect 'ext4: its file system is clean' e2fsck -fn "$dir/ext4.raw"
	expect 'xfs: as a whole' "$build/bin/vhd-convert" --to raw \
		"$dir/xfs.vhd" "$dir/xfs.raw"
	expect 'xfs: its file system is clean' xfs_repair -n "$dir/xfs.raw"
}
