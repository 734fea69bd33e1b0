/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A guest that gives back pages here and there of a memory that is mapped copy-on-write: it gets
 * zeros, and its host keeps most of the mappings that the process may have.
 * runs: natively only */
#include "support/process.h"
#include "support/images.h"

#include <pthread.h>

static uint64_t most_mappings;

static void *nothing(void *unused)
{
    return unused;
}

static void check_room(void)
{
    pthread_t threads[8];
    CHECK(count_mappings() < most_mappings / 4 * 3);
    for (size_t i = 0; i < 8; i++) {
        const int failed = pthread_create(&threads[i], NULL, nothing, NULL);
        CHECK_EQ(failed, 0);
        if (failed) return;
    }
    for (size_t i = 0; i < 8; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
}

/* Bytes of private pages in the first region. */
static uint64_t private_bytes(const struct guestmem *mem)
{
    const struct guestmem_region_info info = info_of(mem, 0);
    const uintptr_t from = (uintptr_t)info.host_addr, to = from + (uintptr_t)info.size;
    char line[512];
    uintptr_t start, end;
    uint64_t sum = 0, kib;
    bool inside = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
            inside = start >= from && end <= to;
        else if (inside && sscanf(line, "Anonymous: %" SCNu64, &kib) == 1)
            sum += kib * 1024;
    }
    REQUIRE(fclose(file) == 0);
    return sum;
}

/* ---- memories in which every page holds its number ---- */

static uint64_t pages;

static struct guestmem *numbered(void)
{
    const struct guestmem_range range = {0, pages * PAGE};
    struct guestmem *mem = check_new(&range, 1);
    for (uint64_t i = 0; i < pages; i++) CHECK_OK(guestmem_write_u64(mem, i * PAGE, i + 1));
    return mem;
}

static void remove_pages(struct guestmem *mem, uint64_t first, uint64_t step)
{
    uint64_t failed = 0;
    for (uint64_t i = first; i < pages; i += step)
        failed += guestmem_remove_range(mem, i * PAGE, PAGE) != GUESTMEM_OK;
    CHECK_EQ(failed, 0);
}

/* Pages `first`, `first + step`, ... are zeros, the others as they were. */
static void check_pages(const struct guestmem *mem, uint64_t first, uint64_t step)
{
    const uint8_t *host = info_of(mem, 0).host_addr;
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < pages; i++) {
        const bool removed = i % step == first;
        const uint64_t *page = (const uint64_t *)(const void *)(host + i * PAGE);
        wrong += page[0] != (removed ? 0 : i + 1) || page[511] != 0;
    }
    CHECK_EQ(wrong, 0);
}

static void remove_all(struct guestmem *mem)
{
    const uint64_t before = count_mappings();
    CHECK_OK(guestmem_remove_range(mem, 0, pages * PAGE));
    CHECK(zeros(info_of(mem, 0).host_addr, pages * PAGE));
    CHECK(count_mappings() <= before);
    CHECK_OK(guestmem_write_u64(mem, 5 * PAGE, 6));
}

/* ---- one ---- */

static void test_every_second_page(uint64_t policy)
{
    struct guestmem *mem = load_with("image", GUESTMEM_LOAD_MAP), *again;
    const uint64_t mappings = count_mappings();
    uint64_t taken;
    if (policy != 0 && guestmem_set_memory_policy(mem, policy) != GUESTMEM_OK) {
        SKIP_PART("so much cannot be locked here");
        guestmem_unref(mem);
        return;
    }
    remove_pages(mem, 0, 2);
    check_room();
    check_pages(mem, 0, 2);
    CHECK_OK(guestmem_save(mem, "next", NULL, 0));
    again = load_with("next", 0);
    check_pages(again, 0, 2);
    guestmem_unref(again);
    /* what was given back before can be given back again, to the last page */
    taken = private_bytes(mem);
    for (uint64_t i = 0; i < 256; i += 2) {
        CHECK_OK(guestmem_write_u64(mem, i * PAGE, 3));
        CHECK_OK(guestmem_remove_range(mem, i * PAGE, PAGE));
    }
    CHECK_EQ(private_bytes(mem), taken);
    check_pages(mem, 0, 2);
    CHECK_OK(guestmem_restore_file(mem, "image", NULL, 0));
    check_pages(mem, pages, pages + 1);
    remove_pages(mem, 0, 2);
    remove_all(mem);
    CHECK(count_mappings() <= mappings + 8);
    CHECK_EQ(private_bytes(mem), PAGE);
    guestmem_unref(mem);
    REQUIRE(unlink("next") == 0);
}

/* Pieces that meet: the kernel joins some of them, and others not, once they are written to. */
static void test_pieces_that_meet(void)
{
    struct guestmem *mem = load_with("image", GUESTMEM_LOAD_MAP);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = (uint64_t)round; i < pages; i += 4) {
            CHECK_OK(guestmem_remove_range(mem, i * PAGE, PAGE));
            CHECK_OK(guestmem_write_u64(mem, i * PAGE, i + 1));
        }
        check_room();
        check_pages(mem, pages, pages + 1);
    }
    remove_pages(mem, 3, 4);
    check_room();
    check_pages(mem, 3, 4);
    remove_all(mem);
    guestmem_unref(mem);
}

/* In order, as a balloon gives pages back: one piece, whatever their number. */
static void test_page_after_page(void)
{
    struct guestmem *mem = load_with("image", GUESTMEM_LOAD_MAP);
    const uint64_t before = count_mappings();
    remove_pages(mem, 0, 1);
    CHECK(count_mappings() <= before + 4);
    CHECK_EQ(private_bytes(mem), 0);
    guestmem_unref(mem);
}

/* A large part is given back as it should be, whatever small pieces there are. */
static void test_large_parts_cost_nothing(void)
{
    struct guestmem *mem = load_with("image", GUESTMEM_LOAD_MAP);
    const uint64_t half = pages / 2 * PAGE;
    uint64_t before;
    for (uint64_t i = 0; i < pages / 2; i += 2)
        CHECK_OK(guestmem_remove_range(mem, i * PAGE, PAGE));
    before = private_bytes(mem);
    CHECK(before > 0); /* so much that some had to cost memory */
    CHECK_OK(guestmem_remove_range(mem, half + 0x100000, 0x400000));
    CHECK_EQ(private_bytes(mem), before);
    CHECK(zeros((uint8_t *)info_of(mem, 0).host_addr + half + 0x100000, 0x400000));
    guestmem_unref(mem);
}

/* ---- a caller's file, mapped private ---- */

static void test_private_file(void)
{
    struct guestmem_region_options options;
    struct guestmem *mem = NULL;
    const int fd = new_memfd(pages * PAGE);
    for (uint64_t i = 0; i < pages; i++) {
        const uint64_t number = i + 1;
        REQUIRE(pwrite(fd, &number, sizeof number, (off_t)(i * PAGE)) == sizeof number);
    }
    memset(&options, 0, sizeof options);
    options.size = pages * PAGE, options.fd = fd;
    options.flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE;
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
    remove_pages(mem, 0, 2);
    check_room();
    check_pages(mem, 0, 2);
    remove_all(mem);
    guestmem_unref(mem);
    REQUIRE(close(fd) == 0);
}

/* ---- many at once ---- */

enum { CLONES = 10 };

static void *give_back(void *mem)
{
    remove_pages(mem, 1, 2);
    return NULL;
}

static void test_many_at_once(void)
{
    struct guestmem *clones[CLONES];
    pthread_t threads[CLONES];
    const uint64_t before = count_mappings();
    for (size_t i = 0; i < CLONES; i++) clones[i] = load_with("image", GUESTMEM_LOAD_MAP);
    for (size_t i = 0; i < CLONES; i++)
        REQUIRE(pthread_create(&threads[i], NULL, give_back, clones[i]) == 0);
    for (size_t i = 0; i < CLONES; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
    check_room();
    for (size_t i = 0; i < CLONES; i++) check_pages(clones[i], 1, 2);
    for (size_t i = 0; i < CLONES; i++) remove_all(clones[i]);
    CHECK(count_mappings() < before + 200);
    for (size_t i = 0; i < CLONES; i++) guestmem_unref(clones[i]);
}

/* Several threads of one machine. */
static void test_threads_of_one(void)
{
    struct guestmem *mem = load_with("image", GUESTMEM_LOAD_MAP);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        REQUIRE(pthread_create(&threads[i], NULL, give_back, mem) == 0);
    for (size_t i = 0; i < 4; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
    check_room();
    check_pages(mem, 1, 2);
    guestmem_unref(mem);
}

/* ---- where the program itself has most of the mappings ---- */

static int beside_many(void *argument)
{
    const uint64_t own = *(const uint64_t *)argument;
    uint8_t *many = mmap(NULL, own * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct guestmem *mem;
    uint64_t left;
    check_failures = 0;
    REQUIRE(many != MAP_FAILED);
    for (uint64_t i = 0; i < own; i += 2)
        REQUIRE(mprotect(many + i * PAGE, PAGE, PROT_READ) == 0);
    left = most_mappings - count_mappings();
    mem = load_with("image", GUESTMEM_LOAD_MAP);
    remove_pages(mem, 0, 2);
    CHECK(most_mappings - count_mappings() > left / 4);
    {
        pthread_t thread;
        const int failed = pthread_create(&thread, NULL, nothing, NULL);
        CHECK_EQ(failed, 0);
        if (failed == 0) REQUIRE(pthread_join(thread, NULL) == 0);
    }
    check_pages(mem, 0, 2);
    remove_all(mem);
    guestmem_unref(mem);
    return check_result();
}

/* A child has its parent's pieces, and may make as many as that. */
static int in_a_child(void *argument)
{
    struct guestmem *mem = argument;
    check_failures = 0;
    remove_pages(mem, 1, 4);
    remove_pages(mem, 2, 4);
    check_room();
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t value = 0;
        CHECK_OK(guestmem_read_u64(mem, i * PAGE, &value));
        CHECK_EQ(value, i % 4 == 3 ? i + 1 : i % 4 == 0 ? 9 : 0);
    }
    remove_all(mem);
    guestmem_unref(mem);
    return check_result();
}

static void test_children(void)
{
    const uint64_t own[] = {most_mappings / 2, most_mappings - 4000};
    struct guestmem *mem = load_with("image", GUESTMEM_LOAD_MAP);
    for (uint64_t i = 0; i < pages; i += 4) {
        CHECK_OK(guestmem_remove_range(mem, i * PAGE, PAGE));
        CHECK_OK(guestmem_write_u64(mem, i * PAGE, 9));
    }
    CHECK_EQ(run_in_child(in_a_child, mem), 0);
    guestmem_unref(mem);
    for (size_t i = 0; i < 2; i++)
        CHECK_EQ(run_in_child(beside_many, (void *)(uintptr_t)&own[i]), 0);
}

int main(void)
{
    static const char *const parents[] = {"/dev/shm", "/tmp"};
    struct guestmem *mem;
    if (!read_number("/proc/sys/vm/max_map_count", &most_mappings) || most_mappings > 100000)
        SKIP("the limit of mappings is not the usual one here");
    pages = most_mappings + 6;
    for (size_t i = 0; i < 2; i++) {
        enter_folder(parents[i]);
        mem = numbered();
        CHECK_OK(guestmem_save(mem, "image", NULL, 0));
        guestmem_unref(mem);
        test_every_second_page(0);
        if (i == 0) {
            test_pieces_that_meet();
            test_page_after_page();
            test_large_parts_cost_nothing();
            test_every_second_page(GUESTMEM_POLICY_LOCK_GUEST_MEMORY);
            test_private_file();
            test_many_at_once();
            test_threads_of_one();
            test_children();
        }
        REQUIRE(unlink("image") == 0);
        CHECK_EQ(entries_in("."), 0);
        leave_folder();
    }
    return check_result();
}
