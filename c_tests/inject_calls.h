/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Each system call of an operation is made to fail, each time that it is made and in each way. An
 * error code comes back, or the right result all the same; what must hold after the operation holds,
 * and one that failed works once the call does. Then, from each time on, the call fails for
 * good, with what is told of things that pass: nothing is tried for ever, but calls that wait and are
 * interrupted, as programs do. Comes after a header of operations, which says what they are:
 * try_operation(), check_retry(), takes_long(). */
#ifndef INJECT_CALLS_H
#define INJECT_CALLS_H

#include "support/failing_calls.h"

/* In memory that the driver sees too, so that it knows when a child dies what of. */
static struct shared {
    unsigned counts[MOST_CALLS];
    struct fault fault;
    unsigned sites, faults;
} *shared;

static void complain(const struct operation *op, const char *what, int code)
{
    char line[300];
    (void)snprintf(line, sizeof line, "%s: %s number %u%s failing with %s: %s, %s", op->name,
                   calls[shared->fault.call].name, shared->fault.at,
                   shared->fault.lasts ? " and later" : "", strerrorname_np(shared->fault.error),
                   what, guestmem_error_name(code));
    check_fail(__FILE__, __LINE__, line);
}

static struct outcome attempt(const struct operation *op, struct fault wanted, bool leaks)
{
    memset(counts, 0, sizeof counts);
    injected = 0, fails_for_good = wanted.lasts;
    shared->fault = fault = wanted;
    return try_operation(op, run_watched, leaks);
}

static void fail_with(const struct operation *op, struct fault wanted, enum expectation expectation)
{
    const struct failure failure = {wanted.error, expectation};
    const int failures = check_failures;
    const struct outcome outcome = attempt(op, wanted, expectation == LEAKS);
    const char *what = what_is_wrong(&failure, injected, outcome.code, outcome.os_errno);
    fails_for_good = false;
    if (outcome.code != GUESTMEM_OK) check_retry(op);
    if (what == NULL && failures != check_failures) what = "what must hold does not";
    if (what != NULL) complain(op, what, outcome.code);
    shared->faults++;
}

static void fail_at(const struct operation *op, size_t call, unsigned at)
{
    const struct failure *failures = calls[call].failures;
    const size_t errors = takes_long(op) ? 1 : ERRORS;
    struct fault wanted = {call, at, 0, false};
    for (size_t i = 0; i < errors && failures[i].error != 0; i++) {
        wanted.error = failures[i].error;
        fail_with(op, wanted, failures[i].expectation);
    }
    if (takes_long(op) || failures[0].expectation == LEAKS) return;
    wanted.lasts = true, wanted.error = EAGAIN;
    fail_with(op, wanted, failures[0].expectation);
    wanted.error = EINTR;
    if (!is_continued(&calls[call])) fail_with(op, wanted, failures[0].expectation);
}

/* Not all where each takes long, but of what can be told the first and the last of each kind. */
static bool is_left_out(const struct operation *op, size_t call, unsigned at)
{
    const bool is_told = calls[call].failures[0].expectation != LEAKS;
    return takes_long(op) && !(is_told && (at == 1 || at == shared->counts[call]));
}

static void fail_everywhere(const struct operation *op)
{
    for (size_t call = 0; call < call_count; call++)
        for (unsigned at = 1; at <= shared->counts[call]; at++) {
            if (is_left_out(op, call, at)) continue;
            fail_at(op, call, at);
            shared->sites++;
        }
}

static int child(void *operation)
{
    const struct operation *op = operation;
    const struct fault none = {0, 0, 0, false};
    int code;
    check_failures = 0;
    if (!watch_calls()) return 77;
    steady_allocator();
    code = attempt(op, none, true).code; /* once for what is set up once and stays */
    if (code == GUESTMEM_E_POLICY || code == GUESTMEM_E_UNSUPPORTED) return 78;
    CHECK_OK(attempt(op, none, false).code);
    memcpy(shared->counts, counts, sizeof counts);
    fail_everywhere(op);
    return check_result();
}

/* In a child. False where this system cannot do it. */
static bool inject_into(const struct operation *op)
{
    int status;
    memset(shared, 0, sizeof *shared);
    status = run_in_child(child, (void *)(uintptr_t)op);
    if (status == 77) SKIP("no seccomp filters that ask");
    if (status == 78) SKIP_PART("%s: this system cannot do it", op->name);
    else if (status < 0) complain(op, strsignal(-status), 0);
    else CHECK_EQ(status, 0);
    printf("%s: %u calls, %u faults\n", op->name, shared->sites, shared->faults);
    return status != 78;
}

#endif
