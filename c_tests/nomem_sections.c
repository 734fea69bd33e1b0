/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* An allocation that fails, each in turn and all from each on, in each operation of every section: a
 * code comes back, never an abort; nothing is left behind, memory holds what it held, and the next
 * try succeeds. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "failing_allocator.h"
#include "section_operations.h"
#include <limits.h>

/* In memory that the driver sees too. */
static struct shared {
    unsigned asked, first, last, faults;
} *shared;

static int attempt(const struct operation *op, unsigned from, unsigned to)
{
    asked = 0;
    shared->first = first = from, shared->last = last = to;
    return try_operation(op, &armed, false);
}

/* What the system has or obeys is not told apart from what cannot be asked. */
static bool may_be_answered(const struct operation *op, int code)
{
    return code == GUESTMEM_OK || code == GUESTMEM_E_NO_MEMORY ||
           (op->call == call_huge && op->argument == 0 && code == GUESTMEM_E_UNSUPPORTED) ||
           (op->call == call_policy && code == GUESTMEM_E_POLICY) ||
           (op->call == call_add_region && code == GUESTMEM_E_POLICY);
}

static void fail_at(const struct operation *op, unsigned from, unsigned to)
{
    const int failures = check_failures, code = attempt(op, from, to);
    char line[300];
    if (failures != check_failures || !may_be_answered(op, code)) {
        (void)snprintf(line, sizeof line, "%s: allocations %u to %u failing: %s", op->name, from,
                       to, guestmem_error_name(code));
        check_fail(__FILE__, __LINE__, line);
    }
    CHECK_OK(attempt(op, UINT_MAX, UINT_MAX));
    shared->faults++;
}

static int child(void *operation)
{
    const struct operation *op = operation;
    unsigned count;
    int code;
    check_failures = 0;
    steady_allocator();
    code = attempt(op, UINT_MAX, UINT_MAX); /* once for what is set up only once */
    if (code == GUESTMEM_E_POLICY || code == GUESTMEM_E_UNSUPPORTED) return 78;
    CHECK_OK(attempt(op, UINT_MAX, UINT_MAX));
    shared->asked = count = asked;
    for (unsigned at = 1; at <= count; at++) {
        fail_at(op, at, at);
        fail_at(op, at, UINT_MAX);
    }
    return check_result();
}

static unsigned fail_everywhere(const struct operation *op)
{
    int status;
    char line[200];
    memset(shared, 0, sizeof *shared);
    status = host_in_child(child, (void *)(uintptr_t)op);
    if (status == 78) SKIP_PART("%s: this system cannot do it", op->name);
    else if (status != 0) {
        (void)snprintf(line, sizeof line, "%s: ended with %d, allocations %u to %u failing", op->name,
                       status, shared->first, shared->last);
        check_fail(__FILE__, __LINE__, line);
    }
    printf("%s: %u allocations, %u faults\n", op->name, shared->asked, shared->faults);
    return shared->faults;
}

/* ---- what is allocated but once: room for handles, of which each new one needs some ---- */

enum { HANDLES = 40 };

/* The room is full again and again; it can be had neither at first nor later. */
static int many_handles(void *unused)
{
    const struct guestmem_region_options options = backed(PRIVATE);
    struct guestmem_region *regions[HANDLES];
    struct guestmem *mems[HANDLES];
    (void)unused;
    check_failures = 0;
    for (size_t i = 0; i < HANDLES; i++)
        for (unsigned at = 1; at <= 8; at++) {
            int code;
            asked = 0, first = at, last = at;
            armed = 1;
            code = guestmem_region_new(&options, sizeof options, &regions[i]);
            if (code == GUESTMEM_OK) code = guestmem_from_regions(&regions[i], 1, &mems[i]);
            armed = 0;
            shared->faults += asked >= at;
            CHECK(code == GUESTMEM_E_NO_MEMORY || (code == GUESTMEM_OK && asked < at));
            if (code == GUESTMEM_OK && asked < at) break;
            guestmem_region_unref(regions[i]);
            REQUIRE(at < 8);
        }
    for (size_t i = 0; i < HANDLES; i++) {
        CHECK_OK(guestmem_write_u8(mems[i], SIZE, 1));
        guestmem_unref(mems[i]);
        guestmem_region_unref(regions[i]);
    }
    return check_result();
}

int main(void)
{
    unsigned faults = 0;
    if (getenv("GUESTMEM_TEST_NO_STRACE") != NULL) SKIP("not under valgrind or a sanitizer");
    if (!CAN_FAIL) SKIP("no allocator that can be made to fail");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    prepare_ground();
    CHECK_EQ(host_in_child(many_handles, NULL), 0);
    CHECK(shared->faults > HANDLES);
    printf("%d handles: %u faults\n", HANDLES, shared->faults);
    faults = shared->faults;
    for (size_t i = 0; i < OPERATIONS; i++)
        if (can_be_had(&operations[i])) faults += fail_everywhere(&operations[i]);
        else SKIP_PART("%s: no huge pages", operations[i].name);
    printf("%u faults in all\n", faults);
    return check_result();
}
