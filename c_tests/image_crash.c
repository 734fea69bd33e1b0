/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A process that saves over an image is killed at any moment: the path holds the old image or the
 * new one, whole. What a kill may leave behind is a temporary file, and no more.
 * runs: asan valgrind */
#include "support/images.h"
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#define PATH "image"

/* Two states of one memory that differ in what holds data, and in every byte that both hold. */
static const struct guestmem_range range = {0x100000, 0x400000};
static uint8_t *states[2];

static void make_states(void)
{
    size_t i, page;
    for (i = 0; i < 2; i++) {
        states[i] = calloc(1, (size_t)range.size);
        REQUIRE(states[i] != NULL);
        fill_random(states[i] + 0x1000 + i * 0x8000, 0x180000, 50 + i);
        for (page = 600 + i; page < 1000; page += 5 + i)
            fill_random(states[i] + page * PAGE, (size_t)PAGE, 1000 + page + i);
    }
}

/* Only what holds data is touched. */
static struct guestmem *memory_in(size_t state)
{
    static const uint8_t nothing[4096];
    struct guestmem *mem = check_new(&range, 1);
    uint8_t *host = info_of(mem, 0).host_addr;
    uint64_t page;
    for (page = 0; page < range.size; page += PAGE)
        if (memcmp(states[state] + page, nothing, (size_t)PAGE) != 0)
            memcpy(host + page, states[state] + page, (size_t)PAGE);
    return mem;
}

/* Until it is killed, beginning with this state. A byte in the pipe says that it begins. */
static void save_for_ever(size_t state, int said)
{
    struct guestmem *memories[2];
    memories[0] = memory_in(0), memories[1] = memory_in(1);
    if (write(said, "x", 1) != 1) _exit(2);
    for (;; state ^= 1)
        if (guestmem_save(memories[state], PATH, NULL, 0) != GUESTMEM_OK) _exit(1);
}

/* Which state the image is in, having checked that it is whole. */
static size_t state_of_image(void)
{
    struct guestmem *mem = load_with(PATH, GUESTMEM_LOAD_MAP | GUESTMEM_LOAD_VERIFY);
    size_t state = memory_is(mem, states[0]) ? 0 : memory_is(mem, states[1]) ? 1 : 2;
    guestmem_unref(mem);
    if (state == 2) check_fail(__FILE__, __LINE__, "the image is the old one or the new one");
    return state;
}

/* Removes what lies beside the image; how much that was. */
static unsigned clean(void)
{
    DIR *dir = opendir(".");
    struct dirent *entry;
    unsigned count = 0;
    REQUIRE(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strcmp(entry->d_name, PATH) == 0)
            continue;
        REQUIRE(remove(entry->d_name) == 0);
        count++;
    }
    REQUIRE(closedir(dir) == 0);
    return count;
}

static uint64_t nanoseconds(void)
{
    struct timespec now;
    REQUIRE(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void save_and_kill(size_t state, uint64_t delay)
{
    const struct timespec wait = {(time_t)(delay / 1000000000), (long)(delay % 1000000000)};
    int ends[2], status;
    char said;
    pid_t child;
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) save_for_ever(state, ends[1]);
    REQUIRE(close(ends[1]) == 0 && read(ends[0], &said, 1) == 1 && close(ends[0]) == 0);
    REQUIRE(nanosleep(&wait, NULL) == 0 && kill(child, SIGKILL) == 0);
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void kill_many(const char *parent, unsigned rounds, uint64_t *random)
{
    struct guestmem *mem = memory_in(1);
    unsigned seen[3] = {0, 0, 0}, left = 0, round;
    uint64_t one_save;
    size_t state = 1;
    enter_folder(parent);
    one_save = nanoseconds();
    CHECK_OK(guestmem_save(mem, PATH, NULL, 0));
    one_save = nanoseconds() - one_save;
    guestmem_unref(mem);
    for (round = 0; round < rounds; round++) {
        save_and_kill(!state, random_number(random) % (one_save + one_save / 2 + 1));
        state = state_of_image();
        seen[state]++;
        left += clean();
    }
    printf("%s: a save takes %" PRIu64 " us; %u rounds, %u found one state and %u the other, "
           "%u temporary files left by kills\n",
           parent, one_save / 1000, rounds, seen[0], seen[1], left);
    CHECK(left <= rounds);
    /* nothing that a kill leaves behind stands in the way */
    mem = memory_in(0);
    CHECK_OK(guestmem_save(mem, PATH, NULL, 0));
    CHECK(state_of_image() == 0 && entries_in(".") == 1);
    guestmem_unref(mem);
    leave_folder();
}

int main(void)
{
    const char *disk = getenv("TMPDIR");
    const unsigned rounds = fast() ? 30 : 300;
    uint64_t random = (uint64_t)getpid() * 2 + 1;
    size_t i;
    printf("random numbers from %" PRIu64 "\n", random);
    make_states();
    kill_many(fast_parent(UINT64_C(1) << 26), rounds / 2, &random);
    kill_many(disk != NULL ? disk : "/tmp", rounds / 2, &random);
    for (i = 0; i < 2; i++) free(states[i]);
    return check_result();
}
