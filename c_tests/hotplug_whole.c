/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A call that looks at the regions more than once sees those of before a change or those of after
 * it, never some of each.
 * runs: asan valgrind tsan */
#include "support/regions.h"
#include "support/json.h"
#include <pthread.h>
#include <sched.h>

#define SIZE ((uint64_t)0x4000)
/* LOW and HIGH come and go; the one between them, which they touch, stays. */
enum { LOW = 0x10000, MIDDLE = 0x14000, HIGH = 0x18000 };
enum { RANGES = 300, CHANGES_IN_A_TURN = 17 };

static struct guestmem *mem;
static struct guestmem_region *low, *high;
static uint64_t turns;
static bool stop;

/* As many changes as there are turns to meet them: each leaves a table behind. */
static void *change(void *unused)
{
    uint64_t changes = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        const bool is_low = changes / 2 % 2 == 0;
        if (changes >= CHANGES_IN_A_TURN * __atomic_load_n(&turns, __ATOMIC_ACQUIRE)) {
            sched_yield();
            continue;
        }
        if (changes % 2 == 0) unplug(mem, is_low ? LOW : HIGH);
        else REQUIRE(guestmem_add_region(mem, is_low ? low : high) == GUESTMEM_OK);
        changes++;
    }
    return unused;
}

/* More ranges than a short chain has, the last of which ends in HIGH. True when that was there. */
static bool translate_all_or_none(void)
{
    static const struct guestmem_slice untouched = {(void *)(uintptr_t)64, 77};
    static struct guestmem_range ranges[RANGES];
    static struct guestmem_slice slices[RANGES + 1];
    size_t i, count = 77;
    int code;
    for (i = 0; i < RANGES; i++) {
        ranges[i].guest_addr = MIDDLE + 8 * i;
        ranges[i].size = i < RANGES - 1 ? 8 : SIZE;
    }
    for (i = 0; i <= RANGES; i++) slices[i] = untouched;
    code = guestmem_translate(mem, ranges, RANGES, slices, RANGES + 1, &count);
    REQUIRE(code == GUESTMEM_OK || code == GUESTMEM_E_INVALID_RANGE);
    REQUIRE(count == (code == GUESTMEM_OK ? RANGES + 1 : 0));
    for (i = 0; i <= RANGES; i++)
        REQUIRE((slices[i].addr == untouched.addr) == (code != GUESTMEM_OK));
    return code == GUESTMEM_OK;
}

/* The lowest region, whichever that is, has a file. */
static void ask_for_the_first_file(void)
{
    int fd = -1;
    REQUIRE(guestmem_offset_region(mem, 0, &fd) == GUESTMEM_OK && fd >= 0);
}

static void describe(void)
{
    char *json = NULL, path[64];
    uint64_t size = 0, end = 0;
    size_t i, count;
    REQUIRE(guestmem_describe(mem, &json) == GUESTMEM_OK && json != NULL);
    count = json_count(json, "regions");
    for (i = 0; i < count; i++) {
        (void)snprintf(path, sizeof path, "regions[%zu].size", i);
        size += json_number(json, path);
        (void)snprintf(path, sizeof path, "regions[%zu].guest_addr", i);
        end = json_number(json, path) + SIZE;
    }
    REQUIRE(json_number(json, "memory_size") == size && json_number(json, "end_addr") == end);
    guestmem_free(json);
}

int main(void)
{
    const uint64_t rounds = fast() ? 300 : 3000;
    uint64_t whole = 0;
    pthread_t changer;
    mem = check_new(NULL, 0);
    low = new_region(LOW, SIZE, 0), high = new_region(HIGH, SIZE, 0);
    plug(mem, MIDDLE, SIZE);
    REQUIRE(guestmem_add_region(mem, low) == GUESTMEM_OK);
    REQUIRE(guestmem_add_region(mem, high) == GUESTMEM_OK);
    REQUIRE(pthread_create(&changer, NULL, change, NULL) == 0);
    while (turns < rounds || whole == 0 || whole == turns) { /* both answers are to be seen */
        size_t i;
        whole += translate_all_or_none();
        for (i = 0; i < 10; i++) ask_for_the_first_file();
        if (turns % 16 == 0) describe();
        __atomic_add_fetch(&turns, 1, __ATOMIC_ACQ_REL);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    REQUIRE(pthread_join(changer, NULL) == 0);
    guestmem_region_unref(low), guestmem_region_unref(high);
    guestmem_unref(mem);
    return check_result();
}
