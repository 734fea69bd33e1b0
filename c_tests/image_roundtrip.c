/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Every layout of data and holes goes out and comes back: packed, sparse, as an image file, loaded
 * by reading and by mapping, with and without checksums and the dropping of zero pages.
 *
 * The space: (1) three regions of two pages, the first two touching, each page a hole, data or
 * allocated zeros: all 3^6, with and without the dropping of zero pages. (2) three regions of eight
 * pages, on three backings: all 2^8 of one region, for each region, against layouts of the two
 * others that change from pattern to pattern, as the options do. Every pattern goes through a
 * packed and a sparse snapshot, an image, a restore, a load that reads and one that maps. Every
 * round writes other bytes than the one before into the same memory and over the same files.
 * (Restoring packed data after every pattern is in snapshot.c.)
 * runs: asan valgrind qemu musl */
#include "support/images.h"

enum { REGIONS = 3, MOST_PAGES = 8, MOST_CELLS = REGIONS * MOST_PAGES };
enum { HOLE, DATA, ZEROED }; /* ZEROED: in host memory, and all zeros */

/* What a round expects of the metadata. */
struct range {
    uint64_t start, end;
    uint32_t crc;
};

struct ground {
    struct guestmem *mem;
    size_t pages, cells; /* of each region, and in all */
    struct guestmem_region_info region[REGIONS];
    int own_file; /* the file that backs the last region; -1: all share the first one's */
    int packed, sparse;
    uint8_t *content[2]; /* what data pages hold in even and in odd rounds */
    /* of the round that runs */
    unsigned rounds;
    uint64_t flags;
    uint32_t threads;
    uint8_t *wanted, *scratch;
    bool covered[MOST_CELLS];
    uint64_t data_size;
    struct range ranges[REGIONS][MOST_PAGES];
    size_t counts[REGIONS];
};

static void ground_new(struct ground *ground, struct guestmem *mem, size_t pages, int own_file)
{
    size_t i, cell;
    memset(ground, 0, sizeof *ground);
    ground->mem = mem, ground->pages = pages, ground->own_file = own_file;
    ground->cells = REGIONS * pages;
    for (i = 0; i < REGIONS; i++) ground->region[i] = info_of(mem, i);
    ground->packed = new_memfd(0), ground->sparse = new_memfd(0);
    ground->wanted = malloc(ground->cells * PAGE);
    ground->scratch = malloc(ground->cells * PAGE + 1);
    REQUIRE(ground->wanted != NULL && ground->scratch != NULL);
    for (i = 0; i < 2; i++) {
        ground->content[i] = calloc(ground->cells, PAGE);
        REQUIRE(ground->content[i] != NULL);
        for (cell = 0; cell < ground->cells; cell++) {
            uint8_t *page = ground->content[i] + cell * PAGE;
            /* some pages are full, some hold one byte at one end */
            if ((cell + i) % 3 == 0) fill_random(page, (size_t)PAGE, cell + i * 1000 + 1);
            page[(cell + i) % 2 ? 0 : 4095] = (uint8_t)(cell % 100 + 1 + i * 100);
        }
    }
}

static void ground_free(struct ground *ground)
{
    guestmem_unref(ground->mem);
    REQUIRE(close(ground->packed) == 0 && close(ground->sparse) == 0);
    free(ground->wanted), free(ground->scratch);
    free(ground->content[0]), free(ground->content[1]);
}

static uint64_t memory_size(const struct ground *ground)
{
    return ground->cells * PAGE;
}

/* ---- one round: what memory is, and what is expected of its snapshot ---- */

static void lay_out(struct ground *ground, const uint8_t *cells)
{
    static const uint8_t no_data[4096];
    size_t i, cell;
    memset(ground->wanted, 0, (size_t)memory_size(ground));
    for (i = 0; i < REGIONS; i++)
        CHECK_OK(guestmem_remove_range(ground->mem, ground->region[i].guest_addr,
                                       ground->region[i].size));
    for (cell = 0; cell < ground->cells; cell++) {
        const uint8_t *page = ground->content[ground->rounds % 2] + cell * PAGE;
        const uint64_t addr =
            ground->region[cell / ground->pages].guest_addr + cell % ground->pages * PAGE;
        ground->covered[cell] =
            cells[cell] == DATA ||
            (cells[cell] == ZEROED && !(ground->flags & GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES));
        if (cells[cell] == HOLE) continue;
        if (cells[cell] == ZEROED) page = no_data;
        memcpy(ground->wanted + cell * PAGE, page, (size_t)PAGE);
        CHECK_OK(guestmem_write_all(ground->mem, addr, page, (size_t)PAGE));
    }
}

static void expect_ranges(struct ground *ground)
{
    size_t region, page;
    ground->data_size = 0;
    for (region = 0; region < REGIONS; region++) {
        const bool *covered = ground->covered + region * ground->pages;
        const uint8_t *wanted = ground->wanted + region * ground->pages * PAGE;
        size_t count = 0;
        for (page = 0; page < ground->pages; page++) {
            struct range *range = &ground->ranges[region][count];
            if (!covered[page]) continue;
            range->start = page * PAGE;
            while (page < ground->pages && covered[page]) page++;
            range->end = page * PAGE;
            if (!(ground->flags & GUESTMEM_SNAPSHOT_NO_CHECKSUM))
                range->crc = crc32c(wanted + range->start, (size_t)(range->end - range->start));
            ground->data_size += range->end - range->start;
            count++;
        }
        ground->counts[region] = count;
    }
}

static uint64_t anonymous_bytes(const struct guestmem_region_info *info)
{
    static int pagemap = -1;
    uint64_t entries[MOST_PAGES], present = 0, i;
    const uint64_t count = info->size / PAGE;
    if (pagemap < 0) pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    REQUIRE(pread(pagemap, entries, (size_t)count * 8, (off_t)((uintptr_t)info->host_addr / 512)) ==
            (ssize_t)count * 8);
    for (i = 0; i < count; i++) present += entries[i] >> 62 != 0;
    return present * PAGE;
}

/* Host memory that the guest memory takes. */
static uint64_t footprint(const struct ground *ground)
{
    uint64_t bytes = allocated_bytes(ground->region[0].fd);
    if (ground->own_file < 0) return bytes;
    return bytes + anonymous_bytes(&ground->region[1]) + allocated_bytes(ground->own_file);
}

/* ---- what went out ---- */

static void check_text(const struct ground *ground, const char *text, bool sparse)
{
    const bool checksums = !(ground->flags & GUESTMEM_SNAPSHOT_NO_CHECKSUM);
    uint64_t offset = 0;
    size_t region, i;
    REQUIRE(text != NULL && json_valid(text));
    CHECK(json_is(text, "format", "\"guestmem\"") && json_is(text, "version", "1"));
    CHECK(json_is(text, "layout", sparse ? "\"sparse\"" : "\"packed\""));
    CHECK(json_is(text, "compressed", "false") && json_is(text, "page_size", "4096"));
    CHECK(json_is(text, "checksum", checksums ? "\"crc32c\"" : "\"none\""));
    CHECK_EQ(json_number(text, "data_size"), ground->data_size);
    CHECK_EQ(json_count(text, "regions"), REGIONS);
    for (region = 0; region < REGIONS; region++) {
        const char *of_region = json_element(json_at(text, "regions"), region);
        REQUIRE(of_region != NULL);
        CHECK_EQ(json_number(of_region, "guest_base"), ground->region[region].guest_addr);
        CHECK_EQ(json_number(of_region, "size"), ground->region[region].size);
        CHECK_EQ(json_number(of_region, "file_offset"), offset);
        CHECK_EQ(json_count(of_region, "data_ranges"), ground->counts[region]);
        if (sparse) offset += ground->region[region].size;
        for (i = 0; i < ground->counts[region]; i++) {
            const char *range = json_element(json_at(of_region, "data_ranges"), i);
            const struct range *wanted = &ground->ranges[region][i];
            if (range == NULL) break;
            CHECK_EQ(json_number(range, "start"), wanted->start);
            CHECK_EQ(json_number(range, "end"), wanted->end);
            if (checksums) CHECK_EQ(json_number(range, "crc[0]"), wanted->crc);
            CHECK_EQ(json_count(range, "crc"), checksums);
            if (!sparse) offset += wanted->end - wanted->start;
        }
    }
}

static void check_packed(const struct ground *ground)
{
    size_t at = 0, cell;
    CHECK(lseek(ground->packed, 0, SEEK_CUR) == (off_t)ground->data_size);
    CHECK(pread(ground->packed, ground->scratch, (size_t)memory_size(ground) + 1, 0) ==
          (ssize_t)ground->data_size);
    for (cell = 0; cell < ground->cells; cell++) {
        if (!ground->covered[cell]) continue;
        CHECK(memcmp(ground->scratch + at, ground->wanted + cell * PAGE, (size_t)PAGE) == 0);
        at += (size_t)PAGE;
    }
}

/* Every byte, and that holes are holes. */
static void check_raw(const struct ground *ground, int fd)
{
    const size_t size = (size_t)memory_size(ground);
    size_t cell;
    CHECK(pread(fd, ground->scratch, size, 0) == (ssize_t)size);
    CHECK(memcmp(ground->scratch, ground->wanted, size) == 0);
    for (cell = 0; cell < ground->cells; cell++) {
        const off_t at = (off_t)(cell * PAGE);
        CHECK((lseek(fd, at, SEEK_DATA) == at) == ground->covered[cell]);
    }
}

static void check_file_of_image(const struct ground *ground)
{
    const uint64_t size = memory_size(ground);
    uint8_t trailer[TRAILER], expected[TRAILER];
    char *metadata = NULL, *text;
    struct stat st;
    int fd = open("image", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && fstat(fd, &st) == 0);
    CHECK_OK(guestmem_image_metadata("image", &metadata));
    REQUIRE(metadata != NULL);
    check_text(ground, metadata, true);
    check_raw(ground, fd);
    {
        const size_t len = strlen(metadata);
        CHECK_EQ(st.st_size, size + len + TRAILER);
        make_trailer(expected, size, metadata, len);
        text = malloc(len);
        REQUIRE(text != NULL);
        CHECK(pread(fd, text, len, (off_t)size) == (ssize_t)len &&
              memcmp(text, metadata, len) == 0);
        free(text);
        CHECK(pread(fd, trailer, TRAILER, (off_t)(size + len)) == TRAILER &&
              memcmp(trailer, expected, TRAILER) == 0);
    }
    guestmem_free(metadata);
    REQUIRE(close(fd) == 0);
}

/* ---- what comes back ---- */

static void check_restored(struct ground *ground)
{
    CHECK_EQ(footprint(ground), ground->data_size);
    CHECK(memory_is(ground->mem, ground->wanted));
}

static void check_loaded(const struct ground *ground, const struct guestmem *loaded)
{
    size_t i;
    CHECK_EQ(guestmem_num_regions(loaded), REGIONS);
    for (i = 0; i < REGIONS; i++) {
        const struct guestmem_region_info info = info_of(loaded, i);
        CHECK(info.guest_addr == ground->region[i].guest_addr &&
              info.size == ground->region[i].size);
    }
    CHECK(memory_is(loaded, ground->wanted));
}

static void restore_from(struct ground *ground, int fd, const char *metadata, off_t after)
{
    const struct guestmem_restore_options options = {0, ground->threads, 0, NULL, NULL};
    dirty_everything(ground->mem);
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    CHECK_OK(guestmem_restore(ground->mem, metadata, strlen(metadata), fd, &options,
                              sizeof options));
    CHECK(lseek(fd, 0, SEEK_CUR) == after);
    check_restored(ground);
}

static void restore_from_image(struct ground *ground)
{
    const struct guestmem_restore_options options = {0, ground->threads, 0, NULL, NULL};
    dirty_everything(ground->mem);
    CHECK_OK(guestmem_restore_file(ground->mem, "image", &options, sizeof options));
    check_restored(ground);
}

/* Zeros are not written to memory that is new. */
static uint64_t bytes_of_pages_with_data(const struct ground *ground)
{
    uint64_t bytes = 0, at = 0, size = 0;
    for (size_t i = 0; i < REGIONS; i++) size += ground->region[i].size;
    for (; at < size; at += PAGE)
        if (!zeros(ground->wanted + at, PAGE)) bytes += PAGE;
    return bytes;
}

static void load_from_image(struct ground *ground)
{
    const bool checksums = !(ground->flags & GUESTMEM_SNAPSHOT_NO_CHECKSUM);
    struct guestmem *loaded = load_with("image", 0);
    if (info_of(loaded, 0).fd >= 0)
        CHECK_EQ(allocated_bytes(info_of(loaded, 0).fd), bytes_of_pages_with_data(ground));
    check_loaded(ground, loaded);
    guestmem_unref(loaded);
    loaded = load_with("image", GUESTMEM_LOAD_MAP);
    check_loaded(ground, loaded);
    guestmem_unref(loaded);
    if (!checksums) return;
    loaded = load_with("image", GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY);
    guestmem_unref(loaded);
}

/* An image of memory that is mapped from an image, over that image; and back into it. */
static void next_generation(struct ground *ground)
{
    const struct guestmem_snapshot_options options = {ground->flags, 0, 0, NULL, NULL};
    struct guestmem *mapped = load_with("image", GUESTMEM_LOAD_MAP), *loaded;
    CHECK_OK(guestmem_save(mapped, "image", &options, sizeof options));
    check_loaded(ground, mapped);
    loaded = load_with("image", 0);
    check_loaded(ground, loaded);
    guestmem_unref(loaded);
    dirty_everything(mapped);
    CHECK_OK(guestmem_restore_file(mapped, "image", NULL, 0));
    check_loaded(ground, mapped);
    guestmem_unref(mapped);
}

static void round_trip(struct ground *ground, const uint8_t *cells, uint64_t flags)
{
    struct guestmem_snapshot_options options = {flags, GUESTMEM_LAYOUT_PACKED, 0, NULL, NULL};
    char *packed = NULL, *sparse = NULL;
    uint64_t before;
    ground->rounds++;
    ground->flags = flags;
    options.threads = ground->threads = ground->rounds % 3;
    lay_out(ground, cells);
    expect_ranges(ground);

    before = footprint(ground);
    REQUIRE(lseek(ground->packed, 0, SEEK_SET) == 0 && ftruncate(ground->packed, 0) == 0);
    CHECK_OK(guestmem_snapshot(ground->mem, ground->packed, &options, sizeof options, &packed));
    options.layout = GUESTMEM_LAYOUT_SPARSE;
    REQUIRE(lseek(ground->sparse, 4321, SEEK_SET) == 4321);
    CHECK_OK(guestmem_snapshot(ground->mem, ground->sparse, &options, sizeof options, &sparse));
    CHECK(lseek(ground->sparse, 0, SEEK_CUR) == 4321);
    CHECK(lseek(ground->sparse, 0, SEEK_END) == (off_t)memory_size(ground));
    options.layout = ground->rounds / 2 % 2;
    CHECK_OK(guestmem_save(ground->mem, "image", &options, sizeof options));
    CHECK_EQ(footprint(ground), before); /* a snapshot allocates no guest page */

    check_text(ground, packed, false);
    check_packed(ground);
    check_text(ground, sparse, true);
    check_raw(ground, ground->sparse);
    check_file_of_image(ground);
    load_from_image(ground);
    if (ground->rounds % 2)
        restore_from(ground, ground->sparse, sparse, 0);
    else
        restore_from_image(ground);
    if (ground->rounds % 8 == 0)
        restore_from(ground, ground->packed, packed, (off_t)ground->data_size);
    if (ground->rounds % 8 == 4) next_generation(ground);
    guestmem_free(packed);
    guestmem_free(sparse);
}

/* ---- the patterns ---- */

static const uint64_t all_flags[4] = {
    0, GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES, GUESTMEM_SNAPSHOT_NO_CHECKSUM,
    GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES | GUESTMEM_SNAPSHOT_NO_CHECKSUM};

static void test_two_pages(size_t stride)
{
    const uint64_t size = 2 * PAGE;
    const struct guestmem_range ranges[REGIONS] = {{0, size}, {size, size}, {0x100000, size}};
    struct ground ground;
    size_t pattern, rest, cell;
    uint8_t cells[MOST_CELLS];
    ground_new(&ground, check_new(ranges, REGIONS), 2, -1);
    for (pattern = 0; pattern < 729; pattern += stride) {
        for (cell = 0, rest = pattern; cell < ground.cells; cell++, rest /= 3)
            cells[cell] = (uint8_t)(rest % 3);
        /* with checksums for one of the two, in turn */
        round_trip(&ground, cells, all_flags[pattern % 2 ? 0 : 2]);
        round_trip(&ground, cells, all_flags[pattern % 2 ? 3 : 1]);
    }
    ground_free(&ground);
}

/* The library's own memory, private memory, and a file from its second page on. */
static struct guestmem *three_backings(int file)
{
    struct guestmem_region_options options[REGIONS];
    struct guestmem *mem = NULL;
    size_t i;
    memset(options, 0, sizeof options);
    for (i = 0; i < REGIONS; i++)
        options[i].guest_addr = i * MOST_PAGES * PAGE, options[i].size = MOST_PAGES * PAGE;
    options[1].flags = GUESTMEM_REGION_PRIVATE;
    options[2].flags = GUESTMEM_REGION_FD, options[2].fd = file, options[2].fd_offset = PAGE;
    CHECK_OK(guestmem_new_with_options(options, REGIONS, sizeof options[0], &mem));
    REQUIRE(mem != NULL);
    return mem;
}

static void test_eight_pages(size_t stride)
{
    struct ground ground;
    size_t region, pattern, page;
    uint8_t cells[MOST_CELLS];
    int file = new_memfd((MOST_PAGES + 1) * PAGE);
    ground_new(&ground, three_backings(file), MOST_PAGES, file);
    for (region = 0; region < REGIONS; region++)
        for (pattern = 0; pattern < 256; pattern += stride) {
            const size_t others = (pattern + pattern / 4 + region) % 4;
            const size_t rows[4][2] = {{0x00, 0x00}, {0xff, 0xff}, {0x55, 0x80}, {~pattern, 0x01}};
            const uint8_t nothing = others == 2 ? ZEROED : HOLE;
            for (page = 0; page < MOST_PAGES; page++) {
                uint8_t *row = cells + page;
                row[region * MOST_PAGES] = pattern >> page & 1 ? DATA : nothing;
                row[(region + 1) % REGIONS * MOST_PAGES] =
                    rows[others][0] >> page & 1 ? DATA : nothing;
                row[(region + 2) % REGIONS * MOST_PAGES] =
                    rows[others][1] >> page & 1 ? DATA : nothing;
            }
            round_trip(&ground, cells, all_flags[pattern / 16 % 4]);
        }
    ground_free(&ground);
    REQUIRE(close(file) == 0);
}

int main(void)
{
    enter_folder(fast_parent(UINT64_C(1) << 20));
    test_two_pages(fast() ? 61 : 1);
    test_eight_pages(fast() ? 61 : 1);
    CHECK_EQ(entries_in("."), 1);
    return check_result();
}
