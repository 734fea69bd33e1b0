/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Every call with a handle that is none: NULL, released, of the other kind, foreign memory. Outputs
 * are zeroed, buffers and structs stay as they were.
 * runs: asan valgrind qemu musl */
#include "support/guest.h"

#define POISON ((void *)(uintptr_t)0x5a5a)

#define REFUSED(call)                                                                             \
    do {                                                                                          \
        errno = 4711;                                                                             \
        CHECK_CODE(call, GUESTMEM_E_BAD_HANDLE);                                                  \
        CHECK_EQ(errno, 4711);                                                                    \
    } while (0)

static void asking(const struct guestmem *bad)
{
    struct guestmem_region_info info, before;
    char *text = POISON;
    uint64_t number = 77;
    memset(&info, 0xee, sizeof info);
    before = info;
    CHECK_EQ(guestmem_end_addr(bad), 0);
    CHECK_EQ(guestmem_memory_size(bad), 0);
    CHECK_EQ(guestmem_num_regions(bad), 0);
    CHECK_EQ(guestmem_memory_policy(bad), 0);
    CHECK_EQ(guestmem_generation(bad), 0);
    CHECK(!guestmem_address_in_range(bad, 0));
    CHECK(!guestmem_range_overlap(bad, 0, UINT64_MAX));
    CHECK(!guestmem_is_valid_range(bad, 0, 1));
    REFUSED(guestmem_region_info(bad, 0, &info, sizeof info));
    REFUSED(guestmem_find_region(bad, 0, &info, sizeof info, &number));
    CHECK(memcmp(&info, &before, sizeof info) == 0);
    CHECK_EQ(number, 0);
    REFUSED(guestmem_find_region(bad, 0, NULL, 0, NULL));
    number = 77;
    REFUSED(guestmem_checked_offset(bad, 0, 0, &number));
    CHECK_EQ(number, 0);
    REFUSED(guestmem_describe(bad, &text));
    CHECK(text == NULL);
    /* The handle comes before the pointers in what is reported. */
    REFUSED(guestmem_region_info(bad, 0, NULL, 0));
    REFUSED(guestmem_checked_offset(bad, 0, 0, NULL));
    REFUSED(guestmem_describe(bad, NULL));
}

static void translating(const struct guestmem *bad)
{
    static const struct guestmem_range range = { 0, 8 };
    static const struct guestmem_access access = { 0, 8, 0, 0 };
    struct guestmem_slice slice = { NULL, 0 };
    void *out = POISON;
    uint64_t number = 77;
    size_t count = 77;
    int fd = 77;
    slice.addr = POISON;
    slice.len = 77;
    REFUSED(guestmem_get_host_address(bad, 0, &out));
    CHECK(out == NULL);
    out = POISON;
    REFUSED(guestmem_get_host_address_range(bad, 0, 1, &out));
    CHECK(out == NULL);
    out = POISON;
    REFUSED(guestmem_get_host_address_range_writable(bad, 0, 1, &out));
    CHECK(out == NULL);
    REFUSED(guestmem_get_guest_address(bad, &fd, &number));
    CHECK_EQ(number, 0);
    REFUSED(guestmem_shm_region(bad, 0, &fd));
    CHECK_EQ(fd, -1);
    fd = 77;
    REFUSED(guestmem_offset_region(bad, 0, &fd));
    CHECK_EQ(fd, -1);
    fd = 77;
    number = 77;
    REFUSED(guestmem_offset_from_base(bad, 0, &fd, &number));
    CHECK_EQ(fd, -1);
    CHECK_EQ(number, 0);
    REFUSED(guestmem_get_slices(bad, 0, 8, &slice, 1, &count));
    CHECK(slice.addr == POISON && slice.len == 77);
    CHECK_EQ(count, 0);
    count = 77;
    REFUSED(guestmem_translate(bad, &range, 1, &slice, 1, &count));
    CHECK(slice.addr == POISON && slice.len == 77);
    CHECK_EQ(count, 0);
    REFUSED(guestmem_translate(bad, NULL, 0, NULL, 0, &count));
    count = 77;
    REFUSED(guestmem_get_slices_writable(bad, 0, 8, &slice, 1, &count));
    CHECK(slice.addr == POISON && slice.len == 77);
    CHECK_EQ(count, 0);
    count = 77;
    /* The handle comes before the access, which is none, in what is reported. */
    REFUSED(guestmem_translate_for(bad, &access, 1, &slice, 1, &count));
    CHECK(slice.addr == POISON && slice.len == 77);
    CHECK_EQ(count, 0);
    REFUSED(guestmem_translate_for(bad, NULL, 0, NULL, 0, &count));
    REFUSED(guestmem_get_slice(bad, 0, 8, &slice));
    CHECK(slice.addr == NULL && slice.len == 0);
    slice.addr = POISON;
    slice.len = 77;
    REFUSED(guestmem_get_slice_writable(bad, 0, 8, &slice));
    CHECK(slice.addr == NULL && slice.len == 0);
}

static void bulk_access(const struct guestmem *bad)
{
    uint8_t buffer[8], before[8];
    size_t done = 77;
    memset(buffer, 0xee, sizeof buffer);
    memset(before, 0xee, sizeof before);
    REFUSED(guestmem_read(bad, 0, buffer, 8, &done));
    CHECK_EQ(done, 0);
    done = 77;
    REFUSED(guestmem_write(bad, 0, buffer, 8, &done));
    CHECK_EQ(done, 0);
    REFUSED(guestmem_read_exact(bad, 0, buffer, 8));
    REFUSED(guestmem_write_all(bad, 0, buffer, 8));
    REFUSED(guestmem_dma_read(bad, 0, buffer, 8));
    REFUSED(guestmem_dma_write(bad, 0, buffer, 8));
    REFUSED(guestmem_dma_copy(bad, 0, 8, 8));
    REFUSED(guestmem_dma_fill(bad, 0, 8, 8));
    REFUSED(guestmem_read_obj_volatile(bad, 0, buffer, 8));
    REFUSED(guestmem_write_obj_volatile(bad, 0, buffer, 8));
    REFUSED(guestmem_read_exact(bad, 0, NULL, 0));
    REFUSED(guestmem_dma_fill(bad, 0, 8, 0));
    REFUSED(guestmem_read_to_memory(bad, 0, -1, 8));
    REFUSED(guestmem_write_from_memory(bad, 0, -1, 8));
    REFUSED(guestmem_read_to_memory_at(bad, 0, -1, 0, 8));
    REFUSED(guestmem_write_from_memory_at(bad, 0, -1, 0, 8));
    CHECK(memcmp(buffer, before, sizeof buffer) == 0);
}

#define WORDS(W)                                                                                  \
    static void words_u##W(const struct guestmem *bad)                                            \
    {                                                                                             \
        uint##W##_t out = 77, expected = 77;                                                      \
        bool exchanged = true;                                                                    \
        REFUSED(guestmem_read_u##W(bad, 0, &out));                                                \
        CHECK_EQ(out, 0);                                                                         \
        out = 77;                                                                                 \
        REFUSED(guestmem_read_volatile_u##W(bad, 0, &out));                                       \
        CHECK_EQ(out, 0);                                                                         \
        out = 77;                                                                                 \
        REFUSED(guestmem_load_u##W(bad, 0, GUESTMEM_ACQUIRE, &out));                              \
        CHECK_EQ(out, 0);                                                                         \
        REFUSED(guestmem_load_u##W(bad, 0, 99, &out));                                            \
        REFUSED(guestmem_write_u##W(bad, 0, 1));                                                  \
        REFUSED(guestmem_write_volatile_u##W(bad, 0, 1));                                         \
        REFUSED(guestmem_store_u##W(bad, 0, 1, GUESTMEM_RELEASE));                                \
        REFUSED(guestmem_compare_exchange_u##W(bad, 0, &expected, 1, GUESTMEM_SEQ_CST,            \
                                               &exchanged));                                      \
        CHECK_EQ(expected, 77);                                                                   \
        CHECK(!exchanged);                                                                        \
        REFUSED(guestmem_compare_exchange_u##W(bad, 0, NULL, 1, 99, NULL));                       \
    }

WORDS(8)
WORDS(16)
WORDS(32)
WORDS(64)

static void views(const struct guestmem *bad)
{
    struct guestmem_view view, zeroed;
    memset(&view, 0xee, sizeof view);
    memset(&zeroed, 0, sizeof zeroed);
    REFUSED(guestmem_get_view(bad, &view, sizeof view));
    CHECK(memcmp(&view, &zeroed, sizeof view) == 0);
    REFUSED(guestmem_get_view(bad, NULL, 0));
    CHECK(!guestmem_view_is_current(&view, bad));
    CHECK(!guestmem_view_is_current_fn(&view, bad));
}

static int64_t take(void *user, const void *bytes, size_t len)
{
    (void)user;
    (void)bytes;
    (void)len;
    check_fail(__FILE__, __LINE__, "no callback with a bad handle");
    return (int64_t)len;
}

static int64_t give(void *user, void *bytes, size_t len)
{
    return take(user, bytes, len);
}

static void managing(struct guestmem *bad)
{
    char *text = POISON;
    REFUSED(guestmem_remove_range(bad, 0, 4096));
    REFUSED(guestmem_set_memory_policy(bad, 0));
    REFUSED(guestmem_set_memory_policy(bad, UINT64_MAX));
    REFUSED(guestmem_snapshot(bad, -1, NULL, 0, &text));
    CHECK(text == NULL);
    text = POISON;
    REFUSED(guestmem_snapshot_write(bad, take, NULL, NULL, 0, &text));
    CHECK(text == NULL);
    REFUSED(guestmem_restore(bad, "{}", 2, -1, NULL, 0));
    REFUSED(guestmem_restore_read(bad, "{}", 2, give, NULL, NULL, 0));
    REFUSED(guestmem_save(bad, "/nowhere/image", NULL, 0));
    REFUSED(guestmem_restore_file(bad, "/nowhere/image", NULL, 0));
    CHECK(guestmem_ref(bad) == NULL);
    guestmem_unref(bad);
}

static void changing(struct guestmem *bad, struct guestmem_region *good)
{
    struct guestmem_region *removed = POISON;
    REFUSED(guestmem_add_region(bad, good));
    REFUSED(guestmem_add_region(bad, NULL));
    REFUSED(guestmem_remove_region(bad, 0, &removed));
    CHECK(removed == NULL);
    REFUSED(guestmem_remove_region(bad, 0, NULL));
}

static void every_call(struct guestmem *bad, struct guestmem_region *good)
{
    asking(bad);
    translating(bad);
    bulk_access(bad);
    words_u8(bad);
    words_u16(bad);
    words_u32(bad);
    words_u64(bad);
    views(bad);
    managing(bad);
    changing(bad, good);
}

static void every_region_call(struct guestmem_region *bad, struct guestmem_region *good)
{
    struct guestmem_region *regions[2];
    struct guestmem *out = POISON, *empty = check_new(NULL, 0);
    REFUSED(guestmem_add_region(empty, bad));
    CHECK_EQ(guestmem_generation(empty), 0);
    CHECK_EQ(guestmem_num_regions(empty), 0);
    guestmem_unref(empty);
    regions[0] = good;
    regions[1] = bad;
    REFUSED(guestmem_from_regions(regions, 2, &out));
    CHECK(out == NULL);
    regions[0] = bad;
    regions[1] = good;
    out = POISON;
    REFUSED(guestmem_from_regions(regions, 2, &out));
    CHECK(out == NULL);
    CHECK(guestmem_region_ref(bad) == NULL);
    guestmem_region_unref(bad);
}

/* Pointers to readable memory of random bytes, aligned or not, and to the last that hold a tag. */
static void anywhere(struct guestmem_region *good)
{
    const size_t size = 4 * (size_t)PAGE;
    uint8_t *bytes = new_host_memory(size + PAGE);
    uint64_t state = 11;
    fill_random(bytes, size, 5);
    REQUIRE(mprotect(bytes + size, (size_t)PAGE, PROT_NONE) == 0);
    for (size_t i = 0; i < (fast() ? 20 : 1000); i++) {
        uint8_t *bad = bytes + random_number(&state) % (size - 8);
        if (i % 2 == 0) bad -= (uintptr_t)bad % 8;
        every_call((struct guestmem *)(void *)bad, good);
        every_region_call((struct guestmem_region *)(void *)bad, good);
    }
    for (size_t left = 8; left <= 16; left++) {
        every_call((struct guestmem *)(void *)(bytes + size - left), good);
        every_region_call((struct guestmem_region *)(void *)(bytes + size - left), good);
    }
    REQUIRE(munmap(bytes, size + (size_t)PAGE) == 0);
}

/* A released handle is told while 64 more are made, however many are alive. */
static void at_rest(void)
{
    enum { MOST_ALIVE = 130, RESTS = 64 };
    struct guestmem *alive[MOST_ALIVE], *later[RESTS], *released;
    for (size_t count = 0; count < MOST_ALIVE; count++) {
        for (size_t i = 0; i < count; i++) alive[i] = check_new(NULL, 0);
        released = check_new(NULL, 0);
        guestmem_unref(released);
        for (size_t i = 0; i < RESTS; i++) {
            later[i] = check_new(NULL, 0);
            REFUSED(guestmem_dma_fill(released, 0, 0, 0));
            guestmem_unref(released);
        }
        for (size_t i = 0; i < RESTS; i++) guestmem_unref(later[i]);
        for (size_t i = 0; i < count; i++) guestmem_unref(alive[i]);
    }
}

/* More references to a region given back than the program had: the memory's own is not among them. */
static void given_back_too_often(void)
{
    struct guestmem_region_options options;
    struct guestmem_region *region, *removed = NULL;
    struct guestmem *mem;
    uint64_t value = 0;
    memset(&options, 0, sizeof options);
    options.size = PAGE;
    REQUIRE(guestmem_region_new(&options, sizeof options, &region) == GUESTMEM_OK);
    REQUIRE(guestmem_from_regions(&region, 1, &mem) == GUESTMEM_OK);
    for (size_t i = 0; i < 3; i++) {
        guestmem_region_unref(region);
        CHECK_CODE(guestmem_write_u64(mem, i, i), GUESTMEM_OK);
    }
    CHECK_EQ(last_error().code, GUESTMEM_E_BAD_HANDLE);
    CHECK_OK(guestmem_remove_region(mem, 0, &removed));
    CHECK(removed == region);
    CHECK_OK(guestmem_add_region(mem, removed));
    guestmem_region_unref(removed);
    guestmem_region_unref(removed);
    CHECK_OK(guestmem_read_u64(mem, 2, &value));
    CHECK_EQ(value, 2);
    guestmem_unref(mem);
    CHECK(guestmem_region_ref(removed) == NULL);
}

int main(void)
{
    static const struct guestmem_range range = { 0, 4096 };
    struct guestmem_region_options options;
    struct guestmem_region *region, *released_region;
    struct guestmem *mem, *released;
    uint64_t zeros[64], ones[64], value = 0;
    static char text[512] = "no handle, only some text that goes on for a while";

    memset(zeros, 0, sizeof zeros);
    memset(ones, 0xff, sizeof ones);
    memset(&options, 0, sizeof options);
    options.size = 4096;
    REQUIRE(guestmem_region_new(&options, sizeof options, &region) == GUESTMEM_OK);
    REQUIRE(guestmem_region_new(&options, sizeof options, &released_region) == GUESTMEM_OK);
    mem = check_new(&range, 1);
    released = check_new(&range, 1);
    guestmem_unref(released);
    guestmem_region_unref(released_region);

    every_call(NULL, region);
    every_call((struct guestmem *)(void *)region, region);
    every_call(released, region);
    every_call((struct guestmem *)(void *)zeros, region);
    every_call((struct guestmem *)(void *)ones, region);
    every_call((struct guestmem *)(void *)text, region);
    every_call((struct guestmem *)(void *)((char *)ones + 1), region);
    every_call((struct guestmem *)(void *)((char *)mem + 8), region);

    every_region_call(NULL, region);
    every_region_call((struct guestmem_region *)(void *)mem, region);
    every_region_call(released_region, region);
    every_region_call((struct guestmem_region *)(void *)zeros, region);
    every_region_call((struct guestmem_region *)(void *)ones, region);
    every_region_call((struct guestmem_region *)(void *)text, region);
    every_region_call((struct guestmem_region *)(void *)(text + 1), region);

    every_region_call((struct guestmem_region *)(void *)((char *)region + 8), region);
    anywhere(region);
    at_rest();
    given_back_too_often();

    /* None of that has harmed what is alive. */
    CHECK_OK(guestmem_write_u64(mem, 8, 42));
    CHECK_OK(guestmem_read_u64(mem, 8, &value));
    CHECK_EQ(value, 42);
    guestmem_unref(mem);
    REQUIRE(guestmem_from_regions(&region, 1, &mem) == GUESTMEM_OK);
    guestmem_unref(mem);
    guestmem_region_unref(region);
    return check_result();
}
