/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of hv/ic/ share: a service's channel and its conversation.
 * Private.
 *
 * At most one message of ours is unanswered on a channel at a time: Linux reads
 * one for each interrupt, and none while its daemon is at work. So requests
 * stand in a queue, and a service builds the message when its turn comes.
 */
#ifndef HV_IC_IC_INT_H
#define HV_IC_IC_INT_H

#include "hv/ic.h"
#include "wire.h"

#define IC_VERSION(major, minor) ((uint32_t)(major) << 16 | (minor))

#define IC_PACKETS_MAX	 16u /* taken at one wake-up */
#define IC_REQUESTS_MAX	 16u /* waiting on one channel */
#define IC_PACKET_BYTES	 16384u
#define IC_VERSIONS_MAX	 4u
/* For an answer, where nothing else is said: longer than the guest waits for
 * its daemon (30 s).
 */
#define IC_PATIENCE_MS	 35000u
#define IC_SILENCE_MS	 10000u /* of heartbeats, until contact is lost */

enum ic_turn {
	IC_TURN_DONE, /* the request is finished */
	IC_TURN_MORE, /* another message of it: build again */
};

struct ic_channel;

struct ic_service {
	const char *name;
	const char *type_id, *instance_id;
	enum ic_type type;
	uint32_t versions[IC_VERSIONS_MAX]; /* 0 ends it */
	/* All but `build` and `answer` may be NULL. */
	void (*ready)(struct ic_channel *c);
	/* Its channel is closed; what waited on it has failed. */
	void (*closed)(struct ic_channel *c);
	/* Whether a message can be built now; otherwise ic_go when it can. */
	bool (*can_build)(struct ic_channel *c);
	/* The body, of at most IC_BODY_MAX bytes, zeros until then: its length,
	 * or a negative errno after ic_refuse.
	 */
	int (*build)(struct ic_channel *c, struct hv_ic_request *r,
		     uint8_t *body);
	/* How long an answer may take; NULL: IC_PATIENCE_MS. */
	unsigned (*patience_ms)(const struct hv_ic_request *r);
	/* The answer: `len` bytes, foreign. ic_refuse, or DONE is success. */
	enum ic_turn (*answer)(struct ic_channel *c, struct hv_ic_request *r,
			       uint32_t status, const uint8_t *body,
			       size_t len);
	/* There was none in time, or the message could not be sent; the
	 * request has not been told yet.
	 */
	void (*late)(struct ic_channel *c, struct hv_ic_request *r);
	/* What time has made due; when next, as now_ms counts, or 0. */
	uint64_t (*tick)(struct ic_channel *c, uint64_t now_ms);
};

struct ic_channel {
	struct hv_ic *ic;
	const struct ic_service *service;
	struct vmbus_channel *ch;
	enum hv_ic_state state;
	uint32_t version;
	bool waiting;  /* for an answer ... */
	bool greeting; /* ... to a negotiation */
	uint64_t message;      /* its number; its low byte is in the header */
	uint64_t due_ms;       /* 0: it may take as long as it likes */
	struct hv_ic_request *current; /* whose message it is */
	struct hv_ic_request *first;   /* waiting for their turn */
	unsigned count;
	bool going; /* ic_go is at work */
};

struct ic_limiter {
	uint64_t next_ms;
	unsigned left_out;
};

struct hv_ic {
	struct hv_ic_opts opts;
	struct ic_channel at[HV_IC_SERVICES];
	bool paused;
	uint64_t paused_ms; /* since when, or was last */
	struct ic_limiter limiter;
	/* timesync.c */
	struct {
		bool asked, fresh; /* for a sample; there is one */
		uint64_t utc_100ns, ref_100ns;
		uint64_t next_ms;
		bool queued;
		struct hv_ic_request own;
		bool sync; /* `own` sets the clock */
	} time;
	/* heartbeat.c */
	struct {
		uint64_t sequence, next_ms, heard_ms;
		bool heard, queued;
		uint32_t application;
		struct hv_ic_request own;
	} heart;
	/* vss.c */
	struct {
		bool checked; /* the request's first message is answered */
		bool frozen;  /* or maybe so: thaw it */
		uint64_t thaw_ms;
		bool queued;
		struct hv_ic_request own;
	} vss;
	uint8_t body[IC_BODY_MAX];
	uint8_t message[sizeof(struct ic_wire_header) + IC_BODY_MAX];
	uint8_t packet[IC_PACKET_BYTES];
};

extern const struct ic_service ic_shutdown, ic_timesync, ic_heartbeat, ic_kvp,
	ic_vss;

static inline uint64_t ic_now(const struct hv_ic *ic)
{
	return ic->opts.now_ms(ic->opts.arg);
}

/* icmsg.c */
int ic_offer(struct ic_channel *c, struct vmbus *bus, struct vhd_err *err);
void ic_serve(struct ic_channel *c);
/* As service.tick, of the answer waited for. */
uint64_t ic_overdue(struct ic_channel *c, uint64_t now_ms);
void ic_submit(struct ic_channel *c, struct hv_ic_request *r);
/* Send what can be sent. */
void ic_go(struct ic_channel *c);
/* All that waits, and what comes next, fails so. */
void ic_fail_all(struct ic_channel *c, int code, const char *text);
/* Note why; returns `code`. The first reason stays. */
int ic_refuse(struct hv_ic_request *r, int code, const char *text);
/* As service.answer, where only the status says something. */
enum ic_turn ic_answer_status(struct ic_channel *c, struct hv_ic_request *r,
			      uint32_t status, const uint8_t *body, size_t len);
/* One line, printf-like; limited. */
__attribute__((format(printf, 2, 3))) void ic_say(struct hv_ic *ic,
						  const char *fmt, ...);

/* text.c: UTF-8 with a zero at its end into UTF-16 with one, and back.
 * put: bytes written; -EINVAL (no UTF-8, or too long).
 * get: `bytes` as the guest says; 0 or -EBADMSG (odd, more than `max`, no zero
 * in it, half a surrogate pair, longer than `to`).
 */
int ic_text_put(const char *from, uint8_t *to, size_t to_bytes);
int ic_text_get(const uint8_t *from, uint32_t bytes, size_t max, char *to,
		size_t to_bytes);

#endif
