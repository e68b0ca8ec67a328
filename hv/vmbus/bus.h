/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of hv/vmbus share: the bus, its channels and GPADLs. Private.
 *
 * Threads and locks. Everything belongs to the control thread except:
 *   `lock` guards the queue of guest messages, the count of relids, requests
 *     for sub-channels and the version others may ask for; held for moments,
 *     no call is made under it.
 *   `signal_lock` of a channel guards where its interrupts go; the host's
 *     signal operation is called under it, so that a change is complete when
 *     the lock is free again.
 *   `in` and `out` belong to the device between its open and close.
 * Order: none of them is taken while another is held.
 */
#ifndef HV_VMBUS_BUS_H
#define HV_VMBUS_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "hv/vmbus.h"
#include "ring.h"
#include "wire.h"

#define VMBUS_QUEUE_IN		 64 /* guest messages waiting */
#define VMBUS_QUEUE_OUT		 64 /* host messages waiting */
#define VMBUS_OUT_OFFERS	 32 /* offers fill it so far, answers to the end */
#define VMBUS_SERVICE_MAX	 256 /* messages handled in one vmbus_service */
#define VMBUS_GPADLS_PER_CHANNEL 32
#define VMBUS_GPADLS_BUILDING	 64	    /* headers awaiting bodies */
#define VMBUS_GPADL_PAGES_TOTAL	 (1u << 18) /* all GPADLs: 1 GiB */
#define VMBUS_UNSTICK_MS	 100
#define VMBUS_RETRY_MS		 10 /* a busy slot, should no kick come */

/* A guest message, copied once; zeros behind `len`. */
struct vmbus_in_msg {
	uint32_t connection_id;
	uint32_t len;
	uint8_t data[VMBUS_MESSAGE_BYTES_MAX];
};

struct vmbus_out_msg {
	uint32_t len;
	uint8_t data[VMBUS_MESSAGE_BYTES_MAX];
};

/* A guest's list of pages. `words` is the range buffer in host byte order;
 * once complete, PFNs in it are known to be RAM.
 */
struct vmbus_gpadl {
	struct vmbus_gpadl *next;
	struct vmbus_channel *ch;
	uint32_t handle;
	uint32_t ranges;
	uint32_t words_want;
	uint32_t words_have;
	bool created;
	uint64_t words[];
};

enum vmbus_channel_state {
	VMBUS_CH_CLOSED,
	VMBUS_CH_OPEN,
	VMBUS_CH_DECLINED, /* the guest gave the offer back */
	VMBUS_CH_REVOKED,  /* rescinded; waits for the guest to let go */
};

struct vmbus_channel {
	struct vmbus_channel *next; /* in order of creation */
	struct vmbus *bus;
	struct vmbus_channel *primary; /* NULL for a primary */
	uint32_t relid;
	uint16_t sub_index;
	uint16_t last_sub;    /* primary: highest index given out */
	uint32_t subs_wanted; /* primary: requested; under bus->lock */
	struct vmbus_offer offer;
	enum vmbus_channel_state state;
	bool offered;	  /* the guest has been told */
	bool rescind_due; /* the guest must be told */
	int eventfd;
	void *data;

	struct vmbus_gpadl *gpadls;
	unsigned gpadl_count;

	struct vmbus_gpadl *ring_gpadl; /* while open */
	struct vmbus_ring in, out;
	bool complained;	/* about a broken ring, since open */
	uint64_t unstick_at_ms; /* 0: nothing due */

	pthread_mutex_t signal_lock;
	uint32_t target_vp;
	bool signalling;
};

struct vmbus_limiter {
	pthread_mutex_t lock;
	unsigned tokens;
	unsigned dropped;
	uint64_t last_ms;
};

struct vmbus {
	struct vmbus_opts opts;
	int wake_fd;
	struct vmbus_limiter limiter;

	pthread_mutex_t lock;
	struct vmbus_in_msg in[VMBUS_QUEUE_IN];
	unsigned in_first, in_count;
	unsigned posts_refused;
	unsigned relids_used; /* reservations for sub-channels included */
	bool subs_due;
	uint32_t shown_version;

	struct vmbus_out_msg out[VMBUS_QUEUE_OUT];
	unsigned out_first, out_count;
	bool out_blocked; /* the slot was busy at the last try */

	uint32_t version; /* 0: not connected */
	uint32_t target_vp;
	bool offers_requested;
	bool all_offers_due;
	bool notices_due; /* some channel has an offer or rescind to send */

	struct vmbus_channel *channels;
	struct vmbus_channel *by_relid[VMBUS_CHANNELS_MAX + 1];
	struct vmbus_gpadl *building[VMBUS_GPADLS_BUILDING];
	unsigned building_count;
	uint32_t gpadl_words;
	unsigned unstick_count;
};

/* log.c. Any thread. */
void vmbus_limiter_init(struct vmbus_limiter *lim);
__attribute__((format(printf, 2, 3))) void vmbus_log(struct vmbus *bus,
						     const char *fmt, ...);
uint64_t vmbus_now_ms(const struct vmbus *bus);

/* queue.c */
void vmbus_wake(struct vmbus *bus); /* any thread */
uint32_t vmbus_kind_of(const struct vmbus_in_msg *msg);
void vmbus_in_clear(struct vmbus *bus);
bool vmbus_in_pop(struct vmbus *bus, struct vmbus_in_msg *msg);
bool vmbus_in_waiting(struct vmbus *bus);
/* The guest's slot is stuck: look whether it starts anew. True when an
 * INITIATE_CONTACT is now first in the queue.
 */
bool vmbus_in_skip_to_contact(struct vmbus *bus);
void vmbus_log_refused_posts(struct vmbus *bus);
/* Queue a host message; the caller knows that there is room. */
void vmbus_say(struct vmbus *bus, const void *msg, size_t len);
void vmbus_out_clear(struct vmbus *bus);
/* Write messages into the guest's slot until it is busy or all are out. */
void vmbus_out_post(struct vmbus *bus);

/* message.c */

/* One guest message of a kind: what it needs and who answers. `handle` sees
 * at least `min_len` bytes of it. A shorter one that still names what it is
 * about (`refuse_len`) gets its negative answer from `refuse`.
 */
struct vmbus_handler {
	const char *name; /* NULL: not a message a guest may send */
	uint32_t min_len;
	uint32_t refuse_len;
	uint32_t since;	  /* protocol version */
	bool unconnected; /* allowed before INITIATE_CONTACT */
	void (*handle)(struct vmbus *bus, const struct vmbus_in_msg *msg);
	void (*refuse)(struct vmbus *bus, const struct vmbus_in_msg *msg);
};
void vmbus_dispatch(struct vmbus *bus, const struct vmbus_in_msg *msg);

/* connection.c */
void vmbus_on_initiate_contact(struct vmbus *bus,
			       const struct vmbus_in_msg *msg);
void vmbus_refuse_contact(struct vmbus *bus, const struct vmbus_in_msg *msg);
void vmbus_on_unload(struct vmbus *bus, const struct vmbus_in_msg *msg);
void vmbus_on_tl_connect(struct vmbus *bus, const struct vmbus_in_msg *msg);

/* offer.c */
void vmbus_on_request_offers(struct vmbus *bus, const struct vmbus_in_msg *msg);
void vmbus_on_released(struct vmbus *bus, const struct vmbus_in_msg *msg);
/* Queue offers and rescinds that are due; true when there was no room for
 * all.
 */
bool vmbus_send_notices(struct vmbus *bus);
/* Carry out vmbus_offer_sub. */
void vmbus_make_subs(struct vmbus *bus);
/* The primary was closed: its sub-channels go. */
void vmbus_drop_subs(struct vmbus_channel *primary);
/* Close everything, forget what the guest knew; primaries stay. */
void vmbus_forget_guest(struct vmbus *bus);
void vmbus_free_channels(struct vmbus *bus);

/* gpadl.c */
void vmbus_on_gpadl_header(struct vmbus *bus, const struct vmbus_in_msg *msg);
void vmbus_refuse_gpadl(struct vmbus *bus, const struct vmbus_in_msg *msg);
void vmbus_on_gpadl_body(struct vmbus *bus, const struct vmbus_in_msg *msg);
void vmbus_on_gpadl_teardown(struct vmbus *bus, const struct vmbus_in_msg *msg);
struct vmbus_gpadl *vmbus_gpadl_find(const struct vmbus_channel *ch,
				     uint32_t handle);
void vmbus_gpadl_free_all(struct vmbus_channel *ch, bool only_created);

/* open.c */
void vmbus_on_open(struct vmbus *bus, const struct vmbus_in_msg *msg);
void vmbus_refuse_open(struct vmbus *bus, const struct vmbus_in_msg *msg);
void vmbus_on_close(struct vmbus *bus, const struct vmbus_in_msg *msg);
void vmbus_on_modify(struct vmbus *bus, const struct vmbus_in_msg *msg);
void vmbus_refuse_modify(struct vmbus *bus, const struct vmbus_in_msg *msg);

/* channel.c
 * Numbers for channels to come, sub-channels asked for included. Any thread.
 */
bool vmbus_reserve_relids(struct vmbus *bus, unsigned count);
void vmbus_release_relids(struct vmbus *bus, unsigned count);
/* The channel that the guest knows by this relid, or NULL. */
struct vmbus_channel *vmbus_channel_find(struct vmbus *bus, uint32_t relid);
/* Where its interrupts go, if anywhere. */
void vmbus_channel_target(struct vmbus_channel *ch, uint32_t vp,
			  bool signalling);
/* The device is closed: what it asked for and did not get yet is void. */
void vmbus_cancel_subs(struct vmbus_channel *ch);
/* Close if open; synchronous. */
void vmbus_channel_shut(struct vmbus_channel *ch);
void vmbus_channel_signal(struct vmbus_channel *ch); /* any thread */
/* Send what is due; ms until the next one, or -1. */
int vmbus_unstick(struct vmbus *bus);

#endif
