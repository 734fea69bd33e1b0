/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A snapshot or an image must not take the place of the file that backs memory of the caller's, on
 * whatever file system: with layers or subvolumes a mapping does not show the device that fstat(2)
 * tells of its file. What maps another file is not refused for that, and its pages are given back.
 * runs: asan valgrind */
#include "support/guest.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { SIZE = 1 << 20, NOBODY = 65534 };

struct memory {
    struct guestmem *mem;
    char *host;
};

static struct memory map_file(int fd, int sharing, int given)
{
    struct memory memory;
    struct guestmem_region_options option = {.size = SIZE, .flags = GUESTMEM_REGION_HOST};
    memory.host = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, sharing, fd, 0);
    REQUIRE(memory.host != MAP_FAILED);
    option.host_addr = memory.host;
    if (given >= 0) option.flags |= GUESTMEM_REGION_FD, option.fd = given;
    if (given >= 0 && sharing == MAP_PRIVATE) option.flags |= GUESTMEM_REGION_PRIVATE;
    REQUIRE(guestmem_new_with_options(&option, 1, sizeof option, &memory.mem) == GUESTMEM_OK);
    return memory;
}

static void unmap(struct memory memory)
{
    guestmem_unref(memory.mem);
    REQUIRE(munmap(memory.host, SIZE) == 0);
}

static void refuse_snapshot(const char *what, struct memory memory, int fd, uint32_t layout)
{
    const struct guestmem_snapshot_options how = {.layout = layout};
    char *metadata = NULL;
    const int code = guestmem_snapshot(memory.mem, fd, &how, sizeof how, &metadata);
    if (code != GUESTMEM_E_BUSY) fprintf(stderr, "%s: layout %u\n", what, layout);
    CHECK_CODE(code, GUESTMEM_E_BUSY);
    guestmem_free(metadata);
    REQUIRE(close(fd) == 0);
}

static int open_file(const char *path, int flags)
{
    const int fd = open(path, flags | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) perror(path);
    REQUIRE(fd >= 0);
    return fd;
}

/* Also by another name of the file, and by a descriptor that cannot be read. */
static void refuse(const char *what, const char *path, int sharing, bool give)
{
    int fd = open_file(path, O_RDWR);
    char second[400];
    struct memory memory;
    REQUIRE(ftruncate(fd, SIZE) == 0);
    REQUIRE(pwrite(fd, "what the guest has", 19, 4096) == 19);
    memory = map_file(fd, sharing, give ? fd : -1);
    refuse_snapshot(what, memory, open_file(path, O_RDWR), GUESTMEM_LAYOUT_SPARSE);
    refuse_snapshot(what, memory, open_file(path, O_WRONLY), GUESTMEM_LAYOUT_PACKED);
    refuse_snapshot(what, memory, open_file(path, O_WRONLY), GUESTMEM_LAYOUT_SPARSE);
    refuse_snapshot(what, memory, fd, GUESTMEM_LAYOUT_PACKED);
    if (sharing == MAP_SHARED) {
        CHECK_CODE(guestmem_save(memory.mem, path, NULL, 0), GUESTMEM_E_BUSY);
        (void)snprintf(second, sizeof second, "%s-second", path);
        if (link(path, second) == 0) {
            CHECK_CODE(guestmem_save(memory.mem, second, NULL, 0), GUESTMEM_E_BUSY);
            refuse_snapshot("a link", memory, open_file(second, O_RDWR), GUESTMEM_LAYOUT_SPARSE);
            REQUIRE(unlink(second) == 0);
        }
    }
    CHECK(strcmp(memory.host + 4096, "what the guest has") == 0);
    unmap(memory);
    REQUIRE(unlink(path) == 0);
}

/* Another file of the same file system may be written, and the file behind memory is told from others
 * before it gets holes. */
static void allow(const char *path, const char *other)
{
    const int fd = open_file(path, O_RDWR), target = open_file(other, O_RDWR);
    struct memory memory, mistaken;
    char *metadata = NULL;
    REQUIRE(ftruncate(fd, SIZE) == 0 && ftruncate(target, SIZE) == 0);
    REQUIRE(pwrite(fd, "what the guest has", 19, 4096) == 19);
    REQUIRE(pwrite(target, "what it has not", 16, 4096) == 16);
    mistaken = map_file(fd, MAP_SHARED, target);
    CHECK_CODE(guestmem_remove_range(mistaken.mem, 4096, 4096), GUESTMEM_E_UNSUPPORTED);
    CHECK(strcmp(mistaken.host + 4096, "what the guest has") == 0);
    unmap(mistaken);
    memory = map_file(fd, MAP_SHARED, fd);
    CHECK_OK(guestmem_snapshot(memory.mem, target, NULL, 0, &metadata));
    CHECK_OK(guestmem_save(memory.mem, other, NULL, 0));
    CHECK_OK(guestmem_remove_range(memory.mem, 4096, 4096));
    CHECK(memory.host[4096] == 0);
    guestmem_free(metadata);
    unmap(memory);
    REQUIRE(close(fd) == 0 && close(target) == 0 && unlink(path) == 0 && unlink(other) == 0);
}

static void try_folder(const char *folder)
{
    char path[300], other[300];
    (void)snprintf(path, sizeof path, "%s/ram", folder);
    (void)snprintf(other, sizeof other, "%s/other", folder);
    refuse(folder, path, MAP_SHARED, false);
    refuse(folder, path, MAP_SHARED, true);
    refuse(folder, path, MAP_PRIVATE, false);
    refuse(folder, path, MAP_PRIVATE, true);
    allow(path, other);
}

/* A file that came from a lower layer, and goes to the upper one while it is mapped. */
static void copy_up(const char *merged)
{
    char path[300];
    int fd;
    struct memory memory;
    (void)snprintf(path, sizeof path, "%s/below", merged);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    memory = map_file(fd, MAP_PRIVATE, fd);
    refuse_snapshot("copied up", memory, open_file(path, O_RDWR), GUESTMEM_LAYOUT_SPARSE);
    refuse_snapshot("copied up", memory, open_file(path, O_RDWR), GUESTMEM_LAYOUT_SPARSE);
    unmap(memory);
    REQUIRE(close(fd) == 0);
}

static bool mount_tmpfs(const char *path)
{
    REQUIRE(mkdir(path, 0700) == 0);
    return mount("none", path, "tmpfs", 0, "size=64m") == 0 && chmod(path, 0777) == 0;
}

/* Layers on one file system or two; merged/ is the result. */
static bool mount_layers(const char *base, bool apart)
{
    char path[256], options[900];
    int fd;
    (void)snprintf(path, sizeof path, "%s/lower", base);
    REQUIRE(mkdir(path, 0755) == 0);
    if (apart && mount("none", path, "tmpfs", 0, "size=16m") != 0) return false;
    (void)snprintf(path, sizeof path, "%s/lower/below", base);
    fd = open_file(path, O_RDWR);
    REQUIRE(ftruncate(fd, SIZE) == 0 && close(fd) == 0);
    for (const char *const *name = (const char *const[]){"top", "work", "merged", NULL}; *name; name++) {
        (void)snprintf(path, sizeof path, "%s/%s", base, *name);
        REQUIRE(mkdir(path, 0755) == 0 && chmod(path, 0777) == 0);
    }
    (void)snprintf(options, sizeof options, "lowerdir=%s/lower,upperdir=%s/top,workdir=%s/work", base,
                   base, base);
    return mount("overlay", path, "overlay", 0, options) == 0;
}

static void drop_root(void)
{
    REQUIRE(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    REQUIRE(prctl(PR_SET_DUMPABLE, 1) == 0); /* so that /proc is its own again */
}

static int layered(const char *base, bool apart)
{
    char path[256];
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        !mount_tmpfs(base) || !mount_layers(base, apart)) {
        SKIP_PART("no overlayfs of its own");
        return 0;
    }
    (void)snprintf(path, sizeof path, "%s/merged", base);
    try_folder(path);
    copy_up(path);
    drop_root();
    try_folder(path);
    return check_result();
}

static int two_systems(const char *base)
{
    return layered(base, true);
}

static int one_system(const char *base)
{
    return layered(base, false);
}

static int plain(const char *base)
{
    try_folder(base);
    return check_result();
}

static void run(int (*part)(const char *), const char *base)
{
    int status = 0;
    const pid_t child = fork(); /* its mounts go with it */
    if (child == 0) {
        check_failures = 0;
        exit(part(base));
    }
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_EQ(status, 0);
}

int main(void)
{
    char below[160];
    folder_new("/tmp");
    REQUIRE(chmod(test_folder, 0755) == 0);
    run(plain, test_folder);
    (void)snprintf(below, sizeof below, "%s/layers", test_folder);
    run(two_systems, below);
    (void)rmdir(below);
    run(one_system, below);
    (void)rmdir(below);
    CHECK_EQ(entries_in(test_folder), 0);
    return check_result();
}
