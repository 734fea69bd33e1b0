/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Metadata is an attacker's. Whatever it says, the answer is a code and memory is as it was, byte
 * for byte, and the stream was not even looked at. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "process.h"
#include "snapshots.h"

static const struct guestmem_range ranges[2] = {{0x10000, 0x4000}, {0x20000, 0x4000}};
static struct guestmem *mem;
static uint8_t *before; /* what memory must stay */
static uint8_t *wanted; /* what the good snapshot makes of it */
static struct image good;

enum { ANY = 1 }; /* any code but OK that concerns the snapshot */

static void reset_memory(void)
{
    CHECK_OK(guestmem_dma_fill(mem, 0x10000, 0x5a, 0x4000));
    CHECK_OK(guestmem_dma_fill(mem, 0x20000, 0xa5, 0x4000));
}

static void fail_with(const char *text, size_t len, int code, const char *what)
{
    char line[600];
    (void)snprintf(line, sizeof line, "%s: %s for %.*s", what, guestmem_error_name(code),
                   len > 500 ? 500 : (int)len, text);
    check_fail(__FILE__, __LINE__, line);
}

/* Gives the code; the text lies in a buffer of exactly its length. */
static int restore_text(const char *text, size_t len)
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

static bool about_the_snapshot(int code)
{
    return code == GUESTMEM_E_METADATA || code == GUESTMEM_E_MISMATCH ||
           code == GUESTMEM_E_UNSUPPORTED || code == GUESTMEM_E_CORRUPT ||
           code == GUESTMEM_E_SNAPSHOT_SHORT || code == GUESTMEM_E_SNAPSHOT_LONG;
}

static void expect_text(const char *text, size_t len, int expected)
{
    int code = restore_text(text, len);
    if (expected == ANY ? !about_the_snapshot(code) : code != expected)
        fail_with(text, len, code,
                  expected == ANY ? "expected any refusal" : guestmem_error_name(expected));
}

/* The good metadata with one part of it replaced; `from` must be there. */
static void expect_edit(const char *from, const char *to, int expected)
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

/* ---- the text as such ---- */

static void test_truncated_everywhere(void)
{
    size_t len, step = fast() ? 7 : 1;
    for (len = 0; len < strlen(good.metadata); len += step)
        expect_text(good.metadata, len, GUESTMEM_E_METADATA);
    expect_text(good.metadata, strlen(good.metadata), GUESTMEM_OK);
}

static void test_text_that_is_no_json(void)
{
    static const char *const texts[] = {"x",
                                        "{",
                                        "}",
                                        "[]",
                                        "{}",
                                        "null",
                                        "true",
                                        "0",
                                        "\"guestmem\"",
                                        "{\"format\":\"guestmem\"}",
                                        "{\"format\"}",
                                        "{,}",
                                        "{\"a\":}",
                                        "[{}]",
                                        "\xef\xbb\xbf{}",
                                        "   ",
                                        "\n",
                                        "//",
                                        "{}{}"};
    char *text = malloc(strlen(good.metadata) + 100);
    size_t i;
    REQUIRE(text != NULL);
    for (i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_text(texts[i], strlen(texts[i]), GUESTMEM_E_METADATA);
    (void)sprintf(text, "%sx", good.metadata);
    expect_text(text, strlen(text), GUESTMEM_E_METADATA);
    (void)sprintf(text, "%s%s", good.metadata, "{}");
    expect_text(text, strlen(text), GUESTMEM_E_METADATA);
    expect_text(good.metadata, strlen(good.metadata) + 1, GUESTMEM_E_METADATA); /* with the NUL */
    expect_edit("{", "{\"x\":\"\xff\xfe\",", GUESTMEM_E_METADATA);              /* no UTF-8 */
    free(text);
}

/* One byte changed, anywhere, to anything. */
static void test_mutations(void)
{
    uint64_t state = 12;
    size_t len = strlen(good.metadata), rounds = fast() ? 200 : 6000;
    char *text = malloc(len);
    REQUIRE(text != NULL);
    while (rounds-- > 0) {
        int code;
        memcpy(text, good.metadata, len);
        text[random_number(&state) % len] =
            rounds % 3 == 0 ? (char)random_number(&state)
                            : "0123456789[]{}\",:-e."[random_number(&state) % 20];
        code = restore_text(text, len);
        if (code != GUESTMEM_OK && !about_the_snapshot(code))
            fail_with(text, len, code, "what is this");
    }
    free(text);
}

/* ---- each number in turn ---- */

/* Where the n-th number begins, and its length; NULL when there are fewer. */
static const char *nth_number(const char *text, size_t n, size_t *len)
{
    bool in_string = false;
    for (; *text != 0; text++) {
        if (*text == '"') in_string = !in_string;
        *len = strspn(text, "0123456789");
        if (in_string || *len == 0) continue;
        if (n-- == 0) return text;
        text += *len - 1;
    }
    return NULL;
}

static void test_every_number(void)
{
    /* the first group is no number that could be meant; version alone may be another version */
    static const char *const never[] = {"-1",
                                        "-0.5",
                                        "1e400",
                                        "-1e400",
                                        "1.5",
                                        "18446744073709551616",
                                        "99999999999999999999999999",
                                        "\"0\"",
                                        "null",
                                        "true",
                                        "[]",
                                        "{}",
                                        "NaN",
                                        "0x10",
                                        "+1",
                                        "01",
                                        ""};
    static const char *const numbers[] = {"0",
                                          "1",
                                          "4095",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "18446744073709551615",
                                          "18446744073709547520",
                                          "4294967296"};
    char *text = malloc(strlen(good.metadata) + 100);
    const char *at;
    size_t n, i, len;
    REQUIRE(text != NULL);
    for (n = 0; (at = nth_number(good.metadata, n, &len)) != NULL; n++) {
        const bool version = at - good.metadata >= 10 && strncmp(at - 10, "\"version\":", 10) == 0;
        for (i = 0; i < sizeof never / sizeof never[0] + sizeof numbers / sizeof numbers[0]; i++) {
            const bool number = i >= sizeof never / sizeof never[0];
            const char *value = number ? numbers[i - sizeof never / sizeof never[0]] : never[i];
            if (number && strlen(value) == len && strncmp(value, at, len) == 0) continue;
            (void)sprintf(text, "%.*s%s%s", (int)(at - good.metadata), good.metadata, value,
                          at + len);
            expect_text(text, strlen(text), number || version ? ANY : GUESTMEM_E_METADATA);
        }
    }
    CHECK(n > 15);
    free(text);
}

/* ---- keys ---- */

static void test_keys(void)
{
    static const char *const once[] = {
        "\"format\":\"guestmem\"", "\"version\":1",           "\"layout\":\"packed\"",
        "\"compressed\":false",    "\"checksum\":\"crc32c\"", "\"page_size\":4096",
        "\"chunk_size\":1048576",  "\"guest_base\":65536",    "\"size\":16384"};
    static const char *const needed[] = {
        "\"format\":",      "\"version\":", "\"layout\":",     "\"data_size\":",
        "\"checksum\":",    "\"regions\":", "\"guest_base\":", "\"size\":",
        "\"data_ranges\":", "\"start\":",   "\"end\":",        "\"crc\":"};
    char to[256];
    size_t i;
    for (i = 0; i < sizeof once / sizeof once[0]; i++) {
        (void)snprintf(to, sizeof to, "%s,%s", once[i], once[i]);
        expect_edit(once[i], to, GUESTMEM_E_METADATA);
    }
    expect_edit("\"size\":16384", "\"size\":16384,\"si\\u007ae\":16384", GUESTMEM_E_METADATA);
    for (i = 0; i < sizeof needed / sizeof needed[0]; i++)
        expect_edit(needed[i], "\"other\":", GUESTMEM_E_METADATA);
    expect_edit("\"guestmem\"", "\"other\"", GUESTMEM_E_UNSUPPORTED);
    expect_edit("\"version\":1", "\"version\":2", GUESTMEM_E_UNSUPPORTED);
    expect_edit("\"compressed\":false", "\"compressed\":true", GUESTMEM_E_UNSUPPORTED);
    expect_edit("\"layout\":\"packed\"", "\"layout\":\"sparse\"",
                GUESTMEM_E_METADATA); /* then the second region would lie elsewhere */
    expect_edit("\"layout\":\"packed\"", "\"layout\":\"other\"", ANY);
    expect_edit("\"crc32c\"", "\"md5\"", ANY);
    expect_edit("\"compressed\":false", "\"compressed\":\"no\"", ANY);
    /* unknown keys at any level are ignored */
    expect_edit("{", "{\"note\":{\"by\":[1,2.5e3,\"\\u00e4\",null,true]},", GUESTMEM_OK);
    expect_edit("\"guest_base\":", "\"note\":[],\"guest_base\":", GUESTMEM_OK);
    expect_edit("\"start\":", "\"note\":-1e300,\"start\":", GUESTMEM_OK);
    expect_edit("\"format\":", " \n\t\r\"format\" : ", GUESTMEM_OK);
}

/* ---- ranges and regions, without checksums so that only their shape counts ---- */

#define HEAD(data_size)                                                                         \
    "{\"format\":\"guestmem\",\"version\":1,\"layout\":\"packed\",\"compressed\":false,\"page_" \
    "size\":4096,\"data_size\":" data_size                                                      \
    ",\"checksum\":\"none\",\"chunk_size\":1048576,\"regions\":["
#define AREA(base, size, offset, ranges)                                 \
    "{\"guest_base\":" base ",\"size\":" size ",\"file_offset\":" offset \
    ",\"data_ranges\":[" ranges "]}"
#define SPAN(start, end) "{\"start\":" start ",\"end\":" end "}"
#define FIRST(ranges) AREA("65536", "16384", "0", ranges)
#define SECOND(offset, ranges) AREA("131072", "16384", offset, ranges)
/* the file has three pages, which is what the good ones of these add up to */
#define SHAPE(ranges) HEAD("12288") FIRST(ranges) "," SECOND("8192", SPAN("0", "4096")) "]}"

static void expect_shape(const char *text, int expected)
{
    expect_text(text, strlen(text), expected);
}

static void test_range_shapes(void)
{
    static const char *const malformed[] = {
        SHAPE(SPAN("8192", "0")),
        SHAPE(SPAN("16384", "8192")),                            /* inverted */
        SHAPE(SPAN("4096", "12288") "," SPAN("8192", "8192")),   /* empty */
        SHAPE(SPAN("0", "8192") "," SPAN("4096", "8192")),       /* overlapping */
        SHAPE(SPAN("0", "4096") "," SPAN("0", "4096")),          /* the same twice */
        SHAPE(SPAN("8192", "12288") "," SPAN("0", "4096")),      /* out of order */
        SHAPE(SPAN("8192", "16384") "," SPAN("16384", "20480")), /* past the region */
        SHAPE(SPAN("12288", "20480")),
        SHAPE(SPAN("16384", "24576")),
        SHAPE(SPAN("1", "8193")),
        SHAPE(SPAN("0", "8191")),
        SHAPE(SPAN("4095", "12287")), /* not page-aligned */
        SHAPE(SPAN("18446744073709543424", "8192")),
        SHAPE(SPAN("0", "18446744073709547520")),
        SHAPE(SPAN("18446744073709543424", "18446744073709551615")),
        SHAPE(SPAN("9223372036854775808", "9223372036854783999")),
        SHAPE(SPAN("0", "4096")),
        SHAPE(SPAN("0", "12288")),
        SHAPE(""), /* they do not add up */
        SHAPE("{}"),
        SHAPE("[]"),
        SHAPE("0"),
        SHAPE("null"),
        SHAPE("{\"start\":0}"),
        SHAPE("{\"end\":8192}"),
        SHAPE("{\"start\":0,\"start\":0,\"end\":8192}"),
        HEAD("12288")
            FIRST(SPAN("0", "8192")) "," SECOND("4096", SPAN("0", "4096")) "]}", /* file_offset */
        HEAD("12288")
            FIRST(SPAN("0", "8192")) "," SECOND("18446744073709551615", SPAN("0", "4096")) "]}",
        HEAD("0") FIRST(SPAN("0", "8192")) "," SECOND("8192", SPAN("0", "4096")) "]}",
        HEAD("18446744073709551615")
            FIRST(SPAN("0", "8192")) "," SECOND("8192", SPAN("0", "4096")) "]}",
    };
    size_t i;
    for (i = 0; i < sizeof malformed / sizeof malformed[0]; i++)
        expect_shape(malformed[i], GUESTMEM_E_METADATA);
}

static void test_region_shapes(void)
{
    static const char *const mismatched[] = {
        HEAD("8192") FIRST(SPAN("0", "8192")) "]}", /* one is missing */
        HEAD("0") "]}",
        HEAD("12288") FIRST(SPAN("0", "8192")) "," SECOND("8192", SPAN("0", "4096")) "," AREA(
            "1048576", "4096", "12288", "") "]}",
        HEAD("0") AREA("61440", "16384", "0", "") "," SECOND("0", "") "]}", /* moved */
        HEAD("0") AREA("65536", "16384", "0", "") "," AREA("135168", "16384", "0", "") "]}",
        HEAD("0") AREA("65536", "12288", "0", "") "," SECOND("0", "") "]}", /* of another size */
        HEAD("0") AREA("65536", "20480", "0", "") "," SECOND("0", "") "]}",
        HEAD("0") AREA("0", "4096", "0", "") "," FIRST("") "," SECOND("0", "") "]}",
    };
    static const char *const refused[] = {
        /* in one way or the other */
        HEAD("0") SECOND("0", "") "," FIRST("") "]}", /* out of order */
        HEAD("0") FIRST("") "," FIRST("") "]}",       /* the same twice */
        HEAD("0") FIRST("") "," SECOND("0", "") "," SECOND("0", "") "]}",
        HEAD("0") AREA("65537", "16384", "0", "") "," SECOND("0", "") "]}",
        HEAD("0") AREA("65536", "16385", "0", "") "," SECOND("0", "") "]}",
        HEAD("0") AREA("65536", "0", "0", "") "," SECOND("0", "") "]}",
        HEAD("0") AREA("18446744073709547520", "8192", "0", "") "," SECOND("0", "") "]}",
        HEAD("0") AREA("65536", "18446744073709547520", "0", "") "," SECOND("0", "") "]}",
    };
    size_t i;
    for (i = 0; i < sizeof mismatched / sizeof mismatched[0]; i++)
        expect_shape(mismatched[i], GUESTMEM_E_MISMATCH);
    for (i = 0; i < sizeof refused / sizeof refused[0]; i++) expect_shape(refused[i], ANY);
    expect_shape(HEAD("0") "0]}", GUESTMEM_E_METADATA);
    expect_shape(HEAD("0") "{}]}", GUESTMEM_E_METADATA);
    expect_shape(HEAD("0") "[],[]]}", GUESTMEM_E_METADATA);
}

/* What is not forbidden is fine: ranges side by side, other chunk sizes, no checksums. */
static void test_unusual_but_good(void)
{
    uint8_t data[12288];
    char text[2048];
    REQUIRE(pread(good.fd, data, sizeof data, 0) == (ssize_t)sizeof data);
    expect_shape(HEAD("12288")
                     FIRST(SPAN("4096", "12288")) "," SECOND("8192", SPAN("12288", "16384")) "]}",
                 GUESTMEM_OK);
    expect_shape(HEAD("12288") FIRST(SPAN("4096", "8192") "," SPAN("8192", "12288")) "," SECOND(
                     "8192", SPAN("12288", "16384")) "]}",
                 GUESTMEM_OK);
    (void)snprintf(
        text, sizeof text,
        "{\"format\":\"guestmem\",\"version\":1,\"layout\":\"packed\",\"compressed\":false,\"page_"
        "size\":4096,\"data_size\":12288,"
        "\"checksum\":\"crc32c\",\"chunk_size\":4096,\"regions\":[{\"guest_base\":65536,\"size\":"
        "16384,\"file_offset\":0,"
        "\"data_ranges\":[{\"start\":4096,\"end\":12288,\"crc\":[%u,%u]}]},{\"guest_base\":131072,"
        "\"size\":16384,"
        "\"file_offset\":8192,\"data_ranges\":[{\"start\":12288,\"end\":16384,\"crc\":[%u]}]}]}",
        crc32c(data, 4096), crc32c(data + 4096, 4096), crc32c(data + 8192, 4096));
    expect_shape(text, GUESTMEM_OK);
}

static void test_checksum_lists(void)
{
    const char *crc = strstr(good.metadata, "\"crc\":[");
    char from[64], to[160];
    int len;
    REQUIRE(crc != NULL);
    len = (int)strcspn(crc, "]") + 1;
    (void)snprintf(from, sizeof from, "%.*s", len, crc);
    expect_edit(from, "\"crc\":[]", GUESTMEM_E_METADATA);
    expect_edit(from, "\"crc\":[1,2]", GUESTMEM_E_METADATA);
    expect_edit(from, "\"crc\":[4294967296]", GUESTMEM_E_METADATA);
    expect_edit(from, "\"crc\":[\"1\"]", GUESTMEM_E_METADATA);
    expect_edit(from, "\"crc\":1", GUESTMEM_E_METADATA);
    expect_edit(from, "\"crc\":null", GUESTMEM_E_METADATA);
    (void)snprintf(to, sizeof to, "%s,%s", from, from);
    expect_edit(from, to, GUESTMEM_E_METADATA);
    expect_edit("\"chunk_size\":1048576", "\"chunk_size\":1052672", GUESTMEM_E_METADATA);
    expect_edit("\"chunk_size\":1048576", "\"chunk_size\":2097152", GUESTMEM_E_METADATA);
    expect_edit("\"chunk_size\":1048576", "\"chunk_size\":4097", GUESTMEM_E_METADATA);
    expect_edit("\"chunk_size\":1048576", "\"chunk_size\":2048", GUESTMEM_E_METADATA);
    expect_edit("\"chunk_size\":1048576", "\"chunk_size\":4096",
                GUESTMEM_E_METADATA); /* two pages, one checksum */
}

/* ---- depth and size ---- */

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
    expect_nested(130, true, "[", "]", GUESTMEM_E_METADATA);
    expect_nested(200, true, "[", "]", GUESTMEM_E_METADATA);
    expect_nested(200, true, "{\"a\":", "}", GUESTMEM_E_METADATA);
    expect_nested(100000, true, "[", "]", GUESTMEM_E_METADATA);
    expect_nested(100000, true, "{\"a\":[", "]}", GUESTMEM_E_METADATA);
    expect_nested(3000000, false, "[", "", GUESTMEM_E_METADATA);
}

static uint64_t peak_kib(void)
{
    char line[256];
    FILE *file = fopen("/proc/self/status", "re");
    uint64_t peak = 0;
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %" SCNu64, &peak) == 1) break;
    REQUIRE(fclose(file) == 0);
    return peak;
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

static void test_missing_text(void)
{
    CHECK_CODE(guestmem_restore(mem, NULL, 0, good.fd, NULL, 0), GUESTMEM_E_METADATA);
    CHECK_CODE(guestmem_restore(mem, NULL, 10, good.fd, NULL, 0), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_restore(mem, good.metadata, 0, good.fd, NULL, 0), GUESTMEM_E_METADATA);
    CHECK(memory_is(mem, before));
}

int main(void)
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

    test_truncated_everywhere();
    test_text_that_is_no_json();
    test_mutations();
    test_every_number();
    test_keys();
    test_range_shapes();
    test_region_shapes();
    test_unusual_but_good();
    test_checksum_lists();
    test_missing_text();
    test_depth();
    if (fast())
        SKIP_PART("memory use of large metadata");
    else
        test_size(), test_many_ranges();

    free(before), free(wanted);
    image_free(&good);
    guestmem_unref(mem), guestmem_unref(other);
    return check_result();
}
