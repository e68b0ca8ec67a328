/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults of an image: named, put right, taken back, and what is left of a
 * damaged one saved. Part of vhd.h, which includes this; rules as there.
 */
#ifndef VHD_PUBLIC_CHECK_H
#define VHD_PUBLIC_CHECK_H

#include "vhd.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --------------------------------------------------------------- check -- */

enum vhd_severity {
	VHD_SEVERITY_INFO,    /* worth knowing; nothing is wrong */
	VHD_SEVERITY_WARNING, /* some program will misread or refuse it */
	VHD_SEVERITY_ERROR,   /* against the format, or data is at risk */
};

/* Products whose demands can be asked for. */
enum vhd_target {
	VHD_TARGET_NONE = 0,
	VHD_TARGET_HYPERV,     /* Hyper-V and Windows 7 or later */
	VHD_TARGET_AZURE,      /* upload as a managed disk or page blob */
	VHD_TARGET_VIRTUALPC,  /* Virtual PC 2004 and 2007 */
	VHD_TARGET_XENSERVER,  /* XenServer and XCP-ng (blktap) */
	VHD_TARGET_VIRTUALBOX,
	VHD_TARGET_QEMU,
	VHD_TARGET_COUNT
};

/* "hyperv", ...; NULL for NONE and what is none. */
const char *vhd_target_name(enum vhd_target target);

/* What a check can find. New codes go to the end of their group. */
enum vhd_finding_code {
	/* footers */
	VHD_FIND_FOOTER_MISSING,    /* none at the end */
	VHD_FIND_FOOTER_CHECKSUM,
	VHD_FIND_FOOTER_VERSION,
	VHD_FIND_FOOTER_TYPE,
	VHD_FIND_FOOTER_511,        /* 511 bytes, before Virtual PC 2004 */
	VHD_FIND_COPY_MISSING,      /* none at offset 0 */
	VHD_FIND_COPY_CHECKSUM,
	VHD_FIND_FOOTERS_DIFFER,
	VHD_FIND_POISON_COOKIE,
	VHD_FIND_SIZE,              /* 0, not whole sectors, past the limit */
	VHD_FIND_ORIGINAL_SIZE,     /* differs from the size now */
	VHD_FIND_FILE_LENGTH,       /* fixed: file is not size + footer */
	VHD_FIND_GEOMETRY,          /* none that any rule gives */
	VHD_FIND_GEOMETRY_CUTS,     /* readers that trust it lose the tail */
	VHD_FIND_FEATURES,
	VHD_FIND_DATA_OFFSET,
	VHD_FIND_FORGED_START,      /* fixed disk whose LBA 0 imitates a VHD */
	VHD_FIND_ID_ZERO,
	VHD_FIND_TIMESTAMP,         /* in the future */
	VHD_FIND_SAVED_STATE,
	VHD_FIND_HIDDEN,            /* blktap: inner node of a chain */
	VHD_FIND_RESERVED,          /* reserved bytes are not zero */
	VHD_FIND_CREATOR,           /* unknown, or not handled */
	VHD_FIND_RESIZE_CUT,        /* fixed: grown, former footer inside */
	/* dynamic header */
	VHD_FIND_HEADER_COOKIE,
	VHD_FIND_HEADER_CHECKSUM,
	VHD_FIND_HEADER_VERSION,
	VHD_FIND_NEXT_OFFSET,
	VHD_FIND_BLOCK_SIZE,
	VHD_FIND_BLOCK_SIZE_RARE,   /* neither 512 KiB nor 2 MiB */
	VHD_FIND_TABLE_OFFSET,
	VHD_FIND_TABLE_ENTRIES,
	VHD_FIND_TABLE_SHORT,
	VHD_FIND_TABLE_LONG,
	VHD_FIND_TABLE_PAST_END,
	/* parent */
	VHD_FIND_PARENT,            /* differencing: parent not looked at */
	VHD_FIND_PARENT_NAME,
	VHD_FIND_LOCATOR_LENGTH,
	VHD_FIND_LOCATOR_PLACE,
	VHD_FIND_LOCATOR_PLATFORM,
	VHD_FIND_LOCATOR_NONE,
	VHD_FIND_PARENT_MISSING,    /* none where one may be looked for */
	VHD_FIND_PARENT_ID,         /* another disk has its name */
	VHD_FIND_PARENT_SIZE,
	VHD_FIND_PARENT_TIME,       /* changed since, perhaps */
	VHD_FIND_PARENT_FAULT,      /* it is there, but refused */
	VHD_FIND_CHAIN,             /* a cycle, or too deep */
	/* block allocation table */
	VHD_FIND_BAT_IN_METADATA,
	VHD_FIND_BAT_PAST_END,
	VHD_FIND_BAT_CUT,           /* file or footer begins inside a block */
	VHD_FIND_BAT_SHORT_LAST,    /* the same, but behind the disk's end */
	VHD_FIND_BAT_DUPLICATE,
	VHD_FIND_BAT_OVERLAP,
	VHD_FIND_BAT_EXTRA,         /* entry behind the disk's last is used */
	VHD_FIND_BAT_PADDING,       /* neither all 0 nor all 1 */
	VHD_FIND_UNALIGNED,
	VHD_FIND_ORPHAN_SPACE,      /* between blocks, belongs to nothing */
	VHD_FIND_TAIL_GAP,          /* between last block and footer */
	/* blktap's batmap */
	VHD_FIND_BATMAP_PLACE,
	VHD_FIND_BATMAP_SIZE,
	VHD_FIND_BATMAP_CHECKSUM,
	VHD_FIND_BATMAP_STALE,      /* says full of a block that is not */
	/* bitmaps and data */
	VHD_FIND_BITMAP_HIDES,      /* 0 over bytes that are not zero */
	VHD_FIND_UNREADABLE,        /* the medium fails */
	/* the host's file */
	VHD_FIND_HOST_SPARSE,
	VHD_FIND_HOST_ATTRIBUTE,    /* compressed or encrypted */
	/* demands of a product */
	VHD_FIND_WANTS_TYPE,
	VHD_FIND_WANTS_SIZE,
	VHD_FIND_WANTS_BLOCK_SIZE,
	VHD_FIND_WANTS_CREATOR,
	VHD_FIND_WANTS_GEOMETRY,
	VHD_FIND_WANTS_TABLE,
	VHD_FIND_WANTS_NAME,
	VHD_FIND_WANTS_BATMAP,
	VHD_FIND_WANTS_ALIGNMENT,
	VHD_FIND_COUNT
};

/* "bat-duplicate", ...: stable words. */
const char *vhd_finding_name(enum vhd_finding_code code);

#define VHD_NO_BLOCK UINT64_MAX

struct vhd_finding {
	enum vhd_severity severity;
	enum vhd_finding_code code;
	enum vhd_why why;  /* for which vhd_open refuses the image, or NONE */
	uint32_t hresult;  /* what Windows would say, 0xC03A00xx, or 0 */
	bool refuses;      /* the target asked for does not take it so */
	uint64_t at_bytes; /* in the file */
	uint64_t block;    /* or VHD_NO_BLOCK */
	char text[240];    /* for people; never parsed */
};

#define VHD_CHECK_LIMIT_DEFAULT 32u

struct vhd_check_opts {
	enum vhd_format format;  /* AUTO, FIXED, DYNAMIC or DIFF */
	bool data;               /* read every allocated byte, too */
	bool force_read;         /* without the shared lock */
	const char *parent_dir;  /* as in vhd_open_opts; NULL: parents are not
				  * looked at */
	enum vhd_target target;
	const struct vhd_nbd_opts *nbd; /* `path` may be an NBD URI; NULL: no */
	const char *name;        /* of the file, for demands on it; or NULL */
	int64_t now_unix_s;      /* 0: dates are not judged */
	uint32_t limit;          /* findings of one code told; the rest is
				  * only counted. 0: the default */
	/* Called for each finding, and now and then while data is read.
	 * What is not 0 ends the check with -ECANCELED. Either may be NULL.
	 */
	int (*found)(void *ctx, const struct vhd_finding *f);
	int (*progress)(void *ctx, uint64_t pos_bytes, uint64_t total_bytes);
	void *ctx;
};

struct vhd_check_result {
	enum vhd_format format;
	uint64_t size_bytes;    /* virtual, as the footer in force has it */
	uint64_t file_bytes;
	uint32_t blocks_used;
	uint32_t layers;        /* with the parents, where they were opened */
	uint64_t orphan_bytes;  /* in the file, used by nothing */
	uint64_t count[VHD_FIND_COUNT];
	uint64_t severity_count[3];
	uint64_t refusals;      /* findings for which `target` refuses */
};

/* Look at everything that metadata says and tell each fault, not only the
 * first. Reads only. O(n log n) in the blocks; memory: 16 bytes a block.
 * Errors: those of opening the file; -EUCLEAN with NOT_VHD, IS_VHDX or
 *   TOO_SMALL where there is nothing of a VHD to check; -ECANCELED.
 * Thread: any; the file is opened for the call.
 */
int vhd_check(const char *path, const struct vhd_check_opts *opts,
	      struct vhd_check_result *result, struct vhd_err *err);

/* -------------------------------------------------------------- repair -- */

enum vhd_repair_code {
	VHD_REPAIR_FOOTER_END,      /* trailing footer written anew */
	VHD_REPAIR_FOOTER_COPY,     /* copy at offset 0 likewise */
	VHD_REPAIR_FOOTER_CHECKSUM,
	VHD_REPAIR_FOOTER_MOVE,     /* footer put behind the last block */
	VHD_REPAIR_FOOTER_REBUILD,  /* both were lost */
	VHD_REPAIR_GEOMETRY,
	VHD_REPAIR_ID,              /* all zero before */
	VHD_REPAIR_RESIZE,          /* fixed: an interrupted growth ended */
	VHD_REPAIR_HEADER_CHECKSUM,
	VHD_REPAIR_NEXT_OFFSET,
	VHD_REPAIR_BAT_CLEAR,       /* a block given up */
	VHD_REPAIR_BAT_EXTRA,       /* entry behind the disk's end cleared */
	VHD_REPAIR_BATMAP,
	VHD_REPAIR_COUNT
};

const char *vhd_repair_name(enum vhd_repair_code code);

/* Which footer is in force where two sound ones describe different disks. */
enum vhd_prefer {
	VHD_PREFER_NONE = 0, /* that is left as it is */
	VHD_PREFER_END,
	VHD_PREFER_COPY,
};

struct vhd_repair_step {
	enum vhd_repair_code code;
	bool lossy;          /* content of the disk changes */
	bool held_back;      /* not done: needs `lossy` */
	uint64_t at_bytes;
	uint64_t block;      /* or VHD_NO_BLOCK */
	uint64_t lost_bytes; /* lossy: part of the disk from here on ... */
	uint64_t lost_len_bytes; /* ... that will read otherwise */
	char text[240];
};

struct vhd_repair_opts {
	enum vhd_format format;  /* as in vhd_check_opts */
	bool write;              /* else only the plan is told */
	bool lossy;              /* give up blocks that cannot be right */
	enum vhd_prefer prefer;
	uint64_t size_bytes;     /* both footers lost: the disk's size */
	uint8_t new_id[16];      /* for an image without one; not all zero */
	int64_t now_unix_s;      /* for a footer made anew */
	const char *undo_path;   /* file to make for the replaced bytes; must
				  * not exist. NULL: none is kept */
	int (*step)(void *ctx, const struct vhd_repair_step *s);
	void *ctx;
};

struct vhd_repair_result {
	uint64_t steps;          /* to be done, or done */
	uint64_t held_back;
	uint64_t written_bytes;  /* to be replaced, or replaced */
	uint64_t old_file_bytes;
	uint64_t new_file_bytes;
};

/* Plan what can be put right and, with `write`, do it: the undo file is made
 * and durable before the first byte changes. Each step leads from one state
 * that can be repaired to another, so a repair that was cut off is simply run
 * again. A repaired image gives an empty plan.
 * Errors: those of opening; -EUCLEAN with its reason where there is no safe
 *   repair; -EEXIST (SYSTEM) the undo file; -ECANCELED: `step` said so, and
 *   nothing was written.
 */
int vhd_repair(const char *path, const struct vhd_repair_opts *opts,
	       struct vhd_repair_result *result, struct vhd_err *err);

struct vhd_undo_result {
	uint64_t records;
	uint64_t restored_bytes; /* that were not yet as before */
	uint64_t old_file_bytes; /* before the repair, and now again */
};

/* Bring back what a repair replaced, byte for byte, and the file's length.
 * May be repeated. Refuses an image that was changed since the repair, unless
 * `force`.
 * Errors: -EUCLEAN (UNDO_FILE) the undo file is damaged or not one;
 *   (UNDO_MISMATCH) it belongs to another image or another state of it.
 */
int vhd_undo(const char *path, const char *undo_path, bool force,
	     struct vhd_undo_result *result, struct vhd_err *err);

/* A part of the disk that could not be copied as it was. */
struct vhd_salvage_loss {
	uint64_t off_bytes;  /* on the disk */
	uint64_t len_bytes;
	enum vhd_why why;
	bool doubtful;       /* copied, but may be another block's content */
};

struct vhd_salvage_opts {
	enum vhd_format format;
	uint64_t size_bytes;   /* where no footer tells it */
	bool force_read;       /* without the shared lock */
	bool replace;          /* `out_path` may exist and is then emptied */
	/* DIFF: what the image itself lacks comes from its parents, looked
	 * for as in vhd_open_opts; or, `alone`, is lost
	 */
	const char *parent_dir;
	bool larger_child;
	bool alone;
	uint8_t unique_id[16]; /* of the new image */
	int64_t now_unix_s;
	int (*lost)(void *ctx, const struct vhd_salvage_loss *loss);
	int (*progress)(void *ctx, uint64_t pos_bytes, uint64_t total_bytes);
	void *ctx;
};

struct vhd_salvage_result {
	uint64_t size_bytes;
	uint64_t copied_bytes;   /* that were not zero */
	uint64_t parent_bytes;   /* of them, from the parents */
	uint64_t lost_bytes;
	uint64_t doubtful_bytes;
};

/* Copy all that can be read of a damaged image into a new dynamic one, and
 * tell what cannot. Sectors the medium does not give are left zero and told.
 * The source is only read. After a failure the new image is worth nothing,
 * and removed if this call made it.
 * Errors: those of vhd_create for `out_path`; -EUCLEAN where nothing tells
 *   size or place of the data; -ENOTSUP (NEEDS_PARENT) a differencing disk
 *   with neither `parent_dir` nor `alone`, with the former what opening its
 *   parents says; -ECANCELED.
 */
int vhd_salvage(const char *path, const char *out_path,
		const struct vhd_salvage_opts *opts,
		struct vhd_salvage_result *result, struct vhd_err *err);

#ifdef __cplusplus
}
#endif

#endif
