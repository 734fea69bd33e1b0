/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Section 3, what regions are backed with: files, the caller's memory, private memory. How they are
 * mapped is in mapping.c.
 * runs: asan valgrind musl */
#include "support/process.h"

#include <sys/socket.h>

#define BASE ((uint64_t)0x100000)

static struct guestmem_region_options fd_options(int fd, uint64_t size, uint64_t flags)
{
    struct guestmem_region_options options;
    memset(&options, 0, sizeof options);
    options.guest_addr = BASE;
    options.size = size;
    options.flags = GUESTMEM_REGION_FD | flags;
    options.fd = fd;
    return options;
}

static int try_options(const struct guestmem_region_options *options)
{
    struct guestmem *mem = (struct guestmem *)(uintptr_t)64;
    int code = guestmem_new_with_options(options, 1, sizeof *options, &mem);
    CHECK((mem != NULL) == (code == GUESTMEM_OK));
    guestmem_unref(mem);
    return code;
}

static int try_fd(int fd, uint64_t flags)
{
    struct guestmem_region_options options = fd_options(fd, PAGE, flags);
    return try_options(&options);
}

static struct guestmem *make(const struct guestmem_region_options *options)
{
    struct guestmem *mem = NULL;
    int code = guestmem_new_with_options(options, 1, sizeof *options, &mem);
    CHECK_CODE(code, GUESTMEM_OK);
    REQUIRE(code == GUESTMEM_OK);
    return mem;
}

static struct guestmem_region_info first_info(const struct guestmem *mem)
{
    struct guestmem_region_info info;
    REQUIRE(guestmem_region_info(mem, 0, &info, sizeof info) == GUESTMEM_OK);
    return info;
}

static bool same_file(int one, int other)
{
    struct stat a, b;
    REQUIRE(fstat(one, &a) == 0 && fstat(other, &b) == 0);
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* A file is mapped shared, at its offset; the descriptor is a copy and the caller's is his own. */
static void shared_file(int fd)
{
    struct guestmem_region_options options = fd_options(fd, 2 * PAGE, 0);
    struct guestmem_region_info info;
    struct guestmem *mem;
    uint8_t seen = 0;
    int inside;

    CHECK_EQ(pwrite(fd, "x", 1, (off_t)PAGE), 1);
    CHECK_EQ(lseek(fd, 77, SEEK_SET), 77);
    options.fd_offset = PAGE;
    mem = make(&options);
    info = first_info(mem);
    inside = info.fd;
    CHECK(inside >= 0 && inside != fd);
    CHECK(same_file(inside, fd));
    CHECK_EQ(fcntl(inside, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(info.fd_offset, PAGE);
    CHECK_EQ(info.flags, GUESTMEM_REGION_FD);
    CHECK_OK(guestmem_read_u8(mem, BASE, &seen));
    CHECK_EQ(seen, 'x');
    CHECK_OK(guestmem_write_u8(mem, BASE + 2 * PAGE - 1, 'y'));
    CHECK_EQ(pread(fd, &seen, 1, (off_t)(3 * PAGE - 1)), 1);
    CHECK_EQ(seen, 'y');
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 77);
    close(fd);
    CHECK_OK(guestmem_write_u8(mem, BASE, 'z'));
    CHECK_EQ(pread(inside, &seen, 1, (off_t)PAGE), 1);
    CHECK_EQ(seen, 'z');
    guestmem_unref(mem);
    CHECK(fcntl(inside, F_GETFD) == -1);
}

static void private_file(int fd)
{
    struct guestmem_region_options options = fd_options(fd, PAGE, GUESTMEM_REGION_PRIVATE);
    struct guestmem *mem, *again;
    uint8_t seen = 0;
    CHECK_EQ(pwrite(fd, "a", 1, 0), 1);
    options.fd = reopen(fd, O_RDONLY);
    mem = make(&options);
    again = make(&options);
    close(options.fd);
    CHECK_OK(guestmem_read_u8(mem, BASE, &seen));
    CHECK_EQ(seen, 'a');
    CHECK_OK(guestmem_write_u8(mem, BASE, 'b'));
    CHECK_OK(guestmem_read_u8(mem, BASE, &seen));
    CHECK_EQ(seen, 'b');
    CHECK_OK(guestmem_read_u8(again, BASE, &seen));
    CHECK_EQ(seen, 'a');
    CHECK_EQ(pread(fd, &seen, 1, 0), 1);
    CHECK_EQ(seen, 'a');
    guestmem_unref(mem);
    guestmem_unref(again);
    close(fd);
}

static void read_only_file(int fd)
{
    struct guestmem_region_options options = fd_options(fd, PAGE, GUESTMEM_REGION_READ_ONLY);
    uint8_t bytes[16] = { 0 }, seen = 0;
    size_t done = 5;
    struct guestmem *mem;
    void *host = NULL;
    struct mapping mapping;

    CHECK_EQ(pwrite(fd, "rom", 3, 0), 3);
    options.fd = reopen(fd, O_RDONLY);
    mem = make(&options);
    close(options.fd);
    CHECK_OK(guestmem_read_u8(mem, BASE, &seen));
    CHECK_EQ(seen, 'r');
    CHECK_EQ(first_info(mem).flags, GUESTMEM_REGION_FD | GUESTMEM_REGION_READ_ONLY);
    CHECK_CODE(guestmem_write_u8(mem, BASE, 1), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(guestmem_write(mem, BASE, bytes, 16, &done), GUESTMEM_E_READ_ONLY);
    CHECK_EQ(done, 0);
    CHECK_CODE(guestmem_write_all(mem, BASE, bytes, 16), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(guestmem_dma_write(mem, BASE, bytes, 16), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(guestmem_dma_fill(mem, BASE, 1, 16), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(guestmem_remove_range(mem, BASE, PAGE), GUESTMEM_E_READ_ONLY);
    CHECK_OK(guestmem_write(mem, BASE, bytes, 0, &done));
    CHECK_OK(guestmem_get_host_address(mem, BASE, &host));
    REQUIRE(find_mapping(host, &mapping));
    CHECK(mapping.perms[1] == '-');
    guestmem_unref(mem);
    close(fd);
}

static void read_only_without_a_file(void)
{
    struct guestmem_region_options options = fd_options(0, PAGE, 0);
    uint64_t value = 1;
    struct guestmem *mem;
    options.flags = GUESTMEM_REGION_READ_ONLY;
    mem = make(&options);
    CHECK_OK(guestmem_read_u64(mem, BASE, &value));
    CHECK_EQ(value, 0);
    CHECK_CODE(guestmem_write_u64(mem, BASE, 1), GUESTMEM_E_READ_ONLY);
    guestmem_unref(mem);
}

static void mode_of_the_descriptor(void)
{
    int fd = new_disk_file(PAGE);
    int reads = reopen(fd, O_RDONLY), writes = reopen(fd, O_WRONLY);
    int path = reopen(fd, O_PATH);
    CHECK_CODE(try_fd(fd, 0), GUESTMEM_OK);
    CHECK_CODE(try_fd(fd, GUESTMEM_REGION_READ_ONLY), GUESTMEM_OK);
    CHECK_CODE(try_fd(reads, GUESTMEM_REGION_READ_ONLY), GUESTMEM_OK);
    CHECK_CODE(try_fd(reads, GUESTMEM_REGION_PRIVATE), GUESTMEM_OK);
    CHECK_CODE(try_fd(reads, GUESTMEM_REGION_PRIVATE | GUESTMEM_REGION_READ_ONLY), GUESTMEM_OK);
    CHECK_CODE(try_fd(reads, 0), GUESTMEM_E_READ_ONLY);
    CHECK_CODE(try_fd(writes, 0), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(writes, GUESTMEM_REGION_PRIVATE), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(writes, GUESTMEM_REGION_READ_ONLY), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(path, 0), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(path, GUESTMEM_REGION_READ_ONLY), GUESTMEM_E_BACKING);
    close(fd);
    close(reads);
    close(writes);
    close(path);
}

static void kinds_that_cannot_back_memory(void)
{
    int ends[2], pair[2];
    int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int device = open("/dev/zero", O_RDWR | O_CLOEXEC);
    int proc = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK_CODE(try_fd(ends[0], GUESTMEM_REGION_READ_ONLY), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(ends[1], 0), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(pair[0], 0), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(folder, GUESTMEM_REGION_READ_ONLY), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(device, 0), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(proc, GUESTMEM_REGION_READ_ONLY), GUESTMEM_E_BACKING);
    close(ends[0]);
    CHECK_CODE(try_fd(ends[0], 0), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(-1, 0), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(INT32_MIN, 0), GUESTMEM_E_BACKING);
    CHECK_CODE(try_fd(INT32_MAX, GUESTMEM_REGION_PRIVATE), GUESTMEM_E_BACKING);
    close(ends[1]);
    close(pair[0]);
    close(pair[1]);
    close(folder);
    close(device);
    close(proc);
}

static void length_and_offset_of_the_file(void)
{
    int fd = new_memfd(2 * PAGE);
    struct guestmem_region_options options = fd_options(fd, 2 * PAGE, 0);
    CHECK_OK(try_options(&options));
    options.fd_offset = PAGE;
    CHECK_CODE(try_options(&options), GUESTMEM_E_BACKING);
    options.size = PAGE;
    CHECK_OK(try_options(&options));
    options.fd_offset = 2 * PAGE;
    CHECK_CODE(try_options(&options), GUESTMEM_E_BACKING);
    options.fd_offset = 8;
    CHECK_CODE(try_options(&options), GUESTMEM_E_NOT_ALIGNED);
    options.fd_offset = (uint64_t)1 << 63;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);
    options.fd_offset = UINT64_MAX - PAGE + 1;
    CHECK_CODE(try_options(&options), GUESTMEM_E_INVALID_ARGUMENT);
    options.fd_offset = 0;
    options.size = 2 * PAGE;
    REQUIRE(ftruncate(fd, (off_t)(2 * PAGE - 1)) == 0);
    CHECK_CODE(try_options(&options), GUESTMEM_E_BACKING);
    options.flags |= GUESTMEM_REGION_PRIVATE;
    CHECK_CODE(try_options(&options), GUESTMEM_E_BACKING);
    options.flags = GUESTMEM_REGION_FD | GUESTMEM_REGION_READ_ONLY;
    CHECK_CODE(try_options(&options), GUESTMEM_E_BACKING);
    close(fd);
}

static void *caller_pages(int fd, int prot)
{
    void *pages = mmap(NULL, (size_t)(2 * PAGE), prot, fd < 0 ? MAP_SHARED | MAP_ANONYMOUS
                       : MAP_SHARED, fd, 0);
    REQUIRE(pages != MAP_FAILED);
    return pages;
}

/* The caller's memory is used where it is, and still there when the library is done with it. */
static void memory_of_the_caller(void)
{
    struct guestmem_region_options options = fd_options(0, 2 * PAGE, 0);
    uint8_t *pages = caller_pages(-1, PROT_READ | PROT_WRITE);
    struct guestmem_region_info info;
    struct guestmem *mem;
    int fd = 7;
    uint64_t offset = 7;

    options.flags = GUESTMEM_REGION_HOST;
    options.host_addr = pages;
    mem = make(&options);
    info = first_info(mem);
    CHECK(info.host_addr == pages);
    CHECK_EQ(info.fd, -1);
    CHECK_OK(guestmem_write_u16(mem, BASE + PAGE, 0x1234));
    CHECK_CODE(guestmem_shm_region(mem, BASE, &fd), GUESTMEM_E_UNSUPPORTED);
    CHECK_EQ(fd, -1);
    fd = 7;
    CHECK_CODE(guestmem_offset_from_base(mem, BASE, &fd, &offset), GUESTMEM_E_UNSUPPORTED);
    CHECK_EQ(fd, -1);
    CHECK_EQ(offset, 0);
    guestmem_unref(mem);
    CHECK_EQ(pages[PAGE + 0] | pages[PAGE + 1] << 8, 0x1234);
    pages[0] = 1;

    options.host_addr = pages + 16;
    CHECK_CODE(try_options(&options), GUESTMEM_E_NOT_ALIGNED);
    options.host_addr = (void *)(UINTPTR_MAX - PAGE + 1);
    CHECK(try_options(&options) != GUESTMEM_OK);
    munmap(pages, (size_t)(2 * PAGE));
}

static void memory_of_the_caller_with_its_file(void)
{
    int file = new_memfd(2 * PAGE), fd = -1;
    struct guestmem_region_options options = fd_options(file, 2 * PAGE, GUESTMEM_REGION_HOST);
    uint8_t *pages = caller_pages(file, PROT_READ | PROT_WRITE);
    uint64_t offset = 0;
    struct guestmem *mem;
    options.host_addr = pages;
    mem = make(&options);
    CHECK(first_info(mem).host_addr == pages);
    CHECK(first_info(mem).fd != file);
    CHECK_OK(guestmem_offset_from_base(mem, BASE + PAGE + 5, &fd, &offset));
    CHECK_EQ(offset, PAGE + 5);
    CHECK(same_file(fd, file));
    close(file);
    CHECK_OK(guestmem_write_u8(mem, BASE + 3, 9));
    CHECK_EQ(pages[3], 9);
    guestmem_unref(mem);
    CHECK_EQ(pages[3], 9);
    munmap(pages, (size_t)(2 * PAGE));
}

static void read_only_memory_of_the_caller(void)
{
    struct guestmem_region_options options = fd_options(0, 2 * PAGE, 0);
    uint8_t *pages = caller_pages(-1, PROT_READ);
    uint8_t value = 1;
    struct guestmem *mem;
    options.flags = GUESTMEM_REGION_HOST | GUESTMEM_REGION_READ_ONLY;
    options.host_addr = pages;
    mem = make(&options);
    CHECK_OK(guestmem_read_u8(mem, BASE, &value));
    CHECK_EQ(value, 0);
    CHECK_CODE(guestmem_write_u8(mem, BASE, 1), GUESTMEM_E_READ_ONLY);
    guestmem_unref(mem);
    munmap(pages, (size_t)(2 * PAGE));
}

static int sees_the_write(void *host)
{
    /* The parent's copy stays as it is when the child writes: private, not shared. */
    *(volatile uint8_t *)host = 2;
    return *(volatile uint8_t *)host;
}

static void private_memory(void)
{
    struct guestmem_region_options options = fd_options(0, 2 * PAGE, 0);
    struct guestmem *mem;
    uint8_t value = 9;
    void *host = NULL;
    int fd = 7;
    options.flags = GUESTMEM_REGION_PRIVATE;
    mem = make(&options);
    CHECK_EQ(first_info(mem).fd, -1);
    CHECK_CODE(guestmem_shm_region(mem, BASE, &fd), GUESTMEM_E_UNSUPPORTED);
    CHECK_EQ(fd, -1);
    CHECK_OK(guestmem_read_u8(mem, BASE + 2 * PAGE - 1, &value));
    CHECK_EQ(value, 0);
    CHECK_OK(guestmem_write_u8(mem, BASE, 1));
    CHECK_OK(guestmem_get_host_address(mem, BASE, &host));
    CHECK_EQ(run_in_child(sees_the_write, host), 2);
    CHECK_OK(guestmem_read_u8(mem, BASE, &value));
    CHECK_EQ(value, 1);
    guestmem_unref(mem);
}

/* What has its own backing takes no room in the shared memfd. */
static void backings_side_by_side(void)
{
    struct guestmem_region_options options[4];
    struct guestmem_region_info info;
    struct guestmem *mem = NULL;
    struct stat status;
    int file = new_disk_file(PAGE), shared;
    for (size_t i = 0; i < 4; i++) {
        options[i] = fd_options(file, PAGE, 0);
        options[i].guest_addr = i * PAGE;
        options[i].flags = i == 1 ? GUESTMEM_REGION_PRIVATE : i == 2 ? GUESTMEM_REGION_FD : 0;
    }
    REQUIRE(guestmem_new_with_options(options, 4, sizeof *options, &mem) == GUESTMEM_OK);
    CHECK_OK(guestmem_region_info(mem, 0, &info, sizeof info));
    shared = info.fd;
    CHECK_OK(guestmem_region_info(mem, 2, &info, sizeof info));
    CHECK(same_file(info.fd, file));
    CHECK_OK(guestmem_region_info(mem, 3, &info, sizeof info));
    CHECK_EQ(info.fd, shared);
    CHECK_EQ(info.fd_offset, PAGE);
    REQUIRE(fstat(shared, &status) == 0);
    CHECK_EQ(status.st_size, 2 * PAGE);
    guestmem_unref(mem);
    close(file);
}

int main(void)
{
    shared_file(new_disk_file(4 * PAGE));
    shared_file(new_memfd(4 * PAGE));
    private_file(new_disk_file(PAGE));
    private_file(new_memfd(PAGE));
    read_only_file(new_disk_file(PAGE));
    read_only_file(new_memfd(PAGE));
    read_only_without_a_file();
    mode_of_the_descriptor();
    kinds_that_cannot_back_memory();
    length_and_offset_of_the_file();
    memory_of_the_caller();
    memory_of_the_caller_with_its_file();
    read_only_memory_of_the_caller();
    private_memory();
    backings_side_by_side();
    return check_result();
}
