/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Getting a view of guest memory, and its pointers at every edge, against the ordinary translation
 * and a naive one.
 * runs: asan valgrind qemu musl */
#include "support/maps.h"

/* What a program from the future might know of a view that we do not. */
#define TAIL 64

static const size_t full = sizeof(struct guestmem_view);

static struct guestmem_view view_of(const struct guestmem *mem)
{
    struct guestmem_view view;
    memset(&view, 0xee, sizeof view);
    CHECK_OK(guestmem_get_view(mem, &view, sizeof view));
    return view;
}

/* --- views that know nothing --------------------------------------------------------------- */

#define REFUSES_VALUES(W)                                                                         \
    static void refuses_u##W(const struct guestmem_view *view, uint64_t addr)                     \
    {                                                                                             \
        uint##W##_t out = 77;                                                                     \
        CHECK(!guestmem_view_read_u##W(view, addr, &out) && out == 0);                            \
        out = 77;                                                                                 \
        CHECK(!guestmem_view_read_u##W##_fn(view, addr, &out) && out == 0);                       \
        out = 77;                                                                                 \
        CHECK(!guestmem_view_load_u##W(view, addr, GUESTMEM_ACQUIRE, &out) && out == 0);          \
        out = 77;                                                                                 \
        CHECK(!guestmem_view_load_u##W##_fn(view, addr, GUESTMEM_ACQUIRE, &out) && out == 0);     \
        CHECK(!guestmem_view_write_u##W(view, addr, 1));                                          \
        CHECK(!guestmem_view_write_u##W##_fn(view, addr, 1));                                     \
        CHECK(!guestmem_view_store_u##W(view, addr, 1, GUESTMEM_RELEASE));                        \
        CHECK(!guestmem_view_store_u##W##_fn(view, addr, 1, GUESTMEM_RELEASE));                   \
    }

REFUSES_VALUES(8)
REFUSES_VALUES(16)
REFUSES_VALUES(32)
REFUSES_VALUES(64)

static void refuses_everything(const struct guestmem_view *view)
{
    static const uint64_t addresses[] = { 0, 8, 0x1000, 0x10000, (uint64_t)1 << 32, UINT64_MAX };
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        static const uint64_t lengths[] = { 0, 1, 8, PAGE, UINT64_MAX };
        for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++) {
            CHECK(guestmem_view_ptr(view, addresses[i], lengths[j]) == NULL);
            CHECK(guestmem_view_ptr_fn(view, addresses[i], lengths[j]) == NULL);
            CHECK(guestmem_view_ptr_writable(view, addresses[i], lengths[j]) == NULL);
            CHECK(guestmem_view_ptr_writable_fn(view, addresses[i], lengths[j]) == NULL);
        }
        refuses_u8(view, addresses[i]);
        refuses_u16(view, addresses[i]);
        refuses_u32(view, addresses[i]);
        refuses_u64(view, addresses[i]);
    }
}

static void is_current_for(const struct guestmem_view *view, const struct guestmem *mem,
                           bool answer)
{
    CHECK(guestmem_view_is_current(view, mem) == answer);
    CHECK(guestmem_view_is_current_fn(view, mem) == answer);
}

static void a_zeroed_view(const struct guestmem *mem)
{
    struct guestmem_view none;
    memset(&none, 0, sizeof none);
    refuses_everything(&none);
    is_current_for(&none, mem, false);
    is_current_for(&none, NULL, false);
}

static void memory_without_regions(void)
{
    struct guestmem *mem = check_new(NULL, 0);
    struct guestmem_view view = view_of(mem);
    refuses_everything(&view);
    is_current_for(&view, mem, true);
    guestmem_unref(mem);
}

/* --- getting one --------------------------------------------------------------------------- */

/* As large as a caller's struct may be, and what must stay as it is behind it. */
static union {
    struct guestmem_view view;
    uint8_t bytes[sizeof(struct guestmem_view) + 2 * TAIL];
} place;

static void poison(void)
{
    memset(&place, 0xee, sizeof place);
}

static bool bytes_are(size_t from, size_t to, uint8_t byte)
{
    for (size_t i = from; i < to; i++)
        if (place.bytes[i] != byte) return false;
    return true;
}

static void sizes(const struct guestmem *mem, uint64_t addr)
{
    CHECK(full <= 64);
    for (size_t size = 0; size < full; size++) {
        poison();
        CHECK_CODE(guestmem_get_view(mem, &place.view, size), GUESTMEM_E_INVALID_ARGUMENT);
        CHECK(bytes_are(size, sizeof place, 0xee));
    }
    for (size_t size = full; size <= full + TAIL; size++) {
        poison();
        CHECK_OK(guestmem_get_view(mem, &place.view, size));
        CHECK(bytes_are(full, size, 0));
        CHECK(bytes_are(size, sizeof place, 0xee));
        CHECK(guestmem_view_ptr(&place.view, addr, 1) != NULL);
        is_current_for(&place.view, mem, true);
    }
    CHECK_CODE(guestmem_get_view(mem, NULL, full), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_get_view(mem, NULL, 0), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_get_view(mem, NULL, SIZE_MAX), GUESTMEM_E_INVALID_ARGUMENT);
}

/* Whoever overlooks the failure has a view that refuses everything. */
static void a_bad_handle(const struct guestmem *bad)
{
    for (size_t size = 0; size <= full + TAIL; size++) {
        poison();
        CHECK_CODE(guestmem_get_view(bad, &place.view, size), GUESTMEM_E_BAD_HANDLE);
        CHECK(bytes_are(size, sizeof place, 0xee));
        if (size < full) continue;
        CHECK(bytes_are(0, full, 0));
        refuses_everything(&place.view);
    }
    CHECK_CODE(guestmem_get_view(bad, NULL, full), GUESTMEM_E_BAD_HANDLE);
}

static void bad_handles(void)
{
    static uint64_t zeros[64];
    struct guestmem_region_options options;
    struct guestmem_region *region = NULL;
    struct guestmem *released = check_new(NULL, 0);
    memset(&options, 0, sizeof options);
    options.size = PAGE;
    REQUIRE(guestmem_region_new(&options, sizeof options, &region) == GUESTMEM_OK);
    guestmem_unref(released);
    a_bad_handle(NULL);
    a_bad_handle(released);
    a_bad_handle((const struct guestmem *)(const void *)region);
    a_bad_handle((const struct guestmem *)(const void *)zeros);
    guestmem_region_unref(region);
}

static void whose_view_it_is(const struct guestmem *mem)
{
    static const struct guestmem_range range = { 0x10000, PAGE };
    struct guestmem *other = check_new(&range, 1);
    struct guestmem_view mine = view_of(mem), others = view_of(other), copy = mine;
    is_current_for(&mine, mem, true);
    is_current_for(&copy, mem, true);
    is_current_for(&others, other, true);
    is_current_for(&mine, other, false);
    is_current_for(&others, mem, false);
    is_current_for(&mine, NULL, false);
    copy.generation++;
    is_current_for(&copy, mem, false);
    CHECK(!guestmem_view_is_current_fn(NULL, mem));
    CHECK(!guestmem_view_is_current_fn(NULL, NULL));
    guestmem_unref(other);
}

/* What happens to other handles and other memories is no concern of a view. */
static void a_view_outlives_others(struct guestmem *mem, uint64_t addr)
{
    static const struct guestmem_range range = { 0x10000, PAGE };
    struct guestmem_view view = view_of(mem);
    void *host = guestmem_view_ptr(&view, addr, 8);
    CHECK(host != NULL);
    for (int i = 0; i < 100; i++) {
        uint64_t value = 0;
        struct guestmem *again = guestmem_ref(mem), *other = check_new(&range, 1);
        struct guestmem_view others = view_of(other), second = view_of(mem);
        CHECK(guestmem_view_write_u64(&second, addr, (uint64_t)i + 1));
        CHECK(guestmem_view_ptr(&others, 0x10000, 8) != host);
        guestmem_unref(other);
        guestmem_unref(again);
        CHECK(guestmem_view_read_u64(&view, addr, &value) && value == (uint64_t)i + 1);
        CHECK(guestmem_view_ptr(&view, addr, 8) == host);
        is_current_for(&view, mem, true);
    }
    CHECK(guestmem_view_write_u64(&view, addr, 0));
}

/* Handles come round again: the view of what had this one before must not pass for its successor's. */
static void a_view_of_what_is_gone(void)
{
    const struct guestmem_range range = { 0x1000, 0x1000 };
    struct guestmem *gone = check_new(&range, 1), *next = NULL;
    struct guestmem_view view = view_of(gone);
    guestmem_unref(gone);
    is_current_for(&view, gone, false);
    for (int i = 0; i < 200 && next != gone; i++) {
        next = check_new(&range, 1);
        is_current_for(&view, next, false);
        guestmem_unref(next);
    }
    CHECK(next == gone);
}

static void regions_in_two_memories(void)
{
    struct guestmem_region_options options;
    struct guestmem_region *regions[2] = { NULL, NULL };
    struct guestmem *both = NULL, *one = NULL;
    struct guestmem_view of_both, of_one;
    uint64_t value = 0;
    memset(&options, 0, sizeof options);
    for (size_t i = 0; i < 2; i++) {
        options.guest_addr = 0x10000 + i * 0x3000;
        options.size = PAGE;
        REQUIRE(guestmem_region_new(&options, sizeof options, &regions[i]) == GUESTMEM_OK);
    }
    REQUIRE(guestmem_from_regions(regions, 2, &both) == GUESTMEM_OK);
    REQUIRE(guestmem_from_regions(regions + 1, 1, &one) == GUESTMEM_OK);
    guestmem_region_unref(regions[0]);
    guestmem_region_unref(regions[1]);
    of_both = view_of(both);
    of_one = view_of(one);
    CHECK(guestmem_view_ptr(&of_both, 0x10000, 8) != NULL);
    CHECK(guestmem_view_ptr(&of_one, 0x10000, 8) == NULL);
    CHECK(guestmem_view_ptr(&of_one, 0x13000, 8) == guestmem_view_ptr(&of_both, 0x13000, 8));
    CHECK(guestmem_view_write_u64(&of_both, 0x13010, 42));
    guestmem_unref(both);
    CHECK(guestmem_view_read_u64(&of_one, 0x13010, &value) && value == 42);
    is_current_for(&of_one, one, true);
    guestmem_unref(one);
}

/* --- pointers ------------------------------------------------------------------------------ */

static void pointer(const struct map *map, const struct guestmem_view *view, uint64_t addr,
                    uint64_t len)
{
    void *expected = map_host(map, addr, len), *ordinary = &place;
    int failures = check_failures;
    CHECK(guestmem_view_ptr(view, addr, len) == expected);
    CHECK(guestmem_view_ptr_fn(view, addr, len) == expected);
    CHECK((guestmem_get_host_address_range(map->mem, addr, len, &ordinary) == GUESTMEM_OK) ==
          (expected != NULL));
    CHECK(ordinary == expected);
    expected = map_host_writable(map, addr, len);
    CHECK(guestmem_view_ptr_writable(view, addr, len) == expected);
    CHECK(guestmem_view_ptr_writable_fn(view, addr, len) == expected);
    if (check_failures != failures && check_failures <= 20)
        fprintf(stderr, "  address 0x%" PRIx64 ", length 0x%" PRIx64 "\n", addr, len);
}

static void pointers_from(const struct map *map, const struct guestmem_view *view, uint64_t addr)
{
    static const uint64_t lengths[] = { 0, 1, 2, 7, 8, 9, PAGE - 1, PAGE, PAGE + 1,
                                        (uint64_t)1 << 32, (uint64_t)1 << 63, UINT64_MAX };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        pointer(map, view, addr, lengths[i]);
    /* Up to each edge of each region, to 2^64, and one byte less and more. */
    for (uint64_t less = 0; less < 3; less++) {
        pointer(map, view, addr, 1 - addr - less);
        for (size_t i = 0; i < map->count; i++) {
            pointer(map, view, addr, map->regions[i].base - addr + 1 - less);
            pointer(map, view, addr, map->regions[i].base + map->regions[i].size - addr + 1 - less);
        }
    }
}

static void pointers(const struct map *map)
{
    static const uint64_t anywhere[] = { 0, 1, PAGE, (uint64_t)1 << 31, (uint64_t)1 << 32,
                                         (uint64_t)1 << 40, (uint64_t)1 << 63, UINT64_MAX - PAGE,
                                         UINT64_MAX - 7, UINT64_MAX - 1, UINT64_MAX };
    const struct guestmem_view view = view_of(map->mem);
    for (size_t i = 0; i < sizeof anywhere / sizeof *anywhere; i++)
        pointers_from(map, &view, anywhere[i]);
    for (size_t i = 0; i < map->count; i++)
        for (int distance = -8; distance <= 8; distance++) {
            uint64_t near = map->regions[i].base + (uint64_t)distance;
            pointers_from(map, &view, near);
            pointers_from(map, &view, near + map->regions[i].size);
        }
}

static void layouts(void)
{
    static const struct map made[] = {
        { .count = 1, .regions = { { .size = PAGE } } },
        { .count = 3, .regions = { { .base = 0x10000, .size = PAGE },
              { .base = 0x11000, .size = 3 * PAGE, .read_only = true },
              { .base = 0x14000, .size = PAGE } } },
        { .count = 3, .regions = { { .base = 0x10000, .size = 2 * PAGE },
              { .base = 0x13000, .size = PAGE }, { .base = 0x15000, .size = PAGE } } },
        { .count = 4, .regions = { { .size = PAGE },
              { .base = ((uint64_t)1 << 32) - PAGE, .size = 2 * PAGE },
              { .base = (uint64_t)1 << 63, .size = PAGE },
              { .base = UINT64_MAX - 2 * PAGE + 1, .size = PAGE } } },
    };
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        struct map map = made[i];
        map_make(&map);
        pointers(&map);
        map_free(&map);
    }
}

/* A machine as they are: a ROM that ends at 4 GiB, RAM from there on far up, a small window above.
 * No map of a bearable size has a chunk that starts where the ROM does. */
static void a_machine(void)
{
    const uint64_t four_gib = (uint64_t)1 << 32, tib = (uint64_t)1 << 40;
    struct map map = { .count = 5 };
    struct guestmem_view view;
    uint32_t value = 0;
    const uint64_t rom = four_gib - 0x40000;
    map.regions[0].size = 0xa0000;
    map.regions[1].base = 0x100000, map.regions[1].size = 0x3ff0000;
    map.regions[2].base = rom, map.regions[2].size = 0x40000, map.regions[2].read_only = true;
    map.regions[3].base = four_gib, map.regions[3].size = fast() ? 0x4000000 : tib;
    map.regions[4].base = 2 * tib - 0x3000, map.regions[4].size = 0x3000;
    map_make(&map);
    pointers(&map);

    view = view_of(map.mem);
    memset(map.regions[2].host, 0x5a, 0x40000);
    CHECK(guestmem_view_ptr(&view, rom, 0x40000) == map.regions[2].host);
    CHECK(guestmem_view_ptr_writable(&view, rom, 0x40000) == NULL);
    CHECK(guestmem_view_ptr_writable(&view, four_gib - 1, 1) == NULL);
    CHECK(guestmem_view_ptr_writable(&view, four_gib, 8) == map.regions[3].host);
    CHECK(guestmem_view_ptr_writable(&view, 2 * tib - 0x3000, 0x3000) == map.regions[4].host);
    CHECK(guestmem_view_read_u32(&view, four_gib - 4, &value) && value == 0x5a5a5a5a);
    CHECK(guestmem_view_load_u32(&view, rom, GUESTMEM_ACQUIRE, &value) && value == 0x5a5a5a5a);
    CHECK(!guestmem_view_write_u32(&view, rom, 1));
    CHECK(!guestmem_view_store_u32(&view, four_gib - 4, 1, GUESTMEM_RELAXED));
    CHECK(guestmem_view_read_u32(&view, rom, &value) && value == 0x5a5a5a5a);
    /* Two regions that touch, one of them read-only. */
    CHECK(!guestmem_view_read_u32(&view, four_gib - 2, &value) && value == 0);
    CHECK(!guestmem_view_write_u32(&view, four_gib - 2, 1));
    CHECK(guestmem_view_write_u32(&view, four_gib, 7));
    CHECK(guestmem_view_write_u32(&view, 2 * tib - 4, 8));
    CHECK(guestmem_view_read_u32(&view, four_gib, &value) && value == 7);
    CHECK(guestmem_view_read_u32(&view, 2 * tib - 4, &value) && value == 8);

    /* Without the table a view knows less, but nothing wrong. */
    view.table = NULL;
    CHECK(guestmem_view_ptr(&view, 0, PAGE) == map.regions[0].host);
    CHECK(guestmem_view_ptr_writable(&view, 0, PAGE) == map.regions[0].host);
    CHECK(guestmem_view_ptr(&view, rom, PAGE) == NULL);
    CHECK(guestmem_view_ptr_fn(&view, rom, PAGE) == NULL);
    CHECK(!guestmem_view_read_u32(&view, rom, &value) && value == 0);
    map_free(&map);
}

int main(void)
{
    static const struct guestmem_range range = { 0x1000, 4 * PAGE };
    struct guestmem *mem = check_new(&range, 1);
    errno = 4711;
    sizes(mem, range.guest_addr);
    bad_handles();
    a_zeroed_view(mem);
    memory_without_regions();
    whose_view_it_is(mem);
    a_view_outlives_others(mem, range.guest_addr + 8);
    a_view_of_what_is_gone();
    regions_in_two_memories();
    CHECK_EQ(errno, 4711);
    layouts();
    a_machine();
    guestmem_unref(mem);
    return check_result();
}
