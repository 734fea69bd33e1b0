/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Metadata is an attacker's. Whatever it says, the answer is a code and memory is as it was, byte
 * for byte, and the stream was not even looked at.
 * runs: asan valgrind */
#include "snapshot_ask.h"

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

static void test_every_number(void)
{
    char *text = malloc(strlen(good.metadata) + 100);
    const char *at;
    size_t n, i, len;
    REQUIRE(text != NULL);
    for (n = 0; (at = nth_number(good.metadata, n, &len)) != NULL; n++) {
        const bool version = at - good.metadata >= 10 && strncmp(at - 10, "\"version\":", 10) == 0;
        for (i = 0; i < VALUES; i++) {
            const bool number = i >= NO_NUMBERS;
            const char *value = number ? other_numbers[i - NO_NUMBERS] : no_numbers[i];
            if (number && strlen(value) == len && strncmp(value, at, len) == 0) continue;
            (void)sprintf(text, "%.*s%s%s", (int)(at - good.metadata), good.metadata, value,
                          at + len);
            /* version alone may be another version */
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

/* ---- ranges and regions ---- */

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

static void test_missing_text(void)
{
    CHECK_CODE(guestmem_restore(mem, NULL, 0, good.fd, NULL, 0), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_restore(mem, NULL, 10, good.fd, NULL, 0), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_restore(mem, good.metadata, 0, good.fd, NULL, 0), GUESTMEM_E_METADATA);
    CHECK(memory_is(mem, before));
}

int main(void)
{
    begin_asking();
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
    end_asking();
    return check_result();
}
