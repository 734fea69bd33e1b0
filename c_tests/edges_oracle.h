/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The layouts of edges.c, and a naive answer to what each call must give in them. */
#ifndef EDGES_ORACLE_H
#define EDGES_ORACLE_H

#include "support/process.h"

#define TOP (UINT64_MAX - PAGE + 1)
#define MAX_REGIONS 4

struct region {
    uint64_t base, size;
    bool read_only;
};

static const struct layout {
    const char *name;
    size_t count;
    struct region regions[MAX_REGIONS];
} layouts[] = {
    { "single", 1, { { 0x10000, PAGE, false } } },
    { "at zero", 1, { { 0, 2 * PAGE, false } } },
    { "touching", 3, { { 0x10000, PAGE, false }, { 0x11000, PAGE, false },
        { 0x12000, PAGE, false } } },
    { "hole", 2, { { 0x10000, PAGE, false }, { 0x12000, PAGE, false } } },
    { "low, high and top", 4, { { 0, PAGE, false }, { ((uint64_t)1 << 32) - PAGE, 2 * PAGE, false },
        { ((uint64_t)1 << 63) - PAGE, PAGE, false }, { TOP - PAGE, PAGE, false } } },
    { "across 2^63, at the top", 3, { { ((uint64_t)1 << 63) - PAGE, PAGE, false },
        { (uint64_t)1 << 63, PAGE, false }, { TOP - 2 * PAGE, 2 * PAGE, false } } },
    { "read-only between", 3, { { 0x10000, PAGE, false }, { 0x11000, PAGE, true },
        { 0x12000, PAGE, false } } },
    { "read-only ends", 3, { { 0x10000, PAGE, true }, { 0x11000, PAGE, false },
        { 0x13000, PAGE, true } } },
};

/* The layout in use, and what its memory must hold. */
static const struct layout *here;
static uint8_t shadow[MAX_REGIONS][2 * 4096];

static const struct region *region_at(uint64_t addr)
{
    for (size_t i = 0; i < here->count; i++)
        if (addr >= here->regions[i].base && addr - here->regions[i].base < here->regions[i].size)
            return &here->regions[i];
    return NULL;
}

static uint8_t *expected_at(uint64_t addr)
{
    const struct region *region = region_at(addr);
    return &shadow[region - here->regions][addr - region->base];
}

static bool ends_at(uint64_t addr)
{
    for (size_t i = 0; i < here->count; i++)
        if (here->regions[i].base + here->regions[i].size == addr) return true;
    return false;
}

/* Bytes from the address to the end of its region. */
static uint64_t room(uint64_t addr)
{
    const struct region *region = region_at(addr);
    return region == NULL ? 0 : region->base + region->size - addr;
}

/* The same, running on through regions that touch. */
static uint64_t long_room(uint64_t addr)
{
    uint64_t sum = 0;
    while (room(addr) != 0) {
        sum += room(addr);
        addr += room(addr);
    }
    return sum;
}

static bool meets_read_only(uint64_t addr, uint64_t len)
{
    while (len != 0) {
        uint64_t part = room(addr) < len ? room(addr) : len;
        if (region_at(addr)->read_only) return true;
        addr += part;
        len -= part;
    }
    return false;
}

static int expect_in(uint64_t addr, uint64_t len, uint64_t available, bool write, int too_long)
{
    if (room(addr) == 0)
        return len == 0 && ends_at(addr) ? GUESTMEM_OK : GUESTMEM_E_INVALID_ADDRESS;
    if (len > available) return too_long;
    return write && meets_read_only(addr, len) ? GUESTMEM_E_READ_ONLY : GUESTMEM_OK;
}

static int expect_region(uint64_t addr, uint64_t len, bool write, int too_long)
{
    return expect_in(addr, len, room(addr), write, too_long);
}

static int expect_dma(uint64_t addr, uint64_t len, bool write)
{
    return expect_in(addr, len, long_room(addr), write, GUESTMEM_E_INVALID_RANGE);
}

/* Zero bytes of nowhere are wrong twice over, and either may be said. */
static int expect_pointer(uint64_t addr, uint64_t len, uint64_t available, bool write, int said)
{
    if (room(addr) == 0 && len == 0)
        return said == GUESTMEM_E_INVALID_SIZE ? said : GUESTMEM_E_INVALID_ADDRESS;
    if (room(addr) == 0) return GUESTMEM_E_INVALID_ADDRESS;
    if (len == 0) return GUESTMEM_E_INVALID_SIZE;
    return expect_in(addr, len, available, write, GUESTMEM_E_INVALID_RANGE);
}

static int expect_aligned(uint64_t addr, uint64_t len, uint64_t width, bool write)
{
    int code = expect_region(addr, len, false, GUESTMEM_E_INVALID_RANGE);
    if (code != GUESTMEM_OK) return code;
    if (addr % width != 0) return GUESTMEM_E_MISALIGNED;
    return expect_region(addr, len, write, GUESTMEM_E_INVALID_RANGE);
}

#endif
