/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Reading and writing single values, in each contender's way. By hand that is the linear search in
 * line, then an access that is plain, volatile, or ordered (acquire to read, release to write). */
#ifndef BENCH_ACCESS_H
#define BENCH_ACCESS_H

#include "translate.h"

#define READER(name, word, call)                                                                  \
    static void name(const void *work, size_t first, size_t count)                                \
    {                                                                                             \
        const struct translation *what = work;                                                    \
        const struct map *map = what->map;                                                        \
        const struct guestmem_range *at = what->ranges + first, *end = at + count;                \
        uint64_t sum = 0;                                                                         \
        word value = 0;                                                                           \
        for (; at != end; at++) {                                                                 \
            const uint64_t addr = at->guest_addr;                                                 \
            if (!(call)) refused();                                                               \
            sum += value;                                                                         \
            work_between();                                                                       \
        }                                                                                         \
        outcome = sum;                                                                            \
    }

/* What is written follows from the address, so that it can be checked. */
#define WRITER(name, word, call)                                                                  \
    static void name(const void *work, size_t first, size_t count)                                \
    {                                                                                             \
        const struct translation *what = work;                                                    \
        const struct map *map = what->map;                                                        \
        const struct guestmem_range *at = what->ranges + first, *end = at + count;                \
        for (; at != end; at++) {                                                                 \
            const uint64_t addr = at->guest_addr;                                                 \
            const word value = (word)content_at(addr);                                            \
            if (!(call)) refused();                                                               \
            work_between();                                                                       \
        }                                                                                         \
    }

static inline uint64_t content_at(uint64_t addr) { return addr + (addr >> 11) + 1; }

#define BY_HAND(W)                                                                                \
    static inline bool hand_read_u##W(const struct map *map, uint64_t addr, uint##W##_t *out)     \
    {                                                                                             \
        void *host;                                                                               \
        if (!translate_linear(&map->by_hand, addr, W / 8, &host)) return false;                   \
        memcpy(out, host, W / 8);                                                                 \
        return true;                                                                              \
    }                                                                                             \
    static inline bool hand_peek_u##W(const struct map *map, uint64_t addr, uint##W##_t *out)     \
    {                                                                                             \
        void *host;                                                                               \
        if (!translate_linear(&map->by_hand, addr, W / 8, &host)) return false;                   \
        *out = *(const volatile uint##W##_t *)host;                                               \
        return true;                                                                              \
    }                                                                                             \
    static inline bool hand_load_u##W(const struct map *map, uint64_t addr, uint##W##_t *out)     \
    {                                                                                             \
        void *host;                                                                               \
        if (!translate_linear(&map->by_hand, addr, W / 8, &host)) return false;                   \
        *out = __atomic_load_n((const uint##W##_t *)host, __ATOMIC_ACQUIRE);                      \
        return true;                                                                              \
    }                                                                                             \
    static inline bool hand_write_u##W(const struct map *map, uint64_t addr, uint##W##_t value)   \
    {                                                                                             \
        void *host;                                                                               \
        if (!translate_to_write(&map->by_hand, addr, W / 8, &host)) return false;                 \
        memcpy(host, &value, W / 8);                                                              \
        return true;                                                                              \
    }                                                                                             \
    static inline bool hand_poke_u##W(const struct map *map, uint64_t addr, uint##W##_t value)    \
    {                                                                                             \
        void *host;                                                                               \
        if (!translate_to_write(&map->by_hand, addr, W / 8, &host)) return false;                 \
        *(volatile uint##W##_t *)host = value;                                                    \
        return true;                                                                              \
    }                                                                                             \
    static inline bool hand_store_u##W(const struct map *map, uint64_t addr, uint##W##_t value)   \
    {                                                                                             \
        void *host;                                                                               \
        if (!translate_to_write(&map->by_hand, addr, W / 8, &host)) return false;                 \
        __atomic_store_n((uint##W##_t *)host, value, __ATOMIC_RELEASE);                           \
        return true;                                                                              \
    }

#define READ(W, kind, call) READER(read_##kind##_u##W, uint##W##_t, call)
#define WRITE(W, kind, call) WRITER(write_##kind##_u##W, uint##W##_t, call)

#define ACCESS(W)                                                                                 \
    BY_HAND(W)                                                                                    \
    READ(W, hand, hand_read_u##W(map, addr, &value))                                              \
    READ(W, hand_volatile, hand_peek_u##W(map, addr, &value))                                     \
    READ(W, hand_ordered, hand_load_u##W(map, addr, &value))                                      \
    READ(W, peer, peer_read_u##W(map->peer, addr, &value) == 0)                                   \
    READ(W, peer_ordered, peer_load_u##W(map->peer, addr, &value) == 0)                           \
    READ(W, export, guestmem_read_u##W(map->mem, addr, &value) == 0)                              \
    READ(W, export_volatile, guestmem_read_volatile_u##W(map->mem, addr, &value) == 0)            \
    READ(W, export_ordered, guestmem_load_u##W(map->mem, addr, GUESTMEM_ACQUIRE, &value) == 0)    \
    READ(W, view, guestmem_view_read_u##W(&map->view, addr, &value))                              \
    READ(W, view_ordered, guestmem_view_load_u##W(&map->view, addr, GUESTMEM_ACQUIRE, &value))    \
    WRITE(W, hand, hand_write_u##W(map, addr, value))                                             \
    WRITE(W, hand_volatile, hand_poke_u##W(map, addr, value))                                     \
    WRITE(W, hand_ordered, hand_store_u##W(map, addr, value))                                     \
    WRITE(W, peer, peer_write_u##W(map->peer, addr, value) == 0)                                  \
    WRITE(W, peer_ordered, peer_store_u##W(map->peer, addr, value) == 0)                          \
    WRITE(W, export, guestmem_write_u##W(map->mem, addr, value) == 0)                             \
    WRITE(W, export_volatile, guestmem_write_volatile_u##W(map->mem, addr, value) == 0)           \
    WRITE(W, export_ordered, guestmem_store_u##W(map->mem, addr, value, GUESTMEM_RELEASE) == 0)   \
    WRITE(W, view, guestmem_view_write_u##W(&map->view, addr, value))                             \
    WRITE(W, view_ordered, guestmem_view_store_u##W(&map->view, addr, value, GUESTMEM_RELEASE))

ACCESS(8)
ACCESS(16)
ACCESS(32)
ACCESS(64)

enum { ACCESSORS = 11 };

#define CONTENDERS(access, W)                                                                     \
    {                                                                                             \
        {"empty call", by_nothing_run}, {"C plain", access##_hand_u##W},                          \
            {"C volatile", access##_hand_volatile_u##W},                                          \
            {"C ordered", access##_hand_ordered_u##W}, {"vm-memory obj", access##_peer_u##W},     \
            {"vm-memory ordered", access##_peer_ordered_u##W},                                    \
            {"exported", access##_export_u##W},                                                   \
            {"exported volatile", access##_export_volatile_u##W},                                 \
            {"exported ordered", access##_export_ordered_u##W}, {"inline", access##_view_u##W},   \
            {"inline ordered", access##_view_ordered_u##W},                                       \
    }

/* By width: 8, 16, 32, 64. */
static const struct contender readers[4][ACCESSORS] = {
    CONTENDERS(read, 8), CONTENDERS(read, 16), CONTENDERS(read, 32), CONTENDERS(read, 64)};
static const struct contender writers[4][ACCESSORS] = {
    CONTENDERS(write, 8), CONTENDERS(write, 16), CONTENDERS(write, 32), CONTENDERS(write, 64)};

/* How much of each large region is used, so that caches hold all of it. */
static inline uint64_t span_in_caches(const struct map *map)
{
    return map->count < 32 ? (256 * KIB / map->count) & ~UINT64_C(4095) : 4096;
}

static inline void align_pattern(struct pattern *pattern)
{
    size_t i;
    for (i = 0; i < PATTERN_LENGTH; i++)
        pattern->at[i] = (struct guestmem_range){pattern->at[i].guest_addr & ~UINT64_C(7), 8};
}

static inline uint64_t *word_at(const struct map *map, uint64_t addr)
{
    void *host;
    MUST_AGREE(translate_to_write(&map->by_hand, addr, 8, &host));
    return host;
}

static inline void fill_with(const struct translation *work, uint64_t content(uint64_t))
{
    size_t i;
    for (i = 0; i < PATTERN_LENGTH; i++) {
        const uint64_t addr = work->ranges[i].guest_addr;
        *word_at(work->map, addr) = content(addr);
    }
}

static inline uint64_t nothing_at(uint64_t addr) { return 0 * addr; }

/* Every writer puts the low bytes there, and leaves the others. */
static inline void check_writers(const struct race *race, size_t width)
{
    const struct translation *work = race->work;
    const uint64_t low = UINT64_MAX >> (64 - 8 * width);
    size_t who, i;
    for (who = 0; who < race->count; who++) {
        if (who == contender_named(race, "empty call")) continue;
        fill_with(work, nothing_at);
        race->contenders[who].run(work, 0, race->total);
        for (i = 0; i < PATTERN_LENGTH; i++) {
            const uint64_t addr = work->ranges[i].guest_addr;
            MUST_AGREE(*word_at(work->map, addr) == (content_at(addr) & low));
        }
    }
}

#endif
