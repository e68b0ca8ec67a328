#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Benchmark: how fast a guest starts under hv, and what hv costs beside the
# guest's memory, against QEMU.
#
# usage: start.sh BUILD          JSON lines on standard output
#
# The same cloud kernel, initramfs, command line and memory for all three (hv,
# QEMU's microvm, QEMU's q35), on one machine with KVM (tests/guest/l1.sh; a
# nested one where the processor has none), in turns; medians. Time runs from
# the start of the program to the first line of the guest's /init. Memory is
# the resident size at that moment without the guest's own.
set -u

runs=5
memory_mib=256
words='console=ttyS0 quiet panic=-1'
mark=GUEST-INIT

die()
{
	echo "start.sh: $*" >&2
	exit 1
}

# --- inside the machine with KVM
now_ms()
{
	echo $(($(date +%s%N) / 1000000))
}

start_vmm() # NAME
{
	case $1 in
	hv) exec "$build/bin/hv" run --accel kvm --no-reboot --memory ${memory_mib}M \
		--kernel "$kernel" --initrd "$initrd" --append "$words" ;;
	microvm) exec qemu-system-x86_64 -machine microvm,isa-serial=on \
		-accel kvm -cpu host -m $memory_mib -nodefaults \
		-no-user-config -display none -serial stdio \
		-kernel "$kernel" -initrd "$initrd" -append "$words" ;;
	q35) exec qemu-system-x86_64 -machine q35 \
		-accel kvm -cpu host -m $memory_mib -nodefaults \
		-no-user-config -display none -serial stdio \
		-kernel "$kernel" -initrd "$initrd" -append "$words" ;;
	esac
}

# Resident KiB of a process outside mappings as large as the guest's memory.
beside_guest_kib() # PID
{
	awk -v ram=$((memory_mib * 1024)) '
		$1 == "Size:" { counts = $2 < ram }
		$1 == "Rss:" && counts { sum += $2 }
		END { print sum + 0 }' "/proc/$1/smaps"
}

# One start: "NAME milliseconds KiB".
measure() # NAME
{
	mkfifo "$tmp/console"
	began=$(now_ms)
	start_vmm "$1" <"$tmp/silence" >"$tmp/console" 2>"$tmp/$1.err" &
	vmm=$!
	(
		sleep 60
		kill -KILL $vmm
	) 2>/dev/null &
	guard=$!
	seen=
	while read -r line; do
		case $line in
		*$mark*) seen=$(now_ms); break ;;
		esac
	done <"$tmp/console"
	if [ -n "$seen" ]; then
		echo "$1 $((seen - began)) $(beside_guest_kib $vmm)"
	fi
	kill $vmm 2>/dev/null
	kill $guard 2>/dev/null
	wait $vmm 2>/dev/null
	rm -f "$tmp/console"
	[ -n "$seen" ] || {
		echo "$1 did not start:" >&2
		head -n 5 "$tmp/$1.err" >&2
		return 1
	}
}

if [ "${1-}" = --inside ]; then
	build=$2 kernel=$3 initrd=$4
	tmp=$(mktemp -d) || exit 1
	# A console input that never ends and never says anything.
	mkfifo "$tmp/silence"
	exec 9<>"$tmp/silence"
	for vmm in hv microvm q35; do	# warms the caches, is not counted
		measure $vmm >/dev/null || exit 1
	done
	n=0
	while [ $n -lt $runs ]; do
		for vmm in hv microvm q35; do
			measure $vmm || exit 1
		done
		n=$((n + 1))
	done
	exit 0
fi

# --- outside
build=$(realpath -e -- "${1:?usage: start.sh BUILD}") || exit 1
[ -x "$build/bin/hv" ] || die "$build/bin/hv is not built"
kernel=$(find /boot -name 'vmlinuz-*-cloud-amd64' | sort -V | tail -n 1)
[ -n "$kernel" ] || die "no cloud kernel in /boot; run: sudo make deps"
work=$build/bench/start
mkdir -p "$work/rd/bin" "$work/rd/dev" || exit 1
cp "$(command -v busybox)" "$work/rd/bin/" || exit 1
cat >"$work/rd/init" <<EOF
#!/bin/busybox sh
echo $mark
exec /bin/busybox sleep 1000
EOF
chmod +x "$work/rd/init"
(cd "$work/rd" && find . | cpio -o -H newc --quiet | gzip -1) \
	>"$work/initrd" || exit 1

"$(dirname "$0")/../guest/l1.sh" -m 3072 -t 900 \
	"$(realpath "$0")" --inside "$build" "$kernel" "$work/initrd" \
	>"$work/log" || { cat "$work/log" >&2; exit 1; }

median() # NAME COLUMN
{
	awk -v name="$1" -v column="$2" '$1 == name { print $column }' \
		"$work/log" | sort -n | awk '{ v[NR] = $1 }
		END { print v[int((NR + 1) / 2)] }'
}

report() # NAME UNIT OURS PEER
{
	awk -v name="$1" -v unit="$2" -v ours="$3" -v peer="$4" 'BEGIN {
		printf "{\"name\":\"%s\",\"ours\":%d,\"peer\":%d,", \
			name, ours, peer
		printf "\"limit\":null,\"unit\":\"%s\",\"ratio\":%.3f,", \
			unit, peer / ours
		printf "\"goal\":1,\"command\":\"tests/bench/start.sh\"}\n"
	}'
}

for peer in microvm q35; do
	report "start-vs-qemu-$peer" ms "$(median hv 2)" "$(median $peer 2)"
	report "memory-vs-qemu-$peer" KiB "$(median hv 3)" "$(median $peer 3)"
done
