/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Snapshots that do not fit: too short, too long, damaged, of other memory, onto the memory's own
 * file. What can be told beforehand leaves memory as it was; what cannot, leaves it tainted until a
 * restore succeeds.
 * runs: asan valgrind */
#include "support/snapshots.h"

static void test_length_of_a_file(void)
{
    struct guestmem *mem = memory_with_data(6), *other = memory_with_data(7);
    struct image image = image_of(other, NULL);
    const uint64_t lengths[] = {
        0, 1, image.size / 2, image.size - 4096, image.size - 1, image.size + 1, image.size + 4096};
    uint8_t *before = copy_of(mem);
    size_t i;
    for (i = 0; i < 7; i++) {
        REQUIRE(ftruncate(image.fd, (off_t)lengths[i]) == 0);
        CHECK_CODE(image_restore(mem, &image),
                   lengths[i] < image.size ? GUESTMEM_E_SNAPSHOT_SHORT : GUESTMEM_E_SNAPSHOT_LONG);
        check_untouched(mem, before);
    }
    /* the right length, but from the wrong position on */
    REQUIRE(ftruncate(image.fd, (off_t)image.size) == 0 && lseek(image.fd, 1, SEEK_SET) == 1);
    CHECK_CODE(guestmem_restore(mem, image.metadata, strlen(image.metadata), image.fd, NULL, 0),
               GUESTMEM_E_SNAPSHOT_SHORT);
    REQUIRE(lseek(image.fd, (off_t)image.size + 9999, SEEK_SET) > 0);
    CHECK_CODE(guestmem_restore(mem, image.metadata, strlen(image.metadata), image.fd, NULL, 0),
               GUESTMEM_E_SNAPSHOT_SHORT);
    check_untouched(mem, before);
    free(before);
    image_free(&image);
    guestmem_unref(mem), guestmem_unref(other);
}

static void test_length_of_a_stream(void)
{
    struct guestmem *mem = memory_with_data(8), *other = memory_with_data(9);
    struct image image = image_of(other, NULL);
    uint8_t *before = copy_of(mem), *bytes = calloc(1, (size_t)image.size + 4096);
    const size_t size = (size_t)image.size;
    int ends[2];
    REQUIRE(bytes != NULL && pread(image.fd, bytes, size, 0) == (ssize_t)size);
    CHECK_CODE(restore_bytes(mem, image.metadata, bytes, 0), GUESTMEM_E_SNAPSHOT_SHORT);
    check_honest(mem, before);
    CHECK_CODE(restore_bytes(mem, image.metadata, bytes, size - 1), GUESTMEM_E_SNAPSHOT_SHORT);
    CHECK(is_tainted(mem));
    CHECK_CODE(restore_bytes(mem, image.metadata, bytes, size + 1), GUESTMEM_E_SNAPSHOT_LONG);
    check_honest(mem, before);
    CHECK_OK(restore_bytes(mem, image.metadata, bytes, size));
    CHECK(!is_tainted(mem));

    /* a pipe with too little in it */
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], bytes, 5000) == 5000 &&
            close(ends[1]) == 0);
    CHECK_CODE(guestmem_restore(mem, image.metadata, strlen(image.metadata), ends[0], NULL, 0),
               GUESTMEM_E_SNAPSHOT_SHORT);
    REQUIRE(close(ends[0]) == 0);
    CHECK_OK(image_restore(mem, &image));
    CHECK(!is_tainted(mem));
    free(before), free(bytes);
    image_free(&image);
    guestmem_unref(mem), guestmem_unref(other);
}

static void test_flipped_bits(void)
{
    struct guestmem *mem = memory_with_data(10), *other = memory_with_data(11);
    struct guestmem_snapshot_options unchecked = {GUESTMEM_SNAPSHOT_NO_CHECKSUM, 0, 0, NULL, NULL};
    struct image image = image_of(other, NULL), plain;
    const uint64_t places[] = {0, 4095, 0xfffff, 0x100000, 0x27ffff, 0x280000, image.size - 1};
    uint8_t *before = copy_of(mem), *bytes = malloc((size_t)image.size);
    size_t i;
    REQUIRE(bytes != NULL);
    for (i = 0; i < 7; i++) {
        flip_bit(image.fd, places[i]);
        CHECK_CODE(image_restore(mem, &image), GUESTMEM_E_CORRUPT);
        check_untouched(mem, before);
        flip_bit(image.fd, places[i]);
    }
    /* A stream is only seen once: what came before the bad chunk is written, the bad chunk is not.
     */
    flip_bit(image.fd, 0x100010);
    REQUIRE(pread(image.fd, bytes, (size_t)image.size, 0) == (ssize_t)image.size);
    CHECK_CODE(restore_bytes(mem, image.metadata, bytes, (size_t)image.size), GUESTMEM_E_CORRUPT);
    CHECK(is_tainted(mem));
    CHECK(memcmp((uint8_t *)info_of(mem, 0).host_addr + PAGE + 0x100000, bytes + 0x100000, 0x100) !=
          0);
    CHECK_CODE(image_restore(mem, &image),
               GUESTMEM_E_CORRUPT); /* refused before it writes: as tainted as before */
    CHECK(is_tainted(mem));
    flip_bit(image.fd, 0x100010);
    CHECK_OK(image_restore(mem, &image));
    CHECK(!is_tainted(mem));
    free(before);
    before = copy_of(other);
    CHECK(memory_is(mem, before));

    /* who wants no checksums gets none */
    plain = image_of(other, &unchecked);
    flip_bit(plain.fd, 5000);
    CHECK_OK(image_restore(mem, &plain));
    CHECK(!memory_is(mem, before));
    free(before), free(bytes);
    image_free(&image), image_free(&plain);
    guestmem_unref(mem), guestmem_unref(other);
}

static void test_stream_cut_at_every_page(void)
{
    struct guestmem *mem = memory_with_data(1), *other = memory_with_data(3);
    struct image image = image_of(other, NULL);
    uint8_t *before = copy_of(mem), *bytes = malloc((size_t)image.size);
    const uint64_t step = fast() ? 37 * PAGE : PAGE;
    uint64_t len;
    bool changed = false;
    REQUIRE(bytes != NULL &&
            pread(image.fd, bytes, (size_t)image.size, 0) == (ssize_t)image.size);
    for (len = 0; len < image.size; len += step) {
        CHECK_CODE(restore_bytes(mem, image.metadata, bytes, (size_t)len),
                   GUESTMEM_E_SNAPSHOT_SHORT);
        if (changed || memory_is(mem, before)) continue;
        CHECK(is_tainted(mem));
        changed = true;
    }
    CHECK(changed && is_tainted(mem));
    CHECK_OK(restore_bytes(mem, image.metadata, bytes, (size_t)image.size));
    CHECK(!is_tainted(mem) && same_memory(mem, other));
    free(before), free(bytes);
    image_free(&image);
    guestmem_unref(mem), guestmem_unref(other);
}

/* Two chunks of data in each other's place, and two pages. */
static void test_chunks_swapped(void)
{
    const size_t len[2] = {(size_t)CHUNK, (size_t)PAGE};
    struct guestmem *mem = memory_with_data(1), *other = memory_with_data(3);
    struct image image = image_of(other, NULL);
    uint8_t *before = copy_of(mem), *bytes = malloc((size_t)image.size);
    size_t i;
    REQUIRE(bytes != NULL &&
            pread(image.fd, bytes, (size_t)image.size, 0) == (ssize_t)image.size);
    for (i = 0; i < 2; i++) {
        swap_bytes(bytes, bytes + len[i], len[i]);
        REQUIRE(pwrite(image.fd, bytes, (size_t)image.size, 0) == (ssize_t)image.size);
        CHECK_CODE(image_restore(mem, &image), GUESTMEM_E_CORRUPT);
        check_untouched(mem, before);
        CHECK_CODE(restore_bytes(mem, image.metadata, bytes, (size_t)image.size),
                   GUESTMEM_E_CORRUPT);
        check_honest(mem, before);
        swap_bytes(bytes, bytes + len[i], len[i]);
        CHECK_OK(restore_bytes(mem, image.metadata, bytes, (size_t)image.size));
        free(before);
        before = copy_of(mem);
    }
    free(before), free(bytes);
    image_free(&image);
    guestmem_unref(mem), guestmem_unref(other);
}

/* The data of a machine with the same regions and as much data in the same places. */
static void test_data_of_another_machine(void)
{
    struct guestmem *mem = memory_with_data(1), *one = memory_with_data(3),
                    *two = memory_with_data(5);
    struct image image = image_of(one, NULL), foreign = image_of(two, NULL);
    uint8_t *before = copy_of(mem);
    REQUIRE(image.size == foreign.size && lseek(foreign.fd, 0, SEEK_SET) == 0);
    CHECK_CODE(guestmem_restore(mem, image.metadata, strlen(image.metadata), foreign.fd, NULL, 0),
               GUESTMEM_E_CORRUPT);
    check_untouched(mem, before);
    free(before);
    image_free(&image), image_free(&foreign);
    guestmem_unref(mem), guestmem_unref(one), guestmem_unref(two);
}

/* ---- other memory, read-only memory, the memory's own file ---- */

static void test_other_regions(void)
{
    struct guestmem *mem = memory_with_data(12);
    struct image image = image_of(mem, NULL);
    size_t i;
    for (i = 0; i < OTHER_REGIONS; i++) {
        struct guestmem *other = memory_of_other_regions(i);
        uint8_t *before = copy_of(other);
        CHECK_CODE(image_restore(other, &image), GUESTMEM_E_MISMATCH);
        check_untouched(other, before);
        free(before);
        guestmem_unref(other);
    }
    image_free(&image);
    guestmem_unref(mem);
}

static void test_read_only_region(void)
{
    struct world world;
    struct image image;
    size_t i;
    world_new(&world);
    image = image_of(world.mem, NULL);
    for (i = 0; i < WORLD_AREAS; i++)
        if (!world.area[i].read_only)
            CHECK_OK(guestmem_dma_fill(world.mem, world.area[i].start, 0x66, world.area[i].size));
    CHECK_OK(image_restore(world.mem, &image));
    CHECK(world_agrees(&world) && !is_tainted(world.mem));
    image_free(&image);
    world_free(&world);
}

static void refuse_backing(const struct guestmem *mem, int fd)
{
    uint8_t *before = copy_of(mem);
    off_t length = lseek(fd, 0, SEEK_END);
    char *metadata = (char *)before;
    REQUIRE(lseek(fd, 3, SEEK_SET) == 3);
    CHECK_CODE(guestmem_snapshot(mem, fd, NULL, 0, &metadata), GUESTMEM_E_BUSY);
    CHECK(metadata == NULL && lseek(fd, 0, SEEK_CUR) == 3 && lseek(fd, 0, SEEK_END) == length);
    CHECK(memory_is(mem, before));
    free(before);
}

static void test_snapshot_onto_its_own_file(void)
{
    struct guestmem_region_options options[4];
    struct guestmem *mem = NULL;
    int fds[3], i, again;
    void *host;
    memset(options, 0, sizeof options);
    for (i = 0; i < 4; i++) options[i].guest_addr = (uint64_t)i * 0x10000, options[i].size = 0x4000;
    for (i = 0; i < 3; i++) {
        uint8_t content[0x4000];
        fds[i] = i == 0 ? new_memfd(0) : new_disk_file(0);
        fill_random(content, sizeof content, (uint64_t)i);
        REQUIRE(write(fds[i], content, sizeof content) == (ssize_t)sizeof content);
    }
    options[1].flags = GUESTMEM_REGION_FD, options[1].fd = fds[0];
    options[2].flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE, options[2].fd = fds[1];
    host = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fds[2], 0);
    REQUIRE(host != MAP_FAILED);
    options[3].flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_HOST, options[3].fd = fds[2],
    options[3].host_addr = host;
    CHECK_OK(guestmem_new_with_options(options, 4, sizeof options[0], &mem));
    REQUIRE(mem != NULL);
    again = reopen(info_of(mem, 0).fd, O_RDWR);
    refuse_backing(mem, again);
    REQUIRE(close(again) == 0);
    for (i = 0; i < 3; i++) {
        refuse_backing(mem, fds[i]);
        again = reopen(fds[i], O_RDWR);
        refuse_backing(mem, again);
        REQUIRE(close(again) == 0);
    }
    guestmem_unref(mem);
    REQUIRE(munmap(host, 0x4000) == 0);
    for (i = 0; i < 3; i++) REQUIRE(close(fds[i]) == 0);
}

int main(void)
{
    test_length_of_a_file();
    test_length_of_a_stream();
    test_flipped_bits();
    test_stream_cut_at_every_page();
    test_chunks_swapped();
    test_data_of_another_machine();
    test_other_regions();
    test_read_only_region();
    test_snapshot_onto_its_own_file();
    return check_result();
}
