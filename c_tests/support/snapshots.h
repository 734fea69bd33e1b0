/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the snapshot tests share: an own CRC-32C, metadata held against the memory it describes, and
 * streams that live in a buffer. */
#ifndef SNAPSHOTS_H
#define SNAPSHOTS_H

#include "guest.h"
#include "json.h"

struct stream {
    uint8_t *bytes;
    size_t len, at, cap;
    size_t step;  /* at most so much in one call; 0: everything */
    size_t asked; /* how much was asked for in all */
    size_t calls;
    int64_t answer; /* given instead, once `answer_at` bytes have passed */
    size_t answer_at;
};

struct image {
    char *metadata;
    int fd;
    uint64_t size;
};

/* Bytes that one checksum covers. */
#define CHUNK ((uint64_t)1 << 20)

enum { OTHER_REGIONS = 10 };

/* Data in more than one chunk of checksums, in two regions, with holes. */
extern const struct guestmem_range data_ranges[2];

uint32_t crc32c(const uint8_t *bytes, size_t len);
bool zeros(const uint8_t *bytes, uint64_t len);
/* The metadata says of this memory what there is to say: every key, ranges in order, checksums,
 * zeros where no range is. `data` is what came with it in this layout (NULL: not looked at). Gives
 * the number of ranges. */
size_t check_layout(
                    const struct guestmem *mem, const char *text, bool sparse, const uint8_t *data, bool checksums);
size_t check_metadata(
                      const struct guestmem *mem, const char *text, const uint8_t *data, bool checksums);
void stream_new(struct stream *stream, size_t cap);
int64_t stream_write(void *user, const void *buf, size_t len);
int64_t stream_read(void *user, void *buf, size_t len);
struct image image_of(
                      const struct guestmem *mem, const struct guestmem_snapshot_options *options);
void image_free(struct image *image);
int image_restore(const struct guestmem *mem, const struct image *image);
struct guestmem *memory_with_data(uint64_t seed);
/* Pieces of every length that may be written in a way of its own, with a hole behind each: single
 * pages, some pages, as good as 1 MiB, more than one write takes. A piece goes from one region into
 * the next. */
struct guestmem *memory_in_pieces(uint64_t seed);
struct guestmem *memory_of_other_regions(size_t index);
/* The same regions, and the same bytes in them. */
bool same_memory(const struct guestmem *a, const struct guestmem *b);
void swap_bytes(uint8_t *a, uint8_t *b, size_t len);
int restore_bytes(
                  const struct guestmem *mem, const char *metadata, const uint8_t *bytes, size_t len);
bool is_tainted(const struct guestmem *mem);
void check_untouched(const struct guestmem *mem, const uint8_t *before);
/* Whatever was written: if memory is not what it was, the library says so. */
void check_honest(const struct guestmem *mem, const uint8_t *before);
void dirty_everything(const struct guestmem *mem);

#endif
