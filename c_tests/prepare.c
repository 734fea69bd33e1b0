/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Programs that change their user without exec, or shut themselves in: what they opened of /proc before
 * serves them afterwards, by guestmem_prepare() or because a snapshot had opened it. What was kept is
 * never taken for what it is not: not in a forked child, not when its number is another file's.
 * runs: asan valgrind */
#include "support/guest.h"
#include "support/json.h"
#include "support/system.h"
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { REGIONS = 4, PAGES = 16, AT = 5, NOBODY = 65534 };
#define SIZE (PAGES * PAGE)
#define BASE(region) ((uint64_t)(region) * 2 * SIZE)

static struct guestmem *new_memory(void)
{
    struct guestmem_region_options options[REGIONS];
    const int fd = new_memfd(SIZE);
    struct guestmem *mem;
    memset(options, 0, sizeof options);
    for (size_t i = 0; i < REGIONS; i++) options[i].guest_addr = BASE(i), options[i].size = SIZE;
    options[1].flags = GUESTMEM_REGION_PRIVATE;
    options[2].flags = GUESTMEM_REGION_HOST, options[2].host_addr = new_host_memory(SIZE);
    options[3].flags = GUESTMEM_REGION_HOST | GUESTMEM_REGION_FD, options[3].fd = fd;
    options[3].host_addr = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(options[3].host_addr != MAP_FAILED);
    CHECK_OK(guestmem_new_with_options(options, REGIONS, sizeof *options, &mem));
    for (size_t i = 0; i < REGIONS; i++)
        CHECK_OK(guestmem_write_u64(mem, BASE(i) + AT * PAGE, 100 + i));
    REQUIRE(close(fd) == 0);
    return mem;
}

/* An image of it, mapped, and written to. Only its owner may read its file. */
static struct guestmem *new_clone(struct guestmem *mem)
{
    const struct guestmem_load_options map = {.flags = GUESTMEM_LOAD_MAP};
    struct guestmem *clone = NULL;
    CHECK_OK(guestmem_save(mem, "template", NULL, 0));
    CHECK_OK(guestmem_load("template", &map, sizeof map, &clone));
    REQUIRE(clone != NULL && unlink("template") == 0);
    CHECK_OK(guestmem_write_u64(clone, BASE(1), 77));
    return clone;
}

static void check_memory(const struct guestmem *mem, uint64_t first)
{
    for (size_t i = 0; i < REGIONS; i++) {
        uint64_t value = 0;
        CHECK_OK(guestmem_read_u64(mem, BASE(i) + AT * PAGE, &value));
        CHECK_EQ(value, first + i);
    }
}

/* An image that another memory is made of. The page that was written last is there, and no more. */
static void save(struct guestmem *mem, int expected)
{
    struct guestmem *loaded = NULL;
    struct stat st;
    char *text = NULL;
    CHECK_CODE(guestmem_save(mem, "image", NULL, 0), expected);
    if (expected != GUESTMEM_OK) {
        CHECK(access("image", F_OK) != 0);
        return;
    }
    CHECK_OK(guestmem_load("image", NULL, 0, &loaded));
    if (loaded != NULL) check_memory(loaded, 100);
    guestmem_unref(loaded);
    CHECK_OK(guestmem_image_metadata("image", &text));
    REQUIRE(text != NULL && stat("image", &st) == 0 && unlink("image") == 0);
    CHECK(st.st_blocks * 512 < (off_t)(REGIONS * SIZE) / 2); /* holes are holes */
    guestmem_free(text);
}

static void snapshot_and_restore(struct guestmem *mem, uint32_t layout)
{
    const struct guestmem_snapshot_options how = {.layout = layout};
    const int fd = open("snapshot", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char *metadata = NULL;
    REQUIRE(fd >= 0 && unlink("snapshot") == 0);
    CHECK_OK(guestmem_snapshot(mem, fd, &how, sizeof how, &metadata));
    for (size_t i = 0; i < REGIONS; i++) {
        CHECK_OK(guestmem_write_u64(mem, BASE(i) + AT * PAGE, 1));
        CHECK_OK(guestmem_write_u64(mem, BASE(i) + (AT + 1) * PAGE, 1));
    }
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    if (metadata != NULL)
        CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), fd, NULL, 0));
    check_memory(mem, 100);
    for (size_t i = 0; i < REGIONS; i++) {
        uint64_t value = 1;
        CHECK_OK(guestmem_read_u64(mem, BASE(i) + (AT + 1) * PAGE, &value));
        CHECK_EQ(value, 0);
    }
    guestmem_free(metadata);
    REQUIRE(close(fd) == 0);
}

static void use_everything(struct guestmem *mem, struct guestmem *clone)
{
    char *json = NULL;
    uint64_t value = 0;
    save(mem, GUESTMEM_OK);
    save(clone, GUESTMEM_OK);
    CHECK_OK(guestmem_read_u64(clone, BASE(1), &value));
    CHECK_EQ(value, 77);
    snapshot_and_restore(mem, GUESTMEM_LAYOUT_PACKED);
    snapshot_and_restore(mem, GUESTMEM_LAYOUT_SPARSE);
    snapshot_and_restore(clone, GUESTMEM_LAYOUT_PACKED);
    for (size_t i = 0; i < REGIONS; i++) {
        CHECK_OK(guestmem_write_u64(mem, BASE(i) + 9 * PAGE, 1));
        CHECK_OK(guestmem_remove_range(mem, BASE(i) + 9 * PAGE, PAGE));
    }
    CHECK_OK(guestmem_describe(mem, &json));
    CHECK(json != NULL && json_number(json, "resident") > 0);
    guestmem_free(json);
}

static void enter(void)
{
    REQUIRE(chdir(test_folder) == 0);
    REQUIRE(chmod(".", 0777) == 0);
}

static void drop_root(void)
{
    REQUIRE(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
    REQUIRE(prctl(PR_GET_DUMPABLE) == 0);
}

/* ---- another user ---- */

static void other_user(void)
{
    struct guestmem *mem = new_memory(), *clone = new_clone(mem);
    CHECK_OK(guestmem_prepare());
    drop_root();
    CHECK_OK(guestmem_prepare()); /* all is there */
    use_everything(mem, clone);
    use_everything(new_memory(), clone);
}

/* A snapshot before is as good. */
static void other_user_unprepared(void)
{
    struct guestmem *mem = new_memory(), *clone = new_clone(mem);
    drop_root();
    use_everything(mem, clone);
}

/* Nothing was opened in time. */
static void other_user_too_late(void)
{
    struct guestmem *mem = new_memory();
    drop_root();
    CHECK_CODE(guestmem_prepare(), GUESTMEM_E_UNSUPPORTED);
    save(mem, GUESTMEM_E_UNSUPPORTED);
    REQUIRE(prctl(PR_SET_DUMPABLE, 1) == 0);
    CHECK_OK(guestmem_prepare());
    REQUIRE(prctl(PR_SET_DUMPABLE, 0) == 0);
    save(mem, GUESTMEM_OK);
}

/* ---- in a jail ---- */

static void jailed(void)
{
    struct guestmem *mem = new_memory(), *clone = new_clone(mem);
    CHECK_OK(guestmem_prepare());
    REQUIRE(chroot(".") == 0 && chdir("/") == 0 && access("/proc", F_OK) != 0);
    drop_root();
    use_everything(mem, clone);
    use_everything(new_memory(), clone);
}

/* The thread that prepared has ended; others go on. */
static void *prepare_in_thread(void *unused)
{
    (void)unused;
    CHECK_OK(guestmem_prepare());
    return NULL;
}

static void *use_in_thread(void *mems)
{
    struct guestmem **both = mems;
    use_everything(both[0], both[1]);
    return NULL;
}

static void in_thread(void *(*start)(void *), void *argument)
{
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, start, argument) == 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
}

static void jailed_by_threads(void)
{
    struct guestmem *mems[2] = {new_memory()};
    mems[1] = new_clone(mems[0]);
    in_thread(prepare_in_thread, NULL);
    REQUIRE(chroot(".") == 0 && chdir("/") == 0);
    in_thread(use_in_thread, mems);
    use_everything(mems[0], mems[1]);
}

/* ---- what was kept is something else ---- */

/* A child's memory is its own, and what was kept tells of its parent. */
static void forked(void)
{
    struct guestmem *mem = new_memory();
    int status = 0;
    pid_t child;
    CHECK_OK(guestmem_prepare());
    child = fork();
    if (child == 0) {
        for (size_t i = 1; i < 3; i++) CHECK_OK(guestmem_write_u64(mem, BASE(i) + 11 * PAGE, 5));
        snapshot_and_restore(mem, GUESTMEM_LAYOUT_PACKED);
        for (size_t i = 1; i < 3; i++) {
            uint64_t value = 0;
            CHECK_OK(guestmem_read_u64(mem, BASE(i) + 11 * PAGE, &value));
            CHECK_EQ(value, 5);
        }
        /* nothing tells of this process here */
        REQUIRE(chroot(".") == 0 && chdir("/") == 0);
        if (fork() == 0) {
            save(mem, GUESTMEM_E_UNSUPPORTED);
            CHECK_CODE(guestmem_prepare(), GUESTMEM_E_UNSUPPORTED);
            _exit(check_result());
        }
        REQUIRE(wait(&status) > 0);
        CHECK_EQ(status, 0);
        _exit(check_result());
    }
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_EQ(status, 0);
    check_memory(mem, 100);
}

static void close_all(int but)
{
    for (int fd = 3; fd < 1000; fd++)
        if (fd != but) (void)close(fd);
}

/* Every descriptor was closed, and its number is another file's. */
static void closed(void)
{
    struct guestmem_region_options option = {.size = SIZE, .flags = GUESTMEM_REGION_PRIVATE};
    struct guestmem *mem = NULL;
    int secret = open("secret", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(secret >= 0 && write(secret, "a secret", 8) == 8);
    CHECK_OK(guestmem_new_with_options(&option, 1, sizeof option, &mem));
    CHECK_OK(guestmem_write_u64(mem, AT * PAGE, 1));
    CHECK_OK(guestmem_prepare());
    close_all(secret);
    for (int fd = 3; fd < 64; fd++) REQUIRE(fd == secret || dup2(secret, fd) == fd);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    drop_root();
    CHECK_CODE(guestmem_save(mem, "other", NULL, 0), GUESTMEM_E_UNSUPPORTED);
    CHECK_EQ(lseek(secret, 0, SEEK_CUR), 8);
    for (int fd = 3; fd < 64; fd++) REQUIRE(fcntl(fd, F_GETFD) >= 0);
    REQUIRE(prctl(PR_SET_DUMPABLE, 1) == 0);
    CHECK_OK(guestmem_prepare());
    REQUIRE(prctl(PR_SET_DUMPABLE, 0) == 0);
    CHECK_OK(guestmem_save(mem, "other", NULL, 0));
}

/* A thread with a table of its own has what was there when it got that, and no more. */
static void *own_table(void *mem)
{
    REQUIRE(unshare(CLONE_FILES) == 0);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    close_all(-1);
    CHECK_CODE(guestmem_save(mem, "other", NULL, 0), GUESTMEM_E_UNSUPPORTED);
    return NULL;
}

static void threads_with_tables(void)
{
    struct guestmem_region_options option = {.size = SIZE, .flags = GUESTMEM_REGION_PRIVATE};
    struct guestmem *mem = NULL;
    CHECK_OK(guestmem_new_with_options(&option, 1, sizeof option, &mem));
    CHECK_OK(guestmem_prepare());
    drop_root();
    in_thread(own_table, mem);
    CHECK_OK(guestmem_save(mem, "other", NULL, 0));
}

/* ---- descriptors ---- */

static size_t descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 1000; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Set up once, however often it is called; all of it is close-on-exec, and none is a folder. */
static void counted(void)
{
    const size_t before = descriptors();
    struct guestmem *mem;
    bool was_open[1000];
    size_t prepared;
    for (int fd = 0; fd < 1000; fd++) was_open[fd] = fcntl(fd, F_GETFD) >= 0;
    CHECK_OK(guestmem_prepare());
    prepared = descriptors();
    CHECK(prepared >= before + 3 && prepared <= before + 4);
    for (int round = 0; round < 50; round++) {
        mem = new_memory();
        CHECK_OK(guestmem_prepare());
        save(mem, GUESTMEM_OK);
        guestmem_unref(mem);
    }
    CHECK_EQ(descriptors(), prepared);
    for (int fd = 0; fd < 1000; fd++) {
        const int flags = fcntl(fd, F_GETFD);
        struct stat st;
        if (flags < 0 || was_open[fd]) continue;
        REQUIRE(fstat(fd, &st) == 0);
        CHECK(flags & FD_CLOEXEC);
        CHECK(!S_ISDIR(st.st_mode));
    }
}

/* Generations of children do not gather what their parents kept. */
static void generations(void)
{
    size_t before = 0;
    for (int round = 0; round < 5; round++) {
        int status = 0;
        pid_t child;
        CHECK_OK(guestmem_prepare());
        if (round == 0) before = descriptors();
        CHECK_EQ(descriptors(), before);
        child = fork();
        if (child == 0) continue;
        REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
        exit(check_result() != 0 || status != 0);
    }
}

/* ---- */

static void run(const char *what, void (*part)(void))
{
    int status = 0;
    pid_t child;
    folder_new("/tmp");
    child = fork();
    if (child == 0) {
        check_failures = 0;
        enter();
        part();
        status = check_result();
        (void)fflush(NULL);
        _exit(status); /* a leak checker finds nothing out where there is no /proc */
    }
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
    if (status != 0) fprintf(stderr, "%s: status %d\n", what, status);
    CHECK_EQ(status, 0);
    leave_folder();
}

int main(void)
{
    run("counted", counted);
    run("generations", generations);
    if (geteuid() == 0) {
        run("another user", other_user);
        run("another user, unprepared", other_user_unprepared);
        run("another user, too late", other_user_too_late);
        run("in a jail", jailed);
        run("in a jail, by threads", jailed_by_threads);
        run("forked", forked);
        run("closed", closed);
        run("tables of their own", threads_with_tables);
    } else {
        SKIP_PART("not root, which could change its user");
    }
    return check_result();
}
