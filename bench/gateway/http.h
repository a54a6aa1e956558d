/* What the load generator and the upstream share: the clock, sockets, files, headers, and the serial numbers that
 * tell requests apart. */
#ifndef HTTP_H
#define HTTP_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERIAL "########"
#define DIGITS 8
#define NO_SERIAL UINT64_MAX

typedef struct {
    char *at;
    size_t size;
} Text;

static inline void fail(const char *what) {
    perror(what);
    exit(2);
}

static inline int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static inline struct timespec span(int64_t ns) {
    if (ns < 0) ns = 0;
    return (struct timespec){ns / 1000000000, ns % 1000000000};
}

static inline Text read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(path);
    Text text = {NULL, (size_t)ftell(file)};
    rewind(file);
    if (!(text.at = calloc(1, text.size + 1)) || fread(text.at, 1, text.size, file) != text.size) fail(path);
    fclose(file);
    return text;
}

static inline struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* Make a socket answer at once and never wait, and have `poller` tell of it. */
static inline void attend(int poller, int socket, uint32_t events) {
    int yes = 1;
    fcntl(socket, F_SETFL, O_NONBLOCK);
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event event = {.events = events, .data.fd = socket};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, socket, &event)) fail("epoll_ctl");
}

static inline void expect(int poller, int socket, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = socket};
    epoll_ctl(poller, EPOLL_CTL_MOD, socket, &event);
}

/* The value of a header, in a head that ends in an empty line; NULL where it is not there. */
static inline const char *header(const char *head, const char *end, const char *name) {
    size_t size = strlen(name);
    for (const char *line = head; line && line < end; line = memchr(line, '\n', (size_t)(end - line))) {
        line += line != head;
        if ((size_t)(end - line) > size && line[size] == ':' && !strncasecmp(line, name, size))
            return line + size + 1 + strspn(line + size + 1, " ");
    }
    return NULL;
}

/* Whether `text` is `expected` with any digits where that has a serial number's place; with the number, or NO_SERIAL. */
static inline int matches(Text expected, const char *text, size_t size, uint64_t *serial) {
    const char *place = memmem(expected.at, expected.size, SERIAL, DIGITS);
    size_t before = place ? (size_t)(place - expected.at) : expected.size, after = before + DIGITS;
    *serial = place ? 0 : NO_SERIAL;
    if (size != expected.size || memcmp(text, expected.at, before)) return 0;
    if (!place) return 1;
    for (size_t i = before; i < after; i++) {
        if (text[i] < '0' || text[i] > '9') return 0;
        *serial = 10 * *serial + (uint64_t)(text[i] - '0');
    }
    return !memcmp(text + after, expected.at + after, size - after);
}

static inline void put_serial(char *place, uint64_t serial) {
    for (int i = DIGITS - 1; i >= 0; i--, serial /= 10) place[i] = (char)('0' + serial % 10);
}

#endif
