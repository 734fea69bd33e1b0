/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A second thread that does the same as the first on another CPU, as long as it is asked to. */
#ifndef BENCH_THREADS_H
#define BENCH_THREADS_H

#include "../cpus.h"
#include "../turns.h"
#include <pthread.h>
#include <semaphore.h>

static struct {
    pthread_t thread;
    sem_t begin, running, ended;
    bool stop; /* the loop that is running; when none is, the thread */
    const struct race *race;
    size_t who, operations;
    int cpu;
} companion;

static inline bool told_to_stop(void) { return __atomic_load_n(&companion.stop, __ATOMIC_ACQUIRE); }

static void *keep_company(void *unused)
{
    (void)unused;
    pin_to_cpu(companion.cpu);
    for (;;) {
        MUST(sem_wait(&companion.begin) == 0);
        if (told_to_stop()) return NULL;
        MUST(sem_post(&companion.running) == 0);
        while (!told_to_stop())
            companion.race->contenders[companion.who].run(companion.race->work, 0,
                                                          companion.operations);
        MUST(sem_post(&companion.ended) == 0);
    }
}

/* False where there is only one CPU. */
static inline bool start_companion(void)
{
    companion.cpu = nth_cpu(1);
    if (companion.cpu < 0) return false;
    MUST(sem_init(&companion.begin, 0, 0) == 0 && sem_init(&companion.running, 0, 0) == 0 &&
         sem_init(&companion.ended, 0, 0) == 0);
    MUST(pthread_create(&companion.thread, NULL, keep_company, NULL) == 0);
    return true;
}

static inline void end_companion(void)
{
    __atomic_store_n(&companion.stop, true, __ATOMIC_RELEASE);
    MUST(sem_post(&companion.begin) == 0 && pthread_join(companion.thread, NULL) == 0);
}

/* One operation alone, and beside the companion. */
struct pair_samples {
    struct samples alone, beside;
};

/* How many times as long the companion made it take. */
static inline struct samples slow_down(const struct pair_samples *samples)
{
    struct samples times = {.count = samples->alone.count};
    size_t i;
    for (i = 0; i < times.count; i++)
        times.seconds[i] = samples->beside.seconds[i] / samples->alone.seconds[i];
    return times;
}

static inline double sample_beside(const struct race *race, size_t who, struct portion portion,
                                   uint64_t *random)
{
    double seconds;
    companion.race = race;
    companion.who = who;
    companion.operations = portion.operations;
    __atomic_store_n(&companion.stop, false, __ATOMIC_RELEASE);
    MUST(sem_post(&companion.begin) == 0 && sem_wait(&companion.running) == 0);
    seconds = sample(race, who, portion, random);
    __atomic_store_n(&companion.stop, true, __ATOMIC_RELEASE);
    MUST(sem_wait(&companion.ended) == 0);
    return seconds;
}

static inline void take_turns_in_pairs(const struct race *race, struct pair_samples *samples)
{
    struct portion portions[MAX_CONTENDERS];
    size_t turn, who;
    uint64_t random = 1;
    for (who = 0; who < race->count; who++) {
        portions[who] = portion_of(race, who);
        samples[who].alone.count = samples[who].beside.count = 0;
    }
    for (turn = 0; turn < options.turns; turn++)
        for (who = 0; who < race->count; who++) {
            struct samples *alone = &samples[who].alone, *beside = &samples[who].beside;
            alone->seconds[alone->count++] = sample(race, who, portions[who], &random);
            beside->seconds[beside->count++] = sample_beside(race, who, portions[who], &random);
        }
}

#endif
