/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* An image of an attacker's, asked about in every way there is: what each way gives must fit what
 * the others give, live memory stays as it is unless it is a good image, and a good image gives the
 * memory that its metadata tells of. */
#ifndef IMAGE_ASK_H
#define IMAGE_ASK_H

#include "support/images.h"

#define PATH "image"

static const struct guestmem_range ranges[2] = {{0x10000, 0x4000}, {0x20000, 0x4000}};
#define DATA ((uint64_t)0x8000) /* bytes of raw memory in the image */

static struct guestmem *mem;
static uint8_t *before;     /* what live memory must stay */
static struct bytes good;   /* a good image */
static char *text;          /* its metadata */
static size_t text_len;
static int image_fd;        /* the image that is asked about */
static int raw_fd;          /* its data alone, as a sparse snapshot has them */

/* The ways in. What follows LOAD_MAP looks at the data too. */
enum { METADATA_OF, LOAD_MAP, LOAD, LOAD_VERIFY, RESTORE_FILE, RESTORE, WAYS };
static const char *const way_names[WAYS] = {"image_metadata",    "load _MAP",    "load",
                                            "load _MAP|_VERIFY", "restore_file", "restore"};

struct answers {
    int code[WAYS];
};

static void complain(const char *what, const char *metadata, size_t len, int way, int code)
{
    char line[700];
    (void)snprintf(line, sizeof line, "%s: %s gave %s for %.*s", what, way_names[way],
                   guestmem_error_name(code), len > 500 ? 500 : (int)len, metadata);
    check_fail(__FILE__, __LINE__, line);
}

/* ---- one image, asked in every way ---- */

static void reset_memory(void)
{
    CHECK_OK(guestmem_dma_fill(mem, 0x10000, 0x5a, 0x4000));
    CHECK_OK(guestmem_dma_fill(mem, 0x20000, 0xa5, 0x4000));
}

/* Memory is what the metadata says, read here once more: data where ranges are and zeros elsewhere;
 * a mapping that was not verified may show anything there. */
static bool holds(const struct guestmem *got, const char *metadata, bool holes_too)
{
    const size_t regions = json_count(metadata, "regions");
    uint64_t file_offset = 0;
    size_t region, i;
    char path[96];
    if (guestmem_num_regions(got) != regions) return false;
    for (region = 0; region < regions; region++) {
        struct guestmem_region_info info = info_of(got, region);
        uint8_t *expected = calloc(1, (size_t)info.size);
        bool same = true;
        size_t count;
        REQUIRE(expected != NULL);
        (void)snprintf(path, sizeof path, "regions[%zu].guest_base", region);
        same = same && json_number(metadata, path) == info.guest_addr;
        (void)snprintf(path, sizeof path, "regions[%zu].size", region);
        same = same && json_number(metadata, path) == info.size;
        (void)snprintf(path, sizeof path, "regions[%zu].data_ranges", region);
        count = json_count(metadata, path);
        if (!holes_too) memcpy(expected, info.host_addr, (size_t)info.size);
        for (i = 0; i < count && same; i++) {
            uint64_t start, end;
            (void)snprintf(path, sizeof path, "regions[%zu].data_ranges[%zu].start", region, i);
            start = json_number(metadata, path);
            (void)snprintf(path, sizeof path, "regions[%zu].data_ranges[%zu].end", region, i);
            end = json_number(metadata, path);
            same = start < end && end <= info.size;
            if (same)
                REQUIRE(pread(raw_fd, expected + start, (size_t)(end - start),
                              (off_t)(file_offset + start)) == (ssize_t)(end - start));
        }
        same = same && memcmp(expected, info.host_addr, (size_t)info.size) == 0;
        free(expected);
        if (!same) return false;
        file_offset += info.size;
    }
    return true;
}

static int ask_load(uint64_t flags, const char *metadata, size_t len, int way)
{
    const struct guestmem_load_options options = {flags, 0, 0, NULL, NULL};
    struct guestmem *loaded = (struct guestmem *)(uintptr_t)64;
    int code = guestmem_load(PATH, &options, sizeof options, &loaded);
    if ((code == GUESTMEM_OK) != (loaded != NULL)) complain("output", metadata, len, way, code);
    if (code == GUESTMEM_OK && !holds(loaded, metadata, way != LOAD_MAP))
        complain("other memory than the image's", metadata, len, way, code);
    guestmem_unref(loaded);
    return code;
}

/* What a restore into the live memory did. */
static void check_live(const char *metadata, size_t len, int way, int code)
{
    if (code != GUESTMEM_OK && !memory_is(mem, before))
        complain("memory changed", metadata, len, way, code);
    if (code == GUESTMEM_OK && !holds(mem, metadata, true))
        complain("other memory than the image's", metadata, len, way, code);
    if (code == GUESTMEM_OK) reset_memory();
}

static bool about_the_image(int code)
{
    return code == GUESTMEM_E_METADATA || code == GUESTMEM_E_UNSUPPORTED ||
           code == GUESTMEM_E_CORRUPT || code == GUESTMEM_E_MISMATCH;
}

/* Asks about the file as it is; `metadata` is what stands in it, with a NUL behind. */
static struct answers ask_image(const char *metadata, size_t len)
{
    struct answers answers;
    int *code = answers.code, way;
    char *given = (char *)&answers;
    code[METADATA_OF] = guestmem_image_metadata(PATH, &given);
    if ((code[METADATA_OF] == GUESTMEM_OK) != (given != NULL) ||
        (given != NULL && (strlen(given) != len || memcmp(given, metadata, len) != 0)))
        complain("output", metadata, len, METADATA_OF, code[METADATA_OF]);
    guestmem_free(given);
    code[LOAD_MAP] = ask_load(GUESTMEM_LOAD_MAP, metadata, len, LOAD_MAP);
    code[LOAD] = ask_load(0, metadata, len, LOAD);
    code[LOAD_VERIFY] =
        ask_load(GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY, metadata, len, LOAD_VERIFY);
    code[RESTORE_FILE] = guestmem_restore_file(mem, PATH, NULL, 0);
    check_live(metadata, len, RESTORE_FILE, code[RESTORE_FILE]);
    code[RESTORE] = GUESTMEM_E_METADATA; /* not asked */
    for (way = 0; way < RESTORE; way++) {
        if (code[way] != GUESTMEM_OK && !about_the_image(code[way]))
            complain("what is this", metadata, len, way, code[way]);
        /* what one way refuses without a look at the data, no other takes */
        if (code[METADATA_OF] != GUESTMEM_OK && code[way] != code[METADATA_OF] &&
            !(way == RESTORE_FILE && code[way] == GUESTMEM_E_MISMATCH))
            complain("the ways differ", metadata, len, way, code[way]);
    }
    if (code[METADATA_OF] == GUESTMEM_OK && code[LOAD_MAP] != GUESTMEM_OK)
        complain("the ways differ", metadata, len, LOAD_MAP, code[LOAD_MAP]);
    return answers;
}

static bool same_answer(int a, int b)
{
    /* regions that no memory has are other regions, too */
    return a == b || (a == GUESTMEM_E_METADATA && b == GUESTMEM_E_MISMATCH);
}

/* Asks with the metadata by themselves too, beside the data: what guards them in the file is right,
 * so the answer is the same. */
static struct answers ask(const char *metadata, size_t len)
{
    struct answers answers = ask_image(metadata, len);
    int code = guestmem_restore(mem, metadata, len, raw_fd, NULL, 0);
    check_live(metadata, len, RESTORE, code);
    answers.code[RESTORE] = code;
    if (!same_answer(answers.code[RESTORE_FILE], code))
        complain("not as restore_file", metadata, len, RESTORE, code);
    return answers;
}

static void expect_refused(const struct answers *answers, const char *metadata, size_t len,
                           int expected)
{
    int way;
    for (way = 0; way < RESTORE; way++)
        if (answers->code[way] != expected)
            complain("expected otherwise", metadata, len, way, answers->code[way]);
}

/* The file as it is, with something wrong around the metadata. */
__attribute__((unused)) static void refuse_image(const char *metadata, size_t len, int expected)
{
    struct answers answers = ask_image(metadata, len);
    expect_refused(&answers, metadata, len, expected);
}

/* Puts this behind the data. */
static void put_tail(const char *metadata, size_t len, const uint8_t *trailer)
{
    REQUIRE(pwrite(image_fd, metadata, len, (off_t)DATA) == (ssize_t)len);
    REQUIRE(pwrite(image_fd, trailer, TRAILER, (off_t)(DATA + len)) == TRAILER);
    REQUIRE(ftruncate(image_fd, (off_t)(DATA + len + TRAILER)) == 0);
}

/* The image with other metadata, and all that guards it right. */
static void forge(const char *metadata, size_t len)
{
    uint8_t trailer[TRAILER];
    make_trailer(trailer, DATA, metadata, len);
    put_tail(metadata, len, trailer);
}

static struct answers ask_forged(const char *metadata)
{
    forge(metadata, strlen(metadata));
    return ask(metadata, strlen(metadata));
}

static void refuse_forged_bytes(const char *metadata, size_t len, int expected)
{
    struct answers answers;
    forge(metadata, len);
    answers = ask(metadata, len);
    expect_refused(&answers, metadata, len, expected);
}

__attribute__((unused)) static void refuse_forged(const char *metadata, int expected)
{
    refuse_forged_bytes(metadata, strlen(metadata), expected);
}

static void reset_image(void)
{
    forge(text, text_len);
}

__attribute__((unused)) static void test_the_good_image(void)
{
    struct answers answers = ask_forged(text);
    int way;
    for (way = 0; way < WAYS; way++)
        if (answers.code[way] != GUESTMEM_OK)
            complain("good", text, text_len, way, answers.code[way]);
}

/* ---- the image and the memory that all this is about ---- */

static void begin_asking(void)
{
    struct guestmem *other = check_new(ranges, 2);
    char *metadata = NULL;
    enter_folder(fast_parent(UINT64_C(1) << 20));
    fill_random((uint8_t *)info_of(other, 0).host_addr + 0x1000, 0x2000, 1);
    fill_random((uint8_t *)info_of(other, 1).host_addr + 0x3000, 0x1000, 2);
    REQUIRE(guestmem_save(other, PATH, NULL, 0) == GUESTMEM_OK);
    REQUIRE(guestmem_image_metadata(PATH, &metadata) == GUESTMEM_OK);
    text_len = strlen(metadata);
    text = malloc(text_len + 1);
    REQUIRE(text != NULL);
    memcpy(text, metadata, text_len + 1);
    good = bytes_of(PATH);
    REQUIRE(good.len == DATA + text_len + TRAILER);
    image_fd = open(PATH, O_RDWR | O_CLOEXEC);
    raw_fd = new_memfd(DATA);
    REQUIRE(image_fd >= 0 && pwrite(raw_fd, good.at, (size_t)DATA, 0) == (ssize_t)DATA);
    mem = check_new(ranges, 2);
    reset_memory();
    before = copy_of(mem);
    guestmem_free(metadata);
    guestmem_unref(other);
    test_the_good_image();
}

static void end_asking(void)
{
    test_the_good_image();
    CHECK(!is_tainted(mem));
    REQUIRE(close(image_fd) == 0 && close(raw_fd) == 0);
    free(before), free(good.at), free(text);
    guestmem_unref(mem);
}

#endif
