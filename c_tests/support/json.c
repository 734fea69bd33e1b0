/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "json.h"

static const char *json_skip(const char *at);

static const char *json_space(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* Past a string that `at` stands on, NULL when it is none. */
static const char *json_skip_string(const char *at)
{
    if (*at++ != '"') return NULL;
    for (; *at != '"'; at++) {
        if (*at == 0) return NULL;
        if (*at == '\\' && *++at == 0) return NULL;
    }
    return at + 1;
}

/* Past the members of an object or the elements of an array. */
static const char *json_skip_list(const char *at, char open, char close)
{
    if (*at++ != open) return NULL;
    at = json_space(at);
    if (*at == close) return at + 1;
    for (;; at++) {
        at = json_space(at);
        if (open == '{') {
            at = json_skip_string(at);
            if (at == NULL) return NULL;
            at = json_space(at);
            if (*at++ != ':') return NULL;
        }
        at = json_skip(json_space(at));
        if (at == NULL) return NULL;
        at = json_space(at);
        if (*at == close) return at + 1;
        if (*at != ',') return NULL;
    }
}

/* Past one value; NULL when it is malformed. */
static const char *json_skip(const char *at)
{
    static const char *const words[] = {"true", "false", "null"};
    size_t i, len;
    if (*at == '{') return json_skip_list(at, '{', '}');
    if (*at == '[') return json_skip_list(at, '[', ']');
    if (*at == '"') return json_skip_string(at);
    for (i = 0; i < 3; i++)
        if (strncmp(at, words[i], strlen(words[i])) == 0) return at + strlen(words[i]);
    len = strspn(at, "+-.0123456789eE");
    return len == 0 ? NULL : at + len;
}

bool json_valid(const char *text)
{
    const char *end = json_skip(json_space(text));
    return end != NULL && *json_space(end) == 0;
}

/* The value of a key; NULL when there is none. */
static const char *json_member(const char *at, const char *key, size_t key_len)
{
    if (*at != '{') return NULL;
    at = json_space(at + 1);
    while (*at == '"') {
        const char *end = json_skip_string(at);
        bool found = (size_t)(end - at) == key_len + 2 && strncmp(at + 1, key, key_len) == 0;
        at = json_space(json_space(end) + 1);
        if (found) return at;
        at = json_space(json_skip(at));
        if (*at == ',') at = json_space(at + 1);
    }
    return NULL;
}

const char *json_element(const char *at, size_t index)
{
    if (*at != '[') return NULL;
    at = json_space(at + 1);
    while (*at != ']') {
        if (index-- == 0) return at;
        at = json_space(json_skip(at));
        if (*at == ',') at = json_space(at + 1);
    }
    return NULL;
}

const char *json_at(const char *text, const char *path)
{
    const char *at = json_space(text);
    while (*path != 0 && at != NULL) {
        if (*path == '.') path++;
        if (*path == '[') {
            char *end;
            at = json_element(at, strtoul(path + 1, &end, 10));
            path = end + 1;
        } else {
            size_t len = strcspn(path, ".[");
            at = json_member(at, path, len);
            path += len;
        }
    }
    return at;
}

uint64_t json_number(const char *text, const char *path)
{
    const char *at = json_at(text, path);
    char *end;
    uint64_t value;
    if (at == NULL || *at < '0' || *at > '9') {
        check_fail(__FILE__, __LINE__, path);
        return 0;
    }
    value = strtoull(at, &end, 10);
    if (strspn(end, ",]} \t\r\n") == 0 && *end != 0) check_fail(__FILE__, __LINE__, path);
    return value;
}

bool json_is(const char *text, const char *path, const char *value)
{
    const char *at = json_at(text, path);
    return at != NULL && (size_t)(json_skip(at) - at) == strlen(value) &&
           strncmp(at, value, strlen(value)) == 0;
}

size_t json_count(const char *text, const char *path)
{
    const char *at = json_at(text, path);
    size_t count = 0;
    if (at == NULL || *at != '[') return 0;
    while (json_element(at, count) != NULL) count++;
    return count;
}
