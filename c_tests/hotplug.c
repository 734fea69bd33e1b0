/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Adding and removing regions: what is refused and leaves everything as it was, what reaches across
 * the new boundary, and what views and snapshots make of it. Random maps are in hotplug_map.c.
 * runs: asan valgrind tsan musl */
#include "support/regions.h"

#define POISON ((void *)(uintptr_t)0x5a5a)
#define LOW ((uint64_t)0x10000)
#define HIGH ((uint64_t)0x40000)
static const struct guestmem_range two_regions[] = { { LOW, 4 * PAGE }, { HIGH, 2 * PAGE } };

/* --- refusals ------------------------------------------------------------------------------ */

/* The memory is as it was made, and nothing was counted. */
static void check_untouched(const struct guestmem *mem, uint64_t generation)
{
    CHECK_EQ(guestmem_generation(mem), generation);
    CHECK_EQ(guestmem_num_regions(mem), 2);
    CHECK_EQ(guestmem_memory_size(mem), 6 * PAGE);
    CHECK_EQ(info_of(mem, 0).guest_addr, LOW);
    CHECK_EQ(info_of(mem, 1).guest_addr, HIGH);
}

static void check_error(int code, uint64_t addr, uint64_t size)
{
    const struct guestmem_error_info info = last_error();
    CHECK_EQ(info.code, code);
    CHECK_EQ(info.os_errno, 0);
    CHECK_EQ(info.guest_addr, addr);
    CHECK_EQ(info.size, size);
    CHECK_EQ(info.completed, 0);
}

static void overlaps_are_refused(void)
{
    static const struct guestmem_range overlapping[] = {
        { LOW, 4 * PAGE },          { LOW, PAGE },       { LOW + 3 * PAGE, PAGE },
        { LOW + PAGE, 2 * PAGE },   { 0, LOW + PAGE },   { LOW + 3 * PAGE, 2 * PAGE },
        { LOW - PAGE, 6 * PAGE },   { 0, HIGH * 2 },     { HIGH + PAGE, UINT64_C(1) << 20 },
        { LOW + 4 * PAGE, HIGH },   { HIGH, 2 * PAGE },
    };
    struct guestmem *mem = check_new(two_regions, 2);
    const struct guestmem_view view = view_of(mem);
    for (size_t i = 0; i < sizeof overlapping / sizeof *overlapping; i++) {
        const struct guestmem_range range = overlapping[i];
        struct guestmem_region *region = new_region(range.guest_addr, range.size, 0);
        errno = 4711;
        CHECK_CODE(guestmem_add_region(mem, region), GUESTMEM_E_OVERLAP);
        CHECK_EQ(errno, 4711);
        check_error(GUESTMEM_E_OVERLAP, range.guest_addr, range.size);
        check_untouched(mem, 0);
        CHECK(guestmem_view_is_current(&view, mem));
        /* no reference was kept */
        guestmem_region_unref(region);
        CHECK(guestmem_region_ref(region) == NULL);
    }
    guestmem_unref(mem);
}

static void the_same_region_twice(void)
{
    struct guestmem *mem = check_new(NULL, 0);
    struct guestmem_region *region = new_region(LOW, PAGE, 0);
    CHECK_OK(guestmem_add_region(mem, region));
    CHECK_CODE(guestmem_add_region(mem, region), GUESTMEM_E_OVERLAP);
    CHECK_EQ(guestmem_generation(mem), 1);
    unplug(mem, LOW);
    CHECK_OK(guestmem_add_region(mem, region));
    CHECK_EQ(guestmem_generation(mem), 3);
    guestmem_region_unref(region);
    guestmem_unref(mem);
}

static void only_a_first_address_removes(void)
{
    static const uint64_t wrong[] = {
        0,    1,        LOW - PAGE, LOW - 1,         LOW + 1,  LOW + PAGE, LOW + 4 * PAGE - 1,
        LOW + 4 * PAGE, HIGH - 1,   HIGH + 2 * PAGE, HIGH * 2, UINT64_MAX, UINT64_MAX - PAGE + 1,
    };
    struct guestmem *mem = check_new(two_regions, 2);
    struct guestmem_region *removed;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        removed = POISON;
        errno = 4711;
        CHECK_CODE(guestmem_remove_region(mem, wrong[i], &removed), GUESTMEM_E_NOT_FOUND);
        CHECK(removed == NULL);
        CHECK_EQ(errno, 4711);
        check_error(GUESTMEM_E_NOT_FOUND, wrong[i], 0);
        check_untouched(mem, 0);
    }
    errno = 4711;
    CHECK_CODE(guestmem_remove_region(mem, LOW, NULL), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_EQ(errno, 4711);
    check_error(GUESTMEM_E_INVALID_ARGUMENT, LOW, 0);
    check_untouched(mem, 0);
    /* once is enough */
    errno = 4711;
    unplug(mem, LOW);
    CHECK_EQ(errno, 4711);
    removed = POISON;
    CHECK_CODE(guestmem_remove_region(mem, LOW, &removed), GUESTMEM_E_NOT_FOUND);
    CHECK(removed == NULL);
    CHECK_EQ(guestmem_generation(mem), 1);
    guestmem_unref(mem);
}

static void wrong_handles(void)
{
    struct guestmem *mem = check_new(two_regions, 2);
    struct guestmem_region *released = new_region(0, PAGE, 0);
    guestmem_region_unref(released);
    CHECK_CODE(guestmem_add_region(mem, NULL), GUESTMEM_E_BAD_HANDLE);
    CHECK_CODE(guestmem_add_region(mem, released), GUESTMEM_E_BAD_HANDLE);
    CHECK_CODE(guestmem_add_region(mem, (struct guestmem_region *)(void *)mem),
               GUESTMEM_E_BAD_HANDLE);
    CHECK_EQ(guestmem_generation(NULL), 0);
    check_untouched(mem, 0);
    guestmem_unref(mem);
}

/* --- the ends of the address space, and of the map ------------------------------------------ */

static void around_what_is_there(void)
{
    const uint64_t last = UINT64_C(0xffffffffffffe000);
    struct guestmem *mem = check_new(two_regions, 2);
    plug(mem, LOW + 4 * PAGE, HIGH - LOW - 4 * PAGE); /* fills the hole to the byte */
    plug(mem, 0, LOW);
    plug(mem, last, PAGE);
    CHECK_EQ(guestmem_generation(mem), 3);
    CHECK_EQ(guestmem_num_regions(mem), 5);
    CHECK_EQ(guestmem_end_addr(mem), last + PAGE);
    CHECK_OK(guestmem_dma_fill(mem, 0, 7, HIGH + 2 * PAGE));
    CHECK_OK(guestmem_write_u64(mem, last + PAGE - 8, 1));
    unplug(mem, last);
    CHECK_EQ(guestmem_end_addr(mem), HIGH + 2 * PAGE);
    unplug(mem, 0);
    unplug(mem, LOW);
    CHECK_EQ(info_of(mem, 0).guest_addr, LOW + 4 * PAGE);
    guestmem_unref(mem);
}

static void down_to_nothing_and_back(void)
{
    struct guestmem *mem = check_new(two_regions, 2);
    struct guestmem_region *low, *high;
    uint64_t value = 0;
    CHECK_OK(guestmem_write_u64(mem, LOW, 11));
    CHECK_OK(guestmem_write_u64(mem, HIGH, 22));
    high = take_out(mem, HIGH);
    low = take_out(mem, LOW);
    CHECK_EQ(guestmem_num_regions(mem), 0);
    CHECK_EQ(guestmem_end_addr(mem), 0);
    CHECK_EQ(guestmem_memory_size(mem), 0);
    CHECK(!guestmem_range_overlap(mem, 0, UINT64_MAX));
    CHECK_CODE(guestmem_read_u64(mem, LOW, &value), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_dma_fill(mem, LOW, 0, 0), GUESTMEM_E_INVALID_ADDRESS);
    /* what was in them is there again */
    CHECK_OK(guestmem_add_region(mem, high));
    CHECK_OK(guestmem_add_region(mem, low));
    check_untouched(mem, 4);
    CHECK_OK(guestmem_read_u64(mem, LOW, &value));
    CHECK_EQ(value, 11);
    CHECK_OK(guestmem_read_u64(mem, HIGH, &value));
    CHECK_EQ(value, 22);
    guestmem_region_unref(low);
    guestmem_region_unref(high);
    guestmem_unref(mem);
}

static void a_region_in_two_memories(void)
{
    struct guestmem *one = check_new(two_regions, 2), *other = check_new(two_regions, 1);
    struct guestmem_region *region = new_region(0x80000, PAGE, 0), *removed;
    uint32_t value = 0;
    CHECK_OK(guestmem_add_region(one, region));
    CHECK_OK(guestmem_add_region(other, region));
    CHECK_OK(guestmem_write_u32(one, 0x80004, 44));
    CHECK_OK(guestmem_read_u32(other, 0x80004, &value));
    CHECK_EQ(value, 44);
    removed = take_out(one, 0x80000);
    CHECK(removed == region);
    CHECK_EQ(guestmem_generation(other), 1);
    CHECK_CODE(guestmem_read_u32(one, 0x80004, &value), GUESTMEM_E_INVALID_ADDRESS);
    guestmem_region_unref(removed);
    guestmem_region_unref(region);
    CHECK_OK(guestmem_read_u32(other, 0x80004, &value));
    CHECK_EQ(value, 44);
    guestmem_unref(one);
    guestmem_unref(other);
}

/* --- across the new boundary ---------------------------------------------------------------- */

/* Moves 2000 bytes that end in what was added, in every way that devices have. */
static void check_across(struct guestmem *mem, uint64_t boundary, int expected)
{
    const uint64_t addr = boundary - 1000;
    const struct guestmem_range chain[] = { { LOW, 16 }, { boundary - 8, 16 } };
    struct guestmem_slice slices[4];
    uint8_t bytes[2000], back[2000];
    size_t count = 0, done = 0;
    int fd = new_memfd(4096);
    fill_random(bytes, sizeof bytes, boundary);
    memset(back, 0, sizeof back);
    CHECK_CODE(guestmem_dma_write(mem, addr, bytes, sizeof bytes), expected);
    CHECK_CODE(guestmem_dma_copy(mem, LOW, addr, sizeof bytes), expected);
    CHECK_CODE(guestmem_dma_copy(mem, addr, LOW, sizeof bytes), expected);
    CHECK_CODE(guestmem_dma_read(mem, addr, back, sizeof back), expected);
    CHECK((memcmp(bytes, back, sizeof back) == 0) == (expected == GUESTMEM_OK));
    CHECK_CODE(guestmem_write_from_memory_at(mem, addr, fd, 0, sizeof bytes), expected);
    memset(back, 0, sizeof back);
    CHECK_EQ(pread(fd, back, sizeof back, 0), sizeof back);
    CHECK((memcmp(bytes, back, sizeof back) == 0) == (expected == GUESTMEM_OK));
    CHECK_CODE(guestmem_read_to_memory_at(mem, addr, fd, 0, sizeof bytes), expected);
    CHECK_CODE(guestmem_translate(mem, chain, 2, slices, 4, &count), expected);
    CHECK_EQ(count, expected == GUESTMEM_OK ? 3 : 0);
    CHECK_CODE(guestmem_dma_fill(mem, addr, 0, sizeof bytes), expected);
    /* within a region alone */
    CHECK_CODE(guestmem_read_exact(mem, boundary - 4, back, 8), GUESTMEM_E_SHORT_READ);
    CHECK_OK(guestmem_read(mem, boundary - 4, back, 8, &done));
    CHECK_EQ(done, 4);
    REQUIRE(close(fd) == 0);
}

static void devices_see_the_new_neighbour(void)
{
    const uint64_t end = LOW + 4 * PAGE;
    struct guestmem *mem = check_new(two_regions, 2);
    struct guestmem_region *rom;
    uint8_t *before;
    CHECK_OK(guestmem_dma_fill(mem, LOW, 0x55, 4 * PAGE));
    before = copy_of(mem);
    check_across(mem, end, GUESTMEM_E_INVALID_RANGE);
    CHECK(memory_is(mem, before)); /* not a byte of what did fit */
    plug(mem, end, PAGE);
    check_across(mem, end, GUESTMEM_OK);
    unplug(mem, end);
    CHECK_OK(guestmem_dma_fill(mem, LOW, 0x55, 4 * PAGE));
    check_across(mem, end, GUESTMEM_E_INVALID_RANGE);
    CHECK(memory_is(mem, before));
    /* a neighbour that must not be written */
    rom = new_region(end, PAGE, GUESTMEM_REGION_READ_ONLY);
    CHECK_OK(guestmem_add_region(mem, rom));
    CHECK_CODE(guestmem_dma_fill(mem, end - 8, 0, 16), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(guestmem_write_u8(mem, end, 0), GUESTMEM_E_READ_ONLY);
    unplug(mem, end);
    CHECK(memory_is(mem, before));
    plug(mem, end, PAGE);
    CHECK_OK(guestmem_write_u8(mem, end, 0));
    guestmem_region_unref(rom);
    free(before);
    guestmem_unref(mem);
}

/* --- views ---------------------------------------------------------------------------------- */

/* Answers inline, and so does the exported twin. */
static bool view_reads(const struct guestmem_view *view, uint64_t addr, uint64_t expected)
{
    uint64_t value = 77, twin = 77;
    bool done = guestmem_view_read_u64(view, addr, &value);
    CHECK(guestmem_view_read_u64_fn(view, addr, &twin) == done && twin == value);
    return done && value == expected;
}

static void views_tell_what_was_before(void)
{
    struct guestmem *mem = check_new(two_regions, 2), *other = check_new(two_regions, 2);
    const struct guestmem_view first = view_of(mem), others = view_of(other);
    struct guestmem_view second, third;
    struct guestmem_region *removed;
    uint64_t value = 77;
    CHECK_OK(guestmem_write_u64(mem, HIGH, 22));
    plug(mem, 0x80000, PAGE);
    CHECK_OK(guestmem_write_u64(mem, 0x80000, 88));
    CHECK(!guestmem_view_is_current(&first, mem) && !guestmem_view_is_current_fn(&first, mem));
    CHECK(guestmem_view_is_current(&others, other));
    second = view_of(mem);
    CHECK(guestmem_view_is_current(&second, mem) && guestmem_view_is_current_fn(&second, mem));
    CHECK(!guestmem_view_read_u64(&first, 0x80000, &value) && value == 0);
    CHECK(guestmem_view_ptr(&first, 0x80000, 1) == NULL);
    CHECK(view_reads(&second, 0x80000, 88));

    removed = take_out(mem, HIGH);
    third = view_of(mem);
    CHECK(!guestmem_view_is_current(&first, mem) && !guestmem_view_is_current(&second, mem));
    CHECK(guestmem_view_is_current(&third, mem));
    /* as long as the region is kept */
    CHECK(view_reads(&first, HIGH, 22) && view_reads(&second, HIGH, 22));
    CHECK(guestmem_view_write_u64(&first, HIGH, 23) && view_reads(&second, HIGH, 23));
    CHECK(guestmem_view_ptr(&third, HIGH, 8) == NULL && !view_reads(&third, HIGH, 23));
    CHECK(!guestmem_view_write_u64(&third, HIGH, 1));
    /* There again, but that is one more change. */
    CHECK_OK(guestmem_add_region(mem, removed));
    CHECK(!guestmem_view_is_current(&second, mem) && !guestmem_view_is_current(&third, mem));
    CHECK(view_reads(&second, HIGH, 23) && view_reads(&third, 0x80000, 88));
    guestmem_region_unref(removed);
    guestmem_unref(mem);
    guestmem_unref(other);
}

/* --- snapshots ------------------------------------------------------------------------------ */

static char *snapshot_of(const struct guestmem *mem, int fd)
{
    char *metadata = NULL;
    REQUIRE(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    CHECK_OK(guestmem_snapshot(mem, fd, NULL, 0, &metadata));
    REQUIRE(metadata != NULL);
    return metadata;
}

static void check_restore(struct guestmem *mem, int fd, const char *metadata, int expected)
{
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    CHECK_CODE(guestmem_restore(mem, metadata, strlen(metadata), fd, NULL, 0), expected);
}

static void snapshots_are_of_the_map_of_the_moment(void)
{
    struct guestmem *mem = check_new(two_regions, 2);
    int before_fd = new_memfd(0), after_fd = new_memfd(0);
    char *before, *after;
    uint8_t *content;
    fill_random(host_of(mem, LOW), 4 * 4096, 1);
    before = snapshot_of(mem, before_fd);
    plug(mem, LOW + 4 * PAGE, PAGE);
    fill_random(host_of(mem, LOW + 4 * PAGE), 4096, 2);
    after = snapshot_of(mem, after_fd);
    content = copy_of(mem);
    CHECK_EQ(lseek(after_fd, 0, SEEK_END), 5 * PAGE);
    check_restore(mem, before_fd, before, GUESTMEM_E_MISMATCH);
    CHECK(memory_is(mem, content));
    CHECK_OK(guestmem_dma_fill(mem, LOW, 9, 5 * PAGE));
    check_restore(mem, after_fd, after, GUESTMEM_OK);
    CHECK(memory_is(mem, content));
    free(content);

    unplug(mem, LOW + 4 * PAGE);
    content = copy_of(mem);
    check_restore(mem, after_fd, after, GUESTMEM_E_MISMATCH);
    CHECK(memory_is(mem, content));
    CHECK_OK(guestmem_dma_fill(mem, LOW, 9, 4 * PAGE));
    check_restore(mem, before_fd, before, GUESTMEM_OK);
    CHECK(memory_is(mem, content));
    /* into a new region at the old place */
    plug(mem, LOW + 4 * PAGE, PAGE);
    check_restore(mem, after_fd, after, GUESTMEM_OK);
    guestmem_free(before);
    before = snapshot_of(mem, before_fd);
    CHECK(strcmp(before, after) == 0);
    free(content);
    guestmem_free(before);
    guestmem_free(after);
    REQUIRE(close(before_fd) == 0 && close(after_fd) == 0);
    guestmem_unref(mem);
}

int main(void)
{
    overlaps_are_refused();
    the_same_region_twice();
    only_a_first_address_removes();
    wrong_handles();
    around_what_is_there();
    down_to_nothing_and_back();
    a_region_in_two_memories();
    devices_see_the_new_neighbour();
    views_tell_what_was_before();
    snapshots_are_of_the_map_of_the_moment();
    return check_result();
}
