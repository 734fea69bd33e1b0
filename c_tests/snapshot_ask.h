/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Metadata of any kind, asked of a memory of two regions: the answer is a code, and memory is as it
 * was, byte for byte, unless the metadata was good. */
#ifndef SNAPSHOT_ASK_H
#define SNAPSHOT_ASK_H

#include "support/forged_metadata.h"
#include "support/snapshots.h"

static const struct guestmem_range ranges[2] = {{0x10000, 0x4000}, {0x20000, 0x4000}};
static struct guestmem *mem;
static uint8_t *before; /* what memory must stay */
static uint8_t *wanted; /* what the good snapshot makes of it */
static struct image good;

enum { ANY = 1 }; /* any code but OK that concerns the snapshot */

__attribute__((unused)) static void reset_memory(void)
{
    CHECK_OK(guestmem_dma_fill(mem, 0x10000, 0x5a, 0x4000));
    CHECK_OK(guestmem_dma_fill(mem, 0x20000, 0xa5, 0x4000));
}

__attribute__((unused)) static void fail_with(const char *text, size_t len, int code, const char *what)
{
    char line[600];
    (void)snprintf(line, sizeof line, "%s: %s for %.*s", what, guestmem_error_name(code),
                   len > 500 ? 500 : (int)len, text);
    check_fail(__FILE__, __LINE__, line);
}

/* Gives the code; the text lies in a buffer of exactly its length. */
__attribute__((unused)) static int restore_text(const char *text, size_t len)
{
    struct stream stream;
    char *exact = malloc(len == 0 ? 1 : len);
    int code, again;
    REQUIRE(exact != NULL);
    memcpy(exact, text, len);
    REQUIRE(lseek(good.fd, 0, SEEK_SET) == 0);
    code = guestmem_restore(mem, exact, len, good.fd, NULL, 0);
    if (code == GUESTMEM_OK) {
        if (!memory_is(mem, wanted))
            fail_with(text, len, code, "accepted, and other bytes than the snapshot's");
        reset_memory();
    } else {
        if (!memory_is(mem, before)) fail_with(text, len, code, "memory changed");
    }
    if (code != GUESTMEM_OK && code != GUESTMEM_E_CORRUPT && code != GUESTMEM_E_SNAPSHOT_SHORT &&
        code != GUESTMEM_E_SNAPSHOT_LONG) {
        stream_new(&stream, 0);
        again = guestmem_restore_read(mem, exact, len, stream_read, &stream, NULL, 0);
        if (again != code) fail_with(text, len, again, "another answer with a callback");
        if (stream.calls != 0) fail_with(text, len, code, "read before it refused");
        free(stream.bytes);
    }
    free(exact);
    return code;
}

__attribute__((unused)) static bool about_the_snapshot(int code)
{
    return code == GUESTMEM_E_METADATA || code == GUESTMEM_E_MISMATCH ||
           code == GUESTMEM_E_UNSUPPORTED || code == GUESTMEM_E_CORRUPT ||
           code == GUESTMEM_E_SNAPSHOT_SHORT || code == GUESTMEM_E_SNAPSHOT_LONG;
}

__attribute__((unused)) static void expect_text(const char *text, size_t len, int expected)
{
    int code = restore_text(text, len);
    if (expected == ANY ? !about_the_snapshot(code) : code != expected)
        fail_with(text, len, code,
                  expected == ANY ? "expected any refusal" : guestmem_error_name(expected));
}

/* The good metadata with one part of it replaced; `from` must be there. */
__attribute__((unused)) static void expect_edit(const char *from, const char *to, int expected)
{
    const char *at = strstr(good.metadata, from);
    char *text = malloc(strlen(good.metadata) + strlen(to) + 1);
    REQUIRE(text != NULL);
    if (at == NULL) {
        check_fail(__FILE__, __LINE__, from);
    } else {
        (void)sprintf(text, "%.*s%s%s", (int)(at - good.metadata), good.metadata, to,
                      at + strlen(from));
        expect_text(text, strlen(text), expected);
    }
    free(text);
}

#define HEAD(data_size) HEAD_OF("packed", data_size)

__attribute__((unused)) static void begin_asking(void)
{
    struct guestmem *other = check_new(ranges, 2);
    CHECK_OK(guestmem_write_u64(other, 0x11000, 0x0123456789abcdef));
    CHECK_OK(guestmem_write_u64(other, 0x12ff0, 0xfedcba9876543210));
    CHECK_OK(guestmem_write_u64(other, 0x23ff8, 42));
    good = image_of(other, NULL);
    REQUIRE(good.size == 3 * PAGE);
    wanted = copy_of(other);
    mem = check_new(ranges, 2);
    reset_memory();
    before = copy_of(mem);
    guestmem_unref(other);
}

__attribute__((unused)) static void end_asking(void)
{
    free(before), free(wanted);
    image_free(&good);
    guestmem_unref(mem);
}

#endif
