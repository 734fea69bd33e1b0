/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the measured operations work on: guest memory in one state, and files made of it. Made when
 * a row needs it, kept for the next. */
#ifndef BENCH_WORLD_H
#define BENCH_WORLD_H

#include "states.h"
#include "usual.h"

enum { GIB = 1 << 30 };

static struct {
    uint64_t size;
    size_t turns;
    bool reserve;
    const char *disk, *tmpfs, *only;
    FILE *csv;
} options = {UINT64_C(4) * GIB, 7, true, "/tmp", "/dev/shm", "", NULL};

static const struct folder *disk, *tmpfs;

/* What an operation begins with: the memory itself, a packed snapshot of it, or image files too. */
enum needs { SOURCE, PACKED, IMAGES };

static struct {
    struct pages pages;
    struct guestmem *source;
    struct usual_memory source_as_usual;
    int packed;        /* the data of a snapshot; -1: not there */
    char *metadata[2]; /* of packed; [1] with checksums */
    struct usual_ranges ranges;
    int image[2];      /* likewise; -1: not there */
    bool images_unsupported;
} world = {.packed = -1, .image = {-1, -1}};

static struct guestmem *new_memory(uint64_t flags)
{
    struct guestmem_region_options region;
    struct guestmem *mem;
    memset(&region, 0, sizeof region);
    region.size = options.size;
    region.flags = flags;
    MUST_OK(guestmem_new_with_options(&region, 1, sizeof region, &mem));
    return mem;
}

static struct guestmem_region_info region_of(const struct guestmem *mem)
{
    struct guestmem_region_info info;
    MUST_OK(guestmem_region_info(mem, 0, &info, sizeof info));
    return info;
}

static const char *image_path(bool checksums)
{
    static char paths[2][PATH_BYTES];
    (void)snprintf(paths[checksums], PATH_BYTES, "%s/image-%d", disk->path, checksums);
    return paths[checksums];
}

static const char *saved_path(void)
{
    static char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/saved", disk->path);
    return path;
}

static void drop_source(void)
{
    guestmem_unref(world.source);
    world.source = NULL;
}

static void need_source(void)
{
    struct guestmem_region_info info;
    if (world.source != NULL) return;
    world.source = new_memory(0);
    info = region_of(world.source);
    touch_pages(info.host_addr, &world.pages);
    world.source_as_usual = (struct usual_memory){info.fd, info.host_addr, info.size};
}

/* Into the page cache, where a file may not be: it was written past it, or is there no longer. */
static void read_all(int fd)
{
    static char bytes[1 << 20];
    struct usual_ranges data = usual_find_data(fd, (uint64_t)lseek(fd, 0, SEEK_END));
    size_t i;
    for (i = 0; i < data.count; i++) {
        uint64_t at = data.at[i].start;
        while (at < data.at[i].end) {
            const uint64_t left = data.at[i].end - at;
            const size_t part = left < sizeof bytes ? (size_t)left : sizeof bytes;
            const ssize_t done = pread(fd, bytes, part, (off_t)at);
            MUST(done > 0);
            at += (uint64_t)done;
        }
    }
    free(data.at);
}

static uint64_t checksums_off(bool checksums)
{
    return checksums ? 0 : GUESTMEM_SNAPSHOT_NO_CHECKSUM;
}

static int snapshot(int fd, uint64_t flags, char **metadata)
{
    struct guestmem_snapshot_options how;
    memset(&how, 0, sizeof how);
    how.flags = flags;
    return guestmem_snapshot(world.source, fd, &how, sizeof how, metadata);
}

static int save(const char *path, uint64_t flags)
{
    struct guestmem_snapshot_options how;
    memset(&how, 0, sizeof how);
    how.flags = flags;
    return guestmem_save(world.source, path, &how, sizeof how);
}

static int null_device(void)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    MUST(fd >= 0);
    return fd;
}

/* One packed file, with both metadata: its data is the same with checksums and without. */
static void need_packed(void)
{
    int nowhere;
    if (world.packed >= 0) return;
    need_source();
    nowhere = null_device();
    world.packed = new_file(disk);
    MUST_OK(snapshot(world.packed, 0, &world.metadata[true]));
    MUST_OK(snapshot(nowhere, GUESTMEM_SNAPSHOT_NO_CHECKSUM, &world.metadata[false]));
    MUST(close(nowhere) == 0);
    world.ranges = usual_find_data(world.source_as_usual.fd, options.size);
    MUST_AGREE(packed_agrees(&world.pages, world.packed));
    MUST_AGREE(world.ranges.bytes == data_bytes(&world.pages));
    settle(disk);
}

static void need_images(void)
{
    int checksums, code;
    if (world.image[1] >= 0 || world.images_unsupported) return;
    need_source();
    for (checksums = 0; checksums < 2; checksums++) {
        code = save(image_path(checksums), checksums_off(checksums));
        if (code == GUESTMEM_E_UNSUPPORTED) {
            world.images_unsupported = true;
            return;
        }
        MUST_OK(code);
        world.image[checksums] = open(image_path(checksums), O_RDONLY | O_CLOEXEC);
        MUST(world.image[checksums] >= 0);
        MUST_AGREE(dense_agrees(&world.pages, world.image[checksums]));
    }
    settle(disk);
}

/* Files are all that is left of the source where they are enough: memory is short. */
static void provide(enum needs needs)
{
    if (needs == SOURCE) {
        need_source();
        return;
    }
    need_packed();
    if (needs == IMAGES) need_images();
    drop_source();
}

static void change_state(enum state state)
{
    int checksums;
    drop_source();
    if (world.packed >= 0) {
        MUST(close(world.packed) == 0);
        guestmem_free(world.metadata[0]);
        guestmem_free(world.metadata[1]);
        free(world.ranges.at);
    }
    for (checksums = 0; checksums < 2; checksums++) {
        if (world.image[checksums] < 0) continue;
        MUST(close(world.image[checksums]) == 0 && unlink(image_path(checksums)) == 0);
    }
    free_pages(&world.pages);
    memset(&world, 0, sizeof world);
    world.packed = world.image[0] = world.image[1] = -1;
    world.pages = choose_pages(state, options.size);
}

#endif
