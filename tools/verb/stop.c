/* SPDX-License-Identifier: BSD-2-Clause */
/* Ended by a signal: long work is asked to stop where it can, and then the
 * process ends by that signal after all.
 */
#include <signal.h>
#include <stddef.h>

#include "verb.h"

/* What a signal leaves behind; a handler can reach nothing else. */
static volatile sig_atomic_t stopped_by;

static void stop(int sig)
{
	stopped_by = sig;
}

void verb_stop_watch(void)
{
	static const int which[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction act = {.sa_handler = stop}, old;

	for (size_t i = 0; i < sizeof(which) / sizeof(which[0]); i++)
		if (sigaction(which[i], NULL, &old) == 0 &&
		    old.sa_handler != SIG_IGN)
			sigaction(which[i], &act, NULL);
}

bool verb_stopped(void)
{
	return stopped_by != 0;
}

void verb_stop_end(void)
{
	int sig = stopped_by;

	if (!sig)
		return;
	/* A shell must see that the signal ended us. */
	signal(sig, SIG_DFL);
	raise(sig);
}
