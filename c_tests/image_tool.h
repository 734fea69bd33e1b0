/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* guestmem-image, the tool, and an image whose content is known. */
#ifndef IMAGE_TOOL_H
#define IMAGE_TOOL_H

#include "child.h"

enum { LOW, MIDDLE, HIGH, REGIONS };

static const struct guestmem_range ranges[REGIONS] = {
    {0, 0x10000}, {0x100000, 0x400000}, {UINT64_C(0x100000000), 0x200000}};

static char *tool, *image;
static struct guestmem *mem;

/* ---- running it ---- */

/* Up to three words behind the command; NULL for none. */
CHECK_UNUSED static struct child run(const char *command, const char *a, const char *b,
                                     const char *c)
{
    char *words[] = {tool, (char *)command, (char *)a, (char *)b, (char *)c, NULL};
    return child_run(words);
}

CHECK_UNUSED static void show(const struct child *child)
{
    fprintf(stderr, "exit code %d\n%s%s", child->code, child->out, child->err);
}

#define CHECK_CHILD(child, condition)                                                             \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            check_fail(__FILE__, __LINE__, #condition);                                           \
            show(child);                                                                          \
        }                                                                                         \
    } while (0)

/* Fails with this code, says this on standard error and nothing on standard output. */
CHECK_UNUSED static void expect_failure(const char *command, const char *a, const char *b,
                                        const char *c, const char *message)
{
    struct child child = run(command, a, b, c);
    CHECK_CHILD(&child, child.code == 2);
    CHECK_CHILD(&child, strstr(child.err, message) != NULL);
    CHECK_CHILD(&child, child.out_len == 0);
    child_free(&child);
}

/* Prints all of these, one somewhere behind the other. */
CHECK_UNUSED static void expect_output(const char *command, const char *a, const char *b, int code,
                          const char *const *parts)
{
    struct child child = run(command, a, b, NULL);
    const char *at = child.out;
    CHECK_CHILD(&child, child.code == code);
    CHECK_CHILD(&child, child.err[0] == 0);
    for (; *parts != NULL && at != NULL; parts++) {
        at = strstr(at, *parts);
        if (at == NULL) fprintf(stderr, "missing: %s\n", *parts);
        CHECK_CHILD(&child, at != NULL);
    }
    child_free(&child);
}

#define EXPECT(command, a, b, code, ...)                                                          \
    expect_output(command, a, b, code, (const char *const[]){__VA_ARGS__, NULL})

/* ---- images ---- */

CHECK_UNUSED static char *new_path(const char *name)
{
    char *path = strdup(path_of(name, 0));
    REQUIRE(path != NULL);
    return path;
}

CHECK_UNUSED static void fill_pages(uint64_t addr, unsigned pages, uint64_t seed)
{
    uint8_t page[4096];
    for (; pages > 0; pages--, addr += PAGE) {
        fill_random(page, sizeof page, seed + addr);
        CHECK_OK(guestmem_write_all(mem, addr, page, sizeof page));
    }
}

CHECK_UNUSED static void save(const char *path, uint64_t flags)
{
    const struct guestmem_snapshot_options options = {flags, 0, 0, NULL, NULL};
    CHECK_OK(guestmem_save(mem, path, &options, sizeof options));
}

static void make_images(void)
{
    mem = check_new(ranges, REGIONS);
    fill_pages(0x1000, 2, 1);
    fill_pages(0xf000, 1, 1);
    fill_pages(0x100000, 2, 1);  /* a quarter of eight pages, */
    fill_pages(0x108000, 3, 1);  /* a bit more, */
    fill_pages(0x110000, 6, 1);  /* three quarters, */
    fill_pages(0x11c000, 19, 1); /* half, all and a bit less */
    fill_pages(0x1001ff000, 1, 1);
    image = new_path("image");
    save(image, 0);
}

/* A copy with one byte changed, `from_end` before its end or, if that is 0, at `at`. */
CHECK_UNUSED static char *damaged(const char *name, size_t at, size_t from_end)
{
    char *path = new_path(name);
    size_t len;
    uint8_t *bytes = read_file(image, &len);
    bytes[from_end == 0 ? at : len - from_end] ^= 0x20;
    write_file(path, bytes, len);
    free(bytes);
    return path;
}

static void tool_begin(void)
{
    tool = program_path("GUESTMEM_IMAGE_TOOL", "../build/guestmem-image");
    if (access(tool, X_OK) != 0) {
        fprintf(stderr, "no %s: run make, or name it in GUESTMEM_IMAGE_TOOL\n", tool);
        exit(1);
    }
    REQUIRE(setenv("LC_ALL", "C", 1) == 0);
    folder_new("/dev/shm");
    make_images();
}

static void tool_end(void)
{
    guestmem_unref(mem);
    free(image);
}

#endif
