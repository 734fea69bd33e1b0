/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Lessons about descriptors, pages and whatever else is the host's; lessons.h says where the others
 * are.
 * runs: asan valgrind qemu */
#include "lessons.h"
#include "support/process.h"
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

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

/* crosvm: looking for holes moved the file offset of a descriptor that others share. */
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

/* ---- what is the caller's to decide ---- */

/* crosvm: a write, or a restore, into a read-only file region killed the process. */
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
    CHECK_OK(image_restore(world.mem, &image));
    CHECK(world_agrees(&world));
    image_free(&image);
    world_free(&world);
    REQUIRE(close(zero) == 0);
}

/* crosvm: removing 1 byte zeroed a whole page, or one byte, depending on a policy bit. */
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

/* crosvm: policies that the kernel refuses were printed and forgotten. */
static void test_crosvm_refused_policies_are_errors(void)
{
    struct guestmem *mem = check_new(two, 2);
    CHECK_CODE(guestmem_set_memory_policy(mem, GUESTMEM_POLICY_MERGEABLE), GUESTMEM_E_POLICY);
    CHECK_EQ(guestmem_memory_policy(mem), 0);
    guestmem_unref(mem);
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

int main(void)
{
    RUN(test_cve_2020_10726_descriptors_do_not_leak);
    RUN(test_cloud_hypervisor_5730_empty_hugepage_pool);
    RUN(test_crosvm_offsets_of_shared_descriptors_stay);
    RUN(test_openvmm_signal_handlers_stay);
    RUN(test_vm_memory_0_17_short_socket_read_leaves_no_gap);
    RUN(test_vm_memory_exact_fd_reads_continue);
    RUN(test_firecracker_1929_big_transfers_continue);
    RUN(test_crosvm_read_only_regions_refuse);
    RUN(test_crosvm_removing_one_byte_is_refused);
    RUN(test_crosvm_refused_policies_are_errors);
    RUN(test_libkrun_structs_can_grow);
    return check_result();
}
