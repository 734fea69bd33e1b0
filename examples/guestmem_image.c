// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * guestmem-image: looks into image files that guestmem_save() made.
 *
 *     cc guestmem_image.c $(pkg-config --cflags --libs guestmem) -o guestmem-image && ./guestmem-image --help
 *
 * Beside it in guestmem_image/: the picture (map.h), comparing (diff.h) and extracting (extract.h), what an image says
 * of itself (image.h, with as much JSON as that takes in json.h), and the program's small needs (host.h).
 *
 * An image may come from anybody. The library checks what it hands out; names are made printable before they are shown.
 */
#define _GNU_SOURCE
#include <locale.h>
#include <signal.h>

#include <guestmem.h>

#include "guestmem_image/diff.h"
#include "guestmem_image/extract.h"
#include "guestmem_image/host.h"
#include "guestmem_image/image.h"
#include "guestmem_image/map.h"

/* ---- info -------------------------------------------------------------------------------------------------------- */

/* The line goes on. */
static void print_size(const char *what, uint64_t bytes)
{
    printf("\n%-9s  %8s  %13" PRIu64 " bytes", what, size_text(bytes).s, bytes);
}

static void print_regions(const struct image *image)
{
    const int digits = image_digits(image), addresses = 2 * digits + 7;
    printf("\nregion  %-*s  %8s  %8s  %13s  %7s  %7s\n", addresses, "guest addresses", "size", "data", "bytes", "part",
           "ranges");
    for (size_t i = 0; i < image->region_count; i++) {
        const struct region *region = &image->regions[i];
        printf("%6zu  0x%0*" PRIx64 " - 0x%0*" PRIx64 "  %8s  %8s  %13" PRIu64 "  %7s  %7zu\n", i, digits,
               region->base, digits, region->base + region->size - 1, size_text(region->size).s,
               size_text(region->data).s, region->data, percent_text(region->data, region->size).s, region->count);
    }
}

static int command_info(int count, char **words)
{
    struct image image;
    (void)count;
    image_open(&image, words[0]);
    image_read_metadata(&image);

    fputs(image.name, stdout);
    print_size("memory", image.size);
    printf(" in %zu region%s", image.region_count, plural(image.region_count));
    print_size("data", image.data);
    printf(" in %zu range%s, %s of the memory", image.range_count, plural(image.range_count),
           percent_text(image.data, image.size).s);
    print_size("metadata", image.metadata_size);
    print_size("file", (uint64_t)image.stat.st_size);
    print_size("on disk", (uint64_t)image.stat.st_blocks * 512);
    if (image.checksums)
        printf("\nchecksums  CRC-32C, of each %s of a range\n", size_text(image.chunk_size).s);
    else
        puts("\nchecksums  none: damage of the data goes unnoticed");
    if (image.region_count > 0)
        print_regions(&image);
    image_close(&image);
    return EXIT_SAME;
}

/* ---- verify ------------------------------------------------------------------------------------------------------ */

/* Told apart: what is damaged, and what could not be checked. */
static bool is_damage(int code)
{
    return code == GUESTMEM_E_METADATA || code == GUESTMEM_E_CORRUPT || code == GUESTMEM_E_SNAPSHOT_SHORT;
}

static int command_verify(int count, char **words)
{
    struct image image;
    struct guestmem *mem;
    struct progress progress = progress_new();
    (void)count;
    image_open(&image, words[0]);

    const int code = image_map(&image, GUESTMEM_LOAD_VERIFY, &progress, &mem);
    if (code != GUESTMEM_OK && !is_damage(code))
        die("%s: cannot be verified: %s", image.name, last_error().s);
    if (code == GUESTMEM_OK) {
        const double seconds = (double)(now_ns() - progress.start) / 1e9;
        image_read_metadata(&image);
        printf("%s: good: %s of data in %s of memory, all checksums match, %.2f s\n", image.name,
               size_text(image.data).s, size_text(image.size).s, seconds);
    } else {
        printf("%s: DAMAGED: %s (%s)\n", image.name, last_error().s, guestmem_error_name(code));
    }
    guestmem_unref(mem);
    image_close(&image);
    return code == GUESTMEM_OK ? EXIT_SAME : EXIT_DIFFERENT;
}

/* ---- the command line -------------------------------------------------------------------------------------------- */

static const char help[] =
    "guestmem-image looks into image files of guest memory.\n"
    "\n"
    "  guestmem-image info IMAGE                   regions, sizes, how much is data\n"
    "  guestmem-image map IMAGE                    a picture of where data lies\n"
    "  guestmem-image verify IMAGE                 checks everything: is it good or damaged?\n"
    "  guestmem-image diff A B                     which pages differ\n"
    "  guestmem-image extract IMAGE REGION [FILE]  the raw bytes of one region\n"
    "\n"
    "REGION is the number that info shows, or a guest address in it: 0x100000, say. Everything is verified before\n"
    "the first byte is written. FILE gets holes where the image has them; standard output gets zeros.\n"
    "\n"
    "Exit codes: 0 all is well, the same, good; 1 they differ, it is damaged; 2 it did not work.\n";

static const struct command {
    const char *name;
    int (*run)(int count, char **words);
    int least, most; /* words behind the name */
} commands[] = {
    {"info", command_info, 1, 1}, {"map", command_map, 1, 1},         {"verify", command_verify, 1, 1},
    {"diff", command_diff, 2, 2}, {"extract", command_extract, 2, 3},
};

/* A page of a mapped file that cannot be had: its disk fails, or somebody cut it short. */
static void on_bus_error(int signal)
{
    static const char message[] = "guestmem-image: the image cannot be read, or was cut short meanwhile\n";
    (void)signal;
    const ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    (void)written;
    _exit(EXIT_TROUBLE);
}

static int run(int argc, char **argv)
{
    const char *const word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        fputs(help, stdout);
        return EXIT_SAME;
    }
    if (strcmp(word, "--version") == 0) {
        printf("guestmem-image, with libguestmem %s\n", guestmem_version_string());
        return EXIT_SAME;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const int count = argc - 2;
        if (strcmp(word, commands[i].name) == 0 && count >= commands[i].least && count <= commands[i].most)
            return commands[i].run(count, argv + 2);
    }
    fputs(help, stderr);
    return EXIT_TROUBLE;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGBUS, on_bus_error);
    signal(SIGXFSZ, SIG_IGN); /* an error like any other */
    const int code = run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout))
        die("standard output: %s", strerror(errno));
    return code;
}
