/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Each allocation of an operation is made to fail, alone and with all that follow: a code comes back,
 * never an abort; what must hold after the operation holds, and the next try succeeds. Comes after a
 * header of operations, which says what they are: try_operation(), check_retry(), takes_long(). */
#ifndef INJECT_ALLOCATIONS_H
#define INJECT_ALLOCATIONS_H

#include "support/failing_allocator.h"

#include <limits.h>

/* In memory that the driver sees too. */
static struct shared {
    unsigned asked, first, last, faults;
} *shared;

static void complain(const struct operation *op, const char *what)
{
    char line[300];
    (void)snprintf(line, sizeof line, "%s: allocations %u to %u failing: %s", op->name,
                   shared->first, shared->last, what);
    check_fail(__FILE__, __LINE__, line);
}

static int attempt(const struct operation *op, unsigned from, unsigned to, bool leaks)
{
    asked = 0;
    shared->first = first = from, shared->last = last = to;
    return try_operation(op, run_short_of_memory, leaks).code;
}

static void fail_at(const struct operation *op, unsigned from, unsigned to)
{
    const int failures = check_failures, code = attempt(op, from, to, false);
    if (code != GUESTMEM_OK) check_retry(op);
    if (code != GUESTMEM_OK && code != GUESTMEM_E_NO_MEMORY)
        complain(op, guestmem_error_name(code));
    else if (failures != check_failures) complain(op, "what must hold does not");
    shared->faults++;
}

static int child(void *operation)
{
    const struct operation *op = operation;
    const unsigned step = takes_long(op) ? 6 : 1;
    int code;
    check_failures = 0;
    steady_allocator();
    code = attempt(op, UINT_MAX, UINT_MAX, true); /* once for what is set up once and stays */
    if (code == GUESTMEM_E_POLICY || code == GUESTMEM_E_UNSUPPORTED) return 78;
    CHECK_OK(attempt(op, UINT_MAX, UINT_MAX, false));
    shared->asked = asked;
    for (unsigned at = 1; at <= shared->asked; at += step) {
        fail_at(op, at, at);
        fail_at(op, at, UINT_MAX);
    }
    return check_result();
}

/* In a child. Gives how often an allocation failed. */
static unsigned inject_into(const struct operation *op)
{
    int status;
    memset(shared, 0, sizeof *shared);
    status = run_in_child(child, (void *)(uintptr_t)op);
    if (status == 78) SKIP_PART("%s: this system cannot do it", op->name);
    else if (status < 0) complain(op, strsignal(-status));
    else CHECK_EQ(status, 0);
    printf("%s: %u allocations, %u faults\n", op->name, shared->asked, shared->faults);
    return shared->faults;
}

#endif
