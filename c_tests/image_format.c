/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the library writes is what docs/image-format.md says: a reader that was written from that
 * page alone finds every byte of memory in it.
 * runs: asan valgrind */
#include "support/image_reader.h"

/* ---- what was saved is what is read ---- */

/* Memories one after the other, as the reader is to dump them. */
struct expected {
    uint8_t *bytes;
    size_t len;
};

static void expect_memory(struct expected *expected, const struct guestmem *mem)
{
    const size_t size = (size_t)guestmem_memory_size(mem);
    uint8_t *bytes = copy_of(mem);
    expected->bytes = realloc(expected->bytes, expected->len + size + 1);
    REQUIRE(expected->bytes != NULL);
    memcpy(expected->bytes + expected->len, bytes, size);
    expected->len += size;
    free(bytes);
}

static void check_dump(struct line *line, const struct expected *expected)
{
    struct child child = line_run(line);
    CHECK_EQ(child.code, 0);
    CHECK_EQ(child.out_len, expected->len);
    if (child.code != 0 || child.out_len != expected->len)
        fprintf(stderr, "the reader says: %s\n", child.err);
    else
        CHECK(memcmp(child.out, expected->bytes, expected->len) == 0);
    child_free(&child);
}

/* The reader's command lines for memories that were saved in each of the three forms. */
struct forms {
    struct line image, packed, sparse;
    struct expected expected;
    unsigned count;
};

static void forms_begin(struct forms *forms)
{
    memset(forms, 0, sizeof *forms);
    line_begin(&forms->image, "dump");
    line_begin(&forms->packed, "packed");
    line_begin(&forms->sparse, "sparse");
}

static void forms_save(struct forms *forms, const struct guestmem *mem, uint64_t flags)
{
    struct guestmem_snapshot_options options = {flags, 0, 0, NULL, NULL};
    const unsigned n = forms->count++;
    const char *path = path_of("image", n), *data, *metadata;
    CHECK_OK(guestmem_save(mem, path, &options, sizeof options));
    line_add(&forms->image, path);
    data = path_of("packed", n), metadata = path_of("packed-metadata", n);
    snapshot_to(mem, data, metadata, options, GUESTMEM_LAYOUT_PACKED);
    line_add(&forms->packed, metadata), line_add(&forms->packed, data);
    data = path_of("sparse", n), metadata = path_of("sparse-metadata", n);
    CHECK_EQ(snapshot_to(mem, data, metadata, options, GUESTMEM_LAYOUT_SPARSE),
             guestmem_memory_size(mem));
    line_add(&forms->sparse, metadata), line_add(&forms->sparse, data);
    expect_memory(&forms->expected, mem); /* only now: looking at a hole allocates it */
}

static void forms_check(struct forms *forms)
{
    check_dump(&forms->image, &forms->expected);
    check_dump(&forms->packed, &forms->expected);
    check_dump(&forms->sparse, &forms->expected);
    free(forms->expected.bytes);
}

static void test_patterns(void)
{
    struct guestmem *mem = check_new(reader_ranges, REGIONS);
    struct forms forms;
    unsigned cells[CELLS], pattern, cell;
    uint64_t state = 1;
    forms_begin(&forms);
    for (pattern = 0; pattern < 64u + (fast() ? 10u : 50u); pattern++) {
        uint64_t flags = 0;
        if (pattern % 3 == 1) flags |= GUESTMEM_SNAPSHOT_NO_CHECKSUM;
        if (pattern % 2 == 1) flags |= GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES;
        for (cell = 0; cell < CELLS; cell++)
            cells[cell] = pattern < 64 ? pattern >> cell & 1 : (unsigned)random_number(&state) % 3;
        lay_out(mem, cells, pattern);
        forms_save(&forms, mem, flags);
    }
    forms_check(&forms);
    guestmem_unref(mem);
}

static void test_chunks_and_no_memory(void)
{
    const struct guestmem_range large[2] = {{0, 0x300000}, {0x400000, 0x40000}};
    struct guestmem *mem = check_new(large, 2), *empty = check_new(NULL, 0);
    struct forms forms;
    forms_begin(&forms);
    forms_save(&forms, empty, 0);
    forms_save(&forms, mem, 0);
    /* a page more than a chunk, and exactly one, which ends with the region */
    fill_random((uint8_t *)info_of(mem, 0).host_addr + 0x1000, 0x101000, 1);
    fill_random((uint8_t *)info_of(mem, 0).host_addr + 0x200000, 0x100000, 2);
    fill_random(info_of(mem, 1).host_addr, 0x1000, 3);
    forms_save(&forms, mem, GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES);
    forms_check(&forms);
    guestmem_unref(mem);
    guestmem_unref(empty);
}

/* Far more memory than a dump should be long: page by page. */
static void test_much_memory(void)
{
    const struct guestmem_range range = {UINT64_C(1) << 32, UINT64_C(4) << 30};
    struct guestmem *mem = check_new(&range, 1);
    struct child child;
    struct line line;
    char expected[4096] = "";
    uint8_t page[4096];
    uint64_t addr;
    for (addr = range.guest_addr; addr - range.guest_addr < range.size; addr += 0x0ffff000) {
        size_t len = strlen(expected);
        fill_random(page, sizeof page, addr);
        CHECK_OK(guestmem_write_all(mem, addr, page, sizeof page));
        (void)snprintf(expected + len, sizeof expected - len, "0x%" PRIx64 " %08" PRIx32 "\n", addr,
                       crc32c(page, sizeof page));
    }
    CHECK_OK(guestmem_save(mem, path_of("much", 0), NULL, 0));
    line_begin(&line, "dump");
    line_add(&line, "--pages");
    line_add(&line, path_of("much", 0));
    child = line_run(&line);
    CHECK_EQ(child.code, 0);
    CHECK(strcmp(child.out, expected) == 0);
    child_free(&child);
    guestmem_unref(mem);
}

/* ---- the document's example ---- */

/* Reads what `hexdump -C` printed; returns how many bytes that were. */
static size_t read_hexdump(FILE *file, uint8_t *bytes, size_t cap)
{
    char text[256];
    size_t at = 0, done = 0, i;
    bool repeated = false;
    while (fgets(text, sizeof text, file) != NULL && strncmp(text, "```", 3) != 0) {
        char *next = text;
        if (text[0] == '*') {
            repeated = true;
            continue;
        }
        at = strtoul(next, &next, 16);
        REQUIRE(at <= cap - 16 && (at == done || (repeated && at > done && done >= 16)));
        for (; done < at; done++) bytes[done] = bytes[done - 16];
        repeated = false;
        for (i = 0; i < 16 && strchr("|\n", next[strspn(next, " ")]) == NULL; i++)
            bytes[done++] = (uint8_t)strtoul(next, &next, 16);
    }
    return done;
}

static void test_example_of_the_document(void)
{
    const struct guestmem_range areas[2] = {{0x10000, 0x4000}, {0x100000000, 0x2000}};
    struct guestmem *mem = check_new(areas, 2);
    uint8_t documented[0x8000], *saved;
    char text[256] = "";
    size_t len, documented_len = 0;
    FILE *file = fopen("../docs/image-format.md", "re");
    REQUIRE(file != NULL);
    while (fgets(text, sizeof text, file) != NULL && documented_len == 0)
        if (strstr(text, "hexdump -C") != NULL && fgets(text, sizeof text, file) != NULL &&
            fgets(text, sizeof text, file) != NULL && strncmp(text, "```", 3) == 0)
            documented_len = read_hexdump(file, documented, sizeof documented);
    REQUIRE(fclose(file) == 0);
    CHECK_OK(guestmem_write_all(mem, 0x11000, "Hello, guest.", 13));
    CHECK_OK(guestmem_write_u8(mem, 0x100001fff, 0xff));
    CHECK_OK(guestmem_save(mem, path_of("example", 0), NULL, 0));
    saved = read_file(path_of("example", 0), &len);
    CHECK_EQ(len, documented_len);
    CHECK(len == documented_len && memcmp(saved, documented, len) == 0);
    free(saved);
    guestmem_unref(mem);
}

int main(void)
{
    require_python();
    folder_new("/dev/shm");
    test_patterns();
    test_chunks_and_no_memory();
    test_much_memory();
    test_example_of_the_document();
    return check_result();
}
