# SPDX-License-Identifier: BSD-2-Clause
# Cases of tests/verbs.sh: create --parent and snapshot.
# Read by it, not run.
# shellcheck shell=sh disable=SC2154 # dir is the reader's

# Data through the tools: a raw disk's bytes into the image at an offset.
write_to() # FILE OFFSET BYTES-AS-OCTAL-ESCAPES
{
	# shellcheck disable=SC2059 # escapes are the point
	printf "$3" >bytes
	"$dir/write" "$1" "$2" bytes || fail "cannot write to $1"
}

children()
{
	three base.vhd
	cp base.vhd base.was
	must vhd create --parent base.vhd --json child.vhd
	[ "$(value format)" = differencing ] || fail "format"
	[ "$(value parent)" = base.vhd ] || fail "parent"
	[ "$(value size)" = 16777216 ] || fail "size"
	must vhd check --chain --quiet child.vhd
	must vhd check --quiet --for hyperv child.vhd
	must vhd compare base.vhd child.vhd
	must vhd inspect --json child.vhd
	[ "$(value images.0.blocks.size)" = 2097152 ] || fail "block size"
	must qemu-img info child.vhd
	said '16 MiB'
	must vhdiinfo child.vhd
	said 'Disk type.*Differential'
	said 'Parent filename.*base.vhd'
	id=$(vhdiinfo base.vhd | sed -n 's/.*Identifier[^:]*: //p')
	said "Parent identifier.*: $id"
	# a generation more, elsewhere, with other blocks
	mkdir deep
	must vhd create --parent child.vhd --parent-dir . --block-size 512K \
		deep/last.vhd
	said 'deep/last.vhd: differencing, 16 MiB, on child.vhd'
	must vhd compare --parent-dir . base.vhd deep/last.vhd
	# moved together they find each other
	mkdir new
	mv base.vhd child.vhd deep new
	must vhd compare --parent-dir new new/base.vhd new/deep/last.vhd
	cmp new/base.vhd base.was || fail "the parent was written to"
	must vhd create --parent new/base.vhd --parent-dir . --size 20M l.vhd
	said "larger than that by 4194304 bytes"
	refused 3 'vhd map: ' vhd map --parent-dir . l.vhd
	must vhd map --parent-dir . --larger-child l.vhd
	must vhd create --parent new/base.vhd --parent-dir . --force l.vhd
	must vhd create --for xenserver --quiet --size 16M x.vhd
	must vhd create --for xenserver --quiet --parent x.vhd xc.vhd
	must vhd check --quiet --for xenserver xc.vhd
}

bad_children()
{
	must vhd create --quiet --size 16M base.vhd
	mkdir deep
	: >taken.vhd
	truncate -s 1M raw
	refused 2 'vhd create: ' vhd create --type differencing --size 1M x.vhd
	refused 2 'vhd create: ' vhd create --type fixed --parent base.vhd x.vhd
	refused 2 'vhd create: ' vhd create --parent-dir . --size 1M x.vhd
	refused 2 'vhd create: ' vhd create --prealloc --parent base.vhd x.vhd
	refused 2 'vhd create: ' \
		vhd create --for azure --parent base.vhd x.vhd
	refused 2 'vhd create: x.vhd: ' \
		vhd create --size 1M --parent base.vhd x.vhd
	refused 3 'vhd create: deep/x.vhd: ' \
		vhd create --parent base.vhd deep/x.vhd
	grep -q -- --parent-dir "$dir/err" || fail "no advice"
	refused 3 'vhd create: x.vhd: ' vhd create --parent nix.vhd x.vhd
	grep -q 'nix.vhd' "$dir/err" || fail "the name is cut"
	refused 3 'vhd create: x.vhd: ' vhd create --parent raw x.vhd
	refused 3 'vhd create: taken.vhd: ' \
		vhd create --parent base.vhd taken.vhd
	ln -s base.vhd link.vhd
	for name in base.vhd link.vhd; do
		refused 2 "vhd create: $name: is the parent" \
			vhd create --force --parent base.vhd $name
	done
	refused 2 'vhd create: --block-size 0' \
		vhd create --block-size 0 --parent base.vhd x.vhd
	hold_file base.vhd
	refused 3 'vhd create: x.vhd: ' vhd create --parent base.vhd x.vhd
	let_go
}

# What is written to a child is there, and only there.
child_written()
{
	three base.vhd
	cp base.vhd base.was
	must vhd create --quiet --parent base.vhd a.vhd
	write_to a.vhd 5242880 'aaaa'
	write_to a.vhd 12582912 'bbbb'
	must vhd snapshot --quiet a.vhd b.vhd
	write_to b.vhd 5242882 'cc'
	cmp base.vhd base.was || fail "the parent was written to"
	must vhd check --chain --quiet b.vhd
	must vhd convert -q --to raw b.vhd b.raw
	qemu-img convert -f vpc -O raw base.was want.raw
	printf 'aacc' | dd of=want.raw bs=1 seek=5242880 conv=notrunc status=none
	printf 'bbbb' | dd of=want.raw bs=1 seek=12582912 conv=notrunc \
		status=none
	cmp b.raw want.raw || fail "the chain reads otherwise"
	must vhd merge --quiet --all b.vhd
	must vhd compare --format-b raw base.vhd want.raw
}

snapshots()
{
	three disk.vhd
	cp disk.vhd disk.was
	must vhd snapshot --json disk.vhd child.vhd
	[ "$(value parent)" = disk.vhd ] || fail "parent"
	[ "$(value renamed)" = false ] || fail "renamed"
	[ "$(value size)" = 16777216 ] || fail "size"
	must vhd snapshot child.vhd grandchild.vhd
	said 'grandchild.vhd: differencing, 16 MiB, on child.vhd'
	must vhd compare disk.vhd grandchild.vhd
	must vhd check --chain --quiet grandchild.vhd
	cmp disk.vhd disk.was || fail "the disk was written to"
	chmod 640 disk.vhd
	must vhd snapshot -q disk.vhd other.vhd
	must vhd snapshot -q --force disk.vhd other.vhd
	[ "$(stat -c %a other.vhd)" = 640 ] || fail "permissions"
}

renames()
{
	three disk.vhd
	cp disk.vhd disk.was
	inode=$(stat -c %i disk.vhd)
	must vhd snapshot --rename monday.vhd disk.vhd
	said 'disk.vhd: differencing, 16 MiB, on monday.vhd, which is the disk'
	[ "$(stat -c %i monday.vhd)" = "$inode" ] || fail "not renamed"
	[ "$(stat -c %h monday.vhd)" = 1 ] || fail "a name too many"
	cmp monday.vhd disk.was || fail "the disk was written to"
	must vhd compare monday.vhd disk.vhd
	write_to disk.vhd 0 'new!'
	must vhd snapshot --json --rename tuesday.vhd disk.vhd
	[ "$(value path)" = disk.vhd ] || fail "path"
	[ "$(value parent)" = tuesday.vhd ] || fail "parent"
	[ "$(value renamed)" = true ] || fail "renamed"
	must vhd check --chain --quiet disk.vhd
	must vhd inspect --json disk.vhd
	said monday.vhd
	# by a link the disk is meant, not the link
	ln -s disk.vhd link.vhd
	must vhd snapshot -q --rename wednesday.vhd link.vhd
	[ -L link.vhd ] || fail "the link is gone"
	must vhd compare wednesday.vhd disk.vhd
	[ "$(find . -name '.*' -type f | wc -l)" = 0 ] || fail "rubbish left"
}

# Interrupted behind the first step, and at random: the name is always good.
renames_cut()
{
	three disk.vhd
	cp disk.vhd was.vhd
	ln disk.vhd base.vhd
	must vhd snapshot --quiet --rename base.vhd disk.vhd
	must vhd check --chain --quiet disk.vhd
	must vhd compare base.vhd disk.vhd
	cmp base.vhd was.vhd || fail "the disk was written to"
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
		rm -f disk.vhd base.vhd
		cp was.vhd disk.vhd
		vhd snapshot --quiet --rename base.vhd disk.vhd &
		p=$!
		sleep "0.00$((i * 5 % 9))"
		kill -9 $p 2>/dev/null
		wait $p 2>/dev/null
		must vhd compare was.vhd disk.vhd
		[ "$(vhd inspect --json disk.vhd |
			"$dir/json" images.0.format)" = differencing ] ||
			must vhd snapshot --quiet --rename base.vhd disk.vhd
		must vhd check --chain --quiet disk.vhd
		cmp base.vhd was.vhd || fail "the disk was written to"
	done
}

snapshot_killed() # CALL WHEN: and `how` the rest fares
{
	rm -f disk.vhd base.vhd
	cp was.vhd disk.vhd
	# shellcheck disable=SC2086 # words
	ASAN_OPTIONS=detect_leaks=0 strace -o cut -e "trace=openat,$1" $how \
		-e "inject=$1:signal=KILL:when=$2" \
		vhd snapshot --quiet --rename base.vhd disk.vhd 2>/dev/null
	if grep -q 'killed by SIGKILL' cut; then
		must vhd compare was.vhd disk.vhd
	elif [ -z "$how" ]; then
		fail "no $1 number $2"
	fi
	vhd inspect --json disk.vhd |
		grep -q '"format": *"differencing"' ||
		must vhd snapshot -q --rename base.vhd disk.vhd
	must vhd check --chain --quiet disk.vhd
	must vhd compare was.vhd disk.vhd
	cmp base.vhd was.vhd || fail "the disk was written to"
	[ "$(ls -A | tr '\n' ' ')" = "base.vhd calls cut disk.vhd was.vhd " ] ||
		fail "$1 $2: left behind: $(ls -A)"
}

# Killed at each of the calls that give a name, and again by the same command;
# where the file system has no nameless files, too.
renames_killed()
{
	strace -o /dev/null true 2>/dev/null || skip "strace may not trace"
	three was.vhd
	cp was.vhd disk.vhd
	strace -o calls -e trace=openat vhd snapshot --quiet --rename \
		base.vhd disk.vhd || fail "status $?"
	nameless=$(grep -n O_TMPFILE calls | cut -d: -f1)
	for how in '' "-e inject=openat:error=EOPNOTSUPP:when=$nameless"; do
		for cut in linkat:1 linkat:2 linkat:3 renameat:1 fsync:1 \
			fsync:2 fsync:3; do
			snapshot_killed "${cut%:*}" "${cut#*:}"
		done
	done
}

not_left() # WHAT: it stays, and is said
{
	refused 3 'vhd snapshot: disk.vhd: ' \
		vhd snapshot --rename base.vhd disk.vhd
	grep -q 'builds on it' "$dir/err" || fail "$1: not said"
}

# Only what an interrupted call left, which is empty, goes.
left_alone()
{
	left=.disk.vhd.abcdef
	three disk.vhd
	ln disk.vhd base.vhd
	must vhd snapshot -q disk.vhd .disk.vhd.mine
	not_left "another name"
	rm .disk.vhd.mine
	must vhd snapshot -q disk.vhd $left
	hold_file $left
	not_left "it is open"
	let_go
	ln $left elsewhere
	not_left "it has a name of its own"
	rm elsewhere
	mkdir keep
	cp $left keep/empty
	rm $left
	must vhd-convert -q --to raw disk.vhd raw
	echo data | dd of=raw bs=512 seek=9 conv=notrunc status=none
	must vhd-convert -q --from raw --to diff --parent disk.vhd raw $left
	not_left "it has data"
	mkdir deep
	mv $left deep/c.vhd
	ln -s deep/c.vhd $left
	not_left "it is a link"
	rm $left
	cp keep/empty $left
	rm base.vhd
	not_left "nothing was interrupted"
	# who made BASE may take it back yet
	ln disk.vhd base.vhd
	hold_file disk.vhd
	refused 3 'vhd snapshot: disk.vhd: ' \
		vhd snapshot --rename base.vhd disk.vhd
	let_go
	# a file is not another one whose name is shown the same
	mkdir other
	(
		cd other || exit 1
		cp ../disk.vhd 'd?.vhd'
		ln 'd?.vhd' base.vhd
		must vhd snapshot -q 'd?.vhd' ".d$(printf '\377').vhd.abcdef"
		echo precious >'.d?.vhd.abcdef'
		refused 3 'vhd snapshot: d?.vhd: ' \
			vhd snapshot --rename base.vhd 'd?.vhd'
	) || exit 1
	must vhd snapshot -q --rename base.vhd disk.vhd
	[ ! -e $left ] || fail "what was left is there"
	must vhd check --chain --quiet disk.vhd
}

# Two at once: one of them may do it, and the disk keeps a name.
renames_twice()
{
	strace -o /dev/null true 2>/dev/null || skip "strace may not trace"
	three was.vhd
	for call in linkat:1 linkat:3 renameat:1; do
		rm -f disk.vhd base.vhd
		cp was.vhd disk.vhd
		ASAN_OPTIONS=detect_leaks=0 strace -o first \
			-e "inject=${call%:*}:delay_exit=1500000:when=${call#*:}" \
			vhd snapshot -q --rename base.vhd disk.vhd 2>/dev/null &
		p=$!
		sleep 0.7
		# this one is about to replace the name when the first one ends
		ASAN_OPTIONS=detect_leaks=0 strace -o second \
			-e inject=renameat:delay_enter=2500000 \
			vhd snapshot -q --rename base.vhd disk.vhd 2>/dev/null
		wait $p
		must vhd check --chain --quiet disk.vhd
		must vhd compare was.vhd disk.vhd
		cmp base.vhd was.vhd || fail "$call: the disk is not base.vhd"
	done
}

bad_snapshots()
{
	three disk.vhd
	: >taken.vhd
	mkdir deep
	refused 2 'vhd snapshot: ' vhd snapshot disk.vhd
	refused 2 'vhd snapshot: ' vhd snapshot --rename b.vhd disk.vhd c.vhd
	refused 3 'vhd snapshot: taken.vhd: ' vhd snapshot disk.vhd taken.vhd
	refused 2 'vhd snapshot: disk.vhd: ' vhd snapshot disk.vhd disk.vhd
	refused 3 'vhd snapshot: c.vhd: ' vhd snapshot nix.vhd c.vhd
	refused 3 'vhd snapshot: c.vhd: ' vhd snapshot deep c.vhd
	refused 3 'vhd snapshot: deep/c.vhd: ' vhd snapshot disk.vhd deep/c.vhd
	refused 3 'vhd snapshot: disk.vhd: there is a taken.vhd already' \
		vhd snapshot --rename taken.vhd disk.vhd
	# its own name, however it is spelled: nothing else would be left
	ln -s disk.vhd link.vhd
	for own in disk.vhd ./disk.vhd deep/../disk.vhd "$PWD/disk.vhd" \
		"$PWD//disk.vhd"; do
		refused 3 'vhd snapshot: disk.vhd: BASE is its own name' \
			vhd snapshot --rename "$own" disk.vhd
		refused 3 'vhd snapshot: link.vhd: BASE is its own name' \
			vhd snapshot --rename "$own" link.vhd
	done
	rm link.vhd
	ln disk.vhd second.vhd
	refused 3 'vhd snapshot: second.vhd: BASE is its own name' \
		vhd snapshot --rename ./second.vhd second.vhd
	rm second.vhd
	refused 3 'vhd snapshot: disk.vhd: ' \
		vhd snapshot --rename nowhere/b.vhd disk.vhd
	# a name that no child can carry: nothing stays behind
	expect 2 vhd snapshot --rename 'a\b.vhd' disk.vhd
	[ ! -e 'a\b.vhd' ] || fail "a second name is left"
	must vhd snapshot -q disk.vhd c.vhd
	refused 3 'vhd snapshot: disk.vhd: ' \
		vhd snapshot --rename b.vhd disk.vhd
	grep -q 'c.vhd builds on it' "$dir/err" || fail "not said who"
	must vhd snapshot --force --rename b.vhd disk.vhd
	hold_file disk.vhd
	refused 3 'vhd snapshot: disk.vhd: ' \
		vhd snapshot --rename d.vhd disk.vhd
	refused 3 'vhd snapshot: d.vhd: ' vhd snapshot disk.vhd d.vhd
	let_go
}

# A chain from tests/tools_chain.c, l0.vhd to l2.vhd, and other.vhd that holds
# something else.
two_parents() # SEED
{
	rm -f ./*.vhd
	"$dir/chain" 3 3000320 "$1" || fail "no chain"
	must vhd create --quiet --size 3000320 other.vhd
	write_to other.vhd 0 'something else'
	write_to other.vhd 2000000 'and here'
	must vhd create --quiet --parent other.vhd top.vhd
	write_to top.vhd 1000000 'or there'
	mkdir -p was
	cp ./*.vhd was/
}

parents_untouched()
{
	for file in l0.vhd l1.vhd other.vhd top.vhd; do
		cmp $file was/$file || fail "$file was written to"
	done
}

rebases()
{
	for seed in 1 2 3 4; do
		two_parents $seed
		must vhd rebase --dry-run --parent top.vhd l2.vhd
		said 'l2.vhd: would go onto top.vhd, .* to be copied from'
		cmp l2.vhd was/l2.vhd || fail "a dry run changed something"
		must vhd rebase --parent top.vhd l2.vhd
		said 'l2.vhd: on top.vhd, .* copied from its former parent'
		must vhd compare --format-b raw l2.vhd flat.raw
		must vhd check --quiet l2.vhd
		must vhdiinfo l2.vhd
		said 'Parent filename.*top.vhd'
		parents_untouched
		must vhd rebase --json --parent other.vhd l2.vhd
		[ "$(value parent)" = other.vhd ] || fail "parent"
		[ "$(value compared)" = true ] || fail "compared"
		[ "$(value file-size-after)" = "$(stat -c %s l2.vhd)" ] ||
			fail "size"
		must vhd compare --format-b raw l2.vhd flat.raw
		parents_untouched
	done
	# moved away, and only named
	two_parents 5
	mkdir away
	mv l1.vhd l0.vhd away
	must vhd rebase --parent away/l1.vhd l2.vhd
	said 'on away/l1.vhd, which has the id of its parent'
	must vhd compare --format-b raw l2.vhd flat.raw
	# lost
	rm -r away
	refused 3 'vhd rebase: l2.vhd: ' vhd rebase --parent other.vhd l2.vhd
	must vhd rebase --unsafe --parent other.vhd l2.vhd
	said 'not compared'
	must vhd check --chain --quiet l2.vhd
}

# Killed at random: the content stays, and the same command ends the work.
rebases_cut()
{
	two_parents 7
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
		cp was/l2.vhd l2.vhd
		vhd rebase --quiet --parent top.vhd l2.vhd &
		p=$!
		sleep "0.0$((i * 7 % 23))"
		kill -9 $p 2>/dev/null
		wait $p 2>/dev/null
		must vhd compare --format-b raw l2.vhd flat.raw
		must vhd rebase --quiet --parent top.vhd l2.vhd
		must vhd compare --format-b raw l2.vhd flat.raw
		must vhd check --quiet --chain l2.vhd
	done
	parents_untouched
}

bad_rebases()
{
	two_parents 8
	mkdir deep
	cp other.vhd deep
	must vhd create --quiet --size 2M small.vhd
	truncate -s 3000320 raw
	refused 2 'vhd rebase: ' vhd rebase l2.vhd
	refused 2 'vhd rebase: ' vhd rebase --parent top.vhd
	refused 2 'vhd rebase: ' \
		vhd rebase --unsafe --dry-run --parent top.vhd l2.vhd
	refused 3 'vhd rebase: l0.vhd: ' vhd rebase --parent top.vhd l0.vhd
	refused 3 'vhd rebase: l2.vhd: ' vhd rebase --parent l2.vhd l2.vhd
	refused 3 'vhd rebase: l1.vhd: ' vhd rebase --parent l2.vhd l1.vhd
	refused 3 'vhd rebase: l2.vhd: ' vhd rebase --parent small.vhd l2.vhd
	refused 3 'vhd rebase: l2.vhd: ' vhd rebase --parent raw l2.vhd
	refused 3 'vhd rebase: l2.vhd: ' vhd rebase --parent nix.vhd l2.vhd
	refused 3 'vhd rebase: nix.vhd: ' vhd rebase --parent top.vhd nix.vhd
	mv l2.vhd l1.vhd l0.vhd deep
	refused 3 'vhd rebase: deep/l2.vhd: ' \
		vhd rebase --parent top.vhd deep/l2.vhd
	must vhd rebase --quiet --parent-dir . --parent top.vhd deep/l2.vhd
	must vhd compare --parent-dir . --format-b raw deep/l2.vhd flat.raw
	mv deep/l2.vhd l2.vhd
	hold_file top.vhd
	refused 3 'vhd rebase: l2.vhd: ' vhd rebase --parent top.vhd l2.vhd
	let_go
	hold_file l2.vhd
	refused 3 'vhd rebase: l2.vhd: ' vhd rebase --parent top.vhd l2.vhd
	let_go
}
