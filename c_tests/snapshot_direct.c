/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Snapshots read from descriptors that go past the page cache (O_DIRECT), from wherever in the file, with
 * or without something behind them.
 * runs: asan valgrind */
#include "support/images.h"
#include "support/snapshots.h"

/* Another descriptor of the same file that goes past the page cache, or -1. */
static int direct_of(const char *path, int flags)
{
    return open(path, flags | O_DIRECT | O_CLOEXEC);
}

static void put(int fd, const uint8_t *bytes, size_t len, off_t at)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, bytes, len, at);
        REQUIRE(n > 0);
        bytes += n, len -= (size_t)n, at += n;
    }
}

static void restore_from(int fd, const struct image *image, off_t at, uint64_t flags,
                         const struct guestmem *whole)
{
    const struct guestmem_restore_options options = {flags, 0, 0, NULL, NULL};
    struct guestmem *fresh = check_new(data_ranges, 2), *used = memory_with_data(99);
    for (int i = 0; i < 2; i++) {
        const struct guestmem *mem = i ? used : fresh;
        REQUIRE(lseek(fd, at, SEEK_SET) == at);
        CHECK_OK(guestmem_restore(mem, image->metadata, strlen(image->metadata), fd, &options,
                                  sizeof options));
        CHECK(same_memory(mem, whole));
        CHECK_EQ(lseek(fd, 0, SEEK_CUR), (uint64_t)at + image->size);
    }
    guestmem_unref(fresh);
    guestmem_unref(used);
}

int main(void)
{
    static const off_t places[] = {0, 4096, 512, 1, 4095, 77777};
    struct guestmem *mem, *other;
    struct image packed, written = {0}, sparse = {0};
    const struct guestmem_snapshot_options raw = {0, GUESTMEM_LAYOUT_SPARSE, 0, NULL, NULL};
    uint8_t *bytes;
    int plain, direct;
    enter_folder("/tmp");
    plain = open("file", O_RDWR | O_CREAT, 0600);
    direct = direct_of("file", O_RDWR);
    if (direct < 0) SKIP("the file system of /tmp offers no O_DIRECT");
    mem = memory_with_data(7), other = memory_with_data(8);
    packed = image_of(mem, NULL);
    bytes = malloc((size_t)packed.size + 33);
    REQUIRE(bytes != NULL);
    REQUIRE(pread(packed.fd, bytes, (size_t)packed.size, 0) == (ssize_t)packed.size);
    memset(bytes + packed.size, 0xee, 33);

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        REQUIRE(ftruncate(plain, 0) == 0);
        put(plain, bytes, (size_t)packed.size, places[i]);
        restore_from(direct, &packed, places[i], 0, mem);
        put(plain, bytes, (size_t)packed.size + 33, places[i]);
        restore_from(direct, &packed, places[i], GUESTMEM_RESTORE_MORE_FOLLOWS, mem);
        flip_bit(plain, (uint64_t)places[i] + 0x150123);
        REQUIRE(lseek(direct, places[i], SEEK_SET) == places[i]);
        REQUIRE(ftruncate(plain, places[i] + (off_t)packed.size) == 0);
        CHECK_CODE(guestmem_restore(other, packed.metadata, strlen(packed.metadata), direct, NULL, 0),
                   GUESTMEM_E_CORRUPT);
        REQUIRE(ftruncate(plain, places[i] + (off_t)packed.size - 1) == 0);
        CHECK_CODE(guestmem_restore(other, packed.metadata, strlen(packed.metadata), direct, NULL, 0),
                   GUESTMEM_E_SNAPSHOT_SHORT);
    }

    /* Written through it too. */
    REQUIRE(ftruncate(plain, 0) == 0 && lseek(direct, 0, SEEK_SET) == 0);
    CHECK_OK(guestmem_snapshot(mem, direct, NULL, 0, &written.metadata));
    written.size = (uint64_t)lseek(direct, 0, SEEK_CUR);
    restore_from(direct, &written, 0, 0, mem);
    guestmem_free(written.metadata);
    CHECK_OK(guestmem_snapshot(mem, direct, &raw, sizeof raw, &sparse.metadata));
    CHECK_OK(guestmem_restore(other, sparse.metadata, strlen(sparse.metadata), direct, NULL, 0));
    CHECK(same_memory(other, mem));
    guestmem_free(sparse.metadata);

    free(bytes);
    image_free(&packed);
    REQUIRE(close(plain) == 0 && close(direct) == 0);
    guestmem_unref(mem);
    guestmem_unref(other);
    return check_result();
}
