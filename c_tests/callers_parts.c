/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Caller's memory made of several mappings, one of which keeps its pages: guestmem_remove_range() gives
 * back all of a range or nothing of it, wherever in the range that one lies. A restore clears what it
 * can, and writes zeros to the rest.
 * runs: asan valgrind */
#include "support/process.h"
#include "support/snapshots.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

enum { PART = 2 }; /* pages of one mapping */
#define LEN (PART * PAGE)
#define MOST 3

/* How a part is mapped, and whether it can be given back. */
enum kind {
    PRIVATE,
    SHARED,
    MEMFD,
    DISK,
    ZERO,             /* /dev/zero, shared */
    OF_LOCKED,        /* private, locked: still given back, where the kernel can */
    KEEPS,            /* those from here on cannot be given back */
    SEALED = KEEPS,   /* a memfd with F_SEAL_FUTURE_WRITE */
    LOCKED,           /* shared, locked */
    LOCKED_PAGE,      /* shared, its last page locked */
    PRIVATE_FILE,
    ONLY_READ,        /* a file that was open to read only */
    MEMORY_SEALED,    /* mseal(2), and not to be written */
    APPENDED,         /* a file that may only grow */
    KINDS
};

static const char *const names[KINDS] = {
    "private",      "shared",      "memfd",        "disk",        "/dev/zero",
    "locked",       "sealed",      "shared, locked", "shared, a page locked",
    "private file", "open to read", "mseal", "append only",
};

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

static bool can_be_written(enum kind kind)
{
    return kind != ONLY_READ && kind != MEMORY_SEALED;
}

static bool can_lock;
static int append_only_file = -1;

/* chattr +a; false where the file system or the rights do not allow it. */
static bool set_append_only(int fd, bool on)
{
    int flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return false;
    flags = on ? flags | FS_APPEND_FL : flags & ~FS_APPEND_FL;
    return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

static int file_of(enum kind kind)
{
    if (kind == MEMFD) return new_memfd(LEN);
    if (kind == ZERO) return open("/dev/zero", O_RDWR | O_CLOEXEC);
    if (kind == SEALED) {
        int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        REQUIRE(fd >= 0 && ftruncate(fd, (off_t)LEN) == 0);
        return fd;
    }
    return new_disk_file(LEN);
}

static void *map_there(uint8_t *at, int protection, int flags, int fd)
{
    return mmap(at, (size_t)LEN, protection, flags | MAP_FIXED, fd, 0);
}

/* Maps a part and fills it. False where this system cannot. */
static bool map_part(uint8_t *at, enum kind kind)
{
    const int anonymous = kind == PRIVATE || kind == OF_LOCKED || kind == MEMORY_SEALED ? MAP_PRIVATE
                          : kind == SHARED || kind == LOCKED || kind == LOCKED_PAGE     ? MAP_SHARED
                                                                                        : 0;
    const int way = kind == PRIVATE_FILE ? MAP_PRIVATE : MAP_SHARED;
    int fd = anonymous != 0 ? -1 : file_of(kind);
    void *mapped =
        map_there(at, PROT_READ | PROT_WRITE, anonymous != 0 ? anonymous | MAP_ANONYMOUS : way, fd);
    bool works = true;
    REQUIRE(mapped != MAP_FAILED);
    memset(at, 'a', (size_t)LEN);
    switch (kind) {
    case OF_LOCKED:
    case LOCKED: works = can_lock && mlock(at, (size_t)LEN) == 0; break;
    case LOCKED_PAGE: works = can_lock && mlock(at + LEN - PAGE, (size_t)PAGE) == 0; break;
    case SEALED: works = fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0; break;
    case ONLY_READ: {
        char path[64];
        int again;
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        again = open(path, O_RDONLY | O_CLOEXEC);
        works = again >= 0 && map_there(at, PROT_READ, MAP_SHARED, again) != MAP_FAILED;
        REQUIRE(close(again) == 0);
        break;
    }
    case MEMORY_SEALED:
        works = mprotect(at, (size_t)LEN, PROT_READ) == 0 &&
                syscall(SYS_mseal, at, (size_t)LEN, 0ul) == 0;
        break;
    case APPENDED:
        works = set_append_only(fd, true);
        append_only_file = works ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
        break;
    default: break;
    }
    if (fd >= 0) REQUIRE(close(fd) == 0);
    return works;
}

static struct guestmem *memory_of(void *host, uint64_t size)
{
    struct guestmem_region_options options = {.size = size, .host_addr = host};
    struct guestmem *mem = NULL;
    options.flags = GUESTMEM_REGION_HOST;
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
    REQUIRE(mem != NULL);
    return mem;
}

static bool all_are(const uint8_t *bytes, uint64_t len, uint8_t wanted)
{
    for (uint64_t i = 0; i < len; i++)
        if (bytes[i] != wanted) return false;
    return true;
}

/* Whether files are looked at that this kernel, or valgrind, lets nobody ask beforehand. */
static bool may_be_unknown(const enum kind *kinds, size_t count)
{
    size_t files = 0;
    for (size_t i = 0; i < count; i++) files += kinds[i] == MEMFD || kinds[i] == DISK;
    return fast() && files > 1;
}

static void unmap_parts(uint8_t *host)
{
    if (append_only_file >= 0)
        REQUIRE(set_append_only(append_only_file, false) && close(append_only_file) == 0);
    append_only_file = -1;
    /* what is sealed stays */
    for (size_t i = 0; i < MOST; i++) (void)munmap(host + i * LEN, (size_t)LEN);
}

static bool map_parts(uint8_t *host, const enum kind *kinds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!map_part(host + i * LEN, kinds[i])) return false;
    return true;
}

static void try_parts(const enum kind *kinds, size_t count)
{
    uint8_t *host = new_host_memory(MOST * LEN);
    if (map_parts(host, kinds, count)) {
        struct guestmem *mem = memory_of(host, count * LEN);
        const int failures = check_failures, code = guestmem_remove_range(mem, 0, count * LEN);
        bool keeps = may_be_unknown(kinds, count) && code != GUESTMEM_OK;
        for (size_t i = 0; i < count; i++) keeps = keeps || kinds[i] >= KEEPS;
        CHECK_EQ(code, keeps ? GUESTMEM_E_UNSUPPORTED : GUESTMEM_OK);
        CHECK(all_are(host, count * LEN, keeps ? 'a' : 0));
        if (check_failures != failures)
            fprintf(stderr, "%s, %s, %s\n", names[kinds[0]], names[kinds[1]],
                    count > 2 ? names[kinds[2]] : "and no more");
        guestmem_unref(mem);
    }
    unmap_parts(host);
}

/* Each with each, in either order, and between two that can be given back. */
static void test_all_or_nothing(void)
{
    for (int one = 0; one < KINDS; one++)
        for (int other = 0; other < KEEPS; other++) {
            const enum kind pair[] = {(enum kind)other, (enum kind)one};
            const enum kind turned[] = {(enum kind)one, (enum kind)other};
            const enum kind between[] = {(enum kind)other, (enum kind)one, PRIVATE};
            try_parts(pair, 2);
            try_parts(turned, 2);
            try_parts(between, 3);
        }
}

static void say_what_is_left_out(void)
{
    for (int one = 0; one < KINDS; one++) {
        uint8_t *host = new_host_memory(MOST * LEN);
        if (!map_part(host, (enum kind)one)) SKIP_PART("no mapping here that is %s", names[one]);
        unmap_parts(host);
    }
}

/* ---- restores ---- */

/* Every third page has data. */
static struct image image_of_size(uint64_t size, struct guestmem **source)
{
    const struct guestmem_range range = {0, size};
    *source = check_new(&range, 1);
    for (uint64_t at = 0; at < size; at += 3 * PAGE) CHECK_OK(guestmem_dma_fill(*source, at, 's', PAGE));
    return image_of(*source, NULL);
}

static void check_restored(uint8_t *host, uint64_t size, const char *name)
{
    const int failures = check_failures;
    struct guestmem *source, *mem = memory_of(host, size);
    struct image image = image_of_size(size, &source);
    char *text = NULL;
    CHECK_OK(image_restore(mem, &image));
    CHECK(memcmp(host, info_of(source, 0).host_addr, (size_t)size) == 0);
    CHECK_OK(guestmem_describe(mem, &text));
    CHECK(text != NULL && strstr(text, "\"tainted\":false") != NULL);
    if (check_failures != failures) fprintf(stderr, "restored into: %s\n", name);
    guestmem_free(text);
    image_free(&image);
    guestmem_unref(source);
    guestmem_unref(mem);
}

static void test_restore_into_each(void)
{
    for (int one = 0; one < KINDS; one++) {
        const enum kind kinds[] = {(enum kind)one, PRIVATE, (enum kind)one};
        uint8_t *host = new_host_memory(MOST * LEN);
        if (can_be_written((enum kind)one) && one != APPENDED && map_parts(host, kinds, MOST))
            check_restored(host, MOST * LEN, names[one]);
        unmap_parts(host);
    }
}

/* Huge pages of which parts are to become zeros. */
static void test_restore_into_huge_pages(void)
{
    const int size = 21 << 26, way = MAP_HUGETLB | MAP_ANONYMOUS | size;
    if (!reserve_huge_pages(3)) {
        SKIP_PART("no huge pages of 2 MiB can be reserved");
        return;
    }
    for (int shared = 0; shared < 2; shared++) {
        uint8_t *host = mmap(NULL, (size_t)(3 * HUGE_PAGE), PROT_READ | PROT_WRITE,
                             way | (shared ? MAP_SHARED : MAP_PRIVATE), -1, 0);
        REQUIRE(host != MAP_FAILED);
        memset(host, 'a', (size_t)(3 * HUGE_PAGE));
        check_restored(host, 3 * HUGE_PAGE, shared ? "shared huge pages" : "private huge pages");
        REQUIRE(munmap(host, (size_t)(3 * HUGE_PAGE)) == 0);
    }
}

int main(void)
{
    can_lock = locking_works();
    say_what_is_left_out();
    test_all_or_nothing();
    test_restore_into_each();
    test_restore_into_huge_pages();
    return check_result();
}
