/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Lessons about addresses and values; lessons.h says where the others are.
 * runs: asan valgrind qemu musl */
#include "lessons.h"
#include <pthread.h>

/* Firecracker and Cloud Hypervisor, CVE-2019-18960; DPDK, CVE-2018-1059: the first byte of a guest
 * buffer was translated, its length not checked. */
static void test_cve_2019_18960_length_is_checked(void)
{
    struct guestmem *mem = check_new(two, 2);
    int64_t at, len;
    for (at = -2; at <= 2; at++)
        for (len = 1; len <= 4; len++) {
            const uint64_t addr = 0x12000 + (uint64_t)at;
            const int code = at >= 0        ? GUESTMEM_E_INVALID_ADDRESS
                             : at + len > 0 ? GUESTMEM_E_INVALID_RANGE
                                            : GUESTMEM_OK;
            const struct guestmem_range range = {addr, (uint64_t)len};
            struct guestmem_slice slice = {mem, 9};
            void *host = mem;
            size_t count = 9;
            CHECK_CODE(guestmem_get_host_address_range(mem, addr, (uint64_t)len, &host), code);
            CHECK((host != NULL) == (code == GUESTMEM_OK));
            CHECK_CODE(guestmem_get_slice(mem, addr, (size_t)len, &slice), code);
            CHECK((slice.addr != NULL) == (code == GUESTMEM_OK));
            CHECK_CODE(guestmem_get_slices(mem, addr, (uint64_t)len, &slice, 1, &count), code);
            CHECK_CODE(guestmem_translate(mem, &range, 1, &slice, 1, &count), code);
        }
    guestmem_unref(mem);
}

/* DPDK, CVE-2020-10722: offset plus size wrapped. */
static void test_cve_2020_10722_sums_do_not_wrap(void)
{
    struct guestmem *mem = check_new(two, 2);
    struct guestmem_slice slice;
    const struct guestmem_range range = {0x11000, UINT64_MAX - 0xfff};
    uint64_t sum = 1;
    uint8_t byte = 7;
    size_t count;
    CHECK_CODE(guestmem_get_slice(mem, 0x11000, SIZE_MAX, &slice), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_get_slice(mem, 0x11000, SIZE_MAX - 0x10fff, &slice),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_translate(mem, &range, 1, &slice, 1, &count), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_dma_read(mem, 0x11000, &byte, SIZE_MAX - 0x10000),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_checked_offset(mem, 0x11000, UINT64_MAX - 0xfff, &sum),
               GUESTMEM_E_INVALID_RANGE);
    CHECK(sum == 0 && byte == 7);
    CHECK(!guestmem_is_valid_range(mem, 0x11000, UINT64_MAX - 0xfff));
    CHECK_OK(guestmem_get_slice(mem, 0x11000, 16, &slice));
    CHECK_CODE(guestmem_slice_read(slice, SIZE_MAX, &byte, 2), GUESTMEM_E_INVALID_RANGE);
    guestmem_unref(mem);
}

/* DPDK, CVE-2020-10723: a 32 bit value was cut to 16 bits. */
static void test_cve_2020_10723_values_are_not_cut(void)
{
    static const uint64_t high[] = {UINT64_C(1) << 16, UINT64_C(1) << 31, UINT64_C(1) << 32,
                                    UINT64_C(1) << 48, UINT64_C(1) << 63};
    struct guestmem *mem = check_new(two, 2);
    struct guestmem_slice slice;
    uint8_t bytes[16];
    int zero = open("/dev/zero", O_RDONLY);
    size_t i, count;
    for (i = 0; i < 5; i++) {
        const uint64_t len = high[i] + 16, addr = high[i] * 2 + 0x10000;
        CHECK_CODE(guestmem_get_slices(mem, 0x10000, len, &slice, 1, &count),
                   GUESTMEM_E_INVALID_RANGE);
        CHECK_CODE(guestmem_read_exact(mem, 0x10000, bytes, (size_t)len), GUESTMEM_E_SHORT_READ);
        CHECK_CODE(guestmem_dma_fill(mem, 0x10000, 1, len), GUESTMEM_E_INVALID_RANGE);
        CHECK_CODE(guestmem_read_to_memory(mem, 0x10000, zero, len), GUESTMEM_E_INVALID_RANGE);
        CHECK_CODE(guestmem_remove_range(mem, 0x10000, high[i] + PAGE), GUESTMEM_E_INVALID_RANGE);
        if (addr != 0x10000)
            CHECK_CODE(guestmem_read_exact(mem, addr, bytes, 16), GUESTMEM_E_INVALID_ADDRESS);
        CHECK_OK(guestmem_get_slice(mem, 0x10000, 16, &slice));
        CHECK_CODE(guestmem_slice_read(slice, 0, bytes, (size_t)len), GUESTMEM_E_INVALID_RANGE);
        CHECK_CODE(guestmem_slice_read(slice, (size_t)high[i], bytes, 1), GUESTMEM_E_INVALID_RANGE);
    }
    REQUIRE(close(zero) == 0);
    guestmem_unref(mem);
}

/* vm-memory, CVE-2023-41051: a slice shorter than was asked for was trusted. */
static void test_cve_2023_41051_slices_have_the_asked_length(void)
{
    struct guestmem *mem = check_new(touching, 2);
    struct guestmem_slice slices[2];
    uint64_t len;
    size_t count;
    for (len = 1; len <= 0x4000; len += 0x3ff) {
        CHECK_OK(guestmem_get_slices(mem, 0x10000, len, slices, 2, &count));
        CHECK_EQ(slices[0].len + (count == 2 ? slices[1].len : 0), len);
        CHECK_CODE(guestmem_get_slice(mem, 0x10000, (size_t)len, slices),
                   len <= 0x2000 ? GUESTMEM_OK : GUESTMEM_E_INVALID_RANGE);
        CHECK_EQ(slices[0].len, len <= 0x2000 ? len : 0);
    }
    guestmem_unref(mem);
}

/* ---- memory that changes under us ---- */

static uint16_t *ring_index;
static int stop;

static void *flip_index(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        __atomic_store_n(ring_index, (uint16_t)0x00ff, __ATOMIC_RELAXED);
        __atomic_store_n(ring_index, (uint16_t)0xff00, __ATOMIC_RELAXED);
    }
    return unused;
}

/* vm-memory, CVE-2020-13759: byte-wise copies tore 16 bit ring indexes. */
static void test_cve_2020_13759_ring_indexes_are_not_torn(void)
{
    struct guestmem *mem = check_new(two, 2);
    uint8_t ring[64];
    pthread_t guest;
    void *host;
    uint16_t index;
    size_t i, mixed = 0;
    CHECK_OK(guestmem_get_host_address_range(mem, 0x10000 + 38, 2, &host));
    ring_index = host;
    *ring_index = 0xff00;
    stop = 0;
    REQUIRE(pthread_create(&guest, NULL, flip_index, NULL) == 0);
    for (i = 0; i < (fast() ? 10000 : 2000000); i++) {
        /* alone, at the end of a range, in its middle */
        const size_t from = i % 3 == 0 ? 38 : i % 3 == 1 ? 8 : 0, to = i % 3 == 2 ? 64 : 40;
        if (guestmem_dma_read(mem, 0x10000 + from, ring + from, to - from) != GUESTMEM_OK) mixed++;
        memcpy(&index, ring + 38, 2);
        mixed += index != 0x00ff && index != 0xff00;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    REQUIRE(pthread_join(guest, NULL) == 0);
    CHECK_EQ(mixed, 0);
    guestmem_unref(mem);
}

/* XSA-155; DPDK, CVE-2020-14375: a guest value was fetched twice and changed in between. What a
 * failed exchange reports is what it failed on, never the very value that it was to find. */
static void test_xsa_155_values_are_loaded_once(void)
{
    struct guestmem *mem = check_new(two, 2);
    pthread_t guest;
    void *host;
    size_t i, wrong = 0;
    CHECK_OK(guestmem_get_host_address_range(mem, 0x10000, 2, &host));
    ring_index = host;
    *ring_index = 0xff00;
    stop = 0;
    REQUIRE(pthread_create(&guest, NULL, flip_index, NULL) == 0);
    for (i = 0; i < (fast() ? 10000 : 1000000); i++) {
        uint16_t expected = i % 2 ? 0x00ff : 0xff00;
        const uint16_t wanted = expected;
        bool exchanged;
        if (guestmem_compare_exchange_u16(mem, 0x10000, &expected, wanted, GUESTMEM_SEQ_CST,
                                          &exchanged) != GUESTMEM_OK)
            wrong++;
        wrong += exchanged ? expected != wanted : expected == wanted;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    REQUIRE(pthread_join(guest, NULL) == 0);
    CHECK_EQ(wrong, 0);
    guestmem_unref(mem);
}

/* ---- buffers ---- */

/* QEMU, CVE-2022-4144: a translation that knows no size. */
static void test_cve_2022_4144_chains_are_checked_in_full(void)
{
    const struct guestmem_range chain[3] = {{0x10000, 16}, {0x11ff8, 8}, {0x20ff8, 0x1009}};
    struct guestmem *mem = check_new(two, 2);
    struct guestmem_slice slices[4];
    size_t count = 7;
    CHECK_CODE(guestmem_translate(mem, chain, 3, slices, 4, &count), GUESTMEM_E_INVALID_RANGE);
    CHECK_OK(guestmem_translate(mem, chain, 2, slices, 4, &count));
    CHECK_EQ(count, 2);
    guestmem_unref(mem);
}

/* Cloud Hypervisor PR 8767 (Kata): a guest buffer across two hot-plugged regions failed; file
 * systems lost data. */
static void test_kata_8767_buffers_across_regions(void)
{
    struct guestmem *mem = check_new(touching, 2);
    uint8_t bytes[0x1000], back[0x1000];
    fill_random(bytes, sizeof bytes, 4);
    CHECK_OK(guestmem_dma_write(mem, 0x11800, bytes, sizeof bytes));
    CHECK_OK(guestmem_dma_read(mem, 0x11800, back, sizeof back));
    CHECK(memcmp(bytes, back, sizeof back) == 0);
    guestmem_unref(mem);
}

/* Cloud Hypervisor #8197, openvmm #4047: part of a bad write had already reached guest memory. */
static void test_openvmm_4047_bad_writes_write_nothing(void)
{
    struct world world;
    uint8_t bytes[0x3000];
    int zero = open("/dev/zero", O_RDONLY);
    fill_random(bytes, sizeof bytes, 5);
    world_new(&world);
    CHECK_CODE(guestmem_write_all(world.mem, 0x13000, bytes, 0x2000), GUESTMEM_E_SHORT_WRITE);
    CHECK_CODE(guestmem_dma_write(world.mem, 0x19000, bytes, 0x3000), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_dma_fill(world.mem, 0x10000, 0, 0xc000), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_dma_copy(world.mem, 0x19000, 0x10000, 0x3000), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_write_u64(world.mem, 0x13ffc, 1), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_write_obj_volatile(world.mem, 0x13ff0, bytes, 24),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x19000, zero, 0x3000), GUESTMEM_E_INVALID_RANGE);
    CHECK(world_agrees(&world));
    world_free(&world);
    REQUIRE(close(zero) == 0);
}

/* crosvm: a region that reaches past 2^64 was accepted and then unreachable. */
static void test_crosvm_regions_past_the_end_of_addresses(void)
{
    const struct guestmem_range to_the_end = {UINT64_MAX - 0xfff, 0x1000},
                                past = {UINT64_MAX - 0xfff, 0x2000},
                                almost = {UINT64_MAX - 0x1fff, 0x1000};
    struct guestmem *mem = NULL;
    CHECK_CODE(guestmem_new(&to_the_end, 1, &mem), GUESTMEM_E_TOO_LARGE);
    CHECK_CODE(guestmem_new(&past, 1, &mem), GUESTMEM_E_TOO_LARGE);
    CHECK(mem == NULL);
    mem = check_new(&almost, 1);
    CHECK_OK(guestmem_write_u64(mem, almost.guest_addr + 0xff8, 1));
    guestmem_unref(mem);
}

/* crosvm: an aligned volatile access was assumed, not checked. */
static void test_crosvm_volatile_access_is_aligned(void)
{
    struct guestmem *mem = check_new(two, 2);
    uint64_t value = 1;
    CHECK_CODE(guestmem_read_volatile_u64(mem, 0x10001, &value), GUESTMEM_E_MISALIGNED);
    CHECK_CODE(guestmem_store_u64(mem, 0x10004, 1, GUESTMEM_RELAXED), GUESTMEM_E_MISALIGNED);
    CHECK_CODE(guestmem_read_obj_volatile(mem, 0x10004, &value, 8), GUESTMEM_E_MISALIGNED);
    CHECK_OK(guestmem_read_u64(mem, 0x10001, &value));
    guestmem_unref(mem);
}

int main(void)
{
    RUN(test_cve_2019_18960_length_is_checked);
    RUN(test_cve_2020_10722_sums_do_not_wrap);
    RUN(test_cve_2020_10723_values_are_not_cut);
    RUN(test_cve_2023_41051_slices_have_the_asked_length);
    RUN(test_cve_2020_13759_ring_indexes_are_not_torn);
    RUN(test_xsa_155_values_are_loaded_once);
    RUN(test_cve_2022_4144_chains_are_checked_in_full);
    RUN(test_kata_8767_buffers_across_regions);
    RUN(test_openvmm_4047_bad_writes_write_nothing);
    RUN(test_crosvm_regions_past_the_end_of_addresses);
    RUN(test_crosvm_volatile_access_is_aligned);
    return check_result();
}
