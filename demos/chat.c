/* SPDX-License-Identifier: MIT */
/* chat: one room for everybody who connects; a tour of channels and coil_select().
 *
 *     chat --listen 127.0.0.1:5000          (then, elsewhere: nc 127.0.0.1 5000)
 *
 * Who connects says a nickname, and from then on hears what the others say. Each client has two
 * fibers: the reader makes messages to the room of its lines, the writer sends what the room has
 * put into the client's channel. The room is a fiber too (chat_room.c); chat.h says what passes
 * between them. A client that does not read loses its place, and slows down nobody; so does one
 * that says nothing, soon if not even a nickname. SIGTERM or SIGINT stops it gracefully: everybody
 * gets a last line, then it exits with 0.
 */
#include "chat.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plain.h"

enum {
    IDLE_SECONDS = 600,   /* of silence, then a client has to go */
    NAMING_SECONDS = 30,  /* to say a nickname */
    SECONDS_MAX = 86400,  /* a day */
    FAREWELL_SECONDS = 2, /* for the last lines */
    LINES_AT_ONCE = 64,   /* that one client may say, then it waits for a breath */
};

/* A program that pours its lines in would make slow clients of all others, who may be behind by
 * QUEUE_LINES. Nobody who types will notice. */
static const coil_time breath = COIL_MS(10);

/* ---- A client's two fibers ---- */

static int write_lines(void *arg)
{
    struct client *client = arg;
    struct line *line;
    int result = 0;

    while (result == 0 && coil_chan_recv(client->lines, &line) > 0) {
        result = coil_write(client->stream, line->text, line->length);
        line_unref(line);
        if (result == 0 && coil_chan_len(client->lines) == 0)
            result = coil_flush(client->stream);
    }
    if (result == 0)
        result = coil_shutdown(client->stream);
    if (result < 0)
        coil_cancel(client->reader); /* nobody is there to read, so it may end as well */
    return 0;
}

/* Takes the end of the line off and makes harmless what can't be shown. */
static void clean(char *text, size_t length)
{
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    text[length] = '\0';
    make_plain(text, length);
}

static void read_lines(struct client *client, struct room *room)
{
    struct message message = {.from = client};
    unsigned count = 0;
    ssize_t length;

    for (;;) {
        length = coil_read_line(client->stream, message.text, sizeof message.text);
        if (length == -EMSGSIZE) {
            say(client, line_new("* too long: %d bytes at most\n", LINE_SIZE - 1));
            length = coil_skip_line(client->stream);
            if (length > 0)
                continue;
        }
        if (length <= 0)
            return;
        clean(message.text, (size_t)length);
        if (strcmp(message.text, "/quit") == 0)
            return;
        if (coil_chan_send(room->messages, &message) < 0)
            return;
        if (++count % LINES_AT_ONCE == 0 && coil_sleep(breath) < 0)
            return;
    }
}

/* The room knows the client from its join until it has forgotten it, whatever interrupts. */
static void visit(struct client *client, struct room *room)
{
    coil_scope shield;
    int result = coil_chan_send(room->joins, &client);

    if (result < 0)
        return;
    read_lines(client, room);
    coil_scope_enter_shield(&shield, COIL_NEVER);
    result = coil_chan_send(room->leaves, &client);
    /* That the room has the item does not say that it has done anything about it. */
    while (result == 0 && !coil_flag_is_set(&client->forgotten))
        result = coil_flag_wait(&client->forgotten);
    (void)coil_scope_leave(&shield);
}

static void drop_line(void *item, void *arg)
{
    (void)arg;
    line_unref(*(struct line **)item);
}

/* Until the client has seen the end: a close with input left unread would be a reset, which can
 * take the last lines away from it. */
static void read_to_end(coil_stream *stream)
{
    const char *bytes;
    ssize_t length;

    while ((length = coil_peek(stream, 1, &bytes)) > 0)
        coil_consume(stream, (size_t)length);
}

static int serve_client(coil_stream *stream, void *arg)
{
    struct client client = {.reader = coil_self(), .stream = stream, .fate = "has left"};
    coil_scope farewell;
    coil_group writer;
    int result = coil_chan_new(QUEUE_LINES, sizeof(struct line *), &client.lines);

    if (result < 0)
        return result;
    coil_flag_init(&client.forgotten);
    coil_fiber_name_set(client.reader, "stranger");
    coil_group_enter(&writer, 0);
    result = coil_group_spawn(&writer, write_lines, &client, NULL);
    if (result == 0)
        visit(&client, arg);
    coil_chan_close(client.lines);
    if (client.is_lost)
        coil_group_cancel(&writer);
    /* The last lines may take some time, and a cancelled reader gives it to its writer. */
    coil_scope_enter_shield(&farewell, COIL_SECONDS(FAREWELL_SECONDS));
    if (coil_group_leave(&writer) == 0 && !client.is_lost)
        read_to_end(stream);
    (void)coil_scope_leave(&farewell);
    (void)coil_chan_close_now(client.lines, drop_line, NULL);
    coil_chan_free(client.lines);
    return result;
}

/* ---- The server ---- */

static int stop(int number, void *arg)
{
    struct room *room = arg;

    (void)number;
    coil_flag_set(&room->stop);
    return 0;
}

static int listen_and_serve(struct room *room)
{
    coil_serve_options options = COIL_SERVE_OPTIONS_INIT;
    char address[COIL_ADDRESS_SIZE];
    coil_group group;
    int room_result;
    int result = coil_listen(room->address, NULL, &room->listener);

    if (result < 0) {
        (void)fprintf(stderr, "chat: cannot listen on %s: %s\n", room->address,
                      coil_strerror(result));
        return result;
    }
    coil_group_enter(&group, 0);
    result = coil_group_spawn(&group, run_room, room, NULL);
    if (result == 0)
        result = coil_signal_handle(SIGTERM, stop, room, NULL);
    if (result == 0)
        result = coil_signal_handle(SIGINT, stop, room, NULL);
    if (result == 0) {
        (void)coil_listener_address(room->listener, address, sizeof address);
        (void)printf("listening on %s\n", address);
        (void)fflush(stdout);
        options.concurrency = CLIENTS_MAX;
        options.close_timeout = COIL_SECONDS(FAREWELL_SECONDS);
        result = coil_serve(room->listener, serve_client, room, &options);
    }
    coil_group_cancel(&group);
    room_result = coil_group_leave(&group);
    coil_listener_close(room->listener);
    return result < 0 ? result : room_result;
}

static int serve(void *arg)
{
    struct room *room = arg;
    int result = coil_chan_new(0, sizeof(struct client *), &room->joins);

    coil_flag_init(&room->stop);
    if (result == 0)
        result = coil_chan_new(0, sizeof(struct client *), &room->leaves);
    if (result == 0)
        result = coil_chan_new(0, sizeof(struct message), &room->messages);
    if (result == 0)
        result = listen_and_serve(room);
    coil_chan_free(room->joins);
    coil_chan_free(room->leaves);
    coil_chan_free(room->messages);
    return result;
}

/* Returns the number of seconds in `text`, or -1. */
static long seconds_from(const char *text)
{
    char *end;
    const long seconds = strtol(text, &end, 10);

    return *text && !*end && seconds >= 1 && seconds <= SECONDS_MAX ? seconds : -1;
}

/* Takes the option `name` and its seconds, if they are at argv[*at]. */
static bool take_seconds(char **argv, int *at, const char *name, coil_time *ret_time)
{
    const char *value = argv[*at + 1];

    if (strcmp(argv[*at], name) != 0 || !value || seconds_from(value) < 0)
        return false;
    *ret_time = COIL_SECONDS(seconds_from(value));
    *at += 1;
    return true;
}

static int usage(FILE *out, int status)
{
    (void)fprintf(out,
                  "usage: chat --listen ADDRESS [--idle SECONDS] [--naming SECONDS]\n"
                  "A chat room for everybody who connects.\n\n"
                  "  --listen ADDRESS  127.0.0.1:5000, [::1]:0, :5000 or unix:PATH\n"
                  "  --idle SECONDS    who says nothing for so long has to go: %d\n"
                  "  --naming SECONDS  who has no nickname by then has to go: %d\n"
                  "  --help            this text\n",
                  IDLE_SECONDS, NAMING_SECONDS);
    return status;
}

int main(int argc, char **argv)
{
    static struct room room = {
        .idle = COIL_SECONDS(IDLE_SECONDS),
        .naming = COIL_SECONDS(NAMING_SECONDS),
    };
    coil_options options = COIL_OPTIONS_INIT;
    int result;
    int status = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--listen") == 0 && i + 1 < argc) {
            room.address = argv[++i];
        } else if (take_seconds(argv, &i, "--idle", &room.idle) ||
                   take_seconds(argv, &i, "--naming", &room.naming)) {
            continue;
        } else if (strcmp(argv[i], "--help") == 0) {
            return usage(stdout, 0);
        } else {
            (void)fprintf(stderr, "chat: unknown argument %s\n", argv[i]);
            return usage(stderr, 2);
        }
    }
    if (!room.address)
        return usage(stderr, 2);

    options.report_overflow = true;
    options.dump_on_quit = true;
    result = coil_run(serve, &room, &options, &status);
    if (result < 0)
        (void)fprintf(stderr, "chat: %s\n", coil_strerror(result));
    return result < 0 || status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
