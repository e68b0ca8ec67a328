/* SPDX-License-Identifier: BSD-2-Clause */
/* A case of the catalogue of malformed images: what opening, checking and
 * repairing must make of one image. What is refused and for which reason, what
 * opens and with which note, what a check says of it and what a repair does:
 * one case a row, in tests/vhd_malformed_*.c.
 */
#ifndef TESTS_LIB_MALFORMED_H
#define TESTS_LIB_MALFORMED_H

#include "tests/lib/checkimg.h"

/* What a repair makes of it. */
enum mends {
	LEAVES,	  /* nothing to do */
	MENDS,	  /* and then it has no error left */
	GIVES_UP, /* likewise, but only when told to lose blocks */
	REFUSES,
};

struct malformed {
	const char *what;		 /* a damage of this name, or ... */
	void (*harm)(struct memfile *m); /* ... this one */
	struct memfile *(*make)(void);	 /* NULL: three blocks of four */
	enum vhd_why ro;		 /* why it is refused, or NONE */
	enum vhd_why rw;
	uint32_t notes; /* where it opens */
	enum vhd_finding_code find;
	enum vhd_severity severity;
	enum mends mends;
	enum vhd_why mend_why; /* REFUSES */
};

/* Refused for the same reason either way: by a named damage, or by a function
 * on an image of one's own.
 */
#define MALFORMED(name, why, code, mend)                                       \
	{                                                                      \
		name, NULL, NULL, VHD_WHY_##why, VHD_WHY_##why, 0,             \
			VHD_FIND_##code, VHD_SEVERITY_ERROR, mend,             \
			VHD_WHY_##why                                          \
	}
#define MALFORMED_BY(harm, make, why, code, mend)                              \
	{                                                                      \
		NULL, harm, make, VHD_WHY_##why, VHD_WHY_##why, 0,             \
			VHD_FIND_##code, VHD_SEVERITY_ERROR, mend,             \
			VHD_WHY_##why                                          \
	}
/* Opens, with notes. */
#define ODD(name, notes, code, severity, mend)                                 \
	{                                                                      \
		name, NULL, NULL, VHD_WHY_NONE, VHD_WHY_NONE, notes,           \
			VHD_FIND_##code, severity, mend, VHD_WHY_NONE          \
	}
#define ODD_BY(harm, make, notes, code, severity, mend)                        \
	{                                                                      \
		NULL, harm, make, VHD_WHY_NONE, VHD_WHY_NONE, notes,           \
			VHD_FIND_##code, severity, mend, VHD_WHY_NONE          \
	}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WHY(x)	 VHD_WHY_##x
#define FIND(x)	 VHD_FIND_##x
/* A row of nothing but cases. */
#define ROW(name, ...)                                                         \
	static void name(void **state)                                         \
	{                                                                      \
		static const struct malformed cases[] = {__VA_ARGS__};         \
                                                                               \
		(void)state;                                                   \
		malformed_row(cases, COUNT(cases));                            \
	}

#define E VHD_SEVERITY_ERROR
#define W VHD_SEVERITY_WARNING

/* Hold opening for reading and writing, a check and a repair against each
 * case. A refused image is left as it was, and so is one opened for reading.
 */
void malformed_row(const struct malformed *cases, size_t count);

struct memfile *malformed_image(const struct malformed *c);
/* Open; a child without its parent. */
int malformed_open(struct memfile *m, bool writable, struct vhd **img,
		   struct vhd_err *e);
/* A byte of the disk, opened for reading. */
uint8_t malformed_byte(struct memfile *m, uint64_t off);
/* Salvage into `*out`, which the caller destroys. */
struct vhd_salvage_result malformed_salvage(struct memfile *m,
					    const struct vhd_salvage_opts *o,
					    struct memfile **out);

#endif
