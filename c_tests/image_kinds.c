/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What is no file is refused as an image without being opened: opening a tape rewinds it, opening a
 * watchdog starts it, and whoever waits at the other end of a pipe is woken.
 * runs: asan valgrind */
#include "support/images.h"
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static struct guestmem *mem;
static int watcher;

static void watch(const char *path)
{
    REQUIRE(inotify_add_watch(watcher, path, IN_OPEN) >= 0);
}

static bool was_opened(void)
{
    char events[4096];
    return read(watcher, events, sizeof events) > 0;
}

static void refuse(const char *path, int code, int saved)
{
    const struct guestmem_load_options map = {.flags = GUESTMEM_LOAD_MAP};
    struct guestmem *loaded;
    char *metadata;
    CHECK_CODE(guestmem_image_metadata(path, &metadata), code);
    CHECK_CODE(guestmem_load(path, NULL, 0, &loaded), code);
    CHECK_CODE(guestmem_load(path, &map, sizeof map, &loaded), code);
    CHECK_CODE(guestmem_restore_file(mem, path, NULL, 0), code);
    if (saved != GUESTMEM_OK) CHECK_CODE(guestmem_save(mem, path, NULL, 0), saved);
    if (!was_opened()) return;
    fprintf(stderr, "%s was opened\n", path);
    CHECK(!"opened");
}

int main(void)
{
    const struct guestmem_range range = {0, 4 * PAGE};
    const int metadata = GUESTMEM_E_METADATA, unsupported = GUESTMEM_E_UNSUPPORTED;
    struct sockaddr_un address = {AF_UNIX, "socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char *text = NULL;
    mem = check_new(&range, 1);
    enter_folder("/tmp");
    watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watcher < 0) SKIP("no inotify here");
    REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    REQUIRE(mkfifo("fifo", 0600) == 0 && mkdir("folder", 0700) == 0);
    REQUIRE(symlink("fifo", "link") == 0 && symlink("link", "links") == 0);
    watch("fifo"), watch("folder"), watch("socket");
    refuse("fifo", metadata, unsupported);
    refuse("link", metadata, GUESTMEM_OK);
    refuse("links", metadata, GUESTMEM_OK);
    refuse("folder", metadata, GUESTMEM_E_OS);
    refuse("socket", GUESTMEM_E_OS, unsupported);
    if (mknod("null", S_IFCHR | 0600, makedev(1, 3)) == 0 &&
        mknod("nobody", S_IFBLK | 0600, makedev(240, 77)) == 0) {
        watch("null"), watch("nobody");
        refuse("null", metadata, unsupported);
        refuse("nobody", metadata, unsupported);
    } else {
        SKIP_PART("no device files may be made here");
    }
    /* a link to a file is followed, and files are opened, or this test sees nothing */
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    watch("image");
    REQUIRE(unlink("link") == 0 && symlink("image", "link") == 0);
    CHECK_OK(guestmem_image_metadata("links", &text));
    CHECK(was_opened());
    guestmem_free(text);
    guestmem_unref(mem);
    REQUIRE(close(fd) == 0 && close(watcher) == 0);
    return check_result();
}
