/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the program `hv` share. Private to tools/.
 *
 *   hv.c            the program: which command
 *   args.c          the command line of `hv run`
 *   limit.c         its words that limit a disk
 *   pin.c           --pin
 *   disk.c          --disk: open, name, close
 *   nbd_lazy.c      libnbd, where a disk is on a server
 *   keeper.c        its pr=FILE: reservations that outlive a run
 *   ctl*.c          control over a UNIX socket: see ctl.h
 *   controllers.c   SCSI controllers and which disks they have
 *   fwdisk*.c       the same disks for firmware and emulated controllers
 *   firmware.c      boot by firmware: which, and from what
 *   run.c           run a guest on this machine's KVM
 *   accel.c         --accel: where the guest runs
 *   terminal.c      raw mode and back; escape.c: Ctrl-A
 *   say.c           messages, which wait for no terminal
 *   nested.c        run the same in a QEMU machine: its life and the bytes
 *   qemu.c          the QEMU process
 *   modules.c       which kernel and modules; vmlinux.c: unpack it
 *   shares.c        names of our files in there
 *   initramfs.c     what it boots: an archive made by cpio.c
 *   init.c          its first process; a program of its own, inside blob.c
 */
#ifndef TOOLS_HV_H
#define TOOLS_HV_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/cli/cli.h"
#include "hv/hv.h"
#include "storvsp/storvsp.h"
#include "vhd/vhd.h"

static const char hv_prog[] = "hv";

/* Exit codes beside those of cli.h (0 means: the guest switched itself off). */
enum hv_exit {
	HV_EXIT_CRASH = 10,
	HV_EXIT_TRIPLE_FAULT = 11,
	HV_EXIT_RESET = 12,
	HV_EXIT_TIMEOUT = 13,
	HV_EXIT_STOPPED = 14,
};

/* -------------------------------------------------------- command line -- */

/* As many as Hyper-V has: four SCSI controllers, 64 disks on each; and the
 * positions of an IDE controller, each of which counts as one with one disk.
 */
#define HV_SCSI_CONTROLLERS 4
#define HV_IDE_CONTROLLER HV_SCSI_CONTROLLERS /* position 0's number */
#define HV_CONTROLLERS_MAX (HV_SCSI_CONTROLLERS + HV_IDE_POSITIONS)
#define HV_LUNS_MAX 64
#define HV_DISKS_MAX (HV_SCSI_CONTROLLERS * HV_LUNS_MAX + HV_IDE_POSITIONS)
static inline bool hv_is_ide(unsigned controller)
{
	return controller >= HV_IDE_CONTROLLER;
}
static inline struct storvsp_address hv_ide_address(unsigned controller)
{
	return storvsp_ide_address(controller - HV_IDE_CONTROLLER);
}
static inline unsigned hv_luns(unsigned controller)
{
	return hv_is_ide(controller) ? 1 : HV_LUNS_MAX;
}
#define HV_POLL_DEFAULT_US 50u
#define HV_GUEST_NAME_MAX 64
#define HV_POLL_MAX_US 10000u

enum hv_accel { HV_ACCEL_AUTO, HV_ACCEL_KVM, HV_ACCEL_TCG };

struct hv_disk_arg {
	char *path;
	bool read_only;
	uint8_t controller, lun;
	bool placed; /* by controller= or ide= */
	enum storvsp_unmap unmap;
	enum vhd_format format; /* AUTO never means RAW */
	const char *parent;     /* of a differencing disk; NULL: as it says */
	uint32_t reconnect_ms, answer_ms; /* NBD; 0: the library's default */
	uint32_t sector_bytes, physical_bytes; /* 0: the default */
	struct storvsp_limits limits;
	enum storvsp_on_error on_error;
	bool on_error_said; /* by a word of its own */
	char *keeper_path; /* pr=FILE, or NULL */
	bool dvd;	   /* a DVD drive; its disc is the file ... */
	bool no_disc;	   /* ... or there is none in it */
	bool direct;	   /* past the page cache */
};

/* What firmware boots first, where not a disk by its number. */
enum hv_boot { HV_BOOT_DISK = 0, HV_BOOT_DVD = -1 };

struct hv_pin {
	unsigned count; /* 0: run where the host likes */
	uint16_t cpu[HV_CPUS_MAX]; /* of the host, for each of the guest */
};

struct hv_args {
	struct hv_disk_arg disks[HV_DISKS_MAX];
	unsigned disk_count;
	const char *kernel; /* NULL: by firmware from the disk */
	const char *initrd, *append, *console;
	const char *firmware; /* its file, or NULL: the installed one */
	bool boot_named;
	int boot; /* enum hv_boot, or from 1: which of `disks` */
	enum storvsp_on_error on_error;
	const char *name; /* of the control socket, or NULL: none */
	uint64_t memory_bytes;
	uint32_t cpus;
	uint32_t channels; /* of each controller; at most one a processor */
	uint32_t poll_us;  /* a channel may spin so long before it sleeps */
	bool no_register;  /* leave guest memory pageable */
	uint32_t timeout_s; /* 0: none */
	bool no_reboot;
	bool stats;        /* say in the end what it took ... */
	uint64_t began_ns; /* ... since this time of CLOCK_MONOTONIC */
	bool kernel_32; /* found out: the kernel is a 32-bit one */
	struct hv_pin pin;
	enum hv_accel accel;
};

/* A guest's name: letters, digits, '.', '_', '-', not '.' or '-' first. */
bool hv_name_ok(const char *name);
/* One disk, "FILE[,WORD]...", into `d`, all zero: CLI_OK, or CLI_USAGE after a
 * complaint. hv_disk_arg_free in any case.
 */
int hv_disk_arg_parse(const char *value, struct hv_disk_arg *d);
void hv_disk_arg_free(struct hv_disk_arg *d);
/* Returns -1 to go on, or the exit code to end with. */
int hv_args_parse(int argc, char **argv, struct hv_args *args);
void hv_args_free(struct hv_args *args);

/* -EINVAL: no such list; -EEXIST: one is named twice; -E2BIG. */
int hv_pin_parse(const char *text, struct hv_pin *out);
/* The first that this process may not use, or -1. */
int hv_pin_check(const struct hv_pin *pin);

/* A word such as iops=1000 into `l`: 1 when it is one, 0, or -EINVAL where its
 * value is no such number or size, or too large.
 */
int hv_limit_word(const char *text, struct storvsp_limits *l);
/* The same of a name and a value. */
int hv_limit_set(const char *name, const char *value, struct storvsp_limits *l);
/* What is wrong with the limits as a whole, or NULL. */
const char *hv_limit_fault(const struct storvsp_limits *l);
/* "report", "pause". */
const char *hv_on_error_name(enum storvsp_on_error on_error);
int hv_on_error_parse(const char *text, enum storvsp_on_error *out);

/* --------------------------------------------------------------- disks -- */

struct hv_keeper;

struct hv_disks {
	const struct hv_args *args;
	struct vhd *img[HV_DISKS_MAX];
	uint8_t id[HV_DISKS_MAX][16]; /* what the guest knows them by */
	struct hv_keeper *keeper[HV_DISKS_MAX]; /* or NULL */
};

/* Open (and so lock) all; reports failures. Returns an exit code. */
int hv_disks_open(struct hv_disks *d, const struct hv_args *args);
/* Commit and close all; reports failures. */
int hv_disks_close(struct hv_disks *d);
/* Let go of all without writing. */
void hv_disks_abandon(struct hv_disks *d);
/* Before an image is closed: for a server that was to be waited for for ever,
 * too, only as long as for any other.
 */
void hv_disk_wait_less(struct vhd *img);
/* Disk `i`, whose image was closed by somebody else, is no more. */
void hv_disk_forget(struct hv_disks *d, unsigned i);
/* What a guest knows an image by, unless another one has the same. */
void hv_disk_id(const char *path, const struct vhd_info *info, uint8_t id[16]);
/* Those of this controller. */
int hv_disks_attach(struct hv_disks *d, unsigned controller,
		    struct storvsp *vsp, struct vhd_err *err);

/* Before an NBD URI is opened. -ENOENT, -ENOTSUP. */
int hv_nbd_load(struct vhd_err *err);

/* The file of a disk's persistent reservations: opened, made where it does not
 * exist, and locked. -EUCLEAN: not such a file, or another disk's; -EBUSY;
 * what opening says.
 */
int hv_keeper_open(const char *path, const uint8_t disk_id[16],
		   struct hv_keeper **out, struct vhd_err *err);
/* The same in two: the file, and whether it was made for this; and, where
 * nothing can be opened any more, what is in it. Takes `fd`, also on failure.
 */
int hv_keeper_file(const char *path, const uint8_t disk_id[16], bool *made,
		   struct vhd_err *err);
int hv_keeper_take(int fd, const uint8_t disk_id[16], struct hv_keeper **out,
		   struct vhd_err *err);
void hv_keeper_close(struct hv_keeper *k); /* takes; may be NULL */
const struct storvsp_reservations *hv_keeper_kept(const struct hv_keeper *k);
/* Durable on return, or -EIO; as storvsp_disk_opts wants it. */
int hv_keeper_keep(void *keeper, const struct storvsp_reservations *now);

/* --------------------------------------------------------- controllers --- */

struct hv_fwdisks; /* fwdisk.h */

struct hv_controller_owner {
	struct hv_fwdisks *fwdisks;
	unsigned controller;
};

/* Each an own VMBus device with own channels; NULL where no disk is, and where a
 * DVD drive on IDE is, which is emulated only.
 */
struct hv_controllers {
	struct storvsp *vsp[HV_CONTROLLERS_MAX];
	struct hv_fwdisks *fwdisks; /* the same disks' other door, or NULL */
	struct hv_controller_owner owner[HV_CONTROLLERS_MAX];
	char resume_hint[HV_CONTROLLERS_MAX][HV_GUEST_NAME_MAX + 48];
};

/* Make them, with their disks, and offer them; `fwdisks`, which may be NULL,
 * are told while the guest has one open. On failure, too, the caller ends with
 * hv_controllers_destroy, after the bus is gone.
 */
int hv_controllers_create(struct hv_controllers *c, struct hv_disks *disks,
			  struct hv_fwdisks *fwdisks, struct vmbus *bus,
			  struct vhd_err *err);
void hv_controllers_destroy(struct hv_controllers *c);
/* How a thread begins that has a disk queue with this engine: its filter. */
int hv_io_begins(enum vhd_engine engine, struct vhd_err *err);
/* A line of counters for people. */
void hv_controllers_say(const struct hv_controllers *c);

/* ------------------------------------------------------------ terminal -- */

/* Put the terminal on fd 0 into raw mode, if there is one and it is ours; it
 * is restored at exit, on fatal signals and while stopped (SIGTSTP).
 * Returns whether it is raw now.
 */
bool hv_terminal_raw(void);
void hv_terminal_restore(void);
bool hv_terminal_is_raw(void);
/* Whether its keys, such as Ctrl-C, are signals although it is raw. */
void hv_terminal_signals(bool on);

/* A line on stderr that looks right on a raw terminal, too. Any thread. From
 * hv_say_begin on until hv_say_end nobody waits for the terminal; _create comes
 * before the sandbox, _end may come in any case.
 */
void hv_say_line(void *unused, const char *line);
/* `filtered`: under the filter of SANDBOX_OUTPUT */
int hv_say_create(bool filtered, struct vhd_err *err);
int hv_say_begin(struct vhd_err *err);
void hv_say_end(void);
/* As it is, with its own ends of lines. */
void hv_say_text(const char *text, size_t len);

/* Ctrl-A x, Ctrl-A h, Ctrl-A Ctrl-A in console input. */
struct hv_escape {
	bool pending; /* Ctrl-A came last */
	bool quit;    /* Ctrl-A x was typed */
	bool help;    /* Ctrl-A h was typed; the caller clears it */
};

/* Take the escapes out of `bytes`; returns how many bytes are left. */
size_t hv_escape_filter(struct hv_escape *e, uint8_t *bytes, size_t len);
void hv_escape_show_help(void);

/* ----------------------------------------------------------- the runs ---- */

/* Where the console goes. */
struct hv_console {
	int in_fd, out_fd;
	bool terminal; /* input is a raw terminal: escapes are on */
};

int hv_run_kvm(const struct hv_args *args, struct hv_disks *disks,
	       const struct hv_console *con);
/* The disks are opened by name in there; they stay open here for the locks. */
int hv_run_nested(const struct hv_args *args, const struct hv_console *con);

/* Whether this machine's own KVM runs it, or an emulated machine does, which is
 * told where nobody asked for it; or an exit code after a complaint.
 */
int hv_accel_choose(const struct hv_args *args, bool *kvm);

/* Call `wake` on SIGINT, SIGTERM, SIGHUP and, after `timeout_s` (0: never), on
 * SIGALRM; NULL ends that. `wake` must be async-signal-safe.
 */
void hv_signals_watch(void (*wake)(void *arg), void *arg, uint32_t timeout_s);
bool hv_signals_timed_out(void);

#endif
