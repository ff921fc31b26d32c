/* SPDX-License-Identifier: MIT */
/* A server as a fiber (tests/net/serve_fixture.h). */
#include "net/serve_fixture.h"

#include <stdio.h>
#include <unistd.h>

int site_serve(void *arg)
{
    struct site *site = arg;

    return coil_serve(site->listener, site->handler, site, &site->options);
}

static void open_at(struct site *site, coil_handler *handler, const char *address)
{
    *site = (struct site){.options = COIL_SERVE_OPTIONS_INIT, .handler = handler};
    cr_assert_eq(coil_listen(address, NULL, &site->listener), 0);
    cr_assert_gt(coil_listener_address(site->listener, site->address, sizeof site->address), 0);
}

void site_open(struct site *site, coil_handler *handler)
{
    open_at(site, handler, "127.0.0.1:0");
}

void site_open_unix(struct site *site, coil_handler *handler)
{
    char address[COIL_ADDRESS_SIZE];

    (void)snprintf(address, sizeof address, "unix:@coil site %d", (int)getpid());
    open_at(site, handler, address);
}

void site_start(struct site *site)
{
    site->fiber = spawn_until_parked(site_serve, site);
}

int site_end(struct site *site)
{
    coil_scope scope;
    int result = 0;
    int status;

    coil_scope_enter(&scope, COIL_SECONDS(20));
    status = coil_join(site->fiber, &result);
    (void)coil_scope_leave(&scope);
    cr_assert_eq(status, 0, "the server does not end");
    coil_fiber_unref(site->fiber);
    cr_assert_eq(site->running, 0, "it returns after its last handler");
    coil_listener_close(site->listener);
    return result;
}

void site_stop(struct site *site)
{
    coil_serve_stop(site->listener);
    cr_assert_eq(site_end(site), 0);
}

void note_failure(int result, void *arg)
{
    struct site *site = arg;

    site->failed++;
    site->failure = result;
}

void came(struct site *site)
{
    site->running++;
    if (site->running > site->running_max)
        site->running_max = site->running;
}

void went(struct site *site)
{
    site->running--;
    site->served++;
}

void until_running(const struct site *site, unsigned count)
{
    while (site->running != count)
        coil_yield();
}

int wait_for_line(coil_stream *stream, void *arg)
{
    struct site *site = arg;
    char line[64];
    ssize_t n;

    came(site);
    n = coil_read_line(stream, line, sizeof line);
    if (n > 0)
        n = coil_write(stream, "done\n", 5);
    went(site);
    return (int)n;
}
