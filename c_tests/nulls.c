/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Every pointer NULL, every enum out of range, every unknown flag. What a refused call leaves
 * behind: outputs zeroed, buffers and structs as they were. Wrong handles are in handles.c.
 * runs: asan valgrind qemu */
#include "support/check.h"

#include <errno.h>

#define POISON ((void *)(uintptr_t)0x5a5a)
#define BASE ((uint64_t)0x10000)

static struct guestmem *mem;

/* errno must come through every one of these calls too. */
#define REFUSED(call)                                                                             \
    do {                                                                                          \
        errno = 4711;                                                                             \
        CHECK_CODE(call, GUESTMEM_E_INVALID_ARGUMENT);                                            \
        CHECK_EQ(errno, 4711);                                                                    \
    } while (0)

static void creating(void)
{
    static const struct guestmem_range range = { BASE, 4096 };
    struct guestmem_region_options options;
    struct guestmem *out = POISON;
    struct guestmem_region *region = POISON;
    memset(&options, 0, sizeof options);
    options.size = 4096;
    REFUSED(guestmem_new(NULL, 1, &out));
    CHECK(out == NULL);
    REFUSED(guestmem_new(&range, 1, NULL));
    REFUSED(guestmem_new(NULL, 0, NULL));
    REFUSED(guestmem_new(NULL, 1, NULL));
    out = POISON;
    REFUSED(guestmem_new(NULL, SIZE_MAX, &out));
    CHECK(out == NULL);
    out = POISON;
    REFUSED(guestmem_new_with_options(NULL, 1, sizeof options, &out));
    CHECK(out == NULL);
    REFUSED(guestmem_new_with_options(&options, 1, sizeof options, NULL));
    REFUSED(guestmem_region_new(NULL, sizeof options, &region));
    CHECK(region == NULL);
    REFUSED(guestmem_region_new(&options, sizeof options, NULL));
    REQUIRE(guestmem_region_new(&options, sizeof options, &region) == GUESTMEM_OK);
    REFUSED(guestmem_from_regions(&region, 1, NULL));
    guestmem_region_unref(region);
    out = POISON;
    REFUSED(guestmem_from_regions(NULL, 1, &out));
    CHECK(out == NULL);
    out = POISON;
    REFUSED(guestmem_from_regions(NULL, SIZE_MAX, &out));
    CHECK(out == NULL);
    guestmem_region_unref(NULL);
    guestmem_unref(NULL);
    CHECK(guestmem_ref(NULL) == NULL);
    CHECK(guestmem_region_ref(NULL) == NULL);
}

static void asking(void)
{
    REFUSED(guestmem_last_error(NULL, sizeof(struct guestmem_error_info)));
    REFUSED(guestmem_region_info(mem, 0, NULL, sizeof(struct guestmem_region_info)));
    REFUSED(guestmem_region_info(mem, 0, NULL, 0));
    REFUSED(guestmem_region_info(mem, 99, NULL, 0));
    REFUSED(guestmem_checked_offset(mem, BASE, 0, NULL));
    REFUSED(guestmem_checked_offset(mem, UINT64_MAX, UINT64_MAX, NULL));
    REFUSED(guestmem_describe(mem, NULL));
    guestmem_free(NULL);
}

static void translating(void)
{
    static const struct guestmem_range range = { BASE, 8 };
    struct guestmem_slice slice;
    uint64_t number = 77;
    size_t count = 77;
    int fd = 77;
    REFUSED(guestmem_get_host_address(mem, BASE, NULL));
    REFUSED(guestmem_get_host_address(mem, 0, NULL));
    REFUSED(guestmem_get_host_address_range(mem, BASE, 8, NULL));
    REFUSED(guestmem_get_host_address_range_writable(mem, BASE, 8, NULL));
    REFUSED(guestmem_get_guest_address(mem, &fd, NULL));
    REFUSED(guestmem_get_guest_address(mem, NULL, &number));
    CHECK_EQ(number, 0);
    REFUSED(guestmem_shm_region(mem, BASE, NULL));
    REFUSED(guestmem_offset_region(mem, 0, NULL));
    REFUSED(guestmem_offset_from_base(mem, BASE, &fd, NULL));
    CHECK_EQ(fd, -1);
    REFUSED(guestmem_get_slice(mem, BASE, 8, NULL));
    REFUSED(guestmem_get_slice_writable(mem, BASE, 8, NULL));
    REFUSED(guestmem_get_slices(mem, BASE, 8, NULL, 1, &count));
    CHECK_EQ(count, 0);
    REFUSED(guestmem_get_slices(mem, BASE, 8, &slice, 1, NULL));
    count = 77;
    REFUSED(guestmem_translate(mem, NULL, 1, &slice, 1, &count));
    CHECK_EQ(count, 0);
    count = 77;
    REFUSED(guestmem_translate(mem, NULL, SIZE_MAX, &slice, 1, &count));
    CHECK_EQ(count, 0);
    count = 77;
    REFUSED(guestmem_translate(mem, &range, 1, NULL, 1, &count));
    CHECK_EQ(count, 0);
    REFUSED(guestmem_translate(mem, &range, 1, &slice, 1, NULL));
    count = 77;
    REFUSED(guestmem_get_slices_writable(mem, BASE, 8, NULL, 1, &count));
    CHECK_EQ(count, 0);
    REFUSED(guestmem_get_slices_writable(mem, BASE, 8, &slice, 1, NULL));
    REFUSED(guestmem_get_slices_writable(mem, 0, 8, &slice, 1, NULL));
}

static void translating_for(void)
{
    static const struct guestmem_access range = { BASE, 8, GUESTMEM_ACCESS_WRITE, 0 };
    struct guestmem_slice slice;
    size_t count = 77;
    REFUSED(guestmem_translate_for(mem, NULL, 1, &slice, 1, &count));
    CHECK_EQ(count, 0);
    count = 77;
    REFUSED(guestmem_translate_for(mem, NULL, SIZE_MAX, &slice, 1, &count));
    CHECK_EQ(count, 0);
    count = 77;
    REFUSED(guestmem_translate_for(mem, &range, 1, NULL, 1, &count));
    CHECK_EQ(count, 0);
    REFUSED(guestmem_translate_for(mem, &range, 1, &slice, 1, NULL));
    count = 77;
    CHECK_OK(guestmem_translate_for(mem, NULL, 0, NULL, 0, &count));
    CHECK_EQ(count, 0);
}

static void bulk_access(void)
{
    uint8_t buffer[8];
    size_t done = 77;
    REFUSED(guestmem_read(mem, BASE, NULL, 8, &done));
    CHECK_EQ(done, 0);
    done = 77;
    REFUSED(guestmem_write(mem, BASE, NULL, 8, &done));
    CHECK_EQ(done, 0);
    REFUSED(guestmem_read(mem, BASE, buffer, 8, NULL));
    REFUSED(guestmem_write(mem, BASE, buffer, 8, NULL));
    REFUSED(guestmem_read_exact(mem, BASE, NULL, 8));
    REFUSED(guestmem_write_all(mem, BASE, NULL, 8));
    REFUSED(guestmem_dma_read(mem, BASE, NULL, 8));
    REFUSED(guestmem_dma_write(mem, BASE, NULL, 8));
    REFUSED(guestmem_read_obj_volatile(mem, BASE, NULL, 8));
    REFUSED(guestmem_write_obj_volatile(mem, BASE, NULL, 8));
    /* The pointer comes before the address in what is reported. */
    REFUSED(guestmem_read_exact(mem, 0, NULL, SIZE_MAX));
    REFUSED(guestmem_dma_write(mem, UINT64_MAX, NULL, SIZE_MAX));

    CHECK_OK(guestmem_read(mem, BASE, NULL, 0, &done));
    CHECK_OK(guestmem_write(mem, BASE, NULL, 0, &done));
    CHECK_OK(guestmem_read_exact(mem, BASE, NULL, 0));
    CHECK_OK(guestmem_write_all(mem, BASE, NULL, 0));
    CHECK_OK(guestmem_dma_read(mem, BASE, NULL, 0));
    CHECK_OK(guestmem_dma_write(mem, BASE, NULL, 0));
    CHECK_OK(guestmem_read_obj_volatile(mem, BASE, NULL, 0));
    CHECK_OK(guestmem_write_obj_volatile(mem, BASE, NULL, 0));
}

static void slices(void)
{
    uint8_t bytes[8] = { 0 };
    struct guestmem_slice slice, none, out;
    slice.addr = bytes;
    slice.len = sizeof bytes;
    none.addr = NULL;
    none.len = 0;
    REFUSED(guestmem_slice_sub(slice, 0, 8, NULL));
    REFUSED(guestmem_slice_read(slice, 0, NULL, 8));
    REFUSED(guestmem_slice_write(slice, 0, NULL, 8));
    CHECK_OK(guestmem_slice_read(slice, 8, NULL, 0));
    CHECK_OK(guestmem_slice_write(slice, 8, NULL, 0));
    CHECK_OK(guestmem_slice_sub(none, 0, 0, &out));
    CHECK_OK(guestmem_slice_read(none, 0, NULL, 0));
    CHECK_OK(guestmem_slice_write(none, 0, NULL, 0));
    guestmem_slice_fill(none, 1);
    CHECK_EQ(guestmem_slice_copy(none, slice), 0);
    CHECK_EQ(guestmem_slice_copy(slice, none), 0);
    CHECK(guestmem_slice_is_zero(none));
}

/* memory_order's numbers; 1 (consume) is not offered. */
static bool load_order(uint32_t order)
{
    return order == GUESTMEM_RELAXED || order == GUESTMEM_ACQUIRE || order == GUESTMEM_SEQ_CST;
}

static bool store_order(uint32_t order)
{
    return order == GUESTMEM_RELAXED || order == GUESTMEM_RELEASE || order == GUESTMEM_SEQ_CST;
}

static bool any_order(uint32_t order)
{
    return order <= GUESTMEM_SEQ_CST && order != 1;
}

static const uint32_t orders[] = { 0, 1, 2, 3, 4, 5, 6, 7, 100, 0x80000000, UINT32_MAX,
                                   0x100, 0x10000 };

#define ATOMICS(W)                                                                                \
    static void atomics_u##W(void)                                                                \
    {                                                                                             \
        uint##W##_t out = 77, expected = 0;                                                       \
        bool exchanged = true;                                                                    \
        REFUSED(guestmem_read_u##W(mem, BASE, NULL));                                             \
        REFUSED(guestmem_read_volatile_u##W(mem, BASE, NULL));                                    \
        REFUSED(guestmem_load_u##W(mem, BASE, GUESTMEM_ACQUIRE, NULL));                           \
        REFUSED(guestmem_load_u##W(mem, 1, 99, NULL));                                            \
        REFUSED(guestmem_compare_exchange_u##W(mem, BASE, NULL, 1, GUESTMEM_SEQ_CST,              \
                                               &exchanged));                                      \
        CHECK(!exchanged);                                                                        \
        CHECK_OK(guestmem_compare_exchange_u##W(mem, BASE, &expected, 0, GUESTMEM_SEQ_CST,        \
                                                NULL));                                           \
        for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {                             \
            uint32_t order = orders[i];                                                           \
            out = 77;                                                                             \
            CHECK_CODE(guestmem_load_u##W(mem, BASE, order, &out),                                \
                       load_order(order) ? GUESTMEM_OK : GUESTMEM_E_INVALID_ARGUMENT);            \
            CHECK_EQ(out, 0);                                                                     \
            CHECK_CODE(guestmem_store_u##W(mem, BASE, store_order(order) ? 0 : 5, order),         \
                       store_order(order) ? GUESTMEM_OK : GUESTMEM_E_INVALID_ARGUMENT);           \
            exchanged = !any_order(order);                                                        \
            CHECK_CODE(guestmem_compare_exchange_u##W(mem, BASE, &expected,                       \
                                                      any_order(order) ? 0 : 5, order,            \
                                                      &exchanged),                                \
                       any_order(order) ? GUESTMEM_OK : GUESTMEM_E_INVALID_ARGUMENT);             \
            CHECK(exchanged == any_order(order));                                                 \
            CHECK_EQ(expected, 0);                                                                \
            /* The order comes before the address in what is reported. */                         \
            if (!load_order(order)) REFUSED(guestmem_load_u##W(mem, 1, order, &out));             \
            if (!store_order(order)) REFUSED(guestmem_store_u##W(mem, 1, 0, order));              \
        }                                                                                         \
        CHECK_OK(guestmem_read_u##W(mem, BASE, &out));                                            \
        CHECK_EQ(out, 0);                                                                         \
    }

ATOMICS(8)
ATOMICS(16)
ATOMICS(32)
ATOMICS(64)

/* No out, no answer, wherever the address is. The inline functions need a view; the exported ones
 * refuse none. */
#define VIEWS(W)                                                                                  \
    static void views_u##W(const struct guestmem_view *view, struct guestmem_slice slice)         \
    {                                                                                             \
        uint##W##_t out = 77;                                                                     \
        for (uint64_t addr = BASE; addr <= BASE + 4096; addr += 4096) {                           \
            CHECK(!guestmem_view_read_u##W(view, addr, NULL));                                    \
            CHECK(!guestmem_view_read_u##W##_fn(view, addr, NULL));                               \
            CHECK(!guestmem_view_load_u##W(view, addr, GUESTMEM_ACQUIRE, NULL));                  \
            CHECK(!guestmem_view_load_u##W##_fn(view, addr, GUESTMEM_ACQUIRE, NULL));             \
            CHECK(!guestmem_slice_load_u##W(slice, addr - BASE, GUESTMEM_ACQUIRE, NULL));         \
            CHECK(!guestmem_slice_load_u##W##_fn(slice, addr - BASE, GUESTMEM_ACQUIRE, NULL));    \
        }                                                                                         \
        CHECK(!guestmem_view_read_u##W##_fn(NULL, BASE, &out) && out == 0);                       \
        out = 77;                                                                                 \
        CHECK(!guestmem_view_load_u##W##_fn(NULL, BASE, GUESTMEM_ACQUIRE, &out) && out == 0);     \
        CHECK(!guestmem_view_read_u##W##_fn(NULL, BASE, NULL));                                   \
        CHECK(!guestmem_view_write_u##W##_fn(NULL, BASE, 1));                                     \
        CHECK(!guestmem_view_store_u##W##_fn(NULL, BASE, 1, GUESTMEM_RELEASE));                   \
    }

VIEWS(8)
VIEWS(16)
VIEWS(32)
VIEWS(64)

static void views(void)
{
    struct guestmem_view view;
    struct guestmem_slice slice;
    REFUSED(guestmem_get_view(mem, NULL, sizeof view));
    REFUSED(guestmem_get_view(mem, &view, 0));
    CHECK_OK(guestmem_get_view(mem, &view, sizeof view));
    CHECK_OK(guestmem_get_slice(mem, BASE, 4096, &slice));
    CHECK(guestmem_view_ptr_fn(NULL, BASE, 1) == NULL);
    CHECK(guestmem_view_ptr_writable_fn(NULL, BASE, 1) == NULL);
    CHECK(!guestmem_view_is_current_fn(NULL, mem));
    CHECK(!guestmem_view_is_current_fn(&view, NULL));
    CHECK(!guestmem_view_is_current(&view, NULL));
    views_u8(&view, slice);
    views_u16(&view, slice);
    views_u32(&view, slice);
    views_u64(&view, slice);
}

static void policies(void)
{
    for (unsigned bit = 5; bit < 64; bit++) {
        REFUSED(guestmem_set_memory_policy(mem, (uint64_t)1 << bit));
        REFUSED(guestmem_set_memory_policy(mem, (uint64_t)1 << bit | GUESTMEM_POLICY_DONTFORK));
    }
    CHECK_EQ(guestmem_memory_policy(mem), 0);
    CHECK_OK(guestmem_set_memory_policy(mem, 0));
    CHECK_EQ(guestmem_memory_policy(mem), 0);
}

static void changing(void)
{
    REFUSED(guestmem_remove_region(mem, BASE, NULL));
    REFUSED(guestmem_remove_region(mem, BASE + 1, NULL));
    CHECK_CODE(guestmem_add_region(mem, NULL), GUESTMEM_E_BAD_HANDLE);
    CHECK_EQ(guestmem_num_regions(mem), 1);
    CHECK_EQ(guestmem_generation(mem), 0);
}

static unsigned callback_calls;

static int64_t take(void *user, const void *bytes, size_t len)
{
    (void)user;
    (void)bytes;
    callback_calls++;
    return (int64_t)len;
}

static int64_t give_nothing(void *user, void *bytes, size_t len)
{
    (void)user;
    (void)bytes;
    (void)len;
    callback_calls++;
    return 0;
}

static void snapshots(void)
{
    struct guestmem_snapshot_options options;
    struct guestmem_restore_options restoring;
    char *text = POISON;
    const size_t size = sizeof options;
    memset(&options, 0, sizeof options);
    memset(&restoring, 0, sizeof restoring);

    REFUSED(guestmem_snapshot(mem, -1, NULL, 0, NULL));
    REFUSED(guestmem_snapshot_write(mem, take, NULL, NULL, 0, NULL));
    REFUSED(guestmem_snapshot_write(mem, NULL, NULL, NULL, 0, &text));
    CHECK(text == NULL);
    REFUSED(guestmem_restore(mem, NULL, 10, -1, NULL, 0));
    REFUSED(guestmem_restore_read(mem, NULL, 10, give_nothing, NULL, NULL, 0));
    /* There is no empty metadata that could be left out. */
    REFUSED(guestmem_restore(mem, NULL, 0, -1, NULL, 0));
    REFUSED(guestmem_restore_read(mem, NULL, 0, give_nothing, NULL, NULL, 0));
    CHECK_CODE(guestmem_restore(mem, "", 0, -1, NULL, 0), GUESTMEM_E_METADATA);
    CHECK_CODE(guestmem_restore_read(mem, "", 0, give_nothing, NULL, NULL, 0), GUESTMEM_E_METADATA);
    REFUSED(guestmem_restore_read(mem, "{}", 2, NULL, NULL, NULL, 0));
    for (unsigned bit = 4; bit < 64; bit++) {
        options.flags = (uint64_t)1 << bit;
        text = POISON;
        REFUSED(guestmem_snapshot_write(mem, take, NULL, &options, size, &text));
        CHECK(text == NULL);
        text = POISON;
        REFUSED(guestmem_snapshot(mem, -1, &options, size, &text));
        CHECK(text == NULL);
    }
    options.flags = 0;
    for (size_t i = 0; i < 4; i++) {
        static const uint32_t layouts[] = { 2, 3, 0x10000, UINT32_MAX };
        options.layout = layouts[i];
        REFUSED(guestmem_snapshot_write(mem, take, NULL, &options, size, &text));
        REFUSED(guestmem_snapshot(mem, -1, &options, size, &text));
    }
    for (unsigned bit = 1; bit < 64; bit++) {
        restoring.flags = (uint64_t)1 << bit;
        REFUSED(guestmem_restore(mem, "{}", 2, -1, &restoring, sizeof restoring));
        REFUSED(guestmem_restore_read(mem, "{}", 2, give_nothing, NULL, &restoring,
                                      sizeof restoring));
    }
    restoring.flags = 0;
    restoring.reserved = 1;
    REFUSED(guestmem_restore(mem, "{}", 2, -1, &restoring, sizeof restoring));
    REFUSED(guestmem_restore_read(mem, "{}", 2, give_nothing, NULL, &restoring, sizeof restoring));
    CHECK_EQ(callback_calls, 0);
}

int main(void)
{
    static const struct guestmem_range range = { BASE, 4096 };
    uint8_t bytes[4096];
    mem = check_new(&range, 1);
    creating();
    asking();
    translating();
    translating_for();
    bulk_access();
    slices();
    atomics_u8();
    atomics_u16();
    atomics_u32();
    atomics_u64();
    views();
    policies();
    changing();
    snapshots();
    CHECK_OK(guestmem_read_exact(mem, BASE, bytes, sizeof bytes));
    for (size_t i = 0; i < sizeof bytes; i++) CHECK_EQ(bytes[i], 0);
    guestmem_unref(mem);
    return check_result();
}
