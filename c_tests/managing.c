/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Giving pages back: remove_range on every backing, locked and not.
 * runs: asan valgrind */
#include "support/process.h"

enum { PAGES = 8 };
static const uint64_t base = 0x100000;
static const uint64_t size = PAGES * 4096;

static struct guestmem *memory_of(struct guestmem_region_options options)
{
    struct guestmem *mem = NULL;
    options.guest_addr = base;
    options.size = size;
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
    REQUIRE(mem != NULL);
    return mem;
}

static uint8_t *host_of(const struct guestmem *mem)
{
    return info_of(mem, 0).host_addr;
}

static bool all_bytes_are(const uint8_t *bytes, uint64_t len, uint8_t value)
{
    uint64_t i;
    for (i = 0; i < len; i++)
        if (bytes[i] != value) return false;
    return true;
}

/* Removes pages 2 to 4 of memory full of data and looks at everything. `blocks` is a descriptor of
 * the backing whose allocated size must shrink, or -1. */
static void check_removal(struct guestmem *mem, int blocks)
{
    uint8_t *host = host_of(mem), byte = 0xff;
    uint64_t before = 0;
    CHECK_OK(guestmem_dma_fill(mem, base, 0x5a, size));
    if (blocks >= 0) {
        REQUIRE(fsync(blocks) == 0); /* a file on disk gets its blocks only now */
        before = allocated_bytes(blocks);
    }
    CHECK_EQ(pages_present(host, PAGES), PAGES);
    CHECK_OK(guestmem_remove_range(mem, base + 2 * PAGE, 3 * PAGE));
    CHECK_EQ(pages_present(host + 2 * PAGE, 3), 0);
    if (blocks >= 0) CHECK_EQ(before - allocated_bytes(blocks), 3 * PAGE);
    CHECK(all_bytes_are(host, 2 * PAGE, 0x5a));
    CHECK(all_bytes_are(host + 2 * PAGE, 3 * PAGE, 0));
    CHECK(all_bytes_are(host + 5 * PAGE, 3 * PAGE, 0x5a));
    /* it is memory as before, and can be removed again */
    CHECK_OK(guestmem_write_u8(mem, base + 3 * PAGE, 7));
    CHECK_OK(guestmem_read_u8(mem, base + 3 * PAGE, &byte));
    CHECK(byte == 7 && host[3 * PAGE] == 7);
    CHECK_OK(guestmem_remove_range(mem, base + 2 * PAGE, 2 * PAGE));
    CHECK(all_bytes_are(host + 2 * PAGE, 3 * PAGE, 0));
    CHECK_OK(guestmem_remove_range(mem, base, size));
    CHECK_EQ(pages_present(host, PAGES), 0);
    CHECK(all_bytes_are(host, size, 0));
}

/* Once as it is, and once with its pages locked. */
static void check_backing(struct guestmem_region_options options, bool counts_blocks)
{
    const unsigned ways = locking_works() ? 4 : 2;
    unsigned way;
    for (way = 0; way < ways; way++) {
        struct guestmem *mem;
        int blocks;
        if (way == 1 && !(options.flags & GUESTMEM_REGION_HOST))
            options.flags |= GUESTMEM_REGION_POPULATE;
        mem = memory_of(options);
        blocks = counts_blocks ? info_of(mem, 0).fd : -1;
        if (way >= 2) CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_LOCK_GUEST_MEMORY));
        if (way == 3)
            CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED));
        check_removal(mem, blocks);
        guestmem_unref(mem);
    }
}

static struct guestmem_region_options no_options(void)
{
    struct guestmem_region_options options;
    memset(&options, 0, sizeof options);
    return options;
}

static void test_own_memory(void)
{
    struct guestmem_region_options options = no_options();
    check_backing(options, true);
    options.flags = GUESTMEM_REGION_PRIVATE;
    check_backing(options, false);
}

static void test_files(void)
{
    struct guestmem_region_options options = no_options();
    uint8_t content[PAGES * 4096], now[PAGES * 4096];
    options.flags = GUESTMEM_REGION_FD;
    options.fd_offset = PAGE;
    options.fd = new_memfd(size + 2 * PAGE);
    check_backing(options, true);
    REQUIRE(close(options.fd) == 0);
    options.fd = new_disk_file(size + 2 * PAGE);
    check_backing(options, true);
    REQUIRE(close(options.fd) == 0);

    /* copy-on-write: the range reads as zeros, not as the file, and the file stays what it is */
    options.fd = new_disk_file(size);
    options.fd_offset = 0;
    options.flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE;
    fill_random(content, sizeof content, 3);
    REQUIRE(write(options.fd, content, sizeof content) == (ssize_t)sizeof content);
    check_backing(options, false);
    REQUIRE(pread(options.fd, now, sizeof now, 0) == (ssize_t)sizeof now);
    CHECK(memcmp(content, now, sizeof now) == 0);
    REQUIRE(close(options.fd) == 0);
}

/* Pages of a private file mapping that were never touched: they show the file, and must not
 * afterwards. */
static void test_untouched_private_file(void)
{
    struct guestmem_region_options options = no_options();
    struct guestmem *mem;
    uint8_t content[PAGES * 4096];
    memset(content, 0x77, sizeof content);
    options.flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE;
    options.fd = new_memfd(0);
    REQUIRE(write(options.fd, content, sizeof content) == (ssize_t)sizeof content);
    mem = memory_of(options);
    CHECK_OK(guestmem_remove_range(mem, base + PAGE, PAGE));
    CHECK(all_bytes_are(host_of(mem), PAGE, 0x77));
    CHECK(all_bytes_are(host_of(mem) + PAGE, PAGE, 0));
    CHECK(all_bytes_are(host_of(mem) + 2 * PAGE, size - 2 * PAGE, 0x77));
    guestmem_unref(mem);
    REQUIRE(close(options.fd) == 0);
}

/* ---- memory that the caller mapped ---- */

static void check_caller_memory(int map_flags, int fd, bool give_fd, bool lock, bool may_refuse)
{
    struct guestmem_region_options options = no_options();
    struct guestmem *mem;
    void *host = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, map_flags, fd, 0);
    REQUIRE(host != MAP_FAILED);
    options.flags = GUESTMEM_REGION_HOST | (give_fd ? GUESTMEM_REGION_FD : 0);
    options.host_addr = host;
    options.fd = give_fd ? fd : 0;
    mem = memory_of(options);
    if (lock) REQUIRE(mlock(host, (size_t)size) == 0);
    if (may_refuse) {
        int code;
        CHECK_OK(guestmem_dma_fill(mem, base, 0x5a, size));
        code = guestmem_remove_range(mem, base + PAGE, 2 * PAGE);
        CHECK(code == GUESTMEM_OK || code == GUESTMEM_E_UNSUPPORTED);
        CHECK(all_bytes_are(host, PAGE, 0x5a));
        CHECK(all_bytes_are((uint8_t *)host + PAGE, 2 * PAGE, code == GUESTMEM_OK ? 0 : 0x5a));
        CHECK(all_bytes_are((uint8_t *)host + 3 * PAGE, size - 3 * PAGE, 0x5a));
    } else {
        check_removal(mem, give_fd ? fd : -1);
    }
    guestmem_unref(mem);
    REQUIRE(munmap(host, (size_t)size) == 0);
}

static void test_caller_memory(void)
{
    int memfd = new_memfd(size), file = new_disk_file(size);
    int lock;
    for (lock = 0; lock < 2; lock++) {
        check_caller_memory(MAP_PRIVATE | MAP_ANONYMOUS, -1, false, lock, false);
        check_caller_memory(MAP_SHARED | MAP_ANONYMOUS, -1, false, lock, lock);
        check_caller_memory(MAP_SHARED, memfd, true, lock, false);
        check_caller_memory(MAP_SHARED, file, true, lock, false);
        check_caller_memory(MAP_SHARED, memfd, false, lock, lock);
        check_caller_memory(MAP_SHARED, file, false, lock, lock);
        check_caller_memory(MAP_PRIVATE, memfd, false, lock, true);
        check_caller_memory(MAP_PRIVATE, file, false, lock, true);
    }
    REQUIRE(close(memfd) == 0 && close(file) == 0);
}

/* ---- huge pages ---- */

static void test_hugetlb(void)
{
    struct guestmem_region_options options = no_options();
    struct guestmem *mem = NULL;
    uint64_t before;
    uint8_t *host;
    if (!reserve_huge_pages(3)) {
        SKIP_PART("no huge pages of 2 MiB can be reserved");
        return;
    }
    options.guest_addr = HUGE_PAGE, options.size = 3 * HUGE_PAGE;
    options.flags = GUESTMEM_REGION_HUGETLB, options.hugetlb_log2 = 21;
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
    REQUIRE(mem != NULL);
    host = host_of(mem);
    CHECK_EQ(info_of(mem, 0).page_size, HUGE_PAGE);
    CHECK_OK(guestmem_dma_fill(mem, HUGE_PAGE, 0x5a, 3 * HUGE_PAGE));
    before = free_huge_pages();
    CHECK_CODE(guestmem_remove_range(mem, HUGE_PAGE + PAGE, HUGE_PAGE), GUESTMEM_E_NOT_ALIGNED);
    CHECK_CODE(guestmem_remove_range(mem, HUGE_PAGE, PAGE), GUESTMEM_E_NOT_ALIGNED);
    CHECK(all_bytes_are(host, 3 * HUGE_PAGE, 0x5a));
    CHECK_OK(guestmem_remove_range(mem, 2 * HUGE_PAGE, HUGE_PAGE));
    CHECK_EQ(free_huge_pages(), before + 1);
    CHECK(all_bytes_are(host, HUGE_PAGE, 0x5a));
    CHECK(all_bytes_are(host + HUGE_PAGE, HUGE_PAGE, 0));
    CHECK(all_bytes_are(host + 2 * HUGE_PAGE, HUGE_PAGE, 0x5a));
    guestmem_unref(mem);
}

/* ---- refusals ---- */

static void refuse(struct world *world, uint64_t addr, uint64_t count, int expected)
{
    CHECK_CODE(guestmem_remove_range(world->mem, addr, count), expected);
    CHECK(last_error().guest_addr == addr && last_error().size == count &&
          last_error().completed == 0);
    CHECK(world_agrees(world));
}

static void test_refusals(void)
{
    const uint64_t hole = 0x1c000, rom = 0x20000;
    struct world world;
    world_new(&world);
    refuse(&world, 0x10001, PAGE, GUESTMEM_E_NOT_ALIGNED);
    refuse(&world, 0x10000, 1, GUESTMEM_E_NOT_ALIGNED);
    refuse(&world, 0x10000, PAGE - 1, GUESTMEM_E_NOT_ALIGNED);
    refuse(&world, 0x10000, PAGE + 1, GUESTMEM_E_NOT_ALIGNED);
    refuse(&world, 0x10800, PAGE, GUESTMEM_E_NOT_ALIGNED);
    refuse(&world, 0x15008, 8, GUESTMEM_E_NOT_ALIGNED);
    refuse(&world, 0x10000, 0, GUESTMEM_E_INVALID_SIZE);
    refuse(&world, rom, 0, GUESTMEM_E_INVALID_SIZE);
    refuse(&world, hole, PAGE, GUESTMEM_E_INVALID_ADDRESS);
    refuse(&world, hole + 1, 1, GUESTMEM_E_INVALID_ADDRESS);
    refuse(&world, 0, UINT64_MAX, GUESTMEM_E_INVALID_ADDRESS);
    /* inside one region, also where the next one touches */
    refuse(&world, 0x13000, 2 * PAGE, GUESTMEM_E_INVALID_RANGE);
    refuse(&world, 0x19000, 3 * PAGE, GUESTMEM_E_INVALID_RANGE);
    refuse(&world, 0x13000, PAGE + 1, GUESTMEM_E_INVALID_RANGE);
    refuse(&world, 0x10000, UINT64_MAX - 0xfff, GUESTMEM_E_INVALID_RANGE);
    refuse(&world, UINT64_C(0xffffffffffffe000), 0x2000, GUESTMEM_E_INVALID_RANGE);
    refuse(&world, UINT64_C(0xffffffffffffe000), 0x12000, GUESTMEM_E_INVALID_RANGE);
    refuse(&world, rom, PAGE, GUESTMEM_E_READ_ONLY);
    refuse(&world, rom + 1, PAGE, GUESTMEM_E_NOT_ALIGNED);
    refuse(&world, rom, 3 * PAGE, GUESTMEM_E_INVALID_RANGE);
    /* and here, all of that taken together, is one that is fine */
    CHECK_OK(guestmem_remove_range(world.mem, UINT64_C(0xffffffffffffe000), PAGE));
    memset(shadow_at(&world, UINT64_C(0xffffffffffffe000)), 0, PAGE);
    CHECK(world_agrees(&world));
    world_free(&world);
}

int main(void)
{
    if (!locking_works()) SKIP_PART("pages cannot be locked here");
    test_own_memory();
    test_files();
    test_untouched_private_file();
    test_caller_memory();
    test_hugetlb();
    test_refusals();
    return check_result();
}
