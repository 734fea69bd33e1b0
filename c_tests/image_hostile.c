/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Files that are no images, or no longer: cut anywhere, any bit of metadata and trailer flipped,
 * trailers that lie under a right checksum, gaps between the parts.
 * runs: asan valgrind */
#include "image_ask.h"

static void test_flipped_bits_of_the_tail(void)
{
    const size_t bits = (text_len + TRAILER) * 8, step = fast() ? 37 : 1;
    uint8_t *tail = good.at + DATA;
    size_t bit;
    reset_image();
    for (bit = 0; bit < bits; bit += step) {
        char *changed = malloc(text_len + 1);
        REQUIRE(changed != NULL);
        tail[bit / 8] ^= (uint8_t)(1u << bit % 8);
        memcpy(changed, tail, text_len);
        changed[text_len] = 0;
        REQUIRE(pwrite(image_fd, &tail[bit / 8], 1, (off_t)(DATA + bit / 8)) == 1);
        refuse_image(changed, text_len, GUESTMEM_E_METADATA);
        tail[bit / 8] ^= (uint8_t)(1u << bit % 8);
        REQUIRE(pwrite(image_fd, &tail[bit / 8], 1, (off_t)(DATA + bit / 8)) == 1);
        free(changed);
    }
    test_the_good_image();
}

/* With a trailer that fits, so that only sense tells right from wrong. */
static void test_flipped_bits_under_a_right_checksum(void)
{
    const size_t step = fast() ? 37 : 1;
    char *changed = malloc(text_len + 1);
    size_t bit, refused = 0;
    REQUIRE(changed != NULL);
    memcpy(changed, text, text_len + 1);
    for (bit = 0; bit < text_len * 8; bit += step) {
        struct answers answers;
        changed[bit / 8] = (char)(changed[bit / 8] ^ 1 << bit % 8);
        forge(changed, text_len);
        answers = ask(changed, text_len);
        refused += answers.code[LOAD] != GUESTMEM_OK;
        changed[bit / 8] = (char)(changed[bit / 8] ^ 1 << bit % 8);
    }
    CHECK(refused * step > text_len * 4); /* most, that is; it does look */
    free(changed);
    reset_image();
}

/* The file ends anywhere. */
static void test_truncated_everywhere(void)
{
    size_t len = good.len;
    reset_image();
    while (len > 0) {
        len -= fast() && len > 100 ? 97 : 1;
        REQUIRE(ftruncate(image_fd, (off_t)len) == 0);
        refuse_image(text, text_len, GUESTMEM_E_METADATA);
    }
    REQUIRE(pwrite(image_fd, good.at, (size_t)DATA, 0) == (ssize_t)DATA);
    reset_image();
}

/* The metadata ends anywhere, and the trailer fits. */
static void test_truncated_metadata(void)
{
    const size_t step = fast() ? 7 : 1;
    char *cut = malloc(text_len + 1);
    size_t len;
    REQUIRE(cut != NULL);
    for (len = 0; len < text_len; len += step) {
        memcpy(cut, text, len);
        cut[len] = 0;
        refuse_forged_bytes(cut, len, GUESTMEM_E_METADATA);
    }
    free(cut);
    reset_image();
}

/* ---- the trailer's fields, under a right checksum ---- */

static void refuse_trailer(uint8_t *trailer, int expected)
{
    put_number(trailer + 44, crc32c(trailer, 44), 4);
    put_tail(text, text_len, trailer);
    refuse_image(text, text_len, expected);
}

static void test_trailer_fields(void)
{
    static const uint64_t numbers[] = {0,
                                       1,
                                       47,
                                       48,
                                       DATA - 4096,
                                       DATA - 1,
                                       DATA + 1,
                                       DATA + 4096,
                                       UINT64_C(0x80000000),
                                       UINT64_C(0xffffffff),
                                       UINT64_C(0x7fffffffffffffff),
                                       UINT64_C(0x8000000000000000),
                                       UINT64_C(0xfffffffffffff000),
                                       UINT64_C(0xffffffffffff8000),
                                       UINT64_MAX - 47,
                                       UINT64_MAX - 48,
                                       UINT64_MAX};
    uint8_t right[TRAILER], trailer[TRAILER];
    uint64_t past = (UINT64_C(64) << 20) + 1;
    size_t i, bit, offset;
    make_trailer(right, DATA, text, text_len);
    for (bit = 0; bit < 44 * 8; bit++) {
        const size_t byte = bit / 8;
        memcpy(trailer, right, TRAILER);
        trailer[byte] ^= (uint8_t)(1u << bit % 8);
        refuse_trailer(trailer, byte >= 8 && byte < 12 ? GUESTMEM_E_UNSUPPORTED
                                                       : GUESTMEM_E_METADATA);
    }
    for (offset = 16; offset <= 24; offset += 8)
        for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
            memcpy(trailer, right, TRAILER);
            put_number(trailer + offset, numbers[i], 8);
            refuse_trailer(trailer, GUESTMEM_E_METADATA);
        }
    /* the two make up for each other, modulo 2^64 too */
    for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        memcpy(trailer, right, TRAILER);
        put_number(trailer + 16, numbers[i], 8);
        put_number(trailer + 24, DATA + text_len - numbers[i], 8);
        refuse_trailer(trailer, GUESTMEM_E_METADATA);
    }
    /* longer than metadata may be */
    memcpy(trailer, right, TRAILER);
    put_number(trailer + 24, past, 8);
    refuse_trailer(trailer, GUESTMEM_E_METADATA);
    /* no metadata at all, and a right trailer around it */
    refuse_forged("", GUESTMEM_E_METADATA);
    reset_image();
}

/* Bytes between the parts, or behind the last one. */
static void test_gaps(void)
{
    static const size_t gaps[] = {1, 8, 48, 4096};
    uint8_t trailer[TRAILER], zeros_[4096] = {0};
    size_t i;
    for (i = 0; i < sizeof gaps / sizeof gaps[0]; i++) {
        const size_t gap = gaps[i];
        /* behind the trailer: zeros, and a second trailer */
        reset_image();
        REQUIRE(ftruncate(image_fd, (off_t)(good.len + gap)) == 0);
        refuse_image(text, text_len, GUESTMEM_E_METADATA);
        make_trailer(trailer, DATA, text, text_len);
        REQUIRE(pwrite(image_fd, trailer, TRAILER, (off_t)(good.len + gap - 1)) == TRAILER);
        refuse_image(text, text_len, GUESTMEM_E_METADATA);
        /* between metadata and trailer */
        reset_image();
        REQUIRE(pwrite(image_fd, zeros_, gap, (off_t)(DATA + text_len)) == (ssize_t)gap);
        REQUIRE(pwrite(image_fd, trailer, TRAILER, (off_t)(DATA + text_len + gap)) == TRAILER);
        refuse_image(text, text_len, GUESTMEM_E_METADATA);
        /* between data and metadata: a trailer that says so contradicts the regions */
        make_trailer(trailer, DATA + gap, text, text_len);
        REQUIRE(ftruncate(image_fd, (off_t)DATA) == 0);
        REQUIRE(pwrite(image_fd, text, text_len, (off_t)(DATA + gap)) == (ssize_t)text_len);
        REQUIRE(pwrite(image_fd, trailer, TRAILER, (off_t)(DATA + gap + text_len)) == TRAILER);
        refuse_image(text, text_len, GUESTMEM_E_METADATA);
    }
    REQUIRE(ftruncate(image_fd, (off_t)DATA) == 0);
    reset_image();
}

/* ---- what is no image at all ---- */

static void refuse_path(const char *path)
{
    char *metadata = (char *)&path;
    struct guestmem *loaded = (struct guestmem *)(uintptr_t)64;
    const struct guestmem_load_options map = {GUESTMEM_LOAD_MAP, 0, 0, NULL, NULL};
    CHECK(guestmem_image_metadata(path, &metadata) != GUESTMEM_OK && metadata == NULL);
    CHECK(guestmem_load(path, NULL, 0, &loaded) != GUESTMEM_OK && loaded == NULL);
    loaded = (struct guestmem *)(uintptr_t)64;
    CHECK(guestmem_load(path, &map, sizeof map, &loaded) != GUESTMEM_OK && loaded == NULL);
    CHECK(guestmem_restore_file(mem, path, NULL, 0) != GUESTMEM_OK);
    CHECK(memory_is(mem, before));
}

static void test_no_image_at_all(void)
{
    static const char *const paths[] = {"/dev/zero", "/dev/null", "/proc/self/status", ".",
                                        "",          "missing",   "loop",              "fifo"};
    char *long_path = malloc(70000);
    int fifo;
    size_t i;
    REQUIRE(long_path != NULL);
    REQUIRE(symlink("loop", "loop") == 0 && mkfifo("fifo", 0600) == 0);
    /* opened for writing here, so that nobody waits */
    fifo = open("fifo", O_RDWR | O_CLOEXEC);
    REQUIRE(fifo >= 0);
    for (i = 0; i < sizeof paths / sizeof paths[0]; i++) refuse_path(paths[i]);
    memset(long_path, 'x', 69999);
    long_path[69999] = 0;
    refuse_path(long_path);
    free(long_path);
    REQUIRE(close(fifo) == 0 && remove("fifo") == 0 && remove("loop") == 0);
    write_file("text", "#!/bin/sh\n", 10);
    CHECK_CODE(guestmem_restore_file(mem, "text", NULL, 0), GUESTMEM_E_METADATA);
    write_file("text", "", 0);
    CHECK_CODE(guestmem_restore_file(mem, "text", NULL, 0), GUESTMEM_E_METADATA);
    write_file("text", good.at + DATA + text_len, TRAILER);
    CHECK_CODE(guestmem_restore_file(mem, "text", NULL, 0), GUESTMEM_E_METADATA);
    REQUIRE(remove("text") == 0);
}

int main(void)
{
    begin_asking();
    test_flipped_bits_of_the_tail();
    test_flipped_bits_under_a_right_checksum();
    test_truncated_everywhere();
    test_truncated_metadata();
    test_trailer_fields();
    test_gaps();
    test_no_image_at_all();
    end_asking();
    return check_result();
}
