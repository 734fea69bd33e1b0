// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* The host program's own needs: errors that end it, sizes and times as text, temporary files. */
#ifndef MINIVM_HOST_H
#define MINIVM_HOST_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <guestmem.h>

static _Noreturn void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("minivm: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(EXIT_FAILURE);
}

struct text {
    char s[256];
};

static struct text last_error(void)
{
    struct text t;
    guestmem_last_error_message(t.s, sizeof t.s);
    return t;
}

static void must(int rc, const char *what)
{
    if (rc != GUESTMEM_OK)
        die("%s: %s (%s)", what, last_error().s, guestmem_error_name(rc));
}

static struct guestmem_region_info region_info(const struct guestmem *mem, size_t index)
{
    struct guestmem_region_info info;
    must(guestmem_region_info(mem, index, &info, sizeof info), "region");
    return info;
}

static struct text size_text(uint64_t bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB"};
    double value = (double)bytes;
    size_t u = 0;
    struct text t;
    for (; value >= 1024 && u < 3; u++)
        value /= 1024;
    snprintf(t.s, sizeof t.s, value < 10 && u > 0 ? "%.1f %s" : "%.0f %s", value, unit[u]);
    return t;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct text time_text(uint64_t ns)
{
    static const char *const unit[] = {"ns", "us", "ms", "s"};
    double value = (double)ns;
    size_t u = 0;
    struct text t;
    for (; value >= 1000 && u < 3; u++)
        value /= 1000;
    snprintf(t.s, sizeof t.s, value < 10 && u > 0 ? "%.1f %s" : "%.0f %s", value, unit[u]);
    return t;
}

static void heading(const char *text, uint64_t ns)
{
    putchar('\n');
    fputs(text, stdout);
    if (ns > 0)
        printf("%*s", 78 - (int)strlen(text), time_text(ns).s);
    putchar('\n');
}

static bool is_mute;

static void mute(bool yes)
{
    is_mute = yes;
}

/* One line of the story, with the time that it took at the right; 0 for none. */
static void tell(uint64_t ns, const char *format, ...)
{
    va_list args;
    if (is_mute)
        return;
    va_start(args, format);
    fputs("  ", stdout);
    int width = vprintf(format, args);
    va_end(args);
    if (ns > 0)
        printf("%*s", width < 68 ? 76 - width : 9, time_text(ns).s);
    putchar('\n');
}

static int temp_open(struct text *path)
{
    const char *dir = getenv("TMPDIR");
    int length = snprintf(path->s, sizeof path->s, "%s/minivm-XXXXXX", dir && *dir ? dir : "/tmp");
    int fd = length < (int)sizeof path->s ? mkostemp(path->s, O_CLOEXEC) : -1;
    if (fd < 0)
        die("temporary file %s: %s", path->s, strerror(errno));
    return fd;
}

/* Without a name from the start, so that nothing is left behind however the program ends. */
static int temp_file(void)
{
    struct text path;
    int fd = temp_open(&path);
    if (unlink(path.s) != 0)
        die("temporary file %s: %s", path.s, strerror(errno));
    return fd;
}

/* The path of an empty file. */
static const char *temp_path(struct text *path)
{
    close(temp_open(path));
    return path->s;
}

static void file_write(int fd, const void *buf, size_t len, uint64_t at)
{
    ssize_t n = pwrite(fd, buf, len, (off_t)at);
    if (n < 0 || (size_t)n != len)
        die("writing a file: %s", n < 0 ? strerror(errno) : "short");
}

static void file_read(int fd, void *buf, size_t len, uint64_t at)
{
    ssize_t n = pread(fd, buf, len, (off_t)at);
    if (n < 0 || (size_t)n != len)
        die("reading a file: %s", n < 0 ? strerror(errno) : "short");
}

#endif
