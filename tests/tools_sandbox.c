/* SPDX-License-Identifier: BSD-2-Clause */
/* The sandbox of tools/sandbox/: one child per forbidden system call, the
 * table's counts and the manual page that lists it, rings, files, and what is
 * said where a mechanism is missing. Goals S1, S2, S4, S5, S6.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/lib/engines.h"
#include "tests/lib/proof.h"
#include "tools/sandbox/sandbox.h"
#include "vhd/engine.h"
#include "vhd/file.h"

#define NUMBERS 501 /* 0 to 500 */
#define THREAD_CALLS_MAX 20

static volatile int *returned; /* shared with children */

/* At once, and not said to be for good: before that a sanitizer makes calls of
 * its own.
 */
static void leave(int status)
{
	(void)syscall(SYS_exit_group, status);
}

static int in_child(void (*run)(void *arg), void *arg)
{
	int status = 0;
	pid_t pid;

	*returned = 0;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)signal(SIGILL, SIG_DFL); /* cmocka's catches it */
		run(arg);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* -------------------------------------------------------- system calls -- */

struct call {
	enum sandbox_role role;
	long number;
	unsigned long arg[6];
};

static void make_call(void *arg)
{
	const struct call *c = arg;
	const unsigned long *a = c->arg;
	struct vhd_err err;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    sandbox_filter_load(c->role, &err)) {
		*returned = 2;
		_exit(98);
	}
	errno = 0;
	if (syscall(c->number, a[0], a[1], a[2], a[3], a[4], a[5]) < 0 &&
	    errno == ENOSYS)
		*returned = 3;
	else
		*returned = 1;
	syscall(SYS_exit, 0);
}

/* uretprobe and uprobe, for the trampolines that a debugger plants: Linux asks
 * no filter about them, and does nothing for anybody else.
 */
static bool kernels_own(int number)
{
	return number == 335 || number == 336;
}

static bool killed(struct call *c)
{
	int status = in_child(make_call, c);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS &&
	       *returned == 0;
}

static const struct sandbox_rule *rule_of(enum sandbox_role role, int number)
{
	size_t count;
	const struct sandbox_rule *r = sandbox_rules(&count);

	for (; count; count--, r++)
		if (r->number == number && r->roles & SANDBOX_BIT(role))
			return r;
	return NULL;
}

/* A value that the rule does not let pass. */
static unsigned long forbidden_value(const struct sandbox_rule *r)
{
	return r->zero ? (unsigned long)r->zero : 0x7ffffff0ul;
}

static void each_number_kills_or_is_listed(void **state)
{
	unsigned tried = 0, listed = 0, wrong = 0;

	(void)state;
	for (int role = 0; role < SANDBOX_ROLES; role++)
		for (int nr = 0; nr < NUMBERS; nr++) {
			struct call c = {.role = (enum sandbox_role)role,
					 .number = nr};
			const struct sandbox_rule *r = rule_of(c.role, nr);

			memset(c.arg, 0xff, sizeof(c.arg));
			if (kernels_own(nr) ||
			    (r && !r->values && !r->zero)) {
				listed++;
				continue;
			}
			if (r)
				c.arg[r->arg] = forbidden_value(r);
			tried++;
			if (!killed(&c)) {
				print_message("%s: call %d does not kill\n",
					      sandbox_role_name(c.role), nr);
				wrong++;
			}
		}
	proof_figure("S2", wrong == 0,
		     "%u of %u calls killed, %u listed, %d roles, numbers 0 "
		     "to %d",
		     tried - wrong, tried, listed, SANDBOX_ROLES, NUMBERS - 1);
	assert_int_equal(wrong, 0);
}

static void no_memory_becomes_executable_and_no_process_is_made(void **state)
{
	struct call calls[] = {
		{0, SYS_mmap,
		 {0, 4096, PROT_READ | PROT_EXEC,
		  MAP_PRIVATE | MAP_ANONYMOUS, ~0ul, 0}},
		{0, SYS_mprotect, {0, 4096, PROT_EXEC}},
		{0, SYS_fcntl, {0, F_SETOWN, 1}},
		{0, SYS_ioctl, {0, 0x5412 /* TIOCSTI */, 0}},
		{0, SYS_clone, {SIGCHLD}},
		{0, SYS_socket, {AF_PACKET, SOCK_RAW, 0}},
		{0, 0x40000000l + SYS_write, {1, 0, 0}},
		{0, SYS_execve, {0}},
		{0, SYS_ptrace, {0}},
	};

	(void)state;
	for (int role = 0; role < SANDBOX_ROLES; role++)
		for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
			calls[i].role = (enum sandbox_role)role;
			assert_true(killed(&calls[i]));
		}
}

/* With what the table lets pass as a policy, but of another thread. */
static void a_thread_is_scheduled_by_itself_only(void **state)
{
	struct call c = {.number = SYS_sched_setscheduler,
			 .arg = {(unsigned long)getpid(), SCHED_BATCH}};

	(void)state;
	for (int role = 0; role < SANDBOX_ROLES; role++) {
		c.role = (enum sandbox_role)role;
		assert_true(killed(&c));
	}
	c = (struct call){SANDBOX_IO, SYS_sched_setscheduler,
			  {0, SCHED_BATCH}};
	assert_false(killed(&c));
}

static void clone3_is_said_not_to_exist(void **state)
{
	struct call c = {.role = SANDBOX_WRITER, .number = SYS_clone3};

	(void)state;
	(void)in_child(make_call, &c);
	assert_int_equal(*returned, 3);
}

static void the_threads_of_a_guest_have_few_calls(void **state)
{
	unsigned cpu = sandbox_calls(SANDBOX_VCPU);
	unsigned io = sandbox_calls(SANDBOX_IO);

	(void)state;
	for (int role = 0; role < SANDBOX_ROLES; role++)
		print_message("%s: %u system calls\n",
			      sandbox_role_name((enum sandbox_role)role),
			      sandbox_calls((enum sandbox_role)role));
	proof_figure("S1", cpu <= THREAD_CALLS_MAX && io <= THREAD_CALLS_MAX,
		     "processor %u, storage channel %u (%u without rings), "
		     "control %u, output %u, hv ctl %u, disk added on a server %u, "
		     "connection to a server %u",
		     cpu, io, sandbox_calls(SANDBOX_IO_PLAIN),
		     sandbox_calls(SANDBOX_CONTROL),
		     sandbox_calls(SANDBOX_OUTPUT),
		     sandbox_calls(SANDBOX_CTL),
		     sandbox_calls(SANDBOX_HANDED),
		     sandbox_calls(SANDBOX_LINK));
	assert_in_range(cpu, 1, THREAD_CALLS_MAX);
	assert_in_range(io, 1, THREAD_CALLS_MAX);
}

/* What a thread is made with must be allowed to its maker. */
static void a_thread_has_no_call_that_its_maker_lacks(void **state)
{
	size_t count;
	const struct sandbox_rule *r = sandbox_rules(&count);

	(void)state;
	for (; count; count--, r++) {
		if (r->roles & (SANDBOX_BIT(SANDBOX_IO) |
				SANDBOX_BIT(SANDBOX_IO_PLAIN)))
			assert_true(r->roles & SANDBOX_BIT(SANDBOX_CONTROL));
		if (r->roles & SANDBOX_BIT(SANDBOX_HANDED))
			assert_true(r->roles & SANDBOX_BIT(SANDBOX_CTL));
	}
}

/* Who serves hv ctl, and what it adds, reaches nothing by itself. */
static void who_serves_hv_ctl_opens_and_connects_nothing(void **state)
{
	static const int calls[] = {SYS_socket, SYS_connect, SYS_open,
				    SYS_openat, SYS_openat2, SYS_bind};

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		assert_null(rule_of(SANDBOX_CTL, calls[i]));
		assert_null(rule_of(SANDBOX_HANDED, calls[i]));
	}
}

/* --------------------------------------------------------------- manual -- */

static void letters(unsigned roles, char out[SANDBOX_ROLES + 1])
{
	static const char names[SANDBOX_ROLES + 1] = "viacokhlrwn";
	unsigned n = 0;

	for (unsigned i = 0; i < SANDBOX_ROLES; i++)
		if (roles & SANDBOX_BIT(i))
			out[n++] = names[i];
	out[n] = '\0';
}

/* The table as the page has it: print it with SANDBOX_PAGE=1. */
static void the_manual_lists_the_table(void **state)
{
	size_t count, len = 0;
	const struct sandbox_rule *r = sandbox_rules(&count);
	char *want = NULL, roles[SANDBOX_ROLES + 1], *page;
	FILE *f = open_memstream(&want, &len);

	(void)state;
	for (; count; count--, r++) {
		letters(r->roles, roles);
		fprintf(f, ".TP\n.BR %s \" (%s)\"\n%s%s%s\n", r->name, roles,
			r->why,
			r->errno_value ? " (answered: no such call)" : "",
			r->values ? " (some values of an argument)"
			: r->zero ? " (never executable)"
				  : "");
	}
	fclose(f);
	if (getenv("SANDBOX_PAGE"))
		fputs(want, stdout);
	f = fopen("tools/man/vhd-sandbox.7", "re");
	assert_non_null(f);
	page = calloc(1, 1 << 16);
	assert_true(fread(page, 1, (1 << 16) - 1, f) > 0);
	fclose(f);
	assert_non_null(strstr(page, want));
	free(page);
	free(want);
}

/* ---------------------------------------------------------------- rings -- */

static bool engine_uses(unsigned op)
{
	return op == IORING_OP_READ || op == IORING_OP_READV ||
	       op == IORING_OP_WRITE || op == IORING_OP_WRITEV ||
	       op == IORING_OP_READ_FIXED || op == IORING_OP_WRITE_FIXED ||
	       op == IORING_OP_FSYNC || op == IORING_OP_FALLOCATE ||
	       op == IORING_OP_POLL_ADD ||
	       op == IORING_OP_POLL_REMOVE || op == IORING_OP_ASYNC_CANCEL;
}

static int submit_one(struct io_uring *ring, unsigned op, unsigned flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int res;

	if (!sqe)
		return -EBUSY;
	*sqe = (struct io_uring_sqe){0};
	sqe->opcode = (uint8_t)op;
	sqe->flags = (uint8_t)flags;
	sqe->fd = 0;
	assert_int_equal(io_uring_submit(ring), 1);
	assert_int_equal(io_uring_wait_cqe(ring, &cqe), 0);
	res = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

/* The engine's state begins with its ring. */
static void the_engines_ring_refuses_all_it_does_not_use(void **state)
{
	unsigned refused = 0, others = 0;
	struct io_uring_probe *probe = io_uring_get_probe();
	struct vhd_err err;
	static uint8_t page[4096];
	const struct iovec one = {page, sizeof(page)};
	void *engine;
	int res, fd = -1;

	(void)state;
	if (vhd_engine_uring.create(8, &engine, &err)) {
		io_uring_free_probe(probe);
		print_message("%s\n", err.text);
		skip();
	}
	assert_int_equal(vhd_engine_uring.submit(engine), 0); /* enables */
	assert_non_null(probe);
	for (unsigned op = 0; op <= probe->last_op; op++) {
		if (engine_uses(op))
			continue;
		others++;
		res = submit_one(engine, op, IOSQE_FIXED_FILE);
		refused += res == -EACCES;
		if (res != -EACCES)
			print_message("operation %u: %d\n", op, res);
	}
	/* What it uses, with a file that is not registered. */
	assert_int_equal(submit_one(engine, IORING_OP_READ, 0), -EACCES);
	assert_int_equal(submit_one(engine, IORING_OP_WRITE, 0), -EACCES);
	assert_int_equal(submit_one(engine, IORING_OP_READ_FIXED, 0), -EACCES);
	assert_int_equal(submit_one(engine, IORING_OP_FSYNC, 0), -EACCES);
	assert_int_equal(vhd_engine_uring.memory(engine, &one, 1, &err),
			 -EBUSY);
	assert_int_equal(io_uring_register(
				 (unsigned)((struct io_uring *)engine)->ring_fd,
				 IORING_REGISTER_BUFFERS, &one, 1),
			 -EACCES);
	assert_int_equal(io_uring_register(
				 (unsigned)((struct io_uring *)engine)->ring_fd,
				 IORING_REGISTER_EVENTFD, &fd, 1),
			 -EACCES);
	vhd_engine_uring.destroy(engine);
	io_uring_free_probe(probe);
	proof_figure("S4", refused == others,
		     "%u of %u other opcodes refused, 11 used ones only with "
		     "registered files",
		     refused, others);
	assert_int_equal(refused, others);
}

/* ---------------------------------------------------------------- files -- */

/* A kernel may have none, or not use it. Asked of the kernel itself. */
static bool landlock_there(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
			       LANDLOCK_CREATE_RULESET_VERSION);

	if (version >= 0 || (errno != ENOSYS && errno != EOPNOTSUPP))
		return true;
	print_message("left out: this machine has no Landlock\n");
	return false;
}

static char folder[] = "/tmp/tools_sandbox.XXXXXX";

static int ring_open(struct io_uring *ring, int flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int res;

	io_uring_prep_openat(sqe, AT_FDCWD,
			     flags & O_CREAT ? "new" : "/etc/passwd", flags,
			     0600);
	if (io_uring_submit(ring) != 1 || io_uring_wait_cqe(ring, &cqe))
		return -ENOSYS;
	res = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

static void try_files(void *arg)
{
	const struct sandbox s = {.role = SANDBOX_CONTROL};
	char *const argv[] = {(char *)(uintptr_t) "true", NULL};
	unsigned *ways = arg;
	struct io_uring ring;
	struct vhd_err err;
	bool rings = !io_uring_queue_init(4, &ring, 0);

	if (sandbox_rights(SANDBOX_READER, &err) || sandbox_landlock(&s, &err))
		_exit(1);
#define REFUSED(call) (*ways += (call) < 0 && errno == EACCES)
	REFUSED(open("/etc/passwd", O_RDONLY));
	REFUSED(open("new", O_WRONLY | O_CREAT, 0600));
	/* some file systems have none for anybody */
	*ways += open(".", O_TMPFILE | O_RDWR, 0600) < 0 &&
		 (errno == EACCES || errno == EOPNOTSUPP);
	REFUSED(open(".", O_RDONLY | O_DIRECTORY));
	REFUSED(link("old", "other"));
	REFUSED(symlink("old", "other"));
	REFUSED(rename("old", "other"));
	REFUSED(unlink("old"));
	REFUSED(mkdir("new", 0700));
	REFUSED(execv("/bin/true", argv));
#undef REFUSED
	if (!rings) {
		*ways += 2;
		_exit(0);
	}
	*ways += ring_open(&ring, O_RDONLY) == -EACCES;
	*ways += ring_open(&ring, O_WRONLY | O_CREAT) == -EACCES;
	_exit(0);
}

static void no_file_is_opened_made_linked_or_run(void **state)
{
	unsigned *ways = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd, status;

	(void)state;
	if (!landlock_there())
		skip();
	assert_int_equal(chdir(folder), 0);
	fd = open("old", O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	status = in_child(try_files, ways);
	assert_int_equal(status, 0);
	proof_figure("S5", *ways == 12, "%u of 12 ways refused, 2 of them "
		     "through a ring", *ways);
	assert_int_equal(*ways, 12);
	assert_int_equal(access("old", F_OK), 0);
	unlink("old");
	munmap(ways, 4096);
}

static void try_place(void *arg)
{
	struct sandbox s = {.role = SANDBOX_WRITER};
	const char *dir = arg;

	sandbox_allow(&s, dir, SANDBOX_MAKE);
	if (cli_sandbox_set("test", "on") != CLI_OK ||
	    sandbox_enter(&s, "test") != CLI_OK)
		leave(1);
	if (open("mine", O_WRONLY | O_CREAT, 0600) < 0)
		leave(2);
	if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
		leave(3);
	if (unlink("mine"))
		leave(4);
	leave(0);
}

static void a_place_that_is_allowed_stays_within_reach(void **state)
{
	(void)state;
	if (!landlock_there())
		skip();
	assert_int_equal(chdir(folder), 0);
	assert_int_equal(in_child(try_place, folder), 0);
}

/* --------------------------------------------------- what is missing -- */

struct absence {
	int number; /* of the call that "does not exist" */
	const char *mode;
	const char *word;
	int fd; /* of standard error */
};

static void enter_without(void *arg)
{
	const struct absence *a = arg;
	struct sandbox s = {.role = SANDBOX_READER};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	if (!ctx || seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), a->number,
				     0) || seccomp_load(ctx))
		leave(97);
	seccomp_reset(NULL, 0); /* forget what libseccomp knows */
	if (dup2(a->fd, STDERR_FILENO) < 0 ||
	    cli_sandbox_set("test", a->mode) != CLI_OK)
		leave(96);
	leave(sandbox_enter(&s, "test"));
}

static void a_missing_mechanism_is_told(void **state)
{
	static const struct {
		int number;
		const char *word;
	} absent[] = {
		{SYS_landlock_create_ruleset, "Landlock"},
		{SYS_seccomp, "seccomp"},
		{SYS_io_uring_register, "rings"},
	};
	const unsigned all = engine_tried(VHD_ENGINE_URING) ? 6 : 4;
	unsigned right = 0;

	(void)state;
	if (!landlock_there())
		skip();
	for (unsigned i = 0; i < all; i++) {
		bool best = i % 2;
		struct absence a = {
			.number = absent[i / 2].number,
			.mode = best ? "best-effort" : "on",
		};
		char text[400] = "";
		int p[2], status;
		ssize_t n;

		assert_int_equal(pipe(p), 0);
		a.fd = p[1];
		status = in_child(enter_without, &a);
		close(p[1]);
		n = read(p[0], text, sizeof(text) - 1);
		close(p[0]);
		if (n > 0 && strstr(text, absent[i / 2].word) &&
		    strchr(text, '\n') == text + n - 1 &&
		    WIFEXITED(status) &&
		    WEXITSTATUS(status) == (best ? CLI_OK : CLI_IO))
			right++;
		else
			print_message("%s %s: status %x: %s\n",
				      absent[i / 2].word, a.mode, status, text);
	}
	proof_figure("S6", right == 6, "%u of 6: 3 mechanisms absent, on and "
		     "best-effort", right);
	assert_int_equal(right, all);
}

/* glibc sorts more than 128 members of 8 bytes in memory of the heap, and asks
 * once how much the machine has.
 */
static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void sort_much(void *arg)
{
	enum { MANY = 4096 };
	uint64_t *list = malloc(MANY * sizeof(*list));
	struct vhd_err err;

	(void)arg;
	if (!list || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    sandbox_filter_load(SANDBOX_CTL, &err))
		_exit(98);
	for (uint64_t i = 0; i < MANY; i++)
		list[i] = MANY - i;
	qsort(list, MANY, sizeof(*list), by_value);
	*returned = list[0] == 1 && list[MANY - 1] == MANY;
	syscall(SYS_exit, 0);
}

/* A medium that says "again" for a while. */
static ssize_t read_later(void *state, void *buf, size_t len, uint64_t off)
{
	unsigned *times = state;

	(void)off;
	if (*times) {
		--*times;
		return -EAGAIN;
	}
	memset(buf, 0, len);
	return (ssize_t)len;
}

static void read_again(void *arg)
{
	static const struct vhd_file_ops ops = {.name = "later",
						.pread = read_later};
	unsigned times = 600;
	const struct vhd_file f = {
		.ops = &ops, .state = &times, .fd = -1, .direct_fd = -1};
	const enum sandbox_role *role = arg;
	struct vhd_err err;
	uint8_t buf[512];

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    sandbox_filter_load(*role, &err))
		_exit(98);
	*returned = vhd_file_read(&f, buf, sizeof(buf), 0, NULL) == 0;
	syscall(SYS_exit, 0);
}

static void a_file_that_says_again_kills_nobody(void **state)
{
	(void)state;
	for (int i = 0; i < SANDBOX_ROLES; i++) {
		enum sandbox_role role = (enum sandbox_role)i;

		(void)in_child(read_again, &role);
		assert_int_equal(*returned, 1);
	}
}

static void who_serves_hv_ctl_can_sort_a_long_table(void **state)
{
	int status = in_child(sort_much, NULL);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(*returned, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_that_says_again_kills_nobody),
		cmocka_unit_test(who_serves_hv_ctl_can_sort_a_long_table),
		cmocka_unit_test(the_threads_of_a_guest_have_few_calls),
		cmocka_unit_test(a_thread_has_no_call_that_its_maker_lacks),
		cmocka_unit_test(
			who_serves_hv_ctl_opens_and_connects_nothing),
		cmocka_unit_test(the_manual_lists_the_table),
		cmocka_unit_test(each_number_kills_or_is_listed),
		cmocka_unit_test(
			no_memory_becomes_executable_and_no_process_is_made),
		cmocka_unit_test(a_thread_is_scheduled_by_itself_only),
		cmocka_unit_test(clone3_is_said_not_to_exist),
		cmocka_unit_test(the_engines_ring_refuses_all_it_does_not_use),
		cmocka_unit_test(a_missing_mechanism_is_told),
		cmocka_unit_test(no_file_is_opened_made_linked_or_run),
		cmocka_unit_test(a_place_that_is_allowed_stays_within_reach),
	};
	int rc;

	returned = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (returned == MAP_FAILED || !mkdtemp(folder))
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(folder);
	return rc;
}
