/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Regions that come and go: what a change takes, what it does to a thread that translates, and what
 * stays of it. README.md in this folder says how to run it and what the figures mean. */
#define _GNU_SOURCE
#include "cpus.h"
#include "report.h"
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>

#define GIB ((uint64_t)1 << 30)
enum { MOST_REGIONS = 257, ADDRESSES = 4096 };

/* ---- by hand: an array under a lock ---- */

struct locked_region {
    uint64_t start, size;
    uint8_t *host;
    int fd;
};

struct locked_map {
    pthread_rwlock_t lock;
    size_t count;
    struct locked_region regions[MOST_REGIONS];
};

static struct locked_region map_by_hand(uint64_t start, uint64_t size)
{
    struct locked_region region = {start, size, NULL, memfd_create("plain", MFD_CLOEXEC)};
    void *host;
    MUST(region.fd >= 0 && ftruncate(region.fd, (off_t)size) == 0);
    host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd, 0);
    MUST(host != MAP_FAILED);
    region.host = host;
    return region;
}

static void insert_by_hand(struct locked_map *map, const struct locked_region *region)
{
    size_t i;
    MUST(pthread_rwlock_wrlock(&map->lock) == 0 && map->count < MOST_REGIONS);
    for (i = map->count++; i > 0 && map->regions[i - 1].start > region->start; i--)
        map->regions[i] = map->regions[i - 1];
    map->regions[i] = *region;
    MUST(pthread_rwlock_unlock(&map->lock) == 0);
}

/* No reader is in the region any more when the lock has been had. */
static void remove_by_hand(struct locked_map *map, uint64_t start)
{
    struct locked_region region;
    size_t i = 0;
    MUST(pthread_rwlock_wrlock(&map->lock) == 0);
    while (map->regions[i].start != start) i++;
    region = map->regions[i];
    for (map->count--; i < map->count; i++) map->regions[i] = map->regions[i + 1];
    MUST(pthread_rwlock_unlock(&map->lock) == 0);
    MUST(munmap(region.host, region.size) == 0 && close(region.fd) == 0);
}

static uint8_t *translate_by_hand(struct locked_map *map, uint64_t addr, uint64_t len)
{
    uint8_t *host = NULL;
    MUST(pthread_rwlock_rdlock(&map->lock) == 0);
    for (size_t i = 0; i < map->count; i++) {
        const uint64_t offset = addr - map->regions[i].start, size = map->regions[i].size;
        if (offset >= size) continue;
        if (len <= size - offset) host = map->regions[i].host + offset;
        break;
    }
    MUST(pthread_rwlock_unlock(&map->lock) == 0);
    return host;
}

/* ---- ours ---- */

static void plug(struct guestmem *mem, uint64_t start, uint64_t size)
{
    const struct guestmem_region_options wanted = {.guest_addr = start, .size = size};
    struct guestmem_region *region;
    MUST_OK(guestmem_region_new(&wanted, sizeof wanted, &region));
    MUST_OK(guestmem_add_region(mem, region));
    guestmem_region_unref(region);
}

static void unplug(struct guestmem *mem, uint64_t start)
{
    struct guestmem_region *region;
    MUST_OK(guestmem_remove_region(mem, start, &region));
    guestmem_region_unref(region);
}

/* ---- both: regions of 1 GiB that stay, and one behind them that comes and goes ---- */

struct maps {
    struct locked_map *by_hand;
    struct guestmem *ours;
    uint64_t passing;
    uint64_t addresses[ADDRESSES];
};

static struct maps *new_maps(size_t regions)
{
    struct maps *maps = calloc(1, sizeof *maps);
    uint64_t random = 1;
    MUST(maps != NULL && (maps->by_hand = calloc(1, sizeof *maps->by_hand)) != NULL);
    MUST(pthread_rwlock_init(&maps->by_hand->lock, NULL) == 0);
    MUST_OK(guestmem_new(NULL, 0, &maps->ours));
    for (size_t i = 0; i < regions; i++) {
        const struct locked_region region = map_by_hand(i * GIB, GIB);
        insert_by_hand(maps->by_hand, &region);
        plug(maps->ours, i * GIB, GIB);
    }
    maps->passing = regions * GIB;
    for (size_t i = 0; i < ADDRESSES; i++)
        maps->addresses[i] = random_number(&random) % (regions * GIB - 4096);
    return maps;
}

static void free_maps(struct maps *maps)
{
    while (maps->by_hand->count > 0) remove_by_hand(maps->by_hand, maps->by_hand->regions[0].start);
    guestmem_unref(maps->ours);
    free(maps->by_hand);
    free(maps);
}

/* ---- what a change takes ---- */

static void change_by_hand(const void *work, size_t first, size_t count)
{
    const struct maps *maps = work;
    (void)first;
    for (; count > 0; count--) {
        const struct locked_region region = map_by_hand(maps->passing, GIB);
        insert_by_hand(maps->by_hand, &region);
        remove_by_hand(maps->by_hand, maps->passing);
    }
}

static void change_ours(const void *work, size_t first, size_t count)
{
    const struct maps *maps = work;
    (void)first;
    for (; count > 0; count--) {
        plug(maps->ours, maps->passing, GIB);
        unplug(maps->ours, maps->passing);
    }
}

static void changes(const char *what)
{
    static const struct contender changers[] = {{"C rwlock", change_by_hand},
                                                {"guestmem", change_ours}};
    static const struct {
        const char *name;
        size_t regions;
    } sizes[] = {{"2 regions", 2}, {"256 regions", 256}};
    if (!wanted(what)) return;
    print_columns(what, "ns each", changers, COUNT_OF(changers));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct maps *maps = new_maps(sizes[i].regions);
        struct race race = {.contenders = changers, .count = COUNT_OF(changers),
                            .work = maps, .total = 4, .lot = 1};
        take_turns(&race);
        print_medians(what, sizes[i].name, &race);
        free_maps(maps);
    }
}

/* ---- what it does to a thread that translates ---- */

static bool stop;

/* Some thousand changes a second to each map. */
static void *change_on(void *work)
{
    pin_to_cpu(nth_cpu(1));
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        change_by_hand(work, 0, 1);
        change_ours(work, 0, 1);
        MUST(usleep(100) == 0);
    }
    return NULL;
}

static void look_up_by_hand(const void *work, size_t first, size_t count)
{
    const struct maps *maps = work;
    for (size_t i = first; i < first + count; i++)
        MUST_AGREE(translate_by_hand(maps->by_hand, maps->addresses[i], 4096) != NULL);
}

static void look_up_ours(const void *work, size_t first, size_t count)
{
    const struct maps *maps = work;
    void *host;
    for (size_t i = first; i < first + count; i++)
        MUST_OK(guestmem_get_host_address_range(maps->ours, maps->addresses[i], 4096, &host));
}

static const struct contender readers[] = {{"C rwlock", look_up_by_hand},
                                           {"guestmem", look_up_ours}};

static void readers_meanwhile(const char *what)
{
    static struct race quiet, changing;
    pthread_t changer;
    struct maps *maps;
    if (!wanted(what)) return;
    print_columns(what, "ns each", readers, COUNT_OF(readers));
    if (nth_cpu(1) < 0) {
        printf("not there: one CPU\n");
        return;
    }
    maps = new_maps(2);
    quiet = changing = (struct race){.contenders = readers, .count = COUNT_OF(readers),
                                     .work = maps, .total = ADDRESSES, .lot = 64};
    take_turns(&quiet);
    print_medians(what, "quiet", &quiet);
    stop = false;
    MUST(pthread_create(&changer, NULL, change_on, maps) == 0);
    take_turns(&changing);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    MUST(pthread_join(changer, NULL) == 0);
    print_medians(what, "changing", &changing);
    compare(what, "changing", &changing, "guestmem", "C rwlock", 1.0);
    add_comparison(what, "guestmem", "changing", "quiet",
                   ratio_of(&changing.samples[1], &quiet.samples[1]), 1.15, 0);
    free_maps(maps);
}

/* ---- what stays of it ---- */

static double kept_by_a_change(const struct guestmem_range *ranges, size_t count,
                               const struct guestmem_range *passing, size_t changes)
{
    struct guestmem *mem;
    size_t before, after;
    MUST_OK(guestmem_new(ranges, count, &mem));
    plug(mem, passing->guest_addr, passing->size);
    unplug(mem, passing->guest_addr);
    before = mallinfo2().uordblks;
    for (size_t i = 0; i < changes / 2; i++) {
        plug(mem, passing->guest_addr, passing->size);
        unplug(mem, passing->guest_addr);
    }
    after = mallinfo2().uordblks;
    guestmem_unref(mem);
    return (double)(after - before) / (double)changes;
}

static void kept(const char *what)
{
    static const struct guestmem_range even[] = {{0, 3 * GIB}, {4 * GIB, 5 * GIB}};
    static const struct guestmem_range odd[] = {
        {0, 640 << 10}, {1 << 20, 3 * GIB - (1 << 20)}, {4 * GIB, 3 * GIB}};
    static const struct guestmem_range big = {16 * GIB, GIB}, small = {16 * GIB, GIB / 2};
    if (!wanted(what)) return;
    printf("\n%s, bytes each\n%-12s  %8s  %8s\n", what, "", "GiB", "odd");
    for (size_t changes = 100; changes <= 100000; changes *= 10)
        printf("%-12zu  %8.0f  %8.0f\n", changes,
               kept_by_a_change(even, COUNT_OF(even), &big, changes),
               kept_by_a_change(odd, COUNT_OF(odd), &small, changes));
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    pin_to_first_cpu();
    print_head("changing");
    changes("add and remove");
    readers_meanwhile("translate meanwhile");
    kept("kept after a change");
    print_comparisons();
    return 0;
}
