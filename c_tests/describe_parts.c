/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What guestmem_describe() tells of regions that are parts of one mapping of the caller's: for each
 * its own bytes in memory, and no number where the kernel does not tell. This program's ioctl()
 * stands before that of the C library, and can be an older kernel's.
 * runs: asan valgrind */
#include "support/guest.h"
#include "support/json.h"
#include "support/system.h"
#include <stdarg.h>
#include <sys/syscall.h>

static bool old_kernel, scans;

#ifdef __GLIBC__
int ioctl(int fd, unsigned long request, ...)
#else
int ioctl(int fd, int request, ...)
#endif
{
    va_list arguments;
    void *argument;
    int result;
    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    if (old_kernel) {
        errno = ENOTTY;
        return -1;
    }
    result = (int)syscall(SYS_ioctl, fd, request, argument);
    if ((request >> 8 & 0xff) == 'f' && (request & 0xff) == 16 && result >= 0) scans = true;
    return result;
}

/* Two regions in a mapping of 16 pages: its pages 2 to 5 and 6 to 13. */
static struct guestmem *two_parts(uint8_t *mapped, uint64_t unit)
{
    struct guestmem_region_options options[2];
    struct guestmem *mem = NULL;
    memset(options, 0, sizeof options);
    options[0].flags = options[1].flags = GUESTMEM_REGION_HOST;
    options[0].host_addr = mapped + 2 * unit, options[0].size = 4 * unit;
    options[1].host_addr = mapped + 6 * unit, options[1].size = 8 * unit;
    options[1].guest_addr = 1 << 30;
    REQUIRE(guestmem_new_with_options(options, 2, sizeof options[0], &mem) == GUESTMEM_OK);
    return mem;
}

static void check_described(const struct guestmem *mem, uint64_t first, uint64_t second)
{
    char *text = NULL;
    CHECK_OK(guestmem_describe(mem, &text));
    REQUIRE(text != NULL && json_valid(text));
    if (scans && !old_kernel) {
        CHECK_EQ(json_number(text, "regions[0].resident"), first);
        CHECK_EQ(json_number(text, "regions[1].resident"), second);
        CHECK_EQ(json_number(text, "resident"), first + second);
    } else {
        CHECK(json_at(text, "regions[0].resident") == NULL && json_at(text, "resident") == NULL);
    }
    guestmem_free(text);
}

static void test_parts(int flags, uint64_t unit)
{
    const size_t size = (size_t)(16 * unit);
    uint8_t *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    struct guestmem *mem;
    char *text = NULL;
    REQUIRE(mapped != MAP_FAILED);
    mem = two_parts(mapped, unit);
    /* One before both, two and three in them, one behind them. */
    mapped[0] = mapped[2 * unit] = mapped[5 * unit] = 1;
    mapped[6 * unit] = mapped[9 * unit] = mapped[13 * unit] = mapped[15 * unit] = 1;
    old_kernel = false;
    CHECK_OK(guestmem_describe(mem, &text)); /* finds out whether the kernel tells */
    guestmem_free(text);
    check_described(mem, 2 * unit, 3 * unit);
    old_kernel = true;
    check_described(mem, 0, 0);
    old_kernel = false;
    guestmem_unref(mem);
    REQUIRE(munmap(mapped, size) == 0);
}

int main(void)
{
    test_parts(MAP_PRIVATE, PAGE);
    test_parts(MAP_SHARED, PAGE);
    if (reserve_huge_pages(16)) {
        test_parts(MAP_PRIVATE | MAP_HUGETLB | 21 << 26, 2 << 20);
        test_parts(MAP_SHARED | MAP_HUGETLB | 21 << 26, 2 << 20);
    } else {
        SKIP_PART("no huge pages of 2 MiB can be reserved");
    }
    return check_result();
}
