// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* The program's own needs: errors that end it, numbers and names as text, the terminal. */
#ifndef GUESTMEM_IMAGE_HOST_H
#define GUESTMEM_IMAGE_HOST_H

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include <guestmem.h>

/* As diff(1) has them: for `verify`, DIFFERENT means damaged. */
enum { EXIT_SAME = 0, EXIT_DIFFERENT = 1, EXIT_TROUBLE = 2 };

static _Noreturn void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("guestmem-image: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(EXIT_TROUBLE);
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

static void *must_have(void *memory)
{
    if (!memory)
        die("no memory");
    return memory;
}

/* A name as it can be shown: what does not print, and could be a command to the terminal, as \xNN. */
static char *printable(const char *name)
{
    mbstate_t state = {0};
    size_t left = strlen(name), len;
    char *const shown = must_have(malloc(4 * left + 1));
    char *end = shown;

    for (; left > 0; name += len, left -= len) {
        wchar_t wide;
        len = mbrtowc(&wide, name, left, &state);
        const bool valid = len != (size_t)-1 && len != (size_t)-2 && len > 0;
        if (valid && iswprint((wint_t)wide) && wide != L'\\') {
            end = mempcpy(end, name, len);
            continue;
        }
        len = valid ? len : 1;
        for (size_t i = 0; i < len; i++)
            end += sprintf(end, "\\x%02x", (unsigned char)name[i]);
        state = (mbstate_t){0};
    }
    *end = '\0';
    return shown;
}

static struct text size_text(uint64_t bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t u = 0;
    struct text t;
    for (; value >= 1023.5 && u < 6; u++)
        value /= 1024;
    snprintf(t.s, sizeof t.s, value < 9.95 && u > 0 ? "%.1f %s" : "%.0f %s", value, unit[u]);
    return t;
}

/* Rounded so that 0 and 100 mean none and all. */
static struct text percent_text(uint64_t part, uint64_t whole)
{
    double value = whole == 0 ? 0 : (double)part / (double)whole * 100;
    struct text t;
    if (part > 0 && value < 0.01)
        value = 0.01;
    if (part < whole && value > 99.99)
        value = 99.99;
    snprintf(t.s, sizeof t.s, "%.*f %%", part == whole || part == 0 ? 0 : value < 10 || value > 90 ? 2 : 1, value);
    return t;
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* Hexadecimal digits that this address, and all below it, are shown with. */
static int address_digits(uint64_t highest)
{
    return highest >> 48 ? 16 : highest >> 32 ? 12 : 8;
}

static bool is_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* Columns of the terminal behind a descriptor; 80 if it is none. */
static unsigned terminal_width(int fd)
{
    struct winsize size;
    return isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- a progress bar on standard error, if that is a terminal ---- */

struct progress {
    bool shown;
    uint64_t start, last; /* when it began, and when it was last drawn */
};

static struct progress progress_new(void)
{
    return (struct progress){.shown = isatty(STDERR_FILENO), .start = now_ns()};
}

/* A guestmem_progress_fn. */
static int progress_draw(void *user, uint64_t done, uint64_t total)
{
    enum { INTERVAL = 50 * 1000 * 1000, TEXT = 48 };
    struct progress *progress = user;
    const uint64_t now = now_ns();
    if (!progress->shown || (progress->last != 0 && now - progress->last < INTERVAL && done < total))
        return 0;
    progress->last = now;

    const unsigned width = terminal_width(STDERR_FILENO);
    const unsigned cells = width > TEXT + 10 ? width - TEXT : 10;
    const double part = total == 0 ? 1 : (double)done / (double)total;
    const unsigned full = (unsigned)(part * cells);
    const uint64_t speed = (uint64_t)((double)done * 1e9 / (double)(now - progress->start + 1));
    fputs("\r[", stderr);
    for (unsigned i = 0; i < cells; i++)
        fputc(i < full ? '#' : '.', stderr);
    fprintf(stderr, "] %3u %%  %s of %s  %s/s\033[K", (unsigned)(part * 100), size_text(done).s, size_text(total).s,
            size_text(speed).s);
    return 0;
}

/* Clears the bar away: what is to be said comes in its place. */
static void progress_end(const struct progress *progress)
{
    if (progress->last != 0)
        fputs("\r\033[K", stderr);
}

#endif
