/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a monitor does without this library. The usual way, as crosvm does it: guest memory is a
 * memfd; the data in it is found with SEEK_DATA and SEEK_HOLE, each range written with write(2)
 * from the mapping, and read back into place with read(2). The dense way, as Firecracker's full
 * snapshot: everything is written. No checksums, one thread. */
#ifndef BENCH_USUAL_H
#define BENCH_USUAL_H

#include "../system.h"
#include <inttypes.h>

struct usual_memory {
    int fd;
    uint8_t *host;
    uint64_t size;
};

struct usual_range {
    uint64_t start, end;
};

struct usual_ranges {
    struct usual_range *at;
    size_t count, cap;
    uint64_t bytes; /* of data in all */
};

struct usual_text {
    char *bytes;
    size_t len, cap;
};

static struct usual_memory usual_memory_new(uint64_t size)
{
    struct usual_memory mem = {memfd_create("usual", MFD_CLOEXEC), NULL, size};
    MUST(mem.fd >= 0 && ftruncate(mem.fd, (off_t)size) == 0);
    mem.host = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, mem.fd, 0);
    MUST(mem.host != MAP_FAILED);
    return mem;
}

static void usual_memory_free(struct usual_memory *mem)
{
    MUST(munmap(mem->host, (size_t)mem->size) == 0 && close(mem->fd) == 0);
}

/* ---- transfers that go on after short ones ---- */

static void usual_write(int fd, const void *from, uint64_t len)
{
    const char *at = from;
    while (len > 0) {
        ssize_t done = write(fd, at, (size_t)len);
        if (done < 0 && errno == EINTR) continue;
        MUST(done > 0);
        at += done;
        len -= (uint64_t)done;
    }
}

static void usual_read(int fd, void *into, uint64_t len)
{
    char *at = into;
    while (len > 0) {
        ssize_t done = read(fd, at, (size_t)len);
        if (done < 0 && errno == EINTR) continue;
        MUST(done > 0);
        at += done;
        len -= (uint64_t)done;
    }
}

/* ---- where the data is ---- */

/* The first data at or after an offset; the size when there is none. */
static uint64_t usual_next_data(int fd, uint64_t at, uint64_t size)
{
    off_t found = lseek(fd, (off_t)at, SEEK_DATA);
    MUST(found >= 0 || errno == ENXIO);
    return found < 0 || (uint64_t)found > size ? size : (uint64_t)found;
}

static void usual_add_range(struct usual_ranges *ranges, uint64_t start, uint64_t end)
{
    if (ranges->count == ranges->cap) {
        ranges->cap = ranges->cap == 0 ? 1024 : 2 * ranges->cap;
        ranges->at = realloc(ranges->at, ranges->cap * sizeof ranges->at[0]);
        MUST(ranges->at != NULL);
    }
    ranges->at[ranges->count++] = (struct usual_range){start, end};
    ranges->bytes += end - start;
}

static struct usual_ranges usual_find_data(int fd, uint64_t size)
{
    struct usual_ranges ranges = {NULL, 0, 0, 0};
    uint64_t at = usual_next_data(fd, 0, size);
    while (at < size) {
        off_t end = lseek(fd, (off_t)at, SEEK_HOLE);
        MUST(end > 0);
        if ((uint64_t)end > size) end = (off_t)size;
        usual_add_range(&ranges, at, (uint64_t)end);
        at = (uint64_t)end < size ? usual_next_data(fd, (uint64_t)end, size) : size;
    }
    return ranges;
}

/* ---- metadata: without it nobody knows where the data belongs ---- */

/* Room for one more snprintf() of at most `room` bytes. */
static char *usual_text_room(struct usual_text *text, size_t room)
{
    if (text->cap - text->len < room) {
        text->cap = 2 * text->cap + room;
        text->bytes = realloc(text->bytes, text->cap);
        MUST(text->bytes != NULL);
    }
    return text->bytes + text->len;
}

static struct usual_text usual_metadata(const struct usual_ranges *ranges, uint64_t size)
{
    enum { ROOM = 128 };
    struct usual_text text = {NULL, 0, 0};
    size_t i;
    text.len += (size_t)snprintf(usual_text_room(&text, ROOM), ROOM,
                                 "{\"compressed\":false,\"regions\":[{\"guest_base\":0,"
                                 "\"size\":%" PRIu64 ",\"data_ranges\":[",
                                 size);
    for (i = 0; i < ranges->count; i++)
        text.len += (size_t)snprintf(usual_text_room(&text, ROOM), ROOM,
                                     "%s{\"start\":%" PRIu64 ",\"end\":%" PRIu64 "}",
                                     i == 0 ? "" : ",", ranges->at[i].start, ranges->at[i].end);
    text.len += (size_t)snprintf(usual_text_room(&text, ROOM), ROOM, "]}]}");
    return text;
}

/* ---- snapshot and restore ---- */

static struct usual_text usual_snapshot(const struct usual_memory *mem, int out)
{
    struct usual_ranges ranges = usual_find_data(mem->fd, mem->size);
    struct usual_text metadata;
    size_t i;
    for (i = 0; i < ranges.count; i++)
        usual_write(out, mem->host + ranges.at[i].start, ranges.at[i].end - ranges.at[i].start);
    metadata = usual_metadata(&ranges, mem->size);
    free(ranges.at);
    return metadata;
}

/* Each range at its own offset: holes stay holes. The plain way: README.md says what else was tried. */
static void usual_write_in_place(const struct usual_memory *mem, int out)
{
    struct usual_ranges ranges = usual_find_data(mem->fd, mem->size);
    size_t i;
    for (i = 0; i < ranges.count; i++) {
        uint64_t at = ranges.at[i].start;
        while (at < ranges.at[i].end) {
            ssize_t done = pwrite(out, mem->host + at, (size_t)(ranges.at[i].end - at), (off_t)at);
            if (done < 0 && errno == EINTR) continue;
            MUST(done > 0);
            at += (uint64_t)done;
        }
    }
    free(ranges.at);
}

static void dense_snapshot(const struct usual_memory *mem, int out)
{
    usual_write(out, mem->host, mem->size);
}

/* Pages that the snapshot does not cover become holes. In fresh memory one lseek() finds none. */
static void usual_punch_rest(const struct usual_memory *mem, const struct usual_ranges *ranges)
{
    uint64_t at = 0, data = usual_next_data(mem->fd, 0, mem->size);
    size_t i;
    for (i = 0; i <= ranges->count && data < mem->size; i++) {
        uint64_t end = i < ranges->count ? ranges->at[i].start : mem->size;
        if (data < at) data = usual_next_data(mem->fd, at, mem->size);
        if (data < end)
            MUST(fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)data,
                           (off_t)(end - data)) == 0);
        at = i < ranges->count ? ranges->at[i].end : mem->size;
    }
}

static void usual_restore(const struct usual_memory *mem, int in, const struct usual_ranges *ranges)
{
    size_t i;
    usual_punch_rest(mem, ranges);
    for (i = 0; i < ranges->count; i++)
        usual_read(in, mem->host + ranges->at[i].start, ranges->at[i].end - ranges->at[i].start);
}

#endif
