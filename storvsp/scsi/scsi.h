/* SPDX-License-Identifier: BSD-2-Clause */
/* One SCSI command, from CDB to verdict. Nothing here knows rings, guest
 * memory or threads: a command looks at its task and either answers from
 * tables (`reply`), asks for disk I/O (`io`), or refuses.
 *
 * Sources: SPC-3, SBC-3; which fields guests look at: Linux sd.c and
 *   scsi_scan.c, the Windows class drivers.
 */
#ifndef STORVSP_SCSI_H
#define STORVSP_SCSI_H

#include <stdbool.h>
#include <stdint.h>

#include "target.h"
#include "storvsp/wire.h"

/* How a command ended. Index of the table in sense.c. */
enum scsi_verdict {
	SCSI_GOOD = 0,
	SCSI_IO,     /* not yet: run task->io */
	SCSI_NO_LUN, /* nothing at this address */
	SCSI_BAD_OPCODE,
	SCSI_BAD_FIELD, /* CDB, or a buffer that contradicts it */
	SCSI_BAD_PARAM, /* parameter list */
	SCSI_PARAM_LENGTH,
	SCSI_NO_SAVED_PAGES,
	SCSI_BAD_RELEASE, /* of a reservation of another kind */
	SCSI_RESERVED,	  /* reservation conflict */
	SCSI_LBA_RANGE,
	SCSI_WRITE_PROTECTED,
	SCSI_NO_SPACE, /* the host's disk is full */
	SCSI_MISCOMPARE,
	SCSI_NO_DISC,	  /* the tray is closed ... */
	SCSI_NO_DISC_TRAY_OPEN,
	SCSI_TRAY_LOCKED, /* by the guest itself */
	SCSI_READ_ERROR,
	SCSI_WRITE_ERROR,
	SCSI_TARGET_FAILURE, /* poisoned image, broken engine */
	SCSI_RESOURCES,	     /* try again */
	SCSI_TASK_SET_FULL,  /* the disk has its share of the slots */
	SCSI_ABORTED,	     /* by a reset */
	/* unit attentions, highest precedence first; see attention.h */
	SCSI_UA_RESET,
	SCSI_UA_MEDIUM, /* another disc is in the drive */
	SCSI_UA_RESERVATIONS_PREEMPTED,
	SCSI_UA_MODE,	  /* mode parameters */
	SCSI_UA_CAPACITY, /* the disk has grown */
	SCSI_VERDICT_COUNT
};

#define SCSI_UA_FIRST SCSI_UA_RESET
#define SCSI_UA_LAST  SCSI_UA_CAPACITY

enum scsi_op {
	SCSI_TEST_UNIT_READY = 0x00,
	SCSI_REQUEST_SENSE = 0x03,
	SCSI_READ_6 = 0x08,
	SCSI_WRITE_6 = 0x0A,
	SCSI_INQUIRY = 0x12,
	SCSI_MODE_SELECT_6 = 0x15,
	SCSI_RESERVE_6 = 0x16,
	SCSI_RELEASE_6 = 0x17,
	SCSI_MODE_SENSE_6 = 0x1A,
	SCSI_START_STOP_UNIT = 0x1B,
	SCSI_SEND_DIAGNOSTIC = 0x1D,
	SCSI_PREVENT_ALLOW = 0x1E,
	SCSI_READ_CAPACITY_10 = 0x25,
	SCSI_SEEK_10 = 0x2B,
	SCSI_READ_10 = 0x28,
	SCSI_WRITE_10 = 0x2A,
	SCSI_WRITE_VERIFY_10 = 0x2E,
	SCSI_VERIFY_10 = 0x2F,
	SCSI_PRE_FETCH_10 = 0x34,
	SCSI_SYNCHRONIZE_CACHE_10 = 0x35,
	SCSI_WRITE_SAME_10 = 0x41,
	SCSI_UNMAP = 0x42,
	SCSI_READ_TOC = 0x43,
	SCSI_GET_CONFIGURATION = 0x46,
	SCSI_GET_EVENT_STATUS = 0x4A,
	SCSI_LOG_SENSE = 0x4D,
	SCSI_READ_DISC_INFORMATION = 0x51,
	SCSI_READ_TRACK_INFORMATION = 0x52,
	SCSI_MODE_SELECT_10 = 0x55,
	SCSI_RESERVE_10 = 0x56,
	SCSI_RELEASE_10 = 0x57,
	SCSI_MODE_SENSE_10 = 0x5A,
	SCSI_READ_BUFFER_CAPACITY = 0x5C,
	SCSI_PERSISTENT_RESERVE_IN = 0x5E,
	SCSI_PERSISTENT_RESERVE_OUT = 0x5F,
	SCSI_READ_16 = 0x88,
	SCSI_COMPARE_AND_WRITE = 0x89,
	SCSI_WRITE_16 = 0x8A,
	SCSI_WRITE_VERIFY_16 = 0x8E,
	SCSI_VERIFY_16 = 0x8F,
	SCSI_PRE_FETCH_16 = 0x90,
	SCSI_SYNCHRONIZE_CACHE_16 = 0x91,
	SCSI_WRITE_SAME_16 = 0x93,
	SCSI_SERVICE_ACTION_IN_16 = 0x9E,
	SCSI_REPORT_LUNS = 0xA0,
	SCSI_MAINTENANCE_IN = 0xA3,
	SCSI_READ_12 = 0xA8,
	SCSI_WRITE_12 = 0xAA,
	SCSI_GET_PERFORMANCE = 0xAC,
	SCSI_READ_DVD_STRUCTURE = 0xAD,
	SCSI_WRITE_VERIFY_12 = 0xAE,
	SCSI_VERIFY_12 = 0xAF,
	SCSI_SET_STREAMING = 0xB6,
	SCSI_SET_CD_SPEED = 0xBB,
	SCSI_MECHANISM_STATUS = 0xBD,
};

/* Holds the longest answer: REPORT LUNS with every LUN of a target. */
#define SCSI_REPLY_BYTES_MAX (8u + 8u * STORVSP_LUNS_MAX)
/* Fixed format; in descriptor format up to SCSI_SENSE_BYTES_MAX. */
#define SCSI_SENSE_BYTES     18u
#define SCSI_SENSE_BYTES_MAX STORVSP_SENSE_BYTES

/* The largest logical block. */
#define SCSI_BLOCK_BYTES_MAX 4096u

/* What UNMAP and WRITE SAME may ask for at once; the block limits say so. */
#define SCSI_EXTENTS_MAX	64u
#define SCSI_UNMAP_SECTORS_MAX	(1u << 23) /* 4 GiB */
#define SCSI_UNMAP_HEADER_BYTES 8u
#define SCSI_EXTENT_BYTES	16u
#define SCSI_UNMAP_BYTES_MAX                                                   \
	(SCSI_UNMAP_HEADER_BYTES + SCSI_EXTENTS_MAX * SCSI_EXTENT_BYTES)
/* What PRE-FETCH may ask for; the block limits say so. */
#define SCSI_PREFETCH_SECTORS_MAX (1u << 16) /* 32 MiB */
/* What COMPARE AND WRITE compares at once; the block limits say so. */
#define SCSI_COMPARE_BYTES_MAX SCSI_BLOCK_BYTES_MAX
/* The most that is looked at of a buffer: both halves of that. */
#define SCSI_PARAM_BYTES_MAX (2 * SCSI_COMPARE_BYTES_MAX)

/* In the library's sectors of 512 bytes, whatever the disk's blocks are. */
struct scsi_extent {
	uint64_t lba;
	uint64_t sectors;
};

struct scsi_io {
	enum vhd_op op;
	bool fua;
	bool unmap;	/* ZERO: as VHD_REQ_UNMAP */
	bool verify;	/* READ: to nowhere; WRITE: then such a READ */
	bool compare;	/* WRITE of half the bytes where the others are */
	uint64_t lba;	/* without extents; in sectors of 512 bytes */
	uint64_t bytes; /* of the guest's buffer; 0 for a flush */
};

struct scsi_task {
	/* the question */
	const struct storvsp_luns *luns;
	const struct storvsp_disk *disk; /* NULL: no such LUN */
	uint8_t path, target, lun;
	uint8_t cdb[STORVSP_CDB_BYTES];
	uint8_t data_in;       /* enum storvsp_data_in */
	uint64_t blocks;       /* the disk's, looked at once by scsi_run */
	uint32_t buffer_bytes; /* the guest's data buffer */
	uint32_t max_transfer_bytes;
	/* a copy of the buffer's start, for commands that have parameters */
	uint8_t param[SCSI_PARAM_BYTES_MAX];
	uint32_t param_bytes;

	/* the answer: SCSI_GOOD with reply_bytes, of which alloc_bytes and
	 * buffer_bytes limit what is sent; or SCSI_IO with io
	 */
	uint8_t reply[SCSI_REPLY_BYTES_MAX];
	uint32_t reply_bytes;
	uint32_t alloc_bytes;
	struct scsi_io io;
	/* where io is a ZERO, a WRITE of `param` to each sector, or verifies */
	struct scsi_extent extent[SCSI_EXTENTS_MAX];
	unsigned extent_count;
};

/* How much of the guest's buffer is to be in `param` before scsi_run. */
uint32_t scsi_param_wanted(const struct scsi_task *t);

/* Run the task: fills the answer part. `cdb_bytes` is the guest's claim. */
enum scsi_verdict scsi_run(struct scsi_task *t, uint8_t cdb_bytes);

/* How many bytes of the reply the guest receives. */
uint32_t scsi_reply_sent(const struct scsi_task *t);

/* Start an answer of `bytes` zero bytes, cut at `alloc_bytes`. */
uint8_t *scsi_reply(struct scsi_task *t, uint32_t bytes, uint32_t alloc_bytes);

/* ----------------------------------------------------------- command.c -- */

/* Which way a command's data goes. */
enum scsi_dir {
	SCSI_DIR_NONE,
	SCSI_DIR_IN,
	SCSI_DIR_OUT,
};

/* Answered where no LUN is. */
#define SCSI_ABSENT_TOO 1u
/* The guest's buffer holds parameters, not the disk's data. */
#define SCSI_PARAMS 2u
/* A unit attention waits for another command. MODE SENSE(6) is not one of
 * those SPC names; but Linux' storvsc takes every answer to it for good, so
 * the attention would be lost.
 */
#define SCSI_UA_WAITS 4u
/* Of a DVD drive: only with a disc in it. */
#define SCSI_NEEDS_DISC 8u

/* A command that shares its opcode with others: told apart by the low five
 * bits of byte 1.
 */
struct scsi_action {
	uint8_t action;
	enum scsi_verdict (*run)(struct scsi_task *t);
	uint8_t usage[STORVSP_CDB_BYTES];
};

struct scsi_command {
	enum scsi_verdict (*run)(struct scsi_task *t);
	const struct scsi_action *actions; /* instead of `run`; to a NULL */
	uint8_t cdb_bytes;
	uint8_t dir; /* enum scsi_dir */
	uint8_t flags;
	/* bits that are looked at; the first and the last byte, which are the
	 * same for all, are left out
	 */
	uint8_t usage[STORVSP_CDB_BYTES];
};

/* -------------------------------------------------------------- blocks -- */

/* A guest counts in logical blocks, the library in sectors of 512 bytes. */
static inline uint32_t scsi_block_bytes(const struct storvsp_disk *d)
{
	return VHD_SECTOR_BYTES << d->block_log2;
}

/* Sectors of `blocks` that lie on the disk. */
static inline uint64_t scsi_sectors(const struct scsi_task *t, uint64_t blocks)
{
	return blocks << t->disk->block_log2;
}

/* Whole blocks that `bytes` hold. */
static inline uint32_t scsi_blocks_of(const struct scsi_task *t, uint64_t bytes)
{
	return (uint32_t)(bytes / scsi_block_bytes(t->disk));
}

/* Big-endian numbers inside CDBs and answers. */
static inline uint16_t scsi_get16(const uint8_t *p)
{
	return be16_get((be16){{p[0], p[1]}});
}

static inline uint32_t scsi_get32(const uint8_t *p)
{
	return be32_get((be32){{p[0], p[1], p[2], p[3]}});
}

static inline uint64_t scsi_get64(const uint8_t *p)
{
	return (uint64_t)scsi_get32(p) << 32 | scsi_get32(p + 4);
}

static inline void scsi_put16(uint8_t *p, uint16_t n)
{
	p[0] = (uint8_t)(n >> 8);
	p[1] = (uint8_t)n;
}

static inline void scsi_put32(uint8_t *p, uint32_t n)
{
	scsi_put16(p, (uint16_t)(n >> 16));
	scsi_put16(p + 2, (uint16_t)n);
}

static inline void scsi_put64(uint8_t *p, uint64_t n)
{
	scsi_put32(p, (uint32_t)(n >> 32));
	scsi_put32(p + 4, (uint32_t)n);
}

/* The commands, one small function each; disk_commands.c and dvd_commands.c
 * have the tables.
 */
enum scsi_verdict scsi_nothing_to_do(struct scsi_task *t);
enum scsi_verdict scsi_read_capacity_16(struct scsi_task *t);
enum scsi_verdict scsi_pre_fetch(struct scsi_task *t);
enum scsi_verdict scsi_send_diagnostic(struct scsi_task *t);
enum scsi_verdict scsi_compare_and_write(struct scsi_task *t);
enum scsi_verdict scsi_log_sense(struct scsi_task *t);
enum scsi_verdict scsi_seek(struct scsi_task *t);
enum scsi_verdict scsi_dvd_start_stop(struct scsi_task *t);
enum scsi_verdict scsi_dvd_prevent(struct scsi_task *t);
enum scsi_verdict scsi_dvd_event_status(struct scsi_task *t);
enum scsi_verdict scsi_dvd_mechanism_status(struct scsi_task *t);
enum scsi_verdict scsi_dvd_configuration(struct scsi_task *t);
enum scsi_verdict scsi_dvd_toc(struct scsi_task *t);
enum scsi_verdict scsi_dvd_disc_information(struct scsi_task *t);
enum scsi_verdict scsi_dvd_track_information(struct scsi_task *t);
enum scsi_verdict scsi_dvd_buffer_capacity(struct scsi_task *t);
enum scsi_verdict scsi_dvd_performance(struct scsi_task *t);
enum scsi_verdict scsi_dvd_structure(struct scsi_task *t);
enum scsi_verdict scsi_reserve(struct scsi_task *t);
enum scsi_verdict scsi_release(struct scsi_task *t);
enum scsi_verdict scsi_persistent_reserve_out(struct scsi_task *t);
enum scsi_verdict scsi_read_keys(struct scsi_task *t);
enum scsi_verdict scsi_read_reservation(struct scsi_task *t);
enum scsi_verdict scsi_report_capabilities(struct scsi_task *t);
enum scsi_verdict scsi_read_full_status(struct scsi_task *t);
enum scsi_verdict scsi_inquiry(struct scsi_task *t);
enum scsi_verdict scsi_mode_sense_6(struct scsi_task *t);
enum scsi_verdict scsi_mode_sense_10(struct scsi_task *t);
enum scsi_verdict scsi_read_capacity_10(struct scsi_task *t);
enum scsi_verdict scsi_report_luns(struct scsi_task *t);
enum scsi_verdict scsi_request_sense(struct scsi_task *t);
enum scsi_verdict scsi_read(struct scsi_task *t);
enum scsi_verdict scsi_write(struct scsi_task *t);
enum scsi_verdict scsi_synchronize_cache(struct scsi_task *t);
enum scsi_verdict scsi_start_stop_unit(struct scsi_task *t);
enum scsi_verdict scsi_verify(struct scsi_task *t);
enum scsi_verdict scsi_write_verify(struct scsi_task *t);
enum scsi_verdict scsi_mode_select_6(struct scsi_task *t);
enum scsi_verdict scsi_mode_select_10(struct scsi_task *t);
enum scsi_verdict scsi_unmap(struct scsi_task *t);
enum scsi_verdict scsi_write_same_10(struct scsi_task *t);
enum scsi_verdict scsi_write_same_16(struct scsi_task *t);
enum scsi_verdict scsi_get_lba_status(struct scsi_task *t);

/* ------------------------------------------------------------ sense.c -- */

/* What the guest sees of a request's end. */
struct scsi_end {
	enum scsi_verdict verdict;
	uint32_t bytes_moved; /* of a good one */
	bool bad_lba_known;
	uint64_t bad_lba;      /* in logical blocks */
	uint32_t miscompare_at; /* in bytes, with that verdict */
	bool descriptor_sense; /* the disk is told to (D_SENSE) */
};

/* The one place where our errors become verdicts ... */
enum scsi_verdict scsi_verdict_from_vhd(enum vhd_op op, int result,
					enum vhd_why why);
/* ... and verdicts become SRB status, SCSI status and sense. Fills status
 * and request of `p`; everything else of it stays.
 */
void scsi_answer(struct storvsp_packet_wire *p, const struct scsi_end *end,
		 bool v1);
/* The packet status that goes with an SRB status. */
uint32_t scsi_ntstatus(uint8_t srb_status);
/* Sense data of at most `max` bytes, no fewer than SCSI_SENSE_BYTES; returns
 * how many it has.
 */
uint32_t scsi_sense_fill(uint8_t *out, uint32_t max,
			 const struct scsi_end *end);

#endif
