/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A chain of descriptors to the slices that it means: in one call, or one by one. */
#ifndef BENCH_CHAINS_H
#define BENCH_CHAINS_H

#include "translate.h"

enum { LONGEST_CHAIN = 256 };

struct chains {
    const struct map *map;
    const struct guestmem_range *ranges;
    const struct guestmem_access *uses; /* the same, some to read and some to write */
    size_t length;                      /* of each chain */
};

/* Of the chain that was translated last. */
static struct guestmem_slice slices[LONGEST_CHAIN];

/* Each lot of operations is a chain. */
#define CHAINER(name, one_by_one)                                                                 \
    static void name(const void *work, size_t first, size_t count)                                \
    {                                                                                             \
        const struct chains *what = work;                                                         \
        const struct map *map = what->map;                                                        \
        const struct guestmem_range *at = what->ranges + first, *end = at + count;                \
        size_t i;                                                                                 \
        for (; at != end; at += what->length)                                                     \
            for (i = 0; i < what->length; i++) {                                                  \
                const uint64_t addr = at[i].guest_addr, len = at[i].size;                         \
                if (!(one_by_one)) refused();                                                     \
            }                                                                                     \
    }

#define INTO_SLICE(translated) (slices[i].len = len, (translated))

CHAINER(chain_by_hand, INTO_SLICE(by_linear(map, addr, len, &slices[i].addr)))
CHAINER(chain_by_peer, INTO_SLICE(by_peer(map, addr, len, &slices[i].addr)))
CHAINER(chain_by_export, guestmem_get_slice(map->mem, addr, len, &slices[i]) == GUESTMEM_OK)
CHAINER(chain_by_view, INTO_SLICE(by_view(map, addr, len, &slices[i].addr)))

static void chain_at_once(const void *work, size_t first, size_t count)
{
    const struct chains *what = work;
    const struct guestmem_range *at = what->ranges + first, *end = at + count;
    size_t found;
    for (; at != end; at += what->length)
        if (guestmem_translate(what->map->mem, at, what->length, slices, LONGEST_CHAIN, &found) !=
                GUESTMEM_OK ||
            found != what->length)
            refused();
}

static void chain_for_use(const void *work, size_t first, size_t count)
{
    const struct chains *what = work;
    const struct guestmem_access *at = what->uses + first, *end = at + count;
    size_t found;
    for (; at != end; at += what->length)
        if (guestmem_translate_for(what->map->mem, at, what->length, slices, LONGEST_CHAIN,
                                   &found) != GUESTMEM_OK ||
            found != what->length)
            refused();
}

static const struct contender chainers[] = {
    {"C linear", chain_by_hand}, {"vm-memory", chain_by_peer}, {"exported", chain_by_export},
    {"at once", chain_at_once},  {"for use", chain_for_use},   {"inline", chain_by_view},
};

/* All give the same slices for each chain. */
static inline void check_chains(const struct race *race)
{
    struct guestmem_slice expected[LONGEST_CHAIN];
    size_t first, who;
    for (first = 0; first < race->total; first += race->lot)
        for (who = 0; who < race->count; who++) {
            memset(slices, 0, sizeof slices);
            race->contenders[who].run(race->work, first, race->lot);
            if (who == 0) memcpy(expected, slices, sizeof expected);
            MUST_AGREE(memcmp(expected, slices, race->lot * sizeof slices[0]) == 0);
        }
}

/* The buffers of a virtio pattern, without its rings. */
static inline void keep_buffers(struct pattern *buffers, const struct pattern *pattern)
{
    size_t i;
    for (i = 0; i < PATTERN_LENGTH; i++) {
        const size_t request = i / 3 % (PATTERN_LENGTH / 10);
        buffers->at[i] = pattern->at[10 * request + 3 + 2 * (i % 3)];
    }
}

/* Some to read and some to write, in an order that cannot be foreseen. */
static inline void use_buffers(struct guestmem_access *uses, const struct pattern *buffers)
{
    uint64_t random = 11;
    size_t i;
    for (i = 0; i < PATTERN_LENGTH; i++)
        uses[i] = (struct guestmem_access){
            .guest_addr = buffers->at[i].guest_addr,
            .size = buffers->at[i].size,
            .access = random_number(&random) % 2 ? GUESTMEM_ACCESS_WRITE : GUESTMEM_ACCESS_READ,
        };
}

#endif
