/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* An image that somebody cuts, grows and rewrites while it is read. Any answer will do, but for
 * one: success with bytes that are in no image. A mapped load is not asked: the file must stay as
 * it is as long as that lives.
 * runs: asan valgrind */
#include "support/images.h"
#include <pthread.h>

#define PATH "image"
enum { READERS = 3 };

static struct bytes images[2];  /* the two that are written by turns */
static uint8_t *contents[2];    /* memory as they have it */
static char *metadata[2];
static int stop;
static unsigned wanted; /* of successes and of failures, for each way */

/* ---- who changes it ---- */

static void write_from(int fd, const struct bytes *image, size_t at, size_t len)
{
    if (at >= image->len) return;
    if (len > image->len - at) len = image->len - at;
    REQUIRE(pwrite(fd, image->at + at, len, (off_t)at) == (ssize_t)len);
}

static void *change(void *unused)
{
    uint64_t state = 77;
    int fd = open(PATH, O_WRONLY | O_CLOEXEC), turn = 0;
    (void)unused;
    REQUIRE(fd >= 0);
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        const struct bytes *image = &images[turn & 1];
        uint64_t random = random_number(&state);
        size_t somewhere = (size_t)(random >> 8) % image->len, at;
        switch (random % 5) {
        case 0: /* nothing there for a moment */
            REQUIRE(ftruncate(fd, 0) == 0);
            break;
        case 1: /* cut, and grown again with zeros */
            REQUIRE(ftruncate(fd, (off_t)somewhere) == 0);
            REQUIRE(ftruncate(fd, (off_t)image->len) == 0);
            break;
        case 2: /* the other image, from somewhere on: half of each */
            write_from(fd, image, somewhere, image->len);
            break;
        case 3: /* the tail first, so that the metadata is of other data */
            REQUIRE(ftruncate(fd, (off_t)image->len) == 0);
            write_from(fd, image, image->len - image->len / 16, image->len);
            break;
        default: /* one page of data */
            write_from(fd, image, somewhere & ~(size_t)4095, 4096);
        }
        /* and whole again, piece by piece */
        REQUIRE(ftruncate(fd, (off_t)image->len) == 0);
        for (at = 0; at < image->len; at += 0x40000) write_from(fd, image, at, 0x40000);
        if (random % 3 != 0) (void)usleep((useconds_t)(random >> 32) % 12000);
        turn++;
    }
    REQUIRE(close(fd) == 0);
    return NULL;
}

/* ---- who reads it ---- */

struct tally {
    unsigned good, bad;
};

static void count(struct tally *tally, int code, bool right)
{
    if (code == GUESTMEM_OK) {
        tally->good++;
        if (!right) check_fail(__FILE__, __LINE__, "success, and bytes that are in no image");
    } else {
        tally->bad++;
        (void)usleep(300); /* a failure is quick: give the file time to be whole again */
    }
}

static bool enough(const struct tally *tally, unsigned rounds)
{
    return (tally->good >= wanted && tally->bad >= wanted) || rounds >= 100 * wanted;
}

static void *read_metadata(void *user)
{
    struct tally *tally = user;
    unsigned rounds;
    for (rounds = 0; !enough(tally, rounds); rounds++) {
        char *text = (char *)user;
        int code = guestmem_image_metadata(PATH, &text);
        CHECK((code == GUESTMEM_OK) == (text != NULL));
        count(tally, code,
              text == NULL || strcmp(text, metadata[0]) == 0 || strcmp(text, metadata[1]) == 0);
        guestmem_free(text);
    }
    return NULL;
}

static void *load(void *user)
{
    struct tally *tally = user;
    unsigned rounds;
    for (rounds = 0; !enough(tally, rounds); rounds++) {
        struct guestmem *mem = user;
        int code = guestmem_load(PATH, NULL, 0, &mem);
        CHECK((code == GUESTMEM_OK) == (mem != NULL));
        count(tally, code,
              mem == NULL || memory_is(mem, contents[0]) || memory_is(mem, contents[1]));
        guestmem_unref(mem);
    }
    return NULL;
}

static bool tainted(const struct guestmem *mem)
{
    char *text = NULL;
    int fd = new_memfd(0), code = guestmem_snapshot(mem, fd, NULL, 0, &text);
    CHECK(code == GUESTMEM_OK || code == GUESTMEM_E_TAINTED);
    guestmem_free(text);
    REQUIRE(close(fd) == 0);
    return code == GUESTMEM_E_TAINTED;
}

/* A failure leaves memory as it was, or says so. */
static void *restore(void *user)
{
    struct tally *tally = user;
    struct guestmem *mem = check_new(data_ranges, 2);
    uint8_t *before = copy_of(mem);
    bool was_tainted = false;
    unsigned rounds, taints = 0;
    for (rounds = 0; !enough(tally, rounds); rounds++) {
        int code = guestmem_restore_file(mem, PATH, NULL, 0);
        if (code == GUESTMEM_OK) {
            count(tally, code, memory_is(mem, contents[0]) || memory_is(mem, contents[1]));
            dirty_everything(mem);
            free(before);
            before = copy_of(mem);
            was_tainted = false;
        } else {
            const bool same = memory_is(mem, before), is = tainted(mem);
            count(tally, code, true);
            CHECK(is || same);
            CHECK(is || !was_tainted);
            if (is && !was_tainted) taints++;
            was_tainted = is;
            free(before);
            before = copy_of(mem);
        }
    }
    printf("tainted by %u of %u\n", taints, rounds);
    free(before);
    guestmem_unref(mem);
    return NULL;
}

int main(void)
{
    static void *(*const readers[READERS])(void *) = {read_metadata, load, restore};
    static const char *const names[READERS] = {"image_metadata", "load", "restore_file"};
    struct tally tallies[READERS];
    pthread_t writer, threads[READERS];
    size_t i;
    enter_folder(fast_parent(UINT64_C(1) << 26));
    wanted = fast() ? 3 : 60;
    for (i = 0; i < 2; i++) {
        struct guestmem *mem = memory_with_data(20 + 10 * i);
        /* other holes, too, and metadata of another length */
        if (i == 1) CHECK_OK(guestmem_dma_fill(mem, 0x100000 + 0x3f0000, 0x77, 0x3000));
        if (i == 1) CHECK_OK(guestmem_remove_range(mem, 0x100000 + 0x8000, 0x5000));
        contents[i] = copy_of(mem);
        CHECK_OK(guestmem_save(mem, PATH, NULL, 0));
        CHECK_OK(guestmem_image_metadata(PATH, &metadata[i]));
        REQUIRE(metadata[i] != NULL);
        images[i] = bytes_of(PATH);
        guestmem_unref(mem);
    }
    memset(tallies, 0, sizeof tallies);
    REQUIRE(pthread_create(&writer, NULL, change, NULL) == 0);
    for (i = 0; i < READERS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, readers[i], &tallies[i]) == 0);
    for (i = 0; i < READERS; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    REQUIRE(pthread_join(writer, NULL) == 0);
    for (i = 0; i < READERS; i++) {
        printf("%s: %u good, %u bad\n", names[i], tallies[i].good, tallies[i].bad);
        CHECK(tallies[i].good + tallies[i].bad > 0);
    }
    for (i = 0; i < 2; i++) {
        free(contents[i]), free(images[i].at);
        guestmem_free(metadata[i]);
    }
    return check_result();
}
