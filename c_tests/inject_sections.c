/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A system call that fails, at each step of each operation of every section but that of images:
 * nothing is left behind, memory holds what it held.
 * runs: natively only */
#include "operations.h"

#include "inject_calls.h"

int main(void)
{
    unsigned faults = 0, sites = 0;
    shared = new_shared_memory(sizeof *shared);
    prepare_ground();
    for (size_t i = 0; i < OPERATIONS; i++) {
        if (!can_be_had(&operations[i])) {
            SKIP_PART("%s: no huge pages", operations[i].name);
            continue;
        }
        if (inject_into(&operations[i]))
            CHECK(operations[i].calls_nothing == (shared->sites == 0));
        sites += shared->sites, faults += shared->faults;
    }
    printf("%u faults at %u calls in all\n", faults, sites);
    return check_result();
}
