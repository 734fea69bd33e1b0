/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A chain through guest memory: each node holds the guest address of the next, as descriptors do.
 * The regions are those of a pattern's addresses, one after the other; each node has a cache line
 * of its own, and all of them fit a first-level cache, so that what is measured is the
 * translation. */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include "patterns.h"

enum { NODES = 512, LINE = 64 };

static inline const struct region *region_at(const struct map *map, uint64_t addr)
{
    return find_linear(&map->by_hand, addr, 1);
}

/* Only RAM can be written to, so a node in other memory moves on to the region before. */
static inline void make_chain(struct guestmem_range nodes[NODES], const struct map *map,
                              const struct pattern *pattern)
{
    size_t i;
    for (i = 0; i < NODES; i++) {
        const struct region *region = region_at(map, pattern->at[i].guest_addr);
        if (region->read_only) region--;
        nodes[i] = (struct guestmem_range){middle_of(region) + LINE * i, sizeof(uint64_t)};
    }
    for (i = 0; i < NODES; i++)
        MUST_OK(guestmem_write_u64(map->mem, nodes[i].guest_addr,
                                   nodes[(i + 1) % NODES].guest_addr));
}

#endif
