/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "failing_calls.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WRITES {{ENOSPC, MUST}, {EIO, MUST}, {EDQUOT, MUST}, {EAGAIN, MUST}, {EINTR, MUST_NOT}}
#define READS {{EIO, MAY}, {EAGAIN, MAY}, {EISDIR, MAY}, {EINVAL, MAY}, {EINTR, MUST_NOT}}
#define SYNCS {{EIO, MUST}, {ENOSPC, MUST}, {EDQUOT, MUST}, {EINTR, MUST_NOT}}
#define RENAMES {{EIO, MUST}, {ENOSPC, MUST}, {EINVAL, MAY}, {EPERM, MAY}}
#define OPENS {{EMFILE, MAY}, {ENOMEM, MAY}, {EACCES, MAY}, {ENOENT, MAY}, {EINTR, MUST_NOT}}
#define ASKS {{EIO, MAY}, {ENOMEM, MAY}, {EOVERFLOW, MAY}, {EACCES, MAY}}
#define LINKS {{EIO, MAY}, {ENOSPC, MAY}, {EPERM, MAY}, {ENOENT, MAY}}
#define MAPS {{ENOMEM, MAY}, {EAGAIN, MAY}, {EPERM, MAY}, {ENODEV, MAY}, {EINVAL, MAY}}
#define THREADS {{EAGAIN, MAY}, {ENOMEM, MAY}, {EPERM, MAY}, {ENOSYS, MAY}}
#define SIGNALS {{EINVAL, MAY}, {EPERM, MAY}, {ENOSYS, MAY}, {EFAULT, MAY}}

const struct call calls[] = {
#define CALL(name, ...) {#name, SYS_##name, __VA_ARGS__}
    CALL(write, WRITES),
    CALL(pwrite64, WRITES),
    CALL(writev, WRITES),
    CALL(pwritev, WRITES),
    CALL(pwritev2, {{ENOSPC, MUST}, {EIO, MUST}, {EDQUOT, MUST}, {EOPNOTSUPP, MUST}, {EINTR, MUST_NOT}}),
    CALL(sendfile, WRITES),
    CALL(splice, WRITES),
    CALL(vmsplice, WRITES),
    CALL(copy_file_range, WRITES),
    CALL(fsync, SYNCS),
    CALL(fdatasync, SYNCS),
    CALL(sync_file_range, {{EIO, MAY}, {ENOMEM, MAY}, {ENOSPC, MAY}, {ESPIPE, MAY}}),
    CALL(syncfs, SYNCS),
    CALL(renameat, RENAMES),
    CALL(renameat2, RENAMES),
    CALL(linkat, LINKS),
    CALL(unlinkat, {{EIO, LEAKS}, {EPERM, LEAKS}, {EBUSY, LEAKS}, {EROFS, LEAKS}}),
    CALL(ftruncate, {{EIO, MAY}, {ENOSPC, MAY}, {EPERM, MAY}, {ENOMEM, MAY}, {EINTR, MUST_NOT}}),
    CALL(fallocate, {{EIO, MAY}, {ENOSPC, MAY}, {EOPNOTSUPP, MAY}, {ENOMEM, MAY}, {EINTR, MUST_NOT}}),
    CALL(fchmod, {{EPERM, MAY}, {EIO, MAY}, {EROFS, MAY}, {ENOMEM, MAY}}),
    CALL(openat, OPENS),
    CALL(openat2, OPENS),
    CALL(read, READS),
    CALL(pread64, READS),
    CALL(readv, READS),
    CALL(preadv, READS),
    CALL(preadv2, READS),
    CALL(lseek, {{EIO, MAY}, {EINVAL, MAY}, {ENOMEM, MAY}, {EOVERFLOW, MAY}}),
    CALL(ioctl, {{ENOTTY, MAY}, {ENOMEM, MAY}, {EFAULT, MAY}, {EPERM, MAY}, {EINTR, MAY}}),
    CALL(fstat, ASKS),
    CALL(newfstatat, ASKS),
    CALL(statx, ASKS),
    CALL(fstatfs, ASKS),
    CALL(fcntl, {{EMFILE, MAY}, {EPERM, MAY}, {EBUSY, MAY}, {ENOMEM, MAY}}),
    CALL(readlinkat, ASKS),
    CALL(faccessat, ASKS),
    CALL(getrandom, {{ENOSYS, MAY}, {EINTR, MAY}, {EAGAIN, MAY}, {EPERM, MAY}}),
    CALL(memfd_create, {{EMFILE, MAY}, {ENFILE, MAY}, {ENOMEM, MAY}, {EPERM, MAY}, {EACCES, MAY}}),
    CALL(mmap, MAPS),
    CALL(mremap, MAPS),
    CALL(msync, {{ENOMEM, MAY}, {EPERM, MAY}, {ENOSYS, MAY}, {EBUSY, MAY}}),
    CALL(mprotect, MAPS),
    CALL(munmap, {{ENOMEM, LEAKS}, {EINVAL, LEAKS}, {EPERM, LEAKS}, {EAGAIN, LEAKS}}),
    CALL(close, {{EIO, LEAKS}, {EINTR, LEAKS}, {ENOSPC, LEAKS}, {EDQUOT, LEAKS}}),
    CALL(madvise, {{ENOMEM, MAY}, {EINVAL, MAY}, {EAGAIN, MAY}, {EFAULT, MAY}, {EPERM, MAY}}),
    CALL(mlock2, {{ENOMEM, MAY}, {EAGAIN, MUST}, {EPERM, MUST}, {EINVAL, MUST}}),
    CALL(munlock, {{ENOMEM, MUST}, {EAGAIN, MUST}, {EPERM, MUST}, {EINVAL, MUST}}),
    CALL(rt_sigprocmask, SIGNALS),
    CALL(rt_sigpending, SIGNALS),
    CALL(prlimit64, {{EPERM, MAY}, {EINVAL, MAY}, {ENOSYS, MAY}, {EFAULT, MAY}}),
    CALL(sched_getaffinity, {{EINVAL, MAY}, {EPERM, MAY}, {ENOSYS, MAY}, {ESRCH, MAY}}),
    CALL(clone3, THREADS),
    CALL(clone, THREADS),
#ifdef SYS_rename
    CALL(rename, RENAMES),
#endif
#ifdef SYS_link
    CALL(link, LINKS),
#endif
#ifdef SYS_open
    CALL(open, OPENS),
#endif
#ifdef SYS_readlink
    CALL(readlink, ASKS),
#endif
#ifdef SYS_stat
    CALL(stat, ASKS),
    CALL(lstat, ASKS),
#endif
};

#define CALLS (sizeof calls / sizeof *calls)
const size_t call_count = CALLS;
_Static_assert(CALLS <= MOST_CALLS, "more calls than are counted");

bool is_continued(const struct call *call)
{
    for (size_t i = 0; i < ERRORS; i++)
        if (call->failures[i].expectation == MUST_NOT) return true;
    return false;
}

/* The codes that say that a system call failed. */
static bool names_a_failed_call(int code)
{
    return code == GUESTMEM_E_IO || code == GUESTMEM_E_OS || code == GUESTMEM_E_NO_MEMORY ||
           code == GUESTMEM_E_TOO_LARGE || code == GUESTMEM_E_BACKING ||
           code == GUESTMEM_E_UNSUPPORTED || code == GUESTMEM_E_POLICY;
}

/* Of the codes that say no more than that a call failed, each is for some errnos. Populating gives
 * EFAULT for a page that cannot be had, locking ENOMEM for a limit. */
static bool fits(int code, int error)
{
    const bool limit = error == EMFILE || error == ENFILE;
    if (code == GUESTMEM_E_NO_MEMORY) return error == ENOMEM || error == EFAULT;
    if (code == GUESTMEM_E_TOO_LARGE) return limit;
    return code != GUESTMEM_E_OS || !limit;
}

const char *what_is_wrong(const struct failure *failure, unsigned times, int code, int os_errno)
{
    if (times == 0) return code == GUESTMEM_OK ? NULL : "failed by itself";
    if (times == ENDLESS) return "is tried for ever";
    if (code == GUESTMEM_OK) return failure->expectation == MUST ? "succeeded" : NULL;
    if (failure->expectation == MUST_NOT) return "was not continued";
    if (failure->expectation == LEAKS) return "told of what cannot be helped";
    if (!names_a_failed_call(code)) return "another code";
    if (!fits(code, failure->error)) return "the code of another errno";
    if (code == GUESTMEM_E_UNSUPPORTED || code == GUESTMEM_E_NO_MEMORY) return NULL;
    /* where there is no such setting, the kernel would ignore the policy */
    if (code == GUESTMEM_E_POLICY && failure->error == ENOENT && os_errno == 0) return NULL;
    return os_errno == failure->error ? NULL : "another errno";
}

/* ---- the calls of the watched thread are counted, and some fail ---- */

struct fault fault;
unsigned counts[MOST_CALLS], injected;

static int decide(const struct seccomp_data *data)
{
    for (size_t i = 0; i < CALLS; i++) {
        if (calls[i].number != data->nr) continue;
        /* nothing makes up for a mask that cannot be put back */
        if (data->nr == SYS_rt_sigprocmask && data->args[0] != SIG_BLOCK) return 0;
        counts[i]++;
        if (fault.call != i || fault.at == 0 || counts[i] < fault.at) return 0;
        if ((counts[i] > fault.at && !fault.lasts) || injected == ENDLESS) return 0;
        injected++;
        return fault.error;
    }
    return 0;
}

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int listener;              /* 0: not there yet; -1: there are no such filters */
    void (*function)(void *);  /* that the watched thread is to run; NULL: none */
    void *argument;
} watch = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, NULL, NULL};

/* Who waits for an answer and who gives it take turns on one processor: it comes at once then, however
 * busy the system is. Linux 6.6. */
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

static void *supervise(void *unused)
{
    (void)unused;
    (void)syscall(SYS_ioctl, watch.listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    for (;;) {
        struct seccomp_notif request;
        struct seccomp_notif_resp response;
        memset(&request, 0, sizeof request);
        memset(&response, 0, sizeof response);
        if (syscall(SYS_ioctl, watch.listener, SECCOMP_IOCTL_NOTIF_RECV, &request) != 0) continue;
        response.id = request.id;
        response.error = -decide(&request.data);
        if (response.error == 0) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        (void)syscall(SYS_ioctl, watch.listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
    }
    return NULL;
}

/* The listener's descriptor, or -1. */
static int install_filter(void)
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

static void *work(void *unused)
{
    (void)unused;
    (void)pthread_mutex_lock(&watch.lock);
    watch.listener = install_filter();
    for (;;) {
        (void)pthread_cond_broadcast(&watch.changed);
        while (watch.function == NULL) (void)pthread_cond_wait(&watch.changed, &watch.lock);
        watch.function(watch.argument);
        watch.function = NULL;
    }
    return NULL;
}

bool watch_calls(void)
{
    pthread_t worker, supervisor;
    REQUIRE(pthread_create(&worker, NULL, work, NULL) == 0);
    REQUIRE(pthread_mutex_lock(&watch.lock) == 0);
    while (watch.listener == 0) (void)pthread_cond_wait(&watch.changed, &watch.lock);
    REQUIRE(pthread_mutex_unlock(&watch.lock) == 0);
    if (watch.listener < 0) return false;
    REQUIRE(pthread_create(&supervisor, NULL, supervise, NULL) == 0);
    return true;
}

void run_watched(void (*function)(void *), void *argument)
{
    REQUIRE(pthread_mutex_lock(&watch.lock) == 0);
    watch.function = function, watch.argument = argument;
    REQUIRE(pthread_cond_broadcast(&watch.changed) == 0);
    while (watch.function != NULL) (void)pthread_cond_wait(&watch.changed, &watch.lock);
    REQUIRE(pthread_mutex_unlock(&watch.lock) == 0);
}
