/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A system call that fails, at each step of each way to save memory and to bring it back. The old
 * image stays, live memory is what it was or tainted, nothing is left behind, and once the call
 * works again so does the operation. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "failing_calls.h"
#include "image_operations.h"

/* ---- in the child: one operation ---- */

static struct shared {
    unsigned counts[CALLS];
    unsigned injected;
    struct outcome outcome;
} *shared;

static int child(void *operation)
{
    const struct operation *op = operation;
    check_failures = 0;
    if (!watch_calls()) return 77;
    shared->outcome = try_operation(op, &armed);
    memcpy(shared->counts, counts, sizeof counts);
    shared->injected = injected;
    check_retry(op);
    return check_result();
}

/* ---- the driver ---- */

static int run(const struct operation *op, struct fault wanted)
{
    memset(shared, 0, sizeof *shared);
    fault = wanted;
    return host_in_child(child, (void *)(uintptr_t)op);
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
    const struct fault wanted = {call, at, failure->error};
    const int status = run(op, wanted), code = shared->outcome.code;
    const char *what = "what must hold does not";
    if (status == 0)
        what = what_is_wrong(failure, shared->injected, code, shared->outcome.os_errno);
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
    status = run(op, none);
    if (status == 77) SKIP("no seccomp filters that ask");
    CHECK_EQ(status, 0);
    CHECK_CODE(shared->outcome.code, GUESTMEM_OK);
    dry = *shared;
    for (size_t call = 0; call < CALLS && status == 0; call++)
        for (unsigned at = 1; at <= dry.counts[call]; at++) {
            if (!all && at != 1 && at != dry.counts[call]) continue;
            for (size_t i = 0; i < (all ? ERRORS : 1); i++) {
                if (calls[call].failures[i].error == 0) break;
                if (calls[call].failures[i].expectation == LEAKS) break;
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
