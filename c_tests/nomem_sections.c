/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* An allocation that fails in each operation of every section but that of images: nothing is left
 * behind, memory holds what it held.
 * runs: natively only */
#include "operations.h"

#include "inject_allocations.h"

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
    unsigned faults;
    if (!CAN_FAIL) SKIP("no allocator that can be made to fail");
    shared = new_shared_memory(sizeof *shared);
    prepare_ground();
    CHECK_EQ(run_in_child(many_handles, NULL), 0);
    CHECK(shared->faults > HANDLES);
    printf("%d handles: %u faults\n", HANDLES, shared->faults);
    faults = shared->faults;
    for (size_t i = 0; i < OPERATIONS; i++)
        if (can_be_had(&operations[i])) faults += inject_into(&operations[i]);
        else SKIP_PART("%s: no huge pages", operations[i].name);
    printf("%u faults in all\n", faults);
    return check_result();
}
