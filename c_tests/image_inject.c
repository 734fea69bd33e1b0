/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A system call that fails, at each step of each way to save memory and to bring it back: the old
 * image stays, live memory is what it was or tainted, nothing is left behind. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "image_operations.h"

#include "inject_calls.h"

static unsigned sites, faults;

static void inject_into_all(const struct operation *all, size_t count)
{
    prepare_operations();
    for (size_t i = 0; i < count; i++) {
        (void)inject_into(&all[i]);
        CHECK(shared->sites > 4);
        sites += shared->sites, faults += shared->faults;
    }
    finish_operations();
}

int main(void)
{
    if (host_instrumented()) SKIP("not under valgrind or a sanitizer");
    share_with_children();
    enter_folder(fast_parent(UINT64_C(1) << 28));
    make_states(SMALL);
    inject_into_all(operations, OPERATIONS);
    make_states(LARGE);
    inject_into_all(threaded, THREADED);
    printf("%u faults at %u calls in all\n", faults, sites);
    return check_result();
}
