/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A million times a memory is made, each of several threads is given a reference of its own, and
 * the maker releases its own at once: whoever is last, everybody finds the memory alive as long as
 * he holds it, and afterwards nothing is left.
 * runs: asan valgrind tsan */
#include "support/process.h"

#include <pthread.h>

/* So many memories are under way at once: more than slots of handles are allocated at a time. */
enum { THREADS = 3, UNDER_WAY = 1024 };
#define ADDR ((uint64_t)0x40000)

struct handed {
    struct guestmem *mem;
    struct guestmem_region *region; /* NULL: the one that all share */
    uint64_t value;
};

static struct handed handed[UNDER_WAY];
static uint64_t rounds, made, done[THREADS];

static uint64_t load(const uint64_t *place)
{
    return __atomic_load_n(place, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *place, uint64_t value)
{
    __atomic_store_n(place, value, __ATOMIC_RELEASE);
}

/* With a reference of its own; now and then through a further one. */
static void use(const struct handed *one, uint64_t round, uint64_t id)
{
    uint64_t value = 0;
    REQUIRE(guestmem_read_u64(one->mem, ADDR + 8, &value) == GUESTMEM_OK && value == one->value);
    if (one->region != NULL) {
        REQUIRE(guestmem_region_ref(one->region) == one->region);
        guestmem_region_unref(one->region);
    }
    if (round % THREADS != id) return;
    REQUIRE(guestmem_ref(one->mem) == one->mem);
    guestmem_unref(one->mem);
    REQUIRE(guestmem_num_regions(one->mem) == 1);
}

static void *receive(void *argument)
{
    const uint64_t id = *(uint64_t *)argument;
    for (uint64_t round = 0; round < rounds; round++) {
        struct handed one;
        while (load(&made) <= round) usleep(20);
        one = handed[round % UNDER_WAY];
        use(&one, round, id);
        guestmem_region_unref(one.region);
        guestmem_unref(one.mem);
        store(&done[id], round + 1);
    }
    return NULL;
}

static struct guestmem_region *new_page(uint64_t value)
{
    struct guestmem_region_options options;
    struct guestmem_region *region = NULL;
    struct guestmem *mem = NULL;
    memset(&options, 0, sizeof options);
    options.guest_addr = ADDR, options.size = PAGE;
    REQUIRE(guestmem_region_new(&options, sizeof options, &region) == GUESTMEM_OK);
    REQUIRE(guestmem_from_regions(&region, 1, &mem) == GUESTMEM_OK);
    REQUIRE(guestmem_write_u64(mem, ADDR + 8, value) == GUESTMEM_OK);
    guestmem_unref(mem);
    return region;
}

/* Mostly of the region that all share; a mapping of its own takes longer than all else here. */
static void hand_out(struct guestmem_region *shared, uint64_t round)
{
    struct handed *one = &handed[round % UNDER_WAY];
    struct guestmem_region *region = shared;
    one->value = 1;
    one->region = NULL;
    if (round % 64 == 0) {
        one->value = round;
        one->region = region = new_page(round);
    }
    REQUIRE(guestmem_from_regions(&region, 1, &one->mem) == GUESTMEM_OK);
    for (size_t i = 0; i < THREADS; i++) {
        REQUIRE(guestmem_ref(one->mem) == one->mem);
        if (one->region != NULL) REQUIRE(guestmem_region_ref(region) == region);
    }
}

static void make_and_release(struct guestmem_region *shared)
{
    for (uint64_t round = 0; round < rounds; round++) {
        struct handed one;
        for (size_t i = 0; i < THREADS; i++)
            while (load(&done[i]) + UNDER_WAY <= round) usleep(20);
        hand_out(shared, round);
        one = handed[round % UNDER_WAY];
        store(&made, round + 1);
        guestmem_region_unref(one.region);
        guestmem_unref(one.mem);
    }
}

/* Mappings of the library's memfds. */
static uint64_t mapped_regions(void)
{
    char line[1024];
    uint64_t count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    REQUIRE(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) count += strstr(line, "memfd:guestmem (") != NULL;
    REQUIRE(fclose(maps) == 0);
    return count;
}

int main(void)
{
    static uint64_t ids[THREADS] = { 0, 1, 2 };
    pthread_t threads[THREADS];
    struct guestmem_region *shared;
    struct guestmem *last = NULL;
    rounds = fast() ? 10000 : 1000000;
    shared = new_page(1);
    for (size_t i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, receive, &ids[i]) == 0);
    make_and_release(shared);
    for (size_t i = 0; i < THREADS; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
    /* No memory is left: of all the regions only this one, and no reference to it but this. */
    CHECK_EQ(mapped_regions(), 1);
    REQUIRE(guestmem_from_regions(&shared, 1, &last) == GUESTMEM_OK);
    guestmem_unref(last);
    CHECK(guestmem_ref(last) == NULL);
    guestmem_region_unref(shared);
    CHECK(guestmem_region_ref(shared) == NULL);
    CHECK_EQ(mapped_regions(), 0);
    return check_result();
}
