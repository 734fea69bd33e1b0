/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Bugs that shipped in other programs doing this job, each with a short test under its name. Most
 * are covered in depth by the program for their subject; here they are in one place. Those about
 * saved state are in lessons_snapshot.c. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "process.h"
#include "snapshots.h"
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

static const struct guestmem_range two[2] = {{0x10000, 0x2000}, {0x20000, 0x2000}};
static const struct guestmem_range touching[2] = {{0x10000, 0x2000}, {0x12000, 0x2000}};

/* Firecracker and Cloud Hypervisor, CVE-2019-18960; DPDK, CVE-2018-1059: the first byte of a guest
 * buffer was translated, its length not checked. */
static void test_cve_2019_18960_length_is_checked(void)
{
    struct guestmem *mem = check_new(two, 2);
    int64_t at, len;
    for (at = -2; at <= 2; at++)
        for (len = 1; len <= 4; len++) {
            const uint64_t addr = 0x12000 + (uint64_t)at;
            const int code = at >= 0        ? GUESTMEM_E_INVALID_ADDRESS
                             : at + len > 0 ? GUESTMEM_E_INVALID_RANGE
                                            : GUESTMEM_OK;
            const struct guestmem_range range = {addr, (uint64_t)len};
            struct guestmem_slice slice = {mem, 9};
            void *host = mem;
            size_t count = 9;
            CHECK_CODE(guestmem_get_host_address_range(mem, addr, (uint64_t)len, &host), code);
            CHECK((host != NULL) == (code == GUESTMEM_OK));
            CHECK_CODE(guestmem_get_slice(mem, addr, (size_t)len, &slice), code);
            CHECK((slice.addr != NULL) == (code == GUESTMEM_OK));
            CHECK_CODE(guestmem_get_slices(mem, addr, (uint64_t)len, &slice, 1, &count), code);
            CHECK_CODE(guestmem_translate(mem, &range, 1, &slice, 1, &count), code);
        }
    guestmem_unref(mem);
}

/* DPDK, CVE-2020-10722: offset plus size wrapped. */
static void test_cve_2020_10722_sums_do_not_wrap(void)
{
    struct guestmem *mem = check_new(two, 2);
    struct guestmem_slice slice;
    const struct guestmem_range range = {0x11000, UINT64_MAX - 0xfff};
    uint64_t sum = 1;
    uint8_t byte = 7;
    size_t count;
    CHECK_CODE(guestmem_get_slice(mem, 0x11000, SIZE_MAX, &slice), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_get_slice(mem, 0x11000, SIZE_MAX - 0x10fff, &slice),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_translate(mem, &range, 1, &slice, 1, &count), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_dma_read(mem, 0x11000, &byte, SIZE_MAX - 0x10000),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_checked_offset(mem, 0x11000, UINT64_MAX - 0xfff, &sum),
               GUESTMEM_E_INVALID_RANGE);
    CHECK(sum == 0 && byte == 7);
    CHECK(!guestmem_is_valid_range(mem, 0x11000, UINT64_MAX - 0xfff));
    CHECK_OK(guestmem_get_slice(mem, 0x11000, 16, &slice));
    CHECK_CODE(guestmem_slice_read(slice, SIZE_MAX, &byte, 2), GUESTMEM_E_INVALID_RANGE);
    guestmem_unref(mem);
}

/* DPDK, CVE-2020-10723: a 32 bit value was cut to 16 bits. */
static void test_cve_2020_10723_values_are_not_cut(void)
{
    static const uint64_t high[] = {UINT64_C(1) << 16, UINT64_C(1) << 31, UINT64_C(1) << 32,
                                    UINT64_C(1) << 48, UINT64_C(1) << 63};
    struct guestmem *mem = check_new(two, 2);
    struct guestmem_slice slice;
    uint8_t bytes[16];
    int zero = open("/dev/zero", O_RDONLY);
    size_t i, count;
    for (i = 0; i < 5; i++) {
        const uint64_t len = high[i] + 16, addr = high[i] * 2 + 0x10000;
        CHECK_CODE(guestmem_get_slices(mem, 0x10000, len, &slice, 1, &count),
                   GUESTMEM_E_INVALID_RANGE);
        CHECK_CODE(guestmem_read_exact(mem, 0x10000, bytes, (size_t)len), GUESTMEM_E_SHORT_READ);
        CHECK_CODE(guestmem_dma_fill(mem, 0x10000, 1, len), GUESTMEM_E_INVALID_RANGE);
        CHECK_CODE(guestmem_read_to_memory(mem, 0x10000, zero, len), GUESTMEM_E_INVALID_RANGE);
        CHECK_CODE(guestmem_remove_range(mem, 0x10000, high[i] + PAGE), GUESTMEM_E_INVALID_RANGE);
        if (addr != 0x10000)
            CHECK_CODE(guestmem_read_exact(mem, addr, bytes, 16), GUESTMEM_E_INVALID_ADDRESS);
        CHECK_OK(guestmem_get_slice(mem, 0x10000, 16, &slice));
        CHECK_CODE(guestmem_slice_read(slice, 0, bytes, (size_t)len), GUESTMEM_E_INVALID_RANGE);
        CHECK_CODE(guestmem_slice_read(slice, (size_t)high[i], bytes, 1), GUESTMEM_E_INVALID_RANGE);
    }
    REQUIRE(close(zero) == 0);
    guestmem_unref(mem);
}

static size_t entries_of(const char *path)
{
    DIR *folder = opendir(path);
    size_t count = 0;
    REQUIRE(folder != NULL);
    while (readdir(folder) != NULL) count++;
    REQUIRE(closedir(folder) == 0);
    return count;
}

static size_t lines_of(const char *path)
{
    FILE *file = fopen(path, "re");
    size_t count = 0;
    int letter;
    REQUIRE(file != NULL);
    while ((letter = getc(file)) != EOF) count += letter == '\n';
    REQUIRE(fclose(file) == 0);
    return count;
}

/* DPDK, CVE-2020-10726 and CVE-2019-14818: descriptors leaked by repetition, also by requests that
 * fail. */
static void test_cve_2020_10726_descriptors_do_not_leak(void)
{
    const struct guestmem_range overlapping[2] = {{0x10000, 0x2000}, {0x11000, 0x2000}};
    size_t fds = 0, maps = 0, i;
    for (i = 0; i < (fast() ? 50 : 1000); i++) {
        struct guestmem *mem = check_new(two, 2);
        struct guestmem *none = NULL;
        char *metadata = NULL;
        CHECK_CODE(guestmem_new(overlapping, 2, &none), GUESTMEM_E_OVERLAP);
        CHECK_CODE(guestmem_snapshot(mem, -1, NULL, 0, &metadata), GUESTMEM_E_IO);
        CHECK_CODE(guestmem_read_to_memory(mem, 0x10000, -1, 1), GUESTMEM_E_IO);
        guestmem_unref(mem);
        if (i == 10) fds = entries_of("/proc/self/fd"), maps = lines_of("/proc/self/maps");
    }
    CHECK_EQ(entries_of("/proc/self/fd"), fds);
    CHECK(lines_of("/proc/self/maps") <= maps + 2); /* the C library's own heap may move */
}

/* vm-memory, CVE-2023-41051: a slice shorter than was asked for was trusted. */
static void test_cve_2023_41051_slices_have_the_asked_length(void)
{
    struct guestmem *mem = check_new(touching, 2);
    struct guestmem_slice slices[2];
    uint64_t len;
    size_t count;
    for (len = 1; len <= 0x4000; len += 0x3ff) {
        CHECK_OK(guestmem_get_slices(mem, 0x10000, len, slices, 2, &count));
        CHECK_EQ(slices[0].len + (count == 2 ? slices[1].len : 0), len);
        CHECK_CODE(guestmem_get_slice(mem, 0x10000, (size_t)len, slices),
                   len <= 0x2000 ? GUESTMEM_OK : GUESTMEM_E_INVALID_RANGE);
        CHECK_EQ(slices[0].len, len <= 0x2000 ? len : 0);
    }
    guestmem_unref(mem);
}

/* ---- memory that changes under us ---- */

static uint16_t *ring_index;
static int stop;

static void *flip_index(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        __atomic_store_n(ring_index, (uint16_t)0x00ff, __ATOMIC_RELAXED);
        __atomic_store_n(ring_index, (uint16_t)0xff00, __ATOMIC_RELAXED);
    }
    return unused;
}

/* vm-memory, CVE-2020-13759: byte-wise copies tore 16 bit ring indexes. */
static void test_cve_2020_13759_ring_indexes_are_not_torn(void)
{
    struct guestmem *mem = check_new(two, 2);
    uint8_t ring[64];
    pthread_t guest;
    void *host;
    uint16_t index;
    size_t i, mixed = 0;
    CHECK_OK(guestmem_get_host_address_range(mem, 0x10000 + 38, 2, &host));
    ring_index = host;
    *ring_index = 0xff00;
    stop = 0;
    REQUIRE(pthread_create(&guest, NULL, flip_index, NULL) == 0);
    for (i = 0; i < (fast() ? 10000 : 2000000); i++) {
        /* alone, at the end of a range, in its middle */
        const size_t from = i % 3 == 0 ? 38 : i % 3 == 1 ? 8 : 0, to = i % 3 == 2 ? 64 : 40;
        if (guestmem_dma_read(mem, 0x10000 + from, ring + from, to - from) != GUESTMEM_OK) mixed++;
        memcpy(&index, ring + 38, 2);
        mixed += index != 0x00ff && index != 0xff00;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    REQUIRE(pthread_join(guest, NULL) == 0);
    CHECK_EQ(mixed, 0);
    guestmem_unref(mem);
}

/* XSA-155; DPDK, CVE-2020-14375: a guest value was fetched twice and changed in between. What a
 * failed exchange reports is what it failed on, never the very value that it was to find. */
static void test_xsa_155_values_are_loaded_once(void)
{
    struct guestmem *mem = check_new(two, 2);
    pthread_t guest;
    void *host;
    size_t i, wrong = 0;
    CHECK_OK(guestmem_get_host_address_range(mem, 0x10000, 2, &host));
    ring_index = host;
    *ring_index = 0xff00;
    stop = 0;
    REQUIRE(pthread_create(&guest, NULL, flip_index, NULL) == 0);
    for (i = 0; i < (fast() ? 10000 : 1000000); i++) {
        uint16_t expected = i % 2 ? 0x00ff : 0xff00;
        const uint16_t wanted = expected;
        bool exchanged;
        if (guestmem_compare_exchange_u16(mem, 0x10000, &expected, wanted, GUESTMEM_SEQ_CST,
                                          &exchanged) != GUESTMEM_OK)
            wrong++;
        wrong += exchanged ? expected != wanted : expected == wanted;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    REQUIRE(pthread_join(guest, NULL) == 0);
    CHECK_EQ(wrong, 0);
    guestmem_unref(mem);
}

/* ---- descriptors ---- */

struct two_parts {
    int fd;
    const uint8_t *bytes;
    size_t first, len;
};

static void *send_two_parts(void *argument)
{
    const struct two_parts *parts = argument;
    REQUIRE(send(parts->fd, parts->bytes, parts->first, 0) == (ssize_t)parts->first);
    (void)usleep(2000); /* so that it arrives alone; if not, the test only shows less */
    REQUIRE(send(parts->fd, parts->bytes + parts->first, parts->len - parts->first, 0) ==
            (ssize_t)(parts->len - parts->first));
    return NULL;
}

static void receive_two_parts(uint64_t addr, size_t first, size_t len)
{
    static uint8_t bytes[0x4000], back[0x4000];
    struct guestmem *mem = check_new(touching, 2);
    struct two_parts parts;
    pthread_t sender;
    int pair[2];
    fill_random(bytes, sizeof bytes, first);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    parts.fd = pair[1], parts.bytes = bytes, parts.first = first, parts.len = len;
    REQUIRE(pthread_create(&sender, NULL, send_two_parts, &parts) == 0);
    CHECK_OK(guestmem_read_to_memory(mem, addr, pair[0], len));
    REQUIRE(pthread_join(sender, NULL) == 0);
    CHECK_OK(guestmem_dma_read(mem, addr, back, len));
    CHECK(memcmp(bytes, back, len) == 0);
    guestmem_unref(mem);
    REQUIRE(close(pair[0]) == 0 && close(pair[1]) == 0);
}

/* vm-memory 0.17 and 0.18: a short socket read across two regions left a gap and put the rest in
 * the wrong place. */
static void test_vm_memory_0_17_short_socket_read_leaves_no_gap(void)
{
    receive_two_parts(0x11000, 0x800, 0x2000);
    receive_two_parts(0x11000, 0x1000, 0x2000);
    receive_two_parts(0x11000, 0x1001, 0x2000);
    receive_two_parts(0x10001, 1, 0x3ffe);
}

/* vm-memory, Cloud Hypervisor: exact reads from a descriptor did not continue after a short one. */
static void test_vm_memory_exact_fd_reads_continue(void)
{
    receive_two_parts(0x10000, 10, 100);
}

/* Firecracker #1929, Cloud Hypervisor #1896: one big transfer, more than the kernel takes at once,
 * was not continued. */
static void test_firecracker_1929_big_transfers_continue(void)
{
    const struct guestmem_range range = {0, (UINT64_C(2) << 30) + PAGE};
    struct guestmem *mem = check_new(&range, 1);
    int null = open("/dev/null", O_WRONLY);
    CHECK_OK(guestmem_write_from_memory(mem, 0, null, range.size));
    REQUIRE(close(null) == 0);
    guestmem_unref(mem);
}

/* ---- translation ---- */

/* QEMU, CVE-2022-4144: a translation that knows no size. */
static void test_cve_2022_4144_chains_are_checked_in_full(void)
{
    const struct guestmem_range chain[3] = {{0x10000, 16}, {0x11ff8, 8}, {0x20ff8, 0x1009}};
    struct guestmem *mem = check_new(two, 2);
    struct guestmem_slice slices[4];
    size_t count = 7;
    CHECK_CODE(guestmem_translate(mem, chain, 3, slices, 4, &count), GUESTMEM_E_INVALID_RANGE);
    CHECK_OK(guestmem_translate(mem, chain, 2, slices, 4, &count));
    CHECK_EQ(count, 2);
    guestmem_unref(mem);
}

/* Cloud Hypervisor PR 8767 (Kata): a guest buffer across two hot-plugged regions failed; file
 * systems lost data. */
static void test_kata_8767_buffers_across_regions(void)
{
    struct guestmem *mem = check_new(touching, 2);
    uint8_t bytes[0x1000], back[0x1000];
    fill_random(bytes, sizeof bytes, 4);
    CHECK_OK(guestmem_dma_write(mem, 0x11800, bytes, sizeof bytes));
    CHECK_OK(guestmem_dma_read(mem, 0x11800, back, sizeof back));
    CHECK(memcmp(bytes, back, sizeof back) == 0);
    guestmem_unref(mem);
}

/* Cloud Hypervisor #8197, openvmm #4047: part of a bad write had already reached guest memory. */
static void test_openvmm_4047_bad_writes_write_nothing(void)
{
    struct world world;
    uint8_t bytes[0x3000];
    int zero = open("/dev/zero", O_RDONLY);
    fill_random(bytes, sizeof bytes, 5);
    world_new(&world);
    CHECK_CODE(guestmem_write_all(world.mem, 0x13000, bytes, 0x2000), GUESTMEM_E_SHORT_WRITE);
    CHECK_CODE(guestmem_dma_write(world.mem, 0x19000, bytes, 0x3000), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_dma_fill(world.mem, 0x10000, 0, 0xc000), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_dma_copy(world.mem, 0x19000, 0x10000, 0x3000), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_write_u64(world.mem, 0x13ffc, 1), GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_write_obj_volatile(world.mem, 0x13ff0, bytes, 24),
               GUESTMEM_E_INVALID_RANGE);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x19000, zero, 0x3000), GUESTMEM_E_INVALID_RANGE);
    CHECK(world_agrees(&world));
    world_free(&world);
    REQUIRE(close(zero) == 0);
}

/* ---- crosvm ---- */

/* A write, or a restore, into a read-only file region killed the process. */
static void test_crosvm_read_only_regions_refuse(void)
{
    struct world world;
    struct image image;
    uint8_t bytes[16] = {0};
    size_t done;
    int zero = open("/dev/zero", O_RDONLY);
    world_new(&world);
    image = image_of(world.mem, NULL);
    CHECK_CODE(guestmem_write(world.mem, 0x20000, bytes, 16, &done), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(guestmem_write_u8(world.mem, 0x20000, 1), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(guestmem_dma_write(world.mem, 0x21ff8, bytes, 16), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(guestmem_read_to_memory(world.mem, 0x20000, zero, 1), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(guestmem_remove_range(world.mem, 0x20000, PAGE), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(image_restore(world.mem, &image), GUESTMEM_E_READ_ONLY);
    CHECK(world_agrees(&world));
    image_free(&image);
    world_free(&world);
    REQUIRE(close(zero) == 0);
}

/* A region that reaches past 2^64 was accepted and then unreachable. */
static void test_crosvm_regions_past_the_end_of_addresses(void)
{
    const struct guestmem_range to_the_end = {UINT64_MAX - 0xfff, 0x1000},
                                past = {UINT64_MAX - 0xfff, 0x2000},
                                almost = {UINT64_MAX - 0x1fff, 0x1000};
    struct guestmem *mem = NULL;
    CHECK_CODE(guestmem_new(&to_the_end, 1, &mem), GUESTMEM_E_TOO_LARGE);
    CHECK_CODE(guestmem_new(&past, 1, &mem), GUESTMEM_E_TOO_LARGE);
    CHECK(mem == NULL);
    mem = check_new(&almost, 1);
    CHECK_OK(guestmem_write_u64(mem, almost.guest_addr + 0xff8, 1));
    guestmem_unref(mem);
}

/* An aligned volatile access was assumed, not checked. */
static void test_crosvm_volatile_access_is_aligned(void)
{
    struct guestmem *mem = check_new(two, 2);
    uint64_t value = 1;
    CHECK_CODE(guestmem_read_volatile_u64(mem, 0x10001, &value), GUESTMEM_E_MISALIGNED);
    CHECK_CODE(guestmem_store_u64(mem, 0x10004, 1, GUESTMEM_RELAXED), GUESTMEM_E_MISALIGNED);
    CHECK_CODE(guestmem_read_obj_volatile(mem, 0x10004, &value, 8), GUESTMEM_E_MISALIGNED);
    CHECK_OK(guestmem_read_u64(mem, 0x10001, &value));
    guestmem_unref(mem);
}

/* Removing 1 byte zeroed a whole page, or one byte, depending on a policy bit. */
static void test_crosvm_removing_one_byte_is_refused(void)
{
    struct guestmem *mem = check_new(two, 2);
    unsigned round;
    uint8_t *before;
    CHECK_OK(guestmem_dma_fill(mem, 0x10000, 0x77, 0x2000));
    before = copy_of(mem);
    for (round = 0; round < 2; round++) {
        CHECK_CODE(guestmem_remove_range(mem, 0x10000, 1), GUESTMEM_E_NOT_ALIGNED);
        CHECK_CODE(guestmem_remove_range(mem, 0x10001, PAGE), GUESTMEM_E_NOT_ALIGNED);
        CHECK(memory_is(mem, before));
        CHECK_OK(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_USE_PUNCHHOLE_LOCKED));
    }
    free(before);
    guestmem_unref(mem);
}

/* Policies that the kernel refuses were printed and forgotten. */
static void test_crosvm_refused_policies_are_errors(void)
{
    struct guestmem *mem = check_new(two, 2);
    CHECK_CODE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_MERGEABLE), GUESTMEM_E_POLICY);
    CHECK_EQ(guestmem_memory_policy(mem), 0);
    guestmem_unref(mem);
}

/* Looking for holes moved the file offset of a descriptor that others share. */
static void test_crosvm_offsets_of_shared_descriptors_stay(void)
{
    struct guestmem_region_options options;
    struct guestmem *mem = NULL;
    struct image image;
    char *json = NULL;
    memset(&options, 0, sizeof options);
    options.size = 4 * PAGE, options.flags = GUESTMEM_REGION_FD, options.fd = new_memfd(4 * PAGE);
    REQUIRE(lseek(options.fd, 1234, SEEK_SET) == 1234);
    CHECK_OK(guestmem_new_with_options(&options, 1, sizeof options, &mem));
    CHECK_OK(guestmem_write_u64(mem, 0x2000, 1));
    image = image_of(mem, NULL);
    CHECK_OK(guestmem_describe(mem, &json));
    CHECK_OK(guestmem_remove_range(mem, 0x2000, PAGE));
    CHECK_OK(image_restore(mem, &image));
    CHECK(lseek(options.fd, 0, SEEK_CUR) == 1234);
    CHECK(lseek(info_of(mem, 0).fd, 0, SEEK_CUR) == 1234); /* a duplicate shares its offset */
    guestmem_free(json);
    image_free(&image);
    guestmem_unref(mem);
    REQUIRE(close(options.fd) == 0);
}

/* ---- Cloud Hypervisor, openvmm, libkrun ---- */

/* Cloud Hypervisor #5730, #7387: an empty hugepage pool killed the program with SIGBUS at first
 * touch. */
static void test_cloud_hypervisor_5730_empty_hugepage_pool(void)
{
    struct guestmem_region_options options;
    struct guestmem *mem = NULL;
    uint64_t free_pages = 0, more = 0;
    if (!read_number(HUGE_POOL "free_hugepages", &free_pages) ||
        !read_number(HUGE_POOL "nr_overcommit_hugepages", &more)) {
        SKIP_PART("no huge pages of 2 MiB on this machine");
        return;
    }
    memset(&options, 0, sizeof options);
    options.size = (free_pages + more + 64) << 21, options.flags = GUESTMEM_REGION_HUGETLB,
    options.hugetlb_log2 = 21;
    CHECK_CODE(guestmem_new_with_options(&options, 1, sizeof options, &mem), GUESTMEM_E_NO_MEMORY);
    CHECK(mem == NULL);
}

/* openvmm: fault handlers did not chain and aborted the host. What is the host program's stays the
 * host program's. */
static void test_openvmm_signal_handlers_stay(void)
{
    struct sigaction before[65], after;
    struct guestmem *mem;
    struct image image;
    sigset_t mask_before, mask_after;
    int number;
    memset(before, 0, sizeof before);
    for (number = 1; number < 65; number++) (void)sigaction(number, NULL, &before[number]);
    REQUIRE(pthread_sigmask(SIG_BLOCK, NULL, &mask_before) == 0);
    mem = check_new(two, 2);
    CHECK_OK(guestmem_dma_fill(mem, 0x10000, 1, 0x2000));
    image = image_of(mem, NULL);
    CHECK_OK(image_restore(mem, &image));
    CHECK_OK(guestmem_write_from_memory(mem, 0x10000, image.fd, 100));
    image_free(&image);
    guestmem_unref(mem);
    REQUIRE(pthread_sigmask(SIG_BLOCK, NULL, &mask_after) == 0);
    for (number = 1; number < 65; number++) {
        memset(&after, 0, sizeof after);
        (void)sigaction(number, NULL, &after);
        CHECK(after.sa_handler == before[number].sa_handler &&
              after.sa_flags == before[number].sa_flags);
        CHECK(sigismember(&mask_before, number) == sigismember(&mask_after, number));
    }
}

/* libkrun: functions have numbered twins for want of a size field. */
static void test_libkrun_structs_can_grow(void)
{
    struct {
        struct guestmem_region_options known;
        uint64_t newer;
    } options;
    struct {
        struct guestmem_region_info known;
        uint64_t newer;
    } info;
    struct guestmem *mem = NULL;
    uint64_t base = 7;
    memset(&options, 0, sizeof options);
    options.known.guest_addr = 0x1000, options.known.size = 0x1000;
    CHECK_OK(guestmem_new_with_options(&options.known, 1, sizeof options, &mem));
    memset(&info, 0xff, sizeof info);
    CHECK_OK(guestmem_region_info(mem, 0, &info.known, sizeof info));
    CHECK(info.known.guest_addr == 0x1000 && info.newer == 0);
    CHECK_OK(
        guestmem_region_info(mem, 0, (struct guestmem_region_info *)(void *)&base, sizeof base));
    CHECK_EQ(base, 0x1000);
    guestmem_unref(mem);
    options.newer = 1;
    CHECK_CODE(guestmem_new_with_options(&options.known, 1, sizeof options, &mem),
               GUESTMEM_E_INVALID_ARGUMENT);
}

#define RUN(test) (printf("%s\n", #test), (void)fflush(stdout), test())

int main(void)
{
    RUN(test_cve_2019_18960_length_is_checked);
    RUN(test_cve_2020_10722_sums_do_not_wrap);
    RUN(test_cve_2020_10723_values_are_not_cut);
    RUN(test_cve_2020_10726_descriptors_do_not_leak);
    RUN(test_cve_2023_41051_slices_have_the_asked_length);
    RUN(test_cve_2020_13759_ring_indexes_are_not_torn);
    RUN(test_xsa_155_values_are_loaded_once);
    RUN(test_vm_memory_0_17_short_socket_read_leaves_no_gap);
    RUN(test_vm_memory_exact_fd_reads_continue);
    RUN(test_firecracker_1929_big_transfers_continue);
    RUN(test_cve_2022_4144_chains_are_checked_in_full);
    RUN(test_kata_8767_buffers_across_regions);
    RUN(test_openvmm_4047_bad_writes_write_nothing);
    RUN(test_crosvm_read_only_regions_refuse);
    RUN(test_crosvm_regions_past_the_end_of_addresses);
    RUN(test_crosvm_volatile_access_is_aligned);
    RUN(test_crosvm_removing_one_byte_is_refused);
    RUN(test_crosvm_refused_policies_are_errors);
    RUN(test_crosvm_offsets_of_shared_descriptors_stay);
    RUN(test_cloud_hypervisor_5730_empty_hugepage_pool);
    RUN(test_openvmm_signal_handlers_stay);
    RUN(test_libkrun_structs_can_grow);
    return check_result();
}
