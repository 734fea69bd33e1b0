/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the operations of operations.h work on: memory with a region of every backing, of which
 * no two pages are alike. */
#ifndef OPERATIONS_GROUND_H
#define OPERATIONS_GROUND_H

#include "support/process.h"
#include "sections.h"
#include "support/trial.h"

/* ---- what the operations work on: memory with a region of every backing ---- */

#define SIZE (2 * PAGE)
enum { BACKINGS = 8, PRIVATE = 1, READ_ONLY = 4 };

static const uint64_t backings[BACKINGS] = {
    0,
    GUESTMEM_REGION_PRIVATE,
    GUESTMEM_REGION_FD,
    GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE,
    GUESTMEM_REGION_FD | GUESTMEM_REGION_READ_ONLY,
    GUESTMEM_REGION_HOST,                       /* private */
    GUESTMEM_REGION_HOST | GUESTMEM_REGION_FD,  /* shared */
    GUESTMEM_REGION_HOST,                       /* shared */
};

struct operation {
    const char *name;
    void (*before)(void);
    int (*call)(void);
    void (*after)(int code); /* looks at what became of it, and takes everything down */
    uint64_t argument;
    bool calls_nothing; /* of the system */
};

static const struct operation *current;

static struct {
    int file, appended, pipe[2];
    uint64_t completed; /* before what was tried failed */
    uint8_t *host[BACKINGS];
    bool huge_pages;
    struct guestmem *mem, *other, *out;
    struct guestmem_region *region, *removed;
    char *text;
    struct stream stream;
} ground;

static void prepare_ground(void)
{
    ground.file = new_memfd(BACKINGS * SIZE);
    ground.appended = reopen(ground.file, O_RDWR | O_APPEND);
    REQUIRE(pipe2(ground.pipe, O_CLOEXEC) == 0);
    ground.huge_pages = !fast() && reserve_huge_pages(1);
    stream_new(&ground.stream, 4 * BACKINGS * SIZE);
}

/* Anew for each try, as advice stays with the caller's memory. */
static void map_callers_memory(void)
{
    for (size_t i = 0; i < BACKINGS; i++) {
        if (!(backings[i] & GUESTMEM_REGION_HOST)) continue;
        ground.host[i] = i == 5 ? new_host_memory(SIZE)
                                : mmap(NULL, (size_t)SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                                       ground.file, (off_t)(i * SIZE));
        REQUIRE(ground.host[i] != MAP_FAILED);
    }
}

static void unmap_callers_memory(void)
{
    for (size_t i = 0; i < BACKINGS; i++)
        if (ground.host[i] != NULL) REQUIRE(munmap(ground.host[i], (size_t)SIZE) == 0);
}

static struct guestmem_region_options backed(size_t index)
{
    struct guestmem_region_options options;
    memset(&options, 0, sizeof options);
    options.guest_addr = index * SIZE, options.size = SIZE, options.flags = backings[index];
    if (backings[index] & GUESTMEM_REGION_FD) options.fd = ground.file;
    if (backings[index] & GUESTMEM_REGION_FD) options.fd_offset = index * SIZE;
    options.host_addr = ground.host[index];
    return options;
}

static int make(size_t from, size_t count, struct guestmem **out)
{
    struct guestmem_region_options options[BACKINGS];
    for (size_t i = 0; i < count; i++) options[i] = backed(from + i);
    return guestmem_new_with_options(options, count, sizeof *options, out);
}

/* ---- its content ---- */

/* No two pages are alike. */
static uint8_t byte_of(uint64_t addr)
{
    return (uint8_t)(addr / PAGE + 1);
}

static void fill(const struct guestmem *mem)
{
    for (size_t i = 0; i < guestmem_num_regions(mem); i++) {
        const struct guestmem_region_info info = info_of(mem, i);
        uint8_t page[4096];
        for (uint64_t at = 0; at < info.size; at += PAGE) {
            memset(page, byte_of(info.guest_addr + at), sizeof page);
            if (info.flags & GUESTMEM_REGION_READ_ONLY)
                REQUIRE(pwrite(info.fd, page, sizeof page, (off_t)(info.fd_offset + at)) ==
                        (ssize_t)sizeof page);
            else memcpy((uint8_t *)info.host_addr + at, page, sizeof page);
        }
    }
}

static bool page_is(uint64_t addr, uint8_t byte)
{
    const uint8_t *page = NULL;
    REQUIRE(guestmem_get_host_address(ground.mem, addr, (void **)&page) == GUESTMEM_OK);
    for (size_t i = 0; i < PAGE; i++)
        if (page[i] != byte) return false;
    return true;
}

/* All pages are what they were, but perhaps that at `addr`. */
static void check_content(uint64_t addr)
{
    for (size_t i = 0; i < guestmem_num_regions(ground.mem); i++) {
        const struct guestmem_region_info info = info_of(ground.mem, i);
        for (uint64_t at = info.guest_addr; at < info.guest_addr + info.size; at += PAGE)
            if (at != addr) CHECK(page_is(at, byte_of(at)));
    }
}

static void before_all(void)
{
    REQUIRE(make(0, BACKINGS, &ground.mem) == GUESTMEM_OK);
    fill(ground.mem);
}

static void before_private(void)
{
    REQUIRE(make(PRIVATE, 1, &ground.mem) == GUESTMEM_OK);
    fill(ground.mem);
}

/* With one region of the caller's, about each of which the library asks the system. */
static void before_policy(void)
{
    REQUIRE(make(0, BACKINGS - 2, &ground.mem) == GUESTMEM_OK);
    fill(ground.mem);
}

static void release(void)
{
    guestmem_unref(ground.mem), guestmem_unref(ground.other), guestmem_unref(ground.out);
    guestmem_region_unref(ground.region);
    ground.mem = ground.other = ground.out = NULL;
    ground.region = NULL;
}

#endif
