/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What an attacker puts into metadata, whatever it comes with. */
#ifndef FORGED_METADATA_H
#define FORGED_METADATA_H

#include "check.h"

/* Nothing that could be meant as a number of the metadata. */
CHECK_UNUSED static const char *const no_numbers[] = {
    "-1", "-0.5", "1e400", "-1e400", "1.5", "18446744073709551616", "99999999999999999999999999",
    "\"0\"", "null", "true", "[]", "{}", "NaN", "0x10", "+1", "01", ""};
CHECK_UNUSED static const char *const other_numbers[] = {
    "0", "1", "4095", "4096", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709547520", "18446744073709518848", "4294967296"};
enum {
    NO_NUMBERS = sizeof no_numbers / sizeof no_numbers[0],
    VALUES = NO_NUMBERS + sizeof other_numbers / sizeof other_numbers[0]
};

/* Where the n-th number begins, and its length; NULL when there are fewer. */
CHECK_UNUSED static const char *nth_number(const char *text, size_t n, size_t *len)
{
    bool in_string = false;
    for (; *text != 0; text++) {
        if (*text == '"') in_string = !in_string;
        *len = strspn(text, "0123456789");
        if (in_string || *len == 0) continue;
        if (n-- == 0) return text;
        text += *len - 1;
    }
    return NULL;
}

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

#endif
