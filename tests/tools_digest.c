/* SPDX-License-Identifier: BSD-2-Clause */
/* tools/convert/digest.c: known answers, whatever the pieces, the gaps and
 * the order in which digests get done.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tools/convert/digest.h"

#define IOS 16u

struct bench {
	struct convert_job job;
	struct convert_digest *d;
	struct convert_io io[IOS];
	unsigned back;
};

static void io_back(struct convert_io *io)
{
	((struct bench *)io->user)->back++;
}

static void bench_open(struct bench *b, const char *words)
{
	*b = (struct bench){ .job = { .src = "src", .dst = "dst",
				      .signal_fd = -1 } };
	assert_int_equal(convert_job_init(&b->job, VHD_ENGINE_SYNC, NULL), 0);
	assert_int_equal(convert_digest_open(&b->d, &b->job, words, NULL), 0);
}

static void bench_close(struct bench *b)
{
	convert_digest_close(b->d);
	convert_job_fini(&b->job);
}

static void add(struct bench *b, unsigned i, uint64_t off, void *buf,
		size_t len)
{
	struct convert_sink *s = convert_digest_sink(b->d);

	b->io[i] = (struct convert_io){
		.off_bytes = off,
		.len_bytes = len,
		.buf = buf,
		.done = io_back,
		.user = b,
	};
	assert_true(s->ops->room(s));
	s->ops->write(s, &b->io[i]);
}

static void end(struct bench *b, uint64_t size)
{
	struct convert_sink *s = convert_digest_sink(b->d);

	assert_int_equal(s->ops->finish(s, size, NULL), 0);
	s->ops->drain(s);
}

static void is(struct bench *b, unsigned i, const char *name, const char *hex)
{
	char have[CONVERT_DIGEST_TEXT];
	const char *word;

	assert_true(convert_digest_get(b->d, i, &word, have));
	assert_string_equal(word, name);
	assert_string_equal(have, hex);
}

/* FIPS 180-4 and RFC 1321 give the first ones, RFC 3720 B.4 the CRCs. */
static void known_answers_come_out(void **state)
{
	char abc[] = "abc", digits[] = "123456789";
	const char *word;
	char hex[CONVERT_DIGEST_TEXT];
	struct bench b;

	(void)state;
	bench_open(&b, "sha256,md5,sha1,crc32c");
	add(&b, 0, 0, abc, 3);
	end(&b, 3);
	assert_int_equal(b.back, 1);
	is(&b, 0, "sha256",
	   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	is(&b, 1, "md5", "900150983cd24fb0d6963f7d28e17f72");
	is(&b, 2, "sha1", "a9993e364706816aba3e25717850c26c9cd0d89d");
	assert_false(convert_digest_get(b.d, 4, &word, hex));
	bench_close(&b);

	bench_open(&b, "crc32c");
	add(&b, 0, 0, digits, 9);
	end(&b, 9);
	is(&b, 0, "crc32c", "e3069283");
	bench_close(&b);

	bench_open(&b, "crc32c");
	end(&b, 32); /* of zeros */
	is(&b, 0, "crc32c", "8a9136aa");
	bench_close(&b);
}

static void pieces_and_gaps_do_not_matter(void **state)
{
	static const char words[] = "sha512,crc32c,sha256,blake2b";
	uint64_t seed = random_seed();
	char want[4][CONVERT_DIGEST_TEXT], have[CONVERT_DIGEST_TEXT];
	const size_t size = 700001;
	uint8_t *disk = malloc(size);
	const char *name;
	struct bench b;

	(void)state;
	assert_non_null(disk);
	for (unsigned round = 0; round < 20; round++) {
		memset(disk, 0, size);
		for (unsigned i = 0; i < IOS; i += 2)
			memset(disk + i * size / IOS, (int)round + 1,
			       random_below(&seed, size / IOS));
		bench_open(&b, words);
		add(&b, 0, 0, disk, size);
		end(&b, size);
		for (unsigned i = 0; i < 4; i++)
			assert_true(convert_digest_get(b.d, i, &name, want[i]));
		bench_close(&b);

		bench_open(&b, words);
		for (unsigned i = 0; i < IOS; i += 2)
			add(&b, i, i * size / IOS, disk + i * size / IOS,
			    (i + 1) * size / IOS - i * size / IOS);
		end(&b, size);
		assert_int_equal(b.back, IOS / 2);
		for (unsigned i = 0; i < 4; i++) {
			assert_true(convert_digest_get(b.d, i, &name, have));
			assert_string_equal(have, want[i]);
		}
		bench_close(&b);
	}
	free(disk);
}

static void words_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = {
		"", ",", "sha256,", "SHA256", "sha25", "sha2566",
		"md5,md5,md5,md5,md5,md5,md5,md5,md5",
	};
	struct convert_job job = { .src = "src", .signal_fd = -1 };
	struct convert_digest *d;

	(void)state;
	assert_int_equal(convert_job_init(&job, VHD_ENGINE_SYNC, NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vhd_err err = { 0 };

		assert_int_equal(convert_digest_open(&d, &job, bad[i], &err),
				 -EINVAL);
		assert_int_equal(err.why, VHD_WHY_ARGUMENT);
	}
	convert_job_fini(&job);
}

/* Given up in the middle of a terabyte of zeros. */
static void an_abandoned_digest_ends_at_once(void **state)
{
	char byte[] = "x";
	struct bench b;

	(void)state;
	bench_open(&b, "sha256,md5");
	add(&b, 0, UINT64_C(1) << 40, byte, 1);
	bench_close(&b);
	assert_int_equal(b.back, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers_come_out),
		cmocka_unit_test(pieces_and_gaps_do_not_matter),
		cmocka_unit_test(words_that_are_none_are_refused),
		cmocka_unit_test(an_abandoned_digest_ends_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
