#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# A guest and `hv ctl` beside it, on a machine with KVM (see l1.sh). Part of
# run.sh's case "life", which judges the files left here.
#
# usage: life.sh BUILD DIR SEED OPERATIONS             DIR is writable
set -u
build=$1
dir=$2
seed=$3
operations=$4
work=$build/guest
hv=$build/bin/hv
export XDG_RUNTIME_DIR="${TMPDIR:-/tmp}"
# Landlock knows no files of 9p, which is what DIR may be: hv ctl opens none.
cp "$dir/extra.vhd" "$XDG_RUNTIME_DIR/extra.vhd" || exit 1

"$hv" run --accel kvm --no-reboot --name life --kernel "$work/vmlinuz" \
	--initrd "$work/initrd" --memory 256M --timeout 240 --append \
	"console=ttyS0 quiet mitigations=off panic=-1 test=life \
seed=$seed operations=$operations" \
	--disk "$dir/work.vhd" --console "$dir/console" \
	</dev/null 2>"$dir/err" &
guest=$!

# Wait for a line of the guest's.
await() # PATTERN
{
	until grep -qs "guest: $1" "$dir/console"; do
		kill -0 $guest 2>/dev/null || return 1
		sleep 0.1
	done
}

failed=0
ctl() # WORD...
{
	echo "hv ctl life $*" >>"$dir/ctl"
	"$hv" ctl life "$@" >>"$dir/ctl" 2>&1 || failed=$((failed + 1))
}

await 'ready for a disk' && ctl disk list && ctl disk add "$XDG_RUNTIME_DIR/extra.vhd"
await 'ready for more' && ctl disk resize 1 16M
await 'ready to lose it' && ctl disk stats && ctl disk list --json &&
	ctl disk remove 1
wait $guest
echo $? >"$dir/status"
ls "$XDG_RUNTIME_DIR/hv" >"$dir/left"
cp "$XDG_RUNTIME_DIR/extra.vhd" "$dir/extra.vhd"
cat "$dir/err"
exit $failed
