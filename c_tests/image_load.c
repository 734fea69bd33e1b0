/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Loading an image, by reading it and by mapping it: what the memory holds, whatever it was saved
 * from, and what the checks find. What is refused is in image_load_errors.c, and what a mapped
 * memory is like in image_mapped.c.
 * runs: asan valgrind */
#include "support/process.h"
#include "support/images.h"

static const uint64_t ways[] = {0, GUESTMEM_LOAD_VERIFY, GUESTMEM_LOAD_MAP,
                                GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY};
enum { WAYS = 4 };

/* ---- what the memory holds ---- */

/* Whatever backed the memory, and wherever it lay: it comes back as plain RAM. */
static void test_every_region(void)
{
    struct world world;
    size_t way, i;
    world_new(&world);
    CHECK_OK(guestmem_save(world.mem, "image", NULL, 0));
    for (way = 0; way < WAYS; way++) {
        struct guestmem *mem = load_with("image", ways[way]);
        CHECK(same_memory(mem, world.mem));
        CHECK_EQ(guestmem_memory_size(mem), guestmem_memory_size(world.mem));
        CHECK_EQ(guestmem_end_addr(mem), guestmem_end_addr(world.mem));
        for (i = 0; i < WORLD_AREAS; i++) {
            const struct guestmem_region_info info = info_of(mem, i);
            CHECK(memcmp(info.host_addr, world.area[i].shadow, (size_t)info.size) == 0);
            CHECK(!(info.flags & GUESTMEM_REGION_READ_ONLY));
            CHECK(info.fd < 0 || (fcntl(info.fd, F_GETFD) & FD_CLOEXEC));
        }
        dirty_everything(mem);
        guestmem_unref(mem);
    }
    CHECK(world_agrees(&world));
    world_free(&world);
    REQUIRE(unlink("image") == 0);
}

static void test_memory_of_huge_pages(void)
{
    struct guestmem_region_options options;
    struct guestmem *mem = NULL;
    if (!reserve_huge_pages(2)) {
        SKIP_PART("no huge pages of 2 MiB can be reserved");
        return;
    }
    memset(&options, 0, sizeof options);
    options.size = 2 * HUGE_PAGE, options.flags = GUESTMEM_REGION_HUGETLB,
    options.hugetlb_log2 = 21;
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
    REQUIRE(mem != NULL);
    CHECK_OK(guestmem_write_u64(mem, HUGE_PAGE + 5 * PAGE, 77));
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    check_image("image", mem, true);
    check_loads("image", mem);
    CHECK_OK(guestmem_dma_fill(mem, 0, 0x12, options.size));
    CHECK_OK(guestmem_restore_file(mem, "image", NULL, 0));
    check_image("image", mem, true);
    guestmem_unref(mem);
    REQUIRE(unlink("image") == 0);
}

static void test_no_regions(void)
{
    struct guestmem *mem = check_new(NULL, 0);
    size_t way;
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    for (way = 0; way < WAYS; way++) {
        struct guestmem *loaded = load_with("image", ways[way]);
        CHECK_EQ(guestmem_num_regions(loaded), 0);
        guestmem_unref(loaded);
    }
    guestmem_unref(mem);
    REQUIRE(unlink("image") == 0);
}

/* The file by another name, and one that nobody may ever write again. */
static void test_other_names(void)
{
    struct guestmem *mem = saved_memory(1);
    struct bytes image = bytes_of("image");
    char path[64];
    int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    REQUIRE(symlink("image", "link") == 0 && symlink("link", "link2") == 0);
    check_loads("link", mem);
    check_loads("link2", mem);
    REQUIRE(fd >= 0 && write(fd, image.at, image.len) == (ssize_t)image.len);
    REQUIRE(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    (void)snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
    check_loads(path, mem);
    REQUIRE(close(fd) == 0 && chmod("image", 0400) == 0);
    check_loads("image", mem);
    REQUIRE(unlink("link") == 0 && unlink("link2") == 0 && unlink("image") == 0);
    free(image.at);
    guestmem_unref(mem);
}

/* ---- what stays ---- */

static void test_nothing_is_left_behind(void)
{
    struct guestmem *mem = saved_memory(10);
    uint64_t fds, mappings;
    unsigned round;
    flip_bit_in("image", PAGE);
    CHECK_OK(guestmem_save(mem, "good", NULL, 0));
    fds = count_fds(), mappings = count_mappings();
    for (round = 0; round < (fast() ? 3u : 30u); round++) {
        size_t way;
        for (way = 0; way < WAYS; way++) guestmem_unref(load_with("good", ways[way]));
        refuse_load("image", 0, GUESTMEM_E_CORRUPT);
        refuse_load("image", GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY, GUESTMEM_E_CORRUPT);
        refuse_load("missing", 0, GUESTMEM_E_OS);
        CHECK_EQ(count_fds(), fds);
        if (round == 0) mappings = count_mappings();
    }
    CHECK(fast() || count_mappings() <= mappings + 2);
    CHECK_EQ(count_threads(), 1);
    REQUIRE(unlink("image") == 0 && unlink("good") == 0);
    guestmem_unref(mem);
}

/* ---- what the checks find ---- */

/* Loads what it can, with memory as it should be but for what the damage shows through a mapping
 * that was not verified. */
static void damaged(const struct guestmem *mem, int eager, int verified)
{
    const uint64_t flags[] = {0, GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY};
    const int expected[] = {eager, verified};
    struct guestmem *loaded;
    size_t i;
    for (i = 0; i < 2; i++) {
        if (expected[i] != GUESTMEM_OK) {
            refuse_load("image", flags[i], expected[i]);
            continue;
        }
        loaded = load_with("image", flags[i]);
        CHECK(same_memory(loaded, mem));
        guestmem_unref(loaded);
    }
    loaded = load_with("image", GUESTMEM_LOAD_MAP); /* who does not ask is not told */
    guestmem_unref(loaded);
}

static void test_verifying(void)
{
    static const uint64_t in_data[] = {PAGE, 0x100fff, 0x101000, 0x280fff, 0x403000, 0x403fff};
    static const uint64_t in_holes[] = {0, PAGE - 1, 0x281000, 0x3fffff, 0x400000, 0x40ffff};
    struct guestmem *mem = saved_memory(11), *target = memory_with_data(12);
    struct guestmem *empty = check_new(data_ranges, 2);
    struct bytes image = bytes_of("image");
    uint8_t *before = copy_of(target);
    size_t i;
    damaged(mem, GUESTMEM_OK, GUESTMEM_OK);
    for (i = 0; i < 6; i++) {
        flip_bit_in("image", in_data[i]);
        damaged(mem, GUESTMEM_E_CORRUPT, GUESTMEM_E_CORRUPT);
        CHECK_CODE(guestmem_restore_file(target, "image", NULL, 0), GUESTMEM_E_CORRUPT);
        check_untouched(target, before);
        /* nor does what was empty keep the good part of it */
        CHECK_CODE(guestmem_restore_file(empty, "image", NULL, 0), GUESTMEM_E_CORRUPT);
        CHECK(!is_tainted(empty));
        CHECK_EQ(allocated_bytes(info_of(empty, 0).fd), 0);
        flip_bit_in("image", in_data[i]);
    }
    for (i = 0; i < 6; i++) {
        /* reading does not look there, and mapping would show it */
        flip_bit_in("image", in_holes[i]);
        damaged(mem, GUESTMEM_OK, GUESTMEM_E_CORRUPT);
        flip_bit_in("image", in_holes[i]);
    }
    CHECK_OK(guestmem_restore_file(target, "image", NULL, 0));
    CHECK(same_memory(target, mem));
    CHECK_OK(guestmem_restore_file(empty, "image", NULL, 0));
    CHECK(same_memory(empty, mem));
    /* zeros that are written out are as good as holes: a copy made without care */
    write_file("image", image.at, image.len);
    damaged(mem, GUESTMEM_OK, GUESTMEM_OK);
    check_loads("image", mem);
    free(before), free(image.at);
    guestmem_unref(mem), guestmem_unref(target), guestmem_unref(empty);
    REQUIRE(unlink("image") == 0);
}

static void test_without_checksums(void)
{
    const struct guestmem_snapshot_options none = {GUESTMEM_SNAPSHOT_NO_CHECKSUM, 0, 0, NULL, NULL};
    struct guestmem *mem = memory_with_data(13), *loaded;
    uint8_t *wanted = copy_of(mem);
    CHECK_OK(guestmem_save(mem, "image", &none, sizeof none));
    check_loads("image", mem);
    refuse_load("image", GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY, GUESTMEM_E_UNSUPPORTED);
    refuse_load("image", GUESTMEM_LOAD_VERIFY, GUESTMEM_E_UNSUPPORTED);
    flip_bit_in("image", 2 * PAGE);
    wanted[2 * PAGE] ^= 1;
    loaded = load_with("image", 0);
    CHECK(memory_is(loaded, wanted));
    guestmem_unref(loaded);
    free(wanted);
    guestmem_unref(mem);
    REQUIRE(unlink("image") == 0);
}

int main(void)
{
    static const char *const parents[] = {"/dev/shm", "/tmp"};
    size_t i;
    for (i = 0; i < 2; i++) {
        enter_folder(parents[i]);
        test_every_region();
        test_memory_of_huge_pages();
        test_no_regions();
        test_other_names();
        test_verifying();
        test_without_checksums();
        test_nothing_is_left_behind();
        CHECK_EQ(entries_in("."), 0);
        leave_folder();
    }
    return check_result();
}
