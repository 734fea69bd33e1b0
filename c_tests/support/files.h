/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Files of a test: memfds, unlinked files, a folder that goes when the program ends, whole contents. */
#ifndef FILES_H
#define FILES_H

#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct bytes {
    uint8_t *at;
    size_t len;
};

extern char test_folder[64]; /* empty without one */

int new_memfd(uint64_t size);
/* A file on disk that nobody else sees. */
int new_disk_file(uint64_t size);
/* The same file once more, with a description of its own. */
int reopen(int fd, int flags);
/* Host memory that a file or memfd takes. */
uint64_t allocated_bytes(int fd);
void leave_folder(void);
/* A new folder under `parent`: /tmp, on a disk that has to be waited for, or /dev/shm. */
void folder_new(const char *parent);
/* As folder_new(), and enters it: paths in the test are plain names. */
void enter_folder(const char *parent);
/* The path of a numbered file in the folder; good until sixteen more were asked for. */
char *path_of(const char *name, unsigned number);
/* In memory where there is room for so much, else on disk. */
const char *fast_parent(uint64_t room);
/* How many entries the folder has: what was not put there on purpose was left behind. */
size_t entries_in(const char *path);
/* A file with this content, every byte of it allocated. */
void write_file(const char *path, const void *content, size_t len);
/* All of an open file, with a NUL behind it. */
uint8_t *read_fd(int fd, size_t *len);
uint8_t *read_file(const char *path, size_t *len);
struct bytes bytes_of(const char *path);
/* Piece by piece: a mapping would fill the holes of a file in memory. */
bool file_is(const char *path, const struct bytes *expected);
/* Some bytes of a file that is there. */
void patch_file(const char *path, uint64_t offset, const void *content, size_t len);
void flip_bit_in(const char *path, uint64_t offset);
void flip_bit(int fd, uint64_t at);

#endif
