/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Checks that say where and what, and the three exit codes (0 passed, 1 failed, 77 skipped with the
 * reason). A failed check does not stop the program; main ends with `return check_result();`. */
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

#ifdef __cplusplus
extern "C" {
#endif

#define PAGE ((uint64_t)4096)
#define MIB ((uint64_t)1 << 20)

extern int check_failures;

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

/* The machine lacks what one part of the program needs; the rest goes on. Said at once, as a child may
 * end without. */
#define SKIP_PART(...)                                                                            \
    do {                                                                                          \
        printf("skipped: ");                                                                      \
        printf(__VA_ARGS__);                                                                      \
        printf("\n");                                                                             \
        (void)fflush(stdout);                                                                     \
    } while (0)

void check_fail(const char *file, int line, const char *what);
void check_eq(const char *file, int line, const char *what, uint64_t actual, uint64_t expected);
int check_result(void);
/* Give a message of the library beside the code. */
void check_code(const char *file, int line, const char *what, int actual, int expected);
/* Guest memory of page-sized regions, or the end of the program. */
struct guestmem *check_new(const struct guestmem_range *ranges, size_t count);

#ifdef __cplusplus
}
#endif

#endif
