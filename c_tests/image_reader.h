/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The reader in Python that knows the format from docs/image-format.md, and what it is given to
 * read. */
#ifndef IMAGE_READER_H
#define IMAGE_READER_H

#include "child.h"
#include "snapshots.h"

/* ---- the reader ---- */

enum { MAX_WORDS = 2048 };

/* A command line that grows. */
struct line {
    char *words[MAX_WORDS + 1];
    size_t count;
};

CHECK_UNUSED static void add(struct line *line, const char *word)
{
    REQUIRE(line->count < MAX_WORDS);
    line->words[line->count] = strdup(word);
    REQUIRE(line->words[line->count] != NULL);
    line->words[++line->count] = NULL;
}

CHECK_UNUSED static void line_begin(struct line *line, const char *command)
{
    line->count = 0;
    add(line, "python3");
    add(line, program_path("GUESTMEM_IMAGE_READER", "../tests/image_reader.py"));
    add(line, command);
}

CHECK_UNUSED static struct child line_run(struct line *line)
{
    struct child child = child_run(line->words);
    while (line->count > 0) free(line->words[--line->count]);
    return child;
}

CHECK_UNUSED static void require_python(void)
{
    char *words[] = {"python3", "-c", "import json, struct", NULL};
    struct child child = child_run(words);
    if (child.code != 0) SKIP("no python3");
    child_free(&child);
}

/* ---- memory of every pattern of data and holes ---- */

enum { REGIONS = 3, PER_REGION = 2, CELLS = REGIONS * PER_REGION };
enum { HOLE, DATA, ZEROED }; /* ZEROED: in host memory, and all zeros */

/* The first two touch. */
static const struct guestmem_range ranges[REGIONS] = {
    {0x10000, 0x2000}, {0x12000, 0x2000}, {UINT64_C(0xffffffffffffc000), 0x2000}};

CHECK_UNUSED static void lay_out(const struct guestmem *mem, const unsigned *cells, uint64_t seed)
{
    uint8_t page[4096];
    unsigned cell;
    for (cell = 0; cell < REGIONS; cell++)
        CHECK_OK(guestmem_remove_range(mem, ranges[cell].guest_addr, ranges[cell].size));
    for (cell = 0; cell < CELLS; cell++) {
        uint64_t addr = ranges[cell / PER_REGION].guest_addr + cell % PER_REGION * PAGE;
        memset(page, 0, sizeof page);
        if (cells[cell] == DATA) fill_random(page, sizeof page, seed * CELLS + cell);
        if (cells[cell] != HOLE) CHECK_OK(guestmem_write_all(mem, addr, page, sizeof page));
    }
}

/* A snapshot in two files; returns the size of the data. */
CHECK_UNUSED static uint64_t snapshot_to(const struct guestmem *mem, const char *data_path,
                            const char *metadata_path, struct guestmem_snapshot_options options,
                            uint32_t layout)
{
    int fd = open(data_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char *metadata = NULL;
    struct stat st;
    REQUIRE(fd >= 0);
    options.layout = layout;
    CHECK_OK(guestmem_snapshot(mem, fd, &options, sizeof options, &metadata));
    REQUIRE(metadata != NULL && fstat(fd, &st) == 0 && close(fd) == 0);
    write_file(metadata_path, metadata, strlen(metadata));
    guestmem_free(metadata);
    return (uint64_t)st.st_size;
}

#endif
