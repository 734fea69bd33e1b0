/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "guest.h"

bool fast(void)
{
    const char *value = getenv("GUESTMEM_TEST_FAST");
    return value != NULL && strcmp(value, "") != 0 && strcmp(value, "0") != 0;
}

uint64_t random_number(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

void fill_random(void *out, size_t len, uint64_t seed)
{
    uint8_t *bytes = out;
    uint64_t state = seed * 2 + 1;
    size_t i;
    for (i = 0; i < len; i++) bytes[i] = (uint8_t)(random_number(&state) >> 32);
}

void *new_host_memory(uint64_t size)
{
    void *host =
        mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(host != MAP_FAILED);
    return host;
}

struct guestmem_region_info info_of(const struct guestmem *mem, size_t index)
{
    struct guestmem_region_info info;
    REQUIRE(guestmem_region_info(mem, index, &info, sizeof info) == GUESTMEM_OK);
    return info;
}

struct guestmem_error_info last_error(void)
{
    struct guestmem_error_info info;
    REQUIRE(guestmem_last_error(&info, sizeof info) == GUESTMEM_OK);
    return info;
}

uint8_t *copy_of(const struct guestmem *mem)
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

bool memory_is(const struct guestmem *mem, const uint8_t *bytes)
{
    size_t count = guestmem_num_regions(mem), at = 0, i;
    for (i = 0; i < count; i++) {
        struct guestmem_region_info info = info_of(mem, i);
        if (memcmp(bytes + at, info.host_addr, (size_t)info.size) != 0) return false;
        at += (size_t)info.size;
    }
    return true;
}

void world_new(struct world *world)
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

void world_free(struct world *world)
{
    size_t i;
    guestmem_unref(world->mem);
    REQUIRE(munmap(world->caller_memory, (size_t)world->caller_size) == 0);
    for (i = 0; i < WORLD_AREAS; i++) free(world->area[i].shadow);
}

bool world_agrees(const struct world *world)
{
    size_t i;
    for (i = 0; i < WORLD_AREAS; i++)
        if (memcmp(world->area[i].host, world->area[i].shadow, (size_t)world->area[i].size) != 0)
            return false;
    return true;
}

const struct area *area_at(const struct world *world, uint64_t addr)
{
    size_t i;
    for (i = 0; i < WORLD_AREAS; i++)
        if (addr >= world->area[i].start && addr - world->area[i].start < world->area[i].size)
            return &world->area[i];
    return NULL;
}

uint8_t *shadow_at(const struct world *world, uint64_t addr)
{
    const struct area *area = area_at(world, addr);
    return area == NULL ? NULL : area->shadow + (addr - area->start);
}

bool is_an_end(const struct world *world, uint64_t addr)
{
    size_t i;
    for (i = 0; i < WORLD_AREAS; i++)
        if (addr == world->area[i].start + world->area[i].size) return true;
    return false;
}
