# SPDX-License-Identifier: BSD-2-Clause
# For scripts with mounts of their own (unshare -m). Read by them, not run.
# shellcheck shell=sh

# A namespace begins with a copy of each mount there is. What another test has
# mounted by FUSE would stay, and its server with it, for as long as we do.
leave_mounts()
{
	sed -nE 's/^([^ ]+ ){4}([^ ]+) .* - fuse[^ ]* .*/\2/p' \
		/proc/self/mountinfo | while read -r place; do
		umount -l "$place" 2>/dev/null
	done
}
