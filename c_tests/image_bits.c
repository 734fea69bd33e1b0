/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Each of 10^5 wrong bits in the data of an image is found, in every way that looks at them, and
 * memory that was to be restored stays as it was.
 * runs: asan valgrind */
#include "support/images.h"

#define PATH "image"

static const uint64_t load_ways[] = {0, GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY};

/* The code of one way to look at the data; the costlier ones in fewer rounds. */
static int look(struct guestmem *mem, unsigned round)
{
    const struct guestmem_load_options options = {load_ways[round % 8 != 0], 0, 0, NULL, NULL};
    struct guestmem *loaded = NULL;
    int code;
    if (round % 50 == 1) return guestmem_restore_file(mem, PATH, NULL, 0);
    code = guestmem_load(PATH, &options, sizeof options, &loaded);
    guestmem_unref(loaded);
    return code;
}

/* One wrong bit somewhere in the data of the image, each time another one. */
static void flip_many(struct guestmem *mem, const uint64_t *starts, const uint64_t *ends,
                      size_t ranges, unsigned rounds)
{
    uint8_t *before = copy_of(mem);
    uint64_t state = 41;
    unsigned round, missed = 0;
    int fd = open(PATH, O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    for (round = 0; round < rounds; round++) {
        const uint64_t random = random_number(&state);
        const size_t range = (size_t)(random >> 33) % ranges;
        const uint64_t bit = (random & 0xffffffff) % ((ends[range] - starts[range]) * 8);
        const off_t at = (off_t)(starts[range] + bit / 8);
        uint8_t byte, wrong;
        REQUIRE(pread(fd, &byte, 1, at) == 1);
        wrong = (uint8_t)(byte ^ 1u << bit % 8);
        REQUIRE(pwrite(fd, &wrong, 1, at) == 1);
        missed += look(mem, round) != GUESTMEM_E_CORRUPT;
        REQUIRE(pwrite(fd, &byte, 1, at) == 1);
    }
    CHECK_EQ(missed, 0);
    CHECK(memory_is(mem, before));
    CHECK_OK(guestmem_restore_file(mem, PATH, NULL, 0));
    REQUIRE(close(fd) == 0);
    free(before);
}

static void test_small_image(void)
{
    static const struct guestmem_range small[2] = {{0x10000, 0x4000}, {0x20000, 0x4000}};
    const uint64_t starts[2] = {0x1000, 0x7000}, ends[2] = {0x3000, 0x8000};
    struct guestmem *mem = check_new(small, 2), *other = check_new(small, 2);
    fill_random((uint8_t *)info_of(other, 0).host_addr + 0x1000, 0x2000, 1);
    fill_random((uint8_t *)info_of(other, 1).host_addr + 0x3000, 0x1000, 2);
    CHECK_OK(guestmem_save(other, PATH, NULL, 0));
    dirty_everything(mem);
    flip_many(mem, starts, ends, 2, fast() ? 300 : 100000);
    guestmem_unref(mem), guestmem_unref(other);
}

/* Several chunks of checksums in one range. */
static void test_chunks(void)
{
    const uint64_t starts[2] = {PAGE, 0x400000 + 3 * PAGE},
                   ends[2] = {PAGE + 0x280000, 0x400000 + 4 * PAGE};
    struct guestmem *mem = memory_with_data(1), *other = memory_with_data(3);
    CHECK_OK(guestmem_save(other, PATH, NULL, 0));
    flip_many(mem, starts, ends, 2, fast() ? 20 : 1000);
    guestmem_unref(mem), guestmem_unref(other);
}

int main(void)
{
    enter_folder(fast_parent(UINT64_C(1) << 26));
    test_small_image();
    test_chunks();
    return check_result();
}
