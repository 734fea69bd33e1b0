/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Bulk access against a byte-by-byte model of the same memory: around every region edge, with
 * lengths from 0 to those that wrap, and after each call all of memory is compared.
 * runs: asan valgrind qemu musl */
#include "support/guest.h"

static struct world world;

/* ---- what the contract says, one byte at a time ---- */

/* Zero length is a rule of its own. */
static int expected_for_nothing(uint64_t addr)
{
    return area_at(&world, addr) || is_an_end(&world, addr) ? GUESTMEM_OK
                                                            : GUESTMEM_E_INVALID_ADDRESS;
}

static uint64_t room_at(uint64_t addr)
{
    const struct area *area = area_at(&world, addr);
    return area == NULL ? 0 : area->start + area->size - addr;
}

/* How far memory goes on from here, through regions that touch. */
static uint64_t dma_room_at(uint64_t addr)
{
    uint64_t room = 0;
    while (room_at(addr + room) != 0) room += room_at(addr + room);
    return room;
}

static bool writable(uint64_t addr, uint64_t len)
{
    uint64_t i;
    for (i = 0; i < len; i++)
        if (area_at(&world, addr + i)->read_only) return false;
    return true;
}

static int expected_dma(uint64_t addr, uint64_t len, bool write)
{
    if (len == 0) return expected_for_nothing(addr);
    if (area_at(&world, addr) == NULL) return GUESTMEM_E_INVALID_ADDRESS;
    if (len > dma_room_at(addr)) return GUESTMEM_E_INVALID_RANGE;
    return write && !writable(addr, len) ? GUESTMEM_E_READ_ONLY : GUESTMEM_OK;
}

static int expected_all(uint64_t addr, uint64_t len, bool write)
{
    if (len == 0) return expected_for_nothing(addr);
    if (area_at(&world, addr) == NULL) return GUESTMEM_E_INVALID_ADDRESS;
    if (len > room_at(addr)) return write ? GUESTMEM_E_SHORT_WRITE : GUESTMEM_E_SHORT_READ;
    return write && !writable(addr, len) ? GUESTMEM_E_READ_ONLY : GUESTMEM_OK;
}

static int expected_some(uint64_t addr, uint64_t len, bool write, size_t *done)
{
    *done = 0;
    if (len == 0) return expected_for_nothing(addr);
    if (area_at(&world, addr) == NULL) return GUESTMEM_E_INVALID_ADDRESS;
    if (write && !writable(addr, 1)) return GUESTMEM_E_READ_ONLY;
    *done = (size_t)(len < room_at(addr) ? len : room_at(addr));
    return GUESTMEM_OK;
}

/* ---- one call of each kind, held to the model ---- */

enum { BUFFER = 0x10000, MARK = 0xa5 };
static uint8_t buffer[BUFFER], pattern[BUFFER], untouched[BUFFER];
static uint64_t seed = 1;

static void fail_at(const char *call, uint64_t addr, uint64_t len, const char *what)
{
    char text[160];
    (void)snprintf(text, sizeof text, "%s(0x%" PRIx64 ", 0x%" PRIx64 "): %s", call, addr, len,
                   what);
    check_fail(__FILE__, __LINE__, text);
}

static void expect(const char *call, uint64_t addr, uint64_t len, int actual, int expected)
{
    char text[96];
    if (actual != expected) {
        (void)snprintf(text, sizeof text, "gave %s, expected %s", guestmem_error_name(actual),
                       guestmem_error_name(expected));
        fail_at(call, addr, len, text);
    }
    if (actual == GUESTMEM_OK) return;
    if (last_error().code != actual) fail_at(call, addr, len, "last_error has another code");
    if (last_error().guest_addr != addr || last_error().size != len)
        fail_at(call, addr, len, "last_error has another range");
    if (last_error().completed != 0)
        fail_at(call, addr, len, "last_error says that bytes were moved");
}

/* The first `len` bytes of the buffer are guest memory at addr, the rest is as it was. */
static void expect_read(const char *call, uint64_t addr, uint64_t len)
{
    uint64_t i;
    for (i = 0; i < len; i++)
        if (buffer[i] != *shadow_at(&world, addr + i)) {
            fail_at(call, addr, len, "wrong bytes");
            break;
        }
    if (memcmp(buffer + len, untouched, (size_t)(BUFFER - len)) != 0)
        fail_at(call, addr, len, "wrote past the end of the buffer");
    if (!world_agrees(&world)) fail_at(call, addr, len, "a read changed memory");
}

static void expect_written(const char *call, uint64_t addr, uint64_t len)
{
    uint64_t i;
    for (i = 0; i < len; i++) *shadow_at(&world, addr + i) = pattern[i];
    if (!world_agrees(&world)) fail_at(call, addr, len, "memory differs from the model");
}

static void try_reads(uint64_t addr, size_t len)
{
    size_t done = 1, expected_done;
    int expected = expected_some(addr, len, false, &expected_done);

    memset(buffer, MARK, sizeof buffer);
    expect("read", addr, len, guestmem_read(world.mem, addr, buffer, len, &done), expected);
    if (done != expected_done) fail_at("read", addr, len, "wrong count");
    expect_read("read", addr, expected_done);

    memset(buffer, MARK, sizeof buffer);
    expected = expected_all(addr, len, false);
    expect("read_exact", addr, len, guestmem_read_exact(world.mem, addr, buffer, len), expected);
    expect_read("read_exact", addr, expected == GUESTMEM_OK ? len : 0);

    memset(buffer, MARK, sizeof buffer);
    expected = expected_dma(addr, len, false);
    expect("dma_read", addr, len, guestmem_dma_read(world.mem, addr, buffer, len), expected);
    expect_read("dma_read", addr, expected == GUESTMEM_OK ? len : 0);
}

static void try_writes(uint64_t addr, size_t len)
{
    size_t done = 1, expected_done, i;
    uint8_t byte;
    int expected = expected_some(addr, len, true, &expected_done);

    fill_random(pattern, 0x200, ++seed);
    expect("write", addr, len, guestmem_write(world.mem, addr, pattern, len, &done), expected);
    if (done != expected_done) fail_at("write", addr, len, "wrong count");
    expect_written("write", addr, expected_done);

    fill_random(pattern, 0x200, ++seed);
    expected = expected_all(addr, len, true);
    expect("write_all", addr, len, guestmem_write_all(world.mem, addr, pattern, len), expected);
    expect_written("write_all", addr, expected == GUESTMEM_OK ? len : 0);

    fill_random(pattern, 0x200, ++seed);
    expected = expected_dma(addr, len, true);
    expect("dma_write", addr, len, guestmem_dma_write(world.mem, addr, pattern, len), expected);
    expect_written("dma_write", addr, expected == GUESTMEM_OK ? len : 0);

    byte = (uint8_t)++seed;
    expect("dma_fill", addr, len, guestmem_dma_fill(world.mem, addr, byte, len), expected);
    if (expected == GUESTMEM_OK)
        for (i = 0; i < len; i++) pattern[i] = byte;
    expect_written("dma_fill", addr, expected == GUESTMEM_OK ? len : 0);
}

/* Lengths no buffer has: only where the call must be refused before it looks at the buffer. */
static void try_long(uint64_t addr, size_t len)
{
    size_t done = 1;
    int all_read = expected_all(addr, len, false), all_write = expected_all(addr, len, true);
    int dma_read = expected_dma(addr, len, false), dma_write = expected_dma(addr, len, true);
    memset(buffer, MARK, sizeof buffer);
    expect("read_exact", addr, len, guestmem_read_exact(world.mem, addr, buffer, len), all_read);
    expect("dma_read", addr, len, guestmem_dma_read(world.mem, addr, buffer, len), dma_read);
    expect_read("long reads", addr, 0);
    expect("write_all", addr, len, guestmem_write_all(world.mem, addr, pattern, len), all_write);
    expect("dma_write", addr, len, guestmem_dma_write(world.mem, addr, pattern, len), dma_write);
    expect("dma_fill", addr, len, guestmem_dma_fill(world.mem, addr, 7, len), dma_write);
    /* The short forms stop at the region's end, which the buffer does reach. */
    expect("read", addr, len, guestmem_read(world.mem, addr, buffer, len, &done),
           expected_some(addr, len, false, &done));
    expect_written("long writes", addr, 0);
}

static void test_every_edge(void)
{
    static const size_t lens[] = {0,  1,  2,  3,  7,   8,     9,      15,    16,
                                  17, 31, 33, 64, 127, 0xfff, 0x1000, 0x1001};
    uint64_t edges[2 * WORLD_AREAS + 6] = {
        0, 0x1000, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX - 16, 0x20000 - 0x800};
    size_t count = 6, i, j;
    int distance;
    for (i = 0; i < WORLD_AREAS; i++) {
        edges[count++] = world.area[i].start;
        edges[count++] = world.area[i].start + world.area[i].size;
    }
    for (i = 0; i < count; i++)
        for (distance = -17; distance <= 17; distance += fast() ? 4 : 1) {
            uint64_t addr = edges[i] + (uint64_t)(int64_t)distance;
            for (j = 0; j < sizeof lens / sizeof lens[0]; j += fast() ? 3 : 1) {
                try_reads(addr, lens[j]);
                try_writes(addr, lens[j]);
            }
        }
}

static void test_lengths_that_wrap(void)
{
    size_t i, j;
    for (i = 0; i < WORLD_AREAS; i++) {
        const uint64_t addrs[] = {world.area[i].start, world.area[i].start + 1,
                                  world.area[i].start + world.area[i].size - 1,
                                  world.area[i].start + world.area[i].size};
        for (j = 0; j < 4; j++) {
            uint64_t addr = addrs[j];
            try_long(addr, SIZE_MAX);
            try_long(addr, SIZE_MAX - 7);
            try_long(addr, (size_t)1 << 63);
            try_long(addr, (size_t)1 << 32);
            try_long(addr, (size_t)(0 - addr));     /* ends at 2^64 exactly */
            try_long(addr, (size_t)(0 - addr) + 1); /* wraps to 1 */
            try_long(addr, (size_t)(0 - addr) - 1);
            if (addr != 0x10000) try_long(addr, (size_t)(0x10001 - addr)); /* wraps into a region */
        }
    }
}

/* The whole of each run of regions, where one fewer and one more byte matters most. */
static void test_whole_regions(void)
{
    size_t i, j;
    for (i = 0; i < WORLD_AREAS; i++) {
        uint64_t start = world.area[i].start;
        const uint64_t lens[] = {world.area[i].size, dma_room_at(start)};
        for (j = 0; j < 2; j++) {
            fill_random(pattern, sizeof pattern, ++seed);
            try_reads(start, (size_t)lens[j] - 1), try_reads(start, (size_t)lens[j]),
                try_reads(start, (size_t)lens[j] + 1);
            try_writes(start, (size_t)lens[j] - 1), try_writes(start, (size_t)lens[j]),
                try_writes(start, (size_t)lens[j] + 1);
        }
    }
}

static void test_buffers_at_any_alignment(void)
{
    size_t in_buffer, in_guest, len;
    for (in_buffer = 0; in_buffer < 9; in_buffer++)
        for (in_guest = 0; in_guest < 9; in_guest++)
            for (len = 0; len < 70; len += fast() ? 7 : 1) {
                uint64_t addr = 0x14000 - 32 + in_guest;
                uint8_t back[128];
                memset(back, MARK, sizeof back);
                fill_random(pattern, 128, ++seed);
                CHECK_OK(guestmem_dma_write(world.mem, addr, pattern + in_buffer, len));
                CHECK_OK(guestmem_dma_read(world.mem, addr, back + in_buffer, len));
                CHECK(memcmp(back + in_buffer, pattern + in_buffer, len) == 0);
                CHECK(back[in_buffer + len] == MARK);
                memmove(pattern, pattern + in_buffer, len);
                expect_written("dma_write", addr, len);
            }
}

/* ---- copies inside the guest ---- */

static void copy(uint64_t dst, uint64_t src, uint64_t len)
{
    uint64_t i;
    for (i = 0; i < len; i++) pattern[i] = *shadow_at(&world, src + i);
    CHECK_OK(guestmem_dma_copy(world.mem, dst, src, len));
    expect_written("dma_copy", dst, len);
}

static void test_copy_is_memmove(void)
{
    const uint64_t run = 0x10000, run_size = 0xb000;
    uint64_t state = 77, len, distance;
    int rounds = fast() ? 200 : 4000, i;

    /* Within one region, both ways, every small distance. */
    for (distance = 0; distance < 40; distance++)
        for (len = 0; len < 80; len += fast() ? 11 : 3) {
            copy(0x10100 + distance, 0x10100, len);
            copy(0x10100, 0x10100 + distance, len);
        }
    /* Across the edges of touching regions, both ways. */
    for (distance = 0; distance < 40; distance += 3)
        for (len = 1; len < 0x2800; len += fast() ? 0x7ff : 0x1ef) {
            copy(0x13f80 + distance, 0x13f80, len);
            copy(0x13f80, 0x13f80 + distance, len);
        }
    copy(run, run + 1, run_size - 1);
    copy(run + 1, run, run_size - 1);
    copy(run + PAGE, run, run_size - PAGE);
    copy(run, run + PAGE, run_size - PAGE);
    copy(run, run, run_size);
    for (i = 0; i < rounds; i++) {
        uint64_t dst = random_number(&state) % run_size, src = random_number(&state) % run_size;
        uint64_t room = run_size - (dst > src ? dst : src);
        copy(run + dst, run + src, random_number(&state) % (room + 1));
    }
    /* Between runs: from the read-only region, to and from the top of the address space. */
    copy(0x13000, 0x20800, 0x2800);
    copy(UINT64_C(0xffffffffffffd003), 0x21005, 0x1ff0);
    copy(0x18ff9, UINT64_C(0xffffffffffffd000), 0x2000);
}

static void copy_refused(uint64_t dst, uint64_t src, uint64_t len, int expected)
{
    CHECK_CODE(guestmem_dma_copy(world.mem, dst, src, len), expected);
    CHECK_EQ(last_error().completed, 0);
    if (!world_agrees(&world)) fail_at("dma_copy", dst, len, "a refused copy moved bytes");
}

static void test_copy_refusals(void)
{
    const uint64_t hole = 0x1c000, rom = 0x20000;
    copy_refused(hole, 0x10000, 1, GUESTMEM_E_INVALID_ADDRESS);
    copy_refused(0x10000, hole, 1, GUESTMEM_E_INVALID_ADDRESS);
    copy_refused(hole, hole, 1, GUESTMEM_E_INVALID_ADDRESS);
    copy_refused(0x10000, 0x1a000, 0x1001, GUESTMEM_E_INVALID_RANGE);
    copy_refused(0x1a000, 0x10000, 0x1001, GUESTMEM_E_INVALID_RANGE);
    copy_refused(0x10000, 0x10000, UINT64_MAX, GUESTMEM_E_INVALID_RANGE);
    copy_refused(0x10000, 0x10000, 0 - UINT64_C(0x10000), GUESTMEM_E_INVALID_RANGE);
    copy_refused(rom, 0x10000, 1, GUESTMEM_E_READ_ONLY);
    copy_refused(rom + 0x1fff, 0x10000, 2, GUESTMEM_E_READ_ONLY);
    copy_refused(rom, rom, 8, GUESTMEM_E_READ_ONLY);
    /* address before range before read-only, whichever side has which */
    copy_refused(0x1a000, hole, 0x1001, GUESTMEM_E_INVALID_ADDRESS);
    copy_refused(hole, 0x1a000, 0x1001, GUESTMEM_E_INVALID_ADDRESS);
    copy_refused(rom, hole, 1, GUESTMEM_E_INVALID_ADDRESS);
    copy_refused(rom, 0x1a000, 0x1001, GUESTMEM_E_INVALID_RANGE);
    copy_refused(rom, 0x10000, 0x3001, GUESTMEM_E_INVALID_RANGE);
    /* nothing to copy */
    CHECK_OK(guestmem_dma_copy(world.mem, 0x10000, 0x1b000, 0));
    CHECK_OK(guestmem_dma_copy(world.mem, rom, 0x23000, 0));
    copy_refused(hole, 0x10000, 0, GUESTMEM_E_INVALID_ADDRESS);
    copy_refused(0x10000, hole, 0, GUESTMEM_E_INVALID_ADDRESS);
}

static void test_null_buffers_of_no_length(void)
{
    size_t done = 9;
    CHECK_OK(guestmem_read(world.mem, 0x10000, NULL, 0, &done));
    CHECK_EQ(done, 0);
    CHECK_OK(guestmem_write(world.mem, 0x20000, NULL, 0, &done));
    CHECK_OK(guestmem_read_exact(world.mem, 0x1b000, NULL, 0));
    CHECK_OK(guestmem_write_all(world.mem, 0x22000, NULL, 0));
    CHECK_OK(guestmem_dma_read(world.mem, 0x23000, NULL, 0));
    CHECK_OK(guestmem_dma_write(world.mem, 0x20001, NULL, 0));
    /* a pointer that is missing comes before an address that is wrong */
    CHECK_CODE(guestmem_read_exact(world.mem, 0, NULL, 1), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_dma_write(world.mem, 0, NULL, 1), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK(world_agrees(&world));
}

static void test_empty_memory(void)
{
    struct guestmem *empty = check_new(NULL, 0);
    uint8_t byte;
    CHECK_CODE(guestmem_read_exact(empty, 0, &byte, 1), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_dma_read(empty, 0, &byte, 0), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_dma_copy(empty, 0, 0, 0), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_dma_fill(empty, UINT64_MAX, 1, UINT64_MAX), GUESTMEM_E_INVALID_ADDRESS);
    guestmem_unref(empty);
}

int main(void)
{
    memset(untouched, MARK, sizeof untouched);
    world_new(&world);
    test_every_edge();
    test_lengths_that_wrap();
    test_whole_regions();
    test_buffers_at_any_alignment();
    test_copy_is_memmove();
    test_copy_refusals();
    test_null_buffers_of_no_length();
    test_empty_memory();
    world_free(&world);
    return check_result();
}
