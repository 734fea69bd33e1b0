/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory that the caller mapped as it pleased: of several kinds, partly locked, of /dev/zero, of huge
 * pages; and what the caller asked of the kernel for it stays.
 * runs: asan valgrind musl */
#include "support/process.h"

#include <sys/resource.h>
#include <sys/wait.h>

#define PAGES 4

static void *map_at(void *at, size_t len, int flags, int fd)
{
    void *host = mmap(at, len, PROT_READ | PROT_WRITE, flags | (at != NULL ? MAP_FIXED : 0), fd, 0);
    REQUIRE(host != MAP_FAILED);
    return host;
}

static struct guestmem *memory_of(void *host, uint64_t size)
{
    struct guestmem_region_options options = { .size = size, .host_addr = host };
    struct guestmem *mem = NULL;
    options.flags = GUESTMEM_REGION_HOST;
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
    REQUIRE(mem != NULL);
    return mem;
}

static uint8_t byte_at(const struct guestmem *mem, uint64_t page)
{
    uint8_t byte = 0;
    CHECK_OK(guestmem_read_u8(mem, page * PAGE, &byte));
    return byte;
}

/* half private, half shared: each page goes the way of its kind */
static void test_several_kinds(void)
{
    uint8_t *host = map_at(NULL, PAGES * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    struct guestmem *mem;
    (void)map_at(host + 2 * PAGE, 2 * PAGE, MAP_SHARED | MAP_ANONYMOUS, -1);
    mem = memory_of(host, PAGES * PAGE);
    CHECK_OK(guestmem_dma_fill(mem, 0, 7, PAGES * PAGE));
    CHECK_OK(guestmem_remove_range(mem, PAGE, 2 * PAGE));
    CHECK(byte_at(mem, 0) == 7 && byte_at(mem, 1) == 0);
    CHECK(byte_at(mem, 2) == 0 && byte_at(mem, 3) == 7);
    CHECK_CODE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_MERGEABLE), GUESTMEM_E_POLICY);
    CHECK_EQ(guestmem_memory_policy(mem), 0);
    guestmem_unref(mem);
    REQUIRE(munmap(host, PAGES * PAGE) == 0);
}

/* where a later part cannot be removed, the part before it stays too */
static void test_partly_locked(void)
{
    uint8_t *host = map_at(NULL, PAGES * PAGE, MAP_SHARED | MAP_ANONYMOUS, -1);
    struct guestmem *mem = memory_of(host, PAGES * PAGE);
    if (!locking_works() || mlock(host + 2 * PAGE, 2 * PAGE) != 0) {
        SKIP_PART("pages cannot be locked here");
    } else {
        CHECK_OK(guestmem_dma_fill(mem, 0, 7, PAGES * PAGE));
        CHECK_CODE(guestmem_remove_range(mem, 0, PAGES * PAGE), GUESTMEM_E_UNSUPPORTED);
        for (uint64_t page = 0; page < PAGES; page++) CHECK(byte_at(mem, page) == 7);
        CHECK_OK(guestmem_remove_range(mem, 0, 2 * PAGE));
        CHECK(byte_at(mem, 1) == 0 && byte_at(mem, 2) == 7);
    }
    guestmem_unref(mem);
    REQUIRE(munmap(host, PAGES * PAGE) == 0);
}

struct stream {
    uint8_t bytes[PAGES * PAGE];
    size_t len, at;
};

static int64_t append(void *user, const void *buf, size_t len)
{
    struct stream *stream = user;
    REQUIRE(len <= sizeof stream->bytes - stream->len);
    memcpy(stream->bytes + stream->len, buf, len);
    stream->len += len;
    return (int64_t)len;
}

static int64_t take(void *user, void *buf, size_t len)
{
    struct stream *stream = user;
    size_t left = stream->len - stream->at;
    size_t count = len < left ? len : left;
    memcpy(buf, stream->bytes + stream->at, count);
    stream->at += count;
    return (int64_t)count;
}

/* a private mapping of /dev/zero is memory without a file */
static void test_dev_zero(void)
{
    static struct stream stream;
    int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
    uint8_t *host = map_at(NULL, PAGES * PAGE, MAP_PRIVATE, zero);
    struct guestmem *mem = memory_of(host, PAGES * PAGE);
    char *metadata = NULL;
    CHECK_OK(guestmem_dma_fill(mem, PAGE, 7, PAGE));
    CHECK_OK(guestmem_snapshot_write(mem, append, &stream, NULL, 0, &metadata));
    REQUIRE(metadata != NULL);
    CHECK_EQ(stream.len, PAGE);
    CHECK_OK(guestmem_remove_range(mem, PAGE, PAGE));
    CHECK_OK(guestmem_dma_fill(mem, 2 * PAGE, 9, PAGE));
    CHECK_OK(guestmem_restore_read(mem, metadata, strlen(metadata), take, &stream, NULL, 0));
    CHECK(byte_at(mem, 1) == 7 && byte_at(mem, 2) == 0);
    guestmem_free(metadata);
    guestmem_unref(mem);
    REQUIRE(munmap(host, PAGES * PAGE) == 0 && close(zero) == 0);
}

static void test_private_huge_pages(void)
{
    struct guestmem *mem;
    uint8_t *host;
    if (!reserve_huge_pages(2)) {
        SKIP_PART("no huge pages of 2 MiB can be reserved");
        return;
    }
    host = map_at(NULL, 2 * HUGE_PAGE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << 26), -1);
    mem = memory_of(host, 2 * HUGE_PAGE);
    CHECK_OK(guestmem_dma_fill(mem, 0, 7, 2 * HUGE_PAGE));
    CHECK_CODE(guestmem_remove_range(mem, 0, PAGE), GUESTMEM_E_NOT_ALIGNED);
    CHECK_CODE(guestmem_remove_range(mem, PAGE, HUGE_PAGE), GUESTMEM_E_NOT_ALIGNED);
    CHECK(byte_at(mem, 0) == 7 && byte_at(mem, 1) == 7);
    CHECK_OK(guestmem_remove_range(mem, 0, HUGE_PAGE));
    CHECK(byte_at(mem, 0) == 0 && byte_at(mem, HUGE_PAGE / PAGE) == 7);
    CHECK_CODE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_MERGEABLE), GUESTMEM_E_POLICY);
    guestmem_unref(mem);
    REQUIRE(munmap(host, 2 * HUGE_PAGE) == 0);
}

/* a file that is not what the memory maps is told, instead of being looked at or punched */
static void test_another_file(void)
{
    struct guestmem_region_options options = { .size = PAGES * PAGE };
    int mapped = new_memfd(2 * PAGES * PAGE), other = new_memfd(2 * PAGES * PAGE);
    uint8_t *host = map_at(NULL, 2 * PAGES * PAGE, MAP_SHARED, mapped);
    char *metadata = NULL;
    options.flags = GUESTMEM_REGION_HOST | GUESTMEM_REGION_FD;
    options.host_addr = host;
    /* the right file at another offset, then another file */
    for (int wrong = 0; wrong < 2; wrong++) {
        static struct stream stream;
        struct guestmem *mem = NULL;
        options.fd = wrong == 0 ? mapped : other;
        options.fd_offset = wrong == 0 ? PAGES * PAGE : 0;
        CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
        CHECK_OK(guestmem_dma_fill(mem, 0, 7, PAGES * PAGE));
        CHECK_CODE(guestmem_remove_range(mem, 0, PAGE), GUESTMEM_E_UNSUPPORTED);
        CHECK(byte_at(mem, 0) == 7);
        CHECK_CODE(guestmem_snapshot_write(mem, append, &stream, NULL, 0, &metadata),
                   GUESTMEM_E_UNSUPPORTED);
        CHECK_CODE(guestmem_snapshot(mem, mapped, NULL, 0, &metadata), GUESTMEM_E_BUSY);
        guestmem_unref(mem);
    }
    REQUIRE(munmap(host, 2 * PAGES * PAGE) == 0 && close(mapped) == 0 && close(other) == 0);
}

/* a policy that is refused takes nothing back that the caller had done itself */
static void test_own_locks_stay(void)
{
    int status = 0;
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        /* the second region is larger than what may be locked */
        const struct rlimit limit = { 64 * PAGE, 64 * PAGE };
        const uint64_t large = 256 * PAGE;
        uint8_t *host = map_at(NULL, PAGES * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        struct guestmem_region_options options[2];
        struct guestmem *mem = NULL;
        bool works = locking_works() && setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
        memset(options, 0, sizeof options);
        options[0].size = PAGES * PAGE, options[0].host_addr = host;
        options[0].flags = GUESTMEM_REGION_HOST;
        options[1].guest_addr = large, options[1].size = large;
        if (!works || setuid(65534) != 0 || mlock(host, PAGES * PAGE) != 0) _exit(77);
        CHECK_OK(guestmem_new_with_options(options, 2, sizeof options[0], &mem));
        CHECK_CODE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_LOCK_GUEST_MEMORY),
                   GUESTMEM_E_POLICY);
        CHECK_EQ(guestmem_memory_policy(mem), 0);
        CHECK(mapping_has(host, "lo"));
        guestmem_unref(mem);
        _exit(check_result());
    }
    REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) SKIP_PART("pages cannot be locked here");
    else CHECK(WEXITSTATUS(status) == 0);
}

/* a region that a failed restore left half way is so in every memory that it is in */
static void test_taint_goes_with_the_region(void)
{
    static struct stream stream;
    struct guestmem_region_options options = { .size = PAGES * PAGE };
    struct guestmem_region *region = NULL;
    struct guestmem *mem = NULL, *other = NULL;
    char *metadata = NULL, *text = NULL;
    CHECK_OK(guestmem_region_new(&options, sizeof options, &region));
    CHECK_OK(guestmem_from_regions(&region, 1, &mem));
    CHECK_OK(guestmem_dma_fill(mem, 0, 7, PAGE));
    CHECK_OK(guestmem_dma_fill(mem, 2 * PAGE, 7, PAGE));
    CHECK_OK(guestmem_snapshot_write(mem, append, &stream, NULL, 0, &metadata));
    REQUIRE(metadata != NULL);
    stream.bytes[stream.len - 1] ^= 1;
    CHECK_CODE(guestmem_restore_read(mem, metadata, strlen(metadata), take, &stream, NULL, 0),
               GUESTMEM_E_CORRUPT);
    CHECK_OK(guestmem_from_regions(&region, 1, &other));
    CHECK_CODE(guestmem_snapshot_write(other, append, &stream, NULL, 0, &text), GUESTMEM_E_TAINTED);
    stream.bytes[stream.len - 1] ^= 1, stream.at = 0;
    CHECK_OK(guestmem_restore_read(other, metadata, strlen(metadata), take, &stream, NULL, 0));
    stream.len = 0;
    CHECK_OK(guestmem_snapshot_write(mem, append, &stream, NULL, 0, &text));
    guestmem_free(text);
    guestmem_free(metadata);
    guestmem_unref(other);
    guestmem_unref(mem);
    guestmem_region_unref(region);
}

int main(void)
{
    test_several_kinds();
    test_partly_locked();
    test_dev_zero();
    test_private_huge_pages();
    test_another_file();
    test_own_locks_stay();
    test_taint_goes_with_the_region();
    return check_result();
}
