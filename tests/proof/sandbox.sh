#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The tools' sandbox as it is at work: under strace each verb loads its filter
# before it opens an image (S7), and what all of them call after that is
# compared with the table in vhd-sandbox(7), which tests/tools_sandbox compares
# with the code: a rule that no run needs must be in sandbox-rare.tsv with its
# reason (S3). The threads of hv: sandbox_threads.sh.
#
# usage: sandbox.sh BUILD [-v]     -v: print the rules that were not met
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "$1" && pwd) || exit 1
verbose=${2-}
# shellcheck source=tests/lib/proof.sh
. "$root/tests/lib/proof.sh"
# shellcheck source=tests/lib/wait.sh
. "$root/tests/lib/wait.sh"
PATH=$build/bin:$PATH:/usr/sbin:/sbin
dir=$(mktemp -d "${TMPDIR:-/tmp}/sandbox.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
cd "$dir" || exit 1
unset VHD_SANDBOX
if [ "${SAN-}" = 1 ]; then
	echo "a sanitized build has no sandbox: skipped"
	exit 0
fi
if ! strace -o /dev/null true 2>/dev/null; then
	echo "strace may not trace here: skipped"
	exit 0
fi
runs=0 late=0

# One command of a role; it must succeed or find something, and its filter must
# be there before the first image is opened other than by O_PATH; qemu-nbd reads
# before that.
run() # ROLE COMMAND...
{
	role=$1
	shift
	runs=$((runs + 1))
	strace -f -qq -o trace "$@" >out 2>err </dev/null
	status=$?
	if [ $status -gt 1 ]; then
		echo "status $status: $*: $(cat err)"
		late=$((late + 1))
		return
	fi
	awk '/ execve\("[^"]*vhd/ { early = 0 }
	     / seccomp\(SECCOMP_SET_MODE_FILTER, 0, \{/ { on = 1; next }
	     on { print; next }
	     /open.*\.(vhd|raw|gz|qcow2)"/ && !/O_PATH/ { early = 1 }
	     END { exit !(on && (!early || role == "n")) }' role="$role" \
		trace >after || {
		echo "opened before the sandbox: $*"
		late=$((late + 1))
	}
	awk -v role="$role" '{ sub(/^[0-9]+ +/, "")
		if (match($0, /^[a-z0-9_]+\(/))
			print role, substr($0, 1, RLENGTH - 1)
		else if (match($0, /^<\.\.\. [a-z0-9_]+/))
			print role, substr($0, 6, RLENGTH - 5) }' after |
		sort -u >>used
}

truncate -s 3M raw.raw
head -c 200000 /dev/urandom | dd of=raw.raw conv=notrunc 2>/dev/null
mke2fs -q -F -b 1024 raw.raw 2048 >/dev/null 2>&1
gzip -k raw.raw
run w vhd create --size 8M base.vhd
run w vhd-convert --to dynamic --from raw raw.raw a.vhd
run w vhd-convert --to dynamic --from raw --engine aio raw.raw b.vhd
run w vhd-convert --to fixed --from raw --engine sync --verify raw.raw c.vhd
run w vhd-convert --to raw --digest sha256,crc32c --json a.vhd d.raw
run w vhd-convert --to dynamic --from raw --force --json raw.raw b.vhd
run w vhd-convert --to dynamic --from raw --resume raw.raw r.vhd
run w vhd-convert --to raw --compress gzip:1 a.vhd e.gz
run w vhd-convert --from raw --decompress gzip --to dynamic raw.raw.gz f.vhd
run w sh -c 'exec vhd-convert --to raw a.vhd - >g.raw'
run w sh -c 'exec vhd-convert --from raw --to dynamic - h.vhd <raw.raw'
run w vhd-convert --in-place --from raw --to fixed g.raw
run w vhd create --type differencing --parent a.vhd child.vhd
run w vhd bench --destroy --write --count 20 child.vhd
run w vhd bench --write --count 20 a.vhd
run w vhd snapshot child.vhd top.vhd
run w vhd snapshot --rename mid.vhd top.vhd
run w vhd rebase --parent a.vhd child.vhd
run w vhd merge child.vhd
run w vhd resize +8M b.vhd
run w vhd compact b.vhd
run w vhd compact --rewrite b.vhd
run w vhd set --id new b.vhd
cp b.vhd broken.vhd
printf '\1\2\3\4' | dd of=broken.vhd bs=1 seek=70 conv=notrunc 2>/dev/null
run w vhd repair --yes broken.vhd
run w vhd repair --salvage saved.vhd --force broken.vhd
run w vhd-inspect --svg map.svg a.vhd
run r vhd-inspect --json a.vhd top.vhd
run r vhd-inspect --map --zeros a.vhd
run r vhd check --data --chain top.vhd a.vhd c.vhd
run r vhd map a.vhd
run r vhd map --host-holes raw.raw
run r vhd compare a.vhd raw.raw
run r vhd diff --content top.vhd
run r vhd bench --count 20 a.vhd
run r vhd bench --count 20 --engine aio a.vhd
run r vhd bench --count 20 --engine sync a.vhd
qemu-img convert -f raw -O qcow2 raw.raw q.qcow2
run n vhd-convert --from qcow2 --to dynamic q.qcow2 n.vhd
truncate -s 3M served.raw
qemu-nbd -t -f raw -k "$dir/socket" served.raw &
server=$!
until_ok listens "$dir/socket" || echo "qemu-nbd does not listen"
run n vhd-convert --to raw --from raw --verify raw.raw "nbd+unix:///?socket=$dir/socket"
run n vhd-convert --to dynamic "nbd+unix:///?socket=$dir/socket" m.vhd
run n vhd compare "nbd+unix:///?socket=$dir/socket" raw.raw
kill $server 2>/dev/null
wait $server 2>/dev/null

# "CALL LETTERS" of the tools' roles, from the page.
sed -n '/BEGIN TABLE/,/END TABLE/s/^\.BR \([a-z0-9_]*\) " (\([a-z]*\))".*/\1 \2/p' \
	"$root/tools/man/vhd-sandbox.7" >rules
sort -u used -o used
# Where nobody may have a ring, no run needs a rule for one.
no_rings=0
VHD_SANDBOX=off vhd bench --engine uring --count 1 a.vhd >out 2>err ||
	{ grep -q 'cannot set up io_uring' err && no_rings=1; }
awk -v rare="$here/sandbox-rare.tsv" -v no_rings=$no_rings '
	BEGIN { while ((getline line < rare) > 0)
			if (line !~ /^#/) {
				split(line, f, "\t")
				if (f[3] != "")
					excused[f[1]] = excused[f[1]] f[2]
			} }
	FILENAME == "used" { met[$2, $1] = 1; next }
	{ for (i = 1; i <= length($2); i++) {
		role = substr($2, i, 1)
		if (role !~ /[rwn]/)
			continue
		total++
		# a role does what the narrower ones do, too
		if (met[$1, role] || (role != "r" && met[$1, "r"]) ||
		    (role == "n" && met[$1, "w"]))
			hit++
		else if (index(excused[$1], role) ||
			 (no_rings && $1 ~ /^io_uring_/))
			reason++
		else
			print $1, role
	  } }
	END { printf "%d %d %d\n", total, hit, reason >"counts" }' used rules >never
read -r total hit reason <counts
[ "$verbose" != -v ] || cat never
unmet=$(wc -l <never)
verdict=met
[ "$unmet" -eq 0 ] || verdict=unmet
proof_figure S3 $verdict "$hit of $total rules of tools met in $runs runs," \
	"$reason kept for a reason, $unmet neither"
verdict7=met
[ $late -eq 0 ] || verdict7=unmet
proof_figure S7 $verdict7 "$((runs - late)) of $runs runs in the sandbox" \
	"before an image is read"
echo "S3: $hit of $total, $reason with a reason, $unmet neither; S7: $late of $runs late"
[ $verdict = met ] && [ $verdict7 = met ]
