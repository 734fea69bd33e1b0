/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Lessons about system calls: those that nobody asked for, and those that fail and are to be told of;
 * lessons.h says where the others are.
 * runs: natively only */
#include "support/process.h"
#include "support/images.h"
#include "lessons.h"

#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* ---- filters of this process ---- */

#define DEADLY SECCOMP_RET_KILL_PROCESS

#define FIELD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define GIVE(answer) BPF_STMT(BPF_RET | BPF_K, (answer))
#define UNLESS(test, value, steps) BPF_JUMP(BPF_JMP | (test) | BPF_K, (uint32_t)(value), 0, (steps))

/* Each begins with the number of the call loaded, and ends with it where it gives no answer. */
#define ON_CALL(call, answer) UNLESS(BPF_JEQ, SYS_##call, 1), GIVE(answer)
#define ON_FLAGS(call, argument, flags, answer)                                                    \
    UNLESS(BPF_JEQ, SYS_##call, 4), FIELD(args[argument]), UNLESS(BPF_JSET, flags, 1),             \
        GIVE(answer), FIELD(nr)

/* For this process, from here on. */
#define INSTALL(...)                                                                               \
    do {                                                                                           \
        struct sock_filter steps[] = {__VA_ARGS__};                                                \
        const struct sock_fprog program = {sizeof steps / sizeof *steps, steps};                   \
        REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);                                      \
        REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);                        \
    } while (0)

/* ---- syncing ---- */

/* Every way to wait for a disk ends the process; but direct writes wait for the device by nature. */
static void forbid_syncing(bool direct)
{
    if (!direct) INSTALL(FIELD(nr), ON_CALL(sync_file_range, DEADLY), GIVE(SECCOMP_RET_ALLOW));
    INSTALL(FIELD(nr), ON_CALL(fsync, DEADLY), ON_CALL(fdatasync, DEADLY),
            ON_CALL(syncfs, DEADLY), ON_CALL(sync, DEADLY),
            ON_CALL(msync, DEADLY), ON_FLAGS(openat, 2, O_DSYNC, DEADLY),
            ON_FLAGS(pwritev2, 5, RWF_DSYNC | RWF_SYNC, DEADLY), GIVE(SECCOMP_RET_ALLOW));
}

static struct guestmem *mem; /* to be saved */

static int snapshot_without_syncing(void *options)
{
    const struct guestmem_snapshot_options *snapshot = options;
    const struct guestmem_restore_options restore = {GUESTMEM_RESTORE_MORE_FOLLOWS, 0, 0, NULL, NULL};
    const int file = open("snapshot", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char *metadata = NULL;
    int code;
    REQUIRE(file >= 0);
    check_failures = 0;
    forbid_syncing(snapshot->flags & GUESTMEM_SNAPSHOT_DIRECT);
    code = guestmem_snapshot(mem, file, snapshot, sizeof *snapshot, &metadata);
    /* not every file system can do without its cache */
    if (code == GUESTMEM_E_UNSUPPORTED && (snapshot->flags & GUESTMEM_SNAPSHOT_DIRECT)) return 0;
    CHECK_OK(code);
    if (metadata == NULL) return 1;
    REQUIRE(lseek(file, 0, SEEK_SET) == 0);
    CHECK_OK(guestmem_restore(mem, metadata, strlen(metadata), file, &restore, sizeof restore));
    guestmem_free(metadata);
    return check_result();
}

static int stream_without_syncing(void *unused)
{
    struct stream stream;
    char *metadata = NULL;
    (void)unused;
    stream_new(&stream, 0x500000);
    check_failures = 0;
    forbid_syncing(false);
    CHECK_OK(guestmem_snapshot_write(mem, stream_write, &stream, NULL, 0, &metadata));
    return check_result();
}

static int save_without_syncing(void *unused)
{
    (void)unused;
    forbid_syncing(false);
    return guestmem_save(mem, "image", NULL, 0);
}

/* Firecracker #6109: syncing to disk unasked made a 4 GB snapshot 13 times slower. */
static void test_firecracker_6109_nothing_is_synced_unasked(void)
{
    static const uint64_t flags[] = {0, GUESTMEM_SNAPSHOT_NO_CHECKSUM,
                                     GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES, GUESTMEM_SNAPSHOT_DIRECT};
    static const char *const parents[] = {"/tmp", "/dev/shm"};
    for (size_t i = 0; i < 2; i++) {
        struct guestmem_snapshot_options options;
        memset(&options, 0, sizeof options);
        enter_folder(parents[i]);
        mem = memory_with_data(1);
        for (size_t j = 0; j < 4; j++)
            for (options.layout = 0; options.layout < 2; options.layout++) {
                options.flags = flags[j];
                CHECK_EQ(run_in_child(snapshot_without_syncing, &options), 0);
                /* where it is asked for, it is seen */
                options.flags |= GUESTMEM_SNAPSHOT_SYNC;
                if (flags[j] != GUESTMEM_SNAPSHOT_DIRECT)
                    CHECK(run_in_child(snapshot_without_syncing, &options) == -SIGSYS);
            }
        CHECK_EQ(run_in_child(stream_without_syncing, NULL), 0);
        CHECK(run_in_child(save_without_syncing, NULL) == -SIGSYS); /* which always does */
        guestmem_unref(mem);
        leave_folder();
    }
}

/* ---- mapping ---- */

struct refusal {
    int error;    /* what mmap(2) gives */
    bool later;   /* to the first piece of the file it gives what it should */
    int expected; /* code */
};

/* Copy-on-write mappings of files. All others go on: memory that is read into can be made. */
static void refuse_to_map(const struct refusal *refusal)
{
    const uint32_t answer = SECCOMP_RET_ERRNO | (uint32_t)refusal->error,
                   first = refusal->later ? SECCOMP_RET_ALLOW : answer;
    INSTALL(FIELD(nr), UNLESS(BPF_JEQ, SYS_mmap, 8), FIELD(args[3]), UNLESS(BPF_JSET, MAP_PRIVATE, 6),
            FIELD(args[4]), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)-1, 4, 0), FIELD(args[5]),
            UNLESS(BPF_JEQ, 0, 1), GIVE(first), GIVE(answer), GIVE(SECCOMP_RET_ALLOW));
}

static int load_what_cannot_be_mapped(void *argument)
{
    const struct refusal *refusal = argument;
    struct guestmem *loaded;
    check_failures = 0;
    refuse_to_map(refusal);
    loaded = load_with("image", 0);
    CHECK(same_memory(loaded, mem));
    guestmem_unref(loaded);
    refuse_load("image", GUESTMEM_LOAD_MAP, refusal->expected);
    CHECK_EQ(last_error().os_errno, refusal->error);
    refuse_load("image", GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY, refusal->expected);
    CHECK_EQ(last_error().os_errno, refusal->error);
    return check_result();
}

/* Several sandboxes: a mapped restore fell back to reading everything, without a word. */
static void test_sandboxes_what_cannot_be_mapped_is_not_read(void)
{
    static const struct refusal refusals[] = {{ENODEV, false, GUESTMEM_E_BACKING},
                                              {EACCES, false, GUESTMEM_E_BACKING},
                                              {EPERM, false, GUESTMEM_E_BACKING},
                                              {ENODEV, true, GUESTMEM_E_BACKING},
                                              {ENOMEM, false, GUESTMEM_E_NO_MEMORY},
                                              {EAGAIN, false, GUESTMEM_E_OS},
                                              {EINVAL, true, GUESTMEM_E_OS}};
    enter_folder("/tmp");
    mem = saved_memory(2);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        CHECK_EQ(run_in_child(load_what_cannot_be_mapped, (void *)(uintptr_t)&refusals[i]), 0);
    guestmem_unref(mem);
    leave_folder();
}

int main(void)
{
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) SKIP("no seccomp filters");
    RUN(test_firecracker_6109_nothing_is_synced_unasked);
    RUN(test_sandboxes_what_cannot_be_mapped_is_not_read);
    return check_result();
}
