/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What an attacker puts into metadata, whatever it comes with. */
#ifndef FORGED_METADATA_H
#define FORGED_METADATA_H

#include "check.h"

enum { NO_NUMBERS = 17, VALUES = NO_NUMBERS + 10 };

/* Regions and ranges, without checksums so that only their shape counts. */
#define HEAD_OF(layout, data_size)                                                              \
    "{\"format\":\"guestmem\",\"version\":1,\"layout\":\"" layout "\",\"compressed\":false,"       \
    "\"page_size\":4096,\"data_size\":" data_size                                               \
    ",\"checksum\":\"none\",\"chunk_size\":1048576,\"regions\":["
#define AREA(base, size, offset, spans)                                  \
    "{\"guest_base\":" base ",\"size\":" size ",\"file_offset\":" offset \
    ",\"data_ranges\":[" spans "]}"
#define SPAN(start, end) "{\"start\":" start ",\"end\":" end "}"
#define FIRST(spans) AREA("65536", "16384", "0", spans)

/* Nothing that could be meant as a number of the metadata. */
extern const char *const no_numbers[NO_NUMBERS];
extern const char *const other_numbers[VALUES - NO_NUMBERS];

/* Where the n-th number begins, and its length; NULL when there are fewer. */
const char *nth_number(const char *text, size_t n, size_t *len);

#endif
