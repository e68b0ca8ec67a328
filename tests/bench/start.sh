#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Benchmark: how fast a guest starts under hv, and what hv costs beside the
# guest's memory, against QEMU and against fixed goals.
#
# usage: start.sh BUILD          JSON lines on standard output
#
# The same cloud kernel, initramfs, command line and memory for all three (hv,
# QEMU's microvm, QEMU's q35), on one machine with KVM (tests/guest/l1.sh; a
# nested one where the processor has none), in turns; medians. Time runs from
# the start of the program to the first line of the guest's /init; beside it
# stands what the guest's kernel thinks of that, which leaves out what came
# before its clock. Memory is the resident size at that moment without the
# guest's own.
#
# The first instruction: that of a guest which says one byte (first.c), there,
# and here, on a KVM that does nothing (hv_fake.c), with the cloud kernel to
# load: a nested machine's own KVM takes many times what a real one does.
# Exits to hv are counted by itself (--stats).
set -u

runs=3
memory_mib=128
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
	hv) exec "$build/bin/hv" run --accel kvm --no-reboot \
		--memory ${memory_mib}M \
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

# One start: "NAME milliseconds KiB kernel-milliseconds".
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
		*$mark*) seen=$(now_ms); kernel_ms=${line##*"$mark" }; break ;;
		esac
	done <"$tmp/console"
	if [ -n "$seen" ]; then
		kernel_ms=$(echo "$kernel_ms" | tr -d '.\r')0
		echo "$1 $((seen - began)) $(beside_guest_kib $vmm)" \
			"${kernel_ms#0}"
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
	set -- "$build/bin/hv" run --accel kvm --no-reboot --memory 128M
	echo "first $("$build/bench/first" "$tmp/tiny" 10 "$@" \
		--kernel "$tmp/tiny" <"$tmp/silence")" || exit 1
	"$@" --stats --kernel "$kernel" --initrd "$initrd" --append \
		"$words bench=off" <"$tmp/silence" 2>&1 | tr -d '\r' |
		sed -n -e 's/^hv: left the guest \([0-9]*\) times: serial port \([0-9]*\),.*/exits \1 \2/p' \
			-e 's/^hv: entered the guest \([0-9.]*\) ms.*/entered \1/p'
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
mkdir -p "$work/rd/bin" "$work/rd/dev" "$work/rd/proc" || exit 1
cp "$(command -v busybox)" "$work/rd/bin/" || exit 1
cat >"$work/rd/init" <<EOF
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
read -r line </proc/cmdline
case \$line in *bench=off*) /bin/busybox poweroff -f ;; esac
read -r up rest </proc/uptime
echo "$mark \$up"
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

# A figure that is to stay below a limit.
below() # NAME UNIT OURS LIMIT
{
	awk -v name="$1" -v unit="$2" -v ours="$3" -v most="$4" 'BEGIN {
		printf "{\"name\":\"%s\",\"ours\":%s,\"peer\":null,", \
			name, ours
		printf "\"limit\":%s,\"unit\":\"%s\",\"ratio\":%.3f,", \
			most, unit, most / ours
		printf "\"goal\":1,\"command\":\"tests/bench/start.sh\"}\n"
	}'
}

figure() # NAME COLUMN
{
	awk -v name="$1" -v column="$2" '$1 == name { print $column }' \
		"$work/log"
}

own=$("$build/bench/first" "$work/tiny" 40 "$build/bench/hv_fake" run \
	--accel kvm --memory 128M --kernel "$kernel" --initrd "$work/initrd" \
	</dev/null) || die 'hv does not start on a KVM that does nothing'
for peer in microvm q35; do
	report "start-vs-qemu-$peer" ms "$(median hv 2)" "$(median $peer 2)"
	report "kernel-vs-qemu-$peer" ms "$(median hv 4)" "$(median $peer 4)"
	report "memory-vs-qemu-$peer" KiB "$(median hv 3)" "$(median $peer 3)"
done
below first-instruction-own-part ms "${own% *}" 10
below first-instruction-own-least ms "${own#* }" 10
below first-instruction-nested ms "$(figure first 2)" 10
below exits-to-init-and-off count "$(figure exits 2)" 5000
below exits-without-serial count \
	$(($(figure exits 2) - $(figure exits 3))) 300
below memory-beside-128-mib KiB "$(median hv 3)" 5120
