/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Snapshots, restores and image files against plain C, in one process, taking turns. README.md in
 * this folder says how to run it and what the figures mean. */
#define _GNU_SOURCE
#include "images/contenders.h"
#include <getopt.h>
#include <sys/utsname.h>

/* ---- the rows, those of one state together ---- */

#define SYNC GUESTMEM_SNAPSHOT_SYNC
#define DIRECT_SYNC (GUESTMEM_SNAPSHOT_DIRECT | GUESTMEM_SNAPSHOT_SYNC)
#define SKIP_ZEROS GUESTMEM_SNAPSHOT_SKIP_ZERO_PAGES

#define SNAPSHOT(text, state, place, flags, target)                                               \
    {text, state, SOURCE, snapshot_ours, snapshot_usual, "usual", target, 0, flags, place, MEMFD}
#define DENSE(text, state, place, flags, target)                                                  \
    {text, state, SOURCE, snapshot_ours, snapshot_dense, "dense", target, 0, flags, place, MEMFD}
#define SAVE(text, state)                                                                         \
    {text, state, SOURCE, save_ours, save_usual, "usual + fsync", 0, 0, 0, DISK, MEMFD}
/* The same extents at the same offsets; past the page cache, and through it. */
#define SAVE_SPARSE(text, state)                                                                  \
    {text, state, SOURCE, save_ours, save_sparse, "pwrite", 1.2, 0, 0, DISK, MEMFD},              \
        {text ", direct", state, SOURCE, save_ours, save_cached, "save", 1.1, 0,                  \
         GUESTMEM_SNAPSHOT_DIRECT, DISK, MEMFD}
#define RESTORE(text, state, kind, target)                                                        \
    {text, state, PACKED, restore_ours, restore_usual, "usual", target, 0, 0, NOWHERE, kind}
#define LOAD(text, state, ours, peer, against, target, target_time)                               \
    {text, state, IMAGES, ours, peer, against, target, target_time, 0, NOWHERE, MEMFD}

/* From one state to the next only the targets differ. */
#define RESTORES(text, state, plain, huge)                                                        \
    RESTORE("restore, " text, state, MEMFD, plain),                                               \
        RESTORE("restore, " text ", private huge pages", state, PRIVATE_HUGE, huge),              \
        RESTORE("restore, " text ", memfd huge pages", state, MEMFD_HUGE, huge),                  \
        LOAD("load, " text, state, load_eagerly, restore_usual, "usual", plain, 0)
#define MAPPED(text, state, all)                                                                  \
    LOAD("load mapped, " text ", first access", state, load_mapped, load_eagerly, "load", 0.001,  \
         200e-6),                                                                                 \
        LOAD("load mapped, " text ", all pages read", state, load_mapped_and_read, load_eagerly,  \
             "load", all, 0),                                                                     \
        LOAD("load mapped, " text ", all pages read", state, load_mapped_and_read, restore_usual, \
             "usual", all, 0)

static const struct row rows[] = {
    SNAPSHOT("snapshot, 0.1 % scattered, to tmpfs", SCATTERED_01, TMPFS, 0, 0.9),
    SNAPSHOT("snapshot, 0.1 % scattered, to /dev/null", SCATTERED_01, NOWHERE, 0, 1.2),

    SNAPSHOT("snapshot, 1 % scattered, to tmpfs", SCATTERED_1, TMPFS, 0, 0.7),
    SNAPSHOT("snapshot, 1 % scattered, to disk + sync", SCATTERED_1, DISK, SYNC, 0.55),
    SNAPSHOT("snapshot, 1 % scattered, to /dev/null", SCATTERED_1, NOWHERE, 0, 0.3),
    SAVE("save, 1 % scattered", SCATTERED_1),
    SAVE_SPARSE("save, 1 % scattered", SCATTERED_1),
    RESTORES("1 % scattered", SCATTERED_1, 0, 0),
    MAPPED("1 % scattered", SCATTERED_1, 0),

    SNAPSHOT("snapshot, 10 % scattered, to tmpfs", SCATTERED_10, TMPFS, 0, 0),
    SAVE("save, 10 % scattered", SCATTERED_10),
    SAVE_SPARSE("save, 10 % scattered", SCATTERED_10),
    RESTORES("10 % scattered", SCATTERED_10, 0.85, 0.5),

    SAVE_SPARSE("save, 10 % in runs of 64 KiB", SHORT_RUNS_10),

    SNAPSHOT("snapshot, 10 % in runs, to tmpfs", RUNS_10, TMPFS, 0, 0),
    SAVE("save, 10 % in runs", RUNS_10),
    SAVE_SPARSE("save, 10 % in runs", RUNS_10),
    RESTORES("10 % in runs", RUNS_10, 0.85, 0.5),

    SNAPSHOT("snapshot, all zeros, to tmpfs", ZEROS, TMPFS, SKIP_ZEROS, 0.3),

    SNAPSHOT("snapshot, all, direct to disk + sync", EVERYTHING, DISK, DIRECT_SYNC, 0.6),
    DENSE("snapshot, all, direct to disk + sync", EVERYTHING, DISK, DIRECT_SYNC, 0.6),
    SAVE("save, all", EVERYTHING),
    SAVE_SPARSE("save, all", EVERYTHING),
    RESTORES("all", EVERYTHING, 0.65, 0.3),
    MAPPED("all", EVERYTHING, 0.3),
};

enum { ROWS = sizeof rows / sizeof rows[0] };

/* ---- measuring and reporting ---- */

struct figures {
    struct samples ours, peer, unchecked; /* unchecked: ours without checksums */
};

/* A part of the time that may go into checksums. */
static const double checksum_target = 0.1;

/* What a run takes of the host's memory: for its copy of the data, or what huge pages round that up
 * to. */
static void reserve_for(const struct row *row, contender *what)
{
    const bool copies = what != load_mapped && what != load_mapped_and_read &&
                        (row->needs != SOURCE || row->place != NOWHERE);
    const bool huge = what == restore_ours && row->kind != MEMFD;
    if (copies) reserve(huge ? options.size : data_bytes(&world.pages), huge);
}

static double run(const struct row *row, contender *what, bool checksums)
{
    double seconds;
    if (stopped) exit(128 + stopped);
    if (options.reserve) reserve_for(row, what);
    seconds = what(row, checksums);
    release_reserve();
    return seconds;
}

static void keep(struct samples *samples, double seconds)
{
    samples->seconds[samples->count++] = seconds;
}

/* Each begins in its turn, so that none always runs after the same other one. */
static void take_turns(const struct row *row, struct figures *figures)
{
    size_t turn, i;
    for (turn = 0; turn < options.turns; turn++)
        for (i = 0; i < 3; i++) switch ((turn + i) % 3) {
            case 0: keep(&figures->ours, run(row, row->ours, true)); break;
            case 1: keep(&figures->peer, run(row, row->peer, true)); break;
            case 2: keep(&figures->unchecked, run(row, row->ours, false)); break;
            }
}

static bool measure(const struct row *row, struct figures *figures)
{
    memset(figures, 0, sizeof *figures);
    provide(row->needs);
    /* Both once unmeasured: the first run pays for what it is the first to use. */
    if (run(row, row->ours, true) == UNSUPPORTED) return false;
    (void)run(row, row->peer, true);
    take_turns(row, figures);
    return true;
}

static void print_head(void)
{
    struct utsname system;
    MUST(uname(&system) == 0);
    printf("libguestmem %s, %.3g GiB of guest memory, %zu turns, Linux %s, %ld CPUs\n",
           guestmem_version_string(), (double)options.size / GIB, options.turns, system.release,
           sysconf(_SC_NPROCESSORS_ONLN));
    printf("disk: %s, tmpfs: %s; files to restore from are on disk and in the page cache\n\n",
           options.disk, options.tmpfs);
    printf("%-47s %-13s %8s %8s  %-7s  %-15s  %-22s  %s\n", "what", "against", "ours", "theirs",
           "ratio", "single turns", "target", "checksums' part (target 0.10)");
    (void)fflush(stdout);
    if (options.csv != NULL)
        fprintf(options.csv, "what,against,ours_s,theirs_s,ratio,ratio_min,ratio_max,target,"
                             "reached,ours_without_checksums_s,checksums_part,"
                             "checksums_reached\n");
}

static void print_row(const struct row *row, const struct figures *figures)
{
    const struct ratio ratio = ratio_of(&figures->ours, &figures->peer);
    const double ours = median(&figures->ours), peer = median(&figures->peer);
    const double unchecked = median(&figures->unchecked), part = 1 - unchecked / ours;
    char text[4][16], spread[40], target[64] = "-";
    (void)snprintf(spread, sizeof spread, "%s..%s", ratio_text(text[0], 16, ratio.lowest),
                   ratio_text(text[1], 16, ratio.highest));
    if (row->target > 0)
        (void)snprintf(target, sizeof target, "%s %s", ratio_text(text[0], 16, row->target),
                       verdict(ratio.of_medians, row->target));
    printf("%-47s %-13s %8s %8s  %-7s  %-15s  %-22s  %5.2f %s", row->name, row->against,
           time_text(text[1], 16, ours), time_text(text[2], 16, peer),
           ratio_text(text[3], 16, ratio.of_medians), spread, target, part,
           verdict(part, checksum_target));
    if (row->target_time > 0)
        printf("; target %s %s", time_text(text[0], 16, row->target_time),
               verdict(ours, row->target_time));
    printf("\n");
    (void)fflush(stdout);
    if (options.csv == NULL) return;
    fprintf(options.csv, "\"%s\",%s,%.9f,%.9f,%.6f,%.6f,%.6f,", row->name, row->against, ours, peer,
            ratio.of_medians, ratio.lowest, ratio.highest);
    if (row->target > 0)
        fprintf(options.csv, "%g,%d", row->target, ratio.of_medians <= row->target);
    else
        fprintf(options.csv, ",");
    fprintf(options.csv, ",%.9f,%.4f,%d\n", unchecked, part, part <= checksum_target);
    (void)fflush(options.csv);
}

/* ---- command line ---- */

static void usage(FILE *out)
{
    fprintf(out,
            "images [--gib N] [--turns N] [--only TEXT] [--csv FILE] [--disk FOLDER]\n"
            "       [--tmpfs FOLDER] [--no-reserve] [--list]\n");
}

static void parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"gib", required_argument, NULL, 'g'},   {"turns", required_argument, NULL, 'n'},
        {"only", required_argument, NULL, 'o'},  {"csv", required_argument, NULL, 'c'},
        {"disk", required_argument, NULL, 'd'},  {"tmpfs", required_argument, NULL, 't'},
        {"no-reserve", no_argument, NULL, 'r'},  {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    int name;
    size_t i;
    double gib = 4;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) switch (name) {
        case 'g': gib = atof(optarg); break;
        case 'n': options.turns = (size_t)strtoul(optarg, NULL, 10); break;
        case 'o': options.only = optarg; break;
        case 'c': MUST((options.csv = fopen(optarg, "w")) != NULL); break;
        case 'd': options.disk = optarg; break;
        case 't': options.tmpfs = optarg; break;
        case 'r': options.reserve = false; break;
        case 'l':
            for (i = 0; i < ROWS; i++) printf("%s against %s\n", rows[i].name, rows[i].against);
            exit(0);
        case 'h': usage(stdout); exit(0);
        default: usage(stderr); exit(2);
        }
    if (optind < argc || !(gib >= 1.0 / 16 && gib <= 1024) || options.turns < 1 ||
        options.turns > MAX_SAMPLES) {
        usage(stderr);
        exit(2);
    }
    options.size = (uint64_t)(gib * 1024) << 20;
}

int main(int argc, char **argv)
{
    struct figures figures;
    size_t i;
    parse(argc, argv);
    stop_between_runs();
    disk = new_folder(options.disk);
    tmpfs = new_folder(options.tmpfs);
    print_head();
    for (i = 0; i < ROWS; i++) {
        if (strstr(rows[i].name, options.only) == NULL) continue;
        if (world.pages.index == NULL || world.pages.state != rows[i].state)
            change_state(rows[i].state);
        if (measure(&rows[i], &figures))
            print_row(&rows[i], &figures);
        else
            printf("%-47s %-13s not there\n", rows[i].name, rows[i].against);
    }
    change_state(SCATTERED_1);
    return 0;
}
