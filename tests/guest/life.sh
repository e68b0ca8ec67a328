#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# A guest and `hv ctl` beside it, on a machine with KVM (see l1.sh). Part of
# run.sh's case "life", which judges the files left here.
#
# usage: life.sh BUILD DIR SEED OPERATIONS             DIR is writable
set -u
# shellcheck source=tests/guest/inside.sh
. "$(dirname "$0")/inside.sh"
extra=$XDG_RUNTIME_DIR/extra.vhd
# Landlock knows no files of 9p, which is what DIR may be: hv ctl opens none.
cp "$dir/extra.vhd" "$dir/child.vhd" "$XDG_RUNTIME_DIR/" &&
	mkdir "$XDG_RUNTIME_DIR/other" &&
	mv "$dir/base.vhd" "$XDG_RUNTIME_DIR/other/" || exit 1

start life "test=life seed=$3 operations=$4" --initrd "$work/initrd" \
	--memory 256M --timeout 240 --disk "$dir/work.vhd"
await 'ready for a disk' && ctl disk list && ctl disk add "$extra"
await 'ready for more' && ctl disk resize 1 16M &&
	ctl disk add --lun 5 "$XDG_RUNTIME_DIR/child.vhd,parent=\
$XDG_RUNTIME_DIR/other/base.vhd"
await 'ready to lose it' && ctl disk stats && ctl disk list --json &&
	ctl disk remove 1
ended
ls "$XDG_RUNTIME_DIR/hv" >"$dir/left"
cp "$extra" "$dir/extra.vhd"
exit $failed
