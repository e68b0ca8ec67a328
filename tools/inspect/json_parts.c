/* SPDX-License-Identifier: BSD-2-Clause */
/* Parts of the report for programs that every layer of a chain has. */
#include "inspect.h"

static void put_number(struct json_object *o, const char *key, uint64_t n)
{
	cli_json_put(o, key, cli_json_number(n));
}

struct json_object *inspect_id_json(const uint8_t id[16])
{
	struct json_object *o = cli_json_object();
	char buf[CLI_ID_TEXT];

	cli_json_put(o, "windows", cli_json_string(cli_id_windows(id, buf)));
	cli_json_put(o, "rfc4122", cli_json_string(cli_id_rfc4122(id, buf)));
	cli_json_put(o, "hex", cli_json_string(cli_id_hex(id, buf)));
	return o;
}

struct json_object *inspect_blocks_json(const struct vhd_info *info)
{
	struct json_object *o;

	if (!inspect_has_blocks(info))
		return NULL;
	o = cli_json_object();
	put_number(o, "size", info->block_size_bytes);
	put_number(o, "bitmap-size", info->bitmap_bytes);
	put_number(o, "count", info->blocks);
	put_number(o, "used", info->blocks_used);
	put_number(o, "aligned", info->blocks_aligned);
	put_number(o, "fragments", info->fragments);
	put_number(o, "header-offset", info->header_bytes);
	put_number(o, "table-offset", info->table_bytes);
	put_number(o, "table-entries", info->table_entries);
	return o;
}
