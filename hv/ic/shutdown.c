/* SPDX-License-Identifier: BSD-2-Clause */
/* Ask the guest to end, or to start again, in order. It says whether it will;
 * that it did is seen when it is gone.
 * Source: Linux drivers/hv/hv_util.c, shutdown_onchannelcallback.
 */
#include <errno.h>
#include <string.h>

#include "ic_int.h"

static int build(struct ic_channel *c, struct hv_ic_request *r, uint8_t *body)
{
	struct ic_wire_shutdown m;
	uint32_t flags = r->force ? IC_SHUTDOWN_FORCE : 0;

	if (r->op == HV_IC_OP_RESTART)
		flags |= IC_SHUTDOWN_RESTART;
	/* Only a guest that is told so beforehand, from 3.2 on, may hibernate;
	 * it is never told.
	 */
	if (r->op == HV_IC_OP_HIBERNATE)
		return ic_refuse(r, -ENOTSUP, "this machine does not offer the "
					      "guest hibernation");
	/* Before 3.0 there is only one way to end (Linux refuses others). */
	if (r->op == HV_IC_OP_RESTART && c->version < IC_VERSION(3, 0))
		return ic_refuse(r, -ENOTSUP, "the guest's driver is too old "
					      "to restart on request");
	memset(&m, 0, sizeof(m));
	m.reason = le32_put(IC_SHUTDOWN_PLANNED);
	m.flags = le32_put(flags);
	memcpy(body, &m, sizeof(m));
	return (int)sizeof(m);
}

const struct ic_service ic_shutdown = {
	.name = "shutdown",
	.type_id = "0e0b6031-5213-4934-818b-38d90ced39db",
	.instance_id = "b6650ff7-33bc-4840-8048-e0676786f393",
	.type = IC_TYPE_SHUTDOWN,
	.versions = {IC_VERSION(3, 2), IC_VERSION(3, 1), IC_VERSION(3, 0),
		     IC_VERSION(1, 0)},
	.build = build,
	.answer = ic_answer_status,
};
