/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the header says of the descriptors and mappings that a memory takes, and of mprotect(2),
 * madvise(2) and mbind(2) on a region's memory.
 * runs: asan valgrind */
#include "support/guest.h"
#include "support/process.h"
#include <dirent.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PAGES = 16, BOUND = 2 /* MPOL_BIND */ };
#define SIZE (PAGES * PAGE)
#define FILE_BYTE 7

static size_t descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;
    REQUIRE(folder != NULL);
    while (readdir(folder) != NULL) count++;
    REQUIRE(closedir(folder) == 0);
    return count;
}

/* Mappings whose line in /proc/self/maps has this word. */
static size_t mappings(const char *word)
{
    char line[512];
    size_t count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    REQUIRE(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) count += strstr(line, word) != NULL;
    REQUIRE(fclose(maps) == 0);
    return count;
}

static struct guestmem *memory_of(uint64_t flags, int fd, void *host, size_t regions)
{
    struct guestmem_region_options options[4];
    struct guestmem *mem = NULL;
    memset(options, 0, sizeof options);
    for (size_t i = 0; i < regions; i++) {
        options[i].guest_addr = i * 2 * SIZE, options[i].size = SIZE;
        options[i].flags = flags, options[i].fd = fd, options[i].host_addr = host;
    }
    REQUIRE(guestmem_new_with_options(options, regions, sizeof *options, &mem) == GUESTMEM_OK);
    return mem;
}

static void check_descriptors(uint64_t flags, int fd, void *host, size_t expected)
{
    size_t before = descriptors();
    struct guestmem *mem = memory_of(flags, fd, host, 4);
    CHECK_EQ(descriptors() - before, expected);
    guestmem_unref(mem);
    CHECK_EQ(descriptors(), before);
}

static void memory_takes_descriptors(int fd)
{
    void *host = new_host_memory(SIZE);
    guestmem_unref(memory_of(0, -1, NULL, 1)); /* what is made once for the process */
    check_descriptors(0, -1, NULL, 1);
    check_descriptors(GUESTMEM_REGION_PRIVATE, -1, NULL, 0);
    check_descriptors(GUESTMEM_REGION_HOST, -1, host, 0);
    check_descriptors(GUESTMEM_REGION_FD, fd, NULL, 4);
    check_descriptors(GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE, fd, NULL, 4);
    REQUIRE(munmap(host, SIZE) == 0);
}

static void memory_takes_mappings(void)
{
    size_t guards = mappings("memfd:guestmem-guard"), regions = mappings("memfd:guestmem (");
    struct guestmem *mem = memory_of(0, -1, NULL, 4);
    CHECK_EQ(mappings("memfd:guestmem (") - regions, 4);
    guards = mappings("memfd:guestmem-guard") - guards;
    /* Where mremap(2) cannot copy a mapping (valgrind), nothing tells guard pages apart. */
    CHECK(guards == 8 || guards == 0);
    guestmem_unref(mem);
}

static void kernel_meets_protection(const struct guestmem *mem, uint8_t *host, int fd)
{
    char *metadata;
    int out = new_memfd(0);
    REQUIRE(mprotect(host + PAGE, PAGE, PROT_READ) == 0);
    CHECK_CODE(guestmem_read_to_memory_at(mem, PAGE, fd, 0, PAGE), GUESTMEM_E_IO);
    CHECK_EQ(last_error().os_errno, EFAULT);
    REQUIRE(mprotect(host + PAGE, PAGE, PROT_NONE) == 0);
    CHECK_CODE(guestmem_snapshot(mem, out, NULL, 0, &metadata), GUESTMEM_E_IO);
    CHECK_EQ(last_error().os_errno, EFAULT);
    REQUIRE(mprotect(host + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
    REQUIRE(close(out) == 0);
}

static bool is_bound(void *host)
{
    int mode = -1;
    return syscall(SYS_get_mempolicy, &mode, NULL, 0UL, host, 2UL /* MPOL_F_ADDR */) == 0 &&
           mode == BOUND;
}

/* Pages of a copy-on-write region are replaced, all others stay what the caller made of them. */
static void removal_meets_settings(struct guestmem *mem, uint8_t *host, bool replaced)
{
    unsigned long node = 1;
    bool can_bind = syscall(SYS_mbind, host, SIZE, BOUND, &node, 64UL, 0U) == 0 && is_bound(host);
    CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_DONTFORK));
    CHECK_OK(guestmem_remove_range(mem, 4 * PAGE, PAGE));
    CHECK_EQ(host[4 * PAGE], 0);
    CHECK(mapping_has(host + 4 * PAGE, "dc"));
    if (can_bind) CHECK(is_bound(host + 4 * PAGE) == !replaced);
}

static void settings_hold(uint64_t flags, int fd, uint8_t after_dontneed)
{
    struct guestmem *mem = memory_of(flags, fd, NULL, 1);
    uint8_t *host = info_of(mem, 0).host_addr;
    memset(host, 3, SIZE);
    kernel_meets_protection(mem, host, fd);
    REQUIRE(madvise(host + 2 * PAGE, PAGE, MADV_DONTNEED) == 0);
    CHECK_EQ(host[2 * PAGE], after_dontneed);
    removal_meets_settings(mem, host, flags == (GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE));
    guestmem_unref(mem);
}

int main(void)
{
    uint8_t bytes[PAGE];
    int fd = new_disk_file(SIZE);
    memset(bytes, FILE_BYTE, sizeof bytes);
    for (off_t i = 0; i < PAGES; i++)
        REQUIRE(pwrite(fd, bytes, sizeof bytes, i * (off_t)PAGE) == (ssize_t)sizeof bytes);
    memory_takes_descriptors(fd);
    memory_takes_mappings();
    settings_hold(0, fd, 3);
    settings_hold(GUESTMEM_REGION_PRIVATE, fd, 0);
    settings_hold(GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE, fd, FILE_BYTE);
    REQUIRE(close(fd) == 0);
    return check_result();
}
