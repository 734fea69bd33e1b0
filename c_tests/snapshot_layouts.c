/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Where the bytes of a snapshot go in a file: sparse data at absolute offsets over whatever was
 * there, packed data from the position on, also at a file's end and past the page cache.
 * runs: asan valgrind */
#include "support/images.h"
#include <sys/socket.h>

static const struct guestmem_snapshot_options sparse = {0, GUESTMEM_LAYOUT_SPARSE, 0, NULL, NULL};
static const struct guestmem_restore_options more = {GUESTMEM_RESTORE_MORE_FOLLOWS, 0, 0, NULL,
                                                     NULL};

/* Where data lies in memory_with_data(), as file offsets of the sparse layout. */
static const uint64_t data_areas[2][2] = {{PAGE, 0x281000}, {0x403000, 0x404000}};
enum { MEMORY_SIZE = 0x410000, DATA_SIZE = 0x281000 };

/* ---- sparse, out ---- */

static void fill_file(int fd, uint64_t size)
{
    static uint8_t junk[0x10000];
    uint64_t at;
    memset(junk, 0xee, sizeof junk);
    for (at = 0; at < size; at += sizeof junk) {
        const size_t len = size - at < sizeof junk ? (size_t)(size - at) : sizeof junk;
        REQUIRE(pwrite(fd, junk, len, (off_t)at) == (ssize_t)len);
    }
}

static void check_raw_image(int fd, const uint8_t *wanted)
{
    uint8_t *bytes = malloc(MEMORY_SIZE);
    size_t i;
    REQUIRE(bytes != NULL);
    CHECK(lseek(fd, 0, SEEK_END) == MEMORY_SIZE);
    CHECK(pread(fd, bytes, MEMORY_SIZE, 0) == MEMORY_SIZE);
    CHECK(memcmp(bytes, wanted, MEMORY_SIZE) == 0);
    free(bytes);
    CHECK(lseek(fd, 0, SEEK_DATA) == (off_t)data_areas[0][0]);
    for (i = 0; i < 2; i++) {
        CHECK(lseek(fd, (off_t)data_areas[i][0], SEEK_HOLE) == (off_t)data_areas[i][1]);
        if (i == 0) CHECK(lseek(fd, (off_t)data_areas[0][1], SEEK_DATA) == (off_t)data_areas[1][0]);
    }
    CHECK(lseek(fd, (off_t)data_areas[1][1], SEEK_DATA) < 0 && errno == ENXIO);
}

/* Whatever the file's length, its content and the position: the same image. */
static void test_over_old_files(void)
{
    static const uint64_t lengths[] = {0, 1, PAGE, MEMORY_SIZE - 1, MEMORY_SIZE, MEMORY_SIZE + 1,
                                       2 * MEMORY_SIZE};
    static const off_t positions[] = {0, 77, MEMORY_SIZE, 3 * MEMORY_SIZE};
    struct guestmem *mem = memory_with_data(1);
    uint8_t *wanted;
    size_t i, kind;
    char *metadata = NULL;
    for (kind = 0; kind < 2; kind++)
        for (i = 0; i < 7; i++) {
            const off_t position = positions[i % 4];
            int fd = kind == 0 ? new_memfd(0) : new_disk_file(0);
            fill_file(fd, lengths[i]);
            REQUIRE(lseek(fd, position, SEEK_SET) == position);
            CHECK_OK(guestmem_snapshot(mem, fd, &sparse, sizeof sparse, &metadata));
            CHECK(lseek(fd, 0, SEEK_CUR) == position);
            /* a snapshot allocates no guest page; what this test reads later it restores first */
            CHECK_EQ(allocated_bytes(info_of(mem, 0).fd), DATA_SIZE);
            if (kind == 0) CHECK_EQ(allocated_bytes(fd), DATA_SIZE);
            wanted = copy_of(mem);
            check_raw_image(fd, wanted);
            (void)check_layout(mem, metadata, true, wanted, true);
            CHECK_EQ(json_number(metadata, "data_size"), DATA_SIZE);

            dirty_everything(mem);
            REQUIRE(lseek(fd, position, SEEK_SET) == position);
            CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), fd, NULL, 0));
            CHECK(lseek(fd, 0, SEEK_CUR) == position);
            CHECK_EQ(allocated_bytes(info_of(mem, 0).fd), DATA_SIZE);
            CHECK(memory_is(mem, wanted));
            CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), fd, NULL, 0));
            guestmem_free(metadata);
            free(wanted);
            REQUIRE(close(fd) == 0);
        }
    guestmem_unref(mem);
}

/* ---- sparse, back ---- */

static int restore_sparse(const struct guestmem *mem, const struct image *image)
{
    return guestmem_restore(mem, image->metadata, strlen(image->metadata), image->fd, NULL, 0);
}

static void flip(int fd, uint64_t at)
{
    uint8_t byte;
    REQUIRE(pread(fd, &byte, 1, (off_t)at) == 1);
    byte ^= 1;
    REQUIRE(pwrite(fd, &byte, 1, (off_t)at) == 1);
}

static void test_damaged(void)
{
    static const uint64_t in_data[] = {PAGE, 0x101000, 0x280fff, 0x403000, 0x403fff};
    struct guestmem *mem = memory_with_data(2), *other = memory_with_data(3);
    struct image image = image_of(other, &sparse);
    const uint64_t lengths[] = {0, PAGE, 0x280fff, 0x281000, MEMORY_SIZE - PAGE, MEMORY_SIZE - 1,
                                MEMORY_SIZE + 1, MEMORY_SIZE + PAGE};
    uint8_t *before = copy_of(mem);
    size_t i;
    CHECK_EQ(image.size, MEMORY_SIZE);
    for (i = 0; i < 5; i++) {
        flip(image.fd, in_data[i]);
        CHECK_CODE(restore_sparse(mem, &image), GUESTMEM_E_CORRUPT);
        check_untouched(mem, before);
        flip(image.fd, in_data[i]);
    }
    for (i = 0; i < 8; i++) {
        struct image cut = image_of(other, &sparse);
        REQUIRE(ftruncate(cut.fd, (off_t)lengths[i]) == 0);
        CHECK_CODE(restore_sparse(mem, &cut), lengths[i] < MEMORY_SIZE
                                                  ? GUESTMEM_E_SNAPSHOT_SHORT
                                                  : GUESTMEM_E_SNAPSHOT_LONG);
        check_untouched(mem, before);
        image_free(&cut);
    }
    /* where no range is nobody looks, and nothing of it arrives */
    flip(image.fd, 0);
    flip(image.fd, 0x281000);
    flip(image.fd, MEMORY_SIZE - 1);
    CHECK_OK(restore_sparse(mem, &image));
    CHECK(same_memory(mem, other));
    free(before);
    image_free(&image);
    guestmem_unref(mem), guestmem_unref(other);
}

/* Sparse data cannot come from what has no offsets: refused before anything is read or written. */
static void test_from_streams(void)
{
    struct guestmem *mem = memory_with_data(4), *other = memory_with_data(5);
    struct image image = image_of(other, &sparse);
    const size_t len = strlen(image.metadata);
    struct stream stream;
    uint8_t *before = copy_of(mem), byte;
    int pipe_ends[2], sockets[2];
    stream_new(&stream, MEMORY_SIZE);
    stream.len = MEMORY_SIZE;
    REQUIRE(pread(image.fd, stream.bytes, MEMORY_SIZE, 0) == MEMORY_SIZE);
    CHECK_CODE(guestmem_restore_read(mem, image.metadata, len, stream_read, &stream, NULL, 0),
               GUESTMEM_E_UNSUPPORTED);
    CHECK_EQ(stream.calls, 0);
    REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0 && write(pipe_ends[1], "x", 1) == 1);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    REQUIRE(write(sockets[1], "x", 1) == 1);
    CHECK_CODE(guestmem_restore(mem, image.metadata, len, pipe_ends[0], NULL, 0),
               GUESTMEM_E_UNSUPPORTED);
    CHECK_CODE(guestmem_restore(mem, image.metadata, len, sockets[0], &more, sizeof more),
               GUESTMEM_E_UNSUPPORTED);
    CHECK(read(pipe_ends[0], &byte, 1) == 1 && read(sockets[0], &byte, 1) == 1);
    check_untouched(mem, before);
    REQUIRE(close(pipe_ends[0]) == 0 && close(pipe_ends[1]) == 0);
    REQUIRE(close(sockets[0]) == 0 && close(sockets[1]) == 0);
    free(before), free(stream.bytes);
    image_free(&image);
    guestmem_unref(mem), guestmem_unref(other);
}

/* Reading needs no more than that: also from descriptors that write otherwise or not at all, and
 * from an image file, in which more follows. */
static void test_other_descriptors(void)
{
    static const int modes[] = {O_RDONLY, O_RDWR | O_APPEND};
    struct guestmem *mem = memory_with_data(6), *other = memory_with_data(7);
    struct image image = image_of(other, &sparse);
    char *metadata = NULL;
    int fd;
    size_t i;
    for (i = 0; i < 2; i++) {
        struct image again = image;
        again.fd = reopen(image.fd, modes[i]);
        dirty_everything(mem);
        CHECK_OK(restore_sparse(mem, &again));
        CHECK(same_memory(mem, other));
        REQUIRE(close(again.fd) == 0);
    }
    enter_folder(fast_parent(MEMORY_SIZE * 2));
    CHECK_OK(guestmem_save(other, "image", NULL, 0));
    CHECK_OK(guestmem_image_metadata("image", &metadata));
    REQUIRE(metadata != NULL);
    fd = open("image", O_RDONLY | O_CLOEXEC);
    CHECK_CODE(guestmem_restore(mem, metadata, strlen(metadata), fd, NULL, 0),
               GUESTMEM_E_SNAPSHOT_LONG);
    dirty_everything(mem);
    CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), fd, &more, sizeof more));
    CHECK(same_memory(mem, other));
    REQUIRE(close(fd) == 0);
    guestmem_free(metadata);
    leave_folder();
    image_free(&image);
    guestmem_unref(mem), guestmem_unref(other);
}

/* ---- packed, where write(2) would put it ---- */

static void test_at_the_end_of_a_file(void)
{
    struct guestmem *mem = memory_with_data(8);
    int file = new_disk_file(100), append = reopen(file, O_RDWR | O_APPEND);
    char *metadata = NULL;
    uint8_t *wanted = copy_of(mem);
    CHECK_OK(guestmem_snapshot(mem, append, NULL, 0, &metadata));
    REQUIRE(metadata != NULL);
    CHECK_EQ(lseek(append, 0, SEEK_CUR), 100 + json_number(metadata, "data_size"));
    CHECK_EQ(lseek(file, 0, SEEK_END), 100 + json_number(metadata, "data_size"));
    dirty_everything(mem);
    REQUIRE(lseek(append, 100, SEEK_SET) == 100);
    CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), append, NULL, 0));
    CHECK(memory_is(mem, wanted));
    guestmem_free(metadata);
    free(wanted);
    REQUIRE(close(file) == 0 && close(append) == 0);
    guestmem_unref(mem);
}

/* ---- past the page cache ---- */

/* How much of a file the page cache holds. */
static uint64_t cached_bytes(int fd)
{
    struct stat st;
    size_t pages, i;
    uint64_t cached = 0;
    unsigned char *there;
    void *map;
    REQUIRE(fstat(fd, &st) == 0);
    pages = (size_t)((uint64_t)st.st_size / PAGE);
    there = malloc(pages + 1);
    map = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    REQUIRE(there != NULL && map != MAP_FAILED && mincore(map, pages * PAGE, there) == 0);
    for (i = 0; i < pages; i++) cached += there[i] & 1 ? PAGE : 0;
    REQUIRE(munmap(map, pages * PAGE) == 0);
    free(there);
    return cached;
}

static bool direct_works(void)
{
    char path[64];
    int file = new_disk_file(0), again;
    (void)snprintf(path, sizeof path, "/proc/thread-self/fd/%d", file);
    again = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    REQUIRE(close(file) == 0);
    if (again >= 0) REQUIRE(close(again) == 0);
    return again >= 0;
}

static bool same_files(int a, int b)
{
    uint8_t left[0x4000], right[0x4000];
    off_t at = 0;
    ssize_t got;
    do {
        got = pread(a, left, sizeof left, at);
        if (got < 0 || pread(b, right, sizeof right, at) != got) return false;
        if (memcmp(left, right, (size_t)got) != 0) return false;
        at += got;
    } while (got > 0);
    return true;
}

/* Data and holes begin at the same places. */
static bool same_holes(int a, int b)
{
    const off_t positions[2] = {lseek(a, 0, SEEK_CUR), lseek(b, 0, SEEK_CUR)};
    off_t at = 0, other = 0;
    int whence = SEEK_DATA;
    while (at >= 0 && at == other) {
        at = lseek(a, at, whence), other = lseek(b, other, whence);
        whence = whence == SEEK_DATA ? SEEK_HOLE : SEEK_DATA;
    }
    REQUIRE(lseek(a, positions[0], SEEK_SET) >= 0 && lseek(b, positions[1], SEEK_SET) >= 0);
    return at == other;
}

static void direct_as_buffered(struct guestmem *mem, uint64_t flags, uint32_t layout,
                               off_t position)
{
    struct guestmem_snapshot_options options = {flags, layout, 2, NULL, NULL};
    int buffered = new_disk_file(PAGE), direct = new_disk_file(PAGE), mode;
    char *wanted = NULL, *metadata = NULL;
    REQUIRE(lseek(buffered, position, SEEK_SET) == position);
    REQUIRE(lseek(direct, position, SEEK_SET) == position);
    CHECK_OK(guestmem_snapshot(mem, buffered, &options, sizeof options, &wanted));
    options.flags |= GUESTMEM_SNAPSHOT_DIRECT;
    mode = fcntl(direct, F_GETFL);
    CHECK_OK(guestmem_snapshot(mem, direct, &options, sizeof options, &metadata));
    CHECK_EQ(fcntl(direct, F_GETFL), mode); /* the caller's descriptor stays what it is */
    CHECK(cached_bytes(direct) < 0x40000);
    CHECK(lseek(direct, 0, SEEK_CUR) == lseek(buffered, 0, SEEK_CUR));
    CHECK(same_files(direct, buffered));
    CHECK(same_holes(direct, buffered));
    REQUIRE(wanted != NULL && metadata != NULL);
    CHECK(strcmp(metadata, wanted) == 0);
    REQUIRE(lseek(direct, position, SEEK_SET) == position);
    {
        uint8_t *before = copy_of(mem);
        dirty_everything(mem);
        CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), direct, NULL, 0));
        CHECK(memory_is(mem, before));
        free(before);
        REQUIRE(lseek(direct, position, SEEK_SET) == position); /* with holes once more */
        CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), direct, NULL, 0));
    }
    guestmem_free(metadata), guestmem_free(wanted);
    REQUIRE(close(buffered) == 0 && close(direct) == 0);
}

static void test_direct(void)
{
    static const off_t unaligned[] = {1, 77, 512, 4095, 4097};
    const struct guestmem_snapshot_options direct = {GUESTMEM_SNAPSHOT_DIRECT, 0, 0, NULL, NULL};
    struct guestmem *mem = memory_with_data(9), *in_pieces = memory_in_pieces(5);
    char *metadata = (char *)mem;
    int file = new_disk_file(0);
    size_t i;
    if (!direct_works()) {
        SKIP_PART("no O_DIRECT on the file system of temporary files");
    } else {
        direct_as_buffered(mem, 0, GUESTMEM_LAYOUT_PACKED, 0);
        direct_as_buffered(mem, GUESTMEM_SNAPSHOT_SYNC, GUESTMEM_LAYOUT_PACKED, 3 * 4096);
        direct_as_buffered(mem, GUESTMEM_SNAPSHOT_NO_CHECKSUM, GUESTMEM_LAYOUT_SPARSE, 0);
        direct_as_buffered(mem, GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES, GUESTMEM_LAYOUT_SPARSE, 77);
        direct_as_buffered(in_pieces, 0, GUESTMEM_LAYOUT_SPARSE, 0);
        direct_as_buffered(in_pieces, GUESTMEM_SNAPSHOT_SYNC, GUESTMEM_LAYOUT_PACKED, 0);
    }
    for (i = 0; i < 5; i++) {
        REQUIRE(lseek(file, unaligned[i], SEEK_SET) == unaligned[i]);
        CHECK_CODE(guestmem_snapshot(mem, file, &direct, sizeof direct, &metadata),
                   GUESTMEM_E_UNSUPPORTED);
        CHECK(metadata == NULL && lseek(file, 0, SEEK_CUR) == unaligned[i]);
        CHECK_EQ(lseek(file, 0, SEEK_END), 0);
    }
    REQUIRE(close(file) == 0);
    guestmem_unref(in_pieces);
    guestmem_unref(mem);
}

int main(void)
{
    test_over_old_files();
    test_damaged();
    test_from_streams();
    test_other_descriptors();
    test_at_the_end_of_a_file();
    test_direct();
    return check_result();
}
