/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Guest memory for the tests of access, transfers and snapshots: regions of every backing, touching
 * and apart, each with a shadow copy that says what its bytes must be. */
#ifndef FIXTURES_H
#define FIXTURES_H

#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE ((uint64_t)4096)

/* Set where every instruction is expensive (valgrind, sanitizers): fewer rounds, no huge transfers.
 */
CHECK_UNUSED static bool fast(void)
{
    const char *value = getenv("GUESTMEM_TEST_FAST");
    return value != NULL && strcmp(value, "") != 0 && strcmp(value, "0") != 0;
}

CHECK_UNUSED static uint64_t random_number(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

CHECK_UNUSED static void fill_random(void *out, size_t len, uint64_t seed)
{
    uint8_t *bytes = out;
    uint64_t state = seed * 2 + 1;
    size_t i;
    for (i = 0; i < len; i++) bytes[i] = (uint8_t)(random_number(&state) >> 32);
}

CHECK_UNUSED static int new_memfd(uint64_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

/* A file on disk that nobody else sees. */
CHECK_UNUSED static int new_disk_file(uint64_t size)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int fd;
    (void)snprintf(path, sizeof path, "%s/guestmem-test-XXXXXX", folder ? folder : "/tmp");
    fd = mkstemp(path);
    REQUIRE(fd >= 0 && unlink(path) == 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

/* The same file once more, with a description of its own. */
CHECK_UNUSED static int reopen(int fd, int flags)
{
    char path[64];
    int again;
    (void)snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
    again = open(path, flags | O_CLOEXEC);
    REQUIRE(again >= 0);
    return again;
}

CHECK_UNUSED static void *new_host_memory(uint64_t size)
{
    void *host =
        mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(host != MAP_FAILED);
    return host;
}

/* Host memory that a file or memfd takes. */
CHECK_UNUSED static uint64_t allocated_bytes(int fd)
{
    struct stat st;
    REQUIRE(fstat(fd, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

CHECK_UNUSED static struct guestmem_region_info info_of(const struct guestmem *mem, size_t index)
{
    struct guestmem_region_info info;
    REQUIRE(guestmem_region_info(mem, index, &info, sizeof info) == GUESTMEM_OK);
    return info;
}

CHECK_UNUSED static struct guestmem_error_info last_error(void)
{
    struct guestmem_error_info info;
    REQUIRE(guestmem_last_error(&info, sizeof info) == GUESTMEM_OK);
    return info;
}

/* A copy of all guest memory, regions one after the other. */
CHECK_UNUSED static uint8_t *copy_of(const struct guestmem *mem)
{
    size_t count = guestmem_num_regions(mem), at = 0, i;
    uint8_t *bytes = malloc((size_t)guestmem_memory_size(mem) + 1);
    REQUIRE(bytes != NULL);
    for (i = 0; i < count; i++) {
        struct guestmem_region_info info = info_of(mem, i);
        memcpy(bytes + at, info.host_addr, (size_t)info.size);
        at += (size_t)info.size;
    }
    return bytes;
}

CHECK_UNUSED static bool memory_is(const struct guestmem *mem, const uint8_t *bytes)
{
    size_t count = guestmem_num_regions(mem), at = 0, i;
    for (i = 0; i < count; i++) {
        struct guestmem_region_info info = info_of(mem, i);
        if (memcmp(bytes + at, info.host_addr, (size_t)info.size) != 0) return false;
        at += (size_t)info.size;
    }
    return true;
}

/* ---- a world: one region of each backing ---- */

enum { WORLD_AREAS = 7 };

struct area {
    uint64_t start, size;
    bool read_only;
    uint8_t *host;   /* where the library mapped it */
    uint8_t *shadow; /* what it must hold */
};

struct world {
    struct guestmem *mem;
    struct area area[WORLD_AREAS];
    void *caller_memory;
    uint64_t caller_size;
};

/* A run of four touching regions, a hole, a read-only region that touches a writable one, a hole,
 * and one as close to 2^64 as a region may be. */
CHECK_UNUSED static void world_new(struct world *world)
{
    struct guestmem_region_options options[WORLD_AREAS];
    int shared, rom, rom_rw;
    size_t i;
    uint8_t content[0x2000];

    memset(options, 0, sizeof options);
    memset(world, 0, sizeof *world);
    shared = new_memfd(3 * PAGE);
    rom_rw = new_disk_file(sizeof content);
    fill_random(content, sizeof content, 99);
    REQUIRE(pwrite(rom_rw, content, sizeof content, 0) == (ssize_t)sizeof content);
    rom = reopen(rom_rw, O_RDONLY);
    world->caller_size = 0x2000;
    world->caller_memory = new_host_memory(world->caller_size);

    options[0].guest_addr = 0x10000, options[0].size = 0x4000;
    options[1].guest_addr = 0x14000, options[1].size = 0x3000,
    options[1].flags = GUESTMEM_REGION_PRIVATE;
    options[2].guest_addr = 0x17000, options[2].size = 0x2000,
    options[2].flags = GUESTMEM_REGION_HOST;
    options[2].host_addr = world->caller_memory;
    options[3].guest_addr = 0x19000, options[3].size = 0x2000,
    options[3].flags = GUESTMEM_REGION_FD;
    options[3].fd = shared, options[3].fd_offset = PAGE;
    options[4].guest_addr = 0x20000, options[4].size = 0x2000;
    options[4].flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_READ_ONLY, options[4].fd = rom;
    options[5].guest_addr = 0x22000, options[5].size = 0x1000;
    options[6].guest_addr = UINT64_C(0xffffffffffffd000), options[6].size = 0x2000;

    CHECK_OK(guestmem_new_with_options(options, WORLD_AREAS, sizeof options[0], &world->mem));
    REQUIRE(world->mem != NULL);
    REQUIRE(close(shared) == 0 && close(rom) == 0 && close(rom_rw) == 0);
    for (i = 0; i < WORLD_AREAS; i++) {
        struct area *area = &world->area[i];
        struct guestmem_region_info info = info_of(world->mem, i);
        REQUIRE(info.guest_addr == options[i].guest_addr && info.size == options[i].size);
        area->start = info.guest_addr;
        area->size = info.size;
        area->host = info.host_addr;
        area->read_only = (options[i].flags & GUESTMEM_REGION_READ_ONLY) != 0;
        area->shadow = malloc((size_t)area->size);
        REQUIRE(area->shadow != NULL);
        if (!area->read_only) fill_random(area->host, (size_t)area->size, i + 1);
        memcpy(area->shadow, area->read_only ? content : area->host, (size_t)area->size);
    }
}

CHECK_UNUSED static void world_free(struct world *world)
{
    size_t i;
    guestmem_unref(world->mem);
    REQUIRE(munmap(world->caller_memory, (size_t)world->caller_size) == 0);
    for (i = 0; i < WORLD_AREAS; i++) free(world->area[i].shadow);
}

/* Guest memory and its shadow agree, to the last byte. */
CHECK_UNUSED static bool world_agrees(const struct world *world)
{
    size_t i;
    for (i = 0; i < WORLD_AREAS; i++)
        if (memcmp(world->area[i].host, world->area[i].shadow, (size_t)world->area[i].size) != 0)
            return false;
    return true;
}

CHECK_UNUSED static const struct area *area_at(const struct world *world, uint64_t addr)
{
    size_t i;
    for (i = 0; i < WORLD_AREAS; i++)
        if (addr >= world->area[i].start && addr - world->area[i].start < world->area[i].size)
            return &world->area[i];
    return NULL;
}

/* The shadow of one guest byte, NULL in a hole. */
CHECK_UNUSED static uint8_t *shadow_at(const struct world *world, uint64_t addr)
{
    const struct area *area = area_at(world, addr);
    return area == NULL ? NULL : area->shadow + (addr - area->start);
}

/* One past the end of a region. */
CHECK_UNUSED static bool is_an_end(const struct world *world, uint64_t addr)
{
    size_t i;
    for (i = 0; i < WORLD_AREAS; i++)
        if (addr == world->area[i].start + world->area[i].size) return true;
    return false;
}

#endif
