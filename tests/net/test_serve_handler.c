/* SPDX-License-Identifier: MIT */
/* How handlers of coil_serve() end, and what becomes of their connections then. */
#include <unistd.h>

#include "net/serve_fixture.h"

TestSuite(serve_handler, .timeout = 60);

static int fail(coil_stream *stream, void *arg)
{
    (void)stream;
    ((struct site *)arg)->served++;
    return -EILSEQ;
}

FIBER_TEST(serve_handler, a_handlers_error_goes_to_the_hook_and_does_not_end_the_server)
{
    struct site site;
    char byte;

    site_open(&site, fail);
    site.options.failed = note_failure;
    site_start(&site);
    for (unsigned i = 1; i <= 3; i++) {
        const int fd = dial(site.address);

        while (site.failed < i)
            coil_yield();
        cr_assert_eq(site.failure, -EILSEQ);
        cr_assert_eq(read_fd(fd, &byte, 1), 0, "the stream is closed after the handler");
        cr_assert_eq(close(fd), 0);
    }
    site_stop(&site);
    cr_assert_eq(site.failed, 3);
}

static int say_bye(coil_stream *stream, void *arg)
{
    ((struct site *)arg)->served++;
    return coil_write(stream, "bye", 3);
}

/* Cancels itself, and finds that its calls fail. */
static int give_up(coil_stream *stream, void *arg)
{
    char byte;
    int result;

    came(arg);
    coil_cancel(coil_self());
    result = (int)coil_read(stream, &byte, 1);
    went(arg);
    return result;
}

FIBER_TEST(serve_handler, a_handler_that_is_cancelled_ends_alone_and_quietly)
{
    struct site site;
    char byte;

    site_open(&site, give_up);
    site_start(&site);
    for (unsigned i = 1; i <= 3; i++) {
        const int fd = dial(site.address);

        while (recv(fd, &byte, 1, MSG_DONTWAIT) < 0)
            coil_yield(); /* until its connection is closed */
        cr_assert_eq(close(fd), 0);
        cr_assert_not_null(site.fiber->tcb, "the server goes on");
    }
    cr_assert_eq(site.served, 3);
    site_stop(&site);
}

FIBER_TEST(serve_handler, what_a_handler_wrote_is_sent_when_it_returns)
{
    struct site site;
    char text[8];
    int fd;

    site_open(&site, say_bye);
    site.options.failed = note_failure;
    site_start(&site);
    fd = dial(site.address);
    while (site.served == 0)
        coil_yield();
    site_stop(&site);
    cr_assert_eq(read_fd(fd, text, sizeof text), 3);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(site.failed, 0);
}

/* Says bye and hangs up. */
static int hang_up(coil_stream *stream, void *arg)
{
    int result = coil_write(stream, "bye", 3);

    came(arg);
    if (result == 0)
        result = coil_close(stream);
    went(arg);
    return result;
}

FIBER_TEST(serve_handler, a_handler_may_close_the_stream_itself)
{
    struct site site;
    char text[8];

    site_open(&site, hang_up);
    site.options.failed = note_failure;
    site_start(&site);
    for (unsigned i = 1; i <= 3; i++) {
        const int fd = dial(site.address);

        while (site.served < i)
            coil_yield();
        cr_assert_eq(read_fd(fd, text, sizeof text), 3);
        cr_assert_eq(read_fd(fd, text, sizeof text), 0);
        cr_assert_eq(close(fd), 0);
    }
    site_stop(&site);
    cr_assert_eq(site.served, 3);
    cr_assert_eq(site.failed, 0);
}

static int tell_name(coil_stream *stream, void *arg)
{
    (void)arg;
    return coil_printf(stream, "%s", coil_fiber_name(coil_self()));
}

FIBER_TEST(serve_handler, its_fiber_is_named_for_who_looks_at_a_dump)
{
    struct site site;
    char text[16] = "";
    int fd;

    site_open(&site, tell_name);
    site_start(&site);
    fd = dial(site.address);
    while (recv(fd, text, sizeof text, MSG_DONTWAIT) < 0)
        coil_yield();
    site_stop(&site);
    cr_assert_str_eq(text, "connection");
    cr_assert_eq(close(fd), 0);
}

/* Hangs up on a peer that does not read. */
static int hang_up_in_vain(coil_stream *stream, void *arg)
{
    (void)fill_fd(coil_stream_fd(stream));
    return hang_up(stream, arg);
}

FIBER_TEST(serve_handler, a_stop_waits_for_a_handler_that_closes_and_cancels_it_after_the_grace)
{
    struct site site;
    int fd;

    site_open_unix(&site, hang_up_in_vain);
    site.options.failed = note_failure;
    site.options.grace = COIL_MS(20);
    site_start(&site);
    fd = dial(site.address);
    until_running(&site, 1);
    site_stop(&site);
    cr_assert_eq(site.running, 0);
    cr_assert_eq(site.failure, -ECANCELED);
    cr_assert_eq(close(fd), 0);
}

static int close_stream(void *arg)
{
    return coil_close(arg);
}

static coil_fiber *closer;

/* Reads on a stream that another of its fibers closes meanwhile. */
static int read_what_is_closed(coil_stream *stream, void *arg)
{
    char byte;
    int result;

    came(arg);
    cr_assert_eq(coil_spawn(close_stream, stream, &closer), 0);
    result = (int)coil_read(stream, &byte, 1);
    went(arg);
    return result;
}

FIBER_TEST(serve_handler, another_fiber_may_close_the_stream_while_the_handler_reads)
{
    struct site site;
    char byte;
    int fd;

    site_open(&site, read_what_is_closed);
    site.options.failed = note_failure;
    site_start(&site);
    fd = dial(site.address);
    while (site.failed == 0)
        coil_yield();
    cr_assert_eq(site.failure, -EBADF);
    cr_assert_eq(join_and_drop(closer), 0);
    cr_assert_eq(read_fd(fd, &byte, 1), 0);
    cr_assert_eq(close(fd), 0);
    site_stop(&site);
}
