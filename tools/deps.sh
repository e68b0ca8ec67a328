#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Install the Debian packages that the Makefile's targets need.
#
# usage: deps.sh [GROUP]...     groups: build run test demo afl (default: all but
#                                the last)
#
# Silent and quick when nothing is missing. Otherwise it installs what is
# missing when root, and says what to type when not. The package lists are
# fetched only when apt knows no version of something, or an older list led to
# a file that is gone. On a system without dpkg nothing is checked.
set -u

# Group, package and why; the one list of what this project stands on.
packages()
{
	cat <<-EOF
	build gcc               compiler
	build libc6-dev         C library
	build liburing-dev      the io_uring engine of the disk queue
	build libaio-dev        the libaio engine
	build libisal-dev       zero scan
	build libblkid-dev      partitions and file systems in vhd-inspect
	build libjson-c-dev     JSON output
	build libseccomp-dev    filters of system calls: the sandbox
	build zlib1g-dev        gzip streams
	build libssl-dev        digests of converted disks
	build libnbd-dev        images on NBD servers, in the library and the tools
	build nbdkit-plugin-dev header of the nbdkit plugin
	build libext2fs-dev     free space of ext2, ext3 and ext4
	build comerr-dev        its error texts
	build libfuse3-dev      a partition shown to other programs as a file
	build acpica-tools      iasl makes the guest's DSDT
	run   qemu-utils        qemu-nbd reads qcow2, VMDK, VHDX, VDI
	run   qemu-system-x86   nested machine where the processor has no KVM
	run   linux-image-amd64 its kernel: kvm_amd, 9p
	run   seabios           the BIOS of a guest that boots from its disk
	run   fuse3             mounts without being root
	run   xfsprogs          free space of XFS
	run   ntfs-3g           state of NTFS volumes
	run   partclone         free space of NTFS and FAT
	run   dosfstools        state of FAT volumes
	run   nbdkit            vhd serve runs it
	test  fuse2fs           mounting ext4 without the kernel
	test  ntfs-3g           mounting NTFS, and mkntfs
	test  libcmocka-dev     unit tests
	test  pkg-config        flags of the installed library
	test  clang             fuzzers, second compiler
	test  clang-tidy        static analysis
	test  cppcheck          a second one
	test  shellcheck        a third, of scripts
	test  valgrind          memory errors of the optimised build
	test  libclang-rt-14-dev libFuzzer and the sanitizers of that clang
	test  llvm              symbols in sanitizer reports
	test  qemu-utils        independent reader and writer of VHDs
	test  libvhdi-utils     a second one
	test  librsvg2-bin      renders inspect's pictures
	test  nbdkit            NBD servers of every kind for vhd-convert
	test  libnbd-bin        nbdcopy, an independent NBD client
	test  fio               measure for the disk queue
	test  e2fsprogs         e2fsck, mke2fs
	test  xfsprogs          an XFS, on which files can share blocks
	test  fdisk             sfdisk
	test  mtools            files on FAT
	test  procps            looks whether a process was left behind
	test  strace            a full disk and other faults in the tools' tests
	test  linux-image-cloud-amd64 kernel of the small test guest
	test  busybox-static    its programs
	test  sg3-utils         its look at every SCSI command
	test  hyperv-daemons    its KVP and VSS daemons
	test  genisoimage       a disc for its DVD drive
	test  grub-pc-bin       the boot loader of a disk that boots by itself
	test  grub-common       puts its parts together
	test  syslinux          another one, for disks made by hand
	test  syslinux-common   its boot sectors
	test  extlinux          the same in ext4, on a disk that boots by itself
	test  isolinux          ... and on a disc
	test  kmod              its modules, and those of tests/guest/l1.sh
	test  cpio              packs its first file system
	test  python3           reads llvm-cov's figures
	afl   afl++             the fuzz targets under a second fuzzer
	demo  mmdebstrap        makes the Debian root
	demo  e2fsprogs         its ext4
	demo  grub-pc-bin       its boot loader
	demo  grub-common       grub-mkimage
	demo  fdisk             its partition table
	demo  qemu-utils        reads the disk back independently
	EOF
}

groups=${*:-build run test demo}
for group in $groups; do
	packages | grep -q "^$group " ||
		{ echo "deps.sh: no group $group" >&2; exit 2; }
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "deps.sh: not a Debian system, packages are not checked" >&2
	exit 0
fi

wanted=$(packages | awk -v groups=" $groups " \
	'index(groups, " " $1 " ") && !seen[$2]++ { print $2 }')
# shellcheck disable=SC2086 # lists of words, here and below
present=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted \
	2>/dev/null | awk '$1 == "installed" { print $2 }')
missing=
for package in $wanted; do
	echo "$present" | grep -qxF "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "missing packages:$missing; run: sudo make deps" >&2
	exit 1
fi

apt()
{
	DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 \
		-o Dpkg::Use-Pty=0 "$@" </dev/null
}

lists_complete()
{
	for package in $missing; do
		apt-cache policy "$package" 2>/dev/null |
			grep -qE '^  Candidate: [0-9]' || return 1
	done
}

echo "installing:$missing"
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
lists_complete || apt update >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
apt install --no-install-recommends $missing >"$log" 2>&1 ||
	{ apt update && apt install --no-install-recommends $missing; } \
		>>"$log" 2>&1 ||
	{ tail -n 30 "$log" >&2
	  echo "deps.sh: packages could not be installed (see above)" >&2
	  exit 1; }
