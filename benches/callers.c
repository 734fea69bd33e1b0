/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory that the caller mapped: giving a page back in a process of many mappings, and a restore into
 * memory of many mappings. README.md in this folder says how to run it and what the figures mean. */
#define _GNU_SOURCE
#include "cpus.h"
#include "report.h"
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)

static uint8_t *map(void *at, size_t len, int protection, int flags)
{
    void *host = mmap(at, len, protection, flags | MAP_ANONYMOUS, -1, 0);
    MUST(host != MAP_FAILED);
    return host;
}

static struct guestmem *memory_of(uint8_t *host, uint64_t size)
{
    struct guestmem_region_options region = {.size = size, .host_addr = host};
    struct guestmem *mem;
    region.flags = GUESTMEM_REGION_HOST;
    MUST_OK(guestmem_new_with_options(&region, 1, sizeof region, &mem));
    return mem;
}

/* ---- a page that is given back ---- */

enum { PAGES = 64 };

struct pages {
    uint8_t *host;
    struct guestmem *mem;
};

static void discard_by_hand(const void *work, size_t first, size_t count)
{
    const struct pages *pages = work;
    for (size_t i = first; i < first + count; i++) {
        pages->host[i * PAGE] = 1;
        MUST(madvise(pages->host + i * PAGE, PAGE, MADV_DONTNEED) == 0);
    }
}

static void remove_ours(const void *work, size_t first, size_t count)
{
    const struct pages *pages = work;
    for (size_t i = first; i < first + count; i++) {
        pages->host[i * PAGE] = 1;
        MUST_OK(guestmem_remove_range(pages->mem, i * PAGE, PAGE));
    }
}

static void removes(const char *what)
{
    static const struct contender contenders[] = {{"madvise", discard_by_hand},
                                                  {"guestmem", remove_ours}};
    static const struct {
        const char *name;
        size_t mappings;
    } sizes[] = {{"alone", 0}, {"beside 30,000", 30000}};
    if (!wanted(what)) return;
    print_columns(what, "ns each", contenders, COUNT_OF(contenders));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        /* every second page readable, so that each is a mapping */
        const size_t len = (sizes[i].mappings + 1) * PAGE;
        uint8_t *beside = map(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
        struct pages pages = {map(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE), NULL};
        struct race race = {.contenders = contenders, .count = COUNT_OF(contenders),
                            .work = &pages, .total = PAGES, .lot = 1};
        for (size_t page = 1; page < sizes[i].mappings; page += 2)
            MUST(mprotect(beside + page * PAGE, PAGE, PROT_READ) == 0);
        pages.mem = memory_of(pages.host, PAGES * PAGE);
        take_turns(&race);
        print_medians(what, sizes[i].name, &race);
        compare(what, sizes[i].name, &race, "guestmem", "madvise", 10);
        guestmem_unref(pages.mem);
        MUST(munmap(beside, len) == 0 && munmap(pages.host, PAGES * PAGE) == 0);
    }
}

/* ---- a restore ---- */

enum { MAPPINGS = 800, ALL_PAGES = 2 * MAPPINGS };

/* Memory in so many mappings, and a snapshot with data in the first and last of four pages each. */
struct restore {
    uint64_t size;
    uint8_t *host;
    struct guestmem *mem;
    char *metadata;
    int fd;
};

static struct restore new_restore(size_t mappings)
{
    struct restore restore = {.size = ALL_PAGES * PAGE, .fd = memfd_create("snapshot", MFD_CLOEXEC)};
    const size_t each = restore.size / mappings;
    const struct guestmem_range range = {0, restore.size};
    struct guestmem *source;
    restore.host = map(NULL, restore.size, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
    for (size_t i = 0; i < mappings; i++)
        (void)map(restore.host + i * each, each, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED);
    restore.mem = memory_of(restore.host, restore.size);
    MUST_OK(guestmem_new(&range, 1, &source));
    for (uint64_t at = 0; at < restore.size; at += 4 * PAGE) {
        MUST_OK(guestmem_write_u64(source, at, 1));
        MUST_OK(guestmem_write_u64(source, at + 3 * PAGE, 1));
    }
    MUST(restore.fd >= 0);
    MUST_OK(guestmem_snapshot(source, restore.fd, NULL, 0, &restore.metadata));
    guestmem_unref(source);
    return restore;
}

static void free_restore(struct restore *restore)
{
    guestmem_unref(restore->mem);
    guestmem_free(restore->metadata);
    MUST(munmap(restore->host, restore->size) == 0 && close(restore->fd) == 0);
}

static void restore_into(const struct restore *restore, size_t count)
{
    for (; count > 0; count--) {
        MUST_OK(guestmem_dma_fill(restore->mem, 0, 7, restore->size));
        MUST(lseek(restore->fd, 0, SEEK_SET) == 0);
        MUST_OK(guestmem_restore(restore->mem, restore->metadata, strlen(restore->metadata),
                                 restore->fd, NULL, 0));
        MUST_AGREE(restore->host[PAGE] == 0 && restore->host[0] == 1);
    }
}

static void into_one(const void *work, size_t first, size_t count)
{
    (void)first;
    restore_into(work, count);
}

static void into_many(const void *work, size_t first, size_t count)
{
    const struct restore *both = work;
    (void)first;
    restore_into(both + 1, count);
}

static void restores(const char *what)
{
    static const struct contender contenders[] = {{"one mapping", into_one}, {"800 mappings", into_many}};
    if (!wanted(what)) return;
    print_columns(what, "ns each", contenders, COUNT_OF(contenders));
    struct restore both[] = {new_restore(1), new_restore(MAPPINGS)};
    struct race race = {.contenders = contenders, .count = COUNT_OF(contenders),
                        .work = both, .total = 1, .lot = 1};
    take_turns(&race);
    print_medians(what, "6 MiB", &race);
    compare(what, "6 MiB", &race, "800 mappings", "one mapping", 5);
    free_restore(&both[0]);
    free_restore(&both[1]);
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    pin_to_first_cpu();
    print_head("callers");
    removes("remove a page");
    restores("restore");
    print_comparisons();
    return 0;
}
