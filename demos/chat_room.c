/* SPDX-License-Identifier: MIT */
/* The room of the chat server: one fiber that owns what it knows and waits for five things at once.
 *
 * Somebody comes, says something or goes, a second passes, a signal asks for the end: coil_select()
 * makes one of these happen and says which. Nothing else touches the clients' names or their list,
 * so there is nothing to lock; and the room waits nowhere else, so nobody can hold it up. It hands
 * out lines by coil_chan_try_send(), and a client for whom that fails has to go.
 *
 * Who has to go is dismissed: no more lines, and its reader cancelled. All the rest happens as at
 * any other end, when the reader says that it leaves; until then the client stays on the list.
 */
#include "chat.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    /* After so many the writers have a turn, with what the network has to tell: when all talk at
     * once, those who do read must not look slow. Far less than QUEUE_LINES. */
    MESSAGES_AT_ONCE = 4,
};

static const coil_time tick = COIL_SECONDS(1);

/* ---- Lines ---- */

void line_unref(struct line *line)
{
    if (line && --line->references == 0)
        free(line);
}

struct line *line_new(const char *format, ...)
{
    const size_t size = (size_t)2 * LINE_SIZE;
    struct line *line = malloc(sizeof *line + size);
    va_list arguments;
    int length;

    if (!line)
        return NULL;
    va_start(arguments, format);
    length = vsnprintf(line->text, size, format, arguments);
    va_end(arguments);
    line->references = 1;
    line->length = length < (int)size ? (size_t)length : size - 1;
    return line;
}

/* ---- What the room does to a client ---- */

static void dismiss(struct client *client, const char *fate)
{
    client->fate = fate;
    coil_chan_close(client->lines);
    coil_cancel(client->reader);
}

/* The reference of the caller stays the caller's. */
static void offer(struct client *client, struct line *line)
{
    const int result = coil_chan_try_send(client->lines, &line);

    if (result == 0) {
        line->references++; /* in time: the writer has not run yet */
    } else if (result == -EAGAIN) {
        client->is_lost = true;
        dismiss(client, "was too slow");
    }
}

void say(struct client *client, struct line *line)
{
    if (line)
        offer(client, line);
    line_unref(line);
}

static void say_to_others(struct room *room, const struct client *from, struct line *line)
{
    for (size_t i = 0; line && i < room->count; i++)
        if (room->clients[i] != from && room->clients[i]->name[0])
            offer(room->clients[i], line);
    line_unref(line);
}

/* ---- The room ---- */

static void list_names(struct room *room, struct client *client)
{
    const size_t size = LINE_SIZE + room->count * NAME_SIZE;
    struct line *line = malloc(sizeof *line + size);

    if (!line)
        return;
    *line = (struct line){.references = 1};
    line->length = (size_t)snprintf(line->text, size, "* here:");
    for (size_t i = 0; i < room->count; i++) {
        if (room->clients[i]->name[0])
            line->length += (size_t)snprintf(line->text + line->length, size - line->length, " %s",
                                             room->clients[i]->name);
    }
    line->text[line->length++] = '\n';
    say(client, line);
}

static const char *why_not_named(const struct room *room, const char *name)
{
    const size_t length = strlen(name);

    if (length == 0 || length >= NAME_SIZE)
        return "a nickname has 1 to 16 characters";
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_')
            return "a nickname is made of letters, digits, - and _";
    for (size_t i = 0; i < room->count; i++)
        if (strcasecmp(room->clients[i]->name, name) == 0)
            return "that nickname is taken";
    return NULL;
}

static void name_client(struct room *room, struct client *client, const char *name)
{
    const char *reason = why_not_named(room, name);

    if (reason) {
        say(client, line_new("* %s\n", reason));
        return;
    }
    if (client->name[0])
        say_to_others(room, NULL, line_new("* %s is now %s\n", client->name, name));
    else
        say_to_others(room, NULL, line_new("* %s has come\n", name));
    (void)snprintf(client->name, sizeof client->name, "%s", name);
    coil_fiber_name_set(client->reader, name); /* for coil_dump() and the like */
    say(client, line_new("* you are %s\n", name));
}

static void hear(struct room *room, const struct message *message)
{
    struct client *client = message->from;

    client->heard = coil_now();
    if (!client->name[0])
        name_client(room, client, message->text);
    else if (strncmp(message->text, "/nick ", 6) == 0)
        name_client(room, client, message->text + 6);
    else if (strcmp(message->text, "/who") == 0)
        list_names(room, client);
    else if (message->text[0] == '/')
        say(client, line_new("* there is /nick NAME, /who and /quit\n"));
    else
        say_to_others(room, client, line_new("<%s> %s\n", client->name, message->text));
}

static void let_in(struct room *room, struct client *client)
{
    client->came = client->heard = coil_now();
    room->clients[room->count++] = client;
    say(client, line_new("* welcome; what is your nickname?\n"));
}

static void forget(struct room *room, struct client *client)
{
    size_t i = 0;

    while (room->clients[i] != client)
        i++;
    room->clients[i] = room->clients[--room->count];
    if (client->name[0] && !coil_flag_is_set(&room->stop))
        say_to_others(room, client, line_new("* %s %s\n", client->name, client->fate));
    say(client, line_new("* goodbye\n"));
    coil_chan_close(client->lines);
    coil_flag_set(&client->forgotten);
}

/* Strangers have less time, counted from when they came: they are no company, but each takes one of
 * the CLIENTS_MAX places. */
static void dismiss_late(struct room *room)
{
    const int64_t now = coil_now();

    for (size_t i = 0; i < room->count; i++) {
        struct client *client = room->clients[i];

        if (coil_chan_is_closed(client->lines))
            continue;
        if (now - client->heard >= room->idle) {
            say(client, line_new("* silent for too long, goodbye\n"));
            dismiss(client, "was silent for too long");
        } else if (!client->name[0] && now - client->came >= room->naming) {
            say(client, line_new("* no nickname for too long, goodbye\n"));
            dismiss(client, "has left");
        }
    }
}

static void dismiss_all(struct room *room)
{
    for (size_t i = 0; i < room->count; i++) {
        say(room->clients[i], line_new("* the server stops, goodbye\n"));
        dismiss(room->clients[i], "has left");
    }
}

int run_room(void *arg)
{
    enum {
        JOIN,
        LEAVE,
        MESSAGE,
        TICK,
        STOP,
        CASES
    };

    struct room *room = arg;
    struct client *client;
    struct message message;
    int64_t next_tick = coil_now() + tick;
    int chosen = STOP;
    unsigned heard = 0;
    coil_case cases[CASES] = {
        [JOIN] = coil_case_recv(room->joins, &client),
        [LEAVE] = coil_case_recv(room->leaves, &client),
        [MESSAGE] = coil_case_recv(room->messages, &message),
        [STOP] = coil_case_flag(&room->stop),
    };

    coil_fiber_name_set(coil_self(), "room");
    for (;;) {
        /* The time counts from this call on, so a talkative room must not begin it anew. */
        cases[TICK] = coil_case_after(next_tick - coil_now());
        /* Begins behind the last choice: those who talk without end keep nobody from leaving. */
        chosen = coil_select_from(cases, CASES, (size_t)chosen + 1);
        switch (chosen) {
        case JOIN:
            let_in(room, client);
            if (coil_flag_is_set(&room->stop))
                dismiss_all(room);
            break;
        case LEAVE:
            forget(room, client);
            break;
        case MESSAGE:
            hear(room, &message);
            if (++heard % MESSAGES_AT_ONCE == 0)
                coil_yield();
            break;
        case TICK:
            dismiss_late(room);
            next_tick = coil_now() + tick;
            break;
        case STOP:
            coil_serve_stop(room->listener);
            dismiss_all(room);
            cases[STOP] = coil_case_none(); /* it stays set: once is enough */
            break;
        default: /* cancelled, when the last client has gone */
            return chosen;
        }
    }
}
