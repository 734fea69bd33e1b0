/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The end of an image file, made by hand. */
#ifndef IMAGE_SEAL_H
#define IMAGE_SEAL_H

#include "snapshots.h"

enum { TRAILER = 48 };

CHECK_UNUSED static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0) *at++ = (uint8_t)value, value >>= 8;
}

CHECK_UNUSED static void seal(uint8_t *trailer)
{
    put(trailer + 44, crc32c(trailer, 44), 4);
}

/* An image file of this memory and metadata, whatever they are. */
CHECK_UNUSED static uint8_t *sealed_image(const uint8_t *memory, size_t memory_len,
                                          const char *metadata, size_t len, size_t *image_len)
{
    uint8_t *image = calloc(1, memory_len + len + TRAILER), *trailer;
    REQUIRE(image != NULL);
    trailer = image + memory_len + len;
    memcpy(image, memory, memory_len);
    memcpy(image + memory_len, metadata, len);
    memcpy(trailer, "GUESTMEM", 8);
    put(trailer + 8, 1, 4);
    put(trailer + 16, memory_len, 8);
    put(trailer + 24, len, 8);
    put(trailer + 32, crc32c((const uint8_t *)metadata, len), 4);
    seal(trailer);
    *image_len = memory_len + len + TRAILER;
    return image;
}

#endif
