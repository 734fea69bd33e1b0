/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Any layout of regions, and a naive answer to where an address lies in it. */
#ifndef MAPS_H
#define MAPS_H

#include "guest.h"

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
void map_make(struct map *map);
void map_free(struct map *map);
const struct map_region *map_find(const struct map *map, uint64_t addr);
/* Bytes from the address to the end of its region. */
uint64_t map_room(const struct map *map, uint64_t addr);
/* Where a range lies in the host; NULL for no bytes and for what no region holds in full. */
void *map_host(const struct map *map, uint64_t addr, uint64_t len);
bool map_read_only(const struct map *map, uint64_t addr);
/* The same; NULL also in a read-only region. */
void *map_host_writable(const struct map *map, uint64_t addr, uint64_t len);
/* The orders of memory_order that a load takes, and those that a store takes. */
bool load_order(uint32_t order);
bool store_order(uint32_t order);

#endif
