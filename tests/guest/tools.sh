#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Make a disc (ISO 9660) of programs with the libraries they need, for a guest
# that has none, which reads of them only what it uses; there they run as
#	DISC/lib/ld-linux-x86-64.so.2 --library-path DISC/lib DISC/bin/NAME
# as inmore.sh does.
#
# usage: tools.sh FILE NAME...
set -u
here=$(cd "$(dirname "$0")" && pwd)
file=${1:?usage: tools.sh FILE NAME...}
shift
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/guest/lib.sh
. "$here/lib.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/tools.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/lib"
for name; do
	path=$(command -v "$name") || {
		echo "tools.sh: no $name; run: sudo make deps" >&2
		exit 1
	}
	cp -L "$path" "$work/bin/" || exit 1
done
for library in $(libraries "$work/bin"); do
	cp -L "$library" "$work/lib/" || exit 1
done
genisoimage -quiet -R -o "$file" "$work"
