#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A reader of snapshots and image files, written from docs/image-format.md alone: where it and the
library differ, one of them or the document is wrong.

    image_reader.py check IMAGE...                     one line for each image: ok, or what is wrong
    image_reader.py dump [--pages] IMAGE...            all memory, to standard output
    image_reader.py packed [--pages] {METADATA DATA}.. the same of packed snapshots
    image_reader.py sparse [--pages] {METADATA DATA}.. the same of sparse snapshots

Nothing of an image is dumped before all of it was checked. With --pages, instead of the bytes: a
line for each page that is not all zeros, with its guest address and the CRC-32C of its bytes.

Exit codes: 0 all is well, 1 an image is refused or not understood, 2 wrong usage or an error of the
operating system.
"""

import errno
import json
import os
import struct
import sys

PAGE = 4096
MIB = 1 << 20
MAX_METADATA = 64 * MIB
MAX_DEPTH = 128
TRAILER = struct.Struct("<8sIIQQIIII")


class Refused(Exception):
    """Damaged, inconsistent, or not this format at all."""

    verdict = "refused"


class NotUnderstood(Refused):
    """Another format or version, as far as can be seen a good one."""

    verdict = "not understood"


def need(condition, what):
    if not condition:
        raise Refused(what)


# ---- section 4: checksums ----


def _crc_tables():
    """The register after one byte, and after two: the latter halves the rounds."""
    one = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        one.append(value)
    two = [one[(one[i & 255] ^ i >> 8) & 255] ^ one[i & 255] >> 8 for i in range(1 << 16)]
    return one, two


CRC_ONE, CRC_TWO = _crc_tables()


def crc32c(data):
    table, crc = CRC_TWO, 0xFFFFFFFF
    even = len(data) & ~1
    for (pair,) in struct.iter_unpack("<H", data[:even]):
        crc = table[(crc ^ pair) & 0xFFFF] ^ crc >> 16
    for byte in data[even:]:
        crc = CRC_ONE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# ---- section 1: metadata ----


class Region:
    def __init__(self, base, size, offset):
        self.base, self.size, self.offset = base, size, offset
        self.ranges = []  # (start, end, checksums or None)


class Metadata:
    def __init__(self):
        self.layout = None
        self.chunk_size = 0
        self.data_size = 0
        self.regions = []

    @property
    def memory_size(self):
        return sum(region.size for region in self.regions)


class Odd:
    """Stands for a number that is not a whole one without sign."""


def _whole(text):
    # A number this long fits nothing; Python would take its time to find out.
    return Odd() if text.startswith("-") or len(text) > 20 else int(text)


def _no_constant(name):
    raise Refused(f"{name} is no JSON")


class Members(dict):
    """An object, and which of its keys stand twice."""

    def __init__(self, pairs):
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.twice = {key for key in keys if keys.count(key) > 1} if len(self) < len(keys) else ()

    def check(self, *known):
        """Refuses what is wrong with the keys of an object whose meaning is known."""
        need(not any(key in self.twice for key in known), "a key stands twice")
        for key in self:
            need(not any("\ud800" <= char <= "\udfff" for char in key), "half a surrogate pair")


def _check_depth(text):
    depth, at, in_string = 0, 0, False
    while at < len(text):
        char = text[at]
        if in_string:
            at += char == "\\"
            in_string = char != '"'
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            need(depth <= MAX_DEPTH, "nested too deep")
        elif char in "]}":
            depth -= 1
        at += 1


def _read_json(raw):
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("the metadata is not UTF-8") from None
    _check_depth(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=Members,
            parse_int=_whole,
            parse_float=lambda _: Odd(),
            parse_constant=_no_constant,
        )
    except ValueError as error:
        raise Refused(f"the metadata is not well-formed: {error}") from None


def _get(members, key, kind):
    need(key in members, f"{key} is missing")
    value = members[key]
    need(type(value) is kind, f"{key} has the wrong type")
    return value


def _number(members, key, bits=64):
    value = _get(members, key, int)
    need(value < 1 << bits, f"{key} does not fit {bits} bits")
    return value


def _understood(condition, what):
    if not condition:
        raise NotUnderstood(what)


def read_metadata(raw):
    outer = _read_json(raw)
    need(type(outer) is Members, "the metadata is no object")
    outer.check("format", "version", "layout", "compressed", "page_size", "data_size", "checksum", "chunk_size",
                "regions")
    _understood(_get(outer, "format", str) == "guestmem", "another format")
    _understood(_number(outer, "version") == 1, "another version")
    _understood(_get(outer, "compressed", bool) is False, "compressed")
    metadata = Metadata()
    metadata.layout = _get(outer, "layout", str)
    _understood(metadata.layout in ("packed", "sparse"), "another layout")
    checksum = _get(outer, "checksum", str)
    _understood(checksum in ("crc32c", "none"), "another kind of checksum")

    page = _number(outer, "page_size")
    need(page & (page - 1) == 0 and PAGE <= page <= MIB, "page_size is no page's size")
    chunk = _number(outer, "chunk_size")
    need(0 < chunk <= MIB and chunk % page == 0, "chunk_size is not what it may be")
    metadata.chunk_size = chunk

    end, data, memory = 0, 0, 0
    for members in _get(outer, "regions", list):
        need(type(members) is Members, "a region is no object")
        members.check("guest_base", "size", "file_offset", "data_ranges")
        numbers = (_number(members, key) for key in ("guest_base", "size", "file_offset"))
        region = Region(*numbers)
        need(region.base % page == 0 and region.size % page == 0, "a region is not page-aligned")
        need(region.size > 0, "a region is empty")
        need(region.base >= end, "regions overlap or do not ascend")
        end = region.base + region.size
        need(end < 1 << 64, "a region ends past 2^64")
        expected = data if metadata.layout == "packed" else memory
        need(region.offset == expected, "file_offset is not the sum that it should be")
        for item in _get(members, "data_ranges", list):
            region.ranges.append(_read_range(item, region, page, chunk, checksum == "crc32c"))
            data += region.ranges[-1][1] - region.ranges[-1][0]
        memory += region.size
        metadata.regions.append(region)
    metadata.data_size = _number(outer, "data_size")
    need(metadata.data_size == data, "data_size is not the sum of the ranges")
    return metadata


def _read_range(members, region, page, chunk, checksummed):
    need(type(members) is Members, "a range is no object")
    members.check("start", "end", "crc")
    start, end = _number(members, "start"), _number(members, "end")
    need(start % page == 0 and end % page == 0, "a range is not page-aligned")
    need(start < end, "a range is empty or inverted")
    need(end <= region.size, "a range ends past its region")
    need(not region.ranges or region.ranges[-1][1] <= start, "ranges overlap or do not ascend")
    if not checksummed:
        need("crc" not in members, "checksums where there should be none")
        return start, end, None
    checksums = _get(members, "crc", list)
    need(len(checksums) == -(-(end - start) // chunk), "not one checksum for each chunk")
    for value in checksums:
        need(type(value) is int and value < 1 << 32, "a checksum is no number of 32 bits")
    return start, end, checksums


# ---- sections 2 and 3: data ----


class Snapshot:
    """Metadata, the file with the data, and a way to look at memory."""

    def __init__(self, metadata, file):
        self.metadata, self.file = metadata, file

    def read(self, offset, size):
        return read_at(self.file, offset, size)

    def place(self, region, start, done):
        """Where in the file the byte at `start` of a region is, after `done` bytes of its data."""
        return region.offset + (done if self.metadata.layout == "packed" else start)

    def chunks(self, region):
        """(start in the region, bytes, checksum or None) of each chunk."""
        done = 0
        for start, end, checksums in region.ranges:
            for index, at in enumerate(range(start, end, self.metadata.chunk_size)):
                size = min(self.metadata.chunk_size, end - at)
                data = self.read(self.place(region, at, done), size)
                done += size
                yield at, data, None if checksums is None else checksums[index]

    def holes(self, region):
        at = 0
        for start, end, _ in region.ranges:
            if at < start:
                yield at, start
            at = end
        if at < region.size:
            yield at, region.size

    def check_data(self):
        for region in self.metadata.regions:
            for at, data, checksum in self.chunks(region):
                good = checksum is None or crc32c(data) == checksum
                need(good, f"wrong checksum of the chunk at guest address {region.base + at:#x}")

    def check_holes(self):
        for region in self.metadata.regions:
            for start, end in self.holes(region):
                for at, size in self.allocated(region.offset + start, region.offset + end):
                    zeros = not any(self.read(at, size))
                    need(zeros, f"data in a hole, near byte {at:#x} of the file")

    def allocated(self, at, end):
        """Pieces of a part of the file, without those that the file system knows to be holes."""
        while at < end:
            try:
                data = os.lseek(self.file.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole from here on
                    return
                raise
            hole = os.lseek(self.file.fileno(), data, os.SEEK_HOLE)
            at = min(hole, end)
            for piece in range(data, at, MIB):
                yield piece, min(MIB, at - piece)

    def pieces(self, region):
        """The whole region: (start, place in the file or None for a hole, size)."""
        holes = [(start, None, end - start) for start, end in self.holes(region)]
        return sorted([*self.ranges(region), *holes])

    def ranges(self, region):
        """(start, place in the file, size) of what holds data."""
        done = 0
        for start, end, _ in region.ranges:
            yield start, self.place(region, start, done), end - start
            done += end - start

    def dump(self, out):
        for region in self.metadata.regions:
            for _, place, size in self.pieces(region):
                for at in range(0, size, MIB):
                    part = min(MIB, size - at)
                    out.write(bytes(part) if place is None else self.read(place + at, part))

    def dump_pages(self, out):
        for region in self.metadata.regions:
            for start, place, size in self.ranges(region):
                for at in range(0, size, PAGE):
                    page = self.read(place + at, PAGE)
                    if any(page):
                        line = f"{region.base + start + at:#x} {crc32c(page):08x}\n"
                        out.write(line.encode())


def read_at(file, offset, size):
    """Looking for holes moves the file's position, so nothing here relies on it."""
    data = b""
    while len(data) < size:
        more = os.pread(file.fileno(), size - len(data), offset + len(data))
        need(more, "the data ends early")
        data += more
    return data


def open_snapshot(metadata_path, data_path, layout):
    """Opens a packed or sparse snapshot and checks all of it."""
    with open(metadata_path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        need(size <= MAX_METADATA, "the metadata is too long")
        metadata = read_metadata(read_at(file, 0, size))
    need(metadata.layout == layout, f"the layout is not {layout}")
    snapshot = Snapshot(metadata, open(data_path, "rb"))
    expected = metadata.data_size if layout == "packed" else metadata.memory_size
    size = os.fstat(snapshot.file.fileno()).st_size
    need(size >= expected, "the data ends early")
    need(size <= expected, "the data goes on after its end")
    snapshot.check_data()
    if layout == "sparse":
        snapshot.check_holes()
    return snapshot


def open_image(path):
    """Opens an image file and checks all of it, in the order of section 3."""
    file = open(path, "rb")
    size = os.fstat(file.fileno()).st_size
    need(size >= TRAILER.size, "too short for an image")
    trailer = read_at(file, size - TRAILER.size, TRAILER.size)
    magic, version, zero1, offset, length, crc, zero2, zero3, own_crc = TRAILER.unpack(trailer)
    need(magic == b"GUESTMEM", "no image")
    need(crc32c(trailer[:44]) == own_crc, "wrong checksum of the trailer")
    _understood(version == 1, "another version of the trailer")
    need(zero1 == zero2 == zero3 == 0, "a field of the trailer should be 0")
    need(length <= MAX_METADATA, "the metadata is too long")
    need(offset + length + TRAILER.size == size, "the trailer does not fit the file")
    raw = read_at(file, offset, length)
    need(crc32c(raw) == crc, "wrong checksum of the metadata")
    metadata = read_metadata(raw)
    need(metadata.layout == "sparse", "the layout is not sparse")
    need(metadata.memory_size == offset, "the memory is not what lies before the metadata")
    image = Snapshot(metadata, file)
    image.check_data()
    image.check_holes()
    return image


# ---- the command line ----


def check(paths):
    code = 0
    for path in paths:
        try:
            open_image(path).file.close()
            print(f"{path}: ok")
        except Refused as reason:
            print(f"{path}: {reason.verdict}: {reason}")
            code = 1
    return code


def show(snapshots, pages):
    for snapshot in snapshots:
        (snapshot.dump_pages if pages else snapshot.dump)(sys.stdout.buffer)
        snapshot.file.close()
    return 0


def main(words):
    pages = "--pages" in words
    command, *paths = [word for word in words if word != "--pages"] or [""]
    pairs = list(zip(paths[::2], paths[1::2]))
    try:
        if command == "check" and paths and not pages:
            return check(paths)
        if command == "dump" and paths:
            return show(map(open_image, paths), pages)
        if command in ("packed", "sparse") and pairs and 2 * len(pairs) == len(paths):
            return show((open_snapshot(*pair, command) for pair in pairs), pages)
    except Refused as reason:
        print(f"{reason.verdict}: {reason}", file=sys.stderr)
        return 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    print(__doc__, file=sys.stderr)
    return 2


assert crc32c(b"123456789") == 0xE3069283

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
