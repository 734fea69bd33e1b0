/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Guest address and length to host pointer, in each contender's way: as many as can be (run), and
 * each address coming out of guest memory where the one before leads to (chase). */
#ifndef BENCH_TRANSLATE_H
#define BENCH_TRANSLATE_H

#include "../empty/empty.h"
#include "../turns.h"
#include "patterns.h"

/* ---- the contenders: false when the range is refused ---- */

static inline bool by_linear(const struct map *map, uint64_t addr, uint64_t len, void **out)
{
    return translate_linear(&map->by_hand, addr, len, out);
}

static inline bool by_binary(const struct map *map, uint64_t addr, uint64_t len, void **out)
{
    return translate_binary(&map->by_hand, addr, len, out);
}

static inline bool by_peer(const struct map *map, uint64_t addr, uint64_t len, void **out)
{
    return peer_translate(map->peer, addr, len, out) == 0;
}

static inline bool by_export(const struct map *map, uint64_t addr, uint64_t len, void **out)
{
    return guestmem_get_host_address_range(map->mem, addr, len, out) == GUESTMEM_OK;
}

static inline bool by_pointer(const struct map *map, uint64_t addr, uint64_t len, void **out)
{
    return map->translate(map->mem, addr, len, out) == GUESTMEM_OK;
}

static inline bool by_view(const struct map *map, uint64_t addr, uint64_t len, void **out)
{
    *out = guestmem_view_ptr(&map->view, addr, len);
    return *out != NULL;
}

/* To write, or to write and to read: read-only regions are refused. */

static inline bool by_linear_writable(const struct map *map, uint64_t addr, uint64_t len, void **out)
{
    return translate_to_write(&map->by_hand, addr, len, out);
}

static inline bool by_export_writable(const struct map *map, uint64_t addr, uint64_t len, void **out)
{
    return guestmem_get_host_address_range_writable(map->mem, addr, len, out) == GUESTMEM_OK;
}

static inline bool by_view_writable(const struct map *map, uint64_t addr, uint64_t len, void **out)
{
    *out = guestmem_view_ptr_writable(&map->view, addr, len);
    return *out != NULL;
}

/* ---- their loops ---- */

struct translation {
    const struct map *map;
    const struct guestmem_range *ranges;
};

/* What the last loop came to, which no compiler may leave out. */
static _Thread_local volatile uint64_t outcome;

_Noreturn static inline void refused(void)
{
    fail(__FILE__, __LINE__, "an access to guest memory", "it was refused");
}

/* A device does other work between its accesses, across which a compiler keeps nothing of a map in
 * registers. Here it may not either. */
static inline void work_between(void) { __asm__ volatile("" ::: "memory"); }

/* The same shape for all; inline contenders become part of it. */
#define LOOP(name, call)                                                                          \
    static void name(const void *work, size_t first, size_t count)                                \
    {                                                                                             \
        const struct translation *what = work;                                                    \
        const struct map *map = what->map;                                                        \
        const struct guestmem_range *at = what->ranges + first, *end = at + count;                \
        uint64_t sum = 0;                                                                         \
        void *host = NULL;                                                                        \
        for (; at != end; at++) {                                                                 \
            if (!(call)) refused();                                                               \
            sum += (uintptr_t)host;                                                               \
            work_between();                                                                       \
        }                                                                                         \
        outcome = sum;                                                                            \
    }

/* The same as a function of its own. */
#define LOOP_AND_ONCE(by)                                                                         \
    LOOP(by##_run, by(map, at->guest_addr, at->size, &host))                                      \
                                                                                                  \
    static bool by##_once(const struct map *map, uint64_t addr, uint64_t len, void **out)         \
    {                                                                                             \
        return by(map, addr, len, out);                                                           \
    }

#define TRANSLATOR(by)                                                                            \
    LOOP_AND_ONCE(by)                                                                             \
                                                                                                  \
    static void by##_chase(const void *work, size_t first, size_t count)                          \
    {                                                                                             \
        const struct translation *what = work;                                                    \
        const struct map *map = what->map;                                                        \
        uint64_t addr = what->ranges[first].guest_addr;                                           \
        void *host = NULL;                                                                        \
        for (; count > 0; count--) {                                                              \
            if (!by(map, addr, 8, &host)) refused();                                              \
            addr = *(const volatile uint64_t *)host;                                              \
            work_between();                                                                       \
        }                                                                                         \
        outcome = addr;                                                                           \
    }

TRANSLATOR(by_linear)
TRANSLATOR(by_binary)
TRANSLATOR(by_peer)
TRANSLATOR(by_export)
TRANSLATOR(by_pointer)
TRANSLATOR(by_view)
LOOP_AND_ONCE(by_linear_writable)
LOOP_AND_ONCE(by_export_writable)
LOOP_AND_ONCE(by_view_writable)
LOOP(by_nothing_run, empty_call(map->mem, at->guest_addr, at->size, &host) == 0)

static const struct contender translators[] = {
    {"empty call", by_nothing_run}, {"C linear", by_linear_run}, {"C binary", by_binary_run},
    {"vm-memory", by_peer_run},     {"exported", by_export_run}, {"dlsym", by_pointer_run},
    {"inline", by_view_run},
};

/* Those for memory to write, each beside its like for memory to read. */
static const struct contender writable_translators[] = {
    {"empty call", by_nothing_run},       {"C linear", by_linear_writable_run},
    {"exported, to read", by_export_run}, {"exported", by_export_writable_run},
    {"inline, to read", by_view_run},     {"inline", by_view_writable_run},
};

static const struct contender chasers[] = {
    {"C linear", by_linear_chase}, {"C binary", by_binary_chase}, {"vm-memory", by_peer_chase},
    {"exported", by_export_chase}, {"dlsym", by_pointer_chase},   {"inline", by_view_chase},
};

/* ---- do they agree? ---- */

typedef bool translator(const struct map *map, uint64_t addr, uint64_t len, void **out);

static translator *const single_translators[] = {
    by_linear_once, by_binary_once, by_peer_once, by_export_once, by_pointer_once, by_view_once,
    by_linear_writable_once, by_export_writable_once, by_view_writable_once,
};
enum { TO_READ = 6 }; /* the first of them; the others refuse read-only regions */

/* All loops of a race come to the same, one of them aside. */
static inline void check_outcomes(const struct race *race, size_t without)
{
    uint64_t expected = 0;
    size_t i, seen = 0;
    for (i = 0; i < race->count; i++) {
        if (i == without) continue;
        race->contenders[i].run(race->work, 0, race->total);
        if (seen++ == 0) expected = outcome;
        MUST_AGREE(outcome == expected);
    }
}

static inline void must_refuse(const struct map *map, uint64_t addr, uint64_t len)
{
    void *host;
    size_t i;
    for (i = 0; i < COUNT_OF(single_translators); i++)
        MUST_AGREE(!single_translators[i](map, addr, len, &host));
}

static inline void must_translate(const struct map *map, uint64_t addr, uint64_t len,
                                  const void *expected)
{
    void *host;
    size_t i;
    const bool read_only = find_linear(&map->by_hand, addr, len)->read_only;
    for (i = 0; i < COUNT_OF(single_translators); i++)
        if (read_only && i >= TO_READ)
            MUST_AGREE(!single_translators[i](map, addr, len, &host));
        else
            MUST_AGREE(single_translators[i](map, addr, len, &host) && host == expected);
}

/* At the edges of each region, and ranges that wrap. */
static inline void check_edges(const struct map *map)
{
    size_t i;
    for (i = 0; i < map->count; i++) {
        const struct region *region = &map->regions[i];
        const uint64_t end = region->start + region->size;
        must_translate(map, region->start, region->size, region->host);
        must_translate(map, end - 1, 1, region->host + region->size - 1);
        must_refuse(map, end - 1, 2);
        must_refuse(map, region->start, region->size + 1);
        must_refuse(map, region->start + 1, UINT64_MAX);
        must_refuse(map, end - 1, UINT64_MAX - end + 2);
        if (i + 1 < map->count && map->regions[i + 1].start > end) must_refuse(map, end, 1);
    }
    must_refuse(map, UINT64_MAX, 1);
    must_refuse(map, UINT64_MAX - 7, 8);
}

#endif
