# SPDX-License-Identifier: BSD-2-Clause
# Cases of tests/verbs.sh: merge.
# Read by it, not run.
# shellcheck shell=sh disable=SC2154 # dir is the reader's

# What a file of the chain reads as.
raw_of() # FILE RAW
{
	must vhd convert -q --to raw --force "$1" "$2"
}

merging()
{
	for i in 1 2 3 4; do
		chain $i
		for file in l?.vhd; do
			raw_of $file ${file%.vhd}.raw
		done
		mkdir -p was
		cp l?.vhd was/
		must vhd merge l1.vhd
		said "l1.vhd: 1 layer into $PWD/l0.vhd: "
		must vhd compare --format-b raw l0.vhd l1.raw
		must vhd compare --format-b raw l3.vhd flat.raw
		must vhd check --quiet l0.vhd
		must vhd merge --into ./l0.vhd l2.vhd
		said "2 layers"
		must vhd compare --format-b raw l0.vhd l2.raw
		must vhd merge --all --json --engine sync l3.vhd
		[ "$(value target)" = "$PWD/l0.vhd" ] || fail "target"
		[ "$(value layers.2)" = "$PWD/l1.vhd" ] || fail "layers"
		[ "$(value removed)" = false ] || fail "removed"
		must vhd compare --format-b raw l0.vhd flat.raw
		for file in l1.vhd l2.vhd l3.vhd; do
			cmp $file was/$file || fail "$file was written to"
		done
		must vhd merge --quiet --all --delete --direct l3.vhd
		[ ! -s "$dir/out" ] || fail "not quiet"
		[ ! -e l3.vhd ] && [ ! -e l2.vhd ] && [ ! -e l1.vhd ] ||
			fail "not removed"
		must vhd compare --format-b raw l0.vhd flat.raw
		rm -rf was
	done
}

# The target is a differencing disk itself.
merging_between()
{
	for i in 1 2 3; do
		chain $i
		raw_of l2.vhd l2.raw
		cp l0.vhd l0.keep
		must vhd merge l2.vhd
		said "1 layer into $PWD/l1.vhd"
		must vhd compare --format-b raw l1.vhd l2.raw
		must vhd compare --format-b raw l3.vhd flat.raw
		must vhd merge --into l1.vhd --delete l3.vhd
		[ ! -e l2.vhd ] || fail "not removed"
		must vhd compare --format-b raw l1.vhd flat.raw
		must vhd check --quiet l1.vhd
		cmp l0.vhd l0.keep || fail "l0.vhd was written to"
	done
}

merging_dry()
{
	chain 5
	before=$(state)
	must vhd merge --dry-run --all l3.vhd
	said "to write"
	must vhd merge --dry-run --all --delete --json l3.vhd
	[ "$before" = "$(state)" ] || fail "a dry run changed something"
	[ "$(value written)" = false ] || fail "written"
	write=$(value write-bytes) blocks=$(value new-blocks)
	length=$(value file-size-after)
	must vhd merge --all --json l3.vhd
	[ "$write" = "$(value write-bytes)" ] || fail "bytes"
	[ "$blocks" = "$(value new-blocks)" ] || fail "blocks"
	[ "$length" = "$(stat -c %s l0.vhd)" ] || fail "length"
}

bad_merging()
{
	"$dir/chain" 4 262656 6 || fail "no chain"
	refused 2 'vhd merge: ' vhd merge
	refused 2 'vhd merge: ' vhd merge l1.vhd l2.vhd
	refused 2 'vhd merge: ' vhd merge --all --into l0.vhd l3.vhd
	refused 2 'vhd merge: ' vhd merge --engine fast l3.vhd
	refused 3 'vhd merge: l0.vhd: ' vhd merge l0.vhd
	refused 3 'vhd merge: missing.vhd: ' vhd merge missing.vhd
	refused 2 'vhd merge: l3.vhd: ' vhd merge --into l3.vhd l3.vhd
	refused 3 'vhd merge: l3.vhd: ' vhd merge --into missing.vhd l3.vhd
	mkdir sub
	refused 2 'vhd merge: l3.vhd: ' vhd merge --parent-dir sub l3.vhd
	hold_file l2.vhd
	refused 3 'vhd merge: l3.vhd: ' vhd merge --all l3.vhd
	let_go
	both l2.vhd 84 '\1'
	refused 3 'vhd merge: l3.vhd: ' vhd merge --all l3.vhd
	both l2.vhd 84 '\0'
	(
		ulimit -f 1
		refused 4 "vhd merge: l3.vhd: " vhd merge --all l3.vhd
	) || exit 1
}

# Children of the target, and of layers between, that are not in the chain.
merging_others()
{
	for which in l1 l2; do
		chain 7
		cp $which.vhd twin.vhd
		mkdir -p away
		cp $which.vhd away/
		before=$(cat l0.vhd | cksum)
		expect 3 vhd merge --all l3.vhd
		grep -q "would become invalid: $PWD/twin.vhd; --force" \
			"$dir/err" || fail "not named: $(cat "$dir/err")"
		grep -q away "$dir/err" && fail "named one of another folder"
		expect 1 vhd merge --all --dry-run --json l3.vhd
		[ "$(value other-children.0)" = "$PWD/twin.vhd" ] ||
			fail "not in the JSON"
		[ "$before" = "$(cat l0.vhd | cksum)" ] || fail "written"
		must vhd merge --all --force l3.vhd
		grep -q "becomes invalid: $PWD/twin.vhd" "$dir/err" ||
			fail "no warning: $(cat "$dir/err")"
		must vhd compare --format-b raw l0.vhd flat.raw
		rm -r away twin.vhd
	done
	# What builds on the child keeps its content, unless that goes.
	chain 8
	must vhd merge l2.vhd --into l0.vhd --dry-run --force
	expect 1 vhd merge l2.vhd --into l0.vhd --dry-run --delete
	grep -q l3.vhd "$dir/err" || fail "not named: $(cat "$dir/err")"
	must vhd merge l2.vhd --into l0.vhd --dry-run
}

# Ended at writes all along, by signals that can and cannot be caught, and by a full
# disk: the chain reads as before, and the same command ends the work.
merging_cut()
{
	strace -o /dev/null true 2>/dev/null || skip "strace may not trace"
	seed=$base_seed
	echo "seed $seed" >&2
	"$dir/chain" 4 2000384 "$seed" || fail "no chain"
	cp l0.vhd keep
	for how in signal=KILL signal=INT error=ENOSPC error=EIO; do
		n=1
		times=0
		while :; do
			cp keep l0.vhd
			ASAN_OPTIONS=detect_leaks=0 \
				strace -o /dev/null -e trace=pwrite64,pwritev \
				-e inject=pwrite64,pwritev:$how:when=$n+ \
				env --default-signal=INT \
				vhd merge --all --engine sync l3.vhd \
				>"$dir/out" 2>"$dir/err"
			status=$?
			case $how:$status in
			*:0 | *KILL:137 | *INT:130) ;;
			error=*:4)
				[ "$(wc -l <"$dir/err")" -eq 1 ] ||
					fail "not one line: $(cat "$dir/err")"
				;;
			*)
				fail "status $status after $how:" \
					"$(cat "$dir/err")" ;;
			esac
			must vhd compare --format-b raw l3.vhd flat.raw
			must vhd merge --all l3.vhd
			must vhd check --quiet l0.vhd
			must vhd compare --format-b raw l0.vhd flat.raw
			[ $status -ne 0 ] || break
			times=$((times + 1))
			n=$((n + 1 + n / 8))
			[ $times -lt 200 ] || fail "never comes to an end"
		done
		[ $times -gt 2 ] || fail "$how: only $times times"
		echo "$how at $times writes" >&2
	done
}

# A file system without room for it is seen before the first byte.
merging_full()
{
	mkdir full
	mount -t tmpfs -o size=6m none full 2>/dev/null || skip "may not mount"
	(
		cd full || exit 1
		for seed in 1 2 3 4 5 6 7 8 9 x; do
			"$dir/chain" 2 2000384 $seed || fail "no chain"
			must vhd merge --json --dry-run l1.vhd
			need=$(value need-bytes) free=$(value free-bytes)
			[ "$need" -le 400000 ] || break
		done
		dd if=/dev/zero of=fill bs=4096 status=none \
			count=$(((free - need / 2) / 4096))
		before=$(state)
		refused 4 "vhd merge: l1.vhd: " vhd merge l1.vhd
		grep -q "nothing was written" "$dir/err" || fail "not said"
		rm fill
		must vhd merge l1.vhd
		must vhd compare --format-b raw l0.vhd flat.raw
	)
	status=$?
	# io_uring gives files back a little after its process ended.
	umount -l "$PWD/full" || fail "cannot unmount"
	return $status
}
