/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* 64 GiB of guest memory, of which 64 MiB is touched, on a machine that has less: every way to save
 * it and to bring it back takes space for what is touched, not for what is configured.
 * runs: natively only */
#include "support/images.h"
#include "support/system.h"

#define GIB (UINT64_C(1) << 30)
#define MIB_ (UINT64_C(1) << 20)

/* Below and above the hole that a machine has under 4 GiB. */
static const struct guestmem_range ranges[2] = {{0, 3 * GIB}, {4 * GIB, 61 * GIB}};

/* Half of what is touched lies in one run, half in single pages, one in each 7 MiB before it. */
#define RUN_PAGES ((uint64_t)8192)
#define SINGLE_PAGES ((uint64_t)8192)
#define STRETCH (7 * MIB_)
#define TOUCHED ((RUN_PAGES + SINGLE_PAGES) * PAGE)

/* Beside the data: metadata (a range for each single page), page tables (a page for each of those),
 * the file system's own blocks, the allocator. */
#define BESIDE (16 * MIB_)

static uint64_t guest_address(uint64_t offset)
{
    return offset < 3 * GIB ? offset : offset + GIB;
}

/* The guest address of the n-th touched page. Those of seed 1 and of seed 2 are different ones: odd
 * and even pages, and a run each. */
static uint64_t touched(uint64_t seed, uint64_t n)
{
    uint64_t state = seed * 1000003 + n + 1, pair;
    if (n >= SINGLE_PAGES)
        return guest_address((58 + 2 * seed) * GIB + (n - SINGLE_PAGES) * PAGE);
    pair = random_number(&state) % (STRETCH / (2 * PAGE));
    return guest_address(n * STRETCH + pair * 2 * PAGE + seed % 2 * PAGE);
}

static uint64_t word_of(uint64_t seed, uint64_t n, uint64_t word)
{
    return (seed << 56 | n << 16 | word) * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

static uint64_t *page_at(const struct guestmem *mem, uint64_t addr)
{
    void *host = NULL;
    REQUIRE(guestmem_get_host_address_range(mem, addr, PAGE, &host) == GUESTMEM_OK);
    return host;
}

static void touch(const struct guestmem *mem, uint64_t seed)
{
    uint64_t n, word;
    for (n = 0; n < SINGLE_PAGES + RUN_PAGES; n++) {
        uint64_t *page = page_at(mem, touched(seed, n));
        for (word = 0; word < PAGE / 8; word++) page[word] = word_of(seed, n, word);
    }
}

/* What was touched is there. The rest is not looked at, for that would fill it. */
static bool is_there(const struct guestmem *mem, uint64_t seed)
{
    uint64_t n, word;
    for (n = 0; n < SINGLE_PAGES + RUN_PAGES; n++) {
        const uint64_t *page = page_at(mem, touched(seed, n));
        for (word = 0; word < PAGE / 8; word++)
            if (page[word] != word_of(seed, n, word)) return false;
    }
    return true;
}

static struct guestmem *new_memory(uint64_t seed)
{
    struct guestmem *mem = check_new(ranges, 2);
    touch(mem, seed);
    CHECK_EQ(allocated_bytes(info_of(mem, 0).fd), TOUCHED);
    return mem;
}

/* ---- what a call costs ---- */

static uint64_t status_bytes(const char *key)
{
    char line[256];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0) kib = strtoull(line + strlen(key), NULL, 10);
    REQUIRE(fclose(file) == 0);
    return kib * 1024;
}

static uint64_t resident_before, tables_before;

static void begin(void)
{
    REQUIRE(write_number("/proc/self/clear_refs", 5)); /* the peak starts anew */
    resident_before = status_bytes("VmHWM:");
    tables_before = status_bytes("VmPTE:");
}

static uint64_t grown(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

/* At most so many touched pages came to be mapped, each with a page of tables. */
static void end(const char *what, uint64_t pages)
{
    const uint64_t resident = grown(status_bytes("VmHWM:"), resident_before);
    const uint64_t tables = grown(status_bytes("VmPTE:"), tables_before);
    printf("%-30.30s %4" PRIu64 " MiB resident, %4" PRIu64 " MiB of page tables\n", what,
           resident / MIB_, tables / MIB_);
    CHECK(resident <= pages * PAGE + BESIDE);
    CHECK(tables <= pages * PAGE + BESIDE);
}

static void check_file_size(const char *what, uint64_t allocated)
{
    printf("%-30s %4" PRIu64 " MiB allocated\n", what, allocated / MIB_);
    CHECK(allocated >= TOUCHED && allocated <= TOUCHED + BESIDE);
}

#define COSTS(call, pages)  \
    do {                    \
        begin();            \
        CHECK_OK(call);     \
        end(#call, pages);  \
    } while (0)

/* ---- */

static uint64_t allocated_at(const char *path)
{
    struct stat st;
    REQUIRE(stat(path, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

/* Restored into memory that holds other pages. */
static void check_restored(const struct guestmem *mem)
{
    CHECK_EQ(allocated_bytes(info_of(mem, 0).fd), TOUCHED);
    CHECK(is_there(mem, 1));
    CHECK_EQ(allocated_bytes(info_of(mem, 0).fd), TOUCHED); /* none of that was a hole */
    touch(mem, 2);
}

static void snapshot_and_restore(const struct guestmem *mem, const struct guestmem *other,
                                 uint32_t layout)
{
    const struct guestmem_snapshot_options options = {0, layout, 0, NULL, NULL};
    char *metadata = NULL;
    int fd = new_memfd(0);
    COSTS(guestmem_snapshot(mem, fd, &options, sizeof options, &metadata), 2048);
    REQUIRE(metadata != NULL);
    CHECK_EQ(lseek(fd, 0, SEEK_END), layout == GUESTMEM_LAYOUT_SPARSE ? 64 * GIB : TOUCHED);
    check_file_size(layout == GUESTMEM_LAYOUT_SPARSE ? "sparse" : "packed", allocated_bytes(fd));
    CHECK(strlen(metadata) < MIB_);
    CHECK_EQ(allocated_bytes(info_of(mem, 0).fd), TOUCHED);
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    COSTS(guestmem_restore(other, metadata, strlen(metadata), fd, NULL, 0), TOUCHED / PAGE);
    check_restored(other);
    guestmem_free(metadata);
    REQUIRE(close(fd) == 0);
}

static void save_and_restore(const struct guestmem *mem, const struct guestmem *other)
{
    COSTS(guestmem_save(mem, "image", NULL, 0), 2048);
    check_file_size("image", allocated_at("image"));
    CHECK_EQ(allocated_bytes(info_of(mem, 0).fd), TOUCHED);
    COSTS(guestmem_restore_file(other, "image", NULL, 0), TOUCHED / PAGE);
    check_restored(other);
}

static void load_eagerly(void)
{
    struct guestmem *loaded = NULL;
    COSTS(guestmem_load("image", NULL, 0, &loaded), TOUCHED / PAGE);
    REQUIRE(loaded != NULL);
    CHECK_EQ(guestmem_memory_size(loaded), 64 * GIB);
    check_restored(loaded);
    guestmem_unref(loaded);
}

static void load_mapped(uint64_t flags)
{
    const struct guestmem_load_options options = {flags, 0, 0, NULL, NULL};
    const uint64_t allocated = allocated_at("image");
    struct guestmem *loaded = NULL;
    uint64_t n, state = 7;
    COSTS(guestmem_load("image", &options, sizeof options, &loaded), 256);
    REQUIRE(loaded != NULL);
    CHECK_EQ(guestmem_memory_size(loaded), 64 * GIB);
    begin();
    CHECK(is_there(loaded, 1));
    end("all data read", 16 * TOUCHED / PAGE); /* the kernel maps what is cached around a page */
    for (n = 0; n < 100; n++) { /* slow where the disk's read-ahead is large */
        const uint64_t even = random_number(&state) % (SINGLE_PAGES * STRETCH) / (2 * PAGE) * 2;
        CHECK_EQ(*page_at(loaded, guest_address(even * PAGE)), 0);
    }
    touch(loaded, 2);
    CHECK_EQ(allocated_at("image"), allocated);
    guestmem_unref(loaded);
}

int main(void)
{
    struct guestmem *mem, *other;
    enter_folder("/tmp");
    mem = new_memory(1), other = new_memory(2);
    snapshot_and_restore(mem, other, GUESTMEM_LAYOUT_PACKED);
    snapshot_and_restore(mem, other, GUESTMEM_LAYOUT_SPARSE);
    save_and_restore(mem, other);
    guestmem_unref(other);
    load_eagerly();
    load_mapped(GUESTMEM_LOAD_MAP);
    load_mapped(GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY);
    guestmem_unref(mem);
    return check_result();
}
