/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Every access at every offset and length around every edge of a region, in several layouts,
 * against a naive oracle. After each call all of memory is compared with what the oracle says it
 * holds: a refused call has moved nothing, an accepted one exactly its range.
 * runs: asan valgrind qemu musl */
#include "edges_oracle.h"

/* More than the longest run of regions that touch. */
#define BUFFER (4 * 4096)
#define PATTERNS 251

static struct guestmem *mem;
static uint8_t *host[MAX_REGIONS], *callers[MAX_REGIONS];
static uint8_t buffer[BUFFER], untouched[BUFFER], source[BUFFER], pattern[BUFFER + PATTERNS];

/* --- comparing ----------------------------------------------------------------------------- */

static void explain(const char *call, uint64_t addr, uint64_t len)
{
    if (check_failures <= 20)
        fprintf(stderr, "  in %s(0x%" PRIx64 ", 0x%" PRIx64 "), layout \"%s\"\n", call, addr, len,
                here->name);
}

static bool memory_is_as_it_should_be(void)
{
    for (size_t i = 0; i < here->count; i++)
        if (memcmp(host[i], shadow[i], (size_t)here->regions[i].size) != 0) return false;
    return true;
}

static bool reads_back(uint64_t addr, const uint8_t *bytes, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++)
        if (*expected_at(addr + i) != bytes[i]) return false;
    return true;
}

static void shadow_write(uint64_t addr, const void *bytes, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++) *expected_at(addr + i) = ((const uint8_t *)bytes)[i];
}

#define HOLDS(condition)                                                                          \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            check_fail(__FILE__, __LINE__, #condition);                                           \
            explain(__func__, addr, len);                                                         \
        }                                                                                         \
    } while (0)

#define GIVES(call, code)                                                                         \
    do {                                                                                          \
        int failures_before = check_failures;                                                     \
        CHECK_CODE(call, code);                                                                   \
        if (check_failures != failures_before) explain(__func__, addr, len);                      \
    } while (0)

/* What was read, or an untouched buffer. */
static void check_read(int code, uint64_t addr, uint64_t len, uint64_t got)
{
    if (code != GUESTMEM_OK) got = 0;
    HOLDS(got <= BUFFER && reads_back(addr, buffer, got));
    HOLDS(memcmp(buffer + got, untouched, BUFFER - (size_t)got) == 0);
    memset(buffer, 0xa5, (size_t)got);
}

static void check_written(int code, uint64_t addr, uint64_t len, const void *bytes, uint64_t put)
{
    if (code == GUESTMEM_OK) shadow_write(addr, bytes, put);
    HOLDS(memory_is_as_it_should_be());
}

/* Each written pattern differs from the one before, so that a write not done shows. */
static const uint8_t *fresh_bytes(void)
{
    static unsigned turn;
    turn = (turn + 37) % PATTERNS;
    return pattern + turn;
}

/* --- the calls ----------------------------------------------------------------------------- */

static void questions(uint64_t addr, uint64_t len)
{
    uint64_t offset = 1, sum = 1, end = len;
    bool overlap = false;
    int code = room(addr) != 0 ? GUESTMEM_OK : GUESTMEM_E_INVALID_ADDRESS;
    for (size_t i = 0; i < here->count; i++)
        overlap |= addr < end && addr < here->regions[i].base + here->regions[i].size &&
                   end > here->regions[i].base;
    HOLDS(guestmem_range_overlap(mem, addr, end) == overlap);
    HOLDS(guestmem_is_valid_range(mem, addr, len) == (len != 0 && len <= room(addr)));
    HOLDS(guestmem_address_in_range(mem, addr) == (code == GUESTMEM_OK));
    GIVES(guestmem_find_region(mem, addr, NULL, 0, &offset), code);
    HOLDS(offset == (code == GUESTMEM_OK ? addr - region_at(addr)->base : 0));
    code = addr + len < addr ? GUESTMEM_E_INVALID_RANGE
           : room(addr + len) == 0 ? GUESTMEM_E_INVALID_ADDRESS : GUESTMEM_OK;
    GIVES(guestmem_checked_offset(mem, addr, len, &sum), code);
    HOLDS(sum == (code == GUESTMEM_OK ? addr + len : 0));
}

/* One range as a chain gives what it gives by itself. */
static void chain_of_one(uint64_t addr, uint64_t len, bool writes, int code,
                         const struct guestmem_slice *expected, size_t expected_count)
{
    const struct guestmem_access range = { addr, len, writes ? GUESTMEM_ACCESS_WRITE
                                                             : GUESTMEM_ACCESS_READ, 0 };
    struct guestmem_slice slices[MAX_REGIONS];
    size_t count = 77;
    GIVES(guestmem_translate_for(mem, &range, 1, slices, MAX_REGIONS, &count), code);
    HOLDS(count == expected_count);
    if (code == GUESTMEM_OK && count <= MAX_REGIONS)
        HOLDS(memcmp(slices, expected, count * sizeof *slices) == 0);
}

/* To read, or to write. */
static void pointers(uint64_t addr, uint64_t len, bool writes)
{
    struct guestmem_slice slice = { source, 77 }, slices[MAX_REGIONS];
    uint64_t back = 1, at = addr;
    void *out = source;
    size_t count = 77;
    int code = writes ? guestmem_get_host_address_range_writable(mem, addr, len, &out)
                      : guestmem_get_host_address_range(mem, addr, len, &out);
    GIVES(code, expect_pointer(addr, len, room(addr), writes, code));
    HOLDS((out != NULL) == (code == GUESTMEM_OK));
    if (out != NULL) {
        HOLDS(out == host[region_at(addr) - here->regions] + (addr - region_at(addr)->base));
        GIVES(guestmem_get_guest_address(mem, out, &back), GUESTMEM_OK);
        HOLDS(back == addr);
    }
    GIVES(writes ? guestmem_get_slice_writable(mem, addr, (size_t)len, &slice)
                 : guestmem_get_slice(mem, addr, (size_t)len, &slice), code);
    HOLDS(slice.addr == out && slice.len == (code == GUESTMEM_OK ? len : 0));

    code = writes ? guestmem_get_slices_writable(mem, addr, len, slices, MAX_REGIONS, &count)
                  : guestmem_get_slices(mem, addr, len, slices, MAX_REGIONS, &count);
    GIVES(code, expect_pointer(addr, len, long_room(addr), writes, code));
    if (code != GUESTMEM_OK) count = count == 0 ? 0 : SIZE_MAX;
    HOLDS(count <= MAX_REGIONS);
    for (size_t i = 0; i < count && count <= MAX_REGIONS; i++) {
        uint64_t part = room(at) < addr + len - at ? room(at) : addr + len - at;
        HOLDS(slices[i].len == part);
        HOLDS(slices[i].addr == host[region_at(at) - here->regions] + (at - region_at(at)->base));
        at += part;
    }
    HOLDS(code != GUESTMEM_OK || at == addr + len);
    chain_of_one(addr, len, writes, code, slices, count);
}

static void reads(uint64_t addr, uint64_t len)
{
    size_t done = 77;
    int code = expect_region(addr, 0, false, 0);
    uint64_t part = room(addr) < len ? room(addr) : len;
    if (len != 0 && room(addr) == 0) code = GUESTMEM_E_INVALID_ADDRESS;
    GIVES(guestmem_read(mem, addr, buffer, (size_t)len, &done), code);
    HOLDS(done == part);
    check_read(code, addr, len, part);
    code = expect_region(addr, len, false, GUESTMEM_E_SHORT_READ);
    GIVES(guestmem_read_exact(mem, addr, buffer, (size_t)len), code);
    check_read(code, addr, len, len);
    code = expect_dma(addr, len, false);
    GIVES(guestmem_dma_read(mem, addr, buffer, (size_t)len), code);
    check_read(code, addr, len, len);
}

static void writes(uint64_t addr, uint64_t len)
{
    const uint8_t *bytes = fresh_bytes();
    size_t done = 77;
    uint64_t part = room(addr) < len ? room(addr) : len;
    int code = expect_region(addr, part, true, 0);
    if (len != 0 && part == 0) code = GUESTMEM_E_INVALID_ADDRESS;
    GIVES(guestmem_write(mem, addr, bytes, (size_t)len, &done), code);
    HOLDS(done == (code == GUESTMEM_OK ? part : 0));
    check_written(code, addr, len, bytes, part);
    bytes = fresh_bytes();
    code = expect_region(addr, len, true, GUESTMEM_E_SHORT_WRITE);
    GIVES(guestmem_write_all(mem, addr, bytes, (size_t)len), code);
    check_written(code, addr, len, bytes, len);
    bytes = fresh_bytes();
    code = expect_dma(addr, len, true);
    GIVES(guestmem_dma_write(mem, addr, bytes, (size_t)len), code);
    check_written(code, addr, len, bytes, len);
    if (code == GUESTMEM_OK) memset(source, bytes[5], (size_t)len);
    GIVES(guestmem_dma_fill(mem, addr, bytes[5], len), code);
    check_written(code, addr, len, source, len);
}

static void copy(uint64_t addr, uint64_t len, uint64_t to)
{
    int from_code = expect_dma(addr, len, false), to_code = expect_dma(to, len, true);
    int code = GUESTMEM_OK;
    /* The first in the order of the codes: address, range, read-only. */
    if (from_code == GUESTMEM_E_INVALID_ADDRESS || to_code == GUESTMEM_E_INVALID_ADDRESS)
        code = GUESTMEM_E_INVALID_ADDRESS;
    else if (from_code != GUESTMEM_OK) code = from_code;
    else code = to_code;
    GIVES(guestmem_dma_copy(mem, to, addr, len), code);
    if (code == GUESTMEM_OK)
        for (uint64_t i = 0; i < len; i++) source[i] = *expected_at(addr + i);
    check_written(code, to, len, source, len);
}

static void objects(uint64_t addr, uint64_t len)
{
    uint64_t width = len == 0 ? 1 : len & (~len + 1);
    const uint8_t *bytes = fresh_bytes();
    int code;
    if (len == 0 && room(addr) == 0) return;
    if (width > 8) width = 8;
    code = expect_aligned(addr, len, width, false);
    GIVES(guestmem_read_obj_volatile(mem, addr, buffer, (size_t)len), code);
    check_read(code, addr, len, len);
    code = expect_aligned(addr, len, width, true);
    GIVES(guestmem_write_obj_volatile(mem, addr, bytes, (size_t)len), code);
    check_written(code, addr, len, bytes, len);
}

#define WORDS(W)                                                                                  \
    static void check_word_u##W(int code, uint64_t addr, uint64_t value)                          \
    {                                                                                             \
        const uint64_t len = W / 8;                                                               \
        uint##W##_t narrow = (uint##W##_t)value;                                                  \
        if (code == GUESTMEM_OK) HOLDS(reads_back(addr, (uint8_t *)&narrow, len));                \
        else HOLDS(value == 0);                                                                   \
    }                                                                                             \
    static void words_u##W(uint64_t addr)                                                         \
    {                                                                                             \
        const uint64_t len = W / 8;                                                               \
        uint##W##_t out = 77, value, expected;                                                    \
        int code = expect_region(addr, len, false, GUESTMEM_E_INVALID_RANGE);                     \
        bool exchanged = true;                                                                    \
        GIVES(guestmem_read_u##W(mem, addr, &out), code);                                         \
        check_word_u##W(code, addr, out);                                                         \
        code = expect_aligned(addr, len, len, false);                                             \
        out = 77;                                                                                 \
        GIVES(guestmem_read_volatile_u##W(mem, addr, &out), code);                                \
        check_word_u##W(code, addr, out);                                                         \
        out = 77;                                                                                 \
        GIVES(guestmem_load_u##W(mem, addr, GUESTMEM_ACQUIRE, &out), code);                       \
        check_word_u##W(code, addr, out);                                                         \
        code = expect_region(addr, len, true, GUESTMEM_E_INVALID_RANGE);                          \
        memcpy(&value, fresh_bytes(), sizeof value);                                              \
        GIVES(guestmem_write_u##W(mem, addr, value), code);                                       \
        check_written(code, addr, len, &value, len);                                              \
        code = expect_aligned(addr, len, len, true);                                              \
        memcpy(&value, fresh_bytes(), sizeof value);                                              \
        GIVES(guestmem_write_volatile_u##W(mem, addr, value), code);                              \
        check_written(code, addr, len, &value, len);                                              \
        memcpy(&value, fresh_bytes(), sizeof value);                                              \
        GIVES(guestmem_store_u##W(mem, addr, value, GUESTMEM_RELEASE), code);                     \
        check_written(code, addr, len, &value, len);                                              \
        expected = value;                                                                         \
        memcpy(&value, fresh_bytes(), sizeof value);                                              \
        out = expected;                                                                           \
        GIVES(guestmem_compare_exchange_u##W(mem, addr, &expected, value, GUESTMEM_SEQ_CST,       \
                                             &exchanged), code);                                  \
        HOLDS(exchanged == (code == GUESTMEM_OK) && expected == out);                             \
        check_written(code, addr, len, &value, len);                                              \
    }

WORDS(8)
WORDS(16)
WORDS(32)
WORDS(64)

/* --- where and how long -------------------------------------------------------------------- */

static const uint64_t anywhere[] = { 0, 1, (uint64_t)1 << 32, (uint64_t)1 << 63, TOP, UINT64_MAX };
static const uint64_t lengths[] = { 0, 1, 2, 3, 4, 7, 8, 9, 16, PAGE - 1, PAGE, PAGE + 1,
                                    (uint64_t)1 << 32, (uint64_t)1 << 63, UINT64_MAX };
static const int64_t near[] = { 0, -1, 3, 1, -8, 8, -2, 2, -3, -4, 4, -7, 7, -9, 9 };

static size_t near_count(void)
{
    return fast() ? 3 : sizeof near / sizeof *near;
}

static void at(uint64_t addr, uint64_t len)
{
    questions(addr, len);
    pointers(addr, len, false);
    pointers(addr, len, true);
    reads(addr, len);
    writes(addr, len);
    objects(addr, len);
    copy(addr, len, here->regions[0].base);
    copy(here->regions[0].base + 1, len, addr);
    copy(addr, len, addr + 3);
}

static void around(uint64_t addr)
{
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) at(addr, lengths[i]);
    for (uint64_t less = 0; less < 3; less++) at(addr, 1 - addr - less); /* to 2^64, +-1 */
    for (size_t i = 0; i < here->count; i++) {
        uint64_t to_base = here->regions[i].base - addr;
        uint64_t to_end = to_base + here->regions[i].size;
        for (uint64_t less = 0; less < 3; less++) {
            at(addr, to_base + 1 - less);
            at(addr, to_end + 1 - less);
        }
    }
    words_u8(addr);
    words_u16(addr);
    words_u32(addr);
    words_u64(addr);
}

static void set_up(const struct layout *layout)
{
    struct guestmem_region_options options[MAX_REGIONS];
    struct guestmem_region_info info;
    here = layout;
    memset(options, 0, sizeof options);
    for (size_t i = 0; i < layout->count; i++) {
        const struct region *region = &layout->regions[i];
        options[i].guest_addr = region->base;
        options[i].size = region->size;
        if (!region->read_only) continue;
        /* The caller's own pages, so that there is something to read in them. */
        callers[i] = mmap(NULL, (size_t)region->size, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(callers[i] != MAP_FAILED);
        options[i].flags = GUESTMEM_REGION_READ_ONLY | GUESTMEM_REGION_HOST;
        options[i].host_addr = callers[i];
    }
    REQUIRE(guestmem_new_with_options(options, layout->count, sizeof *options, &mem) ==
            GUESTMEM_OK);
    for (size_t i = 0; i < layout->count; i++) {
        REQUIRE(guestmem_region_info(mem, i, &info, sizeof info) == GUESTMEM_OK);
        host[i] = info.host_addr;
        for (size_t j = 0; j < layout->regions[i].size; j++)
            shadow[i][j] = (uint8_t)(i * 91 + j * 13 + j / 256);
        memcpy(host[i], shadow[i], (size_t)layout->regions[i].size);
    }
}

static void tear_down(void)
{
    guestmem_unref(mem);
    for (size_t i = 0; i < here->count; i++)
        if (callers[i] != NULL) munmap(callers[i], (size_t)here->regions[i].size);
    memset(callers, 0, sizeof callers);
}

int main(void)
{
    memset(buffer, 0xa5, sizeof buffer);
    memset(untouched, 0xa5, sizeof untouched);
    for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = (uint8_t)(i * 7 + i / PATTERNS);
    for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
        set_up(&layouts[l]);
        for (size_t i = 0; i < sizeof anywhere / sizeof *anywhere; i++) around(anywhere[i]);
        for (size_t i = 0; i < here->count; i++)
            for (size_t j = 0; j < near_count(); j++) {
                around(here->regions[i].base + (uint64_t)near[j]);
                around(here->regions[i].base + here->regions[i].size + (uint64_t)near[j]);
            }
        tear_down();
    }
    return check_result();
}
