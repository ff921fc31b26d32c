/* SPDX-License-Identifier: MIT */
/* Servers on all cores (coil/listeners.h).
 *
 * A place per core holds that core's listener. A serving loop runs there by coil_on(), called by a
 * fiber beside the caller's, so a cancellation of that fiber reaches the loop, and its end is heard
 * of here. Any end stops the others: by a post to each core, whose nodes are in the places, sent
 * once however often a stop is asked for.
 *
 * Invariant: a place's listener is touched on its own core only; the posts have arrived before it
 * is closed.
 */
#include <coil/listeners.h>

#include <errno.h>
#include <string.h>

#include <coil/core.h>
#include <coil/scope.h>

#include "base/alloc.h"
#include "base/options.h"
#include "core/remote.h"
#include "io/signal.h"

struct service;

struct place {
    coil_listeners *all;
    coil_remote *remote;
    coil_listener *listener;
    struct coil__post stop_post;
    bool is_stopped;
    struct service *service; /* while it is served; other cores only look at it */
    coil_fiber *caller;      /* of the loop there */
    unsigned core;
};

struct coil_listeners {
    unsigned count;
    atomic_bool is_stopping;
    int watch;             /* of coil_listen_options.stop_on_signals; or -1 */
    atomic_bool is_served; /* whoever sets it has the places' service and caller */
    coil_listen_options options;
    char address[COIL_ADDRESS_SIZE]; /* first as given, then as bound */
    struct place places[];
};

COIL_STATIC_ASSERT(sizeof(coil_listeners) <= 168, "a promise of the header");
COIL_STATIC_ASSERT(sizeof(struct place) <= 72, "a promise of the header");

/* ---- Opening and closing ---- */

static int open_here(void *arg)
{
    struct place *place = arg;
    coil_listeners *all = place->all;
    int result = coil_listen(all->address, &all->options, &place->listener);

    if (result == 0 && place->core == 0)
        result = coil_listener_address(place->listener, all->address, sizeof all->address);
    return result < 0 ? result : 0;
}

static int close_here(void *arg)
{
    struct place *place = arg;

    while (place->all->is_stopping && !place->is_stopped)
        coil_yield(); /* the post is on its way */
    coil_listener_close(place->listener);
    return 0;
}

static void stop_here(struct coil__post *post)
{
    struct place *place = container_of(post, struct place, stop_post);

    coil_serve_stop(place->listener);
    place->is_stopped = true;
}

static int open_all(coil_listeners *all)
{
    int result = 0;

    for (unsigned i = 0; i < all->count && result == 0; i++) {
        struct place *place = &all->places[i];
        int opened = 0;

        place->all = all;
        place->core = i;
        place->remote = coil_remote_get(i);
        place->stop_post.run = stop_here;
        result = coil_on(i, open_here, place, &opened);
        if (result == 0)
            result = opened;
    }
    return result;
}

int coil_listen_cores(const char *address, const coil_listen_options *options,
                      coil_listeners **ret_listeners)
{
    const unsigned count = coil_core_count();
    const size_t length = strlen(address);
    coil_listeners *all;
    int result;

    if (strncmp(address, "unix:", 5) == 0)
        return -EOPNOTSUPP;
    if (length >= sizeof all->address)
        return -EINVAL;
    all = coil__alloc(sizeof *all + count * sizeof all->places[0]);
    if (!all)
        return -ENOMEM;
    all->count = count;
    memcpy(all->address, address, length);
    all->watch = -1;
    result = coil__options_read(&all->options, sizeof all->options, options);
    all->options.reuse_port = true;
    if (result == 0 && all->options.stop_on_signals)
        result = all->watch = coil__signal_watch_stop();
    all->options.stop_on_signals = false; /* for all at once, not for each */
    if (result >= 0)
        result = open_all(all);
    if (result < 0) {
        coil_listeners_close(all);
        return result;
    }
    *ret_listeners = all;
    return 0;
}

int coil_listeners_address(const coil_listeners *listeners, char *ret_text, size_t size)
{
    return coil_listener_address(listeners->places[0].listener, ret_text, size);
}

/* For the end: whatever the caller's scopes say, and again when the other core is short of
 * something. A core that has ended has taken its listener down with it. */
static void on_surely(unsigned core, int (*fn)(void *), void *arg)
{
    coil_scope shield;
    int result;

    coil_scope_enter_shield(&shield, COIL_NEVER);
    do {
        result = coil_on(core, fn, arg, NULL);
        if (result < 0 && result != -ESHUTDOWN)
            (void)coil_sleep(COIL_MS(10));
    } while (result < 0 && result != -ESHUTDOWN);
    (void)coil_scope_leave(&shield);
}

void coil_listeners_close(coil_listeners *listeners)
{
    if (!listeners)
        return;
    COIL_ASSERT(!listeners->is_served &&
                "coil_serve_cores() returns first: coil_serve_cores_stop()");
    for (unsigned i = 0; i < listeners->count; i++) {
        struct place *place = &listeners->places[i];

        if (place->listener)
            on_surely(i, close_here, place);
        coil_remote_unref(place->remote);
    }
    if (listeners->watch >= 0)
        coil__signal_unwatch(listeners->watch);
    coil__free(listeners);
}

/* ---- Serving ---- */

void coil_serve_cores_stop(coil_listeners *listeners)
{
    const unsigned count = listeners->count; /* with the last post they may be gone */

    if (atomic_exchange(&listeners->is_stopping, true))
        return;
    for (unsigned i = 0; i < count; i++)
        (void)coil__remote_post(listeners->places[i].remote, &listeners->places[i].stop_post);
}

struct service {
    coil_listeners *all;
    int (*serve)(coil_listener *listener, void *arg);
    void *arg;
    int watch;         /* for signals; -1 for none */
    int result;        /* the first failure */
    bool is_cancelled; /* all of it, by a signal */
};

static int serve_here(void *arg)
{
    const struct place *place = arg;

    return place->service->serve(place->listener, place->service->arg);
}

static int call_loop(void *arg)
{
    struct place *place = arg;
    struct service *service = place->service;
    int value = 0;
    int result = coil_on(place->core, serve_here, place, &value);

    if (result == 0)
        result = value;
    if (result < 0 && service->result == 0 && !service->is_cancelled)
        service->result = result;
    coil_serve_cores_stop(service->all);
    return 0;
}

static void cancel_all(coil_listeners *all)
{
    for (unsigned i = 0; i < all->count; i++)
        if (all->places[i].caller)
            coil_cancel(all->places[i].caller);
}

static int watch_signals(void *arg)
{
    struct service *service = arg;

    if (coil__signal_wait(service->watch) < 0)
        return 0;
    coil_serve_cores_stop(service->all);
    if (coil__signal_wait(service->watch) < 0)
        return 0;
    service->is_cancelled = true;
    cancel_all(service->all);
    return 0;
}

/* That of the listeners themselves goes on. */
static void end_watch(const struct service *service)
{
    if (service->all->watch < 0)
        coil__signal_unwatch(service->watch);
}

static int start_watcher(struct service *service, coil_fiber **ret_watcher)
{
    int result;

    service->watch = service->all->watch < 0 ? coil__signal_watch_stop() : service->all->watch;
    if (service->watch < 0)
        return service->watch;
    result = coil_spawn(watch_signals, service, ret_watcher);
    if (result == 0)
        coil_fiber_name_set(*ret_watcher, "signals");
    else
        end_watch(service);
    return result;
}

/* Waits for a fiber's end, even if the caller has been interrupted. */
static void join_surely(coil_fiber *fiber)
{
    coil_scope shield;

    coil_scope_enter_shield(&shield, COIL_NEVER);
    (void)coil_join(fiber, NULL);
    (void)coil_scope_leave(&shield);
    coil_fiber_unref(fiber);
}

/* Waits for all loops. Returns 0, or the interruption, which cancels them. */
static int join_all(coil_listeners *all)
{
    int result = 0;

    for (unsigned i = 0; i < all->count; i++) {
        coil_fiber *caller = all->places[i].caller;

        if (caller && result == 0) {
            result = coil_join(caller, NULL);
            if (result < 0)
                cancel_all(all);
        }
    }
    for (unsigned i = 0; i < all->count; i++) {
        coil_fiber *caller = all->places[i].caller;

        all->places[i].caller = NULL;
        if (caller)
            join_surely(caller);
    }
    return result;
}

static int run_service(struct service *service)
{
    coil_listeners *all = service->all;
    int result = 0;
    int interruption;

    for (unsigned i = 0; i < all->count && result == 0; i++) {
        all->places[i].service = service;
        result = coil_spawn(call_loop, &all->places[i], &all->places[i].caller);
        if (result == 0)
            coil_fiber_name_set(all->places[i].caller, "server of a core");
    }
    if (result < 0)
        cancel_all(all);
    interruption = join_all(all);
    if (result == 0)
        result = interruption;
    return result < 0 ? result : service->result;
}

int coil_listeners_run(coil_listeners *listeners, int (*serve)(coil_listener *, void *), void *arg,
                       bool stop_on_signals)
{
    struct service service = {.all = listeners, .serve = serve, .arg = arg, .watch = -1};
    coil_fiber *watcher = NULL;
    int result = 0;

    if (atomic_exchange(&listeners->is_served, true))
        return -EBUSY;
    if (stop_on_signals || listeners->watch >= 0)
        result = start_watcher(&service, &watcher);
    if (result == 0)
        result = run_service(&service);
    if (watcher) {
        coil_cancel(watcher);
        join_surely(watcher);
        end_watch(&service);
    }
    atomic_store(&listeners->is_served, false);
    return result;
}

struct server {
    coil_handler *handler;
    void *arg;
    coil_serve_options options;
};

static int serve_connections(coil_listener *listener, void *arg)
{
    const struct server *server = arg;

    return coil_serve(listener, server->handler, server->arg, &server->options);
}

int coil_serve_cores(coil_listeners *listeners, coil_handler *handler, void *arg,
                     const coil_serve_options *options)
{
    struct server server = {.handler = handler, .arg = arg};
    const int result = coil__options_read(&server.options, sizeof server.options, options);
    bool stop_on_signals;

    if (result < 0)
        return result;
    stop_on_signals = server.options.stop_on_signals;
    server.options.stop_on_signals = false;
    return coil_listeners_run(listeners, serve_connections, &server, stop_on_signals);
}
