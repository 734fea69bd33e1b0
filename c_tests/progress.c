/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Every call that takes a progress function: what it is told, from which thread, and what is left
 * when it says stop.
 * runs: asan valgrind */
#include "support/process.h"
#include "support/images.h"
#include <pthread.h>

enum call {
    PACKED,
    SPARSE,
    WRITE,
    SAVE,
    RESTORE_PACKED,
    RESTORE_SPARSE,
    RESTORE_READ,
    RESTORE_FILE,
    LOAD,
    LOAD_VERIFIED,
    LOAD_MAPPED,
    CALLS
};

#define MOST_STEP ((uint64_t)64 << 20)

/* ---- what a progress function sees ---- */

enum { NEVER, AT_CALL, AT_TOTAL }; /* when it says stop */

struct watch {
    int stop;
    uint64_t stop_at;
    pthread_t thread;
    uint64_t calls, done, total, widest;
    bool steady, here;
};

static int on_progress(void *user, uint64_t done, uint64_t total)
{
    struct watch *watch = user;
    if (!pthread_equal(watch->thread, pthread_self())) watch->here = false;
    if (watch->calls++ > 0 && total != watch->total) watch->steady = false;
    if (done < watch->done || done > total) watch->steady = false;
    if (done - watch->done > watch->widest) watch->widest = done - watch->done;
    watch->done = done, watch->total = total;
    if (watch->stop == AT_CALL) return watch->calls == watch->stop_at ? -1 : 0;
    return watch->stop == AT_TOTAL && done == total ? 7 : 0;
}

static struct watch watch_new(int stop, uint64_t stop_at)
{
    struct watch watch = {stop, stop_at, pthread_self(), 0, 0, 0, 0, true, true};
    return watch;
}

/* ---- what is moved ---- */

static struct {
    struct guestmem *mem, *target; /* two with the same regions */
    struct image packed, sparse;   /* of mem; "image" is one too */
    struct bytes image;            /* what is in it; NULL where it is too much to look at */
    uint64_t data_size;
} world;

static int64_t swallow(void *user, const void *buf, size_t len)
{
    (void)user, (void)buf;
    return (int64_t)len;
}

static int64_t give_packed(void *user, void *buf, size_t len)
{
    (void)user;
    return (int64_t)read(world.packed.fd, buf, len);
}

static int64_t take_nothing(void *user, const void *buf, size_t len)
{
    (void)user, (void)buf, (void)len;
    return -EIO;
}

/* Without writing the data anywhere. */
static bool says_tainted(const struct guestmem *mem)
{
    char *metadata = NULL;
    int code = guestmem_snapshot_write(mem, take_nothing, NULL, NULL, 0, &metadata);
    guestmem_free(metadata);
    return code == GUESTMEM_E_TAINTED;
}

static int snapshot_call(enum call call, const struct guestmem_snapshot_options *options)
{
    const size_t size = sizeof *options;
    char *metadata = (char *)&world;
    int fd, code;
    if (call == SAVE) return guestmem_save(world.mem, "image", options, size);
    if (call == WRITE) {
        code = guestmem_snapshot_write(world.mem, swallow, NULL, options, size, &metadata);
    } else {
        fd = new_memfd(0);
        code = guestmem_snapshot(world.mem, fd, options, size, &metadata);
        REQUIRE(close(fd) == 0);
    }
    CHECK((metadata == NULL) == (code != GUESTMEM_OK));
    guestmem_free(metadata);
    return code;
}

static int restore_call(enum call call, const struct guestmem_restore_options *options)
{
    const struct image *image = call == RESTORE_SPARSE ? &world.sparse : &world.packed;
    const size_t size = sizeof *options, len = strlen(image->metadata);
    if (call == RESTORE_FILE)
        return guestmem_restore_file(world.target, "image", options, size);
    REQUIRE(lseek(image->fd, 0, SEEK_SET) == 0);
    if (call == RESTORE_READ)
        return guestmem_restore_read(world.target, image->metadata, len, give_packed, NULL,
                                     options, size);
    return guestmem_restore(world.target, image->metadata, len, image->fd, options, size);
}

static int load_call(const struct guestmem_load_options *options)
{
    struct guestmem *out = (struct guestmem *)(uintptr_t)64;
    int code = guestmem_load("image", options, sizeof *options, &out);
    CHECK((out == NULL) == (code != GUESTMEM_OK));
    if (code == GUESTMEM_OK && world.image.at != NULL) CHECK(memory_is(out, world.image.at));
    guestmem_unref(out);
    return code;
}

static int run(enum call call, uint32_t threads, struct watch *watch)
{
    const struct guestmem_snapshot_options snapshot = {
        0, call == SPARSE ? GUESTMEM_LAYOUT_SPARSE : GUESTMEM_LAYOUT_PACKED, threads, on_progress,
        watch};
    const struct guestmem_restore_options restore = {0, threads, 0, on_progress, watch};
    struct guestmem_load_options load = {0, threads, 0, on_progress, watch};
    const int failures = check_failures;
    int code;
    if (call == LOAD_VERIFIED) load.flags = GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY;
    if (call == LOAD_MAPPED) load.flags = GUESTMEM_LOAD_MAP;
    if (call <= SAVE)
        code = snapshot_call(call, &snapshot);
    else
        code = call <= RESTORE_FILE ? restore_call(call, &restore) : load_call(&load);
    CHECK(watch->steady && watch->here);
    CHECK(watch->calls > 0);
    CHECK_EQ(watch->total, world.data_size);
    if (call != LOAD_MAPPED) CHECK(watch->widest <= MOST_STEP); /* which moves nothing at all */
    if (code == GUESTMEM_OK) CHECK_EQ(watch->done, world.data_size);
    if (check_failures > failures) fprintf(stderr, "  call %d, %u threads\n", call, threads);
    return code;
}

/* Whoever stops at the call or at the end: the error, and nothing but what is said of it. */
static void cancel(enum call call, uint32_t threads, int stop, uint64_t stop_at)
{
    struct watch watch = watch_new(stop, stop_at);
    const uint64_t fds = count_fds();
    struct stat before, after;
    REQUIRE(stat("image", &before) == 0);
    CHECK_CODE(run(call, threads, &watch), GUESTMEM_E_CANCELLED);
    if (stop == AT_CALL) CHECK_EQ(watch.calls, stop_at); /* it is not asked again */
    if (stop == AT_TOTAL) CHECK_EQ(watch.done, watch.total);
    CHECK_EQ(count_fds(), fds);
    CHECK_EQ(entries_in("."), 1);
    REQUIRE(stat("image", &after) == 0);
    CHECK(after.st_ino == before.st_ino && after.st_size == before.st_size);
    if (world.image.at != NULL) CHECK(file_is("image", &world.image));
    CHECK(!says_tainted(world.mem));
    if (call < RESTORE_PACKED || call > RESTORE_FILE) return;
    if (guestmem_num_regions(world.mem) == 0) return; /* there is nothing half done */
    CHECK(says_tainted(world.target));
    CHECK_CODE(guestmem_save(world.target, "image", NULL, 0), GUESTMEM_E_TAINTED);
    CHECK_OK(guestmem_restore_file(world.target, "image", NULL, 0));
    CHECK(!says_tainted(world.target));
    if (world.image.at != NULL) CHECK(same_memory(world.target, world.mem));
}

static void world_with(struct guestmem *mem, struct guestmem *target)
{
    const struct guestmem_snapshot_options sparse = {0, GUESTMEM_LAYOUT_SPARSE, 0, NULL, NULL};
    memset(&world, 0, sizeof world);
    world.mem = mem, world.target = target;
    world.packed = image_of(mem, NULL);
    world.sparse = image_of(mem, &sparse);
    world.data_size = world.packed.size;
    CHECK_EQ(json_number(world.packed.metadata, "data_size"), world.data_size);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    world.image = bytes_of("image");
}

static void world_end(void)
{
    image_free(&world.packed), image_free(&world.sparse);
    free(world.image.at);
    guestmem_unref(world.mem), guestmem_unref(world.target);
    REQUIRE(unlink("image") == 0);
}

/* ---- little data: every call, any number of threads, stopped anywhere ---- */

static void test_every_call(void)
{
    static const uint32_t threads[] = {0, 1, 2, 8};
    size_t i;
    int call;
    world_with(memory_with_data(1), memory_with_data(2));
    for (call = 0; call < CALLS; call++)
        for (i = 0; i < 4; i++) {
            struct watch watch = watch_new(NEVER, 0);
            dirty_everything(world.target);
            CHECK_OK(run((enum call)call, threads[i], &watch));
            if (call >= RESTORE_PACKED && call <= RESTORE_FILE)
                CHECK(same_memory(world.target, world.mem));
            cancel((enum call)call, threads[i], AT_CALL, 1);
            if (watch.calls > 2) cancel((enum call)call, threads[i], AT_CALL, watch.calls / 2 + 1);
            cancel((enum call)call, threads[i], AT_TOTAL, 0);
        }
    world_end();
}

static void test_no_data(struct guestmem *mem, struct guestmem *target)
{
    int call;
    world_with(mem, target);
    for (call = 0; call < CALLS; call++) {
        struct watch watch = watch_new(NEVER, 0);
        CHECK_OK(run((enum call)call, 0, &watch));
        CHECK(watch.calls == 1 && watch.done == 0 && watch.total == 0);
        cancel((enum call)call, 0, AT_CALL, 1);
    }
    world_end();
}

static void test_cancelled_loads_leave_nothing(void)
{
    static const uint64_t flags[] = {0, GUESTMEM_LOAD_MAP,
                                     GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY};
    struct guestmem *mem = memory_with_data(3);
    uint64_t fds = count_fds(), mappings = 0;
    unsigned round;
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    for (round = 0; round < 30; round++) {
        struct watch watch = watch_new(round % 2 ? AT_TOTAL : AT_CALL, 1);
        const struct guestmem_load_options options = {flags[round % 3], round % 4, 0, on_progress,
                                                      &watch};
        struct guestmem *out = mem;
        CHECK_CODE(guestmem_load("image", &options, sizeof options, &out), GUESTMEM_E_CANCELLED);
        CHECK(out == NULL);
        if (round == 12) mappings = count_mappings();
    }
    CHECK_EQ(count_fds(), fds);
    CHECK(fast() || count_mappings() <= mappings + 4);
    CHECK_EQ(count_threads(), 1);
    REQUIRE(unlink("image") == 0);
    guestmem_unref(mem);
}

/* ---- much data: told often enough, and stopped in between ---- */

/* No two pages alike, and quick to make. */
static void fill_all(struct guestmem *mem, uint64_t size)
{
    uint64_t *words = info_of(mem, 0).host_addr, i;
    memset(words, 0x5c, (size_t)size);
    for (i = 0; i < size / PAGE; i++) words[i * 512 + i % 512] = i;
}

/* Where all of one region is data its own file is what a packed snapshot would be, and need not be
 * written. */
static void world_of_much(uint64_t size)
{
    const struct guestmem_range range = {0, size};
    memset(&world, 0, sizeof world);
    world.mem = check_new(&range, 1), world.target = check_new(&range, 1);
    fill_all(world.mem, size);
    CHECK_OK(guestmem_snapshot_write(world.mem, swallow, NULL, NULL, 0, &world.packed.metadata));
    REQUIRE(world.packed.metadata != NULL);
    world.packed.fd = reopen(info_of(world.mem, 0).fd, O_RDONLY);
    world.sparse.fd = new_memfd(0);
    world.data_size = size;
    CHECK_OK(guestmem_save(world.mem, "image", NULL, 0));
}

static void test_much_data(uint64_t size)
{
    static const enum call calls[] = {WRITE, SAVE,          RESTORE_READ, RESTORE_FILE,
                                      LOAD,  LOAD_VERIFIED, LOAD_MAPPED};
    size_t i;
    world_of_much(size);
    for (i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct watch watch = watch_new(NEVER, 0);
        CHECK_OK(run(calls[i], 0, &watch));
        if (calls[i] == RESTORE_READ || calls[i] == RESTORE_FILE)
            CHECK(same_memory(world.target, world.mem));
        if (size < 3 * MOST_STEP || calls[i] == LOAD_MAPPED) continue;
        CHECK(watch.calls > 3);
        if (calls[i] != RESTORE_READ) cancel(calls[i], 0, AT_CALL, 2);
    }
    world_end();
}

int main(void)
{
    static const struct guestmem_range untouched[2] = {{0, 0x10000}, {0x100000, 0x10000}};
    enter_folder(fast_parent(UINT64_C(2) << 30));
    test_every_call();
    test_no_data(check_new(NULL, 0), check_new(NULL, 0));
    test_no_data(check_new(untouched, 2), check_new(untouched, 2));
    test_cancelled_loads_leave_nothing();
    test_much_data((fast() ? UINT64_C(8) : UINT64_C(256)) << 20);
    CHECK_EQ(entries_in("."), 0);
    return check_result();
}
