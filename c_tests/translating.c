/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Section 5: guest addresses to host addresses, descriptors and slices, and the way back.
 * runs: asan valgrind qemu musl */
#include "support/guest.h"

#include <sys/uio.h>

/* Two that touch, a hole, one more; a read-only region touches the last. */
static const struct guestmem_range ranges[] = {
    { 0x10000, 0x2000 }, { 0x12000, 0x1000 }, { 0x20000, 0x1000 }, { 0x21000, 0x1000 }
};
#define REGIONS (sizeof ranges / sizeof *ranges)

static uint8_t *host[REGIONS];
static int memory_fd;

static struct guestmem *make(void)
{
    struct guestmem_region_options options[REGIONS];
    struct guestmem_region_info info;
    struct guestmem *mem = NULL;
    memset(options, 0, sizeof options);
    for (size_t i = 0; i < REGIONS; i++) {
        options[i].guest_addr = ranges[i].guest_addr;
        options[i].size = ranges[i].size;
    }
    options[3].flags = GUESTMEM_REGION_READ_ONLY | GUESTMEM_REGION_PRIVATE;
    REQUIRE(guestmem_new_with_options(options, REGIONS, sizeof *options, &mem) == GUESTMEM_OK);
    for (size_t i = 0; i < REGIONS; i++) {
        REQUIRE(guestmem_region_info(mem, i, &info, sizeof info) == GUESTMEM_OK);
        host[i] = info.host_addr;
        if (i == 0) memory_fd = info.fd;
    }
    return mem;
}

static void *const poison = (void *)(uintptr_t)0x5a5a;

#define REFUSES_POINTER(call, code)                                                               \
    do {                                                                                          \
        out = poison;                                                                             \
        CHECK_CODE(call, code);                                                                   \
        CHECK(out == NULL);                                                                       \
    } while (0)

static void host_addresses(const struct guestmem *mem)
{
    void *out = NULL;
    for (size_t i = 0; i < REGIONS; i++) {
        uint64_t base = ranges[i].guest_addr, size = ranges[i].size;
        CHECK_OK(guestmem_get_host_address(mem, base, &out));
        CHECK(out == host[i]);
        CHECK_OK(guestmem_get_host_address(mem, base + size - 1, &out));
        CHECK(out == host[i] + size - 1);
        CHECK_OK(guestmem_get_host_address_range(mem, base, size, &out));
        CHECK(out == host[i]);
        CHECK_OK(guestmem_get_host_address_range(mem, base + 8, size - 8, &out));
        CHECK(out == host[i] + 8);
        REFUSES_POINTER(guestmem_get_host_address_range(mem, base, size + 1, &out),
                        GUESTMEM_E_INVALID_RANGE);
        REFUSES_POINTER(guestmem_get_host_address_range(mem, base + 8, size, &out),
                        GUESTMEM_E_INVALID_RANGE);
        REFUSES_POINTER(guestmem_get_host_address_range(mem, base + 1, UINT64_MAX, &out),
                        GUESTMEM_E_INVALID_RANGE);
        REFUSES_POINTER(guestmem_get_host_address_range(mem, base, 0, &out),
                        GUESTMEM_E_INVALID_SIZE);
    }
    REFUSES_POINTER(guestmem_get_host_address(mem, 0x13000, &out), GUESTMEM_E_INVALID_ADDRESS);
    REFUSES_POINTER(guestmem_get_host_address(mem, UINT64_MAX, &out), GUESTMEM_E_INVALID_ADDRESS);
    REFUSES_POINTER(guestmem_get_host_address_range(mem, 0xffff, 2, &out),
                    GUESTMEM_E_INVALID_ADDRESS);
}

static void the_way_back(const struct guestmem *mem)
{
    uint64_t out = 1;
    int mine = 0;
    for (size_t i = 0; i < REGIONS; i++) {
        uint64_t base = ranges[i].guest_addr, size = ranges[i].size;
        CHECK_OK(guestmem_get_guest_address(mem, host[i], &out));
        CHECK_EQ(out, base);
        CHECK_OK(guestmem_get_guest_address(mem, host[i] + size - 1, &out));
        CHECK_EQ(out, base + size - 1);
        out = 1;
        CHECK_CODE(guestmem_get_guest_address(mem, host[i] + size, &out),
                   GUESTMEM_E_INVALID_ADDRESS);
        CHECK_EQ(out, 0);
        out = 1;
        CHECK_CODE(guestmem_get_guest_address(mem, host[i] - 1, &out), GUESTMEM_E_INVALID_ADDRESS);
        CHECK_EQ(out, 0);
    }
    CHECK_CODE(guestmem_get_guest_address(mem, &mine, &out), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_get_guest_address(mem, (void *)UINTPTR_MAX, &out),
               GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_get_guest_address(mem, (void *)(uintptr_t)1, &out),
               GUESTMEM_E_INVALID_ADDRESS);
}

static void descriptors(const struct guestmem *mem)
{
    int fd = -7;
    uint64_t offset = 1;
    CHECK_OK(guestmem_shm_region(mem, 0x10000, &fd));
    CHECK_EQ(fd, memory_fd);
    CHECK_OK(guestmem_shm_region(mem, 0x20fff, &fd));
    CHECK_EQ(fd, memory_fd);
    CHECK_CODE(guestmem_shm_region(mem, 0x13000, &fd), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(fd, -1);
    fd = -7;
    CHECK_CODE(guestmem_shm_region(mem, 0x21000, &fd), GUESTMEM_E_UNSUPPORTED);
    CHECK_EQ(fd, -1);

    /* An offset counts from the lowest region, holes and all. */
    CHECK_OK(guestmem_offset_region(mem, 0, &fd));
    CHECK_EQ(fd, memory_fd);
    CHECK_OK(guestmem_offset_region(mem, 0x10fff, &fd));
    CHECK_EQ(fd, memory_fd);
    CHECK_CODE(guestmem_offset_region(mem, 0x3000, &fd), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(fd, -1);
    fd = -7;
    CHECK_CODE(guestmem_offset_region(mem, 0x12000, &fd), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(fd, -1);
    fd = -7;
    CHECK_CODE(guestmem_offset_region(mem, 0x11000, &fd), GUESTMEM_E_UNSUPPORTED);
    CHECK_EQ(fd, -1);
    fd = -7;
    CHECK(guestmem_offset_region(mem, UINT64_MAX, &fd) != GUESTMEM_OK);
    CHECK_EQ(fd, -1);

    CHECK_OK(guestmem_offset_from_base(mem, 0x20123, &fd, &offset));
    CHECK_EQ(fd, memory_fd);
    CHECK_EQ(offset, 0x3123);
    CHECK_OK(guestmem_offset_from_base(mem, 0x12fff, NULL, &offset));
    CHECK_EQ(offset, 0x2fff);
    CHECK_CODE(guestmem_offset_from_base(mem, 0x21000, &fd, &offset), GUESTMEM_E_UNSUPPORTED);
    CHECK_EQ(fd, -1);
    CHECK_EQ(offset, 0);
    fd = -7;
    offset = 1;
    CHECK_CODE(guestmem_offset_from_base(mem, 0xffff, &fd, &offset), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(fd, -1);
    CHECK_EQ(offset, 0);
}

static bool slice_is(struct guestmem_slice slice, const void *addr, size_t len)
{
    return slice.addr == addr && slice.len == len;
}

#define REFUSES_SLICE(call, code)                                                                 \
    do {                                                                                          \
        slice.addr = poison;                                                                      \
        slice.len = 77;                                                                           \
        CHECK_CODE(call, code);                                                                   \
        CHECK(slice_is(slice, NULL, 0));                                                          \
    } while (0)

static void one_slice(const struct guestmem *mem)
{
    struct guestmem_slice slice;
    CHECK_EQ(sizeof(struct guestmem_slice), sizeof(struct iovec));
    CHECK_EQ(offsetof(struct guestmem_slice, addr), offsetof(struct iovec, iov_base));
    CHECK_EQ(offsetof(struct guestmem_slice, len), offsetof(struct iovec, iov_len));
    CHECK_OK(guestmem_get_slice(mem, 0x10ff0, 0x1010, &slice));
    CHECK(slice_is(slice, host[0] + 0xff0, 0x1010));
    CHECK_OK(guestmem_get_slice(mem, 0x21010, 16, &slice));
    CHECK(slice_is(slice, host[3] + 16, 16));
    REFUSES_SLICE(guestmem_get_slice(mem, 0x10ff0, 0x1011, &slice), GUESTMEM_E_INVALID_RANGE);
    REFUSES_SLICE(guestmem_get_slice(mem, 0x10ff0, 0, &slice), GUESTMEM_E_INVALID_SIZE);
    REFUSES_SLICE(guestmem_get_slice(mem, 0x10ff0, SIZE_MAX, &slice), GUESTMEM_E_INVALID_RANGE);
    REFUSES_SLICE(guestmem_get_slice(mem, 0x13000, 1, &slice), GUESTMEM_E_INVALID_ADDRESS);
}

/* Fills an array with what must still be there after a refusal. */
static void poison_slices(struct guestmem_slice *slices, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        slices[i].addr = poison;
        slices[i].len = i;
    }
}

static bool slices_untouched(const struct guestmem_slice *slices, size_t from, size_t count)
{
    for (size_t i = from; i < count; i++)
        if (!slice_is(slices[i], poison, i)) return false;
    return true;
}

#define REFUSES_SLICES(call, code, needed)                                                        \
    do {                                                                                          \
        poison_slices(slices, 8);                                                                 \
        count = 77;                                                                               \
        CHECK_CODE(call, code);                                                                   \
        CHECK_EQ(count, needed);                                                                  \
        CHECK(slices_untouched(slices, 0, 8));                                                    \
    } while (0)

static void slices_across_regions(const struct guestmem *mem)
{
    struct guestmem_slice slices[8];
    size_t count = 0;
    poison_slices(slices, 8);
    CHECK_OK(guestmem_get_slices(mem, 0x11ff0, 0x20, slices, 8, &count));
    CHECK_EQ(count, 2);
    CHECK(slice_is(slices[0], host[0] + 0x1ff0, 0x10));
    CHECK(slice_is(slices[1], host[1], 0x10));
    CHECK(slices_untouched(slices, 2, 8));
    CHECK_OK(guestmem_get_slices(mem, 0x10000, 0x3000, slices, 2, &count));
    CHECK_EQ(count, 2);
    CHECK(slice_is(slices[0], host[0], 0x2000) && slice_is(slices[1], host[1], 0x1000));
    CHECK_OK(guestmem_get_slices(mem, 0x10000, 0x2000, slices, 1, &count));
    CHECK_EQ(count, 1);
    CHECK_OK(guestmem_get_slices(mem, 0x20800, 0x1800, slices, 2, &count));
    CHECK_EQ(count, 2);
    CHECK(slice_is(slices[1], host[3], 0x1000));

    /* Too little room: nothing is written, and the count says what is needed. */
    REFUSES_SLICES(guestmem_get_slices(mem, 0x11fff, 2, slices, 1, &count),
                   GUESTMEM_E_TOO_LARGE, 2);
    REFUSES_SLICES(guestmem_get_slices(mem, 0x11fff, 2, slices, 0, &count),
                   GUESTMEM_E_TOO_LARGE, 2);
    REFUSES_SLICES(guestmem_get_slices(mem, 0x11fff, 1, NULL, 0, &count),
                   GUESTMEM_E_TOO_LARGE, 1);

    REFUSES_SLICES(guestmem_get_slices(mem, 0x11fff, 0, slices, 8, &count),
                   GUESTMEM_E_INVALID_SIZE, 0);
    REFUSES_SLICES(guestmem_get_slices(mem, 0x10000, 0x3001, slices, 8, &count),
                   GUESTMEM_E_INVALID_RANGE, 0);
    REFUSES_SLICES(guestmem_get_slices(mem, 0x12fff, UINT64_MAX, slices, 8, &count),
                   GUESTMEM_E_INVALID_RANGE, 0);
    REFUSES_SLICES(guestmem_get_slices(mem, 0x13000, 1, slices, 8, &count),
                   GUESTMEM_E_INVALID_ADDRESS, 0);
    /* A bad range comes before too little room. */
    REFUSES_SLICES(guestmem_get_slices(mem, 0x10000, 0x3001, slices, 0, &count),
                   GUESTMEM_E_INVALID_RANGE, 0);

    /* Whatever is wrong, the error tells which range was asked for. */
    CHECK_CODE(guestmem_get_slices(mem, 0x10010, 32, slices, 8, NULL), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK(last_error().guest_addr == 0x10010 && last_error().size == 32);
    CHECK_CODE(guestmem_get_slices(NULL, 0x10020, 48, slices, 8, &count), GUESTMEM_E_BAD_HANDLE);
    CHECK(last_error().guest_addr == 0x10020 && last_error().size == 48);
}

static void descriptor_chains(const struct guestmem *mem)
{
    static const struct guestmem_range chain[] = { { 0x20010, 0x10 }, { 0x11ff8, 0x10 },
                                                   { 0x20010, 0x10 } };
    struct guestmem_range bad[3];
    struct guestmem_slice slices[8];
    size_t count = 0;
    poison_slices(slices, 8);
    CHECK_OK(guestmem_translate(mem, chain, 3, slices, 8, &count));
    CHECK_EQ(count, 4);
    CHECK(slice_is(slices[0], host[2] + 0x10, 0x10));
    CHECK(slice_is(slices[1], host[0] + 0x1ff8, 8));
    CHECK(slice_is(slices[2], host[1], 8));
    CHECK(slice_is(slices[3], host[2] + 0x10, 0x10));
    CHECK(slices_untouched(slices, 4, 8));
    CHECK_OK(guestmem_translate(mem, chain, 3, slices, 4, &count));
    CHECK_EQ(count, 4);
    for (size_t cap = 0; cap < 4; cap++)
        REFUSES_SLICES(guestmem_translate(mem, chain, 3, slices, cap, &count),
                       GUESTMEM_E_TOO_LARGE, 4);

    count = 77;
    CHECK_OK(guestmem_translate(mem, chain, 0, slices, 8, &count));
    CHECK_EQ(count, 0);
    count = 77;
    CHECK_OK(guestmem_translate(mem, NULL, 0, NULL, 0, &count));
    CHECK_EQ(count, 0);

    /* One bad entry, wherever it stands, and nothing is handed out. */
    for (size_t i = 0; i < 3; i++) {
        memcpy(bad, chain, sizeof bad);
        bad[i].size = 0;
        REFUSES_SLICES(guestmem_translate(mem, bad, 3, slices, 8, &count),
                       GUESTMEM_E_INVALID_SIZE, 0);
        bad[i].size = 0x10000;
        REFUSES_SLICES(guestmem_translate(mem, bad, 3, slices, 8, &count),
                       GUESTMEM_E_INVALID_RANGE, 0);
        bad[i].size = UINT64_MAX;
        REFUSES_SLICES(guestmem_translate(mem, bad, 3, slices, 0, &count),
                       GUESTMEM_E_INVALID_RANGE, 0);
        bad[i].guest_addr = 0x13000;
        REFUSES_SLICES(guestmem_translate(mem, bad, 3, slices, 8, &count),
                       GUESTMEM_E_INVALID_ADDRESS, 0);
    }
}

static void empty_memory_has_no_addresses(void)
{
    struct guestmem *mem = check_new(NULL, 0);
    void *out = NULL;
    int fd = -7;
    size_t count = 77;
    REFUSES_POINTER(guestmem_get_host_address(mem, 0, &out), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_offset_region(mem, 0, &fd), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(fd, -1);
    CHECK_OK(guestmem_translate(mem, NULL, 0, NULL, 0, &count));
    CHECK_EQ(count, 0);
    guestmem_unref(mem);
}

int main(void)
{
    struct guestmem *mem = make();
    host_addresses(mem);
    the_way_back(mem);
    descriptors(mem);
    one_slice(mem);
    slices_across_regions(mem);
    descriptor_chains(mem);
    guestmem_unref(mem);
    empty_memory_has_no_addresses();
    return check_result();
}
