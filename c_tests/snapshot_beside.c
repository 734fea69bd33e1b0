/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Snapshots and restores of the same regions at the same time: several snapshots may be under way,
 * but a restore only alone. What comes second is refused, from every call and in whatever memory the
 * regions are, and the first goes on as if nothing had been.
 * runs: asan valgrind */
#include "support/images.h"
#include "support/snapshots.h"
#include <sys/wait.h>

/* What the calls made in between need: the first call's memory, or another with one of its regions. */
static struct guestmem *mem, *other, *whole;
static struct image packed;
static uint8_t *bytes;
static unsigned asked;

static int64_t take_all(void *user, const void *buf, size_t len)
{
    (void)user, (void)buf;
    return (int64_t)len;
}

static int64_t give(void *user, void *buf, size_t len)
{
    size_t *at = user;
    size_t left = (size_t)packed.size - *at;
    if (len > left) len = left;
    memcpy(buf, bytes + *at, len);
    *at += len;
    return (int64_t)len;
}

/* Every call that reads all of `target`. */
static void read_all(const struct guestmem *target, int code)
{
    char *text = NULL;
    int fd = new_memfd(0);
    CHECK_CODE(guestmem_snapshot(target, fd, NULL, 0, &text), code);
    guestmem_free(text);
    CHECK_CODE(guestmem_snapshot_write(target, take_all, NULL, NULL, 0, &text), code);
    guestmem_free(text);
    CHECK_CODE(guestmem_save(target, "beside", NULL, 0), code);
    CHECK_EQ(access("beside", F_OK) == 0, code == GUESTMEM_OK);
    (void)unlink("beside");
    REQUIRE(close(fd) == 0);
}

/* Every call that writes all of `target`, with data that is of `mem`. */
static void write_all(const struct guestmem *target, int code)
{
    size_t at = 0;
    int fd = dup(packed.fd);
    CHECK_CODE(guestmem_restore_read(target, packed.metadata, strlen(packed.metadata), give, &at,
                                     NULL, 0),
               code);
    CHECK_EQ(at, code == GUESTMEM_OK ? packed.size : 0);
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    CHECK_CODE(guestmem_restore(target, packed.metadata, strlen(packed.metadata), fd, NULL, 0),
               code);
    REQUIRE(close(fd) == 0);
    CHECK_CODE(guestmem_restore_file(target, "image", NULL, 0), code);
}

static void beside_a_snapshot(void)
{
    asked++;
    write_all(mem, GUESTMEM_E_BUSY);
    read_all(mem, GUESTMEM_OK);
    read_all(other, GUESTMEM_OK);
    CHECK_CODE(guestmem_restore_file(other, "other", NULL, 0), GUESTMEM_E_BUSY);
    /* That one has nothing in common with it. */
    write_all(whole, GUESTMEM_OK);
}

static void beside_a_restore(void)
{
    asked++;
    write_all(mem, GUESTMEM_E_BUSY);
    read_all(mem, GUESTMEM_E_BUSY);
    read_all(other, GUESTMEM_E_BUSY);
    CHECK_CODE(guestmem_restore_file(other, "other", NULL, 0), GUESTMEM_E_BUSY);
    read_all(whole, GUESTMEM_OK);
}

static int64_t take_beside(void *user, const void *buf, size_t len)
{
    if (asked == 0) beside_a_snapshot();
    return take_all(user, buf, len);
}

static int64_t give_beside(void *user, void *buf, size_t len)
{
    if (asked == 0) beside_a_restore();
    return give(user, buf, len);
}

typedef void (*beside)(void);
static beside in_a_snapshot = beside_a_snapshot, in_a_restore = beside_a_restore;

static int tell(void *user, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    if (asked == 0) (*(beside *)user)();
    return 0;
}

/* Nothing is left of the call before: all may begin anew. */
static void nothing_is_left(void)
{
    CHECK_EQ(asked, 1);
    asked = 0;
    read_all(mem, GUESTMEM_OK);
    write_all(mem, GUESTMEM_OK);
    CHECK(same_memory(mem, whole));
    CHECK_OK(guestmem_restore_file(other, "other", NULL, 0));
}

static void test_beside_snapshots(void)
{
    struct guestmem_snapshot_options options = {0, 0, 0, tell, &in_a_snapshot};
    char *text;
    int fd = new_memfd(0);
    CHECK_OK(guestmem_snapshot(mem, fd, &options, sizeof options, &text));
    guestmem_free(text);
    nothing_is_left();
    CHECK_OK(guestmem_snapshot_write(mem, take_beside, NULL, NULL, 0, &text));
    guestmem_free(text);
    nothing_is_left();
    CHECK_OK(guestmem_save(mem, "saved", &options, sizeof options));
    nothing_is_left();
    REQUIRE(close(fd) == 0);
}

static void test_beside_restores(void)
{
    struct guestmem_restore_options options = {0, 0, 0, tell, &in_a_restore};
    size_t at = 0;
    int fd = dup(packed.fd);
    CHECK_OK(guestmem_restore_read(mem, packed.metadata, strlen(packed.metadata), give_beside, &at,
                                   NULL, 0));
    nothing_is_left();
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    options.progress = NULL;
    CHECK_OK(guestmem_restore(mem, packed.metadata, strlen(packed.metadata), fd, &options,
                              sizeof options));
    options.progress = tell;
    CHECK_OK(guestmem_restore_file(mem, "image", &options, sizeof options));
    nothing_is_left();
    REQUIRE(close(fd) == 0);
}

/* ---- calls that fail ---- */

static int64_t refuse(void *user, const void *buf, size_t len)
{
    (void)user, (void)buf, (void)len;
    return -EIO;
}

static int stop(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    return 1;
}

static void test_failed_calls_leave_nothing(void)
{
    struct guestmem_snapshot_options options = {0, 0, 0, stop, NULL};
    struct guestmem_restore_options restoring = {0, 0, 0, stop, NULL};
    char *text;
    asked = 1;
    CHECK_CODE(guestmem_snapshot_write(mem, refuse, NULL, NULL, 0, &text), GUESTMEM_E_IO);
    CHECK_CODE(guestmem_snapshot(mem, -1, NULL, 0, &text), GUESTMEM_E_IO);
    CHECK_CODE(guestmem_save(mem, "none/image", NULL, 0), GUESTMEM_E_OS);
    CHECK_CODE(guestmem_save(mem, "saved", &options, sizeof options), GUESTMEM_E_CANCELLED);
    nothing_is_left();
    asked = 1;
    CHECK_CODE(guestmem_restore_file(mem, "image", &restoring, sizeof restoring),
               GUESTMEM_E_CANCELLED);
    CHECK_CODE(guestmem_restore(mem, packed.metadata, strlen(packed.metadata), -1, NULL, 0),
               GUESTMEM_E_IO);
    CHECK_OK(guestmem_restore_file(mem, "image", NULL, 0));
    nothing_is_left();
}

/* ---- children ---- */

static int64_t take_in_child(void *user, const void *buf, size_t len)
{
    if (asked++ == 0) {
        pid_t child = fork();
        int status;
        REQUIRE(child >= 0);
        if (child == 0) {
            /* The thread that is at work in the parent, and could be another, is not at work here. */
            write_all(mem, GUESTMEM_OK);
            read_all(mem, GUESTMEM_OK);
            _exit(check_result());
        }
        REQUIRE(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        write_all(mem, GUESTMEM_E_BUSY);
    }
    return take_all(user, buf, len);
}

static void test_a_child_holds_nothing(void)
{
    char *text;
    asked = 0;
    CHECK_OK(guestmem_snapshot_write(mem, take_in_child, NULL, NULL, 0, &text));
    guestmem_free(text);
    asked = 1;
    nothing_is_left();
}

int main(void)
{
    struct guestmem_region *region;
    size_t len;
    enter_folder("/tmp");
    mem = memory_with_data(7), whole = memory_with_data(7);
    REQUIRE(guestmem_remove_region(mem, data_ranges[1].guest_addr, &region) == GUESTMEM_OK);
    REQUIRE(guestmem_from_regions(&region, 1, &other) == GUESTMEM_OK);
    CHECK_OK(guestmem_add_region(mem, region));
    guestmem_region_unref(region);
    packed = image_of(mem, NULL);
    bytes = malloc((size_t)packed.size);
    REQUIRE(bytes != NULL);
    len = (size_t)pread(packed.fd, bytes, (size_t)packed.size, 0);
    REQUIRE(len == packed.size);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    CHECK_OK(guestmem_save(other, "other", NULL, 0));
    test_beside_snapshots();
    test_beside_restores();
    test_failed_calls_leave_nothing();
    test_a_child_holds_nothing();
    free(bytes);
    image_free(&packed);
    guestmem_unref(mem);
    guestmem_unref(other);
    guestmem_unref(whole);
    return check_result();
}
