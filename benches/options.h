/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The command line of the programs that measure calls. They take what images takes too, so that
 * one set of arguments does for all. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "must.h"
#include "stats.h"
#include <getopt.h>
#include <stdbool.h>

static struct {
    size_t turns;
    const char *only;
    FILE *csv;
} options = {101, "", NULL};

static inline void usage(FILE *out, const char *program)
{
    fprintf(out, "%s [--turns N] [--only TEXT] [--csv FILE]\n", program);
}

static inline void parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"turns", required_argument, NULL, 'n'}, {"only", required_argument, NULL, 'o'},
        {"csv", required_argument, NULL, 'c'},   {"gib", required_argument, NULL, 'i'},
        {"no-reserve", no_argument, NULL, 'i'},  {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int name;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) switch (name) {
        case 'n': options.turns = (size_t)strtoul(optarg, NULL, 10); break;
        case 'o': options.only = optarg; break;
        case 'c': MUST((options.csv = fopen(optarg, "w")) != NULL); break;
        case 'i': break;
        case 'h': usage(stdout, argv[0]); exit(0);
        default: usage(stderr, argv[0]); exit(2);
        }
    if (optind < argc || options.turns < 1 || options.turns > MAX_SAMPLES) {
        usage(stderr, argv[0]);
        exit(2);
    }
}

static inline bool wanted(const char *section) { return strstr(section, options.only) != NULL; }

#endif
