/* Send one request over and over to a server, check every answer, and record when each came.
 *
 * load -p PORT -u PATH -b BODY -a KEY -f FIELD [-x EXPECTED] [-h HEADER] [-e] -d SECONDS [-n REQUESTS]
 *      -c CONNECTIONS [-r RATE] [-g GRACE] [-s SERIAL] -o RECORDS
 *
 * Closed loop: each of CONNECTIONS sends again once it is answered. With a RATE (requests a second) open loop: a
 * request is due every 1 / RATE s independently of the others, on a free one of at most CONNECTIONS, and its time
 * counts from when it was due. No request is sent after SECONDS or after REQUESTS; those under way have GRACE
 * seconds more.
 *
 * In the file BODY, eight # become a serial number that counts from SERIAL on. An answer is valid if it is 2xx and
 * the first string under the name FIELD in its JSON is the bytes of EXPECTED, with the request's own serial number;
 * with -e, if the strings under FIELD of its server-sent events are that together, and [DONE] comes last. Without
 * EXPECTED any text is valid. RECORDS gets a `Record` a request, in the order of their ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
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
#define CONNECTIONS 8192
#define ROOM 262144
#define SOON 256
#define TOO_MANY 10000

typedef struct {
    char *at;
    size_t size;
} Text;

enum verdict { VALID, REFUSED, WRONG, BROKEN, UNFINISHED };

typedef struct {
    int64_t due_ns, sent_ns, first_ns, end_ns; /* since the start; first: the answer's first text */
    int32_t status, verdict, tokens, retry_after_s; /* tokens: as the answer's usage says; -1: no Retry-After */
} Record;

typedef struct {
    int socket; /* 0: not connected */
    bool busy, writing, headed, chunked, closing, done;
    size_t in_size, at, body_size, line, text_size, out_at;
    long length;
    uint64_t serial;
    Record record;
    char *in, *body, *text, *out;
} Connection;

static struct {
    int port, connections;
    const char *path, *key, *field, *extra;
    Text body, expected;
    bool events;
    int64_t duration_ns, grace_ns;
    double rate;
    uint64_t requests, serial;
} options = {.requests = UINT64_MAX, .grace_ns = 30000000000, .extra = ""};

static Connection connections[CONNECTIONS];
static int of_socket[4 * CONNECTIONS], idle[CONNECTIONS], idlers, poller, under_way, broken;
static Text request;
static size_t place; /* of the serial number in the request; 0: none */
static char *expected_place;
static int64_t start;
static uint64_t sent;
static FILE *records;

static void fail(const char *what) {
    perror(what);
    exit(2);
}

static int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int64_t elapsed(void) { return now_ns() - start; }

static Text read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(path);
    Text text = {NULL, (size_t)ftell(file)};
    rewind(file);
    if (!(text.at = calloc(1, text.size + 1)) || fread(text.at, 1, text.size, file) != text.size) fail(path);
    fclose(file);
    return text;
}

static void put_serial(char *place, uint64_t serial) {
    for (int i = DIGITS - 1; i >= 0; i--, serial /= 10) place[i] = (char)('0' + serial % 10);
}

static void watch(int operation, int socket, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = socket};
    if (epoll_ctl(poller, operation, socket, &event)) fail("epoll_ctl");
}

/* The value of a header, in a head that ends in an empty line; NULL where it is not there. */
static const char *header(const char *head, const char *end, const char *name) {
    size_t size = strlen(name);
    for (const char *line = head; line && line < end; line = memchr(line, '\n', (size_t)(end - line))) {
        line += line != head;
        if ((size_t)(end - line) > size && line[size] == ':' && !strncasecmp(line, name, size))
            return line + size + 1 + strspn(line + size + 1, " ");
    }
    return NULL;
}

/* The first value that follows a name in quotes, in JSON that ends in a 0 byte; NULL where there is none. */
static const char *value_of(const char *from, const char *to, const char *name) {
    while (from < to && (from = memmem(from, (size_t)(to - from), name, strlen(name)))) {
        from += strlen(name);
        from += strspn(from, " ");
        if (*from == ':') return from + 1 + strspn(from + 1, " ");
    }
    return NULL;
}

static void prepare(void) {
    char *at;
    int size = asprintf(&at,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                        "Authorization: Bearer %s\r\n%s%sContent-Length: %zu\r\n\r\n%s",
                        options.path, options.port, options.key, options.extra, *options.extra ? "\r\n" : "",
                        options.body.size, options.body.at);
    if (size < 0) fail("request");
    request = (Text){at, (size_t)size};
    char *found = strstr(at, SERIAL);
    place = found ? (size_t)(found - at) : 0;
    expected_place = options.expected.at ? strstr(options.expected.at, SERIAL) : NULL;
    for (int i = options.connections - 1; i >= 0; i--) {
        Connection *each = &connections[i];
        each->in = malloc(ROOM), each->body = malloc(ROOM + 1), each->text = malloc(ROOM), each->out = malloc(request.size);
        if (!each->out) fail("memory");
        memcpy(each->out, request.at, request.size);
        idle[idlers++] = i;
    }
}

static void hang_up(Connection *each) {
    if (each->socket) close(each->socket);
    each->socket = 0;
}

static void end(Connection *each, enum verdict verdict) {
    each->record.end_ns = elapsed();
    each->record.verdict = verdict;
    if (verdict == BROKEN && ++broken == TOO_MANY) fail("too many answers were cut off");
    if (fwrite(&each->record, sizeof(Record), 1, records) != 1) fail("records");
    each->busy = false;
    under_way--;
    idle[idlers++] = (int)(each - connections);
    if (verdict >= BROKEN || each->closing) hang_up(each);
}

static void push(Connection *each) {
    ssize_t size = send(each->socket, each->out + each->out_at, request.size - each->out_at, MSG_NOSIGNAL);
    if (size > 0) each->out_at += (size_t)size;
    else if (errno != EAGAIN && errno != ENOTCONN) return end(each, BROKEN);
    bool writing = each->out_at < request.size;
    if (writing != each->writing) watch(EPOLL_CTL_MOD, each->socket, writing ? EPOLLIN | EPOLLOUT : EPOLLIN);
    each->writing = writing;
}

static bool dial(Connection *each) {
    each->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (each->socket < 0 || each->socket >= 4 * CONNECTIONS) fail("socket");
    of_socket[each->socket] = (int)(each - connections);
    int yes = 1;
    fcntl(each->socket, F_SETFL, O_NONBLOCK);
    setsockopt(each->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    watch(EPOLL_CTL_ADD, each->socket, EPOLLIN);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return !connect(each->socket, (struct sockaddr *)&address, sizeof address) || errno == EINPROGRESS;
}

static void ask(int64_t due) {
    Connection *each = &connections[idle[--idlers]];
    int socket = each->socket;
    char *in = each->in, *body = each->body, *text = each->text, *out = each->out;
    *each = (Connection){.socket = socket, .busy = true, .length = -1, .in = in, .body = body, .text = text, .out = out};
    each->record.due_ns = due;
    each->record.retry_after_s = -1;
    each->serial = options.serial + sent++;
    if (place) put_serial(out + place, each->serial);
    under_way++;
    each->record.sent_ns = elapsed();
    if (!socket && !dial(each)) return end(each, BROKEN);
    push(each);
}

/* When the next request is due; after the end where none is. */
static int64_t next_due(void) {
    if (sent >= options.requests) return INT64_MAX;
    return options.rate > 0 ? (int64_t)((double)sent * 1e9 / options.rate) : elapsed();
}

/* Send what is due; nanoseconds until more is, or -1 where that does not depend on the time. */
static int64_t keep_asking(void) {
    for (int64_t due; idlers && (due = next_due()) < options.duration_ns;) {
        int64_t early = due - elapsed();
        if (early > 0) return early;
        ask(due);
    }
    return -1;
}

/* Add the text of one JSON document to the answer's; false where it is an error's or incomplete. */
static bool add_text(Connection *each, const char *from, const char *to) {
    if (value_of(from, to, "\"error\"")) return false;
    const char *value = value_of(from, to, "\"completion_tokens\"");
    if (value) each->record.tokens = atoi(value);
    for (value = from; (value = value_of(value, to, options.field)) && *value != '"';);
    if (!value) return true;
    const char *end = ++value;
    while (end < to && *end != '"') end += 1 + (*end == '\\');
    if (end >= to) return false;
    if (end > value && !each->text_size) each->record.first_ns = elapsed();
    memcpy(each->text + each->text_size, value, (size_t)(end - value));
    each->text_size += (size_t)(end - value);
    return true;
}

/* Read the whole lines that have come in of server-sent events; false where one is not as it should be. */
static bool read_events(Connection *each) {
    char *end;
    while ((end = memchr(each->body + each->line, '\n', each->body_size - each->line))) {
        char *line = each->body + each->line;
        each->line = (size_t)(end + 1 - each->body);
        if (end > line && end[-1] == '\r') end--;
        if (end - line < 5 || memcmp(line, "data:", 5)) continue;
        line += 5 + (line[5] == ' ');
        if (end - line == 6 && !memcmp(line, "[DONE]", 6)) each->done = true;
        else if (each->done || !add_text(each, line, end)) return false;
    }
    return true;
}

static enum verdict judge(Connection *each) {
    if (each->record.status < 200 || each->record.status > 299) return REFUSED;
    if (options.events ? !each->done : !add_text(each, each->body, each->body + each->body_size)) return WRONG;
    if (!options.expected.at) return each->text_size ? VALID : WRONG;
    if (expected_place) put_serial(expected_place, each->serial);
    if (each->text_size != options.expected.size) return WRONG;
    return memcmp(each->text, options.expected.at, each->text_size) ? WRONG : VALID;
}

static bool read_head(Connection *each) {
    char *blank = memmem(each->in, each->in_size, "\r\n\r\n", 4);
    if (!blank) return true;
    const char *value, *after = blank + 4;
    if (sscanf(each->in, "HTTP/1.1 %d", &each->record.status) != 1) return false;
    if ((value = header(each->in, after, "content-length"))) each->length = strtol(value, NULL, 10);
    value = header(each->in, after, "transfer-encoding");
    each->chunked = value && !strncasecmp(value, "chunked", 7);
    if ((value = header(each->in, after, "retry-after"))) each->record.retry_after_s = atoi(value);
    value = header(each->in, after, "connection");
    each->closing = value && !strncasecmp(value, "close", 5);
    each->headed = true;
    each->at = (size_t)(after - each->in);
    return each->chunked || each->length >= 0;
}

/* Move what has come in of the body to its place: 1 where it is whole, 0 where more is to come, -1 where broken. */
static int read_body(Connection *each) {
    while (each->at < each->in_size) {
        char *from = each->in + each->at;
        size_t have = each->in_size - each->at, want = (size_t)each->length - each->body_size;
        if (!each->chunked) {
            if (have > want) return -1;
            memcpy(each->body + each->body_size, from, have);
            each->body_size += have, each->at += have;
            break;
        }
        char *data = memmem(from, have, "\r\n", 2);
        if (!data) return 0;
        size_t size = strtoul(from, NULL, 16), whole = (size_t)(data + 2 - from) + size + 2;
        if (have < whole) return 0;
        memcpy(each->body + each->body_size, data + 2, size);
        each->body_size += size, each->at += whole;
        if (!size) return each->at == each->in_size ? 1 : -1;
    }
    return !each->chunked && each->body_size == (size_t)each->length;
}

static void take(Connection *each) {
    if (!each->headed && !read_head(each)) return end(each, BROKEN);
    if (!each->headed) return;
    int whole = read_body(each);
    each->body[each->body_size] = 0;
    if (whole < 0) return end(each, BROKEN);
    bool good = each->record.status == 200;
    if (good && options.events && !read_events(each)) return each->closing = true, end(each, WRONG);
    if (whole) end(each, judge(each));
}

static void hear(Connection *each) {
    ssize_t size = recv(each->socket, each->in + each->in_size, ROOM - each->in_size, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0 || !each->busy) {
        if (each->busy) end(each, BROKEN);
        return hang_up(each);
    }
    each->in_size += (size_t)size;
    take(each);
}

static void run(void) {
    int64_t pause, left;
    while ((pause = keep_asking()) >= 0 || under_way) {
        struct epoll_event soon[SOON];
        if ((left = options.duration_ns + options.grace_ns - elapsed()) <= 0) break;
        if (pause >= 0 && pause < left) left = pause;
        struct timespec time = {left / 1000000000, left % 1000000000};
        int ready = epoll_pwait2(poller, soon, SOON, &time, NULL);
        for (int i = 0; i < ready; i++) {
            Connection *each = &connections[of_socket[soon[i].data.fd]];
            if (each->socket != soon[i].data.fd) continue;
            if (soon[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) hear(each);
            else push(each);
        }
    }
}

/* What was asked and not answered, and what was due and not even asked. */
static void give_up(void) {
    for (int i = 0; i < options.connections; i++)
        if (connections[i].busy) end(&connections[i], UNFINISHED);
    for (int64_t due; options.rate > 0 && (due = next_due()) < options.duration_ns; sent++) {
        Record record = {.due_ns = due, .sent_ns = -1, .end_ns = elapsed(), .verdict = UNFINISHED, .retry_after_s = -1};
        if (fwrite(&record, sizeof record, 1, records) != 1) fail("records");
    }
}

static void read_options(int count, char **words) {
    for (int letter; (letter = getopt(count, words, "p:u:b:a:f:x:h:ed:n:c:r:g:s:o:")) != -1;) {
        switch (letter) {
            case 'p': options.port = atoi(optarg); break;
            case 'u': options.path = optarg; break;
            case 'b': options.body = read_file(optarg); break;
            case 'a': options.key = optarg; break;
            case 'f': options.field = optarg; break;
            case 'x': options.expected = read_file(optarg); break;
            case 'h': options.extra = optarg; break;
            case 'e': options.events = true; break;
            case 'd': options.duration_ns = (int64_t)(atof(optarg) * 1e9); break;
            case 'n': options.requests = strtoull(optarg, NULL, 10); break;
            case 'c': options.connections = atoi(optarg); break;
            case 'r': options.rate = atof(optarg); break;
            case 'g': options.grace_ns = (int64_t)(atof(optarg) * 1e9); break;
            case 's': options.serial = strtoull(optarg, NULL, 10); break;
            case 'o': if (!(records = fopen(optarg, "wb"))) fail(optarg); break;
            default: exit(2);
        }
    }
}

int main(int count, char **words) {
    read_options(count, words);
    bool whole = options.port && options.path && options.body.at && options.key && options.field && records;
    if (!whole || options.connections < 1 || options.connections > CONNECTIONS || options.duration_ns <= 0)
        return fprintf(stderr, "load: see the head of load.c for what must be given\n"), 2;
    poller = epoll_create1(0);
    prepare();
    start = now_ns();
    run();
    give_up();
    return fclose(records) ? 2 : 0;
}
