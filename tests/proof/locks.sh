#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Every tool against an image that another program has open (goals L3 and L4):
# what a writer holds nobody else opens, what a reader holds nobody writes to,
# and the only way past that, --force of what only looks, changes nothing.
#
# usage: locks.sh BUILD
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$(pwd)
build=$(cd "$1" && pwd) || exit 1
PATH=$build/bin:$PATH:/usr/sbin:/sbin
export PATH
. tests/lib/proof.sh
. tests/lib/wait.sh
dir=$(mktemp -d "${TMPDIR:-/tmp}/locks.XXXXXX") || exit 1
holders=
# shellcheck disable=SC2086 # a list of numbers
trap '[ -z "$holders" ] || kill $holders; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
umask 022

${CC:-cc} -D_GNU_SOURCE -Wall -Wextra -Werror -o "$dir/hold" \
	tests/tools_hold.c || exit 1
mkdir "$dir/images"
cd "$dir/images" || exit 1

# --- images: h.vhd, hf.vhd and hr.raw are the ones held

{
	head -c 300000 /dev/urandom >hr.raw && truncate -s 1M hr.raw &&
	vhd convert -q --from raw --to dynamic --block-size 64K hr.raw h.vhd &&
	vhd convert -q --from raw --to fixed hr.raw hf.vhd &&
	vhd create -q --parent h.vhd child.vhd &&
	cp h.vhd other.vhd && vhd set -q --id new other.vhd &&
	cp h.vhd lower.vhd && vhd set -q --id new lower.vhd &&
	vhd create -q --parent lower.vhd hc.vhd &&
	vhd create -q --parent hc.vhd upper.vhd &&
	cp h.vhd damaged.vhd && truncate -s -512 damaged.vhd
} || { echo "cannot make the images" >&2; exit 1; }
cp damaged.vhd hd.vhd
vhd repair --yes --undo u damaged.vhd >/dev/null 2>&1
cp u u.undo && rm -f u
mkdir mnt
# As much of a kernel as is looked at before the disks.
truncate -s 64K kernel
printf '\125\252\353\146HdrS\017\002' |
	dd of=kernel bs=1 seek=510 conv=notrunc status=none
for field in 497:1 529:1 566:3 569:10 603:1; do
	printf "\\${field#*:}" | dd of=kernel bs=1 seek=${field%:*} \
		conv=notrunc status=none
done

# WHAT|COMMAND. What it is to the held image: "read" opens it for reading only,
# "write" for writing; "look" is reading that --force allows in spite of a
# writer; "name" reads it and then takes its name away, which harms no reader.
table()
{
	cat <<-EOF
	look|vhd check h.vhd
	look|vhd check --data --json hf.vhd
	look|vhd map h.vhd
	look|vhd map hr.raw
	look|vhd inspect h.vhd
	look|vhd inspect --json --zeros hf.vhd
	read|vhd compare h.vhd other.vhd
	read|vhd compare --format-b raw other.vhd hr.raw
	read|vhd diff h.vhd other.vhd
	read|vhd diff child.vhd
	read|vhd map child.vhd
	read|vhd bench --count 2 h.vhd
	read|vhd convert -q --force --to raw h.vhd out
	read|vhd convert -q --force --from raw --to fixed hr.raw out
	read|vhd convert -q --force --to fixed child.vhd out
	read|vhd create -q --force --parent h.vhd out
	read|vhd snapshot -q --force h.vhd out
	read|vhd snapshot -q --force child.vhd out
	read|vhd rebase --dry-run --parent h.vhd child.vhd
	read|vhd repair --salvage out --force h.vhd
	read|vhd serve -q --socket sock --run true h.vhd
	read|vhd serve -q --overlay --socket sock --run true child.vhd
	read|vhd mount h.vhd mnt
	read|vhd mount --overlay child.vhd mnt
	write|vhd serve -q --writable --socket sock --run true h.vhd
	write|vhd mount --writable h.vhd mnt
	write|vhd repair --yes --no-undo hd.vhd
	write|vhd repair --undo-apply --force hd.vhd u.undo
	write|vhd set --geometry auto h.vhd
	write|vhd set --id new hc.vhd
	write|vhd resize --force 2M h.vhd
	write|vhd resize --shrink --force 512K hf.vhd
	write|vhd compact h.vhd
	write|vhd compact --rewrite h.vhd
	write|vhd compact --punch hf.vhd
	write|vhd convert -q --force --in-place --from fixed hf.vhd
	write|vhd convert -q --force --in-place --from raw --to fixed hr.raw
	write|vhd convert -q --force --to fixed other.vhd h.vhd
	write|vhd convert -q --force --to raw other.vhd hr.raw
	write|vhd create -q --force --size 1M h.vhd
	write|vhd merge --force child.vhd
	name|vhd merge --force --delete hc.vhd
	write|vhd merge --force --delete upper.vhd
	write|vhd rebase --unsafe --parent other.vhd hc.vhd
	name|vhd snapshot --force --rename base.vhd h.vhd
	write|vhd bench --write --destroy --count 2 h.vhd
	write|hv run --kernel kernel --disk h.vhd --timeout 1
	write|hv run --kernel kernel --disk hr.raw,raw --timeout 1
	EOF
}

# --- holding

held='h.vhd hf.vhd hr.raw hc.vhd hd.vhd'

hold() # read|write
{
	how=
	[ "$1" = write ] || how=read
	rm -f "$dir"/held.* # what the last ones said
	for image in $held; do
		# shellcheck disable=SC2086 # one word or none
		"$dir/hold" $image $how <"$dir/pipe" >"$dir/held.$image" &
		holders="$holders $!"
	done
	exec 9>"$dir/pipe"
	for image in $held; do
		until_ok grep -qs held "$dir/held.$image" || {
			echo "  nobody holds $image" >&2
			exit 1
		}
	done
}

# shellcheck disable=SC2086 # a list of numbers
release()
{
	exec 9>&-
	wait $holders
	holders=
}

mkfifo "$dir/pipe"
bad=0 cells=0 right=0

state()
{
	find . -mindepth 1 -type f ! -name out -printf '%p %s %T@ %C@\n' | sort
}

wrong()
{
	echo "  held by a $holder: $command: $*; $(head -n 3 "$dir/err")" >&2
	bad=1
}

# Run it; it may not change anything (but "out").
run() # STATUS
{
	cells=$((cells + 1))
	before=$(state)
	$command >"$dir/out" 2>"$dir/err" 9>&-
	status=$?
	[ $status -eq "$1" ] || { wrong "status $status, not $1"; return; }
	[ "$before" = "$(state)" ] || { wrong "changed something"; return; }
	if [ "$1" -eq 3 ]; then
		[ "$(wc -l <"$dir/err")" -eq 1 ] ||
			{ wrong "not one line"; return; }
		grep -qE 'is (open elsewhere|in use)' "$dir/err" ||
			{ wrong "does not say why"; return; }
		[ ! -e out ] || { wrong "left its output"; return; }
	fi
	rm -f out
	right=$((right + 1))
}

cp -a . "$dir/kept"
table >"$dir/table"
for holder in writer reader; do
	hold ${holder%r}
	while IFS='|' read -r what command <&5; do
		case $holder:$what:$command in
		reader:name:*) ;; # below
		reader:write:* | writer:*) run 3 ;;
		*:'vhd mount '*) ;; # needs FUSE
		*) run 0 ;;
		esac
		[ "$what" = look ] || continue
		command="$command --force"
		run 0
	done 5<"$dir/table"
	release
done

# The commands are right: with nobody there, each one works; and where only a
# name goes, with a reader, too.
tried=0
while IFS='|' read -r what command <&5; do
	case $command in 'hv '* | 'vhd mount '*) continue ;; esac
	rm -rf "$dir/again" && cp -a "$dir/kept" "$dir/again"
	cd "$dir/again" || exit 1
	holder='program that ended'
	if [ "$what" = name ]; then
		holder='reader of its own'
		cells=$((cells + 1))
		hold read
	fi
	$command >"$dir/out" 2>"$dir/err" 9>&-
	status=$?
	[ $status -eq 0 ] || wrong "status $status"
	if [ "$what" = name ]; then
		[ $status -ne 0 ] || right=$((right + 1))
		release
	fi
	tried=$((tried + 1))
done 5<"$dir/table"

# Every verb is in the table.
for verb in $(vhd --help | sed -nE 's/^  ([a-z]+) .*/\1/p'); do
	[ "$verb" != unmount ] || continue # opens no image
	grep -q "vhd $verb " "$dir/table" || {
		echo "  no case of vhd $verb" >&2
		bad=1
	}
done

[ $right -eq $cells ] && [ $bad -eq 0 ] && met=met || met=unmet
proof_figure L3 $met "$right of $cells cells of tool and holder as tabled," \
	"$tried commands"
echo "  L3: $right of $cells cells, $tried commands"

# --- L4: what the pages say

said=0 claims=0
claim() # FILE PATTERN
{
	claims=$((claims + 1))
	if tr '\n' ' ' <"$root/$1" | tr -s ' ' | grep -qE "$2"; then
		said=$((said + 1))
	else
		echo "  $1 does not say: $2" >&2
		bad=1
	fi
}
for page in tools/man/vhd.1 tools/man/hv.1; do
	claim $page 'advisory'
	claim $page 'local to the host'
	claim $page 'network file system'
done
claim vhd/vhd.h 'advisory'
claim vhd/vhd.h 'network file system'
[ $said -eq $claims ] && met=met || met=unmet
proof_figure L4 $met "$said of $claims statements in the pages and the header"
echo "  L4: $said of $claims statements"
exit $bad
