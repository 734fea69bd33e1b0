/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Operations that move what memory holds: to and from descriptors, to and from callbacks. */
#ifndef OPERATIONS_MOVING_H
#define OPERATIONS_MOVING_H

#include "operations_ground.h"

/* ---- transfers: from the last page of one region to the first of the next and back ---- */

#define MOVED_ADDR (2 * SIZE + PAGE)
enum { INTO = 1, AT = 2, APPENDED = 4 };

static void before_transfer(void)
{
    uint8_t bytes[2 * 4096];
    before_all();
    memset(bytes, 0xab, sizeof bytes);
    if ((current->argument & (INTO | AT)) == INTO)
        REQUIRE(write(ground.pipe[1], bytes, sizeof bytes) == (ssize_t)sizeof bytes);
    REQUIRE(pwrite(ground.file, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
}

static int call_transfer(void)
{
    const uint64_t how = current->argument, count = 2 * PAGE;
    const int file = how & APPENDED ? ground.appended : ground.file;
    if (how & AT)
        return how & INTO ? guestmem_read_to_memory_at(ground.mem, MOVED_ADDR, file, 0, count)
                          : guestmem_write_from_memory_at(ground.mem, MOVED_ADDR, file, 0, count);
    return how & INTO ? guestmem_read_to_memory(ground.mem, MOVED_ADDR, ground.pipe[0], count)
                      : guestmem_write_from_memory(ground.mem, MOVED_ADDR, ground.pipe[1], count);
}

/* What the other side holds: all that was moved, or all of what it held before. */
static void check_written(int code)
{
    const bool done = code == GUESTMEM_OK;
    uint8_t bytes[2 * 4096];
    ssize_t got = current->argument & AT ? pread(ground.file, bytes, sizeof bytes, 0) : 0;
    if (!(current->argument & AT) && done) got = read(ground.pipe[0], bytes, sizeof bytes);
    for (ssize_t i = 0; i < got; i++)
        if (bytes[i] != (done ? byte_of(MOVED_ADDR + (uint64_t)i) : 0xab)) {
            check_fail(__FILE__, __LINE__, "a byte of the file is another's");
            break;
        }
    if (done) CHECK_EQ(got, sizeof bytes);
}

static void after_transfer(int code)
{
    if (code != GUESTMEM_OK) CHECK_EQ(ground.completed, 0);
    if (!(current->argument & INTO)) {
        check_written(code);
        check_content(UINT64_MAX);
    } else if (code == GUESTMEM_OK) {
        CHECK(page_is(MOVED_ADDR, 0xab) && page_is(MOVED_ADDR + PAGE, 0xab));
    } else {
        uint8_t unread[2 * 4096];
        check_content(UINT64_MAX);
        if (!(current->argument & AT))
            CHECK_EQ(read(ground.pipe[0], unread, sizeof unread), sizeof unread);
    }
    release();
}

/* ---- snapshots to and from a callback ---- */

/* Without the read-only region, which is not to be restored. */
static void before_stream(void)
{
    REQUIRE(make(0, READ_ONLY, &ground.mem) == GUESTMEM_OK);
    fill(ground.mem);
    ground.stream.at = ground.stream.len = 0;
}

static int call_snapshot_write(void)
{
    return guestmem_snapshot_write(ground.mem, stream_write, &ground.stream, NULL, 0, &ground.text);
}

static int call_restore_read(void)
{
    return guestmem_restore_read(ground.mem, ground.text, strlen(ground.text), stream_read,
                                 &ground.stream, NULL, 0);
}

static void after_snapshot_write(int code)
{
    CHECK((code == GUESTMEM_OK) == (ground.text != NULL));
    check_content(UINT64_MAX);
    if (code == GUESTMEM_OK) {
        ground.stream.at = 0;
        CHECK_OK(guestmem_dma_fill(ground.mem, 0, 0xee, READ_ONLY * SIZE));
        CHECK_OK(call_restore_read());
        check_content(UINT64_MAX);
    }
    guestmem_free(ground.text);
    ground.text = NULL;
    release();
}

static void before_restore_read(void)
{
    before_stream();
    REQUIRE(call_snapshot_write() == GUESTMEM_OK);
    ground.stream.at = 0;
    CHECK_OK(guestmem_dma_fill(ground.mem, 0, 0xee, READ_ONLY * SIZE));
}

static bool all_is(uint8_t byte)
{
    for (uint64_t at = 0; at < READ_ONLY * SIZE; at += PAGE)
        if (!page_is(at, byte)) return false;
    return true;
}

/* All of it, or nothing, or tainted; and the whole once more makes up for that. */
static void after_restore_read(int code)
{
    if (code == GUESTMEM_OK) check_content(UINT64_MAX);
    else CHECK(all_is(0xee) || is_tainted(ground.mem));
    ground.stream.at = 0;
    CHECK_OK(call_restore_read());
    check_content(UINT64_MAX);
    CHECK(!is_tainted(ground.mem));
    guestmem_free(ground.text);
    ground.text = NULL;
    release();
}

#endif
