/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Pointers and slices that will be written: none leads into a read-only region, wherever the guest
 * says that its buffer is. Whatever is handed out is filled, which ends this program where it may
 * not be written.
 * runs: asan valgrind qemu */
#include "support/guest.h"

/* A ROM between RAM that touches it, a ROM with holes around it, and RAM so far up that the flat map
 * cannot tell the others apart. */
enum { LOW, ROM, HIGH, LAST, FAR, REGIONS };
static const struct guestmem_range places[REGIONS] = {
    { 0x10000, 0x2000 }, { 0x12000, 0x1000 }, { 0x13000, 0x1000 }, { 0x20000, 0x2000 },
    { ((uint64_t)1 << 40) + 0x5000, 0x1000 }
};
#define END(region) (places[region].guest_addr + places[region].size)
#define MAX_SLICES 600

static struct guestmem *mem;
static uint8_t *host[REGIONS];
static struct guestmem_view view;
static void *const poison = (void *)(uintptr_t)0x5a5a;

static bool read_only(size_t region)
{
    return region == ROM || region == LAST;
}

static int read_only_file(uint64_t size)
{
    int writable = new_memfd(size), fd = reopen(writable, O_RDONLY);
    close(writable);
    return fd;
}

/* Each in its own way read-only, and mapped so that a write is a fault. */
static void make(uint64_t rom_flags)
{
    struct guestmem_region_options options[REGIONS];
    int fd[REGIONS] = { -1, -1, -1, -1, -1 };
    memset(options, 0, sizeof options);
    for (size_t i = 0; i < REGIONS; i++) {
        options[i].guest_addr = places[i].guest_addr;
        options[i].size = places[i].size;
        if (!read_only(i)) continue;
        options[i].flags = GUESTMEM_REGION_READ_ONLY | rom_flags;
        if (rom_flags & GUESTMEM_REGION_FD) options[i].fd = fd[i] = read_only_file(places[i].size);
        if (!(rom_flags & GUESTMEM_REGION_HOST)) continue;
        options[i].host_addr = mmap(NULL, (size_t)places[i].size, PROT_READ,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(options[i].host_addr != MAP_FAILED);
    }
    REQUIRE(guestmem_new_with_options(options, REGIONS, sizeof *options, &mem) == GUESTMEM_OK);
    REQUIRE(guestmem_get_view(mem, &view, sizeof view) == GUESTMEM_OK);
    for (size_t i = 0; i < REGIONS; i++) {
        struct guestmem_region_info info;
        REQUIRE(guestmem_region_info(mem, i, &info, sizeof info) == GUESTMEM_OK);
        host[i] = info.host_addr;
        if (fd[i] >= 0) close(fd[i]);
    }
}

static void destroy(uint64_t rom_flags)
{
    guestmem_unref(mem);
    for (size_t i = 0; i < REGIONS && rom_flags & GUESTMEM_REGION_HOST; i++)
        if (read_only(i)) REQUIRE(munmap(host[i], (size_t)places[i].size) == 0);
}

/* --- what must come of it, naively ----------------------------------------------------------- */

static int region_at(uint64_t addr)
{
    for (int i = 0; i < REGIONS; i++)
        if (addr >= places[i].guest_addr && addr < END(i)) return i;
    return -1;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* One range: its slices are added, if all is well. */
static int expect(uint64_t addr, uint64_t len, bool write, bool across,
                  struct guestmem_slice *slices, size_t *count)
{
    size_t more = *count;
    bool meets_rom = false;
    if (region_at(addr) < 0) return GUESTMEM_E_INVALID_ADDRESS;
    if (len == 0) return GUESTMEM_E_INVALID_SIZE;
    while (len != 0) {
        const int region = region_at(addr);
        uint64_t part;
        if (region < 0 || (more > *count && !across)) return GUESTMEM_E_INVALID_RANGE;
        part = least(len, END(region) - addr);
        slices[more].addr = host[region] + (addr - places[region].guest_addr);
        slices[more++].len = (size_t)part;
        meets_rom |= read_only((size_t)region);
        addr += part;
        len -= part;
    }
    if (write && meets_rom) return GUESTMEM_E_READ_ONLY;
    *count = more;
    return GUESTMEM_OK;
}

/* A device does what it asked for. */
static void use(struct guestmem_slice slice, bool write)
{
    static uint8_t sink[0x2000], byte;
    if (write) memset(slice.addr, ++byte, slice.len);
    else memcpy(sink, slice.addr, slice.len);
}

static bool same(const struct guestmem_slice *a, const struct guestmem_slice *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i].addr != b[i].addr || a[i].len != b[i].len) return false;
    return true;
}

static void poison_all(struct guestmem_slice *slices)
{
    for (size_t i = 0; i < MAX_SLICES; i++) slices[i].addr = poison, slices[i].len = i;
}

static bool untouched(const struct guestmem_slice *slices, size_t from)
{
    for (size_t i = from; i < MAX_SLICES; i++)
        if (slices[i].addr != poison || slices[i].len != i) return false;
    return true;
}

/* --- each call -------------------------------------------------------------------------------- */

static void explain(int failures, uint64_t addr, uint64_t len)
{
    if (check_failures != failures && check_failures <= 20)
        fprintf(stderr, "  address 0x%" PRIx64 ", length 0x%" PRIx64 "\n", addr, len);
}

static void in_one_region(uint64_t addr, uint64_t len)
{
    struct guestmem_slice expected[REGIONS], slice = { poison, 77 };
    size_t count = 0;
    const int failures = check_failures, code = expect(addr, len, true, false, expected, &count);
    const bool is_ok = code == GUESTMEM_OK;
    void *out = poison, *right = is_ok ? expected[0].addr : NULL;
    CHECK_CODE(guestmem_get_host_address_range_writable(mem, addr, len, &out), code);
    CHECK(out == right);
    CHECK_CODE(guestmem_get_slice_writable(mem, addr, (size_t)len, &slice), code);
    CHECK(slice.addr == right && slice.len == (is_ok ? len : 0));
    CHECK(guestmem_view_ptr_writable(&view, addr, len) == right);
    CHECK(guestmem_view_ptr_writable_fn(&view, addr, len) == right);
    if (is_ok) use(slice, true);
    explain(failures, addr, len);
}

static void across_regions(uint64_t addr, uint64_t len)
{
    static struct guestmem_slice slices[MAX_SLICES];
    struct guestmem_slice expected[REGIONS + 1];
    size_t needed = 0, count = 77;
    const int failures = check_failures, code = expect(addr, len, true, true, expected, &needed);
    /* With room, without, with not enough. What is wrong with the range comes first. */
    for (size_t cap = 0; cap <= needed + 1; cap++) {
        const int now = code == GUESTMEM_OK && cap < needed ? GUESTMEM_E_TOO_LARGE : code;
        const size_t filled = now == GUESTMEM_OK ? needed : 0;
        poison_all(slices);
        CHECK_CODE(guestmem_get_slices_writable(mem, addr, len, slices, cap, &count), now);
        CHECK_EQ(count, code == GUESTMEM_OK ? needed : 0);
        CHECK(same(slices, expected, filled) && untouched(slices, filled));
        for (size_t i = 0; i < filled; i++) use(slices[i], true);
    }
    CHECK_CODE(guestmem_get_slices_writable(mem, addr, len, NULL, 0, &count),
               code == GUESTMEM_OK ? GUESTMEM_E_TOO_LARGE : code);
    CHECK_EQ(count, needed);
    explain(failures, addr, len);
}

static void at_each_edge(void)
{
    static const uint64_t anywhere[] = { 0, 1, 0xffff, 0x1000000, (uint64_t)1 << 63, UINT64_MAX };
    static const uint64_t lengths[] = { 0, 1, 2, 8, 0xfff, 0x1000, 0x1001, 0x2000, 0x4000,
                                        (uint64_t)1 << 32, (uint64_t)1 << 63, UINT64_MAX };
    for (size_t i = 0; i < 6 * REGIONS + sizeof anywhere / sizeof *anywhere; i++) {
        const size_t region = i / 6;
        const uint64_t near = i % 3 - 1;
        const uint64_t addr = region >= REGIONS ? anywhere[i - 6 * REGIONS]
                              : (i % 6 < 3 ? places[region].guest_addr : END(region)) + near;
        for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++) {
            in_one_region(addr, lengths[j]);
            across_regions(addr, lengths[j]);
        }
        /* Up to each edge, to 2^64, and one byte less and more. */
        for (uint64_t less = 0; less < 3; less++) {
            in_one_region(addr, 1 - addr - less);
            across_regions(addr, 1 - addr - less);
            for (size_t j = 0; j < REGIONS; j++) {
                in_one_region(addr, places[j].guest_addr - addr + 1 - less);
                across_regions(addr, places[j].guest_addr - addr + 1 - less);
                in_one_region(addr, END(j) - addr + 1 - less);
                across_regions(addr, END(j) - addr + 1 - less);
            }
        }
    }
}

/* The example of the manual, in numbers. */
static void next_to_a_rom(void)
{
    struct guestmem_slice slices[3] = { { poison, 1 }, { poison, 2 }, { poison, 3 } };
    const struct guestmem_slice before = slices[0];
    size_t count = 77;
    void *out = poison;
    CHECK_OK(guestmem_get_slices(mem, 0x11ff0, 0x1020, slices, 3, &count));
    CHECK_EQ(count, 3);
    slices[0] = before;
    CHECK_CODE(guestmem_get_slices_writable(mem, 0x11ff0, 0x1020, slices, 3, &count),
               GUESTMEM_E_READ_ONLY);
    CHECK(count == 0 && slices[0].addr == poison && slices[0].len == 1);
    CHECK(last_error().guest_addr == 0x11ff0 && last_error().size == 0x1020);
    CHECK_CODE(guestmem_get_host_address_range_writable(mem, 0x12ff8, 8, &out),
               GUESTMEM_E_READ_ONLY);
    CHECK(out == NULL && last_error().guest_addr == 0x12ff8 && last_error().size == 8);
    CHECK_OK(guestmem_get_host_address_range(mem, 0x12ff8, 8, &out));
    CHECK(out == host[ROM] + 0xff8);
}

/* --- chains ------------------------------------------------------------------------------------ */

static struct guestmem_access range_of(uint64_t addr, uint64_t size, uint32_t access)
{
    struct guestmem_access range;
    range.guest_addr = addr;
    range.size = size;
    range.access = access;
    range.reserved = 0;
    return range;
}

static int rank(int code)
{
    return code == GUESTMEM_E_INVALID_ARGUMENT ? 0 : code == GUESTMEM_E_INVALID_ADDRESS ? 1
           : code == GUESTMEM_E_READ_ONLY ? 3 : code == GUESTMEM_OK ? 4 : 2;
}

/* Whatever is wrong where: the answer is that of the naive loop, and the detail names the range. */
static void translated(const struct guestmem_access *ranges, size_t n)
{
    static struct guestmem_slice slices[MAX_SLICES], expected[MAX_SLICES];
    size_t needed = 0, count = 77, wrong = n, filled;
    int code = GUESTMEM_OK;
    for (size_t i = 0; i < n; i++) {
        const bool known = ranges[i].access - 1 < 3 && ranges[i].reserved == 0;
        const int now = known ? expect(ranges[i].guest_addr, ranges[i].size, ranges[i].access & 2,
                                       true, expected, &needed)
                              : GUESTMEM_E_INVALID_ARGUMENT;
        if (rank(now) >= rank(code)) continue;
        code = now;
        wrong = i;
    }
    filled = code == GUESTMEM_OK ? needed : 0;
    poison_all(slices);
    CHECK_CODE(guestmem_translate_for(mem, ranges, n, slices, MAX_SLICES, &count), code);
    CHECK_EQ(count, filled);
    CHECK(same(slices, expected, filled) && untouched(slices, filled));
    if (wrong < n)
        CHECK(last_error().guest_addr == ranges[wrong].guest_addr &&
              last_error().size == ranges[wrong].size);
    for (size_t cap = 0; cap < filled && cap < 4; cap++) {
        poison_all(slices);
        CHECK_CODE(guestmem_translate_for(mem, ranges, n, slices, cap, &count),
                   GUESTMEM_E_TOO_LARGE);
        CHECK_EQ(count, needed);
        CHECK(untouched(slices, 0));
    }
    if (code == GUESTMEM_OK) return;
    poison_all(slices);
    CHECK_CODE(guestmem_translate_for(mem, ranges, n, slices, 0, &count), code);
    CHECK_EQ(count, 0);
    CHECK_CODE(guestmem_translate_for(mem, ranges, n, NULL, 0, &count), code);
    CHECK_EQ(count, 0);
}

/* A request that reads a header from the ROM and fills a buffer: as long as that is none. */
static void what_a_device_does(void)
{
    struct guestmem_access chain[4] = {
        range_of(0x12f00, 0x10, GUESTMEM_ACCESS_READ), range_of(0x11000, 0x1000, GUESTMEM_ACCESS_WRITE),
        range_of(0x13000, 0x800, GUESTMEM_ACCESS_READ | GUESTMEM_ACCESS_WRITE),
        range_of(END(FAR) - 1, 1, GUESTMEM_ACCESS_WRITE)
    };
    struct guestmem_slice slices[8];
    size_t count = 0;
    translated(chain, 4);
    CHECK_OK(guestmem_translate_for(mem, chain, 4, slices, 8, &count));
    CHECK_EQ(count, 4);
    for (size_t i = 0; i < count; i++) use(slices[i], i > 0);
    CHECK_OK(guestmem_translate_for(mem, NULL, 0, NULL, 0, &count));
    CHECK_EQ(count, 0);

    /* Each in turn is a buffer in a ROM, or runs into one, or is read from there. */
    for (size_t i = 0; i < 4; i++) {
        const struct guestmem_access good = chain[i];
        for (uint32_t access = 0; access < 5; access++) {
            chain[i] = range_of(0x12000, 0x1000, access);
            translated(chain, 4);
            chain[i] = range_of(0x11fff, 2, access);
            translated(chain, 4);
            chain[i] = range_of(0x12fff, 2, access);
            translated(chain, 4);
            chain[i] = range_of(END(LAST) - 1, 1, access);
            translated(chain, 4);
            translated(&chain[i], 1);
            chain[i] = range_of(END(LAST) - 1, 2, access);
            translated(chain, 4);
            translated(&chain[i], 1);
        }
        chain[i] = good;
    }
}

static void wrong_accesses(void)
{
    struct guestmem_access chain[3];
    for (size_t i = 0; i < 3; i++) chain[i] = range_of(0x10000, 8, GUESTMEM_ACCESS_WRITE);
    for (size_t i = 0; i < 3; i++) {
        const struct guestmem_access good = chain[i];
        for (unsigned bit = 0; bit < 32; bit++) {
            chain[i].access = (uint32_t)1 << bit;
            translated(chain, 3);
            translated(&chain[i], 1);
            chain[i].access |= GUESTMEM_ACCESS_READ | GUESTMEM_ACCESS_WRITE;
            translated(chain, 3);
            chain[i] = good;
            chain[i].reserved = (uint32_t)1 << bit;
            translated(chain, 3);
            translated(&chain[i], 1);
            chain[i] = good;
        }
        chain[i].access = 0;
        translated(chain, 3);
        translated(&chain[i], 1);
        chain[i] = good;
    }
    /* Flags, then addresses, then ranges, then what is read-only, wherever in the chain. */
    chain[0] = range_of(0x12000, 8, GUESTMEM_ACCESS_WRITE);
    translated(chain, 3);
    chain[1] = range_of(0x13000, 0x1001, GUESTMEM_ACCESS_READ);
    translated(chain, 3);
    chain[2] = range_of(0x14000, 8, GUESTMEM_ACCESS_READ);
    translated(chain, 3);
    chain[1].access = 4;
    translated(chain, 3);
}

static void long_chains(void)
{
    static struct guestmem_access chain[290];
    for (size_t n = 1; n <= 290; n += 17) {
        for (size_t i = 0; i < n; i++)
            chain[i] = range_of(0x10000 + 0x40 * i % 0x2000, 0x40,
                                i % 2 ? GUESTMEM_ACCESS_READ : GUESTMEM_ACCESS_WRITE);
        translated(chain, n);
        chain[n - 1] = range_of(0x12000, 1, GUESTMEM_ACCESS_READ);
        translated(chain, n);
        chain[n - 1].access = GUESTMEM_ACCESS_WRITE;
        translated(chain, n);
        chain[n / 2].access = 8;
        translated(chain, n);
    }
}

static void random_chains(void)
{
    uint64_t state = 20240917;
    for (int round = 0; round < (fast() ? 300 : 20000); round++) {
        struct guestmem_access chain[6];
        const size_t n = 1 + random_number(&state) % 6;
        for (size_t i = 0; i < n; i++) {
            const size_t region = random_number(&state) % REGIONS;
            const uint64_t kind = random_number(&state) % 16;
            uint64_t addr = random_number(&state) % 2 ? places[region].guest_addr : END(region);
            addr += random_number(&state) % 17 - (kind == 0 ? 8 : 0);
            chain[i] = range_of(addr, kind == 1 ? random_number(&state) : kind == 2 ? 0x1800 : kind,
                                (uint32_t)(1 + random_number(&state) % 3));
            if (kind == 3) chain[i].access = (uint32_t)(random_number(&state) % 6);
        }
        translated(chain, n);
    }
}

int main(void)
{
    static const uint64_t kinds[] = { GUESTMEM_REGION_FD, GUESTMEM_REGION_PRIVATE,
                                      GUESTMEM_REGION_HOST,
                                      GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        make(kinds[i]);
        errno = 4711;
        at_each_edge();
        next_to_a_rom();
        what_a_device_does();
        wrong_accesses();
        long_chains();
        random_chains();
        CHECK_EQ(errno, 4711);
        destroy(kinds[i]);
    }
    return check_result();
}
