/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "check.h"

int check_failures;

void check_fail(const char *file, int line, const char *what)
{
    check_failures++;
    if (check_failures <= 20) fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
}

void check_eq(const char *file, int line, const char *what, uint64_t actual, uint64_t expected)
{
    if (actual == expected) return;
    check_failures++;
    if (check_failures <= 20)
        fprintf(stderr, "%s:%d: failed: %s is 0x%" PRIx64 ", expected 0x%" PRIx64 "\n", file, line,
                what, actual, expected);
}

int check_result(void)
{
    if (check_failures != 0) fprintf(stderr, "%d checks failed\n", check_failures);
    return check_failures != 0;
}
