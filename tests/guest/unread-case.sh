# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# The case "unread" of run.sh, which sources this.
# shellcheck disable=SC2154 # what run.sh sets

# Nobody takes what the guest writes to its console, as where a terminal was
# stopped. That holds up the guest, and not the end of hv.
case_unread()
{
	{
		timeout -k 5 "$limit" "$hv" run --kernel "$work/vmlinuz" \
			--initrd "$work/initrd" --memory 256M --append \
			"console=ttyS0 ignore_loglevel initcall_debug" \
			</dev/null 2>"$dir/err" &
		echo $! >"$dir/pid"
		wait $!
		echo $? >"$dir/status"
	} | {
		# F_SETPIPE_SZ: it is full soon
		python3 -c 'import fcntl; fcntl.fcntl(0, 1031, 4096)'
		head -c 3000 >"$dir/out"
		sleep 5
		kill "$(cat "$dir/pid")"
		seconds=0
		while [ ! -s "$dir/status" ] && [ $seconds -lt 120 ]; do
			sleep 1
			seconds=$((seconds + 1))
		done
		echo "$seconds" >"$dir/seconds"
	}
	cat "$dir/err"
	expect "the guest has said something" [ -s "$dir/out" ]
	expect "it ends" [ "$(cat "$dir/seconds")" -lt 120 ]
	expect "it was stopped" equal "$(cat "$dir/status")" 14
	expect "it says that output is lost" \
		grep -q '^hv: console: nobody takes' "$dir/err"
}
