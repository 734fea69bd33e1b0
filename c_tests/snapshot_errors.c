/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Snapshot and restore whose arguments, descriptors or callbacks will not do: the code, that memory
 * is as it was or known to be tainted, and no signal.
 * runs: asan valgrind */
#include "support/snapshots.h"
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* ---- arguments ---- */

static void refuse_options(const struct guestmem *mem, uint64_t flags, uint32_t layout,
                           int expected)
{
    struct guestmem_snapshot_options options = {flags, layout, 0, NULL, NULL};
    struct stream stream;
    char *metadata = (char *)&options;
    int fd = new_memfd(0);
    stream_new(&stream, 16);
    CHECK_CODE(guestmem_snapshot(mem, fd, &options, sizeof options, &metadata), expected);
    CHECK(metadata == NULL && lseek(fd, 0, SEEK_END) == 0);
    metadata = (char *)&options;
    CHECK_CODE(
        guestmem_snapshot_write(mem, stream_write, &stream, &options, sizeof options, &metadata),
        expected);
    CHECK(metadata == NULL && stream.calls == 0);
    free(stream.bytes);
    REQUIRE(close(fd) == 0);
}

static void refuse_restore_options(const struct guestmem *mem, uint64_t flags, uint32_t reserved)
{
    struct guestmem_restore_options options = {flags, 0, reserved, NULL, NULL};
    struct image image = image_of(mem, NULL);
    uint8_t *before = copy_of(mem);
    CHECK_CODE(guestmem_restore(mem, image.metadata, strlen(image.metadata), image.fd, &options,
                                sizeof options),
               GUESTMEM_E_INVALID_ARGUMENT);
    check_untouched(mem, before);
    free(before);
    image_free(&image);
}

static void test_options(void)
{
    struct guestmem *mem = memory_with_data(1);
    refuse_options(mem, 0, 7, GUESTMEM_E_INVALID_ARGUMENT);
    refuse_options(mem, 0, UINT32_MAX, GUESTMEM_E_INVALID_ARGUMENT);
    refuse_options(mem, 16, 0, GUESTMEM_E_INVALID_ARGUMENT);
    refuse_options(mem, UINT64_C(1) << 63, 0, GUESTMEM_E_INVALID_ARGUMENT);
    refuse_options(mem, GUESTMEM_SNAPSHOT_SYNC | UINT64_C(1) << 32, 0, GUESTMEM_E_INVALID_ARGUMENT);
    refuse_options(mem, GUESTMEM_SNAPSHOT_DIRECT, 2, GUESTMEM_E_INVALID_ARGUMENT);
    refuse_restore_options(mem, 2, 0);
    refuse_restore_options(mem, UINT64_C(1) << 63 | GUESTMEM_RESTORE_MORE_FOLLOWS, 0);
    refuse_restore_options(mem, 0, 1);
    guestmem_unref(mem);
}

/* What cannot be written at offsets, or past the page cache: not one byte goes there. */
static void refuse_target(const struct guestmem *mem, int fd, uint64_t flags, uint32_t layout)
{
    const struct guestmem_snapshot_options options = {flags, layout, 0, NULL, NULL};
    char *metadata = (char *)(uintptr_t)&options;
    CHECK_CODE(guestmem_snapshot(mem, fd, &options, sizeof options, &metadata),
               GUESTMEM_E_UNSUPPORTED);
    CHECK(metadata == NULL);
}

static void test_targets(void)
{
    static const struct guestmem_snapshot_options wrong[] = {
        {0, GUESTMEM_LAYOUT_SPARSE, 0, NULL, NULL},
        {GUESTMEM_SNAPSHOT_SYNC, 0, 0, NULL, NULL},
        {GUESTMEM_SNAPSHOT_DIRECT, 0, 0, NULL, NULL}};
    struct guestmem *mem = memory_with_data(18);
    int pipe_ends[2], sockets[2], file = new_disk_file(3), waiting, i;
    int append = reopen(file, O_RDWR | O_APPEND), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0 && null >= 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    refuse_target(mem, pipe_ends[1], 0, GUESTMEM_LAYOUT_SPARSE);
    refuse_target(mem, pipe_ends[1], GUESTMEM_SNAPSHOT_DIRECT, 0);
    refuse_target(mem, sockets[1], 0, GUESTMEM_LAYOUT_SPARSE);
    refuse_target(mem, sockets[1], GUESTMEM_SNAPSHOT_DIRECT, 0);
    refuse_target(mem, null, 0, GUESTMEM_LAYOUT_SPARSE);
    refuse_target(mem, append, 0, GUESTMEM_LAYOUT_SPARSE);
    CHECK(ioctl(pipe_ends[0], FIONREAD, &waiting) == 0 && waiting == 0);
    CHECK(ioctl(sockets[0], FIONREAD, &waiting) == 0 && waiting == 0);
    CHECK(lseek(file, 0, SEEK_END) == 3);
    for (i = 0; i < 3; i++) {
        struct stream stream;
        char *metadata = (char *)&stream;
        stream_new(&stream, 16);
        CHECK_CODE(guestmem_snapshot_write(mem, stream_write, &stream, &wrong[i], sizeof wrong[i],
                                           &metadata),
                   GUESTMEM_E_UNSUPPORTED);
        CHECK(metadata == NULL && stream.calls == 0);
        free(stream.bytes);
    }
    for (i = 0; i < 2; i++) REQUIRE(close(pipe_ends[i]) == 0 && close(sockets[i]) == 0);
    REQUIRE(close(file) == 0 && close(append) == 0 && close(null) == 0);
    guestmem_unref(mem);
}

static void test_descriptors(void)
{
    struct guestmem *mem = memory_with_data(2);
    struct image image = image_of(mem, NULL);
    int read_only = reopen(image.fd, O_RDONLY), write_only = reopen(image.fd, O_WRONLY);
    uint8_t *before = copy_of(mem);
    char *metadata = (char *)&image;
    CHECK_CODE(guestmem_snapshot(mem, -1, NULL, 0, &metadata), GUESTMEM_E_IO);
    CHECK(metadata == NULL && last_error().os_errno == EBADF);
    CHECK_CODE(guestmem_snapshot(mem, read_only, NULL, 0, &metadata), GUESTMEM_E_IO);
    CHECK(metadata == NULL && last_error().os_errno == EBADF);
    CHECK_CODE(guestmem_restore(mem, image.metadata, strlen(image.metadata), -1, NULL, 0),
               GUESTMEM_E_IO);
    CHECK(last_error().os_errno == EBADF);
    CHECK_CODE(guestmem_restore(mem, image.metadata, strlen(image.metadata), write_only, NULL, 0),
               GUESTMEM_E_IO);
    CHECK(last_error().os_errno == EBADF);
    check_untouched(mem, before);
    free(before);
    image_free(&image);
    guestmem_unref(mem);
    REQUIRE(close(read_only) == 0 && close(write_only) == 0);
}

/* ---- callbacks that misbehave ---- */

static int64_t take_too_much(void *user, const void *buf, size_t len)
{
    (void)user, (void)buf;
    return (int64_t)len + 1;
}

static int64_t give_too_much(void *user, void *buf, size_t len)
{
    (void)user;
    memset(buf, 1, len);
    return (int64_t)len + 1;
}

static void write_answer(const struct guestmem *mem, int64_t answer, size_t at, int os_errno)
{
    struct stream stream;
    char *metadata = (char *)&stream;
    stream_new(&stream, 0x300000);
    stream.answer = answer, stream.answer_at = at;
    CHECK_CODE(guestmem_snapshot_write(mem, stream_write, &stream, NULL, 0, &metadata),
               GUESTMEM_E_IO);
    if (os_errno != 0) CHECK_EQ((unsigned)last_error().os_errno, (unsigned)os_errno);
    CHECK(metadata == NULL && stream.at == at);
    free(stream.bytes);
}

static void test_write_callback(void)
{
    static const size_t places[] = {0, 1, 4096, 0x100000, 0x280fff};
    struct guestmem *mem = memory_with_data(3);
    char *metadata = (char *)&mem;
    size_t i;
    for (i = 0; i < 5; i++) {
        write_answer(mem, -EIO, places[i], EIO);
        write_answer(mem, -ENOSPC, places[i], ENOSPC);
        write_answer(mem, 0, places[i], 0);
        write_answer(mem, INT64_MIN, places[i], 0);
        write_answer(mem, INT64_MIN + 1, places[i], 0);
        write_answer(mem, INT64_MAX, places[i], 0);
    }
    CHECK_CODE(guestmem_snapshot_write(mem, take_too_much, NULL, NULL, 0, &metadata),
               GUESTMEM_E_IO);
    CHECK(metadata == NULL && !is_tainted(mem));
    guestmem_unref(mem);
}

static void test_read_callback(void)
{
    static const size_t places[] = {0, 1, 4096, 0x100000, 0x100001, 0x280fff};
    static const int64_t answers[] = {0, -EIO, INT64_MIN, INT64_MIN + 1, INT64_MAX};
    struct guestmem *mem = memory_with_data(4), *other = memory_with_data(5);
    struct image image = image_of(other, NULL);
    struct stream stream;
    uint8_t *before = copy_of(mem);
    size_t i, j;
    stream_new(&stream, 0x300000);
    stream.len = (size_t)image.size;
    REQUIRE(pread(image.fd, stream.bytes, stream.len, 0) == (ssize_t)stream.len);
    for (i = 0; i < 6; i++)
        for (j = 0; j < 5; j++) {
            stream.at = 0, stream.answer = answers[j], stream.answer_at = places[i];
            CHECK_CODE(guestmem_restore_read(mem, image.metadata, strlen(image.metadata),
                                             stream_read, &stream, NULL, 0),
                       answers[j] == 0 ? GUESTMEM_E_SNAPSHOT_SHORT : GUESTMEM_E_IO);
            if (answers[j] == -EIO) CHECK(last_error().os_errno == EIO);
            check_honest(mem, before);
        }
    CHECK(is_tainted(mem)); /* a whole chunk of the other memory has arrived by now */
    CHECK_CODE(guestmem_restore_read(mem, image.metadata, strlen(image.metadata), give_too_much,
                                     NULL, NULL, 0),
               GUESTMEM_E_IO);
    CHECK(is_tainted(mem));
    CHECK_OK(image_restore(mem, &image));
    CHECK(!is_tainted(mem));
    free(before);
    free(stream.bytes);
    image_free(&image);
    guestmem_unref(mem), guestmem_unref(other);
}

/* ---- where data cannot go: an error, never a signal ---- */

static void snapshot_to_closed_pipe(const struct guestmem *mem)
{
    char *metadata = (char *)&metadata;
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0 && close(ends[0]) == 0);
    CHECK_CODE(guestmem_snapshot(mem, ends[1], NULL, 0, &metadata), GUESTMEM_E_IO);
    CHECK(metadata == NULL && last_error().os_errno == EPIPE);
    REQUIRE(close(ends[1]) == 0);
}

static int signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static void test_closed_pipe(void)
{
    struct guestmem *mem = memory_with_data(13);
    sigset_t pending, pipe_signal, mask;
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    snapshot_to_closed_pipe(mem);
    REQUIRE(sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 0);

    /* one that the caller keeps waiting is not lost, and no other is added */
    CHECK(signal(SIGPIPE, count_signal) != SIG_ERR);
    REQUIRE(sigemptyset(&pipe_signal) == 0 && sigaddset(&pipe_signal, SIGPIPE) == 0);
    REQUIRE(pthread_sigmask(SIG_BLOCK, &pipe_signal, &mask) == 0 && kill(getpid(), SIGPIPE) == 0);
    snapshot_to_closed_pipe(mem);
    CHECK(signals == 0);
    REQUIRE(pthread_sigmask(SIG_SETMASK, &mask, NULL) == 0);
    CHECK(signals == 1);
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    guestmem_unref(mem);
}

static void test_file_size_limit(void)
{
    struct guestmem *mem = memory_with_data(14);
    struct rlimit before, limit;
    char *metadata = (char *)&mem;
    int fds[2], i;
    fds[0] = new_memfd(0), fds[1] = new_disk_file(0);
    CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    limit = before;
    limit.rlim_cur = 0x180000;
    for (i = 0; i < 2; i++) {
        int code, os_errno;
        REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        code = guestmem_snapshot(mem, fds[i], NULL, 0, &metadata);
        os_errno = last_error().os_errno;
        REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
        CHECK_CODE(code, GUESTMEM_E_IO);
        CHECK(metadata == NULL && os_errno == EFBIG);
        CHECK(lseek(fds[i], 0, SEEK_END) <= 0x180000);
        REQUIRE(close(fds[i]) == 0);
    }
    guestmem_unref(mem);
}

static void test_full_disk(void)
{
    struct guestmem *mem = memory_with_data(15);
    char *metadata = (char *)&mem;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK_CODE(guestmem_snapshot(mem, full, NULL, 0, &metadata), GUESTMEM_E_IO);
    CHECK(metadata == NULL && last_error().os_errno == ENOSPC);
    REQUIRE(close(full) == 0);
    guestmem_unref(mem);
}

/* ---- a caller that says stop ---- */

struct stop {
    unsigned after, calls;
    pthread_t thread;
    bool elsewhere;
};

static int stop_after(void *user, uint64_t done, uint64_t total)
{
    struct stop *stop = user;
    (void)done, (void)total;
    if (!pthread_equal(stop->thread, pthread_self())) stop->elsewhere = true;
    return stop->calls++ >= stop->after;
}

static void test_cancel(void)
{
    struct guestmem *mem = memory_with_data(16), *other = memory_with_data(17);
    struct image image = image_of(other, NULL);
    uint8_t *wanted = copy_of(other);
    unsigned after;
    for (after = 0; after < 3; after++) {
        struct stop stop = {0, 0, pthread_self(), false};
        struct guestmem_snapshot_options save = {0, 0, 4, stop_after, &stop};
        struct guestmem_restore_options load = {0, 4, 0, stop_after, &stop};
        uint8_t *before = copy_of(mem);
        char *metadata = (char *)&stop;
        int fd = new_memfd(0), code;
        stop.after = after;
        code = guestmem_snapshot(mem, fd, &save, sizeof save, &metadata);
        CHECK(code == GUESTMEM_E_CANCELLED || (after > 0 && stop.calls <= after));
        CHECK((metadata == NULL) == (code != GUESTMEM_OK));
        guestmem_free(metadata);
        CHECK(!is_tainted(mem) && memory_is(mem, before));

        stop.calls = 0;
        REQUIRE(lseek(image.fd, 0, SEEK_SET) == 0);
        code = guestmem_restore(mem, image.metadata, strlen(image.metadata), image.fd, &load,
                                sizeof load);
        CHECK(code == GUESTMEM_E_CANCELLED || (after > 0 && stop.calls <= after));
        if (code == GUESTMEM_OK)
            CHECK(memory_is(mem, wanted) && !is_tainted(mem));
        else
            check_honest(mem, before);
        CHECK(!stop.elsewhere);
        CHECK_OK(image_restore(mem, &image));
        CHECK(memory_is(mem, wanted) && !is_tainted(mem));
        CHECK_OK(guestmem_dma_fill(mem, data_ranges[0].guest_addr, 0x31, data_ranges[0].size));
        free(before);
        REQUIRE(close(fd) == 0);
    }
    free(wanted);
    image_free(&image);
    guestmem_unref(mem), guestmem_unref(other);
}

int main(void)
{
    test_options();
    test_targets();
    test_descriptors();
    test_write_callback();
    test_read_callback();
    test_closed_pipe();
    test_file_size_limit();
    test_full_disk();
    test_cancel();
    return check_result();
}
