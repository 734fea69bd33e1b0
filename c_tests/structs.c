/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Every struct that crosses the boundary: from an older program (shorter), from a newer one
 * (longer, its new fields zero or not), and of no size at all. For the view, which cannot be cut, see
 * inline_view.c.
 * runs: asan valgrind qemu */
#include "support/process.h"
#include "support/images.h"

/* Of which a program from the future might know this much more. */
#define TAIL 40

/* --- structs that go in -------------------------------------------------------------------- */

struct long_options {
    struct guestmem_region_options options;
    uint8_t tail[TAIL];
};

static struct long_options long_options(uint64_t guest_addr)
{
    struct long_options longer;
    memset(&longer, 0, sizeof longer);
    longer.options.guest_addr = guest_addr;
    longer.options.size = PAGE;
    longer.options.purpose = GUESTMEM_PURPOSE_BIOS;
    return longer;
}

static int try_region(const struct long_options *longer, size_t size)
{
    struct guestmem_region *region = (struct guestmem_region *)(uintptr_t)64;
    struct guestmem *mem = (struct guestmem *)(uintptr_t)64;
    int code = guestmem_region_new(&longer->options, size, &region);
    CHECK((region != NULL) == (code == GUESTMEM_OK));
    CHECK_CODE(guestmem_new_with_options(&longer->options, 1, size, &mem), code);
    CHECK((mem != NULL) == (code == GUESTMEM_OK));
    guestmem_region_unref(region);
    guestmem_unref(mem);
    return code;
}

static void region_options(void)
{
    struct long_options longer = long_options(0);
    const size_t full = sizeof longer.options;
    /* Without address and size there is nothing to make. */
    for (size_t size = 0; size < 16; size++)
        CHECK_CODE(try_region(&longer, size), GUESTMEM_E_INVALID_ARGUMENT);
    for (size_t size = 16; size <= full; size += 4) CHECK_OK(try_region(&longer, size));
    for (size_t size = full; size <= sizeof longer; size++) CHECK_OK(try_region(&longer, size));
    for (size_t i = 0; i < TAIL; i++) {
        longer.tail[i] = 1;
        for (size_t size = full; size <= sizeof longer; size++)
            CHECK_CODE(try_region(&longer, size),
                       size <= full + i ? GUESTMEM_OK : GUESTMEM_E_INVALID_ARGUMENT);
        longer.tail[i] = 0;
    }
}

/* What a short struct cuts off counts as zero, whatever lies there. */
static void fields_beyond_the_size_are_not_read(void)
{
    struct long_options longer = long_options(0);
    longer.options.flags = UINT64_MAX;
    longer.options.align = 3;
    longer.options.purpose = 99;
    longer.options.reserved = 99;
    CHECK_OK(try_region(&longer, 16));
    CHECK_CODE(try_region(&longer, 24), GUESTMEM_E_NOT_ALIGNED);
    longer.options.align = 0;
    CHECK_OK(try_region(&longer, 24));
    CHECK_CODE(try_region(&longer, 32), GUESTMEM_E_INVALID_ARGUMENT);
    longer.options.flags = 0;
    CHECK_OK(try_region(&longer, 32));
}

/* In an array the size is the stride too. */
static void arrays_of_region_options(void)
{
    struct long_options longer[3];
    struct guestmem_range shortest[3];
    struct guestmem_region_info info;
    struct guestmem *mem = NULL;
    for (size_t i = 0; i < 3; i++) {
        longer[i] = long_options(i * 2 * PAGE);
        shortest[i].guest_addr = i * 2 * PAGE;
        shortest[i].size = PAGE;
    }
    for (size_t way = 0; way < 2; way++) {
        if (way == 0)
            CHECK_OK(guestmem_new_with_options(&longer[0].options, 3, sizeof *longer, &mem));
        else
            CHECK_OK(guestmem_new_with_options(
                (const struct guestmem_region_options *)(const void *)shortest, 3,
                sizeof *shortest, &mem));
        REQUIRE(mem != NULL);
        CHECK_EQ(guestmem_num_regions(mem), 3);
        for (size_t i = 0; i < 3; i++) {
            CHECK_OK(guestmem_region_info(mem, i, &info, sizeof info));
            CHECK_EQ(info.guest_addr, i * 2 * PAGE);
            CHECK_EQ(info.purpose, way == 0 ? GUESTMEM_PURPOSE_BIOS : GUESTMEM_PURPOSE_RAM);
        }
        guestmem_unref(mem);
    }
    for (size_t i = 0; i < 3; i++) {
        longer[i].tail[TAIL - 1] = 1;
        CHECK_CODE(guestmem_new_with_options(&longer[0].options, 3, sizeof *longer, &mem),
                   GUESTMEM_E_INVALID_ARGUMENT);
        CHECK(mem == NULL);
        longer[i].tail[TAIL - 1] = 0;
    }
}

static uint64_t bytes_taken;

static int64_t take(void *user, const void *bytes, size_t len)
{
    (void)user;
    (void)bytes;
    bytes_taken += len;
    return (int64_t)len;
}

static int64_t give_nothing(void *user, void *bytes, size_t len)
{
    (void)user;
    (void)bytes;
    (void)len;
    bytes_taken++;
    return 0;
}

/* A call that takes options which may be NULL, held to having done all or nothing. */
typedef int try_call(const struct guestmem *mem, const void *options, size_t size);

/* Behind the options, which are valid, lie TAIL zeros. */
static void options_of_any_size(const struct guestmem *mem, try_call *try_options, void *options,
                                size_t full)
{
    uint8_t *tail = (uint8_t *)options + full;
    CHECK_OK(try_options(mem, NULL, 0));
    CHECK_CODE(try_options(mem, NULL, full), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(try_options(mem, options, 0), GUESTMEM_E_INVALID_ARGUMENT);
    for (size_t size = 8; size <= full; size += 4) CHECK_OK(try_options(mem, options, size));
    for (size_t size = full; size <= full + TAIL; size++)
        CHECK_OK(try_options(mem, options, size));
    for (size_t i = 0; i < TAIL; i += 13) {
        tail[i] = 1;
        for (size_t size = full; size <= full + TAIL; size++)
            CHECK_CODE(try_options(mem, options, size),
                       size <= full + i ? GUESTMEM_OK : GUESTMEM_E_INVALID_ARGUMENT);
        tail[i] = 0;
    }
}

static int try_snapshot(const struct guestmem *mem, const void *options, size_t size)
{
    char *text = (char *)(uintptr_t)64;
    int fd = new_memfd(0);
    struct stat status;
    int code = guestmem_snapshot(mem, fd, options, size, &text);
    CHECK((text != NULL) == (code == GUESTMEM_OK));
    REQUIRE(fstat(fd, &status) == 0);
    CHECK_EQ(status.st_size, code == GUESTMEM_OK ? PAGE : 0);
    close(fd);
    guestmem_free(text);
    bytes_taken = 0;
    text = (char *)(uintptr_t)64;
    CHECK_CODE(guestmem_snapshot_write(mem, take, NULL, options, size, &text), code);
    CHECK((text != NULL) == (code == GUESTMEM_OK));
    CHECK_EQ(bytes_taken, code == GUESTMEM_OK ? PAGE : 0);
    guestmem_free(text);
    return code;
}

static int try_save(const struct guestmem *mem, const void *options, size_t size)
{
    int code = guestmem_save(mem, "saved", options, size);
    CHECK_EQ(unlink("saved"), code == GUESTMEM_OK ? 0 : (uint64_t)-1);
    return code;
}

static void snapshot_options(const struct guestmem *mem)
{
    struct {
        struct guestmem_snapshot_options options;
        uint8_t tail[TAIL];
    } longer;
    memset(&longer, 0, sizeof longer);
    longer.options.flags = GUESTMEM_SNAPSHOT_NO_CHECKSUM;
    options_of_any_size(mem, try_snapshot, &longer, sizeof longer.options);
    options_of_any_size(mem, try_save, &longer, sizeof longer.options);
    longer.options.layout = 99;
    CHECK_OK(try_snapshot(mem, &longer, 8));
    CHECK_CODE(try_snapshot(mem, &longer, 12), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_OK(try_save(mem, &longer, 8));
    CHECK_CODE(try_save(mem, &longer, 12), GUESTMEM_E_INVALID_ARGUMENT);
}

static struct {
    char *metadata;
    int fd;
} saved;

static int try_restore(const struct guestmem *mem, const void *options, size_t size)
{
    int code;
    REQUIRE(lseek(saved.fd, 0, SEEK_SET) == 0);
    code = guestmem_restore(mem, saved.metadata, strlen(saved.metadata), saved.fd, options, size);
    CHECK_EQ(lseek(saved.fd, 0, SEEK_CUR), code == GUESTMEM_OK ? PAGE : 0);
    bytes_taken = 0;
    if (code != GUESTMEM_OK) {
        CHECK_CODE(guestmem_restore_read(mem, saved.metadata, strlen(saved.metadata),
                                         give_nothing, NULL, options, size), code);
        CHECK_EQ(bytes_taken, 0);
    }
    return code;
}

/* The image holds a number that the memory does not hold before. */
static int try_restore_file(const struct guestmem *mem, const void *options, size_t size)
{
    uint64_t value = 0;
    int code;
    CHECK_OK(guestmem_write_u64(mem, 8, 7));
    code = guestmem_restore_file(mem, "image", options, size);
    CHECK_OK(guestmem_read_u64(mem, 8, &value));
    CHECK_EQ(value, code == GUESTMEM_OK ? 42 : 7);
    return code;
}

static void restore_options(const struct guestmem *mem)
{
    struct {
        struct guestmem_restore_options options;
        uint8_t tail[TAIL];
    } longer;
    memset(&longer, 0, sizeof longer);
    saved.fd = new_memfd(0);
    REQUIRE(guestmem_snapshot(mem, saved.fd, NULL, 0, &saved.metadata) == GUESTMEM_OK);
    options_of_any_size(mem, try_restore, &longer, sizeof longer.options);
    options_of_any_size(mem, try_restore_file, &longer, sizeof longer.options);
    longer.options.reserved = 99;
    CHECK_OK(try_restore(mem, &longer, 12));
    CHECK_CODE(try_restore(mem, &longer, 16), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_OK(try_restore_file(mem, &longer, 12));
    CHECK_CODE(try_restore_file(mem, &longer, 16), GUESTMEM_E_INVALID_ARGUMENT);
    guestmem_free(saved.metadata);
    close(saved.fd);
}

static int try_load(const struct guestmem *mem, const void *options, size_t size)
{
    struct guestmem *loaded = (struct guestmem *)(uintptr_t)64;
    uint64_t value = 0;
    int code = guestmem_load("image", options, size, &loaded);
    (void)mem;
    CHECK((loaded != NULL) == (code == GUESTMEM_OK));
    if (code != GUESTMEM_OK) return code;
    CHECK_OK(guestmem_read_u64(loaded, 8, &value));
    CHECK_EQ(value, 42);
    guestmem_unref(loaded);
    return code;
}

static void load_options(const struct guestmem *mem)
{
    struct {
        struct guestmem_load_options options;
        uint8_t tail[TAIL];
    } longer;
    memset(&longer, 0, sizeof longer);
    options_of_any_size(mem, try_load, &longer, sizeof longer.options);
    longer.options.flags = GUESTMEM_LOAD_MAP;
    options_of_any_size(mem, try_load, &longer, sizeof longer.options);
    longer.options.reserved = 99;
    CHECK_OK(try_load(mem, &longer, 12));
    CHECK_CODE(try_load(mem, &longer, 16), GUESTMEM_E_INVALID_ARGUMENT);
}

/* --- structs that come out: any size is fine, cut or padded with zeros ------------------------ */

static uint8_t out[256];

static void check_cut(const void *whole, size_t full, size_t size)
{
    for (size_t i = 0; i < full && i < size; i++) CHECK_EQ(out[i], ((const uint8_t *)whole)[i]);
    for (size_t i = full; i < size; i++) CHECK_EQ(out[i], 0);
    for (size_t i = size; i < sizeof out; i++) CHECK_EQ(out[i], 0xee);
    memset(out, 0xee, sizeof out);
}

static void region_info(const struct guestmem *mem)
{
    struct guestmem_region_info whole, *cut = (struct guestmem_region_info *)(void *)out;
    uint64_t offset = 77;
    REQUIRE(guestmem_region_info(mem, 0, &whole, sizeof whole) == GUESTMEM_OK);
    for (size_t size = 1; size <= sizeof whole + TAIL; size++) {
        CHECK_OK(guestmem_region_info(mem, 0, cut, size));
        check_cut(&whole, sizeof whole, size);
        CHECK_OK(guestmem_find_region(mem, 0, cut, size, NULL));
        check_cut(&whole, sizeof whole, size);
    }
    CHECK_CODE(guestmem_region_info(mem, 0, cut, 0), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_CODE(guestmem_find_region(mem, 0, cut, 0, &offset), GUESTMEM_E_INVALID_ARGUMENT);
    CHECK_EQ(offset, 0);
    check_cut(&whole, sizeof whole, 0);
}

static void error_info(const struct guestmem *mem)
{
    struct guestmem_error_info whole, *cut = (struct guestmem_error_info *)(void *)out;
    CHECK_CODE(guestmem_dma_fill(mem, 0x77, 1, UINT64_MAX), GUESTMEM_E_INVALID_RANGE);
    REQUIRE(guestmem_last_error(&whole, sizeof whole) == GUESTMEM_OK);
    for (size_t size = 1; size <= sizeof whole + TAIL; size++) {
        CHECK_OK(guestmem_last_error(cut, size));
        check_cut(&whole, sizeof whole, size);
    }
    CHECK_CODE(guestmem_last_error(cut, 0), GUESTMEM_E_INVALID_ARGUMENT);
    check_cut(&whole, sizeof whole, 0);
}

int main(void)
{
    static const struct guestmem_range range = { 0, PAGE };
    struct guestmem *mem = check_new(&range, 1);
    memset(out, 0xee, sizeof out);
    enter_folder(fast_parent(64 * MIB));
    CHECK_OK(guestmem_write_u64(mem, 8, 42));
    CHECK_OK(guestmem_save(mem, "image", NULL, 0));
    region_options();
    fields_beyond_the_size_are_not_read();
    arrays_of_region_options();
    snapshot_options(mem);
    restore_options(mem);
    load_options(mem);
    region_info(mem);
    error_info(mem);
    guestmem_unref(mem);
    return check_result();
}
