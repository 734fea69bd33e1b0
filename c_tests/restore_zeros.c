/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Zeros in a snapshot take no memory where there was none: neither what its file has as holes, nor what
 * stands in it, however it is brought back.
 * runs: asan valgrind */
#include "support/images.h"
#include "support/snapshots.h"

#define SIZE ((uint64_t)64 << 20)

/* Bytes of host memory behind a memory of one region. */
static uint64_t taken_by(const struct guestmem *mem)
{
    struct stat st;
    REQUIRE(fstat(info_of(mem, 0).fd, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

static void check_small(const struct guestmem *mem, uint64_t most)
{
    uint64_t first = 0, last = 0;
    CHECK(taken_by(mem) <= most);
    if (taken_by(mem) > most) fprintf(stderr, "%" PRIu64 " bytes\n", taken_by(mem));
    CHECK_OK(guestmem_read_u64(mem, 0, &first));
    CHECK_OK(guestmem_read_u64(mem, SIZE - 8, &last));
    CHECK(first == 17 && last == 71);
}

/* Every page is data, all but the first and the last are zeros. */
static void fill(const struct guestmem *mem)
{
    CHECK_OK(guestmem_dma_fill(mem, 0, 0, SIZE));
    CHECK_OK(guestmem_write_u64(mem, 0, 17));
    CHECK_OK(guestmem_write_u64(mem, SIZE - 8, 71));
}

/* Whoever makes an image may leave out its zeros, and say that they are data. */
static void dig(const char *path)
{
    int fd = open(path, O_RDWR);
    REQUIRE(fd >= 0);
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0x1000, (off_t)SIZE - 0x2000) != 0)
        SKIP_PART("no holes can be punched in /tmp");
    REQUIRE(close(fd) == 0);
}

static void check(bool checksums)
{
    const struct guestmem_range range = {0, SIZE};
    const struct guestmem_snapshot_options how = {
        checksums ? 0 : GUESTMEM_SNAPSHOT_NO_CHECKSUM, GUESTMEM_LAYOUT_PACKED, 0, NULL, NULL};
    struct guestmem *mem = check_new(&range, 1), *loaded, *used;
    struct image packed;
    struct stream stream;
    /* Huge pages, where the system gives them. */
    const uint64_t most = 8 << 20;
    fill(mem);
    packed = image_of(mem, &how);
    CHECK_EQ(packed.size, SIZE);
    CHECK_OK(guestmem_save(mem, "image", &how, sizeof how));
    for (int round = 0; round < 2; round++) {
        CHECK_OK(guestmem_load("image", NULL, 0, &loaded));
        check_small(loaded, most);
        guestmem_unref(loaded);
        for (int was_used = 0; was_used < 2; was_used++) {
            used = check_new(&range, 1);
            if (was_used) CHECK_OK(guestmem_write_u64(used, SIZE / 2, 5));
            CHECK_OK(guestmem_restore_file(used, "image", NULL, 0));
            check_small(used, most);
            CHECK(same_memory(used, mem));
            guestmem_unref(used);
            used = check_new(&range, 1);
            if (was_used) CHECK_OK(guestmem_write_u64(used, SIZE / 2, 5));
            CHECK_OK(image_restore(used, &packed));
            check_small(used, most);
            CHECK(same_memory(used, mem));
            guestmem_unref(used);
        }
        dig("image");
    }
    stream_new(&stream, (size_t)SIZE);
    stream.len = (size_t)SIZE;
    REQUIRE(pread(packed.fd, stream.bytes, (size_t)SIZE, 0) == (ssize_t)SIZE);
    used = check_new(&range, 1);
    CHECK_OK(guestmem_restore_read(used, packed.metadata, strlen(packed.metadata), stream_read,
                                   &stream, NULL, 0));
    check_small(used, most);
    guestmem_unref(used);
    free(stream.bytes);
    image_free(&packed);
    guestmem_unref(mem);
}

int main(void)
{
    enter_folder("/tmp");
    check(true);
    check(false);
    return check_result();
}
