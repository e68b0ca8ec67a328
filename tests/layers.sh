#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Fail on an #include that goes against the layering.
#
# usage: layers.sh [ROOT]        check the tree (default: here)
#        layers.sh --self-test   planted includes must be found
#
# The rules are the table below: the first row whose prefix begins the path of
# the including file says which headers of ours it may see. A header outside
# the table's words is private to its folder; tests/ and fuzz/ see everything.
set -u

# FLOOR: header-only, without state, open to all.
# KVM: the file may include <linux/kvm.h>; hv_init is a program of its own that
# prepares a machine for hv; the sandbox lists the requests that hv/ makes.
rules()
{
	cat <<-EOF
	vhd/endian.h    FLOOR
	vhd/checked.h   FLOOR
	vhd/err.h       FLOOR
	vhd/nap.h       FLOOR
	vhd/            FLOOR vhd/
	hv/vmbus.h      FLOOR hv/gpa.h
	hv/vmbus/       FLOOR hv/gpa.h hv/vmbus.h hv/vmbus/
	hv/gpa.         FLOOR hv/gpa.h
	hv/ic.h         FLOOR hv/gpa.h hv/vmbus.h
	hv/ic/          FLOOR hv/gpa.h hv/vmbus.h hv/ic.h hv/ic/
	hv/int13/       FLOOR hv/gpa.h hv/disk.h hv/eltorito.h hv/int13.h hv/int13/
	hv/clock.h      FLOOR
	hv/outlet.      FLOOR hv/clock.h hv/outlet.h
	hv/             FLOOR KVM hv/*.h hv/chip/
	storvsp/scsi/   FLOOR vhd/vhd.h storvsp/storvsp.h storvsp/wire.h storvsp/scsi/
	storvsp/        FLOOR hv/gpa.h hv/vmbus.h vhd/vhd.h storvsp/
	tools/hv/init.  KVM tools/
	tools/sandbox/table. FLOOR KVM tools/
	tools/          FLOOR hv/gpa.h hv/vmbus.h hv/hv.h hv/clock.h hv/disk.h hv/outlet.h vhd/vhd.h storvsp/storvsp.h tools/
	EOF
}

# Headers made at build time, and who may see each.
generated='dsdt.h=hv/ ssdt_pci.h=hv/ int13_rom.h=hv/'

check_tree()
{
	(
	cd "$1" || exit 2
	find vhd hv storvsp tools -name '*.[chS]' -print 2>/dev/null | sort |
	while read -r file; do
		grep -nE '^[[:space:]]*#[[:space:]]*include' "$file" /dev/null
	done | awk -v rules="$(rules)" -v generated="$generated" '
	function exists(path,  line, ok)
	{
		ok = (getline line < path) >= 0
		close(path)
		return ok
	}
	# dir/../x.h and dir/./x.h as the compiler would find them
	function normal(path,  n, part, out, i, depth, word)
	{
		n = split(path, part, "/")
		depth = 0
		for (i = 1; i <= n; i++) {
			if (part[i] == "" || part[i] == ".")
				continue
			if (part[i] == ".." && depth > 0 &&
			    word[depth] != "..")
				depth--
			else
				word[++depth] = part[i]
		}
		out = word[1]
		for (i = 2; i <= depth; i++)
			out = out "/" word[i]
		return out
	}
	function complain(text)
	{
		printf "%s:%s: %s\n", file, line, text
		bad++
	}
	function rule_of(path,  i)
	{
		for (i = 1; i <= nrules; i++)
			if (index(path, prefix[i]) == 1)
				return i
		return 0
	}
	function permits(rule, target,  n, word, i, dir)
	{
		n = split(allow[rule], word, " ")
		for (i = 1; i <= n; i++) {
			if (word[i] == "FLOOR") {
				if (target ~ /^vhd\/(endian|checked|err|nap)\.h$/)
					return 1
			} else if (word[i] ~ /\/\*\.h$/) {
				dir = substr(word[i], 1, length(word[i]) - 3)
				if (index(target, dir) == 1 &&
				    substr(target, length(dir) + 1) !~ /\//)
					return 1
			} else if (word[i] ~ /\/$/) {
				if (index(target, word[i]) == 1)
					return 1
			} else if (target == word[i]) {
				return 1
			}
		}
		return 0
	}
	BEGIN {
		n = split(generated, header, " ")
		for (i = 1; i <= n; i++) {
			split(header[i], part, "=")
			seers[part[1]] = part[2]
		}
		nrules = split(rules, row, "\n")
		for (i = 1; i <= nrules; i++) {
			prefix[i] = row[i]
			sub(/[ \t].*/, "", prefix[i])
			allow[i] = row[i]
			sub(/^[^ \t]+[ \t]+/, "", allow[i])
		}
	}
	{
		file = $0; sub(/:.*/, "", file)
		line = substr($0, length(file) + 2); sub(/:.*/, "", line)
		text = $0; sub(/^[^#]*#[ \t]*include[ \t]*/, "", text)
		edges++
		rule = rule_of(file)
		if (text ~ /^<linux\/kvm/ && allow[rule] !~ /KVM/)
			complain("includes <linux/kvm.h>; only hv/ knows KVM")
		if (text !~ /^"/)
			next
		target = text
		sub(/^"/, "", target)
		sub(/".*/, "", target)
		if (target in seers) {
			if (index(file, seers[target]) != 1)
				complain("may not include " target)
			next
		}
		dir = file
		sub(/[^\/]*$/, "", dir)
		path = normal(dir target)
		if (!exists(path))
			path = normal(target)
		if (!exists(path)) {
			complain("includes " target ", which is not there")
			next
		}
		if (!rule || !permits(rule, path))
			complain("may not include " path)
	}
	END {
		if (!bad)
			printf "layers: %d includes, all point down\n", edges
		exit bad > 0
	}'
	)
}

# Each row: a file, what it includes, and whether that is fine.
self_test()
{
	tree=$(mktemp -d) || exit 2
	trap 'rm -rf "$tree"' EXIT
	bad=0
	while read -r verdict file header; do
		rm -rf "$tree/t"
		mkdir -p "$tree/t/vhd" "$tree/t/hv/vmbus" "$tree/t/hv/chip" \
			"$tree/t/storvsp/scsi" "$tree/t/tools/cli" \
			"$tree/t/tools/hv" "$tree/t/tests"
		for h in vhd/vhd.h vhd/endian.h vhd/err.h vhd/map.h hv/hv.h \
			 hv/gpa.h hv/vmbus.h hv/vcpu.h hv/vmbus/ring.h \
			 hv/chip/uart.h storvsp/storvsp.h storvsp/wire.h \
			 storvsp/session.h tools/cli/size.h tests/model.h; do
			echo >"$tree/t/$h"
		done
		case $header in
		'<'*) echo "#include $header" ;;
		*) echo "#include \"$header\"" ;;
		esac >>"$tree/t/$file"
		if check_tree "$tree/t" >/dev/null; then
			found=good
		else
			found=bad
		fi
		[ $found = "$verdict" ] || {
			echo "layers self-test: $file including $header" \
			     "was judged $found"
			bad=1
		}
	done <<-EOF
	good vhd/map.c map.h
	good vhd/map.c <linux/fs.h>
	good vhd/vhd.h err.h
	bad  vhd/map.c hv/gpa.h
	bad  vhd/map.c ../hv/gpa.h
	bad  vhd/map.c storvsp/storvsp.h
	bad  vhd/map.c tests/model.h
	bad  vhd/endian.h vhd/map.h
	bad  vhd/map.c nowhere.h
	good hv/vcpu.c hv/vmbus.h
	good hv/vcpu.c vhd/err.h
	good hv/vcpu.c chip/uart.h
	good hv/chip/uart.c ../vcpu.h
	good hv/vcpu.c <linux/kvm.h>
	good hv/acpi.c dsdt.h
	bad  hv/vcpu.c vhd/vhd.h
	bad  hv/vcpu.c vhd/map.h
	bad  hv/vcpu.c storvsp/storvsp.h
	bad  hv/vcpu.c hv/vmbus/ring.h
	good hv/vmbus/ring.c hv/gpa.h
	good hv/vmbus/ring.c ring.h
	bad  hv/vmbus/ring.c hv/hv.h
	bad  hv/vmbus/ring.c hv/vcpu.h
	bad  hv/vmbus/ring.c <linux/kvm.h>
	bad  hv/gpa.c <linux/kvm.h>
	bad  hv/vmbus.h <linux/kvm.h>
	bad  hv/vmbus.h hv/hv.h
	good storvsp/session.c wire.h
	good storvsp/scsi/sense.c storvsp/wire.h
	bad  storvsp/scsi/sense.c storvsp/session.h
	bad  storvsp/scsi/sense.c hv/vmbus.h
	good storvsp/session.c hv/vmbus.h
	good storvsp/session.c vhd/vhd.h
	bad  storvsp/session.c vhd/map.h
	bad  storvsp/session.c hv/hv.h
	bad  storvsp/session.c hv/vmbus/ring.h
	bad  storvsp/session.c <linux/kvm.h>
	bad  storvsp/session.c dsdt.h
	good tools/hv/hv.c tools/cli/size.h
	good tools/hv/hv.c hv/hv.h
	good tools/hv/hv.c storvsp/storvsp.h
	bad  tools/hv/hv.c storvsp/wire.h
	bad  tools/hv/hv.c vhd/map.h
	bad  tools/hv/hv.c <linux/kvm.h>
	good tools/hv/init.c <linux/kvm.h>
	bad  tools/hv/init.c hv/hv.h
	EOF
	[ $bad -eq 0 ] && echo "layers self-test: ok"
	return $bad
}

case ${1-} in
--self-test) self_test ;;
*) check_tree "${1:-.}" ;;
esac
