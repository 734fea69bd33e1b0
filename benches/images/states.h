/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* States that guest memory may be in: which of its pages were touched, what they hold, and whether
 * a file or another memory holds the same. */
#ifndef BENCH_STATES_H
#define BENCH_STATES_H

#include "../random.h"
#include "../system.h"
#include <sys/stat.h>

enum { PAGE = 4096, WORDS = PAGE / 8, RUN = 64, SHORT_RUN = 16 };

enum state { SCATTERED_01, SCATTERED_1, SCATTERED_10, SHORT_RUNS_10, RUNS_10, EVERYTHING, ZEROS };

struct pages {
    enum state state;
    uint64_t memory_size;
    bool *touched;
    uint64_t *index; /* of the touched ones, ascending */
    size_t count;
};

static struct pages choose_pages(enum state state, uint64_t memory_size)
{
    static const unsigned permille[] = {1, 10, 100, 100, 100, 1000, 1000};
    const size_t total = (size_t)(memory_size / PAGE);
    const size_t run = state == RUNS_10 ? RUN : state == SHORT_RUNS_10 ? SHORT_RUN : 1;
    struct pages pages = {state, memory_size, calloc(total, sizeof(bool)),
                          calloc(total, sizeof(uint64_t)), 0};
    uint64_t random = 1;
    bool touch = false;
    size_t i;
    MUST(pages.touched != NULL && pages.index != NULL);
    for (i = 0; i < total; i++) {
        if (i % run == 0) touch = random_number(&random) % 1000 < permille[state];
        pages.touched[i] = touch;
        if (touch) pages.index[pages.count++] = i;
    }
    return pages;
}

static void free_pages(struct pages *pages)
{
    free(pages->touched);
    free(pages->index);
    memset(pages, 0, sizeof *pages);
}

static uint64_t data_bytes(const struct pages *pages) { return (uint64_t)pages->count * PAGE; }

/* Different in each page and word, and never zero. */
static void page_content(const struct pages *pages, uint64_t index, uint64_t words[WORDS])
{
    uint64_t word = index * UINT64_C(0x9e3779b97f4a7c15);
    size_t i;
    for (i = 0; i < WORDS; i++) {
        word = word * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        words[i] = pages->state == ZEROS ? 0 : word | 1;
    }
}

static void touch_pages(uint8_t *host, const struct pages *pages)
{
    uint64_t words[WORDS];
    size_t i;
    for (i = 0; i < pages->count; i++) {
        page_content(pages, pages->index[i], words);
        memcpy(host + pages->index[i] * PAGE, words, PAGE);
    }
}

/* ---- does it hold the same? A look at some pages, from the first to the last ---- */

enum { LOOKS = 257 };

static size_t page_to_look_at(const struct pages *pages, size_t look)
{
    return look * (pages->count - 1) / (LOOKS - 1);
}

static bool page_is(const struct pages *pages, uint64_t index, const void *bytes)
{
    uint64_t words[WORDS];
    page_content(pages, index, words);
    return memcmp(words, bytes, PAGE) == 0;
}

/* Also that pages beside the touched ones are zeros. */
static bool memory_agrees(const struct pages *pages, const uint8_t *host)
{
    static const uint8_t zeros[PAGE];
    size_t look;
    for (look = 0; look < LOOKS; look++) {
        uint64_t index = pages->index[page_to_look_at(pages, look)], next = index + 1;
        if (!page_is(pages, index, host + index * PAGE)) return false;
        if (next < pages->memory_size / PAGE && !pages->touched[next] &&
            memcmp(host + next * PAGE, zeros, PAGE) != 0)
            return false;
    }
    return true;
}

/* A file of the touched pages alone, one after the other. */
static bool packed_agrees(const struct pages *pages, int fd)
{
    uint8_t bytes[PAGE];
    struct stat file;
    size_t look;
    MUST(fstat(fd, &file) == 0);
    if ((uint64_t)file.st_size != data_bytes(pages)) return false;
    for (look = 0; look < LOOKS; look++) {
        size_t nth = page_to_look_at(pages, look);
        MUST(pread(fd, bytes, PAGE, (off_t)(nth * PAGE)) == PAGE);
        if (!page_is(pages, pages->index[nth], bytes)) return false;
    }
    return true;
}

/* A file of all pages, or an image file, which begins with them. */
static bool dense_agrees(const struct pages *pages, int fd)
{
    uint8_t bytes[PAGE];
    size_t look;
    for (look = 0; look < LOOKS; look++) {
        uint64_t index = pages->index[page_to_look_at(pages, look)];
        MUST(pread(fd, bytes, PAGE, (off_t)(index * PAGE)) == PAGE);
        if (!page_is(pages, index, bytes)) return false;
    }
    return true;
}

#endif
