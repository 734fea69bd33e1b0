/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Regions that go, and come, while a snapshot is taken or brought back: it works on those that were
 * there when it began, and holds them until it ends, whoever else lets go of them. What a restore
 * leaves half done stays so when it goes.
 * runs: asan valgrind */
#include "support/images.h"
#include "support/regions.h"
#include <pthread.h>

#define SIZE (4 * PAGE)
enum { SLOTS = 3, FIXED = SLOTS };
static const uint64_t start_of[SLOTS + 1] = {0x10000, 0x18000, 0x40000, 0x14000};

/* ---- from within: the function that takes or gives the data changes the map ---- */

struct meddler {
    struct stream stream;
    struct guestmem *mem;
    bool done;
};

/* The region that is to be written last, and one that nobody knows yet. */
static void meddle(struct meddler *self)
{
    if (self->done) return;
    self->done = true;
    unplug(self->mem, start_of[2]);
    plug(self->mem, 0x80000, SIZE);
}

static int64_t write_and_meddle(void *user, const void *buf, size_t len)
{
    meddle(user);
    return stream_write(&((struct meddler *)user)->stream, buf, len);
}

static int64_t read_and_meddle(void *user, void *buf, size_t len)
{
    meddle(user);
    return stream_read(&((struct meddler *)user)->stream, buf, len);
}

static struct guestmem *memory_of_slots(uint64_t seed)
{
    const struct guestmem_range ranges[] = {
        {start_of[0], SIZE}, {start_of[FIXED], SIZE}, {start_of[1], SIZE}};
    struct guestmem *mem = check_new(ranges, 3);
    plug(mem, start_of[2], SIZE);
    for (uint32_t i = 0; i <= SLOTS; i++) fill_random(host_of(mem, start_of[i]), SIZE, seed + i);
    return mem;
}

static void check_snapshot_is_whole(void)
{
    struct guestmem *mem = memory_of_slots(1), *copy = memory_of_slots(100);
    struct meddler meddler = {.mem = mem};
    uint8_t *before = copy_of(mem);
    char *metadata = NULL;
    stream_new(&meddler.stream, 8 * SIZE);
    meddler.stream.step = 1000;
    CHECK_OK(guestmem_snapshot_write(mem, write_and_meddle, &meddler, NULL, 0, &metadata));
    CHECK(meddler.done && guestmem_generation(mem) == 3);
    CHECK_EQ(meddler.stream.len, 4 * SIZE);
    CHECK_EQ(json_count(metadata, "regions"), 4);
    CHECK_OK(restore_bytes(copy, metadata, meddler.stream.bytes, meddler.stream.len));
    CHECK(memory_is(copy, before));
    CHECK_CODE(restore_bytes(mem, metadata, meddler.stream.bytes, meddler.stream.len),
               GUESTMEM_E_MISMATCH);
    guestmem_free(metadata);
    free(meddler.stream.bytes);
    free(before);
    guestmem_unref(copy);
    guestmem_unref(mem);
}

static void check_restore_is_whole(void)
{
    struct guestmem *mem = memory_of_slots(1), *copy = memory_of_slots(100);
    struct meddler meddler = {.mem = copy};
    struct guestmem_region *held = take_out(copy, start_of[2]);
    char *metadata = NULL;
    const uint8_t *host;
    stream_new(&meddler.stream, 8 * SIZE);
    CHECK_OK(guestmem_snapshot_write(mem, stream_write, &meddler.stream, NULL, 0, &metadata));
    meddler.stream.at = 0, meddler.stream.step = 1000;
    CHECK_OK(guestmem_add_region(copy, held));
    host = host_of(copy, start_of[2]);
    CHECK_OK(guestmem_restore_read(copy, metadata, strlen(metadata), read_and_meddle, &meddler,
                                   NULL, 0));
    CHECK(meddler.done && !is_tainted(copy));
    for (uint32_t i = 0; i <= SLOTS; i++)
        if (i != 2)
            CHECK(memcmp(host_of(copy, start_of[i]), host_of(mem, start_of[i]), SIZE) == 0);
    CHECK(memcmp(host, host_of(mem, start_of[2]), SIZE) == 0);
    guestmem_region_unref(held);
    guestmem_free(metadata);
    free(meddler.stream.bytes);
    guestmem_unref(copy);
    guestmem_unref(mem);
}

/* A region that a restore left half done is so wherever it goes. */
static void check_taint_stays_with_its_region(void)
{
    struct guestmem *whole = memory_of_slots(1), *broken = memory_of_slots(100), *other;
    struct guestmem_region *removed;
    struct stream stream;
    char *metadata = NULL;
    stream_new(&stream, 8 * SIZE);
    CHECK_OK(guestmem_snapshot_write(whole, stream_write, &stream, NULL, 0, &metadata));
    CHECK_CODE(restore_bytes(broken, metadata, stream.bytes, stream.len - 1),
               GUESTMEM_E_SNAPSHOT_SHORT);
    CHECK(is_tainted(broken));
    removed = take_out(broken, start_of[2]);
    CHECK(is_tainted(broken));
    CHECK_OK(guestmem_from_regions(&removed, 1, &other));
    CHECK(is_tainted(other));
    unplug(other, start_of[2]);
    plug(other, start_of[2], SIZE);
    CHECK(!is_tainted(other));
    CHECK_OK(guestmem_add_region(broken, removed));
    CHECK_OK(restore_bytes(broken, metadata, stream.bytes, stream.len));
    CHECK(!is_tainted(broken));
    unplug(other, start_of[2]);
    CHECK_OK(guestmem_add_region(other, removed));
    CHECK(!is_tainted(other));
    guestmem_region_unref(removed);
    guestmem_free(metadata);
    free(stream.bytes);
    guestmem_unref(other);
    guestmem_unref(broken);
    guestmem_unref(whole);
}

/* Gives half of the data and then nothing, and tries to restore all of it elsewhere in between. */
struct failing {
    struct stream stream, again;
    struct guestmem *elsewhere;
    const char *metadata;
    unsigned tries;
};

static int64_t read_and_restore(void *user, void *buf, size_t len)
{
    struct failing *self = user;
    if (self->tries++ % 2 == 0)
        CHECK_CODE(guestmem_restore_read(self->elsewhere, self->metadata, strlen(self->metadata),
                                         stream_read, &self->again, NULL, 0),
                   GUESTMEM_E_BUSY);
    return stream_read(&self->stream, buf, len);
}

/* No other restore into the same regions undoes what one does, or excuses it when it fails. */
static void check_one_at_a_time(bool same_memory)
{
    struct guestmem *whole = memory_with_data(1), *broken = memory_with_data(2), *other;
    struct failing failing;
    char *metadata = NULL;
    if (same_memory) {
        REQUIRE(guestmem_ref(broken) == broken);
        other = broken;
    } else {
        struct guestmem_region *regions[2];
        for (size_t i = 0; i < 2; i++) regions[i] = take_out(broken, data_ranges[i].guest_addr);
        REQUIRE(guestmem_from_regions(regions, 2, &other) == GUESTMEM_OK);
        for (size_t i = 0; i < 2; i++) {
            CHECK_OK(guestmem_add_region(broken, regions[i]));
            guestmem_region_unref(regions[i]);
        }
    }
    stream_new(&failing.stream, 0x500000);
    CHECK_OK(guestmem_snapshot_write(whole, stream_write, &failing.stream, NULL, 0, &metadata));
    failing.stream.at = 0;
    failing.again = failing.stream;
    failing.stream.answer = -EIO, failing.stream.answer_at = 0x200000;
    failing.elsewhere = other, failing.metadata = metadata, failing.tries = 0;
    CHECK_CODE(guestmem_restore_read(broken, metadata, strlen(metadata), read_and_restore, &failing,
                                     NULL, 0),
               GUESTMEM_E_IO);
    CHECK(failing.tries > 1 && failing.again.at == 0);
    CHECK(is_tainted(broken) && is_tainted(other));
    CHECK_OK(restore_bytes(other, metadata, failing.again.bytes, failing.again.len));
    CHECK(!is_tainted(broken));
    guestmem_free(metadata);
    free(failing.stream.bytes);
    guestmem_unref(other);
    guestmem_unref(broken);
    guestmem_unref(whole);
}

/* ---- from other threads ---- */

static struct guestmem *mem;
static bool stop;
static uint32_t content; /* savers that have met regions there and gone */

/* A word tells its place and how often a region came to be there. */
static uint64_t word_of(uint32_t place, uint32_t round)
{
    return (uint64_t)~round << 32 | (uint64_t)place << 28 | round;
}

/* Each page is of one region, whole: nothing was reused or lost under the snapshot. */
static void check_region(const struct guestmem_region_info *info)
{
    const uint64_t *words = info->host_addr, first = words[0];
    uint32_t place = 0;
    while (place < SLOTS && start_of[place] != info->guest_addr) place++;
    REQUIRE(start_of[place] == info->guest_addr && info->size == SIZE);
    REQUIRE(first == word_of(place, (uint32_t)first & 0xfffffff));
    for (size_t i = 1; i < SIZE / sizeof *words; i++) REQUIRE(words[i] == first);
}

/* Gives how many regions there are beside the one that never goes. */
static size_t check_loaded(const char *path, uint64_t flags)
{
    const struct guestmem_load_options options = {.flags = flags};
    struct guestmem *copy;
    size_t count;
    REQUIRE(guestmem_load(path, &options, sizeof options, &copy) == GUESTMEM_OK);
    REQUIRE(guestmem_is_valid_range(copy, start_of[FIXED], SIZE));
    count = guestmem_num_regions(copy);
    for (size_t i = 0; i < count; i++) {
        const struct guestmem_region_info info = info_of(copy, i);
        check_region(&info);
    }
    guestmem_unref(copy);
    return count - 1;
}

static void *save_on(void *name)
{
    uint64_t saved = 0, passing = 0;
    bool is_content = false;
    for (; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); saved++) {
        char *text = NULL;
        REQUIRE(guestmem_save(mem, name, NULL, 0) == GUESTMEM_OK);
        passing += check_loaded(name, saved % 2 ? GUESTMEM_LOAD_MAP : 0);
        if (!is_content && passing > 0 && passing < (saved + 1) * SLOTS) {
            is_content = true;
            __atomic_add_fetch(&content, 1, __ATOMIC_RELAXED);
        }
        REQUIRE(guestmem_describe(mem, &text) == GUESTMEM_OK);
        guestmem_free(text);
        REQUIRE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_DONTFORK) == GUESTMEM_OK);
    }
    CHECK(is_content);
    return NULL;
}

static struct guestmem_region *filled_region(uint32_t place, uint32_t round)
{
    struct guestmem_region *region =
        new_region(start_of[place], SIZE, round % 2 ? GUESTMEM_REGION_PRIVATE : 0);
    struct guestmem *alone;
    uint64_t *words;
    REQUIRE(guestmem_from_regions(&region, 1, &alone) == GUESTMEM_OK);
    words = info_of(alone, 0).host_addr;
    for (size_t i = 0; i < SIZE / sizeof *words; i++) words[i] = word_of(place, round);
    guestmem_unref(alone);
    return region;
}

/* The memory alone holds what is added; what is removed is let go at once. Some rounds, and more
 * while a saver has not seen enough. */
static void *change(void *slot)
{
    const uint32_t place = *(uint32_t *)slot, rounds = fast() ? 40 : 1000;
    for (uint32_t round = 1; round <= rounds || (__atomic_load_n(&content, __ATOMIC_RELAXED) < 2 &&
                                                 round <= 1000 * rounds);
         round++) {
        struct guestmem_region *region = filled_region(place, round);
        REQUIRE(guestmem_add_region(mem, region) == GUESTMEM_OK);
        guestmem_region_unref(region);
        if (round % 2) usleep(200);
        unplug(mem, start_of[place]);
    }
    return NULL;
}

static void race(void)
{
    static uint32_t slots[SLOTS] = {0, 1, 2};
    static char names[2][8] = {"one", "two"};
    pthread_t changers[SLOTS], savers[2];
    struct guestmem_region *fixed = filled_region(FIXED, 1);
    REQUIRE(guestmem_from_regions(&fixed, 1, &mem) == GUESTMEM_OK);
    guestmem_region_unref(fixed);
    for (size_t i = 0; i < 2; i++)
        REQUIRE(pthread_create(&savers[i], NULL, save_on, names[i]) == 0);
    for (size_t i = 0; i < SLOTS; i++)
        REQUIRE(pthread_create(&changers[i], NULL, change, &slots[i]) == 0);
    for (size_t i = 0; i < SLOTS; i++) REQUIRE(pthread_join(changers[i], NULL) == 0);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (size_t i = 0; i < 2; i++) REQUIRE(pthread_join(savers[i], NULL) == 0);
    CHECK_EQ(guestmem_num_regions(mem), 1);
    guestmem_unref(mem);
}

int main(void)
{
    enter_folder(fast_parent(1 << 20));
    check_snapshot_is_whole();
    check_restore_is_whole();
    check_taint_stays_with_its_region();
    check_one_at_a_time(true);
    check_one_at_a_time(false);
    race();
    return check_result();
}
