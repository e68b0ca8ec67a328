/* SPDX-License-Identifier: BSD-2-Clause */
/* Run the guest where the processor has no virtualization: start a machine
 * that emulates one, in which this same program runs the guest on our files;
 * carry the console's bytes; and pass out how it ended. The images stay open,
 * and so locked, here; what is written goes through the machine.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hv/outlet.h"
#include "init.h"
#include "nested.h"

#define CHUNK_BYTES 4096u
#define LINE_MAX_BYTES 512u
#define UP_MS 180000   /* a loaded host may need a while to come up */
#define STOP_MS 30000  /* for the guest's disks to be closed */
#define POKE_MS 200
/* For the one who reads, in the end; see hv_outlet_end. */
#define STILL_MS 1000
#define ALL_MS 5000

/* Bytes on their way from one descriptor to another. */
struct stream {
	int from, to; /* -1: at its end */
	uint8_t buf[CHUNK_BYTES];
	size_t at, len;
};

enum stage { STAGE_STARTING, STAGE_UP, STAGE_ENDED };

struct nested {
	struct hv_qemu qemu;
	const struct hv_console *con;
	struct stream in;
	struct hv_outlet *console; /* has what the guest writes there */
	struct hv_escape escape;
	int wake_fd;
	enum stage stage;
	bool stopping;
	int64_t due_ms; /* when patience ends; 0: never */
	int64_t poke_ms; /* the next poke */
	char line[LINE_MAX_BYTES]; /* of the control port, so far */
	size_t line_len;
	char failure[LINE_MAX_BYTES];
	int code; /* the command's */
};

/* ------------------------------------------------------------- streams -- */

static void stream_read(struct stream *s)
{
	ssize_t n = read(s->from, s->buf, sizeof(s->buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		s->from = -1;
		return;
	}
	s->at = 0;
	s->len = (size_t)n;
}

/* Where the other end is gone the bytes are lost. */
static void stream_write(struct stream *s)
{
	ssize_t n;

	if (s->at == s->len)
		return;
	n = s->to < 0 ? (ssize_t)(s->len - s->at)
		      : write(s->to, s->buf + s->at, s->len - s->at);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0) {
		s->to = -1;
		s->at = s->len;
		return;
	}
	s->at += (size_t)n;
}

static bool stream_empty(const struct stream *s)
{
	return s->at == s->len;
}

/* -------------------------------------------------------------- output -- */

/* A thread of its own waits for the guest and for the one who reads: a terminal
 * that was stopped keeps nobody else.
 */
static size_t take_output(void *arg, uint8_t *to, size_t cap)
{
	const struct nested *n = arg;
	struct pollfd p = {.fd = n->qemu.console_fd, .events = POLLIN};
	ssize_t got;

	do {
		(void)poll(&p, 1, -1);
		got = read(n->qemu.console_fd, to, cap);
	} while (got < 0 && (errno == EINTR || errno == EAGAIN));
	return got > 0 ? (size_t)got : 0;
}

static void lost_output(void *unused, int code)
{
	char line[128];

	(void)unused;
	snprintf(line, sizeof(line), "console: cannot write: %s; output is "
		 "lost from here on", strerror(code));
	hv_say_line(NULL, line);
}

/* --------------------------------------------------------------- input -- */

static void ask_to_stop(struct nested *n)
{
	const char byte = HV_INIT_STOP;

	if (n->stopping)
		return;
	n->stopping = true;
	if (n->stage != STAGE_UP ||
	    write(n->qemu.control_fd, &byte, 1) != 1)
		n->stage = STAGE_ENDED; /* nothing of the guest runs yet */
	else
		n->due_ms = cli_now_ms() + STOP_MS;
}

static void read_input(struct nested *n)
{
	struct stream *s = &n->in;

	stream_read(s);
	if (!n->con->terminal)
		return;
	s->len = s->at + hv_escape_filter(&n->escape, s->buf + s->at,
					  s->len - s->at);
	if (n->escape.help)
		hv_escape_show_help();
	n->escape.help = false;
	if (n->escape.quit)
		ask_to_stop(n);
}

/* ------------------------------------------------ error and control ports */

/* What the inner program says on stderr, lines ended as the terminal wants. */
static void read_error(struct nested *n)
{
	char buf[CHUNK_BYTES];
	ssize_t got = read(n->qemu.error_fd, buf, sizeof(buf));

	if (got > 0)
		hv_say_text(buf, (size_t)got);
}

static void control_line(struct nested *n)
{
	if (strcmp(n->line, "up") == 0) {
		if (n->stage == STAGE_STARTING) {
			n->stage = STAGE_UP;
			n->due_ms = 0;
		}
	} else if (sscanf(n->line, "exit %d", &n->code) == 1) {
		n->stage = STAGE_ENDED;
	} else {
		snprintf(n->failure, sizeof(n->failure), "%.200s", n->line);
		cli_text_clean(n->failure);
		n->stage = STAGE_ENDED;
	}
}

static void read_control(struct nested *n)
{
	char buf[256];
	ssize_t got = read(n->qemu.control_fd, buf, sizeof(buf));

	for (ssize_t i = 0; i < got && n->stage != STAGE_ENDED; i++) {
		if (buf[i] != '\n') {
			if (n->line_len < sizeof(n->line) - 1)
				n->line[n->line_len++] = buf[i];
			continue;
		}
		n->line[n->line_len] = '\0';
		n->line_len = 0;
		control_line(n);
	}
}

/* ---------------------------------------------------------------- loop -- */

enum { WAIT_WAKE, WAIT_PID, WAIT_CONTROL, WAIT_ERROR, WAIT_IN, WAIT_TO_GUEST,
       WAIT_COUNT };

static void poll_fill(struct nested *n, struct pollfd p[WAIT_COUNT])
{
	const bool up = n->stage == STAGE_UP;
	const int fds[WAIT_COUNT] = {
		[WAIT_WAKE] = n->stopping ? -1 : n->wake_fd,
		[WAIT_PID] = n->qemu.pid_fd,
		[WAIT_CONTROL] = n->qemu.control_fd,
		[WAIT_ERROR] = n->qemu.error_fd,
		/* Input waits until the machine is up, but for the escape. */
		[WAIT_IN] = stream_empty(&n->in) &&
					    (up || n->con->terminal)
				    ? n->in.from
				    : -1,
		[WAIT_TO_GUEST] = !up || stream_empty(&n->in) ? -1 : n->in.to,
	};

	for (int i = 0; i < WAIT_COUNT; i++)
		p[i] = (struct pollfd){
			.fd = fds[i],
			.events = i == WAIT_TO_GUEST ? POLLOUT : POLLIN,
		};
}

static void serve(struct nested *n, const struct pollfd p[WAIT_COUNT])
{
	if (p[WAIT_WAKE].revents) {
		if (hv_signals_timed_out())
			hv_say_line(NULL, "the time is over");
		ask_to_stop(n);
	}
	if (p[WAIT_ERROR].revents)
		read_error(n);
	if (p[WAIT_IN].revents)
		read_input(n);
	if (n->stage == STAGE_UP)
		stream_write(&n->in);
	if (p[WAIT_CONTROL].revents)
		read_control(n);
	if (p[WAIT_PID].revents)
		n->stage = STAGE_ENDED;
}

/* A byte that asks for nothing: for the interrupt that it makes. QEMU 7.2 can
 * lose one of the timer's: VMRUN changes the word of pending requests without
 * the lock under which its other thread sets a bit there. Then the interrupt
 * waits in the APIC, the machine's only processor does not know, and its timer
 * is not set again; any other interrupt has it look. Never blocks; what does
 * not fit is not needed.
 * Source: QEMU target/i386/tcg/sysemu/svm_helper.c, helper_vmrun.
 */
static int64_t poke(struct nested *n)
{
	const char byte = HV_INIT_POKE;
	int64_t now = cli_now_ms();

	if (n->stage != STAGE_UP)
		return POKE_MS;
	if (now >= n->poke_ms) {
		(void)!write(n->qemu.control_fd, &byte, 1);
		n->poke_ms = now + POKE_MS;
	}
	return n->poke_ms - now;
}

static void loop(struct nested *n)
{
	struct pollfd p[WAIT_COUNT];

	while (n->stage != STAGE_ENDED) {
		int64_t left = n->due_ms ? n->due_ms - cli_now_ms() : -1;
		int64_t next = poke(n);

		if (n->due_ms && left <= 0) {
			snprintf(n->failure, sizeof(n->failure),
				 n->stopping ? "it does not stop"
					     : "it does not come up");
			return;
		}
		poll_fill(n, p);
		if (left < 0 || left > next)
			left = next;
		if (poll(p, WAIT_COUNT, (int)left) > 0)
			serve(n, p);
	}
}

/* ------------------------------------------------------------- outcome -- */

static int outcome(struct nested *n, int qemu_status)
{
	char line[LINE_MAX_BYTES + 64];

	if (n->code >= 0 && n->code < 256 && n->code != 127) {
		if (n->code == HV_EXIT_STOPPED && hv_signals_timed_out())
			return HV_EXIT_TIMEOUT;
		return n->code;
	}
	/* It may be told to stop before it has a handler for that. */
	if (n->stopping && !*n->failure &&
	    (n->code < 0 || n->code == 256 + SIGTERM)) {
		hv_say_line(NULL, "stopped before the guest started");
		return hv_signals_timed_out() ? HV_EXIT_TIMEOUT
					      : HV_EXIT_STOPPED;
	}
	hv_terminal_restore();
	if (n->code >= 256)
		snprintf(line, sizeof(line), "the emulated machine failed: hv "
			 "in it died of signal %d", n->code - 256);
	else if (*n->failure)
		snprintf(line, sizeof(line), "the emulated machine failed: %s",
			 n->failure);
	else
		snprintf(line, sizeof(line), "the emulated machine failed: "
			 "QEMU ended with %s %d; it said:",
			 WIFSIGNALED(qemu_status) ? "signal" : "status",
			 WIFSIGNALED(qemu_status) ? WTERMSIG(qemu_status)
						  : WEXITSTATUS(qemu_status));
	hv_say_line(NULL, line);
	hv_qemu_show_log(&n->qemu);
	return CLI_IO;
}

/* Async-signal-safe. */
static void wake(void *arg)
{
	const struct nested *n = arg;
	const uint64_t one = 1;
	int saved = errno;

	(void)!write(n->wake_fd, &one, sizeof(one));
	errno = saved;
}

static int begin_output(struct nested *n, struct vhd_err *err)
{
	const struct hv_outlet_opts o = {
		.fd = n->con->out_fd,
		.name = "console",
		.take = take_output,
		.broken = lost_output,
		.arg = n,
	};
	int rc = hv_say_create(false, err);

	if (!rc)
		rc = hv_outlet_create(&o, &n->console, err);
	if (!rc)
		rc = hv_say_begin(err);
	return rc ? rc : hv_outlet_begin(n->console, err);
}

static void end_output(struct nested *n)
{
	if (!hv_outlet_end(n->console, STILL_MS, ALL_MS))
		hv_say_line(NULL, "console: nobody takes it; its last output "
			    "is lost");
}

static int run_machine(struct nested *n, const struct hv_args *args,
		       const struct hv_qemu_boot *boot,
		       const struct hv_shares *shares, struct vhd_err *err)
{
	int status, ret;

	n->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n->wake_fd < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot create an eventfd: %s",
				strerror(errno));
	if (hv_qemu_start(&n->qemu, args, boot, shares, err) < 0)
		return err->code;
	ret = begin_output(n, err);
	if (ret == 0) {
		n->in.from = n->con->in_fd;
		n->in.to = n->qemu.console_fd;
		n->due_ms = cli_now_ms() + UP_MS;
		hv_signals_watch(wake, n, args->timeout_s);
		loop(n);
		hv_signals_watch(NULL, NULL, 0);
	}
	status = hv_qemu_end(&n->qemu);
	/* what it said before is still in the sockets */
	read_error(n);
	end_output(n);
	if (!ret)
		ret = outcome(n, status);
	hv_say_end();
	return ret;
}

/* All that is made for one run. */
struct launch {
	struct nested nested;
	struct hv_shares shares;
	struct hv_l1_kernel kernel;
	struct hv_qemu_boot boot;
	/* names inside: kernel or firmware, initrd, disks, their keepers */
	char *inner[2 + 2 * HV_DISKS_MAX];
};

static int share_all(struct launch *l, const struct hv_args *args,
		     struct vhd_err *err)
{
	struct hv_shares *s = &l->shares;
	int ret = 0;

	for (unsigned i = 0; i < 2 + 2 * args->disk_count; i++) {
		l->inner[i] = calloc(1, HV_PATH_MAX);
		if (!l->inner[i])
			return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
					"out of memory");
	}
	/* Writable ones first: a directory is shared once. */
	for (unsigned i = 0; i < args->disk_count && ret == 0; i++)
		if (args->disks[i].keeper_path)
			ret = hv_shares_add(
				s, args->disks[i].keeper_path, true,
				l->inner[2 + args->disk_count + i], err);
	for (int writable = 1; writable >= 0; writable--)
		for (unsigned i = 0; i < args->disk_count && ret == 0; i++)
			if (args->disks[i].no_disc)
				strcpy(l->inner[2 + i], "none");
			else if (args->disks[i].read_only == !writable)
				ret = hv_shares_add(s, args->disks[i].path,
						    writable, l->inner[2 + i],
						    err);
	if (ret == 0)
		ret = hv_shares_add(s, args->kernel ? args->kernel
						    : args->firmware,
				    false, l->inner[0], err);
	if (ret == 0 && args->initrd)
		ret = hv_shares_add(s, args->initrd, false, l->inner[1], err);
	return ret;
}

static int launch(struct launch *l, const struct hv_args *args,
		  struct vhd_err *err)
{
	int ret = hv_l1_kernel_find("/boot", "/lib/modules", &l->kernel, err);

	if (ret == 0)
		ret = share_all(l, args, err);
	if (ret < 0)
		return ret;
	/* QEMU marks the top-level entries of a PAE guest's page tables as
	 * accessed, which no processor does; KVM then refuses its next write
	 * to CR4. Without nested paging KVM walks these tables itself. (QEMU
	 * 7.2; Linux' 686-pae does not boot in QEMU on KVM in there, either.)
	 */
	l->kernel.kvm_options = args->kernel_32 ? "npt=0" : NULL;
	l->boot.initramfs_fd = hv_initramfs_make(args, &l->kernel, &l->shares,
						 l->inner, err);
	if (l->boot.initramfs_fd < 0)
		return l->boot.initramfs_fd;
	l->boot.kernel_path = l->kernel.image;
	l->boot.kernel_fd = hv_vmlinux_unpack(l->kernel.image);
	return run_machine(&l->nested, args, &l->boot, &l->shares, err);
}

static struct launch *launch_new(const struct hv_console *con)
{
	struct launch *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->nested.con = con;
	l->nested.code = -1;
	l->nested.wake_fd = -1;
	l->nested.qemu = (struct hv_qemu){.pid_fd = -1,
					  .console_fd = -1,
					  .error_fd = -1,
					  .control_fd = -1,
					  .log_fd = -1};
	l->boot = (struct hv_qemu_boot){.kernel_fd = -1, .initramfs_fd = -1};
	return l;
}

static void launch_free(struct launch *l)
{
	const int fds[] = {l->boot.initramfs_fd, l->boot.kernel_fd,
			   l->nested.wake_fd};

	(void)hv_qemu_end(&l->nested.qemu);
	hv_qemu_close(&l->nested.qemu);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	hv_l1_kernel_free(&l->kernel);
	for (size_t i = 0; i < sizeof(l->inner) / sizeof(l->inner[0]); i++)
		free(l->inner[i]);
	free(l);
}

int hv_run_nested(const struct hv_args *args, const struct hv_console *con)
{
	struct launch *l = launch_new(con);
	struct vhd_err err = {.code = 0};
	int ret;

	/* The machine gets this program, its files and its log by what /proc
	 * calls our descriptors.
	 */
	if (access("/proc/self/fd", X_OK) < 0)
		ret = vhd_fail(&err, -ENOSYS, VHD_WHY_SYSTEM, 0,
			       "/proc is not mounted here, and the emulated "
			       "machine is built through /proc/self; mount it "
			       "first");
	else if (l)
		ret = launch(l, args, &err);
	else
		ret = vhd_fail(&err, -ENOMEM, VHD_WHY_NOMEM, 0,
			       "out of memory");
	if (ret < 0) {
		hv_terminal_restore();
		(void)cli_fail(hv_prog, NULL, &err);
		ret = CLI_IO;
	}
	if (l)
		launch_free(l);
	return ret;
}
