/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Section 4: what a memory says about itself.
 * runs: asan valgrind qemu musl */
#include "support/process.h"

#include <ctype.h>
#include <sys/resource.h>

static const struct guestmem_range ranges[] = {
    { 0x1000, 0x2000 }, { 0x3000, 0x1000 }, { 0x8000, 0x1000 }, { 0x100000000, 0x3000 }
};
#define REGIONS (sizeof ranges / sizeof *ranges)

static struct guestmem *make(void)
{
    struct guestmem_region_options options[REGIONS];
    struct guestmem *mem = NULL;
    memset(options, 0, sizeof options);
    for (size_t i = 0; i < REGIONS; i++) {
        options[i].guest_addr = ranges[i].guest_addr;
        options[i].size = ranges[i].size;
        options[i].purpose = (uint32_t)i;
    }
    options[1].flags = GUESTMEM_REGION_PRIVATE;
    options[2].flags = GUESTMEM_REGION_READ_ONLY;
    REQUIRE(guestmem_new_with_options(options, REGIONS, sizeof *options, &mem) == GUESTMEM_OK);
    return mem;
}

static void sizes(const struct guestmem *mem)
{
    CHECK_EQ(guestmem_num_regions(mem), 4);
    CHECK_EQ(guestmem_end_addr(mem), 0x100003000);
    CHECK_EQ(guestmem_memory_size(mem), 0x7000);
}

static void region_info(const struct guestmem *mem)
{
    static const uint64_t flags[] = { 0, GUESTMEM_REGION_PRIVATE, GUESTMEM_REGION_READ_ONLY, 0 };
    static const uint64_t offsets[] = { 0, 0, 0x2000, 0x3000 };
    struct guestmem_region_info info, before;
    for (size_t i = 0; i < REGIONS; i++) {
        memset(&info, 0xee, sizeof info);
        CHECK_OK(guestmem_region_info(mem, i, &info, sizeof info));
        CHECK_EQ(info.guest_addr, ranges[i].guest_addr);
        CHECK_EQ(info.size, ranges[i].size);
        CHECK_EQ(info.flags, flags[i]);
        CHECK_EQ(info.purpose, i);
        CHECK_EQ(info.page_size, 4096);
        CHECK(info.host_addr != NULL);
        CHECK((info.fd == -1) == (i == 1));
        CHECK_EQ(info.fd_offset, offsets[i]);
    }
    memset(&info, 0xee, sizeof info);
    before = info;
    CHECK_CODE(guestmem_region_info(mem, REGIONS, &info, sizeof info), GUESTMEM_E_NOT_FOUND);
    CHECK_CODE(guestmem_region_info(mem, SIZE_MAX, &info, sizeof info), GUESTMEM_E_NOT_FOUND);
    CHECK(memcmp(&info, &before, sizeof info) == 0);
}

static void find_region(const struct guestmem *mem)
{
    struct guestmem_region_info info, expected, before;
    uint64_t offset;
    for (size_t i = 0; i < REGIONS; i++) {
        uint64_t last = ranges[i].guest_addr + ranges[i].size - 1;
        CHECK_OK(guestmem_region_info(mem, i, &expected, sizeof expected));
        offset = 1;
        CHECK_OK(guestmem_find_region(mem, ranges[i].guest_addr, &info, sizeof info, &offset));
        CHECK_EQ(offset, 0);
        CHECK(memcmp(&info, &expected, sizeof info) == 0);
        CHECK_OK(guestmem_find_region(mem, last, &info, sizeof info, &offset));
        CHECK_EQ(offset, ranges[i].size - 1);
        CHECK(memcmp(&info, &expected, sizeof info) == 0);
        CHECK_OK(guestmem_find_region(mem, last, NULL, 0, &offset));
        CHECK_OK(guestmem_find_region(mem, last, &info, sizeof info, NULL));
        CHECK_OK(guestmem_find_region(mem, last, NULL, 0, NULL));
    }
    memset(&info, 0xee, sizeof info);
    before = info;
    CHECK_CODE(guestmem_find_region(mem, 0xfff, &info, sizeof info, &offset),
               GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(offset, 0);
    CHECK(memcmp(&info, &before, sizeof info) == 0);
    CHECK_CODE(guestmem_find_region(mem, 0x4000, NULL, 0, NULL), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_find_region(mem, UINT64_MAX, NULL, 0, NULL), GUESTMEM_E_INVALID_ADDRESS);
}

static void address_in_range(const struct guestmem *mem)
{
    CHECK(!guestmem_address_in_range(mem, 0));
    CHECK(!guestmem_address_in_range(mem, 0xfff));
    CHECK(guestmem_address_in_range(mem, 0x1000));
    CHECK(guestmem_address_in_range(mem, 0x3fff));
    CHECK(!guestmem_address_in_range(mem, 0x4000));
    CHECK(guestmem_address_in_range(mem, 0x100002fff));
    CHECK(!guestmem_address_in_range(mem, 0x100003000));
    CHECK(!guestmem_address_in_range(mem, UINT64_MAX));
}

static void range_overlap(const struct guestmem *mem)
{
    CHECK(!guestmem_range_overlap(mem, 0, 0x1000));
    CHECK(guestmem_range_overlap(mem, 0, 0x1001));
    CHECK(guestmem_range_overlap(mem, 0, UINT64_MAX));
    CHECK(guestmem_range_overlap(mem, 0x1234, 0x1235));
    CHECK(!guestmem_range_overlap(mem, 0x4000, 0x8000));
    CHECK(guestmem_range_overlap(mem, 0x3fff, 0x8000));
    CHECK(guestmem_range_overlap(mem, 0x4000, 0x8001));
    CHECK(!guestmem_range_overlap(mem, 0x1234, 0x1234));
    CHECK(!guestmem_range_overlap(mem, 0x2000, 0x1000));
    CHECK(!guestmem_range_overlap(mem, UINT64_MAX, 0));
    CHECK(!guestmem_range_overlap(mem, 0x100003000, UINT64_MAX));
}

static void checked_offset(const struct guestmem *mem)
{
    uint64_t out = 7;
    CHECK_OK(guestmem_checked_offset(mem, 0x1000, 0x2fff, &out));
    CHECK_EQ(out, 0x3fff);
    /* Only the sum must lie in a region. */
    CHECK_OK(guestmem_checked_offset(mem, 0, 0x1000, &out));
    CHECK_EQ(out, 0x1000);
    CHECK_OK(guestmem_checked_offset(mem, 0x5000, 0xffffd000, &out));
    CHECK_EQ(out, 0x100002000);
    CHECK_CODE(guestmem_checked_offset(mem, 0x1000, 0x3000, &out), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_EQ(out, 0);
    out = 7;
    CHECK_CODE(guestmem_checked_offset(mem, 0x2000, UINT64_MAX - 0xfff, &out),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_EQ(out, 0);
    CHECK_CODE(guestmem_checked_offset(mem, UINT64_MAX, UINT64_MAX, &out),
               GUESTMEM_E_INVALID_RANGE);
}

static void is_valid_range(const struct guestmem *mem)
{
    CHECK(guestmem_is_valid_range(mem, 0x1000, 0x2000));
    CHECK(guestmem_is_valid_range(mem, 0x2fff, 1));
    /* Regions that touch are still two. */
    CHECK(!guestmem_is_valid_range(mem, 0x1000, 0x2001));
    CHECK(!guestmem_is_valid_range(mem, 0x2fff, 2));
    CHECK(!guestmem_is_valid_range(mem, 0x1000, 0));
    CHECK(!guestmem_is_valid_range(mem, 0x3000, 0x1001));
    CHECK(!guestmem_is_valid_range(mem, 0x1001, UINT64_MAX));
    CHECK(!guestmem_is_valid_range(mem, 0x4000, 1));
}

static void empty_memory(void)
{
    struct guestmem *mem = check_new(NULL, 0);
    char *json = NULL;
    CHECK_EQ(guestmem_num_regions(mem), 0);
    CHECK_EQ(guestmem_end_addr(mem), 0);
    CHECK_EQ(guestmem_memory_size(mem), 0);
    CHECK(!guestmem_address_in_range(mem, 0));
    CHECK(!guestmem_range_overlap(mem, 0, UINT64_MAX));
    CHECK(!guestmem_is_valid_range(mem, 0, 1));
    CHECK_OK(guestmem_describe(mem, &json));
    guestmem_free(json);
    guestmem_unref(mem);
}

/* A scanner for JSON that only says where a value ends; NULL where there is none. */
static const char *skip_blanks(const char *text)
{
    while (isspace((unsigned char)*text)) text++;
    return text;
}

static const char *skip_string(const char *text)
{
    if (*text++ != '"') return NULL;
    while (*text != '"') {
        if ((unsigned char)*text < 0x20) return NULL;
        if (*text == '\\' && *++text == 0) return NULL;
        text++;
    }
    return text + 1;
}

static const char *skip_value(const char *text);

static const char *skip_members(const char *text, char close)
{
    text = skip_blanks(text + 1);
    if (*text == close) return text + 1;
    for (;;) {
        if (close == '}') {
            text = skip_string(skip_blanks(text));
            if (text == NULL) return NULL;
            text = skip_blanks(text);
            if (*text++ != ':') return NULL;
        }
        text = skip_value(text);
        if (text == NULL) return NULL;
        text = skip_blanks(text);
        if (*text == close) return text + 1;
        if (*text++ != ',') return NULL;
    }
}

static const char *skip_value(const char *text)
{
    static const char *const words[] = { "true", "false", "null" };
    char *end;
    text = skip_blanks(text);
    if (*text == '{') return skip_members(text, '}');
    if (*text == '[') return skip_members(text, ']');
    if (*text == '"') return skip_string(text);
    for (size_t i = 0; i < 3; i++)
        if (strncmp(text, words[i], strlen(words[i])) == 0) return text + strlen(words[i]);
    if (*text != '-' && !isdigit((unsigned char)*text)) return NULL;
    (void)strtod(text, &end);
    return end;
}

static void describe(const struct guestmem *mem)
{
    static const char *const keys[] = { "\"regions\"", "\"policy\"", "resident", "backing" };
    char *json = NULL;
    const char *end;
    CHECK_OK(guestmem_describe(mem, &json));
    REQUIRE(json != NULL);
    end = *skip_blanks(json) == '{' ? skip_value(json) : NULL;
    CHECK(end != NULL && *skip_blanks(end) == 0);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strstr(json, keys[i]) == NULL) check_fail(__FILE__, __LINE__, keys[i]);
    guestmem_free(json);
    guestmem_free(NULL);
}

/* What cannot be asked is left out. */
static int describe_without_proc(void *mem)
{
    const struct rlimit none = {0, 0};
    char *json = NULL;
    check_failures = 0;
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) return 77;
    CHECK_OK(guestmem_describe(mem, &json));
    REQUIRE(json != NULL);
    CHECK(skip_value(json) != NULL && strstr(json, "resident") == NULL);
    CHECK(strstr(json, "\"page_size\":") != NULL);
    guestmem_free(json);
    return check_result();
}

int main(void)
{
    struct guestmem *mem = make();
    int ending;
    sizes(mem);
    region_info(mem);
    find_region(mem);
    address_in_range(mem);
    range_overlap(mem);
    checked_offset(mem);
    is_valid_range(mem);
    describe(mem);
    ending = run_in_child(describe_without_proc, mem);
    if (ending == 77) SKIP_PART("RLIMIT_NOFILE cannot be set");
    else CHECK_EQ(ending, 0);
    guestmem_unref(mem);
    empty_memory();
    return check_result();
}
