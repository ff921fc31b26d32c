/* SPDX-License-Identifier: MIT */
/* Connections that have been moved to other cores (net/away.h). */
#include "net/away.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "core/team.h"
#include "net/listener.h"

enum {
    NOWHERE = -1, /* on its way, or closed */
};

struct order {
    struct coil__post post;
    struct coil__away *away;
    void (*obey)(const struct coil__away *away);
    atomic_bool is_given;
};

struct coil__away {
    struct coil__list link;
    struct coil__server *server;
    coil_remote *home;
    coil_time close_timeout;
    unsigned pending_count; /* posts that have yet to come home: the end's, and orders under way */
    struct coil__post end;
    struct order drain;
    struct order cancel;
    atomic_int core; /* where it is, or NOWHERE */

    /* Of that core. */
    struct coil__loan *loan;
    coil_fiber *fiber;
};

/* ---- At home ---- */

static void came_home(struct coil__away *away)
{
    COIL_ASSERT(away->pending_count > 0);
    if (--away->pending_count > 0)
        return;
    coil__list_remove(&away->link);
    coil__server_left(away->server);
    coil__free(away);
}

static void end_came_home(struct coil__post *post)
{
    came_home(container_of(post, struct coil__away, end));
}

static void order_came_home(struct coil__post *post)
{
    came_home(container_of(post, struct order, post)->away);
}

/* ---- Where the connection is, or was ---- */

static bool is_here(struct coil__away *away)
{
    return atomic_load(&away->core) == (int)coil__sched_this->core;
}

static void obey_drain(const struct coil__away *away)
{
    if (away->loan->stream)
        coil__stream_drain(away->loan->stream);
}

static void obey_cancel(const struct coil__away *away)
{
    coil_cancel(away->fiber);
}

/* Sends a post home. Refused only when the server is lost, and what is its own with it. */
static void send_home(const struct coil__away *away, struct coil__post *post,
                      void (*run)(struct coil__post *post))
{
    post->run = run;
    (void)coil__remote_post(away->home, post);
}

static void order_arrives(struct coil__post *post)
{
    struct order *order = container_of(post, struct order, post);

    if (is_here(order->away))
        order->obey(order->away);
    send_home(order->away, post, order_came_home);
}

void coil__away_arrive(struct coil__away *away, struct coil__loan *loan)
{
    away->loan = loan;
    away->fiber = coil_self();
    atomic_store(&away->core, (int)coil__sched_this->core);
    if (atomic_load(&away->drain.is_given))
        obey_drain(away);
    if (atomic_load(&away->cancel.is_given))
        obey_cancel(away);
}

static struct coil__away *depart(struct coil__loan *loan)
{
    struct coil__away *away = loan->away;

    loan->away = NULL;
    if (away)
        atomic_store(&away->core, NOWHERE);
    return away;
}

coil_time coil__away_close_timeout(const struct coil__away *away)
{
    return away->close_timeout;
}

void coil__away_end(struct coil__away *away)
{
    if (!away)
        return;
    atomic_store(&away->core, NOWHERE);
    send_home(away, &away->end, end_came_home);
}

/* ---- The beginning ---- */

static void order_init(struct order *order, struct coil__away *away,
                       void (*obey)(const struct coil__away *away), bool is_given)
{
    order->away = away;
    order->obey = obey;
    atomic_init(&order->is_given, is_given);
}

static struct coil__away *new_away(struct coil__server *server)
{
    struct coil__away *away = coil__alloc(sizeof *away);

    if (!away)
        return NULL;
    away->server = server;
    away->home = server->listener->sched->remote;
    away->close_timeout = server->options.close_timeout;
    away->pending_count = 1;
    order_init(&away->drain, away, obey_drain, server->is_draining);
    order_init(&away->cancel, away, obey_cancel, server->is_cancelling);
    atomic_init(&away->core, NOWHERE);
    coil__list_push_back(&server->away, &away->link);
    server->running++;
    return away;
}

int coil__away_begin(coil_stream *stream, struct coil__away **ret_away)
{
    struct coil__loan *loan = stream->loan;
    struct coil__away *away;

    if (!loan) {
        *ret_away = NULL;
        return 0;
    }
    COIL_ASSERT(loan->stream == stream && "its handler has not returned yet");
    loan->stream = NULL;
    stream->loan = NULL;
    away = loan->server ? new_away(loan->server) : depart(loan);
    if (loan->server && !away)
        return -ENOMEM;
    *ret_away = away;
    return 0;
}

/* ---- Orders ---- */

static void give(struct coil__away *away, struct order *order)
{
    int core;

    if (atomic_exchange(&order->is_given, true))
        return;
    core = atomic_load(&away->core);
    if (core == NOWHERE)
        return;
    order->post.run = order_arrives;
    if (coil__remote_post(coil__team_remote(away->server->listener->sched, (unsigned)core),
                          &order->post) == 0)
        away->pending_count++;
}

void coil__away_drain_all(struct coil__server *server)
{
    struct coil__list *link;

    for (link = server->away.next; link != &server->away; link = link->next) {
        struct coil__away *away = container_of(link, struct coil__away, link);

        give(away, &away->drain);
    }
}

void coil__away_cancel_all(struct coil__server *server)
{
    struct coil__list *link;

    for (link = server->away.next; link != &server->away; link = link->next) {
        struct coil__away *away = container_of(link, struct coil__away, link);

        give(away, &away->cancel);
    }
}
