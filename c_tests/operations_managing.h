/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Operations that manage memory: pages that go, policies, regions that come and go. */
#ifndef OPERATIONS_MANAGING_H
#define OPERATIONS_MANAGING_H

#include "operations_ground.h"

/* ---- what the kernel is told ---- */

#define IN_FORCE (GUESTMEM_POLICY_DONTFORK | GUESTMEM_POLICY_LOCK_GUEST_MEMORY)

static bool takes_policy(uint64_t policy)
{
    return guestmem_set_memory_policy(ground.mem, policy) == GUESTMEM_OK;
}

static const struct {
    uint64_t policy;
    const char *flag;
} flags_of_policies[] = {
    {GUESTMEM_POLICY_USE_HUGEPAGES, " hg "},
    {GUESTMEM_POLICY_LOCK_GUEST_MEMORY, " lo "},
    {GUESTMEM_POLICY_DONTFORK, " dc "},
    {GUESTMEM_POLICY_MERGEABLE, " mg "},
};

/* The kernel has been told of these policies for the memory at `host`, and of no others. */
static void check_flags(const void *host, uint64_t policies)
{
    char line[512];
    if (fails_for_good) return; /* as may what takes a policy back */
    REQUIRE(smaps_line(host, "VmFlags:", line, sizeof line));
    for (size_t i = 0; i < sizeof flags_of_policies / sizeof *flags_of_policies; i++) {
        const bool wanted = (policies & flags_of_policies[i].policy) != 0;
        if ((strstr(line, flags_of_policies[i].flag) != NULL) != wanted)
            check_fail(__FILE__, __LINE__, flags_of_policies[i].flag);
    }
}

/* ---- pages that go ---- */

static void before_locked(void)
{
    before_all();
    REQUIRE(takes_policy(IN_FORCE));
}

static int call_remove_range(void)
{
    return guestmem_remove_range(ground.mem, current->argument * SIZE, PAGE);
}

/* The page is gone, or after a failure what it was, and its mapping the same but for that. */
static void after_remove_range(int code)
{
    const uint64_t addr = current->argument * SIZE;
    const struct guestmem_region_info info = info_of(ground.mem, current->argument);
    CHECK(page_is(addr, code == GUESTMEM_OK ? 0 : byte_of(addr)));
    check_content(addr);
    check_flags(info.host_addr, guestmem_memory_policy(ground.mem));
    if (!(info.flags & GUESTMEM_REGION_HOST)) CHECK(mapping_has(info.host_addr, "dd"));
    release();
}

/* Caller's memory of a page each of two files, and one without. */
static uint8_t *three_mappings;

static void before_mappings(void)
{
    struct guestmem_region_options options = {.size = 3 * PAGE, .flags = GUESTMEM_REGION_HOST};
    const int flags = MAP_SHARED | MAP_FIXED;
    three_mappings = new_host_memory(3 * PAGE);
    for (size_t i = 0; i < 2; i++) {
        const int file = new_memfd(PAGE);
        REQUIRE(mmap(three_mappings + i * PAGE, (size_t)PAGE, PROT_READ | PROT_WRITE, flags, file,
                     0) != MAP_FAILED);
        REQUIRE(close(file) == 0);
    }
    options.host_addr = three_mappings;
    REQUIRE(guestmem_new_with_options(&options, 1, sizeof options, &ground.mem) == GUESTMEM_OK);
    fill(ground.mem);
}

static int call_remove_mappings(void)
{
    return guestmem_remove_range(ground.mem, 0, 3 * PAGE);
}

/* All are gone; or none, where it is said so. */
static void after_remove_mappings(int code)
{
    for (uint64_t addr = 0; addr < 3 * PAGE; addr += PAGE)
        CHECK(page_is(addr, 0) ? code != GUESTMEM_E_UNSUPPORTED
                               : code != GUESTMEM_OK && page_is(addr, byte_of(addr)));
    release();
    REQUIRE(munmap(three_mappings, (size_t)(3 * PAGE)) == 0);
}

/* ---- policies, and what is told of them ---- */

static int call_policy(void)
{
    return guestmem_set_memory_policy(ground.mem, current->argument);
}

static void after_policy(int code)
{
    const uint64_t shown = guestmem_memory_policy(ground.mem);
    CHECK((code == GUESTMEM_OK) == (shown == current->argument));
    CHECK((shown & ~current->argument) == 0);
    for (size_t i = 0; i < guestmem_num_regions(ground.mem); i++)
        check_flags(info_of(ground.mem, i).host_addr, shown);
    check_content(UINT64_MAX);
    release();
}

static int call_describe(void)
{
    return guestmem_describe(ground.mem, &ground.text);
}

static void after_describe(int code)
{
    CHECK((code == GUESTMEM_OK) == (ground.text != NULL));
    if (ground.text != NULL) CHECK(json_valid(ground.text));
    guestmem_free(ground.text);
    ground.text = NULL;
    check_content(UINT64_MAX);
    release();
}

/* ---- regions that come and go ---- */

/* Memory with policies in force, and the region that is to come. */
static void before_adding(void)
{
    struct guestmem_region_options options = backed((size_t)current->argument);
    before_private();
    REQUIRE(takes_policy(IN_FORCE));
    options.guest_addr = 64 * SIZE;
    REQUIRE(guestmem_region_new(&options, sizeof options, &ground.region) == GUESTMEM_OK);
}

static int call_add_region(void)
{
    return guestmem_add_region(ground.mem, ground.region);
}

static void after_adding(int code)
{
    const bool added = code == GUESTMEM_OK;
    CHECK_EQ(guestmem_num_regions(ground.mem), 1 + added);
    CHECK_EQ(guestmem_generation(ground.mem), added);
    CHECK_EQ(guestmem_address_in_range(ground.mem, 64 * SIZE), added);
    REQUIRE(guestmem_from_regions(&ground.region, 1, &ground.other) == GUESTMEM_OK);
    check_flags(info_of(ground.other, 0).host_addr, added ? IN_FORCE : 0);
    release();
}

static int call_remove_region(void)
{
    return guestmem_remove_region(ground.mem, 0, &ground.removed);
}

static void after_removing(int code)
{
    const bool gone = code == GUESTMEM_OK;
    CHECK_EQ(ground.removed != NULL, gone);
    CHECK_EQ(guestmem_num_regions(ground.mem), BACKINGS - gone);
    CHECK_EQ(guestmem_generation(ground.mem), gone);
    CHECK_EQ(guestmem_address_in_range(ground.mem, 0), !gone);
    check_content(UINT64_MAX);
    guestmem_region_unref(ground.removed);
    ground.removed = NULL;
    release();
}

static int call_get_view(void)
{
    struct guestmem_view view;
    return guestmem_get_view(ground.mem, &view, sizeof view);
}

static void after_view(int code)
{
    CHECK_OK(code);
    release();
}

#endif
