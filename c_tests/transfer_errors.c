/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Transfers that fail: what they report, what they moved before, and that no signal comes of it.
 * runs: asan valgrind musl */
#include "support/guest.h"
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

static struct world world;

static bool received(uint64_t addr, const uint8_t *bytes, uint64_t len)
{
    uint64_t i;
    for (i = 0; i < len; i++) *shadow_at(&world, addr + i) = bytes[i];
    return world_agrees(&world);
}

static void expect_detail(int os_errno, uint64_t addr, uint64_t size, uint64_t completed)
{
    struct guestmem_error_info info = last_error();
    CHECK_EQ((unsigned)info.os_errno, (unsigned)os_errno);
    CHECK_EQ(info.guest_addr, addr);
    CHECK_EQ(info.size, size);
    CHECK_EQ(info.completed, completed);
}

static void test_end_of_file(void)
{
    uint8_t bytes[5000];
    int file = new_disk_file(0), ends[2];
    fill_random(bytes, sizeof bytes, 1);
    REQUIRE(write(file, bytes, sizeof bytes) == (ssize_t)sizeof bytes &&
            lseek(file, 0, SEEK_SET) == 0);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x13800, file, 6000), GUESTMEM_E_SHORT_READ);
    expect_detail(0, 0x13800, 6000, 5000);
    CHECK(received(0x13800, bytes, 5000));
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x13800, file, 1), GUESTMEM_E_SHORT_READ);
    expect_detail(0, 0x13800, 1, 0);
    CHECK_CODE(guestmem_read_to_memory_at(world.mem, 0x16000, file, 4990, 11),
               GUESTMEM_E_SHORT_READ);
    expect_detail(0, 0x16000, 11, 10);
    CHECK(received(0x16000, bytes + 4990, 10));
    CHECK_CODE(guestmem_read_to_memory_at(world.mem, 0x16000, file, 50000, 11),
               GUESTMEM_E_SHORT_READ);
    expect_detail(0, 0x16000, 11, 0);
    REQUIRE(close(file) == 0);

    REQUIRE(pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], bytes, 3000) == 3000 &&
            close(ends[1]) == 0);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x16f00, ends[0], 3001), GUESTMEM_E_SHORT_READ);
    expect_detail(0, 0x16f00, 3001, 3000);
    CHECK(received(0x16f00, bytes, 3000));
    REQUIRE(close(ends[0]) == 0);
}

static void test_would_block(void)
{
    uint8_t bytes[100];
    int ends[2], waiting = 0;
    REQUIRE(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    fill_random(bytes, sizeof bytes, 2);
    REQUIRE(write(ends[1], bytes, sizeof bytes) == 100);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x13fe0, ends[0], 200), GUESTMEM_E_IO);
    expect_detail(EAGAIN, 0x13fe0, 200, 100);
    CHECK(received(0x13fe0, bytes, 100));

    CHECK_CODE(guestmem_write_from_memory(world.mem, 0x10000, ends[1], 0xb000), GUESTMEM_OK);
    CHECK_CODE(guestmem_write_from_memory(world.mem, 0x10000, ends[1], 0xb000), GUESTMEM_E_IO);
    REQUIRE(ioctl(ends[0], FIONREAD, &waiting) == 0 && waiting > 0xb000);
    expect_detail(EAGAIN, 0x10000, 0xb000, (uint64_t)waiting - 0xb000);
    REQUIRE(close(ends[0]) == 0 && close(ends[1]) == 0);
}

/* ---- a closed pipe: E_IO and EPIPE, and no trace of a signal ---- */

static bool pipe_signal_pending(void)
{
    sigset_t pending;
    REQUIRE(sigpending(&pending) == 0);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void write_to_closed_pipe(void)
{
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0 && close(ends[0]) == 0);
    CHECK_CODE(guestmem_write_from_memory(world.mem, 0x10000, ends[1], 0x5000), GUESTMEM_E_IO);
    expect_detail(EPIPE, 0x10000, 0x5000, 0);
    REQUIRE(close(ends[1]) == 0);
}

static void write_to_closed_socket(int type)
{
    int pair[2];
    REQUIRE(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0 && close(pair[0]) == 0);
    CHECK_CODE(guestmem_write_from_memory(world.mem, 0x10000, pair[1], 0x100), GUESTMEM_E_IO);
    expect_detail(EPIPE, 0x10000, 0x100, 0);
    REQUIRE(close(pair[1]) == 0);
}

static int signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static void test_closed_pipes(void)
{
    struct sigaction action, old;
    sigset_t set, mask, before;
    REQUIRE(sigemptyset(&set) == 0 && sigaddset(&set, SIGPIPE) == 0);

    /* default disposition: a signal would end this program here */
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    write_to_closed_pipe();
    write_to_closed_socket(SOCK_STREAM);
    write_to_closed_socket(SOCK_SEQPACKET);
    CHECK(!pipe_signal_pending());

    /* the caller's handler is not called */
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
    REQUIRE(sigaction(SIGPIPE, &action, &old) == 0);
    write_to_closed_pipe();
    CHECK(signals == 0);

    /* the mask stays what it was, blocked or not, and nothing is left pending */
    REQUIRE(pthread_sigmask(SIG_BLOCK, NULL, &before) == 0);
    CHECK(sigismember(&before, SIGPIPE) == 0);
    REQUIRE(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    write_to_closed_pipe();
    CHECK(!pipe_signal_pending());
    REQUIRE(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0);
    CHECK(sigismember(&mask, SIGPIPE) == 1);

    /* a signal of the caller's own that waits goes on waiting: sent to this thread, and to the
     * process */
    REQUIRE(raise(SIGPIPE) == 0);
    write_to_closed_pipe();
    CHECK(pipe_signal_pending());
    REQUIRE(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK(signals == 1);
    REQUIRE(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    REQUIRE(kill(getpid(), SIGPIPE) == 0);
    write_to_closed_pipe();
    CHECK(pipe_signal_pending());
    REQUIRE(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK(signals == 2);
    REQUIRE(sigaction(SIGPIPE, &old, NULL) == 0);
}

/* ---- a file size limit: E_IO and EFBIG, and no SIGXFSZ ---- */

static void test_file_size_limit(void)
{
    struct rlimit before, limit;
    uint8_t back[8192];
    int file = new_disk_file(0);
    CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    limit = before;
    limit.rlim_cur = 8192;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK_CODE(guestmem_write_from_memory(world.mem, 0x13000, file, 0x3000), GUESTMEM_E_IO);
    expect_detail(EFBIG, 0x13000, 0x3000, 8192);
    CHECK_CODE(guestmem_write_from_memory(world.mem, 0x13000, file, 1), GUESTMEM_E_IO);
    expect_detail(EFBIG, 0x13000, 1, 0);
    CHECK_CODE(guestmem_write_from_memory_at(world.mem, 0x13000, file, 10000, 5), GUESTMEM_E_IO);
    expect_detail(EFBIG, 0x13000, 5, 0);
    CHECK_OK(guestmem_write_from_memory_at(world.mem, 0x13000, file, 8190, 2));
    REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
    REQUIRE(pread(file, back, sizeof back, 0) == 8192);
    CHECK(memcmp(back, shadow_at(&world, 0x13000), 4096) == 0);
    CHECK(memcmp(back + 4096, shadow_at(&world, 0x14000), 4094) == 0);
    CHECK(lseek(file, 0, SEEK_END) == 8192);
    REQUIRE(close(file) == 0);
}

/* ---- refused before anything moves ---- */

static void refuse_read(uint64_t addr, int fd, uint64_t count, int expected)
{
    off_t position = lseek(fd, 0, SEEK_CUR);
    CHECK_CODE(guestmem_read_to_memory(world.mem, addr, fd, count), expected);
    expect_detail(0, addr, count, 0);
    CHECK_CODE(guestmem_read_to_memory_at(world.mem, addr, fd, 0, count), expected);
    expect_detail(0, addr, count, 0);
    CHECK(lseek(fd, 0, SEEK_CUR) == position && world_agrees(&world));
}

static void refuse_write(uint64_t addr, int fd, uint64_t count, int expected)
{
    off_t position = lseek(fd, 0, SEEK_CUR);
    uint64_t before = allocated_bytes(fd);
    CHECK_CODE(guestmem_write_from_memory(world.mem, addr, fd, count), expected);
    expect_detail(0, addr, count, 0);
    CHECK_CODE(guestmem_write_from_memory_at(world.mem, addr, fd, 0, count), expected);
    expect_detail(0, addr, count, 0);
    CHECK(lseek(fd, 0, SEEK_CUR) == position && allocated_bytes(fd) == before);
}

static void test_ranges(void)
{
    const uint64_t hole = 0x1c000, top = UINT64_C(0xffffffffffffd000);
    uint8_t junk[64];
    int file = new_memfd(0x10000), ends[2], waiting = 0;
    REQUIRE(lseek(file, 100, SEEK_SET) == 100);
    refuse_read(hole, file, 1, GUESTMEM_E_INVALID_ADDRESS);
    refuse_read(0x10000, file, 0xb001, GUESTMEM_E_INVALID_RANGE);
    refuse_read(0x1afff, file, 2, GUESTMEM_E_INVALID_RANGE);
    refuse_read(0x10000, file, UINT64_MAX, GUESTMEM_E_INVALID_RANGE);
    refuse_read(0x10000, file, UINT64_C(1) << 63, GUESTMEM_E_INVALID_RANGE);
    refuse_read(top, file, 0x2001, GUESTMEM_E_INVALID_RANGE);
    refuse_read(top, file, 0x3000, GUESTMEM_E_INVALID_RANGE);
    refuse_read(top, file, 0x13001, GUESTMEM_E_INVALID_RANGE);
    refuse_read(0x20000, file, 1, GUESTMEM_E_READ_ONLY);
    refuse_read(0x21fff, file, 2, GUESTMEM_E_READ_ONLY);
    refuse_read(0x20000, file, 0x3001, GUESTMEM_E_INVALID_RANGE);
    refuse_write(hole, file, 1, GUESTMEM_E_INVALID_ADDRESS);
    refuse_write(0x10000, file, 0xb001, GUESTMEM_E_INVALID_RANGE);
    refuse_write(0x22000, file, 0x1001, GUESTMEM_E_INVALID_RANGE);
    refuse_write(top, file, UINT64_MAX - top, GUESTMEM_E_INVALID_RANGE);
    REQUIRE(close(file) == 0);

    /* a pipe keeps its bytes */
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], junk, 0) == 0);
    memset(junk, 1, sizeof junk);
    REQUIRE(write(ends[1], junk, sizeof junk) == 64);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x1aff0, ends[0], 64), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x20000, ends[0], 64), GUESTMEM_E_READ_ONLY);
    REQUIRE(ioctl(ends[0], FIONREAD, &waiting) == 0);
    CHECK(waiting == 64 && world_agrees(&world));
    REQUIRE(close(ends[0]) == 0 && close(ends[1]) == 0);
}

/* ---- descriptors that will not do ---- */

static void test_wrong_descriptors(void)
{
    int file = new_disk_file(4096), read_only = reopen(file, O_RDONLY),
        write_only = reopen(file, O_WRONLY);
    int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        full = open("/dev/full", O_WRONLY | O_CLOEXEC), ends[2];
    int closed = dup(file);
    REQUIRE(closed >= 0 && close(closed) == 0);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x10000, write_only, 10), GUESTMEM_E_IO);
    expect_detail(EBADF, 0x10000, 10, 0);
    CHECK_CODE(guestmem_write_from_memory(world.mem, 0x10000, read_only, 10), GUESTMEM_E_IO);
    expect_detail(EBADF, 0x10000, 10, 0);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x10000, -1, 10), GUESTMEM_E_IO);
    expect_detail(EBADF, 0x10000, 10, 0);
    CHECK_CODE(guestmem_write_from_memory(world.mem, 0x10000, -1, 10), GUESTMEM_E_IO);
    expect_detail(EBADF, 0x10000, 10, 0);
    CHECK_CODE(guestmem_read_to_memory_at(world.mem, 0x10000, closed, 0, 10), GUESTMEM_E_IO);
    expect_detail(EBADF, 0x10000, 10, 0);
    CHECK_CODE(guestmem_write_from_memory_at(world.mem, 0x10000, closed, 0, 10), GUESTMEM_E_IO);
    expect_detail(EBADF, 0x10000, 10, 0);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x10000, folder, 10), GUESTMEM_E_IO);
    expect_detail(EISDIR, 0x10000, 10, 0);
    CHECK_CODE(guestmem_write_from_memory(world.mem, 0x10000, full, 10), GUESTMEM_E_IO);
    expect_detail(ENOSPC, 0x10000, 10, 0);
    /* what has no position cannot be read at one */
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], "abc", 3) == 3);
    CHECK_CODE(guestmem_read_to_memory_at(world.mem, 0x10000, ends[0], 0, 3), GUESTMEM_E_IO);
    expect_detail(ESPIPE, 0x10000, 3, 0);
    CHECK_CODE(guestmem_write_from_memory_at(world.mem, 0x10000, ends[1], 0, 3), GUESTMEM_E_IO);
    expect_detail(ESPIPE, 0x10000, 3, 0);
    CHECK(world_agrees(&world));
    REQUIRE(close(ends[0]) == 0 && close(ends[1]) == 0 && close(folder) == 0 && close(full) == 0);
    REQUIRE(close(file) == 0 && close(read_only) == 0 && close(write_only) == 0);
}

/* Offsets that no file has. */
static void test_offsets_out_of_range(void)
{
    static const uint64_t offsets[] = {UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 4};
    int file = new_memfd(4096);
    size_t i;
    for (i = 0; i < 3; i++) {
        int code = guestmem_read_to_memory_at(world.mem, 0x10000, file, offsets[i], 10);
        CHECK(code == GUESTMEM_E_INVALID_ARGUMENT || code == GUESTMEM_E_IO);
        code = guestmem_write_from_memory_at(world.mem, 0x10000, file, offsets[i], 10);
        CHECK(code == GUESTMEM_E_INVALID_ARGUMENT || code == GUESTMEM_E_IO);
    }
    CHECK(guestmem_write_from_memory_at(world.mem, 0x10000, file, INT64_MAX - 3, 10) !=
          GUESTMEM_OK);
    CHECK(world_agrees(&world) && lseek(file, 0, SEEK_END) == 4096);
    REQUIRE(close(file) == 0);
}

static void test_errno_stays(void)
{
    int file = new_memfd(10);
    errno = 4711;
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x10000, -1, 10), GUESTMEM_E_IO);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x10000, file, 11), GUESTMEM_E_SHORT_READ);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x1c000, file, 11), GUESTMEM_E_INVALID_ADDRESS);
    CHECK(errno == 4711);
    memset(shadow_at(&world, 0x10000), 0, 10);
    CHECK(world_agrees(&world));
    REQUIRE(close(file) == 0);
}

int main(void)
{
    world_new(&world);
    test_end_of_file();
    test_would_block();
    test_closed_pipes();
    test_file_size_limit();
    test_ranges();
    test_wrong_descriptors();
    test_offsets_out_of_range();
    test_errno_stays();
    world_free(&world);
    return check_result();
}
