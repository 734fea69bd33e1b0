/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Guest memory for the tests of the inline path: any layout of regions, and a naive answer to where
 * an address lies in it. A program that includes this defines _GNU_SOURCE first. */
#ifndef INLINE_MAPS_H
#define INLINE_MAPS_H

#include "fixtures.h"

enum { MAP_REGIONS = 8 };

struct map_region {
    uint64_t base, size;
    bool read_only;
    uint8_t *host;
};

struct map {
    size_t count;
    struct map_region regions[MAP_REGIONS];
    struct guestmem *mem;
};

/* Makes the memory of a map whose regions' places are set, of two backings by turns. Read-only
 * regions are the caller's pages, which a test can fill, and in which a write that should have been
 * refused shows. */
CHECK_UNUSED static void map_make(struct map *map)
{
    struct guestmem_region_options options[MAP_REGIONS];
    memset(options, 0, sizeof options);
    for (size_t i = 0; i < map->count; i++) {
        options[i].guest_addr = map->regions[i].base;
        options[i].size = map->regions[i].size;
        options[i].flags = i % 2 == 1 ? GUESTMEM_REGION_PRIVATE : 0;
        if (!map->regions[i].read_only) continue;
        options[i].flags = GUESTMEM_REGION_HOST | GUESTMEM_REGION_READ_ONLY;
        options[i].host_addr = new_host_memory(options[i].size);
    }
    CHECK_OK(guestmem_new_with_options(options, map->count, sizeof *options, &map->mem));
    REQUIRE(map->mem != NULL);
    for (size_t i = 0; i < map->count; i++) map->regions[i].host = info_of(map->mem, i).host_addr;
}

CHECK_UNUSED static void map_free(struct map *map)
{
    guestmem_unref(map->mem);
    for (size_t i = 0; i < map->count; i++)
        if (map->regions[i].read_only)
            REQUIRE(munmap(map->regions[i].host, (size_t)map->regions[i].size) == 0);
}

CHECK_UNUSED static const struct map_region *map_find(const struct map *map, uint64_t addr)
{
    for (size_t i = 0; i < map->count; i++)
        if (addr >= map->regions[i].base && addr - map->regions[i].base < map->regions[i].size)
            return &map->regions[i];
    return NULL;
}

/* Bytes from the address to the end of its region. */
CHECK_UNUSED static uint64_t map_room(const struct map *map, uint64_t addr)
{
    const struct map_region *region = map_find(map, addr);
    return region == NULL ? 0 : region->size - (addr - region->base);
}

/* Where a range lies in the host; NULL for no bytes and for what no region holds in full. */
CHECK_UNUSED static void *map_host(const struct map *map, uint64_t addr, uint64_t len)
{
    const struct map_region *region = map_find(map, addr);
    if (len == 0 || len > map_room(map, addr)) return NULL;
    return region->host + (addr - region->base);
}

CHECK_UNUSED static bool map_read_only(const struct map *map, uint64_t addr)
{
    const struct map_region *region = map_find(map, addr);
    return region != NULL && region->read_only;
}

/* The same; NULL also in a read-only region. */
CHECK_UNUSED static void *map_host_writable(const struct map *map, uint64_t addr, uint64_t len)
{
    return map_read_only(map, addr) ? NULL : map_host(map, addr, len);
}

/* The orders of memory_order that a load takes, and those that a store takes. */
CHECK_UNUSED static bool load_order(uint32_t order)
{
    return order == GUESTMEM_RELAXED || order == GUESTMEM_ACQUIRE || order == GUESTMEM_SEQ_CST;
}

CHECK_UNUSED static bool store_order(uint32_t order)
{
    return order == GUESTMEM_RELAXED || order == GUESTMEM_RELEASE || order == GUESTMEM_SEQ_CST;
}

#endif
