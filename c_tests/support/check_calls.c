/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Apart from check.c: a program that loads the library when it runs must not name its functions. */
#include "check.h"

void check_code(const char *file, int line, const char *what, int actual, int expected)
{
    char message[256] = "";
    if (actual == expected) return;
    check_failures++;
    if (check_failures > 20) return;
    if (actual != GUESTMEM_OK) guestmem_last_error_message(message, sizeof message);
    fprintf(stderr, "%s:%d: failed: %s gave %s, expected %s (%s)\n", file, line, what,
            guestmem_error_name(actual), guestmem_error_name(expected), message);
}

struct guestmem *check_new(const struct guestmem_range *ranges, size_t count)
{
    struct guestmem *mem = NULL;
    int code = guestmem_new(ranges, count, &mem);
    check_code(__FILE__, __LINE__, "guestmem_new", code, GUESTMEM_OK);
    if (code != GUESTMEM_OK) exit(1);
    return mem;
}
