/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Where saving cannot succeed: the code, the old image byte for byte in its place, no temporary
 * file, and no signal.
 * runs: asan valgrind */
#include "support/process.h"
#include "support/images.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

/* The folder holds the old image and what the test put there; a save that fails changes neither. */
static struct bytes old;

static void save_old(void)
{
    struct guestmem *mem = memory_with_data(40);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    old = bytes_of("image");
    guestmem_unref(mem);
}

static void refuse_with(const struct guestmem *mem, const char *path,
                        const struct guestmem_snapshot_options *options, int expected, int os_errno)
{
    const size_t before = entries_in(".");
    CHECK_CODE(guestmem_save(mem, path, options, options == NULL ? 0 : sizeof *options), expected);
    if (os_errno != 0) CHECK_EQ(last_error().os_errno, os_errno);
    CHECK_EQ(entries_in("."), before);
    CHECK(file_is("image", &old));
}

static void refuse(const struct guestmem *mem, const char *path, int expected, int os_errno)
{
    refuse_with(mem, path, NULL, expected, os_errno);
}

/* ---- arguments ---- */

static void test_arguments(struct guestmem *mem)
{
    struct guestmem_snapshot_options options = {0, 0, 0, NULL, NULL};
    struct {
        struct guestmem_snapshot_options options;
        uint64_t tail;
    } longer = {{0, 0, 0, NULL, NULL}, 0};
    const void *foreign = &options;
    unsigned bit;
    refuse(NULL, "image", GUESTMEM_E_BAD_HANDLE, 0);
    refuse(NULL, NULL, GUESTMEM_E_BAD_HANDLE, 0);
    refuse(foreign, "image", GUESTMEM_E_BAD_HANDLE, 0);
    refuse(mem, NULL, GUESTMEM_E_INVALID_ARGUMENT, 0);
    for (bit = 4; bit < 64; bit++) {
        options.flags = UINT64_C(1) << bit;
        refuse_with(mem, "image", &options, GUESTMEM_E_INVALID_ARGUMENT, 0);
    }
    options.flags = 0;
    for (bit = 1; bit < 32; bit++) {
        options.layout = UINT32_C(1) << bit;
        refuse_with(mem, "image", &options, GUESTMEM_E_INVALID_ARGUMENT, 0);
    }
    CHECK_CODE(guestmem_save(mem, "image", NULL, 8), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_save(mem, "image", &longer.options, 0), GUESTMEM_E_INVALID_ARGUMENT);
    longer.tail = 1;
    CHECK_CODE(guestmem_save(mem, "image", &longer.options, sizeof longer),
               GUESTMEM_E_INVALID_ARGUMENT);
    CHECK(file_is("image", &old));
    longer.tail = 0;
    CHECK_OK(guestmem_save(mem, "new", &longer.options, sizeof longer));
    check_image("new", mem, true);
    longer.options.layout = 99; /* beyond the size that the caller states */
    CHECK_OK(guestmem_save(mem, "new", &longer.options, 8));
    REQUIRE(unlink("new") == 0);
}

/* ---- paths ---- */

static void test_paths(struct guestmem *mem)
{
    static char too_long[5000];
    refuse(mem, "", GUESTMEM_E_OS, ENOENT);
    refuse(mem, "nowhere/image", GUESTMEM_E_OS, ENOENT);
    refuse(mem, "image/image", GUESTMEM_E_OS, ENOTDIR);
    memset(too_long, 'n', 256);
    refuse(mem, too_long, GUESTMEM_E_OS, ENAMETOOLONG);
    memset(too_long, '/', sizeof too_long - 1);
    memcpy(too_long + sizeof too_long - 4, "new", 3);
    refuse(mem, too_long, GUESTMEM_E_OS, ENAMETOOLONG);
    REQUIRE(symlink("loop", "loop") == 0);
    refuse(mem, "loop/image", GUESTMEM_E_OS, ELOOP);
    REQUIRE(unlink("loop") == 0);
    /* a name that can only be a folder's, and there is none */
    CHECK(guestmem_save(mem, "new/", NULL, 0) < 0);
    CHECK(guestmem_save(mem, "image/", NULL, 0) < 0);
    CHECK(guestmem_save(mem, "new/.", NULL, 0) < 0);
    CHECK_EQ(entries_in("."), 1);
    CHECK(file_is("image", &old));
}

/* Neither a file nor a link: it is not ours to replace. */
static void refuse_kind(struct guestmem *mem, const char *path, mode_t kind)
{
    struct stat before, after;
    REQUIRE(lstat(path, &before) == 0 && (before.st_mode & S_IFMT) == kind);
    if (kind == S_IFDIR)
        refuse(mem, path, GUESTMEM_E_OS, EISDIR);
    else
        refuse(mem, path, GUESTMEM_E_UNSUPPORTED, 0);
    REQUIRE(lstat(path, &after) == 0);
    CHECK(after.st_ino == before.st_ino && after.st_mode == before.st_mode &&
          after.st_rdev == before.st_rdev);
}

static void test_kinds(struct guestmem *mem)
{
    struct sockaddr_un address = {AF_UNIX, "socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    REQUIRE(mkdir("empty", 0700) == 0 && mkdir("full", 0700) == 0 && mkfifo("fifo", 0600) == 0);
    write_file("full/file", "x", 1);
    refuse_kind(mem, "empty", S_IFDIR);
    refuse_kind(mem, "full", S_IFDIR);
    refuse_kind(mem, "full/", S_IFDIR);
    refuse_kind(mem, "full/.", S_IFDIR);
    refuse_kind(mem, ".", S_IFDIR);
    refuse_kind(mem, "..", S_IFDIR);
    refuse_kind(mem, "/", S_IFDIR);
    refuse_kind(mem, "fifo", S_IFIFO); /* nobody is at its other end, and nobody is waited for */
    refuse_kind(mem, "socket", S_IFSOCK);
    if (mknod("device", S_IFCHR | 0600, makedev(1, 3)) == 0) {
        refuse_kind(mem, "device", S_IFCHR);
        REQUIRE(unlink("device") == 0);
    } else {
        SKIP_PART("only root makes device nodes");
    }
    CHECK(entries_in("empty") == 0 && entries_in("full") == 1);
    REQUIRE(rmdir("empty") == 0 && unlink("full/file") == 0 && rmdir("full") == 0);
    REQUIRE(unlink("fifo") == 0 && unlink("socket") == 0 && close(fd) == 0);
}

/* ---- the memory ---- */

static void test_tainted(void)
{
    struct guestmem *mem = memory_with_data(41), *other = memory_with_data(42);
    struct image packed = image_of(other, NULL);
    uint8_t *bytes = malloc((size_t)packed.size);
    REQUIRE(bytes != NULL &&
            pread(packed.fd, bytes, (size_t)packed.size, 0) == (ssize_t)packed.size);
    CHECK_CODE(restore_bytes(mem, packed.metadata, bytes, (size_t)packed.size - 1),
               GUESTMEM_E_SNAPSHOT_SHORT);
    CHECK(is_tainted(mem));
    refuse(mem, "image", GUESTMEM_E_TAINTED, 0);
    refuse(mem, "new", GUESTMEM_E_TAINTED, 0);
    CHECK_OK(guestmem_restore_file(mem, "image", NULL, 0));
    CHECK(!is_tainted(mem) && memory_is(mem, old.at));
    CHECK_OK(guestmem_save(mem, "new", NULL, 0));
    REQUIRE(unlink("new") == 0);
    free(bytes);
    image_free(&packed);
    guestmem_unref(mem), guestmem_unref(other);
}

/* A file that is in use as memory: replacing it would part the memory from its name. */
static void test_own_backing(uint64_t flags, int expected)
{
    struct guestmem_region_options options[2];
    struct guestmem *mem = NULL;
    struct bytes before;
    uint8_t content[4 * 4096], *wanted;
    fill_random(content, sizeof content, 43);
    write_file("backing", content, sizeof content);
    REQUIRE(link("backing", "twin") == 0 && symlink("backing", "link") == 0);
    memset(options, 0, sizeof options);
    options[0].size = PAGE;
    options[1].guest_addr = PAGE, options[1].size = 2 * PAGE, options[1].fd_offset = PAGE;
    options[1].flags = GUESTMEM_REGION_FD | flags;
    options[1].fd = open("backing", O_RDWR | O_CLOEXEC);
    if (flags & GUESTMEM_REGION_HOST) {
        options[1].host_addr =
            mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, options[1].fd, (off_t)PAGE);
        REQUIRE(options[1].host_addr != MAP_FAILED);
    }
    CHECK_OK(guestmem_new_with_options(options, 2, sizeof options[0], &mem));
    REQUIRE(mem != NULL && close(options[1].fd) == 0);
    CHECK_OK(guestmem_write_u64(mem, 0, 44));
    if (!(flags & GUESTMEM_REGION_READ_ONLY)) CHECK_OK(guestmem_write_u64(mem, 2 * PAGE, 44));
    wanted = copy_of(mem);
    before = bytes_of("backing");
    if (expected != GUESTMEM_OK) {
        refuse(mem, "backing", expected, 0);
        refuse(mem, "twin", expected, 0); /* the same file by another name */
    }
    CHECK(file_is("backing", &before));
    /* a link is replaced and not followed, so it is in nobody's way */
    CHECK_OK(guestmem_save(mem, "link", NULL, 0));
    CHECK(file_is("backing", &before));
    check_image("link", mem, true);
    if (expected == GUESTMEM_OK) {
        CHECK_OK(guestmem_save(mem, "backing", NULL, 0));
        check_image("backing", mem, true);
        CHECK(file_is("twin", &before));
    }
    CHECK(memory_is(mem, wanted));
    free(wanted), free(before.at);
    guestmem_unref(mem);
    if (flags & GUESTMEM_REGION_HOST) REQUIRE(munmap(options[1].host_addr, 2 * PAGE) == 0);
    REQUIRE(unlink("backing") == 0 && unlink("twin") == 0 && unlink("link") == 0);
}

/* The descriptor's call overwrites in place: never the image that a memory is mapped from. */
static void test_snapshot_onto_the_mapped_image(void)
{
    static const uint32_t layouts[] = {GUESTMEM_LAYOUT_PACKED, GUESTMEM_LAYOUT_SPARSE};
    struct guestmem *mapped = load_with("image", GUESTMEM_LOAD_MAP);
    uint8_t *wanted = copy_of(mapped);
    size_t i;
    REQUIRE(link("image", "twin") == 0);
    for (i = 0; i < 4; i++) {
        const struct guestmem_snapshot_options options = {0, layouts[i % 2], 0, NULL, NULL};
        int fd = open(i < 2 ? "image" : "twin", O_RDWR | O_CLOEXEC);
        char *metadata = (char *)wanted;
        REQUIRE(fd >= 0 && lseek(fd, 3, SEEK_SET) == 3);
        CHECK_CODE(guestmem_snapshot(mapped, fd, &options, sizeof options, &metadata),
                   GUESTMEM_E_BUSY);
        CHECK(metadata == NULL && lseek(fd, 0, SEEK_CUR) == 3);
        REQUIRE(close(fd) == 0);
        CHECK(file_is("image", &old) && memory_is(mapped, wanted));
    }
    REQUIRE(unlink("twin") == 0);
    free(wanted);
    guestmem_unref(mapped);
}

/* ---- limits of the process ---- */

static void test_file_size_limit(struct guestmem *mem)
{
    const uint64_t size = guestmem_memory_size(mem);
    struct rlimit before, limit;
    uint64_t whole, limits[8];
    size_t i;
    CHECK_OK(guestmem_save(mem, "new", NULL, 0));
    {
        struct bytes bytes = bytes_of("new");
        whole = bytes.len;
        free(bytes.at);
    }
    REQUIRE(unlink("new") == 0);
    limits[0] = 0, limits[1] = 1, limits[2] = PAGE, limits[3] = 0x180000, limits[4] = size - 1;
    limits[5] = size, limits[6] = whole - TRAILER, limits[7] = whole - 1;
    CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    limit = before;
    for (i = 0; i < 8; i++) {
        limit.rlim_cur = limits[i];
        REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        refuse(mem, i % 2 ? "image" : "new", GUESTMEM_E_IO, EFBIG);
        REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
    }
    limit.rlim_cur = whole;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK_OK(guestmem_save(mem, "new", NULL, 0));
    REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
    REQUIRE(unlink("new") == 0);
}

/* Ever more descriptors to be had, until there are enough. */
static void test_descriptor_limit(struct guestmem *mem)
{
    struct rlimit before, limit;
    int first = dup(0), more, code = 1;
    REQUIRE(first >= 0 && close(first) == 0 && getrlimit(RLIMIT_NOFILE, &before) == 0);
    limit = before;
    for (more = 0; more < 20 && code != GUESTMEM_OK; more++) {
        int os_errno;
        limit.rlim_cur = (rlim_t)(first + more);
        REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        code = guestmem_save(mem, "new", NULL, 0);
        os_errno = last_error().os_errno;
        REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
        if (code == GUESTMEM_OK) break;
        CHECK((code == GUESTMEM_E_TOO_LARGE || code == GUESTMEM_E_OS) && os_errno == EMFILE);
        CHECK_EQ(entries_in("."), 1);
    }
    CHECK(code == GUESTMEM_OK && more > 0);
    check_image("new", mem, true);
    REQUIRE(unlink("new") == 0);
}

/* ---- file systems that are full or not to be written ---- */

static bool mount_tmpfs(unsigned long flags, const char *options)
{
    return mount("guestmem-test", ".", "tmpfs", flags, options) == 0;
}

/* A file system of `pages` pages holds the old image; the new one fits once there are enough. */
static void fill_up(struct guestmem *mem)
{
    unsigned pages, failures = 0;
    char options[64];
    int code = 1;
    for (pages = 660; pages < 1400 && code != GUESTMEM_OK; pages++) {
        if (pages > 668 && pages < 1300) pages = 1300; /* around where it fills up */
        (void)snprintf(options, sizeof options, "size=%uk", pages * 4);
        REQUIRE(mount_tmpfs(MS_REMOUNT, options));
        code = guestmem_save(mem, "image", NULL, 0);
        if (code == GUESTMEM_OK) break;
        failures++;
        CHECK_CODE(code, GUESTMEM_E_IO);
        CHECK_EQ(last_error().os_errno, ENOSPC);
        CHECK(file_is("image", &old));
        CHECK_EQ(entries_in("."), 1);
    }
    CHECK(code == GUESTMEM_OK && failures > 8);
    check_image("image", mem, true);
    CHECK_EQ(entries_in("."), 1);
}

static int on_small_file_systems(void *unused)
{
    struct guestmem *mem = memory_with_data(45);
    int code;
    (void)unused;
    check_failures = 0; /* the parent counts its own */
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, "") != 0 ||
        mkdir("mount", 0700) != 0 || chdir("mount") != 0 || !mount_tmpfs(0, "size=4m,nr_inodes=3"))
        return 77;
    /* what was mounted lies over the folder that we stand in */
    REQUIRE(chdir("../mount") == 0);
    free(old.at);
    save_old();

    write_file("last", "x", 1); /* takes the last inode */
    code = guestmem_save(mem, "image", NULL, 0);
    CHECK((code == GUESTMEM_E_OS || code == GUESTMEM_E_IO) && last_error().os_errno == ENOSPC);
    CHECK(file_is("image", &old) && entries_in(".") == 2);
    REQUIRE(unlink("last") == 0);

    REQUIRE(mount_tmpfs(MS_REMOUNT | MS_RDONLY, ""));
    refuse(mem, "image", GUESTMEM_E_OS, EROFS);
    refuse(mem, "new", GUESTMEM_E_OS, EROFS);
    REQUIRE(mount_tmpfs(MS_REMOUNT, ""));
    fill_up(mem);
    guestmem_unref(mem);
    free(old.at);
    return check_failures != 0;
}

static void test_small_file_systems(void)
{
    int result = run_in_child(on_small_file_systems, NULL);
    if (result == 77)
        SKIP_PART("no file system can be mounted: nothing full, nothing read-only was tried");
    else
        CHECK_EQ(result, 0);
    (void)rmdir("mount");
}

/* Somebody who may read the folder and write the old image, but make no file here. */
static int in_a_folder_of_others(void *unused)
{
    struct guestmem *mem;
    (void)unused;
    check_failures = 0;
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 77;
    REQUIRE(prctl(PR_SET_DUMPABLE, 1) == 0); /* so that /proc/self is ours again */
    mem = memory_with_data(46);
    CHECK_OK(guestmem_save(mem, "open/new", NULL, 0));
    REQUIRE(chdir("closed") == 0);
    refuse(mem, "image", GUESTMEM_E_OS, EACCES);
    refuse(mem, "new", GUESTMEM_E_OS, EACCES);
    guestmem_unref(mem);
    return check_failures != 0;
}

static void test_folder_of_others(void)
{
    int result;
    REQUIRE(chmod(".", 0755) == 0 && mkdir("closed", 0700) == 0 && mkdir("open", 0700) == 0);
    write_file("closed/image", old.at, old.len);
    REQUIRE(chmod("closed/image", 0666) == 0);
    REQUIRE(chmod("closed", 0555) == 0 && chmod("open", 0777) == 0);
    result = run_in_child(in_a_folder_of_others, NULL);
    if (result == 77)
        SKIP_PART("nobody cannot be become here");
    else
        CHECK_EQ(result, 0);
    REQUIRE(chmod("closed", 0700) == 0 && unlink("closed/image") == 0 && rmdir("closed") == 0);
    REQUIRE((unlink("open/new") == 0 || result == 77) && rmdir("open") == 0);
}

int main(void)
{
    struct guestmem *mem = memory_with_data(47);
    uint64_t fds;
    enter_folder(fast_parent(UINT64_C(64) << 20));
    save_old();
    fds = count_fds();
    test_arguments(mem);
    test_paths(mem);
    test_kinds(mem);
    test_tainted();
    test_own_backing(0, GUESTMEM_E_BUSY);
    test_own_backing(GUESTMEM_REGION_READ_ONLY, GUESTMEM_E_BUSY);
    test_own_backing(GUESTMEM_REGION_HOST, GUESTMEM_E_BUSY);
    test_own_backing(GUESTMEM_REGION_PRIVATE, GUESTMEM_OK);
    test_snapshot_onto_the_mapped_image();
    test_file_size_limit(mem);
    test_descriptor_limit(mem);
    test_small_file_systems();
    test_folder_of_others();
    CHECK_EQ(count_fds(), fds);
    CHECK(file_is("image", &old));
    CHECK_EQ(entries_in("."), 1);
    free(old.at);
    guestmem_unref(mem);
    return check_result();
}
