/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The measured operations: ours and theirs. Each starts from the same state, and what it made is
 * looked at and thrown away after the clock has stopped. */
#ifndef BENCH_CONTENDERS_H
#define BENCH_CONTENDERS_H

#include "../stats.h"
#include "world.h"

/* ---- one comparison ---- */

enum place { NOWHERE, TMPFS, DISK };
enum kind { MEMFD, MEMFD_HUGE, PRIVATE_HUGE };

struct row;

/* One measured operation: its seconds, or UNSUPPORTED. */
typedef double contender(const struct row *row, bool checksums);

#define UNSUPPORTED (-1.0)

struct row {
    const char *name;
    enum state state;
    enum needs needs;
    contender *ours, *peer;
    const char *against;
    double target;      /* of the ratio; 0: none was set */
    double target_time; /* likewise, of ours by itself */
    uint64_t flags;     /* GUESTMEM_SNAPSHOT_* */
    enum place place;   /* where a snapshot goes */
    enum kind kind;     /* of memory that is restored into */
};

/* Everything is ready. */
static double start(void)
{
    release_reserve();
    return now();
}

/* ---- snapshots ---- */

static int destination(const struct row *row)
{
    if (row->place == NOWHERE) return null_device();
    settle(disk);
    return new_file(row->place == TMPFS ? tmpfs : disk);
}

/* The library's own word for how much it wrote, the only one where nothing is kept. */
static bool data_size_is(const char *metadata, uint64_t size)
{
    const char *key = "\"data_size\":", *at = strstr(metadata, key);
    return at != NULL && strtoull(at + strlen(key), NULL, 10) == size;
}

static void check_snapshot(const struct row *row, int fd, const char *metadata)
{
    if ((row->flags & GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES) != 0 && world.pages.state == ZEROS) {
        MUST_AGREE(data_size_is(metadata, 0) && lseek(fd, 0, SEEK_END) == 0);
        return;
    }
    MUST_AGREE(data_size_is(metadata, data_bytes(&world.pages)));
    if (row->place != NOWHERE) MUST_AGREE(packed_agrees(&world.pages, fd));
}

static double snapshot_ours(const struct row *row, bool checksums)
{
    const int fd = destination(row);
    char *metadata;
    double began = start(), seconds;
    const int code = snapshot(fd, row->flags | checksums_off(checksums), &metadata);
    seconds = now() - began;
    if (code != GUESTMEM_E_UNSUPPORTED) {
        MUST_OK(code);
        check_snapshot(row, fd, metadata);
        guestmem_free(metadata);
    }
    MUST(close(fd) == 0);
    return code == GUESTMEM_OK ? seconds : UNSUPPORTED;
}

static double snapshot_usual(const struct row *row, bool checksums)
{
    const int fd = destination(row);
    struct usual_text metadata;
    double began = start(), seconds;
    (void)checksums;
    metadata = usual_snapshot(&world.source_as_usual, fd);
    if ((row->flags & GUESTMEM_SNAPSHOT_SYNC) != 0) MUST(fdatasync(fd) == 0);
    seconds = now() - began;
    if (row->place != NOWHERE) MUST_AGREE(packed_agrees(&world.pages, fd));
    free(metadata.bytes);
    MUST(close(fd) == 0);
    return seconds;
}

static double snapshot_dense(const struct row *row, bool checksums)
{
    const int fd = destination(row);
    double began = start(), seconds;
    (void)checksums;
    dense_snapshot(&world.source_as_usual, fd);
    if ((row->flags & GUESTMEM_SNAPSHOT_SYNC) != 0) MUST(fdatasync(fd) == 0);
    seconds = now() - began;
    MUST_AGREE(dense_agrees(&world.pages, fd));
    MUST(close(fd) == 0);
    return seconds;
}

/* ---- saving an image file ---- */

static double save_ours(const struct row *row, bool checksums)
{
    double began, seconds;
    int code, fd;
    (void)unlink(saved_path());
    settle(disk);
    began = start();
    code = save(saved_path(), row->flags | checksums_off(checksums));
    seconds = now() - began;
    if (code == GUESTMEM_E_UNSUPPORTED) return UNSUPPORTED;
    MUST_OK(code);
    fd = open(saved_path(), O_RDONLY | O_CLOEXEC);
    MUST(fd >= 0);
    MUST_AGREE(dense_agrees(&world.pages, fd));
    MUST(close(fd) == 0 && unlink(saved_path()) == 0);
    return seconds;
}

/* Data, then metadata, in one file; synced, but not put in the place of an older one. */
static double save_usual(const struct row *row, bool checksums)
{
    struct usual_text metadata;
    double began, seconds;
    int fd;
    (void)row, (void)checksums;
    (void)unlink(saved_path());
    settle(disk);
    began = start();
    fd = open(saved_path(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    MUST(fd >= 0);
    metadata = usual_snapshot(&world.source_as_usual, fd);
    usual_write(fd, metadata.bytes, metadata.len);
    MUST(fsync(fd) == 0);
    seconds = now() - began;
    MUST(ftruncate(fd, (off_t)data_bytes(&world.pages)) == 0);
    MUST_AGREE(packed_agrees(&world.pages, fd));
    MUST(close(fd) == 0 && unlink(saved_path()) == 0);
    free(metadata.bytes);
    return seconds;
}

/* Ours without GUESTMEM_SNAPSHOT_DIRECT. */
static double save_cached(const struct row *row, bool checksums)
{
    struct row cached = *row;
    cached.flags = 0;
    return save_ours(&cached, checksums);
}

/* The extents that ours writes, at the same offsets of a file that is put in its place in the same
 * way. No metadata, no checksums. */
static double save_sparse(const struct row *row, bool checksums)
{
    char temporary[PATH_BYTES + 8];
    double began, seconds;
    int fd;
    (void)row, (void)checksums;
    (void)snprintf(temporary, sizeof temporary, "%s.new", saved_path());
    (void)unlink(saved_path());
    settle(disk);
    began = start();
    fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    MUST(fd >= 0 && ftruncate(fd, (off_t)options.size) == 0);
    usual_write_in_place(&world.source_as_usual, fd);
    MUST(fsync(fd) == 0 && rename(temporary, saved_path()) == 0 && fsync(disk->fd) == 0);
    seconds = now() - began;
    MUST_AGREE(dense_agrees(&world.pages, fd));
    MUST(close(fd) == 0 && unlink(saved_path()) == 0);
    return seconds;
}

/* ---- restoring into memory that is there ---- */

/* NULL where the system gives no huge pages to such memory. */
static struct guestmem *fresh_memory(enum kind kind)
{
    struct guestmem *mem = new_memory(kind == PRIVATE_HUGE ? GUESTMEM_REGION_PRIVATE : 0);
    if (kind == MEMFD) return mem;
    if ((kind == PRIVATE_HUGE || allow_shmem_huge()) &&
        guestmem_set_memory_policy(mem, GUESTMEM_POLICY_USE_HUGEPAGES) == GUESTMEM_OK)
        return mem;
    guestmem_unref(mem);
    return NULL;
}

static int restore(const struct guestmem *mem, bool checksums)
{
    struct guestmem_restore_options how;
    memset(&how, 0, sizeof how);
    how.threads = 2;
    return guestmem_restore(mem, world.metadata[checksums], strlen(world.metadata[checksums]),
                            world.packed, &how, sizeof how);
}

static void rewind_packed(void)
{
    read_all(world.packed);
    MUST(lseek(world.packed, 0, SEEK_SET) == 0);
}

static double restore_ours(const struct row *row, bool checksums)
{
    struct guestmem *mem = fresh_memory(row->kind);
    double seconds = UNSUPPORTED, began;
    if (mem != NULL) {
        rewind_packed();
        began = start();
        MUST_OK(restore(mem, checksums));
        seconds = now() - began;
        MUST_AGREE(memory_agrees(&world.pages, region_of(mem).host_addr));
    }
    guestmem_unref(mem);
    restore_shmem_huge();
    return seconds;
}

static double restore_usual(const struct row *row, bool checksums)
{
    struct usual_memory mem = usual_memory_new(options.size);
    double began, seconds;
    (void)row, (void)checksums;
    rewind_packed();
    began = start();
    usual_restore(&mem, world.packed, &world.ranges);
    seconds = now() - began;
    MUST_AGREE(memory_agrees(&world.pages, mem.host));
    usual_memory_free(&mem);
    return seconds;
}

/* ---- loading an image file, which makes the memory too ---- */

enum reads { READ_NOTHING, READ_ONE_PAGE, READ_ALL_PAGES };

static void read_pages(const struct guestmem *mem, enum reads reads)
{
    const volatile uint8_t *host;
    uint64_t at, word;
    size_t done;
    if (reads == READ_ONE_PAGE)
        MUST_OK(guestmem_read(mem, world.pages.index[world.pages.count / 2] * PAGE, &word,
                              sizeof word, &done));
    if (reads != READ_ALL_PAGES) return;
    host = region_of(mem).host_addr;
    for (at = 0; at < options.size; at += PAGE) (void)host[at];
}

static double load(bool checksums, uint64_t flags, enum reads reads)
{
    struct guestmem_load_options how;
    struct guestmem *mem;
    double began, seconds;
    if (world.images_unsupported) return UNSUPPORTED;
    memset(&how, 0, sizeof how);
    how.flags = flags;
    read_all(world.image[checksums]);
    began = start();
    MUST_OK(guestmem_load(image_path(checksums), &how, sizeof how, &mem));
    read_pages(mem, reads);
    seconds = now() - began;
    MUST_AGREE(memory_agrees(&world.pages, region_of(mem).host_addr));
    guestmem_unref(mem);
    return seconds;
}

static double load_eagerly(const struct row *row, bool checksums)
{
    (void)row;
    return load(checksums, 0, READ_NOTHING);
}

static double load_mapped(const struct row *row, bool checksums)
{
    (void)row;
    return load(checksums, GUESTMEM_LOAD_MAP, READ_ONE_PAGE);
}

static double load_mapped_and_read(const struct row *row, bool checksums)
{
    (void)row;
    return load(checksums, GUESTMEM_LOAD_MAP, READ_ALL_PAGES);
}

#endif
