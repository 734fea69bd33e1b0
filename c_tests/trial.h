/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* One call that may be made to fail: by whom it is run, and what its caller finds. A program that
 * includes this defines _GNU_SOURCE first. */
#ifndef TRIAL_H
#define TRIAL_H

#include "check.h"

#include <errno.h>
#include <signal.h>

/* Runs a function; what is to fail fails meanwhile. */
typedef void runner(void (*function)(void *), void *argument);

CHECK_UNUSED static void run_plainly(void (*function)(void *), void *argument)
{
    function(argument);
}

/* What fails goes on failing, so that not even what was done can be undone. */
CHECK_UNUSED static bool fails_for_good;

struct outcome {
    int code, os_errno;
    uint64_t completed;
    bool kept_errno, kept_signals;
};

struct trial {
    int (*call)(const void *argument);
    const void *argument;
    struct outcome outcome;
};

/* Makes no other system calls than one that sets the mask of signals: they might fail too. */
static void call_once(void *argument)
{
    struct trial *trial = argument;
    struct outcome *outcome = &trial->outcome;
    struct guestmem_error_info info;
    sigset_t blocked, after, before;
    memset(&blocked, 0, sizeof blocked), memset(&after, 0, sizeof after);
    (void)sigaddset(&blocked, SIGUSR1); /* a mask that is lost shows */
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    errno = 4321;
    outcome->code = trial->call(trial->argument);
    outcome->kept_errno = errno == 4321;
    (void)pthread_sigmask(SIG_SETMASK, &before, &after);
    outcome->kept_signals = memcmp(&after, &blocked, sizeof after) == 0;
    if (outcome->code == GUESTMEM_OK) return;
    (void)guestmem_last_error(&info, sizeof info);
    outcome->os_errno = info.os_errno, outcome->completed = info.completed;
}

CHECK_UNUSED static struct outcome outcome_of(runner *run, int (*call)(const void *argument),
                                              const void *argument)
{
    struct trial trial = {call, argument, {0, 0, 0, false, false}};
    run(call_once, &trial);
    CHECK(trial.outcome.kept_errno);
    CHECK(trial.outcome.kept_signals);
    return trial.outcome;
}

#endif
