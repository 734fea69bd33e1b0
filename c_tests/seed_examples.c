/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The examples of the document that the library grew from, each as a C programmer writes it, with
 * regions of whole pages.
 * runs: asan valgrind qemu */
#include "support/process.h"

static struct guestmem *one(uint64_t guest_addr, uint64_t size)
{
    struct guestmem_range range;
    range.guest_addr = guest_addr;
    range.size = size;
    return check_new(&range, 1);
}

static void end_addr(void)
{
    struct guestmem *mem = one(0x1000, 0x1000);
    CHECK_EQ(guestmem_end_addr(mem), 0x1000 + 0x1000);
    guestmem_unref(mem);
}

static void write_five_bytes_at_0x200(void)
{
    static const uint8_t bytes[] = { 1, 2, 3, 4, 5 };
    struct guestmem *mem = one(0, 0x1000);
    uint8_t seen[7] = { 0 };
    static const uint8_t expected[] = { 0, 1, 2, 3, 4, 5, 0 };
    size_t done = 0;
    CHECK_OK(guestmem_write(mem, 0x200, bytes, sizeof bytes, &done));
    CHECK_EQ(done, 5);
    CHECK_OK(guestmem_read_exact(mem, 0x1ff, seen, sizeof seen));
    CHECK(memcmp(seen, expected, sizeof seen) == 0);
    guestmem_unref(mem);
}

static void write_all_at_0x1200(void)
{
    struct guestmem *mem = one(0x1000, 0x1000);
    char seen[8] = "";
    CHECK_OK(guestmem_write_all(mem, 0x1200, "zyxwvut", 7));
    CHECK_OK(guestmem_read_exact(mem, 0x1200, seen, 7));
    CHECK(strcmp(seen, "zyxwvut") == 0);
    guestmem_unref(mem);
}

static void read_16_bytes_at_0x200(void)
{
    struct guestmem *mem = one(0, 0x1000);
    uint8_t buffer[16];
    size_t done = 0;
    memset(buffer, 0xee, sizeof buffer);
    CHECK_OK(guestmem_dma_fill(mem, 0x200, 0x42, 16));
    CHECK_OK(guestmem_read(mem, 0x200, buffer, sizeof buffer, &done));
    CHECK_EQ(done, 16);
    for (size_t i = 0; i < sizeof buffer; i++) CHECK_EQ(buffer[i], 0x42);
    guestmem_unref(mem);
}

static void read_exact_at_0x1200(void)
{
    struct guestmem *mem = one(0x1000, 0x1000);
    uint8_t buffer[0x200];
    memset(buffer, 0xee, sizeof buffer);
    CHECK_OK(guestmem_dma_fill(mem, 0x1200, 0x17, sizeof buffer));
    CHECK_OK(guestmem_read_exact(mem, 0x1200, buffer, sizeof buffer));
    for (size_t i = 0; i < sizeof buffer; i++) CHECK_EQ(buffer[i], 0x17);
    CHECK_CODE(guestmem_read_exact(mem, 0x1e01, buffer, sizeof buffer), GUESTMEM_E_SHORT_READ);
    guestmem_unref(mem);
}

static void numbers_from_two_regions(void)
{
    static const struct guestmem_range ranges[] = { { 0, 0x1000 }, { 0x1000, 0x1000 } };
    struct guestmem *mem = check_new(ranges, 2);
    uint64_t num1 = 0, num2 = 0;
    CHECK_OK(guestmem_write_u64(mem, 32, 0x1111));
    CHECK_OK(guestmem_write_u64(mem, 0x1000 + 32, 0x2222));
    CHECK_OK(guestmem_read_u64(mem, 32, &num1));
    CHECK_OK(guestmem_read_u64(mem, 0x1000 + 32, &num2));
    CHECK_EQ(num1, 0x1111);
    CHECK_EQ(num2, 0x2222);
    num1 = num2 = 0;
    CHECK_OK(guestmem_read_obj_volatile(mem, 32, &num1, sizeof num1));
    CHECK_OK(guestmem_read_volatile_u64(mem, 0x1000 + 32, &num2));
    CHECK_EQ(num1, 0x1111);
    CHECK_EQ(num2, 0x2222);
    guestmem_unref(mem);
}

static void write_a_number_at_0x1100(void)
{
    struct guestmem *mem = one(0x1000, 0x1000);
    uint64_t value = 0, object = 56;
    CHECK_OK(guestmem_write_u64(mem, 0x1100, 55));
    CHECK_OK(guestmem_read_u64(mem, 0x1100, &value));
    CHECK_EQ(value, 55);
    CHECK_OK(guestmem_write_obj_volatile(mem, 0x1100, &object, sizeof object));
    CHECK_OK(guestmem_read_volatile_u64(mem, 0x1100, &value));
    CHECK_EQ(value, 56);
    guestmem_unref(mem);
}

static void write_99_to_30_bytes_at_0x1010(void)
{
    struct guestmem *mem = one(0x1000, 0x1000);
    struct guestmem_slice slice;
    uint8_t seen[32];
    CHECK_OK(guestmem_get_slice(mem, 0x1010, 30, &slice));
    CHECK_EQ(slice.len, 30);
    guestmem_slice_fill(slice, 99);
    CHECK_OK(guestmem_read_exact(mem, 0x100f, seen, sizeof seen));
    for (size_t i = 0; i < sizeof seen; i++) CHECK_EQ(seen[i], i == 0 || i == 31 ? 0 : 99);
    guestmem_unref(mem);
}

static void read_128_bytes_of_urandom(void)
{
    struct guestmem *mem = one(0x1000, 0x1000);
    struct guestmem_slice slice;
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    uint32_t random = 0;
    REQUIRE(fd >= 0);
    CHECK_OK(guestmem_read_to_memory(mem, 0x1010, fd, 128));
    CHECK_OK(guestmem_read_u32(mem, 0x1010 + 8, &random));
    /* All zeros has a chance of 2^-1024; what lies around stays zero. */
    CHECK_OK(guestmem_get_slice(mem, 0x1010, 128, &slice));
    CHECK(!guestmem_slice_is_zero(slice));
    CHECK_OK(guestmem_get_slice(mem, 0x1000, 0x10, &slice));
    CHECK(guestmem_slice_is_zero(slice));
    CHECK_OK(guestmem_get_slice(mem, 0x1090, 0x1000 - 0x90, &slice));
    CHECK(guestmem_slice_is_zero(slice));
    close(fd);
    guestmem_unref(mem);
}

static void write_128_bytes_to_null(void)
{
    struct guestmem *mem = one(0x1000, 0x1000);
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    CHECK_OK(guestmem_write_from_memory(mem, 0x1010, fd, 128));
    close(fd);
    /* The seed opens it for reading, which no write gets through. */
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    CHECK_CODE(guestmem_write_from_memory(mem, 0x1010, fd, 128), GUESTMEM_E_IO);
    close(fd);
    guestmem_unref(mem);
}

static void host_address_of_0x1200(void)
{
    struct guestmem *mem = one(0x1000, 0x1000);
    void *base = NULL, *host = NULL;
    CHECK_OK(guestmem_write_u8(mem, 0x1200, 0x77));
    CHECK_OK(guestmem_get_host_address(mem, 0x1000, &base));
    CHECK_OK(guestmem_get_host_address(mem, 0x1200, &host));
    REQUIRE(host != NULL);
    CHECK((uint8_t *)host - (uint8_t *)base == 0x200);
    CHECK_EQ(*(volatile uint8_t *)host, 0x77);
    CHECK_OK(guestmem_get_host_address_range(mem, 0x1200, 0x200, &base));
    CHECK(base == host);
    CHECK_CODE(guestmem_get_host_address_range(mem, 0x1200, 0xe01, &base),
               GUESTMEM_E_INVALID_RANGE);
    guestmem_unref(mem);
}

static void offset_0x35000_of_0x95000(void)
{
    static const struct guestmem_range ranges[] = { { 0x10000, 0x20000 }, { 0x80000, 0x30000 } };
    struct guestmem *mem = check_new(ranges, 2);
    uint64_t offset = 0;
    uint32_t seen = 0;
    int fd = -1;
    CHECK_OK(guestmem_offset_from_base(mem, 0x95000, &fd, &offset));
    CHECK_EQ(offset, 0x35000);
    /* What another process finds there when it maps the descriptor. */
    CHECK_OK(guestmem_write_u32(mem, 0x95000, 0xfeedf00d));
    CHECK_EQ(pread(fd, &seen, sizeof seen, (off_t)offset), sizeof seen);
    CHECK_EQ(seen, 0xfeedf00d);
    guestmem_unref(mem);
}

int main(void)
{
    end_addr();
    write_five_bytes_at_0x200();
    write_all_at_0x1200();
    read_16_bytes_at_0x200();
    read_exact_at_0x1200();
    numbers_from_two_regions();
    write_a_number_at_0x1100();
    write_99_to_30_bytes_at_0x1010();
    read_128_bytes_of_urandom();
    write_128_bytes_to_null();
    host_address_of_0x1200();
    offset_0x35000_of_0x95000();
    return check_result();
}
