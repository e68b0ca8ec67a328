/* SPDX-License-Identifier: BSD-2-Clause */
/* What hv answers, as tables for a person. The texts in it were cleaned where
 * they came in; a missing field shows as nothing or 0.
 */
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "tools/cli/json.h"

static uint64_t number(struct json_object *o, const char *key)
{
	int64_t n = json_object_get_int64(cli_json_get(o, key));

	return n < 0 ? 0 : (uint64_t)n;
}

/* Foreign until cleaned; valid until the next call with this buffer. */
static const char *text(struct json_object *o, const char *key, char *buf,
			size_t n)
{
	const char *s = json_object_get_string(cli_json_get(o, key));

	snprintf(buf, n, "%s", s ? s : "");
	cli_text_clean(buf);
	return buf;
}

static const char *place(struct json_object *o, char *buf, size_t n)
{
	snprintf(buf, n, "%u:%u", (unsigned)number(o, "controller"),
		 (unsigned)number(o, "lun"));
	return buf;
}

void ctl_show_list(struct json_object *answer)
{
	struct json_object *disks = cli_json_get(answer, "disks");
	char at[16], size[CLI_SIZE_TEXT], format[32], state[16], name[512];

	printf("%-6s %10s  %-12s %-4s %-8s %s\n", "disk", "size", "format",
	       "mode", "state", "file");
	for (size_t i = 0; i < cli_json_count(disks); i++) {
		struct json_object *d = json_object_array_get_idx(disks, i);
		bool ro = json_object_get_boolean(cli_json_get(d, "read-only"));

		printf("%-6s %10s  %-12s %-4s %-8s %s\n",
		       place(d, at, sizeof(at)),
		       cli_size_text(number(d, "size"), size, sizeof(size)),
		       text(d, "format", format, sizeof(format)),
		       json_object_get_boolean(cli_json_get(d, "dvd")) ? "dvd"
		       : ro					       ? "ro"
								       : "rw",
		       text(d, "state", state, sizeof(state)),
		       text(d, "name", name, sizeof(name)));
	}
}

/* ----------------------------------------------------------- statistics -- */

/* Of one disk at the moment before, or NULL. */
static struct json_object *same(struct json_object *before,
				struct json_object *d)
{
	for (size_t i = 0; before && i < cli_json_count(before); i++) {
		struct json_object *o = json_object_array_get_idx(before, i);

		if (number(o, "controller") == number(d, "controller") &&
		    number(o, "lun") == number(d, "lun"))
			return o;
	}
	return NULL;
}

/* How fast it grows, or, without a moment before, how much it is. */
static double rate(struct json_object *now, struct json_object *then,
		   const char *kind, const char *key, double seconds)
{
	uint64_t n = number(cli_json_get(now, kind), key);
	uint64_t was = then ? number(cli_json_get(then, kind), key) : 0;

	if (!then)
		return (double)n;
	return n < was || seconds <= 0 ? 0 : (double)(n - was) / seconds;
}

static double us(struct json_object *d, const char *kind, const char *key)
{
	return (double)number(cli_json_get(cli_json_get(d, kind), "latency-ns"),
			      key) /
	       1000;
}

/* Without a moment before: what there was so far. */
void ctl_show_stats(struct json_object *disks, struct json_object *before,
		    double seconds)
{
	static const char *const kinds[] = {"read", "write", "flush", "zero"};
	char at[16], state[16];

	printf("%-6s %-7s %-6s %10s %10s %7s %9s %9s %9s %5s %5s\n", "disk",
	       "state", "kind", before ? "per s" : "count",
	       before ? "MiB/s" : "MiB", "errors", "p50 us", "p99 us",
	       "max us", "depth", "wait");
	for (size_t i = 0; i < cli_json_count(disks); i++) {
		struct json_object *d = json_object_array_get_idx(disks, i);
		struct json_object *then = same(before, d);

		for (unsigned k = 0; k < 4; k++) {
			const char *kind = kinds[k];

			if (k > 1 &&
			    number(cli_json_get(d, kind), "count") == 0)
				continue;
			printf("%-6s %-7s %-6s %10.0f %10.1f %7llu %9.1f %9.1f "
			       "%9.1f %5llu %5llu\n",
			       k ? "" : place(d, at, sizeof(at)),
			       k ? "" : text(d, "state", state, sizeof(state)),
			       kind, rate(d, then, kind, "count", seconds),
			       rate(d, then, kind, "bytes", seconds) /
				       (1 << 20),
			       (unsigned long long)number(cli_json_get(d, kind),
							  "errors"),
			       us(d, kind, "p50"), us(d, kind, "p99"),
			       us(d, kind, "max"),
			       (unsigned long long)number(d, "in-flight"),
			       (unsigned long long)number(d, "waiting"));
		}
	}
}

/* ---------------------------------------------------------- the guest ---- */

static void show_services(struct json_object *all)
{
	char name[32], state[32], version[32];

	for (size_t i = 0; i < cli_json_count(all); i++) {
		struct json_object *o = json_object_array_get_idx(all, i);

		printf("  %-14s %-12s %s\n",
		       text(o, "service", name, sizeof(name)),
		       text(o, "state", state, sizeof(state)),
		       text(o, "version", version, sizeof(version)));
	}
}

static void show_heartbeat(struct json_object *o)
{
	char beat[32], word[32];
	uint64_t silent_s = number(o, "silent-ms") / 1000;

	text(o, "heartbeat", beat, sizeof(beat));
	if (strcmp(beat, "no contact") == 0)
		printf("%-16s no contact since %llu s\n", "heartbeat",
		       (unsigned long long)silent_s);
	else
		printf("%-16s %s (applications: %s)\n", "heartbeat", beat,
		       text(o, "applications", word, sizeof(word)));
}

/* Only where there is something to wonder about. */
static void show_console(struct json_object *o)
{
	uint64_t held_s = number(o, "console-held-ms") / 1000;
	uint64_t lost = number(o, "console-lost");

	if (held_s)
		printf("%-16s nobody reads hv's output: the guest's serial "
		       "port waits, for %llu s\n", "console",
		       (unsigned long long)held_s);
	if (lost)
		printf("%-16s %llu bytes of output lost\n", "console",
		       (unsigned long long)lost);
}

void ctl_show_info(struct json_object *o)
{
	char state[32], size[CLI_SIZE_TEXT], version[32];

	printf("%-16s %s\n", "state", text(o, "state", state, sizeof(state)));
	printf("%-16s %llu s\n", "up",
	       (unsigned long long)number(o, "uptime-ms") / 1000);
	printf("%-16s %llu\n", "processors",
	       (unsigned long long)number(o, "cpus"));
	printf("%-16s %s\n", "memory",
	       cli_size_text(number(o, "memory"), size, sizeof(size)));
	text(o, "vmbus", version, sizeof(version));
	printf("%-16s %s\n", "VMBus", *version ? version : "not connected");
	show_heartbeat(o);
	if (json_object_get_boolean(cli_json_get(o, "frozen")))
		printf("%-16s %llu s left\n", "frozen",
		       (unsigned long long)number(o, "frozen-left-ms") / 1000);
	show_console(o);
	puts("services");
	show_services(cli_json_get(o, "services"));
}
