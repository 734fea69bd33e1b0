/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Who keeps what alive, and that nothing is left when nobody does.
 * runs: asan valgrind qemu musl */
#include "support/process.h"

static struct guestmem_region_options page(uint64_t guest_addr, uint64_t flags, int fd)
{
    struct guestmem_region_options options;
    memset(&options, 0, sizeof options);
    options.guest_addr = guest_addr;
    options.size = PAGE;
    options.flags = flags;
    options.fd = fd;
    return options;
}

static struct guestmem_region *region(uint64_t guest_addr)
{
    struct guestmem_region_options options = page(guest_addr, 0, 0);
    struct guestmem_region *made = NULL;
    REQUIRE(guestmem_region_new(&options, sizeof options, &made) == GUESTMEM_OK);
    return made;
}

static void references_keep_a_memory(void)
{
    static const struct guestmem_range range = { 0x1000, PAGE };
    uint64_t fds = count_fds(), mappings, value = 0;
    struct guestmem *mem = check_new(&range, 1);
    mappings = count_mappings();
    for (int i = 0; i < 3; i++) CHECK(guestmem_ref(mem) == mem);
    CHECK_OK(guestmem_write_u64(mem, 0x1000, 7));
    for (int i = 0; i < 3; i++) {
        guestmem_unref(mem);
        CHECK_OK(guestmem_read_u64(mem, 0x1000, &value));
        CHECK_EQ(value, 7);
    }
    CHECK_EQ(count_fds(), fds + 1);
    guestmem_unref(mem);
    CHECK_EQ(count_fds(), fds);
    CHECK(count_mappings() < mappings);
    /* The last one is gone, and that can be told. */
    CHECK_CODE(guestmem_read_u64(mem, 0x1000, &value), GUESTMEM_E_BAD_HANDLE);
    guestmem_unref(mem);
    CHECK(guestmem_ref(mem) == NULL);
}

static void references_keep_a_region(void)
{
    uint64_t fds = count_fds();
    struct guestmem_region *kept = region(0);
    struct guestmem *mem = NULL;
    CHECK(guestmem_region_ref(kept) == kept);
    guestmem_region_unref(kept);
    REQUIRE(guestmem_from_regions(&kept, 1, &mem) == GUESTMEM_OK);
    guestmem_unref(mem);
    /* The caller's own reference is still his. */
    REQUIRE(guestmem_from_regions(&kept, 1, &mem) == GUESTMEM_OK);
    guestmem_region_unref(kept);
    CHECK_OK(guestmem_write_u8(mem, 0, 1));
    CHECK_EQ(count_fds(), fds + 1);
    guestmem_unref(mem);
    CHECK_EQ(count_fds(), fds);
    CHECK(guestmem_region_ref(kept) == NULL);
    guestmem_region_unref(kept);
}

static void shared_regions_outlive_a_memory(void)
{
    struct guestmem_region *regions[3], *pair[2];
    struct guestmem *first = NULL, *second = NULL, *third = NULL;
    uint64_t fds = count_fds();
    uint16_t value = 0;
    for (size_t i = 0; i < 3; i++) regions[i] = region(i * PAGE);
    REQUIRE(guestmem_from_regions(regions, 3, &first) == GUESTMEM_OK);
    pair[0] = regions[2];
    pair[1] = regions[1];
    REQUIRE(guestmem_from_regions(pair, 2, &second) == GUESTMEM_OK);
    REQUIRE(guestmem_from_regions(regions, 1, &third) == GUESTMEM_OK);
    for (size_t i = 0; i < 3; i++) guestmem_region_unref(regions[i]);
    CHECK_OK(guestmem_write_u16(first, PAGE, 0x1111));
    CHECK_OK(guestmem_write_u16(first, 0, 0x2222));
    CHECK_EQ(count_fds(), fds + 3);
    guestmem_unref(first);
    CHECK_EQ(count_fds(), fds + 3);
    CHECK_OK(guestmem_read_u16(second, PAGE, &value));
    CHECK_EQ(value, 0x1111);
    CHECK_CODE(guestmem_read_u16(second, 0, &value), GUESTMEM_E_INVALID_ADDRESS);
    guestmem_unref(second);
    CHECK_EQ(count_fds(), fds + 1);
    CHECK_OK(guestmem_read_u16(third, 0, &value));
    CHECK_EQ(value, 0x2222);
    guestmem_unref(third);
    CHECK_EQ(count_fds(), fds);
}

static void the_callers_descriptor_may_go_early(void)
{
    int fd = new_memfd(PAGE), copy = dup(fd);
    struct guestmem_region_options options = page(0, GUESTMEM_REGION_FD, fd);
    struct guestmem_region *made = NULL;
    struct guestmem *mem = NULL;
    uint8_t byte = 0;
    REQUIRE(copy >= 0);
    REQUIRE(guestmem_region_new(&options, sizeof options, &made) == GUESTMEM_OK);
    close(fd);
    REQUIRE(guestmem_from_regions(&made, 1, &mem) == GUESTMEM_OK);
    guestmem_region_unref(made);
    CHECK_OK(guestmem_write_u8(mem, 5, 55));
    CHECK_EQ(pread(copy, &byte, 1, 5), 1);
    CHECK_EQ(byte, 55);
    guestmem_unref(mem);
    close(copy);
}

/* Each round is one of the kinds, good or refused. */
static void one_round(unsigned round, int fd, void *pages)
{
    struct guestmem_region_options options[2];
    struct guestmem_region *made[2] = { NULL, NULL };
    struct guestmem *mem = NULL;
    struct guestmem_range range = { 0x1000, PAGE };
    switch (round % 6) {
    case 0:
        CHECK_OK(guestmem_new(&range, 1, &mem));
        break;
    case 1:
        options[0] = page(0, GUESTMEM_REGION_FD, fd);
        options[1] = page(PAGE, GUESTMEM_REGION_PRIVATE, 0);
        CHECK_OK(guestmem_new_with_options(options, 2, sizeof *options, &mem));
        break;
    case 2:
        /* The first is made and must go again when the second cannot be. */
        options[0] = page(0, 0, 0);
        options[1] = page(PAGE, GUESTMEM_REGION_FD, -1);
        CHECK_CODE(guestmem_new_with_options(options, 2, sizeof *options, &mem),
                   GUESTMEM_E_BACKING);
        break;
    case 3:
        options[0] = page(0, GUESTMEM_REGION_HOST, 0);
        options[0].host_addr = pages;
        CHECK_OK(guestmem_region_new(options, sizeof *options, &made[0]));
        made[1] = guestmem_region_ref(made[0]);
        CHECK_CODE(guestmem_from_regions(made, 2, &mem), GUESTMEM_E_OVERLAP);
        CHECK_OK(guestmem_from_regions(made, 1, &mem));
        break;
    case 4:
        range.guest_addr = 1;
        CHECK_CODE(guestmem_new(&range, 1, &mem), GUESTMEM_E_NOT_ALIGNED);
        break;
    default:
        options[0] = page(0, GUESTMEM_REGION_FD | GUESTMEM_REGION_READ_ONLY, fd);
        CHECK_OK(guestmem_region_new(options, sizeof *options, &made[0]));
    }
    guestmem_region_unref(made[0]);
    guestmem_region_unref(made[1]);
    guestmem_unref(mem);
}

static void many_rounds_leave_nothing(void)
{
    const unsigned rounds = fast() ? 600 : 100000;
    uint64_t fds, mappings, threads;
    int fd = new_memfd(PAGE);
    void *pages = mmap(NULL, (size_t)PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0);
    REQUIRE(pages != MAP_FAILED);
    /* What is set up once (allocator arenas, say) is there before the count. */
    for (unsigned round = 0; round < 600; round++) one_round(round, fd, pages);
    fds = count_fds();
    mappings = count_mappings();
    threads = count_threads();
    for (unsigned round = 0; round < rounds; round++) one_round(round, fd, pages);
    CHECK_EQ(count_fds(), fds);
    CHECK_EQ(count_mappings(), mappings);
    CHECK_EQ(count_threads(), threads);
    munmap(pages, (size_t)PAGE);
    close(fd);
}

int main(void)
{
    references_keep_a_memory();
    references_keep_a_region();
    shared_regions_outlive_a_memory();
    the_callers_descriptor_may_go_early();
    many_rounds_leave_nothing();
    return check_result();
}
