/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Which addresses are used: computed beforehand, the same for all contenders.
 *
 * Hot: all in one region. Random: each in any region, all of them as likely. Virtio: what a block
 * device does for request after request, ten addresses each, of which seven lie in the rings: the
 * available index and entry, three times a descriptor and its buffer (16 bytes, 4096 bytes, 1
 * byte), the used entry and index. The rings lie in one region; the three buffers of a request lie
 * in another that stays the same in three of four requests and otherwise is drawn anew, the larger
 * the likelier. For rings and buffers only large regions count, which have at least half the size
 * of the largest; the one that is hot or holds the rings is the middle one of these, so that a
 * linear search of many regions sees half of them. */
#ifndef BENCH_PATTERNS_H
#define BENCH_PATTERNS_H

#include "../random.h"
#include "maps.h"

enum kind { HOT, RANDOM, VIRTIO };

static const char *const kind_names[] = {"hot", "random", "virtio"};

/* Divisible by the lengths of chains. */
enum { PATTERN_LENGTH = 32768, QUEUE_SIZE = 256, RINGS_SIZE = 8192 };

struct pattern {
    struct guestmem_range at[PATTERN_LENGTH];
};

/* Where it is drawn from. */
struct choice {
    const struct map *map;
    const struct region *large[4096];
    size_t large_count;
    uint64_t span; /* how much of each region holds buffers; 0: all of it */
    uint64_t random;
};

static inline uint64_t below(struct choice *choice, uint64_t bound)
{
    return random_number(&choice->random) % bound;
}

static inline struct choice choice_of(const struct map *map, uint64_t span)
{
    struct choice choice = {.map = map, .span = span, .random = 7};
    uint64_t largest = 0;
    size_t i;
    for (i = 0; i < map->count; i++)
        if (map->regions[i].size > largest) largest = map->regions[i].size;
    for (i = 0; i < map->count; i++)
        if (map->regions[i].size >= largest / 2)
            choice.large[choice.large_count++] = &map->regions[i];
    return choice;
}

static inline const struct region *middle_region(const struct choice *choice)
{
    return choice->large[choice->large_count / 2];
}

/* The larger the likelier. */
static inline const struct region *draw_large(struct choice *choice)
{
    uint64_t all = 0, at;
    size_t i;
    for (i = 0; i < choice->large_count; i++) all += choice->large[i]->size;
    at = below(choice, all);
    for (i = 0; at >= choice->large[i]->size; i++) at -= choice->large[i]->size;
    return choice->large[i];
}

/* The page in the middle of a region: where its rings lie, or a span of it begins. */
static inline uint64_t middle_of(const struct region *region)
{
    return region->start + ((region->size / 2) & ~UINT64_C(4095));
}

/* So many bytes at a multiple of a power of two: anywhere, or within a span past the rings. */
static inline struct guestmem_range draw_in(struct choice *choice, const struct region *region,
                                            uint64_t len, uint64_t align)
{
    const uint64_t span = choice->span > 0 ? choice->span : region->size;
    const uint64_t from = choice->span > 0 ? middle_of(region) + RINGS_SIZE : region->start;
    return (struct guestmem_range){from + (below(choice, span - len + 1) & ~(align - 1)), len};
}

static inline void one_request(struct choice *choice, uint64_t number,
                               const struct region *buffers, struct guestmem_range ranges[10])
{
    static const uint64_t sizes[] = {16, 4096, 1};
    const uint64_t table = middle_of(middle_region(choice));
    const uint64_t available = table + 16 * QUEUE_SIZE, used = available + 8 + 2 * QUEUE_SIZE;
    uint64_t i;
    ranges[0] = (struct guestmem_range){available + 2, 2};
    ranges[1] = (struct guestmem_range){available + 4 + 2 * (number % QUEUE_SIZE), 2};
    for (i = 0; i < 3; i++) {
        ranges[2 + 2 * i] =
            (struct guestmem_range){table + 16 * ((3 * number + i) % QUEUE_SIZE), 16};
        ranges[3 + 2 * i] = draw_in(choice, buffers, sizes[i], sizes[i] < 4096 ? sizes[i] : 4096);
    }
    ranges[8] = (struct guestmem_range){used + 4 + 8 * (number % QUEUE_SIZE), 8};
    ranges[9] = (struct guestmem_range){used + 2, 2};
}

static inline void draw_virtio(struct choice *choice, struct pattern *pattern)
{
    const struct region *buffers = draw_large(choice);
    size_t i, number;
    for (number = 0; 10 * number < PATTERN_LENGTH; number++) {
        struct guestmem_range ranges[10];
        if (below(choice, 4) == 0) buffers = draw_large(choice);
        one_request(choice, number, buffers, ranges);
        for (i = 0; i < 10 && 10 * number + i < PATTERN_LENGTH; i++)
            pattern->at[10 * number + i] = ranges[i];
    }
}

static inline void draw_pattern(struct pattern *pattern, const struct map *map, enum kind kind,
                                uint64_t span)
{
    struct choice choice = choice_of(map, span);
    size_t i;
    if (kind == VIRTIO) draw_virtio(&choice, pattern);
    for (i = 0; i < PATTERN_LENGTH && kind != VIRTIO; i++) {
        const struct region *region = middle_region(&choice);
        if (kind == RANDOM) region = &map->regions[below(&choice, map->count)];
        pattern->at[i] = draw_in(&choice, region, 16, 16);
    }
}

#endif
