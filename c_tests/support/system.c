/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "system.h"

#include "process.h"

#include <sys/file.h>

static uint64_t huge_pool_before;

bool read_number(const char *path, uint64_t *out)
{
    FILE *file = fopen(path, "re");
    bool found;
    if (file == NULL) return false;
    found = fscanf(file, "%" SCNu64, out) == 1;
    REQUIRE(fclose(file) == 0);
    return found;
}

bool write_number(const char *path, uint64_t value)
{
    FILE *file = fopen(path, "we");
    bool written;
    if (file == NULL) return false;
    written = fprintf(file, "%" PRIu64, value) > 0;
    return fclose(file) == 0 && written;
}

uint64_t meminfo(const char *name)
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

void read_choice(const char *path, char *out, size_t cap)
{
    char line[256] = "", *open_bracket, *close_bracket;
    FILE *file = fopen(path, "re");
    *out = 0;
    if (file == NULL) return;
    if (fgets(line, sizeof line, file) == NULL) line[0] = 0;
    REQUIRE(fclose(file) == 0);
    open_bracket = strchr(line, '[');
    close_bracket = strchr(line, ']');
    if (open_bracket == NULL || close_bracket == NULL) return;
    *close_bracket = 0;
    (void)snprintf(out, cap, "%s", open_bracket + 1);
}

static void restore_huge_pool(void)
{
    (void)write_number(HUGE_POOL "nr_hugepages", huge_pool_before);
}

uint64_t free_huge_pages(void)
{
    uint64_t unused = 0, reserved = 0;
    CHECK(read_number(HUGE_POOL "free_hugepages", &unused));
    CHECK(read_number(HUGE_POOL "resv_hugepages", &reserved));
    return unused - reserved;
}

void lock_huge_pages(void)
{
    static int fd = -1;
    if (fd >= 0) return;
    fd = open("/proc/sys/vm/nr_hugepages", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && flock(fd, LOCK_EX) == 0);
}

bool reserve_huge_pages(uint64_t pages)
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

bool locking_works(void)
{
    void *page = new_host_memory(PAGE);
    bool works = mlock2(page, (size_t)PAGE, MLOCK_ONFAULT) == 0 && mapping_has(page, "lo");
    works = works && munlock(page, (size_t)PAGE) == 0 && !mapping_has(page, "lo");
    REQUIRE(munmap(page, (size_t)PAGE) == 0);
    return works;
}
