/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* guestmem-image where it looks at the memory itself: which pages differ, and the bytes of a
 * region, with nothing written of what is damaged.
 * runs: asan valgrind */
#include "support/image_tool.h"

/* ---- diff ---- */

static void test_diff(void)
{
    char *other = new_path("other"), *hole = damaged("hole", 0x5004, 0);
    char *again = new_path("again");
    const uint8_t zeros_page[4096] = {0};
    EXPECT("diff", tool_image, tool_image, 0, "\nNo page differs; 34 pages hold data in A or B (136 KiB).\n");
    tool_save(again, GUESTMEM_SNAPSHOT_NO_CHECKSUM);
    EXPECT("diff", tool_image, again, 0, tool_image, again, "\nNo page differs; 34 pages");
    EXPECT("diff", tool_image, hole, 0, "\nNo page differs; 34 pages"); /* a hole is zeros */

    CHECK_OK(guestmem_write_all(tool_memory, 0x5000, zeros_page, PAGE)); /* there, and zeros */
    tool_save(again, 0);
    EXPECT("diff", hole, again, 0, "\nNo page differs; 35 pages");
    CHECK_OK(guestmem_remove_range(tool_memory, 0x5000, PAGE));

    CHECK_OK(guestmem_write_u8(tool_memory, 0x1fff, 0));
    CHECK_OK(guestmem_write_u8(tool_memory, 0x2000, 1));
    CHECK_OK(guestmem_write_u8(tool_memory, 0x2001, 2));
    CHECK_OK(guestmem_remove_range(tool_memory, 0x108000, PAGE));
    CHECK_OK(guestmem_write_all(tool_memory, 0x300000, zeros_page, PAGE));
    CHECK_OK(guestmem_write_u8(tool_memory, 0x400000, 1));
    fill_pages(0x1001ff000, 1, 2);
    tool_save(other, 0);
    EXPECT("diff", tool_image, other, 1, "A: ", tool_image, ": 136 KiB of data in 6.1 MiB\nB: ", other,
           ": 140 KiB of data in 6.1 MiB\n"
           "  0x000000001000 - 0x000000002fff          2 pages   8.0 KiB\n"
           "  0x000000108000 - 0x000000108fff          1 page    4.0 KiB\n"
           "  0x000000400000 - 0x000000400fff          1 page    4.0 KiB\n"
           "  0x0001001ff000 - 0x0001001fffff          1 page    4.0 KiB\n"
           "5 pages differ (20 KiB), in 4 ranges; 36 pages hold data in A or B (144 KiB).\n");
    EXPECT("diff", other, tool_image, 1, "5 pages differ (20 KiB), in 4 ranges; 36 pages");
    free(other), free(hole), free(again);
}

static void test_diff_of_other_regions(void)
{
    const struct guestmem_range split[] = {
        {0, 0x8000}, {0x8000, 0x8000}, {0x100000, 0x300000}, {UINT64_C(0x100000000), 0x200000}};
    struct guestmem *all = tool_memory;
    char *other = new_path("split"), *whole = new_path("whole");
    const struct guestmem_range one = {0, 0x10000};
    tool_memory = check_new(split, 4);
    fill_pages(0x7000, 2, 1);
    fill_pages(0x3ff000, 1, 1);
    tool_save(other, 0);
    EXPECT("diff", tool_image, other, 1,
           "  0x000000001000 - 0x000000002fff          2 pages   8.0 KiB\n"
           "  0x000000007000 - 0x000000008fff          2 pages   8.0 KiB\n"
           "  0x00000000f000 - 0x00000000ffff          1 page    4.0 KiB\n",
           "  0x0000003ff000 - 0x0000003fffff          1 page    4.0 KiB\n"
           "  0x000000400000 - 0x0000004fffff        256 pages   1.0 MiB  only in A\n"
           "  0x0001001ff000 - 0x0001001fffff          1 page    4.0 KiB\n",
           "The regions differ",
           "1.0 MiB of memory only in A.\n37 pages differ (148 KiB), in 9 ranges; ");
    EXPECT("diff", other, tool_image, 1, "1.0 MiB  only in B\n",
           "1.0 MiB of memory only in B.\n37 pages differ");
    guestmem_unref(tool_memory);

    /* the same bytes, and yet one cannot be restored into the other */
    tool_memory = check_new(split, 2);
    fill_pages(0x7000, 2, 1);
    tool_save(other, 0);
    guestmem_unref(tool_memory);
    tool_memory = check_new(&one, 1);
    fill_pages(0x7000, 2, 1);
    tool_save(whole, 0);
    EXPECT("diff", whole, other, 1, "The regions differ", "No page differs; 2 pages hold data");
    guestmem_unref(tool_memory);

    tool_memory = check_new(split + 1, 1);
    fill_pages(0x8000, 1, 1);
    tool_save(other, 0);
    EXPECT("diff", other, whole, 1,
           "  0x00000000 - 0x00007fff          8 pages    32 KiB  only in B\n",
           "32 KiB of memory only in B.\nNo page differs; 1 page holds data");
    guestmem_unref(tool_memory);
    tool_memory = all;
    free(other), free(whole);
}

/* Whoever cuts a mapped image short gets a message and an exit code, not a crash. The tool stands
 * still in between, because nobody reads what it prints. */
static void test_cut_while_mapped(void)
{
    const struct guestmem_range range = {0, 0x800000};
    struct guestmem *full = check_new(&range, 1), *empty = check_new(&range, 1);
    char *path = new_path("cut"), *nothing = new_path("nothing"), *text, c;
    char *words[] = {tool, (char *)"diff", path, nothing, NULL};
    int out[2], err = new_memfd(0);
    size_t len;
    uint64_t addr;
    pid_t pid;
    for (addr = 0; addr < range.size; addr += 2 * PAGE) CHECK_OK(guestmem_write_u8(full, addr, 1));
    CHECK_OK(guestmem_save(full, path, NULL, 0));
    CHECK_OK(guestmem_save(empty, nothing, NULL, 0));
    REQUIRE(pipe2(out, O_CLOEXEC) == 0 && fcntl(out[1], F_SETPIPE_SZ, 4096) == 4096);
    pid = child_start(words, out[1], err);
    REQUIRE(close(out[1]) == 0 && read(out[0], &c, 1) == 1);
    REQUIRE(truncate(path, 0) == 0);
    while (read(out[0], &c, 1) == 1)
        ;
    CHECK_EQ(child_wait(pid), 2);
    text = (char *)read_fd(err, &len);
    CHECK(strstr(text, "cut short") != NULL);
    REQUIRE(close(out[0]) == 0 && close(err) == 0);
    free(path), free(nothing), free(text);
    guestmem_unref(full);
    guestmem_unref(empty);
}

/* ---- extract ---- */

static void check_region_file(const char *path, size_t index, bool holes)
{
    struct guestmem_region_info info = info_of(tool_memory, index);
    struct stat st;
    size_t len;
    uint8_t *bytes = read_file(path, &len);
    CHECK_EQ(len, info.size);
    CHECK(len == info.size && memcmp(bytes, info.host_addr, len) == 0);
    REQUIRE(stat(path, &st) == 0);
    if (holes) CHECK((uint64_t)st.st_blocks * 512 < info.size / 2);
    CHECK_EQ(st.st_mode & 0777, 0600);
    free(bytes);
}

static void test_extract(void)
{
    static const struct {
        const char *word;
        size_t index;
    } good[] = {
        {"0", LOW},         {"1", MIDDLE},         {"2", HIGH},           {"0x0", LOW},
        {"0xffff", LOW},    {"0x100000", MIDDLE},  {"0X4FFFFF", MIDDLE},  {"01", MIDDLE},
        {"0x00100", LOW},   {"0x1001ff123", HIGH}, {"0000000000002", HIGH},
    };
    static const char *const bad[] = {
        "",    "-1",   "+1",     " 1",       "1 ",   "3",          "0x",   "1e0",       "0x10000",
        "0xg", "0x1 ", "one",    "0x-1",     "1,2",  "\xd9\xa3",   "0x1z", "100000",    "0b1",
        "0 ",  "--",   "--help", "0x500000", "0x0x", "4294967296", "1.0",  "\033[31m1", "0x1ffffffff",
    };
    char *out = new_path("out"), *now = new_path("now"), *linked = new_path("linked");
    struct child child;
    size_t i;
    tool_save(now, 0); /* memory as it is after the tests of diff */
    for (i = 0; i < sizeof good / sizeof *good; i++) {
        /* over a file that is longer, and over none */
        if (i % 2 == 0) (void)unlink(out);
        else REQUIRE(truncate(out, 0x1000000) == 0);
        child = tool_run("extract", now, good[i].word, out);
        CHECK_CHILD(&child, child.code == 0 && child.out_len == 0 && child.err[0] == 0);
        child_free(&child);
        check_region_file(out, good[i].index, good[i].index != LOW);
    }
    child = tool_run("extract", now, "1", NULL);
    CHECK_CHILD(&child, child.code == 0 && child.err[0] == 0);
    CHECK(child.out_len == info_of(tool_memory, MIDDLE).size &&
          memcmp(child.out, info_of(tool_memory, MIDDLE).host_addr, child.out_len) == 0);
    child_free(&child);

    REQUIRE(unlink(out) == 0);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        child = tool_run("extract", now, bad[i], out);
        CHECK_CHILD(&child, child.code == 2 && child.out_len == 0);
        CHECK_CHILD(&child, strchr(child.err, '\033') == NULL);
        CHECK_CHILD(&child, strstr(child.err, "region") != NULL);
        CHECK(access(out, F_OK) != 0);
        child_free(&child);
    }
    REQUIRE(link(now, linked) == 0);
    expect_failure("extract", now, "0", linked, "the image itself");
    expect_failure("extract", now, "0", now, "the image itself");
    EXPECT("verify", now, NULL, 0, "good");
    expect_failure("extract", now, "0", "/nowhere/out", "/nowhere/out: No such file");
    expect_failure("extract", now, "0", "/dev/full", "/dev/full: ");
    expect_failure("extract", now, "18446744073709551616", out, "neither the number of a region");
    expect_failure("extract", now, "0x10000000000000000", out, "neither the number of a region");
    free(out), free(now), free(linked);
}

/* Nothing of a damaged image is written. */
static void test_extract_of_a_damaged_image(void)
{
    char *data = damaged("data", 0x1004, 0), *hole = damaged("hole", 0x5004, 0);
    char *out = new_path("none");
    expect_failure("extract", data, "2", out, data);
    expect_failure("extract", hole, "2", out, hole);
    expect_failure("extract", data, "2", NULL, data);
    CHECK(access(out, F_OK) != 0);
    free(data), free(hole), free(out);
}

int main(void)
{
    tool_begin();
    test_diff();
    test_diff_of_other_regions();
    test_cut_while_mapped();
    test_extract();
    test_extract_of_a_damaged_image();
    tool_end();
    return check_result();
}
