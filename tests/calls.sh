#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Fail where files call each other in a circle: whoever reads one of them has to
# read them all. What a file has to tell one above it goes up as a result, a
# list or a note that is looked at there.
#
# usage: calls.sh BUILD         reads the objects of "make all"
#        calls.sh --self-test   a planted circle must be found
#
# A file calls another one where its object refers to what that one defines. A
# function that is handed down at run time does not count.
set -u
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

# CALLER CALLEE SYMBOL, from what "nm -A" says of objects below obj/.
pairs()
{
	awk '
	{
		file = $1
		sub(/\.o:.*/, "", file)
		sub(/.*\/obj\//, "", file)
	}
	$(NF - 1) == "U" { user[++uses] = file; used[uses] = $NF }
	$(NF - 1) ~ /^[BDRT]$/ { home[$NF] = file }
	END {
		for (i = 1; i <= uses; i++)
			if (used[i] in home && home[used[i]] != user[i])
				print user[i], home[used[i]], used[i]
	}'
}

# The circles that tsort met, and why each file is in its own.
tell_circles()
{
	awk '
	function flush(  i, j, k)
	{
		if (n)
			print "calls: " n " files call each other in a circle:"
		for (i = 1; i <= n; i++)
			for (j = 1; j <= n; j++)
				for (k = 1; k <= calls[f[i], f[j]]; k++)
					print "  " f[i] ".c calls " \
						name[f[i], f[j], k] " of " \
						f[j] ".c"
		n = 0
	}
	NR == FNR { name[$1, $2, ++calls[$1, $2]] = $3; next }
	/contains a loop/ { flush(); next }
	{ f[++n] = $2 }
	END { flush() }' "$work/pairs" "$work/circles"
}

# Of pairs on standard input.
judge()
{
	sort -u >"$work/pairs"
	cut -d' ' -f1,2 "$work/pairs" | sort -u >"$work/calls"
	if ! tsort "$work/calls" >/dev/null 2>"$work/circles"; then
		tell_circles
		return 1
	fi
	echo "calls: $(wc -l <"$work/calls") from file to file, all one way"
}

self_test()
{
	printf '%s\n' 'x/obj/a/one.o:0 T one' 'x/obj/a/one.o: U two' \
		'x/obj/b/two.o:0 T two' >"$work/nm"
	pairs <"$work/nm" | judge >/dev/null &&
		echo 'x/obj/b/two.o: U one' >>"$work/nm" &&
		! pairs <"$work/nm" | judge >/dev/null &&
		echo 'calls self-test: ok'
}

case ${1-} in
--self-test) self_test ;;
'')
	echo 'usage: calls.sh BUILD | --self-test' >&2
	exit 2
	;;
*)
	find "$1"/obj/vhd "$1"/obj/hv "$1"/obj/storvsp "$1"/obj/tools \
		-name '*.o' | while read -r object; do
		source=${object#"$1"/obj/}
		[ ! -e "${source%.o}.c" ] || echo "$object"
	done | xargs nm -A | pairs | judge
	;;
esac
