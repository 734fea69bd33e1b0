/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "image_tool.h"

const struct guestmem_range tool_ranges[REGIONS] = {
    {0, 0x10000}, {0x100000, 0x400000}, {UINT64_C(0x100000000), 0x200000}};
char *tool, *tool_image;
struct guestmem *tool_memory;

struct child tool_run(const char *command, const char *a, const char *b, const char *c)
{
    char *words[] = {tool, (char *)command, (char *)a, (char *)b, (char *)c, NULL};
    return child_run(words);
}

void show(const struct child *child)
{
    fprintf(stderr, "exit code %d\n%s%s", child->code, child->out, child->err);
}

void expect_failure(const char *command, const char *a, const char *b, const char *c,
                    const char *message)
{
    struct child child = tool_run(command, a, b, c);
    CHECK_CHILD(&child, child.code == 2);
    CHECK_CHILD(&child, strstr(child.err, message) != NULL);
    CHECK_CHILD(&child, child.out_len == 0);
    child_free(&child);
}

void expect_output(const char *command, const char *a, const char *b, int code,
                   const char *const *parts)
{
    struct child child = tool_run(command, a, b, NULL);
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

char *new_path(const char *name)
{
    char *path = strdup(path_of(name, 0));
    REQUIRE(path != NULL);
    return path;
}

void fill_pages(uint64_t addr, unsigned pages, uint64_t seed)
{
    uint8_t page[4096];
    for (; pages > 0; pages--, addr += PAGE) {
        fill_random(page, sizeof page, seed + addr);
        CHECK_OK(guestmem_write_all(tool_memory, addr, page, sizeof page));
    }
}

void tool_save(const char *path, uint64_t flags)
{
    const struct guestmem_snapshot_options options = {flags, 0, 0, NULL, NULL};
    CHECK_OK(guestmem_save(tool_memory, path, &options, sizeof options));
}

static void make_images(void)
{
    tool_memory = check_new(tool_ranges, REGIONS);
    fill_pages(0x1000, 2, 1);
    fill_pages(0xf000, 1, 1);
    fill_pages(0x100000, 2, 1);  /* a quarter of eight pages, */
    fill_pages(0x108000, 3, 1);  /* a bit more, */
    fill_pages(0x110000, 6, 1);  /* three quarters, */
    fill_pages(0x11c000, 19, 1); /* half, all and a bit less */
    fill_pages(0x1001ff000, 1, 1);
    tool_image = new_path("image");
    tool_save(tool_image, 0);
}

char *damaged(const char *name, size_t at, size_t from_end)
{
    char *path = new_path(name);
    size_t len;
    uint8_t *bytes = read_file(tool_image, &len);
    bytes[from_end == 0 ? at : len - from_end] ^= 0x20;
    write_file(path, bytes, len);
    free(bytes);
    return path;
}

void tool_begin(void)
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

void tool_end(void)
{
    guestmem_unref(tool_memory);
    free(tool_image);
}
