# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# What guests are made of, for the scripts that make one: modules, libraries,
# an initramfs, a boot loader. Sourced, with /sbin in PATH; functions whose body
# is a subshell leave their caller's variables alone.

# The modules' files and those of all they need, in the order of loading.
module_files() # RELEASE MODULE...
(
	release=$1
	shift
	depends=
	for module; do
		depends="$depends
$(modprobe -S "$release" --show-depends "$module")" || return 1
	done
	echo "$depends" | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
)

# Those files into DIR/mod, but for the ones that BESIDE/mod has; their names
# into DIR/mod/LIST.
put_modules() # DIR LIST BESIDE RELEASE MODULE...
(
	mod=$1/mod
	list=$2
	beside=$3
	shift 3
	mkdir -p "$mod" && paths=$(module_files "$@") && [ -n "$paths" ] ||
		return 1
	for path in $paths; do
		[ -z "$beside" ] || [ ! -e "$beside/mod/${path##*/}" ] ||
			continue
		cp "$path" "$mod/" && echo "${path##*/}" || return 1
	done >"$mod/$list"
)

# The libraries that the programs in DIR need.
libraries() # DIR
{
	find "$1" -type f -perm -u+x -exec ldd {} + 2>/dev/null |
		grep -o '/[^ ]*\.so[^ ]*' | sort -u
}

# What is in DIR, as an initramfs.
pack() # DIR
{
	(cd "$1" && find . | cpio -o -H newc --quiet)
}

# The small guest's initramfs, made by initrd.sh in SMALL, and behind it what is
# in DIR, with the libraries for it and the modules it lacks, which mod/more
# lists.
more_initrd() # FILE SMALL DIR MODULE...
(
	out=$1
	small=$2
	more=$3
	shift 3
	for library in $(libraries "$more"); do
		mkdir -p "$more${library%/*}" &&
			cp -L "$library" "$more$library" || return 1
	done
	kernel=$(readlink "$small/vmlinuz")
	put_modules "$more" more "$small/rd" "${kernel##*/vmlinuz-}" "$@" ||
		return 1
	{
		cat "$small/initrd" && pack "$more"
	} >"$out"
)

# A number of eight bytes, little-endian, into a file.
number() # OFFSET VALUE FILE
(
	rest=$2
	for _ in 0 1 2 3 4 5 6 7; do
		# shellcheck disable=SC2059 # the format is the byte
		printf "\\$(printf %03o $((rest % 256)))"
		rest=$((rest / 256))
	done | dd of="$3" bs=1 seek="$1" conv=notrunc status=none
)

# What grub-install does on a disk: boot.img in the first sector, but for the
# partition table there, says where core.img begins; core.img's first sector
# says where it goes on. It has MAX sectors there: before the first partition,
# or a BIOS boot partition.
install_grub() # DISK SECTOR MAX PREFIX MODULE...
(
	grub=/usr/lib/grub/i386-pc
	[ -r "$grub/boot.img" ] ||
		{ echo 'no GRUB; run: sudo make deps' >&2; return 1; }
	disk=$1
	core=$2
	max=$3
	prefix=$4
	shift 4
	grub-mkimage -O i386-pc -o "$disk.core" -p "$prefix" "$@" || return 1
	[ "$(wc -c <"$disk.core")" -le $((max * 512)) ] ||
		{ echo 'the boot loader does not fit its place' >&2; return 1; }
	head -c 440 "$grub/boot.img" |
		dd of="$disk" conv=notrunc status=none &&
		dd if="$disk.core" of="$disk" bs=512 seek="$core" \
			conv=notrunc status=none &&
		number 92 "$core" "$disk" &&
		number $((core * 512 + 500)) $((core + 1)) "$disk" &&
		rm "$disk.core"
)
