/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The layout of a view, and a view made by hand. What its map knows is answered without a call;
 * what it does not is asked of the exported twin with the same arguments. The twins are in this
 * program, which needs nothing of the library: it also runs where there is only an emulator.
 * runs: asan valgrind qemu */
#include "support/check.h"

#define PINNED(type, field, offset, type_of_field)                                                \
    _Static_assert(offsetof(struct type, field) == offset &&                                      \
                       sizeof(((struct type *)0)->field) == sizeof(type_of_field),                \
                   "layout of " #type)

PINNED(guestmem_chunk, end, 0, uint64_t);
PINNED(guestmem_chunk, delta, 8, uint64_t);
_Static_assert(sizeof(struct guestmem_chunk) == 16, "layout of guestmem_chunk");
PINNED(guestmem_view, chunks, 0, const struct guestmem_chunk *);
PINNED(guestmem_view, count, 8, uint64_t);
PINNED(guestmem_view, shift, 16, uint64_t);
PINNED(guestmem_view, generation, 24, uint64_t);
PINNED(guestmem_view, live_generation, 32, const uint64_t *);
PINNED(guestmem_view, mem, 40, const struct guestmem *);
PINNED(guestmem_view, table, 48, const void *);
_Static_assert(sizeof(struct guestmem_view) == 56, "layout of guestmem_view");

/* --- the exported twins -------------------------------------------------------------------- */

/* What the last call of one was asked. Volatile, because the compiler may take it that one of them
 * changes nothing. */
static volatile struct {
    unsigned calls;
    const struct guestmem_view *view;
    uint64_t addr, number; /* length or value */
    uint32_t order;
    unsigned width;
} asked;

/* What they answer, and are to answer for what the map does not know. */
static bool twins_know, others_known;
static uint64_t twins_value;
static uint8_t elsewhere; /* what their pointers lead to */

static bool ask(unsigned width, const struct guestmem_view *view, uint64_t addr, uint64_t number,
                uint32_t order)
{
    asked.calls++;
    asked.width = width;
    asked.view = view;
    asked.addr = addr;
    asked.number = number;
    asked.order = order;
    return twins_know;
}

enum { NO_ORDER = 99, TO_READ = 0, TO_WRITE = 1 };

void *guestmem_view_ptr_fn(const struct guestmem_view *view, uint64_t addr, uint64_t len)
{
    return ask(TO_READ, view, addr, len, NO_ORDER) ? &elsewhere : NULL;
}

void *guestmem_view_ptr_writable_fn(const struct guestmem_view *view, uint64_t addr, uint64_t len)
{
    return ask(TO_WRITE, view, addr, len, NO_ORDER) ? &elsewhere : NULL;
}

#define TWINS(W)                                                                                  \
    bool guestmem_view_read_u##W##_fn(const struct guestmem_view *view, uint64_t addr,            \
                                      uint##W##_t *out)                                           \
    {                                                                                             \
        *out = (uint##W##_t)(twins_know ? twins_value : 0);                                       \
        return ask(W, view, addr, 0, NO_ORDER);                                                   \
    }                                                                                             \
    bool guestmem_view_write_u##W##_fn(const struct guestmem_view *view, uint64_t addr,           \
                                       uint##W##_t value)                                         \
    {                                                                                             \
        return ask(W, view, addr, value, NO_ORDER);                                               \
    }                                                                                             \
    bool guestmem_view_load_u##W##_fn(const struct guestmem_view *view, uint64_t addr,            \
                                      uint32_t order, uint##W##_t *out)                           \
    {                                                                                             \
        *out = (uint##W##_t)(twins_know ? twins_value : 0);                                       \
        return ask(W, view, addr, 0, order);                                                      \
    }                                                                                             \
    bool guestmem_view_store_u##W##_fn(const struct guestmem_view *view, uint64_t addr,           \
                                       uint##W##_t value, uint32_t order)                         \
    {                                                                                             \
        return ask(W, view, addr, value, order);                                                  \
    }

TWINS(8)
TWINS(16)
TWINS(32)
TWINS(64)

static void forget(void)
{
    asked.calls = 0;
}

static bool asked_for(unsigned width, const struct guestmem_view *view, uint64_t addr,
                      uint64_t number, uint32_t order)
{
    bool right = asked.calls == 1 && asked.width == width && asked.view == view &&
                 asked.addr == addr && asked.number == number && asked.order == order;
    forget();
    return right;
}

/* --- the view ------------------------------------------------------------------------------ */

/* Two chunks of one region, one of a read-only region, whose last byte the map does not know, and,
 * behind a hole, one whose region ends within it. The host's bytes are in the order of the guest's,
 * without the hole. */
#define CHUNK ((uint64_t)0x1000)
static uint64_t memory[4 * 0x1000 / 8], before[4 * 0x1000 / 8];
static struct guestmem_chunk chunks[6];

static const struct span {
    uint64_t start, end, host;
    bool read_only;
} spans[] = {
    { 1 * CHUNK, 3 * CHUNK, 0, false },
    { 3 * CHUNK, 4 * CHUNK - 1, 2 * CHUNK, true },
    { 5 * CHUNK, 5 * CHUNK + 0x808, 3 * CHUNK, false },
};
enum { SPANS = sizeof spans / sizeof *spans };

static struct guestmem_view made_by_hand(void)
{
    struct guestmem_view view;
    memset(&view, 0, sizeof view);
    /* Holes, where no region is set below. */
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) chunks[i].end = i * CHUNK;
    for (size_t i = 0; i < SPANS; i++)
        for (uint64_t at = spans[i].start; at < spans[i].end; at += CHUNK) {
            chunks[at / CHUNK].end = spans[i].end;
            chunks[at / CHUNK].delta =
                (uint64_t)(uintptr_t)memory + spans[i].host - spans[i].start;
        }
    view.chunks = chunks;
    view.count = sizeof chunks / sizeof *chunks;
    view.shift = 12;
    return view;
}

static const struct span *span_at(uint64_t addr, uint64_t len)
{
    for (size_t i = 0; i < SPANS; i++)
        if (addr >= spans[i].start && addr < spans[i].end)
            return len - 1 < spans[i].end - addr ? &spans[i] : NULL;
    return NULL;
}

static uint8_t *host_of(const struct span *span, uint64_t addr)
{
    return (uint8_t *)memory + span->host + (addr - span->start);
}

/* What the map knows not to be writable is asked too. */
static void pointer(const struct guestmem_view *view, uint64_t addr, uint64_t len, unsigned why)
{
    const struct span *span = span_at(addr, len);
    void *host;
    if (why == TO_WRITE && span != NULL && span->read_only) span = NULL;
    twins_know = span == NULL && others_known;
    host = why == TO_WRITE ? guestmem_view_ptr_writable(view, addr, len)
                           : guestmem_view_ptr(view, addr, len);
    if (span != NULL) {
        CHECK(host == host_of(span, addr));
        CHECK_EQ(asked.calls, 0);
    } else {
        CHECK(host == (twins_know ? &elsewhere : NULL));
        CHECK(asked_for(why, view, addr, len, NO_ORDER));
    }
}

static bool load_order(uint32_t order)
{
    return order == GUESTMEM_RELAXED || order == GUESTMEM_ACQUIRE || order == GUESTMEM_SEQ_CST;
}

static bool store_order(uint32_t order)
{
    return order == GUESTMEM_RELAXED || order == GUESTMEM_RELEASE || order == GUESTMEM_SEQ_CST;
}

/* Only on x86-64 does the inline path itself read and write what is not aligned. */
#ifdef __x86_64__
#define IN_LINE(W, addr) true
#else
#define IN_LINE(W, addr) ((addr) % ((W) / 8) == 0)
#endif

/* What the map knows must be held in memory; what it does not, the twins answer. */
#define VALUES(W)                                                                                 \
    static void reads_u##W(const struct guestmem_view *view, uint64_t addr, uint32_t order)       \
    {                                                                                             \
        const struct span *span = span_at(addr, W / 8), *plain = IN_LINE(W, addr) ? span : NULL;  \
        const bool may = addr % (W / 8) == 0 && load_order(order);                                \
        const uint##W##_t told = (uint##W##_t)(others_known ? twins_value : 0);                   \
        uint##W##_t held = 0, out = 77;                                                           \
        if (span != NULL) memcpy(&held, host_of(span, addr), sizeof held);                        \
        twins_know = plain == NULL && others_known;                                               \
        CHECK(guestmem_view_read_u##W(view, addr, &out) == (plain != NULL || twins_know));        \
        CHECK_EQ(out, plain != NULL ? held : told);                                               \
        CHECK(plain != NULL ? asked.calls == 0 : asked_for(W, view, addr, 0, NO_ORDER));          \
        forget();                                                                                 \
        out = 77;                                                                                 \
        twins_know = span == NULL && others_known;                                                \
        CHECK(guestmem_view_load_u##W(view, addr, order, &out) ==                                 \
              (span != NULL ? may : twins_know));                                                 \
        CHECK_EQ(out, span == NULL ? told : may ? held : 0);                                      \
        CHECK(span == NULL ? asked_for(W, view, addr, 0, order) : asked.calls == 0);              \
    }                                                                                             \
                                                                                                  \
    static void wrote_u##W(uint64_t addr, uint##W##_t value, bool done)                           \
    {                                                                                             \
        if (done) {                                                                               \
            const struct span *span = span_at(addr, W / 8);                                       \
            memcpy((uint8_t *)before + (host_of(span, addr) - (uint8_t *)memory), &value,         \
                   sizeof value);                                                                 \
        }                                                                                         \
        CHECK(memcmp(memory, before, sizeof memory) == 0);                                        \
    }                                                                                             \
                                                                                                  \
    static void writes_u##W(const struct guestmem_view *view, uint64_t addr, uint32_t order)      \
    {                                                                                             \
        const struct span *span = span_at(addr, W / 8), *plain = IN_LINE(W, addr) ? span : NULL;  \
        const bool writable = span != NULL && !span->read_only;                                   \
        const bool in_line = writable && plain != NULL;                                           \
        const bool may = writable && addr % (W / 8) == 0 && store_order(order);                   \
        const uint##W##_t value = (uint##W##_t)~(addr * 0x1234567);                               \
        twins_know = plain == NULL && others_known;                                               \
        CHECK(guestmem_view_write_u##W(view, addr, value) == (in_line || twins_know));            \
        wrote_u##W(addr, value, in_line);                                                         \
        if (in_line) CHECK_EQ(asked.calls, 0);                                                    \
        if (plain == NULL) CHECK(asked_for(W, view, addr, value, NO_ORDER));                      \
        forget();                                                                                 \
        twins_know = span == NULL && others_known;                                                \
        CHECK(guestmem_view_store_u##W(view, addr, (uint##W##_t)~value, order) ==                 \
              (may || twins_know));                                                               \
        wrote_u##W(addr, (uint##W##_t)~value, may);                                               \
        if (may) CHECK_EQ(asked.calls, 0);                                                        \
        if (span == NULL) CHECK(asked_for(W, view, addr, (uint##W##_t)~value, order));            \
        forget();                                                                                 \
    }                                                                                             \
                                                                                                  \
    static void slices_u##W(size_t offset, uint32_t order)                                        \
    {                                                                                             \
        struct guestmem_slice slice;                                                              \
        const bool may = offset <= 100 && 100 - offset >= W / 8 && (offset + 4) % (W / 8) == 0;   \
        const uint##W##_t value = (uint##W##_t)~(offset * 0x1234567);                             \
        uint##W##_t expected = 0, out = 77;                                                       \
        slice.addr = (uint8_t *)memory + 4;                                                       \
        slice.len = 100;                                                                          \
        if (may) memcpy(&expected, (uint8_t *)memory + 4 + offset, sizeof expected);              \
        CHECK(guestmem_slice_load_u##W(slice, offset, order, &out) == (may && load_order(order)));\
        CHECK_EQ(out, load_order(order) ? expected : 0);                                          \
        CHECK(guestmem_slice_store_u##W(slice, offset, value, order) ==                           \
              (may && store_order(order)));                                                       \
        wrote_u##W(CHUNK + 4 + offset, value, may && store_order(order));                         \
        CHECK_EQ(asked.calls, 0);                                                                 \
    }

VALUES(8)
VALUES(16)
VALUES(32)
VALUES(64)

static void everything_at(const struct guestmem_view *view, uint64_t addr, uint32_t order)
{
    static const uint64_t lengths[] = { 0, 1, 2, 8, 9, CHUNK, 2 * CHUNK, (uint64_t)1 << 63,
                                        UINT64_MAX };
    for (unsigned why = TO_READ; why <= TO_WRITE; why++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            pointer(view, addr, lengths[i], why);
        pointer(view, addr, 1 - addr, why);
    }
    reads_u8(view, addr, order);
    reads_u16(view, addr, order);
    reads_u32(view, addr, order);
    reads_u64(view, addr, order);
    writes_u8(view, addr, order);
    writes_u16(view, addr, order);
    writes_u32(view, addr, order);
    writes_u64(view, addr, order);
}

static void slices_at(size_t offset, uint32_t order)
{
    slices_u8(offset, order);
    slices_u16(offset, order);
    slices_u32(offset, order);
    slices_u64(offset, order);
}

static void is_current(struct guestmem_view view)
{
    uint64_t now = 7;
    const struct guestmem *mem = (const struct guestmem *)(const void *)&now;
    CHECK(!guestmem_view_is_current(&view, mem));
    CHECK(!guestmem_view_is_current(&view, NULL));
    view.mem = mem;
    view.live_generation = &now;
    view.generation = 7;
    CHECK(guestmem_view_is_current(&view, mem));
    now = 8;
    CHECK(!guestmem_view_is_current(&view, mem));
    now = 7;
    CHECK(!guestmem_view_is_current(&view, NULL));
    CHECK_EQ(asked.calls, 0);
}

int main(void)
{
    const struct guestmem_view view = made_by_hand();
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        memory[i] = before[i] = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    twins_value = UINT64_C(0x1122334455667788);
    for (uint32_t order = 0; order <= 6; order++) {
        for (uint64_t i = 0; i <= 7 * 17; i++) {
            others_known = (i + order) % 2 == 0;
            everything_at(&view, i / 17 * CHUNK + i % 17 - 8, order);
            everything_at(&view, 5 * CHUNK + 0x800 + i % 17, order);
        }
        for (size_t i = 0; i < 112; i++) slices_at(i, order);
        for (size_t i = 0; i < 17; i++) slices_at((size_t)0 - i, order);
    }
    is_current(view);
    return check_result();
}
