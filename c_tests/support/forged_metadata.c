/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "forged_metadata.h"

const char *const no_numbers[NO_NUMBERS] = {
    "-1", "-0.5", "1e400", "-1e400", "1.5", "18446744073709551616", "99999999999999999999999999",
    "\"0\"", "null", "true", "[]", "{}", "NaN", "0x10", "+1", "01", ""};
const char *const other_numbers[VALUES - NO_NUMBERS] = {
    "0", "1", "4095", "4096", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709547520", "18446744073709518848", "4294967296"};

const char *nth_number(const char *text, size_t n, size_t *len)
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
