// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* The picture of where an image holds data. */
#ifndef GUESTMEM_IMAGE_MAP_H
#define GUESTMEM_IMAGE_MAP_H

#include "image.h"

enum { SHADES = 5, MAX_ROWS = 4 }; /* rows that a region may take */

static const char *const *shades(void)
{
    static const char *const blocks[SHADES] = {"·", "░", "▒", "▓", "█"};
    static const char *const ascii[SHADES] = {".", "-", "+", "x", "#"};
    return is_utf8() ? blocks : ascii;
}

/* Bytes of data between two offsets of a region; *next is the range to begin with, kept from one call to the next. */
static uint64_t data_between(const struct image *image, const struct region *region, size_t *next, uint64_t from,
                             uint64_t to)
{
    uint64_t sum = 0;
    for (; *next < region->first + region->count; ++*next) {
        const struct range *range = &image->ranges[*next];
        const uint64_t start = range->start > from ? range->start : from;
        const uint64_t end = range->end < to ? range->end : to;
        if (start < end)
            sum += end - start;
        if (range->end > to)
            break;
    }
    return sum;
}

/* The smallest power of two of pages that draws the region in the rows that it may take. */
static uint64_t cell_size(const struct image *image, const struct region *region, uint64_t cells)
{
    uint64_t cell = image->page_size;
    while ((region->size - 1) / cell >= cells * MAX_ROWS)
        cell *= 2;
    return cell;
}

static void draw_region(const struct image *image, size_t index, uint64_t cells, int digits)
{
    const struct region *region = &image->regions[index];
    const uint64_t cell = cell_size(image, region, cells);
    size_t next = region->first;

    printf("\nregion %zu: %s, of which %s (%s) data; one character is %s\n", index, size_text(region->size).s,
           size_text(region->data).s, percent_text(region->data, region->size).s, size_text(cell).s);
    for (uint64_t at = 0, column = 0; at < region->size; at += cell, column++) {
        const uint64_t end = region->size - at < cell ? region->size : at + cell;
        const uint64_t data = data_between(image, region, &next, at, end);
        if (column % cells == 0)
            printf("%s0x%0*" PRIx64 "  ", column == 0 ? "  " : "\n  ", digits, region->base + at);
        fputs(shades()[(data * (SHADES - 1) + (end - at) - 1) / (end - at)], stdout);
    }
    putchar('\n');
}

static int command_map(int count, char **words)
{
    struct image image;
    (void)count;
    image_open(&image, words[0]);
    image_read_metadata(&image);

    /* A multiple of eight, so that rows begin at round addresses. */
    const int digits = image_digits(&image);
    const unsigned width = terminal_width(STDOUT_FILENO), left = (unsigned)digits + 6;
    const uint64_t cells = width >= left + 16 ? (width - left) / 8 * 8 : 16;

    printf("%s: %s of data in %s, %zu region%s\n", image.name, size_text(image.data).s, size_text(image.size).s,
           image.region_count, plural(image.region_count));
    for (size_t i = 0; i < image.region_count; i++)
        draw_region(&image, i, cells, digits);
    const char *const *s = shades();
    printf("\n%s no data   %s up to a quarter   %s half   %s three quarters   %s more\n", s[0], s[1], s[2], s[3], s[4]);
    image_close(&image);
    return EXIT_SAME;
}

#endif
