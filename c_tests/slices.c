/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Slices: what get_slice and get_slices hand out, the operations on them, and that an array of them
 * is an array of struct iovec.
 * runs: asan valgrind qemu */
#include "support/guest.h"
#include <sys/uio.h>

static struct world world;

static struct guestmem_slice slice_at(uint64_t addr, size_t len)
{
    struct guestmem_slice slice;
    CHECK_OK(guestmem_get_slice(world.mem, addr, len, &slice));
    REQUIRE(slice.addr != NULL && slice.len == len);
    return slice;
}

static void test_layout_is_iovec(void)
{
    CHECK(sizeof(struct guestmem_slice) == sizeof(struct iovec));
    CHECK(offsetof(struct guestmem_slice, addr) == offsetof(struct iovec, iov_base));
    CHECK(offsetof(struct guestmem_slice, len) == offsetof(struct iovec, iov_len));
}

/* One range over four regions, straight through readv and writev. */
static void test_readv_and_writev(void)
{
    const uint64_t addr = 0x12345, len = 0x7777;
    struct guestmem_slice slices[8];
    struct iovec vectors[8];
    static uint8_t data[0x7777], back[0x7777];
    size_t count = 0, i;
    uint64_t total = 0;
    int file = new_memfd(0);

    fill_random(data, sizeof data, 3);
    REQUIRE(write(file, data, sizeof data) == (ssize_t)sizeof data &&
            lseek(file, 0, SEEK_SET) == 0);
    CHECK_OK(guestmem_get_slices(world.mem, addr, len, slices, 8, &count));
    CHECK_EQ(count, 4);
    memcpy(vectors, slices, count * sizeof slices[0]);
    CHECK(readv(file, vectors, (int)count) == (ssize_t)len);
    for (i = 0; i < len; i++) *shadow_at(&world, addr + i) = data[i];
    CHECK(world_agrees(&world));

    for (i = 0; i < count; i++) total += slices[i].len;
    CHECK_EQ(total, len);
    REQUIRE(ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0);
    CHECK(writev(file, vectors, (int)count) == (ssize_t)len);
    CHECK(pread(file, back, sizeof back, 0) == (ssize_t)len);
    CHECK(memcmp(back, data, sizeof data) == 0);
    REQUIRE(close(file) == 0);
}

static void test_sub(void)
{
    struct guestmem_slice slice = slice_at(0x10100, 100), sub;
    size_t offset, count;
    for (offset = 0; offset <= 103; offset++)
        for (count = 0; count <= 103; count++) {
            bool within = offset + count <= 100;
            sub.addr = &sub, sub.len = 7;
            CHECK_CODE(guestmem_slice_sub(slice, offset, count, &sub),
                       within ? GUESTMEM_OK : GUESTMEM_E_INVALID_RANGE);
            if (within)
                CHECK(sub.addr == (uint8_t *)slice.addr + offset && sub.len == count);
            else
                CHECK(sub.addr == NULL && sub.len == 0);
        }
    CHECK_CODE(guestmem_slice_sub(slice, 1, SIZE_MAX, &sub), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_slice_sub(slice, SIZE_MAX, 1, &sub), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_slice_sub(slice, SIZE_MAX, SIZE_MAX, &sub), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_slice_sub(slice, SIZE_MAX - 49, 50, &sub), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_slice_sub(slice, SIZE_MAX, 0, &sub), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_slice_sub(slice, 0, 1, NULL), GUESTMEM_E_INVALID_ARGUMENT);
}

static void test_read_and_write(void)
{
    const uint64_t addr = 0x14ff3;
    struct guestmem_slice slice = slice_at(addr, 90);
    uint8_t data[128], back[128];
    size_t offset, len, i;
    for (offset = 0; offset <= 92; offset++)
        for (len = 0; len <= 92; len++) {
            int expected = offset + len <= 90 ? GUESTMEM_OK : GUESTMEM_E_INVALID_RANGE;
            fill_random(data, sizeof data, offset * 100 + len);
            memset(back, 0xa5, sizeof back);
            CHECK_CODE(guestmem_slice_write(slice, offset, data, len), expected);
            for (i = 0; i < len && expected == GUESTMEM_OK; i++)
                *shadow_at(&world, addr + offset + i) = data[i];
            CHECK_CODE(guestmem_slice_read(slice, offset, back, len), expected);
            if (expected == GUESTMEM_OK)
                CHECK(memcmp(back, data, len) == 0 && back[len] == 0xa5);
            else
                CHECK(back[0] == 0xa5 && back[len] == 0xa5);
        }
    CHECK(world_agrees(&world));
    CHECK_CODE(guestmem_slice_read(slice, 1, back, SIZE_MAX), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_slice_write(slice, SIZE_MAX, data, 1), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_slice_write(slice, SIZE_MAX - 9, data, 10), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_slice_read(slice, 0, NULL, 1), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_slice_write(slice, 0, NULL, 1), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_OK(guestmem_slice_read(slice, 90, NULL, 0));
    CHECK_OK(guestmem_slice_write(slice, 0, NULL, 0));
    CHECK(world_agrees(&world));
}

static void test_fill(void)
{
    size_t start, len, i;
    for (start = 0; start < 9; start++)
        for (len = 1; len < 50; len++) {
            uint64_t addr = 0x18fc0 + start;
            guestmem_slice_fill(slice_at(addr, len), (uint8_t)(start * 50 + len));
            for (i = 0; i < len; i++) *shadow_at(&world, addr + i) = (uint8_t)(start * 50 + len);
            CHECK(world_agrees(&world));
        }
    guestmem_slice_fill(slice_at(0x17000, 0x2000), 0xee);
    memset(shadow_at(&world, 0x17000), 0xee, 0x2000);
    CHECK(world_agrees(&world));
}

/* The shorter length, and memmove where they overlap. */
static void copy(uint64_t dst, size_t dst_len, uint64_t src, size_t src_len)
{
    static uint8_t bytes[0x4000];
    size_t len = dst_len < src_len ? dst_len : src_len, i;
    for (i = 0; i < len; i++) bytes[i] = *shadow_at(&world, src + i);
    CHECK_EQ(guestmem_slice_copy(slice_at(dst, dst_len), slice_at(src, src_len)), len);
    for (i = 0; i < len; i++) *shadow_at(&world, dst + i) = bytes[i];
    CHECK(world_agrees(&world));
}

static void test_copy(void)
{
    size_t distance, len;
    for (distance = 0; distance < 33; distance++)
        for (len = 1; len < 100; len += 4) {
            copy(0x10200, len, 0x10200 + distance, len + distance % 3);
            copy(0x10200 + distance, len + distance % 5, 0x10200, len);
            copy(0x13000 + distance, len, 0x19000, 100);
        }
    copy(0x10001, 0x3fff, 0x10000, 0x3fff);
    copy(0x10000, 0x3fff, 0x10001, 0x3fff);
    copy(0x14000, 0x3000, 0x10000, 0x4000);
    copy(0x17007, 8, 0x22000, 0x1000);
}

static void test_is_zero(void)
{
    const struct guestmem_range range = {0x100000, 4 * PAGE};
    struct guestmem *mem = check_new(&range, 1);
    struct guestmem_slice slice, sub;
    size_t len, at;
    CHECK_OK(guestmem_get_slice(mem, range.guest_addr, 4 * PAGE, &slice));
    CHECK(guestmem_slice_is_zero(slice));
    /* one byte that is not, at every place of short slices at odd starts; and just outside of them
     */
    for (len = 1; len < 140; len += fast() ? 13 : 1)
        for (at = 0; at <= len + 1; at++) {
            CHECK_OK(guestmem_write_u8(mem, range.guest_addr + 4 + len % 16 + at, 0x80));
            CHECK_OK(guestmem_slice_sub(slice, 5 + len % 16, len, &sub));
            CHECK(guestmem_slice_is_zero(sub) == (at == 0 || at == len + 1));
            CHECK_OK(guestmem_write_u8(mem, range.guest_addr + 4 + len % 16 + at, 0));
        }
    for (at = 0; at < 4 * PAGE; at += fast() ? 511 : 37) {
        CHECK_OK(guestmem_write_u8(mem, range.guest_addr + at, 1));
        CHECK(!guestmem_slice_is_zero(slice));
        CHECK_OK(guestmem_write_u8(mem, range.guest_addr + at, 0));
    }
    CHECK(guestmem_slice_is_zero(slice));
    guestmem_unref(mem);
}

/* A slice of no bytes is what slice_sub may give: every operation on it does nothing. */
static void test_empty_slices(void)
{
    struct guestmem_slice slice = slice_at(0x10000, 16), empty, null = {NULL, 0};
    uint8_t byte = 7;
    CHECK_OK(guestmem_slice_sub(slice, 16, 0, &empty));
    CHECK(empty.addr == (uint8_t *)slice.addr + 16 && empty.len == 0);
    guestmem_slice_fill(empty, 1);
    guestmem_slice_fill(null, 1);
    CHECK_EQ(guestmem_slice_copy(empty, slice), 0);
    CHECK_EQ(guestmem_slice_copy(slice, empty), 0);
    CHECK_EQ(guestmem_slice_copy(slice, null), 0);
    CHECK_EQ(guestmem_slice_copy(null, null), 0);
    CHECK(guestmem_slice_is_zero(empty) && guestmem_slice_is_zero(null));
    CHECK_OK(guestmem_slice_read(empty, 0, &byte, 0));
    CHECK_CODE(guestmem_slice_read(empty, 0, &byte, 1), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_slice_write(empty, 0, &byte, 1), GUESTMEM_E_INVALID_RANGE);
    CHECK(byte == 7 && world_agrees(&world));
}

int main(void)
{
    world_new(&world);
    test_layout_is_iovec();
    test_readv_and_writev();
    test_sub();
    test_read_and_write();
    test_fill();
    test_copy();
    test_is_zero();
    test_empty_slices();
    world_free(&world);
    return check_result();
}
