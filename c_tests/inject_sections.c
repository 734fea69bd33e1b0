/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A system call that fails, at each step of each operation of every section: an error code comes
 * back, or the right result all the same; nothing is left behind, memory holds what it held, and
 * once the call works again so does the operation. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "failing_calls.h"
#include "section_operations.h"

/* In memory that the driver sees too, so that it knows when a child dies what of. */
static struct shared {
    unsigned counts[CALLS];
    struct fault fault;
    unsigned sites, faults;
} *shared;

static void complain(const struct operation *op, const char *what, const struct failure *failure,
                     int code)
{
    char line[300];
    (void)snprintf(line, sizeof line, "%s: %s number %u failing with %s: %s, %s", op->name,
                   calls[fault.call].name, fault.at, strerrorname_np(failure->error), what,
                   guestmem_error_name(code));
    check_fail(__FILE__, __LINE__, line);
}

static int attempt(const struct operation *op, struct fault wanted, bool leaks)
{
    memset(counts, 0, sizeof counts);
    injected = 0, fault = wanted;
    return try_operation(op, &armed, leaks);
}

static void fail_at(const struct operation *op, size_t call, unsigned at,
                    const struct failure *failure)
{
    const struct fault wanted = {call, at, failure->error}, none = {0, 0, 0};
    const int failures = check_failures;
    const char *what;
    int code, os_errno;
    shared->fault = wanted;
    code = attempt(op, wanted, failure->expectation == LEAKS);
    os_errno = code == GUESTMEM_OK ? 0 : last_error().os_errno;
    what = what_is_wrong(failure, injected, code, os_errno);
    if (what != NULL || failures != check_failures)
        complain(op, what == NULL ? "what must hold does not" : what, failure, code);
    CHECK_OK(attempt(op, none, false));
    shared->faults++;
}

static void fail_everywhere(const struct operation *op)
{
    const size_t errors = fast() ? 1 : ERRORS;
    for (size_t call = 0; call < CALLS; call++)
        for (unsigned at = 1; at <= shared->counts[call]; at++, shared->sites++)
            for (size_t i = 0; i < errors && calls[call].failures[i].error != 0; i++)
                fail_at(op, call, at, &calls[call].failures[i]);
}

static int child(void *operation)
{
    const struct operation *op = operation;
    const struct fault none = {0, 0, 0};
    int code;
    check_failures = 0;
    if (!watch_calls()) return 77;
    steady_allocator();
    code = attempt(op, none, false); /* once for what is set up only once */
    if (code == GUESTMEM_E_POLICY || code == GUESTMEM_E_UNSUPPORTED) return 78;
    CHECK_OK(attempt(op, none, false));
    memcpy(shared->counts, counts, sizeof counts);
    fail_everywhere(op);
    return check_result();
}

static void run(const struct operation *op)
{
    int status;
    char line[200];
    memset(shared->counts, 0, sizeof shared->counts);
    shared->sites = shared->faults = 0;
    status = host_in_child(child, (void *)(uintptr_t)op);
    if (status == 77) SKIP("no seccomp filters that ask");
    if (status == 78) SKIP_PART("%s: this system cannot do it", op->name);
    else if (status != 0) {
        (void)snprintf(line, sizeof line, "%s: ended with %d, %s number %u failing with %d",
                       op->name, status, calls[shared->fault.call].name, shared->fault.at,
                       shared->fault.error);
        check_fail(__FILE__, __LINE__, line);
    }
    if (status == 0) CHECK(op->calls_nothing == (shared->sites == 0));
    printf("%s: %u calls, %u faults\n", op->name, shared->sites, shared->faults);
}

int main(void)
{
    unsigned faults = 0, sites = 0;
    if (getenv("GUESTMEM_TEST_NO_STRACE") != NULL) SKIP("not under valgrind or a sanitizer");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    prepare_ground();
    for (size_t i = 0; i < OPERATIONS; i++) {
        if (!can_be_had(&operations[i])) {
            SKIP_PART("%s: no huge pages", operations[i].name);
            continue;
        }
        run(&operations[i]);
        sites += shared->sites, faults += shared->faults;
    }
    printf("%u faults at %u calls in all\n", faults, sites);
    return check_result();
}
