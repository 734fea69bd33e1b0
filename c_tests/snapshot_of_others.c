/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Pages that others put into the file behind guest memory, and pages that leave it while a snapshot
 * looks for what there is. This program's ioctl() stands before that of the C library: right after
 * the page tables were looked into a page leaves, by each of the ways there are.
 * runs: asan valgrind */
#include "support/snapshots.h"
#include "support/system.h"
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PAGEMAP_SCAN_NR 16

/* What happens once, between two observations. */
static void (*between)(void);
static bool scanned;

#ifdef __GLIBC__
int ioctl(int fd, unsigned long request, ...)
#else
int ioctl(int fd, int request, ...)
#endif
{
    va_list arguments;
    void *argument;
    long result;
    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    result = syscall(SYS_ioctl, fd, request, argument);
    if ((request >> 8 & 0xff) == 'f' && (request & 0xff) == PAGEMAP_SCAN_NR && result > 0) {
        void (*now)(void) = between;
        int kept = errno;
        between = NULL;
        scanned = true;
        if (now != NULL) now();
        errno = kept;
    }
    return (int)result;
}

/* ---- memory of which others know ---- */

static struct guestmem *mem;
static int file;
static uint64_t unit; /* bytes of a page */
static uint8_t *own;  /* a mapping that the library does not know */

/* In the first page, which nobody here touches. */
static void write_elsewhere(void)
{
    pid_t child = fork();
    int status;
    REQUIRE(child >= 0);
    if (child == 0) {
        memcpy(own, "precious", 8);
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
}

static void set_up(uint64_t flags)
{
    struct guestmem_region_options options[2];
    size_t i;
    memset(options, 0, sizeof options);
    unit = flags & GUESTMEM_REGION_HUGETLB ? 2 << 20 : PAGE;
    for (i = 0; i < 2; i++) {
        options[i].guest_addr = i << 30;
        options[i].size = 4 * unit;
        options[i].flags = flags;
    }
    REQUIRE(guestmem_new_with_options(options, 2, sizeof options[0], &mem) == GUESTMEM_OK);
    file = info_of(mem, 0).fd;
    own = mmap(NULL, (size_t)(4 * unit), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    REQUIRE(own != MAP_FAILED);
    write_elsewhere();
}

static void tear_down(void)
{
    REQUIRE(munmap(own, (size_t)(4 * unit)) == 0);
    guestmem_unref(mem);
}

/* ---- how the second page leaves ---- */

static void by_the_library(void)
{
    CHECK_OK(guestmem_remove_range(mem, unit, unit));
}

static void by_a_hole(void)
{
    REQUIRE(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)unit,
                      (off_t)unit) == 0);
}

static void by_another_process(void)
{
    pid_t child = fork();
    int status;
    REQUIRE(child >= 0);
    if (child == 0) _exit(madvise(own + unit, (size_t)unit, MADV_REMOVE) != 0);
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
}

/* Another one comes, so that there are as many before as after. */
static void by_exchange(void)
{
    by_a_hole();
    own[2 * unit] = 1;
}

/* Was only read, and is given up by the kernel. */
static void by_reclaim(void)
{
    (void)madvise(own + unit, (size_t)unit, MADV_DONTNEED);
    (void)madvise((uint8_t *)info_of(mem, 0).host_addr + unit, (size_t)unit, MADV_PAGEOUT);
}

struct case_of {
    const char *name;
    void (*leave)(void);
    bool only_read;
};

static const struct case_of cases[] = {
    {"remove_range", by_the_library, false}, {"fallocate", by_a_hole, false},
    {"another process", by_another_process, false}, {"exchange", by_exchange, false},
    {"reclaim", by_reclaim, true},
};

static bool is_in_snapshot(void)
{
    /* One thread: what others had allocated would be lost to a forked child. */
    const struct guestmem_snapshot_options options = {0, 0, 1, NULL, NULL};
    int out = new_memfd(0);
    char *metadata = NULL;
    bool found;
    CHECK_OK(guestmem_snapshot(mem, out, &options, sizeof options, &metadata));
    found = metadata != NULL && json_number(metadata, "regions[0].data_ranges[0].start") == 0 &&
            json_count(metadata, "regions[0].data_ranges") > 0;
    guestmem_free(metadata);
    REQUIRE(close(out) == 0);
    return found;
}

static void test_pages_that_leave(uint64_t flags)
{
    size_t i;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        volatile uint8_t *second;
        set_up(flags);
        second = (uint8_t *)info_of(mem, 0).host_addr + unit;
        if (cases[i].only_read)
            (void)*second;
        else
            *second = 1;
        between = cases[i].leave;
        if (!is_in_snapshot()) {
            fprintf(stderr, "lost when a page leaves by %s\n", cases[i].name);
            check_fail(__FILE__, __LINE__, "a page that did not change is in the snapshot");
        }
        between = NULL;
        tear_down();
    }
}

/* ---- pages that were only set aside ---- */

static uint64_t image_bytes(struct guestmem *of, int out, char **metadata)
{
    REQUIRE(guestmem_snapshot(of, out, NULL, 0, metadata) == GUESTMEM_OK);
    return json_number(*metadata, "data_size");
}

static void test_pages_set_aside(uint64_t flags)
{
    struct guestmem_region_options options;
    struct guestmem *memory = NULL;
    char *metadata = NULL;
    int out = new_memfd(0), fd;
    uint64_t of_a_page;
    memset(&options, 0, sizeof options);
    of_a_page = flags & GUESTMEM_REGION_HUGETLB ? 2 << 20 : PAGE;
    options.size = 4 * of_a_page, options.flags = flags;
    REQUIRE(guestmem_new_with_options(&options, 1, sizeof options, &memory) == GUESTMEM_OK);
    CHECK_OK(guestmem_write_u64(memory, 0, 1));
    (void)image_bytes(memory, out, &metadata);
    CHECK_OK(guestmem_remove_range(memory, 0, options.size));
    fd = info_of(memory, 0).fd;

    /* They hold nothing, and a snapshot has nothing of them. */
    REQUIRE(fallocate(fd, 0, 0, (off_t)options.size) == 0);
    CHECK_EQ(allocated_bytes(fd), options.size);

    /* A restore that fails leaves them. */
    REQUIRE(pwrite(out, "x", 1, 17) == 1 && lseek(out, 0, SEEK_SET) == 0);
    CHECK_CODE(guestmem_restore(memory, metadata, strlen(metadata), out, NULL, 0),
               GUESTMEM_E_CORRUPT);
    CHECK_EQ(allocated_bytes(fd), options.size);

    /* One that succeeds frees those that the snapshot does not cover. */
    REQUIRE(pwrite(out, "\0", 1, 17) == 1 && lseek(out, 0, SEEK_SET) == 0);
    CHECK_OK(guestmem_restore(memory, metadata, strlen(metadata), out, NULL, 0));
    CHECK_EQ(allocated_bytes(fd), of_a_page);

    /* Also beside pages that are in use. */
    REQUIRE(fallocate(fd, 0, (off_t)(2 * of_a_page), (off_t)of_a_page) == 0);
    REQUIRE(lseek(out, 0, SEEK_SET) == 0);
    CHECK_OK(guestmem_restore(memory, metadata, strlen(metadata), out, NULL, 0));
    CHECK_EQ(allocated_bytes(fd), of_a_page);
    guestmem_free(metadata);
    guestmem_unref(memory);
    REQUIRE(close(out) == 0);
}

int main(void)
{
    test_pages_that_leave(0);
    if (!scanned) SKIP_PART("no PAGEMAP_SCAN here");
    test_pages_set_aside(0);
    if (reserve_huge_pages(16)) {
        test_pages_that_leave(GUESTMEM_REGION_HUGETLB);
        test_pages_set_aside(GUESTMEM_REGION_HUGETLB);
    } else {
        SKIP_PART("no huge pages of 2 MiB can be reserved");
    }
    return check_result();
}
