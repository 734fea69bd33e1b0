/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of image files share: an image held against the memory it was made of, to the last byte
 * of its trailer, and images made by hand. */
#ifndef IMAGES_H
#define IMAGES_H

#include "snapshots.h"

enum { TRAILER = 48 };

void put_number(uint8_t *out, uint64_t value, size_t width);
void seal(uint8_t *trailer);
/* The trailer that the metadata of an image asks for. */
void make_trailer(uint8_t *out, uint64_t memory_size, const void *metadata, size_t len);
/* An image file of this memory and metadata, whatever they are. */
uint8_t *sealed_image(
                      const uint8_t *memory, size_t memory_len, const char *metadata, size_t len, size_t *image_len);
/* The file is the image of this memory: raw memory, metadata, trailer, and not a byte more. */
void check_image(const char *path, const struct guestmem *mem, bool checksums);
/* An image of memory_with_data() at "image"; the memory too. */
struct guestmem *saved_memory(uint64_t seed);
struct guestmem *load_with(const char *path, uint64_t flags);
/* A load that must give this code, and no memory. */
void refuse_load(const char *path, uint64_t flags, int expected);
/* The file holds an image of exactly this memory, in whichever way it is brought back. */
void check_loads(const char *path, const struct guestmem *mem);

#endif
