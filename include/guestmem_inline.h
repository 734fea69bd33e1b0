/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The inline functions of libguestmem: section 7 of guestmem.h, which includes this file.
 *
 * A translation or access costs one load and one comparison in the caller's own code. Only for
 * addresses that the view's flat map does not cover do they call the exported twin (`_fn`), which
 * searches all regions. Each value is read or written with a single access.
 *
 * These functions do not check the view pointer: it must not be NULL. A view of all zeros is valid
 * and refuses every address. Failures do not set the thread's last error.
 *
 * Requires C99 or C++11, gcc or clang, and a 64-bit processor.
 */

#ifndef GUESTMEM_INLINE_H
#define GUESTMEM_INLINE_H

#include "guestmem.h"

/**
 * Precedes each definition here. Define it before including this file to use something else, such
 * as `extern inline` in the one C unit that holds external definitions.
 */
#ifndef GUESTMEM_INLINE
#define GUESTMEM_INLINE static inline
#endif

/* This file is both C and C++, declares each function before it defines it, and uses names that the
 * including program may use too. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
#pragma GCC diagnostic ignored "-Wshadow"
#ifdef __cplusplus
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
extern "C" {
#endif

/**
 * Tells whether a view still shows the current regions of its memory.
 *
 * @param view  a view.
 * @param mem   the memory that the view is of.
 * @return True if no region was added or removed since guestmem_get_view(); false also if the view
 *   is of another memory, or its memory is gone.
 */
GUESTMEM_INLINE bool guestmem_view_is_current(const struct guestmem_view *view,
                                              const struct guestmem *mem);

/**
 * Translates a range within one region, for reading. Use guestmem_view_ptr_writable() for memory
 * that will be written.
 *
 * @param view  a view of a live memory.
 * @param addr  first guest address.
 * @param size  size in bytes.
 * @return The host address of the first byte; NULL if size is 0 or the range is not within one
 *   region.
 */
GUESTMEM_INLINE void *guestmem_view_ptr(const struct guestmem_view *view, uint64_t addr,
                                        uint64_t size);

/**
 * Translates a range within one region, for writing and reading. Like guestmem_view_ptr(), but
 * refuses read-only regions.
 *
 * @param view  a view of a live memory.
 * @param addr  first guest address.
 * @param size  size in bytes.
 * @return The host address of the first byte; NULL if size is 0, the range is not within one
 *   region, or that region is read-only.
 */
GUESTMEM_INLINE void *guestmem_view_ptr_writable(const struct guestmem_view *view, uint64_t addr,
                                                 uint64_t size);

/**
 * Reads a value at any alignment, as guestmem_read_u8() and its variants.
 *
 * @param view  a view of a live memory.
 * @param addr  guest address.
 * @param out   the value; 0 if the function returns false.
 * @return False if the value is not within one region.
 */
GUESTMEM_INLINE bool guestmem_view_read_u8(const struct guestmem_view *view, uint64_t addr,
                                           uint8_t *out);
/** @copydoc guestmem_view_read_u8 */
GUESTMEM_INLINE bool guestmem_view_read_u16(const struct guestmem_view *view, uint64_t addr,
                                            uint16_t *out);
/** @copydoc guestmem_view_read_u8 */
GUESTMEM_INLINE bool guestmem_view_read_u32(const struct guestmem_view *view, uint64_t addr,
                                            uint32_t *out);
/** @copydoc guestmem_view_read_u8 */
GUESTMEM_INLINE bool guestmem_view_read_u64(const struct guestmem_view *view, uint64_t addr,
                                            uint64_t *out);

/**
 * Writes a value at any alignment, as guestmem_write_u8() and its variants.
 *
 * @param view   a view of a live memory.
 * @param addr   guest address.
 * @param value  the value.
 * @return False if the value is not within one region, or that region is read-only.
 */
GUESTMEM_INLINE bool guestmem_view_write_u8(const struct guestmem_view *view, uint64_t addr,
                                            uint8_t value);
/** @copydoc guestmem_view_write_u8 */
GUESTMEM_INLINE bool guestmem_view_write_u16(const struct guestmem_view *view, uint64_t addr,
                                             uint16_t value);
/** @copydoc guestmem_view_write_u8 */
GUESTMEM_INLINE bool guestmem_view_write_u32(const struct guestmem_view *view, uint64_t addr,
                                             uint32_t value);
/** @copydoc guestmem_view_write_u8 */
GUESTMEM_INLINE bool guestmem_view_write_u64(const struct guestmem_view *view, uint64_t addr,
                                             uint64_t value);

/**
 * Reads a naturally aligned value atomically, as guestmem_load_u8() and its variants.
 *
 * @param view   a view of a live memory.
 * @param addr   guest address, a multiple of the value's size.
 * @param order  GUESTMEM_RELAXED, _ACQUIRE or _SEQ_CST; free if constant.
 * @param out    the value; 0 if the function returns false.
 * @return False if the value is not within one region or not aligned, or for another order.
 */
GUESTMEM_INLINE bool guestmem_view_load_u8(const struct guestmem_view *view, uint64_t addr,
                                           uint32_t order, uint8_t *out);
/** @copydoc guestmem_view_load_u8 */
GUESTMEM_INLINE bool guestmem_view_load_u16(const struct guestmem_view *view, uint64_t addr,
                                            uint32_t order, uint16_t *out);
/** @copydoc guestmem_view_load_u8 */
GUESTMEM_INLINE bool guestmem_view_load_u32(const struct guestmem_view *view, uint64_t addr,
                                            uint32_t order, uint32_t *out);
/** @copydoc guestmem_view_load_u8 */
GUESTMEM_INLINE bool guestmem_view_load_u64(const struct guestmem_view *view, uint64_t addr,
                                            uint32_t order, uint64_t *out);

/**
 * Writes a naturally aligned value atomically, as guestmem_store_u8() and its variants.
 *
 * @param view   a view of a live memory.
 * @param addr   guest address, a multiple of the value's size.
 * @param value  the value.
 * @param order  GUESTMEM_RELAXED, _RELEASE or _SEQ_CST; free if constant.
 * @return False if the value is not within one region or not aligned, if the region is read-only,
 *   or for another order.
 */
GUESTMEM_INLINE bool guestmem_view_store_u8(const struct guestmem_view *view, uint64_t addr,
                                            uint8_t value, uint32_t order);
/** @copydoc guestmem_view_store_u8 */
GUESTMEM_INLINE bool guestmem_view_store_u16(const struct guestmem_view *view, uint64_t addr,
                                             uint16_t value, uint32_t order);
/** @copydoc guestmem_view_store_u8 */
GUESTMEM_INLINE bool guestmem_view_store_u32(const struct guestmem_view *view, uint64_t addr,
                                             uint32_t value, uint32_t order);
/** @copydoc guestmem_view_store_u8 */
GUESTMEM_INLINE bool guestmem_view_store_u64(const struct guestmem_view *view, uint64_t addr,
                                             uint64_t value, uint32_t order);

/**
 * Reads a naturally aligned value of a slice atomically, for example an index of a ring that was
 * translated once.
 *
 * @param s       a live slice.
 * @param offset  start, in bytes from the slice's start.
 * @param order   GUESTMEM_RELAXED, _ACQUIRE or _SEQ_CST; free if constant.
 * @param out     the value; 0 if the function returns false.
 * @return False if the value is not within the slice or not aligned, or for another order.
 */
GUESTMEM_INLINE bool guestmem_slice_load_u8(struct guestmem_slice s, size_t offset, uint32_t order,
                                            uint8_t *out);
/** @copydoc guestmem_slice_load_u8 */
GUESTMEM_INLINE bool guestmem_slice_load_u16(struct guestmem_slice s, size_t offset,
                                             uint32_t order, uint16_t *out);
/** @copydoc guestmem_slice_load_u8 */
GUESTMEM_INLINE bool guestmem_slice_load_u32(struct guestmem_slice s, size_t offset,
                                             uint32_t order, uint32_t *out);
/** @copydoc guestmem_slice_load_u8 */
GUESTMEM_INLINE bool guestmem_slice_load_u64(struct guestmem_slice s, size_t offset,
                                             uint32_t order, uint64_t *out);

/**
 * Writes a naturally aligned value of a slice atomically.
 *
 * @param s       a live, writable slice.
 * @param offset  start, in bytes from the slice's start.
 * @param value   the value.
 * @param order   GUESTMEM_RELAXED, _RELEASE or _SEQ_CST; free if constant.
 * @return False if the value is not within the slice or not aligned, or for another order.
 */
GUESTMEM_INLINE bool guestmem_slice_store_u8(struct guestmem_slice s, size_t offset, uint8_t value,
                                             uint32_t order);
/** @copydoc guestmem_slice_store_u8 */
GUESTMEM_INLINE bool guestmem_slice_store_u16(struct guestmem_slice s, size_t offset,
                                              uint16_t value, uint32_t order);
/** @copydoc guestmem_slice_store_u8 */
GUESTMEM_INLINE bool guestmem_slice_store_u32(struct guestmem_slice s, size_t offset,
                                              uint32_t value, uint32_t order);
/** @copydoc guestmem_slice_store_u8 */
GUESTMEM_INLINE bool guestmem_slice_store_u64(struct guestmem_slice s, size_t offset,
                                              uint64_t value, uint32_t order);

/* ---- Implementation, not part of the interface. ---- */

/** @cond */

/* The library asserts the same of its own struct. */
#ifdef __cplusplus
#define GUESTMEM_INLINE_ASSERT(condition) static_assert(condition, #condition)
#else
#define GUESTMEM_INLINE_ASSERT(condition) __extension__ _Static_assert(condition, #condition)
#endif
#define GUESTMEM_INLINE_OFFSET(type, field, offset)                                               \
    GUESTMEM_INLINE_ASSERT(offsetof(struct type, field) == (offset))
GUESTMEM_INLINE_ASSERT(sizeof(void *) == 8);
GUESTMEM_INLINE_ASSERT(sizeof(struct guestmem_chunk) == 16);
GUESTMEM_INLINE_OFFSET(guestmem_chunk, end, 0);
GUESTMEM_INLINE_OFFSET(guestmem_chunk, delta, 8);
GUESTMEM_INLINE_ASSERT(sizeof(struct guestmem_view) == 56);
GUESTMEM_INLINE_OFFSET(guestmem_view, chunks, 0);
GUESTMEM_INLINE_OFFSET(guestmem_view, count, 8);
GUESTMEM_INLINE_OFFSET(guestmem_view, shift, 16);
GUESTMEM_INLINE_OFFSET(guestmem_view, generation, 24);
GUESTMEM_INLINE_OFFSET(guestmem_view, live_generation, 32);
GUESTMEM_INLINE_OFFSET(guestmem_view, mem, 40);
GUESTMEM_INLINE_OFFSET(guestmem_view, table, 48);
#undef GUESTMEM_INLINE_OFFSET
#undef GUESTMEM_INLINE_ASSERT

#define GUESTMEM_INLINE_LIKELY(condition) __builtin_expect(!!(condition), 1)

/* On other processors the compiler may access data byte by byte unless it knows it to be aligned
 * (-mstrict-align), and this header cannot tell: there the twins make the unaligned accesses. */
#ifdef __x86_64__
#define GUESTMEM_INLINE_ANY_ALIGNMENT 1
#define GUESTMEM_INLINE_UNALIGNED __attribute__((may_alias, aligned(1)))
#else
#define GUESTMEM_INLINE_ANY_ALIGNMENT 0
#define GUESTMEM_INLINE_UNALIGNED __attribute__((may_alias))
#endif

/* Pure, so that loops keep the view in registers across a call that they rarely make. */
void *guestmem_view_ptr_fn(const struct guestmem_view *view, uint64_t addr, uint64_t size)
    __attribute__((pure));
void *guestmem_view_ptr_writable_fn(const struct guestmem_view *view, uint64_t addr, uint64_t size)
    __attribute__((pure));

GUESTMEM_INLINE bool guestmem_view_is_current(const struct guestmem_view *view,
                                              const struct guestmem *mem)
{
    return view->mem == mem && view->live_generation != NULL &&
           __atomic_load_n(view->live_generation, __ATOMIC_ACQUIRE) == view->generation;
}

/* Finds the host address if the flat map knows that one region holds all len bytes, that len is not
 * 0, and, for a write, that the region is not read-only. */
GUESTMEM_INLINE bool guestmem_inline_find(const struct guestmem_view *view, uint64_t addr,
                                          uint64_t len, bool write, void **host)
{
    uint64_t index = addr >> view->shift, room;
    const struct guestmem_chunk *chunk;
    if (!GUESTMEM_INLINE_LIKELY(index < view->count)) return false;
    chunk = &view->chunks[index];
    /* Negative for an address in the chunk but past the end. */
    room = chunk->end - addr;
    if (__builtin_constant_p(len) && len - 1 < INT64_MAX) {
        if (!GUESTMEM_INLINE_LIKELY((int64_t)room >= (int64_t)len)) return false;
    } else {
        if (!GUESTMEM_INLINE_LIKELY(room <= chunk->end)) return false;
        /* 0 bytes wrap to more than any room. */
        if (!GUESTMEM_INLINE_LIKELY(len - 1 < room)) return false;
    }
    if (write && !GUESTMEM_INLINE_LIKELY((chunk->end & 1) == 0)) return false;
    *host = (void *)(uintptr_t)(addr + chunk->delta);
    return true;
}

/* Finds the host address of len bytes in a slice. */
GUESTMEM_INLINE bool guestmem_inline_within(struct guestmem_slice s, size_t offset, size_t len,
                                            void **host)
{
    if (!GUESTMEM_INLINE_LIKELY(offset <= s.len)) return false;
    if (!GUESTMEM_INLINE_LIKELY(len <= s.len - offset)) return false;
    if (!GUESTMEM_INLINE_LIKELY(s.addr != NULL)) return false;
    *host = (void *)((uintptr_t)s.addr + offset);
    return true;
}

GUESTMEM_INLINE void *guestmem_view_ptr(const struct guestmem_view *view, uint64_t addr,
                                        uint64_t size)
{
    void *host;
    if (GUESTMEM_INLINE_LIKELY(guestmem_inline_find(view, addr, size, false, &host))) return host;
    return guestmem_view_ptr_fn(view, addr, size);
}

GUESTMEM_INLINE void *guestmem_view_ptr_writable(const struct guestmem_view *view, uint64_t addr,
                                                 uint64_t size)
{
    void *host;
    if (GUESTMEM_INLINE_LIKELY(guestmem_inline_find(view, addr, size, true, &host))) return host;
    return guestmem_view_ptr_writable_fn(view, addr, size);
}

/* The functions for values of one width. Guest bytes may alias any type, and unaligned values still
 * move with one access. The twins write to a local variable, so that the caller's can stay in a
 * register. */
#define GUESTMEM_INLINE_WIDTH(WIDTH)                                                              \
    typedef __attribute__((may_alias)) uint##WIDTH##_t guestmem_inline_u##WIDTH;                  \
    typedef GUESTMEM_INLINE_UNALIGNED uint##WIDTH##_t guestmem_inline_any_u##WIDTH;               \
                                                                                                  \
    GUESTMEM_INLINE bool guestmem_view_read_u##WIDTH(const struct guestmem_view *view,            \
                                                     uint64_t addr, uint##WIDTH##_t *out)         \
    {                                                                                             \
        void *host;                                                                               \
        uint##WIDTH##_t value;                                                                    \
        bool found;                                                                               \
        if (out == NULL) return false;                                                            \
        if (GUESTMEM_INLINE_LIKELY(                                                               \
                guestmem_inline_find(view, addr, WIDTH / 8, false, &host) &&                      \
                (GUESTMEM_INLINE_ANY_ALIGNMENT || addr % (WIDTH / 8) == 0))) {                    \
            *out = *(const volatile guestmem_inline_any_u##WIDTH *)host;                          \
            return true;                                                                          \
        }                                                                                         \
        found = guestmem_view_read_u##WIDTH##_fn(view, addr, &value);                             \
        *out = value;                                                                             \
        return found;                                                                             \
    }                                                                                             \
                                                                                                  \
    GUESTMEM_INLINE bool guestmem_view_write_u##WIDTH(const struct guestmem_view *view,           \
                                                      uint64_t addr, uint##WIDTH##_t value)       \
    {                                                                                             \
        void *host;                                                                               \
        if (!GUESTMEM_INLINE_LIKELY(                                                              \
                guestmem_inline_find(view, addr, WIDTH / 8, true, &host) &&                       \
                (GUESTMEM_INLINE_ANY_ALIGNMENT || addr % (WIDTH / 8) == 0)))                      \
            return guestmem_view_write_u##WIDTH##_fn(view, addr, value);                          \
        *(volatile guestmem_inline_any_u##WIDTH *)host = value;                                   \
        return true;                                                                              \
    }                                                                                             \
                                                                                                  \
    GUESTMEM_INLINE bool guestmem_inline_load_u##WIDTH(const void *host, uint32_t order,          \
                                                       uint##WIDTH##_t *out)                      \
    {                                                                                             \
        const guestmem_inline_u##WIDTH *word = (const guestmem_inline_u##WIDTH *)host;            \
        if (GUESTMEM_INLINE_LIKELY((uintptr_t)host % (WIDTH / 8) == 0)) {                         \
            switch (order) {                                                                      \
            case GUESTMEM_RELAXED: *out = __atomic_load_n(word, __ATOMIC_RELAXED); return true;   \
            case GUESTMEM_ACQUIRE: *out = __atomic_load_n(word, __ATOMIC_ACQUIRE); return true;   \
            case GUESTMEM_SEQ_CST: *out = __atomic_load_n(word, __ATOMIC_SEQ_CST); return true;   \
            default: break;                                                                       \
            }                                                                                     \
        }                                                                                         \
        *out = 0;                                                                                 \
        return false;                                                                             \
    }                                                                                             \
                                                                                                  \
    GUESTMEM_INLINE bool guestmem_inline_store_u##WIDTH(void *host, uint##WIDTH##_t value,        \
                                                        uint32_t order)                           \
    {                                                                                             \
        guestmem_inline_u##WIDTH *word = (guestmem_inline_u##WIDTH *)host;                        \
        if (!GUESTMEM_INLINE_LIKELY((uintptr_t)host % (WIDTH / 8) == 0)) return false;            \
        switch (order) {                                                                          \
        case GUESTMEM_RELAXED: __atomic_store_n(word, value, __ATOMIC_RELAXED); return true;      \
        case GUESTMEM_RELEASE: __atomic_store_n(word, value, __ATOMIC_RELEASE); return true;      \
        case GUESTMEM_SEQ_CST: __atomic_store_n(word, value, __ATOMIC_SEQ_CST); return true;      \
        default: return false;                                                                    \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    GUESTMEM_INLINE bool guestmem_view_load_u##WIDTH(const struct guestmem_view *view,            \
                                                     uint64_t addr, uint32_t order,               \
                                                     uint##WIDTH##_t *out)                        \
    {                                                                                             \
        void *host;                                                                               \
        uint##WIDTH##_t value;                                                                    \
        bool found;                                                                               \
        if (out == NULL) return false;                                                            \
        if (GUESTMEM_INLINE_LIKELY(                                                               \
                guestmem_inline_find(view, addr, WIDTH / 8, false, &host)))                       \
            return guestmem_inline_load_u##WIDTH(host, order, out);                               \
        found = guestmem_view_load_u##WIDTH##_fn(view, addr, order, &value);                      \
        *out = value;                                                                             \
        return found;                                                                             \
    }                                                                                             \
                                                                                                  \
    GUESTMEM_INLINE bool guestmem_view_store_u##WIDTH(const struct guestmem_view *view,           \
                                                      uint64_t addr, uint##WIDTH##_t value,       \
                                                      uint32_t order)                             \
    {                                                                                             \
        void *host;                                                                               \
        if (!GUESTMEM_INLINE_LIKELY(guestmem_inline_find(view, addr, WIDTH / 8, true, &host)))    \
            return guestmem_view_store_u##WIDTH##_fn(view, addr, value, order);                   \
        return guestmem_inline_store_u##WIDTH(host, value, order);                                \
    }                                                                                             \
                                                                                                  \
    GUESTMEM_INLINE bool guestmem_slice_load_u##WIDTH(struct guestmem_slice s, size_t offset,     \
                                                      uint32_t order, uint##WIDTH##_t *out)       \
    {                                                                                             \
        void *host;                                                                               \
        if (out == NULL) return false;                                                            \
        if (GUESTMEM_INLINE_LIKELY(guestmem_inline_within(s, offset, WIDTH / 8, &host)))          \
            return guestmem_inline_load_u##WIDTH(host, order, out);                               \
        *out = 0;                                                                                 \
        return false;                                                                             \
    }                                                                                             \
                                                                                                  \
    GUESTMEM_INLINE bool guestmem_slice_store_u##WIDTH(struct guestmem_slice s, size_t offset,    \
                                                       uint##WIDTH##_t value, uint32_t order)     \
    {                                                                                             \
        void *host;                                                                               \
        return guestmem_inline_within(s, offset, WIDTH / 8, &host) &&                             \
               guestmem_inline_store_u##WIDTH(host, value, order);                                \
    }

GUESTMEM_INLINE_WIDTH(8)
GUESTMEM_INLINE_WIDTH(16)
GUESTMEM_INLINE_WIDTH(32)
GUESTMEM_INLINE_WIDTH(64)
#undef GUESTMEM_INLINE_WIDTH
#undef GUESTMEM_INLINE_UNALIGNED
#undef GUESTMEM_INLINE_ANY_ALIGNMENT
#undef GUESTMEM_INLINE_LIKELY

/** @endcond */

#ifdef __cplusplus
}
#endif
#pragma GCC diagnostic pop

#endif /* GUESTMEM_INLINE_H */
