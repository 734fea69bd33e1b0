/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Signals: every section works with all of them blocked, and while they interrupt whatever the
 * kernel lets them interrupt; no call changes the mask or a disposition or leaves one pending.
 * runs: asan valgrind musl */
#include "sections.h"
#include <pthread.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { SIGNALS = 64 };

/* ---- what a process has of signals ---- */

struct signals {
    sigset_t mask, pending;
    struct sigaction actions[SIGNALS + 1];
};

static struct signals signals_now(void)
{
    struct signals now;
    memset(&now, 0, sizeof now);
    REQUIRE(pthread_sigmask(SIG_SETMASK, NULL, &now.mask) == 0 && sigpending(&now.pending) == 0);
    for (int number = 1; number <= SIGNALS; number++)
        (void)sigaction(number, NULL, &now.actions[number]); /* the C library keeps two to itself */
    return now;
}

static void check_same(const struct section *section, const struct signals *before)
{
    const struct signals now = signals_now();
    for (int number = 1; number <= SIGNALS; number++) {
        const struct sigaction *was = &before->actions[number], *is = &now.actions[number];
        const bool same =
            sigismember(&now.mask, number) == sigismember(&before->mask, number) &&
            sigismember(&now.pending, number) == sigismember(&before->pending, number) &&
            was->sa_handler == is->sa_handler && was->sa_flags == is->sa_flags;
        if (same) continue;
        check_fail(__FILE__, __LINE__, "signals are as they were");
        fprintf(stderr, "  section \"%s\", signal %d\n", section->name, number);
    }
}

/* ---- signals blocked, or waiting ---- */

static void run_each_once(void)
{
    for (size_t i = 0; i < SECTIONS; i++) {
        struct signals before;
        sections[i].prepare();
        before = signals_now();
        errno = 4711;
        sections[i].run();
        CHECK_EQ(errno, 4711);
        check_same(&sections[i], &before);
        sections[i].finish();
    }
}

/* Two cannot be blocked, one would take others back, and those of faults valgrind takes for its own.
 */
static bool can_wait(int number)
{
    switch (number) {
    case SIGKILL:
    case SIGSTOP:
    case SIGCONT: return false;
    case SIGILL:
    case SIGTRAP:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGSYS: return !fast();
    default: return true;
    }
}

/* First as it is, and then with every one of them waiting. */
static void with_all_blocked(void)
{
    sigset_t all, before;
    REQUIRE(sigfillset(&all) == 0 && pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    run_each_once();
    for (int number = 1; number < 32; number++)
        if (can_wait(number)) REQUIRE(raise(number) == 0);
    run_each_once();
    for (int number = 1; number < 32; number++) {
        const struct timespec at_once = {0, 0};
        sigset_t one;
        REQUIRE(sigemptyset(&one) == 0 && sigaddset(&one, number) == 0);
        if (can_wait(number)) CHECK_EQ(sigtimedwait(&one, NULL, &at_once), number);
    }
    REQUIRE(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
}

/* ---- a signal again and again ---- */

static volatile unsigned interruptions;
static volatile unsigned elsewhere; /* in another thread than the program's own */
static pthread_t own;

static void on_alarm(int number)
{
    (void)number;
    interruptions++;
    if (!pthread_equal(pthread_self(), own)) elsewhere++;
}

/* Every tenth of a millisecond; the tools need longer than that for a handler. */
static void start_alarms(void)
{
    const suseconds_t interval = fast() ? 5000 : 100;
    const struct itimerval timer = {{0, interval}, {0, interval}};
    REQUIRE(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void stop_alarms(void)
{
    const struct itimerval none = {{0, 0}, {0, 0}};
    REQUIRE(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

static void interrupt_each(void)
{
    const unsigned rounds = fast() ? 1 : 4;
    for (size_t i = 0; i < SECTIONS; i++) {
        sections[i].prepare();
        start_alarms();
        for (unsigned round = 0; round < rounds; round++) sections[i].run();
        stop_alarms();
        sections[i].finish();
    }
}

/* ---- a call that waits while it is interrupted: the other end of a pipe takes its time ---- */

enum { SLOW_BYTES = 0x30000, SLOW_STEP = 0x1800 };

/* In a child, which has no timer. */
static int move_slowly(int fd, bool writes)
{
    static uint8_t bytes[SLOW_BYTES], expected[SLOW_BYTES];
    const struct timespec pause = {0, 1000000};
    size_t done = 0;
    fill_random(expected, sizeof expected, 5);
    if (writes) memcpy(bytes, expected, sizeof bytes);
    while (done < SLOW_BYTES) {
        size_t step = SLOW_BYTES - done < SLOW_STEP ? SLOW_BYTES - done : SLOW_STEP;
        ssize_t moved = writes ? write(fd, bytes + done, step) : read(fd, bytes + done, step);
        if (moved <= 0) return 1;
        done += (size_t)moved;
        (void)nanosleep(&pause, NULL);
    }
    return memcmp(bytes, expected, sizeof bytes) != 0;
}

static pid_t slow_end(int ends[2], bool writes)
{
    pid_t child;
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        REQUIRE(close(ends[writes ? 0 : 1]) == 0);
        _exit(move_slowly(ends[writes ? 1 : 0], writes));
    }
    REQUIRE(close(ends[writes ? 1 : 0]) == 0);
    return child;
}

static void end_of(pid_t child, int fd)
{
    int status = -1;
    REQUIRE(close(fd) == 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool holds_slow_bytes(const struct guestmem *mem)
{
    static uint8_t expected[SLOW_BYTES];
    fill_random(expected, sizeof expected, 5);
    return memory_is(mem, expected);
}

static void interrupt_what_waits(void)
{
    const struct guestmem_range range = {0x10000, SLOW_BYTES};
    struct guestmem *mem = check_new(&range, 1);
    char *metadata = NULL;
    int ends[2];
    pid_t child = slow_end(ends, true);
    start_alarms();
    CHECK_OK(guestmem_read_to_memory(mem, 0x10000, ends[0], SLOW_BYTES));
    stop_alarms();
    CHECK(holds_slow_bytes(mem));
    end_of(child, ends[0]);

    child = slow_end(ends, false);
    start_alarms();
    CHECK_OK(guestmem_write_from_memory(mem, 0x10000, ends[1], SLOW_BYTES));
    stop_alarms();
    end_of(child, ends[1]);

    /* all of it is data without a hole, so that this is what the snapshot writes */
    child = slow_end(ends, false);
    start_alarms();
    CHECK_OK(guestmem_snapshot(mem, ends[1], NULL, 0, &metadata));
    stop_alarms();
    end_of(child, ends[1]);

    CHECK_OK(guestmem_dma_fill(mem, 0x10000, 0, SLOW_BYTES));
    child = slow_end(ends, true);
    start_alarms();
    CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), ends[0], NULL, 0));
    stop_alarms();
    CHECK(holds_slow_bytes(mem));
    end_of(child, ends[0]);
    guestmem_free(metadata);
    guestmem_unref(mem);
}

int main(void)
{
    struct sigaction action, before;
    run_each_once();
    with_all_blocked();
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm; /* and no SA_RESTART */
    own = pthread_self();
    REQUIRE(sigaction(SIGALRM, &action, &before) == 0);
    interrupt_each();
    interrupt_what_waits();
    REQUIRE(sigaction(SIGALRM, &before, NULL) == 0);
    printf("interrupted %u times\n", interruptions);
    CHECK(interruptions > (fast() ? 5u : 500u));
    CHECK_EQ(elsewhere, 0); /* threads of the library run no handler of the program's */
    return check_result();
}
