/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What sections.h has of snapshots and images: memory that is saved, and brought back into memory like
 * it, in every way. */
#ifndef SECTIONS_SAVING_H
#define SECTIONS_SAVING_H

#include "support/images.h"

static int closed_pipe(void)
{
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0 && close(ends[0]) == 0);
    return ends[1];
}

/* ---- snapshots ---- */

/* So much data that threads share the work; and where the tools make everything slow, little. */
#define MUCH_DATA (fast() ? (size_t)0x8000 : (size_t)0x1100000)
#define MANY_THREADS 2
enum { SAVED_REGIONS = 5 };

static struct {
    struct guestmem *mem, *target; /* alike */
    uint8_t *bytes;                /* what mem holds */
    int files[2];                  /* one for each layout */
    int closed;                    /* a pipe */
    struct stream stream;
} saving;

/* One region of each backing that can be restored, the first of them large. */
static struct guestmem *new_alike(void)
{
    static const uint64_t flags[SAVED_REGIONS] = {
        0, GUESTMEM_REGION_PRIVATE, GUESTMEM_REGION_HOST, GUESTMEM_REGION_FD,
        GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE};
    struct guestmem_region_options options[SAVED_REGIONS];
    struct guestmem *mem = NULL;
    memset(options, 0, sizeof options);
    for (size_t i = 0; i < SAVED_REGIONS; i++) {
        options[i].guest_addr = i << 32, options[i].flags = flags[i];
        options[i].size = i == 0 ? MUCH_DATA + 0x8000 : 0x8000;
        if (flags[i] & GUESTMEM_REGION_FD) options[i].fd = new_disk_file(options[i].size);
        if (flags[i] & GUESTMEM_REGION_HOST)
            options[i].host_addr = new_host_memory(options[i].size);
    }
    CHECK_OK(guestmem_new_with_options(options, SAVED_REGIONS, sizeof *options, &mem));
    REQUIRE(mem != NULL);
    for (size_t i = 0; i < SAVED_REGIONS; i++)
        if (flags[i] & GUESTMEM_REGION_FD) REQUIRE(close(options[i].fd) == 0);
    return mem;
}

static void free_alike(struct guestmem *mem)
{
    struct guestmem_region_info callers = info_of(mem, 2);
    guestmem_unref(mem);
    REQUIRE(munmap(callers.host_addr, (size_t)callers.size) == 0);
}

static void saving_prepare(void)
{
    enter_folder(fast_parent(UINT64_C(1) << 28));
    saving.mem = new_alike(), saving.target = new_alike();
    for (size_t i = 0; i < SAVED_REGIONS; i++)
        fill_random((uint8_t *)info_of(saving.mem, i).host_addr + PAGE,
                    i == 0 ? MUCH_DATA : (size_t)PAGE, i);
    saving.bytes = copy_of(saving.mem);
    saving.files[0] = open("packed", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    saving.files[1] = open("sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(saving.files[0] >= 0 && saving.files[1] >= 0);
    saving.closed = closed_pipe();
    stream_new(&saving.stream, MUCH_DATA + SAVED_REGIONS * 0x8000);
}

static void saving_finish(void)
{
    REQUIRE(close(saving.files[0]) == 0 && close(saving.files[1]) == 0);
    REQUIRE(close(saving.closed) == 0);
    free(saving.bytes), free(saving.stream.bytes);
    free_alike(saving.mem), free_alike(saving.target);
    leave_folder();
}

/* What there is to be overwritten: other data, and pages where the snapshot has none. */
static void make_different(void)
{
    for (size_t i = 0; i < SAVED_REGIONS; i++)
        CHECK_OK(guestmem_dma_fill(saving.target, (uint64_t)i << 32, 0xee, 0x8000));
}

static void check_restored(const struct guestmem *mem)
{
    if (mem != NULL) CHECK(memory_is(mem, saving.bytes));
}

/* The library rewinds no file. */
static void rewind_saved(uint32_t layout)
{
    CHECK_EQ(lseek(saving.files[layout], 0, SEEK_SET), 0);
}

static void there_and_back(uint32_t layout, uint64_t flags)
{
    const struct guestmem_snapshot_options snapshot = {flags, layout, MANY_THREADS, NULL, NULL};
    const struct guestmem_restore_options restore = {GUESTMEM_RESTORE_MORE_FOLLOWS, MANY_THREADS, 0,
                                                     NULL, NULL};
    char *metadata = NULL;
    int code;
    rewind_saved(layout);
    code = guestmem_snapshot(saving.mem, saving.files[layout], &snapshot, sizeof snapshot, &metadata);
    /* not every file system can do without its cache */
    if (code == GUESTMEM_E_UNSUPPORTED && (flags & GUESTMEM_SNAPSHOT_DIRECT)) return;
    CHECK_OK(code);
    if (code != GUESTMEM_OK) return;
    rewind_saved(layout);
    make_different();
    CHECK_OK(guestmem_restore(saving.target, metadata, strlen(metadata), saving.files[layout],
                              &restore, sizeof restore));
    check_restored(saving.target);
    guestmem_free(metadata);
}

static void through_a_stream(void)
{
    char *metadata = NULL;
    saving.stream.at = saving.stream.len = 0;
    CHECK_OK(guestmem_snapshot_write(saving.mem, stream_write, &saving.stream, NULL, 0, &metadata));
    if (metadata == NULL) return;
    saving.stream.at = 0;
    make_different();
    CHECK_OK(guestmem_restore_read(saving.target, metadata, strlen(metadata), stream_read,
                                   &saving.stream, NULL, 0));
    check_restored(saving.target);
    guestmem_free(metadata);
}

static void snapshot_run(void)
{
    char *metadata = NULL;
    there_and_back(GUESTMEM_LAYOUT_PACKED, GUESTMEM_SNAPSHOT_SYNC);
    there_and_back(GUESTMEM_LAYOUT_SPARSE, GUESTMEM_SNAPSHOT_SYNC);
    there_and_back(GUESTMEM_LAYOUT_PACKED, GUESTMEM_SNAPSHOT_DIRECT);
    there_and_back(GUESTMEM_LAYOUT_SPARSE, GUESTMEM_SNAPSHOT_DIRECT);
    through_a_stream();
    CHECK_CODE(guestmem_snapshot(saving.mem, saving.closed, NULL, 0, &metadata), GUESTMEM_E_IO);
}

/* ---- image files ---- */

static void load_and_look(uint64_t flags)
{
    const struct guestmem_load_options options = {flags, MANY_THREADS, 0, NULL, NULL};
    struct guestmem *mem = NULL;
    CHECK_OK(guestmem_load("image", &options, sizeof options, &mem));
    check_restored(mem);
    guestmem_unref(mem);
}

static void image_run(void)
{
    const struct guestmem_snapshot_options save = {0, 0, MANY_THREADS, NULL, NULL};
    const struct guestmem_restore_options restore = {0, MANY_THREADS, 0, NULL, NULL};
    char *metadata = NULL;
    CHECK_OK(guestmem_save(saving.mem, "image", &save, sizeof save));
    CHECK_OK(guestmem_save(saving.mem, "image", &save, sizeof save)); /* over the old one */
    make_different();
    CHECK_OK(guestmem_restore_file(saving.target, "image", &restore, sizeof restore));
    check_restored(saving.target);
    load_and_look(0);
    load_and_look(GUESTMEM_LOAD_MAP);
    load_and_look(GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY);
    CHECK_OK(guestmem_image_metadata("image", &metadata));
    CHECK_OK(guestmem_prepare());
    guestmem_free(metadata);
}

#endif
