/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue's engine: which one the machine lets us have when the queue is made,
 * and which it is changed for when an image comes that this one cannot serve.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_nbd.h"
#include "fail.h"
#include "queue_int.h"

/* In the order AUTO tries them. */
static const struct vhd_engine_ops *const engines[] = {
	&vhd_engine_uring,
	&vhd_engine_aio,
	&vhd_engine_sync,
};
#define ENGINES (sizeof(engines) / sizeof(engines[0]))

const char *vhd_engine_name(enum vhd_engine engine)
{
	for (unsigned i = 0; i < ENGINES; i++)
		if (engines[i]->id == engine)
			return engines[i]->name;
	return engine == VHD_ENGINE_AUTO ? "auto" : "unknown";
}

/* The machine does not let us have this engine, and may let us have the next,
 * which needs less: forbidden by a sandbox or a sysctl; not in this kernel, or
 * without what we ask of it; no memory, no locked memory, no descriptor or no
 * AIO context left. What was wrong with the question itself is no such thing.
 */
static bool barred(int code)
{
	switch (-code) {
	case EPERM:
	case EACCES:
	case ENOSYS:
	case EOPNOTSUPP:
	case EINVAL:
	case ENOMEM:
	case EAGAIN:
	case EMFILE:
	case ENFILE:
		return true;
	default:
		return false;
	}
}

static void slots_init(struct vhd_queue *q)
{
	q->free = NULL;
	for (uint32_t i = q->depth; i-- > 0;) {
		q->slots[i].io.owner = &q->slots[i];
		queue_slot_put(q, &q->slots[i]);
	}
}

static int depth_check(uint32_t depth, struct vhd_err *err)
{
	if (depth <= VHD_QUEUE_DEPTH_MAX)
		return 0;
	return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			"a queue is at most %u deep, not %u",
			VHD_QUEUE_DEPTH_MAX, depth);
}

int vhd_queue_create_on(const struct vhd_engine_ops *engine, uint32_t depth,
			struct vhd_queue **out, struct vhd_err *err)
{
	struct vhd_queue *q;
	int rc = depth_check(depth, err);

	if (rc)
		return rc;
	if (depth == 0)
		depth = VHD_QUEUE_DEPTH_DEFAULT;
	q = calloc(1, sizeof(*q));
	if (!q)
		return vhd_fail_nomem(err, sizeof(*q), "a queue");
	q->slots = calloc(depth, sizeof(*q->slots));
	if (!q->slots) {
		free(q);
		return vhd_fail_nomem(err, depth * sizeof(*q->slots),
				      "a queue's slots");
	}
	q->engine = engine;
	q->depth = depth;
	memset(q->hash, 0xff, sizeof(q->hash));
	slots_init(q);
	rc = engine->create(depth, &q->state, err);
	if (rc) {
		free(q->slots);
		free(q);
		return rc;
	}
	*out = q;
	return 0;
}

int vhd_queue_create(const struct vhd_queue_opts *opts, struct vhd_queue **out,
		     struct vhd_err *err)
{
	enum vhd_engine want = opts ? opts->engine : VHD_ENGINE_AUTO;
	uint32_t depth = opts ? opts->depth : 0;
	struct vhd_queue *q = NULL;
	void *spare = NULL;
	int rc = depth_check(depth, err);

	if (!rc && opts && opts->nbd_later)
		rc = vhd_engine_nbd_prepare(&spare, err);
	if (rc)
		return rc;
	rc = vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0, "no engine number %d",
		      (int)want);
	for (unsigned i = 0; i < ENGINES; i++) {
		if (want != VHD_ENGINE_AUTO && want != engines[i]->id)
			continue;
		rc = vhd_queue_create_on(engines[i], depth, &q, err);
		if (want != VHD_ENGINE_AUTO || !barred(rc))
			break;
	}
	if (rc) {
		vhd_engine_nbd_discard(spare);
		return rc;
	}
	q->automatic = want == VHD_ENGINE_AUTO;
	q->spare = spare;
	*out = q;
	return 0;
}

/* Beside which that of NBD exports is, if there are any. */
static const struct vhd_engine_ops *engine_own(const struct vhd_queue *q,
					       void **state)
{
	if (q->engine == &vhd_engine_nbd)
		return vhd_engine_nbd_inner(q->state, state);
	if (state)
		*state = q->state;
	return q->engine;
}

int queue_go_sync(struct vhd_queue *q, struct vhd_err *err)
{
	const struct vhd_engine_ops *old;
	void *state, *old_state;
	int rc;

	if (!q->automatic || q->in_flight || q->broken)
		return -ENOTSUP;
	rc = vhd_engine_sync.create(q->depth, &state, err);
	if (rc)
		return rc;
	old = engine_own(q, &old_state);
	old->destroy(old_state);
	/* which keeps nothing of a file */
	if (q->engine == &vhd_engine_nbd) {
		vhd_engine_nbd_rewrap(q->state, &vhd_engine_sync, state);
		return 0;
	}
	q->engine = &vhd_engine_sync;
	q->state = state;
	return 0;
}

int queue_go_nbd(struct vhd_queue *q, struct vhd_err *err)
{
	void *state;
	int rc;

	if (q->engine == &vhd_engine_nbd)
		return 0;
	rc = q->spare ? 0 : vhd_engine_nbd_prepare(&q->spare, err);
	if (!rc)
		rc = vhd_engine_nbd_wrap(q->spare, q->engine, q->state,
					 q->depth, &state, err);
	if (rc)
		return rc;
	q->spare = NULL;
	q->engine = &vhd_engine_nbd;
	q->state = state;
	return 0;
}

int vhd_queue_memory(struct vhd_queue *q, const struct iovec *mem,
		     unsigned count, struct vhd_err *err)
{
	const struct vhd_engine_ops *own;
	void *state;

	if (count < 1 || count > VHD_QUEUE_MEMORY_MAX)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a queue's memory is 1 to %d pieces, not %u",
				VHD_QUEUE_MEMORY_MAX, count);
	for (unsigned i = 0; i < count; i++)
		if (!mem[i].iov_base || !mem[i].iov_len)
			return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
					"a piece of memory is empty");
	if (q->broken)
		return vhd_fail(err, -EIO, VHD_WHY_IO, 0,
				"the queue's engine is broken");
	own = engine_own(q, &state);
	if (!own->memory)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"the %s engine registers no memory",
				own->name);
	return own->memory(state, mem, count, err);
}

enum vhd_engine vhd_queue_engine(const struct vhd_queue *q)
{
	return engine_own(q, NULL)->id;
}
