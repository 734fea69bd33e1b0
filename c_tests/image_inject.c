/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A system call that fails, at each step of each way to save memory and to bring it back: the old
 * image stays, live memory is what it was or tainted, nothing is left behind.
 * runs: natively only */
#include "operations_image.h"

#include "inject_calls.h"

/* Half of the operations each, by two processes at once, in folders of their own. */
enum { HALVES = 2 };

static struct totals {
    unsigned sites, faults;
} *totals;

static void inject_into_half(const struct operation *all, size_t count, size_t half)
{
    prepare_operations();
    for (size_t i = half; i < count; i += HALVES) {
        (void)inject_into(&all[i]);
        CHECK(shared->sites > 4);
        __atomic_add_fetch(&totals->sites, shared->sites, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&totals->faults, shared->faults, __ATOMIC_SEQ_CST);
    }
    finish_operations();
}

static void run_half(size_t half)
{
    shared = new_shared_memory(sizeof *shared);
    enter_folder(fast_parent(UINT64_C(1) << 28));
    make_states(SMALL);
    inject_into_half(operations, OPERATIONS, half);
    make_states(LARGE);
    inject_into_half(threaded, THREADED, half);
}

int main(void)
{
    int status = 0;
    pid_t other;
    totals = new_shared_memory(sizeof *totals);
    other = fork();
    REQUIRE(other >= 0);
    run_half(other == 0);
    if (other == 0) return check_result();
    REQUIRE(waitpid(other, &status, 0) == other);
    CHECK_EQ(status, 0);
    printf("%u faults at %u calls in all\n", totals->faults, totals->sites);
    return check_result();
}
