/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Metadata of an attacker that is deep, long or of many parts: what it costs is in proportion to it,
 * and there is a limit to both.
 * runs: asan valgrind */
#include "support/process.h"
#include "snapshot_ask.h"

static void expect_nested(size_t levels, bool closed, const char *open, const char *close,
                          int expected)
{
    const size_t open_len = strlen(open), close_len = strlen(close);
    char *text = malloc(strlen(good.metadata) + levels * (open_len + close_len) + 32), *at = text;
    size_t i;
    REQUIRE(text != NULL);
    at += sprintf(at, "{\"note\":");
    for (i = 0; i < levels; i++, at += open_len) memcpy(at, open, open_len);
    *at++ = '0';
    for (i = 0; i < levels && closed; i++, at += close_len) memcpy(at, close, close_len);
    at += sprintf(at, ",%s", good.metadata + 1);
    expect_text(text, (size_t)(at - text), expected);
    free(text);
}

static void test_depth(void)
{
    expect_nested(120, true, "[", "]", GUESTMEM_OK);
    expect_nested(120, true, "{\"a\":", "}", GUESTMEM_OK);
    expect_nested(130, true, "[", "]", GUESTMEM_OK);
    expect_nested(200, true, "[", "]", GUESTMEM_OK);
    expect_nested(200, true, "{\"a\":", "}", GUESTMEM_OK);
    expect_nested(100000, true, "[", "]", GUESTMEM_OK);
    expect_nested(100000, true, "{\"a\":[", "]}", GUESTMEM_OK);
    expect_nested(3000000, false, "[", "", GUESTMEM_E_METADATA);
}

/* `head`, then as many copies of `unit` (each followed by a comma but the last) as `size` takes,
 * then `tail`. */
static void expect_large(const char *head, const char *unit, const char *tail, size_t size,
                         int expected)
{
    const size_t unit_len = strlen(unit), count = size / (unit_len + 1);
    char *text = malloc(strlen(head) + count * (unit_len + 1) + strlen(tail) + 1), *at = text;
    uint64_t before_kib, used;
    size_t i, len;
    REQUIRE(text != NULL);
    at += sprintf(at, "%s", head);
    for (i = 0; i < count; i++) {
        memcpy(at, unit, unit_len);
        at += unit_len;
        *at++ = ',';
    }
    at += sprintf(at - 1, "%s", tail) - 1;
    len = (size_t)(at - text);
    REQUIRE(write_number("/proc/self/clear_refs", 5)); /* the peak starts anew */
    before_kib = peak_kib();
    {
        /* straight, without the copy that restore_text makes */
        int code;
        REQUIRE(lseek(good.fd, 0, SEEK_SET) == 0);
        code = guestmem_restore(mem, text, len, good.fd, NULL, 0);
        if (expected == ANY ? !about_the_snapshot(code) : code != expected)
            fail_with(text, len, code, "large metadata");
        if (code == GUESTMEM_OK) reset_memory();
        CHECK(memory_is(mem, before));
    }
    used = (peak_kib() - before_kib) * 1024;
    if (used > 8 * len + (UINT64_C(64) << 20)) {
        fprintf(stderr, "%" PRIu64 " bytes used for %zu\n", used, len);
        fail_with(text, len, 0, "memory use");
    }
    free(text);
}

static void test_size(void)
{
    const size_t mib = (size_t)1 << 20;
    char *note = malloc(strlen(good.metadata) + 32);
    REQUIRE(note != NULL);
    (void)sprintf(note, "\"],%s", good.metadata + 1);
    /* ignored, so good; until it is too long */
    expect_large("{\"note\":[\"", "some text", note, 20 * mib, GUESTMEM_OK);
    expect_large("{\"note\":[\"", "some text", note, 70 * mib, GUESTMEM_E_METADATA);
    (void)sprintf(note, "],%s", good.metadata + 1);
    expect_large("{\"note\":[", "[]", note, 16 * mib, GUESTMEM_OK);
    expect_large("{\"note\":[", "0", note, 16 * mib, GUESTMEM_OK);
    /* where it counts */
    expect_large("{\"regions\":[", "{}", "]}", 16 * mib, GUESTMEM_E_METADATA);
    expect_large(HEAD("12288"), FIRST(""), "]}", 16 * mib, ANY);
    expect_large(
        HEAD("12288") "{\"guest_base\":65536,\"size\":16384,\"file_offset\":0,\"data_ranges\":[",
        SPAN("0", "4096"), "]}]}", 16 * mib, GUESTMEM_E_METADATA);
    expect_large(HEAD("12288") "{\"guest_base\":65536,\"size\":16384,\"file_offset\":0,\"data_"
                               "ranges\":[{\"start\":0,\"end\":4096,\"crc\":[",
                 "0", "]}]}]}", 16 * mib, ANY);
    free(note);
}

/* Half a million ranges that are all in order, and not a byte of data: too short, found before
 * anything is written. */
static void test_many_ranges(void)
{
    const uint64_t size = UINT64_C(1) << 32, count = size / (2 * PAGE);
    const struct guestmem_range range = {0, size};
    struct guestmem *large = check_new(&range, 1);
    char *text = malloc((size_t)count * 48 + 500), *at = text;
    uint64_t i, before_kib;
    REQUIRE(text != NULL);
    at += sprintf(at,
                  "{\"format\":\"guestmem\",\"version\":1,\"layout\":\"packed\",\"compressed\":"
                  "false,\"page_size\":4096,\"data_size\":%" PRIu64
                  ",\"checksum\":\"none\",\"chunk_size\":1048576,\"regions\":[{\"guest_base\":0,"
                  "\"size\":%" PRIu64 ",\"file_offset\":0,\"data_ranges\":[",
                  count * PAGE, size);
    for (i = 0; i < count; i++)
        at += sprintf(at, "%s{\"start\":%" PRIu64 ",\"end\":%" PRIu64 "}", i ? "," : "",
                      i * 2 * PAGE, (i * 2 + 1) * PAGE);
    at += sprintf(at, "]}]}");
    REQUIRE(write_number("/proc/self/clear_refs", 5) && lseek(good.fd, 0, SEEK_SET) == 0);
    before_kib = peak_kib();
    CHECK_OK(guestmem_write_u8(large, 77, 1));
    CHECK_CODE(guestmem_restore(large, text, (size_t)(at - text), good.fd, NULL, 0),
               GUESTMEM_E_SNAPSHOT_SHORT);
    CHECK_EQ(allocated_bytes(info_of(large, 0).fd), PAGE);
    CHECK((peak_kib() - before_kib) * 1024 <= 8 * (uint64_t)(at - text) + (UINT64_C(64) << 20));
    free(text);
    guestmem_unref(large);
}

int main(void)
{
    begin_asking();
    test_depth();
    if (fast())
        SKIP_PART("memory use of large metadata");
    else
        test_size(), test_many_ranges();
    end_asking();
    return check_result();
}
