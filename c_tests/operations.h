/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Calls of every section of the interface but those of images (operations_image.h), as operations
 * that may be made to fail: their list, and what must hold after each. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "operations_creating.h"
#include "operations_managing.h"
#include "operations_moving.h"

/* ---- all of them ---- */

#define CREATE(name, call, argument) {name, before_nothing, call, after_creating, argument, false}
#define TRANSFER(name, how) {name, before_transfer, call_transfer, after_transfer, how, false}
#define REMOVE(name, before, region) \
    {"remove_range, " name, before, call_remove_range, after_remove_range, region, false}
#define POLICY(name, before, policy) {name, before, call_policy, after_policy, policy, false}

static const struct operation operations[] = {
    CREATE("new", call_new, 0),
    CREATE("new_with_options, every backing", call_mixed, 0),
    CREATE("new_with_options, populated", call_populated, 0),
    CREATE("new_with_options, populated by threads", call_populated_by_threads, 0),
    CREATE("new_with_options, huge pages of the usual size", call_huge, 0),
    CREATE("new_with_options, huge pages", call_huge, 21),
    CREATE("region_new", call_region_new, 0),
    CREATE("region_new, file", call_region_new, 2),
    {"from_regions", before_from_regions, call_from_regions, after_from_regions, 0, true},
    {"access, translation, questions", world_prepare, call_access, after_access, 0, true},
    TRANSFER("write_from_memory", 0),
    TRANSFER("read_to_memory", INTO),
    TRANSFER("write_from_memory_at", AT),
    TRANSFER("read_to_memory_at", INTO | AT),
    TRANSFER("write_from_memory_at, append", AT | APPENDED),
    REMOVE("memfd", before_all, 0),
    REMOVE("private", before_all, 1),
    REMOVE("file", before_all, 2),
    REMOVE("private file", before_all, 3),
    REMOVE("caller's, private", before_all, 5),
    REMOVE("caller's, with its file", before_all, 6),
    REMOVE("caller's, shared", before_all, 7),
    REMOVE("memfd, locked", before_locked, 0),
    REMOVE("private, locked", before_locked, 1),
    REMOVE("private file, locked", before_locked, 3),
    REMOVE("caller's, private, locked", before_locked, 5),
    {"remove_range, caller's, three mappings", before_mappings, call_remove_mappings,
     after_remove_mappings, 0, false},
    POLICY("policy: huge pages", before_private, GUESTMEM_POLICY_USE_HUGEPAGES),
    POLICY("policy: merge", before_private, GUESTMEM_POLICY_MERGEABLE),
    POLICY("policy: lock, and not for children", before_policy, IN_FORCE),
    {"describe", before_all, call_describe, after_describe, 0, false},
    {"add_region", before_adding, call_add_region, after_adding, 0, false},
    {"add_region, private", before_adding, call_add_region, after_adding, 1, false},
    {"add_region, file", before_adding, call_add_region, after_adding, 2, false},
    {"add_region, caller's", before_adding, call_add_region, after_adding, 5, false},
    {"remove_region", before_all, call_remove_region, after_removing, 0, true},
    {"get_view", before_all, call_get_view, after_view, 0, true},
    {"snapshot_write", before_stream, call_snapshot_write, after_snapshot_write, 0, false},
    {"restore_read", before_restore_read, call_restore_read, after_restore_read, 0, false},
    {"unref", before_all, call_unref, after_release, 0, false},
    {"region_unref", before_region, call_region_unref, after_release, 0, false},
};
#define OPERATIONS (sizeof operations / sizeof *operations)

static bool can_be_had(const struct operation *op)
{
    return op->call != call_huge || ground.huge_pages;
}

static int call_operation(const void *op)
{
    return ((const struct operation *)op)->call();
}

/* The C library keeps stacks for further threads. */
static bool starts_threads(const struct operation *op)
{
    return op->call == call_populated_by_threads;
}

/* Pages that were replaced are a mapping of their own until the region goes. */
static bool changes_mappings(const struct operation *op)
{
    return op->call == call_remove_range || starts_threads(op);
}

/* Runs one between looks at what the process holds; `leaks` where what is to be undone may fail. */
static struct outcome try_operation(const struct operation *op, runner *run, bool leaks)
{
    uint64_t fds = count_fds(), mappings = count_mappings_but_heap(), fds_before, mappings_before;
    struct outcome outcome;
    current = op;
    map_callers_memory();
    op->before();
    fds_before = count_fds(), mappings_before = count_mappings_but_heap();
    outcome = outcome_of(run, call_operation, op);
    ground.completed = outcome.completed;
    if (outcome.code != GUESTMEM_OK && !leaks) {
        CHECK_EQ(count_fds(), fds_before);
        if (!changes_mappings(op)) CHECK_EQ(count_mappings_but_heap(), mappings_before);
    }
    op->after(outcome.code);
    unmap_callers_memory();
    if (leaks) return outcome;
    CHECK_EQ(count_fds(), fds);
    if (!starts_threads(op)) CHECK_EQ(count_mappings_but_heap(), mappings);
    return outcome;
}

/* Once more, with nothing in the way. */
static void check_retry(const struct operation *op)
{
    CHECK_OK(try_operation(op, run_plainly, false).code);
}

/* So that not everything is to be tried. */
__attribute__((unused)) static bool takes_long(const struct operation *op)
{
    (void)op;
    return fast();
}

#endif
