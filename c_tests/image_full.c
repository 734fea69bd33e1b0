/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* No more room for what is saved: a file size limit and a full file system, met at each page. A
 * write comes up short first, and then fails: an error and no signal, the old image stays, and no
 * temporary file.
 * runs: asan valgrind */
#include "operations_image.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

static bool writes(const struct operation *op)
{
    return op->kind == SAVE || op->kind == SAVE_NEW || op->kind == SNAPSHOT;
}

/* Tries it with less room than it needs; true once there is enough. */
static bool try_with(const struct operation *op, uint64_t room, int os_errno)
{
    const struct outcome outcome = try_operation(op, run_plainly, false);
    if (outcome.code == GUESTMEM_OK) return true;
    if (outcome.code != GUESTMEM_E_IO || outcome.os_errno != os_errno) {
        fprintf(stderr, "%s with room for %" PRIu64 " bytes: errno %d\n", op->name, room,
                outcome.os_errno);
        CHECK_CODE(outcome.code, GUESTMEM_E_IO);
    }
    return false;
}

/* ---- a limit of the process: past it, SIGXFSZ ---- */

static int grow_the_limit(void *operation)
{
    const struct operation *op = operation;
    const uint64_t most = state_ranges[0].size * 2;
    struct rlimit limit, before;
    unsigned failed = 0;
    uint64_t room;
    check_failures = 0;
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    for (room = 0; room < most; room += op->kind == SAVE_NEW ? 4096 : 3 * 4096 + 1000) {
        bool fits;
        limit.rlim_cur = room, limit.rlim_max = before.rlim_max;
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 77;
        fits = try_with(op, room, EFBIG);
        REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
        if (fits) break;
        failed++;
    }
    CHECK(failed > 3 && room < most);
    check_retry(op);
    return check_result();
}

static void test_file_size_limit(void)
{
    for (size_t i = 0; i < OPERATIONS; i++) {
        int status;
        if (!writes(&operations[i])) continue;
        status = run_in_child(grow_the_limit, (void *)(uintptr_t)&operations[i]);
        if (status != 0) fprintf(stderr, "%s: status %d\n", operations[i].name, status);
        if (status == 77) SKIP_PART("RLIMIT_FSIZE cannot be set");
        else CHECK_EQ(status, 0);
    }
}

/* ---- a full file system ---- */

static bool set_room(uint64_t bytes, unsigned long flags)
{
    char options[64];
    (void)snprintf(options, sizeof options, "size=%" PRIu64, bytes);
    return mount("none", "small", "tmpfs", flags, options) == 0;
}

static uint64_t used_here(void)
{
    struct statvfs fs;
    REQUIRE(statvfs(".", &fs) == 0);
    return (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
}

/* In a file system of its own, seen by nobody else, that grows page by page. */
static int grow_the_file_system(void *unused)
{
    (void)unused;
    check_failures = 0;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        !set_room(UINT64_C(1) << 24, 0))
        return 77;
    REQUIRE(chdir("small") == 0);
    prepare_operations();
    for (size_t i = 0; i < OPERATIONS; i++) {
        const struct operation *op = &operations[i];
        unsigned failed = 0;
        uint64_t room;
        bool fits = false;
        if (!writes(op)) continue;
        before_operation(op);
        for (room = used_here(); !fits && failed < 1000; room += 4096) {
            REQUIRE(chdir("..") == 0 && set_room(room, MS_REMOUNT) && chdir("small") == 0);
            fits = try_with(op, room, ENOSPC);
            failed += !fits;
        }
        printf("%s: no room %u times\n", op->name, failed);
        CHECK(fits && failed > 3);
        (void)remove("new");
        REQUIRE(chdir("..") == 0 && set_room(UINT64_C(1) << 24, MS_REMOUNT) && chdir("small") == 0);
        check_retry(op);
    }
    (void)fflush(stdout);
    return check_result();
}

static void test_full_file_system(void)
{
    int status;
    REQUIRE(mkdir("small", 0700) == 0);
    status = run_in_child(grow_the_file_system, NULL);
    if (status == 77) SKIP_PART("no mounts of one's own here");
    else CHECK_EQ(status, 0);
    REQUIRE(rmdir("small") == 0);
}

int main(void)
{
    enter_folder(fast_parent(UINT64_C(1) << 26));
    make_states(SMALL);
    test_full_file_system();
    prepare_operations();
    test_file_size_limit();
    finish_operations();
    return check_result();
}
