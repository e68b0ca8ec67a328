/* SPDX-License-Identifier: BSD-2-Clause */
/* What `hv` and the first process of its nested machine agree on.
 *
 * /plan in the initramfs is a list of NUL-terminated strings, the first
 * character of each says what the rest is:
 *   k PATH [OPTIONS]   load this module in the background (KVM's)
 *   m PATH   load this module now
 *   r TAG, w TAG   mount the 9p share TAG on /TAG, read-only or writable
 *   a WORD   the next word of the command to run
 *   e NAME=VALUE   a variable of its environment
 *
 * Three serial ports: the command's console (its standard input and output),
 * its standard error, and the control line. On that, upwards, text lines:
 *   up            all is set, the command starts
 *   fail WHAT     it did not come so far
 *   exit N        the command has ended, its files are closed; N is its exit
 *                 code, or 256 + signal
 * Downwards, bytes: 's' asks the command to stop (SIGTERM), 'p' for nothing.
 */
#ifndef TOOLS_HV_INIT_H
#define TOOLS_HV_INIT_H

#define HV_INIT_PLAN "/plan"
#define HV_INIT_COMMAND "/bin/hv"
#define HV_INIT_STOP 's'
#define HV_INIT_POKE 'p'

enum hv_init_port {
	HV_INIT_PORT_CONSOLE = 1,
	HV_INIT_PORT_ERROR = 2,
	HV_INIT_PORT_CONTROL = 3,
};

#endif
