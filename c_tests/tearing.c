/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A thread flips every word of a page between two patterns while the library reads it: no read may
 * see a mix of the two. Then the library writes and the thread looks.
 *
 * 10^8 words are read in all; GUESTMEM_TEST_SCALE (a factor) or the first argument (a number of
 * words) changes that.
 * runs: asan valgrind tsan qemu */
#include "support/guest.h"
#include <pthread.h>

#define ONE UINT64_C(0x1122334455667788)
#define OTHER UINT64_C(0xeeddccbbaa998877)
enum { WORDS = 512, REGION = 4 };

static struct guestmem *mem;
static const uint64_t base = 0x40000;
static uint64_t *words; /* the first page of the region, in the host */
static size_t span;     /* so many of its words are flipped: few often, or many seldom */
static int stop;
static uint64_t mixed, seen_one, seen_other, reads;

static void look(uint64_t word)
{
    reads++;
    if (word == ONE)
        seen_one++;
    else if (word == OTHER)
        seen_other++;
    else
        mixed++;
}

/* A part of a word that was read on its own: `at` says which bytes. */
static void look_at_part(const uint8_t *bytes, size_t at, size_t size)
{
    const uint64_t one = ONE, other = OTHER;
    reads++;
    if (memcmp(bytes, (const uint8_t *)&one + at, size) == 0)
        seen_one++;
    else if (memcmp(bytes, (const uint8_t *)&other + at, size) == 0)
        seen_other++;
    else
        mixed++;
}

static void *flip(void *unused)
{
    uint64_t pattern = ONE;
    size_t i;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        pattern = pattern == ONE ? OTHER : ONE;
        for (i = 0; i < span; i++) __atomic_store_n(&words[i], pattern, __ATOMIC_RELAXED);
    }
    return unused;
}

/* Runs one kind of reading against the flipping thread until it has read enough. */
static void against_flips_of(size_t count, const char *name, void (*read_some)(uint64_t round),
                             uint64_t enough)
{
    pthread_t writer;
    uint64_t round = 0;
    span = count;
    stop = 0;
    mixed = seen_one = seen_other = reads = 0;
    REQUIRE(pthread_create(&writer, NULL, flip, NULL) == 0);
    while (reads < enough || seen_one == 0 || seen_other == 0) read_some(round++);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    REQUIRE(pthread_join(writer, NULL) == 0);
    if (mixed != 0) {
        fprintf(stderr, "%s: %" PRIu64 " of %" PRIu64 " reads were mixed\n", name, mixed, reads);
        check_fail(__FILE__, __LINE__, name);
    }
}

static void against_flips(const char *name, void (*read_some)(uint64_t round), uint64_t enough)
{
    against_flips_of(8, name, read_some, enough / 4);
    against_flips_of(WORDS, name, read_some, enough - enough / 4);
}

static void by_read_u64(uint64_t round)
{
    uint64_t value = 0;
    if (guestmem_read_u64(mem, base + round % span * 8, &value) != GUESTMEM_OK) mixed++;
    look(value);
}

static void by_volatile_u64(uint64_t round)
{
    uint64_t value = 0;
    if (guestmem_read_volatile_u64(mem, base + round % span * 8, &value) != GUESTMEM_OK) mixed++;
    look(value);
}

static void by_load_u64(uint64_t round)
{
    uint64_t value = 0;
    if (guestmem_load_u64(mem, base + round % span * 8, GUESTMEM_ACQUIRE, &value) != GUESTMEM_OK)
        mixed++;
    look(value);
}

/* Lengths that end a bulk copy in every way, from a word to a page. */
static const size_t lens[] = {8,   16,  24,  32,   40,   64,   72,   96,  128,
                              200, 256, 320, 1000, 1024, 2048, 4088, 4096};
enum { LENS = sizeof lens / sizeof lens[0] };

static uint64_t buffer[WORDS + 2];

static size_t next_len(uint64_t round, uint64_t *addr)
{
    size_t len = lens[round % LENS];
    if (len > span * 8) len = span * 8;
    *addr = base + round * 8 % (span * 8 - len + 8);
    return len;
}

static void look_at_buffer(const uint64_t *bytes, size_t len)
{
    size_t i;
    for (i = 0; i < len / 8; i++) look(bytes[i]);
}

static void by_read_exact(uint64_t round)
{
    uint64_t addr;
    size_t len = next_len(round, &addr);
    if (guestmem_read_exact(mem, addr, buffer, len) != GUESTMEM_OK) mixed++;
    look_at_buffer(buffer, len);
}

static void by_read(uint64_t round)
{
    uint64_t addr;
    size_t len = next_len(round, &addr), done;
    if (guestmem_read(mem, addr, buffer, len, &done) != GUESTMEM_OK || done != len) mixed++;
    look_at_buffer(buffer, len);
}

static void by_dma_read(uint64_t round)
{
    uint64_t addr;
    size_t len = next_len(round, &addr);
    if (guestmem_dma_read(mem, addr, buffer, len) != GUESTMEM_OK) mixed++;
    look_at_buffer(buffer, len);
}

static void by_obj_volatile(uint64_t round)
{
    uint64_t addr;
    size_t len = next_len(round, &addr);
    /* the object's place in the host need not be aligned */
    uint8_t *object = (uint8_t *)buffer + round % 8;
    if (guestmem_read_obj_volatile(mem, addr, object, len) != GUESTMEM_OK) mixed++;
    memmove(buffer, object, len);
    look_at_buffer(buffer, len);
}

static void by_slice_read(uint64_t round)
{
    uint64_t addr;
    size_t len = next_len(round, &addr);
    struct guestmem_slice slice;
    if (guestmem_get_slice(mem, base, 4096, &slice) != GUESTMEM_OK) mixed++;
    if (guestmem_slice_read(slice, (size_t)(addr - base), buffer, len) != GUESTMEM_OK) mixed++;
    look_at_buffer(buffer, len);
}

/* Copies within the guest, into the region's second page, where nobody else writes; forwards and,
 * onto an overlapping place, backwards. */
static void by_dma_copy(uint64_t round)
{
    uint64_t addr, dst = base + 4096;
    size_t len = next_len(round, &addr);
    if (guestmem_dma_copy(mem, dst, addr, len) != GUESTMEM_OK) mixed++;
    if (guestmem_read_exact(mem, dst, buffer, len) != GUESTMEM_OK) mixed++;
    look_at_buffer(buffer, len);
}

static void by_slice_copy(uint64_t round)
{
    uint64_t addr;
    size_t len = next_len(round, &addr);
    struct guestmem_slice src, dst;
    if (guestmem_get_slice(mem, addr, len, &src) != GUESTMEM_OK) mixed++;
    if (guestmem_get_slice(mem, base + 4096, len, &dst) != GUESTMEM_OK) mixed++;
    if (guestmem_slice_copy(dst, src) != len) mixed++;
    look_at_buffer(words + WORDS, len);
}

/* A ring index: two or four bytes read alone into any place, by a bulk call. */
static void by_small_read_exact(uint64_t round)
{
    const size_t size = (size_t)1 << (1 + round % 3), at = round / 3 % (8 / size) * size;
    uint8_t *into = (uint8_t *)buffer + round % 7;
    uint64_t addr = base + round % span * 8 + at;
    if (guestmem_read_exact(mem, addr, into, size) != GUESTMEM_OK) mixed++;
    look_at_part(into, at, size);
}

/* Ring indexes at the ends of a range that starts and ends within a word; the buffer has the same
 * place within its words. First the two or four bytes that come first, then those that come last.
 */
static void by_ragged_dma_read(uint64_t round)
{
    static const size_t middles[] = {0, 8, 16, 56, 64, 248, 1024, 3000};
    const size_t middle = span == WORDS ? middles[round % 8] : round % 6 * 8;
    const size_t head = round / 8 % 2 ? 2 : 4, tail = round / 16 % 2 ? 2 : 4;
    const size_t word = (size_t)(round % (span - middle / 8 - 1));
    const uint64_t addr = base + word * 8 + 8 - head;
    uint8_t *into = (uint8_t *)buffer + 8 - head;
    size_t i;
    if (guestmem_dma_read(mem, addr, into, head + middle + tail) != GUESTMEM_OK) mixed++;
    look_at_part(into, 8 - head, head);
    for (i = 0; i < middle / 8; i++) look(buffer[1 + i]);
    look_at_part(into + head + middle, 0, tail);
}

/* ---- the other way: the library writes, a thread looks ---- */

static uint64_t mixed_seen, looks;

static void *watch(void *unused)
{
    size_t i;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        for (i = 0; i < WORDS; i++) {
            uint64_t word = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
            if (word != ONE && word != OTHER) mixed_seen++;
            (void)__atomic_add_fetch(&looks, 1, __ATOMIC_RELAXED);
        }
    return unused;
}

static void write_round(uint64_t round, const uint64_t *page)
{
    uint64_t addr;
    size_t len = next_len(round, &addr), done;
    struct guestmem_slice to, from;
    CHECK_OK(guestmem_write_all(mem, addr, page, len));
    CHECK_OK(guestmem_dma_write(mem, base, page, 4096));
    CHECK_OK(guestmem_write(mem, addr, page, len, &done));
    CHECK_OK(guestmem_write_u64(mem, base + round % WORDS * 8, page[0]));
    CHECK_OK(guestmem_write_volatile_u64(mem, base + round % WORDS * 8, page[0]));
    CHECK_OK(guestmem_store_u64(mem, base + round % WORDS * 8, page[0], GUESTMEM_RELEASE));
    CHECK_OK(guestmem_write_obj_volatile(mem, addr, page, len));
    CHECK_OK(guestmem_get_slice(mem, addr, len, &to));
    CHECK_OK(guestmem_slice_write(to, 0, page, len));
    CHECK_OK(guestmem_write_all(mem, base + 4096, page, len));
    CHECK_OK(guestmem_get_slice(mem, base + 4096, len, &from));
    CHECK_OK(guestmem_dma_copy(mem, addr, base + 4096, len));
    CHECK_EQ(guestmem_slice_copy(to, from), len);
    CHECK_OK(guestmem_dma_copy(mem, base + 8, base, 4088));
    CHECK_OK(guestmem_dma_copy(mem, base, base + 8, 4088));
}

static void test_writes(uint64_t rounds)
{
    uint64_t page[2][WORDS], round;
    pthread_t watcher;
    size_t i;
    for (i = 0; i < WORDS; i++) page[0][i] = ONE, page[1][i] = OTHER;
    stop = 0;
    span = WORDS;
    CHECK_OK(guestmem_write_all(mem, base, page[0], 4096));
    REQUIRE(pthread_create(&watcher, NULL, watch, NULL) == 0);
    for (round = 0; round < rounds || __atomic_load_n(&looks, __ATOMIC_RELAXED) < rounds; round++)
        write_round(round, page[round % 2]);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    REQUIRE(pthread_join(watcher, NULL) == 0);
    CHECK_EQ(mixed_seen, 0);
}

int main(int argc, char **argv)
{
    const struct guestmem_range range = {0x40000, REGION * 4096};
    const char *scale = getenv("GUESTMEM_TEST_SCALE");
    double total = fast() ? 2e5 : 1e8;
    uint64_t share;
    void *host;
    size_t i;
    if (scale != NULL && strtod(scale, NULL) > 0) total *= strtod(scale, NULL);
    if (argc > 1) total = strtod(argv[1], NULL);
    share = (uint64_t)(total / 4);

    mem = check_new(&range, 1);
    CHECK_OK(guestmem_get_host_address_range(mem, base, 8192, &host));
    words = host;
    for (i = 0; i < WORDS; i++) words[i] = ONE;
    against_flips("read_u64", by_read_u64, share);
    against_flips("read_exact", by_read_exact, share);
    against_flips("dma_read", by_dma_read, share);
    against_flips("read_obj_volatile", by_obj_volatile, share);
    share /= 20;
    against_flips("read_volatile_u64", by_volatile_u64, share);
    against_flips("load_u64", by_load_u64, share);
    against_flips("read", by_read, share);
    against_flips("slice_read", by_slice_read, share);
    against_flips("dma_copy", by_dma_copy, share);
    against_flips("slice_copy", by_slice_copy, share);
    against_flips("a small read_exact", by_small_read_exact, share);
    against_flips("a ragged dma_read", by_ragged_dma_read, share);
    test_writes(fast() ? 20 : 20000);
    guestmem_unref(mem);
    return check_result();
}
