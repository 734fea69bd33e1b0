/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Times of contenders that ran in turn, and what is said of them: medians, their ratio, and how far
 * the ratios of the single turns lie apart. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_SAMPLES = 1001 };

struct samples {
    double seconds[MAX_SAMPLES];
    size_t count;
};

/* The ratios of single turns: all of them lie between lowest and highest, four fifths of them
 * between low and high. */
struct ratio {
    double of_medians, lowest, low, high, highest;
};

static inline double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static inline int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static inline struct samples sorted(const struct samples *samples)
{
    struct samples result = *samples;
    qsort(result.seconds, result.count, sizeof result.seconds[0], by_size);
    return result;
}

/* Of sorted samples, at least one. */
static inline double quantile(const struct samples *samples, double part)
{
    return samples->seconds[(size_t)(part * (double)(samples->count - 1) + 0.5)];
}

static inline double median(const struct samples *samples)
{
    const struct samples all = sorted(samples);
    const size_t middle = all.count / 2;
    if (all.count == 0) return 0;
    if (all.count % 2 == 1) return all.seconds[middle];
    return (all.seconds[middle - 1] + all.seconds[middle]) / 2;
}

/* Both have as many samples, taken in turn. */
static inline struct ratio ratio_of(const struct samples *ours, const struct samples *theirs)
{
    struct samples single = {.count = ours->count};
    size_t i;
    for (i = 0; i < ours->count; i++) single.seconds[i] = ours->seconds[i] / theirs->seconds[i];
    single = sorted(&single);
    return (struct ratio){median(ours) / median(theirs), quantile(&single, 0),
                          quantile(&single, 0.1), quantile(&single, 0.9), quantile(&single, 1)};
}

/* Three digits, with a unit. */
static inline const char *time_text(char *text, size_t cap, double seconds)
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
static inline const char *ratio_text(char *text, size_t cap, double ratio)
{
    (void)snprintf(text, cap, "%.*f", ratio < 0.01 ? 5 : ratio < 0.1 ? 3 : 2, ratio);
    return text;
}

static inline const char *verdict(double value, double target)
{
    return value <= target ? "reached" : "NOT reached";
}

#endif
