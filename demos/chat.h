/* SPDX-License-Identifier: MIT */
/* What the fibers of the chat server tell each other.
 *
 * A client's reader sends to the room's three channels: that it is there, what it said, that it
 * goes. They have capacity 0: a send ends when the room has the item, so what one reader sends in
 * an order arrives in it, through whichever channel. The room sends lines to the client's own
 * channel, from which the client's writer takes them.
 */
#ifndef COIL_DEMOS_CHAT_H
#define COIL_DEMOS_CHAT_H

#include <coil/coil.h>

enum {
    LINE_SIZE = 512,    /* of what a client says, with newline and NUL */
    NAME_SIZE = 17,     /* of a nickname, with NUL */
    CLIENTS_MAX = 1000, /* the others wait until one has left */
    QUEUE_LINES = 512,  /* that a client may be behind, besides what its socket holds */
};

/* One text for all who get it: the last of them frees it. */
struct line {
    size_t references;
    size_t length;
    char text[];
};

struct client {
    coil_fiber *reader;
    coil_stream *stream;
    coil_chan *lines;    /* struct line *, to the writer; closed: no more will come */
    coil_flag forgotten; /* by the room: only its own fibers know this client any more */

    /* The room's: */
    char name[NAME_SIZE]; /* empty: has yet to say it */
    const char *fate;     /* what the others hear when it leaves */
    int64_t came;
    int64_t heard; /* when it last said something */
    bool is_lost;  /* does not read: not worth a farewell */
};

struct message {
    struct client *from;
    char text[LINE_SIZE];
};

struct room {
    const char *address;
    coil_time idle;   /* who says nothing for so long has to go */
    coil_time naming; /* and who has no nickname by then, whatever it says */
    coil_listener *listener;
    coil_chan *joins;    /* struct client * */
    coil_chan *messages; /* struct message */
    coil_chan *leaves;   /* struct client * */
    coil_flag stop;
    struct client *clients[CLIENTS_MAX]; /* the room's, as is their number */
    size_t count;
};

/* The fiber of the room, which is its argument. Runs until it is cancelled. */
int run_room(void *arg);

/* Makes a line with one reference; NULL without memory. What exceeds two LINE_SIZE is cut. */
struct line *line_new(const char *format, ...) COIL_PRINTF(1, 2);

/* Gives a reference back; NULL is harmless. */
void line_unref(struct line *line);

/* Puts `line` into the client's channel and takes the caller's reference; NULL is harmless. Never
 * waits: a client whose channel is full has to go. */
void say(struct client *client, struct line *line);

#endif
