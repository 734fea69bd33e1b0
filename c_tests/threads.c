/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Many threads on one handle, each with pages of its own whose values it checks, all with one
 * counter that must come out right.
 * runs: asan valgrind tsan qemu musl */
#include "support/guest.h"
#include "support/json.h"
#include <pthread.h>

enum { THREADS = 8, OWN_PAGES = 4 };
static const uint64_t own_base = 0x100000, own_size = OWN_PAGES * 4096;
static const uint64_t counter = 0x80000;
static struct guestmem *mem;
static unsigned rounds;

struct worker {
    pthread_t thread;
    unsigned id, failures;
    uint64_t counted;
};

/* Threads report through their own count: the checks' is not made for them. */
static void must(struct worker *worker, bool held, const char *what)
{
    if (held) return;
    if (worker->failures++ < 3) fprintf(stderr, "thread %u: failed: %s\n", worker->id, what);
}

#define MUST(condition) must(worker, (condition), #condition)

/* The own pages lie in the middle of two touching regions of different backing, threads on both
 * sides. */
static uint64_t own_addr(const struct worker *worker)
{
    return own_base + worker->id * own_size;
}

static void values(struct worker *worker, uint64_t value)
{
    const uint64_t addr = own_addr(worker);
    uint64_t u64 = 0, expected;
    uint32_t u32 = 0;
    uint16_t u16 = 0;
    uint8_t u8 = 0;
    bool exchanged = false;
    MUST(guestmem_write_u64(mem, addr + 3, value) == GUESTMEM_OK &&
         guestmem_read_u64(mem, addr + 3, &u64) == GUESTMEM_OK && u64 == value);
    MUST(guestmem_write_u8(mem, addr, (uint8_t)value) == GUESTMEM_OK &&
         guestmem_read_u8(mem, addr, &u8) == GUESTMEM_OK && u8 == (uint8_t)value);
    MUST(guestmem_write_volatile_u32(mem, addr + 16, (uint32_t)value) == GUESTMEM_OK);
    MUST(guestmem_read_volatile_u32(mem, addr + 16, &u32) == GUESTMEM_OK && u32 == (uint32_t)value);
    MUST(guestmem_store_u16(mem, addr + 24, (uint16_t)value, GUESTMEM_RELEASE) == GUESTMEM_OK);
    MUST(guestmem_load_u16(mem, addr + 24, GUESTMEM_ACQUIRE, &u16) == GUESTMEM_OK &&
         u16 == (uint16_t)value);
    MUST(guestmem_store_u64(mem, addr + 32, value, GUESTMEM_SEQ_CST) == GUESTMEM_OK);
    expected = value;
    MUST(guestmem_compare_exchange_u64(mem, addr + 32, &expected, ~value, GUESTMEM_ACQ_REL,
                                       &exchanged) == GUESTMEM_OK &&
         exchanged);
    MUST(guestmem_load_u64(mem, addr + 32, GUESTMEM_SEQ_CST, &u64) == GUESTMEM_OK && u64 == ~value);
}

static void bulk(struct worker *worker, uint64_t value)
{
    const uint64_t addr = own_addr(worker);
    uint8_t bytes[3000], back[3000];
    struct guestmem_slice slices[4];
    size_t done = 0, count = 0;
    fill_random(bytes, sizeof bytes, value);
    MUST(guestmem_dma_write(mem, addr + 77, bytes, sizeof bytes) == GUESTMEM_OK);
    MUST(guestmem_dma_copy(mem, addr + 8001, addr + 77, sizeof bytes) == GUESTMEM_OK);
    MUST(guestmem_read(mem, addr + 8001, back, sizeof back, &done) == GUESTMEM_OK &&
         done == sizeof back);
    MUST(memcmp(bytes, back, sizeof bytes) == 0);
    MUST(guestmem_dma_fill(mem, addr + 8001, (uint8_t)value, 100) == GUESTMEM_OK);
    MUST(guestmem_read_exact(mem, addr + 8001, back, 101) == GUESTMEM_OK);
    MUST(back[0] == (uint8_t)value && back[99] == (uint8_t)value && back[100] == bytes[100]);
    MUST(guestmem_get_slices(mem, addr, own_size, slices, 4, &count) == GUESTMEM_OK && count == 1 &&
         slices[0].len == own_size);
    MUST(guestmem_slice_write(slices[0], 500, bytes, 1000) == GUESTMEM_OK &&
         guestmem_slice_read(slices[0], 500, back, 1000) == GUESTMEM_OK);
    MUST(memcmp(bytes, back, 1000) == 0);
}

static void pages(struct worker *worker)
{
    const uint64_t addr = own_addr(worker);
    uint8_t page[4096];
    MUST(guestmem_dma_fill(mem, addr, 0xee, own_size) == GUESTMEM_OK);
    MUST(guestmem_remove_range(mem, addr + PAGE, 2 * PAGE) == GUESTMEM_OK);
    MUST(guestmem_read_exact(mem, addr + 2 * PAGE, page, sizeof page) == GUESTMEM_OK &&
         page[0] == 0 && memcmp(page, page + 1, 4095) == 0);
    MUST(guestmem_read_exact(mem, addr + 3 * PAGE, page, sizeof page) == GUESTMEM_OK &&
         page[0] == 0xee && memcmp(page, page + 1, 4095) == 0);
    MUST(guestmem_read_exact(mem, addr, page, sizeof page) == GUESTMEM_OK && page[0] == 0xee &&
         memcmp(page, page + 1, 4095) == 0);
}

/* Each thread's last error is its own. */
static void errors(struct worker *worker, uint64_t round)
{
    const uint64_t addr = UINT64_C(0x7000000000) + worker->id * 0x1000 + round;
    struct guestmem_error_info info;
    char message[200], number[32];
    uint64_t value;
    memset(&info, 0, sizeof info);
    MUST(guestmem_read_u64(mem, addr, &value) == GUESTMEM_E_INVALID_ADDRESS);
    values(worker, round);
    MUST(guestmem_last_error(&info, sizeof info) == GUESTMEM_OK);
    MUST(info.code == GUESTMEM_E_INVALID_ADDRESS && info.guest_addr == addr && info.size == 8);
    (void)guestmem_last_error_message(message, sizeof message);
    (void)snprintf(number, sizeof number, "0x%" PRIx64, addr);
    MUST(strstr(message, number) != NULL);
}

static void count_up(struct worker *worker)
{
    uint64_t value = 0;
    bool exchanged = false;
    MUST(guestmem_load_u64(mem, counter, GUESTMEM_RELAXED, &value) == GUESTMEM_OK);
    while (!exchanged)
        MUST(guestmem_compare_exchange_u64(mem, counter, &value, value + 1, GUESTMEM_SEQ_CST,
                                           &exchanged) == GUESTMEM_OK);
    worker->counted++;
}

static void queries(struct worker *worker)
{
    struct guestmem_region_info info;
    uint64_t offset = 0, back = 0;
    void *host = NULL;
    char *json = NULL;
    struct guestmem *again = guestmem_ref(mem);
    MUST(again == mem);
    MUST(guestmem_find_region(again, own_addr(worker), &info, sizeof info, &offset) ==
             GUESTMEM_OK &&
         info.guest_addr + offset == own_addr(worker));
    MUST(guestmem_get_host_address(again, own_addr(worker), &host) == GUESTMEM_OK);
    MUST(guestmem_get_guest_address(again, host, &back) == GUESTMEM_OK && back == own_addr(worker));
    MUST(guestmem_num_regions(again) == 3 &&
         guestmem_is_valid_range(again, own_addr(worker), own_size));
    MUST(guestmem_describe(again, &json) == GUESTMEM_OK && json != NULL && json_valid(json));
    guestmem_free(json);
    guestmem_unref(again);
}

static void transfer(struct worker *worker, uint64_t value)
{
    uint8_t bytes[1000], back[1000];
    int ends[2] = {-1, -1};
    fill_random(bytes, sizeof bytes, value);
    MUST(pipe2(ends, O_CLOEXEC) == 0 &&
         write(ends[1], bytes, sizeof bytes) == (ssize_t)sizeof bytes);
    MUST(guestmem_read_to_memory(mem, own_addr(worker) + 4000, ends[0], sizeof bytes) ==
         GUESTMEM_OK);
    MUST(guestmem_write_from_memory(mem, own_addr(worker) + 4000, ends[1], sizeof bytes) ==
         GUESTMEM_OK);
    MUST(read(ends[0], back, sizeof back) == (ssize_t)sizeof back &&
         memcmp(bytes, back, sizeof back) == 0);
    (void)close(ends[0]);
    /* no SIGPIPE in any thread */
    MUST(guestmem_write_from_memory(mem, own_addr(worker), ends[1], 10) == GUESTMEM_E_IO);
    (void)close(ends[1]);
}

static int64_t swallow(void *user, const void *buf, size_t len)
{
    (void)user, (void)buf;
    return (int64_t)len;
}

/* What a running guest would make of it is no snapshot to keep, but it must not fail. */
static void snapshot(struct worker *worker)
{
    char *metadata = NULL;
    MUST(guestmem_snapshot_write(mem, swallow, NULL, NULL, 0, &metadata) == GUESTMEM_OK &&
         metadata != NULL && json_valid(metadata));
    guestmem_free(metadata);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    unsigned round;
    for (round = 0; round < rounds; round++) {
        uint64_t value = (uint64_t)round * 0x9e3779b97f4a7c15 + worker->id;
        values(worker, value);
        bulk(worker, value);
        errors(worker, round);
        count_up(worker);
        if (round % 8 == worker->id % 8) pages(worker);
        if (round % 16 == worker->id) queries(worker);
        if (round % 8 == 5) transfer(worker, value);
        if (round % 128 == worker->id * 16) snapshot(worker);
        if (round % 64 == 9)
            MUST(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_DONTFORK) == GUESTMEM_OK);
    }
    guestmem_unref(mem); /* each thread was given a reference */
    return NULL;
}

int main(void)
{
    struct guestmem_region_options options[3];
    struct worker workers[THREADS];
    uint64_t value = 0, counted = 0;
    unsigned i;
    rounds = fast() ? 20 : 3000;
    memset(options, 0, sizeof options);
    memset(workers, 0, sizeof workers);
    options[0].guest_addr = 0x80000, options[0].size = PAGE;
    options[1].guest_addr = own_base, options[1].size = THREADS / 2 * own_size;
    options[2].guest_addr = own_base + options[1].size, options[2].size = THREADS / 2 * own_size;
    options[2].flags = GUESTMEM_REGION_PRIVATE;
    CHECK_OK(guestmem_new_with_options(options, 3, sizeof options[0], &mem));
    REQUIRE(mem != NULL);
    CHECK_OK(guestmem_write_u64(mem, counter, 0));
    for (i = 0; i < THREADS; i++) {
        workers[i].id = i;
        REQUIRE(guestmem_ref(mem) == mem);
        REQUIRE(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        REQUIRE(pthread_join(workers[i].thread, NULL) == 0);
        CHECK_EQ(workers[i].failures, 0);
        counted += workers[i].counted;
    }
    CHECK_OK(guestmem_read_u64(mem, counter, &value));
    CHECK(value == counted && value == (uint64_t)THREADS * rounds);
    guestmem_unref(mem);
    return check_result();
}
