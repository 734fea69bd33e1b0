/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A unit that redefines GUESTMEM_INLINE to give the inline functions external definitions, as
 * somebody does who wants to call them from other languages without the library's twins. C99.
 * runs: asan valgrind qemu */
#define GUESTMEM_INLINE
#include "support/check.h"
#include "support/inline_functions.h"

#define BASE ((uint64_t)0x10000)

static struct guestmem_view view;
static struct guestmem_slice slice;

/* Volatile, so that the functions behind the pointers are called and not put in line. */
static void *(*volatile ptr)(const struct guestmem_view *, uint64_t, uint64_t) = guestmem_view_ptr;
static void *(*volatile ptr_writable)(const struct guestmem_view *, uint64_t,
                                      uint64_t) = guestmem_view_ptr_writable;
static bool (*volatile is_current)(const struct guestmem_view *,
                                   const struct guestmem *) = guestmem_view_is_current;

#define VALUES(W)                                                                                 \
    static volatile struct functions_u##W u##W = FUNCTIONS(W, );                                  \
                                                                                                  \
    static void values_u##W(void)                                                                 \
    {                                                                                             \
        uint##W##_t out = 0;                                                                      \
        CHECK(u##W.write(&view, BASE + 8, 41));                                                   \
        CHECK(u##W.read(&view, BASE + 8, &out) && out == 41);                                     \
        CHECK(u##W.store(&view, BASE + 8, 42, GUESTMEM_RELEASE));                                 \
        CHECK(u##W.load(&view, BASE + 8, GUESTMEM_ACQUIRE, &out) && out == 42);                   \
        CHECK(u##W.slice_store(slice, 8, 43, GUESTMEM_SEQ_CST));                                  \
        CHECK(u##W.slice_load(slice, 8, GUESTMEM_SEQ_CST, &out) && out == 43);                    \
        CHECK(!u##W.read(&view, BASE + 0x1000, &out) && out == 0);                                \
        CHECK(!u##W.slice_load(slice, 0x1000, GUESTMEM_RELAXED, &out) && out == 0);               \
        CHECK(u##W.read != guestmem_view_read_u##W##_fn);                                         \
    }

VALUES(8)
VALUES(16)
VALUES(32)
VALUES(64)

int main(void)
{
    static const struct guestmem_range range = { BASE, 0x1000 };
    struct guestmem *mem = check_new(&range, 1);
    CHECK_OK(guestmem_get_view(mem, &view, sizeof view));
    CHECK_OK(guestmem_get_slice(mem, BASE, 0x1000, &slice));
    CHECK(is_current(&view, mem));
    CHECK(ptr(&view, BASE, 0x1000) == slice.addr);
    CHECK(ptr(&view, BASE, 0x1001) == NULL);
    CHECK(ptr_writable(&view, BASE, 0x1000) == slice.addr);
    CHECK(ptr_writable(&view, BASE, 0x1001) == NULL);
    CHECK(ptr_writable != guestmem_view_ptr_writable_fn && ptr_writable != ptr);
    CHECK(ptr != guestmem_view_ptr_fn && is_current != guestmem_view_is_current_fn);
    values_u8();
    values_u16();
    values_u32();
    values_u64();
    guestmem_unref(mem);
    return check_result();
}
