/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Images that claim to be huge: regions larger than any machine, more regions than a process may
 * map, more ranges than fit the metadata's limit. An answer comes back, for which the host spends
 * no more memory than the file's length allows.
 * runs: natively only */
#include "support/images.h"
#include "support/process.h"

#define PATH "image"
#define LIMIT (UINT64_C(64) << 20) /* of metadata */

static struct guestmem *mem; /* live memory, of other regions than any image here */
static uint8_t *before;

/* ---- metadata as it grows ---- */

struct growing {
    char *text;
    size_t len, cap;
};

#define HEAD                                                                                    \
    "{\"format\":\"guestmem\",\"version\":1,\"layout\":\"sparse\",\"compressed\":false,\"page_" \
    "size\":4096,\"data_size\":%" PRIu64                                                        \
    ",\"checksum\":\"%s\",\"chunk_size\":1048576,\"regions\":["
#define REGION "{\"guest_base\":%" PRIu64 ",\"size\":%" PRIu64 ",\"file_offset\":%" PRIu64 ","

static struct growing grow_new(size_t cap)
{
    struct growing growing = {malloc(cap), 0, cap};
    REQUIRE(growing.text != NULL);
    return growing;
}

#define GROW(growing, ...)                                                               \
    ((growing)->len += (size_t)snprintf((growing)->text + (growing)->len,                \
                                        (growing)->cap - (growing)->len, __VA_ARGS__))

/* A file of so much memory, all of it a hole, with this behind it; false where the file system has
 * no files of that size. */
static bool put_image(uint64_t memory_size, const struct growing *metadata)
{
    uint8_t trailer[TRAILER];
    int fd = open(PATH, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t done = 0;
    bool fits;
    REQUIRE(fd >= 0 && metadata->len < metadata->cap);
    fits = ftruncate(fd, (off_t)(memory_size + metadata->len + TRAILER)) == 0;
    while (fits && done < metadata->len) {
        ssize_t put = pwrite(fd, metadata->text + done, metadata->len - done,
                             (off_t)(memory_size + done));
        REQUIRE(put > 0);
        done += (size_t)put;
    }
    make_trailer(trailer, memory_size, metadata->text, metadata->len);
    if (fits)
        REQUIRE(pwrite(fd, trailer, TRAILER, (off_t)(memory_size + metadata->len)) == TRAILER);
    REQUIRE(close(fd) == 0);
    return fits;
}

/* ---- one image, asked in every way, each with an eye on what it costs ---- */

static uint64_t peak_before, allowed;

static void begin(void)
{
    REQUIRE(write_number("/proc/self/clear_refs", 5)); /* the peak starts anew */
    peak_before = peak_kib();
}

static void end(const char *way)
{
    uint64_t used = (peak_kib() - peak_before) * 1024;
    if (used <= allowed) return;
    fprintf(stderr, "%s: %" PRIu64 " bytes used, %" PRIu64 " allowed\n", way, used, allowed);
    check_fail(__FILE__, __LINE__, "memory use");
}

static uint64_t allocated_by_image(void)
{
    struct stat st;
    REQUIRE(stat(PATH, &st) == 0);
    return (uint64_t)st.st_blocks;
}

static int load(uint64_t flags, const char *way)
{
    const struct guestmem_load_options options = {flags, 0, 0, NULL, NULL};
    struct guestmem *loaded = (struct guestmem *)(uintptr_t)64;
    int code;
    begin();
    code = guestmem_load(PATH, &options, sizeof options, &loaded);
    end(way);
    CHECK((code == GUESTMEM_OK) == (loaded != NULL));
    guestmem_unref(loaded);
    return code;
}

struct answers {
    int metadata, load, map, verify, file;
};

static struct answers ask(size_t len)
{
    const uint64_t blocks = allocated_by_image();
    struct answers answers;
    char *metadata = (char *)&answers;
    allowed = 8 * (uint64_t)len + (UINT64_C(64) << 20);
    begin();
    answers.metadata = guestmem_image_metadata(PATH, &metadata);
    end("image_metadata");
    CHECK((answers.metadata == GUESTMEM_OK) == (metadata != NULL));
    guestmem_free(metadata);
    answers.load = load(0, "load");
    answers.map = load(GUESTMEM_LOAD_MAP, "load _MAP");
    answers.verify = load(GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY, "load _MAP|_VERIFY");
    begin();
    answers.file = guestmem_restore_file(mem, PATH, NULL, 0);
    end("restore_file");
    CHECK(memory_is(mem, before));
    CHECK_EQ(allocated_by_image(), blocks); /* a look at a hole would have filled it */
    return answers;
}

static void expect_all(const struct answers *answers, int code)
{
    CHECK_CODE(answers->metadata, code);
    CHECK_CODE(answers->load, code);
    CHECK_CODE(answers->map, code);
    CHECK_CODE(answers->verify, code);
    CHECK_CODE(answers->file, code);
}

/* Too much for the machine or for the process. */
static bool too_much(int code)
{
    return code == GUESTMEM_E_NO_MEMORY || code == GUESTMEM_E_TOO_LARGE;
}

/* ---- the sizes ---- */

static void test_regions_larger_than_a_machine(void)
{
    static const uint64_t sizes[] = {UINT64_C(1) << 47, UINT64_C(1) << 60, UINT64_C(1) << 62,
                                     INT64_MAX - UINT64_C(0x1fff)};
    size_t i, made = 0;
    for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct growing metadata = grow_new(1000);
        GROW(&metadata, HEAD REGION "\"data_ranges\":[]}]}", UINT64_C(0), "crc32c", UINT64_C(0),
             sizes[i], UINT64_C(0));
        if (put_image(sizes[i], &metadata)) {
            struct answers answers = ask(metadata.len);
            CHECK_OK(answers.metadata);
            CHECK(too_much(answers.load));
            CHECK(too_much(answers.map));
            CHECK(too_much(answers.verify));
            CHECK_CODE(answers.file, GUESTMEM_E_MISMATCH);
            made++;
        }
        free(metadata.text);
    }
    if (made == 0) SKIP_PART("no file system here has files of 2^47 bytes");
}

/* Each would be a mapping, and no process may have so many. */
static void test_many_regions(void)
{
    struct growing metadata = grow_new(LIMIT + (64 << 20));
    struct answers answers;
    uint64_t count;
    GROW(&metadata, HEAD, UINT64_C(0), "crc32c");
    for (count = 0; count < 200000; count++)
        GROW(&metadata, "%s" REGION "\"data_ranges\":[]}", count == 0 ? "" : ",", count * 2 * PAGE,
             PAGE, count * PAGE);
    GROW(&metadata, "]}");
    REQUIRE(put_image(count * PAGE, &metadata));
    answers = ask(metadata.len);
    CHECK_OK(answers.metadata);
    CHECK(too_much(answers.load));
    CHECK(too_much(answers.map));
    CHECK(too_much(answers.verify));
    CHECK_CODE(answers.file, GUESTMEM_E_MISMATCH);

    /* the last one overlaps the one before */
    metadata.len -= 2;
    GROW(&metadata, "," REGION "\"data_ranges\":[]}]}", (count - 1) * 2 * PAGE, PAGE,
         count * PAGE);
    REQUIRE(put_image((count + 1) * PAGE, &metadata));
    answers = ask(metadata.len);
    expect_all(&answers, GUESTMEM_E_METADATA);

    /* 10^6 of them take more text than there may be */
    metadata.len -= 2;
    for (count++; count < 1000000; count++)
        GROW(&metadata, "," REGION "\"data_ranges\":[]}", count * 2 * PAGE, PAGE, count * PAGE);
    GROW(&metadata, "]}");
    REQUIRE(metadata.len > LIMIT && put_image(count * PAGE, &metadata));
    answers = ask(metadata.len);
    expect_all(&answers, GUESTMEM_E_METADATA);
    free(metadata.text);
}

/* Every second page of one region, in as many ranges as this length takes. */
static struct growing many_ranges(size_t len, uint64_t *count, const char *checksum,
                                  const char *unit_end)
{
    struct growing metadata = grow_new(len + 1000);
    char text[sizeof HEAD + 400];
    size_t head;
    int done;
    uint64_t size = UINT64_C(16) << 30;
    *count = 0;
    /* the head names how many there are: once for its length, once for real */
    GROW(&metadata, HEAD REGION "\"data_ranges\":[", UINT64_C(9999999) * PAGE, checksum,
         UINT64_C(0), size, UINT64_C(0));
    head = metadata.len;
    while (metadata.len < len - 200 && *count < size / (2 * PAGE)) {
        GROW(&metadata, "%s{\"start\":%" PRIu64 ",\"end\":%" PRIu64 "%s}", *count ? "," : "",
             *count * 2 * PAGE, (*count * 2 + 1) * PAGE, unit_end);
        ++*count;
    }
    GROW(&metadata, "]}]}");
    done = snprintf(text, sizeof text, HEAD REGION "\"data_ranges\":[", *count * PAGE, checksum,
                    UINT64_C(0), size, UINT64_C(0));
    REQUIRE(done > 0 && (size_t)done <= head);
    memset(metadata.text, ' ', head); /* as good as nothing, in JSON */
    memcpy(metadata.text + head - (size_t)done, text, (size_t)done);
    return metadata;
}

static void test_many_ranges(void)
{
    const uint64_t size = UINT64_C(16) << 30;
    const struct guestmem_range range = {0, size};
    struct guestmem *large = check_new(&range, 1);
    struct growing metadata;
    struct answers answers;
    uint64_t count;

    /* one checksum each, and the first is wrong already: nothing was written when it is found */
    metadata = many_ranges(LIMIT, &count, "crc32c", ",\"crc\":[1]");
    REQUIRE(count > 1000000 && put_image(size, &metadata));
    answers = ask(metadata.len);
    CHECK_OK(answers.metadata);
    CHECK_CODE(answers.load, GUESTMEM_E_CORRUPT);
    CHECK_OK(answers.map);
    CHECK_CODE(answers.verify, GUESTMEM_E_CORRUPT);
    CHECK_CODE(answers.file, GUESTMEM_E_MISMATCH);
    CHECK_OK(guestmem_write_u8(large, 77, 1));
    begin();
    CHECK_CODE(guestmem_restore_file(large, PATH, NULL, 0), GUESTMEM_E_CORRUPT);
    end("restore_file, same regions");
    CHECK_EQ(allocated_bytes(info_of(large, 0).fd), PAGE);
    CHECK(*(uint8_t *)((uintptr_t)info_of(large, 0).host_addr + 77) == 1);
    free(metadata.text);

    /* all in order, but for the last one, which lies past the region */
    metadata = many_ranges(LIMIT / 4, &count, "none", "");
    metadata.len -= 4;
    GROW(&metadata, ",{\"start\":%" PRIu64 ",\"end\":%" PRIu64 "}]}]}", size, size + PAGE);
    REQUIRE(put_image(size, &metadata));
    answers = ask(metadata.len);
    expect_all(&answers, GUESTMEM_E_METADATA);
    begin();
    CHECK_CODE(guestmem_restore_file(large, PATH, NULL, 0), GUESTMEM_E_METADATA);
    end("restore_file, same regions");
    CHECK_EQ(allocated_bytes(info_of(large, 0).fd), PAGE);
    free(metadata.text);
    guestmem_unref(large);
}

/* Text that is ignored, or of the wrong kind, up to the limit and past it. */
static void expect_filled(const char *head, const char *unit, const char *tail, size_t len,
                          int code)
{
    struct growing metadata = grow_new(len + 4096);
    const size_t unit_len = strlen(unit);
    struct answers answers;
    GROW(&metadata, "%s", head);
    while (metadata.len + unit_len + strlen(tail) <= len) {
        memcpy(metadata.text + metadata.len, unit, unit_len);
        metadata.len += unit_len;
    }
    GROW(&metadata, "%s", tail);
    REQUIRE(put_image(16 * PAGE, &metadata));
    answers = ask(metadata.len);
    if (code == GUESTMEM_OK) {
        CHECK_OK(answers.metadata);
        CHECK_OK(answers.load);
        CHECK_OK(answers.map);
        CHECK_CODE(answers.file, GUESTMEM_E_MISMATCH);
    } else {
        expect_all(&answers, code);
    }
    free(metadata.text);
}

static void test_long_text(void)
{
    char rest[1200], head[600];
    (void)snprintf(head, sizeof head, HEAD, UINT64_C(0), "crc32c");
    (void)snprintf(rest, sizeof rest, "0],%s" REGION "\"data_ranges\":[]}]}", head + 1,
                   UINT64_C(0x7000000), 16 * PAGE, UINT64_C(0));
    expect_filled("{\"note\":[", "[],", rest, LIMIT / 2, GUESTMEM_OK);
    expect_filled("{\"note\":[", "{\"a\":1e9},", rest, LIMIT / 4, GUESTMEM_OK);
    expect_filled("{\"note\":[", "[],", rest, LIMIT + 1000, GUESTMEM_E_METADATA);
    expect_filled("{\"note\":", "[", "", LIMIT / 4, GUESTMEM_E_METADATA); /* deep */
    expect_filled("{\"regions\":[", "{},", "{}]}", LIMIT / 4, GUESTMEM_E_METADATA);
    expect_filled("", " ", "", LIMIT / 4, GUESTMEM_E_METADATA);
}

int main(void)
{
    const struct guestmem_range range = {0x10000, 0x4000};
    enter_folder(fast_parent(UINT64_C(1) << 28));
    mem = check_new(&range, 1);
    fill_random(info_of(mem, 0).host_addr, 0x4000, 3);
    before = copy_of(mem);
    test_regions_larger_than_a_machine();
    test_many_regions();
    test_many_ranges();
    test_long_text();
    CHECK(!is_tainted(mem));
    free(before);
    guestmem_unref(mem);
    return check_result();
}
