/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Makes each hot call once to warm up and once to be counted: ./run tells callgrind to count the
 * instructions of the functions count_NAME. What they pass is in memory that others could write, so
 * that the compiler knows none of it beforehand. */

/* A call that the compiler makes of an inline function would be no count of the inline path. */
#define GUESTMEM_INLINE static inline __attribute__((always_inline, unused))
#include <guestmem.h>
#include <stdio.h>
#include <stdlib.h>

/* What a call gives, and how it says that all went well. */
typedef int status;
typedef uint32_t number;
typedef bool truth;
typedef void *pointer;
#define WELL_status(result) ((result) == GUESTMEM_OK)
#define WELL_number(result) ((result) != 0)
#define WELL_truth(result) (result)
#define WELL_pointer(result) ((result) != NULL)

#define TWICE(call) ((call) | (call))

#define HOT_CALLS(CALL)                                                                            \
    /* An empty function of this program, and one of the library that does nothing. */             \
    CALL(status, nothing, (status)u32)                                                             \
    CALL(number, version, guestmem_version())                                                      \
    CALL(status, get_host_address_1, guestmem_get_host_address(one, at, &host))                    \
    CALL(status, get_host_address_256, guestmem_get_host_address(many, at, &host))                 \
    CALL(status, get_host_address_rom, guestmem_get_host_address(wide, rom, &host))                \
    CALL(status, get_host_address_range_1, guestmem_get_host_address_range(one, at, 64, &host))    \
    CALL(status, get_host_address_range_256, guestmem_get_host_address_range(many, at, 64, &host)) \
    CALL(status, get_host_address_range_rom, guestmem_get_host_address_range(wide, rom, 64, &host))\
    CALL(status, get_host_address_range_writable_1,                                                \
         guestmem_get_host_address_range_writable(one, at, 64, &host))                             \
    CALL(status, get_host_address_range_writable_256,                                              \
         guestmem_get_host_address_range_writable(many, at, 64, &host))                            \
    CALL(status, get_host_address_range_writable_rom,                                              \
         guestmem_get_host_address_range_writable(wide, rom, 64, &host))                           \
    CALL(status, get_slice_1, guestmem_get_slice(one, at, 64, &slice))                             \
    CALL(status, get_slice_256, guestmem_get_slice(many, at, 64, &slice))                          \
    CALL(status, get_slice_rom, guestmem_get_slice(wide, rom, 64, &slice))                         \
    CALL(status, get_slice_writable_1, guestmem_get_slice_writable(one, at, 64, &slice))           \
    CALL(status, get_slice_writable_256, guestmem_get_slice_writable(many, at, 64, &slice))        \
    CALL(status, get_slice_writable_rom, guestmem_get_slice_writable(wide, rom, 64, &slice))       \
    CALL(status, get_slices_1, guestmem_get_slices(one, at, 64, slices, CHAIN, &count))            \
    CALL(status, get_slices_rom, guestmem_get_slices(wide, rom, 64, slices, CHAIN, &count))        \
    CALL(status, get_slices_writable_1,                                                            \
         guestmem_get_slices_writable(one, at, 64, slices, CHAIN, &count))                         \
    CALL(status, get_slices_writable_rom,                                                          \
         guestmem_get_slices_writable(wide, rom, 64, slices, CHAIN, &count))                       \
    CALL(status, translate_1, guestmem_translate(one, chain, 1, slices, CHAIN, &count))            \
    CALL(status, translate_16, guestmem_translate(one, chain, CHAIN, slices, CHAIN, &count))       \
    CALL(status, translate_for_1, guestmem_translate_for(one, uses, 1, slices, CHAIN, &count))     \
    CALL(status, translate_for_16,                                                                 \
         guestmem_translate_for(one, uses, CHAIN, slices, CHAIN, &count))                          \
    CALL(status, read_u8, guestmem_read_u8(one, at, &u8))                                          \
    CALL(status, read_u16, guestmem_read_u16(one, at, &u16))                                       \
    CALL(status, read_u32, guestmem_read_u32(one, at, &u32))                                       \
    CALL(status, read_u64, guestmem_read_u64(one, at, &u64))                                       \
    CALL(status, write_u8, guestmem_write_u8(one, at, u8))                                         \
    CALL(status, write_u16, guestmem_write_u16(one, at, u16))                                      \
    CALL(status, write_u32, guestmem_write_u32(one, at, u32))                                      \
    CALL(status, write_u64, guestmem_write_u64(one, at, u64))                                      \
    CALL(status, read_volatile_u64, guestmem_read_volatile_u64(one, at, &u64))                     \
    CALL(status, write_volatile_u64, guestmem_write_volatile_u64(one, at, u64))                    \
    CALL(status, load_u64, guestmem_load_u64(one, at, GUESTMEM_ACQUIRE, &u64))                     \
    CALL(status, store_u64, guestmem_store_u64(one, at, u64, GUESTMEM_RELEASE))                    \
    CALL(status, compare_exchange_u64,                                                             \
         guestmem_compare_exchange_u64(one, at, &u64, u64, GUESTMEM_ACQ_REL, &exchanged))          \
    CALL(status, read_exact_16, guestmem_read_exact(one, at, buffer, 16))                          \
    CALL(status, read_exact_64, guestmem_read_exact(one, at, buffer, 64))                          \
    CALL(status, read_exact_256, guestmem_read_exact(one, at, buffer, 256))                        \
    CALL(status, read_exact_4096, guestmem_read_exact(one, at, buffer, 4096))                      \
    CALL(status, write_all_16, guestmem_write_all(one, at, buffer, 16))                            \
    CALL(status, write_all_64, guestmem_write_all(one, at, buffer, 64))                            \
    CALL(status, write_all_256, guestmem_write_all(one, at, buffer, 256))                          \
    CALL(status, write_all_4096, guestmem_write_all(one, at, buffer, 4096))                        \
    CALL(status, dma_read_16, guestmem_dma_read(one, at, buffer, 16))                              \
    CALL(status, dma_read_64, guestmem_dma_read(one, at, buffer, 64))                              \
    CALL(status, dma_read_256, guestmem_dma_read(one, at, buffer, 256))                            \
    CALL(status, dma_read_4096, guestmem_dma_read(one, at, buffer, 4096))                          \
    CALL(status, dma_write_16, guestmem_dma_write(one, at, buffer, 16))                            \
    CALL(status, dma_write_64, guestmem_dma_write(one, at, buffer, 64))                            \
    CALL(status, dma_write_256, guestmem_dma_write(one, at, buffer, 256))                          \
    CALL(status, dma_write_4096, guestmem_dma_write(one, at, buffer, 4096))                        \
    /* From one place of guest memory to another, and what is done with a slice as a whole. */     \
    CALL(status, dma_copy_4096, guestmem_dma_copy(one, at, there, 4096))                           \
    CALL(status, dma_copy_askew_4096, guestmem_dma_copy(one, at + 1, there + 6, 4096))             \
    CALL(status, dma_fill_4096, guestmem_dma_fill(one, at, 0, 4096))                               \
    CALL(status, slice_read_64, guestmem_slice_read(ring, offset, buffer, 64))                     \
    CALL(status, slice_read_4096, guestmem_slice_read(ring, 0, buffer, 4096))                      \
    CALL(status, slice_write_4096, guestmem_slice_write(ring, 0, buffer, 4096))                    \
    CALL(number, slice_copy_4096, (number)guestmem_slice_copy(ring, page))                         \
    CALL(truth, slice_fill_4096, (guestmem_slice_fill(ring, 0), true))                             \
    CALL(truth, slice_is_zero_4096, guestmem_slice_is_zero(ring))                                  \
    /* In line. */                                                                                 \
    CALL(pointer, view_ptr, guestmem_view_ptr(&view, at, 64))                                      \
    CALL(pointer, view_ptr_rom, guestmem_view_ptr(&wide_view, rom, 64))                            \
    CALL(pointer, view_ptr_writable, guestmem_view_ptr_writable(&view, at, 64))                    \
    CALL(pointer, view_ptr_writable_rom, guestmem_view_ptr_writable(&wide_view, rom, 64))          \
    CALL(truth, view_read_u64, guestmem_view_read_u64(&view, at, &u64))                            \
    CALL(truth, view_write_u64, guestmem_view_write_u64(&view, at, u64))                           \
    CALL(truth, view_load_u64, guestmem_view_load_u64(&view, at, GUESTMEM_ACQUIRE, &u64))          \
    CALL(truth, view_store_u64, guestmem_view_store_u64(&view, at, u64, GUESTMEM_RELEASE))         \
    CALL(truth, slice_load_u16, guestmem_slice_load_u16(ring, offset, GUESTMEM_ACQUIRE, &u16))     \
    CALL(truth, slice_store_u16, guestmem_slice_store_u16(ring, offset, u16, GUESTMEM_RELEASE))    \
    /* What becomes of read_u64 when it is twice the work: ./run shows that it notices. */         \
    CALL(status, twice_read_u64, TWICE(guestmem_read_u64(one, at, &u64)))

/* ---- what they are given ---- */

enum { REGIONS = 256, CHAIN = 16 };

/* Memories of one region and of many; and one in which the flat map alone does not find the ROM,
 * which is smaller than the map's chunks can be where addresses go up to 1 TiB. */
static struct guestmem *one, *many, *wide;
static struct guestmem_view view, wide_view;
static volatile uint64_t at = 0xc80000, there = 0xe80000, rom = 0xfffd0000;
static volatile size_t offset = 64;

/* All of guest memory is zeros, and stays so. */
static struct guestmem_range chain[CHAIN];
static struct guestmem_access uses[CHAIN]; /* the same, to write and to read by turns */
static struct guestmem_slice ring, page, slice, slices[CHAIN];
static size_t count;
static void *host;
static uint8_t u8;
static uint16_t u16;
static uint32_t u32;
static uint64_t u64;
static bool exchanged;
static _Alignas(64) uint8_t buffer[4096];

/* The empty assembly is no instruction, but keeps the compiler from leaving out a call. */
#define DEFINE(type, name, call)                                                                   \
    static __attribute__((noinline)) type count_##name(void)                                       \
    {                                                                                              \
        __asm__ volatile("");                                                                      \
        return call;                                                                               \
    }
HOT_CALLS(DEFINE)

static void must(bool holds, const char *what)
{
    if (holds) return;
    (void)fprintf(stderr, "failed: %s\n", what);
    exit(1);
}
#define MUST(condition) must(condition, #condition)

static void prepare(void)
{
    static const struct guestmem_range whole = {0, 0x2000000};
    static const struct guestmem_range apart[] = {{0, 0xc0000000},
                                                  {0xfffc0000, 0x40000},
                                                  {UINT64_C(1) << 32, UINT64_C(1) << 30},
                                                  {UINT64_C(1) << 40, 0x1000}};
    struct guestmem_range regions[REGIONS];
    size_t i;
    for (i = 0; i < REGIONS; i++) {
        regions[i].guest_addr = i * 0x20000;
        regions[i].size = 0x10000;
    }
    for (i = 0; i < CHAIN; i++) {
        chain[i].guest_addr = at + i * 0x3000;
        chain[i].size = 1500;
        uses[i].guest_addr = chain[i].guest_addr;
        uses[i].size = chain[i].size;
        uses[i].access = i % 2 ? GUESTMEM_ACCESS_READ : GUESTMEM_ACCESS_WRITE;
    }
    MUST(guestmem_new(&whole, 1, &one) == GUESTMEM_OK);
    MUST(guestmem_new(regions, REGIONS, &many) == GUESTMEM_OK);
    MUST(guestmem_new(apart, sizeof apart / sizeof apart[0], &wide) == GUESTMEM_OK);
    MUST(guestmem_get_view(one, &view, sizeof view) == GUESTMEM_OK);
    MUST(guestmem_get_view(wide, &wide_view, sizeof wide_view) == GUESTMEM_OK);
    MUST(guestmem_get_slice(one, at, sizeof buffer, &ring) == GUESTMEM_OK);
    MUST(guestmem_get_slice(one, there, sizeof buffer, &page) == GUESTMEM_OK);
}

static __attribute__((noinline)) void warm_up(void)
{
#define MAKE(type, name, call) (void)count_##name();
    HOT_CALLS(MAKE)
}

static __attribute__((noinline)) void counted(void)
{
#define MAKE_WELL(type, name, call) MUST(WELL_##type(count_##name()));
    HOT_CALLS(MAKE_WELL)
}

int main(void)
{
    prepare();
    warm_up();
    counted();
    MUST(exchanged && count == CHAIN);
    guestmem_unref(wide);
    guestmem_unref(many);
    guestmem_unref(one);
    return 0;
}
