#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Build the hostile kernel, a bzImage.
# usage: build.sh FILE
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh FILE}
cc=${CC:-gcc}
top=$here/../../..
mkdir -p "$out.d"
for src in head.S kernel.c talk.c acts.c; do
	"$cc" -std=gnu11 -O2 -g -Wall -Wextra -Werror -I"$top" \
		-ffreestanding -fno-pic -fno-pie -fno-stack-protector \
		-fcf-protection=none -fno-asynchronous-unwind-tables \
		-fno-strict-aliasing -mno-red-zone -mgeneral-regs-only \
		-c -o "$out.d/$src.o" "$here/$src"
done
"$cc" -static -nostdlib -no-pie -Wl,--build-id=none -Wl,--no-warn-rwx-segments \
	-Wl,-T,"$here/link.ld" -o "$out.elf" "$out.d"/*.o
objcopy -O binary -R .bss "$out.elf" "$out"
