/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* An allocation that fails, each in turn, in each way to save memory and to bring it back: a code
 * comes back, never an abort; the old image stays, and live memory is what it was or tainted. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "failing_allocator.h"
#include "image_operations.h"
#include <limits.h>

/* ---- one operation, with some allocations failing ---- */

static struct shared {
    unsigned asked;
    struct outcome outcome;
} *shared;

static int child(void *operation)
{
    const struct operation *op = operation;
    check_failures = 0;
    shared->outcome = try_operation(op, &armed);
    shared->asked = asked;
    check_retry(op);
    return check_result();
}

static int run(const struct operation *op, unsigned from, unsigned to)
{
    memset(shared, 0, sizeof *shared);
    first = from, last = to;
    return host_in_child(child, (void *)(uintptr_t)op);
}

static void fail_at(const struct operation *op, unsigned from, unsigned to)
{
    const int status = run(op, from, to), code = shared->outcome.code;
    char line[300];
    if (status == 0 && (code == GUESTMEM_OK || code == GUESTMEM_E_NO_MEMORY)) return;
    (void)snprintf(line, sizeof line, "%s: allocations %u to %u failing: status %d, %s", op->name,
                   from, to, status, guestmem_error_name(code));
    check_fail(__FILE__, __LINE__, line);
}

static void fail_everywhere(const struct operation *op, unsigned step)
{
    unsigned count, at;
    int unused = 0;
    (void)try_operation(op, &unused); /* once for what is set up only once */
    CHECK_EQ(run(op, UINT_MAX, UINT_MAX), 0);
    CHECK_CODE(shared->outcome.code, GUESTMEM_OK);
    count = shared->asked;
    for (at = 1; at <= count; at += step) fail_at(op, at, at);
    for (at = 1; at <= count; at += 3 * step) fail_at(op, at, UINT_MAX);
    printf("%s: %u allocations\n", op->name, count);
    CHECK(count > 0);
}

int main(void)
{
    if (host_instrumented()) SKIP("not under valgrind or a sanitizer");
    if (!CAN_FAIL) SKIP("no allocator that can be made to fail");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    enter_folder(fast_parent(UINT64_C(1) << 28));
    make_states(SMALL);
    prepare_operations();
    for (size_t i = 0; i < OPERATIONS; i++) fail_everywhere(&operations[i], 1);
    finish_operations();
    make_states(LARGE);
    prepare_operations();
    fail_everywhere(&threaded[0], 6);
    fail_everywhere(&threaded[4], 6);
    finish_operations();
    return check_result();
}
