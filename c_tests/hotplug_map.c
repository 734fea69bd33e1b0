/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Regions are added and removed at random places of a small guest address space. After each change
 * every question, translation and access gives the answer that a plain list of who owns which page
 * gives.
 * runs: asan valgrind tsan */
#include "support/regions.h"

/* Far enough up that the flat map of addresses begins with a hole. */
enum { PAGES = 20, MOST = 5 };
static const uint64_t base = 0x7000;

struct part {
    uint8_t id; /* what all its bytes are; 0: no region */
    uint64_t start, size;
    uint8_t *host;
    struct guestmem_region *region;
};

/* The memory, and who owns which of its pages. */
struct map {
    struct guestmem *mem;
    struct part part[PAGES];
    uint8_t owner[PAGES];
};

static uint64_t addr_of(size_t page)
{
    return base + page * PAGE;
}

static bool free_pages(const struct map *map, size_t first, size_t count)
{
    for (size_t page = first; page < first + count; page++)
        if (map->owner[page] != 0) return false;
    return true;
}

static struct part *part_of(struct map *map, size_t page)
{
    for (size_t i = 0; i < PAGES; i++)
        if (map->part[i].id != 0 && map->part[i].id == map->owner[page]) return &map->part[i];
    return NULL;
}

static uint64_t owned_pages(const struct map *map)
{
    uint64_t owned = 0;
    for (size_t page = 0; page < PAGES; page++) owned += map->owner[page] != 0;
    return owned;
}

/* --- what the memory must answer ----------------------------------------------------------- */

static void check_regions(struct map *map)
{
    struct guestmem_region_info info;
    size_t index = 0;
    uint64_t end = 0;
    for (size_t page = 0; page < PAGES; page++) {
        const struct part *part = part_of(map, page);
        if (part == NULL || part->start != addr_of(page)) continue;
        info = info_of(map->mem, index++);
        CHECK_EQ(info.guest_addr, part->start);
        CHECK_EQ(info.size, part->size);
        CHECK(info.host_addr == part->host);
        end = part->start + part->size;
    }
    CHECK_EQ(guestmem_num_regions(map->mem), index);
    CHECK_CODE(guestmem_region_info(map->mem, index, &info, sizeof info), GUESTMEM_E_NOT_FOUND);
    CHECK_EQ(guestmem_end_addr(map->mem), end);
    CHECK_EQ(guestmem_memory_size(map->mem), owned_pages(map) * PAGE);
}

/* The first and the last byte of each page, and what lies around all of them. */
static void check_addresses(struct map *map, const struct guestmem_view *view)
{
    for (uint64_t addr = base - 1; addr <= addr_of(PAGES);
         addr += addr % PAGE == 0 ? PAGE - 1 : 1) {
        const bool outside = addr < base || addr >= addr_of(PAGES);
        struct part *part = outside ? NULL : part_of(map, (addr - base) / PAGE);
        const int code = part != NULL ? GUESTMEM_OK : GUESTMEM_E_INVALID_ADDRESS;
        struct guestmem_region_info info;
        uint64_t offset = 77, sum = 77, back = 77;
        uint8_t value = 77, seen = 77;
        void *host = NULL;
        CHECK(guestmem_address_in_range(map->mem, addr) == (part != NULL));
        CHECK_CODE(guestmem_find_region(map->mem, addr, &info, sizeof info, &offset), code);
        CHECK_CODE(guestmem_checked_offset(map->mem, 0, addr, &sum), code);
        CHECK_CODE(guestmem_get_host_address(map->mem, addr, &host), code);
        CHECK_CODE(guestmem_read_u8(map->mem, addr, &value), code);
        CHECK(guestmem_view_read_u8(view, addr, &seen) == (part != NULL));
        CHECK(value == seen && value == (part != NULL ? part->id : 0));
        CHECK(guestmem_view_ptr(view, addr, 1) == host);
        CHECK(guestmem_view_ptr_fn(view, addr, 1) == host);
        CHECK(guestmem_view_ptr_writable(view, addr, 1) == host);
        CHECK(guestmem_view_ptr_writable_fn(view, addr, 1) == host);
        if (part == NULL) continue;
        CHECK(info.guest_addr == part->start && offset == addr - part->start && sum == addr);
        CHECK(host == part->host + offset);
        CHECK_OK(guestmem_get_guest_address(map->mem, host, &back));
        CHECK_EQ(back, addr);
    }
}

/* Every run of pages, a little more and a little less: within one region, through several that
 * touch, or neither. */
static void check_run(struct map *map, size_t first, size_t count)
{
    const uint64_t addr = addr_of(first) + 3, len = count * PAGE - 8;
    struct guestmem_slice slices[PAGES];
    uint8_t bytes[PAGES * 4096];
    size_t parts = 1, filled = 0, slice_count = 0, at = 0;
    bool any = false;
    int dma;
    for (size_t page = first; page < first + count; page++) {
        filled += map->owner[page] != 0;
        any = any || map->owner[page] != 0;
        if (page > first) parts += map->owner[page] != map->owner[page - 1];
    }
    dma = map->owner[first] == 0 ? GUESTMEM_E_INVALID_ADDRESS
          : filled < count       ? GUESTMEM_E_INVALID_RANGE
                                 : GUESTMEM_OK;
    CHECK(guestmem_range_overlap(map->mem, addr, addr + len) == any);
    CHECK(guestmem_is_valid_range(map->mem, addr, len) == (filled == count && parts == 1));
    CHECK_CODE(guestmem_get_slices(map->mem, addr, len, slices, PAGES, &slice_count), dma);
    CHECK_EQ(slice_count, dma == GUESTMEM_OK ? parts : 0);
    memset(bytes, 0, (size_t)len);
    CHECK_CODE(guestmem_dma_read(map->mem, addr, bytes, (size_t)len), dma);
    for (size_t i = 0; i < len; i += i % PAGE == 0 ? PAGE - 4 : 1)
        CHECK_EQ(bytes[i], dma == GUESTMEM_OK ? map->owner[first + (i + 3) / PAGE] : 0);
    for (size_t i = 0; i < slice_count; at += slices[i++].len)
        CHECK(slices[i].addr == host_of(map->mem, addr + at));
    CHECK_EQ(at, dma == GUESTMEM_OK ? len : 0);
}

static void check_all(struct map *map)
{
    const struct guestmem_view view = view_of(map->mem);
    CHECK(guestmem_view_is_current(&view, map->mem));
    check_regions(map);
    check_addresses(map, &view);
    for (size_t first = 0; first < PAGES; first++)
        for (size_t count = 1; first + count <= PAGES; count++)
            if (!fast() || first % 4 == 0) check_run(map, first, count);
}

/* --- changes ------------------------------------------------------------------------------- */

static uint8_t unused_id(const struct map *map)
{
    static uint8_t id;
    do id = id % 255 + 1;
    while (memchr(map->owner, id, PAGES) != NULL);
    return id;
}

static void add(struct map *map, size_t first, size_t count, uint64_t flags)
{
    const uint64_t generation = guestmem_generation(map->mem);
    const bool fits = free_pages(map, first, count);
    struct guestmem_region *region = new_region(addr_of(first), count * PAGE, flags);
    CHECK_CODE(guestmem_add_region(map->mem, region), fits ? GUESTMEM_OK : GUESTMEM_E_OVERLAP);
    CHECK_EQ(guestmem_generation(map->mem), generation + fits);
    if (fits) {
        const uint8_t id = unused_id(map);
        struct part *part = map->part;
        while (part->id != 0) part++;
        part->id = id, part->start = addr_of(first), part->size = count * PAGE;
        part->host = host_of(map->mem, part->start), part->region = region;
        memset(part->host, id, (size_t)part->size);
        memset(map->owner + first, id, count);
    }
    guestmem_region_unref(region);
}

static void remove_at(struct map *map, size_t page)
{
    const uint64_t generation = guestmem_generation(map->mem), addr = addr_of(page);
    struct part *part = part_of(map, page);
    struct guestmem_region *removed = (void *)(uintptr_t)0x5a5a;
    const bool starts = part != NULL && part->start == addr;
    CHECK_CODE(guestmem_remove_region(map->mem, addr, &removed),
               starts ? GUESTMEM_OK : GUESTMEM_E_NOT_FOUND);
    CHECK_EQ(guestmem_generation(map->mem), generation + starts);
    CHECK(removed == (starts ? part->region : NULL));
    if (!starts) return;
    CHECK(part->host[0] == part->id && part->host[part->size - 1] == part->id);
    memset(map->owner + page, 0, part->size / PAGE);
    part->id = 0;
    guestmem_region_unref(removed);
}

int main(void)
{
    const unsigned changes = fast() ? 40 : 1000;
    struct map map;
    uint64_t state = 20;
    memset(&map, 0, sizeof map);
    map.mem = check_new(NULL, 0);
    CHECK_EQ(guestmem_generation(map.mem), 0);
    check_all(&map);
    for (unsigned change = 0; change < changes; change++) {
        const size_t page = random_number(&state) % PAGES, most = random_number(&state) % MOST + 1;
        const size_t count = most < PAGES - page ? most : PAGES - page;
        if (random_number(&state) % 5 < 2)
            remove_at(&map, page);
        else
            add(&map, page, count, change % 3 == 0 ? GUESTMEM_REGION_PRIVATE : 0);
        check_all(&map);
    }
    for (size_t page = 0; page < PAGES; page++) remove_at(&map, page);
    CHECK_EQ(guestmem_num_regions(map.mem), 0);
    check_all(&map);
    guestmem_unref(map.mem);
    return check_result();
}
