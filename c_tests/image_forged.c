/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Metadata that an attacker wrote, in an image whose checksums are all right: every number
 * replaced, keys missing or twice, ranges and regions as no memory has them.
 * runs: asan valgrind */
#include "support/forged_metadata.h"
#include "image_ask.h"

/* ---- each number of the metadata in turn ---- */

static void test_every_number(void)
{
    char *changed = malloc(text_len + 100);
    const char *at;
    size_t n, i, len;
    REQUIRE(changed != NULL);
    for (n = 0; (at = nth_number(text, n, &len)) != NULL; n++) {
        const bool version = at - text >= 10 && strncmp(at - 10, "\"version\":", 10) == 0;
        for (i = 0; i < VALUES; i++) {
            const char *value = i < NO_NUMBERS ? no_numbers[i] : other_numbers[i - NO_NUMBERS];
            (void)sprintf(changed, "%.*s%s%s", (int)(at - text), text, value, at + len);
            if (strcmp(changed, text) == 0) continue;
            if (i < NO_NUMBERS && !version) refuse_forged(changed, GUESTMEM_E_METADATA);
            else if (version && i >= NO_NUMBERS && strcmp(value, "1") != 0)
                refuse_forged(changed, GUESTMEM_E_UNSUPPORTED);
            else (void)ask_forged(changed); /* consistent in itself, whatever it is */
        }
    }
    CHECK(n > 15);
    free(changed);
    reset_image();
}

/* ---- keys ---- */

static void edited(const char *from, const char *to, int expected)
{
    const char *at = strstr(text, from);
    char *changed = malloc(text_len + strlen(to) + 1);
    REQUIRE(changed != NULL);
    if (at == NULL) {
        check_fail(__FILE__, __LINE__, from);
    } else {
        (void)sprintf(changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
        if (expected == GUESTMEM_OK) CHECK_CODE(ask_forged(changed).code[LOAD], GUESTMEM_OK);
        else refuse_forged(changed, expected);
    }
    free(changed);
}

/* Packed data have no place in an image. */
static void test_packed_layout(void)
{
    static const char layout[] = "\"layout\":\"sparse\"";
    const char *at = strstr(text, layout);
    char *packed = malloc(text_len + 1);
    int way;
    REQUIRE(at != NULL && packed != NULL);
    (void)sprintf(packed, "%.*s\"layout\":\"packed\"%s", (int)(at - text), text,
                  at + sizeof layout - 1);
    forge(packed, strlen(packed));
    {
        struct answers answers = ask_image(packed, strlen(packed));
        for (way = 0; way < RESTORE; way++)
            if (answers.code[way] == GUESTMEM_OK)
                complain("packed", packed, strlen(packed), way, GUESTMEM_OK);
    }
    free(packed);
}

static void test_keys(void)
{
    static const char *const keys[] = {"\"format\":\"guestmem\"", "\"version\":1",
                                       "\"layout\":\"sparse\"", "\"compressed\":false",
                                       "\"checksum\":\"crc32c\"", "\"guest_base\":65536",
                                       "\"size\":16384", "\"file_offset\":0"};
    static const char *const needed[] = {"\"format\":", "\"version\":", "\"layout\":",
                                         "\"data_size\":", "\"checksum\":", "\"regions\":",
                                         "\"guest_base\":", "\"size\":", "\"file_offset\":",
                                         "\"data_ranges\":", "\"start\":", "\"end\":", "\"crc\":"};
    char to[256];
    size_t i;
    for (i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        (void)snprintf(to, sizeof to, "%s,%s", keys[i], keys[i]);
        edited(keys[i], to, GUESTMEM_E_METADATA);
    }
    for (i = 0; i < sizeof needed / sizeof needed[0]; i++)
        edited(needed[i], "\"other\":", GUESTMEM_E_METADATA);
    edited("\"guestmem\"", "\"other\"", GUESTMEM_E_UNSUPPORTED);
    edited("\"version\":1", "\"version\":2", GUESTMEM_E_UNSUPPORTED);
    edited("\"compressed\":false", "\"compressed\":true", GUESTMEM_E_UNSUPPORTED);
    edited("{", "{\"note\":[1,2.5e3,\"\\u00e4\",null,true],", GUESTMEM_OK);
    edited("{", "{\"x\":\"\xff\xfe\",", GUESTMEM_E_METADATA);
    edited("}]}]}", "}]}]}x", GUESTMEM_E_METADATA);
    test_packed_layout();
    reset_image();
}

/* A NUL ends a C string, but not the metadata. */
static void test_nul_inside(void)
{
    char *with = malloc(text_len + 2);
    REQUIRE(with != NULL);
    memcpy(with, text, text_len + 1);
    with[text_len + 1] = 0;
    refuse_forged_bytes(with, text_len + 1, GUESTMEM_E_METADATA);
    free(with);
    reset_image();
}

/* ---- regions and ranges ---- */

#define HEAD(data_size) HEAD_OF("sparse", data_size)
#define SECOND(spans) AREA("131072", "16384", "16384", spans)
#define SHAPE(spans) HEAD("12288") FIRST(spans) "," SECOND(SPAN("0", "4096")) "]}"

static void test_range_shapes(void)
{
    static const char *const malformed[] = {
        SHAPE(SPAN("8192", "0")),
        SHAPE(SPAN("16384", "8192")),                            /* inverted */
        SHAPE(SPAN("4096", "12288") "," SPAN("8192", "8192")),   /* empty */
        SHAPE(SPAN("0", "8192") "," SPAN("4096", "8192")),       /* overlapping */
        SHAPE(SPAN("0", "8192") "," SPAN("4096", "4096")),       /* ... and empty */
        SHAPE(SPAN("0", "4096") "," SPAN("0", "4096")),          /* the same twice */
        SHAPE(SPAN("8192", "12288") "," SPAN("0", "4096")),      /* out of order */
        SHAPE(SPAN("8192", "12288") "," SPAN("16384", "20480")), /* past the region */
        SHAPE(SPAN("12288", "20480")),
        SHAPE(SPAN("16384", "24576")),
        SHAPE(SPAN("32768", "40960")), /* past the file's data */
        SHAPE(SPAN("1", "8193")),
        SHAPE(SPAN("0", "8191")),
        SHAPE(SPAN("4095", "12287")), /* not page-aligned */
        SHAPE(SPAN("18446744073709543424", "8192")),
        SHAPE(SPAN("0", "18446744073709547520")),
        SHAPE(SPAN("18446744073709543424", "18446744073709551615")),
        SHAPE(SPAN("9223372036854775808", "9223372036854784000")),
        SHAPE(SPAN("0", "4096")),
        SHAPE(SPAN("0", "12288")),
        SHAPE(""), /* they do not add up */
        HEAD("0") FIRST(SPAN("0", "8192")) "," SECOND("") "]}",
        HEAD("18446744073709551615") FIRST(SPAN("0", "8192")) "," SECOND("") "]}",
        HEAD("18446744073709547520") FIRST(SPAN("0", "8192")) "," SECOND("") "]}",
        SHAPE("{}"),
        SHAPE("[]"),
        SHAPE("0"),
        SHAPE("null"),
        SHAPE("{\"start\":0}"),
        SHAPE("{\"end\":8192}"),
        SHAPE("{\"start\":0,\"start\":0,\"end\":8192}"),
    };
    size_t i;
    for (i = 0; i < sizeof malformed / sizeof malformed[0]; i++)
        refuse_forged(malformed[i], GUESTMEM_E_METADATA);
    CHECK_OK(ask_forged(SHAPE(SPAN("0", "4096") "," SPAN("4096", "8192"))).code[LOAD]);
    CHECK_OK(ask_forged(SHAPE(SPAN("8192", "16384"))).code[RESTORE]);
}

/* Regions as no memory has them, or that do not fill the image. */
static void test_malformed_regions(void)
{
#define BOTH(first, second) HEAD("0") first "," second "]}"
    static const char *const malformed[] = {
        /* overlapping, the same twice, one in the other, out of order */
        BOTH(FIRST(""), AREA("69632", "16384", "16384", "")),
        BOTH(FIRST(""), AREA("65536", "16384", "16384", "")),
        BOTH(AREA("65536", "28672", "0", ""), AREA("69632", "4096", "28672", "")),
        BOTH(AREA("131072", "16384", "0", ""), AREA("65536", "16384", "16384", "")),
        /* empty; not aligned */
        BOTH(AREA("65536", "32768", "0", ""), AREA("131072", "0", "32768", "")),
        BOTH(AREA("65536", "0", "0", ""), AREA("131072", "32768", "0", "")),
        BOTH(AREA("65537", "16384", "0", ""), SECOND("")),
        BOTH(AREA("65536", "16385", "0", ""), AREA("131072", "16383", "16385", "")),
        /* up to the end of all addresses, and past it */
        BOTH(FIRST(""), AREA("18446744073709535232", "16384", "16384", "")),
        BOTH(FIRST(""), AREA("18446744073709543424", "16384", "16384", "")),
        BOTH(FIRST(""), AREA("18446744073709551615", "16384", "16384", "")),
        BOTH(AREA("65536", "18446744073709547520", "0", ""), SECOND("")),
        BOTH(AREA("0", "9223372036854775808", "0", ""),
             AREA("9223372036854775808", "9223372036854771712", "9223372036854775808", "")),
        /* sizes that add up to the image's, but modulo 2^64 */
        BOTH(AREA("0", "9223372036854775808", "0", ""),
             AREA("9223372036854775808", "9223372036854808576", "9223372036854775808", "")),
        /* more and less than the image has */
        HEAD("0") "]}",
        HEAD("0") FIRST("") "]}",
        HEAD("0") AREA("65536", "16384", "16384", "") "]}",
        BOTH(FIRST(""), AREA("131072", "12288", "16384", "")),
        BOTH(FIRST(""), AREA("131072", "20480", "16384", "")),
        HEAD("0") FIRST("") "," SECOND("") "," AREA("262144", "4096", "32768", "") "]}",
        /* file offsets: with a gap, one over the other, swapped, in the middle of a page */
        BOTH(AREA("65536", "16384", "4096", ""), SECOND("")),
        BOTH(FIRST(""), AREA("131072", "16384", "0", "")),
        BOTH(FIRST(""), AREA("131072", "16384", "12288", "")),
        BOTH(FIRST(""), AREA("131072", "16384", "20480", "")),
        BOTH(AREA("65536", "16384", "16384", ""), AREA("131072", "16384", "0", "")),
        BOTH(FIRST(""), AREA("131072", "16384", "16385", "")),
        BOTH(FIRST(""), AREA("131072", "16384", "9223372036854775808", "")),
        BOTH(FIRST(""), AREA("131072", "16384", "18446744073709551615", "")),
        BOTH(AREA("65536", "16384", "18446744073709535232", ""), AREA("131072", "16384", "0", "")),
        HEAD("0") "0]}",
        HEAD("0") "{}]}",
        HEAD("0") "[],[]]}",
    };
    size_t i;
    for (i = 0; i < sizeof malformed / sizeof malformed[0]; i++)
        refuse_forged(malformed[i], GUESTMEM_E_METADATA);
}

/* Fine in itself, but not for the live memory. */
static void test_other_regions(void)
{
    static const char *const others[] = {
        BOTH(FIRST(""), AREA("81920", "16384", "16384", "")), /* they touch */
        BOTH(FIRST(""), AREA("9223372036854775808", "16384", "16384", "")),
        BOTH(FIRST(""), AREA("18446744073709531136", "16384", "16384", "")),
        BOTH(AREA("0", "16384", "0", ""), SECOND("")),
        HEAD("4096") AREA("65536", "4096", "0", SPAN("0", "4096")) ","
            AREA("131072", "28672", "4096", "") "]}",
        HEAD("0") AREA("65536", "32768", "0", "") "]}",
    };
    size_t i;
    for (i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct answers answers = ask_forged(others[i]);
        CHECK_CODE(answers.code[METADATA_OF], GUESTMEM_OK);
        CHECK_CODE(answers.code[LOAD], GUESTMEM_OK);
        CHECK_CODE(answers.code[LOAD_MAP], GUESTMEM_OK);
        CHECK_CODE(answers.code[LOAD_VERIFY], GUESTMEM_E_UNSUPPORTED); /* no checksums */
        CHECK_CODE(answers.code[RESTORE_FILE], GUESTMEM_E_MISMATCH);
        CHECK_CODE(answers.code[RESTORE], GUESTMEM_E_MISMATCH);
    }
    reset_image();
}

/* An image of nothing is one, too. */
static void test_empty_memory(void)
{
    static const char empty[] = HEAD("0") "]}";
    uint8_t trailer[TRAILER];
    struct guestmem *loaded = NULL;
    make_trailer(trailer, 0, empty, sizeof empty - 1);
    write_file("empty", empty, sizeof empty - 1);
    patch_file("empty", sizeof empty - 1, trailer, TRAILER);
    CHECK_OK(guestmem_load("empty", NULL, 0, &loaded));
    CHECK(loaded != NULL && guestmem_num_regions(loaded) == 0);
    guestmem_unref(loaded);
    CHECK_CODE(guestmem_restore_file(mem, "empty", NULL, 0), GUESTMEM_E_MISMATCH);
    CHECK(memory_is(mem, before));
    REQUIRE(remove("empty") == 0);
}

int main(void)
{
    begin_asking();
    test_every_number();
    test_keys();
    test_nul_inside();
    test_range_shapes();
    test_malformed_regions();
    test_other_regions();
    test_empty_memory();
    end_asking();
    return check_result();
}
