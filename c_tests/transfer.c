/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Transfers between descriptors and guest memory that succeed: in crumbs, through signals, across
 * touching regions, more than 2 GiB at once, with and without the descriptor's position.
 * runs: asan valgrind */
#include "support/guest.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static struct world world;

/* Four regions of four backings touch here, from 0x10000 to 0x1b000. */
static const uint64_t run = 0x10000, run_size = 0xb000;

static bool received(uint64_t addr, const uint8_t *bytes, uint64_t len)
{
    uint64_t i;
    for (i = 0; i < len; i++) *shadow_at(&world, addr + i) = bytes[i];
    return world_agrees(&world);
}

static bool shadow_is(uint64_t addr, const uint8_t *bytes, uint64_t len)
{
    uint64_t i;
    for (i = 0; i < len; i++)
        if (*shadow_at(&world, addr + i) != bytes[i]) return false;
    return true;
}

/* ---- short reads: a socket that gets its next bytes when the last ones were taken ---- */

struct feed {
    int fd;
    const uint8_t *bytes;
    size_t len, step;
    bool interrupt; /* a signal for the reader before each step */
    pthread_t reader;
    int over; /* the reader's call has returned */
};

static int interruptions;

static void on_signal(int number)
{
    (void)number;
    __atomic_add_fetch(&interruptions, 1, __ATOMIC_RELAXED);
}

static void interrupt(pthread_t thread)
{
    int before = __atomic_load_n(&interruptions, __ATOMIC_RELAXED);
    (void)usleep(200); /* it waits in the kernel by now, most of the time */
    REQUIRE(pthread_kill(thread, SIGUSR1) == 0);
    while (__atomic_load_n(&interruptions, __ATOMIC_RELAXED) == before) (void)sched_yield();
}

static bool taken(int fd)
{
    int waiting = 0;
    REQUIRE(ioctl(fd, SIOCOUTQ, &waiting) == 0);
    return waiting == 0;
}

static void *feed(void *argument)
{
    struct feed *feed = argument;
    size_t at, len;
    for (at = 0; at < feed->len && !__atomic_load_n(&feed->over, __ATOMIC_RELAXED); at += len) {
        len = feed->len - at < feed->step ? feed->len - at : feed->step;
        if (feed->interrupt) interrupt(feed->reader);
        REQUIRE(send(feed->fd, feed->bytes + at, len, 0) == (ssize_t)len);
        while (!taken(feed->fd) && !__atomic_load_n(&feed->over, __ATOMIC_RELAXED))
            (void)sched_yield();
    }
    return NULL;
}

static void receive_in_steps(uint64_t addr, size_t len, size_t step, bool with_signals)
{
    static uint8_t bytes[0x10000];
    struct feed job;
    pthread_t feeder;
    int pair[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    fill_random(bytes, len, step);
    job.fd = pair[1], job.bytes = bytes, job.len = len, job.step = step;
    job.interrupt = with_signals, job.reader = pthread_self(), job.over = 0;
    REQUIRE(pthread_create(&feeder, NULL, feed, &job) == 0);
    CHECK_OK(guestmem_read_to_memory(world.mem, addr, pair[0], len));
    __atomic_store_n(&job.over, 1, __ATOMIC_RELAXED);
    REQUIRE(pthread_join(feeder, NULL) == 0);
    CHECK(received(addr, bytes, len));
    REQUIRE(close(pair[0]) == 0 && close(pair[1]) == 0);
}

static void test_one_byte_at_a_time(void)
{
    receive_in_steps(0x13ff0, 0x20, 1, false);
    receive_in_steps(0x13f03, fast() ? 0x200 : 0x3200, 1, false);
}

/* A short read that ends before, at and after the edge between two regions leaves no gap. */
static void test_short_reads_across_regions(void)
{
    static const size_t steps[] = {3,      1000,   0xfff,  0x1000, 0x1001,
                                   0x2fff, 0x3000, 0x4000, 0x4001, 0x8000};
    size_t i;
    for (i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (steps[i] > 3 || !fast()) receive_in_steps(run, (size_t)run_size, steps[i], false);
    for (i = 0; i < 6; i++) receive_in_steps(0x13ffd + i, 0x3007, 0x1003, false);
}

static void test_interrupted_reads(void)
{
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal; /* without SA_RESTART: the call comes back with EINTR */
    REQUIRE(sigaction(SIGUSR1, &action, &old) == 0);
    interruptions = 0;
    receive_in_steps(0x16f80, 400, 3, true);
    CHECK(interruptions == 134);
    REQUIRE(sigaction(SIGUSR1, &old, NULL) == 0);
}

struct drain {
    int fd;
    uint8_t *bytes;
    size_t len;
    pthread_t writer;
};

static void *drain(void *argument)
{
    struct drain *drain = argument;
    size_t at = 0;
    while (at < drain->len) {
        size_t step = drain->len - at < 5000 ? drain->len - at : 5000;
        ssize_t got;
        interrupt(drain->writer);
        got = read(drain->fd, drain->bytes + at, step);
        if (got <= 0) break; /* the writer gave up */
        at += (size_t)got;
    }
    return NULL;
}

/* A pipe much smaller than the transfer, drained slowly, the writer interrupted before each step.
 */
static void test_interrupted_writes(void)
{
    static uint8_t bytes[0xb000];
    struct sigaction action, old;
    struct drain job;
    pthread_t drainer;
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0 && fcntl(ends[1], F_SETPIPE_SZ, 4096) == 4096);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    REQUIRE(sigaction(SIGUSR1, &action, &old) == 0);
    job.fd = ends[0], job.bytes = bytes, job.len = sizeof bytes, job.writer = pthread_self();
    REQUIRE(pthread_create(&drainer, NULL, drain, &job) == 0);
    CHECK_OK(guestmem_write_from_memory(world.mem, run, ends[1], run_size));
    REQUIRE(close(ends[1]) == 0);
    REQUIRE(pthread_join(drainer, NULL) == 0);
    CHECK(shadow_is(run, bytes, run_size));
    REQUIRE(sigaction(SIGUSR1, &old, NULL) == 0);
    REQUIRE(close(ends[0]) == 0);
}

/* ---- files: content and position ---- */

static void test_files_and_positions(void)
{
    static uint8_t bytes[0x8000], back[0x8000];
    int file = new_disk_file(0);
    fill_random(bytes, sizeof bytes, 11);
    REQUIRE(write(file, bytes, sizeof bytes) == (ssize_t)sizeof bytes);

    /* the plain calls move the position by what they moved */
    REQUIRE(lseek(file, 17, SEEK_SET) == 17);
    CHECK_OK(guestmem_read_to_memory(world.mem, 0x12345, file, 0x6000));
    CHECK(received(0x12345, bytes + 17, 0x6000));
    CHECK(lseek(file, 0, SEEK_CUR) == 17 + 0x6000);
    REQUIRE(lseek(file, 5, SEEK_SET) == 5);
    CHECK_OK(guestmem_write_from_memory(world.mem, 0x13000, file, 0x5000));
    CHECK(lseek(file, 0, SEEK_CUR) == 5 + 0x5000);
    REQUIRE(pread(file, back, sizeof back, 0) == (ssize_t)sizeof back);
    CHECK(memcmp(back, bytes, 5) == 0 && shadow_is(0x13000, back + 5, 0x5000));
    CHECK(memcmp(back + 5 + 0x5000, bytes + 5 + 0x5000, sizeof back - 0x5005) == 0);

    /* the others leave it alone */
    REQUIRE(lseek(file, 77, SEEK_SET) == 77);
    REQUIRE(pwrite(file, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    CHECK_OK(guestmem_read_to_memory_at(world.mem, 0x13ffe, file, 3, 0x7000));
    CHECK(received(0x13ffe, bytes + 3, 0x7000));
    CHECK_OK(guestmem_write_from_memory_at(world.mem, run, file, 0x7fff, run_size));
    CHECK(lseek(file, 0, SEEK_CUR) == 77);
    REQUIRE(pread(file, back, sizeof back, 0x7fff) == (ssize_t)sizeof back);
    CHECK(shadow_is(run, back, sizeof back));
    CHECK(lseek(file, 0, SEEK_END) == (off_t)(0x7fff + run_size));
    REQUIRE(close(file) == 0);
}

/* A read-only region is a fine source, also together with its neighbour. */
static void test_from_a_read_only_region(void)
{
    static uint8_t back[0x3000];
    int file = new_memfd(0);
    CHECK_OK(guestmem_write_from_memory(world.mem, 0x20000, file, 0x3000));
    CHECK(pread(file, back, sizeof back, 0) == (ssize_t)sizeof back);
    CHECK(shadow_is(0x20000, back, 0x3000));
    REQUIRE(close(file) == 0);
}

static void test_nothing_to_transfer(void)
{
    int file = new_memfd(100);
    REQUIRE(lseek(file, 100, SEEK_SET) == 100);
    CHECK_OK(guestmem_read_to_memory(world.mem, 0x10000, file, 0));
    CHECK_OK(guestmem_read_to_memory(world.mem, 0x1b000, file, 0));
    CHECK_OK(guestmem_read_to_memory(world.mem, 0x20000, file, 0));
    CHECK_OK(guestmem_write_from_memory(world.mem, 0x23000, file, 0));
    CHECK_OK(guestmem_read_to_memory_at(world.mem, 0x10000, file, 0, 0));
    CHECK_OK(guestmem_write_from_memory_at(world.mem, 0x10000, file, 0, 0));
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x1c000, file, 0), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_write_from_memory_at(world.mem, 0x1c000, file, 0, 0),
               GUESTMEM_E_INVALID_ADDRESS);
    CHECK(lseek(file, 0, SEEK_CUR) == 100 && world_agrees(&world));
    REQUIRE(close(file) == 0);
}

/* On O_APPEND, pwrite(2) appends whatever the offset says. The call writes where it was told to or
 * not at all. */
static void test_append_descriptors(void)
{
    static uint8_t before[0x3000], back[0x4000];
    int file = new_disk_file(0), append, code;
    fill_random(before, sizeof before, 21);
    REQUIRE(write(file, before, sizeof before) == (ssize_t)sizeof before);
    append = reopen(file, O_RDWR | O_APPEND);
    code = guestmem_write_from_memory_at(world.mem, 0x13f00, append, 0x100, 0x200);
    REQUIRE(pread(file, back, sizeof back, 0) == (ssize_t)sizeof before);
    if (code == GUESTMEM_OK) {
        CHECK(shadow_is(0x13f00, back + 0x100, 0x200));
        memcpy(before + 0x100, back + 0x100, 0x200);
    } else {
        CHECK_CODE(code, GUESTMEM_E_UNSUPPORTED);
    }
    CHECK(memcmp(back, before, sizeof before) == 0);
    /* reading is no matter, and the plain call appends as write(2) does */
    CHECK_OK(guestmem_read_to_memory_at(world.mem, 0x10000, append, 0x80, 0x300));
    CHECK(received(0x10000, before + 0x80, 0x300));
    CHECK_OK(guestmem_write_from_memory(world.mem, 0x16ff0, append, 0x20));
    REQUIRE(pread(file, back, sizeof back, 0) == (ssize_t)sizeof before + 0x20);
    CHECK(shadow_is(0x16ff0, back + sizeof before, 0x20));
    REQUIRE(close(append) == 0 && close(file) == 0);
}

/* ---- large ---- */

/* 3 GiB of guest memory that takes 64 MiB of the host: the same file in 48 touching regions. */
static void test_three_gib_in_one_call(void)
{
    const uint64_t size = UINT64_C(64) << 20, total = size * 48,
                   mark = UINT64_C(0x600dcafe12345678);
    struct guestmem_region_options options[48];
    struct guestmem *mem;
    uint64_t i, value, at[] = {0, 4095, size - 9, size / 2 + 1};
    int backing = new_memfd(size), sparse = new_memfd(total + 100),
        zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
    memset(options, 0, sizeof options);
    for (i = 0; i < 48; i++) {
        options[i].guest_addr = (UINT64_C(1) << 32) + i * size, options[i].size = size;
        options[i].flags = GUESTMEM_REGION_FD, options[i].fd = backing;
    }
    CHECK_OK(guestmem_new_with_options(options, 48, sizeof options[0], &mem));
    CHECK_OK(guestmem_dma_fill(mem, options[0].guest_addr, 0xff, size));
    CHECK_OK(guestmem_read_to_memory(mem, options[0].guest_addr, zero, total));
    CHECK_OK(guestmem_read_u64(mem, options[47].guest_addr + size - 8, &value));
    CHECK_EQ(value, 0);
    CHECK_OK(guestmem_write_from_memory(mem, options[0].guest_addr, null, total));
    /* the last lap of the sparse file is what stays, each byte in its place */
    for (i = 0; i < 4; i++)
        REQUIRE(pwrite(sparse, &mark, 8, (off_t)(100 + total - size + at[i])) == 8);
    REQUIRE(lseek(sparse, 100, SEEK_SET) == 100);
    CHECK_OK(guestmem_read_to_memory(mem, options[0].guest_addr, sparse, total));
    CHECK(lseek(sparse, 0, SEEK_CUR) == (off_t)(100 + total));
    for (i = 0; i < 4; i++) {
        CHECK_OK(guestmem_read_u64(mem, options[7].guest_addr + at[i], &value));
        CHECK_EQ(value, mark);
    }
    guestmem_unref(mem);
    REQUIRE(close(backing) == 0 && close(sparse) == 0 && close(zero) == 0 && close(null) == 0);
}

/* The same within one region, which the kernel takes in two calls at the least. */
static void test_three_gib_from_one_region(void)
{
    const struct guestmem_range range = {0, UINT64_C(3) << 30};
    struct guestmem *mem = check_new(&range, 1);
    int null = open("/dev/null", O_WRONLY);
    CHECK_OK(guestmem_write_from_memory(mem, 0, null, range.size));
    CHECK_OK(guestmem_write_from_memory_at(mem, 1, null, 5, range.size - 1));
    guestmem_unref(mem);
    REQUIRE(close(null) == 0);
}

/* More touching regions than one system call takes. */
static void test_more_regions_than_iov_max(void)
{
    enum { COUNT = 2100 };
    static struct guestmem_range ranges[COUNT];
    static uint8_t bytes[COUNT * 4096], back[COUNT * 4096];
    struct guestmem *mem;
    int file = new_memfd(0);
    size_t i, len = sizeof bytes - 1001;
    for (i = 0; i < COUNT; i++) ranges[i].guest_addr = 0x1000000 + i * PAGE, ranges[i].size = PAGE;
    mem = check_new(ranges, COUNT);
    fill_random(bytes, sizeof bytes, 8);
    REQUIRE(write(file, bytes, sizeof bytes) == (ssize_t)sizeof bytes &&
            lseek(file, 0, SEEK_SET) == 0);
    CHECK_OK(guestmem_read_to_memory(mem, 0x1000000 + 1000, file, len));
    CHECK_OK(guestmem_dma_read(mem, 0x1000000 + 1000, back, len));
    CHECK(memcmp(bytes, back, len) == 0);
    REQUIRE(ftruncate(file, 0) == 0);
    CHECK_OK(guestmem_write_from_memory_at(mem, 0x1000000 + 1000, file, 0, len));
    memset(back, 0, sizeof back);
    CHECK(pread(file, back, sizeof back, 0) == (ssize_t)len && memcmp(bytes, back, len) == 0);
    guestmem_unref(mem);
    REQUIRE(close(file) == 0);
}

int main(void)
{
    world_new(&world);
    test_one_byte_at_a_time();
    test_short_reads_across_regions();
    test_interrupted_reads();
    test_interrupted_writes();
    test_files_and_positions();
    test_from_a_read_only_region();
    test_nothing_to_transfer();
    test_append_descriptors();
    if (fast())
        SKIP_PART("3 GiB transfers");
    else
        test_three_gib_in_one_call(), test_three_gib_from_one_region();
    test_more_regions_than_iov_max();
    world_free(&world);
    return check_result();
}
