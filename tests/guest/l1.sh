#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Run a command on a machine that has KVM.
#
# Where the processor has virtualization and /dev/kvm opens, that is this
# machine and the command simply runs. Elsewhere it is a nested machine: QEMU
# TCG with emulated SVM boots the installed Debian kernel, loads kvm_amd,
# mounts this machine's root read-only over 9p and runs the command chrooted
# in it, so everything installed or built here is there at the same path.
#
# Writable inside: the directories given with -w, at the same path, and
# $TMPDIR (memory, gone at the end). Standard output and error come out of
# ours; the command's exit status becomes ours. 124: the time was over, and a
# line says so where the machine itself had come to a stop (it tells that it is
# there each 2 s);
# 125: the machine did not come up.
#
# L1_PID, if set, names a file for the process id of the nested machine.
#
# Why these settings: on a busy host the kernel cannot measure the TSC by
# QEMU's other timers (a clock twenty times too fast, seen in one boot of six),
# so it is told how fast it is, which is how fast the host's is; and in half of
# those boots it met no timer interrupt in the time that it looks for one, and
# gave up (no_timer_check). With two emulated processors Linux distrusts the TSC
# unless told (tsc=reliable), and then every clock read of a guest would be an
# exit; emulated SVM does not intercept XSETBV, hence no xsave, and with it
# nothing that rests on it: a Linux guest that finds AVX on such a processor
# uses it in its AES module and dies of an invalid opcode. One processor: with
# two, now and then the machine hung for good when KVM's first virtual machine
# made the kernel patch its scheduler (as hv does: tools/hv/qemu.c).
set -u

usage()
{
	cat >&2 <<-EOF
	usage: l1.sh [-m MIB] [-c CPUS] [-t SECONDS] [-w DIR]... [-n] COMMAND [ARG]...
	  -m MIB      memory of the nested machine (default 2048)
	  -c CPUS     its processors (default 1)
	  -t SECONDS  time allowed (default 300)
	  -w DIR      directory writable inside
	  -n          always the nested machine, even where KVM works
	EOF
	exit 125
}

die()
{
	echo "l1.sh: $*" >&2
	exit 125
}

memory=2048
cpus=1
limit=300
nested=auto
shares=
while getopts m:c:t:w:n o; do
	case $o in
	m) memory=$OPTARG ;;
	c) cpus=$OPTARG ;;
	t) limit=$OPTARG ;;
	w) dir=$(realpath -e -- "$OPTARG") || die "$OPTARG: no such directory"
	   shares="$shares $dir" ;;
	n) nested=yes ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage

here_has_kvm()
{
	grep -qwE 'svm|vmx' /proc/cpuinfo && [ -r /dev/kvm ] && [ -w /dev/kvm ]
}

if [ $nested = auto ] && here_has_kvm; then
	tmp=$(mktemp -d) || exit 125
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 130' INT TERM
	status=0
	TMPDIR=$tmp timeout -k 5 "$limit" "$@" || status=$?
	exit $status
fi

# The newest installed kernel that can do both KVM on AMD and 9p; Debian's
# cloud kernel has no 9p.
find_kernel()
{
	for version in $(ls /lib/modules 2>/dev/null | sort -rV); do
		[ -r "/boot/vmlinuz-$version" ] || continue
		modprobe -q -S "$version" --show-depends 9p >/dev/null 2>&1 &&
		modprobe -q -S "$version" --show-depends kvm_amd \
			>/dev/null 2>&1 || continue
		echo "$version"
		return 0
	done
	return 1
}

for tool in qemu-system-x86_64 busybox modprobe cpio; do
	PATH=$PATH:/sbin:/usr/sbin command -v $tool >/dev/null ||
		die "$tool is missing; run: sudo make deps"
done
PATH=$PATH:/sbin:/usr/sbin
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"
version=$(find_kernel) ||
	die "no kernel with kvm_amd and 9p under /boot; run: sudo make deps"

work=$(mktemp -d "${TMPDIR:-/tmp}/l1.XXXXXX") || exit 125
pid=
cleanup()
{
	[ -z "$pid" ] || kill "$pid" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- the first file system: busybox and the modules on the way to the root
mkdir -p "$work/rd/bin" "$work/rd/root" "$work/rd/proc" "$work/rd/sys" \
	"$work/rd/dev" "$work/ctl"
cp "$(command -v busybox)" "$work/rd/bin/busybox" || exit 125
put_modules "$work/rd" order '' "$version" virtio_pci virtio_console \
	9pnet_virtio 9p kvm_amd || exit 125

cat >"$work/rd/init" <<'EOF'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/mod/$module"; done </mod/order
share=trans=virtio,version=9p2000.L,msize=1048576
mount -t 9p -o $share,ro,cache=loose root /root || poweroff -f
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
mknod /dev/null c 1 3 # for what the shell starts beside itself
mkdir -p /root/dev/shm /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t devpts pts /root/dev/pts
mount -t tmpfs run /root/run
mkdir /root/run/l1 /root/run/ctl
mount -t 9p -o $share,cache=none ctl /root/run/ctl || poweroff -f
n=0
while read -r dir; do
	mount -t 9p -o $share,cache=mmap "w$n" "/root$dir" || poweroff -f
	n=$((n + 1))
done </root/run/ctl/shares
cat /root/dev/vport0p2 >/root/dev/null &
while :; do
	echo >/root/run/ctl/beat
	sleep 2
done &
chroot /root /bin/sh /run/ctl/command </root/dev/null \
	>/root/dev/vport0p1 2>&1
echo $? >/root/run/ctl/status
sync
tac /root/run/ctl/shares | while read -r dir; do umount "/root$dir"; done
sync
poweroff -f
EOF
chmod +x "$work/rd/init"
pack "$work/rd" >"$work/initrd" || exit 125

# --- what it shall run, and where
quote() # WORD
{
	printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"
}
: >"$work/ctl/shares"
n=0
set_shares=
for dir in $shares; do
	echo "$dir" >>"$work/ctl/shares"
	set_shares="$set_shares -virtfs local,path=$dir,mount_tag=w$n,security_model=none,multidevs=remap"
	n=$((n + 1))
done
{
	echo 'export TMPDIR=/run/l1 HOME=/run/l1 L1=1'
	echo "export PATH='$PATH'"
	echo "cd '$(pwd)'"
	# The environment is not carried over, but for what tests are told by.
	for name in BUILD CI LC_ALL; do
		eval "value=\${$name-}"
		[ -z "$value" ] || echo "export $name=$(quote "$value")"
	done
	printf exec
	for word; do
		printf ' %s' "$(quote "$word")"
	done
	echo
} >"$work/ctl/command"

# Linux shows twice its megahertz so.
tsc_khz=$(awk '/^bogomips/ { printf "%d", $3 * 500; exit }' /proc/cpuinfo)
words='console=ttyS0 quiet tsc=reliable no_timer_check mitigations=off panic=-1'
[ "${tsc_khz:-0}" -lt 100000 ] || words="$words tsc_early_khz=$tsc_khz"

cpu=max,+svm,-xsave,-avx,-avx2,-f16c,-fma,-vaes,-vpclmulqdq

mkfifo "$work/out" "$work/poke.in" "$work/poke.out" || exit 125
cat "$work/out" &
reader=$!

# $set_shares is a list of words.
# shellcheck disable=SC2086
timeout -k 5 "$limit" qemu-system-x86_64 \
	-machine q35 -accel tcg,thread=multi -cpu "$cpu" \
	-smp "$cpus" -m "$memory" -nodefaults -display none -no-reboot \
	-serial "file:$work/serial" \
	-device virtio-serial-pci -chardev "file,id=out,path=$work/out" \
	-device virtserialport,nr=1,chardev=out \
	-chardev "pipe,id=poke,path=$work/poke" \
	-device virtserialport,nr=2,chardev=poke \
	-kernel "/boot/vmlinuz-$version" -initrd "$work/initrd" \
	-append "$words" \
	-virtfs "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap" \
	-virtfs "local,path=$work/ctl,mount_tag=ctl,security_model=none" \
	$set_shares </dev/null &
pid=$!
# An interrupt now and then, for QEMU can lose one of the timer's (see poke in
# tools/hv/nested.c).
while kill -0 $pid 2>/dev/null; do
	echo
	sleep 0.2
done 1<>"$work/poke.in" &
while [ -n "${L1_PID-}" ] && kill -0 $pid && ! pgrep -P $pid >"$L1_PID"; do
	sleep 0.1
done
wait $pid
status=$?
pid=
# Should QEMU never have opened its end, the reader still waits for one.
exec 3<>"$work/out"
exec 3>&-
wait $reader
if [ $status -eq 124 ] || [ $status -eq 137 ]; then
	beat=$(stat -c %Y "$work/ctl/beat" 2>/dev/null || echo 0)
	still=$(($(date +%s) - beat))
	[ "$beat" -eq 0 ] || [ $still -lt 30 ] ||
		echo "l1.sh: the machine itself stands still, for $still s" >&2
	echo "l1.sh: not done after $limit s" >&2
	exit 124
fi
if [ ! -s "$work/ctl/status" ]; then
	echo "l1.sh: the nested machine did not come up (QEMU status $status):" >&2
	tail -n 15 "$work/serial" >&2
	exit 125
fi
exit "$(cat "$work/ctl/status")"
