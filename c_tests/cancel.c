/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* No call is a cancellation point: a thread that is cancelled while it waits inside one ends at its
 * own next cancellation point, after the call has returned.
 * runs: asan valgrind */
#include "support/check.h"

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#define LENGTH 64

struct transfer {
    struct guestmem *mem;
    int fd;
    sem_t begun;
    int code;
    bool returned, past_the_point;
};

static void *receive(void *argument)
{
    struct transfer *transfer = argument;
    REQUIRE(sem_post(&transfer->begun) == 0);
    transfer->code = guestmem_read_to_memory(transfer->mem, 0, transfer->fd, LENGTH);
    transfer->returned = true;
    pthread_testcancel();
    transfer->past_the_point = true;
    return NULL;
}

static void cancel_a_waiting_call(struct guestmem *mem, int round)
{
    struct transfer transfer = { .mem = mem, .code = -1 };
    unsigned char sent[LENGTH], received[LENGTH];
    pthread_t thread;
    void *result = NULL;
    int ends[2];

    REQUIRE(pipe(ends) == 0 && sem_init(&transfer.begun, 0, 0) == 0);
    transfer.fd = ends[0];
    memset(sent, round + 1, sizeof sent);
    REQUIRE(pthread_create(&thread, NULL, receive, &transfer) == 0);
    REQUIRE(sem_wait(&transfer.begun) == 0);
    /* half of the data makes sure that the thread is in the call, or about to be */
    REQUIRE(write(ends[1], sent, LENGTH / 2) == LENGTH / 2);
    usleep(20000);
    REQUIRE(pthread_cancel(thread) == 0);
    usleep(20000);
    REQUIRE(write(ends[1], sent + LENGTH / 2, LENGTH / 2) == LENGTH / 2);
    REQUIRE(pthread_join(thread, &result) == 0);

    CHECK(result == PTHREAD_CANCELED);
    CHECK(!transfer.past_the_point);
    CHECK(transfer.returned);
    CHECK_OK(transfer.code);
    CHECK_OK(guestmem_read_exact(mem, 0, received, LENGTH));
    CHECK(memcmp(sent, received, LENGTH) == 0);
    REQUIRE(close(ends[0]) == 0 && close(ends[1]) == 0 && sem_destroy(&transfer.begun) == 0);
}

int main(void)
{
    const struct guestmem_range range = { 0, 0x10000 };
    struct guestmem *mem = check_new(&range, 1);
    for (int round = 0; round < 5; round++) cancel_a_waiting_call(mem, round);
    guestmem_unref(mem);
    return check_result();
}
