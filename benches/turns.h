/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Contenders that take turns: in each turn every one of them is measured once, in an order that is
 * drawn anew, each for about the same time. */
#ifndef BENCH_TURNS_H
#define BENCH_TURNS_H

#include "options.h"
#include "random.h"

/* One measured loop: operations first to first + count of the work that there is. */
struct contender {
    const char *name;
    void (*run)(const void *work, size_t first, size_t count);
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { MAX_CONTENDERS = 12 };

struct race {
    const struct contender *contenders;
    size_t count;
    const void *work;
    size_t total; /* operations of the work */
    size_t lot;   /* they are done by so many at a time; divides total */
    struct samples samples[MAX_CONTENDERS]; /* of one operation */
};

static inline size_t contender_named(const struct race *race, const char *name)
{
    size_t i;
    for (i = 0; i < race->count; i++)
        if (strcmp(race->contenders[i].name, name) == 0) return i;
    fail(__FILE__, __LINE__, name, "no such contender");
}

/* How much of the work a sample does, and how often. */
struct portion {
    size_t operations, times;
};

/* Long beside reading the clock, short beside what the machine does in between. */
static const double sample_seconds = 100e-6;

static inline double run_timed(const struct race *race, size_t who, size_t first, size_t count)
{
    const double began = now();
    race->contenders[who].run(race->work, first, count);
    return now() - began;
}

static inline struct portion portion_of(const struct race *race, size_t who)
{
    size_t count = race->lot;
    double seconds, wanted_count;
    /* The first run pays for what it is the first to use. */
    (void)run_timed(race, who, 0, count);
    while ((seconds = run_timed(race, who, 0, count)) < sample_seconds / 4 && count < race->total)
        count = 2 * count < race->total ? 2 * count : race->total;
    wanted_count = (double)count * sample_seconds / seconds;
    if (wanted_count >= (double)race->total)
        return (struct portion){race->total, (size_t)(wanted_count / (double)race->total)};
    count = (size_t)wanted_count / race->lot * race->lot;
    return (struct portion){count > 0 ? count : race->lot, 1};
}

/* Seconds of one operation. Where not all of the work is done it is another part each time. */
static inline double sample(const struct race *race, size_t who, struct portion portion,
                            uint64_t *random)
{
    const size_t starts = (race->total - portion.operations) / race->lot + 1;
    const size_t first = (size_t)(random_number(random) % starts) * race->lot;
    const size_t some = (portion.operations / 8 / race->lot + 1) * race->lot;
    size_t time;
    double began;
    /* What the one before left in caches and predictors is not to be paid for. */
    race->contenders[who].run(race->work, first, some);
    began = now();
    for (time = 0; time < portion.times; time++)
        race->contenders[who].run(race->work, first, portion.operations);
    return (now() - began) / (double)portion.operations / (double)portion.times;
}

static inline void shuffle(size_t *order, size_t count, uint64_t *random)
{
    size_t i;
    for (i = count; i > 1; i--) {
        const size_t other = (size_t)(random_number(random) % i), kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}

static inline void take_turns(struct race *race)
{
    struct portion portions[MAX_CONTENDERS];
    size_t order[MAX_CONTENDERS], turn, i;
    uint64_t random = 1;
    MUST(race->count <= MAX_CONTENDERS && race->total % race->lot == 0);
    for (i = 0; i < race->count; i++) {
        portions[i] = portion_of(race, i);
        race->samples[i].count = 0;
        order[i] = i;
    }
    for (turn = 0; turn < options.turns; turn++) {
        shuffle(order, race->count, &random);
        for (i = 0; i < race->count; i++) {
            struct samples *samples = &race->samples[order[i]];
            samples->seconds[samples->count++] =
                sample(race, order[i], portions[order[i]], &random);
        }
    }
}

#endif
