/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What must not fail, and what contenders must agree about: either ends the program. */
#ifndef BENCH_MUST_H
#define BENCH_MUST_H

#include <errno.h>
#include <guestmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                           \
    do {                                                                                          \
        if (!(condition)) fail(__FILE__, __LINE__, #condition, strerror(errno));                  \
    } while (0)

#define MUST_AGREE(condition)                                                                     \
    do {                                                                                          \
        if (!(condition)) fail(__FILE__, __LINE__, #condition, "what came out is wrong");         \
    } while (0)

#define MUST_OK(call)                                                                             \
    do {                                                                                          \
        int must_code = (call);                                                                   \
        if (must_code != GUESTMEM_OK) fail_call(__FILE__, __LINE__, #call, must_code);            \
    } while (0)

_Noreturn static void fail(const char *file, int line, const char *what, const char *why)
{
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, why);
    exit(1);
}

_Noreturn static void fail_call(const char *file, int line, const char *what, int code)
{
    char why[256], text[320];
    guestmem_last_error_message(why, sizeof why);
    (void)snprintf(text, sizeof text, "%s (%s)", guestmem_error_name(code), why);
    fail(file, line, what, text);
}

#endif
