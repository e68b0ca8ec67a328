/* SPDX-License-Identifier: BSD-2-Clause */
/* Every system call of every operation fails in every way that it can, once
 * and for ever: no crash, no leak, no hang, no wrong data; the caller is told
 * what and where; what is left on the disk is whole or is put right by the
 * command for it; and the same call then succeeds. Judged by the independent
 * reader. See tests/lib/faultrun.h.
 *
 * SEED changes the images' content; PROOF_LONG=1: a million runs, one seed
 * after the other, or PROOF_SHARD's part of them, by seeds of its own. WORK and
 * CALL choose workloads and calls to look at.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "tests/lib/cm.h"
#include "tests/lib/engines.h"
#include "tests/lib/faultwork.h"
#include "tests/lib/proof.h"
#include "tests/lib/scratch.h"

#define QUICK_RUNS 20000u
#define LONG_RUNS  1000000u
#define SHARD_SEED 1000u /* from one part's first seed to the next one's */

static const struct fault_allow allow[] = {
	{"", FAULT_CLOSE_RO, FAULT_EIO, "", -EIO, VHD_WHY_IO,
	 "vhd_close is asked to tell"},
	{"", FAULT_REALPATH, 0, "vhd_split_open", 0, 0,
	 "only says where the parts of a split set would be"},
	{"", FAULT_OPEN, 0, "open_direct", 0, 0,
	 "data goes through the page cache then"},
	{"", FAULT_STAT, 0, "open_direct", 0, 0, "as above"},
	{"", FAULT_FCNTL, 0, "open_direct", 0, 0, "as above"},
	{"", FAULT_OPENAT2, FAULT_ELOOP, "", -ENOENT, VHD_WHY_PARENT_MISSING,
	 "a name that leads elsewhere is not followed; that is said"},
	{"", FAULT_OPENAT2, FAULT_EXDEV, "", -ENOENT, VHD_WHY_PARENT_MISSING,
	 "as above"},
	{"read folded", FAULT_OPENAT2, 0, "", 0, 0,
	 "the name is looked for in another case, too"},
	{"read folded", FAULT_OPENAT2, FAULT_EACCES, "", -ENOENT,
	 VHD_WHY_PARENT_MISSING, "a directory that may not be read has none"},
	{"", FAULT_STAT, 0, "same_file", 0, 0,
	 "looks for cycles, which end at the chain's greatest depth, too"},
	{"", FAULT_STAT, 0, "vhd_file_is_device", 0, 0,
	 "a device that is not known for one refuses its new length"},
	{"", FAULT_FTRUNCATE, FAULT_ENOSPC, "lengthen", 0, 0,
	 "what is needed now may fit where the large step does not"},
	{"", FAULT_FTRUNCATE, FAULT_EFBIG, "lengthen", 0, 0, "as above"},
	{"", FAULT_FTRUNCATE, FAULT_ENOSPC, "lengthen", -ENOSPC,
	 VHD_WHY_NO_SPACE, "the place told is that of the smaller step"},
	{"", FAULT_FTRUNCATE, FAULT_EFBIG, "lengthen", -EFBIG, VHD_WHY_NO_SPACE,
	 "as above"},
	{"inspect", FAULT_CALLS, 0, "", 0, 0,
	 "what can be shown is; the run looks that the fault is noted"},
	{"queue", FAULT_PWRITE, FAULT_EAGAIN, "", -EAGAIN, VHD_WHY_IO,
	 "a queue tells the errno as it is"},
	{"queue", FAULT_PWRITE, FAULT_ZERO, "", -EIO, VHD_WHY_SHORT_IO,
	 "a queue does not try again what moved nothing"},
	{"queue", FAULT_PREAD, 0, "fd_pread", 0, 0,
	 "behind a buffer that arrived it is a short count, and the rest is "
	 "tried again"},
	{"queue", FAULT_PWRITE, 0, "fd_pwrite", 0, 0, "as above"},
	{"merge", FAULT_PWRITE, FAULT_EAGAIN, "", -EAGAIN, VHD_WHY_IO,
	 "it goes by a queue: as above"},
	{"merge", FAULT_PWRITE, FAULT_ZERO, "", -EIO, VHD_WHY_SHORT_IO,
	 "as above"},
	{"merge", FAULT_RING_WAIT, FAULT_EBADF, "", -EBADF, VHD_WHY_IO,
	 "what broke the engine is told, not what came of it"},
	{"queue aio", FAULT_AIO_EVENTS, FAULT_EINVAL, "", -EIO, VHD_WHY_IO,
	 "where it was waited for them, not only looked"},
	{"queue auto", FAULT_RING_SETUP, 0, "", 0, 0,
	 "another engine is taken"},
	{"queue auto", FAULT_RING_RESTRICT, 0, "", 0, 0, "as above"},
	{"", FAULT_RING_UPDATE, 0, "", 0, 0,
	 "a place that is not emptied is overwritten by the next file"},
	{"", FAULT_STAT, 0, "file_time", 0, 0,
	 "the parent's time is then 0, as Windows 10 writes it"},
	{"", FAULT_STAT, 0, "note_time", 0, 0, "a note is not made"},
	{"salvage", FAULT_PREAD, 0, "", 0, 0,
	 "what is lost is told and zero: the run looks at that"},
	{"check", FAULT_CALLS, 0, "", 0, 0,
	 "it is a finding: the run looks at that"},
	{"resize fixed prealloc", FAULT_FALLOCATE, FAULT_EOPNOTSUPP, "reserve",
	 -EOPNOTSUPP, VHD_WHY_IO,
	 "space was asked for and cannot be had: refused, nothing changed"},
	{"merge", FAULT_STAT, 0, "room_check", 0, 0,
	 "how much is free is then not known"},
	{"rebase", FAULT_STAT, 0, "child_close", 0, 0,
	 "the rebase is done; only the file's length is not told"},
	{"merge", FAULT_STAT, 0, "bring_down", 0, 0,
	 "the merge is done; only the file's length is not told"},
	{"queue aio", FAULT_AIO_SUBMIT, FAULT_EAGAIN, "", -EAGAIN, VHD_WHY_IO,
	 "a sync that is refused is not tried again"},
	{"queue", FAULT_DONE_WRITE, FAULT_EINTR, "", -EINTR, VHD_WHY_IO,
	 "of a durable write it may have been the sync: never again"},
	{0},
};

static void table_has_each_call(void **state)
{
	(void)state;
	assert_true(fault_table_whole());
}

/* The choice of one is between all of them. */
static bool has_engine(const char *work)
{
	bool any = strstr(work, " auto");

	return (!(any || strstr(work, " uring")) ||
		engine_tried(VHD_ENGINE_URING)) &&
	       (!(any || strstr(work, " aio")) ||
		engine_tried(VHD_ENGINE_AIO));
}

static void run_all(const struct work *w)
{
	struct scratch place;
	unsigned wrong = faultrun_totals.wrong;
	const char *only = getenv("WORK");

	scratch_enter(&place, "fault", true);
	for (; w->name; w++) {
		uint64_t runs = faultrun_totals.runs;
		time_t began = time(NULL);

		if (only ? !strstr(w->name, only)
			 : w->flags & WORK_LONG && !proof_long())
			continue;
		if (!has_engine(w->name))
			continue;
		faultrun(w, allow);
		printf("%-24s %6llu runs, %lld s\n", w->name,
		       (unsigned long long)(faultrun_totals.runs - runs),
		       (long long)(time(NULL) - began));
	}
	scratch_leave(&place);
	assert_int_equal(faultrun_totals.wrong, wrong);
}

static void bytes_in_and_out(void **state)
{
	(void)state;
	run_all(fault_work_bytes);
}

static void requests_of_queues(void **state)
{
	(void)state;
	run_all(fault_work_queue);
}

static void new_images_and_looks(void **state)
{
	(void)state;
	run_all(fault_work_create);
}

static void images_changed_in_place(void **state)
{
	(void)state;
	run_all(fault_work_edit);
}

/* Whether every cell was run that the sites found have. */
static void no_cell_is_left_empty(void **state)
{
	unsigned executed, applicable;

	(void)state;
	if (getenv("WORK") || getenv("CALL"))
		skip();
	for (unsigned s = 0; s < fault_sites(); s++) {
		const struct fault_cell *c =
			fault_row(fault_site_call(s))->cells;

		for (unsigned k = 0; k < FAULT_CELLS_MAX && c[k].kind; k++)
			for (int on = 0; on < 2; on++)
				if (!fault_cell_executed(s, c[k].kind, on))
					printf("not run: %s %s%s at %s\n",
					       fault_call_name(
						       fault_site_call(s)),
					       fault_kind_name(c[k].kind),
					       on ? " for ever" : "",
					       fault_site_name(s));
	}
	fault_cells_count(&executed, &applicable);
	assert_int_equal(executed, applicable);
}

static uint64_t runs_wanted(void)
{
	return (proof_long() ? LONG_RUNS : QUICK_RUNS) / proof_shard().of;
}

/* What the runs came to, for the table of goals. */
static void tell(uint64_t seed, unsigned seeds)
{
	const struct faultrun_totals *t = &faultrun_totals;
	unsigned executed, applicable;

	fault_cells_count(&executed, &applicable);
	printf("%u of %u cells, %u sites, %llu runs (%llu with two faults), "
	       "%llu states judged\n",
	       executed, applicable, fault_sites(), (unsigned long long)t->runs,
	       (unsigned long long)t->deep, (unsigned long long)t->judged);
	proof_figure("F1", executed == applicable,
		     "%u of %u cells at %u call sites", executed, applicable,
		     fault_sites());
	proof_figure("F2", !t->wrong && t->runs >= runs_wanted(),
		     "%llu fault runs, %llu of them with two faults, %u "
		     "wrong; %u seeds from %llu",
		     (unsigned long long)t->runs, (unsigned long long)t->deep,
		     t->wrong, seeds, (unsigned long long)seed);
	proof_figure("F3", !t->wrong, "%llu states judged, %u against I1-I6",
		     (unsigned long long)t->judged, t->wrong);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_has_each_call),
		cmocka_unit_test(bytes_in_and_out),
		cmocka_unit_test(requests_of_queues),
		cmocka_unit_test(new_images_and_looks),
		cmocka_unit_test(images_changed_in_place),
		cmocka_unit_test(no_cell_is_left_empty),
	};
	const char *given = getenv("SEED");
	unsigned seeds = 0;
	int failed;

	fw_seed = given ? strtoull(given, NULL, 0) : 18;
	fw_seed += (uint64_t)SHARD_SEED * proof_shard().at;
	do {
		printf("SEED=%llu\n", (unsigned long long)fw_seed);
		failed = cmocka_run_group_tests(tests, NULL, NULL);
		fw_seed++;
		seeds++;
	} while (proof_long() && !failed && faultrun_totals.runs < runs_wanted());
	tell(fw_seed - seeds, seeds);
	return failed;
}
