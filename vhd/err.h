/* SPDX-License-Identifier: BSD-2-Clause */
/* Error detail. A function that can fail returns a negative errno; the record
 * here, if the caller passed one, says why in a stable code, where in the file
 * and in words. Fixed size, no allocation, safe under ENOMEM.
 * Floor header: no state, open to every module.
 */
#ifndef VHD_ERR_H
#define VHD_ERR_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

/* Stable reasons: tests and programs match these, people read `text`.
 * New reasons are added at the end of their group's block before _COUNT.
 */
enum vhd_why {
	VHD_WHY_NONE = 0,
	/* the caller and the machine */
	VHD_WHY_ARGUMENT,    /* a parameter makes no sense */
	VHD_WHY_NOMEM,       /* out of memory */
	VHD_WHY_SYSTEM,      /* a system call failed; `code` is its errno */
	VHD_WHY_IO,          /* reading or writing the file failed */
	VHD_WHY_SHORT_IO,    /* the file ended inside a structure */
	VHD_WHY_NO_SPACE,    /* the host's disk or the format's reach is full */
	VHD_WHY_LOCKED,      /* another process has the image open */
	VHD_WHY_NOT_FILE,    /* a directory, socket, ... */
	VHD_WHY_READ_ONLY,   /* write to an image opened read-only */
	VHD_WHY_POISONED,    /* an earlier flush or metadata write failed */
	VHD_WHY_RANGE,       /* past the end of the disk */
	VHD_WHY_UNSUPPORTED, /* well-formed but not handled here */
	VHD_WHY_CANCELLED,   /* the request was cancelled */
	VHD_WHY_SERVER,      /* a server is not there, is gone, or refuses */
	/* the image */
	VHD_WHY_TOO_SMALL,         /* shorter than any footer */
	VHD_WHY_NOT_VHD,           /* no footer at either end */
	VHD_WHY_IS_VHDX,           /* another format, recognised by name */
	VHD_WHY_POISON_COOKIE,     /* `v_poison`: disabled by blktap */
	VHD_WHY_FOOTER_CHECKSUM,   /* no footer with a right checksum */
	VHD_WHY_FOOTER_VERSION,    /* major version is not 1 */
	VHD_WHY_FOOTER_TYPE,       /* disk type 0, 1, 5, 6, ... */
	VHD_WHY_SIZE_ZERO,         /* current_size is 0 */
	VHD_WHY_SIZE_ALIGN,        /* current_size not a multiple of 512 */
	VHD_WHY_SIZE_LIMIT,        /* current_size beyond the format's reach */
	VHD_WHY_FIXED_LENGTH,      /* fixed: file is not current_size + 512 */
	VHD_WHY_TYPE_MISMATCH,     /* opened as a type that it is not */
	VHD_WHY_DATA_OFFSET,       /* dynamic header position impossible */
	VHD_WHY_HEADER_COOKIE,     /* no `cxsparse` where the footer points */
	VHD_WHY_HEADER_CHECKSUM,   /* dynamic header checksum wrong */
	VHD_WHY_HEADER_VERSION,    /* dynamic header major version is not 1 */
	VHD_WHY_BLOCK_SIZE,        /* 0, not a power of two, too small or big */
	VHD_WHY_TABLE_OFFSET,      /* BAT position impossible */
	VHD_WHY_TABLE_ENTRIES,     /* entry count is 0 or too large */
	VHD_WHY_TABLE_SHORT,       /* entries * block_size < current_size */
	VHD_WHY_TABLE_PAST_END,    /* BAT does not lie inside the file */
	VHD_WHY_BAT_IN_METADATA,   /* entry points into header or BAT */
	VHD_WHY_BAT_PAST_END,      /* block ends behind the data of the file */
	VHD_WHY_BAT_DUPLICATE,     /* two entries are equal */
	VHD_WHY_BAT_OVERLAP,       /* two blocks share bytes */
	VHD_WHY_NEEDS_PARENT,      /* differencing disk without its parent */
	VHD_WHY_READ_ONLY_LAYOUT,  /* readable, but not safe to write to */
	VHD_WHY_UNDO_FILE,         /* not an undo file, or a damaged one */
	VHD_WHY_UNDO_MISMATCH,     /* of another image, or changed since */
	VHD_WHY_PARENT_MISSING,    /* no parent where one may be looked for */
	VHD_WHY_PARENT_ID,         /* the file so named is another disk */
	VHD_WHY_PARENT_SIZE,       /* child and parent differ in size */
	VHD_WHY_CHAIN_CYCLE,       /* an image is its own ancestor */
	VHD_WHY_CHAIN_DEPTH,       /* more layers than VHD_CHAIN_MAX */
	VHD_WHY_SAVED_STATE,       /* a suspended machine depends on it */
	VHD_WHY_SHRINK,            /* smaller, and that was not asked for */
	VHD_WHY_DATA_BEHIND,       /* shrinking would lose data */
	VHD_WHY_LOOKS_LIKE_VHD,    /* a raw disk whose content is a VHD's */
	VHD_WHY_PARENT_RAW,        /* the parent is a raw disk: not allowed */
	VHD_WHY_SPLIT_SET,         /* a part is missing, cut, or not the first */
	VHD_WHY_PACKED,            /* damaged compressed data */
	/* the guest's kernel */
	VHD_WHY_KERNEL_FORMAT,     /* not a bzImage, or a damaged one */
	VHD_WHY_KERNEL_OLD,        /* older boot protocol than needed */
	VHD_WHY_KERNEL_FIT,        /* does not fit the guest's memory */
	VHD_WHY_COUNT
};

struct vhd_err {
	int code;          /* negative errno, as returned */
	enum vhd_why why;  /* stable reason */
	uint64_t at_bytes; /* file offset the complaint is about; 0 if none */
	char text[160];    /* for people; never parsed */
};

/* Fill `err` (may be NULL) and return `code`. */
__attribute__((format(printf, 5, 6))) static inline int
vhd_fail(struct vhd_err *err, int code, enum vhd_why why, uint64_t at_bytes,
	 const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	err->code = code;
	err->why = why;
	err->at_bytes = at_bytes;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

#endif
