#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# hv is killed by SIGKILL while its guest writes to two journalled file systems,
# and started again on the images as they are, some times in a row, on a
# machine with KVM (see l1.sh). Part of run.sh's case "kill", which judges what
# is left here: console.N and err.N of each start, killed.N/ with the images
# as the kill left them and check.N of what vhd-check says of those, the
# images after an orderly end.
#
# usage: kill.sh BUILD DIR SEED ROUNDS                 DIR is writable
# shellcheck disable=SC2154 # what inside.sh sets
set -u
seed=$3
rounds=$4
# shellcheck source=tests/guest/inside.sh
. "$(dirname "$0")/inside.sh"
images=$XDG_RUNTIME_DIR/images
mkdir "$images" && cp "$dir/ext4.vhd" "$dir/base.vhd" "$dir/xfs.vhd" \
	"$images/" || exit 1

# What there is besides, to be compared; of the whole machine where it is ours.
left()
{
	find "$XDG_RUNTIME_DIR" ${L1:+/dev/shm} ! -path "$images/*" | sort
	if [ -n "${L1-}" ]; then pgrep -x hv; else pgrep -P $$ -x hv; fi
}

run() # ROUND TEST
{
	: >"$dir/console"
	start kill "test=$2 round=$1 seed=$seed" --initrd "$dir/initrd" \
		--memory 256M --timeout 150 \
		--disk "$images/ext4.vhd" --disk "$images/xfs.vhd"
}

# So many lines of that file system's.
kept() # LABEL COUNT
{
	until [ "$(grep -cs "guest: kept $1/" "$dir/console")" -ge "$2" ]; do
		kill -0 $guest 2>/dev/null || return 1
		sleep 0.1
	done
}

# In the middle of it, at a time of the seed.
moment() # ROUND
{
	kept ext4 30 && kept xfs 30 || return 1
	awk -v seed="$((seed + $1))" \
		'BEGIN { srand(seed); printf "%.2f\n", rand() * 2 }' >"$dir/pause"
	sleep "$(cat "$dir/pause")"
}

# The kernel ends the rings of a killed process after the process, and holds its
# files and their locks so long.
given_back()
{
	n=0
	while "$build/bin/vhd-check" "$images/ext4.vhd" "$images/xfs.vhd" 2>&1 |
		grep -q 'is open elsewhere' && [ $n -lt 100 ]; do
		sleep 0.1
		n=$((n + 1))
	done
}

# What the other tools say before anybody mended anything.
look() # ROUND
{
	given_back
	for image in ext4 xfs; do
		"$build/bin/vhd-check" "$images/$image.vhd"
		echo "status $image $?"
	done >"$dir/check.$1" 2>&1
	mkdir "$dir/killed.$1" && cp --sparse=always "$images"/* \
		"$dir/killed.$1/" || failed=$((failed + 1))
}

left >"$dir/left.0"
round=1
while [ $round -le "$rounds" ]; do
	run $round keep
	kept ext4 1
	ctl info
	moment $round || failed=$((failed + 1))
	kill -KILL $guest
	wait $guest
	echo "round $round status $?" >>"$dir/status"
	mv "$dir/console" "$dir/console.$round"
	mv "$dir/err" "$dir/err.$round"
	left >"$dir/left.$round"
	"$hv" ctl kill info >"$dir/stale.$round" 2>&1
	echo "round $round stale $?" >>"$dir/status"
	look $round
	round=$((round + 1))
done
run $round kept
await 'test kept' && ctl info
wait $guest
echo "round $round status $?" >>"$dir/status"
mv "$dir/console" "$dir/console.$round"
mv "$dir/err" "$dir/err.$round"
left >"$dir/left.end"
cp --sparse=always "$images"/* "$dir/" || failed=$((failed + 1))
exit $failed
