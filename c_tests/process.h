/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What /proc says about this process's own memory. */
#ifndef PROCESS_H
#define PROCESS_H

#include "fixtures.h"
#include "system.h"

/* The page is in host memory (a file's page that is cached, but not mapped here, does not count).
 */
CHECK_UNUSED static bool page_present(const void *host)
{
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(pread(fd, &entry, sizeof entry, (off_t)((uintptr_t)host / PAGE * sizeof entry)) ==
            (ssize_t)sizeof entry);
    REQUIRE(close(fd) == 0);
    return (entry >> 62) != 0; /* present or swapped */
}

CHECK_UNUSED static size_t pages_present(const void *host, size_t count)
{
    size_t present = 0, i;
    for (i = 0; i < count; i++) present += page_present((const uint8_t *)host + i * PAGE);
    return present;
}

/* Reads what follows `key` in the smaps entry of the mapping that holds `host`. */
CHECK_UNUSED static bool smaps_line(const void *host, const char *key, char *line, size_t cap)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    bool inside = false, found = false;
    unsigned long start, end;
    REQUIRE(file != NULL);
    while (!found && fgets(line, (int)cap, file) != NULL) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = start <= (uintptr_t)host && (uintptr_t)host < end;
        else
            found = inside && strncmp(line, key, strlen(key)) == 0;
    }
    REQUIRE(fclose(file) == 0);
    return found;
}

/* One of the two-letter flags of the mapping that holds `host`. */
CHECK_UNUSED static bool mapping_has(const void *host, const char *flag)
{
    char line[512], padded[8];
    if (!smaps_line(host, "VmFlags:", line, sizeof line)) return false;
    (void)snprintf(padded, sizeof padded, " %s ", flag);
    return strstr(line, padded) != NULL;
}

/* mlock2(2) and munlock(2) do what they are for. valgrind does not know the first one, and
 * AddressSanitizer makes the second one do nothing. */
CHECK_UNUSED static bool locking_works(void)
{
    void *page = new_host_memory(PAGE);
    bool works = mlock2(page, (size_t)PAGE, MLOCK_ONFAULT) == 0 && mapping_has(page, "lo");
    works = works && munlock(page, (size_t)PAGE) == 0 && !mapping_has(page, "lo");
    REQUIRE(munmap(page, (size_t)PAGE) == 0);
    return works;
}

/* The word in brackets, as in "always [madvise] never"; empty where there is no such file. */
CHECK_UNUSED static void read_choice(const char *path, char *out, size_t cap)
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

/* The most host memory that there was at once. */
CHECK_UNUSED static uint64_t peak_kib(void)
{
    char line[256];
    FILE *file = fopen("/proc/self/status", "re");
    uint64_t peak = 0;
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %" SCNu64, &peak) == 1) break;
    REQUIRE(fclose(file) == 0);
    return peak;
}

#endif
