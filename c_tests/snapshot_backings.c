/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Snapshot and restore of memory of every backing: what is found to be data, what is freed, and
 * that files behind private mappings stay as they are.
 * runs: asan valgrind musl */
#include "support/process.h"
#include "support/snapshots.h"

static void fill_private_file(int fd)
{
    uint8_t content[4 * 4096];
    fill_random(content, sizeof content, 12);
    REQUIRE(pwrite(fd, content, sizeof content, 0) == (ssize_t)sizeof content);
}

static void test_every_backing(void)
{
    const struct guestmem_snapshot_options no_zeros = {GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES, 0, 0,
                                                       NULL, NULL};
    struct guestmem_region_options options[5];
    struct guestmem *mem = NULL;
    struct image image;
    uint8_t *before, content[4 * 4096], now[4 * 4096];
    void *caller = new_host_memory(4 * PAGE);
    int file = new_disk_file(4 * PAGE), private_file = new_disk_file(4 * PAGE);
    size_t i;
    memset(options, 0, sizeof options);
    for (i = 0; i < 5; i++) options[i].guest_addr = i * 4 * PAGE, options[i].size = 4 * PAGE;
    options[1].flags = GUESTMEM_REGION_PRIVATE;
    options[2].flags = GUESTMEM_REGION_HOST, options[2].host_addr = caller;
    options[3].flags = GUESTMEM_REGION_FD, options[3].fd = file;
    options[4].flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE, options[4].fd = private_file;
    fill_private_file(private_file);
    CHECK_OK(guestmem_new_with_options(options, 5, sizeof options[0], &mem));
    REQUIRE(mem != NULL);
    /* one page of data in each; the private file shows its own in the three others */
    for (i = 0; i < 5; i++)
        CHECK_OK(guestmem_dma_fill(mem, options[i].guest_addr + PAGE, (uint8_t)(i + 1), PAGE));
    image = image_of(mem, NULL);
    CHECK_EQ(pages_present(info_of(mem, 1).host_addr, 4), 1);
    CHECK_EQ(pages_present(caller, 4), 1);
    CHECK_EQ(allocated_bytes(info_of(mem, 0).fd), PAGE);
    (void)check_metadata(mem, image.metadata, NULL, true);
    before = copy_of(mem);
    dirty_everything(mem);
    CHECK_OK(image_restore(mem, &image));
    /* freed where the kernel shows it: nothing was read since */
    CHECK_EQ(pages_present(info_of(mem, 1).host_addr, 4), 1);
    CHECK_EQ(pages_present(caller, 4), 1);
    CHECK_EQ(allocated_bytes(info_of(mem, 0).fd), PAGE);
    REQUIRE(fsync(file) == 0);
    CHECK_EQ(allocated_bytes(file), PAGE);
    CHECK(memory_is(mem, before));
    REQUIRE(pread(private_file, now, sizeof now, 0) == (ssize_t)sizeof now);
    fill_random(content, sizeof content, 12);
    CHECK(memcmp(now, content, sizeof now) == 0);

    /* a snapshot of zeros reaches the private file's region too */
    image_free(&image);
    for (i = 0; i < 5; i++)
        CHECK_OK(guestmem_remove_range(mem, options[i].guest_addr, options[i].size));
    image = image_of(mem, &no_zeros);
    CHECK_EQ(image.size, 0);
    dirty_everything(mem);
    CHECK_OK(image_restore(mem, &image));
    memset(before, 0, 20 * 4096);
    CHECK(memory_is(mem, before));
    image_free(&image);
    free(before);
    guestmem_unref(mem);
    REQUIRE(close(file) == 0 && close(private_file) == 0 &&
            munmap(caller, (size_t)(4 * PAGE)) == 0);
}

/* Data is found in pages of 4 KiB, and put back in them, whatever the size of the host's. */
static void check_huge_pages(struct guestmem *mem, uint64_t flags, uint64_t data_size,
                             uint64_t untouched)
{
    const struct guestmem_snapshot_options options = {flags, 0, 0, NULL, NULL};
    struct image image;
    uint8_t *before;
    CHECK_OK(guestmem_remove_range(mem, 0, 3 * HUGE_PAGE));
    CHECK_OK(guestmem_write_u64(mem, HUGE_PAGE + 5 * PAGE, 1));
    image = image_of(mem, &options);
    CHECK_EQ(image.size, data_size);
    (void)check_metadata(mem, image.metadata, NULL, true);
    before = copy_of(mem);
    dirty_everything(mem);
    CHECK_EQ(free_huge_pages(), untouched - 3);
    CHECK_OK(image_restore(mem, &image));
    CHECK_EQ(free_huge_pages(), untouched - 1);
    CHECK(memory_is(mem, before));
    free(before);
    image_free(&image);
}

static void test_huge_pages(void)
{
    struct guestmem_region_options options;
    struct guestmem *mem = NULL;
    uint64_t untouched;
    if (!reserve_huge_pages(3)) {
        SKIP_PART("no huge pages of 2 MiB can be reserved");
        return;
    }
    untouched = free_huge_pages();
    memset(&options, 0, sizeof options);
    options.size = 3 * HUGE_PAGE, options.flags = GUESTMEM_REGION_HUGETLB,
    options.hugetlb_log2 = 21;
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
    REQUIRE(mem != NULL);
    check_huge_pages(mem, 0, HUGE_PAGE, untouched);
    check_huge_pages(mem, GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES, PAGE, untouched);
    guestmem_unref(mem);
}

/* A fresh private mapping of a file shows the file. A snapshot holds that, and its zeros replace
 * it. */
static void test_zeros_over_a_private_file(void)
{
    const struct guestmem_range range = {0, 4 * 4096};
    struct guestmem_region_options options;
    struct guestmem *zeros_of = check_new(&range, 1), *mem = NULL;
    struct image nothing = image_of(zeros_of, NULL), image;
    uint8_t *bytes;
    memset(&options, 0, sizeof options);
    options.size = range.size, options.flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE,
    options.fd = new_memfd(range.size);
    fill_private_file(options.fd);
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
    image = image_of(mem, NULL);
    CHECK_EQ(image.size, range.size);
    CHECK_OK(image_restore(mem, &nothing));
    bytes = copy_of(mem);
    CHECK(zeros(bytes, range.size));
    free(bytes);
    CHECK_OK(image_restore(mem, &image));
    CHECK_EQ(check_metadata(mem, image.metadata, NULL, true), 1);
    image_free(&nothing), image_free(&image);
    guestmem_unref(zeros_of), guestmem_unref(mem);
    REQUIRE(close(options.fd) == 0);
}

/* Regions at the ends of the address space, and read-only ones, are only data to a snapshot. */
static void test_snapshot_of_everything(void)
{
    struct world world;
    struct image image;
    world_new(&world);
    image = image_of(world.mem, NULL);
    CHECK(check_metadata(world.mem, image.metadata, NULL, true) == WORLD_AREAS);
    CHECK(world_agrees(&world));
    image_free(&image);
    world_free(&world);
}

static void test_empty_memory(void)
{
    struct guestmem *mem = check_new(NULL, 0);
    struct image image = image_of(mem, NULL);
    CHECK_EQ(image.size, 0);
    CHECK_EQ(check_metadata(mem, image.metadata, NULL, true), 0);
    CHECK_OK(image_restore(mem, &image));
    image_free(&image);
    guestmem_unref(mem);
}

int main(void)
{
    test_every_backing();
    test_huge_pages();
    test_zeros_over_a_private_file();
    test_snapshot_of_everything();
    test_empty_memory();
    return check_result();
}
