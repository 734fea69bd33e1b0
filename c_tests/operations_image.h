/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Each way to save memory and to bring it back, as an operation that may be made to fail: what it
 * works on, what must hold after it failed, and that it does its work once nothing stands in its
 * way. */
#ifndef OPERATIONS_IMAGE_H
#define OPERATIONS_IMAGE_H

#include "support/process.h"
#include "support/images.h"
#include "support/trial.h"

#define IMAGE "image" /* is of state 0; the live memory is in state 1 */

enum kind {
    SAVE,     /* over the image */
    SAVE_NEW, /* where there is none */
    SNAPSHOT,
    LOAD,
    RESTORE_FILE,
    RESTORE,
    IMAGE_METADATA
};

struct operation {
    const char *name;
    enum kind kind;
    uint64_t flags;
    uint32_t layout, threads;
};

static const struct operation operations[] = {
    {"save", SAVE, 0, 0, 0},
    {"save without zero pages", SAVE, GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES, 0, 0},
    {"save past the page cache", SAVE, GUESTMEM_SNAPSHOT_DIRECT, 0, 0},
    {"save where there is no image", SAVE_NEW, 0, 0, 0},
    {"packed snapshot", SNAPSHOT, GUESTMEM_SNAPSHOT_SYNC, GUESTMEM_LAYOUT_PACKED, 0},
    {"sparse snapshot", SNAPSHOT, GUESTMEM_SNAPSHOT_SYNC, GUESTMEM_LAYOUT_SPARSE, 0},
    {"load", LOAD, 0, 0, 0},
    {"load _MAP", LOAD, GUESTMEM_LOAD_MAP, 0, 0},
    {"load _MAP|_VERIFY", LOAD, GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY, 0, 0},
    {"restore_file", RESTORE_FILE, 0, 0, 0},
    {"restore, packed", RESTORE, 0, GUESTMEM_LAYOUT_PACKED, 0},
    {"restore, sparse", RESTORE, 0, GUESTMEM_LAYOUT_SPARSE, 0},
    {"image_metadata", IMAGE_METADATA, 0, 0, 0},
};
#define OPERATIONS (sizeof operations / sizeof *operations)

/* For so much data that threads share the work. */
static const struct operation threaded[] = {
    {"save, threads", SAVE, 0, 0, 2},
    {"packed snapshot, threads", SNAPSHOT, 0, GUESTMEM_LAYOUT_PACKED, 2},
    {"load, threads", LOAD, 0, 0, 2},
    {"load _MAP|_VERIFY, threads", LOAD, GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY, 0, 2},
    {"restore_file, threads", RESTORE_FILE, 0, 0, 2},
    {"restore, packed, threads", RESTORE, 0, GUESTMEM_LAYOUT_PACKED, 2},
};
#define THREADED (sizeof threaded / sizeof *threaded)

/* Bytes of data without a hole in the states: quickly compared, and enough for two threads. */
#define SMALL ((size_t)0x18000)
#define LARGE ((size_t)0x1100000)

/* ---- the two states of memory ---- */

static struct guestmem_range state_ranges[2] = {{0x100000, 0}, {0x40000000, 0x10000}};
static size_t state_size;
static uint8_t *states[2];

/* Data without a hole, pages by themselves, a region that is empty in one; holes in the one where
 * the other has data. */
static void make_states(size_t dense)
{
    const size_t pages = dense + 0x10000, end = dense + 0x30000;
    state_ranges[0].size = dense + 0x34000;
    state_size = (size_t)(state_ranges[0].size + state_ranges[1].size);
    for (size_t i = 0; i < 2; i++) {
        states[i] = calloc(1, state_size);
        REQUIRE(states[i] != NULL);
        fill_random(states[i] + 0x1000 + i * 0x8000, dense, 70 + i);
        for (size_t at = pages + i * 0x2000; at < end; at += 0x5000)
            fill_random(states[i] + at, (size_t)PAGE, at + i);
    }
    fill_random(states[1] + state_size - 0xd000, (size_t)PAGE, 72);
}

static bool is_hole(const uint8_t *page)
{
    static const uint8_t nothing[4096];
    return memcmp(page, nothing, sizeof nothing) == 0;
}

/* Puts memory into a state; only what holds data is touched. */
static void put_state(const struct guestmem *mem, size_t state)
{
    const uint8_t *bytes = states[state];
    for (size_t region = 0; region < 2; region++) {
        const struct guestmem_region_info info = info_of(mem, region);
        size_t end;
        for (size_t at = 0; at < info.size; at = end) {
            const bool hole = is_hole(bytes + at);
            for (end = at + PAGE; end < info.size && is_hole(bytes + end) == hole;) end += PAGE;
            if (hole) CHECK_OK(guestmem_remove_range(mem, info.guest_addr + at, end - at));
            else memcpy((uint8_t *)info.host_addr + at, bytes + at, end - at);
        }
        bytes += info.size;
    }
}

/* ---- what the operations work on: made once, for all processes that run them in turn ---- */

static struct guestmem *live, *spare;
static struct bytes old_image;
static ino_t old_inode;
static struct image snapshots[2]; /* of state 0, one of each layout */
static int target;                /* what snapshots are written to */
static size_t entries;            /* in the folder */

static ino_t inode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

static void prepare_operations(void)
{
    steady_allocator();
    live = check_new(state_ranges, 2);
    spare = check_new(state_ranges, 2);
    put_state(live, 0);
    REQUIRE(guestmem_save(live, IMAGE, NULL, 0) == GUESTMEM_OK);
    old_image = bytes_of(IMAGE);
    for (uint32_t layout = 0; layout < 2; layout++) {
        const struct guestmem_snapshot_options options = {0, layout, 0, NULL, NULL};
        snapshots[layout] = image_of(live, &options);
    }
    REQUIRE(link(IMAGE, "old") == 0);
    old_inode = inode_of(IMAGE);
    target = open("target", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(target >= 0);
    entries = entries_in(".");
}

static void finish_operations(void)
{
    for (size_t i = 0; i < 2; i++) {
        image_free(&snapshots[i]);
        free(states[i]);
    }
    free(old_image.at);
    guestmem_unref(live), guestmem_unref(spare);
    REQUIRE(close(target) == 0 && remove("target") == 0);
    REQUIRE(remove(IMAGE) == 0 && remove("old") == 0);
    (void)remove("new");
}

static void rewind_files(void)
{
    REQUIRE(ftruncate(target, 0) == 0 && lseek(target, 0, SEEK_SET) == 0);
    for (size_t i = 0; i < 2; i++) REQUIRE(lseek(snapshots[i].fd, 0, SEEK_SET) == 0);
}

/* The same ground for each try. */
static void before_operation(const struct operation *op)
{
    if (op->kind != LOAD && op->kind != IMAGE_METADATA) put_state(live, 1);
    REQUIRE(remove(IMAGE) == 0 && link("old", IMAGE) == 0);
    (void)remove("new");
    rewind_files();
}

/* ---- one call ---- */

/* What it gave. */
static char *metadata;
static struct guestmem *loaded;

static int call_operation(const void *operation)
{
    const struct operation *op = operation;
    const struct guestmem_snapshot_options snapshot = {op->flags, op->layout, op->threads, NULL,
                                                       NULL};
    const struct guestmem_restore_options restore = {op->flags, op->threads, 0, NULL, NULL};
    const struct guestmem_load_options load = {op->flags, op->threads, 0, NULL, NULL};
    const struct image *image = &snapshots[op->layout];
    switch (op->kind) {
    case SAVE: return guestmem_save(live, IMAGE, &snapshot, sizeof snapshot);
    case SAVE_NEW: return guestmem_save(live, "new", &snapshot, sizeof snapshot);
    case SNAPSHOT: return guestmem_snapshot(live, target, &snapshot, sizeof snapshot, &metadata);
    case LOAD: return guestmem_load(IMAGE, &load, sizeof load, &loaded);
    case RESTORE_FILE: return guestmem_restore_file(live, IMAGE, &restore, sizeof restore);
    case RESTORE:
        return guestmem_restore(live, image->metadata, strlen(image->metadata), image->fd, &restore,
                                sizeof restore);
    default: return guestmem_image_metadata(IMAGE, &metadata);
    }
}

static struct outcome run_operation(const struct operation *op, runner *run)
{
    struct outcome outcome;
    /* what is not to be written to shows, and what is must be */
    metadata = (char *)old_image.at, loaded = live;
    outcome = outcome_of(run, call_operation, op);
    if (op->kind != SNAPSHOT && op->kind != IMAGE_METADATA) metadata = NULL;
    if (op->kind != LOAD) loaded = NULL;
    return outcome;
}

/* ---- what must hold after it ---- */

static int64_t take_nothing(void *user, const void *bytes, size_t len)
{
    (void)user, (void)bytes, (void)len;
    return -EPIPE;
}

static bool tainted(const struct guestmem *mem)
{
    char *none = NULL;
    const int code = guestmem_snapshot_write(mem, take_nothing, NULL, NULL, 0, &none);
    CHECK(code == GUESTMEM_E_IO || code == GUESTMEM_E_TAINTED);
    return code == GUESTMEM_E_TAINTED;
}

static void check_success(const struct operation *op)
{
    /* quicker where there is much, but fills the holes of a file in memory */
    const uint64_t how = op->threads == 0 ? 0 : GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY;
    struct guestmem *saved;
    switch (op->kind) {
    case SAVE:
    case SAVE_NEW:
        saved = load_with(op->kind == SAVE ? IMAGE : "new", how);
        CHECK(memory_is(saved, states[1]) && memory_is(live, states[1]));
        CHECK_EQ(entries_in("."), entries + (op->kind == SAVE_NEW));
        guestmem_unref(saved);
        break;
    case SNAPSHOT:
        REQUIRE(lseek(target, 0, SEEK_SET) == 0);
        CHECK_OK(guestmem_restore(spare, metadata, strlen(metadata), target, NULL, 0));
        CHECK(memory_is(spare, states[1]) && memory_is(live, states[1]));
        break;
    case LOAD: CHECK(memory_is(loaded, states[0])); break;
    case RESTORE_FILE:
    case RESTORE: CHECK(memory_is(live, states[0]) && !tainted(live)); break;
    default: CHECK(memcmp(metadata, old_image.at + state_size, strlen(metadata)) == 0);
    }
}

static void check_failure(const struct operation *op)
{
    CHECK(metadata == NULL && loaded == NULL);
    if (op->kind == SAVE || op->kind == SAVE_NEW || op->kind == SNAPSHOT)
        CHECK(memory_is(live, states[1]));
    if ((op->kind == RESTORE || op->kind == RESTORE_FILE) && !memory_is(live, states[1]))
        CHECK(tainted(live));
    CHECK(inode_of(IMAGE) == old_inode && file_is(IMAGE, &old_image));
    CHECK_EQ(entries_in("."), entries);
}

static void check_outcome(const struct operation *op, const struct outcome *outcome)
{
    if (outcome->code == GUESTMEM_OK) check_success(op);
    else check_failure(op);
    guestmem_free(metadata);
    guestmem_unref(loaded);
    metadata = NULL, loaded = NULL;
}

/* Once more, with nothing in the way. */
static void check_retry(const struct operation *op)
{
    struct outcome outcome;
    rewind_files();
    outcome = run_operation(op, run_plainly);
    CHECK_CODE(outcome.code, GUESTMEM_OK);
    check_outcome(op, &outcome);
}

/* What could not be removed. */
static void remove_temporary_files(void)
{
    DIR *dir = opendir(".");
    struct dirent *entry;
    REQUIRE(dir != NULL);
    while ((entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, ".guestmem-", 10) == 0) REQUIRE(remove(entry->d_name) == 0);
    REQUIRE(closedir(dir) == 0);
}

/* Runs it between looks at what the process holds; `leaks` where what is to be undone may fail. */
static struct outcome try_operation(const struct operation *op, runner *run, bool leaks)
{
    struct outcome outcome;
    uint64_t fds, mappings, threads;
    before_operation(op);
    fds = count_fds(), mappings = count_mappings_but_heap(), threads = count_threads();
    outcome = run_operation(op, run);
    if (loaded == NULL && !leaks) {
        CHECK_EQ(count_fds(), fds);
        CHECK_EQ(count_mappings_but_heap(), mappings);
    }
    /* one that has been joined may be on its way out of /proc for a moment */
    while (count_threads() > threads) (void)usleep(100);
    if (leaks) remove_temporary_files();
    check_outcome(op, &outcome);
    if (leaks) return outcome;
    CHECK_EQ(count_fds(), fds);
    CHECK_EQ(count_mappings_but_heap(), mappings);
    return outcome;
}

/* So that not everything is to be tried. */
__attribute__((unused)) static bool takes_long(const struct operation *op)
{
    return op->threads != 0;
}

#endif
