// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Which pages of two images differ. What is a hole in both is not looked at. */
#ifndef GUESTMEM_IMAGE_DIFF_H
#define GUESTMEM_IMAGE_DIFF_H

#include "image.h"

/* One of the two images, and how far the comparison has come in it. */
struct side {
    struct image image;
    struct guestmem *mem;
    size_t region, range;
};

/* A run of guest addresses that is printed once it is known to end. */
struct run {
    uint64_t start, end;
};

struct diff {
    struct side side[2];
    int digits;
    uint64_t page;         /* what both images' pages are multiples of */
    struct run run;        /* of pages that differ */
    uint64_t runs, differ; /* pages that differ, and in how many runs */
    uint64_t looked;       /* pages that hold data in one of them */
    uint64_t alone[2];     /* bytes of regions that only one of them has */
    bool same_layout;
};

static void side_open(struct side *side, const char *path)
{
    *side = (struct side){0};
    image_open(&side->image, path);
    image_read_metadata(&side->image);
    if (image_map(&side->image, 0, NULL, &side->mem) != GUESTMEM_OK)
        die("%s: %s", side->image.name, last_error().s);
}

static void side_close(struct side *side)
{
    guestmem_unref(side->mem);
    image_close(&side->image);
}

static void print_run(const struct diff *diff, struct run run, const char *what)
{
    const uint64_t pages = (run.end - run.start) / diff->page;
    printf("  0x%0*" PRIx64 " - 0x%0*" PRIx64 "  %9" PRIu64 " page%s  %8s%s\n", diff->digits, run.start, diff->digits,
           run.end - 1, pages, pages == 1 ? " " : "s", size_text(run.end - run.start).s, what);
}

static void end_run(struct diff *diff)
{
    if (diff->run.start != diff->run.end) {
        print_run(diff, diff->run, "");
        diff->runs++;
        diff->differ += (diff->run.end - diff->run.start) / diff->page;
    }
    diff->run = (struct run){0};
}

static void page_differs(struct diff *diff, uint64_t addr)
{
    if (diff->run.end != addr || diff->run.start == diff->run.end) {
        end_run(diff);
        diff->run.start = addr;
    }
    diff->run.end = addr + diff->page;
}

/* The side has data at this address of its present region; *until: as far as that holds. */
static bool has_data(struct side *side, uint64_t addr, uint64_t *until)
{
    const struct region *region = &side->image.regions[side->region];
    const size_t past = region->first + region->count;
    if (side->range < region->first)
        side->range = region->first;
    while (side->range < past && addr >= region->base + side->image.ranges[side->range].end)
        side->range++;
    if (side->range == past)
        return false;
    const struct range *range = &side->image.ranges[side->range];
    const bool data = addr >= region->base + range->start;
    const uint64_t end = region->base + (data ? range->end : range->start);
    if (end < *until)
        *until = end;
    return data;
}

static const uint8_t *host_address(const struct side *side, uint64_t addr, uint64_t size)
{
    void *host;
    if (guestmem_get_host_address_range(side->mem, addr, size, &host) != GUESTMEM_OK)
        die("%s: %s", side->image.name, last_error().s);
    return host;
}

/* Compares what lies in one region of each. A hole is zeros, whatever the file has there: only data is looked at. */
static void compare(struct diff *diff, uint64_t addr, uint64_t end)
{
    static const uint8_t zeros[1 << 20]; /* the largest page there is */
    while (addr < end) {
        uint64_t until = end;
        const bool data[2] = {has_data(&diff->side[0], addr, &until), has_data(&diff->side[1], addr, &until)};
        if (!data[0] && !data[1]) {
            addr = until;
            continue;
        }
        const uint8_t *host[2];
        for (int i = 0; i < 2; i++)
            host[i] = data[i] ? host_address(&diff->side[i], addr, until - addr) : zeros;
        diff->looked += (until - addr) / diff->page;
        for (; addr < until; addr += diff->page) {
            if (memcmp(host[0], host[1], diff->page) != 0)
                page_differs(diff, addr);
            for (int i = 0; i < 2; i++)
                host[i] += data[i] ? diff->page : 0;
        }
    }
}

/* Goes through the regions of both by guest address, and calls compare() for what both have. */
static void walk(struct diff *diff)
{
    struct side *const side = diff->side;
    uint64_t addr = 0;
    for (;;) {
        const struct region *region[2] = {0};
        uint64_t start[2] = {UINT64_MAX, UINT64_MAX}, end[2] = {UINT64_MAX, UINT64_MAX};
        for (int i = 0; i < 2; i++) {
            const struct image *image = &side[i].image;
            while (side[i].region < image->region_count &&
                   image->regions[side[i].region].base + image->regions[side[i].region].size <= addr)
                side[i].region++;
            if (side[i].region == image->region_count)
                continue;
            region[i] = &image->regions[side[i].region];
            start[i] = region[i]->base > addr ? region[i]->base : addr;
            end[i] = region[i]->base + region[i]->size;
        }
        if (!region[0] && !region[1])
            return;
        const int first = start[0] <= start[1] ? 0 : 1;
        const uint64_t until = end[0] < end[1] ? end[0] : end[1];
        if (start[0] == start[1]) {
            compare(diff, start[0], until);
            addr = until;
        } else {
            addr = start[!first] < end[first] ? start[!first] : end[first];
            end_run(diff);
            print_run(diff, (struct run){start[first], addr}, first == 0 ? "  only in A" : "  only in B");
            diff->alone[first] += addr - start[first];
        }
    }
}

static bool same_layout(const struct image *a, const struct image *b)
{
    bool same = a->region_count == b->region_count;
    for (size_t i = 0; same && i < a->region_count; i++)
        same = a->regions[i].base == b->regions[i].base && a->regions[i].size == b->regions[i].size;
    return same;
}

static void print_summary(const struct diff *diff)
{
    static const char letter[] = "AB";
    if (!diff->same_layout)
        puts("The regions differ: neither image can be restored into the other's machine.");
    for (int i = 0; i < 2; i++)
        if (diff->alone[i] > 0)
            printf("%s of memory only in %c.\n", size_text(diff->alone[i]).s, letter[i]);
    if (diff->differ == 0)
        fputs("No page differs", stdout);
    else
        printf("%" PRIu64 " page%s differ%s (%s), in %" PRIu64 " range%s", diff->differ, plural(diff->differ),
               diff->differ == 1 ? "s" : "", size_text(diff->differ * diff->page).s, diff->runs, plural(diff->runs));
    printf("; %" PRIu64 " page%s data in A or B (%s).\n", diff->looked, diff->looked == 1 ? " holds" : "s hold",
           size_text(diff->looked * diff->page).s);
}

static int command_diff(int count, char **words)
{
    struct diff diff = {0};
    (void)count;
    for (int i = 0; i < 2; i++) {
        struct side *side = &diff.side[i];
        side_open(side, words[i]);
        const int digits = image_digits(&side->image);
        diff.digits = digits > diff.digits ? digits : diff.digits;
        diff.page = i == 0 || side->image.page_size < diff.page ? side->image.page_size : diff.page;
    }
    diff.same_layout = same_layout(&diff.side[0].image, &diff.side[1].image);
    for (int i = 0; i < 2; i++)
        printf("%c: %s: %s of data in %s\n", "AB"[i], diff.side[i].image.name, size_text(diff.side[i].image.data).s,
               size_text(diff.side[i].image.size).s);
    walk(&diff);
    end_run(&diff);
    print_summary(&diff);
    side_close(&diff.side[0]);
    side_close(&diff.side[1]);
    return diff.same_layout && diff.differ == 0 ? EXIT_SAME : EXIT_DIFFERENT;
}

#endif
