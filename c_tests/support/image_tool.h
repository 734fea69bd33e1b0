/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* guestmem-image, the tool, and an image whose content is known. */
#ifndef IMAGE_TOOL_H
#define IMAGE_TOOL_H

#include "guest.h"
#include "program.h"

enum { LOW, MIDDLE, HIGH, REGIONS };

#define CHECK_CHILD(child, condition)                                                             \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            check_fail(__FILE__, __LINE__, #condition);                                           \
            show(child);                                                                          \
        }                                                                                         \
    } while (0)

#define EXPECT(command, a, b, code, ...)                                                          \
    expect_output(command, a, b, code, (const char *const[]){__VA_ARGS__, NULL})

extern const struct guestmem_range tool_ranges[REGIONS];
extern char *tool, *tool_image;
extern struct guestmem *tool_memory;

/* Up to three words behind the command; NULL for none. */
struct child tool_run(const char *command, const char *a, const char *b, const char *c);
void show(const struct child *child);
/* Fails with this code, says this on standard error and nothing on standard output. */
void expect_failure(
                    const char *command, const char *a, const char *b, const char *c, const char *message);
/* Prints all of these, one somewhere behind the other. */
void expect_output(
                   const char *command, const char *a, const char *b, int code, const char *const *parts);
char *new_path(const char *name);
void fill_pages(uint64_t addr, unsigned pages, uint64_t seed);
void tool_save(const char *path, uint64_t flags);
/* A copy with one byte changed, `from_end` before its end or, if that is 0, at `at`. */
char *damaged(const char *name, size_t at, size_t from_end);
void tool_begin(void);
void tool_end(void);

#endif
