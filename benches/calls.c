/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Translating and accessing, call by call, against C by hand, vm-memory and an empty call.
 * README.md in this folder says how to run it and what the figures mean. */
#define _GNU_SOURCE
#include "calls/access.h"
#include "calls/chains.h"
#include "calls/latency.h"
#include "calls/threads.h"
#include "report.h"

/* For all sections, one after the other. */
static struct pattern pattern;

static struct race race_of(const struct contender *contenders, size_t count, const void *work,
                           size_t total, size_t lot)
{
    return (struct race){.contenders = contenders, .count = count, .work = work, .total = total,
                         .lot = lot};
}

/* ---- translating as much as can be ---- */

/* Against C in line, where a target was set; 0: none. */
static double linear_target(const struct map *map)
{
    static const struct {
        const char *where;
        double target;
    } targets[] = {{"1 region", 1.4}, {"2 regions", 0.8}, {"4 regions", 0.7}, {"8 regions", 0.5},
                   {"256 regions", 0.05}};
    size_t i;
    for (i = 0; i < COUNT_OF(targets); i++)
        if (strcmp(targets[i].where, map->name) == 0) return targets[i].target;
    return 0;
}

static void compare_translators(const char *what, const struct race *race, const struct map *map)
{
    compare(what, map->name, race, "exported", "empty call", 1.4);
    if (linear_target(map) > 0)
        compare_call(what, map->name, race, "exported", "C linear", linear_target(map));
    compare_call(what, map->name, race, "exported", "vm-memory", 0.4);
    compare(what, map->name, race, "inline", "C linear", 1.0);
}

static void translate(const char *what, enum kind kind)
{
    size_t i;
    if (!wanted(what)) return;
    print_columns(what, "ns each", translators, COUNT_OF(translators));
    for (i = 0; i < COUNT_OF(shapes); i++) {
        struct map map = new_map(&shapes[i]);
        const struct translation work = {&map, pattern.at};
        struct race race = race_of(translators, COUNT_OF(translators), &work, PATTERN_LENGTH, 1);
        draw_pattern(&pattern, &map, kind, 0);
        check_edges(&map);
        check_outcomes(&race, contender_named(&race, "empty call"));
        take_turns(&race);
        print_medians(what, map.name, &race);
        if (kind == VIRTIO) compare_translators(what, &race, &map);
        free_map(&map);
    }
}

/* ---- the same for memory that will be written ---- */

static void translate_writable(const char *what)
{
    size_t i;
    if (!wanted(what)) return;
    print_columns(what, "ns each", writable_translators, COUNT_OF(writable_translators));
    for (i = 0; i < COUNT_OF(shapes); i++) {
        struct map map = new_map(&shapes[i]);
        const struct translation work = {&map, pattern.at};
        struct race race = race_of(writable_translators, COUNT_OF(writable_translators), &work,
                                   PATTERN_LENGTH, 1);
        draw_pattern(&pattern, &map, VIRTIO, 0);
        check_edges(&map);
        check_outcomes(&race, contender_named(&race, "empty call"));
        take_turns(&race);
        print_medians(what, map.name, &race);
        compare(what, map.name, &race, "exported", "exported, to read", 1.05);
        compare(what, map.name, &race, "inline", "inline, to read", 1.05);
        compare(what, map.name, &race, "inline", "C linear", 1.0);
        free_map(&map);
    }
}

/* ---- translating what the last translation leads to ---- */

static void latency(const char *what, enum kind kind)
{
    static struct guestmem_range nodes[NODES];
    size_t i;
    if (!wanted(what)) return;
    print_columns(what, "ns each", chasers, COUNT_OF(chasers));
    for (i = 0; i < COUNT_OF(shapes); i++) {
        struct map map = new_map(&shapes[i]);
        const struct translation work = {&map, nodes};
        struct race race = race_of(chasers, COUNT_OF(chasers), &work, NODES, 1);
        draw_pattern(&pattern, &map, kind, 0);
        make_chain(nodes, &map, &pattern);
        check_outcomes(&race, race.count);
        take_turns(&race);
        print_medians(what, map.name, &race);
        if (kind == VIRTIO && map.count == 2)
            compare(what, map.name, &race, "exported", "C linear", 1.4);
        free_map(&map);
    }
}

/* ---- single values ---- */

static void compare_accessors(const char *what, const struct race *race, const struct map *map)
{
    if (map->count == 1) compare_call(what, map->name, race, "exported", "C plain", 1.8);
    if (map->count == 4) compare_call(what, map->name, race, "exported", "C plain", 1.0);
    compare_call(what, map->name, race, "exported", "vm-memory obj", 0.25);
    compare(what, map->name, race, "exported ordered", "exported", 1.25);
    compare(what, map->name, race, "inline", "C plain", 1.0);
    compare(what, map->name, race, "inline ordered", "C ordered", 1.0);
}

static void access_in(const char *what, size_t width, bool writing, const struct shape *shape)
{
    struct map map = new_map(shape);
    const struct translation work = {&map, pattern.at};
    const size_t nth = width == 1 ? 0 : width == 2 ? 1 : width == 4 ? 2 : 3;
    struct race race = race_of(writing ? writers[nth] : readers[nth], ACCESSORS, &work,
                               PATTERN_LENGTH, 1);
    draw_pattern(&pattern, &map, VIRTIO, span_in_caches(&map));
    align_pattern(&pattern);
    if (writing) check_writers(&race, width);
    fill_with(&work, content_at);
    if (!writing) check_outcomes(&race, contender_named(&race, "empty call"));
    take_turns(&race);
    print_medians(what, map.name, &race);
    if (width == 8) compare_accessors(what, &race, &map);
    free_map(&map);
}

static void accesses(const char *what, size_t width, bool writing)
{
    size_t i;
    if (!wanted(what)) return;
    print_columns(what, "ns each", readers[0], ACCESSORS);
    for (i = 0; i < COUNT_OF(shapes); i++)
        if (shapes[i].regions == 0 || (width == 8 && shapes[i].regions <= 256))
            access_in(what, width, writing, &shapes[i]);
}

/* ---- chains of descriptors ---- */

static void chains(const char *what, size_t length, double target)
{
    static struct pattern buffers;
    static struct guestmem_access uses[PATTERN_LENGTH];
    size_t i;
    if (!wanted(what)) return;
    print_columns(what, "ns each descriptor", chainers, COUNT_OF(chainers));
    for (i = 0; i < COUNT_OF(shapes); i++) {
        struct map map = new_map(&shapes[i]);
        const struct chains work = {&map, buffers.at, uses, length};
        struct race race =
            race_of(chainers, COUNT_OF(chainers), &work, PATTERN_LENGTH, length);
        draw_pattern(&pattern, &map, VIRTIO, 0);
        keep_buffers(&buffers, &pattern);
        use_buffers(uses, &buffers);
        check_chains(&race);
        take_turns(&race);
        print_medians(what, map.name, &race);
        if (target > 0) {
            compare(what, map.name, &race, "at once", "C linear", target);
            compare(what, map.name, &race, "for use", "at once", 1.05);
        }
        free_map(&map);
    }
}

/* ---- two threads on one handle ---- */

static bool is_ours(const char *name)
{
    return strcmp(name, "exported") == 0 || strcmp(name, "dlsym") == 0 || strcmp(name, "inline") == 0;
}

static void print_slow_downs(const char *what, const struct map *map, const struct race *race,
                             const struct pair_samples *pairs)
{
    const struct samples control = slow_down(&pairs[contender_named(race, "empty call")]);
    size_t i;
    printf("%-12s", map->name);
    for (i = 0; i < race->count; i++) {
        const struct samples times = slow_down(&pairs[i]);
        print_figure(race->contenders[i].name, median(&times));
        if (!is_ours(race->contenders[i].name)) continue;
        add_comparison(what, map->name, race->contenders[i].name, "empty call",
                       ratio_of(&times, &control), 1.15, 0);
    }
    printf("\n");
}

static void threads(const char *what)
{
    static struct pair_samples pairs[MAX_CONTENDERS];
    struct map map;
    struct translation work = {&map, pattern.at};
    struct race race = race_of(translators, COUNT_OF(translators), &work, PATTERN_LENGTH, 1);
    if (!wanted(what)) return;
    print_columns(what, "how many times as long as with one", translators, COUNT_OF(translators));
    if (!start_companion()) {
        printf("not there: one CPU\n");
        return;
    }
    map = new_map(realistic);
    draw_pattern(&pattern, &map, VIRTIO, 0);
    take_turns_in_pairs(&race, pairs);
    print_slow_downs(what, &map, &race, pairs);
    end_companion();
    free_map(&map);
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    pin_to_first_cpu();
    print_head("calls");
    translate("translate, hot", HOT);
    translate("translate, random", RANDOM);
    translate("translate, virtio", VIRTIO);
    translate_writable("translate to write, virtio");
    latency("latency, random", RANDOM);
    latency("latency, virtio", VIRTIO);
    accesses("read u8", 1, false);
    accesses("read u16", 2, false);
    accesses("read u32", 4, false);
    accesses("read u64", 8, false);
    accesses("write u8", 1, true);
    accesses("write u16", 2, true);
    accesses("write u32", 4, true);
    accesses("write u64", 8, true);
    chains("chains of 1", 1, 0);
    chains("chains of 16", 16, 0.8);
    chains("chains of 256", 256, 0);
    threads("two threads");
    print_comparisons();
    return 0;
}
