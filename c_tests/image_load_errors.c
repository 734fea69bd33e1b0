/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What is not loaded: bad arguments, and paths that lead to no image. The code, no memory, and
 * nothing changed in the one that was to be restored.
 * runs: asan valgrind */
#include "support/process.h"
#include "support/images.h"
#include <sys/socket.h>
#include <sys/un.h>

#define POISON ((void *)(uintptr_t)64)

static struct guestmem *mem;
static uint8_t *before; /* what it holds, and must go on holding */

/* Every call that opens an image gives this. */
static void refuse_path(const char *path, int expected, int os_errno)
{
    static const uint64_t ways[] = {0, GUESTMEM_LOAD_MAP,
                                    GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY};
    char *metadata = POISON;
    size_t i;
    for (i = 0; i < 3; i++) {
        refuse_load(path, ways[i], expected);
        if (os_errno != 0) CHECK_EQ(last_error().os_errno, os_errno);
    }
    CHECK_CODE(guestmem_restore_file(mem, path, NULL, 0), expected);
    if (os_errno != 0) CHECK_EQ(last_error().os_errno, os_errno);
    check_untouched(mem, before);
    CHECK_CODE(guestmem_image_metadata(path, &metadata), expected);
    CHECK(metadata == NULL);
}

/* ---- arguments ---- */

static void load_arguments(void)
{
    struct guestmem_load_options options = {0, 0, 0, NULL, NULL};
    struct {
        struct guestmem_load_options options;
        uint8_t tail[24];
    } longer;
    const size_t full = sizeof options;
    struct guestmem *out = POISON;
    size_t size, i;
    unsigned bit;
    CHECK_CODE(guestmem_load(NULL, NULL, 0, &out), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK(out == NULL);
    CHECK_CODE(guestmem_load("image", NULL, 0, NULL), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_load(NULL, NULL, 0, NULL), GUESTMEM_E_INVALID_ARGUMENT);
    for (bit = 2; bit < 64; bit++)
        refuse_load("image", UINT64_C(1) << bit, GUESTMEM_E_INVALID_ARGUMENT);
    refuse_load("missing", 4, GUESTMEM_E_INVALID_ARGUMENT);
    for (bit = 0; bit < 32; bit++) {
        options.reserved = UINT32_C(1) << bit, out = POISON;
        CHECK_CODE(guestmem_load("image", &options, full, &out), GUESTMEM_E_INVALID_ARGUMENT);
        CHECK(out == NULL);
    }
    out = POISON;
    CHECK_CODE(guestmem_load("image", NULL, full, &out), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK(out == NULL);
    out = POISON;
    CHECK_CODE(guestmem_load("image", &options, 0, &out), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK(out == NULL);

    memset(&longer, 0, sizeof longer);
    longer.options.flags = GUESTMEM_LOAD_MAP;
    for (size = 8; size <= sizeof longer; size += size < full ? 4 : 1) {
        CHECK_OK(guestmem_load("image", &longer.options, size, &out));
        guestmem_unref(out);
    }
    for (i = 0; i < sizeof longer.tail; i += 23) {
        longer.tail[i] = 1, out = POISON;
        for (size = full; size <= sizeof longer; size++) {
            CHECK_CODE(guestmem_load("image", &longer.options, size, &out),
                       size <= full + i ? GUESTMEM_OK : GUESTMEM_E_INVALID_ARGUMENT);
            guestmem_unref(out);
        }
        longer.tail[i] = 0;
    }
    longer.options.reserved = 1; /* beyond the size that the caller states */
    CHECK_OK(guestmem_load("image", &longer.options, 12, &out));
    guestmem_unref(out);
    CHECK_OK(guestmem_load("image", NULL, 0, &out));
    guestmem_unref(out);
}

static void other_arguments(void)
{
    struct guestmem_restore_options options = {0, 0, 0, NULL, NULL};
    const void *foreign = &options;
    char *metadata = POISON;
    unsigned bit;
    CHECK_CODE(guestmem_image_metadata(NULL, &metadata), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK(metadata == NULL);
    CHECK_CODE(guestmem_image_metadata("image", NULL), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_restore_file(NULL, "image", NULL, 0), GUESTMEM_E_BAD_HANDLE);
    CHECK_CODE(guestmem_restore_file(foreign, NULL, NULL, 0), GUESTMEM_E_BAD_HANDLE);
    CHECK_CODE(guestmem_restore_file(mem, NULL, NULL, 0), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_restore_file(mem, "image", NULL, 8), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_restore_file(mem, "image", &options, 0), GUESTMEM_E_INVALID_ARGUMENT);
    for (bit = 1; bit < 64; bit++) {
        options.flags = UINT64_C(1) << bit;
        CHECK_CODE(guestmem_restore_file(mem, "image", &options, sizeof options),
                   GUESTMEM_E_INVALID_ARGUMENT);
    }
    options.flags = 0, options.reserved = 1;
    CHECK_CODE(guestmem_restore_file(mem, "image", &options, sizeof options),
               GUESTMEM_E_INVALID_ARGUMENT);
    check_untouched(mem, before);
}

/* ---- paths ---- */

static void test_missing_files(void)
{
    static char too_long[5000];
    refuse_path("missing", GUESTMEM_E_OS, ENOENT);
    refuse_path("missing/image", GUESTMEM_E_OS, ENOENT);
    refuse_path("", GUESTMEM_E_OS, ENOENT);
    refuse_path("image/image", GUESTMEM_E_OS, ENOTDIR);
    refuse_path("image/", GUESTMEM_E_OS, ENOTDIR);
    REQUIRE(symlink("missing", "dangling") == 0 && symlink("loop", "loop") == 0);
    refuse_path("dangling", GUESTMEM_E_OS, ENOENT);
    refuse_path("loop", GUESTMEM_E_OS, ELOOP);
    memset(too_long, 'n', 256);
    refuse_path(too_long, GUESTMEM_E_OS, ENAMETOOLONG);
    memset(too_long, '/', sizeof too_long - 1);
    memcpy(too_long + sizeof too_long - 8, "missing", 7);
    refuse_path(too_long, GUESTMEM_E_OS, ENAMETOOLONG);
    REQUIRE(unlink("dangling") == 0 && unlink("loop") == 0);
}

static void refuse_content(const void *content, size_t len)
{
    write_file("file", content, len);
    refuse_path("file", GUESTMEM_E_METADATA, 0);
    REQUIRE(unlink("file") == 0);
}

static void test_other_files(void)
{
    const struct guestmem_snapshot_options sparse = {0, GUESTMEM_LAYOUT_SPARSE, 0, NULL, NULL};
    struct bytes image = bytes_of("image");
    static uint8_t content[0x10000];
    char *metadata = NULL;
    int fd;
    refuse_content(content, 0);
    refuse_content(content, 1);
    refuse_content(content, TRAILER - 1);
    refuse_content(content, TRAILER);
    refuse_content(content, sizeof content);
    refuse_content("GUESTMEM", 8);
    refuse_content(image.at + image.len - TRAILER, TRAILER); /* a good trailer, and nothing else */
    refuse_content(image.at + image.len - TRAILER + 1, TRAILER - 1);
    refuse_content(image.at + 1, image.len - 1); /* one byte is missing in front */
    memset(content, 'a', sizeof content);
    refuse_content(content, sizeof content);
    content[0] = '{', content[1] = '}';
    refuse_content(content, 2);

    /* the data alone, and the metadata alone */
    fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    CHECK_OK(guestmem_snapshot(mem, fd, &sparse, sizeof sparse, &metadata));
    refuse_path("file", GUESTMEM_E_METADATA, 0);
    REQUIRE(close(fd) == 0 && unlink("file") == 0);
    if (metadata != NULL) refuse_content(metadata, strlen(metadata));
    guestmem_free(metadata);
    free(image.at);
}

/* What is no file is no image either, and none of it is waited for. */
static void test_other_kinds(void)
{
    struct sockaddr_un address = {AF_UNIX, "socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), writer;
    REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    REQUIRE(mkfifo("fifo", 0600) == 0);
    refuse_path(".", GUESTMEM_E_METADATA, 0);
    refuse_path("/", GUESTMEM_E_METADATA, 0);
    refuse_path("/dev/null", GUESTMEM_E_METADATA, 0);
    refuse_path("/dev/zero", GUESTMEM_E_METADATA, 0);
    refuse_path("/proc/self/maps", GUESTMEM_E_METADATA, 0);
    refuse_path("fifo", GUESTMEM_E_METADATA, 0); /* nobody is at its other end */
    writer = open("fifo", O_RDWR | O_CLOEXEC);
    REQUIRE(writer >= 0);
    refuse_path("fifo", GUESTMEM_E_METADATA, 0);
    /* open(2) itself refuses sockets */
    refuse_path("socket", GUESTMEM_E_OS, ENXIO);
    REQUIRE(close(writer) == 0 && close(fd) == 0);
    REQUIRE(unlink("fifo") == 0 && unlink("socket") == 0);
}

/* An image of other regions is an image, but not of this memory. */
static void test_other_regions(void)
{
    const struct guestmem_range other = {0x100000, 0x400000};
    struct guestmem *smaller = check_new(&other, 1);
    char *metadata = NULL;
    CHECK_OK(guestmem_save(smaller, "file", NULL, 0));
    CHECK_CODE(guestmem_restore_file(mem, "file", NULL, 0), GUESTMEM_E_MISMATCH);
    check_untouched(mem, before);
    check_loads("file", smaller);
    CHECK_OK(guestmem_image_metadata("file", &metadata));
    guestmem_free(metadata);
    guestmem_unref(smaller);
    REQUIRE(unlink("file") == 0);
}

static void test_read_only_region(void)
{
    struct world world;
    size_t i;
    world_new(&world);
    CHECK_OK(guestmem_save(world.mem, "file", NULL, 0));
    for (i = 0; i < WORLD_AREAS; i++)
        if (!world.area[i].read_only)
            CHECK_OK(guestmem_dma_fill(world.mem, world.area[i].start, 0x66, world.area[i].size));
    CHECK_OK(guestmem_restore_file(world.mem, "file", NULL, 0));
    CHECK(world_agrees(&world) && !is_tainted(world.mem));
    world_free(&world);
    REQUIRE(unlink("file") == 0);
}

int main(void)
{
    struct guestmem *other = memory_with_data(1);
    uint64_t fds;
    enter_folder(fast_parent(UINT64_C(32) << 20));
    CHECK_OK(guestmem_save(other, "image", NULL, 0));
    mem = memory_with_data(2);
    before = copy_of(mem);
    fds = count_fds();
    load_arguments();
    other_arguments();
    test_missing_files();
    test_other_files();
    test_other_kinds();
    test_other_regions();
    test_read_only_region();
    CHECK_EQ(count_fds(), fds);
    CHECK_EQ(entries_in("."), 1);
    check_loads("image", other);
    free(before);
    guestmem_unref(mem), guestmem_unref(other);
    return check_result();
}
