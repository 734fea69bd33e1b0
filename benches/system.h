/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a bench needs of the machine: an end that leaves nothing behind, folders for its files, host
 * memory that has been touched, huge pages for memfds. */
#ifndef BENCH_SYSTEM_H
#define BENCH_SYSTEM_H

#include "must.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- being stopped: between two runs, so that nothing is left behind ---- */

static volatile sig_atomic_t stopped;

static void note_signal(int signal) { stopped = signal; }

static void stop_between_runs(void)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGPIPE, SIGTERM};
    struct sigaction action;
    size_t i;
    memset(&action, 0, sizeof action);
    action.sa_handler = note_signal;
    action.sa_flags = SA_RESTART;
    for (i = 0; i < sizeof signals / sizeof signals[0]; i++)
        MUST(sigaction(signals[i], &action, NULL) == 0);
}

/* ---- a folder of our own, gone at the end with all that is in it ---- */

enum { FOLDERS = 3, PATH_BYTES = 512 };

struct folder {
    char path[PATH_BYTES - 32];
    int fd;
};

static struct folder folders[FOLDERS];
static size_t folder_count;

static void remove_folders(void)
{
    while (folder_count > 0) {
        const struct folder *folder = &folders[--folder_count];
        DIR *entries = opendir(folder->path);
        struct dirent *entry;
        while (entries != NULL && (entry = readdir(entries)) != NULL)
            if (entry->d_name[0] != '.') (void)unlinkat(folder->fd, entry->d_name, 0);
        if (entries != NULL) (void)closedir(entries);
        (void)rmdir(folder->path);
    }
}

static const struct folder *new_folder(const char *parent)
{
    struct folder *folder = &folders[folder_count];
    int len = snprintf(folder->path, sizeof folder->path, "%s/guestmem-bench-XXXXXX", parent);
    MUST(len > 0 && (size_t)len < sizeof folder->path && mkdtemp(folder->path) != NULL);
    folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(folder->fd >= 0);
    if (folder_count++ == 0) MUST(atexit(remove_folders) == 0);
    return folder;
}

/* An empty file that goes with its descriptor. */
static int new_file(const struct folder *folder)
{
    char path[PATH_BYTES];
    int fd;
    (void)snprintf(path, sizeof path, "%s/data-XXXXXX", folder->path);
    fd = mkostemp(path, O_CLOEXEC);
    MUST(fd >= 0 && unlink(path) == 0);
    return fd;
}

/* What earlier runs left to be written or freed is not for the next one to pay. */
static void settle(const struct folder *folder) { MUST(syncfs(folder->fd) == 0); }

/* ---- host memory that has been touched ----
 *
 * Where the machine is itself a guest, free pages may go back to its host, and touching them again
 * takes several times as long as touching others. So as many pages as a run is going to take are
 * held until just before it starts. */

static void *reserved_bytes;
static size_t reserved_size;

/* Huge pages are cut from other free memory than small ones. */
static void reserve(uint64_t size, bool huge)
{
    size_t at;
    reserved_size = (size_t)size;
    reserved_bytes =
        mmap(NULL, reserved_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(reserved_bytes != MAP_FAILED);
    (void)madvise(reserved_bytes, reserved_size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    for (at = 0; at < reserved_size; at += 4096) ((volatile char *)reserved_bytes)[at] = 1;
}

static void release_reserve(void)
{
    if (reserved_bytes != NULL) MUST(munmap(reserved_bytes, reserved_size) == 0);
    reserved_bytes = NULL;
}

/* ---- huge pages for memfds: a setting of the whole system, changed while a run lasts ---- */

#define SHMEM_HUGE "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static char shmem_huge_before[32];

static bool set_shmem_huge(const char *word)
{
    int fd = open(SHMEM_HUGE, O_WRONLY | O_CLOEXEC);
    bool set = fd >= 0 && write(fd, word, strlen(word)) == (ssize_t)strlen(word);
    if (fd >= 0) (void)close(fd);
    return set;
}

static void restore_shmem_huge(void)
{
    if (shmem_huge_before[0] == 0) return;
    if (!set_shmem_huge(shmem_huge_before))
        fprintf(stderr, "%s: cannot write %s back\n", SHMEM_HUGE, shmem_huge_before);
    shmem_huge_before[0] = 0;
}

/* True when memfds get huge pages where that is advised; restore_shmem_huge() undoes it. */
static bool allow_shmem_huge(void)
{
    static bool at_exit;
    char words[128] = "", word[32] = "";
    int fd = open(SHMEM_HUGE, O_RDONLY | O_CLOEXEC);
    const char *now;
    if (fd < 0) return false;
    (void)!read(fd, words, sizeof words - 1);
    (void)close(fd);
    now = strchr(words, '[');
    if (now == NULL || sscanf(now, "[%31[a-z_]]", word) != 1) return false;
    if (strcmp(word, "never") != 0 && strcmp(word, "deny") != 0) return true;
    if (!at_exit) MUST(atexit(restore_shmem_huge) == 0);
    at_exit = true;
    if (!set_shmem_huge("advise")) return false;
    memcpy(shmem_huge_before, word, sizeof word);
    return true;
}

#endif
