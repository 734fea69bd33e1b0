/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the system counts, and its pool of huge pages, which a test may have to fill. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include "check.h"

#include <fcntl.h>
#include <sys/file.h>

CHECK_UNUSED static bool read_number(const char *path, uint64_t *out)
{
    FILE *file = fopen(path, "re");
    bool found;
    if (file == NULL) return false;
    found = fscanf(file, "%" SCNu64, out) == 1;
    REQUIRE(fclose(file) == 0);
    return found;
}

CHECK_UNUSED static bool write_number(const char *path, uint64_t value)
{
    FILE *file = fopen(path, "we");
    bool written;
    if (file == NULL) return false;
    written = fprintf(file, "%" PRIu64, value) > 0;
    return fclose(file) == 0 && written;
}

/* The number behind a name such as HugePages_Free in /proc/meminfo, or 0. */
CHECK_UNUSED static uint64_t meminfo(const char *name)
{
    char line[256];
    uint64_t value = 0;
    size_t length = strlen(name);
    FILE *file = fopen("/proc/meminfo", "re");
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, length) == 0 && line[length] == ':')
            value = strtoull(line + length + 1, NULL, 10);
    fclose(file);
    return value;
}

#define HUGE_POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGE_PAGE (UINT64_C(2) << 20)

static uint64_t huge_pool_before;

CHECK_UNUSED static void restore_huge_pool(void)
{
    (void)write_number(HUGE_POOL "nr_hugepages", huge_pool_before);
}

/* Pages of 2 MiB that are neither used nor reserved. */
CHECK_UNUSED static uint64_t free_huge_pages(void)
{
    uint64_t unused = 0, reserved = 0;
    CHECK(read_number(HUGE_POOL "free_hugepages", &unused));
    CHECK(read_number(HUGE_POOL "resv_hugepages", &reserved));
    return unused - reserved;
}

/* The pool belongs to the whole system: one program at a time counts and changes it, to its end. */
CHECK_UNUSED static void lock_huge_pages(void)
{
    static int fd = -1;
    if (fd >= 0) return;
    fd = open("/proc/sys/vm/nr_hugepages", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && flock(fd, LOCK_EX) == 0);
}

/* So many pages of 2 MiB are free to take, until the program ends. Needs root. */
CHECK_UNUSED static bool reserve_huge_pages(uint64_t pages)
{
    uint64_t unused;
    if (!read_number(HUGE_POOL "free_hugepages", &unused)) return false;
    lock_huge_pages();
    if (free_huge_pages() >= pages) return true;
    if (!read_number(HUGE_POOL "nr_hugepages", &huge_pool_before)) return false;
    if (!write_number(HUGE_POOL "nr_hugepages", huge_pool_before + pages)) return false;
    REQUIRE(atexit(restore_huge_pool) == 0);
    return free_huge_pages() >= pages;
}

#endif
