// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * As much JSON as it takes to read metadata that the library has checked: its form is not checked once more, but
 * whatever the text is, nothing behind its end is read. One pass, nothing allocated, no recursion.
 */
#ifndef GUESTMEM_IMAGE_JSON_H
#define GUESTMEM_IMAGE_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "host.h"

struct json {
    const char *at; /* ends with a NUL */
};

static _Noreturn void json_die(void)
{
    die("the metadata has an unexpected form");
}

static char json_peek(struct json *json)
{
    json->at += strspn(json->at, " \t\r\n");
    return *json->at;
}

static void json_enter(struct json *json, char open)
{
    if (json_peek(json) != open)
        json_die();
    json->at++;
}

/* True when another member comes; false leaves the object or array. */
static bool json_more(struct json *json, char close)
{
    if (json_peek(json) == ',')
        json->at++;
    const char next = json_peek(json);
    if (next == '\0')
        json_die();
    if (next == close)
        json->at++;
    return next != close;
}

/* One character of a string, 0 at its end. What is no ASCII comes as something that no name of ours holds. */
static char json_char(struct json *json)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char c = *json->at;
    if (c == '\0')
        json_die();
    json->at++;
    if (c == '"')
        return '\0';
    if (c != '\\')
        return c;

    c = *json->at;
    const char *name = c == '\0' ? NULL : strchr(names, c);
    if (name) {
        json->at++;
        return meanings[name - names];
    }
    unsigned value = 0;
    if (c != 'u')
        json_die();
    json->at++;
    for (int i = 0; i < 4; i++, json->at++) {
        const char *const digits = "0123456789abcdef0123456789ABCDEF";
        const char *digit = *json->at == '\0' ? NULL : strchr(digits, *json->at);
        if (!digit)
            json_die();
        value = value << 4 | (unsigned)(digit - digits) % 16;
    }
    return value > 0 && value < 0x80 ? (char)value : '?';
}

/* Which of the words the string is that comes next; -1 for none of them. */
static int json_word(struct json *json, const char *const words[], int count)
{
    char word[16];
    size_t len = 0;
    json_enter(json, '"');
    for (char c; (c = json_char(json)) != '\0'; len++)
        if (len < sizeof word)
            word[len] = c;
    for (int i = 0; i < count; i++)
        if (strlen(words[i]) == len && len <= sizeof word && memcmp(words[i], word, len) == 0)
            return i;
    return -1;
}

/* Which of the words the next key is; its value comes next. */
static int json_key(struct json *json, const char *const words[], int count)
{
    const int word = json_word(json, words, count);
    json_enter(json, ':');
    return word;
}

static uint64_t json_u64(struct json *json)
{
    uint64_t value = 0;
    char c = json_peek(json);
    if (c < '0' || c > '9')
        json_die();
    for (; c >= '0' && c <= '9'; c = *++json->at)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(c - '0'), &value))
            json_die();
    return value;
}

/* Passes one value of any kind. */
static void json_skip(struct json *json)
{
    size_t depth = 0;
    do {
        switch (json_peek(json)) {
        case '\0':
            json_die();
        case '"':
            json_enter(json, '"');
            while (json_char(json) != '\0')
                ;
            break;
        case '{':
        case '[':
            depth++;
            json->at++;
            break;
        case '}':
        case ']':
            if (depth == 0)
                json_die();
            depth--;
            json->at++;
            break;
        case ',':
        case ':':
            json->at++;
            break;
        default:
            json->at += strcspn(json->at, ",:]}\" \t\r\n");
        }
    } while (depth > 0);
}

#endif
