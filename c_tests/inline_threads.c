/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Views of one memory in several threads: words are never torn, a ring whose indexes are stored
 * with release and loaded with acquire loses nothing, sequentially consistent accesses have one
 * order for all, and views can be fetched meanwhile.
 * runs: asan valgrind tsan */
#include "support/guest.h"
#include <pthread.h>
#include <sched.h>

static const uint64_t base = 0x40000;
static struct guestmem *mem;

static struct guestmem_view get_view(void)
{
    struct guestmem_view view;
    REQUIRE(guestmem_get_view(mem, &view, sizeof view) == GUESTMEM_OK);
    return view;
}

static uint64_t rounds(uint64_t natively)
{
    return fast() ? natively / 100 : natively;
}

/* To be called while there is nothing to do: the other thread may have no processor to run on. */
static unsigned patience;

static void wait_a_little(unsigned *spins)
{
    if (++*spins % patience == 0) sched_yield();
}

/* --- a thread that gets views again and again ---------------------------------------------- */

static int stop;

static void *get_views(void *failures)
{
    const void *host = NULL;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        struct guestmem_view view = get_view();
        const void *now = guestmem_view_ptr(&view, base, 8);
        if (host == NULL) host = now;
        if (now == NULL || now != host || !guestmem_view_is_current(&view, mem))
            ++*(uint64_t *)failures;
        sched_yield();
    }
    return NULL;
}

static void beside_new_views(void (*test)(void))
{
    uint64_t failures = 0;
    pthread_t thread;
    stop = 0;
    REQUIRE(pthread_create(&thread, NULL, get_views, &failures) == 0);
    test();
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    REQUIRE(pthread_join(thread, NULL) == 0);
    CHECK_EQ(failures, 0);
}

/* --- tearing ------------------------------------------------------------------------------- */

#define ONE UINT64_C(0x1122334455667788)
#define OTHER UINT64_C(0xeeddccbbaa998877)
enum { WORDS = 8 };
static int reader_done;

/* One word after the other, in every way there is to write one. */
static void *flip(void *refused)
{
    const struct guestmem_view view = get_view();
    struct guestmem_slice slice;
    uint64_t round = 0;
    REQUIRE(guestmem_get_slice(mem, base, WORDS * 8, &slice) == GUESTMEM_OK);
    while (!__atomic_load_n(&reader_done, __ATOMIC_RELAXED)) {
        const uint64_t word = round % WORDS * 8, value = round / WORDS % 2 ? ONE : OTHER;
        const uint64_t way = round / (2 * WORDS) % 3;
        bool done = way == 0   ? guestmem_view_write_u64(&view, base + word, value)
                    : way == 1 ? guestmem_view_store_u64(&view, base + word, value,
                                                         GUESTMEM_RELEASE)
                               : guestmem_slice_store_u64(slice, (size_t)word, value,
                                                          GUESTMEM_RELAXED);
        if (!done) ++*(uint64_t *)refused;
        if (++round % 4096 == 0) sched_yield();
    }
    return NULL;
}

static void words_are_never_torn(void)
{
    const struct guestmem_view view = get_view();
    struct guestmem_slice slice;
    const uint64_t enough = rounds(6000000), flips = fast() ? 1 : 5000;
    uint64_t last[WORDS], changes = 0, mixed = 0, refused = 0, round;
    pthread_t writer;
    REQUIRE(guestmem_get_slice(mem, base, WORDS * 8, &slice) == GUESTMEM_OK);
    for (size_t i = 0; i < WORDS; i++) {
        last[i] = ONE;
        REQUIRE(guestmem_view_write_u64(&view, base + i * 8, ONE));
    }
    reader_done = 0;
    REQUIRE(pthread_create(&writer, NULL, flip, &refused) == 0);
    /* Where the two seldom run at once, it takes longer. */
    for (round = 0; round < enough || changes < flips; round++) {
        const uint64_t word = round % WORDS * 8;
        uint64_t value = 0;
        bool done = round % 3 == 0   ? guestmem_view_read_u64(&view, base + word, &value)
                    : round % 3 == 1 ? guestmem_view_load_u64(&view, base + word, GUESTMEM_ACQUIRE,
                                                              &value)
                                     : guestmem_slice_load_u64(slice, (size_t)word,
                                                               GUESTMEM_RELAXED, &value);
        if (!done || (value != ONE && value != OTHER)) mixed++;
        if (value != last[round % WORDS]) changes++;
        last[round % WORDS] = value;
        if (round % 4096 == 0) sched_yield();
    }
    __atomic_store_n(&reader_done, 1, __ATOMIC_RELAXED);
    REQUIRE(pthread_join(writer, NULL) == 0);
    CHECK_EQ(mixed, 0);
    CHECK_EQ(refused, 0);
}

/* --- a ring -------------------------------------------------------------------------------- */

/* In guest memory: the producer's index, the consumer's on a cache line of its own, then entries of
 * four words that plain writes fill. The ends wait for each other by the indexes alone. */
enum { HEAD = 0, TAIL = 64, ENTRIES = 128, SIZE = 16, ENTRY_WORDS = 4 };
static bool by_slice;

struct end {
    struct guestmem_view view;
    struct guestmem_slice indexes;
};

static struct end ring_end(void)
{
    struct end end;
    end.view = get_view();
    REQUIRE(guestmem_get_slice(mem, base, ENTRIES, &end.indexes) == GUESTMEM_OK);
    return end;
}

static void publish(const struct end *end, uint32_t which, uint16_t index)
{
    if (by_slice)
        REQUIRE(guestmem_slice_store_u16(end->indexes, which, index, GUESTMEM_RELEASE));
    else
        REQUIRE(guestmem_view_store_u16(&end->view, base + which, index, GUESTMEM_RELEASE));
}

static uint16_t look(const struct end *end, uint32_t which)
{
    uint16_t index = 0;
    if (by_slice)
        REQUIRE(guestmem_slice_load_u16(end->indexes, which, GUESTMEM_ACQUIRE, &index));
    else
        REQUIRE(guestmem_view_load_u16(&end->view, base + which, GUESTMEM_ACQUIRE, &index));
    return index;
}

static uint64_t word_of(uint64_t number, uint64_t word)
{
    return (number + 1) * UINT64_C(0x9e3779b97f4a7c15) + word;
}

static uint64_t word_addr(uint64_t number, uint64_t word)
{
    return base + ENTRIES + (number % SIZE * ENTRY_WORDS + word) * 8;
}

static void *produce(void *count)
{
    const struct end end = ring_end();
    unsigned spins = 0;
    for (uint64_t number = 0; number < *(uint64_t *)count; number++) {
        while ((uint16_t)((uint16_t)number - look(&end, TAIL)) == SIZE) wait_a_little(&spins);
        for (uint64_t word = 0; word < ENTRY_WORDS; word++)
            REQUIRE(guestmem_view_write_u64(&end.view, word_addr(number, word),
                                            word_of(number, word)));
        publish(&end, HEAD, (uint16_t)(number + 1));
    }
    return NULL;
}

static void a_ring_loses_nothing(void)
{
    const struct end end = ring_end();
    uint64_t count = rounds(100000), wrong = 0;
    unsigned spins = 0;
    pthread_t producer;
    publish(&end, HEAD, 0);
    publish(&end, TAIL, 0);
    REQUIRE(pthread_create(&producer, NULL, produce, &count) == 0);
    for (uint64_t number = 0; number < count; number++) {
        while (look(&end, HEAD) == (uint16_t)number) wait_a_little(&spins);
        for (uint64_t word = 0; word < ENTRY_WORDS; word++) {
            uint64_t value = 0;
            bool done = guestmem_view_read_u64(&end.view, word_addr(number, word), &value);
            if (!done || value != word_of(number, word)) wrong++;
        }
        publish(&end, TAIL, (uint16_t)(number + 1));
    }
    REQUIRE(pthread_join(producer, NULL) == 0);
    CHECK_EQ(wrong, 0);
}

/* --- sequential consistency ---------------------------------------------------------------- */

/* Two threads meet; each stores in its own place and then looks into the other's. With a weaker
 * order the processor may let both look first, and neither sees the other. */
enum { MEETINGS = 100000 };

struct party {
    struct end end;
    uint32_t me; /* 0 or 1 */
    uint32_t meetings, arrived;
    struct party *other;
    bool saw[MEETINGS];
};

static void set(const struct party *party, uint32_t value)
{
    const uint32_t place = party->me == 0 ? HEAD : TAIL;
    if (by_slice)
        REQUIRE(guestmem_slice_store_u32(party->end.indexes, place, value, GUESTMEM_SEQ_CST));
    else
        REQUIRE(guestmem_view_store_u32(&party->end.view, base + place, value, GUESTMEM_SEQ_CST));
}

static uint32_t get(const struct party *party)
{
    const uint32_t place = party->me == 0 ? TAIL : HEAD;
    uint32_t value = 0;
    if (by_slice)
        REQUIRE(guestmem_slice_load_u32(party->end.indexes, place, GUESTMEM_SEQ_CST, &value));
    else
        REQUIRE(guestmem_view_load_u32(&party->end.view, base + place, GUESTMEM_SEQ_CST, &value));
    return value;
}

static void *meet(void *argument)
{
    struct party *self = argument;
    unsigned spins = 0;
    for (uint32_t i = 0; i < self->meetings; i++) {
        __atomic_store_n(&self->arrived, i + 1, __ATOMIC_RELEASE);
        while (__atomic_load_n(&self->other->arrived, __ATOMIC_ACQUIRE) <= i)
            wait_a_little(&spins);
        /* By turns one of them, or neither, is a little late. */
        for (volatile uint32_t late = i % 3 == self->me ? i % 64 : 0; late != 0;) late = late - 1;
        set(self, i + 1);
        self->saw[i] = get(self) == i + 1;
    }
    return NULL;
}

static void one_of_two_sees_the_other(void)
{
    static struct party parties[2];
    uint64_t missed = 0;
    pthread_t other;
    for (uint32_t i = 0; i < 2; i++) {
        parties[i].end = ring_end();
        parties[i].me = i;
        parties[i].meetings = (uint32_t)rounds(MEETINGS);
        parties[i].arrived = 0;
        parties[i].other = &parties[1 - i];
        set(&parties[i], 0);
    }
    REQUIRE(pthread_create(&other, NULL, meet, &parties[1]) == 0);
    meet(&parties[0]);
    REQUIRE(pthread_join(other, NULL) == 0);
    for (uint32_t i = 0; i < parties[0].meetings; i++)
        if (!parties[0].saw[i] && !parties[1].saw[i]) missed++;
    CHECK_EQ(missed, 0);
}

int main(void)
{
    const struct guestmem_range range = { base, PAGE };
    patience = fast() ? 1 : 2000;
    mem = check_new(&range, 1);
    beside_new_views(words_are_never_torn);
    for (int i = 0; i < 2; i++) {
        by_slice = i == 1;
        beside_new_views(a_ring_loses_nothing);
        one_of_two_sees_the_other();
    }
    guestmem_unref(mem);
    return check_result();
}
