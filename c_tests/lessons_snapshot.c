/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Lessons about saved state; lessons.h says where the others are.
 * runs: asan valgrind */
#include "lessons.h"
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

/* An inverted data range in snapshot metadata panicked. QEMU 2013-14, Firecracker (CVE-2023-28448,
 * CVE-2023-50711): counts and lengths in saved state were trusted. */
static void test_cve_2023_50711_saved_state_is_hostile(void)
{
    static const char *const spans[] = {
        "{\"start\":8192,\"end\":4096}", "{\"start\":0,\"end\":18446744073709547520}",
        "{\"start\":4096,\"end\":4096}", "{\"start\":4096,\"end\":12288}",
        "{\"start\":0,\"end\":1}"};
    const struct guestmem_range range = {0x1000, 0x2000};
    struct guestmem *mem = check_new(&range, 1);
    uint8_t *before;
    char text[400];
    size_t i;
    int file = new_memfd(4096);
    CHECK_OK(guestmem_dma_fill(mem, 0x1000, 0x12, 0x2000));
    before = copy_of(mem);
    for (i = 0; i < 5; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"format\":\"guestmem\",\"version\":1,\"layout\":\"packed\","
                       "\"compressed\":false,\"page_size\":4096,\"data_size\":4096,"
                       "\"checksum\":\"none\",\"chunk_size\":1048576,\"regions\":[{\"guest_base\":"
                       "4096,\"size\":8192,\"file_offset\":0,"
                       "\"data_ranges\":[%s]}]}",
                       spans[i]);
        CHECK_CODE(guestmem_restore(mem, text, strlen(text), file, NULL, 0), GUESTMEM_E_METADATA);
        CHECK(memory_is(mem, before));
    }
    free(before);
    guestmem_unref(mem);
    REQUIRE(close(file) == 0);
}

/* A snapshot's short or overlong stream was reported after memory had changed; flipped bits went
 * unnoticed. */
static void test_crosvm_snapshots_are_checked_before_memory_changes(void)
{
    struct guestmem *mem = check_new(two, 2);
    struct image image;
    uint8_t *before, byte;
    CHECK_OK(guestmem_dma_fill(mem, 0x10000, 0x21, 0x2000));
    CHECK_OK(guestmem_dma_fill(mem, 0x20000, 0x21, 0x2000));
    image = image_of(mem, NULL);
    CHECK_OK(guestmem_dma_fill(mem, 0x10000, 0x22, 0x2000));
    before = copy_of(mem);
    REQUIRE(ftruncate(image.fd, (off_t)image.size + 1) == 0);
    CHECK_CODE(image_restore(mem, &image), GUESTMEM_E_SNAPSHOT_LONG);
    REQUIRE(ftruncate(image.fd, (off_t)image.size - 1) == 0);
    CHECK_CODE(image_restore(mem, &image), GUESTMEM_E_SNAPSHOT_SHORT);
    byte = 0x20;
    REQUIRE(pwrite(image.fd, &byte, 1, (off_t)image.size - 1) == 1);
    CHECK_CODE(image_restore(mem, &image), GUESTMEM_E_CORRUPT);
    CHECK(memory_is(mem, before));
    free(before);
    image_free(&image);
    guestmem_unref(mem);
}

/* Firecracker #5705: a clean page at a region's end shifted the next region in the snapshot file.
 */
static void test_firecracker_5705_clean_last_page(void)
{
    struct guestmem *mem = check_new(two, 2);
    struct image image;
    uint64_t value;
    CHECK_OK(guestmem_write_u64(mem, 0x10000, 1));
    CHECK_OK(guestmem_write_u64(mem, 0x21000, 2));
    image = image_of(mem, NULL);
    CHECK_OK(guestmem_dma_fill(mem, 0x10000, 9, 0x2000));
    CHECK_OK(guestmem_dma_fill(mem, 0x20000, 9, 0x2000));
    CHECK_OK(image_restore(mem, &image));
    CHECK_OK(guestmem_read_u64(mem, 0x10000, &value));
    CHECK_EQ(value, 1);
    CHECK_OK(guestmem_read_u64(mem, 0x11000, &value));
    CHECK_EQ(value, 0);
    CHECK_OK(guestmem_read_u64(mem, 0x20000, &value));
    CHECK_EQ(value, 0);
    CHECK_OK(guestmem_read_u64(mem, 0x21000, &value));
    CHECK_EQ(value, 2);
    image_free(&image);
    guestmem_unref(mem);
}

/* Firecracker #4301: a snapshot was written onto the file that backs the memory. */
static void test_firecracker_4301_own_backing_is_refused(void)
{
    struct guestmem *mem = check_new(two, 2);
    char *metadata = NULL;
    uint64_t value;
    CHECK_OK(guestmem_write_u64(mem, 0x10000, 77));
    CHECK_CODE(guestmem_snapshot(mem, info_of(mem, 0).fd, NULL, 0, &metadata), GUESTMEM_E_BUSY);
    CHECK_OK(guestmem_read_u64(mem, 0x10000, &value));
    CHECK(value == 77 && metadata == NULL);
    guestmem_unref(mem);
}

/* Cloud Hypervisor #8525: a snapshot of memory that was still being restored lazily lost the pages
 * not yet fetched. Such pages look like holes; nobody may take them for zeros. */
static void test_cloud_hypervisor_8525_unfetched_pages_are_not_lost(void)
{
    struct guestmem *mem = check_new(two, 2);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register lazy;
    char *metadata = NULL;
    int file = new_memfd(0),
        fault_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    memset(&lazy, 0, sizeof lazy);
    lazy.range.start = (uintptr_t)info_of(mem, 1).host_addr, lazy.range.len = 0x2000;
    lazy.mode = UFFDIO_REGISTER_MODE_MISSING;
    if (fault_fd < 0 || ioctl(fault_fd, UFFDIO_API, &api) != 0 ||
        ioctl(fault_fd, UFFDIO_REGISTER, &lazy) != 0) {
        SKIP_PART("no userfaultfd here");
    } else {
        CHECK_CODE(guestmem_snapshot(mem, file, NULL, 0, &metadata), GUESTMEM_E_UNSUPPORTED);
        CHECK(metadata == NULL);
    }
    if (fault_fd >= 0) REQUIRE(close(fault_fd) == 0);
    CHECK_OK(guestmem_snapshot(mem, file, NULL, 0, &metadata));
    guestmem_free(metadata);
    guestmem_unref(mem);
    REQUIRE(close(file) == 0);
}

int main(void)
{
    RUN(test_cve_2023_50711_saved_state_is_hostile);
    RUN(test_crosvm_snapshots_are_checked_before_memory_changes);
    RUN(test_firecracker_5705_clean_last_page);
    RUN(test_firecracker_4301_own_backing_is_refused);
    RUN(test_cloud_hypervisor_8525_unfetched_pages_are_not_lost);
    return check_result();
}
