/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Snapshot and restore that succeed: every pattern of data and holes, through files, pipes and
 * callbacks, with every option.
 * runs: asan valgrind qemu musl */
#include "support/snapshots.h"
#include <pthread.h>

/* ---- patterns of data and holes ---- */

enum { REGIONS = 3, PER_REGION = 3, CELLS = REGIONS * PER_REGION };
enum { HOLE, DATA, ZEROED }; /* ZEROED: in host memory, and all zeros */

/* The first two touch. */
static const struct guestmem_range ranges[REGIONS] = {
    {0, 0x3000}, {0x3000, 0x3000}, {0x10000, 0x3000}};

static uint64_t cell_addr(unsigned cell)
{
    return ranges[cell / PER_REGION].guest_addr + cell % PER_REGION * PAGE;
}

/* All memory as the pattern says: three ways a page can be. */
static void lay_out(const struct guestmem *mem, const int *cells, uint64_t seed)
{
    uint8_t page[4096];
    unsigned cell;
    for (cell = 0; cell < REGIONS; cell++)
        CHECK_OK(guestmem_remove_range(mem, ranges[cell].guest_addr, ranges[cell].size));
    for (cell = 0; cell < CELLS; cell++) {
        if (cells[cell] == HOLE) continue;
        memset(page, 0, sizeof page);
        /* some pages are full, some hold one byte at one end */
        if (cells[cell] == DATA && (seed + cell) % 3 == 0)
            fill_random(page, sizeof page, seed + cell);
        if (cells[cell] == DATA) page[(seed + cell) % 2 ? 0 : 4095] = 0x99;
        CHECK_OK(guestmem_write_all(mem, cell_addr(cell), page, sizeof page));
    }
}

static size_t count_cells(const int *cells, int what)
{
    size_t count = 0, cell;
    for (cell = 0; cell < CELLS; cell++) count += cells[cell] == what;
    return count;
}

static uint8_t data_of[CELLS * 4096 + 1];

/* The three ways a stream can go; the data ends up in data_of either way. */
static void through_file(struct guestmem *mem, const struct guestmem_snapshot_options *options,
                         const uint8_t *before)
{
    struct image image = image_of(mem, options);
    REQUIRE(pread(image.fd, data_of, sizeof data_of, 0) == (ssize_t)image.size);
    (void)check_metadata(mem, image.metadata, data_of,
                         !(options->flags & GUESTMEM_SNAPSHOT_NO_CHECKSUM));
    dirty_everything(mem);
    CHECK_OK(image_restore(mem, &image));
    CHECK_EQ(lseek(image.fd, 0, SEEK_CUR), image.size);
    CHECK(memory_is(mem, before));
    image_free(&image);
}

static void through_pipe(struct guestmem *mem, const struct guestmem_snapshot_options *options,
                         const uint8_t *before)
{
    char *metadata = NULL;
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0); /* it holds 64 KiB, all of our memory */
    CHECK_OK(guestmem_snapshot(mem, ends[1], options, sizeof *options, &metadata));
    REQUIRE(metadata != NULL && close(ends[1]) == 0);
    (void)check_metadata(mem, metadata, NULL, !(options->flags & GUESTMEM_SNAPSHOT_NO_CHECKSUM));
    dirty_everything(mem);
    CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), ends[0], NULL, 0));
    CHECK(memory_is(mem, before));
    guestmem_free(metadata);
    REQUIRE(close(ends[0]) == 0);
}

static void through_callbacks(struct guestmem *mem, const struct guestmem_snapshot_options *options,
                              const uint8_t *before, size_t step)
{
    struct stream stream;
    char *metadata = NULL;
    stream_new(&stream, sizeof data_of);
    stream.step = step;
    CHECK_OK(
        guestmem_snapshot_write(mem, stream_write, &stream, options, sizeof *options, &metadata));
    REQUIRE(metadata != NULL);
    (void)check_metadata(mem, metadata, stream.bytes,
                         !(options->flags & GUESTMEM_SNAPSHOT_NO_CHECKSUM));
    CHECK_EQ(json_number(metadata, "data_size"), stream.len);
    dirty_everything(mem);
    stream.at = 0;
    CHECK_OK(guestmem_restore_read(mem, metadata, strlen(metadata), stream_read, &stream, NULL, 0));
    CHECK_EQ(stream.at, stream.len);
    CHECK(memory_is(mem, before));
    guestmem_free(metadata);
    free(stream.bytes);
}

static void round_trip(struct guestmem *mem, const int *cells, uint64_t seed)
{
    struct guestmem_snapshot_options options = {0, GUESTMEM_LAYOUT_PACKED, 0, NULL, NULL};
    uint8_t *before;
    const size_t data = count_cells(cells, DATA), zeroed = count_cells(cells, ZEROED);
    const int fd = info_of(mem, 0).fd;
    uint64_t covered;
    if (seed / 3 % 2) options.flags |= GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES;
    if (seed / 6 % 3 == 2) options.flags |= GUESTMEM_SNAPSHOT_NO_CHECKSUM;
    options.threads = (uint32_t)(seed / 7 % 3);
    lay_out(mem, cells, seed);
    CHECK_EQ(allocated_bytes(fd), (data + zeroed) * PAGE);
    before = copy_of(mem);
    CHECK_EQ(allocated_bytes(fd), CELLS * PAGE); /* looking through a shared mapping allocates */
    lay_out(mem, cells, seed);
    if (seed % 3 == 0) through_file(mem, &options, before);
    if (seed % 3 == 1) through_pipe(mem, &options, before);
    if (seed % 3 == 2) through_callbacks(mem, &options, before, seed % 2 ? 0 : 1000);
    /* once more, without anyone looking at the memory in between: what is not covered was freed */
    lay_out(mem, cells, seed);
    {
        struct image image = image_of(mem, &options);
        CHECK_EQ(allocated_bytes(fd), (data + zeroed) * PAGE); /* a snapshot allocates nothing */
        covered = image.size;
        CHECK_EQ(covered,
                 (data + (options.flags & GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES ? 0 : zeroed)) * PAGE);
        dirty_everything(mem);
        CHECK_OK(image_restore(mem, &image));
        CHECK_EQ(allocated_bytes(fd), covered);
        CHECK(memory_is(mem, before));
        image_free(&image);
    }
    free(before);
}

static void test_every_pattern(void)
{
    struct guestmem *mem = check_new(ranges, REGIONS);
    int cells[CELLS];
    uint64_t state = 4;
    unsigned pattern, cell;
    for (pattern = 0; pattern < 1u << CELLS; pattern += fast() ? 37 : 1) {
        for (cell = 0; cell < CELLS; cell++) cells[cell] = pattern >> cell & 1 ? DATA : HOLE;
        round_trip(mem, cells, pattern);
    }
    for (pattern = 0; pattern < (fast() ? 20u : 400u); pattern++) {
        for (cell = 0; cell < CELLS; cell++) cells[cell] = (int)(random_number(&state) % 3);
        round_trip(mem, cells, pattern);
    }
    guestmem_unref(mem);
}

/* ---- position and what follows ---- */

static void test_position_in_the_file(void)
{
    const int cells[CELLS] = {DATA, HOLE, DATA, HOLE, HOLE, HOLE, HOLE, HOLE, DATA};
    const struct guestmem_restore_options more = {GUESTMEM_RESTORE_MORE_FOLLOWS, 0, 0, NULL, NULL};
    struct guestmem *mem = check_new(ranges, REGIONS);
    uint8_t *before;
    char head[100], *metadata = NULL;
    int file = new_disk_file(0);
    lay_out(mem, cells, 0);
    before = copy_of(mem);
    lay_out(mem, cells, 0);
    memset(head, 'h', sizeof head);
    REQUIRE(write(file, head, sizeof head) == 100);
    CHECK_OK(guestmem_snapshot(mem, file, NULL, 0, &metadata));
    CHECK(lseek(file, 0, SEEK_CUR) == 100 + 3 * 4096);
    REQUIRE(metadata != NULL && write(file, "device state", 12) == 12);
    REQUIRE(pread(file, head, 1, 99) == 1 && head[0] == 'h');

    dirty_everything(mem);
    REQUIRE(lseek(file, 100, SEEK_SET) == 100);
    CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), file, &more, sizeof more));
    CHECK(lseek(file, 0, SEEK_CUR) == 100 + 3 * 4096);
    CHECK(memory_is(mem, before));
    REQUIRE(read(file, head, 12) == 12 && memcmp(head, "device state", 12) == 0);
    guestmem_free(metadata);
    REQUIRE(close(file) == 0);
    free(before);
    guestmem_unref(mem);
}

/* A stream that goes on: not one byte more is asked for than is ours. */
static void test_more_follows_in_a_stream(void)
{
    const int cells[CELLS] = {HOLE, DATA, DATA, DATA, HOLE, HOLE, HOLE, DATA, HOLE};
    const struct guestmem_restore_options more = {GUESTMEM_RESTORE_MORE_FOLLOWS, 0, 0, NULL, NULL};
    struct guestmem *mem = check_new(ranges, REGIONS);
    uint8_t *before;
    struct stream stream;
    char *metadata = NULL, tail[16];
    int ends[2];
    lay_out(mem, cells, 5);
    before = copy_of(mem);
    stream_new(&stream, 0x10000);
    CHECK_OK(guestmem_snapshot_write(mem, stream_write, &stream, NULL, 0, &metadata));
    REQUIRE(metadata != NULL);
    stream.len += 500, stream.at = 0, stream.asked = 0;
    memset(stream.bytes + stream.len - 500, 1, 500);
    dirty_everything(mem);
    CHECK_OK(guestmem_restore_read(mem, metadata, strlen(metadata), stream_read, &stream, &more,
                                   sizeof more));
    CHECK(memory_is(mem, before));
    CHECK_EQ(stream.at, stream.len - 500);
    CHECK_EQ(stream.asked, stream.len - 500);

    REQUIRE(pipe2(ends, O_CLOEXEC) == 0 &&
            write(ends[1], stream.bytes, stream.len) == (ssize_t)stream.len);
    dirty_everything(mem);
    CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), ends[0], &more, sizeof more));
    CHECK(memory_is(mem, before));
    REQUIRE(read(ends[0], tail, sizeof tail) == (ssize_t)sizeof tail && tail[0] == 1);
    REQUIRE(close(ends[0]) == 0 && close(ends[1]) == 0);
    guestmem_free(metadata);
    free(stream.bytes);
    free(before);
    guestmem_unref(mem);
}

/* ---- larger memory: chunks, threads, progress ---- */

struct progress {
    uint64_t last, total, calls;
    bool steady;
};

static int on_progress(void *user, uint64_t done, uint64_t total)
{
    struct progress *progress = user;
    if (progress->calls++ > 0 && (done < progress->last || total != progress->total))
        progress->steady = false;
    if (done > total) progress->steady = false;
    progress->last = done, progress->total = total;
    return 0;
}

static void test_large_ranges(void)
{
    const struct guestmem_range large[2] = {{0x100000, 0xd00000}, {0x4000000, 0x400000}};
    struct guestmem *mem = check_new(large, 2);
    struct guestmem_snapshot_options options = {GUESTMEM_SNAPSHOT_SYNC, 0, 0, on_progress, NULL};
    struct guestmem_restore_options back = {0, 0, 0, on_progress, NULL};
    uint8_t *before;
    uint32_t threads;
    /* ranges that begin anywhere and end a little before, at, and a little after a chunk's end */
    fill_random(info_of(mem, 0).host_addr, 0x2ff000, 1);
    fill_random((uint8_t *)info_of(mem, 0).host_addr + 0x301000, 0x100000, 2);
    fill_random((uint8_t *)info_of(mem, 0).host_addr + 0x500000, 0x501000, 3);
    fill_random((uint8_t *)info_of(mem, 1).host_addr + 0x3ff000, 0x1000, 4);
    for (threads = 0; threads < 5; threads += 2) {
        struct progress progress = {0, 0, 0, true};
        struct image image;
        int disk = new_disk_file(0);
        options.threads = back.threads = threads;
        options.progress_user = back.progress_user = &progress;
        image = image_of(mem, &options);
        CHECK(progress.steady && progress.calls > 0 && progress.last == progress.total &&
              progress.total == image.size);
        before = copy_of(mem);
        (void)check_metadata(mem, image.metadata, NULL, true);
        CHECK_EQ(json_count(image.metadata, "regions[0].data_ranges[2].crc"), 6);
        dirty_everything(mem);
        memset(&progress, 0, sizeof progress);
        progress.steady = true;
        CHECK_OK(guestmem_restore(mem, image.metadata, strlen(image.metadata), image.fd, &back,
                                  sizeof back));
        CHECK(progress.steady && progress.calls > 0 && progress.last == progress.total &&
              progress.total != 0);
        CHECK(memory_is(mem, before));
        guestmem_free(image.metadata);
        image.metadata = NULL;
        /* on disk, synced; reading all memory above has allocated the holes, which stay zeros */
        options.flags = GUESTMEM_SNAPSHOT_SYNC | GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES;
        CHECK_OK(guestmem_snapshot(mem, disk, &options, sizeof options, &image.metadata));
        CHECK_EQ(lseek(disk, 0, SEEK_CUR), image.size);
        REQUIRE(lseek(disk, 0, SEEK_SET) == 0);
        dirty_everything(mem);
        CHECK_OK(guestmem_restore(mem, image.metadata, strlen(image.metadata), disk, NULL, 0));
        CHECK(memory_is(mem, before));
        REQUIRE(lseek(disk, 0, SEEK_SET) == 0);
        CHECK_OK(guestmem_restore(mem, image.metadata, strlen(image.metadata), disk, NULL, 0));
        CHECK_EQ(allocated_bytes(info_of(mem, 0).fd), image.size);
        image_free(&image);
        free(before);
        REQUIRE(close(disk) == 0);
        options.flags = GUESTMEM_SNAPSHOT_SYNC;
    }
    guestmem_unref(mem);
}

/* A pipe much smaller than the data, with a thread at the other end. */
struct pump {
    const struct guestmem *mem;
    int fd;
    const char *metadata;
    int code;
};

static void *pump(void *argument)
{
    struct pump *pump = argument;
    char *metadata = NULL;
    pump->code = guestmem_snapshot(pump->mem, pump->fd, NULL, 0, &metadata);
    guestmem_free(metadata);
    (void)close(pump->fd);
    return NULL;
}

static void test_large_through_a_pipe(void)
{
    const struct guestmem_range range = {0, 0x500000};
    struct guestmem *from = check_new(&range, 1), *to = check_new(&range, 1);
    struct image image;
    struct pump job;
    pthread_t thread;
    uint8_t *before;
    int ends[2];
    fill_random((uint8_t *)info_of(from, 0).host_addr + 0x1000, 0x3fe000, 9);
    image = image_of(from, NULL);
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    job.mem = from, job.fd = ends[1], job.code = 1;
    REQUIRE(pthread_create(&thread, NULL, pump, &job) == 0);
    CHECK_OK(guestmem_dma_fill(to, 0, 0xdd, range.size));
    CHECK_OK(guestmem_restore(to, image.metadata, strlen(image.metadata), ends[0], NULL, 0));
    (void)close(ends[0]);
    REQUIRE(pthread_join(thread, NULL) == 0);
    CHECK_OK(job.code);
    CHECK_EQ(allocated_bytes(info_of(to, 0).fd), 0x3fe000);
    before = copy_of(from);
    CHECK(memory_is(to, before));
    free(before);
    image_free(&image);
    guestmem_unref(from);
    guestmem_unref(to);
}

int main(void)
{
    test_every_pattern();
    test_position_in_the_file();
    test_more_follows_in_a_stream();
    test_large_ranges();
    test_large_through_a_pipe();
    return check_result();
}
