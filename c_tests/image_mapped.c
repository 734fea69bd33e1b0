/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory that is mapped from an image: what is written to it nobody else sees, what is only read is
 * shared, nothing is read before it is used, and otherwise it is a memory as any other.
 * runs: asan valgrind */
#include "support/images.h"

/* What smaps says of all mappings between the two, in bytes. */
static uint64_t smaps_sum(const void *host, uint64_t size, const char *key)
{
    char line[512];
    uintptr_t start, end;
    const uintptr_t from = (uintptr_t)host, to = from + (uintptr_t)size;
    bool inside = false;
    uint64_t sum = 0, kib;
    FILE *file = fopen("/proc/self/smaps", "re");
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
            inside = start < to && end > from;
        else if (inside && strncmp(line, key, strlen(key)) == 0 &&
                 sscanf(line + strlen(key), ": %" SCNu64, &kib) == 1)
            sum += kib * 1024;
    }
    REQUIRE(fclose(file) == 0);
    return sum;
}

static uint64_t sum_of_regions(const struct guestmem *mem, const char *key)
{
    uint64_t sum = 0;
    size_t i;
    for (i = 0; i < guestmem_num_regions(mem); i++)
        sum += smaps_sum(info_of(mem, i).host_addr, info_of(mem, i).size, key);
    return sum;
}

/* ---- a mapped image is nobody's to change ---- */

static void test_writes_are_private(void)
{
    struct guestmem *mem = saved_memory(2), *a, *b;
    struct bytes image = bytes_of("image");
    uint8_t *wanted = copy_of(mem);
    int pipe_ends[2];
    a = load_with("image", GUESTMEM_LOAD_MAP);
    b = load_with("image", GUESTMEM_LOAD_MAP);
    CHECK_OK(guestmem_write_u64(a, data_ranges[0].guest_addr + 2 * PAGE, 3)); /* onto data */
    CHECK_OK(guestmem_write_u64(a, data_ranges[0].guest_addr, 3));            /* into a hole */
    *((uint8_t *)info_of(a, 1).host_addr + 3 * PAGE) ^= 0xff;                 /* as a guest does */
    REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0 && write(pipe_ends[1], "12345678", 8) == 8);
    CHECK_OK(guestmem_read_to_memory(a, data_ranges[1].guest_addr + 3 * PAGE, pipe_ends[0], 8));
    REQUIRE(close(pipe_ends[0]) == 0 && close(pipe_ends[1]) == 0);
    CHECK(!memory_is(a, wanted));
    CHECK(memory_is(b, wanted));
    dirty_everything(a);
    CHECK(memory_is(b, wanted));
    CHECK(file_is("image", &image));
    guestmem_unref(a);
    a = load_with("image", GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY);
    CHECK(memory_is(a, wanted));
    CHECK(memory_is(b, wanted));
    guestmem_unref(a), guestmem_unref(b), guestmem_unref(mem);
    free(wanted), free(image.at);
    REQUIRE(unlink("image") == 0);
}

/* Many from one image: pages that are only read are the image's own, there once. */
static void test_pages_are_shared(void)
{
    enum { MANY = 12 };
    struct guestmem *mem = saved_memory(3), *many[MANY];
    uint8_t *wanted = copy_of(mem);
    size_t i;
    for (i = 0; i < MANY; i++) many[i] = load_with("image", GUESTMEM_LOAD_MAP);
    for (i = 0; i < MANY; i++) CHECK(memory_is(many[i], wanted));
    for (i = 0; i < MANY; i++) {
        const struct guestmem_region_info info = info_of(many[i], 0);
        CHECK_EQ(sum_of_regions(many[i], "Anonymous"), 0);
        /* the data, which begins at the second page */
        CHECK(smaps_sum((uint8_t *)info.host_addr + PAGE, 0x280000, "Rss") >= 0x280000);
        CHECK_EQ(smaps_sum((uint8_t *)info.host_addr + PAGE, 0x280000, "Private_Clean"), 0);
        CHECK_EQ(smaps_sum((uint8_t *)info.host_addr + PAGE, 0x280000, "Private_Dirty"), 0);
    }
    /* and a page that is written is there once more, for the one that wrote it */
    CHECK_OK(guestmem_write_u64(many[5], data_ranges[0].guest_addr + 2 * PAGE, 3));
    for (i = 0; i < MANY; i++)
        CHECK_EQ(sum_of_regions(many[i], "Anonymous"), i == 5 ? PAGE : 0);
    for (i = 0; i < MANY; i++) guestmem_unref(many[i]);
    free(wanted);
    guestmem_unref(mem);
    REQUIRE(unlink("image") == 0);
}

/* The name may go, or be given to another image, also before the first page was touched. */
static void test_the_name_goes(void)
{
    struct guestmem *mem = saved_memory(4), *other = memory_with_data(5), *mapped[3];
    uint8_t *wanted = copy_of(mem);
    size_t i;
    for (i = 0; i < 3; i++) mapped[i] = load_with("image", GUESTMEM_LOAD_MAP);
    CHECK_OK(guestmem_save(other, "image", NULL, 0));
    CHECK(memory_is(mapped[0], wanted));
    CHECK_OK(guestmem_save(other, "another", NULL, 0));
    REQUIRE(rename("another", "image") == 0);
    CHECK(memory_is(mapped[1], wanted));
    REQUIRE(unlink("image") == 0);
    CHECK(memory_is(mapped[2], wanted));
    for (i = 0; i < 3; i++) guestmem_unref(mapped[i]);
    free(wanted);
    guestmem_unref(mem), guestmem_unref(other);
}

/* ---- a mapped memory is a memory ---- */

/* Changes of every kind: data, holes, and data taken away. */
static void change(struct guestmem *mem)
{
    const uint64_t base = data_ranges[0].guest_addr, other = data_ranges[1].guest_addr;
    CHECK_OK(guestmem_dma_fill(mem, base + 0x10800, 0x55, 0x1000));
    CHECK_OK(guestmem_dma_fill(mem, base + 0x300000, 0x66, 0x3000));
    CHECK_OK(guestmem_write_u8(mem, other + 0xffff, 1));
    CHECK_OK(guestmem_remove_range(mem, base + 0x20000, 0x20000));
    CHECK_OK(guestmem_remove_range(mem, other + 3 * PAGE, PAGE));
}

static void test_remove_range(void)
{
    struct guestmem *mem = saved_memory(6), *mapped = load_with("image", GUESTMEM_LOAD_MAP);
    struct bytes image = bytes_of("image");
    uint8_t *wanted = copy_of(mem);
    char *metadata = NULL;
    CHECK_OK(guestmem_write_u64(mapped, data_ranges[0].guest_addr + 0x20000, 7));
    CHECK_OK(guestmem_remove_range(mapped, data_ranges[0].guest_addr + 0x20000, 0x20000));
    memset(wanted + 0x20000, 0, 0x20000);
    CHECK(memory_is(mapped, wanted));
    CHECK_OK(guestmem_write_u8(mapped, data_ranges[0].guest_addr + 0x20123, 8));
    wanted[0x20123] = 8;
    CHECK(memory_is(mapped, wanted));
    CHECK_OK(guestmem_remove_range(mapped, data_ranges[0].guest_addr, data_ranges[0].size));
    memset(wanted, 0, (size_t)data_ranges[0].size);
    CHECK(memory_is(mapped, wanted));
    /* what was taken away is in no later image, although the file below still has it */
    CHECK_OK(guestmem_save(mapped, "again", NULL, 0));
    CHECK_OK(guestmem_image_metadata("again", &metadata));
    CHECK_EQ(json_count(metadata, "regions[0].data_ranges"), 0);
    CHECK(json_count(metadata, "regions[1].data_ranges") > 0);
    guestmem_free(metadata);
    REQUIRE(unlink("again") == 0);
    CHECK(file_is("image", &image));
    guestmem_unref(mapped), guestmem_unref(mem);
    free(wanted), free(image.at);
    REQUIRE(unlink("image") == 0);
}

static void test_snapshots_of_it(void)
{
    struct guestmem *mem = saved_memory(7), *mapped = load_with("image", GUESTMEM_LOAD_MAP);
    struct guestmem_snapshot_options options = {0, GUESTMEM_LAYOUT_PACKED, 0, NULL, NULL};
    struct bytes image = bytes_of("image");
    struct image packed, sparse;
    uint64_t anonymous;
    change(mem);
    change(mapped);
    anonymous = sum_of_regions(mapped, "Anonymous");
    packed = image_of(mapped, &options);
    options.layout = GUESTMEM_LAYOUT_SPARSE;
    sparse = image_of(mapped, &options);
    CHECK_OK(guestmem_save(mapped, "next", NULL, 0));
    CHECK_EQ(sum_of_regions(mapped, "Anonymous"), anonymous); /* they allocate nothing */
    CHECK(same_memory(mapped, mem));
    (void)check_metadata(mapped, packed.metadata, NULL, true);
    (void)check_layout(mapped, sparse.metadata, true, NULL, true);
    check_image("next", mem, true);
    check_loads("next", mem);
    CHECK(file_is("image", &image));

    dirty_everything(mem);
    CHECK_OK(image_restore(mem, &packed));
    CHECK(same_memory(mapped, mem));
    dirty_everything(mem);
    CHECK_OK(image_restore(mem, &sparse));
    CHECK(same_memory(mapped, mem));
    image_free(&packed), image_free(&sparse);
    guestmem_unref(mapped), guestmem_unref(mem);
    free(image.at);
    REQUIRE(unlink("image") == 0 && unlink("next") == 0);
}

static void test_restore_into_it(void)
{
    struct guestmem *mem = saved_memory(8), *other = memory_with_data(9), *mapped;
    struct bytes image = bytes_of("image");
    struct image packed;
    change(other);
    packed = image_of(other, NULL);
    CHECK_OK(guestmem_save(other, "other", NULL, 0));
    mapped = load_with("image", GUESTMEM_LOAD_MAP);
    CHECK_OK(image_restore(mapped, &packed));
    CHECK(same_memory(mapped, other));
    CHECK_OK(guestmem_restore_file(mapped, "image", NULL, 0)); /* the file that it is mapped from */
    CHECK(same_memory(mapped, mem));
    CHECK_OK(guestmem_restore_file(mapped, "other", NULL, 0));
    CHECK(same_memory(mapped, other));
    CHECK(file_is("image", &image));
    /* a stream that breaks off taints it as any other */
    {
        uint8_t *bytes = malloc((size_t)packed.size);
        REQUIRE(bytes != NULL &&
                pread(packed.fd, bytes, (size_t)packed.size, 0) == (ssize_t)packed.size);
        CHECK_CODE(restore_bytes(mapped, packed.metadata, bytes, (size_t)packed.size - 1),
                   GUESTMEM_E_SNAPSHOT_SHORT);
        free(bytes);
    }
    CHECK(is_tainted(mapped));
    CHECK_OK(guestmem_restore_file(mapped, "image", NULL, 0));
    CHECK(!is_tainted(mapped) && same_memory(mapped, mem));
    image_free(&packed);
    guestmem_unref(mapped), guestmem_unref(mem), guestmem_unref(other);
    free(image.at);
    REQUIRE(unlink("image") == 0 && unlink("other") == 0);
}

/* ---- what it costs ---- */

/* Bytes that this process has asked files for. */
static bool bytes_read(uint64_t *out)
{
    FILE *file = fopen("/proc/self/io", "re");
    bool found;
    if (file == NULL) return false;
    found = fscanf(file, "rchar: %" SCNu64, out) == 1;
    REQUIRE(fclose(file) == 0);
    return found;
}

/* 1 GiB, of which 4 MiB hold data: not a byte of it is read before it is used. */
static void test_mapping_reads_nothing(void)
{
    const struct guestmem_range range = {0, UINT64_C(1) << 30};
    struct guestmem *mem = check_new(&range, 1), *mapped;
    uint64_t before = 0, after = 0, value = 0;
    bool counted;
    CHECK_OK(guestmem_dma_fill(mem, 0x10000000, 0x33, UINT64_C(4) << 20));
    CHECK_OK(guestmem_write_u64(mem, range.size - 8, 34));
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    guestmem_unref(mem);
    counted = bytes_read(&before);
    mapped = load_with("image", GUESTMEM_LOAD_MAP);
    if (counted && bytes_read(&after))
        CHECK(after - before < 0x10000);
    else
        SKIP_PART("nobody counts what is read here");
    CHECK_EQ(sum_of_regions(mapped, "Rss"), 0);
    CHECK_OK(guestmem_read_u64(mapped, 0x10200000, &value));
    CHECK_EQ(value, UINT64_C(0x3333333333333333));
    CHECK_OK(guestmem_read_u64(mapped, range.size - 8, &value));
    CHECK_EQ(value, 34);
    CHECK_OK(guestmem_read_u64(mapped, 0x30000000, &value));
    CHECK_EQ(value, 0);
    CHECK_OK(guestmem_write_u64(mapped, 0x20000000, 35));
    guestmem_unref(mapped);
    REQUIRE(unlink("image") == 0);
}

int main(void)
{
    static const char *const parents[] = {"/dev/shm", "/tmp"};
    size_t i;
    for (i = 0; i < 2; i++) {
        enter_folder(parents[i]);
        test_writes_are_private();
        test_pages_are_shared();
        test_the_name_goes();
        test_remove_range();
        test_snapshots_of_it();
        test_restore_into_it();
        test_mapping_reads_nothing();
        CHECK_EQ(entries_in("."), 0);
        leave_folder();
    }
    return check_result();
}
