// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* The raw bytes of one region, to a file with holes or to standard output. */
#ifndef GUESTMEM_IMAGE_EXTRACT_H
#define GUESTMEM_IMAGE_EXTRACT_H

#include "image.h"

struct output {
    int fd;
    bool holes; /* a regular file, where holes can be left out */
    char *name;
};

/* "2" is a number of a region, "0x1000" a guest address in one. */
static const struct region *find_region(const struct image *image, const char *word)
{
    const bool hex = word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
    const char *digits = hex ? word + 2 : word;
    const size_t len = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");
    errno = 0;
    const uint64_t value = strtoull(digits, NULL, hex ? 16 : 10);
    if (len == 0 || digits[len] != '\0' || errno != 0)
        die("%s: neither the number of a region nor a guest address such as 0x1000", printable(word));

    for (size_t i = 0; i < image->region_count; i++) {
        const struct region *region = &image->regions[i];
        if (hex ? value >= region->base && value - region->base < region->size : value == i)
            return region;
    }
    die("%s: no region %s %s; it has %zu", image->name, hex ? "holds" : "with the number", word, image->region_count);
}

/* Only the owner may read it, as the image: who knows what a guest keeps in its memory. */
static struct output output_open(const struct image *image, const char *path)
{
    struct output out = {STDOUT_FILENO, false, printable(path ? path : "standard output")};
    struct stat stat;
    if (path)
        out.fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (out.fd < 0 || fstat(out.fd, &stat) != 0)
        die("%s: %s", out.name, strerror(errno));
    if (stat.st_dev == image->stat.st_dev && stat.st_ino == image->stat.st_ino)
        die("%s: this is the image itself", out.name);
    out.holes = path && S_ISREG(stat.st_mode);
    if (out.holes && ftruncate(out.fd, 0) != 0)
        die("%s: %s", out.name, strerror(errno));
    return out;
}

static void write_zeros(const struct output *out, uint64_t count)
{
    static const char zeros[1 << 16];
    while (count > 0) {
        const ssize_t n = write(out->fd, zeros, count < sizeof zeros ? count : sizeof zeros);
        if (n < 0 && errno != EINTR)
            die("%s: %s", out->name, strerror(errno));
        count -= n > 0 ? (uint64_t)n : 0;
    }
}

static void write_data(const struct output *out, const struct guestmem *mem, const struct region *region,
                       struct range range)
{
    const uint64_t addr = region->base + range.start, size = range.end - range.start;
    const int code = out->holes ? guestmem_write_from_memory_at(mem, addr, out->fd, range.start, size)
                                : guestmem_write_from_memory(mem, addr, out->fd, size);
    if (code != GUESTMEM_OK)
        die("%s: %s", out->name, last_error().s);
}

static void write_region(const struct output *out, const struct image *image, const struct guestmem *mem,
                         const struct region *region)
{
    uint64_t at = 0;
    for (size_t i = region->first; i < region->first + region->count; i++) {
        if (!out->holes)
            write_zeros(out, image->ranges[i].start - at);
        write_data(out, mem, region, image->ranges[i]);
        at = image->ranges[i].end;
    }
    if (!out->holes)
        write_zeros(out, region->size - at);
    else if (ftruncate(out->fd, (off_t)region->size) != 0)
        die("%s: %s", out->name, strerror(errno));
}

static int command_extract(int count, char **words)
{
    struct image image;
    struct guestmem *mem;
    struct progress progress = progress_new();
    if (count == 2 && isatty(STDOUT_FILENO))
        die("raw memory does not go to a terminal; name a file or redirect standard output");
    image_open(&image, words[0]);
    image_read_metadata(&image);
    const struct region *region = find_region(&image, words[1]);

    /* Everything is checked before the first byte is written. */
    if (image_map(&image, image.checksums ? GUESTMEM_LOAD_VERIFY : 0, &progress, &mem) != GUESTMEM_OK)
        die("%s: %s", image.name, last_error().s);
    struct output out = output_open(&image, count == 3 ? words[2] : NULL);
    write_region(&out, &image, mem, region);
    if (close(out.fd) != 0)
        die("%s: %s", out.name, strerror(errno));
    free(out.name);
    guestmem_unref(mem);
    image_close(&image);
    return EXIT_SAME;
}

#endif
