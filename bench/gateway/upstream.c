/* An upstream that is never the limit: answers chat completions from files, once it has checked each request.
 *
 * upstream MODEL KEY CONTENT ANSWER EVENTS
 *
 * CONTENT holds the one user message that every request must bring, ANSWER a chat completion, EVENTS the server-sent
 * events of the same, one a line. Eight # in them stand for a serial number, which is taken from the request into
 * its answer. A KEY of "-" is not asked for. The first line written says the port of 127.0.0.1. Besides
 * /v1/chat/completions there are /v1/models, /health, /stats and /pace?first_us=N&gap_us=N, which sets the time
 * before the first event (or the answer) and between events. */
#define _GNU_SOURCE
#include "http.h"
#include "json.h"

#define PEERS 8192
#define ROOM 65536
#define PIECES 1024
#define SOON 256

typedef struct {
    Text piece[PIECES];
    char *place[PIECES]; /* of the serial number, in the piece */
    size_t pieces;
} Script;

typedef struct {
    size_t in_size, out_size;
    bool writing;
    const Script *script; /* what is being answered, from piece `next` on, at `due` */
    size_t next;
    int64_t due;
    uint64_t serial;
    char in[ROOM + 1], out[ROOM];
} Peer;

static Peer *peers[PEERS];
static int poller, waiting[PEERS], waiters;
static Script answer, events;
static Text content;
static const char *model, *key;
static int64_t first_ns, gap_ns;
static struct {
    unsigned long requests, invalid, aborted, answered;
    const char *reason;
} stats = {.reason = ""};

static void add_piece(Script *script, const char *before, Text text, const char *after) {
    char *at = NULL;
    int size = asprintf(&at, "%s%.*s%s", before, (int)text.size, text.at, after);
    if (size < 0 || script->pieces == PIECES) fail("script");
    script->piece[script->pieces] = (Text){at, (size_t)size};
    script->place[script->pieces++] = strstr(at, SERIAL);
}

static void load_answer(const char *path) {
    char head[256];
    Text body = read_file(path);
    sprintf(head, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body.size);
    add_piece(&answer, head, body, "");
}

static void load_events(const char *path) {
    const char *head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n";
    Text file = read_file(path);
    char before[320], *end;
    for (char *line = file.at; (end = strchr(line, '\n')); line = end + 1) {
        sprintf(before, "%s%zx\r\n", line == file.at ? head : "", (size_t)(end - line) + 2);
        add_piece(&events, before, (Text){line, (size_t)(end - line)}, end[1] ? "\n\n\r\n" : "\n\n\r\n0\r\n\r\n");
    }
}

static void forget(int socket) {
    Peer *peer = peers[socket];
    stats.aborted += peer->script != NULL || peer->out_size;
    for (int i = 0; i < waiters; i++)
        if (waiting[i] == socket) waiting[i--] = waiting[--waiters];
    free(peer);
    peers[socket] = NULL;
    close(socket);
}

static void flush(int socket) {
    Peer *peer = peers[socket];
    if (!peer->out_size) return;
    ssize_t size = send(socket, peer->out, peer->out_size, MSG_NOSIGNAL);
    if (size < 0) size = 0;
    memmove(peer->out, peer->out + size, peer->out_size -= (size_t)size);
    bool writing = peer->out_size > 0;
    if (writing != peer->writing) expect(poller, socket, writing ? EPOLLIN | EPOLLOUT : EPOLLIN);
    peer->writing = writing;
}

static void put(Peer *peer, const char *text, size_t size) {
    if (peer->out_size + size > ROOM) fail("an answer is longer than there is room for");
    memcpy(peer->out + peer->out_size, text, size);
    peer->out_size += size;
}

static void put_small(Peer *peer, const char *status, const char *body) {
    char text[1024];
    int size = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                        status, strlen(body), body);
    put(peer, text, (size_t)size);
}

/* Say what is due, and nothing early. */
static void speak(Peer *peer, int64_t now) {
    while (peer->script && peer->due <= now) {
        const Script *script = peer->script;
        Text piece = script->piece[peer->next];
        char *place = script->place[peer->next];
        put(peer, piece.at, piece.size);
        if (place) put_serial(peer->out + peer->out_size - piece.size + (place - piece.at), peer->serial);
        peer->due += gap_ns;
        if (++peer->next == script->pieces) peer->script = NULL, stats.answered++;
    }
}

/* What is wrong with a chat completion's request, or NULL. */
static const char *fault(const char *head, const char *body, const char *end, bool *stream, uint64_t *serial) {
    char text[ROOM];
    const char *given = header(head, body, "authorization"), *value;
    if (*key != '-' && (!given || strncmp(given, "Bearer ", 7) || strncmp(given + 7, key, strlen(key)) ||
                        given[7 + strlen(key)] != '\r'))
        return "the key is not the upstream's";
    if (!json_whole(body, end)) return "the body is not JSON";
    long size = json_text(json_at(body, end, "model"), end, text, sizeof text);
    if (size != (long)strlen(model) || memcmp(text, model, (size_t)size)) return "the model is not the one served";
    if (json_at(body, end, "messages.1")) return "there is more than one message";
    size = json_text(json_at(body, end, "messages.0.role"), end, text, sizeof text);
    if (size != 4 || memcmp(text, "user", 4)) return "the message is not the user's";
    size = json_text(json_at(body, end, "messages.0.content"), end, text, sizeof text);
    if (size < 0 || !matches(content, text, (size_t)size, serial)) return "the message is not the one expected";
    value = json_at(body, end, "stream");
    *stream = value && !strncmp(value, "true", 4);
    return NULL;
}

static void complete(int socket, const char *head, const char *body, const char *end) {
    Peer *peer = peers[socket];
    bool stream = false;
    stats.requests++;
    const char *reason = fault(head, body, end, &stream, &peer->serial);
    if (reason) {
        stats.invalid++;
        stats.reason = reason;
        put_small(peer, "400 Bad Request", "{\"error\":{\"message\":\"invalid\",\"type\":\"invalid_request_error\"}}");
        return;
    }
    peer->script = stream ? &events : &answer;
    peer->next = 0;
    peer->due = now_ns() + first_ns;
    if (first_ns || gap_ns) waiting[waiters++] = socket;
    speak(peer, peer->due - first_ns);
}

static void respond(int socket, const char *head, const char *body, const char *end) {
    Peer *peer = peers[socket];
    char text[512];
    long first_us, gap_us;
    if (!strncmp(head, "POST /v1/chat/completions ", 26)) {
        complete(socket, head, body, end);
    } else if (!strncmp(head, "GET /v1/models ", 15)) {
        snprintf(text, sizeof text, "{\"object\":\"list\",\"data\":[{\"id\":\"%s\",\"object\":\"model\"}]}", model);
        put_small(peer, "200 OK", text);
    } else if (!strncmp(head, "GET /stats ", 11)) {
        snprintf(text, sizeof text,
                 "{\"requests\":%lu,\"invalid\":%lu,\"aborted\":%lu,\"answered\":%lu,\"reason\":\"%s\"}",
                 stats.requests, stats.invalid, stats.aborted, stats.answered, stats.reason);
        put_small(peer, "200 OK", text);
    } else if (sscanf(head, "POST /pace?first_us=%ld&gap_us=%ld ", &first_us, &gap_us) == 2) {
        first_ns = first_us * 1000, gap_ns = gap_us * 1000;
        put_small(peer, "200 OK", "{}");
    } else {
        put_small(peer, strncmp(head, "GET /health ", 12) ? "404 Not Found" : "200 OK", "{}");
    }
}

/* Take every whole request out of what has come in; false where it is not HTTP as it is spoken here. */
static bool serve(int socket) {
    Peer *peer = peers[socket];
    while (!peer->script) {
        peer->in[peer->in_size] = 0;
        char *blank = memmem(peer->in, peer->in_size, "\r\n\r\n", 4);
        if (!blank) return peer->in_size < ROOM;
        char *body = blank + 4;
        const char *length = header(peer->in, body, "content-length");
        if (!length && !strncmp(peer->in, "POST /v1", 8)) return false;
        size_t size = (size_t)(body - peer->in) + (length ? strtoul(length, NULL, 10) : 0);
        if (size > ROOM) return false;
        if (peer->in_size < size) return true;
        respond(socket, peer->in, body, peer->in + size);
        memmove(peer->in, peer->in + size, peer->in_size -= size);
    }
    return true;
}

static void hear(int socket) {
    Peer *peer = peers[socket];
    ssize_t size = recv(socket, peer->in + peer->in_size, ROOM - peer->in_size, 0);
    if (size > 0) peer->in_size += (size_t)size;
    else if (size == 0 || errno != EAGAIN) return forget(socket);
    if (serve(socket)) flush(socket);
    else forget(socket);
}

static void welcome(int listener) {
    int socket = accept(listener, NULL, NULL);
    if (socket < 0) return;
    if (socket >= PEERS || !(peers[socket] = calloc(1, sizeof(Peer)))) fail("too many connections");
    attend(poller, socket, EPOLLIN);
}

/* Say what has fallen due on each connection; nanoseconds until the next, or -1. */
static int64_t keep_time(void) {
    int64_t now = now_ns(), next = -1;
    for (int i = 0; i < waiters; i++) {
        int socket = waiting[i];
        Peer *peer = peers[socket];
        speak(peer, now);
        if (!peer->script) {
            waiting[i--] = waiting[--waiters];
            if (serve(socket)) flush(socket);
            else forget(socket);
            continue;
        }
        flush(socket);
        if (next < 0 || peer->due - now < next) next = peer->due - now;
    }
    return next;
}

int main(int count, char **words) {
    if (count != 6) return fprintf(stderr, "usage: upstream MODEL KEY CONTENT ANSWER EVENTS\n"), 2;
    model = words[1], key = words[2], content = read_file(words[3]);
    load_answer(words[4]);
    load_events(words[5]);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    poller = epoll_create1(0);
    attend(poller, listener, EPOLLIN);
    for (;;) {
        struct epoll_event soon[SOON];
        int64_t pause = keep_time();
        struct timespec time = span(pause);
        int ready = epoll_pwait2(poller, soon, SOON, pause < 0 ? NULL : &time, NULL);
        for (int i = 0; i < ready; i++) {
            int socket = soon[i].data.fd;
            if (socket == listener) welcome(listener);
            else if (peers[socket] && soon[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) hear(socket);
            else if (peers[socket]) flush(socket);
        }
    }
}
