/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Files that docs/image-format.md says a reader must refuse, or need not mind: the library and the
 * reader in Python, which was written from that page alone, give the same verdict on each.
 * runs: asan valgrind */
#include "image_edits.h"
#include "support/image_reader.h"
#include "support/images.h"

/* ---- the same files are refused ---- */

/* The reader's words for them. */
static const char *const verdicts[] = {"ok", "refused", "not understood"};

/* Files to be judged by the reader in one go. */
struct judged {
    struct line line;
    int expected[MAX_WORDS];
    unsigned count;
};

static struct {
    uint8_t *bytes; /* a good image of `ranges` */
    size_t len, metadata;
    uint8_t *memory;
    struct guestmem *mem;
} good;

/* How a file is to be loaded: read, and mapped with all the checks that it has. Only the latter
 * sees what lies in a hole. */
enum { CHECKED, IN_A_HOLE, UNCHECKED };

static void check_library(const char *path, int expected, int kind)
{
    static const int codes[] = {GUESTMEM_OK, GUESTMEM_E_METADATA, GUESTMEM_E_UNSUPPORTED};
    unsigned way;
    for (way = 0; way < 2; way++) {
        struct guestmem_load_options options = {0, 0, 0, NULL, NULL};
        struct guestmem *mem = NULL;
        int code, wanted = codes[kind == IN_A_HOLE && way == 0 ? GOOD : expected];
        if (way == 1) options.flags |= GUESTMEM_LOAD_MAP;
        if (way == 1 && kind != UNCHECKED) options.flags |= GUESTMEM_LOAD_VERIFY;
        code = guestmem_load(path, &options, sizeof options, &mem);
        if (code == GUESTMEM_E_CORRUPT && kind != UNCHECKED) code = GUESTMEM_E_METADATA;
        if (code != wanted)
            fprintf(stderr, "%s, way %u: %s\n", path, way, guestmem_error_name(code));
        CHECK_EQ(code, wanted);
        if (mem != NULL) CHECK(memory_is(mem, good.memory));
        guestmem_unref(mem);
    }
}

static void judge(struct judged *judged, const uint8_t *bytes, size_t len, int expected, int kind)
{
    const char *path = path_of("judged", judged->count);
    write_file(path, bytes, len);
    check_library(path, expected, kind);
    if (judged->count == 0) line_begin(&judged->line, "check");
    line_add(&judged->line, path);
    judged->expected[judged->count++] = expected;
}

static void judge_by_the_reader(struct judged *judged)
{
    struct child child = line_run(&judged->line);
    char *at = child.out;
    unsigned i;
    CHECK(child.code == 0 || child.code == 1);
    for (i = 0; i < judged->count; i++) {
        const char *path = path_of("judged", i), *expected = verdicts[judged->expected[i]];
        const size_t path_len = strlen(path), len = strlen(expected);
        char *end = strchr(at, '\n');
        REQUIRE(end != NULL && strncmp(at, path, path_len) == 0);
        *end = 0;
        if (strncmp(at + path_len + 2, expected, len) != 0 ||
            (at[path_len + 2 + len] != ':' && at[path_len + 2 + len] != 0)) {
            fprintf(stderr, "expected %s, %s\n", expected, at);
            check_fail(__FILE__, __LINE__, "the reader agrees");
        }
        at = end + 1;
    }
    CHECK(*at == 0);
    child_free(&child);
    judged->count = 0;
}

static void make_good_image(void)
{
    const unsigned cells[CELLS] = {DATA, HOLE, HOLE, HOLE, HOLE, DATA};
    good.mem = check_new(reader_ranges, REGIONS);
    lay_out(good.mem, cells, 7);
    CHECK_OK(guestmem_save(good.mem, path_of("good", 0), NULL, 0));
    good.bytes = read_file(path_of("good", 0), &good.len);
    good.memory = copy_of(good.mem);
    good.metadata = (size_t)guestmem_memory_size(good.mem);
    REQUIRE(good.len > good.metadata + TRAILER);
}

static void test_flipped_bits(void)
{
    static struct judged judged;
    uint64_t state = 11;
    size_t at, page;
    judge(&judged, good.bytes, good.len, GOOD, CHECKED);
    for (at = 0; at < good.len; at += at < good.metadata ? 1000 : fast() ? 7 : 1) {
        const uint8_t bit = (uint8_t)(1 << random_number(&state) % 8);
        page = at / PAGE;
        good.bytes[at] ^= bit;
        judge(&judged, good.bytes, good.len, DAMAGED,
              page > 0 && page < CELLS - 1 ? IN_A_HOLE : CHECKED);
        good.bytes[at] ^= bit;
    }
    judge_by_the_reader(&judged);
}

static void test_cut_and_longer(void)
{
    static struct judged judged;
    uint8_t *longer = calloc(1, good.len + PAGE);
    size_t len;
    REQUIRE(longer != NULL);
    for (len = 0; len < good.len; len += len < good.metadata ? PAGE : fast() ? 29 : 5)
        judge(&judged, good.bytes, len, DAMAGED, CHECKED);
    judge(&judged, good.bytes, good.len - 1, DAMAGED, CHECKED);
    memcpy(longer, good.bytes, good.len);
    judge(&judged, longer, good.len + 1, DAMAGED, CHECKED);
    judge(&judged, longer, good.len + TRAILER, DAMAGED, CHECKED);
    judge(&judged, longer, good.len + PAGE, DAMAGED, CHECKED);
    memcpy(longer + good.len, good.bytes + good.len - TRAILER, TRAILER); /* a second trailer */
    judge(&judged, longer, good.len + TRAILER, DAMAGED, CHECKED);
    memmove(longer + 1, longer, good.len); /* everything a byte further on */
    judge(&judged, longer, good.len + 1, DAMAGED, CHECKED);
    judge_by_the_reader(&judged);
    free(longer);
}

static void test_trailers(void)
{
    static struct judged judged;
    static const struct {
        unsigned at, bytes;
        uint64_t value;
        int expected;
    } changes[] = {
        {0, 1, 'g', DAMAGED},     {8, 4, 0, UNKNOWN},      {8, 4, 2, UNKNOWN},
        {12, 4, 1, DAMAGED},      {16, 8, 0, DAMAGED},     {16, 8, 0x5000, DAMAGED},
        {16, 8, 0x7000, DAMAGED}, {16, 8, ~0ull, DAMAGED}, {24, 8, 0, DAMAGED},
        {24, 8, 100, DAMAGED},    {24, 8, ~0ull, DAMAGED}, {24, 8, 0x4000001, DAMAGED},
        {32, 4, 0, DAMAGED},      {36, 4, 1, DAMAGED},     {40, 4, 1, DAMAGED},
    };
    uint8_t *trailer = good.bytes + good.len - TRAILER, before[TRAILER];
    size_t i;
    memcpy(before, trailer, TRAILER);
    for (i = 0; i < sizeof changes / sizeof *changes; i++) {
        put_number(trailer + changes[i].at, changes[i].value, changes[i].bytes);
        seal(trailer);
        judge(&judged, good.bytes, good.len, changes[i].expected, CHECKED);
        memcpy(trailer, before, TRAILER);
    }
    /* offset and length that together wrap to the right sum */
    put_number(trailer + 16, good.metadata - 0x1000, 8);
    put_number(trailer + 24, good.len - TRAILER - good.metadata + 0x1000, 8);
    seal(trailer);
    judge(&judged, good.bytes, good.len, DAMAGED, CHECKED);
    memcpy(trailer, before, TRAILER);
    judge_by_the_reader(&judged);
}

/* ---- metadata that says something else ---- */

/* The good image with other metadata, well sealed. */
static void judge_metadata(struct judged *judged, const char *text, size_t len, int expected,
                           int kind)
{
    size_t image_len;
    uint8_t *image = sealed_image(good.bytes, good.metadata, text, len, &image_len);
    judge(judged, image, image_len, expected, kind);
    free(image);
}

static void test_metadata(void)
{
    static const struct {
        const char *text;
        int expected;
    } tails[] = {
        {" \r\n\t", GOOD}, {"x", DAMAGED}, {",", DAMAGED}, {"{}", DAMAGED}, {"}", DAMAGED}};
    static struct judged judged;
    const size_t len = good.len - TRAILER - good.metadata;
    char *text = strndup((const char *)good.bytes + good.metadata, len), edited[2048];
    size_t i;
    REQUIRE(text != NULL && strlen(text) == len);
    for (i = 0; i < sizeof edits / sizeof *edits; i++) {
        const char *from = strstr(text, edits[i].from);
        REQUIRE(from != NULL || fprintf(stderr, "no %s in %s\n", edits[i].from, text) < 0);
        (void)snprintf(edited, sizeof edited, "%.*s%s%s", (int)(from - text), text, edits[i].to,
                       from + strlen(edits[i].from));
        judge_metadata(&judged, edited, strlen(edited), edits[i].expected, CHECKED);
    }
    for (i = 0; i < sizeof tails / sizeof *tails; i++) {
        (void)snprintf(edited, sizeof edited, "%s%s", text, tails[i].text);
        judge_metadata(&judged, edited, strlen(edited), tails[i].expected, CHECKED);
    }
    judge_metadata(&judged, "", 0, DAMAGED, CHECKED);
    judge_metadata(&judged, text, len + 1, DAMAGED, CHECKED); /* with its NUL */
    judge_by_the_reader(&judged);
    free(text);
}

/* Without checksums nothing but the rules for metadata stands between these and what the memory
 * would hold: with them, most would have the wrong ones. */
static void test_metadata_without_checksums(void)
{
    static struct judged judged;
    static const struct {
        unsigned data_size;
        const char *layout, *first, *second, *third;
        int expected;
    } images[] = {
#define AREA(base, size, offset, areas)                                                           \
    "{\"guest_base\":" #base ",\"size\":" #size ",\"file_offset\":" #offset                       \
    ",\"data_ranges\":[" areas "]}"
#define PART(start, end) "{\"start\":" #start ",\"end\":" #end "}"
#define FIRST(areas) AREA(65536, 8192, 0, areas)
#define SECOND "," AREA(73728, 8192, 8192, "")
#define THIRD(areas) "," AREA(18446744073709535232, 8192, 16384, areas)
#define LAST THIRD(PART(4096, 8192))
        {8192, "sparse", FIRST(PART(0, 4096)), SECOND, LAST, GOOD},
        {12288, "sparse", FIRST(PART(0, 8192)), SECOND, LAST, GOOD},
        {12288, "sparse", FIRST(PART(0, 4096) "," PART(4096, 8192)), SECOND, LAST, GOOD},
        {16384, "sparse", FIRST(PART(0, 8192) "," PART(4096, 8192)), SECOND, LAST, DAMAGED},
        {12288, "sparse", FIRST(PART(4096, 8192) "," PART(0, 4096)), SECOND, LAST, DAMAGED},
        {8192, "sparse", FIRST(PART(0, 0) "," PART(0, 4096)), SECOND, LAST, DAMAGED},
        {8192, "sparse", FIRST(PART(0, 8192) "," PART(8192, 4096)), SECOND, LAST, DAMAGED},
        {16384, "sparse", FIRST(PART(0, 12288)), SECOND, LAST, DAMAGED},
        {12288, "sparse", FIRST(PART(0, 4096)), SECOND, THIRD(PART(4096, 12288)), DAMAGED},
        {8191, "sparse", FIRST(PART(0, 4096)), SECOND, THIRD(PART(4096, 8191)), DAMAGED},
        {8192, "sparse", AREA(65537, 8192, 0, PART(0, 4096)), SECOND, LAST, DAMAGED},
        {8192, "sparse", AREA(65536, 8191, 0, PART(0, 4096)), "," AREA(73728, 8193, 8191, ""), LAST,
         DAMAGED},
        {8192, "sparse", AREA(65536, 16384, 0, PART(0, 4096)), "", LAST, GOOD},
        {8192, "packed", AREA(65536, 8192, 0, PART(0, 4096)), "," AREA(73728, 8192, 4096, ""),
         "," AREA(18446744073709535232, 8192, 4096, PART(4096, 8192)), DAMAGED},
        {4096, "sparse", FIRST(PART(0, 4096)), SECOND, "", DAMAGED},
        {8192, "sparse", FIRST(PART(0, 4096)), SECOND "," AREA(98304, 4096, 16384, ""),
         "," AREA(18446744073709535232, 8192, 20480, PART(4096, 8192)), DAMAGED},
    };
    char text[2048];
    size_t i;
    for (i = 0; i < sizeof images / sizeof *images; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"format\":\"guestmem\",\"version\":1,\"layout\":\"%s\","
                       "\"compressed\":false,\"page_size\":4096,\"data_size\":%u,"
                       "\"checksum\":\"none\",\"chunk_size\":1048576,\"regions\":[%s%s%s]}",
                       images[i].layout, images[i].data_size, images[i].first, images[i].second,
                       images[i].third);
        judge_metadata(&judged, text, strlen(text), images[i].expected, UNCHECKED);
    }
    judge_by_the_reader(&judged);
}

/* A packed snapshot, damaged: its data by a bit, by a byte too few and one too many. */
static void test_packed_damage(void)
{
    const struct guestmem_snapshot_options options = {0, 0, 0, NULL, NULL};
    char *data = path_of("packed-damage", 0), *metadata = path_of("packed-damage", 1);
    size_t len, metadata_len;
    uint8_t *bytes, *text;
    int kind;
    snapshot_to(good.mem, data, metadata, options, GUESTMEM_LAYOUT_PACKED);
    bytes = read_file(data, &len);
    bytes = realloc(bytes, len + 1);
    text = read_file(metadata, &metadata_len);
    REQUIRE(bytes != NULL && len > 0);
    bytes[len] = 0;
    for (kind = 0; kind < 4; kind++) {
        static const int codes[] = {GUESTMEM_OK, GUESTMEM_E_CORRUPT, GUESTMEM_E_SNAPSHOT_SHORT,
                                    GUESTMEM_E_SNAPSHOT_LONG};
        struct line line;
        struct child child;
        int fd;
        bytes[len / 2] ^= kind == 1 ? 0x10 : 0;
        write_file(data, bytes, kind == 2 ? len - 1 : kind == 3 ? len + 1 : len);
        bytes[len / 2] ^= kind == 1 ? 0x10 : 0;
        line_begin(&line, "packed");
        line_add(&line, metadata), line_add(&line, data);
        child = line_run(&line);
        CHECK_EQ(child.code, kind != 0);
        child_free(&child);
        fd = open(data, O_RDONLY | O_CLOEXEC);
        REQUIRE(fd >= 0);
        CHECK_CODE(guestmem_restore(good.mem, (char *)text, metadata_len, fd, NULL, 0),
                   codes[kind]);
        REQUIRE(close(fd) == 0);
    }
    free(bytes);
    free(text);
}

int main(void)
{
    require_python();
    folder_new("/dev/shm");
    make_good_image();
    test_flipped_bits();
    test_cut_and_longer();
    test_trailers();
    test_metadata();
    test_metadata_without_checksums();
    test_packed_damage();
    guestmem_unref(good.mem);
    free(good.bytes);
    free(good.memory);
    return check_result();
}
