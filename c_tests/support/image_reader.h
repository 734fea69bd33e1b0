/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The reader in Python that knows the format from docs/image-format.md, and what it is given to read. */
#ifndef IMAGE_READER_H
#define IMAGE_READER_H

#include "program.h"
#include "snapshots.h"

enum { MAX_WORDS = 2048 };

/* A command line that grows. */
struct line {
    char *words[MAX_WORDS + 1];
    size_t count;
};

enum { REGIONS = 3, PER_REGION = 2, CELLS = REGIONS * PER_REGION };
enum { HOLE, DATA, ZEROED }; /* ZEROED: in host memory, and all zeros */

/* The first two touch. */
extern const struct guestmem_range reader_ranges[REGIONS];

void line_add(struct line *line, const char *word);
void line_begin(struct line *line, const char *command);
struct child line_run(struct line *line);
void require_python(void);
void lay_out(const struct guestmem *mem, const unsigned *cells, uint64_t seed);
/* A snapshot in two files; returns the size of the data. */
uint64_t snapshot_to(
                     const struct guestmem *mem, const char *data_path, const char *metadata_path, struct guestmem_snapshot_options options, uint32_t layout);

#endif
