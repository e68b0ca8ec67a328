#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Images on real NBD servers: nbdkit and qemu-nbd, well behaved, slow, failing,
# killed in the middle and started again. tests/store_work writes at random and
# compares with its model.
#
# usage: nbd.sh BUILD            TIMES=N multiplies the work; SEED=N
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(cd "$1" && pwd) || exit 1
results=$build/results
times=${TIMES:-1}
[ "${PROOF_LONG-}" != 1 ] || times=$((times * 20))
seed=${SEED:-1}
PATH=$build/bin:$PATH:/usr/sbin:/sbin
dir=$(mktemp -d "${TMPDIR:-/tmp}/nbd.XXXXXX") || exit 1
server=
bad=0
. tests/lib/wait.sh
. tests/lib/engine.sh

stop() # [SIGNAL]
{
	[ -z "$server" ] || {
		kill "-${1:-TERM}" "$server"
		until_ok over "$server" || kill -KILL "$server"
		wait "$server"
	} 2>/dev/null
	server=
}
trap 'stop KILL; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
cd "$dir" || exit 1
uri="nbd+unix:///?socket=$dir/socket"

serves() # COMMAND...: it listens, or has ended
{
	"$@" || over "$server"
}

up() # COMMAND...: start a server on the socket
{
	rm -f socket
	"$@" >server.log 2>&1 &
	server=$!
	until_ok serves listens "$dir/socket" && ! over $server ||
		{ echo "no server: $*"; cat server.log; return 1; }
}

kit() # ARGUMENT...
{
	up nbdkit -f -U "$dir/socket" "$@"
}

handed= # --handed: connections are made by another process
work() # ARGUMENT...
{
	# shellcheck disable=SC2086
	"$build/tests/store_work" --seed "$seed" $handed "$@"
}

# The same beside what happens to its server, once it has begun.
start_work() # ARGUMENT...
{
	# a sanitizer opens files behind the thread's back
	[ "${SAN-}" = 1 ] || set -- --sandbox "$@"
	work --again 20 "$@" >out &
	worker=$!
	until_ok at_work && ! over $worker
}

at_work()
{
	grep -q 'at work' out || over $worker
}

# It has given up, and looks for its server.
gave_up()
{
	grep -q 'a flush failed' out || over $worker
}

end_work()
{
	wait $worker
	status=$?
	cat out
	return $status
}

fresh() # SIZE: an empty file of it
{
	rm -f disk.img
	truncate -s "$1" disk.img
}

fresh_vhd() # FILE-SIZE ARGUMENT...: an empty image at the start of such a file
{
	size=$1
	shift
	rm -f new.vhd
	vhd create -q "$@" new.vhd && fresh "$size" &&
		dd if=new.vhd of=disk.img conv=notrunc status=none
}

check() # NAME COMMAND...
{
	name=$1
	shift
	start=$(date +%s)
	if "$@" >log 2>&1; then verdict=pass; else verdict=fail bad=1; fi
	stop
	[ $verdict = pass ] || { echo "  FAIL  $name (seed $seed)"; cat log; }
	echo "tools nbd:$name $verdict $(($(date +%s) - start))" >>"$results"
}

# --------------------------------------------------------- servers that work
raw_on_nbdkit()
{
	for engine in $(engines_here); do
		fresh 16M
		kit file disk.img || return 1
		work --format raw --engine $engine --ops $((1500 * times)) \
			"$uri" || return 1
		stop
	done
}

raw_on_qemu()
{
	fresh 16M
	up qemu-nbd -t -f raw -k "$dir/socket" disk.img || return 1
	work --format raw --ops $((1500 * times)) "$uri"
}

memory_without_zeros()
{
	kit --filter=nozero memory 16M || return 1
	work --format raw --ops $((800 * times)) "$uri"
}

without_fua()
{
	fresh 16M
	kit --filter=fua file disk.img fuamode=discard || return 1
	work --format raw --ops $((800 * times)) "$uri"
}

slow()
{
	fresh 16M
	kit --filter=delay file disk.img rdelay=2ms wdelay=3ms || return 1
	work --format raw --ops $((600 * times)) --depth 64 "$uri"
}

over_tcp()
{
	fresh 16M
	# below those that the kernel gives; others may have some of them
	port=$((20000 + $$ % 10000))
	until tcp_up || [ $port -ge 31000 ]; do port=$((port + 97)); done
	start_work --format raw --seconds 2 "nbd://localhost:$port" || return 1
	sleep 1
	stop KILL
	tcp_up && end_work
}

tcp_up()
{
	! listens_tcp $port || return 1
	nbdkit -f -i 127.0.0.1 -p $port file disk.img >server.log 2>&1 &
	server=$!
	until_ok serves listens_tcp $port && ! over $server ||
		{ cat server.log; return 1; }
}

# ----------------------------------------------------------------- containers
dynamic_grows_in_place()
{
	fresh_vhd 40M --size 64M --block-size 512K || return 1
	kit file disk.img || return 1
	work --mib 16 --ops $((1500 * times)) "$uri" || return 1
	stop
	# as an independent reader sees it
	vhd check -q --data disk.img &&
		vhd-convert -q --to raw --force disk.img ours.raw &&
		qemu-img convert -f vpc -O raw disk.img theirs.raw &&
		cmp ours.raw theirs.raw
}

fixed()
{
	rm -f disk.img
	vhd create -q --type fixed --size 16M disk.img
	kit file disk.img || return 1
	work --ops $((800 * times)) "$uri" || return 1
	stop
	vhd check -q disk.img
}

full()
{
	fresh_vhd 8M --size 64M --block-size 512K || return 1
	kit file disk.img || return 1
	work --mib 64 --ops 400 --errors "$uri" || return 1
	stop
	vhd check -q disk.img
}

local_child()
{
	rm -f parent.vhd child.vhd
	head -c 3000000 /dev/zero >zero.raw && truncate -s 16M zero.raw
	vhd-convert -q --from raw --to dynamic zero.raw parent.vhd &&
		vhd create -q --parent parent.vhd child.vhd || return 1
	mv parent.vhd disk.img
	kit -r file disk.img || return 1
	work --parent "$uri" --ops $((800 * times)) child.vhd
}

remote_child()
{
	rm -f parent.vhd new.vhd
	vhd create -q --size 16M parent.vhd &&
		vhd create -q --parent parent.vhd new.vhd && fresh 64M &&
		dd if=new.vhd of=disk.img conv=notrunc status=none || return 1
	kit file disk.img || return 1
	work --parent parent.vhd --ops $((800 * times)) "$uri"
}

# The programs that take an image take one on a server.
verbs()
{
	rm -f parent.vhd disk.img
	head -c 3000000 /dev/urandom >some.raw && truncate -s 16M some.raw &&
		vhd-convert -q --from raw --to dynamic some.raw disk.img ||
		return 1
	kit file disk.img || return 1
	vhd-inspect "$uri" >shown && grep -q 'dynamic VHD' shown &&
		vhd check -q --data "$uri" &&
		vhd map "$uri" >map && grep -q data map &&
		vhd compare -q "$uri" disk.img &&
		vhd bench --count 100 "$uri" >/dev/null &&
		vhd-convert -q --from dynamic --to raw "$uri" copy.raw &&
		cmp copy.raw some.raw || return 1
	# and one that does not says so
	vhd repair "$uri" 2>refused
	[ $? -eq 3 ] && grep -q 'NBD server is not taken here' refused
}

# -------------------------------------------------------- servers that do not
fails_sometimes() # OPTION: which requests
{
	fresh_vhd 40M --size 64M --block-size 512K || return 1
	kit --filter=error file disk.img error="$1" "$2" || return 1
	work --mib 16 --ops $((1000 * times)) --errors --again 5 "$uri"
}

# A cache in front of the file that is lost when the server is killed.
cached()
{
	kit --filter=cache file disk.img cache=writeback
}

killed() # FORMAT SECONDS
{
	if [ "$1" = raw ]; then
		fresh 16M
	else
		fresh_vhd 40M --size 64M --block-size 512K || return 1
	fi
	cached || return 1
	start_work --format "$1" --seconds "$2" "$uri" || return 1
	end=$(($(date +%s) + $2))
	while [ "$(date +%s)" -lt $end ]; do
		sleep 0.3
		stop KILL
		sleep 0.1
		cached || return 1
	done
	end_work
}

# Gone for longer than requests wait.
gone_too_long()
{
	fresh_vhd 40M --size 64M --block-size 512K || return 1
	cached || return 1
	start_work --seconds 60 --reconnect 300 --errors "$uri" || return 1
	sleep 0.5
	stop KILL
	until_ok gave_up && cached && end_work && grep -q 'a flush failed' out
}

# It takes connections, as the kernel does that for it, and says nothing. The
# work ends before it goes on.
silent_for_a_while()
{
	fresh_vhd 40M --size 64M --block-size 512K || return 1
	cached || return 1
	start_work --seconds 60 --reconnect 300 --answer 300 --errors "$uri" ||
		return 1
	sleep 0.5
	kill -STOP "$server"
	began=$(date +%s)
	until_ok gave_up
	took=$(($(date +%s) - began))
	kill -CONT "$server"
	end_work && grep -q 'a flush failed' out && [ $took -lt 20 ]
}

# nbdkit 1.32 fails an assertion of its own (connections.c, raw_send_socket) at
# times when a client leaves while it answers: that is no answer to this.
says_nothing()
{
	for try in 1 2 3 4; do
		silent_for_a_while && return 0
		grep -q 'raw_send_socket: Assertion' server.log || return 1
		echo "try $try: nbdkit aborted"
		stop
	done
	return 1
}

too_coarse()
{
	kit --filter=blocksize-policy memory 16M blocksize-minimum=4096 \
		blocksize-error-policy=error || return 1
	work --format raw "$uri" && return 1
	grep -q 'no less than 4096 bytes' log
}

read_only()
{
	kit -r memory 16M || return 1
	work --format raw "$uri" && return 1
	grep -q 'only be read' log
}

check raw raw_on_nbdkit
check qemu raw_on_qemu
check nozero memory_without_zeros
check nofua without_fua
check slow slow
check tcp over_tcp
check dynamic dynamic_grows_in_place
check fixed fixed
check full full
check local-child local_child
check remote-child remote_child
check verbs verbs
check error-read fails_sometimes EIO error-pread-rate=1%
check error-write fails_sometimes EIO error-pwrite-rate=1%
check error-nospace fails_sometimes ENOSPC error-pwrite-rate=2%
check error-zero fails_sometimes EIO error-zero-rate=5%
check killed-raw killed raw $((2 * times))
check killed-dynamic killed dynamic $((2 * times))
check gone gone_too_long
check silent says_nothing
check coarse too_coarse
check read-only read_only

# The same on connections that are handed over, as hv has them of a disk that is
# added while it runs.
handed=--handed
check handed-raw raw_on_nbdkit
check handed-qemu raw_on_qemu
check handed-nofua without_fua
check handed-tcp over_tcp
check handed-dynamic dynamic_grows_in_place
check handed-full full
check handed-local-child local_child
check handed-remote-child remote_child
check handed-error-write fails_sometimes EIO error-pwrite-rate=1%
check handed-killed-raw killed raw $((2 * times))
check handed-killed-dynamic killed dynamic $((2 * times))
check handed-gone gone_too_long
check handed-silent says_nothing
check handed-coarse too_coarse
check handed-read-only read_only
exit $bad
