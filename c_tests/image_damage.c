/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Snapshots that do not fit, sparse and as image files: data that end too early, go on too long,
 * lie in another order, are of another machine or have a wrong bit. All can be told beforehand, which
 * leaves memory as it was.
 * runs: asan valgrind */
#include "support/images.h"

#define PATH "image"

static const uint64_t load_ways[] = {0, GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY};

/* ---- sparse ---- */

static struct image sparse_of(const struct guestmem *mem)
{
    const struct guestmem_snapshot_options sparse = {0, GUESTMEM_LAYOUT_SPARSE, 0, NULL, NULL};
    struct image image = image_of(mem, &sparse);
    REQUIRE(image.size == guestmem_memory_size(mem));
    return image;
}

static int sparse_restore(const struct guestmem *mem, const struct image *image, uint64_t flags)
{
    const struct guestmem_restore_options options = {flags, 0, 0, NULL, NULL};
    int code;
    REQUIRE(lseek(image->fd, 5, SEEK_SET) == 5);
    code = guestmem_restore(mem, image->metadata, strlen(image->metadata), image->fd, &options,
                            sizeof options);
    CHECK(lseek(image->fd, 0, SEEK_CUR) == 5); /* offsets are absolute */
    return code;
}

static void test_sparse_length(void)
{
    struct guestmem *mem = memory_with_data(1), *other = memory_with_data(3);
    struct image image = sparse_of(other);
    uint8_t *before = copy_of(mem), *raw = copy_of(other);
    uint64_t len;
    for (len = image.size; len > 0;) {
        len -= fast() ? 53 * PAGE < len ? 53 * PAGE : len : PAGE;
        REQUIRE(ftruncate(image.fd, (off_t)len) == 0);
        CHECK_CODE(sparse_restore(mem, &image, 0), GUESTMEM_E_SNAPSHOT_SHORT);
        CHECK(memory_is(mem, before));
    }
    check_untouched(mem, before);
    REQUIRE(pwrite(image.fd, raw, (size_t)image.size, 0) == (ssize_t)image.size);
    REQUIRE(ftruncate(image.fd, (off_t)image.size - 1) == 0);
    CHECK_CODE(sparse_restore(mem, &image, 0), GUESTMEM_E_SNAPSHOT_SHORT);
    REQUIRE(ftruncate(image.fd, (off_t)image.size + 1) == 0);
    CHECK_CODE(sparse_restore(mem, &image, 0), GUESTMEM_E_SNAPSHOT_LONG);
    check_untouched(mem, before);
    REQUIRE(ftruncate(image.fd, (off_t)(image.size + PAGE)) == 0);
    CHECK_CODE(sparse_restore(mem, &image, 0), GUESTMEM_E_SNAPSHOT_LONG);
    check_untouched(mem, before);
    /* whoever says that more follows gets no complaint that it does */
    CHECK_OK(sparse_restore(mem, &image, GUESTMEM_RESTORE_MORE_FOLLOWS));
    CHECK(same_memory(mem, other));
    free(before), free(raw);
    image_free(&image);
    guestmem_unref(mem), guestmem_unref(other);
}

/* In memory_with_data, region 0 has data in [PAGE, PAGE + 0x280000), region 1 in its page 3. */
#define DATA_START PAGE
#define DATA_END (PAGE + 0x280000)
#define SECOND_DATA ((uint64_t)0x400000 + 3 * PAGE)

static void test_sparse_damage(void)
{
    static const uint64_t places[] = {DATA_START,   DATA_START + 4095, DATA_START + 0xfffff,
                                      0x101000,     DATA_END - 1,      SECOND_DATA,
                                      SECOND_DATA + PAGE - 1};
    struct guestmem *mem = memory_with_data(1), *other = memory_with_data(3),
                    *third = memory_with_data(5);
    struct image image = sparse_of(other), foreign = sparse_of(third);
    uint8_t *before = copy_of(mem), *raw = copy_of(other);
    char *metadata = foreign.metadata;
    size_t i;
    for (i = 0; i < sizeof places / sizeof places[0]; i++) {
        flip_bit(image.fd, places[i]);
        CHECK_CODE(sparse_restore(mem, &image, 0), GUESTMEM_E_CORRUPT);
        check_untouched(mem, before);
        flip_bit(image.fd, places[i]);
    }
    /* two chunks, and two pages of one chunk, in each other's place */
    for (i = 0; i < 2; i++) {
        const size_t len = (size_t)(i == 0 ? CHUNK : PAGE);
        swap_bytes(raw + DATA_START, raw + DATA_START + len, len);
        REQUIRE(pwrite(image.fd, raw, (size_t)image.size, 0) == (ssize_t)image.size);
        CHECK_CODE(sparse_restore(mem, &image, 0), GUESTMEM_E_CORRUPT);
        check_untouched(mem, before);
        swap_bytes(raw + DATA_START, raw + DATA_START + len, len);
    }
    REQUIRE(pwrite(image.fd, raw, (size_t)image.size, 0) == (ssize_t)image.size);
    /* another machine's data */
    foreign.metadata = image.metadata;
    CHECK_CODE(sparse_restore(mem, &foreign, 0), GUESTMEM_E_CORRUPT);
    check_untouched(mem, before);
    foreign.metadata = metadata;
    /* what should be a hole is not looked at: it is zeros */
    flip_bit(image.fd, 0);
    flip_bit(image.fd, DATA_END);
    flip_bit(image.fd, image.size - 1);
    CHECK_OK(sparse_restore(mem, &image, 0));
    CHECK(same_memory(mem, other));
    free(before), free(raw);
    image_free(&image), image_free(&foreign);
    guestmem_unref(mem), guestmem_unref(other), guestmem_unref(third);
}

/* Sparse data cannot come from what has no offsets. */
static void test_sparse_from_a_stream(void)
{
    struct guestmem *mem = memory_with_data(1), *other = memory_with_data(3);
    struct image image = sparse_of(other);
    uint8_t *before = copy_of(mem), *raw = copy_of(other);
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], raw, 4096) == 4096);
    CHECK_CODE(
        guestmem_restore(mem, image.metadata, strlen(image.metadata), ends[0], NULL, 0),
        GUESTMEM_E_UNSUPPORTED);
    CHECK_CODE(restore_bytes(mem, image.metadata, raw, (size_t)image.size),
               GUESTMEM_E_UNSUPPORTED);
    check_untouched(mem, before);
    REQUIRE(close(ends[0]) == 0 && close(ends[1]) == 0);
    free(before), free(raw);
    image_free(&image);
    guestmem_unref(mem), guestmem_unref(other);
}

/* ---- images ---- */

static void expect_code(const struct guestmem *mem, const uint8_t *before, int code)
{
    size_t i;
    for (i = 0; i < 2; i++) refuse_load(PATH, load_ways[i], code);
    CHECK_CODE(guestmem_restore_file(mem, PATH, NULL, 0), code);
    CHECK(memory_is(mem, before));
}

static void test_image_length(void)
{
    struct guestmem *mem = memory_with_data(1), *other = memory_with_data(3);
    uint8_t *before = copy_of(mem);
    struct bytes image;
    size_t len;
    CHECK_OK(guestmem_save(other, PATH, NULL, 0));
    image = bytes_of(PATH);
    for (len = (image.len - 1) & ~(size_t)4095;; len -= PAGE) {
        REQUIRE(truncate(PATH, (off_t)len) == 0);
        expect_code(mem, before, GUESTMEM_E_METADATA);
        if (len == 0 || (fast() && len < image.len / 2)) break;
    }
    write_file(PATH, image.at, image.len - 1);
    expect_code(mem, before, GUESTMEM_E_METADATA);
    write_file(PATH, image.at, image.len);
    REQUIRE(truncate(PATH, (off_t)image.len + 1) == 0);
    expect_code(mem, before, GUESTMEM_E_METADATA);
    check_untouched(mem, before);
    /* cut in the middle, with its end put back on */
    {
        const size_t size = (size_t)guestmem_memory_size(other), tail = image.len - size;
        memmove(image.at + size - PAGE, image.at + size, tail);
        write_file(PATH, image.at, image.len - PAGE);
        expect_code(mem, before, GUESTMEM_E_METADATA);
    }
    free(before), free(image.at);
    guestmem_unref(mem), guestmem_unref(other);
}

static void test_image_damage(void)
{
    static const uint64_t places[] = {DATA_START,   DATA_START + 4095, DATA_START + 0xfffff,
                                      0x101000,     DATA_END - 1,      SECOND_DATA,
                                      SECOND_DATA + PAGE - 1};
    struct guestmem *mem = memory_with_data(1), *other = memory_with_data(3),
                    *third = memory_with_data(5);
    uint8_t *before = copy_of(mem), *foreign = copy_of(third);
    const size_t size = (size_t)guestmem_memory_size(mem);
    struct bytes image;
    size_t i;
    CHECK_OK(guestmem_save(other, PATH, NULL, 0));
    image = bytes_of(PATH);
    for (i = 0; i < sizeof places / sizeof places[0]; i++) {
        flip_bit_in(PATH, places[i]);
        expect_code(mem, before, GUESTMEM_E_CORRUPT);
        flip_bit_in(PATH, places[i]);
    }
    for (i = 0; i < 2; i++) {
        const size_t len = (size_t)(i == 0 ? CHUNK : PAGE);
        swap_bytes(image.at + DATA_START, image.at + DATA_START + len, len);
        write_file(PATH, image.at, image.len);
        expect_code(mem, before, GUESTMEM_E_CORRUPT);
        swap_bytes(image.at + DATA_START, image.at + DATA_START + len, len);
    }
    /* all data of another machine, under this one's metadata */
    patch_file(PATH, 0, foreign, size);
    expect_code(mem, before, GUESTMEM_E_CORRUPT);
    check_untouched(mem, before);
    write_file(PATH, image.at, image.len);
    check_loads(PATH, other);
    CHECK_OK(guestmem_restore_file(mem, PATH, NULL, 0));
    CHECK(same_memory(mem, other));
    free(before), free(foreign), free(image.at);
    guestmem_unref(mem), guestmem_unref(other), guestmem_unref(third);
}

/* Who reads an image takes its holes for zeros; who maps it would see what lies there. */
static void test_data_in_holes(void)
{
    static const uint64_t places[] = {0, DATA_START - 1, DATA_END, SECOND_DATA - 1,
                                      SECOND_DATA + PAGE};
    const uint64_t last = UINT64_C(0x410000) - 1;
    struct guestmem *mem = memory_with_data(1), *other = memory_with_data(3), *loaded;
    uint8_t *zeros_ = calloc(1, 0x8000);
    size_t i;
    REQUIRE(zeros_ != NULL);
    CHECK_OK(guestmem_save(other, PATH, NULL, 0));
    for (i = 0; i < sizeof places / sizeof places[0] + 1; i++) {
        const uint64_t at = i < sizeof places / sizeof places[0] ? places[i] : last;
        flip_bit_in(PATH, at);
        refuse_load(PATH, GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY, GUESTMEM_E_CORRUPT);
        loaded = load_with(PATH, 0);
        CHECK(same_memory(loaded, other));
        guestmem_unref(loaded);
        dirty_everything(mem);
        CHECK_OK(guestmem_restore_file(mem, PATH, NULL, 0));
        CHECK(same_memory(mem, other));
        flip_bit_in(PATH, at);
    }
    /* zeros that take space are no data */
    patch_file(PATH, DATA_END + 0x10000, zeros_, 0x8000);
    loaded = load_with(PATH, GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY);
    CHECK(same_memory(loaded, other));
    guestmem_unref(loaded);
    free(zeros_);
    guestmem_unref(mem), guestmem_unref(other);
}

static void test_without_checksums(void)
{
    const struct guestmem_snapshot_options none = {GUESTMEM_SNAPSHOT_NO_CHECKSUM, 0, 0, NULL, NULL};
    struct guestmem *mem = memory_with_data(1), *other = memory_with_data(3), *loaded;
    CHECK_OK(guestmem_save(other, PATH, &none, sizeof none));
    refuse_load(PATH, GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY, GUESTMEM_E_UNSUPPORTED);
    check_loads(PATH, other);
    flip_bit_in(PATH, DATA_START + 100);
    loaded = load_with(PATH, 0);
    CHECK(!same_memory(loaded, other));
    CHECK_OK(guestmem_restore_file(mem, PATH, NULL, 0));
    CHECK(same_memory(mem, loaded));
    guestmem_unref(loaded), guestmem_unref(mem), guestmem_unref(other);
}

static void test_image_of_another_machine(void)
{
    struct guestmem *mem = memory_with_data(1);
    struct image sparse = sparse_of(mem);
    size_t i;
    CHECK_OK(guestmem_save(mem, PATH, NULL, 0));
    for (i = 0; i < OTHER_REGIONS; i++) {
        struct guestmem *other = memory_of_other_regions(i);
        uint8_t *before = copy_of(other);
        CHECK_CODE(guestmem_restore_file(other, PATH, NULL, 0), GUESTMEM_E_MISMATCH);
        CHECK_CODE(sparse_restore(other, &sparse, 0), GUESTMEM_E_MISMATCH);
        check_untouched(other, before);
        free(before);
        guestmem_unref(other);
    }
    image_free(&sparse);
    guestmem_unref(mem);
}

static void test_read_only_region(void)
{
    struct world world;
    struct image sparse;
    size_t i;
    world_new(&world);
    sparse = sparse_of(world.mem);
    CHECK_OK(guestmem_save(world.mem, PATH, NULL, 0));
    for (i = 0; i < WORLD_AREAS; i++)
        if (!world.area[i].read_only)
            CHECK_OK(guestmem_dma_fill(world.mem, world.area[i].start, 0x66, world.area[i].size));
    CHECK_OK(guestmem_restore_file(world.mem, PATH, NULL, 0));
    CHECK(world_agrees(&world));
    CHECK_OK(guestmem_dma_fill(world.mem, world.area[0].start, 0x66, world.area[0].size));
    CHECK_OK(sparse_restore(world.mem, &sparse, 0));
    CHECK(world_agrees(&world) && !is_tainted(world.mem));
    image_free(&sparse);
    world_free(&world);
}

/* ---- tainted memory ---- */

/* Only a restore that succeeds clears it; one that is refused before it writes changes nothing. */
static void test_tainted_memory(void)
{
    struct guestmem *mem = memory_with_data(1), *other = memory_with_data(3);
    struct image packed = image_of(other, NULL), sparse = sparse_of(other);
    uint8_t *bytes = malloc((size_t)packed.size), *tainted;
    struct bytes image;
    int way;
    REQUIRE(bytes != NULL &&
            pread(packed.fd, bytes, (size_t)packed.size, 0) == (ssize_t)packed.size);
    CHECK_OK(guestmem_save(other, PATH, NULL, 0));
    image = bytes_of(PATH);
    for (way = 0; way < 3; way++) {
        CHECK_CODE(restore_bytes(mem, packed.metadata, bytes, (size_t)packed.size - 1),
                   GUESTMEM_E_SNAPSHOT_SHORT);
        REQUIRE(is_tainted(mem));
        tainted = copy_of(mem);
        flip_bit_in(PATH, DATA_START);
        CHECK_CODE(guestmem_restore_file(mem, PATH, NULL, 0), GUESTMEM_E_CORRUPT);
        flip_bit_in(PATH, DATA_START);
        flip_bit(sparse.fd, DATA_START);
        CHECK_CODE(sparse_restore(mem, &sparse, 0), GUESTMEM_E_CORRUPT);
        flip_bit(sparse.fd, DATA_START);
        CHECK(memory_is(mem, tainted) && is_tainted(mem));
        /* such memory is no image */
        CHECK_CODE(guestmem_save(mem, PATH, NULL, 0), GUESTMEM_E_TAINTED);
        CHECK_CODE(guestmem_save(mem, "new", NULL, 0), GUESTMEM_E_TAINTED);
        CHECK(file_is(PATH, &image) && entries_in(".") == 1);
        if (way == 0) CHECK_OK(guestmem_restore_file(mem, PATH, NULL, 0));
        if (way == 1) CHECK_OK(sparse_restore(mem, &sparse, 0));
        if (way == 2) CHECK_OK(image_restore(mem, &packed));
        CHECK(!is_tainted(mem) && same_memory(mem, other));
        free(tainted);
    }
    free(bytes), free(image.at);
    image_free(&packed), image_free(&sparse);
    guestmem_unref(mem), guestmem_unref(other);
}

int main(void)
{
    enter_folder(fast_parent(UINT64_C(1) << 26));
    test_sparse_length();
    test_sparse_damage();
    test_sparse_from_a_stream();
    test_image_length();
    test_image_damage();
    test_data_in_holes();
    test_without_checksums();
    test_image_of_another_machine();
    test_read_only_region();
    test_tainted_memory();
    CHECK_EQ(entries_in("."), 1);
    return check_result();
}
