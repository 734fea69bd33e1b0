/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "files.h"

#include <ftw.h>

char test_folder[64];

int new_memfd(uint64_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

int new_disk_file(uint64_t size)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int fd;
    (void)snprintf(path, sizeof path, "%s/guestmem-test-XXXXXX", folder ? folder : "/tmp");
    fd = mkstemp(path);
    REQUIRE(fd >= 0 && unlink(path) == 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

int reopen(int fd, int flags)
{
    char path[64];
    int again;
    (void)snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
    again = open(path, flags | O_CLOEXEC);
    REQUIRE(again >= 0);
    return again;
}

uint64_t allocated_bytes(int fd)
{
    struct stat st;
    REQUIRE(fstat(fd, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

void leave_folder(void)
{
    if (test_folder[0] == 0) return;
    if (chdir("/") == 0) (void)nftw(test_folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    test_folder[0] = 0;
}

static pid_t folder_owner; /* its children leave it alone when they end */

static void leave_own_folder(void)
{
    if (getpid() == folder_owner) leave_folder();
}

void folder_new(const char *parent)
{
    REQUIRE(test_folder[0] == 0 && strlen(parent) < 40);
    if (folder_owner != getpid()) REQUIRE(atexit(leave_own_folder) == 0);
    folder_owner = getpid();
    (void)snprintf(test_folder, sizeof test_folder, "%s/guestmem-test-XXXXXX", parent);
    REQUIRE(mkdtemp(test_folder) != NULL);
}

void enter_folder(const char *parent)
{
    folder_new(parent);
    REQUIRE(chdir(test_folder) == 0);
}

char *path_of(const char *name, unsigned number)
{
    static char paths[16][128];
    static unsigned next;
    char *path = paths[next++ % 16];
    (void)snprintf(path, sizeof paths[0], "%s/%s%u", test_folder, name, number);
    return path;
}

const char *fast_parent(uint64_t room)
{
    struct statvfs fs;
    if (statvfs("/dev/shm", &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize > room)
        return "/dev/shm";
    return "/tmp";
}

size_t entries_in(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    size_t count = 0;
    REQUIRE(dir != NULL);
    while ((entry = readdir(dir)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    REQUIRE(closedir(dir) == 0);
    return count;
}

void write_file(const char *path, const void *content, size_t len)
{
    FILE *file = fopen(path, "we");
    REQUIRE(file != NULL && fwrite(content, 1, len, file) == len && fclose(file) == 0);
}

uint8_t *read_fd(int fd, size_t *len)
{
    struct stat st;
    uint8_t *bytes;
    size_t done = 0;
    REQUIRE(fstat(fd, &st) == 0);
    bytes = malloc((size_t)st.st_size + 1);
    REQUIRE(bytes != NULL);
    while (done < (size_t)st.st_size) {
        ssize_t n = pread(fd, bytes + done, (size_t)st.st_size - done, (off_t)done);
        REQUIRE(n > 0);
        done += (size_t)n;
    }
    bytes[done] = 0;
    *len = done;
    return bytes;
}

uint8_t *read_file(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *bytes;
    REQUIRE(fd >= 0);
    bytes = read_fd(fd, len);
    REQUIRE(close(fd) == 0);
    return bytes;
}

struct bytes bytes_of(const char *path)
{
    struct bytes bytes = {NULL, 0};
    bytes.at = read_file(path, &bytes.len);
    return bytes;
}

bool file_is(const char *path, const struct bytes *expected)
{
    static uint8_t piece[1 << 16];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t done = 0;
    ssize_t got;
    bool same = true;
    REQUIRE(fd >= 0);
    while (same && (got = read(fd, piece, sizeof piece)) > 0) {
        same = (size_t)got <= expected->len - done &&
               memcmp(piece, expected->at + done, (size_t)got) == 0;
        done += (size_t)got;
    }
    REQUIRE(close(fd) == 0);
    return same && done == expected->len;
}

void patch_file(const char *path, uint64_t offset, const void *content, size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && pwrite(fd, content, len, (off_t)offset) == (ssize_t)len && close(fd) == 0);
}

void flip_bit_in(const char *path, uint64_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && pread(fd, &byte, 1, (off_t)offset) == 1 && close(fd) == 0);
    byte ^= (uint8_t)(1u << offset % 8);
    patch_file(path, offset, &byte, 1);
}

void flip_bit(int fd, uint64_t at)
{
    uint8_t byte;
    REQUIRE(pread(fd, &byte, 1, (off_t)at) == 1);
    byte ^= (uint8_t)(1u << at % 8);
    REQUIRE(pwrite(fd, &byte, 1, (off_t)at) == 1);
}
