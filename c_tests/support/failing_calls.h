/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* System calls that can be made to fail. A seccomp filter asks a second thread about each call of
 * interest that a third one makes, or those that it starts, and counts over all of these. */
#ifndef FAILING_CALLS_H
#define FAILING_CALLS_H

#include "trial.h"

enum expectation {
    MAY,      /* an error, or the right result all the same */
    MUST,     /* nothing makes up for it: an error */
    MUST_NOT, /* is to be continued */
    LEAKS     /* the right result, but what was not undone stays behind */
};

struct failure {
    int error;
    enum expectation expectation;
};

#define ERRORS 5

struct call {
    const char *name;
    long number;
    struct failure failures[ERRORS];
};

#define MOST_CALLS 100 /* at least as many as there are */
extern const struct call calls[];
extern const size_t call_count;

/* What fails so often is not tried once more. */
#define ENDLESS 10000u

struct fault {
    size_t call;
    unsigned at; /* counted from 1; 0: none */
    int error;
    bool lasts; /* all that follow fail too */
};

extern struct fault fault;
extern unsigned counts[MOST_CALLS], injected;

/* Calls that wait are begun again when they are interrupted, as often as signals come; no other is. */
bool is_continued(const struct call *call);

/* Of what came of a call that was made to fail so often; NULL when it is as it must be. */
const char *what_is_wrong(const struct failure *failure, unsigned times, int code, int os_errno);

/* Starts the threads, for the rest of this process's life. False where there are no such filters. */
bool watch_calls(void);

/* Waits until the watched thread has run it. */
void run_watched(void (*function)(void *), void *argument);

#endif
