# SPDX-License-Identifier: BSD-2-Clause
# Cases of tests/verbs.sh: resizing. Read by it, not run.
# shellcheck shell=sh disable=SC2154 # dir, corpus are the reader's

# A GUID partition table with an ext4 in its first partition, as d.vhd
# (dynamic) and f.vhd (fixed).
partitioned()
{
	truncate -s 64M r.raw
	printf '%s\n' 'label: gpt' 'start=2048, size=40960' 'size=20480' |
		sfdisk -q r.raw >/dev/null
	mke2fs -q -t ext4 -E offset=$((2048 * 512)) r.raw 20M
	must vhd convert --quiet --to dynamic r.raw d.vhd
	must vhd convert --quiet --to fixed r.raw f.vhd
}

# All that builds on a disk would refuse a parent of another size.
resize_parents()
{
	must vhd create --quiet --type dynamic --size 8M base.vhd
	must vhd create --quiet --parent base.vhd mid.vhd
	must vhd create --quiet --parent mid.vhd top.vhd
	for image in base.vhd mid.vhd; do
		refused 3 "vhd resize: $image:" \
			vhd resize --larger-child +2M $image
		refused 3 "vhd resize: $image:" vhd resize -n --shrink 4M $image
	done
	must vhd check --quiet --chain top.vhd
	must vhd resize 8M base.vhd
	cp base.vhd copy.vhd
	must vhd resize +2M copy.vhd
	must vhd resize --larger-child +2M top.vhd
	must vhd resize --force +2M base.vhd
}

sound_inside() # IMAGE
{
	must vhd check --quiet "$1"
	must vhd convert --quiet --force --to raw "$1" x.raw
	must e2fsck -fn "x.raw?offset=$((2048 * 512))"
}

gpt_sound()
{
	must sfdisk -V x.raw
	said 'No errors detected'
}

resizes()
{
	partitioned
	for image in d f; do
		cp $image.vhd was.vhd
		before=$(stat -c '%s %Y %Z' $image.vhd)
		must vhd resize --dry-run 3G $image.vhd
		[ "$before" = "$(stat -c '%s %Y %Z' $image.vhd)" ] ||
			fail "a dry run wrote"
		must vhd resize 3G $image.vhd
		said 'is not at the new end; --gpt'
		sound_inside $image.vhd
		must vhd compare $image.vhd was.vhd
		qemu-img info -f vpc $image.vhd | grep -q '3221225472 bytes' ||
			fail "qemu-img sees another size"
		must qemu-img compare -q -f vpc -F vpc $image.vhd was.vhd
		must vhd resize --gpt +1G $image.vhd
		sound_inside $image.vhd
		gpt_sound
		must vhd resize --shrink -4096 $image.vhd
		sound_inside $image.vhd
		gpt_sound
		must vhd resize --gpt +512 $image.vhd
		sound_inside $image.vhd
		gpt_sound
		must vhd resize --shrink -2G $image.vhd
		sound_inside $image.vhd
		gpt_sound
		must vhd resize --json --shrink 33M $image.vhd
		[ "$(value size-after)" = 34603008 ] || fail "size-after"
		[ "$(value gpt-moved)" = true ] || fail "gpt-moved"
		sound_inside $image.vhd
		gpt_sound
		must vhd resize 33M $image.vhd
		said 'has 33 MiB already'
	done
	must vhd resize --quiet --prealloc 50M f.vhd
	[ "$(($(stat -c '%b * %B' f.vhd)))" -ge $((17 << 20)) ] ||
		fail "not reserved"
}

bad_resizes()
{
	partitioned
	for image in d f; do
		begin="vhd resize: $image.vhd: "
		refused 3 "$begin" vhd resize 40M $image.vhd
		refused 3 "$begin" vhd resize --shrink 30M $image.vhd
		refused 3 "$begin" vhd resize --shrink 31M $image.vhd
		refused 3 "$begin" vhd resize --shrink -64M $image.vhd
		refused 3 "$begin" vhd resize --format differencing 70M \
			$image.vhd
	done
	refused 3 "vhd resize: d.vhd: " vhd resize 2041G d.vhd
	refused 2 "vhd resize: " vhd resize 1x d.vhd
	refused 2 "vhd resize: " vhd resize 1000 d.vhd
	refused 2 "vhd resize: " vhd resize 1G
	refused 2 "vhd resize: " vhd resize 1G d.vhd f.vhd
	refused 3 "vhd resize: r.raw: " vhd resize 1G r.raw
	refused 3 "vhd resize: none.vhd: " vhd resize 1G none.vhd
	# the partition table's only copy of what it says is damaged
	must vhd convert --quiet --force --to raw d.vhd r.raw
	poke r.raw 600 x
	must vhd convert --quiet --to dynamic r.raw g.vhd
	refused 3 "vhd resize: g.vhd: " vhd resize --gpt 1G g.vhd
	refused 3 "vhd resize: g.vhd: " vhd resize --shrink 40M g.vhd
	# a file system without a table has all of the disk
	truncate -s 64M e.raw
	mke2fs -q -t ext4 e.raw 16M
	must vhd convert --quiet --to dynamic e.raw e.vhd
	refused 3 "vhd resize: e.vhd: " vhd resize --shrink 32M e.vhd
	must vhd resize --quiet --shrink --force 32M e.vhd
	must vhd check e.vhd
	# data between the partitions and the end
	cp f.vhd h.vhd
	poke h.vhd $((50 << 20)) x
	refused 3 "vhd resize: h.vhd: " vhd resize --shrink 40M h.vhd
	must vhd resize --quiet --shrink --force 40M h.vhd
	# in use
	hold_file d.vhd
	refused 3 "vhd resize: d.vhd: " vhd resize 1G d.vhd
	let_go
}

# Killed at its n-th write, for every n: the old disk or the new one, and the
# next one finishes it.
resize_killed()
{
	strace -o /dev/null true 2>/dev/null || skip "strace may not trace"
	partitioned
	for image in d f; do
		for size in 3G 33M; do
			n=1
			while :; do
				cp --sparse=always $image.vhd k.vhd
				ASAN_OPTIONS=detect_leaks=0 \
					strace -o /dev/null -e trace=pwrite64 \
					-e inject=pwrite64:signal=KILL:when=$n \
					vhd resize --quiet --shrink --gpt \
					$size k.vhd
				status=$?
				vhd check --quiet k.vhd || must \
					vhd repair --quiet --yes --no-undo k.vhd
				sound_inside k.vhd
				must vhd resize --quiet --shrink --gpt $size \
					k.vhd
				sound_inside k.vhd
				gpt_sound
				[ $status -ne 0 ] || break
				n=$((n + 1))
			done
			[ $n -gt 4 ] || fail "only $n writes"
		done
	done
}

# No room for the longer table, or for the reserved space.
resize_full()
{
	must vhd create --quiet --size 1G --block-size 4K d.vhd
	cp d.vhd was.vhd
	limit=$(($(stat -c %s d.vhd) / 512 + 8))
	(ulimit -f $limit && vhd resize 100G d.vhd) 2>err &&
		fail "a full disk was not noticed"
	[ "$(wc -l <err)" -eq 1 ] || fail "$(cat err)"
	must vhd check --quiet d.vhd
	must vhd compare --strict d.vhd was.vhd
	must vhd create --quiet --type fixed --size 1M f.vhd
	cp f.vhd was.vhd
	(ulimit -f 4000 && vhd resize --prealloc 1G f.vhd) 2>err &&
		fail "a full disk was not noticed"
	cmp f.vhd was.vhd || fail "f.vhd changed"
}

# Images of other people's programs, and back to where they were.
resize_foreign()
{
	[ -d "$corpus" ] || skip "no corpus"
	for gz in "$corpus"/*.vhd.gz; do
		name=$(basename "$gz" .gz)
		case $name in
		*differential*) continue ;;
		esac
		gzip -dc "$gz" >"$name"
		cp "$name" was.vhd
		if [ "$(status_of vhd map "$name")" != 0 ]; then
			refused 3 "vhd resize: $name: " vhd resize +1G "$name"
			continue
		fi
		must vhd resize --quiet +300G "$name"
		was=$(status_of vhd check --quiet was.vhd)
		[ "$(status_of vhd check --quiet "$name")" -le "$was" ] ||
			fail "$name: worse than before"
		must vhd compare "$name" was.vhd
		must vhd resize --quiet --shrink --force -300G "$name"
		must vhd compare --strict "$name" was.vhd
	done
}
