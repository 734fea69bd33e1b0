/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A removed region stays where it is until its last reference goes, and then it is gone: who keeps
 * it, what its host addresses are good for meanwhile, and that many rounds leave nothing.
 * runs: asan valgrind */
#include "support/process.h"
#include "support/regions.h"

#include <malloc.h>

#define ADDR ((uint64_t)0x40000)
#define SIZE (4 * PAGE)

static bool still_mapped(const uint8_t *host)
{
    struct mapping found;
    for (uint64_t at = 0; at < SIZE; at += PAGE)
        if (!find_mapping(host + at, &found) || strncmp(found.perms, "rw", 2) != 0)
            return false;
    return true;
}

static bool nothing_mapped(const uint8_t *host)
{
    struct mapping found;
    for (uint64_t at = 0; at < SIZE; at += PAGE)
        if (find_mapping(host + at, &found)) return false;
    return true;
}

/* Maps as much again, many times, as the system's choice of addresses is to be tried out. */
static bool is_given_to_others(const uint8_t *host)
{
    enum { MAPPINGS = 64 };
    void *mapped[MAPPINGS];
    bool met = false;
    for (size_t i = 0; i < MAPPINGS; i++) {
        mapped[i] = new_host_memory(SIZE);
        met = met || ((uint8_t *)mapped[i] < host + SIZE && (uint8_t *)mapped[i] + SIZE > host);
    }
    for (size_t i = 0; i < MAPPINGS; i++) REQUIRE(munmap(mapped[i], (size_t)SIZE) == 0);
    return met;
}

static void a_removed_region_stays_in_place(uint64_t flags)
{
    struct guestmem *mem = check_new(NULL, 0);
    struct guestmem_region *region = new_region(ADDR, SIZE, flags), *removed;
    struct guestmem_slice slice;
    uint8_t *host, back[16];
    CHECK_OK(guestmem_add_region(mem, region));
    guestmem_region_unref(region);
    CHECK_OK(guestmem_get_slice(mem, ADDR, (size_t)SIZE, &slice));
    host = slice.addr;
    fill_random(host, (size_t)SIZE, 4);
    CHECK_OK(guestmem_read_exact(mem, ADDR + 100, back, sizeof back));

    removed = take_out(mem, ADDR);
    CHECK(still_mapped(host) && !is_given_to_others(host));
    CHECK(memcmp(host + 100, back, sizeof back) == 0);
    memset(host, 0x66, (size_t)SIZE);
    CHECK_OK(guestmem_slice_read(slice, (size_t)SIZE - 1, back, 1));
    CHECK_EQ(back[0], 0x66);
    plug(mem, ADDR, SIZE); /* a new one at the same guest address */
    CHECK(host_of(mem, ADDR) >= host + SIZE || host_of(mem, ADDR) + SIZE <= host);
    CHECK(still_mapped(host) && host[5] == 0x66 && *host_of(mem, ADDR) == 0);
    unplug(mem, ADDR);
    CHECK(still_mapped(host) && host[SIZE - 1] == 0x66);
    guestmem_region_unref(removed);
    CHECK(nothing_mapped(host));
    CHECK(guestmem_region_ref(removed) == NULL);
    guestmem_unref(mem);
}

/* The caller's own reference, and the one that was the memory's: each keeps the region. */
static void references_do_not_depend_on_each_other(void)
{
    for (int order = 0; order < 3; order++) {
        struct guestmem *mem = check_new(NULL, 0);
        struct guestmem_region *region = new_region(ADDR, SIZE, 0), *removed;
        uint64_t fds = count_fds();
        uint8_t *host;
        CHECK_OK(guestmem_add_region(mem, region));
        host = host_of(mem, ADDR);
        if (order == 0) guestmem_region_unref(region);
        CHECK_OK(guestmem_write_u8(mem, ADDR, 9));
        removed = take_out(mem, ADDR);
        CHECK(removed == region && still_mapped(host) && host[0] == 9);
        if (order == 1) guestmem_unref(mem); /* the region needs no memory */
        if (order != 0) guestmem_region_unref(removed);
        CHECK(still_mapped(host) && host[0] == 9);
        CHECK_EQ(count_fds(), fds);
        guestmem_region_unref(region);
        CHECK(nothing_mapped(host));
        CHECK_EQ(count_fds(), fds - 1);
        CHECK(guestmem_region_ref(region) == NULL);
        if (order != 1) guestmem_unref(mem);
    }
}

/* A memory holds a region that was added once, however often regions came and went since. */
static void the_memory_holds_what_was_added(void)
{
    struct guestmem *mem = check_new(NULL, 0);
    uint64_t fds = count_fds();
    uint8_t *host;
    plug(mem, ADDR, SIZE);
    host = host_of(mem, ADDR);
    for (uint64_t i = 0; i < 5; i++) plug(mem, 0x80000 + i * PAGE, PAGE);
    for (uint64_t i = 0; i < 5; i++) unplug(mem, 0x80000 + i * PAGE);
    CHECK(still_mapped(host));
    CHECK_EQ(count_fds(), fds + 1);
    unplug(mem, ADDR);
    CHECK(nothing_mapped(host));
    plug(mem, ADDR, SIZE);
    host = host_of(mem, ADDR);
    guestmem_unref(mem);
    CHECK(nothing_mapped(host));
    CHECK_EQ(count_fds(), fds);
}

static void two_memories_hold_a_region(void)
{
    struct guestmem *one = check_new(NULL, 0), *other = check_new(NULL, 0);
    struct guestmem_region *region = new_region(ADDR, SIZE, 0);
    uint8_t *host;
    CHECK_OK(guestmem_add_region(one, region));
    CHECK_OK(guestmem_add_region(other, region));
    guestmem_region_unref(region);
    host = host_of(one, ADDR);
    unplug(one, ADDR);
    CHECK(still_mapped(host));
    CHECK_OK(guestmem_add_region(one, take_out(other, ADDR)));
    CHECK(still_mapped(host) && host_of(one, ADDR) == host);
    guestmem_region_unref(region);
    guestmem_unref(other);
    CHECK_OK(guestmem_write_u8(one, ADDR, 1));
    guestmem_unref(one);
    CHECK(nothing_mapped(host));
}

/* The caller's memory is the caller's to unmap, before and after. */
static void callers_memory_stays(void)
{
    struct guestmem *mem = check_new(NULL, 0);
    struct guestmem_region_options options;
    struct guestmem_region *region = NULL;
    uint8_t *host = new_host_memory(SIZE);
    memset(&options, 0, sizeof options);
    options.guest_addr = ADDR, options.size = SIZE;
    options.flags = GUESTMEM_REGION_HOST, options.host_addr = host;
    REQUIRE(guestmem_region_new(&options, sizeof options, &region) == GUESTMEM_OK);
    CHECK_OK(guestmem_add_region(mem, region));
    CHECK_OK(guestmem_write_u8(mem, ADDR + 7, 7));
    guestmem_region_unref(region);
    unplug(mem, ADDR);
    CHECK(still_mapped(host) && host[7] == 7);
    REQUIRE(munmap(host, (size_t)SIZE) == 0);
    guestmem_unref(mem);
}

/* --- nothing is left ------------------------------------------------------------------------ */

static void one_round(struct guestmem *mem, unsigned round)
{
    const uint64_t flags = round % 2 != 0 ? GUESTMEM_REGION_PRIVATE : 0;
    struct guestmem_region *region = new_region(ADDR, PAGE, flags), *removed = NULL;
    CHECK_OK(guestmem_add_region(mem, region));
    CHECK_CODE(guestmem_add_region(mem, region), GUESTMEM_E_OVERLAP);
    CHECK_CODE(guestmem_remove_region(mem, ADDR + PAGE, &removed), GUESTMEM_E_NOT_FOUND);
    CHECK_OK(guestmem_write_u64(mem, ADDR + 8, round));
    guestmem_region_unref(region);
    unplug(mem, ADDR);
}

static void many_rounds_leave_nothing(void)
{
    const unsigned rounds = fast() ? 300 : 10000;
    uint64_t fds = count_fds(), mappings, value = 0;
    struct guestmem *mem;
    /* The tables that the memory keeps are to be no mappings of their own. Sanitizers have another
     * allocator, which maps what it likes. */
    const bool countable = mallopt(M_MMAP_MAX, 0) == 1;
    mem = check_new(NULL, 0);
    plug(mem, 0, PAGE);
    for (unsigned round = 0; round < 100; round++) one_round(mem, round);
    mappings = count_mappings();
    for (unsigned round = 0; round < rounds; round++) one_round(mem, round);
    if (countable) CHECK_EQ(count_mappings(), mappings);
    CHECK_EQ(count_fds(), fds + 1);
    CHECK_EQ(guestmem_generation(mem), 1 + 2 * (uint64_t)(100 + rounds));
    CHECK_EQ(guestmem_num_regions(mem), 1);
    CHECK_OK(guestmem_read_u64(mem, 0, &value));
    guestmem_unref(mem);
    CHECK_EQ(count_fds(), fds);
    if (countable) CHECK(count_mappings() < mappings);
}

int main(void)
{
    a_removed_region_stays_in_place(0);
    a_removed_region_stays_in_place(GUESTMEM_REGION_PRIVATE);
    references_do_not_depend_on_each_other();
    the_memory_holds_what_was_added();
    two_memories_hold_a_region();
    callers_memory_stays();
    many_rounds_leave_nothing();
    return check_result();
}
