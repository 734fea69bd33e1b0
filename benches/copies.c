/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Copies out of guest memory and into it, against memcpy on pointers that were translated before.
 * README.md in this folder says how to run it and what the figures mean. */
#define _GNU_SOURCE
#include "calls/maps.h"
#include "cpus.h"
#include "report.h"
#include <sys/mman.h>

enum { MAX_SLOTS = 4096 };

/* Beside each other in guest memory: places that are copied from and to in turn. A page before and
 * after them is there too. */
struct slots {
    const struct map *map;
    size_t len, count;
    uint64_t addr[MAX_SLOTS];
    uint8_t *host[MAX_SLOTS];
    uint8_t *private; /* the device's buffer, at the start of a page */
};

#define COPIER(name, call)                                                                        \
    static void name(const void *work, size_t first, size_t count)                                \
    {                                                                                             \
        const struct slots *slots = work;                                                         \
        const struct map *map = slots->map;                                                       \
        uint8_t *const private = slots->private;                                                  \
        const size_t len = slots->len;                                                            \
        size_t i;                                                                                 \
        for (i = first; i < first + count; i++)                                                   \
            if ((call) != 0) fail(__FILE__, __LINE__, "a copy", "it was refused");                \
        (void)map;                                                                                \
    }

/* Of a length that the compiler does not know, so it is a call. */
#define PLAIN(to, from) (memcpy(to, from, len), 0)

COPIER(read_plain, PLAIN(private, slots->host[i]))
COPIER(read_exact, guestmem_read_exact(map->mem, slots->addr[i], private, len))
COPIER(read_dma, guestmem_dma_read(map->mem, slots->addr[i], private, len))
COPIER(read_peer, peer_read_slice(map->peer, slots->addr[i], private, len))
COPIER(write_plain, PLAIN(slots->host[i], private))
COPIER(write_all, guestmem_write_all(map->mem, slots->addr[i], private, len))
COPIER(write_dma, guestmem_dma_write(map->mem, slots->addr[i], private, len))
COPIER(write_peer, peer_write_slice(map->peer, slots->addr[i], private, len))

static const struct contender readers[] = {{"memcpy", read_plain},
                                           {"read_exact", read_exact},
                                           {"dma_read", read_dma},
                                           {"vm-memory", read_peer}};
static const struct contender writers[] = {{"memcpy", write_plain},
                                           {"write_all", write_all},
                                           {"dma_write", write_dma},
                                           {"vm-memory", write_peer}};

/* ---- what is copied ---- */

static const struct size {
    const char *name;
    size_t len, offset; /* from where a cache line or, for long ones, a page begins */
    double target;
} sizes[] = {
    {"16 B", 16, 0, 1.6},
    {"64 B", 64, 0, 2.2},
    {"128 B", 128, 0, 2.2},
    {"256 B", 256, 0, 2.2},
    {"512 B", 512, 0, 0},
    {"1 KiB", 1 * KIB, 0, 0},
    {"4 KiB", 4 * KIB, 0, 1.1},
    {"16 KiB", 16 * KIB, 0, 1.1},
    {"64 KiB", 64 * KIB, 0, 1.1},
    {"256 KiB", 256 * KIB, 0, 1.1},
    {"1 MiB", 1 * MIB, 0, 1.1},
    {"4 MiB", 4 * MIB, 0, 1.1},
    {"16 MiB", 16 * MIB, 0, 1.1},
    {"64 MiB", 64 * MIB, 0, 1.1},
    {"17 B + 3", 17, 3, 0},
    {"100 B + 2", 100, 2, 0},
    {"1001 B + 7", 1001, 7, 0},
    {"1514 B + 2", 1514, 2, 0},
    {"4097 B + 1", 4097, 1, 0},
    {"65535 B + 5", 65535, 5, 0},
};

enum { PRIVATE_SIZE = 64 << 20 };

/* In the RAM above 4 GiB; a quarter of a MiB in all where several fit that. */
static void place_slots(struct slots *slots, const struct size *size)
{
    const uint64_t unit = size->len < 4 * KIB ? 64 : 4 * KIB;
    const uint64_t stride = (size->offset + size->len + unit - 1) / unit * unit;
    const struct region *region = &slots->map->regions[3];
    size_t i;
    slots->len = size->len;
    slots->count = stride < 256 * KIB ? (size_t)(256 * KIB / stride) : 1;
    for (i = 0; i < slots->count; i++) {
        const uint64_t offset = MIB + i * stride + size->offset;
        slots->addr[i] = region->start + offset;
        slots->host[i] = region->host + offset;
    }
}

/* ---- do they copy? ---- */

static void fill_with_numbers(uint8_t *bytes, size_t len, uint64_t seed)
{
    size_t i;
    for (i = 0; i < len; i++) bytes[i] = (uint8_t)(random_number(&seed) | 1);
}

/* All of it, and nothing beside it. */
static void check_copy(const struct slots *slots, const struct contender *contender, size_t slot,
                       bool writing)
{
    uint8_t *to = writing ? slots->host[slot] : slots->private;
    const uint8_t *from = writing ? slots->private : slots->host[slot];
    const size_t len = slots->len;
    fill_with_numbers(writing ? slots->private : slots->host[slot], len, slot + 1);
    memset(to, 0, len + 1);
    if (writing) to[-1] = 0;
    contender->run(slots, slot, 1);
    MUST_AGREE(memcmp(to, from, len) == 0 && to[len] == 0 && (!writing || to[-1] == 0));
}

static void check_copies(const struct slots *slots, const struct race *race, bool writing)
{
    size_t who;
    for (who = 0; who < race->count; who++) {
        check_copy(slots, &race->contenders[who], 0, writing);
        check_copy(slots, &race->contenders[who], slots->count - 1, writing);
    }
}

static void copies(const char *what, struct slots *slots, const struct contender *contenders,
                   bool writing)
{
    size_t i;
    if (!wanted(what)) return;
    print_columns(what, "ns each", contenders, COUNT_OF(readers));
    for (i = 0; i < COUNT_OF(sizes); i++) {
        struct race race = {.contenders = contenders, .count = COUNT_OF(readers), .work = slots,
                            .lot = 1};
        place_slots(slots, &sizes[i]);
        race.total = slots->count;
        check_copies(slots, &race, writing);
        take_turns(&race);
        print_medians(what, sizes[i].name, &race);
        if (sizes[i].target == 0) continue;
        compare(what, sizes[i].name, &race, contenders[1].name, "memcpy", sizes[i].target);
        compare(what, sizes[i].name, &race, contenders[2].name, "memcpy", sizes[i].target);
    }
}

int main(int argc, char **argv)
{
    static struct slots slots;
    struct map map;
    parse(argc, argv);
    pin_to_first_cpu();
    map = new_map(realistic);
    slots.map = &map;
    slots.private = mmap(NULL, PRIVATE_SIZE + 1, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(slots.private != MAP_FAILED);
    print_head("copies");
    copies("read", &slots, readers, false);
    copies("write", &slots, writers, true);
    print_comparisons();
    free_map(&map);
    return 0;
}
