#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# One run of hv on a machine with KVM (see l1.sh) with a disk of its start, a
# dynamic VHD, and one that `hv ctl` adds, raw, on two NBD servers that are
# killed under them, again and again, with write-back caches that go with them.
# The one that is added is on the controller of a local disk. Part of run.sh's
# case "nbd", which judges what is left here.
#
# usage: nbd.sh BUILD DIR WORDS     DIR is writable
set -u
build=$1 # inside.sh's, too
dir=$2
# shellcheck source=tests/guest/inside.sh
. "$(dirname "$0")/inside.sh"
# shellcheck source=tests/lib/wait.sh
. "$(dirname "$0")/../lib/wait.sh"
first=$XDG_RUNTIME_DIR/nbd.first second=$XDG_RUNTIME_DIR/nbd.second
kills=0

# A server in the background: $!
serve() # SOCKET EXPORT
{
	rm -f "$1"
	nbdkit -f -U "$1" --filter=cache file "$dir/$2" \
		cache=writeback 2>>"$dir/server.log" &
	until_ok listens "$1"
}

fall() # PROCESS
{
	kill -9 "$1"
	wait "$1" 2>/dev/null
	kills=$((kills + 1))
}

serve "$first" export
first_server=$!
start nbd "$3" --initrd "$work/initrd" --memory 256M --timeout 400 \
	--disk "$dir/work.vhd" \
	--disk "nbd+unix:///?socket=$first,controller=1"
await 'ready for a disk'
# nothing is there yet: one line, and no disk
"$hv" ctl nbd disk add "nbd+unix:///?socket=$second,raw" 2>"$dir/absent"
echo $? >"$dir/absent.status"
serve "$second" added
second_server=$!
ctl disk add "nbd+unix:///?socket=$second,raw"
ctl disk list
pgrep -x hv-connect | wc -l >"$dir/connectors"
await 'both disks'
until grep -qs 'guest: ready to lose it' "$dir/console"; do
	kill -0 $guest 2>/dev/null || break
	sleep 4
	[ $kills -lt 12 ] || continue
	fall $first_server
	fall $second_server
	sleep 0.3
	serve "$first" export
	first_server=$!
	# the second one is away for so long that it is told
	[ $kills -gt 2 ] || sleep 3
	serve "$second" added
	second_server=$!
done
ctl disk stats 1
ctl disk remove 1
await 'the added one is gone'
ended
echo $kills >"$dir/kills"
pgrep -x hv-connect | wc -l >>"$dir/connectors"
kill $first_server $second_server
wait
exit $failed
