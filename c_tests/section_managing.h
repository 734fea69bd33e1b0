/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Operations that manage memory: pages that go, policies, regions that come and go. */
#ifndef SECTION_MANAGING_H
#define SECTION_MANAGING_H

#include "section_ground.h"

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
