# SPDX-License-Identifier: BSD-2-Clause
# What scripts wait for, instead of for a time: a machine may be slow, and have
# other work. Each has a limit that only what never comes meets. Read by them,
# not run.
#
# What ends the reader where it waits in vain needs its "fail". For "hold_file"
# and "given_back" it sets dir, a folder of its own with tests/tools_hold.c as
# the program "hold".
# shellcheck shell=sh disable=SC2154 # dir: the reader's

# Until the command succeeds; status 1: it did not within a minute.
until_ok() # COMMAND...
{
	wait_end=$(($(date +%s) + 60))
	until "$@"; do
		[ "$(date +%s)" -lt $wait_end ] || return 1
		sleep 0.05
	done
}

within() # COMMAND...
{
	until_ok "$@" || fail "not within a minute: $*"
}

# The process has ended, whether or not anybody has asked how.
over() # PID
{
	! grep -qs '^State:.[^ZX] ' "/proc/$1/status"
}

# The process has a handler for the signal, or takes it from a descriptor:
# before that it would not hear it, or be ended by it without a word.
hears() # PID SIGNAL-NUMBER
{
	for wait_mask in $(sed -nE \
		's/^Sig(Blk|Cgt):.*([0-9a-f]{8})$/\2/p' "/proc/$1/status"); do
		[ $((0x$wait_mask >> ($2 - 1) & 1)) -eq 0 ] || return 0
	done
	return 1
}

# A socket is there before anybody listens on it.
listens() # SOCKET: what its path ends with
{
	grep -qE " 00010000 0001 01 +[0-9]+ ([^ ]*/)?$1\$" /proc/net/unix
}

listens_tcp() # PORT
{
	grep -qsE "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$1") [0-9A-F:]+ 0A " \
		/proc/net/tcp /proc/net/tcp6
}

# Another program has the file open to write to it, or to read it.
hold_file() # FILE [read]
{
	rm -f "$dir/holding"
	mkfifo "$dir/holding"
	"$dir/hold" "$@" <"$dir/holding" >"$dir/held" 2>&1 &
	holder=$!
	exec 3>"$dir/holding"
	within held_or_over
	grep -qx held "$dir/held" || fail "cannot hold $(cat "$dir/held")"
}

held_or_over()
{
	grep -qx held "$dir/held" || over $holder
}

let_go()
{
	exec 3>&-
	wait $holder
}

# A process that was killed gives its files back, and their locks, some
# milliseconds after its end where it had a ring of io_uring.
given_back() # FILE...
{
	for wait_file; do
		[ ! -e "$wait_file" ] || within lock_is_free "$wait_file"
	done
}

lock_is_free() # FILE
{
	"$dir/hold" "$1" write now >"$dir/held" 2>&1
}
