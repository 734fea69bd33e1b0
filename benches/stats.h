/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Times of contenders that ran in turn, and what is said of them: medians, their ratio, and how far
 * the ratios of the single turns lie apart. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_SAMPLES = 101 };

struct samples {
    double seconds[MAX_SAMPLES];
    size_t count;
};

struct ratio {
    double of_medians, lowest, highest;
};

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(const struct samples *samples)
{
    struct samples sorted = *samples;
    size_t middle = sorted.count / 2;
    if (sorted.count == 0) return 0;
    qsort(sorted.seconds, sorted.count, sizeof sorted.seconds[0], by_size);
    if (sorted.count % 2 == 1) return sorted.seconds[middle];
    return (sorted.seconds[middle - 1] + sorted.seconds[middle]) / 2;
}

/* Both have as many samples, taken in turn. */
static struct ratio ratio_of(const struct samples *ours, const struct samples *theirs)
{
    struct ratio ratio = {median(ours) / median(theirs), 0, 0};
    size_t i;
    for (i = 0; i < ours->count; i++) {
        double one = ours->seconds[i] / theirs->seconds[i];
        if (i == 0 || one < ratio.lowest) ratio.lowest = one;
        if (i == 0 || one > ratio.highest) ratio.highest = one;
    }
    return ratio;
}

/* Three digits, with a unit. */
static const char *time_text(char *text, size_t cap, double seconds)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    double value = seconds * 1e9;
    size_t unit = 0;
    while (value >= 999.5 && unit < 3) value /= 1000, unit++;
    (void)snprintf(text, cap, "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value,
                   units[unit]);
    return text;
}

/* Three digits after the point, more where that would hide a small one. */
static const char *ratio_text(char *text, size_t cap, double ratio)
{
    (void)snprintf(text, cap, "%.*f", ratio < 0.01 ? 5 : ratio < 0.1 ? 3 : 2, ratio);
    return text;
}

static const char *verdict(double value, double target)
{
    return value <= target ? "reached" : "NOT reached";
}

#endif
