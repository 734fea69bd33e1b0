/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "trial.h"

#include <errno.h>
#include <signal.h>

bool fails_for_good;

struct trial {
    int (*call)(const void *argument);
    const void *argument;
    struct outcome outcome;
};

void run_plainly(void (*function)(void *), void *argument)
{
    function(argument);
}

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

struct outcome outcome_of(runner *run, int (*call)(const void *argument), const void *argument)
{
    struct trial trial = {call, argument, {0, 0, 0, false, false}};
    run(call_once, &trial);
    CHECK(trial.outcome.kept_errno);
    CHECK(trial.outcome.kept_signals);
    return trial.outcome;
}
