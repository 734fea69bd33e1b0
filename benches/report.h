/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What is printed of contenders that took turns: a line of medians for each race, and at the end
 * all ratios that have a target. The same goes into a file of comma-separated values, a line for
 * each median (in nanoseconds, with an empty `against`) and each ratio. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "turns.h"
#include <sys/utsname.h>
#include <unistd.h>

enum { MAX_COMPARISONS = 256 };

struct comparison {
    const char *what, *where, *ours, *theirs;
    struct ratio ratio;
    double target;
    double floor; /* what a call that does nothing comes to; 0: not known, or no call */
};

static struct comparison comparisons[MAX_COMPARISONS];
static size_t comparison_count;

static inline void print_head(const char *program)
{
    struct utsname system;
    MUST(uname(&system) == 0);
    printf("%s: libguestmem %s, %zu turns, Linux %s, %ld CPUs\n", program,
           guestmem_version_string(), options.turns, system.release, sysconf(_SC_NPROCESSORS_ONLN));
    if (options.csv != NULL)
        fprintf(options.csv, "what,where,contender,against,value,low,high,target,reached,floor\n");
}

static inline void print_columns(const char *what, const char *unit,
                                 const struct contender *contenders, size_t count)
{
    size_t i;
    printf("\n%s, %s\n%-12s", what, unit, "");
    for (i = 0; i < count; i++) printf("  %s", contenders[i].name);
    printf("\n");
}

/* Three digits, in the column of that name. */
static inline void print_figure(const char *name, double value)
{
    const int width = (int)strlen(name);
    const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    printf("  %*.*f", width, digits, value);
}

static inline void csv_line(const char *what, const char *where, const char *ours,
                            const char *theirs, double value, double low, double high)
{
    if (options.csv == NULL) return;
    fprintf(options.csv, "\"%s\",\"%s\",\"%s\",\"%s\",%.6g,%.6g,%.6g", what, where, ours, theirs,
            value, low, high);
}

static inline void print_medians(const char *what, const char *where, const struct race *race)
{
    size_t i;
    printf("%-12s", where);
    for (i = 0; i < race->count; i++) {
        const struct samples all = sorted(&race->samples[i]);
        const double value = 1e9 * median(&all);
        print_figure(race->contenders[i].name, value);
        csv_line(what, where, race->contenders[i].name, "", value, 1e9 * quantile(&all, 0.1),
                 1e9 * quantile(&all, 0.9));
        if (options.csv != NULL) fprintf(options.csv, ",,,\n");
    }
    printf("\n");
    (void)fflush(stdout);
}

/* The texts must stay. */
static inline void add_comparison(const char *what, const char *where, const char *ours,
                                  const char *theirs, struct ratio ratio, double target,
                                  double floor)
{
    MUST(comparison_count < MAX_COMPARISONS);
    comparisons[comparison_count++] =
        (struct comparison){what, where, ours, theirs, ratio, target, floor};
}

static inline void compare(const char *what, const char *where, const struct race *race,
                           const char *ours, const char *theirs, double target)
{
    const struct samples *our = &race->samples[contender_named(race, ours)];
    const struct samples *their = &race->samples[contender_named(race, theirs)];
    add_comparison(what, where, ours, theirs, ratio_of(our, their), target, 0);
}

/* A call against what needs none: where the empty call is among the contenders. */
static inline void compare_call(const char *what, const char *where, const struct race *race,
                                const char *ours, const char *theirs, double target)
{
    const struct samples *empty = &race->samples[contender_named(race, "empty call")];
    const struct samples *their = &race->samples[contender_named(race, theirs)];
    compare(what, where, race, ours, theirs, target);
    comparisons[comparison_count - 1].floor = median(empty) / median(their);
}

static inline void print_comparison(const struct comparison *one)
{
    char text[4][16], spread[40], pair[64];
    (void)snprintf(pair, sizeof pair, "%s / %s", one->ours, one->theirs);
    (void)snprintf(spread, sizeof spread, "%s..%s", ratio_text(text[0], 16, one->ratio.low),
                   ratio_text(text[1], 16, one->ratio.high));
    printf("%-18s  %-12s  %-32s  %7s  %-16s  %5s %s", one->what, one->where, pair,
           ratio_text(text[2], 16, one->ratio.of_medians), spread,
           ratio_text(text[3], 16, one->target), verdict(one->ratio.of_medians, one->target));
    if (one->floor > 0) printf(" (an empty call: %s)", ratio_text(text[0], 16, one->floor));
    printf("\n");
    csv_line(one->what, one->where, one->ours, one->theirs, one->ratio.of_medians, one->ratio.low,
             one->ratio.high);
    if (options.csv != NULL)
        fprintf(options.csv, ",%g,%d,%.4g\n", one->target, one->ratio.of_medians <= one->target,
                one->floor);
}

static inline void print_comparisons(void)
{
    size_t i, reached = 0;
    if (comparison_count == 0) return;
    printf("\nTo reach: ratios of medians, four fifths of the single turns, target\n");
    for (i = 0; i < comparison_count; i++) {
        print_comparison(&comparisons[i]);
        reached += comparisons[i].ratio.of_medians <= comparisons[i].target;
    }
    printf("%zu of %zu reached\n\n", reached, comparison_count);
    if (options.csv != NULL) MUST(fclose(options.csv) == 0);
}

#endif
