/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "snapshots.h"

const struct guestmem_range data_ranges[2] = {{0x100000, 0x400000}, {0x800000, 0x10000}};

/* Nearly the same regions. */
static const struct guestmem_range other_regions[OTHER_REGIONS][3] = {
    {{0x100000, 0x400000}, {0x800000, 0x11000}},
    {{0x100000, 0x400000}, {0x801000, 0x10000}},
    {{0xff000, 0x401000}, {0x800000, 0x10000}},
    {{0x101000, 0x400000}, {0x800000, 0x10000}},
    {{0x100000, 0x400000}, {0, 0}},
    {{0x800000, 0x10000}, {0, 0}},
    {{0x100000, 0x400000}, {0x800000, 0x10000}, {0x900000, 0x1000}},
    {{0x0, 0x1000}, {0x100000, 0x400000}, {0x800000, 0x10000}},
    {{0x100000, 0x200000}, {0x300000, 0x200000}, {0x800000, 0x10000}},
    {{0, 0}}, /* none */
};

uint32_t crc32c(const uint8_t *bytes, size_t len)
{
    static uint32_t table[256];
    uint32_t crc = 0xffffffff, i, bit;
    if (table[1] == 0)
        for (i = 0; i < 256; i++) {
            table[i] = i;
            for (bit = 0; bit < 8; bit++)
                table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78 : 0);
        }
    while (len-- > 0) crc = crc >> 8 ^ table[(crc ^ *bytes++) & 0xff];
    return ~crc;
}

bool zeros(const uint8_t *bytes, uint64_t len)
{
    uint64_t i;
    for (i = 0; i < len; i++)
        if (bytes[i] != 0) return false;
    return true;
}

/* One data range: its checksums are those of the memory, and its bytes those of the file (data may
 * be NULL). */
static void check_range(const char *text, const char *path, const uint8_t *memory, uint64_t len,
                        const uint8_t *data, bool checksums)
{
    const uint64_t chunk = json_number(text, "chunk_size");
    char crc[160];
    uint64_t i, count = chunk == 0 ? 0 : (len + chunk - 1) / chunk;
    if (data != NULL) CHECK(memcmp(data, memory, (size_t)len) == 0);
    (void)snprintf(crc, sizeof crc, "%s.crc", path);
    if (!checksums) {
        CHECK(json_at(text, crc) == NULL);
        return;
    }
    CHECK_EQ(json_count(text, crc), count);
    for (i = 0; i < count; i++) {
        uint64_t part = len - i * chunk < chunk ? len - i * chunk : chunk;
        (void)snprintf(crc, sizeof crc, "%s.crc[%u]", path, (unsigned)i);
        CHECK_EQ(json_number(text, crc), crc32c(memory + i * chunk, (size_t)part));
    }
}

size_t check_layout(const struct guestmem *mem, const char *text, bool sparse,
                    const uint8_t *data, bool checksums)
{
    const size_t regions = guestmem_num_regions(mem);
    uint64_t data_size = 0, image_size = 0;
    size_t ranges = 0, region, i;
    char path[128];
    if (text == NULL || !json_valid(text)) {
        check_fail(__FILE__, __LINE__, "metadata is valid JSON");
        return 0;
    }
    CHECK(json_is(text, "format", "\"guestmem\"") && json_is(text, "version", "1"));
    CHECK(json_is(text, "layout", sparse ? "\"sparse\"" : "\"packed\""));
    CHECK(json_is(text, "compressed", "false"));
    CHECK(json_is(text, "page_size", "4096"));
    CHECK(json_is(text, "checksum", checksums ? "\"crc32c\"" : "\"none\""));
    if (checksums) CHECK(json_is(text, "chunk_size", "1048576"));
    CHECK_EQ(json_count(text, "regions"), regions);
    for (region = 0; region < regions; region++) {
        struct guestmem_region_info info = info_of(mem, region);
        const uint8_t *memory = info.host_addr;
        uint64_t done = 0;
        size_t count;
        (void)snprintf(path, sizeof path, "regions[%zu].guest_base", region);
        CHECK_EQ(json_number(text, path), info.guest_addr);
        (void)snprintf(path, sizeof path, "regions[%zu].size", region);
        CHECK_EQ(json_number(text, path), info.size);
        (void)snprintf(path, sizeof path, "regions[%zu].file_offset", region);
        CHECK_EQ(json_number(text, path), sparse ? image_size : data_size);
        (void)snprintf(path, sizeof path, "regions[%zu].data_ranges", region);
        count = json_count(text, path);
        for (i = 0; i < count; i++) {
            uint64_t start, end;
            (void)snprintf(path, sizeof path, "regions[%zu].data_ranges[%zu].start", region, i);
            start = json_number(text, path);
            (void)snprintf(path, sizeof path, "regions[%zu].data_ranges[%zu].end", region, i);
            end = json_number(text, path);
            if (start < done || start >= end || end > info.size || start % PAGE != 0 ||
                end % PAGE != 0) {
                check_fail(__FILE__, __LINE__,
                           "ranges are page-aligned, not empty, ascending, disjoint, inside");
                return 0;
            }
            CHECK(zeros(memory + done, start - done));
            *strrchr(path, '.') = 0;
            check_range(text, path, memory + start, end - start,
                        data == NULL ? NULL : data + (sparse ? image_size + start : data_size),
                        checksums);
            data_size += end - start;
            done = end;
            ranges++;
        }
        CHECK(zeros(memory + done, info.size - done));
        image_size += info.size;
    }
    CHECK_EQ(json_number(text, "data_size"), data_size);
    return ranges;
}

size_t check_metadata(const struct guestmem *mem, const char *text, const uint8_t *data,
                      bool checksums)
{
    return check_layout(mem, text, false, data, checksums);
}

void stream_new(struct stream *stream, size_t cap)
{
    memset(stream, 0, sizeof *stream);
    stream->bytes = malloc(cap + 1);
    REQUIRE(stream->bytes != NULL);
    stream->cap = cap;
    stream->answer_at = SIZE_MAX;
}

static size_t stream_take(struct stream *stream, size_t len)
{
    stream->calls++;
    stream->asked += len;
    if (stream->step != 0 && len > stream->step) len = stream->step;
    if (stream->at < stream->answer_at && len > stream->answer_at - stream->at)
        len = stream->answer_at - stream->at;
    return len;
}

int64_t stream_write(void *user, const void *buf, size_t len)
{
    struct stream *stream = user;
    if (stream->at >= stream->answer_at) return stream->calls++, stream->answer;
    len = stream_take(stream, len);
    if (len > stream->cap - stream->at) return -ENOSPC;
    memcpy(stream->bytes + stream->at, buf, len);
    stream->at += len;
    stream->len = stream->at;
    return (int64_t)len;
}

int64_t stream_read(void *user, void *buf, size_t len)
{
    struct stream *stream = user;
    if (stream->at >= stream->answer_at) return stream->calls++, stream->answer;
    len = stream_take(stream, len);
    if (len > stream->len - stream->at) len = stream->len - stream->at;
    memcpy(buf, stream->bytes + stream->at, len);
    stream->at += len;
    return (int64_t)len;
}

struct image image_of(const struct guestmem *mem, const struct guestmem_snapshot_options *options)
{
    struct image image = {NULL, new_memfd(0), 0};
    CHECK_OK(guestmem_snapshot(mem, image.fd, options, options == NULL ? 0 : sizeof *options,
                               &image.metadata));
    REQUIRE(image.metadata != NULL);
    image.size = (uint64_t)lseek(image.fd, 0, SEEK_END);
    REQUIRE(lseek(image.fd, 0, SEEK_SET) == 0);
    return image;
}

void image_free(struct image *image)
{
    guestmem_free(image->metadata);
    REQUIRE(close(image->fd) == 0);
}

int image_restore(const struct guestmem *mem, const struct image *image)
{
    REQUIRE(lseek(image->fd, 0, SEEK_SET) == 0);
    return guestmem_restore(mem, image->metadata, strlen(image->metadata), image->fd, NULL, 0);
}

struct guestmem *memory_with_data(uint64_t seed)
{
    struct guestmem *mem = check_new(data_ranges, 2);
    fill_random((uint8_t *)info_of(mem, 0).host_addr + PAGE, 0x280000, seed);
    fill_random((uint8_t *)info_of(mem, 1).host_addr + 3 * PAGE, (size_t)PAGE, seed + 1);
    return mem;
}

struct guestmem *memory_in_pieces(uint64_t seed)
{
    static const struct guestmem_range ranges[2] = {{0, 0x2000000}, {0x2000000, 0x800000}};
    static const uint64_t lengths[] = {0x10000, 0xff000,  0x100000, 0x101000,
                                       0x20000, 0x801000, 0x8ff000, 0x900000};
    struct guestmem *mem = check_new(ranges, 2);
    const struct guestmem_region_info first = info_of(mem, 0), second = info_of(mem, 1);
    uint64_t at = PAGE;
    size_t i;
    for (i = 0; i < 256; i++, at += 2 * PAGE)
        fill_random((uint8_t *)first.host_addr + at, PAGE, seed + i);
    for (i = 0; i < sizeof lengths / sizeof *lengths; at += lengths[i++] + PAGE)
        fill_random((uint8_t *)first.host_addr + at, (size_t)lengths[i], seed + 1000 + i);
    REQUIRE(at < first.size - 3 * PAGE);
    fill_random((uint8_t *)first.host_addr + first.size - 3 * PAGE, 3 * PAGE, seed);
    fill_random((uint8_t *)second.host_addr, 2 * PAGE, seed);
    return mem;
}

struct guestmem *memory_of_other_regions(size_t index)
{
    const struct guestmem_range *ranges = other_regions[index];
    struct guestmem *mem;
    size_t count;
    for (count = 0; count < 3 && ranges[count].size != 0; count++) continue;
    mem = check_new(ranges, count);
    if (count > 0) CHECK_OK(guestmem_dma_fill(mem, ranges[0].guest_addr, 0x42, ranges[0].size));
    return mem;
}

bool same_memory(const struct guestmem *a, const struct guestmem *b)
{
    size_t i;
    if (guestmem_num_regions(a) != guestmem_num_regions(b)) return false;
    for (i = 0; i < guestmem_num_regions(a); i++) {
        struct guestmem_region_info x = info_of(a, i), y = info_of(b, i);
        if (x.guest_addr != y.guest_addr || x.size != y.size) return false;
        if (memcmp(x.host_addr, y.host_addr, (size_t)x.size) != 0) return false;
    }
    return true;
}

void swap_bytes(uint8_t *a, uint8_t *b, size_t len)
{
    size_t i;
    for (i = 0; i < len; i++) {
        uint8_t byte = a[i];
        a[i] = b[i], b[i] = byte;
    }
}

int restore_bytes(const struct guestmem *mem, const char *metadata, const uint8_t *bytes,
                  size_t len)
{
    struct stream stream;
    memset(&stream, 0, sizeof stream);
    stream.bytes = (uint8_t *)(uintptr_t)bytes, stream.len = len, stream.answer_at = SIZE_MAX;
    return guestmem_restore_read(mem, metadata, strlen(metadata), stream_read, &stream, NULL, 0);
}

bool is_tainted(const struct guestmem *mem)
{
    struct stream stream;
    char *metadata = (char *)&stream, *of_callback = (char *)&stream;
    int fd = new_memfd(0), code = guestmem_snapshot(mem, fd, NULL, 0, &metadata);
    CHECK(code == GUESTMEM_OK || code == GUESTMEM_E_TAINTED);
    stream_new(&stream, 0x500000);
    CHECK_CODE(guestmem_snapshot_write(mem, stream_write, &stream, NULL, 0, &of_callback), code);
    if (code == GUESTMEM_E_TAINTED)
        CHECK(metadata == NULL && of_callback == NULL && stream.calls == 0 &&
              lseek(fd, 0, SEEK_END) == 0);
    guestmem_free(metadata);
    guestmem_free(of_callback);
    free(stream.bytes);
    REQUIRE(close(fd) == 0);
    return code == GUESTMEM_E_TAINTED;
}

void check_untouched(const struct guestmem *mem, const uint8_t *before)
{
    CHECK(memory_is(mem, before));
    CHECK(!is_tainted(mem));
}

void check_honest(const struct guestmem *mem, const uint8_t *before)
{
    CHECK(is_tainted(mem) || memory_is(mem, before));
}

void dirty_everything(const struct guestmem *mem)
{
    size_t i;
    for (i = 0; i < guestmem_num_regions(mem); i++)
        CHECK_OK(guestmem_dma_fill(mem, info_of(mem, i).guest_addr, 0xdd, info_of(mem, i).size));
}
