/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "maps.h"

void map_make(struct map *map)
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

void map_free(struct map *map)
{
    guestmem_unref(map->mem);
    for (size_t i = 0; i < map->count; i++)
        if (map->regions[i].read_only)
            REQUIRE(munmap(map->regions[i].host, (size_t)map->regions[i].size) == 0);
}

const struct map_region *map_find(const struct map *map, uint64_t addr)
{
    for (size_t i = 0; i < map->count; i++)
        if (addr >= map->regions[i].base && addr - map->regions[i].base < map->regions[i].size)
            return &map->regions[i];
    return NULL;
}

uint64_t map_room(const struct map *map, uint64_t addr)
{
    const struct map_region *region = map_find(map, addr);
    return region == NULL ? 0 : region->size - (addr - region->base);
}

void *map_host(const struct map *map, uint64_t addr, uint64_t len)
{
    const struct map_region *region = map_find(map, addr);
    if (len == 0 || len > map_room(map, addr)) return NULL;
    return region->host + (addr - region->base);
}

bool map_read_only(const struct map *map, uint64_t addr)
{
    const struct map_region *region = map_find(map, addr);
    return region != NULL && region->read_only;
}

void *map_host_writable(const struct map *map, uint64_t addr, uint64_t len)
{
    return map_read_only(map, addr) ? NULL : map_host(map, addr, len);
}

bool load_order(uint32_t order)
{
    return order == GUESTMEM_RELAXED || order == GUESTMEM_ACQUIRE || order == GUESTMEM_SEQ_CST;
}

bool store_order(uint32_t order)
{
    return order == GUESTMEM_RELAXED || order == GUESTMEM_RELEASE || order == GUESTMEM_SEQ_CST;
}
