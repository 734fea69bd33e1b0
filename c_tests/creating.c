/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Section 3, what is refused and what memory looks like that has no backing of its own. The other
 * backings are in backings.c.
 * runs: asan valgrind qemu musl */
#include "support/process.h"

#define TOP (UINT64_MAX - PAGE + 1) /* the last page below 2^64 */

static int try_new(const struct guestmem_range *ranges, size_t count)
{
    struct guestmem *mem = (struct guestmem *)(uintptr_t)64;
    int code = guestmem_new(ranges, count, &mem);
    CHECK((mem != NULL) == (code == GUESTMEM_OK));
    guestmem_unref(mem);
    return code;
}

static int try_one(uint64_t guest_addr, uint64_t size)
{
    struct guestmem_range range;
    range.guest_addr = guest_addr;
    range.size = size;
    return try_new(&range, 1);
}

static int try_two(uint64_t addr1, uint64_t size1, uint64_t addr2, uint64_t size2)
{
    struct guestmem_range ranges[2];
    ranges[0].guest_addr = addr1;
    ranges[0].size = size1;
    ranges[1].guest_addr = addr2;
    ranges[1].size = size2;
    return try_new(ranges, 2);
}

static int try_options(const struct guestmem_region_options *options)
{
    struct guestmem_region *region = (struct guestmem_region *)(uintptr_t)64;
    struct guestmem *mem = (struct guestmem *)(uintptr_t)64;
    int code = guestmem_region_new(options, sizeof *options, &region);
    CHECK((region != NULL) == (code == GUESTMEM_OK));
    /* The same refusal by the other way in. */
    CHECK_CODE(guestmem_new_with_options(options, 1, sizeof *options, &mem), code);
    CHECK((mem != NULL) == (code == GUESTMEM_OK));
    guestmem_region_unref(region);
    guestmem_unref(mem);
    return code;
}

static struct guestmem_region_options page_options(uint64_t guest_addr)
{
    struct guestmem_region_options options;
    memset(&options, 0, sizeof options);
    options.guest_addr = guest_addr;
    options.size = PAGE;
    return options;
}

static void empty_memory(void)
{
    struct guestmem *mem = NULL;
    CHECK_OK(guestmem_new(NULL, 0, &mem));
    CHECK(mem != NULL);
    CHECK_EQ(guestmem_num_regions(mem), 0);
    CHECK_EQ(guestmem_end_addr(mem), 0);
    guestmem_unref(mem);
    mem = NULL;
    CHECK_OK(guestmem_new_with_options(NULL, 0, sizeof(struct guestmem_region_options), &mem));
    CHECK(mem != NULL);
    guestmem_unref(mem);
    mem = NULL;
    CHECK_OK(guestmem_from_regions(NULL, 0, &mem));
    CHECK(mem != NULL);
    guestmem_unref(mem);
}

static void address_and_size_are_checked(void)
{
    static const uint64_t odd[] = { 1, 8, 0x800, PAGE - 1, PAGE + 1 };
    CHECK_CODE(try_one(0, 0), GUESTMEM_E_INVALID_SIZE);
    CHECK_CODE(try_one(PAGE, 0), GUESTMEM_E_INVALID_SIZE);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        CHECK_CODE(try_one(odd[i], PAGE), GUESTMEM_E_NOT_ALIGNED);
        CHECK_CODE(try_one(PAGE, odd[i]), GUESTMEM_E_NOT_ALIGNED);
        CHECK_CODE(try_one(0, 16 * PAGE + odd[i]), GUESTMEM_E_NOT_ALIGNED);
    }
    CHECK_OK(try_one(0, PAGE));
    CHECK_OK(try_one(TOP - PAGE, PAGE));
    CHECK_OK(try_one((uint64_t)1 << 63, PAGE));
}

static void nothing_reaches_2_to_the_64(void)
{
    CHECK_CODE(try_one(TOP, PAGE), GUESTMEM_E_TOO_LARGE);
    CHECK_CODE(try_one(TOP - PAGE, 2 * PAGE), GUESTMEM_E_TOO_LARGE);
    CHECK_CODE(try_one(TOP - PAGE, 3 * PAGE), GUESTMEM_E_TOO_LARGE);
    CHECK_CODE(try_one(TOP, TOP), GUESTMEM_E_TOO_LARGE);
    CHECK_CODE(try_one(PAGE, TOP), GUESTMEM_E_TOO_LARGE);
    CHECK_CODE(try_two(0, PAGE, TOP, PAGE), GUESTMEM_E_TOO_LARGE);
}

static void ranges_ascend_without_overlap(void)
{
    CHECK_OK(try_two(0, PAGE, PAGE, PAGE));
    CHECK_OK(try_two(0, PAGE, 8 * PAGE, PAGE));
    CHECK_CODE(try_two(8 * PAGE, PAGE, 0, PAGE), GUESTMEM_E_UNSORTED);
    CHECK_CODE(try_two(PAGE, PAGE, 0, PAGE), GUESTMEM_E_UNSORTED);
    CHECK_CODE(try_two(0, 2 * PAGE, PAGE, PAGE), GUESTMEM_E_OVERLAP);
    CHECK_CODE(try_two(0, 4 * PAGE, PAGE, PAGE), GUESTMEM_E_OVERLAP);
    CHECK_CODE(try_two(PAGE, PAGE, PAGE, PAGE), GUESTMEM_E_OVERLAP);
}

static void options_are_checked(void)
{
    static const uint32_t wrong_pages[] = { 1, 12, 20, 64, UINT32_MAX };
    struct guestmem_region_options options;
    for (unsigned bit = 6; bit < 64; bit++) {
        options = page_options(0);
        options.flags = (uint64_t)1 << bit;
        CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);
    }
    for (uint32_t purpose = 0; purpose < 5; purpose++) {
        options = page_options(0);
        options.purpose = purpose;
        CHECK_OK(try_options(&options));
    }
    options.purpose = 5;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);
    options.purpose = UINT32_MAX;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);

    options = page_options(0);
    options.reserved = 1;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);

    options = page_options(0);
    options.hugetlb_log2 = 21;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);
    for (size_t i = 0; i < sizeof wrong_pages / sizeof *wrong_pages; i++) {
        options.flags = GUESTMEM_REGION_HUGETLB;
        options.size = 1024 * MIB;
        options.hugetlb_log2 = wrong_pages[i];
        CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);
    }

    options = page_options(0);
    options.flags = GUESTMEM_REGION_HOST;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);

    options = page_options(0);
    options.size = 0;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_SIZE);
    options = page_options(PAGE / 2);
    CHECK_CODE(try_options(&options), GUESTMEM_E_NOT_ALIGNED);
    options = page_options(TOP);
    CHECK_CODE(try_options(&options), GUESTMEM_E_TOO_LARGE);
}

static void hugetlb_goes_with_nothing_else(void)
{
    static const uint64_t others[] = { GUESTMEM_REGION_FD, GUESTMEM_REGION_HOST,
                                       GUESTMEM_REGION_PRIVATE };
    struct guestmem_region_options options = page_options(0);
    int fd = new_memfd(2 * MIB);
    void *memory = mmap(NULL, (size_t)(4 * MIB), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    options.size = 2 * MIB;
    options.fd = fd;
    options.host_addr = (void *)(((uintptr_t)memory + 2 * MIB - 1) & ~(uintptr_t)(2 * MIB - 1));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        options.flags = GUESTMEM_REGION_HUGETLB | others[i];
        CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);
    }
    munmap(memory, (size_t)(4 * MIB));
    close(fd);
}

/* "When several things are wrong": pointers, flags and enums, address, range, alignment. */
static void the_first_wrong_thing_is_reported(void)
{
    struct guestmem_region_options options = page_options(0x800), two[2];
    struct guestmem *mem = NULL;
    options.flags = (uint64_t)1 << 40;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);
    options.size = 0;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);
    options.flags = 0;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_SIZE);
    options.guest_addr = TOP + 0x800;
    options.size = PAGE;
    options.align = 3;
    CHECK_CODE(try_options(&options), GUESTMEM_E_TOO_LARGE);
    options.purpose = 5;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);

    /* What is wrong with the first region does not hide the flags of the second. */
    two[0] = page_options(0x800);
    two[1] = page_options(PAGE);
    two[1].flags = (uint64_t)1 << 40;
    CHECK_CODE(guestmem_new_with_options(two, 2, sizeof *two, &mem), GUESTMEM_E_INVALID_ARGUMENT);
    two[1].flags = 0;
    two[1].size = 0;
    CHECK_CODE(guestmem_new_with_options(two, 2, sizeof *two, &mem), GUESTMEM_E_INVALID_SIZE);
    CHECK_CODE(guestmem_new_with_options(NULL, 1, 0, &mem), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(try_two(PAGE, PAGE, 0x800, PAGE), GUESTMEM_E_UNSORTED);
    CHECK_CODE(try_two(0, PAGE, 0x800, PAGE), GUESTMEM_E_OVERLAP);
}

static void one_memfd_holds_all(void)
{
    static const struct guestmem_range ranges[] = {
        { 0, 2 * PAGE }, { 2 * PAGE, PAGE }, { 16 * PAGE, 3 * PAGE }, { 4096 * MIB, PAGE }
    };
    struct guestmem *mem = check_new(ranges, 4);
    struct guestmem_region_info info;
    struct stat status;
    char path[64], target[128];
    uint64_t offset = 0;
    int fd = -1;
    ssize_t length;

    for (size_t i = 0; i < 4; i++) {
        REQUIRE(guestmem_region_info(mem, i, &info, sizeof info) == GUESTMEM_OK);
        if (i == 0) fd = info.fd;
        CHECK_EQ(info.fd, fd);
        CHECK_EQ(info.fd_offset, offset);
        offset += info.size;
    }
    REQUIRE(fstat(fd, &status) == 0);
    CHECK_EQ(status.st_size, 7 * PAGE);
    CHECK_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK(ftruncate(fd, 0) != 0);
    CHECK(ftruncate(fd, (off_t)(64 * PAGE)) != 0);
    snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
    length = readlink(path, target, sizeof target - 1);
    REQUIRE(length > 0);
    target[length] = 0;
    CHECK(strncmp(target, "/memfd:guestmem", 15) == 0 && (target[15] == 0 || target[15] == ' '));

    /* The bytes are where the offsets say. */
    CHECK_OK(guestmem_write_u64(mem, 4096 * MIB + 8, 0x1122334455667788));
    {
        uint64_t value = 0;
        CHECK_EQ(pread(fd, &value, sizeof value, (off_t)(6 * PAGE + 8)), sizeof value);
        CHECK_EQ(value, 0x1122334455667788);
    }
    guestmem_unref(mem);
    CHECK(fcntl(fd, F_GETFD) == -1);
}

static void memory_reads_as_zeros(void)
{
    static const struct guestmem_range range = { 0x10000, 16 * PAGE };
    static uint8_t bytes[16 * 4096], zeros[16 * 4096];
    struct guestmem *mem = check_new(&range, 1);
    memset(bytes, 0xee, sizeof bytes);
    CHECK_OK(guestmem_read_exact(mem, 0x10000, bytes, sizeof bytes));
    CHECK(memcmp(bytes, zeros, sizeof zeros) == 0);
    guestmem_unref(mem);
}

static void any_order_of_regions(void)
{
    struct guestmem_region_options options;
    struct guestmem_region *regions[3], *shuffled[3], *overlap[2];
    struct guestmem_region_info info;
    struct guestmem *mem = NULL;
    static const uint64_t bases[3] = { 0x8000, 0, 0x3000 };

    for (size_t i = 0; i < 3; i++) {
        options = page_options(bases[i]);
        REQUIRE(guestmem_region_new(&options, sizeof options, &regions[i]) == GUESTMEM_OK);
    }
    for (size_t turn = 0; turn < 3; turn++) {
        for (size_t i = 0; i < 3; i++) shuffled[i] = regions[(i + turn) % 3];
        REQUIRE(guestmem_from_regions(shuffled, 3, &mem) == GUESTMEM_OK);
        for (size_t i = 0; i < 3; i++) {
            static const uint64_t sorted[3] = { 0, 0x3000, 0x8000 };
            CHECK_OK(guestmem_region_info(mem, i, &info, sizeof info));
            CHECK_EQ(info.guest_addr, sorted[i]);
        }
        CHECK_EQ(guestmem_end_addr(mem), 0x8000 + PAGE);
        guestmem_unref(mem);
    }
    overlap[0] = overlap[1] = regions[0];
    CHECK_CODE(guestmem_from_regions(overlap, 2, &mem), GUESTMEM_E_OVERLAP);
    CHECK(mem == NULL);
    for (size_t i = 0; i < 3; i++) guestmem_region_unref(regions[i]);
}

static void a_region_in_two_memories(void)
{
    struct guestmem_region_options options = page_options(0x5000);
    struct guestmem_region *region;
    struct guestmem *first, *second;
    uint32_t value = 0;
    REQUIRE(guestmem_region_new(&options, sizeof options, &region) == GUESTMEM_OK);
    REQUIRE(guestmem_from_regions(&region, 1, &first) == GUESTMEM_OK);
    REQUIRE(guestmem_from_regions(&region, 1, &second) == GUESTMEM_OK);
    guestmem_region_unref(region);
    CHECK_OK(guestmem_write_u32(first, 0x5010, 0xcafe));
    CHECK_OK(guestmem_read_u32(second, 0x5010, &value));
    CHECK_EQ(value, 0xcafe);
    guestmem_unref(first);
    CHECK_OK(guestmem_read_u32(second, 0x5010, &value));
    CHECK_EQ(value, 0xcafe);
    guestmem_unref(second);
}

int main(void)
{
    empty_memory();
    address_and_size_are_checked();
    nothing_reaches_2_to_the_64();
    ranges_ascend_without_overlap();
    options_are_checked();
    hugetlb_goes_with_nothing_else();
    the_first_wrong_thing_is_reported();
    one_memfd_holds_all();
    memory_reads_as_zeros();
    any_order_of_regions();
    a_region_in_two_memories();
    return check_result();
}
