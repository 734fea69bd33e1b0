// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* An image file: what its metadata says of its regions, and its memory. */
#ifndef GUESTMEM_IMAGE_IMAGE_H
#define GUESTMEM_IMAGE_IMAGE_H

#include <fcntl.h>
#include <sys/stat.h>

#include "host.h"
#include "json.h"

/* A part of a region that holds data; offsets in the region. */
struct range {
    uint64_t start, end;
};

struct region {
    uint64_t base, size;
    size_t first, count; /* which of the image's ranges are its own */
    uint64_t data;       /* bytes in them */
};

struct image {
    int fd;
    char path[32]; /* of the descriptor */
    char *name;    /* as the user gave it, printable */
    struct stat stat;
    uint64_t metadata_size, page_size, chunk_size;
    bool checksums;
    struct region *regions;
    size_t region_count;
    struct range *ranges; /* those of all regions */
    size_t range_count;
    uint64_t size, data; /* sums over the regions */
};

/* Room for one more element in an array that doubles. */
static void *grown(void *array, size_t count, size_t element)
{
    if ((count & (count - 1)) != 0)
        return array;
    return must_have(reallocarray(array, count == 0 ? 1 : 2 * count, element));
}

static void read_range(struct image *image, struct json *json)
{
    static const char *const keys[] = {"start", "end"};
    struct range range = {0};
    json_enter(json, '{');
    while (json_more(json, '}')) {
        switch (json_key(json, keys, 2)) {
        case 0:
            range.start = json_u64(json);
            break;
        case 1:
            range.end = json_u64(json);
            break;
        default:
            json_skip(json);
        }
    }
    image->ranges = grown(image->ranges, image->range_count, sizeof range);
    image->ranges[image->range_count++] = range;
}

/* All that the rest of this program relies on. The library has seen to it; an error here beats a crash elsewhere. */
static void check_region(const struct image *image, const struct region *region)
{
    const struct region *before = image->region_count > 0 ? &image->regions[image->region_count - 1] : NULL;
    uint64_t end, reached = 0;
    bool good = region->size > 0 && !__builtin_add_overflow(region->base, region->size, &end) &&
                (!before || before->base + before->size <= region->base);
    for (size_t i = region->first; i < region->first + region->count; i++) {
        const struct range *range = &image->ranges[i];
        good = good && range->start >= reached && range->start < range->end && range->end <= region->size &&
               range->start % image->page_size == 0 && range->end % image->page_size == 0;
        reached = range->end;
    }
    if (!good || region->base % image->page_size != 0 || region->size % image->page_size != 0)
        die("%s: the regions make no sense", image->name);
}

static void read_region(struct image *image, struct json *json)
{
    static const char *const keys[] = {"guest_base", "size", "data_ranges"};
    struct region region = {.first = image->range_count};
    json_enter(json, '{');
    while (json_more(json, '}')) {
        switch (json_key(json, keys, 3)) {
        case 0:
            region.base = json_u64(json);
            break;
        case 1:
            region.size = json_u64(json);
            break;
        case 2:
            json_enter(json, '[');
            while (json_more(json, ']'))
                read_range(image, json);
            break;
        default:
            json_skip(json);
        }
    }
    region.count = image->range_count - region.first;
    for (size_t i = region.first; i < image->range_count; i++)
        region.data += image->ranges[i].end - image->ranges[i].start;
    image->regions = grown(image->regions, image->region_count, sizeof region);
    image->regions[image->region_count++] = region;
}

static void read_metadata(struct image *image, const char *text)
{
    static const char *const keys[] = {"page_size", "chunk_size", "checksum", "regions"}, *const none[] = {"none"};
    struct json json = {text};
    json_enter(&json, '{');
    while (json_more(&json, '}')) {
        switch (json_key(&json, keys, 4)) {
        case 0:
            image->page_size = json_u64(&json);
            break;
        case 1:
            image->chunk_size = json_u64(&json);
            break;
        case 2:
            image->checksums = json_word(&json, none, 1) != 0;
            break;
        case 3:
            json_enter(&json, '[');
            while (json_more(&json, ']'))
                read_region(image, &json);
            break;
        default:
            json_skip(&json);
        }
    }
    if (image->page_size == 0)
        die("%s: there is no page size", image->name);

    /* In a second pass, since keys come in any order. */
    const size_t count = image->region_count;
    for (image->region_count = 0; image->region_count < count; image->region_count++) {
        const struct region *region = &image->regions[image->region_count];
        check_region(image, region);
        image->size += region->size;
        image->data += region->data;
    }
}

/*
 * Opened once, and passed to the library as a path to the descriptor: it must be the same file each time, whatever
 * takes its name meanwhile. Looked at first, as a device may begin to do something when it is opened.
 */
static void image_open(struct image *image, const char *path)
{
    *image = (struct image){.name = printable(path)};
    int named = open(path, O_PATH | O_CLOEXEC);
    if (named < 0 || fstat(named, &image->stat) != 0)
        die("%s: %s", image->name, strerror(errno));
    if (!S_ISREG(image->stat.st_mode))
        die("%s: not a regular file", image->name);
    snprintf(image->path, sizeof image->path, "/proc/thread-self/fd/%d", named);
    image->fd = open(image->path, O_RDONLY | O_CLOEXEC);
    if (image->fd < 0)
        die("%s: %s", image->name, strerror(errno));
    close(named);
    snprintf(image->path, sizeof image->path, "/proc/thread-self/fd/%d", image->fd);
}

static void image_read_metadata(struct image *image)
{
    char *text;
    if (guestmem_image_metadata(image->path, &text) != GUESTMEM_OK)
        die("%s: %s", image->name, last_error().s);
    image->metadata_size = strlen(text);
    read_metadata(image, text);
    guestmem_free(text);
}

static void image_close(struct image *image)
{
    free(image->name);
    free(image->regions);
    free(image->ranges);
    close(image->fd);
}

/* Maps the image, copy-on-write: nothing is read before it is looked at. */
static int image_map(const struct image *image, uint64_t flags, struct progress *progress, struct guestmem **mem)
{
    const struct guestmem_load_options options = {
        .flags = GUESTMEM_LOAD_MAP | flags, .progress = progress ? progress_draw : NULL, .progress_user = progress};
    const int code = guestmem_load(image->path, &options, sizeof options, mem);
    if (progress)
        progress_end(progress);
    return code;
}

/* Hexadecimal digits for all addresses of the image. */
static int image_digits(const struct image *image)
{
    if (image->region_count == 0)
        return address_digits(0);
    const struct region *last = &image->regions[image->region_count - 1];
    return address_digits(last->base + last->size - 1);
}

#endif
