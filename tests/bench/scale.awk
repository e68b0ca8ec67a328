# SPDX-License-Identifier: BSD-2-Clause
# Lines of scale.sh (DISK CHANNELS LUNS DEPTH WAITS IOPS) as an SVG: a panel a
# disk, depth to the right and requests a second upwards, both logarithmic; a
# colour a number of channels, a kind of line a number of LUNs.

function lg(x)
{
	return log(x) / log(2)
}

function x_of(panel, depth)
{
	return 70 + panel * 430 + lg(depth) / lg(256) * 330
}

function y_of(iops)
{
	return 330 - (log(iops) / log(10) - low) / (high - low) * 270
}

function text(x, y, anchor, s)
{
	printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n",
		x, y, anchor, s
}

function axis(panel, name,  e, i, d, label)
{
	text(x_of(panel, 16), 40, "middle", name)
	for (e = low; e <= high; e++) {
		printf "<path d=\"M%.1f %.1fH%.1f\" stroke=\"#ddd\"/>\n",
			x_of(panel, 1), y_of(10 ^ e), x_of(panel, 256)
		label = e >= 6 ? 10 ^ (e - 6) " M" : 10 ^ (e - 3) " k"
		text(x_of(panel, 1) - 6, y_of(10 ^ e) + 4, "end", label)
	}
	for (i = 1; i <= depths; i++) {
		d = depth_of[i]
		printf "<path d=\"M%.1f 330v5\" stroke=\"#333\"/>\n",
			x_of(panel, d)
		text(x_of(panel, d), 348, "middle", d)
	}
	text(x_of(panel, 16), 366, "middle", "requests in flight on a channel")
}

{
	key = $1 " " $2 " " $3
	if (!(key in points)) {
		order[++keys] = key
		points[key] = ""
	}
	points[key] = points[key] " " $4 ":" $6
	if (!($1 in panel_of))
		panel_of[$1] = panels++
	if (!(("d" $4) in seen)) {
		seen["d" $4] = 1
		depth_of[++depths] = $4
	}
	if (!min || $6 < min)
		min = $6
	if ($6 > max)
		max = $6
}

END {
	if (!keys)
		exit 1
	low = int(log(min) / log(10))
	high = int(log(max) / log(10)) + 1
	colour[1] = "#1b6ca8"
	colour[2] = "#c1440e"
	colour[4] = "#2e7d32"
	dash[1] = "none"
	dash[8] = "6 3"
	dash[64] = "2 3"
	print "<svg xmlns=\"http://www.w3.org/2000/svg\" " \
		"viewBox=\"0 0 860 430\" font-family=\"sans-serif\" " \
		"font-size=\"11\">"
	print "<title>Random 4 KiB reads through the storage VSP</title>"
	print "<rect width=\"860\" height=\"430\" fill=\"white\"/>"
	text(430, 20, "middle", "Random 4 KiB reads through the storage " \
		"VSP, requests a second")
	for (name in panel_of)
		axis(panel_of[name], name == "null" ? \
			"a disk that answers at once" : \
			"a dynamic VHD in the page cache")
	for (i = 1; i <= keys; i++) {
		split(order[i], k, " ")
		n = split(points[order[i]], p, " ")
		printf "<polyline fill=\"none\" stroke=\"%s\" " \
			"stroke-width=\"1.5\" stroke-dasharray=\"%s\" " \
			"points=\"", colour[k[2]], dash[k[3]]
		for (j = 1; j <= n; j++) {
			split(p[j], v, ":")
			printf "%s%.1f,%.1f", (j > 1 ? " " : ""),
				x_of(panel_of[k[1]], v[1]), y_of(v[2])
		}
		print "\"/>"
	}
	at = 80
	for (c = 1; c <= 4; c *= 2) {
		printf "<path d=\"M%d 390h30\" stroke=\"%s\" " \
			"stroke-width=\"2\"/>\n", at, colour[c]
		text(at + 36, 394, "start", c " " (c > 1 ? "channels" : \
			"channel"))
		at += 125
	}
	for (l = 1; l <= 64; l *= 8) {
		printf "<path d=\"M%d 390h30\" stroke=\"#333\" " \
			"stroke-width=\"1.5\" stroke-dasharray=\"%s\"/>\n",
			at, dash[l]
		text(at + 36, 394, "start", l " " (l > 1 ? "LUNs" : "LUN"))
		at += 105
	}
	print "</svg>"
}
