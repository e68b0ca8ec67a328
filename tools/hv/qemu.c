/* SPDX-License-Identifier: BSD-2-Clause */
/* The QEMU process: its command line, its descriptors, its end. It gets a
 * process group of its own (a terminal's Ctrl-C is ours to handle) and dies
 * with us. Nothing has a name in the file system: what it reads and writes
 * beside the shares are our descriptors.
 *
 * The settings that matter: one processor, however many the guest has. With
 * two, a guest shut down in the middle of its work in one boot of twelve, and
 * the machine itself hung now and then when KVM made its kernel patch code: an
 * emulated processor can miss what another one patches. The second one made a
 * boot no faster.
 * The TSC is declared sound: a kernel that distrusts it makes an exit of each
 * clock read of the guest. How fast it is, the kernel is told: it is the host's,
 * and beside eight busy loops the kernel measured it wrong by QEMU's other timers
 * in one boot of six, for a clock twenty times too fast. In three of these it met
 * no timer interrupt in the time that it looks for one, and gave up, but for
 * no_timer_check.
 * Emulated SVM does not intercept XSETBV, so a guest with xsave would see sizes
 * that contradict each other. What needs xsave must go with it: a guest that sees
 * AVX without it runs into invalid opcodes (Linux' aesni_intel).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "init.h"
#include "nested.h"

#define QEMU "qemu-system-x86_64"
#define CPU_MODEL                                                              \
	"max,+svm,-xsave,-avx,-avx2,-f16c,-fma,-vaes,-vpclmulqdq"
#define OWN_MEMORY_MIB 256 /* what the machine needs beside the guest */
#define WORDS_MAX (64 + 4 * HV_SHARES_MAX)
#define LOG_LINES 15
#define TSC_LOOKS 10
#define TSC_WAIT_NS 10000000
#define TSC_KHZ_MIN 100000
#define TSC_KHZ_MAX 100000000

static const char kernel_words[] =
	"console=ttyS0 8250.nr_uarts=1 quiet loglevel=4 panic=-1 rdinit=/init "
	"tsc=reliable no_timer_check mitigations=off nokaslr nowatchdog audit=0 "
	"apparmor=0 cryptomgr.notests random.trust_cpu=on";

static const char sandbox[] = "on,obsolete=deny,elevateprivileges=deny,"
			      "spawn=deny,resourcecontrol=deny";

/* -------------------------------------------------------- command line -- */

struct words {
	char *word[WORDS_MAX + 1];
	unsigned count;
	bool failed;
};

__attribute__((format(printf, 2, 3))) static void add(struct words *w,
						       const char *fmt, ...)
{
	va_list ap;
	char *text = NULL;

	va_start(ap, fmt);
	if (w->count == WORDS_MAX || vasprintf(&text, fmt, ap) < 0)
		w->failed = true;
	else
		w->word[w->count++] = text;
	va_end(ap);
}

static void words_free(struct words *w)
{
	for (unsigned i = 0; i < w->count; i++)
		free(w->word[i]);
}

/* In QEMU's options a comma inside a value is written twice. */
static char *escaped(const char *path)
{
	char *out = malloc(2 * strlen(path) + 1), *p = out;

	if (!out)
		return NULL;
	for (; *path; path++) {
		if (*path == ',')
			*p++ = ',';
		*p++ = *path;
	}
	*p = '\0';
	return out;
}

static void add_shares(struct words *w, const struct hv_shares *shares)
{
	char tag[8];

	for (unsigned i = 0; i < shares->count; i++) {
		char *dir = escaped(shares->share[i].dir);

		hv_share_tag(shares, i, tag);
		add(w, "-fsdev");
		add(w, "local,id=%s,path=%s,security_model=none,"
		       "multidevs=remap%s",
		    tag, dir ? dir : "",
		    shares->share[i].writable ? "" : ",readonly=on");
		add(w, "-device");
		add(w, "virtio-9p-pci,fsdev=%s,mount_tag=%s", tag, tag);
		w->failed |= !dir;
		free(dir);
	}
}

static void add_port(struct words *w, enum hv_init_port nr, int fd)
{
	add(w, "-chardev");
	add(w, "socket,id=p%d,fd=%d", nr, fd);
	add(w, "-device");
	add(w, "virtserialport,nr=%d,chardev=p%d", nr, nr);
}

/* Of a clock that nobody adjusts. */
static uint64_t raw_ns(void)
{
	struct timespec t = {0};

	(void)clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* What RDTSC and the system's clock say, at one instant: the narrowest of some
 * pairs of clock reads around it.
 */
static void tsc_look(uint64_t *tsc, uint64_t *ns)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < TSC_LOOKS; i++) {
		uint64_t before = raw_ns(), now = __rdtsc();
		uint64_t after = raw_ns();

		if (after - before >= least)
			continue;
		least = after - before;
		*tsc = now;
		*ns = before + least / 2;
	}
}

/* Emulated processors have the host's TSC. Exact to a few millionths; 0 where
 * one of the two stood still or went back.
 */
static unsigned tsc_khz(void)
{
	const struct timespec wait = {.tv_nsec = TSC_WAIT_NS};
	uint64_t tsc[2] = {0}, ns[2] = {0};
	double khz;

	tsc_look(&tsc[0], &ns[0]);
	(void)nanosleep(&wait, NULL);
	tsc_look(&tsc[1], &ns[1]);
	if (tsc[1] <= tsc[0] || ns[1] <= ns[0])
		return 0;
	khz = (double)(tsc[1] - tsc[0]) * 1e6 / (double)(ns[1] - ns[0]);
	return khz > TSC_KHZ_MIN && khz < TSC_KHZ_MAX ? (unsigned)khz : 0;
}

/* Descriptors as QEMU gets them. */
struct child_fds {
	int console, error, control, log;
};

/* Its kernel keeps 64 bytes a page of all there is. */
static uint64_t machine_mib(uint64_t guest_bytes)
{
	uint64_t mib = guest_bytes >> 20;

	return mib + mib / 50 + OWN_MEMORY_MIB;
}

static void command_line(struct words *w, const struct hv_args *args,
			 const struct hv_qemu_boot *boot,
			 const struct hv_shares *shares,
			 const struct child_fds *fds)
{
	static const char *const fixed[] = {
		QEMU, "-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none", "-sandbox", sandbox,
		/* Not the leaner microvm: it has no timer besides the PIT
		 * for a kernel to go by.
		 */
		"-machine", "pc,usb=off,smm=off,vmport=off,i8042=off",
		"-accel", "tcg,thread=multi", "-cpu", CPU_MODEL};

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		add(w, "%s", fixed[i]);
	add(w, "-smp");
	add(w, "1");
	add(w, "-m");
	add(w, "%llu", (unsigned long long)machine_mib(args->memory_bytes));
	add(w, "-kernel");
	if (boot->kernel_fd >= 0)
		add(w, "/proc/self/fd/%d", boot->kernel_fd);
	else
		add(w, "%s", boot->kernel_path);
	add(w, "-initrd");
	add(w, "/proc/self/fd/%d", boot->initramfs_fd);
	add(w, "-append");
	add(w, "%s tsc_early_khz=%u", kernel_words, tsc_khz());
	add(w, "-chardev");
	add(w, "file,id=log,path=/proc/self/fd/%d,append=on", fds->log);
	add(w, "-serial");
	add(w, "chardev:log");
	add(w, "-device");
	add(w, "virtio-serial-pci");
	add_port(w, HV_INIT_PORT_CONSOLE, fds->console);
	add_port(w, HV_INIT_PORT_ERROR, fds->error);
	add_port(w, HV_INIT_PORT_CONTROL, fds->control);
	add_shares(w, shares);
}

/* ------------------------------------------------------------- process -- */

/* Between fork and exec: only system calls. */
__attribute__((noreturn)) static void child(char *const *argv, pid_t parent,
					    const struct hv_qemu_boot *boot,
					    const struct child_fds *fds)
{
	const int kept[] = {fds->console,	fds->error,	fds->control,
			    boot->initramfs_fd, boot->kernel_fd, fds->log};
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127); /* we were too late to be told */
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (kept[i] >= 0 && fcntl(kept[i], F_SETFD, 0) < 0)
			_exit(127);
	if (null < 0 || dup2(null, 0) < 0 || dup2(fds->log, 1) < 0 ||
	    dup2(fds->log, 2) < 0)
		_exit(127);
	(void)execvp(QEMU, argv);
	dprintf(2, "cannot run %s: %s\n", QEMU, strerror(errno));
	_exit(126);
}

static bool installed(void)
{
	const char *path = getenv("PATH");
	char file[HV_PATH_MAX];

	for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
		size_t n = strcspn(p, ":");

		snprintf(file, sizeof(file), "%.*s/%s", (int)n, p, QEMU);
		if (access(file, X_OK) == 0)
			return true;
		p += n;
		p += *p == ':';
	}
	return false;
}

static int make_fds(struct hv_qemu *q, int ours[3], int theirs[3])
{
	for (int i = 0; i < 3; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) <
			    0)
			return -errno;
		ours[i] = pair[0];
		theirs[i] = pair[1];
		if (fcntl(ours[i], F_SETFL, O_NONBLOCK) < 0)
			return -errno;
	}
	q->log_fd = memfd_create("log", MFD_CLOEXEC);
	/* Several write to it; each at its end. */
	if (q->log_fd < 0 || fcntl(q->log_fd, F_SETFL, O_APPEND) < 0)
		return -errno;
	return 0;
}

static int spawn(struct hv_qemu *q, struct words *w,
		 const struct hv_qemu_boot *boot, const struct child_fds *fds)
{
	pid_t parent = getpid();

	q->pid = fork();
	if (q->pid < 0)
		return -errno;
	if (q->pid == 0)
		child(w->word, parent, boot, fds);
	(void)setpgid(q->pid, q->pid); /* whoever comes first */
	q->pid_fd = (int)syscall(SYS_pidfd_open, q->pid, 0);
	if (q->pid_fd < 0)
		return -errno;
	return fcntl(q->pid_fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

int hv_qemu_start(struct hv_qemu *q, const struct hv_args *args,
		  const struct hv_qemu_boot *boot,
		  const struct hv_shares *shares, struct vhd_err *err)
{
	int ours[3] = {-1, -1, -1}, theirs[3] = {-1, -1, -1};
	struct child_fds fds;
	struct words w = {.count = 0};
	int ret;

	if (!installed())
		return vhd_fail(err, -ENOENT, VHD_WHY_UNSUPPORTED, 0,
				QEMU " is not installed: install "
				"qemu-system-x86");
	ret = make_fds(q, ours, theirs);
	q->console_fd = ours[0];
	q->error_fd = ours[1];
	q->control_fd = ours[2];
	fds.console = theirs[0];
	fds.error = theirs[1];
	fds.control = theirs[2];
	fds.log = q->log_fd;
	if (ret == 0) {
		command_line(&w, args, boot, shares, &fds);
		ret = w.failed ? -ENOMEM : spawn(q, &w, boot, &fds);
	}
	words_free(&w);
	for (int i = 0; i < 3; i++)
		if (theirs[i] >= 0)
			(void)close(theirs[i]);
	if (ret < 0)
		return vhd_fail(err, ret, VHD_WHY_SYSTEM, 0,
				"cannot start %s: %s", QEMU, strerror(-ret));
	return 0;
}

int hv_qemu_end(struct hv_qemu *q)
{
	int status = 0;

	if (q->pid <= 0)
		return 0;
	(void)kill(q->pid, SIGKILL);
	while (waitpid(q->pid, &status, 0) < 0 && errno == EINTR)
		;
	q->pid = 0;
	return status;
}

void hv_qemu_close(struct hv_qemu *q)
{
	const int fds[] = {q->pid_fd, q->console_fd, q->error_fd,
			   q->control_fd, q->log_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
}

void hv_qemu_show_log(const struct hv_qemu *q)
{
	char text[8192];
	off_t end = lseek(q->log_fd, 0, SEEK_END);
	off_t from = end > (off_t)sizeof(text) - 1
			     ? end - (off_t)sizeof(text) + 1
			     : 0;
	ssize_t n = end > 0 ? pread(q->log_fd, text, sizeof(text) - 1, from)
			    : 0;
	const char *line;
	int lines = 0;

	if (n <= 0)
		return;
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	text[n] = '\0';
	for (line = text + n; line > text; line--)
		if (line[-1] == '\n' && ++lines == LOG_LINES)
			break;
	hv_say_text(line, strlen(line));
	hv_say_text("\n", 1);
}
