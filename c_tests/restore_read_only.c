/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Restoring memory with read-only regions: these have to hold what the snapshot holds for them, and are
 * not written. Where they differ nothing is, or, where a stream tells of them too late, the memory is
 * tainted.
 * runs: asan valgrind */
#include "support/images.h"
#include "support/snapshots.h"

enum { RAM_PAGES = 700, ROM_PAGES = 5 };
#define RAM (RAM_PAGES * PAGE)
#define ROM (ROM_PAGES * PAGE)

/* RAM below a ROM, or above it. */
static struct guestmem *new_memory(int rom, bool rom_first)
{
    struct guestmem_region_options options[2];
    struct guestmem *mem;
    memset(options, 0, sizeof options);
    options[!rom_first].guest_addr = rom_first ? 0 : 2 * RAM;
    options[!rom_first].size = ROM;
    options[!rom_first].flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_READ_ONLY;
    options[!rom_first].fd = rom;
    options[rom_first].guest_addr = RAM, options[rom_first].size = RAM;
    REQUIRE(guestmem_new_with_options(options, 2, sizeof options[0], &mem) == GUESTMEM_OK);
    return mem;
}

/* A ROM whose third page is a hole of its file and whose fourth page holds zeros. */
static int new_rom(void)
{
    int fd = new_memfd(ROM);
    uint8_t page[0x1000] = {0};
    fill_random(page, sizeof page, 5);
    for (off_t i = 0; i < 5; i++)
        if (i < 2 || i == 4) REQUIRE(pwrite(fd, page, sizeof page, i * 0x1000) == 0x1000);
    memset(page, 0, sizeof page);
    REQUIRE(pwrite(fd, page, sizeof page, 0x3000) == 0x1000);
    return fd;
}

static void change(int rom, off_t at, uint8_t by)
{
    uint8_t byte;
    REQUIRE(pread(rom, &byte, 1, at) == 1);
    byte = (uint8_t)(byte ^ by);
    REQUIRE(pwrite(rom, &byte, 1, at) == 1);
}

static struct image packed, sparse;

static int restore_one_way(const struct guestmem *mem, int way)
{
    int pipe_ends[2];
    uint8_t *bytes;
    int code;
    switch (way) {
    case 0: return image_restore(mem, &packed);
    case 1: return guestmem_restore_file(mem, "image", NULL, 0);
    case 2: return guestmem_restore(mem, sparse.metadata, strlen(sparse.metadata), sparse.fd, NULL, 0);
    case 3:
        bytes = malloc((size_t)packed.size);
        REQUIRE(bytes != NULL);
        REQUIRE(pread(packed.fd, bytes, (size_t)packed.size, 0) == (ssize_t)packed.size);
        code = restore_bytes(mem, packed.metadata, bytes, (size_t)packed.size);
        free(bytes);
        return code;
    default:
        /* Its data does not fit into a pipe at once. */
        REQUIRE(pipe(pipe_ends) == 0);
        if (fork() == 0) {
            REQUIRE(close(pipe_ends[0]) == 0);
            for (uint64_t at = 0; at < packed.size;) {
                char buf[0x10000];
                ssize_t n = pread(packed.fd, buf, sizeof buf, (off_t)at);
                if (n <= 0 || write(pipe_ends[1], buf, (size_t)n) != n) _exit(0);
                at += (uint64_t)n;
            }
            _exit(0);
        }
        REQUIRE(close(pipe_ends[1]) == 0);
        code = guestmem_restore(mem, packed.metadata, strlen(packed.metadata), pipe_ends[0], NULL, 0);
        REQUIRE(close(pipe_ends[0]) == 0);
        return code;
    }
}

static void check(bool rom_first, bool checksums, bool fresh)
{
    /* In data, in a hole, in zeros. */
    static const off_t places[] = {0, 0x1fff, 0x2010, 0x3ffe, 0x4800};
    const struct guestmem_snapshot_options how = {
        checksums ? 0 : GUESTMEM_SNAPSHOT_NO_CHECKSUM, GUESTMEM_LAYOUT_PACKED, 0, NULL, NULL};
    struct guestmem_snapshot_options raw = how;
    int rom = new_rom();
    struct guestmem *mem = new_memory(rom, rom_first), *target;
    uint8_t *host = info_of(mem, rom_first).host_addr, *before, *after;
    fill_random(host + 3 * PAGE, (size_t)(500 * PAGE), 11);
    packed = image_of(mem, &how);
    raw.layout = GUESTMEM_LAYOUT_SPARSE;
    sparse = image_of(mem, &raw);
    CHECK_OK(guestmem_save(mem, "image", &how, sizeof how));
    after = copy_of(mem);
    for (int way = 0; way < 5; way++) {
        target = fresh ? new_memory(rom, rom_first) : mem;
        if (!fresh) CHECK_OK(guestmem_dma_fill(mem, RAM, 0x77, RAM));
        CHECK_OK(restore_one_way(target, way));
        CHECK(memory_is(target, after) && !is_tainted(target));
        if (fresh) guestmem_unref(target);
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
            /* Whatever is told before the first data of RAM is. */
            bool is_early = way < 3 || rom_first || places[i] / 0x1000 == 2;
            target = fresh ? new_memory(rom, rom_first) : mem;
            if (!fresh) CHECK_OK(guestmem_dma_fill(mem, RAM, 0x77, RAM));
            change(rom, places[i], 0x20);
            before = copy_of(target);
            CHECK_CODE(restore_one_way(target, way), GUESTMEM_E_MISMATCH);
            if (is_early)
                check_untouched(target, before);
            else
                CHECK(is_tainted(target));
            free(before);
            change(rom, places[i], 0x20);
            CHECK_OK(restore_one_way(target, way));
            CHECK(memory_is(target, after) && !is_tainted(target));
            if (fresh) guestmem_unref(target);
        }
    }
    free(after);
    image_free(&packed);
    image_free(&sparse);
    guestmem_unref(mem);
    REQUIRE(close(rom) == 0);
}

/* A ROM that several machines share is no reason to be busy, and is not what becomes tainted. */
static struct guestmem *neighbour;
static struct image of_neighbour;

static int64_t restore_the_other(void *user, void *buf, size_t len)
{
    (void)user, (void)buf, (void)len;
    CHECK_OK(image_restore(neighbour, &of_neighbour));
    return -EIO;
}

static void test_shared_rom(void)
{
    int fd = new_rom();
    struct guestmem *mem = new_memory(fd, true);
    struct guestmem_region *regions[2];
    const struct guestmem_region_options ram = {.guest_addr = RAM, .size = RAM};
    CHECK_OK(guestmem_dma_fill(mem, RAM, 0x77, RAM));
    REQUIRE(guestmem_remove_region(mem, 0, &regions[0]) == GUESTMEM_OK);
    CHECK_OK(guestmem_add_region(mem, regions[0]));
    REQUIRE(guestmem_region_new(&ram, sizeof ram, &regions[1]) == GUESTMEM_OK);
    REQUIRE(guestmem_from_regions(regions, 2, &neighbour) == GUESTMEM_OK);
    of_neighbour = image_of(neighbour, NULL);
    packed = image_of(mem, NULL);
    CHECK_CODE(guestmem_restore_read(mem, packed.metadata, strlen(packed.metadata),
                                     restore_the_other, NULL, NULL, 0),
               GUESTMEM_E_IO);
    CHECK(restore_bytes(mem, packed.metadata, NULL, 0) == GUESTMEM_E_SNAPSHOT_SHORT);
    CHECK(!is_tainted(neighbour));
    image_free(&packed);
    image_free(&of_neighbour);
    guestmem_region_unref(regions[0]);
    guestmem_region_unref(regions[1]);
    guestmem_unref(neighbour);
    guestmem_unref(mem);
    REQUIRE(close(fd) == 0);
}

int main(void)
{
    enter_folder("/tmp");
    for (int i = 0; i < 8; i++) check(i & 1, i & 2, i & 4);
    test_shared_rom();
    return check_result();
}
