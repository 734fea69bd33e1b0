/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of image files share: a folder to work in, whole files, and an image held against
 * the memory it was made of, to the last byte of its trailer. A program that includes this defines
 * _GNU_SOURCE first. */
#ifndef IMAGES_H
#define IMAGES_H

#include "snapshots.h"
#include <dirent.h>
#include <ftw.h>
#include <sys/statvfs.h>

enum { TRAILER = 48 };

/* ---- a folder of its own, entered: paths in the tests are plain names ---- */

static char folder[64];

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

CHECK_UNUSED static void leave_folder(void)
{
    if (folder[0] == 0) return;
    if (chdir("/") == 0) (void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    folder[0] = 0;
}

CHECK_UNUSED static void enter_folder(const char *parent)
{
    static bool registered;
    REQUIRE(folder[0] == 0 && strlen(parent) < 40);
    if (!registered) REQUIRE(atexit(leave_folder) == 0);
    registered = true;
    (void)snprintf(folder, sizeof folder, "%s/guestmem-test-XXXXXX", parent);
    REQUIRE(mkdtemp(folder) != NULL && chdir(folder) == 0);
}

/* In memory where there is room for so much, else on disk. */
CHECK_UNUSED static const char *fast_parent(uint64_t room)
{
    struct statvfs fs;
    if (statvfs("/dev/shm", &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize > room)
        return "/dev/shm";
    return "/tmp";
}

/* How many entries the folder has: what was not put there on purpose was left behind. */
CHECK_UNUSED static size_t entries_in(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    size_t count = 0;
    REQUIRE(dir != NULL);
    while ((entry = readdir(dir)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    REQUIRE(closedir(dir) == 0);
    return count;
}

/* ---- whole files ---- */

struct bytes {
    uint8_t *at;
    size_t len;
};

CHECK_UNUSED static struct bytes bytes_of(const char *path)
{
    struct bytes bytes = {NULL, 0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t done = 0;
    ssize_t got;
    REQUIRE(fd >= 0 && fstat(fd, &st) == 0);
    bytes.len = (size_t)st.st_size;
    bytes.at = malloc(bytes.len + 1);
    REQUIRE(bytes.at != NULL);
    while ((got = read(fd, bytes.at + done, bytes.len - done)) > 0) done += (size_t)got;
    REQUIRE(got == 0 && done == bytes.len && close(fd) == 0);
    return bytes;
}

/* Piece by piece: a mapping would fill the holes of a file in memory. */
CHECK_UNUSED static bool file_is(const char *path, const struct bytes *expected)
{
    static uint8_t piece[1 << 16];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t done = 0;
    ssize_t got;
    bool same = true;
    REQUIRE(fd >= 0);
    while (same && (got = read(fd, piece, sizeof piece)) > 0) {
        same = (size_t)got <= expected->len - done &&
               memcmp(piece, expected->at + done, (size_t)got) == 0;
        done += (size_t)got;
    }
    REQUIRE(close(fd) == 0);
    return same && done == expected->len;
}

/* A new file with this content, every byte of it allocated. */
CHECK_UNUSED static void put_file(const char *path, const void *content, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    size_t done = 0;
    REQUIRE(fd >= 0);
    while (done < len) {
        ssize_t put = write(fd, (const uint8_t *)content + done, len - done);
        REQUIRE(put > 0);
        done += (size_t)put;
    }
    REQUIRE(close(fd) == 0);
}

/* Some bytes of a file that is there. */
CHECK_UNUSED static void patch_file(const char *path, uint64_t offset, const void *content,
                                    size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && pwrite(fd, content, len, (off_t)offset) == (ssize_t)len && close(fd) == 0);
}

CHECK_UNUSED static void flip_bit_of(const char *path, uint64_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && pread(fd, &byte, 1, (off_t)offset) == 1 && close(fd) == 0);
    byte ^= (uint8_t)(1u << offset % 8);
    patch_file(path, offset, &byte, 1);
}

/* ---- what is in an image ---- */

CHECK_UNUSED static void put_number(uint8_t *out, uint64_t value, size_t width)
{
    size_t i;
    for (i = 0; i < width; i++) out[i] = (uint8_t)(value >> 8 * i);
}

/* The trailer that the metadata of an image asks for. */
CHECK_UNUSED static void make_trailer(uint8_t *out, uint64_t memory_size, const void *metadata,
                                      size_t len)
{
    memset(out, 0, TRAILER);
    memcpy(out, "GUESTMEM", 8);
    put_number(out + 8, 1, 4);
    put_number(out + 16, memory_size, 8);
    put_number(out + 24, len, 8);
    put_number(out + 32, crc32c(metadata, len), 4);
    put_number(out + 44, crc32c(out, 44), 4);
}

/* The file is the image of this memory: raw memory, metadata, trailer, and not a byte more. */
CHECK_UNUSED static void check_image(const char *path, const struct guestmem *mem, bool checksums)
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

/* An image of memory_with_data() at "image"; the memory too. */
CHECK_UNUSED static struct guestmem *saved_memory(uint64_t seed)
{
    struct guestmem *mem = memory_with_data(seed);
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    return mem;
}

CHECK_UNUSED static struct guestmem *load_with(const char *path, uint64_t flags)
{
    const struct guestmem_load_options options = {flags, 0, 0, NULL, NULL};
    struct guestmem *mem = NULL;
    CHECK_OK(guestmem_load(path, &options, sizeof options, &mem));
    REQUIRE(mem != NULL);
    return mem;
}

/* A load that must give this code, and no memory. */
CHECK_UNUSED static void refuse_load(const char *path, uint64_t flags, int expected)
{
    const struct guestmem_load_options options = {flags, 0, 0, NULL, NULL};
    struct guestmem *mem = (struct guestmem *)(uintptr_t)64;
    CHECK_CODE(guestmem_load(path, &options, sizeof options, &mem), expected);
    CHECK(mem == NULL);
}

/* The file holds an image of exactly this memory, in whichever way it is brought back. */
CHECK_UNUSED static void check_loads(const char *path, const struct guestmem *mem)
{
    static const uint64_t ways[] = {0, GUESTMEM_LOAD_MAP};
    size_t i;
    for (i = 0; i < 2; i++) {
        struct guestmem *loaded = load_with(path, ways[i]);
        CHECK(same_memory(loaded, mem));
        guestmem_unref(loaded);
    }
}

#endif
