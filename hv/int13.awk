# SPDX-License-Identifier: BSD-2-Clause
# From the bytes of the option ROM, in decimal, its C text: each Plug and Play
# header and the whole sum to zero.
{
	for (i = 1; i <= NF; i++)
		rom[n++] = $i
}

function sum(from, bytes, at,  i, s)
{
	rom[at] = 0
	for (i = from; i < from + bytes; i++)
		s += rom[i]
	rom[at] = (256 - s % 256) % 256
}

END {
	if (n != 512)
		exit 1
	for (i = 0; i + 32 < n; i += 16)
		if (rom[i] == 36 && rom[i + 1] == 80 && rom[i + 2] == 110 &&
		    rom[i + 3] == 80)
			sum(i, 32, i + 9)
	sum(0, n, n - 1)
	print "static const unsigned char int13_rom[" n "] = {"
	for (i = 0; i < n; i++)
		printf "%s0x%02x,%s", i % 12 ? " " : "\t", rom[i],
			i % 12 == 11 || i == n - 1 ? "\n" : ""
	print "};"
}
