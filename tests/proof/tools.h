/* SPDX-License-Identifier: BSD-2-Clause */
/* The modes of tests/proof/tools.c. */
#ifndef TESTS_PROOF_TOOLS_H
#define TESTS_PROOF_TOOLS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/proof/toolcase.h"

/* The run to be judged, and the judgement; `how` is for people. */
struct run *tools_run(void);
void tools_judge(const struct tool_case *c, const char *dir, const char *how);
void tools_fault(const struct tool_case *c, const char *how,
		 const char *fault);
unsigned tools_faults(void);
uint64_t tools_seed(void);

/* `all`: no case was left out, so that there is a figure. */
void memory_begin(void);
void memory_case(const struct tool_case *c);
void memory_end(bool all);
void calls_begin(void);
void calls_case(const struct tool_case *c);
void calls_end(bool all);
/* Each case as calls_case() has it. */
void kills_begin(void);
void kills_end(bool all);
void full_begin(void);
void full_case(const struct tool_case *c);
void full_end(bool all);

#endif
