/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A program that uses every section of the interface, in parts that can be run by themselves: under
 * a filter of system calls, with signals blocked, with signals coming in. What a part runs between
 * prepare and finish makes no system call of its own but lseek, so that whatever happens there is
 * the library's doing. */
#ifndef SECTIONS_H
#define SECTIONS_H

#include "support/process.h"
#include "sections_saving.h"
#include <signal.h>
#include <sys/resource.h>

struct section {
    const char *name;
    void (*prepare)(void);
    void (*run)(void); /* any number of times */
    void (*finish)(void);
};

/* ---- creating ---- */

#define MOST_CREATED 8

static struct {
    int file;
    void *pages;
    bool huge_pages;
    struct guestmem *made[MOST_CREATED];
    size_t count;
} creating;

static struct guestmem_region_options of_backing(size_t index, uint64_t flags)
{
    struct guestmem_region_options options;
    memset(&options, 0, sizeof options);
    options.guest_addr = index * PAGE, options.size = PAGE;
    options.flags = flags;
    if (flags & GUESTMEM_REGION_FD) options.fd = creating.file;
    if (flags & GUESTMEM_REGION_HOST) options.host_addr = creating.pages;
    return options;
}

static void create_prepare(void)
{
    creating.file = new_memfd(PAGE);
    creating.pages =
        mmap(NULL, (size_t)PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, creating.file, 0);
    REQUIRE(creating.pages != MAP_FAILED);
    creating.huge_pages = !fast() && reserve_huge_pages(1);
}

static void create_with(const struct guestmem_region_options *options, size_t count)
{
    CHECK_OK(guestmem_new_with_options(options, count, sizeof *options,
                                       &creating.made[creating.count++]));
}

static void create_run(void)
{
    const struct guestmem_range range = {0, 2 * PAGE};
    struct guestmem_region_options options[7];
    struct guestmem_region *region = NULL, *again;
    struct guestmem *refused = NULL;
    creating.count = 0;
    CHECK_OK(guestmem_new(&range, 1, &creating.made[creating.count++]));
    options[0] = of_backing(0, 0);
    options[1] = of_backing(1, GUESTMEM_REGION_PRIVATE);
    options[2] = of_backing(2, GUESTMEM_REGION_FD);
    options[3] = of_backing(3, GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE);
    options[4] = of_backing(4, GUESTMEM_REGION_FD | GUESTMEM_REGION_READ_ONLY);
    options[5] = of_backing(5, GUESTMEM_REGION_HOST);
    options[6] = of_backing(6, GUESTMEM_REGION_HOST | GUESTMEM_REGION_FD);
    create_with(options, 7);
    /* so much that threads share the work, and yet soon done: all of it is one page of zeros */
    options[0] = of_backing(0, GUESTMEM_REGION_POPULATE);
    options[1] = of_backing(
        1, GUESTMEM_REGION_POPULATE | GUESTMEM_REGION_PRIVATE | GUESTMEM_REGION_READ_ONLY);
    options[1].size = UINT64_C(128) << 20;
    create_with(options, 2);
    if (creating.huge_pages) {
        options[0] = of_backing(0, GUESTMEM_REGION_HUGETLB);
        options[0].size = HUGE_PAGE;
        create_with(options, 1);
    }
    options[0] = of_backing(0, 0);
    CHECK_OK(guestmem_region_new(options, sizeof *options, &region));
    again = guestmem_region_ref(region);
    CHECK_OK(guestmem_from_regions(&again, 1, &creating.made[creating.count++]));
    guestmem_region_unref(region);
    guestmem_region_unref(again);
    /* what was made until the last was refused goes again */
    options[1].fd = -1, options[1].flags = GUESTMEM_REGION_FD;
    CHECK_CODE(guestmem_new_with_options(options, 2, sizeof *options, &refused),
               GUESTMEM_E_BACKING);
    for (size_t i = 0; i < creating.count; i++) {
        CHECK(guestmem_ref(creating.made[i]) == creating.made[i]);
        CHECK_OK(guestmem_write_u64(creating.made[i], 0, i));
        guestmem_unref(creating.made[i]);
        guestmem_unref(creating.made[i]);
    }
}

static void create_finish(void)
{
    REQUIRE(munmap(creating.pages, (size_t)PAGE) == 0 && close(creating.file) == 0);
}

/* ---- access and translation ---- */

static struct world world;

static void world_prepare(void)
{
    world_new(&world);
}

static void world_finish(void)
{
    world_free(&world);
}

static void ask(void)
{
    const struct guestmem *mem = world.mem;
    struct guestmem_region_info info;
    uint64_t number = 0;
    int fd = -1;
    CHECK_EQ(guestmem_num_regions(mem), WORLD_AREAS);
    CHECK(guestmem_end_addr(mem) == UINT64_MAX - 0xfff && guestmem_memory_size(mem) > 0);
    CHECK_OK(guestmem_region_info(mem, 1, &info, sizeof info));
    CHECK_OK(guestmem_find_region(mem, 0x14010, &info, sizeof info, &number));
    CHECK(info.guest_addr == 0x14000 && number == 0x10);
    CHECK(guestmem_address_in_range(mem, 0x10000) && guestmem_range_overlap(mem, 0, 0x10001));
    CHECK_OK(guestmem_checked_offset(mem, 0, 0x10000, &number));
    CHECK(guestmem_is_valid_range(mem, 0x10000, 0x4000));
    CHECK_OK(guestmem_shm_region(mem, 0x10000, &fd));
    CHECK_OK(guestmem_offset_region(mem, 0, &fd));
    CHECK_OK(guestmem_offset_from_base(mem, 0x10010, &fd, &number));
    CHECK(number == 0x10 && guestmem_generation(mem) == 0 && guestmem_memory_policy(mem) == 0);
    CHECK(guestmem_version() != 0 && guestmem_version_string() != NULL);
}

static void translate(void)
{
    const struct guestmem *mem = world.mem;
    const struct guestmem_range chain[2] = {{0x13ff0, 0x20}, {0x17000, 8}};
    const struct guestmem_access accesses[2] = {{0x13ff0, 0x20, GUESTMEM_ACCESS_WRITE, 0},
                                                {0x17000, 8, GUESTMEM_ACCESS_READ, 0}};
    struct guestmem_slice slices[8], slice;
    uint64_t guest = 0;
    uint8_t bytes[16] = {0};
    size_t count = 0;
    void *host = NULL;
    CHECK_OK(guestmem_get_host_address(mem, 0x10008, &host));
    CHECK_OK(guestmem_get_guest_address(mem, host, &guest));
    CHECK_EQ(guest, 0x10008);
    CHECK_OK(guestmem_get_host_address_range(mem, 0x10008, 8, &host));
    CHECK_OK(guestmem_get_slices(mem, 0x13ff0, 0x20, slices, 8, &count));
    CHECK_EQ(count, 2);
    CHECK_OK(guestmem_translate(mem, chain, 2, slices, 8, &count));
    CHECK_EQ(count, 3);
    CHECK_OK(guestmem_get_host_address_range_writable(mem, 0x10008, 8, &host));
    CHECK_OK(guestmem_get_slices_writable(mem, 0x13ff0, 0x20, slices, 8, &count));
    CHECK_EQ(count, 2);
    CHECK_OK(guestmem_translate_for(mem, accesses, 2, slices, 8, &count));
    CHECK_EQ(count, 3);
    CHECK_OK(guestmem_get_slice_writable(mem, 0x10000, 64, &slice));
    CHECK_OK(guestmem_slice_sub(slice, 32, 32, &slices[0]));
    CHECK_OK(guestmem_slice_write(slice, 0, bytes, sizeof bytes));
    CHECK_OK(guestmem_slice_read(slice, 0, bytes, sizeof bytes));
    CHECK_EQ(guestmem_slice_copy(slices[0], slice), 32);
    guestmem_slice_fill(slice, 0);
    CHECK(guestmem_slice_is_zero(slice));
}

static void move_bytes(void)
{
    const struct guestmem *mem = world.mem;
    uint8_t bytes[0x3000] = {1};
    size_t done = 0;
    CHECK_OK(guestmem_write(mem, 0x13000, bytes, sizeof bytes, &done));
    CHECK_EQ(done, 0x1000);
    CHECK_OK(guestmem_read(mem, 0x13000, bytes, sizeof bytes, &done));
    CHECK_OK(guestmem_write_all(mem, 0x10000, bytes, 100));
    CHECK_OK(guestmem_read_exact(mem, 0x10000, bytes, 100));
    CHECK_OK(guestmem_dma_write(mem, 0x13000, bytes, sizeof bytes));
    CHECK_OK(guestmem_dma_read(mem, 0x13000, bytes, sizeof bytes));
    CHECK_OK(guestmem_dma_copy(mem, 0x15000, 0x14800, 0x2000));
    CHECK_OK(guestmem_dma_fill(mem, 0x13800, 7, 0x1000));
    CHECK_OK(guestmem_write_obj_volatile(mem, 0x10000, bytes, 24));
    CHECK_OK(guestmem_read_obj_volatile(mem, 0x10000, bytes, 24));
}

static void move_values(void)
{
    const struct guestmem *mem = world.mem;
    struct guestmem_view view;
    uint64_t value = 0, expected;
    bool exchanged = false;
    CHECK_OK(guestmem_write_u64(mem, 0x10001, 5));
    CHECK_OK(guestmem_read_u64(mem, 0x10001, &value));
    CHECK_OK(guestmem_write_volatile_u64(mem, 0x10008, 6));
    CHECK_OK(guestmem_read_volatile_u64(mem, 0x10008, &value));
    CHECK_OK(guestmem_store_u64(mem, 0x10008, 7, GUESTMEM_RELEASE));
    CHECK_OK(guestmem_load_u64(mem, 0x10008, GUESTMEM_ACQUIRE, &value));
    expected = value;
    CHECK_OK(guestmem_compare_exchange_u64(mem, 0x10008, &expected, 8, GUESTMEM_SEQ_CST,
                                           &exchanged));
    CHECK(exchanged);
    CHECK_OK(guestmem_get_view(mem, &view, sizeof view));
    CHECK(guestmem_view_is_current(&view, mem) && guestmem_view_read_u64(&view, 0x10008, &value));
    CHECK(value == 8 && guestmem_view_store_u64(&view, 0x10008, 9, GUESTMEM_RELEASE));
}

/* Errors are made and told without a system call too. */
static void be_refused(void)
{
    struct guestmem_error_info info;
    uint64_t value;
    char message[200];
    CHECK_CODE(guestmem_read_u64(world.mem, 0, &value), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_write_u64(world.mem, 0x20000, 1), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(guestmem_dma_fill(world.mem, 0x1fff8, 1, 16), GUESTMEM_E_INVALID_ADDRESS);
    CHECK_CODE(guestmem_read_u64(NULL, 0, &value), GUESTMEM_E_BAD_HANDLE);
    CHECK_OK(guestmem_last_error(&info, sizeof info));
    CHECK(guestmem_last_error_message(message, sizeof message) > 0);
    CHECK(guestmem_errno(info.code) != 0 && guestmem_strerror(info.code) != NULL);
}

static void access_run(void)
{
    ask();
    translate();
    move_bytes();
    move_values();
    be_refused();
}

/* ---- transfers ---- */

#define FILE_SIZE_LIMIT ((uint64_t)1 << 20)

static struct {
    int file, appended, ends[2], closed;
    struct rlimit limit;
} moving;

/* A file size limit is in force until the end. */
static void transfer_prepare(void)
{
    struct rlimit limit;
    world_new(&world);
    moving.file = new_disk_file(0x10000);
    moving.appended = reopen(moving.file, O_WRONLY | O_APPEND);
    REQUIRE(pipe2(moving.ends, O_CLOEXEC) == 0);
    moving.closed = closed_pipe();
    REQUIRE(getrlimit(RLIMIT_FSIZE, &moving.limit) == 0);
    limit = moving.limit;
    limit.rlim_cur = FILE_SIZE_LIMIT;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void transfer_run(void)
{
    const struct guestmem *mem = world.mem;
    int code;
    CHECK_OK(guestmem_dma_fill(mem, 0x13000, 0x3c, 0x2000));
    CHECK_OK(guestmem_write_from_memory(mem, 0x13000, moving.ends[1], 0x2000));
    CHECK_OK(guestmem_read_to_memory(mem, 0x15000, moving.ends[0], 0x2000));
    CHECK_OK(guestmem_write_from_memory_at(mem, 0x15000, moving.file, 0x100, 0x2000));
    CHECK_OK(guestmem_read_to_memory_at(mem, 0x17000, moving.file, 0x100, 0x2000));
    /* before Linux 6.9 this is refused */
    code = guestmem_write_from_memory_at(mem, 0x15000, moving.appended, 0x100, 0x2000);
    CHECK(code == GUESTMEM_OK || code == GUESTMEM_E_UNSUPPORTED);
    for (uint64_t addr = 0x13000; addr < 0x19000; addr += 0x7f8) {
        uint8_t byte = 0;
        CHECK_OK(guestmem_read_u8(mem, addr, &byte));
        CHECK_EQ(byte, 0x3c);
    }
    /* each of these brings a signal, which nobody is to see */
    CHECK_CODE(guestmem_write_from_memory(mem, 0x10000, moving.closed, 8), GUESTMEM_E_IO);
    CHECK_CODE(guestmem_write_from_memory_at(mem, 0x10000, moving.file, FILE_SIZE_LIMIT, 8),
               GUESTMEM_E_IO);
}

static void transfer_finish(void)
{
    REQUIRE(setrlimit(RLIMIT_FSIZE, &moving.limit) == 0);
    REQUIRE(close(moving.file) == 0 && close(moving.appended) == 0 && close(moving.closed) == 0);
    REQUIRE(close(moving.ends[0]) == 0 && close(moving.ends[1]) == 0);
    world_free(&world);
}

/* ---- managing ---- */

#define SPARE_ADDR UINT64_C(0x40000)

static struct guestmem_region *spare; /* a private file; comes and goes */

static void manage_prepare(void)
{
    struct guestmem_region_options options;
    memset(&options, 0, sizeof options);
    options.guest_addr = SPARE_ADDR, options.size = PAGE;
    options.flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE;
    options.fd = new_memfd(PAGE);
    world_new(&world);
    CHECK_OK(guestmem_region_new(&options, sizeof options, &spare));
    REQUIRE(close(options.fd) == 0);
}

static void manage_finish(void)
{
    guestmem_region_unref(spare);
    world_free(&world);
}

static void manage_run(void)
{
    static const uint64_t refusable[] = {GUESTMEM_POLICY_USE_HUGEPAGES,
                                         GUESTMEM_POLICY_LOCK_GUEST_MEMORY,
                                         GUESTMEM_POLICY_MERGEABLE};
    struct guestmem *mem = world.mem;
    struct guestmem_region *removed = NULL;
    uint64_t value = 1, generation = guestmem_generation(mem);
    char *json = NULL;
    /* the areas but the read-only one; every way to lose pages */
    for (size_t i = 0; i < WORLD_AREAS; i++) {
        if (world.area[i].read_only) continue;
        CHECK_OK(guestmem_write_u64(mem, world.area[i].start, 1));
        CHECK_OK(guestmem_remove_range(mem, world.area[i].start, PAGE));
        CHECK_OK(guestmem_read_u64(mem, world.area[i].start, &value));
        CHECK_EQ(value, 0);
    }
    CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_DONTFORK));
    for (size_t i = 0; i < sizeof refusable / sizeof *refusable; i++) {
        int code = guestmem_set_memory_policy(mem, refusable[i]);
        CHECK(code == GUESTMEM_OK || code == GUESTMEM_E_POLICY);
    }
    CHECK_OK(guestmem_remove_range(mem, world.area[0].start, PAGE)); /* perhaps of locked pages */
    CHECK_OK(guestmem_describe(mem, &json));
    CHECK(json != NULL);
    guestmem_free(json);
    CHECK_OK(guestmem_add_region(mem, spare));
    CHECK_OK(guestmem_write_u64(mem, SPARE_ADDR, 3));
    CHECK_OK(guestmem_remove_range(mem, SPARE_ADDR, PAGE)); /* perhaps of locked pages */
    CHECK_OK(guestmem_read_u64(mem, SPARE_ADDR, &value));
    CHECK_EQ(value, 0);
    CHECK_OK(guestmem_remove_region(mem, SPARE_ADDR, &removed));
    CHECK(removed == spare && guestmem_generation(mem) == generation + 2);
    guestmem_region_unref(removed);
}

/* ---- releasing ---- */

#define MOST_RELEASED 64

static struct guestmem *to_release[MOST_RELEASED];
static size_t released;

static void release_prepare(void)
{
    released = 0;
    create_prepare();
    for (size_t i = 0; i < MOST_RELEASED; i++) {
        struct guestmem_region_options options[4];
        options[0] = of_backing(0, 0);
        options[1] = of_backing(1, GUESTMEM_REGION_PRIVATE);
        options[2] = of_backing(2, GUESTMEM_REGION_FD);
        options[3] = of_backing(3, GUESTMEM_REGION_HOST);
        to_release[i] = NULL;
        CHECK_OK(guestmem_new_with_options(options, 4, sizeof *options, &to_release[i]));
    }
}

static void release_run(void)
{
    if (released < MOST_RELEASED) guestmem_unref(to_release[released++]);
}

static void release_finish(void)
{
    while (released < MOST_RELEASED) release_run();
    create_finish();
}

/* ---- all of them ---- */

static const struct section sections[] = {
    {"create", create_prepare, create_run, create_finish},
    {"access", world_prepare, access_run, world_finish},
    {"transfer", transfer_prepare, transfer_run, transfer_finish},
    {"manage", manage_prepare, manage_run, manage_finish},
    {"snapshot", saving_prepare, snapshot_run, saving_finish},
    {"image", saving_prepare, image_run, saving_finish},
    {"release", release_prepare, release_run, release_finish},
};
#define SECTIONS (sizeof sections / sizeof *sections)

#endif
