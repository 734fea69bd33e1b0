/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "image_reader.h"

const struct guestmem_range reader_ranges[REGIONS] = {
    {0x10000, 0x2000}, {0x12000, 0x2000}, {UINT64_C(0xffffffffffffc000), 0x2000}};

void line_add(struct line *line, const char *word)
{
    REQUIRE(line->count < MAX_WORDS);
    line->words[line->count] = strdup(word);
    REQUIRE(line->words[line->count] != NULL);
    line->words[++line->count] = NULL;
}

void line_begin(struct line *line, const char *command)
{
    line->count = 0;
    line_add(line, "python3");
    line_add(line, program_path("GUESTMEM_IMAGE_READER", "../tests/image_reader.py"));
    line_add(line, command);
}

struct child line_run(struct line *line)
{
    struct child child = child_run(line->words);
    while (line->count > 0) free(line->words[--line->count]);
    return child;
}

void require_python(void)
{
    char *words[] = {"python3", "-c", "import json, struct", NULL};
    struct child child = child_run(words);
    if (child.code != 0) SKIP("no python3");
    child_free(&child);
}

void lay_out(const struct guestmem *mem, const unsigned *cells, uint64_t seed)
{
    uint8_t page[4096];
    unsigned cell;
    for (cell = 0; cell < REGIONS; cell++)
        CHECK_OK(guestmem_remove_range(mem, reader_ranges[cell].guest_addr, reader_ranges[cell].size));
    for (cell = 0; cell < CELLS; cell++) {
        uint64_t addr = reader_ranges[cell / PER_REGION].guest_addr + cell % PER_REGION * PAGE;
        memset(page, 0, sizeof page);
        if (cells[cell] == DATA) fill_random(page, sizeof page, seed * CELLS + cell);
        if (cells[cell] != HOLE) CHECK_OK(guestmem_write_all(mem, addr, page, sizeof page));
    }
}

uint64_t snapshot_to(const struct guestmem *mem, const char *data_path,
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
