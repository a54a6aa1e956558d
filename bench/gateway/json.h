/* As much JSON as is needed to judge a body: whether it is well formed, and a value's text by its path. */
#ifndef JSON_H
#define JSON_H

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define JSON_DEPTH 32

static inline const char *json_blank(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

static inline const char *json_string(const char *at, const char *end) {
    for (at++; at < end; at++) {
        if (*at == '\\') at++;
        else if (*at == '"') return at + 1;
        else if ((unsigned char)*at < 0x20) return NULL;
    }
    return NULL;
}

static inline const char *json_plain(const char *at, const char *end) {
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++) {
        size_t size = strlen(words[i]);
        if ((size_t)(end - at) >= size && !memcmp(at, words[i], size)) return at + size;
    }
    const char *start = at;
    while (at < end && (isdigit((unsigned char)*at) || strchr("+-.eE", *at))) at++;
    return at > start ? at : NULL;
}

/* Just behind the value that begins at `at`, or NULL where there is none. */
static inline const char *json_skip(const char *at, const char *end, int depth) {
    at = json_blank(at, end);
    if (at == end || depth > JSON_DEPTH) return NULL;
    if (*at == '"') return json_string(at, end);
    if (*at != '{' && *at != '[') return json_plain(at, end);
    char close = *at == '{' ? '}' : ']';
    at = json_blank(at + 1, end);
    if (at < end && *at == close) return at + 1;
    while (at) {
        if (close == '}') {
            at = json_blank(at, end);
            if (at == end || *at != '"' || !(at = json_string(at, end))) return NULL;
            at = json_blank(at, end);
            if (at == end || *at++ != ':') return NULL;
        }
        if (!(at = json_skip(at, end, depth + 1))) return NULL;
        at = json_blank(at, end);
        if (at == end) return NULL;
        if (*at == close) return at + 1;
        if (*at++ != ',') return NULL;
    }
    return NULL;
}

/* Whether the text is one value and nothing else. */
static inline bool json_whole(const char *at, const char *end) {
    at = json_skip(at, end, 0);
    return at && json_blank(at, end) == end;
}

/* The value under a name, or at a place ("0", "1", ...) of an array; NULL where there is none. The text is
 * well formed. */
static inline const char *json_child(const char *at, const char *end, const char *name, size_t size) {
    at = json_blank(at, end);
    if (at == end || (*at != '{' && *at != '[')) return NULL;
    bool object = *at++ == '{';
    for (long place = 0; ; place++) {
        at = json_blank(at, end);
        if (at == end || *at == '}' || *at == ']') return NULL;
        bool found = object ? false : place == strtol(name, NULL, 10);
        if (object) {
            const char *key = at + 1;
            at = json_string(at, end);
            found = (size_t)(at - 1 - key) == size && !memcmp(key, name, size);
            at = json_blank(at, end) + 1;
        }
        if (found) return json_blank(at, end);
        at = json_blank(json_skip(at, end, 0), end);
        if (at < end && *at == ',') at++;
    }
}

/* The value at a path such as "choices.0.delta.content". */
static inline const char *json_at(const char *at, const char *end, const char *path) {
    while (at && *path) {
        size_t size = strcspn(path, ".");
        at = json_child(at, end, path, size);
        path += size + (path[size] == '.');
    }
    return at;
}

static inline int json_hex(const char *at) {
    char digits[5] = {at[0], at[1], at[2], at[3], 0};
    return (int)strtol(digits, NULL, 16);
}

static inline size_t json_utf8(int code, char *out) {
    if (code < 0x80) return out[0] = (char)code, 1;
    if (code < 0x800) return out[0] = (char)(0xc0 | code >> 6), out[1] = (char)(0x80 | (code & 0x3f)), 2;
    out[0] = (char)(0xe0 | code >> 12), out[1] = (char)(0x80 | (code >> 6 & 0x3f)), out[2] = (char)(0x80 | (code & 0x3f));
    return 3;
}

/* Decode the string at `at` into `out`; its size, or -1 where it is no string or does not fit. Characters
 * outside the basic plane are not wanted here: they come out as two surrogates. */
static inline long json_text(const char *at, const char *end, char *out, size_t room) {
    static const char from[] = "nrtbf", to[] = "\n\r\t\b\f";
    size_t size = 0;
    if (!at || at == end || *at != '"') return -1;
    for (at++; at < end && *at != '"'; at++) {
        if (size + 4 > room) return -1;
        if (*at != '\\') {
            out[size++] = *at;
            continue;
        }
        const char *escape = strchr(from, *++at);
        if (*at == 'u' && end - at > 4) size += json_utf8(json_hex(at + 1), out + size), at += 4;
        else out[size++] = escape ? to[escape - from] : *at;
    }
    return (long)size;
}

#endif
