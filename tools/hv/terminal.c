/* SPDX-License-Identifier: BSD-2-Clause */
/* The terminal in raw mode, and the way back on every path out: normal exit,
 * fatal signals, stopping by SIGTSTP. What a signal handler needs is static
 * here and written before the handler is installed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "hv.h"

static struct termios saved, raw;
static volatile sig_atomic_t is_raw;

/* Those that end the process by themselves; some only until they are watched
 * for (hv_signals_watch).
 */
static const int fatal_signals[] = {SIGABRT, SIGALRM, SIGBUS,  SIGFPE,
				    SIGHUP,  SIGILL,  SIGINT,  SIGQUIT,
				    SIGSEGV, SIGSYS,  SIGTERM, SIGXCPU};

void hv_terminal_restore(void)
{
	if (!is_raw)
		return;
	is_raw = 0;
	/* Not when all is written: that may never be. */
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

/* SA_RESETHAND: raised again, the signal does what it always did. */
static void on_fatal(int sig)
{
	if (is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	(void)raise(sig);
}

static void on_stop(int sig)
{
	(void)sig;
	if (is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
	(void)raise(SIGSTOP);
	if (is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void watch(int sig, void (*handler)(int), int flags)
{
	struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};

	sigemptyset(&sa.sa_mask);
	(void)sigaction(sig, &sa, NULL);
}

bool hv_terminal_raw(void)
{
	if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
	    tcgetattr(STDIN_FILENO, &saved) < 0)
		return false;
	raw = saved;
	cfmakeraw(&raw);
	is_raw = 1; /* so that a signal from here on restores */
	for (size_t i = 0;
	     i < sizeof(fatal_signals) / sizeof(fatal_signals[0]); i++)
		watch(fatal_signals[i], on_fatal,
		      (int)(SA_RESETHAND | SA_NODEFER));
	watch(SIGTSTP, on_stop, SA_RESTART);
	if (atexit(hv_terminal_restore) != 0 ||
	    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
		is_raw = 0;
	return is_raw != 0;
}

void hv_terminal_signals(bool on)
{
	if (!is_raw)
		return;
	if (on)
		raw.c_lflag |= ISIG;
	else
		raw.c_lflag &= ~(tcflag_t)ISIG;
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

bool hv_terminal_is_raw(void)
{
	return is_raw != 0;
}
