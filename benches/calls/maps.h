/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Guest memories of one to 4096 regions, each in the forms that the contenders use. All forms lie
 * on the same host memory, so that they give the same pointers and find the same caches. */
#ifndef BENCH_MAPS_H
#define BENCH_MAPS_H

#include "../must.h"
#include "../vm-memory/peer.h"
#include "by_hand.h"
#include <dlfcn.h>

#define KIB UINT64_C(0x400)
#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

typedef int translate_call(const struct guestmem *, uint64_t, uint64_t, void **);

struct map {
    const char *name;
    struct region *regions;
    size_t count;
    struct guestmem *mem;
    struct guestmem_view view;
    struct by_hand by_hand;
    struct peer *peer;
    translate_call *translate; /* as dlsym(3) gives it */
};

/* Of equal regions, or 0: the realistic one. */
struct shape {
    const char *name;
    size_t regions;
};

static const struct shape shapes[] = {
    {"1 region", 1},     {"2 regions", 2},     {"4 regions", 4},       {"8 regions", 8},
    {"32 regions", 32},  {"256 regions", 256}, {"4096 regions", 4096}, {"realistic", 0},
};
static const struct shape *const realistic = &shapes[sizeof shapes / sizeof shapes[0] - 1];

/* Low RAM, RAM up to a hole of a GiB below 4 GiB, firmware there, RAM from 4 GiB on, and a device's
 * memory of an odd number of pages at an odd place. */
static const struct guestmem_region_options machine[] = {
    {.guest_addr = 0, .size = 640 * KIB},
    {.guest_addr = MIB, .size = 3 * GIB - MIB},
    {.guest_addr = 4 * GIB - 256 * KIB, .size = 256 * KIB,
     .flags = GUESTMEM_REGION_PRIVATE | GUESTMEM_REGION_READ_ONLY,
     .purpose = GUESTMEM_PURPOSE_BIOS},
    {.guest_addr = 4 * GIB, .size = 5 * GIB},
    {.guest_addr = 9 * GIB + 12 * KIB, .size = 77 * MIB + 4 * KIB},
};

/* 8 GiB in equal regions, a hole of the same size after each. */
static inline struct guestmem *equal_regions(size_t count)
{
    struct guestmem_range *ranges = calloc(count, sizeof *ranges);
    struct guestmem *mem;
    size_t i;
    MUST(ranges != NULL);
    for (i = 0; i < count; i++) {
        ranges[i].size = 8 * GIB / count;
        ranges[i].guest_addr = 2 * i * ranges[i].size;
    }
    MUST_OK(guestmem_new(ranges, count, &mem));
    free(ranges);
    return mem;
}

static inline struct guestmem *realistic_regions(void)
{
    struct guestmem *mem;
    MUST_OK(guestmem_new_with_options(machine, sizeof machine / sizeof machine[0],
                                      sizeof machine[0], &mem));
    return mem;
}

static inline struct region *regions_of(const struct guestmem *mem, size_t count)
{
    struct region *regions = calloc(count, sizeof *regions);
    struct guestmem_region_info info;
    size_t i;
    MUST(regions != NULL);
    for (i = 0; i < count; i++) {
        MUST_OK(guestmem_region_info(mem, i, &info, sizeof info));
        regions[i] = (struct region){info.guest_addr, info.size, info.host_addr,
                                     (info.flags & GUESTMEM_REGION_READ_ONLY) != 0};
    }
    return regions;
}

/* The function of the library that is linked, found as a plugin's host finds it. */
static inline translate_call *found_by_name(void)
{
    void *found = dlsym(RTLD_DEFAULT, "guestmem_get_host_address_range");
    translate_call *call;
    MUST(found != NULL);
    memcpy(&call, &found, sizeof call);
    return call;
}

static inline struct map new_map(const struct shape *shape)
{
    struct map map = {.name = shape->name, .translate = found_by_name()};
    map.mem = shape->regions > 0 ? equal_regions(shape->regions) : realistic_regions();
    map.count = guestmem_num_regions(map.mem);
    map.regions = regions_of(map.mem, map.count);
    map.by_hand = (struct by_hand){map.regions, map.count};
    MUST_OK(guestmem_get_view(map.mem, &map.view, sizeof map.view));
    map.peer = peer_new(map.regions, map.count);
    MUST(map.peer != NULL);
    return map;
}

static inline void free_map(struct map *map)
{
    peer_free(map->peer);
    guestmem_unref(map->mem);
    free(map->regions);
}

#endif
