/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* guestmem-image, the tool: what it says of images whose content is known, what it refuses, and
 * that nothing from a file or a name reaches a terminal as it is.
 * runs: asan valgrind */
#include "support/images.h"
#include "support/image_tool.h"
#include <sys/ioctl.h>
#include <termios.h>

static void test_usage(void)
{
    expect_failure(NULL, NULL, NULL, NULL, "guestmem-image verify IMAGE");
    expect_failure("look", tool_image, NULL, NULL, "guestmem-image verify IMAGE");
    expect_failure("info", NULL, NULL, NULL, "guestmem-image verify IMAGE");
    expect_failure("info", tool_image, tool_image, NULL, "guestmem-image verify IMAGE");
    expect_failure("diff", tool_image, NULL, NULL, "guestmem-image verify IMAGE");
    expect_failure("extract", tool_image, NULL, NULL, "guestmem-image verify IMAGE");
    EXPECT("--help", NULL, NULL, 0, "info IMAGE", "map", "verify", "diff A B", "extract IMAGE");
    EXPECT("--version", NULL, NULL, 0, guestmem_version_string());
}

static void test_no_image(void)
{
    static const char *const commands[] = {"info", "map", "verify", "diff", "extract"};
    char *text = new_path("text"), *fifo = new_path("fifo");
    size_t i;
    write_file(text, "some text, and quite a bit of it, but nothing that ends as an image", 67);
    REQUIRE(mkfifo(fifo, 0600) == 0);
    for (i = 0; i < 5; i++) {
        const char *second = i == 3 ? tool_image : i == 4 ? "0" : NULL;
        struct child child = tool_run(commands[i], text, second, NULL);
        CHECK_CHILD(&child, child.code == (i == 2 ? 1 : 2)); /* verify has a verdict */
        CHECK_CHILD(&child, strstr(i == 2 ? child.out : child.err, "not an image") != NULL);
        child_free(&child);
        expect_failure(commands[i], "/nowhere/image", second, NULL,
                       "/nowhere/image: No such file or directory");
        expect_failure(commands[i], test_folder, second, NULL, "not a regular file");
        expect_failure(commands[i], fifo, second, NULL, "not a regular file");
        expect_failure(commands[i], "/dev/null", second, NULL, "not a regular file");
    }
    expect_failure("diff", tool_image, text, NULL, "not an image");
    free(text);
    free(fifo);
}

static void test_info(void)
{
    char *unchecked = new_path("unchecked"), *empty_path = new_path("empty"), file[64], disk[64];
    struct guestmem *empty = check_new(NULL, 0);
    struct stat st;
    REQUIRE(stat(tool_image, &st) == 0);
    (void)snprintf(file, sizeof file, " %" PRIu64 " bytes", (uint64_t)st.st_size);
    (void)snprintf(disk, sizeof disk, " %" PRIu64 " bytes", (uint64_t)st.st_blocks * 512);
    EXPECT("info", tool_image, NULL, 0, tool_image, "6.1 MiB ", " 6356992 bytes in 3 regions", "136 KiB ",
           " 139264 bytes in 7 ranges, 2.19 % of the memory", file, disk,
           "CRC-32C, of each 1.0 MiB", "0  0x000000000000 - 0x00000000ffff    64 KiB    12 KiB ",
           " 12288   18.8 %        2\n", "1  0x000000100000 - 0x0000004fffff   4.0 MiB   120 KiB ",
           " 122880   2.93 %        4\n", "2  0x000100000000 - 0x0001001fffff   2.0 MiB   4.0 KiB ",
           " 4096   0.20 %        1\n");
    tool_save(unchecked, GUESTMEM_SNAPSHOT_NO_CHECKSUM);
    EXPECT("info", unchecked, NULL, 0, "checksums  none");
    CHECK_OK(guestmem_save(empty, empty_path, NULL, 0));
    EXPECT("info", empty_path, NULL, 0, " 0 bytes in 0 regions", " 0 bytes in 0 ranges, 0 %");
    EXPECT("map", empty_path, NULL, 0, "no data");
    EXPECT("verify", empty_path, NULL, 0, "good");
    EXPECT("diff", empty_path, empty_path, 0, "No page differs");
    guestmem_unref(empty);
    free(unchecked);
    free(empty_path);
}

/* A row of a map: characters, dots behind them and, so that there are as many as there should be,
 * characters at the end. */
static const char *row(const char *address, const char *begin, size_t cells, const char *end)
{
    static char rows[8][256];
    static unsigned next;
    char *text = rows[next++ % 8];
    size_t at = (size_t)sprintf(text, "\n  %s  %s", address, begin), i;
    for (i = strlen(begin); i < cells - strlen(end); i++) text[at++] = '.';
    (void)sprintf(text + at, "%s\n", end);
    return text;
}

static void test_map(void)
{
    struct child child;
    /* 80 columns have room for 56 cells, four rows of which must do */
    EXPECT("map", tool_image, NULL, 0, "region 0", "one character is 4.0 KiB\n",
           "\n  0x000000000000  .##............#\n", "region 1", "one character is 32 KiB",
           row("0x000000100000", "-+x+##", 56, ""), "  0x0000002c0000  ....",
           row("0x000000480000", "", 16, ""), "region 2", "one character is 16 KiB",
           row("0x000100000000", "", 56, ""), "  0x0001000e0000  ....",
           row("0x0001001c0000", "", 16, "-"), ". no data   - up to a quarter");
    REQUIRE(setenv("LC_ALL", "C.UTF-8", 1) == 0);
    child = tool_run("map", tool_image, NULL, NULL);
    CHECK_CHILD(&child, child.code == 0);
    if (strstr(child.out, ". no data") != NULL)
        SKIP_PART("no locale C.UTF-8");
    else
        CHECK_CHILD(&child, strstr(child.out, "\n  0x000000100000  ░▒▓▒██···") != NULL);
    child_free(&child);
    REQUIRE(setenv("LC_ALL", "C", 1) == 0);
}

static void test_verify(void)
{
    char *data = damaged("data", 0x1004, 0), *hole = damaged("hole", 0x5004, 0);
    char *metadata = damaged("metadata", 0, 100), *trailer = damaged("trailer", 0, 20);
    char *unchecked = new_path("unchecked");
    tool_save(unchecked, GUESTMEM_SNAPSHOT_NO_CHECKSUM);
    EXPECT("verify", tool_image, NULL, 0, tool_image, ": good: 136 KiB of data in 6.1 MiB of memory");
    EXPECT("verify", data, NULL, 1, data, ": DAMAGED: ", "(GUESTMEM_E_CORRUPT)");
    EXPECT("verify", hole, NULL, 1, hole, ": DAMAGED: ", "(GUESTMEM_E_CORRUPT)");
    EXPECT("verify", metadata, NULL, 1, metadata, ": DAMAGED: ", "(GUESTMEM_E_METADATA)");
    EXPECT("verify", trailer, NULL, 1, trailer, ": DAMAGED: ", "(GUESTMEM_E_METADATA)");
    expect_failure("verify", unchecked, NULL, NULL, "no checksums");
    free(data), free(hole), free(metadata), free(trailer), free(unchecked);
}

/* ---- names and metadata that were made up ---- */

static void test_names(void)
{
    static const char *const commands[] = {"info", "map", "verify", "diff"};
    char *path = new_path("\033[31mred\n\x9b\\"), *gone = new_path("\033]0;gone\a");
    struct child child;
    size_t i;
    tool_save(path, 0);
    for (i = 0; i < 4; i++) {
        child = tool_run(commands[i], path, i == 3 ? path : NULL, NULL);
        CHECK_CHILD(&child, child.code == 0);
        CHECK_CHILD(&child, strstr(child.out, "/\\x1b[31mred\\x0a\\x9b\\x5c0") != NULL);
        CHECK_CHILD(&child, strpbrk(child.out, "\033\x9b\a") == NULL);
        child_free(&child);
        expect_failure(commands[i], gone, i == 3 ? path : NULL, NULL,
                       "/\\x1b]0;gone\\x070: No such file");
    }
    expect_failure("extract", path, "0", path, "red\\x0a\\x9b\\x5c0: this is the image itself");
    free(path), free(gone);
}

/* The library lets through whatever order, white space, escapes and keys there are. */
static void test_metadata_of_another_writer(void)
{
    static const uint8_t memory[0x3000] = {[0x1000] = 'x'};
    char text[1024], *path = new_path("foreign");
    size_t len;
    uint8_t *bytes;
    (void)snprintf(text, sizeof text,
                   " { \"x\" : {\"regions\":[{\"size\":[1e9,\"\\\"]}\",{}]}],\"page_size\":0},\n"
                   "\"regions\" : [ {\"data_ranges\" :[{\"\\u0065nd\":8192,\"size\":7,\"crc\":[%"
                   PRIu32 "],\"start\":4096} ],\"s\\u0069ze\":12288,\"\\ud83d\\ude00\":null,"
                   "\"file_offset\":0,\"guest_base\":65536}],"
                   "\"chunk_size\":8192,\"page_size\":4096,"
                   "\"check\\u0073um\":\"crc\\u00332c\",\"data_size\":4096,\"compressed\":false,"
                   "\"layout\":\"sparse\",\"version\":1,\"format\":\"guestmem\" } ",
                   crc32c(memory + 0x1000, 4096));
    bytes = sealed_image(memory, sizeof memory, text, strlen(text), &len);
    write_file(path, bytes, len);
    EXPECT("info", path, NULL, 0, " 12288 bytes in 1 region\n", " 4096 bytes in 1 range, 33.3 %",
           "CRC-32C, of each 8.0 KiB", "0  0x00010000 - 0x00012fff ");
    EXPECT("map", path, NULL, 0, "  0x00010000  .#.\n");
    EXPECT("verify", path, NULL, 0, "good");
    EXPECT("diff", path, path, 0, "No page differs; 1 page holds data");
    free(bytes), free(path);
}

/* ---- where the output goes ---- */

static void test_full_device(void)
{
    static const char *const commands[] = {"info", "map", "verify", "--help"};
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC), err = new_memfd(0);
    size_t i;
    REQUIRE(full >= 0);
    for (i = 0; i < 4; i++) {
        char *words[] = {tool, (char *)commands[i], i < 3 ? tool_image : NULL, NULL};
        CHECK_EQ(child_wait(child_start(words, full, err)), 2);
    }
    REQUIRE(close(full) == 0 && close(err) == 0);
}

/* Runs it with a terminal for standard output or error; gives what it showed, with a NUL behind. */
static int on_terminal(char *const *words, bool error, char *shown, size_t cap, size_t *shown_len)
{
    const struct winsize size = {24, 120, 0, 0};
    struct termios raw;
    size_t len = 0;
    ssize_t n;
    pid_t pid;
    int terminal, rest = new_memfd(0), master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(terminal >= 0 && tcgetattr(terminal, &raw) == 0);
    cfmakeraw(&raw);
    REQUIRE(tcsetattr(terminal, TCSANOW, &raw) == 0 && ioctl(terminal, TIOCSWINSZ, &size) == 0);
    pid = child_start(words, error ? rest : terminal, error ? terminal : rest);
    REQUIRE(close(terminal) == 0);
    while (len < cap - 1 && (n = read(master, shown + len, cap - 1 - len)) > 0) len += (size_t)n;
    shown[len] = 0;
    *shown_len = len;
    REQUIRE(close(master) == 0 && close(rest) == 0);
    return child_wait(pid);
}

static void test_terminal(void)
{
    char *map[] = {tool, (char *)"map", tool_image, NULL};
    char *verify[] = {tool, (char *)"verify", tool_image, NULL};
    char *extract[] = {tool, (char *)"extract", tool_image, (char *)"0", NULL};
    char shown[8192];
    size_t len;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0) {
        SKIP_PART("no terminals here");
        return;
    }
    REQUIRE(close(master) == 0);
    CHECK_EQ(on_terminal(map, false, shown, sizeof shown, &len), 0);
    /* 96 cells in a row, in four rows 384: pages two by two */
    CHECK(strstr(shown, "one character is 16 KiB") != NULL);
    CHECK(strstr(shown, row("0x000000100000", "+.x.#+.####x", 96, "")) != NULL);
    CHECK_EQ(on_terminal(verify, true, shown, sizeof shown, &len), 0);
    CHECK(strstr(shown, "100 %") != NULL && strstr(shown, "136 KiB of 136 KiB") != NULL);
    CHECK(len > 4 && strcmp(shown + len - 4, "\r\033[K") == 0);
    CHECK_EQ(on_terminal(extract, false, shown, sizeof shown, &len), 2);
    CHECK_EQ(len, 0);
}

int main(void)
{
    tool_begin();
    test_usage();
    test_no_image();
    test_info();
    test_map();
    test_verify();
    test_names();
    test_metadata_of_another_writer();
    test_full_device();
    test_terminal();
    tool_end();
    return check_result();
}
