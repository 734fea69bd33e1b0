/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Section 3, how regions are mapped: guard pages, alignment, core dumps, population, huge pages.
 * runs: asan valgrind alone */
#include "support/process.h"

#include <pthread.h>
#include <sched.h>

/* Ours is found before the C library's. Who detaches a thread does not wait for its end, so that it
 * may outlive the call; how long, nobody can say, hence no way to see it by looking. */
static int detached_threads;

int pthread_detach(pthread_t thread)
{
    (void)thread;
    detached_threads++;
    return 0;
}

static struct guestmem_region_options plain(uint64_t guest_addr, uint64_t size, uint64_t flags)
{
    struct guestmem_region_options options;
    memset(&options, 0, sizeof options);
    options.guest_addr = guest_addr;
    options.size = size;
    options.flags = flags;
    return options;
}

static struct guestmem *make(const struct guestmem_region_options *options, size_t count)
{
    struct guestmem *mem = NULL;
    int code = guestmem_new_with_options(options, count, sizeof *options, &mem);
    CHECK_CODE(code, GUESTMEM_OK);
    REQUIRE(code == GUESTMEM_OK);
    return mem;
}

static struct guestmem_region_info first_info(const struct guestmem *mem, size_t index)
{
    struct guestmem_region_info info;
    REQUIRE(guestmem_region_info(mem, index, &info, sizeof info) == GUESTMEM_OK);
    return info;
}

static bool inaccessible(const uint8_t *address)
{
    struct mapping mapping;
    return find_mapping(address, &mapping) && strncmp(mapping.perms, "---", 3) == 0;
}

static void check_guarded(const struct guestmem_region_info *info)
{
    uint8_t *first = info->host_addr;
    CHECK(inaccessible(first - 1));
    CHECK(inaccessible(first + info->size));
    /* Valgrind and sanitizers would call these accesses, which are meant to kill, our errors. */
    if (fast()) return;
    CHECK_EQ(run_in_child(touch, first), 0);
    CHECK_EQ(run_in_child(touch, first + info->size - 1), 0);
    CHECK_EQ(run_in_child(touch, first - 1), -SIGSEGV);
    CHECK_EQ(run_in_child(poke, first - 1), -SIGSEGV);
    CHECK_EQ(run_in_child(touch, first + info->size), -SIGSEGV);
    CHECK_EQ(run_in_child(poke, first + info->size), -SIGSEGV);
}

/* Each kind of mapping the library makes itself. */
static void guards_and_core_dumps(void)
{
    int file = new_disk_file(PAGE);
    struct guestmem_region_options options[5];
    struct guestmem *mem;
    options[0] = plain(0, 3 * PAGE, 0);
    options[1] = plain(3 * PAGE, PAGE, GUESTMEM_REGION_PRIVATE);
    options[2] = plain(4 * PAGE, PAGE, GUESTMEM_REGION_FD);
    options[3] = plain(5 * PAGE, PAGE, GUESTMEM_REGION_FD | GUESTMEM_REGION_PRIVATE);
    options[4] = plain(2 * MIB, 4 * MIB, 0);
    for (size_t i = 0; i < 5; i++) options[i].fd = file;
    mem = make(options, 5);
    for (size_t i = 0; i < 5; i++) {
        struct guestmem_region_info info = first_info(mem, i);
        int flag = vm_flag(info.host_addr, "dd");
        check_guarded(&info);
        if (flag < 0) SKIP_PART("this kernel does not show VmFlags");
        else CHECK_EQ(flag, 1);
    }
    guestmem_unref(mem);
    close(file);
}

static void a_read_only_mapping_cannot_be_written(void)
{
    struct guestmem_region_options options = plain(0, PAGE, GUESTMEM_REGION_FD |
                                                   GUESTMEM_REGION_READ_ONLY);
    struct mapping mapping;
    struct guestmem *mem;
    int file = new_disk_file(PAGE);
    options.fd = file;
    mem = make(&options, 1);
    REQUIRE(find_mapping(first_info(mem, 0).host_addr, &mapping));
    CHECK(strncmp(mapping.perms, "r--", 3) == 0);
    if (!fast())
        CHECK_EQ(run_in_child(poke, first_info(mem, 0).host_addr), -SIGSEGV);
    guestmem_unref(mem);
    close(file);
}

/* Huge mappings need host and guest address to agree within a huge page. */
static void default_alignment(void)
{
    static const uint64_t bases[] = { 0, 0x345000, 2 * MIB, 0x1ff000,
                                      ((uint64_t)1 << 32) + 0x1000 };
    static const uint64_t flags[] = { 0, GUESTMEM_REGION_PRIVATE };
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++)
        for (size_t j = 0; j < 2; j++) {
            struct guestmem_region_options options = plain(bases[i], 2 * MIB, flags[j]);
            struct guestmem *mem = make(&options, 1);
            CHECK_EQ((uintptr_t)first_info(mem, 0).host_addr % (2 * MIB), bases[i] % (2 * MIB));
            guestmem_unref(mem);
            options.size = 3 * MIB + PAGE;
            mem = make(&options, 1);
            CHECK_EQ((uintptr_t)first_info(mem, 0).host_addr % (2 * MIB), bases[i] % (2 * MIB));
            guestmem_unref(mem);
        }
}

static void alignment_asked_for(void)
{
    static const uint64_t wrong[] = { 3, 0x3000, 2 * MIB + 1, UINT64_MAX };
    struct guestmem_region_options options = plain(0x5000, PAGE, 0);
    struct guestmem *mem = NULL;
    for (unsigned log2 = 0; log2 <= 30; log2++) {
        options.align = (uint64_t)1 << log2;
        mem = make(&options, 1);
        CHECK_EQ((uintptr_t)first_info(mem, 0).host_addr % options.align, 0);
        CHECK(inaccessible((const uint8_t *)first_info(mem, 0).host_addr - 1));
        CHECK(inaccessible((const uint8_t *)first_info(mem, 0).host_addr + PAGE));
        guestmem_unref(mem);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        options.align = wrong[i];
        CHECK_CODE(guestmem_new_with_options(&options, 1, sizeof options, &mem),
                   GUESTMEM_E_NOT_ALIGNED);
    }
    /* A power of two, and no address space that has such an address. */
    for (unsigned log2 = 60; log2 < 64; log2++) {
        int code;
        options.align = (uint64_t)1 << log2;
        code = guestmem_new_with_options(&options, 1, sizeof options, &mem);
        /* Valgrind refuses such sizes by an errno of its own. */
        CHECK(code == GUESTMEM_E_NO_MEMORY || code == GUESTMEM_E_TOO_LARGE ||
              (fast() && code == GUESTMEM_E_OS));
        CHECK(mem == NULL);
    }
}

static uint64_t blocks_of(int fd)
{
    struct stat status;
    REQUIRE(fstat(fd, &status) == 0);
    return (uint64_t)status.st_blocks * 512;
}

static uint64_t resident(const struct guestmem_region_info *info)
{
    static unsigned char pages[65536];
    uint64_t count = 0;
    REQUIRE(info->size / PAGE <= sizeof pages);
    REQUIRE(mincore(info->host_addr, (size_t)info->size, pages) == 0);
    for (uint64_t i = 0; i < info->size / PAGE; i++) count += pages[i] & 1;
    return count * PAGE;
}

static void populated_at_once(void)
{
    struct guestmem_region_options options[3];
    struct guestmem_region_info info;
    struct guestmem *mem;
    uint64_t threads = count_threads();
    /* The first is large enough for several threads, none of which may outlive the call. */
    options[0] = plain(0, 160 * MIB, GUESTMEM_REGION_POPULATE);
    options[1] = plain(160 * MIB, 8 * MIB, GUESTMEM_REGION_POPULATE | GUESTMEM_REGION_PRIVATE);
    options[2] = plain(168 * MIB, PAGE, GUESTMEM_REGION_POPULATE | GUESTMEM_REGION_READ_ONLY);
    mem = make(options, 3);
    CHECK_EQ(detached_threads, 0);
    /* A joined thread may still be on its last steps in the kernel. */
    for (int turn = 0; turn < 100000 && count_threads() != threads; turn++) sched_yield();
    CHECK_EQ(count_threads(), threads);
    for (size_t i = 0; i < 2; i++) {
        info = first_info(mem, i);
        CHECK_EQ(resident(&info), info.size);
    }
    CHECK(blocks_of(first_info(mem, 0).fd) >= 160 * MIB);
    guestmem_unref(mem);
}

static void nothing_is_taken_before_it_is_used(void)
{
    struct guestmem_region_options options = plain(0, 8 * MIB, 0);
    struct guestmem *mem = make(&options, 1);
    CHECK_EQ(blocks_of(first_info(mem, 0).fd), 0);
    guestmem_unref(mem);
}

/* A populated file keeps what it holds. */
static void populating_writes_nothing(void)
{
    int file = new_disk_file(4 * PAGE);
    struct guestmem_region_options options = plain(0, 4 * PAGE, GUESTMEM_REGION_POPULATE |
                                                   GUESTMEM_REGION_FD);
    struct guestmem *mem;
    char seen[5] = "";
    CHECK_EQ(pwrite(file, "data", 4, (off_t)PAGE), 4);
    options.fd = file;
    mem = make(&options, 1);
    CHECK_OK(guestmem_read_exact(mem, PAGE, seen, 4));
    CHECK(strcmp(seen, "data") == 0);
    guestmem_unref(mem);
    close(file);
}

/* Asking for more huge pages than there are is an error now, not a SIGBUS at the first touch. */
static void an_empty_pool_is_told(void)
{
    uint64_t page = meminfo("Hugepagesize") * 1024;
    struct guestmem_region_options options;
    struct guestmem *mem = (struct guestmem *)(uintptr_t)64;
    options = plain(0, page * (meminfo("HugePages_Free") + 8), GUESTMEM_REGION_HUGETLB);
    CHECK_CODE(guestmem_new_with_options(&options, 1, sizeof options, &mem), GUESTMEM_E_NO_MEMORY);
    CHECK(mem == NULL);
    options.flags |= GUESTMEM_REGION_POPULATE;
    CHECK_CODE(guestmem_new_with_options(&options, 1, sizeof options, &mem), GUESTMEM_E_NO_MEMORY);
}

static void huge_pages(void)
{
    uint64_t page = meminfo("Hugepagesize") * 1024, unused;
    struct guestmem_region_options options[4];
    struct guestmem_region_info info;
    struct guestmem *mem = NULL;
    int huge_fd;
    uint32_t value = 0;

    options[0] = plain(0, PAGE, 0);
    options[1] = plain(page, page, GUESTMEM_REGION_HUGETLB);
    options[2] = plain(2 * page, 2 * page, GUESTMEM_REGION_HUGETLB);
    options[2].hugetlb_log2 = page == 2 * MIB ? 21 : 0;
    options[3] = plain(8 * page, PAGE, 0);
    unused = free_huge_pages();
    mem = make(options, 4);
    info = first_info(mem, 1);
    huge_fd = info.fd;
    CHECK_EQ(info.page_size, page);
    CHECK_EQ(info.fd_offset, 0);
    CHECK_EQ(info.flags, GUESTMEM_REGION_HUGETLB);
    CHECK_EQ((uintptr_t)info.host_addr % page, 0);
    CHECK_EQ(fcntl(huge_fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    check_guarded(&info);
    info = first_info(mem, 2);
    CHECK_EQ(info.fd, huge_fd);
    CHECK_EQ(info.fd_offset, page);
    info = first_info(mem, 3);
    CHECK(info.fd != huge_fd);
    CHECK_EQ(info.fd, first_info(mem, 0).fd);
    CHECK_EQ(info.fd_offset, PAGE);
    CHECK_EQ(info.page_size, PAGE);
    /* All of it is reserved: nobody else can take it, and no touch can fail. */
    CHECK_EQ(free_huge_pages(), unused - 3);
    for (uint64_t i = 1; i < 4; i++) {
        CHECK_OK(guestmem_write_u32(mem, i * page + 8, (uint32_t)i));
        CHECK_OK(guestmem_read_u32(mem, i * page + 8, &value));
        CHECK_EQ(value, i);
    }
    guestmem_unref(mem);
    CHECK_EQ(free_huge_pages(), unused);

    /* Address and size are multiples of the huge page. */
    options[0] = plain(PAGE, page, GUESTMEM_REGION_HUGETLB);
    CHECK_CODE(guestmem_new_with_options(options, 1, sizeof *options, &mem),
               GUESTMEM_E_NOT_ALIGNED);
    options[0] = plain(page, page + PAGE, GUESTMEM_REGION_HUGETLB);
    CHECK_CODE(guestmem_new_with_options(options, 1, sizeof *options, &mem),
               GUESTMEM_E_NOT_ALIGNED);
    CHECK_EQ(free_huge_pages(), unused);
}

int main(void)
{
    guards_and_core_dumps();
    a_read_only_mapping_cannot_be_written();
    default_alignment();
    alignment_asked_for();
    populated_at_once();
    nothing_is_taken_before_it_is_used();
    populating_writes_nothing();
    if (meminfo("Hugepagesize") == 0) SKIP_PART("no hugetlb in this kernel");
    else {
        lock_huge_pages();
        an_empty_pool_is_told();
        if (reserve_huge_pages(4)) huge_pages();
        else SKIP_PART("no huge pages and no right to reserve some");
    }
    return check_result();
}
