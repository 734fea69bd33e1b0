/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* As much JSON as it takes to read snapshot metadata: a value is found by its path and checked on the
 * way. */
#ifndef JSON_H
#define JSON_H

#include "check.h"

bool json_valid(const char *text);
const char *json_element(const char *at, size_t index);
/* Finds "regions[1].data_ranges[0].crc[2]", say, in text that is valid; NULL when it is not there.
 */
const char *json_at(const char *text, const char *path);
/* A whole number, or a failed check. */
uint64_t json_number(const char *text, const char *path);
/* The value is exactly this text: "\"packed\"" or "false". */
bool json_is(const char *text, const char *path, const char *value);
/* How many elements an array has; 0 when there is no array. */
size_t json_count(const char *text, const char *path);

#endif
