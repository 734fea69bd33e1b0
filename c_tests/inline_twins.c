/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Every inline function, its exported twin (linked, and found by dlsym) and the ordinary call give
 * the same answer, which is also a naive one: in random maps, mostly at the edges of regions. After
 * each write all of guest memory is compared with what it must hold.
 *
 * The first argument is the seed, which a failure prints.
 * runs: asan valgrind qemu */
#include "support/inline_functions.h"
#include "support/maps.h"
#include <dlfcn.h>

static struct map map;
static struct guestmem_view view;
static uint8_t shadow[MAP_REGIONS][2 * 4096];
static uint64_t seed, state;
static bool shared; /* whether dlsym can find the library's functions */

static uint64_t below(uint64_t bound)
{
    return random_number(&state) % bound;
}

/* Of any magnitude. */
static uint64_t any_number(void)
{
    uint64_t bits = below(64);
    return random_number(&state) >> bits;
}

#define SAME(condition)                                                                           \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            check_fail(__FILE__, __LINE__, #condition);                                           \
            explain(__func__, addr);                                                              \
        }                                                                                         \
    } while (0)

static void explain(const char *function, uint64_t addr)
{
    if (check_failures > 20) return;
    fprintf(stderr, "  in %s, at 0x%" PRIx64 ", seed %" PRIu64 ", map", function, addr, seed);
    for (size_t i = 0; i < map.count; i++)
        fprintf(stderr, " 0x%" PRIx64 "+0x%" PRIx64 "%s", map.regions[i].base, map.regions[i].size,
                map.regions[i].read_only ? "(read-only)" : "");
    fprintf(stderr, "\n");
}

static uint8_t *held_at(uint64_t addr)
{
    const struct map_region *region = map_find(&map, addr);
    return &shadow[region - map.regions][addr - region->base];
}

static bool memory_is_as_it_should_be(void)
{
    for (size_t i = 0; i < map.count; i++)
        if (memcmp(map.regions[i].host, shadow[i], (size_t)map.regions[i].size) != 0) return false;
    return true;
}

/* --- functions found when the program runs -------------------------------------------------- */

/* Keeps the linked function where the program has the library inside. */
static void look_up(const char *name, void *function)
{
    void *symbol = dlsym(RTLD_DEFAULT, name);
    REQUIRE(shared == (symbol != NULL));
    if (shared) memcpy(function, &symbol, sizeof symbol);
}

static void *(*found_ptr)(const struct guestmem_view *, uint64_t, uint64_t) = guestmem_view_ptr_fn;
static void *(*found_ptr_writable)(const struct guestmem_view *, uint64_t,
                                   uint64_t) = guestmem_view_ptr_writable_fn;
static bool (*found_is_current)(const struct guestmem_view *,
                                const struct guestmem *) = guestmem_view_is_current_fn;

/* --- views --------------------------------------------------------------------------------- */

static void pointers(uint64_t addr, uint64_t len)
{
    void *expected = map_host(&map, addr, len), *ordinary = &map;
    SAME(guestmem_view_ptr(&view, addr, len) == expected);
    SAME(guestmem_view_ptr_fn(&view, addr, len) == expected);
    SAME(found_ptr(&view, addr, len) == expected);
    SAME((guestmem_get_host_address_range(map.mem, addr, len, &ordinary) == GUESTMEM_OK) ==
         (expected != NULL));
    SAME(ordinary == expected);
}

static void pointers_to_write(uint64_t addr, uint64_t len)
{
    void *expected = map_host_writable(&map, addr, len), *ordinary = &map;
    SAME(guestmem_view_ptr_writable(&view, addr, len) == expected);
    SAME(guestmem_view_ptr_writable_fn(&view, addr, len) == expected);
    SAME(found_ptr_writable(&view, addr, len) == expected);
    SAME((guestmem_get_host_address_range_writable(map.mem, addr, len, &ordinary) ==
          GUESTMEM_OK) == (expected != NULL));
    SAME(ordinary == expected);
}

/* The compiler may treat a length that it knows in another way. */
static void pointers_of_constant_length(uint64_t addr)
{
    SAME(guestmem_view_ptr(&view, addr, 0) == NULL);
    SAME(guestmem_view_ptr(&view, addr, 1) == map_host(&map, addr, 1));
    SAME(guestmem_view_ptr(&view, addr, 24) == map_host(&map, addr, 24));
    SAME(guestmem_view_ptr(&view, addr, 4096) == map_host(&map, addr, 4096));
    SAME(guestmem_view_ptr(&view, addr, (uint64_t)INT64_MAX) == NULL);
    SAME(guestmem_view_ptr(&view, addr, (uint64_t)1 << 63) == NULL);
    SAME(guestmem_view_ptr(&view, addr, UINT64_MAX) == NULL);
    SAME(guestmem_view_ptr_writable(&view, addr, 0) == NULL);
    SAME(guestmem_view_ptr_writable(&view, addr, 1) == map_host_writable(&map, addr, 1));
    SAME(guestmem_view_ptr_writable(&view, addr, 24) == map_host_writable(&map, addr, 24));
    SAME(guestmem_view_ptr_writable(&view, addr, 4096) == map_host_writable(&map, addr, 4096));
    SAME(guestmem_view_ptr_writable(&view, addr, (uint64_t)INT64_MAX) == NULL);
    SAME(guestmem_view_ptr_writable(&view, addr, (uint64_t)1 << 63) == NULL);
    SAME(guestmem_view_ptr_writable(&view, addr, UINT64_MAX) == NULL);
}

/* A value comes out, or 0 and false. */
#define GETS(call)                                                                                \
    do {                                                                                          \
        out = poisoned;                                                                           \
        SAME((call) == can);                                                                      \
        SAME(out == (can ? expected : 0));                                                        \
    } while (0)

/* A new value goes in, or nothing does. */
#define PUTS(call)                                                                                \
    do {                                                                                          \
        random = random_number(&state);                                                           \
        memcpy(&value, &random, sizeof value);                                                    \
        SAME((call) == can);                                                                      \
        if (can) memcpy(held_at(addr), &value, sizeof value);                                   \
        SAME(memory_is_as_it_should_be());                                                        \
    } while (0)

#define TWINS(W)                                                                                  \
    static struct functions_u##W found_u##W = FUNCTIONS(W, _fn);                                  \
                                                                                                  \
    static void look_up_u##W(void)                                                                \
    {                                                                                             \
        look_up("guestmem_view_read_u" #W "_fn", &found_u##W.read);                               \
        look_up("guestmem_view_write_u" #W "_fn", &found_u##W.write);                             \
        look_up("guestmem_view_load_u" #W "_fn", &found_u##W.load);                               \
        look_up("guestmem_view_store_u" #W "_fn", &found_u##W.store);                             \
        look_up("guestmem_slice_load_u" #W "_fn", &found_u##W.slice_load);                        \
        look_up("guestmem_slice_store_u" #W "_fn", &found_u##W.slice_store);                      \
    }                                                                                             \
                                                                                                  \
    static const uint##W##_t poisoned_u##W = (uint##W##_t)UINT64_C(0xa5a5a5a5a5a5a5a5);           \
                                                                                                  \
    static void reads_u##W(uint64_t addr, uint32_t order)                                         \
    {                                                                                             \
        const bool inside = map_room(&map, addr) >= W / 8;                                        \
        const uint##W##_t poisoned = poisoned_u##W;                                               \
        uint##W##_t out, expected = 0;                                                            \
        bool can = inside;                                                                        \
        if (inside) memcpy(&expected, held_at(addr), sizeof expected);                          \
        GETS(guestmem_view_read_u##W(&view, addr, &out));                                         \
        GETS(guestmem_view_read_u##W##_fn(&view, addr, &out));                                    \
        GETS(found_u##W.read(&view, addr, &out));                                                 \
        GETS(guestmem_read_u##W(map.mem, addr, &out) == GUESTMEM_OK);                             \
        can = inside && addr % (W / 8) == 0 && load_order(order);                                 \
        GETS(guestmem_view_load_u##W(&view, addr, order, &out));                                  \
        GETS(guestmem_view_load_u##W##_fn(&view, addr, order, &out));                             \
        GETS(found_u##W.load(&view, addr, order, &out));                                          \
        GETS(guestmem_load_u##W(map.mem, addr, order, &out) == GUESTMEM_OK);                      \
    }                                                                                             \
                                                                                                  \
    static void writes_u##W(uint64_t addr, uint32_t order)                                        \
    {                                                                                             \
        const bool inside = map_room(&map, addr) >= W / 8 && !map_read_only(&map, addr);          \
        uint64_t random;                                                                          \
        uint##W##_t value;                                                                        \
        bool can = inside;                                                                        \
        PUTS(guestmem_view_write_u##W(&view, addr, value));                                       \
        PUTS(guestmem_view_write_u##W##_fn(&view, addr, value));                                  \
        PUTS(found_u##W.write(&view, addr, value));                                               \
        PUTS(guestmem_write_u##W(map.mem, addr, value) == GUESTMEM_OK);                           \
        can = inside && addr % (W / 8) == 0 && store_order(order);                                \
        PUTS(guestmem_view_store_u##W(&view, addr, value, order));                                \
        PUTS(guestmem_view_store_u##W##_fn(&view, addr, value, order));                           \
        PUTS(found_u##W.store(&view, addr, value, order));                                        \
        PUTS(guestmem_store_u##W(map.mem, addr, value, order) == GUESTMEM_OK);                    \
    }                                                                                             \
                                                                                                  \
    /* A slice whose first byte is the guest's at `start`. The ordinary call knows nothing of its \
     * end. */                                                                                    \
    static void slices_u##W(struct guestmem_slice slice, uint64_t start, size_t offset,           \
                            uint32_t order)                                                       \
    {                                                                                             \
        const uint64_t addr = start + offset;                                                     \
        const bool inside = slice.addr != NULL && offset <= slice.len &&                          \
                            slice.len - offset >= W / 8 && addr % (W / 8) == 0;                   \
        const uint##W##_t poisoned = poisoned_u##W;                                               \
        uint##W##_t value, out, expected = 0;                                                     \
        uint64_t random;                                                                          \
        bool can = inside && load_order(order);                                                   \
        if (inside) memcpy(&expected, held_at(addr), sizeof expected);                          \
        GETS(guestmem_slice_load_u##W(slice, offset, order, &out));                               \
        GETS(guestmem_slice_load_u##W##_fn(slice, offset, order, &out));                          \
        GETS(found_u##W.slice_load(slice, offset, order, &out));                                  \
        if (inside) GETS(guestmem_load_u##W(map.mem, addr, order, &out) == GUESTMEM_OK);          \
        can = inside && store_order(order);                                                       \
        PUTS(guestmem_slice_store_u##W(slice, offset, value, order));                             \
        PUTS(guestmem_slice_store_u##W##_fn(slice, offset, value, order));                        \
        PUTS(found_u##W.slice_store(slice, offset, value, order));                                \
        if (inside) PUTS(guestmem_store_u##W(map.mem, addr, value, order) == GUESTMEM_OK);        \
    }

TWINS(8)
TWINS(16)
TWINS(32)
TWINS(64)

static void values_at(uint64_t addr, uint32_t order)
{
    reads_u8(addr, order);
    reads_u16(addr, order);
    reads_u32(addr, order);
    reads_u64(addr, order);
    writes_u8(addr, order);
    writes_u16(addr, order);
    writes_u32(addr, order);
    writes_u64(addr, order);
}

static void slice_at(struct guestmem_slice slice, uint64_t start, size_t offset, uint32_t order)
{
    slices_u8(slice, start, offset, order);
    slices_u16(slice, start, offset, order);
    slices_u32(slice, start, offset, order);
    slices_u64(slice, start, offset, order);
}

static void look_everything_up(void)
{
    shared = dlsym(RTLD_DEFAULT, "guestmem_new") != NULL;
    look_up("guestmem_view_ptr_fn", &found_ptr);
    look_up("guestmem_view_ptr_writable_fn", &found_ptr_writable);
    look_up("guestmem_view_is_current_fn", &found_is_current);
    look_up_u8();
    look_up_u16();
    look_up_u32();
    look_up_u64();
}

/* --- maps ---------------------------------------------------------------------------------- */

/* Where the next region starts: mostly where the last one ended or a few pages on, now and then so
 * far up that no map of a bearable size knows each page. */
static uint64_t next_base(uint64_t end)
{
    uint64_t kind = below(10), power = PAGE << below(52);
    if (kind < 5) return end;
    if (kind < 8) return end + PAGE * (1 + below(kind == 7 ? 64 : 2));
    return power < end + 2 * PAGE ? end : power - below(3) * PAGE;
}

static void random_map(void)
{
    static const uint64_t starts[] = { 0, PAGE, 0x10000, 0xfffff000, (uint64_t)1 << 46 };
    const uint64_t top = UINT64_MAX - 3 * PAGE + 1, wanted = 1 + below(MAP_REGIONS);
    uint64_t base = starts[below(sizeof starts / sizeof *starts)];
    memset(&map, 0, sizeof map);
    while (map.count < wanted) {
        struct map_region *region = &map.regions[map.count];
        if (base > top || (map.count + 1 == wanted && below(8) == 0)) base = top;
        region->base = base;
        region->size = PAGE * (1 + below(2));
        region->read_only = below(4) == 0;
        map.count++;
        if (base == top) break;
        base = next_base(base + region->size);
    }
    map_make(&map);
    for (size_t i = 0; i < map.count; i++) {
        fill_random(shadow[i], (size_t)map.regions[i].size, state);
        memcpy(map.regions[i].host, shadow[i], (size_t)map.regions[i].size);
    }
    CHECK_OK(guestmem_get_view(map.mem, &view, sizeof view));
}

static uint64_t random_address(void)
{
    const struct map_region *region = &map.regions[below(map.count)];
    uint64_t kind = below(10), edge = region->base + (below(2) ? region->size : 0);
    if (kind < 7) return edge + below(17) - 8;
    if (kind < 8) return region->base + below(region->size);
    if (kind < 9) return any_number();
    return below(20) - 10;
}

static uint64_t random_length(uint64_t addr)
{
    uint64_t kind = below(4);
    if (kind == 0) return below(10);
    if (kind == 1) return map_room(&map, addr) + below(3) - 1;
    if (kind == 2) return below(3) - 1 - addr;
    return any_number();
}

static uint32_t random_order(void)
{
    static const uint32_t wild[] = { 7, 8, 100, 255, 0x100, 0x102, 0x10000, 0x80000000,
                                     0x80000002, UINT32_MAX };
    uint64_t kind = below(10);
    if (kind == 0) return wild[below(sizeof wild / sizeof *wild)];
    return (uint32_t)(kind < 4 ? below(7) : kind < 8 ? kind / 2 : GUESTMEM_SEQ_CST);
}

static void every_order(void)
{
    for (size_t i = 0; i < map.count; i++)
        for (uint32_t order = 0; order <= 6; order++)
            for (uint64_t distance = 0; distance < 2; distance++)
                values_at(map.regions[i].base + 8 - distance, order);
}

static size_t random_offset(size_t len)
{
    uint64_t kind = below(5);
    if (kind == 0) return (size_t)below(10);
    if (kind == 1) return len + (size_t)below(18) - 9;
    if (kind == 2) return (size_t)below(len + 1);
    return kind == 3 ? (size_t)0 - (size_t)below(32) : (size_t)any_number();
}

/* A slice of a writable region, from anywhere in it, of any length; and one without an address. */
static void random_slice(void)
{
    const struct map_region *region = &map.regions[below(map.count)];
    const uint64_t from = below(32);
    struct guestmem_slice slice;
    slice.addr = NULL;
    slice.len = below(2) ? 0 : 64;
    slice_at(slice, 0, random_offset(slice.len), GUESTMEM_RELAXED);
    if (region->read_only) return;
    slice.addr = region->host + from;
    slice.len = (size_t)(below(2) ? below(40) : region->size - from);
    for (int i = 0; i < 4; i++) {
        size_t offset = random_offset(slice.len);
        slice_at(slice, region->base + from, offset, random_order());
    }
}

static void one_map(void)
{
    random_map();
    CHECK(guestmem_view_is_current(&view, map.mem));
    CHECK(guestmem_view_is_current_fn(&view, map.mem));
    CHECK(found_is_current(&view, map.mem));
    for (int i = 0; i < (fast() ? 10 : 60); i++) {
        uint64_t addr = random_address();
        for (int j = 0; j < 4; j++) {
            uint64_t len = random_length(addr);
            pointers(addr, len);
            pointers_to_write(addr, len);
        }
        pointers_of_constant_length(addr);
        values_at(addr, random_order());
    }
    for (int i = 0; i < (fast() ? 3 : 15); i++) random_slice();
    if (!fast()) every_order();
    CHECK(guestmem_view_is_current(&view, map.mem));
    map_free(&map);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240917;
    state = seed * 2 + 1;
    look_everything_up();
    for (int i = 0; i < (fast() ? 20 : 300); i++) one_map();
    return check_result();
}
