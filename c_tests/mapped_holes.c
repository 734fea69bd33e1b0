/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Images on file systems that allocate a page for a hole that is read through a mapping: using a
 * mapped memory, all of it, leaves its image as large as it was, and cannot fail where the file
 * system is full.
 * runs: asan valgrind */
#include "support/process.h"
#include "support/images.h"

#include <sched.h>
#include <sys/mount.h>

/* A memory of so many pages, every `step`-th with a number; the page after the first such is there,
 * but zeros. */
static struct guestmem *striped(uint64_t pages, uint64_t step)
{
    const struct guestmem_range range = {0x100000, pages * PAGE};
    struct guestmem *mem = check_new(&range, 1);
    for (uint64_t i = 0; i < pages; i += step)
        CHECK_OK(guestmem_write_u64(mem, range.guest_addr + i * PAGE, i + 1));
    if (step > 1) CHECK_OK(guestmem_write_u64(mem, range.guest_addr + PAGE, 0));
    return mem;
}

struct use {
    const char *path;
    uint64_t pages, step;
    bool write;
};

/* Reads, and writes, all pages of a mapped memory. In a child, as it may be a signal that tells. */
static int use_all(void *argument)
{
    const struct use *use = argument;
    struct guestmem *mem = load_with(use->path, GUESTMEM_LOAD_MAP);
    check_failures = 0;
    for (uint64_t i = 0; i < use->pages; i++) {
        uint64_t value = 9;
        CHECK_OK(guestmem_read_u64(mem, 0x100000 + i * PAGE, &value));
        CHECK_EQ(value, i % use->step ? 0 : i + 1);
    }
    for (uint64_t i = 0; use->write && i < use->pages; i++)
        CHECK_OK(guestmem_write_u64(mem, 0x100000 + i * PAGE + 8, i));
    for (uint64_t i = 0; use->write && i < use->pages; i++) {
        uint64_t value = 0;
        CHECK_OK(guestmem_read_u64(mem, 0x100000 + i * PAGE, &value));
        CHECK_EQ(value, i % use->step ? 0 : i + 1);
    }
    CHECK(count_mappings() < 40000);
    guestmem_unref(mem);
    return check_result();
}

static uint64_t blocks_of(const char *path)
{
    struct stat st;
    REQUIRE(stat(path, &st) == 0);
    return (uint64_t)st.st_blocks;
}

static void check_use(const char *path, uint64_t pages, uint64_t step)
{
    const uint64_t before = blocks_of(path);
    for (int write = 0; write < 2; write++) {
        struct use use = {path, pages, step, write};
        const int ending = run_in_child(use_all, &use);
        if (ending != 0) fprintf(stderr, "%s, every %d: %d\n", path, (int)step, ending);
        CHECK_EQ(ending, 0);
        CHECK_EQ(blocks_of(path), before);
    }
}

static void save_striped(const char *path, uint64_t pages, uint64_t step)
{
    struct guestmem *mem = striped(pages, step);
    CHECK_OK(guestmem_save(mem, path, NULL, 0));
    guestmem_unref(mem);
}

/* The image says that the page is data, and it reads as such: a copy leaves out what is zeros. */
static void punch(const char *path, uint64_t page)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(page * PAGE),
                    (off_t)PAGE) == 0);
    REQUIRE(close(fd) == 0);
}

/* ---- with room enough: the image grows or not ---- */

static void test_images_do_not_grow(uint64_t pages)
{
    for (uint64_t step = 1; step <= 4; step++) {
        save_striped("image", pages, step);
        check_use("image", pages, step);
        if (step > 1) punch("image", 1);
        check_use("image", pages, step);
    }
    REQUIRE(unlink("image") == 0);
}

/* More runs than there may be mappings: the rest is copied. */
static void test_too_many_runs(uint64_t pages)
{
    struct guestmem *many[4];
    uint64_t blocks;
    save_striped("image", pages, 2);
    blocks = blocks_of("image");
    for (size_t i = 0; i < 4; i++) many[i] = load_with("image", GUESTMEM_LOAD_MAP);
    CHECK(count_mappings() < 40000);
    for (size_t i = 0; i < 4; i++) {
        const uint8_t *host = info_of(many[i], 0).host_addr;
        uint64_t wrong = 0;
        for (uint64_t page = 0; page < pages; page++)
            wrong += *(const uint64_t *)(host + page * PAGE) != (page % 2 ? 0 : page + 1);
        CHECK_EQ(wrong, 0);
    }
    CHECK_EQ(blocks_of("image"), blocks);
    CHECK(same_memory(many[0], many[3]));
    CHECK_OK(guestmem_save(many[3], "again", NULL, 0));
    check_loads("again", many[0]);
    CHECK_OK(guestmem_write_u64(many[1], 0x100000, 7));
    CHECK_OK(guestmem_restore_file(many[1], "image", NULL, 0));
    CHECK(same_memory(many[1], many[0]));
    for (size_t i = 0; i < 4; i++) guestmem_unref(many[i]);
    REQUIRE(unlink("image") == 0 && unlink("again") == 0);
}

/* Nobody else has the file: a memfd by its name in /proc. */
static void test_memfd(uint64_t pages)
{
    char path[64];
    struct bytes image;
    int fd;
    save_striped("image", pages, 3);
    image = bytes_of("image");
    fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    REQUIRE(fd >= 0 && ftruncate(fd, (off_t)image.len) == 0);
    for (uint64_t at = 0; at < image.len; at += PAGE) {
        const size_t len = image.len - at < PAGE ? image.len - at : PAGE;
        if (zeros(image.at + at, len)) continue;
        REQUIRE(pwrite(fd, image.at + at, len, (off_t)at) == (ssize_t)len);
    }
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    check_use(path, pages, 3);
    REQUIRE(close(fd) == 0 && unlink("image") == 0);
    free(image.at);
}

/* The file has no name any more, and is used for the first time. */
static void test_without_a_name(uint64_t pages)
{
    struct guestmem *mem, *mapped;
    uint64_t before;
    int fd;
    mem = striped(pages, 4);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    fd = open("image", O_RDONLY | O_CLOEXEC);
    mapped = load_with("image", GUESTMEM_LOAD_MAP);
    REQUIRE(fd >= 0 && unlink("image") == 0);
    before = allocated_bytes(fd);
    CHECK(same_memory(mapped, mem));
    CHECK_OK(guestmem_dma_fill(mapped, 0x100000, 1, pages * PAGE));
    CHECK_EQ(allocated_bytes(fd), before);
    guestmem_unref(mem), guestmem_unref(mapped);
    REQUIRE(close(fd) == 0);
}

/* ---- full ---- */

static void fill_up(void)
{
    static const uint8_t page[4096];
    const int fd = open("rest", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    while (write(fd, page, sizeof page) > 0) continue;
    REQUIRE(errno == ENOSPC && close(fd) == 0);
}

static int with_mounts(void *argument)
{
    const bool overlay = *(const bool *)argument;
    check_failures = 0;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "small", "tmpfs", 0, "size=12m") != 0)
        return 77;
    REQUIRE(chdir("small") == 0);
    if (overlay) {
        REQUIRE(mkdir("lower", 0700) == 0 && mkdir("upper", 0700) == 0 &&
                mkdir("work", 0700) == 0 && mkdir("both", 0700) == 0);
        if (mount("none", "both", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work") != 0)
            return 77;
        REQUIRE(chdir("both") == 0);
    }
    save_striped("image", 2048, 4);
    punch("image", 1);
    fill_up();
    check_use("image", 2048, 4);
    return check_result();
}

static void test_full_file_systems(void)
{
    REQUIRE(mkdir("small", 0700) == 0);
    for (int i = 0; i < 2; i++) {
        bool overlay = i == 1;
        const int ending = run_in_child(with_mounts, &overlay);
        if (ending == 77) SKIP_PART("no mounts of one's own here");
        else CHECK_EQ(ending, 0);
    }
    REQUIRE(rmdir("small") == 0);
}

/* ---- files of huge pages, which a private mapping takes of the pool ---- */

static int use_huge(void *unused)
{
    const uint64_t size = 4 * HUGE_PAGE;
    const int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | 21u << 26);
    struct guestmem_region_options options;
    struct guestmem *mem = NULL;
    int code;
    (void)unused;
    check_failures = 0;
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) return 77;
    memset(&options, 0, sizeof options);
    options.size = size, options.fd = fd;
    options.flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE;
    code = guestmem_new_with_options(&options, 1, sizeof options, &mem);
    if (code == GUESTMEM_E_NO_MEMORY) return check_result();
    CHECK_OK(code);
    CHECK_OK(guestmem_dma_fill(mem, 0, 1, size));
    guestmem_unref(mem);
    return check_result();
}

int main(void)
{
    static const char *const parents[] = {"/dev/shm", "/tmp"};
    const uint64_t pages = fast() ? 64 : 2048;
    int ending;
    for (size_t i = 0; i < 2; i++) {
        enter_folder(parents[i]);
        if (i == 0) {
            test_images_do_not_grow(pages);
            test_memfd(pages);
            test_without_a_name(pages);
            if (!fast()) test_full_file_systems();
        }
        if (fast()) SKIP_PART("tens of thousands of mappings");
        else test_too_many_runs(i == 0 ? 70000 : 20000);
        CHECK_EQ(entries_in("."), 0);
        leave_folder();
    }
    ending = run_in_child(use_huge, NULL);
    if (ending == 77) SKIP_PART("no files of huge pages here");
    else CHECK_EQ(ending, 0);
    return check_result();
}
