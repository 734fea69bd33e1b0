/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Regions come and go while other threads read, write, copy, translate, fetch views and count
 * references. Each answer is that of before a change or that of after it, each word whole. A
 * removed region is overwritten and released once all threads have passed a point where they hold
 * nothing of the memory: who still looks at it then is found out.
 * runs: asan valgrind tsan */
#include "support/regions.h"
#include <pthread.h>
#include <sched.h>

/* Slots 0 and 1 touch the region that is always there, from below and from above; 2 lies apart. */
enum { SLOTS = 3, FIXED = SLOTS, READERS = 3, WORDS = 512, BYTE_GONE = 0xdd };
#define SIZE (4 * PAGE)
#define SCRATCH ((uint64_t)0x80000)

/* A thread for each slot makes its regions come and go. ThreadSanitizer does not see how a thread
 * gets a lock of Rust's standard library that it had to wait for, so there one thread does it all:
 * locks are always free then. */
#ifdef __SANITIZE_THREAD__
enum { CHANGERS = 1 };
#else
enum { CHANGERS = SLOTS };
#endif

static const uint64_t start_of[SLOTS + 1] = { 0x10000, 0x18000, 0x40000, 0x14000 };
static struct guestmem *mem;
static struct guestmem_region *fixed;

/* The first and the last page of a region hold this word alone; in between there may be those of
 * other regions. Neither zeros nor what a region is overwritten with at its end look like it. */
static uint64_t word_of(uint32_t place, uint32_t round)
{
    const uint32_t number = place << 28 | (round & 0xfffffff);
    return (uint64_t)number << 32 | (uint32_t)~number;
}

static bool is_word(uint64_t word)
{
    return (uint32_t)(word >> 32) == (uint32_t)~(uint32_t)word;
}

static bool is_word_of(uint64_t word, uint32_t place)
{
    return is_word(word) && word >> 60 == place;
}

static bool is_page_of(const uint64_t *words, uint32_t place)
{
    for (size_t i = 1; i < WORDS; i++)
        if (words[i] != words[0]) return false;
    return is_word_of(words[0], place);
}

static bool all_are(const uint64_t *words, size_t count, uint64_t value)
{
    for (size_t i = 0; i < count; i++)
        if (words[i] != value) return false;
    return true;
}

/* --- when nobody looks at a removed region any more ----------------------------------------- */

static uint64_t epoch;

struct reader {
    pthread_t thread;
    uint32_t id;
    uint64_t seen; /* the epoch in which it last held nothing */
    uint64_t random;
    uint64_t generation;
    struct guestmem_view view;
    uint64_t there[SLOTS], gone[SLOTS];
};

static struct reader readers[READERS];
static bool stop;

static void hold_nothing(struct reader *self)
{
    __atomic_store_n(&self->seen, __atomic_load_n(&epoch, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
}

static void wait_for_readers(void)
{
    const uint64_t now = __atomic_add_fetch(&epoch, 1, __ATOMIC_ACQ_REL);
    for (size_t i = 0; i < READERS; i++)
        while (__atomic_load_n(&readers[i].seen, __ATOMIC_ACQUIRE) < now) usleep(20);
}

/* --- what the readers do -------------------------------------------------------------------- */

static uint64_t some_word(struct reader *self)
{
    return random_number(&self->random) % WORDS * 8;
}

/* Whether a call found the slot's region; it gave one of these two codes. */
static bool found(int code, int otherwise)
{
    REQUIRE(code == GUESTMEM_OK || code == otherwise);
    return code == GUESTMEM_OK;
}

static void read_words(struct reader *self)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        const uint64_t addr = start_of[slot] + some_word(self);
        uint64_t value = 77, loaded = 77;
        bool there = found(guestmem_read_u64(mem, addr, &value), GUESTMEM_E_INVALID_ADDRESS);
        REQUIRE(there ? is_word_of(value, slot) : value == 0);
        there ? self->there[slot]++ : self->gone[slot]++;
        there = found(guestmem_load_u64(mem, addr + 3 * PAGE, GUESTMEM_ACQUIRE, &loaded),
                      GUESTMEM_E_INVALID_ADDRESS);
        REQUIRE(there ? is_word_of(loaded, slot) : loaded == 0);
    }
}

static void write_words(struct reader *self)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        const uint64_t addr = start_of[slot] + PAGE + some_word(self);
        uint64_t value = 77, expected = word_of(slot, 0);
        bool exchanged = false;
        (void)found(guestmem_write_u64(mem, addr, word_of(self->id, 1)),
                    GUESTMEM_E_INVALID_ADDRESS);
        if (found(guestmem_read_u64(mem, addr, &value), GUESTMEM_E_INVALID_ADDRESS))
            REQUIRE(is_word(value));
        (void)found(guestmem_compare_exchange_u64(mem, addr, &expected, word_of(self->id, 2),
                                                  GUESTMEM_SEQ_CST, &exchanged),
                    GUESTMEM_E_INVALID_ADDRESS);
        REQUIRE(is_word(expected));
    }
}

/* The view is of a map that this thread may still use: it was current since nothing was held. */
static void ask_the_view(struct reader *self)
{
    struct guestmem_view *view = &self->view;
    if (!guestmem_view_is_current(view, mem))
        REQUIRE(guestmem_get_view(mem, view, sizeof *view) == GUESTMEM_OK);
    for (uint32_t slot = 0; slot <= FIXED; slot++) {
        const uint64_t addr = start_of[slot] + some_word(self);
        uint64_t value = 77, again = 77;
        const bool there = guestmem_view_read_u64(view, addr, &value);
        REQUIRE(there ? is_word_of(value, slot) : value == 0 && slot != FIXED);
        /* A view's answers never change. */
        REQUIRE(guestmem_view_load_u64(view, addr, GUESTMEM_ACQUIRE, &again) == there);
        REQUIRE(again == value);
        REQUIRE((guestmem_view_ptr(view, start_of[slot], SIZE) != NULL) == there);
        REQUIRE(guestmem_view_write_u64(view, addr % PAGE + start_of[slot] + PAGE,
                                        word_of(self->id, 3)) == there);
    }
}

/* Through the boundaries of the region that is always there. */
static void read_across(void)
{
    static const uint64_t canary = UINT64_C(0x0123456789abcdef);
    uint64_t words[6 * WORDS];
    int code;
    for (size_t i = 0; i < 6 * WORDS; i++) words[i] = canary;
    if (found(guestmem_dma_read(mem, start_of[FIXED] - PAGE, words, 2 * PAGE),
              GUESTMEM_E_INVALID_ADDRESS))
        REQUIRE(is_page_of(words, 0) && is_page_of(words + WORDS, FIXED));
    else
        REQUIRE(all_are(words, 6 * WORDS, canary));
    for (size_t i = 0; i < 6 * WORDS; i++) words[i] = canary;
    if (found(guestmem_dma_read(mem, start_of[1] - PAGE, words, 2 * PAGE),
              GUESTMEM_E_INVALID_RANGE))
        REQUIRE(is_page_of(words, FIXED) && is_page_of(words + WORDS, 1));
    else
        REQUIRE(all_are(words, 6 * WORDS, canary));
    for (size_t i = 0; i < 6 * WORDS; i++) words[i] = canary;
    code = guestmem_dma_read(mem, start_of[FIXED] - PAGE, words, sizeof words);
    if (code == GUESTMEM_OK) {
        REQUIRE(is_page_of(words, 0) && is_page_of(words + WORDS, FIXED));
        REQUIRE(is_page_of(words + 4 * WORDS, FIXED) && is_page_of(words + 5 * WORDS, 1));
    } else {
        REQUIRE(code == GUESTMEM_E_INVALID_ADDRESS || code == GUESTMEM_E_INVALID_RANGE);
        REQUIRE(all_are(words, 6 * WORDS, canary));
    }
}

/* Out of a slot into the thread's own page, and into the third page of all the slots. */
static void copy_around(struct reader *self)
{
    const uint64_t own = SCRATCH + self->id * PAGE, filler = UINT64_C(0x4242424242424242);
    uint64_t words[WORDS];
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        bool there;
        REQUIRE(guestmem_dma_fill(mem, own, 0x42, PAGE) == GUESTMEM_OK);
        there = found(guestmem_dma_copy(mem, own, start_of[slot], PAGE),
                      GUESTMEM_E_INVALID_ADDRESS);
        REQUIRE(guestmem_read_exact(mem, own, words, sizeof words) == GUESTMEM_OK);
        REQUIRE(there ? is_page_of(words, slot) : all_are(words, WORDS, filler));
        (void)found(guestmem_dma_copy(mem, start_of[slot] + 2 * PAGE, start_of[FIXED], PAGE),
                    GUESTMEM_E_INVALID_ADDRESS);
        if (found(guestmem_read_exact(mem, start_of[slot] + 2 * PAGE, words, sizeof words),
                  GUESTMEM_E_INVALID_ADDRESS))
            for (size_t i = 0; i < WORDS; i++) REQUIRE(is_word(words[i]));
    }
}

/* What lies at a host address that the memory gave. */
static uint64_t word_at(const void *host)
{
    return __atomic_load_n((const uint64_t *)host, __ATOMIC_RELAXED);
}

static void translate(void)
{
    struct guestmem_slice slices[3];
    size_t count = 0;
    const int code = guestmem_get_slices(mem, start_of[0], 3 * SIZE, slices, 3, &count);
    if (code == GUESTMEM_OK) {
        static const uint32_t place[] = { 0, FIXED, 1 };
        REQUIRE(count == 3);
        for (size_t i = 0; i < 3; i++)
            REQUIRE(slices[i].len == SIZE && is_word_of(word_at(slices[i].addr), place[i]));
    } else {
        REQUIRE(code == GUESTMEM_E_INVALID_ADDRESS || code == GUESTMEM_E_INVALID_RANGE);
        REQUIRE(count == 0);
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        void *host = NULL;
        if (found(guestmem_get_host_address_range(mem, start_of[slot], SIZE, &host),
                  GUESTMEM_E_INVALID_ADDRESS))
            REQUIRE(is_word_of(word_at(host), slot));
    }
}

static void ask(struct reader *self)
{
    const uint64_t generation = guestmem_generation(mem), size = guestmem_memory_size(mem);
    struct guestmem_region_info info;
    size_t index = 0;
    uint64_t offset = 0;
    REQUIRE(generation >= self->generation);
    self->generation = generation;
    REQUIRE(size % SIZE == 0 && size >= 2 * SIZE && size <= (2 + SLOTS) * SIZE);
    REQUIRE(guestmem_end_addr(mem) == SCRATCH + SIZE);
    while (found(guestmem_region_info(mem, index, &info, sizeof info), GUESTMEM_E_NOT_FOUND)) {
        REQUIRE(info.size == SIZE && is_word(word_at((uint8_t *)info.host_addr + SIZE - 8)));
        index++;
    }
    REQUIRE(index >= 2 && index <= 2 + SLOTS);
    for (uint32_t slot = 0; slot <= FIXED; slot++) {
        if (!found(guestmem_find_region(mem, start_of[slot] + 5, &info, sizeof info, &offset),
                   slot == FIXED ? GUESTMEM_OK : GUESTMEM_E_INVALID_ADDRESS))
            continue;
        REQUIRE(info.guest_addr == start_of[slot] && info.size == SIZE && offset == 5);
        REQUIRE(is_word_of(word_at(info.host_addr), slot));
    }
    REQUIRE(guestmem_is_valid_range(mem, start_of[FIXED], SIZE));
}

static void count_references(void)
{
    REQUIRE(guestmem_ref(mem) == mem);
    REQUIRE(guestmem_region_ref(fixed) == fixed);
    guestmem_region_unref(fixed);
    guestmem_unref(mem);
}

static void describe(void)
{
    char *json = NULL;
    REQUIRE(guestmem_describe(mem, &json) == GUESTMEM_OK && json != NULL);
    guestmem_free(json);
}

static void *read_on(void *argument)
{
    struct reader *self = argument;
    for (uint64_t turn = self->id; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); turn++) {
        hold_nothing(self);
        if (turn % 4 == 0) sched_yield(); /* there may be fewer processors than threads */
        read_words(self);
        ask_the_view(self);
        switch (turn % 8) {
        case 0: case 4: read_across(); break;
        case 1: copy_around(self); break;
        case 2: case 6: write_words(self); break;
        case 3: translate(); break;
        case 5: ask(self); break;
        default: count_references();
        }
        if (CHANGERS > 1 && turn % 64 == 0) describe(); /* it takes a lock */
    }
    guestmem_unref(mem); /* each thread was given a reference */
    return NULL;
}

/* --- what makes regions come and go --------------------------------------------------------- */

struct changer {
    pthread_t thread;
    uint32_t id, rounds;
    uint64_t changes;
};

static struct guestmem_region *filled_region(uint32_t place, uint32_t round, uint64_t **host)
{
    struct guestmem_region *region =
        new_region(start_of[place], SIZE, round % 2 != 0 ? GUESTMEM_REGION_PRIVATE : 0);
    struct guestmem *alone = NULL;
    REQUIRE(guestmem_from_regions(&region, 1, &alone) == GUESTMEM_OK);
    *host = info_of(alone, 0).host_addr;
    guestmem_unref(alone);
    for (size_t i = 0; i < 4 * WORDS; i++) (*host)[i] = word_of(place, round);
    return region;
}

static void come_and_go(struct changer *self, uint32_t slot, uint32_t round)
{
    uint64_t *host;
    struct guestmem_region *region = filled_region(slot, round, &host), *removed;
    REQUIRE(guestmem_add_region(mem, region) == GUESTMEM_OK);
    for (uint32_t wait = round % 3; wait != 0; wait--) wait_for_readers();
    if (round % 4 == 0) {
        REQUIRE(guestmem_add_region(mem, region) == GUESTMEM_E_OVERLAP);
        /* out and in again at once */
        removed = take_out(mem, start_of[slot]);
        REQUIRE(removed == region && guestmem_add_region(mem, removed) == GUESTMEM_OK);
        guestmem_region_unref(removed);
        self->changes += 2;
    }
    guestmem_region_unref(region);
    removed = take_out(mem, start_of[slot]);
    self->changes += 2;
    wait_for_readers();
    if (round % 3 == 1) wait_for_readers();
    memset(host, BYTE_GONE, SIZE);
    sched_yield();
    REQUIRE(all_are(host, 4 * WORDS, UINT64_C(0x0101010101010101) * BYTE_GONE));
    guestmem_region_unref(removed);
}

static void *change(void *argument)
{
    struct changer *self = argument;
    for (uint32_t round = 1; round <= self->rounds; round++) {
        for (uint32_t slot = self->id; slot < SLOTS; slot += CHANGERS)
            come_and_go(self, slot, round);
        if (round % 16 == 0)
            REQUIRE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_DONTFORK) == GUESTMEM_OK);
    }
    return NULL;
}

static void start_readers(void)
{
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i].id = i;
        readers[i].random = i + 1;
        readers[i].view = view_of(mem);
        REQUIRE(guestmem_ref(mem) == mem);
        REQUIRE(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]) == 0);
    }
}

static void join_readers(void)
{
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < READERS; i++) {
        REQUIRE(pthread_join(readers[i].thread, NULL) == 0);
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            CHECK(readers[i].there[slot] != 0 && readers[i].gone[slot] != 0);
    }
}

int main(void)
{
    struct changer changers[CHANGERS];
    uint64_t *host, changes = 2;
    mem = check_new(NULL, 0);
    fixed = filled_region(FIXED, 0, &host);
    REQUIRE(guestmem_add_region(mem, fixed) == GUESTMEM_OK);
    plug(mem, SCRATCH, SIZE);
    REQUIRE(guestmem_dma_copy(mem, SCRATCH, start_of[FIXED], SIZE) == GUESTMEM_OK);
    memset(changers, 0, sizeof changers);
    start_readers();
    for (uint32_t i = 0; i < CHANGERS; i++) {
        changers[i].id = i;
        changers[i].rounds = fast() ? 30 : 500;
        REQUIRE(pthread_create(&changers[i].thread, NULL, change, &changers[i]) == 0);
    }
    for (uint32_t i = 0; i < CHANGERS; i++) {
        REQUIRE(pthread_join(changers[i].thread, NULL) == 0);
        changes += changers[i].changes;
    }
    join_readers();
    CHECK_EQ(guestmem_generation(mem), changes);
    CHECK_EQ(guestmem_num_regions(mem), 2);
    guestmem_region_unref(fixed);
    guestmem_unref(mem);
    return check_result();
}
