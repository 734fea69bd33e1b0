/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Each way to save memory and to bring it back, as an operation that may be made to fail: what it
 * works on, what must hold after it failed, and that it does its work once nothing stands in its
 * way. A program that includes this defines _GNU_SOURCE first. */
#ifndef IMAGE_OPERATIONS_H
#define IMAGE_OPERATIONS_H

#include "host.h"
#include "images.h"

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

/* Puts memory into a state; only what holds data is touched. */
static void put_state(const struct guestmem *mem, size_t state)
{
    static const uint8_t nothing[4096];
    size_t at = 0;
    for (size_t region = 0; region < 2; region++) {
        struct guestmem_region_info info = info_of(mem, region);
        CHECK_OK(guestmem_remove_range(mem, info.guest_addr, info.size));
        for (size_t page = 0; page < info.size; page += PAGE, at += PAGE)
            if (memcmp(states[state] + at, nothing, sizeof nothing) != 0)
                memcpy((uint8_t *)info.host_addr + page, states[state] + at, sizeof nothing);
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

struct outcome {
    int code, os_errno, errno_after;
    char *metadata;
    struct guestmem *loaded;
};

static int call_operation(const struct operation *op, struct outcome *outcome)
{
    const struct guestmem_snapshot_options snapshot = {op->flags, op->layout, op->threads, NULL,
                                                       NULL};
    const struct guestmem_restore_options restore = {op->flags, op->threads, 0, NULL, NULL};
    const struct guestmem_load_options load = {op->flags, op->threads, 0, NULL, NULL};
    const struct image *image = &snapshots[op->layout];
    switch (op->kind) {
    case SAVE: return guestmem_save(live, IMAGE, &snapshot, sizeof snapshot);
    case SAVE_NEW: return guestmem_save(live, "new", &snapshot, sizeof snapshot);
    case SNAPSHOT:
        return guestmem_snapshot(live, target, &snapshot, sizeof snapshot, &outcome->metadata);
    case LOAD: return guestmem_load(IMAGE, &load, sizeof load, &outcome->loaded);
    case RESTORE_FILE: return guestmem_restore_file(live, IMAGE, &restore, sizeof restore);
    case RESTORE:
        return guestmem_restore(live, image->metadata, strlen(image->metadata), image->fd, &restore,
                                sizeof restore);
    default: return guestmem_image_metadata(IMAGE, &outcome->metadata);
    }
}

/* `armed` is set for as long as the call takes. */
static struct outcome run_operation(const struct operation *op, int *armed)
{
    struct outcome outcome = {0, 0, 0, (char *)&outcome, (struct guestmem *)(uintptr_t)64};
    errno = 4321;
    __atomic_store_n(armed, 1, __ATOMIC_SEQ_CST);
    outcome.code = call_operation(op, &outcome);
    __atomic_store_n(armed, 0, __ATOMIC_SEQ_CST);
    outcome.errno_after = errno;
    if (outcome.code != GUESTMEM_OK) outcome.os_errno = last_error().os_errno;
    if (op->kind != SNAPSHOT && op->kind != IMAGE_METADATA) outcome.metadata = NULL;
    if (op->kind != LOAD) outcome.loaded = NULL;
    return outcome;
}

/* ---- what must hold after it ---- */

static bool tainted(const struct guestmem *mem)
{
    char *metadata = NULL;
    int fd = new_memfd(0), code = guestmem_snapshot(mem, fd, NULL, 0, &metadata);
    CHECK(code == GUESTMEM_OK || code == GUESTMEM_E_TAINTED);
    guestmem_free(metadata);
    REQUIRE(close(fd) == 0);
    return code == GUESTMEM_E_TAINTED;
}

static void check_success(const struct operation *op, const struct outcome *outcome)
{
    struct guestmem *loaded;
    switch (op->kind) {
    case SAVE:
    case SAVE_NEW:
        loaded = load_with(op->kind == SAVE ? IMAGE : "new", 0);
        CHECK(memory_is(loaded, states[1]) && memory_is(live, states[1]));
        CHECK_EQ(entries_in("."), entries + (op->kind == SAVE_NEW));
        guestmem_unref(loaded);
        break;
    case SNAPSHOT:
        REQUIRE(lseek(target, 0, SEEK_SET) == 0);
        CHECK_OK(guestmem_restore(spare, outcome->metadata, strlen(outcome->metadata), target, NULL,
                                  0));
        CHECK(memory_is(spare, states[1]) && memory_is(live, states[1]));
        break;
    case LOAD: CHECK(memory_is(outcome->loaded, states[0])); break;
    case RESTORE_FILE:
    case RESTORE: CHECK(memory_is(live, states[0]) && !tainted(live)); break;
    default: CHECK(memcmp(outcome->metadata, old_image.at + state_size,
                          strlen(outcome->metadata)) == 0);
    }
}

static void check_failure(const struct operation *op, const struct outcome *outcome)
{
    CHECK(outcome->metadata == NULL && outcome->loaded == NULL);
    if (op->kind == SAVE || op->kind == SAVE_NEW || op->kind == SNAPSHOT)
        CHECK(memory_is(live, states[1]));
    if ((op->kind == RESTORE || op->kind == RESTORE_FILE) && !memory_is(live, states[1]))
        CHECK(tainted(live));
    CHECK(inode_of(IMAGE) == old_inode && file_is(IMAGE, &old_image));
    CHECK_EQ(entries_in("."), entries);
}

static void check_outcome(const struct operation *op, struct outcome *outcome)
{
    CHECK_EQ(outcome->errno_after, 4321);
    if (outcome->code == GUESTMEM_OK) check_success(op, outcome);
    else check_failure(op, outcome);
    guestmem_free(outcome->metadata);
    guestmem_unref(outcome->loaded);
    outcome->metadata = NULL, outcome->loaded = NULL;
}

/* Once more, with nothing in the way. */
static void check_retry(const struct operation *op)
{
    int unused = 0;
    struct outcome outcome;
    rewind_files();
    outcome = run_operation(op, &unused);
    CHECK_CODE(outcome.code, GUESTMEM_OK);
    check_outcome(op, &outcome);
}

/* Runs it, fit to fail, between two looks at what the process holds. */
static struct outcome try_operation(const struct operation *op, int *armed)
{
    struct outcome outcome;
    uint64_t fds, mappings, threads;
    before_operation(op);
    fds = host_fds(), mappings = mappings_but_heap(), threads = host_threads();
    outcome = run_operation(op, armed);
    if (outcome.loaded == NULL) {
        CHECK_EQ(host_fds(), fds);
        CHECK_EQ(mappings_but_heap(), mappings);
    }
    /* one that has been joined may be on its way out of /proc for a moment */
    while (host_threads() > threads) (void)usleep(100);
    check_outcome(op, &outcome);
    CHECK_EQ(host_fds(), fds);
    CHECK_EQ(mappings_but_heap(), mappings);
    return outcome;
}

#endif
