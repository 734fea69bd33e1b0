/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "images.h"

void put_number(uint8_t *out, uint64_t value, size_t width)
{
    size_t i;
    for (i = 0; i < width; i++) out[i] = (uint8_t)(value >> 8 * i);
}

void seal(uint8_t *trailer)
{
    put_number(trailer + 44, crc32c(trailer, 44), 4);
}

void make_trailer(uint8_t *out, uint64_t memory_size, const void *metadata, size_t len)
{
    memset(out, 0, TRAILER);
    memcpy(out, "GUESTMEM", 8);
    put_number(out + 8, 1, 4);
    put_number(out + 16, memory_size, 8);
    put_number(out + 24, len, 8);
    put_number(out + 32, crc32c(metadata, len), 4);
    seal(out);
}

uint8_t *sealed_image(const uint8_t *memory, size_t memory_len, const char *metadata, size_t len,
                      size_t *image_len)
{
    uint8_t *image = calloc(1, memory_len + len + TRAILER);
    REQUIRE(image != NULL);
    memcpy(image, memory, memory_len);
    memcpy(image + memory_len, metadata, len);
    make_trailer(image + memory_len + len, memory_len, metadata, len);
    *image_len = memory_len + len + TRAILER;
    return image;
}

void check_image(const char *path, const struct guestmem *mem, bool checksums)
{
    const uint64_t size = guestmem_memory_size(mem);
    struct bytes image = bytes_of(path);
    uint8_t trailer[TRAILER];
    char *metadata = NULL;
    CHECK_OK(guestmem_image_metadata(path, &metadata));
    if (metadata != NULL) {
        const size_t len = strlen(metadata);
        CHECK_EQ(image.len, size + len + TRAILER);
        if (image.len == size + len + TRAILER) {
            make_trailer(trailer, size, metadata, len);
            CHECK(memory_is(mem, image.at));
            CHECK(memcmp(image.at + size, metadata, len) == 0);
            CHECK(memcmp(image.at + size + len, trailer, TRAILER) == 0);
            (void)check_layout(mem, metadata, true, image.at, checksums);
        }
    }
    guestmem_free(metadata);
    free(image.at);
}

struct guestmem *saved_memory(uint64_t seed)
{
    struct guestmem *mem = memory_with_data(seed);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    return mem;
}

struct guestmem *load_with(const char *path, uint64_t flags)
{
    const struct guestmem_load_options options = {flags, 0, 0, NULL, NULL};
    struct guestmem *mem = NULL;
    CHECK_OK(guestmem_load(path, &options, sizeof options, &mem));
    REQUIRE(mem != NULL);
    return mem;
}

void refuse_load(const char *path, uint64_t flags, int expected)
{
    const struct guestmem_load_options options = {flags, 0, 0, NULL, NULL};
    struct guestmem *mem = (struct guestmem *)(uintptr_t)64;
    CHECK_CODE(guestmem_load(path, &options, sizeof options, &mem), expected);
    CHECK(mem == NULL);
}

void check_loads(const char *path, const struct guestmem *mem)
{
    static const uint64_t ways[] = {0, GUESTMEM_LOAD_MAP};
    size_t i;
    for (i = 0; i < 2; i++) {
        struct guestmem *loaded = load_with(path, ways[i]);
        CHECK(same_memory(loaded, mem));
        guestmem_unref(loaded);
    }
}
