/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a C programmer writes who needs no library for this: an array of regions, and a search in
 * line. The range is checked in full, without wrapping; a range of no bytes is let through. */
#ifndef BENCH_BY_HAND_H
#define BENCH_BY_HAND_H

#include "region.h"
#include <stddef.h>

struct by_hand {
    const struct region *regions; /* ascending */
    size_t count;
};

static inline const struct region *find_linear(const struct by_hand *mem, uint64_t addr,
                                               uint64_t len)
{
    const struct region *region = mem->regions, *end = region + mem->count;
    for (; region != end; region++) {
        const uint64_t offset = addr - region->start;
        if (offset < region->size) return len <= region->size - offset ? region : NULL;
    }
    return NULL;
}

/* The compilers make conditional moves of its halving, so nothing is mispredicted. */
static inline const struct region *find_binary(const struct by_hand *mem, uint64_t addr,
                                               uint64_t len)
{
    const struct region *region = mem->regions;
    size_t count = mem->count;
    uint64_t offset;
    while (count > 1) {
        const size_t half = count / 2;
        region = region[half].start <= addr ? region + half : region;
        count -= half;
    }
    offset = addr - region->start;
    return offset < region->size && len <= region->size - offset ? region : NULL;
}

static inline void *host_in(const struct region *region, uint64_t addr)
{
    return region->host + (addr - region->start);
}

static inline bool translate_linear(const struct by_hand *mem, uint64_t addr, uint64_t len,
                                    void **out)
{
    const struct region *region = find_linear(mem, addr, len);
    if (region == NULL) return false;
    *out = host_in(region, addr);
    return true;
}

static inline bool translate_binary(const struct by_hand *mem, uint64_t addr, uint64_t len,
                                    void **out)
{
    const struct region *region = find_binary(mem, addr, len);
    if (region == NULL) return false;
    *out = host_in(region, addr);
    return true;
}

static inline bool translate_to_write(const struct by_hand *mem, uint64_t addr, uint64_t len,
                                      void **out)
{
    const struct region *region = find_linear(mem, addr, len);
    if (region == NULL || region->read_only) return false;
    *out = host_in(region, addr);
    return true;
}

#endif
