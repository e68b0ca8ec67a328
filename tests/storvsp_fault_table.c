/* SPDX-License-Identifier: BSD-2-Clause */
/* Every kind of fault at the host's disk, under every command that reaches it,
 * once and for ever, on a disk with blocks and on one without: exactly one
 * answer, with the status and sense of the table here, which is written from
 * what the guest should do about it and not from the code.
 */
#include <errno.h>

#include "tests/lib/proof.h"
#include "tests/lib/simvsp.h"

enum view {
	GOOD,	   /* it is done */
	READ_ERR,  /* this sector cannot be read */
	WRITE_ERR, /* this sector cannot be written */
	NO_SPACE,  /* thin provisioning: the host is full */
	PROTECTED,
	RESOURCES, /* try again: for want of memory */
	ABORTED,   /* try again */
	POISONED,  /* do not: nothing written is safe any more */
	VIEWS
};

static const struct vsc_status views[VIEWS] = {
	[GOOD] = {0x01, 0x00, 0, 0, 0},
	[READ_ERR] = {0x84, 0x02, 0x3, 0x11, 0x00},
	[WRITE_ERR] = {0x84, 0x02, 0x3, 0x0C, 0x00},
	[NO_SPACE] = {0x84, 0x02, 0x7, 0x27, 0x07},
	[PROTECTED] = {0x84, 0x02, 0x7, 0x27, 0x00},
	[RESOURCES] = {0x84, 0x02, 0xB, 0x55, 0x03},
	[ABORTED] = {0x82, 0x02, 0xB, 0x00, 0x00},
	[POISONED] = {0x84, 0x02, 0x4, 0x44, 0x00},
};

/* The commands, as simvsp_send has them, and what they come down to. */
static const struct command {
	char what;
	enum vhd_io_op op;
} commands[] = {
	{'r', VHD_IO_READ}, {'w', VHD_IO_WRITE}, {'f', VHD_IO_WRITE},
	{'s', VHD_IO_SYNC}, {'z', VHD_IO_ZERO},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* Columns as the commands above: read, write, write that must be durable,
 * SYNCHRONIZE CACHE, WRITE SAME of zeros.
 */
static const struct row {
	const char *name;
	struct sim_fate fate;
	enum view once[COMMANDS];
	enum view forever[COMMANDS];
} rows[] = {
	{"EIO",
	 {.code = -EIO},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR}},
	{"ENODEV",
	 {.code = -ENODEV},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR, GOOD},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR, GOOD}},
	{"EBADF",
	 {.code = -EBADF},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR}},
	{"EISDIR",
	 {.code = -EISDIR},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR}},
	{"ENOSPC",
	 {.code = -ENOSPC},
	 {NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE},
	 {NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE}},
	{"EDQUOT",
	 {.code = -EDQUOT},
	 {NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE},
	 {NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE}},
	{"EFBIG",
	 {.code = -EFBIG},
	 {NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE},
	 {NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE, NO_SPACE}},
	{"EROFS",
	 {.code = -EROFS},
	 {PROTECTED, PROTECTED, PROTECTED, PROTECTED, PROTECTED},
	 {PROTECTED, PROTECTED, PROTECTED, PROTECTED, PROTECTED}},
	/* A sync is never tried again, nor what may have been one. */
	{"EINTR",
	 {.code = -EINTR},
	 {GOOD, GOOD, WRITE_ERR, WRITE_ERR, GOOD},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR}},
	{"EAGAIN",
	 {.code = -EAGAIN},
	 {GOOD, GOOD, GOOD, RESOURCES, GOOD},
	 {RESOURCES, RESOURCES, RESOURCES, RESOURCES, RESOURCES}},
	{"ENOMEM",
	 {.code = -ENOMEM},
	 {RESOURCES, RESOURCES, RESOURCES, RESOURCES, RESOURCES},
	 {RESOURCES, RESOURCES, RESOURCES, RESOURCES, RESOURCES}},
	{"ECANCELED",
	 {.code = -ECANCELED},
	 {ABORTED, ABORTED, ABORTED, ABORTED, ABORTED},
	 {ABORTED, ABORTED, ABORTED, ABORTED, ABORTED}},
	/* Holes that cannot be made are written out. */
	{"EOPNOTSUPP",
	 {.code = -EOPNOTSUPP},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR, GOOD},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, WRITE_ERR, GOOD}},
	{"one byte",
	 {.most_bytes = 1},
	 {GOOD, GOOD, GOOD, GOOD, GOOD},
	 {GOOD, GOOD, GOOD, GOOD, GOOD}},
	{"513 bytes",
	 {.most_bytes = 513},
	 {GOOD, GOOD, GOOD, GOOD, GOOD},
	 {GOOD, GOOD, GOOD, GOOD, GOOD}},
	{"nothing",
	 {.nothing = true},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, GOOD, WRITE_ERR},
	 {READ_ERR, WRITE_ERR, WRITE_ERR, GOOD, WRITE_ERR}},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

struct plan {
	bool armed;
	bool forever;
	unsigned struck;
	enum vhd_io_op op;
	struct sim_fate fate;
};

static unsigned cells, right;

static void decide(void *ctx, const struct vhd_io *io, struct sim_fate *fate)
{
	struct plan *p = ctx;

	if (!p->armed || io->op != p->op)
		return;
	*fate = p->fate;
	p->struck++;
	p->armed = p->forever;
}

static enum view answer_to(struct simvsp *w, uint64_t id)
{
	struct vsc_answer a;
	struct vsc_status s;

	vsc_wait(w->c, id, &a);
	simvsp_quiet(w->c);
	s = vsc_status(&a);
	for (unsigned v = 0; v < VIEWS; v++)
		if (s.srb == views[v].srb && s.scsi == views[v].scsi &&
		    s.key == views[v].key && s.asc == views[v].asc &&
		    s.ascq == views[v].ascq) {
			if (v != GOOD)
				assert_int_equal(
					le32_get(a.p.u.request.transfer_length),
					0);
			return (enum view)v;
		}
	fail_msg("SRB %02x, SCSI %02x, sense %x/%02x/%02x", s.srb, s.scsi,
		 s.key, s.asc, s.ascq);
	return VIEWS;
}

static enum view ask(struct simvsp *w, char what, uint8_t lun)
{
	return answer_to(w, simvsp_send(w, w->c, what, lun, 16));
}

/* What must hold afterwards: reads go on; writes, too, unless a sync failed,
 * and then neither they nor another sync ever say yes.
 */
static void afterwards(struct simvsp *w, uint8_t lun, bool poisoned)
{
	enum view view = poisoned ? POISONED : GOOD;

	assert_int_equal(ask(w, 'r', lun), GOOD);
	assert_int_equal(ask(w, 'w', lun), view);
	assert_int_equal(ask(w, 's', lun), view);
	assert_int_equal(ask(w, 'r', lun), GOOD);
	assert_int_equal(ask(w, 'w', !lun), GOOD);
}

/* Whether the command's sync failed, or may have. */
static bool poisons(const struct command *c, const struct row *r,
		    enum view view)
{
	if (view == GOOD)
		return false;
	if (c->what == 's')
		return true;
	return c->what == 'f' && r->fate.code != -EFBIG &&
	       r->fate.code != -EBADF && r->fate.code != -ECANCELED;
}

static void run_cell(const struct command *c, const struct row *r,
		     enum view want, bool forever, uint8_t lun)
{
	struct plan p = {0};
	struct sim_opts sim = {.decide = decide, .ctx = &p};
	struct simvsp w;
	enum view view;

	simvsp_start(&w, NULL, &sim);
	assert_int_equal(ask(&w, 'w', lun), GOOD);
	assert_int_equal(ask(&w, 's', lun), GOOD);
	p = (struct plan){.armed = true,
			  .forever = forever,
			  .op = c->op,
			  .fate = r->fate};
	view = ask(&w, c->what, lun);
	cells++;
	if (!p.struck || view != want)
		print_error("%s under '%c'%s, LUN %u: view %d, not %d%s\n",
			    r->name, c->what, forever ? " for ever" : "", lun,
			    view, want, p.struck ? "" : " (not met)");
	else
		right++;
	p.armed = false;
	afterwards(&w, lun, poisons(c, r, view));
	simvsp_stop(&w);
}

static void each_fault_has_one_answer_and_its_sense(void **state)
{
	(void)state;
	for (unsigned r = 0; r < ROWS; r++)
		for (unsigned c = 0; c < COMMANDS; c++)
			for (uint8_t lun = 0; lun < 2; lun++) {
				run_cell(&commands[c], &rows[r],
					 rows[r].once[c], false, lun);
				run_cell(&commands[c], &rows[r],
					 rows[r].forever[c], true, lun);
			}
	assert_int_equal(right, cells);
}

/* It never comes back: the guest resets the LUN, and has one answer. */
static void a_lost_operation_is_answered_when_reset(void **state)
{
	(void)state;
	for (unsigned c = 0; c < COMMANDS; c++) {
		struct plan p = {0};
		struct sim_opts sim = {.decide = decide, .ctx = &p};
		struct simvsp w;
		uint64_t id, reset;

		/* what is in a sync ends with it */
		if (commands[c].op == VHD_IO_SYNC)
			continue;
		simvsp_start(&w, NULL, &sim);
		assert_int_equal(ask(&w, 'w', 1), GOOD);
		p = (struct plan){
			.armed = true, .op = commands[c].op, .fate.lost = true};
		id = simvsp_send(&w, w.c, commands[c].what, 1, 16);
		vsc_pump(w.v);
		simvsp_quiet(w.c);
		assert_int_equal(p.struck, 1);
		reset = simvsp_reset(w.c, STORVSP_OP_RESET_LUN, 0, 0, 1);
		cells++;
		simvsp_expect(w.c, id, "aborted");
		simvsp_expect(w.c, reset, "");
		simvsp_quiet(w.c);
		right++;
		assert_int_equal(ask(&w, 'r', 1), GOOD);
		simvsp_stop(&w);
	}
}

/* Many at once, late and in any order, some of them failing: each is answered
 * once, by what happened to it.
 */
static void late_and_reordered_faults_find_their_requests(void **state)
{
	unsigned seeds = proof_long() ? 2000 : 40;

	(void)state;
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		struct plan p = {0};
		struct sim_opts sim = {.decide = decide,
				       .ctx = &p,
				       .seed = seed,
				       .late_permille = 600,
				       .short_permille = 200};
		unsigned failed = 0, n = 24;
		struct vsc_answer a;
		struct simvsp w;

		simvsp_start(&w, NULL, &sim);
		p = (struct plan){
			.armed = true, .op = VHD_IO_READ, .fate.code = -EIO};
		for (unsigned i = 0; i < n; i++)
			assert_true(simvsp_send(&w, w.c, i % 3 ? 'r' : 'w', 1,
						i * 8) != 0);
		for (unsigned i = 0; i < n; i++) {
			unsigned turn = 0;

			while (!vsc_recv(w.c, &a))
				assert_true(++turn < 10000);
			failed += !vsc_good(&a);
		}
		cells++;
		assert_int_equal(failed, 1);
		assert_int_equal(p.struck, 1);
		assert_int_equal(vsc_outstanding(w.c), 0);
		simvsp_quiet(w.c);
		right++;
		simvsp_stop(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_fault_has_one_answer_and_its_sense),
		cmocka_unit_test(a_lost_operation_is_answered_when_reset),
		cmocka_unit_test(late_and_reordered_faults_find_their_requests),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	printf("%u of %u cells right\n", right, cells);
	proof_figure("F4", !failed && right == cells && cells > 0,
		     "%u of %u faults gave one completion with the tabled "
		     "status and sense",
		     right, cells);
	return failed;
}
