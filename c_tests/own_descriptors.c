/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Threads of which /proc/self tells nothing: one with a table of descriptors of its own, in which the
 * numbers are other files than in the first thread's, and one that goes on when the first thread has
 * ended. Each makes, saves, restores and loads memory of every backing, as any thread may.
 * runs: asan valgrind */
#include "support/guest.h"
#include "support/json.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

enum { REGIONS = 6, PAGES = 16, AT = 5, DISCARDED = 7 };
#define SIZE (PAGES * PAGE)
#define BASE(region) ((uint64_t)(region) * 2 * SIZE)

static char image[80];
static pthread_t first;
static pthread_barrier_t meet;

/* Memory of every backing. A page of each is written by the guest, and one of each shared file by
 * somebody else. */
static struct guestmem *new_memory(void)
{
    struct guestmem_region_options options[REGIONS];
    int fds[3] = {new_disk_file(SIZE), new_memfd(SIZE), new_memfd(SIZE)};
    struct guestmem *mem;
    memset(options, 0, sizeof options);
    for (size_t i = 0; i < REGIONS; i++) options[i].guest_addr = BASE(i), options[i].size = SIZE;
    options[1].flags = GUESTMEM_REGION_PRIVATE;
    options[2].flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE, options[2].fd = fds[0];
    options[3].flags = GUESTMEM_REGION_FD, options[3].fd = fds[1];
    options[4].flags = GUESTMEM_REGION_HOST | GUESTMEM_REGION_FD, options[4].fd = fds[2];
    options[4].host_addr = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[2], 0);
    options[5].flags = GUESTMEM_REGION_HOST;
    options[5].host_addr = new_host_memory(SIZE);
    REQUIRE(options[4].host_addr != MAP_FAILED);
    CHECK_OK(guestmem_new_with_options(options, REGIONS, sizeof *options, &mem));
    for (size_t i = 0; i < REGIONS; i++) {
        int fd = -1;
        CHECK_OK(guestmem_write_u64(mem, BASE(i) + AT * PAGE, 100 + i));
        if (i != 0 && i != 3) continue;
        CHECK_OK(guestmem_shm_region(mem, BASE(i), &fd));
        REQUIRE(pwrite(fd, "others", 6, (PAGES - 1) * (off_t)PAGE) == 6);
    }
    for (size_t i = 0; i < 3; i++) REQUIRE(close(fds[i]) == 0);
    return mem;
}

static void check_memory(const struct guestmem *mem, const char *what)
{
    for (size_t i = 0; i < REGIONS; i++) {
        char others[6] = "";
        uint64_t value = 0;
        CHECK_OK(guestmem_read_u64(mem, BASE(i) + AT * PAGE, &value));
        CHECK_OK(guestmem_read_exact(mem, BASE(i) + (PAGES - 1) * PAGE, others, 6));
        if (value != 100 + i) fprintf(stderr, "%s: region %zu\n", what, i);
        CHECK_EQ(value, 100 + i);
        CHECK((memcmp(others, "others", 6) == 0) == (i == 0 || i == 3));
    }
}

static void spoil(struct guestmem *mem)
{
    for (size_t i = 0; i < REGIONS; i++)
        CHECK_OK(guestmem_write_u64(mem, BASE(i) + AT * PAGE, 1)),
            CHECK_OK(guestmem_write_u64(mem, BASE(i) + (PAGES - 1) * PAGE, 1));
}

static void snapshot_and_restore(struct guestmem *mem, struct guestmem_snapshot_options how)
{
    const int fd = new_disk_file(0);
    char *metadata = NULL;
    const int code = guestmem_snapshot(mem, fd, &how, sizeof how, &metadata);
    if (code == GUESTMEM_E_UNSUPPORTED && how.flags & GUESTMEM_SNAPSHOT_DIRECT) {
        SKIP_PART("no direct writes here");
    } else {
        CHECK_CODE(code, GUESTMEM_OK);
        spoil(mem);
        REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
        CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), fd, NULL, 0));
        check_memory(mem, "a snapshot");
    }
    guestmem_free(metadata);
    REQUIRE(close(fd) == 0);
}

static void save_and_load(struct guestmem *mem, uint64_t flags)
{
    struct guestmem_load_options how = {.flags = flags};
    struct guestmem *loaded = NULL;
    CHECK_OK(guestmem_save(mem, image, NULL, 0));
    spoil(mem);
    CHECK_OK(guestmem_restore_file(mem, image, NULL, 0));
    check_memory(mem, "an image");
    CHECK_OK(guestmem_load(image, &how, sizeof how, &loaded));
    if (loaded == NULL) return;
    check_memory(loaded, "loaded");
    CHECK_OK(guestmem_write_u64(loaded, 0, 7));
    CHECK_OK(guestmem_save(loaded, image, NULL, 0));
    CHECK_OK(guestmem_restore_file(mem, image, NULL, 0));
    check_memory(mem, "saved again");
    guestmem_unref(loaded);
}

/* The file behind it is found by the mapping, which takes a privilege. */
static void snapshot_without_file(void)
{
    const int fd = new_memfd(SIZE), out = new_memfd(0);
    struct guestmem_region_options option = {.size = SIZE, .flags = GUESTMEM_REGION_HOST};
    struct guestmem *mem = NULL;
    char *metadata = NULL;
    int code;
    option.host_addr = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(option.host_addr != MAP_FAILED && pwrite(fd, "others", 6, 2 * (off_t)PAGE) == 6);
    REQUIRE(guestmem_new_with_options(&option, 1, sizeof option, &mem) == GUESTMEM_OK);
    code = guestmem_snapshot(mem, out, NULL, 0, &metadata);
    if (code == GUESTMEM_E_UNSUPPORTED && geteuid() != 0)
        SKIP_PART("no privilege to open map_files of /proc");
    else
        CHECK_CODE(code, GUESTMEM_OK);
    if (code == GUESTMEM_OK) CHECK_EQ(allocated_bytes(out), PAGE);
    guestmem_free(metadata);
    guestmem_unref(mem);
    REQUIRE(close(fd) == 0 && close(out) == 0 && munmap(option.host_addr, SIZE) == 0);
}

static void use_everything(void)
{
    const struct guestmem_snapshot_options ways[] = {
        {.flags = 0},
        {.layout = GUESTMEM_LAYOUT_SPARSE},
        {.flags = GUESTMEM_SNAPSHOT_DIRECT},
        {.flags = GUESTMEM_SNAPSHOT_DIRECT, .layout = GUESTMEM_LAYOUT_SPARSE},
    };
    struct guestmem *mem = new_memory();
    char *json = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) snapshot_and_restore(mem, ways[i]);
    save_and_load(mem, 0);
    save_and_load(mem, GUESTMEM_LOAD_MAP);
    for (size_t i = 0; i < REGIONS; i++) {
        CHECK_OK(guestmem_write_u64(mem, BASE(i) + DISCARDED * PAGE, 1));
        CHECK_OK(guestmem_remove_range(mem, BASE(i) + DISCARDED * PAGE, PAGE));
    }
    CHECK_OK(guestmem_describe(mem, &json));
    CHECK(json != NULL && json_number(json, "resident") > 0);
    guestmem_free(json);
    /* which may be refused, but not for want of a file that cannot be found */
    const int code = guestmem_set_memory_policy(mem, GUESTMEM_POLICY_USE_HUGEPAGES);
    CHECK(code == GUESTMEM_OK || last_error().os_errno != ENOENT);
    guestmem_unref(mem);
    snapshot_without_file();
}

/* ---- a table of its own ---- */

static void *with_own_table(void *unused)
{
    (void)unused;
    REQUIRE(unshare(CLONE_FILES) == 0);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    use_everything();
    return NULL;
}

/* What the first thread opens has the numbers that come next in the other, and is nothing like what is
 * opened there. */
static int own_table(void)
{
    pthread_t thread;
    REQUIRE(pthread_barrier_init(&meet, NULL, 2) == 0);
    REQUIRE(pthread_create(&thread, NULL, with_own_table, NULL) == 0);
    pthread_barrier_wait(&meet);
    for (int n = 0; n < 40; n++) {
        const int fd = n % 2 ? new_memfd(2 * SIZE) : open(test_folder, O_TMPFILE | O_RDWR, 0600);
        REQUIRE(fd < 0 || write(fd, "a secret", 8) == 8);
    }
    pthread_barrier_wait(&meet);
    REQUIRE(pthread_join(thread, NULL) == 0);
    return check_result();
}

/* ---- no first thread ---- */

static void *without_first(void *unused)
{
    (void)unused;
    REQUIRE(pthread_join(first, NULL) == 0);
    for (int n = 0; n < 1000 && access("/proc/self/pagemap", F_OK) == 0; n++) {
        const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        if (fd < 0) break; /* now the kernel has let go of it */
        close(fd);
        usleep(1000);
    }
    use_everything();
    exit(check_result());
}

static int first_ended(void)
{
    pthread_t thread;
    first = pthread_self();
    REQUIRE(pthread_create(&thread, NULL, without_first, NULL) == 0);
    pthread_exit(NULL);
}

/* ---- neither /proc nor its names ---- */

/* What is left is to save what needs no look at page tables: nothing does, so it is refused, and
 * nothing is left behind. */
static int without_proc(void)
{
    struct guestmem *mem;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/proc", "tmpfs", 0, NULL) != 0) {
        SKIP_PART("no mounts of its own");
        return 0;
    }
    mem = new_memory();
    CHECK_CODE(guestmem_save(mem, image, NULL, 0), GUESTMEM_E_UNSUPPORTED);
    CHECK(access(image, F_OK) != 0);
    guestmem_unref(mem);
    return check_result();
}

static void run(const char *what, int (*part)(void))
{
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        check_failures = 0;
        status = part();
        (void)fflush(NULL);
        _exit(status); /* a leak checker finds nothing out where there is no /proc */
    }
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
    if (status != 0) fprintf(stderr, "%s: status %d\n", what, status);
    CHECK_EQ(status, 0);
    (void)unlink(image);
}

int main(void)
{
    folder_new("/tmp");
    (void)snprintf(image, sizeof image, "%s/image", test_folder);
    run("a table of its own", own_table);
    if (fast())
        SKIP_PART("a first thread that ends looks like a leak");
    else
        run("no first thread", first_ended);
    run("no /proc", without_proc);
    CHECK_EQ(entries_in(test_folder), 0);
    return check_result();
}
