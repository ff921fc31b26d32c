/* SPDX-License-Identifier: MIT */
/* coil_udp_serve(): a fiber per datagram, so many at a time, and a graceful stop. */
#include <sys/socket.h>

#include "base/alloc.h"
#include "net/net_fixture.h"
#include "net/udp_fixture.h"

struct site {
    coil_udp *udp;
    coil_udp_serve_options options;
    coil_udp_handler *handler;
    coil_fiber *fiber;
    coil_event gate; /* for handlers that wait */
    unsigned running;
    unsigned running_max;
    unsigned served;
    int last_result;
};

static int serve(void *arg)
{
    struct site *site = arg;

    return coil_udp_serve(site->udp, site->handler, site, &site->options);
}

static void site_open(struct site *site, coil_udp_handler *handler)
{
    *site = (struct site){
        .udp = udp_at("127.0.0.1:0"),
        .options = COIL_UDP_SERVE_OPTIONS_INIT,
        .handler = handler,
    };
    coil_event_init(&site->gate);
}

static void site_start(struct site *site)
{
    site->fiber = spawn_until_parked(serve, site);
}

static int site_join(struct site *site)
{
    const int result = join_and_drop(site->fiber);

    cr_assert_eq(site->running, 0, "it returns after its last handler");
    coil_udp_close(site->udp);
    return result;
}

static void site_stop(struct site *site)
{
    coil_udp_serve_stop(site->udp);
    cr_assert_eq(site_join(site), 0);
}

static int answer(const void *data, size_t size, const coil_address *from, coil_udp *udp, void *arg)
{
    struct site *site = arg;

    site->served++;
    return coil_udp_send(udp, data, size, from);
}

static int wait_at_gate(const void *data, size_t size, const coil_address *from, coil_udp *udp,
                        void *arg)
{
    struct site *site = arg;

    site->running++;
    if (site->running > site->running_max)
        site->running_max = site->running;
    site->last_result = coil_event_wait(&site->gate, NULL);
    site->running--;
    site->served++;
    return site->last_result == 0 ? coil_udp_send(udp, data, size, from) : 0;
}

static void until_running(const struct site *site, unsigned count)
{
    while (site->running != count)
        coil_yield();
}

/* Starts a server and returns a client whose text is with a handler that waits at the gate. */
static coil_udp *site_start_and_send(struct site *site, const char *text)
{
    coil_udp *client = udp_to(site->udp);

    site_start(site);
    send_text(client, text);
    until_running(site, 1);
    return client;
}

/* Yields until the server waits for what has this name. */
static void until_waiting_for(const struct site *site, const char *name)
{
    while (!site->fiber->tcb->wait_name || strcmp(site->fiber->tcb->wait_name, name) != 0)
        coil_yield();
}

/* ---- Serving ---- */

FIBER_TEST(udp_serve, every_datagram_is_handled_and_can_be_answered)
{
    struct site site;
    coil_udp *client;

    site_open(&site, answer);
    client = udp_to(site.udp);
    site_start(&site);
    send_text(client, "one");
    expect_text(client, "one");
    send_text(client, "");
    expect_text(client, "");
    send_text(client, "three");
    expect_text(client, "three");

    site_stop(&site);
    cr_assert_eq(site.served, 3);
    coil_udp_close(client);
}

FIBER_TEST(udp_serve, no_more_handlers_run_than_asked_for_and_the_rest_wait_in_the_kernel)
{
    enum {
        DATAGRAMS = 7,
        AT_A_TIME = 2,
    };

    struct site site;
    coil_udp *client;

    site_open(&site, wait_at_gate);
    site.options.concurrency = AT_A_TIME;
    client = udp_to(site.udp);
    site_start(&site);
    for (int i = 0; i < DATAGRAMS; i++)
        send_text(client, "x");
    until_running(&site, AT_A_TIME);
    until_parked(site.fiber);
    cr_assert_eq(coil_event_set(&site.gate, 0), 0);

    while (site.served < DATAGRAMS)
        coil_yield();
    cr_assert_eq(site.running_max, AT_A_TIME);
    site_stop(&site);
    coil_udp_close(client);
}

FIBER_TEST(udp_serve, a_datagram_longer_than_size_max_is_dropped_with_a_word_in_the_log)
{
    struct site site;
    coil_udp *client;
    char message[256];

    log_keep(message, sizeof message);
    site_open(&site, answer);
    site.options.size_max = 4;
    client = udp_to(site.udp);
    site_start(&site);
    send_text(client, "12345");
    send_text(client, "1234");
    expect_text(client, "1234");

    cr_assert_not_null(strstr(message, "5 bytes was dropped"), "%s", message);
    site_stop(&site);
    cr_assert_eq(site.served, 1);
    coil_udp_close(client);
}

FIBER_TEST(udp_serve, an_answer_to_nobody_does_not_end_a_server)
{
    struct site site;
    coil_udp *peer = udp_at("127.0.0.1:0");
    coil_udp *connected = udp_to(peer);
    const coil_address own = address_of(connected);

    site_open(&site, answer);
    coil_udp_close(site.udp);
    site.udp = connected;
    site_start(&site);
    cr_assert_eq(coil_udp_send(peer, "x", 1, &own), 0);
    expect_text(peer, "x");
    coil_udp_close(peer);
    send_text(connected, "anybody?"); /* the error comes to the server's receive */
    while (site.fiber->tcb->state != COIL__FIBER_PARKED)
        coil_yield();

    cr_assert_not_null(site.fiber->tcb, "it still serves");
    site_stop(&site);
}

FIBER_TEST(udp_serve, a_socket_is_served_once_at_a_time)
{
    struct site site;

    site_open(&site, answer);
    site_start(&site);
    cr_assert_eq(coil_udp_serve(site.udp, answer, NULL, NULL), -EBUSY);

    site_stop(&site);
}

/* ---- Stopping ---- */

FIBER_TEST(udp_serve, a_stop_lets_handlers_finish_and_answer)
{
    struct site site;
    coil_udp *client;

    site_open(&site, wait_at_gate);
    client = site_start_and_send(&site, "slow");
    coil_udp_serve_stop(site.udp);
    coil_yield();
    cr_assert_eq(site.running, 1);
    cr_assert_eq(coil_event_set(&site.gate, 0), 0);

    cr_assert_eq(site_join(&site), 0);
    cr_assert_eq(site.last_result, 0);
    expect_text(client, "slow");
    coil_udp_close(client);
}

FIBER_TEST(udp_serve, after_the_grace_handlers_are_cancelled)
{
    struct site site;
    coil_udp *client;

    site_open(&site, wait_at_gate);
    site.options.grace = COIL_MS(5);
    client = site_start_and_send(&site, "slow");
    coil_udp_serve_stop(site.udp);

    cr_assert_eq(site_join(&site), 0);
    cr_assert_eq(site.last_result, -ECANCELED);
    coil_udp_close(client);
}

FIBER_TEST(udp_serve, a_stop_reaches_a_server_that_waits_for_a_free_handler)
{
    struct site site;
    coil_udp *client;

    site_open(&site, wait_at_gate);
    site.options.concurrency = 1;
    site.options.grace = COIL_MS(5);
    client = site_start_and_send(&site, "first");
    send_text(client, "second");
    until_waiting_for(&site, "pool slot");
    coil_udp_serve_stop(site.udp);

    cr_assert_eq(site_join(&site), 0);
    cr_assert_eq(site.served, 2, "what was received was handed out");
    coil_udp_close(client);
}

FIBER_TEST(udp_serve, an_interruption_cancels_the_handlers_at_once)
{
    struct site site;
    coil_udp *client;

    site_open(&site, wait_at_gate);
    client = site_start_and_send(&site, "slow");
    coil_cancel(site.fiber);

    cr_assert_eq(site_join(&site), -ECANCELED);
    cr_assert_eq(site.last_result, -ECANCELED);
    coil_udp_close(client);
}

FIBER_TEST(udp_serve, a_stop_before_the_start_ends_it_at_once)
{
    struct site site;
    char data[4];

    site_open(&site, answer);
    coil_udp_serve_stop(site.udp);

    cr_assert_eq(coil_udp_serve(site.udp, answer, NULL, NULL), 0);
    cr_assert_eq(coil_udp_recv(site.udp, data, sizeof data, NULL), -ESHUTDOWN);
    cr_assert_eq(coil_udp_try_recv(site.udp, data, sizeof data, NULL), -ESHUTDOWN);
    coil_udp_close(site.udp);
}

FIBER_TEST(udp_serve, a_stop_wakes_plain_receivers_too_and_sending_goes_on)
{
    coil_udp *a;
    coil_udp *b;
    struct receiver receivers[3];
    coil_fiber *fibers[3];

    udp_pair(&a, &b);
    for (int i = 0; i < 3; i++) {
        receivers[i] = (struct receiver){.udp = b};
        fibers[i] = spawn_until_parked(receive_once, &receivers[i]);
    }
    coil_udp_serve_stop(b);

    for (int i = 0; i < 3; i++) {
        cr_assert_eq(join_and_drop(fibers[i]), 0);
        cr_assert_eq(receivers[i].result, -ESHUTDOWN);
    }
    send_text(b, "still here");
    expect_text(a, "still here");
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_serve, a_shortage_of_memory_delays_datagrams_and_loses_none)
{
    struct site site;
    coil_udp *client;

    site_open(&site, answer);
    client = udp_to(site.udp);
    site_start(&site);
    send_text(client, "x");
    expect_text(client, "x");
    coil__alloc_fail_after(0);
    send_text(client, "y");
    until_waiting_for(&site, "sleep");
    coil__alloc_fail_after(-1);

    expect_text(client, "y");
    site_stop(&site);
    coil_udp_close(client);
}
