/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory whose missing pages a userfaultfd supplies is no memory of zeros: snapshots refuse it,
 * wherever in a region it lies and whatever the region is made of. Memory that only has its writes
 * watched is not refused. Finding that out leaves nothing behind, and reads no list of all pages of
 * the process: this program's openat() stands before that of the C library and sees what is
 * opened.
 * runs: asan */
#include "support/snapshots.h"
#include "support/system.h"
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

static unsigned smaps_opened;

int openat(int folder, const char *path, int flags, ...)
{
    va_list arguments;
    unsigned mode;
    va_start(arguments, flags);
    mode = va_arg(arguments, unsigned);
    va_end(arguments);
    smaps_opened += strstr(path, "smaps") != NULL;
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

static int new_userfaultfd(void)
{
    struct uffdio_api api = {.api = UFFD_API};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if (fd >= 0) REQUIRE(ioctl(fd, UFFDIO_API, &api) == 0);
    return fd;
}

/* 0, or errno. */
static int attach(int fd, const void *start, uint64_t len, uint64_t mode)
{
    struct uffdio_register range;
    memset(&range, 0, sizeof range);
    range.range.start = (uintptr_t)start, range.range.len = len, range.mode = mode;
    return ioctl(fd, UFFDIO_REGISTER, &range) == 0 ? 0 : errno;
}

static int snapshot_of(const struct guestmem *mem)
{
    char *metadata = NULL;
    int out = new_memfd(0), code = guestmem_snapshot(mem, out, NULL, 0, &metadata);
    CHECK((code == GUESTMEM_OK) == (metadata != NULL));
    guestmem_free(metadata);
    REQUIRE(close(out) == 0);
    return code;
}

/* Before and after somebody has pages that are missing in a part of a region. */
static void check_part(const struct guestmem *mem, const uint8_t *part, uint64_t len)
{
    int fd = new_userfaultfd();
    CHECK_CODE(snapshot_of(mem), GUESTMEM_OK);
    CHECK_EQ(attach(fd, part, len, UFFDIO_REGISTER_MODE_MISSING), 0);
    CHECK_CODE(snapshot_of(mem), GUESTMEM_E_UNSUPPORTED);
    REQUIRE(close(fd) == 0);
    CHECK_CODE(snapshot_of(mem), GUESTMEM_OK);

    /* Writes that are watched hide nothing. */
    fd = new_userfaultfd();
    if (attach(fd, part, len, UFFDIO_REGISTER_MODE_WP) == 0)
        CHECK_CODE(snapshot_of(mem), GUESTMEM_OK);
    REQUIRE(close(fd) == 0);
}

/* Each page by itself, in a memory whose other region has nothing to do with it. */
static void test_region(uint64_t flags, int file, uint64_t unit)
{
    struct guestmem_region_options options[2];
    struct guestmem *mem = NULL;
    uint8_t *host;
    uint64_t page;
    memset(options, 0, sizeof options);
    options[0].size = 4 * unit, options[0].flags = flags, options[0].fd = file;
    options[1].guest_addr = 1 << 30, options[1].size = 4 * PAGE;
    REQUIRE(guestmem_new_with_options(options, 2, sizeof options[0], &mem) == GUESTMEM_OK);
    host = info_of(mem, 0).host_addr;
    if (!(flags & GUESTMEM_REGION_FD)) CHECK_OK(guestmem_write_u64(mem, 2 * unit, 1));
    for (page = 0; page < 4 && !(flags & GUESTMEM_REGION_FD); page++)
        check_part(mem, host + page * unit, unit);
    if (flags & GUESTMEM_REGION_PRIVATE && flags & GUESTMEM_REGION_FD) {
        /* Zeros of its own, between pages of the file. */
        CHECK_OK(guestmem_remove_range(mem, unit, unit));
        CHECK_OK(guestmem_remove_range(mem, 3 * unit, unit));
        check_part(mem, host + unit, unit);
        check_part(mem, host + 3 * unit, unit);
    }
    smaps_opened = 0;
    CHECK_CODE(snapshot_of(mem), GUESTMEM_OK);
    CHECK_EQ(smaps_opened, 0);
    guestmem_unref(mem);
}

/* Nothing was registered: another one still can be. The page behind the region refuses. */
static void test_nothing_is_left_behind(void)
{
    struct guestmem_range range = {0, 16 * PAGE};
    struct guestmem *mem = NULL;
    uint8_t *host;
    int fd = new_userfaultfd();
    REQUIRE(guestmem_new(&range, 1, &mem) == GUESTMEM_OK);
    host = info_of(mem, 0).host_addr;
    CHECK_CODE(snapshot_of(mem), GUESTMEM_OK);
    CHECK_EQ(attach(fd, host + range.size, PAGE, UFFDIO_REGISTER_MODE_MISSING), EPERM);
    CHECK_EQ(attach(fd, host, range.size, UFFDIO_REGISTER_MODE_MISSING), 0);
    REQUIRE(close(fd) == 0);
    guestmem_unref(mem);
}

int main(void)
{
    int disk = new_disk_file(4 * PAGE), fd = new_userfaultfd();
    if (fd < 0) SKIP("no userfaultfd here");
    REQUIRE(close(fd) == 0);
    test_region(0, 0, PAGE);
    test_region(GUESTMEM_REGION_PRIVATE, 0, PAGE);
    test_region(GUESTMEM_REGION_FD, disk, PAGE);
    test_region(GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE, disk, PAGE);
    if (reserve_huge_pages(8))
        test_region(GUESTMEM_REGION_HUGETLB, 0, 2 << 20);
    else
        SKIP_PART("no huge pages of 2 MiB can be reserved");
    test_nothing_is_left_behind();
    REQUIRE(close(disk) == 0);
    return check_result();
}
