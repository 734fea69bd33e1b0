/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* An allocation that fails, in each way to save memory and to bring it back: the old image stays, and
 * live memory is what it was or tainted.
 * runs: natively only */
#include "operations_image.h"

#include "inject_allocations.h"

static unsigned faults;

static void inject_into_all(const struct operation *all, size_t count)
{
    prepare_operations();
    for (size_t i = 0; i < count; i++) {
        faults += inject_into(&all[i]);
        CHECK(shared->faults > 0);
    }
    finish_operations();
}

int main(void)
{
    if (!CAN_FAIL) SKIP("no allocator that can be made to fail");
    shared = new_shared_memory(sizeof *shared);
    enter_folder(fast_parent(UINT64_C(1) << 28));
    make_states(SMALL);
    inject_into_all(operations, OPERATIONS);
    make_states(LARGE);
    inject_into_all(threaded, THREADED);
    printf("%u faults in all\n", faults);
    return check_result();
}
