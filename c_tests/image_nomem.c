/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* An allocation that fails, each in turn, in each way to save memory and to bring it back: a code
 * comes back, never an abort; the old image stays, and live memory is what it was or tainted. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "image_operations.h"
#include <limits.h>

/* ---- an allocator that can be made to fail ---- */

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define CAN_FAIL true
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);
#else
#define CAN_FAIL false
#endif

static int armed;
static unsigned asked, first, last; /* those from `first` to `last` fail */

#if CAN_FAIL
static bool refused(void)
{
    unsigned number;
    if (!__atomic_load_n(&armed, __ATOMIC_SEQ_CST)) return false;
    number = __atomic_add_fetch(&asked, 1, __ATOMIC_SEQ_CST);
    if (number < first || number > last) return false;
    errno = ENOMEM;
    return true;
}
#endif

#if CAN_FAIL
void *malloc(size_t size)
{
    return refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return refused() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return refused() ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return refused() ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *made = refused() ? NULL : __libc_memalign(alignment, size);
    if (made == NULL) return ENOMEM;
    *out = made;
    return 0;
}
#endif

/* ---- one operation, with some allocations failing ---- */

static struct shared {
    unsigned asked;
    struct outcome outcome;
} *shared;

static int child(void *operation)
{
    const struct operation *op = operation;
    check_failures = 0;
    shared->outcome = try_operation(op, &armed);
    shared->asked = asked;
    check_retry(op);
    return check_result();
}

static int run(const struct operation *op, unsigned from, unsigned to)
{
    memset(shared, 0, sizeof *shared);
    first = from, last = to;
    return host_in_child(child, (void *)(uintptr_t)op);
}

static void fail_at(const struct operation *op, unsigned from, unsigned to)
{
    const int status = run(op, from, to), code = shared->outcome.code;
    char line[300];
    if (status == 0 && (code == GUESTMEM_OK || code == GUESTMEM_E_NO_MEMORY)) return;
    (void)snprintf(line, sizeof line, "%s: allocations %u to %u failing: status %d, %s", op->name,
                   from, to, status, guestmem_error_name(code));
    check_fail(__FILE__, __LINE__, line);
}

static void fail_everywhere(const struct operation *op, unsigned step)
{
    unsigned count, at;
    int unused = 0;
    (void)try_operation(op, &unused); /* once for what is set up only once */
    CHECK_EQ(run(op, UINT_MAX, UINT_MAX), 0);
    CHECK_CODE(shared->outcome.code, GUESTMEM_OK);
    count = shared->asked;
    for (at = 1; at <= count; at += step) fail_at(op, at, at);
    for (at = 1; at <= count; at += 3 * step) fail_at(op, at, UINT_MAX);
    printf("%s: %u allocations\n", op->name, count);
    CHECK(count > 0);
}

int main(void)
{
    if (host_instrumented()) SKIP("not under valgrind or a sanitizer");
    if (!CAN_FAIL) SKIP("no allocator that can be made to fail");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    enter_folder(fast_parent(UINT64_C(1) << 28));
    make_states(SMALL);
    prepare_operations();
    for (size_t i = 0; i < OPERATIONS; i++) fail_everywhere(&operations[i], 1);
    finish_operations();
    make_states(LARGE);
    prepare_operations();
    fail_everywhere(&threaded[0], 6);
    fail_everywhere(&threaded[4], 6);
    finish_operations();
    return check_result();
}
