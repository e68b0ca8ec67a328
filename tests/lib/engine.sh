# SPDX-License-Identifier: BSD-2-Clause
# Which engines this machine has: the kernel's setting, a container's filter or
# an old kernel may forbid rings. Read by scripts in a folder of their own.
# shellcheck shell=sh

# Status 1: it is not to be had here, and says so.
engine_here() # uring|aio|sync
{
	vhd create -q --force --size 1M engine.vhd &&
		VHD_SANDBOX=off vhd bench --count 1 --engine "$1" engine.vhd \
			>engine.says 2>&1 && return 0
	! grep -q 'another engine may work' engine.says
}

engines_here()
{
	for engine_name in uring aio sync; do
		! engine_here $engine_name || echo $engine_name
	done
	rm -f engine.vhd engine.says
}
