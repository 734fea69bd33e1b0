/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* One call that may be made to fail: by whom it is run, and what its caller finds. */
#ifndef TRIAL_H
#define TRIAL_H

#include "check.h"

/* Runs a function; what is to fail fails meanwhile. */
typedef void runner(void (*function)(void *), void *argument);

struct outcome {
    int code, os_errno;
    uint64_t completed;
    bool kept_errno, kept_signals;
};

/* What fails goes on failing, so that not even what was done can be undone. */
extern bool fails_for_good;

void run_plainly(void (*function)(void *), void *argument);
struct outcome outcome_of(runner *run, int (*call)(const void *argument), const void *argument);

#endif
