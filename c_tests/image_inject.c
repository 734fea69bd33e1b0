/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A system call that fails, at each step of each way to save memory and to bring it back. The old
 * image stays, live memory is what it was or tainted, nothing is left behind, and once the call
 * works again so does the operation. A seccomp filter asks a second thread about each call of
 * interest; other than strace it counts over all threads, and costs no new process per call. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "image_operations.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* ---- what may fail, and how ---- */

enum expectation {
    MAY,     /* an error, or the right result all the same */
    MUST,    /* nothing makes up for it: an error */
    MUST_NOT /* is to be continued */
};

struct failure {
    int error;
    enum expectation expectation;
};

#define ERRORS 5
#define WRITES {{ENOSPC, MUST}, {EIO, MUST}, {EINTR, MUST_NOT}}
#define READS {{EIO, MAY}, {EINTR, MUST_NOT}}
#define SYNCS {{EIO, MUST}, {ENOSPC, MUST}, {EINTR, MAY}}
#define RENAMES {{EIO, MUST}, {ENOSPC, MUST}, {EINVAL, MAY}, {EPERM, MAY}}
#define OPENS {{EMFILE, MAY}, {ENOMEM, MAY}, {EACCES, MAY}, {EINTR, MAY}}
#define ASKS {{EIO, MAY}, {ENOMEM, MAY}}

static const struct call {
    const char *name;
    long number;
    struct failure failures[ERRORS];
} calls[] = {
#define CALL(name, ...) {#name, SYS_##name, __VA_ARGS__}
    CALL(write, WRITES),
    CALL(pwrite64, WRITES),
    CALL(writev, WRITES),
    CALL(pwritev, WRITES),
    CALL(pwritev2, WRITES),
    CALL(sendfile, WRITES),
    CALL(splice, WRITES),
    CALL(vmsplice, WRITES),
    CALL(copy_file_range, WRITES),
    CALL(fsync, SYNCS),
    CALL(fdatasync, SYNCS),
    CALL(sync_file_range, {{EIO, MAY}}),
    CALL(syncfs, SYNCS),
    CALL(renameat, RENAMES),
    CALL(renameat2, RENAMES),
    CALL(linkat, {{EIO, MAY}, {ENOSPC, MAY}, {EPERM, MAY}, {ENOENT, MAY}}),
    CALL(ftruncate, {{EIO, MAY}, {ENOSPC, MAY}, {EINTR, MAY}}),
    CALL(fallocate, {{EIO, MAY}, {ENOSPC, MAY}, {EOPNOTSUPP, MAY}, {EINTR, MAY}, {ENOMEM, MAY}}),
    CALL(fchmod, {{EPERM, MAY}, {EIO, MAY}}),
    CALL(openat, OPENS),
    CALL(openat2, OPENS),
    CALL(read, READS),
    CALL(pread64, READS),
    CALL(readv, READS),
    CALL(preadv, READS),
    CALL(preadv2, READS),
    CALL(lseek, {{EIO, MAY}}),
    CALL(ioctl, {{ENOTTY, MAY}, {ENOMEM, MAY}, {EINTR, MAY}}),
    CALL(fstat, ASKS),
    CALL(newfstatat, ASKS),
    CALL(statx, ASKS),
    CALL(fstatfs, ASKS),
    CALL(fcntl, {{EMFILE, MAY}, {EPERM, MAY}}),
    CALL(readlinkat, ASKS),
    CALL(faccessat, ASKS),
    CALL(getrandom, {{ENOSYS, MAY}, {EINTR, MAY}}),
    CALL(memfd_create, {{EMFILE, MAY}, {ENOMEM, MAY}}),
    CALL(mmap, {{ENOMEM, MAY}, {ENODEV, MAY}}),
    CALL(mremap, {{ENOMEM, MAY}}),
    CALL(mprotect, {{ENOMEM, MAY}}),
    CALL(madvise, {{ENOMEM, MAY}, {EINVAL, MAY}}),
    CALL(prlimit64, {{EPERM, MAY}}),
    CALL(sched_getaffinity, {{EINVAL, MAY}}),
    CALL(clone3, {{EAGAIN, MAY}, {ENOMEM, MAY}}),
    CALL(clone, {{EAGAIN, MAY}}),
#ifdef SYS_rename
    CALL(rename, RENAMES),
#endif
#ifdef SYS_link
    CALL(link, {{EIO, MAY}, {EPERM, MAY}}),
#endif
#ifdef SYS_open
    CALL(open, OPENS),
#endif
#ifdef SYS_stat
    CALL(stat, ASKS),
    CALL(lstat, ASKS),
#endif
};
#define CALLS (sizeof calls / sizeof *calls)

/* ---- in the child: the calls are watched, and one or two of them fail ---- */

struct fault {
    size_t call;
    unsigned at; /* counted from 1; 0: none */
    int error;
};

static struct shared {
    unsigned counts[CALLS];
    unsigned injected;
    struct outcome outcome;
} *shared;

static struct fault faults[2];
static int armed, listener = -1;

static int decide(long number)
{
    if (!__atomic_load_n(&armed, __ATOMIC_SEQ_CST)) return 0;
    for (size_t i = 0; i < CALLS; i++) {
        if (calls[i].number != number) continue;
        shared->counts[i]++;
        for (size_t j = 0; j < 2; j++)
            if (faults[j].call == i && faults[j].at == shared->counts[i]) {
                shared->injected++;
                return faults[j].error;
            }
    }
    return 0;
}

/* Not under the filter itself, for it was here before. */
static void *supervise(void *unused)
{
    (void)unused;
    while (__atomic_load_n(&listener, __ATOMIC_SEQ_CST) < 0) sched_yield();
    for (;;) {
        struct seccomp_notif request;
        struct seccomp_notif_resp response;
        memset(&request, 0, sizeof request);
        memset(&response, 0, sizeof response);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) != 0) continue;
        response.id = request.id;
        response.error = -decide(request.data.nr);
        if (response.error == 0) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
    }
    return NULL;
}

/* The listener's descriptor, or -1 where there are no such filters. */
static int watch_calls(void)
{
    struct sock_filter filter[CALLS + 3];
    struct sock_fprog program = {CALLS + 3, filter};
    const struct sock_filter load = {BPF_LD | BPF_W | BPF_ABS, 0, 0,
                                     offsetof(struct seccomp_data, nr)},
                             allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
                             ask = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF};
    filter[0] = load;
    for (size_t i = 0; i < CALLS; i++) {
        const struct sock_filter jump = {BPF_JMP | BPF_JEQ | BPF_K, (uint8_t)(CALLS - i), 0,
                                         (uint32_t)calls[i].number};
        filter[1 + i] = jump;
    }
    filter[CALLS + 1] = allow;
    filter[CALLS + 2] = ask;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                        &program);
}

static int child(void *operation)
{
    const struct operation *op = operation;
    pthread_t supervisor;
    int fd;
    check_failures = 0;
    REQUIRE(pthread_create(&supervisor, NULL, supervise, NULL) == 0);
    fd = watch_calls();
    if (fd < 0) return 77;
    __atomic_store_n(&listener, fd, __ATOMIC_SEQ_CST);
    shared->outcome = try_operation(op, &armed);
    check_retry(op);
    return check_result();
}

/* ---- the driver ---- */

static int run(const struct operation *op, struct fault first, struct fault second)
{
    memset(shared, 0, sizeof *shared);
    faults[0] = first, faults[1] = second;
    return host_in_child(child, (void *)(uintptr_t)op);
}

/* The codes that say that a system call failed. */
static bool names_a_failed_call(int code)
{
    return code == GUESTMEM_E_IO || code == GUESTMEM_E_OS || code == GUESTMEM_E_NO_MEMORY ||
           code == GUESTMEM_E_TOO_LARGE || code == GUESTMEM_E_BACKING ||
           code == GUESTMEM_E_UNSUPPORTED;
}

static const struct fault none;

static void complain(const struct operation *op, const char *what, size_t call, unsigned at,
                     int error, int status)
{
    char line[400];
    (void)snprintf(line, sizeof line,
                   "%s: %s: %s number %u failing with %s: status %d, %s, errno %d", what, op->name,
                   calls[call].name, at, strerrorname_np(error), status,
                   guestmem_error_name(shared->outcome.code), shared->outcome.os_errno);
    check_fail(__FILE__, __LINE__, line);
}

static void fail_at(const struct operation *op, size_t call, unsigned at,
                    const struct failure *failure)
{
    const struct fault fault = {call, at, failure->error};
    const int status = run(op, fault, none), code = shared->outcome.code;
    const char *what = NULL;
    if (status != 0) what = "what must hold does not";
    else if (shared->injected == 0) what = code == GUESTMEM_OK ? NULL : "failed by itself";
    else if (code == GUESTMEM_OK && failure->expectation == MUST) what = "succeeded";
    else if (code != GUESTMEM_OK && failure->expectation == MUST_NOT) what = "was not continued";
    else if (code != GUESTMEM_OK && !names_a_failed_call(code)) what = "another code";
    else if (code != GUESTMEM_OK && code != GUESTMEM_E_UNSUPPORTED &&
             shared->outcome.os_errno != failure->error)
        what = "another errno";
    if (what != NULL) complain(op, what, call, at, failure->error, status);
}

/* Makes every call fail in every way; or, where each run takes long, the first and the last of each
 * kind in one. */
static unsigned fail_everywhere(const struct operation *op, bool all)
{
    struct shared dry;
    unsigned runs = 0;
    int unused = 0, status;
    (void)try_operation(op, &unused); /* once for what is set up only once */
    status = run(op, none, none);
    if (status == 77) SKIP("no seccomp filters that ask");
    CHECK_EQ(status, 0);
    CHECK_CODE(shared->outcome.code, GUESTMEM_OK);
    dry = *shared;
    for (size_t call = 0; call < CALLS && status == 0; call++)
        for (unsigned at = 1; at <= dry.counts[call]; at++) {
            if (!all && at != 1 && at != dry.counts[call]) continue;
            for (size_t i = 0; i < (all ? ERRORS : 1); i++) {
                if (calls[call].failures[i].error == 0) break;
                fail_at(op, call, at, &calls[call].failures[i]);
                runs++;
            }
        }
    printf("%s: %u calls made to fail\n", op->name, runs);
    CHECK(runs > 5);
    return runs;
}

int main(void)
{
    unsigned runs = 0;
    if (host_instrumented()) SKIP("not under valgrind or a sanitizer");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    enter_folder(fast_parent(UINT64_C(1) << 28));
    make_states(SMALL);
    prepare_operations();
    for (size_t i = 0; i < OPERATIONS; i++) runs += fail_everywhere(&operations[i], true);
    finish_operations();
    make_states(LARGE);
    prepare_operations();
    for (size_t i = 0; i < THREADED; i++) runs += fail_everywhere(&threaded[i], false);
    finish_operations();
    printf("%u in all\n", runs);
    return check_result();
}
