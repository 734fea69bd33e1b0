/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Saves that a folder forbids: over somebody else's file in a sticky folder, and in a folder that only
 * takes new names. What fails leaves nothing behind, and the old file as it is.
 * runs: asan valgrind */
#include "support/images.h"
#include "support/snapshots.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

enum { OTHER = 12345 };

static void write_old(const char *path, unsigned mode)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    REQUIRE(fd >= 0 && write(fd, "old", 3) == 3 && fchmod(fd, mode) == 0 && close(fd) == 0);
}

static bool is_old(const char *path)
{
    char bytes[4];
    int fd = open(path, O_RDONLY);
    ssize_t len = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (fd >= 0) REQUIRE(close(fd) == 0);
    return len == 3 && memcmp(bytes, "old", 3) == 0;
}

/* As a user who owns neither the folder nor what is in it. Files of mode 0666 may get a second name from
 * anybody, others only where the system says so. */
static void as_somebody_else(void)
{
    static const char *const names[] = {"mine", "open", "link", "busy"};
    struct guestmem *mem = memory_with_data(3);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t before = entries_in(".");
        int code = guestmem_save(mem, names[i], NULL, 0);
        CHECK_CODE(code, GUESTMEM_E_OS);
        CHECK_EQ(entries_in("."), before);
    }
    CHECK_OK(guestmem_save(mem, "new", NULL, 0));
    CHECK_OK(guestmem_save(mem, "new", NULL, 0));
    CHECK_EQ(entries_in("."), 5);
    REQUIRE(unlink("new") == 0);
    CHECK_EQ(entries_in("."), 4);
    guestmem_unref(mem);
}

static void test_sticky(void)
{
    pid_t child;
    int status;
    REQUIRE(mkdir("sticky", 0777) == 0 && chmod("sticky", 01777) == 0 && chdir("sticky") == 0);
    write_old("mine", 0600);
    write_old("open", 0666);
    REQUIRE(symlink("open", "link") == 0 && mkdir("busy", 0777) == 0);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        REQUIRE(setresgid(OTHER, OTHER, OTHER) == 0 && setresuid(OTHER, OTHER, OTHER) == 0);
        as_somebody_else();
        _exit(check_result());
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(is_old("mine") && is_old("open"));
    /* Whoever may do all may do this too, and leaves nothing either. */
    REQUIRE(chown("open", OTHER, OTHER) == 0);
    {
        struct guestmem *mem = memory_with_data(3);
        CHECK_OK(guestmem_save(mem, "open", NULL, 0));
        guestmem_unref(mem);
    }
    CHECK_EQ(entries_in("."), 4);
    REQUIRE(chdir("..") == 0);
}

static bool set_append_only(const char *path, bool on)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY), flags = 0;
    bool done = fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;
    flags = on ? flags | FS_APPEND_FL : flags & ~FS_APPEND_FL;
    done = done && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
    if (fd >= 0) REQUIRE(close(fd) == 0);
    return done;
}

static void test_append_only(void)
{
    struct guestmem *mem = memory_with_data(3);
    REQUIRE(mkdir("append", 0777) == 0);
    write_old("append/old", 0600);
    if (!set_append_only("append", true)) {
        SKIP_PART("the file system of /tmp has no append-only folders");
    } else {
        CHECK_CODE(guestmem_save(mem, "append/old", NULL, 0), GUESTMEM_E_OS);
        CHECK_EQ(entries_in("append"), 1);
        CHECK(is_old("append/old"));
        CHECK_OK(guestmem_save(mem, "append/new", NULL, 0));
        CHECK_EQ(entries_in("append"), 2);
        REQUIRE(set_append_only("append", false));
    }
    guestmem_unref(mem);
}

int main(void)
{
    enter_folder("/tmp");
    REQUIRE(chmod(".", 0755) == 0);
    if (geteuid() != 0) SKIP("it takes root to become somebody else");
    test_sticky();
    test_append_only();
    return check_result();
}
