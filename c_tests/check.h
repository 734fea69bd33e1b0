/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What every test program here shares: checks that say where and what, and the three exit codes
 * (0 passed, 1 failed, 77 skipped with the reason). A failed check does not stop the program, so
 * that one run shows all of them; main ends with `return check_result();`. */
#ifndef CHECK_H
#define CHECK_H

#include <guestmem.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define CHECK_UNUSED __attribute__((unused))
#else
#define CHECK_UNUSED
#endif

static int check_failures;

/* A condition that must hold. */
#define CHECK(condition)                                                                          \
    do {                                                                                          \
        if (!(condition)) check_fail(__FILE__, __LINE__, #condition);                             \
    } while (0)

/* A call that must give this code. */
#define CHECK_CODE(call, expected) check_code(__FILE__, __LINE__, #call, (call), (expected))

/* A call that must succeed. */
#define CHECK_OK(call) CHECK_CODE(call, GUESTMEM_OK)

/* Two unsigned numbers that must be equal. */
#define CHECK_EQ(actual, expected)                                                                \
    check_eq(__FILE__, __LINE__, #actual, (uint64_t)(actual), (uint64_t)(expected))

/* A call without which the rest makes no sense. */
#define REQUIRE(condition)                                                                        \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            check_fail(__FILE__, __LINE__, #condition);                                           \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* The machine lacks what the whole program needs. CI knows which skips are allowed. */
#define SKIP(...)                                                                                 \
    do {                                                                                          \
        printf("skipped: ");                                                                      \
        printf(__VA_ARGS__);                                                                      \
        printf("\n");                                                                             \
        exit(77);                                                                                 \
    } while (0)

/* The machine lacks what one part of the program needs; the rest goes on. */
#define SKIP_PART(...)                                                                            \
    do {                                                                                          \
        printf("skipped: ");                                                                      \
        printf(__VA_ARGS__);                                                                      \
        printf("\n");                                                                             \
    } while (0)

CHECK_UNUSED static void check_fail(const char *file, int line, const char *what)
{
    check_failures++;
    if (check_failures <= 20) fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
}

/* A program that loads the library itself must not name its functions. */
#ifndef CHECK_WITHOUT_LIBRARY
CHECK_UNUSED static void check_code(const char *file, int line, const char *what, int actual,
                                    int expected)
{
    char message[256] = "";
    if (actual == expected) return;
    check_failures++;
    if (check_failures > 20) return;
    if (actual != GUESTMEM_OK) guestmem_last_error_message(message, sizeof message);
    fprintf(stderr, "%s:%d: failed: %s gave %s, expected %s (%s)\n", file, line, what,
            guestmem_error_name(actual), guestmem_error_name(expected), message);
}
#endif

CHECK_UNUSED static void check_eq(const char *file, int line, const char *what, uint64_t actual,
                                  uint64_t expected)
{
    if (actual == expected) return;
    check_failures++;
    if (check_failures <= 20)
        fprintf(stderr, "%s:%d: failed: %s is 0x%" PRIx64 ", expected 0x%" PRIx64 "\n", file, line,
                what, actual, expected);
}

CHECK_UNUSED static int check_result(void)
{
    if (check_failures != 0) fprintf(stderr, "%d checks failed\n", check_failures);
    return check_failures != 0;
}

#ifndef CHECK_WITHOUT_LIBRARY
/* Guest memory of page-sized regions, or the end of the program. */
CHECK_UNUSED static struct guestmem *check_new(const struct guestmem_range *ranges, size_t count)
{
    struct guestmem *mem = NULL;
    int code = guestmem_new(ranges, count, &mem);
    check_code(__FILE__, __LINE__, "guestmem_new", code, GUESTMEM_OK);
    if (code != GUESTMEM_OK) exit(1);
    return mem;
}
#endif

#endif
