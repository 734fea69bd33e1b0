/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What saving leaves on the file system: the image to the last byte, under any name, over whatever
 * was there, and nothing else. Where it fails is in image_save_errors.c.
 * runs: asan valgrind */
#include "support/process.h"
#include "support/images.h"
#include <pthread.h>

static const struct guestmem_range small_ranges[2] = {{0x10000, 0x8000}, {0x40000, 0x4000}};

static struct guestmem *small_memory(uint64_t seed)
{
    struct guestmem *mem = check_new(small_ranges, 2);
    fill_random((uint8_t *)info_of(mem, 0).host_addr + PAGE, (size_t)(3 * PAGE), seed);
    fill_random((uint8_t *)info_of(mem, 1).host_addr + 2 * PAGE, (size_t)PAGE, seed + 1);
    return mem;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    REQUIRE(lstat(path, &st) == 0);
    return st.st_mode;
}

/* ---- the file itself ---- */

static void test_every_byte(void)
{
    static const uint64_t flags[] = {0, GUESTMEM_SNAPSHOT_SYNC, GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES,
                                     GUESTMEM_SNAPSHOT_NO_CHECKSUM};
    struct guestmem *mem = memory_with_data(1);
    size_t i;
    for (i = 0; i < 4; i++) {
        struct guestmem_snapshot_options options = {flags[i], GUESTMEM_LAYOUT_PACKED, 2, NULL,
                                                    NULL};
        struct bytes image;
        errno = 1234;
        CHECK_OK(guestmem_save(mem, "image", &options, sizeof options));
        CHECK_EQ(errno, 1234);
        check_image("image", mem, !(flags[i] & GUESTMEM_SNAPSHOT_NO_CHECKSUM));
        check_loads("image", mem);
        /* both layouts mean the image */
        image = bytes_of("image");
        options.layout = GUESTMEM_LAYOUT_SPARSE;
        CHECK_OK(guestmem_save(mem, "other", &options, sizeof options));
        if (i != 0 || image.len == 0) /* reading has allocated what was a hole at first */
            CHECK(file_is("other", &image));
        free(image.at);
        REQUIRE(unlink("other") == 0);
    }
    CHECK_EQ(entries_in("."), 1);
    REQUIRE(unlink("image") == 0);
    guestmem_unref(mem);
}

/* It costs what was touched, on the disk too. */
static void test_holes(void)
{
    const struct guestmem_range range = {0, UINT64_C(1) << 30};
    struct guestmem *mem = check_new(&range, 1);
    struct stat st;
    int fd;
    CHECK_OK(guestmem_write_u64(mem, 0x2000000, 1));
    CHECK_OK(guestmem_write_u64(mem, range.size - 8, 1));
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    fd = open("image", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && fstat(fd, &st) == 0);
    CHECK((uint64_t)st.st_size > range.size && st.st_blocks * 512 < 1 << 20);
    CHECK(lseek(fd, 0, SEEK_DATA) == 0x2000000);
    CHECK(lseek(fd, 0x2000000, SEEK_HOLE) == 0x2000000 + (off_t)PAGE);
    CHECK(lseek(fd, 0x2000000 + (off_t)PAGE, SEEK_DATA) == (off_t)(range.size - PAGE));
    REQUIRE(close(fd) == 0 && unlink("image") == 0);
    CHECK_EQ(allocated_bytes(info_of(mem, 0).fd), 2 * PAGE);
    guestmem_unref(mem);
}

static void test_empty_memory(void)
{
    struct guestmem *mem = check_new(NULL, 0);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    check_image("image", mem, true);
    check_loads("image", mem);
    CHECK_OK(guestmem_restore_file(mem, "image", NULL, 0));
    REQUIRE(unlink("image") == 0);
    guestmem_unref(mem);
}

static void test_mode(void)
{
    static const mode_t masks[] = {0, 022, 0777};
    struct guestmem *mem = small_memory(2);
    size_t i;
    for (i = 0; i < 3; i++) {
        mode_t before;
        write_file("image", "old", 3);
        REQUIRE(chmod("image", 0666) == 0);
        before = umask(masks[i]);
        CHECK_OK(guestmem_save(mem, "image", NULL, 0));
        CHECK_EQ(umask(before), masks[i]);
        CHECK_EQ(mode_of("image"), S_IFREG | 0600);
        REQUIRE(unlink("image") == 0);
    }
    guestmem_unref(mem);
}

/* Past the page cache where the file system can; the same image. */
static void save_directly(const struct guestmem *mem)
{
    const struct guestmem_snapshot_options direct = {GUESTMEM_SNAPSHOT_DIRECT, 0, 0, NULL, NULL};
    struct bytes image;
    int fd = open("probe", O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    REQUIRE(unlink("probe") == 0);
    if (fd < 0) {
        SKIP_PART("no O_DIRECT on this file system");
    } else {
        REQUIRE(close(fd) == 0);
        CHECK_OK(guestmem_save(mem, "image", NULL, 0));
        image = bytes_of("image");
        CHECK_OK(guestmem_save(mem, "image", &direct, sizeof direct));
        CHECK(file_is("image", &image));
        CHECK_EQ(entries_in("."), 1);
        REQUIRE(unlink("image") == 0);
        free(image.at);
    }
}

static void test_direct(void)
{
    struct guestmem *mem = memory_with_data(3), *in_pieces = memory_in_pieces(4);
    save_directly(mem);
    save_directly(in_pieces);
    guestmem_unref(in_pieces);
    guestmem_unref(mem);
}

/* ---- what was there before ---- */

/* The link goes; what it led to stays. */
static void replace_link(const struct guestmem *mem, const char *target)
{
    const size_t before = entries_in(".");
    REQUIRE(symlink(target, "image") == 0);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    CHECK_EQ(mode_of("image"), S_IFREG | 0600);
    CHECK_EQ(entries_in("."), before + 1);
    check_image("image", mem, true);
    REQUIRE(unlink("image") == 0);
}

static void test_links(void)
{
    struct guestmem *mem = small_memory(4);
    const struct bytes kept = {(uint8_t *)(uintptr_t) "kept", 4};
    struct stat st;
    write_file("target", kept.at, kept.len);
    REQUIRE(mkdir("sub", 0700) == 0);
    replace_link(mem, "target");
    CHECK(file_is("target", &kept));
    replace_link(mem, "sub");
    CHECK_EQ(entries_in("sub"), 0);
    replace_link(mem, "nowhere");
    replace_link(mem, "sub/nowhere");
    replace_link(mem, "image"); /* to itself */

    /* another name of the old file keeps the old file */
    REQUIRE(link("target", "image") == 0);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    CHECK(file_is("target", &kept));
    REQUIRE(stat("image", &st) == 0);
    CHECK_EQ(st.st_nlink, 1);
    REQUIRE(unlink("image") == 0 && unlink("target") == 0);

    /* links on the way to the folder are followed */
    REQUIRE(symlink("sub", "way") == 0);
    CHECK_OK(guestmem_save(mem, "way/image", NULL, 0));
    check_image("sub/image", mem, true);
    CHECK_EQ(entries_in("sub"), 1);
    REQUIRE(unlink("way") == 0 && unlink("sub/image") == 0 && rmdir("sub") == 0);
    guestmem_unref(mem);
}

static void test_names(void)
{
    char longest[256], absolute[128];
    const char *const names[] = {"./image",  "sub/image",  "sub/../image", ".//sub/.//image",
                                 ".hidden",  "a name",     "-rf",          "\xff\xfe",
                                 "new\nline", "image.tmp", "...",          longest,
                                 absolute};
    struct guestmem *mem = small_memory(5);
    size_t i, round;
    memset(longest, 'n', sizeof longest);
    longest[255] = 0;
    (void)snprintf(absolute, sizeof absolute, "%s/image", test_folder);
    REQUIRE(mkdir("sub", 0700) == 0);
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (round = 0; round < 2; round++) /* onto a free name, and over an image */
            CHECK_OK(guestmem_save(mem, names[i], NULL, 0));
        check_image(names[i], mem, true);
        REQUIRE(unlink(names[i]) == 0);
        CHECK_EQ(entries_in("."), 1);
        CHECK_EQ(entries_in("sub"), 0);
    }
    REQUIRE(rmdir("sub") == 0);
    guestmem_unref(mem);
}

/* ---- the image that the memory is mapped from ---- */

static void test_over_its_own_image(void)
{
    struct guestmem *mem = memory_with_data(6), *mapped;
    struct bytes first;
    uint8_t *wanted;
    unsigned round;
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    first = bytes_of("image");
    REQUIRE(link("image", "first") == 0);
    mapped = load_with("image", GUESTMEM_LOAD_MAP);
    for (round = 0; round < 3; round++) {
        const uint64_t base = data_ranges[0].guest_addr, other = data_ranges[1].guest_addr;
        CHECK_OK(guestmem_dma_fill(mapped, base + round * 0x1800, 0x77, 0x900));
        CHECK_OK(guestmem_write_u64(mapped, other + round * PAGE, round));
        CHECK_OK(guestmem_remove_range(mapped, base + (100 + round) * PAGE, PAGE));
        wanted = copy_of(mapped);
        CHECK_OK(guestmem_save(mapped, "image", NULL, 0));
        CHECK(memory_is(mapped, wanted));
        check_image("image", mapped, true);
        check_loads("image", mapped);
        CHECK(memory_is(mapped, wanted));
        free(wanted);
    }
    CHECK(file_is("first", &first));
    CHECK_EQ(entries_in("."), 2);
    REQUIRE(unlink("image") == 0 && unlink("first") == 0);
    free(first.at);
    guestmem_unref(mapped), guestmem_unref(mem);
}

/* ---- while it runs ---- */

struct watch {
    const struct bytes *old;
    unsigned calls;
};

/* The old image is in its place, what lies beside it is nobody else's to read, and a program that
 * is started now inherits no descriptor. */
static int look_around(void *user, uint64_t done, uint64_t total)
{
    struct watch *watch = user;
    struct dirent *entry;
    DIR *dir;
    int fd;
    (void)done, (void)total;
    watch->calls++;
    CHECK(file_is("image", watch->old));
    dir = opendir(".");
    REQUIRE(dir != NULL);
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' || strlen(entry->d_name) > 2)
            CHECK(strcmp(entry->d_name, "image") == 0 ||
                  mode_of(entry->d_name) == (S_IFREG | 0600));
    REQUIRE(closedir(dir) == 0);
    for (fd = 3; fd < 100; fd++) {
        int flags = fcntl(fd, F_GETFD);
        CHECK(flags < 0 || (flags & FD_CLOEXEC));
    }
    return 0;
}

static void close_inherited(void)
{
    int fd;
    for (fd = 3; fd < 100; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags >= 0 && !(flags & FD_CLOEXEC)) (void)fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    }
}

static void test_while_it_runs(void)
{
    struct guestmem *mem = memory_with_data(7);
    struct bytes old;
    struct watch watch = {&old, 0};
    const struct guestmem_snapshot_options options = {0, 0, 2, look_around, &watch};
    mode_t before;
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    old = bytes_of("image");
    CHECK_OK(guestmem_write_u64(mem, data_ranges[0].guest_addr, 5));
    close_inherited();
    before = umask(0);
    CHECK_OK(guestmem_save(mem, "image", &options, sizeof options));
    (void)umask(before);
    CHECK(watch.calls > 0);
    CHECK(!file_is("image", &old));
    check_image("image", mem, true);
    free(old.at);
    REQUIRE(unlink("image") == 0);
    guestmem_unref(mem);
}

static void test_nothing_is_left_behind(void)
{
    struct guestmem *mem = small_memory(8);
    uint64_t fds, mappings = 0;
    unsigned round;
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    fds = count_fds();
    for (round = 0; round < 40; round++) {
        char *metadata = NULL;
        CHECK_OK(guestmem_save(mem, "image", NULL, 0));
        CHECK_CODE(guestmem_save(mem, "nowhere/image", NULL, 0), GUESTMEM_E_OS);
        CHECK_OK(guestmem_image_metadata("image", &metadata));
        guestmem_free(metadata);
        if (round == 20) mappings = count_mappings();
    }
    CHECK_EQ(count_fds(), fds);
    CHECK(fast() || count_mappings() <= mappings + 2); /* valgrind has its own */
    CHECK_EQ(count_threads(), 1);
    REQUIRE(unlink("image") == 0);
    guestmem_unref(mem);
}

/* ---- two at once, to one path ---- */

struct saver {
    const struct guestmem *mem;
    unsigned rounds;
    int running; /* atomic */
};

static void *keep_saving(void *argument)
{
    struct saver *saver = argument;
    while (saver->rounds-- > 0) CHECK_OK(guestmem_save(saver->mem, "image", NULL, 0));
    __atomic_store_n(&saver->running, 0, __ATOMIC_RELEASE);
    return NULL;
}

/* Whoever looks, whenever, finds one whole image or the other. */
static void test_two_savers(void)
{
    struct guestmem *mem[2];
    struct saver savers[2];
    pthread_t threads[2];
    unsigned looks = 0, i;
    bool running = true;
    for (i = 0; i < 2; i++) mem[i] = small_memory(10 * (i + 1));
    CHECK_OK(guestmem_save(mem[0], "image", NULL, 0));
    for (i = 0; i < 2; i++) {
        savers[i].mem = mem[i], savers[i].rounds = fast() ? 10 : 200, savers[i].running = 1;
        REQUIRE(pthread_create(&threads[i], NULL, keep_saving, &savers[i]) == 0);
    }
    while (running) {
        struct guestmem *seen;
        running = __atomic_load_n(&savers[0].running, __ATOMIC_ACQUIRE) ||
                  __atomic_load_n(&savers[1].running, __ATOMIC_ACQUIRE);
        seen = load_with("image",
                         looks++ % 2 ? GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY : UINT64_C(0));
        CHECK(same_memory(seen, mem[0]) || same_memory(seen, mem[1]));
        guestmem_unref(seen);
    }
    for (i = 0; i < 2; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
    CHECK_EQ(entries_in("."), 1);
    REQUIRE(unlink("image") == 0);
    guestmem_unref(mem[0]), guestmem_unref(mem[1]);
}

int main(void)
{
    static const char *const parents[] = {"/dev/shm", "/tmp"};
    size_t i;
    for (i = 0; i < 2; i++) {
        enter_folder(parents[i]);
        test_every_byte();
        test_holes();
        test_empty_memory();
        test_direct();
        test_links();
        test_over_its_own_image();
        CHECK_EQ(entries_in("."), 0);
        leave_folder();
    }
    enter_folder(fast_parent(UINT64_C(64) << 20));
    test_mode();
    test_names();
    test_while_it_runs();
    test_nothing_is_left_behind();
    test_two_savers();
    CHECK_EQ(entries_in("."), 0);
    return check_result();
}
