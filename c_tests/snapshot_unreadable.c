/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Pages that cannot be read or written: poisoned, protected, or of a file that was cut. Saving says so
 * with a code, whichever way it is asked for, and so does restoring; nobody is killed.
 * runs: natively only */
#include "support/process.h"
#include "support/images.h"
#include "support/snapshots.h"
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PAGES = 600, BAD = 300 };
#define SIZE (PAGES * PAGE)

static int64_t take(void *user, const void *buf, size_t len)
{
    size_t *taken = user;
    (void)buf;
    *taken += len;
    return (int64_t)len;
}

/* ---- reading ---- */

static const struct way {
    uint64_t flags;
    uint32_t layout, threads;
    const char *path; /* NULL: a function */
} ways[] = {
    {0, 0, 1, "/dev/null"},
    {0, 0, 2, "/dev/null"},
    {GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES, 0, 2, "/dev/null"},
    {GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES | GUESTMEM_SNAPSHOT_NO_CHECKSUM, 0, 1, "/dev/null"},
    {0, 0, 0, "packed"},
    {GUESTMEM_SNAPSHOT_NO_CHECKSUM, 0, 0, "packed"},
    {GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES, 1, 0, "sparse"},
    {0, 1, 0, "sparse"},
    {0, 0, 0, NULL},
    {GUESTMEM_SNAPSHOT_NO_CHECKSUM, 0, 0, NULL},
    {GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES, 0, 0, NULL},
    {0, 1, 0, "save"},
    {GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES, 1, 0, "save"},
};

static void read_each_way(const struct guestmem *mem)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const struct guestmem_snapshot_options options = {ways[i].flags, ways[i].layout,
                                                          ways[i].threads, NULL, NULL};
        struct guestmem_error_info info;
        char *text = (char *)&info;
        size_t taken = 0;
        int code, fd = -1;
        if (ways[i].path == NULL) {
            code = guestmem_snapshot_write(mem, take, &taken, &options, sizeof options, &text);
        } else if (strcmp(ways[i].path, "save") == 0) {
            text = NULL;
            code = guestmem_save(mem, "image", &options, sizeof options);
        } else {
            fd = open(ways[i].path, O_RDWR | O_CREAT, 0600);
            REQUIRE(fd >= 0);
            code = guestmem_snapshot(mem, fd, &options, sizeof options, &text);
            REQUIRE(close(fd) == 0);
        }
        CHECK_CODE(code, GUESTMEM_E_IO);
        CHECK(text == NULL);
        CHECK_OK(guestmem_last_error(&info, sizeof info));
        CHECK_EQ(info.os_errno, EFAULT);
        if (ways[i].path == NULL) CHECK_EQ(info.completed, taken);
    }
    CHECK(access("image", F_OK) != 0);
}

/* ---- writing ---- */

/* The memory's metadata and data, made while all of it could be used. */
static struct image good;

static void write_each_way(const struct guestmem *mem)
{
    struct guestmem_error_info info;
    uint8_t *bytes = malloc((size_t)good.size);
    REQUIRE(bytes != NULL && pread(good.fd, bytes, (size_t)good.size, 0) == (ssize_t)good.size);
    for (int way = 0; way < 3; way++) {
        int code = way == 0   ? image_restore(mem, &good)
                   : way == 1 ? restore_bytes(mem, good.metadata, bytes, (size_t)good.size)
                              : guestmem_restore_file(mem, "good", NULL, 0);
        CHECK_CODE(code, GUESTMEM_E_IO);
        CHECK_OK(guestmem_last_error(&info, sizeof info));
        CHECK_EQ(info.os_errno, EFAULT);
    }
    free(bytes);
}

static bool fails_in_child(const struct guestmem *mem, void (*work)(const struct guestmem *))
{
    pid_t child = fork();
    int status;
    REQUIRE(child >= 0);
    if (child == 0) {
        work(mem);
        _exit(check_result());
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) fprintf(stderr, "killed by signal %d\n", WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void keep(const struct guestmem *mem)
{
    good = image_of(mem, NULL);
    CHECK_OK(guestmem_save(mem, "good", NULL, 0));
}

/* Every page holds something. */
static void fill(uint8_t *host)
{
    fill_random(host, (size_t)SIZE, 3);
    for (size_t i = 0; i < PAGES; i += 7) memset(host + i * PAGE, 0, (size_t)PAGE);
}

/* ---- what is wrong with the page ---- */

struct poison {
    struct uffdio_range range;
    uint64_t mode;
    int64_t updated;
};
#define POISON_PAGES _IOWR(0xAA, 0x08, struct poison)

static bool poison(uint8_t *host)
{
    int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {UFFD_API, 1 << 14, 0};
    struct uffdio_register all = {{(uintptr_t)host, SIZE}, UFFDIO_REGISTER_MODE_MISSING, 0};
    struct poison page = {{(uintptr_t)host + BAD * PAGE, PAGE}, 0, 0};
    bool done = uffd >= 0 && ioctl(uffd, UFFDIO_API, &api) == 0 &&
                ioctl(uffd, UFFDIO_REGISTER, &all) == 0 && ioctl(uffd, POISON_PAGES, &page) == 0 &&
                ioctl(uffd, UFFDIO_UNREGISTER, &all.range) == 0;
    if (uffd >= 0) REQUIRE(close(uffd) == 0);
    return done;
}

static void test_poisoned(void)
{
    struct guestmem_region_options options = {
        .guest_addr = 0, .size = SIZE, .flags = GUESTMEM_REGION_PRIVATE};
    struct guestmem *mem;
    uint8_t *host;
    uint64_t value = 1;
    REQUIRE(guestmem_new_with_options(&options, 1, sizeof options, &mem) == GUESTMEM_OK);
    host = info_of(mem, 0).host_addr;
    fill(host);
    keep(mem);
    CHECK_OK(guestmem_remove_range(mem, BAD * PAGE, PAGE));
    if (!poison(host)) {
        SKIP_PART("this kernel cannot poison a page");
    } else {
        CHECK(fails_in_child(mem, read_each_way));
        CHECK(fails_in_child(mem, write_each_way));
        /* The way out: without the bad page the memory is whole. */
        CHECK_OK(guestmem_remove_range(mem, BAD * PAGE, PAGE));
        CHECK_OK(guestmem_read_u64(mem, BAD * PAGE, &value));
        CHECK_EQ(value, 0);
        CHECK_OK(image_restore(mem, &good));
        CHECK_OK(guestmem_save(mem, "image", NULL, 0));
        REQUIRE(unlink("image") == 0);
    }
    image_free(&good);
    guestmem_unref(mem);
}

static struct guestmem *of_caller(uint8_t *host)
{
    struct guestmem_region_options options = {
        .guest_addr = 0, .size = SIZE, .flags = GUESTMEM_REGION_HOST, .host_addr = host};
    struct guestmem *mem;
    REQUIRE(guestmem_new_with_options(&options, 1, sizeof options, &mem) == GUESTMEM_OK);
    return mem;
}

static void test_protected(int kind)
{
    uint8_t *host = mmap(NULL, (size_t)SIZE, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    struct guestmem *mem;
    REQUIRE(host != MAP_FAILED);
    mem = of_caller(host);
    fill(host);
    keep(mem);
    REQUIRE(mprotect(host + BAD * PAGE, (size_t)PAGE, PROT_NONE) == 0);
    CHECK(fails_in_child(mem, read_each_way));
    CHECK(fails_in_child(mem, write_each_way));
    REQUIRE(mprotect(host + BAD * PAGE, (size_t)PAGE, PROT_READ) == 0);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    REQUIRE(unlink("image") == 0);
    CHECK(fails_in_child(mem, write_each_way));
    image_free(&good);
    guestmem_unref(mem);
    REQUIRE(munmap(host, (size_t)SIZE) == 0);
}

/* Memory of the library's own, of which the program takes a page for itself. */
static void test_protected_own(uint64_t flags)
{
    struct guestmem_region_options options = {.guest_addr = 0, .size = SIZE, .flags = flags};
    struct guestmem *mem;
    uint8_t *host;
    REQUIRE(guestmem_new_with_options(&options, 1, sizeof options, &mem) == GUESTMEM_OK);
    host = info_of(mem, 0).host_addr;
    fill(host);
    keep(mem);
    REQUIRE(mprotect(host + BAD * PAGE, (size_t)PAGE, PROT_NONE) == 0);
    CHECK(fails_in_child(mem, read_each_way));
    CHECK(fails_in_child(mem, write_each_way));
    REQUIRE(mprotect(host + BAD * PAGE, (size_t)PAGE, PROT_READ | PROT_WRITE) == 0);
    CHECK_OK(image_restore(mem, &good));
    image_free(&good);
    guestmem_unref(mem);
}

/* The file behind the memory is cut while it is in use. What is past its end may be told to be no data,
 * or to be impossible to find. */
static void read_past_the_end(const struct guestmem *mem)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const struct guestmem_snapshot_options options = {ways[i].flags, 0, ways[i].threads, NULL,
                                                          NULL};
        char *text;
        size_t taken = 0;
        int null = open("/dev/null", O_WRONLY);
        int code = guestmem_snapshot(mem, null, &options, sizeof options, &text);
        CHECK(code <= GUESTMEM_OK);
        if (code == GUESTMEM_OK) guestmem_free(text);
        code = guestmem_snapshot_write(mem, take, &taken, &options, sizeof options, &text);
        CHECK(code <= GUESTMEM_OK);
        if (code == GUESTMEM_OK) guestmem_free(text);
        REQUIRE(close(null) == 0);
    }
}

static void write_past_the_end(const struct guestmem *mem)
{
    CHECK(image_restore(mem, &good) != GUESTMEM_OK);
    CHECK(guestmem_restore_file(mem, "good", NULL, 0) != GUESTMEM_OK);
}

static void test_cut_file(void)
{
    int fd = open("behind", O_RDWR | O_CREAT, 0600);
    uint8_t *host;
    struct guestmem *mem;
    REQUIRE(fd >= 0 && ftruncate(fd, (off_t)SIZE) == 0);
    host = mmap(NULL, (size_t)SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(host != MAP_FAILED);
    mem = of_caller(host);
    fill(host);
    keep(mem);
    REQUIRE(ftruncate(fd, (off_t)(BAD * PAGE)) == 0);
    CHECK(fails_in_child(mem, read_past_the_end));
    CHECK(fails_in_child(mem, write_past_the_end));
    image_free(&good);
    guestmem_unref(mem);
    REQUIRE(munmap(host, (size_t)SIZE) == 0 && close(fd) == 0);
}

int main(void)
{
    enter_folder("/tmp");
    test_poisoned();
    test_protected(MAP_PRIVATE);
    test_protected_own(0);
    test_protected_own(GUESTMEM_REGION_PRIVATE);
    if (geteuid() == 0) {
        test_protected(MAP_SHARED);
        test_cut_file();
    } else {
        SKIP_PART("no privilege to open map_files of /proc");
    }
    return check_result();
}
