/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Operations that make memory, use it without a system call, and release it. */
#ifndef OPERATIONS_CREATING_H
#define OPERATIONS_CREATING_H

#include "operations_ground.h"

/* ---- creating ---- */

static void before_nothing(void)
{
}

/* Memory that was made works, to the last page of its last region. */
static void after_creating(int code)
{
    CHECK((code == GUESTMEM_OK) == (ground.out != NULL || ground.region != NULL));
    if (ground.out != NULL) {
        uint8_t byte = 0;
        const uint64_t end = guestmem_end_addr(ground.out);
        CHECK_OK(guestmem_read_u8(ground.out, end - 1, &byte));
    }
    release();
}

static int call_new(void)
{
    static const struct guestmem_range ranges[] = {{0, PAGE}, {2 * MIB, 4 * MIB}};
    return guestmem_new(ranges, 2, &ground.out);
}

static int call_mixed(void)
{
    return make(0, BACKINGS, &ground.out);
}

static int call_populated(void)
{
    struct guestmem_region_options options[2];
    options[0] = backed(0), options[1] = backed(PRIVATE);
    options[0].flags |= GUESTMEM_REGION_POPULATE, options[1].flags |= GUESTMEM_REGION_POPULATE;
    return guestmem_new_with_options(options, 2, sizeof *options, &ground.out);
}

/* So much that threads share the work; pages that are only read are had for little. */
static int call_populated_by_threads(void)
{
    struct guestmem_region_options options = backed(PRIVATE);
    options.size = 128 * MIB;
    options.flags |= GUESTMEM_REGION_READ_ONLY | GUESTMEM_REGION_POPULATE;
    return guestmem_new_with_options(&options, 1, sizeof options, &ground.out);
}

static int call_huge(void)
{
    struct guestmem_region_options options = backed(0);
    options.size = HUGE_PAGE, options.flags = GUESTMEM_REGION_HUGETLB;
    options.hugetlb_log2 = (uint32_t)current->argument;
    return guestmem_new_with_options(&options, 1, sizeof options, &ground.out);
}

static int call_region_new(void)
{
    const struct guestmem_region_options options = backed((size_t)current->argument);
    return guestmem_region_new(&options, sizeof options, &ground.region);
}

static void before_from_regions(void)
{
    const struct guestmem_region_options options = backed(0);
    REQUIRE(guestmem_region_new(&options, sizeof options, &ground.region) == GUESTMEM_OK);
}

static int call_from_regions(void)
{
    return guestmem_from_regions(&ground.region, 1, &ground.out);
}

static void after_from_regions(int code)
{
    CHECK((code == GUESTMEM_OK) == (ground.out != NULL));
    guestmem_unref(ground.out);
    ground.out = NULL;
    /* the caller's reference is what it was */
    REQUIRE(guestmem_from_regions(&ground.region, 1, &ground.mem) == GUESTMEM_OK);
    release();
}

/* ---- access and translation, of which nothing can fail ---- */

static int call_access(void)
{
    access_run();
    return GUESTMEM_OK;
}

static void after_access(int code)
{
    CHECK_OK(code);
    world_finish();
}

/* ---- releasing ---- */

static int call_unref(void)
{
    guestmem_unref(ground.mem);
    ground.mem = NULL;
    return GUESTMEM_OK;
}

static void before_region(void)
{
    const struct guestmem_region_options options = backed((size_t)current->argument);
    REQUIRE(guestmem_region_new(&options, sizeof options, &ground.region) == GUESTMEM_OK);
}

static int call_region_unref(void)
{
    guestmem_region_unref(ground.region);
    ground.region = NULL;
    return GUESTMEM_OK;
}

/* The last look that a caller can take: handles that are gone are told. */
static void after_release(int code)
{
    CHECK_OK(code);
    CHECK_EQ(guestmem_num_regions(ground.mem), 0);
}

#endif
