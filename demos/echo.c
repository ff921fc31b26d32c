/* SPDX-License-Identifier: MIT */
/* echo: sends back what it receives, to any number of peers.
 *
 *     echo --listen 127.0.0.1:5000
 *
 * Line by line, in plain blocking code: the reply to a line is sent when the fiber waits for the
 * next one. With --raw it echoes bytes as they come, whatever they are. SIGTERM or SIGINT stops it
 * gracefully: replies that are under way are sent, then it exits with 0.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <coil/coil.h>

struct arguments {
    const char *address;
    bool is_raw;
};

static int echo_lines(coil_stream *client, void *arg)
{
    char line[1024];
    ssize_t length;

    (void)arg;
    coil_stream_linger(client, COIL_SECONDS(1), 1 << 20);
    for (;;) {
        coil_stream_idle(client);
        length = coil_read_line(client, line, sizeof line);
        if (length <= 0)
            break;
        if (coil_write(client, line, (size_t)length) < 0)
            break;
    }
    if (length == -EMSGSIZE)
        return coil_printf(client, "line too long: at most %zu bytes\n", sizeof line - 1);
    return (int)length;
}

static int echo_bytes(coil_stream *client, void *arg)
{
    const char *bytes;
    ssize_t length;

    (void)arg;
    coil_stream_linger(client, COIL_SECONDS(1), 1 << 20);
    for (;;) {
        coil_stream_idle(client);
        length = coil_peek(client, 1, &bytes);
        if (length <= 0)
            break;
        if (coil_write(client, bytes, (size_t)length) < 0)
            break;
        coil_consume(client, (size_t)length);
    }
    return (int)length;
}

static int serve(void *arg)
{
    const struct arguments *arguments = arg;
    coil_listen_options listen_options = COIL_LISTEN_OPTIONS_INIT;
    coil_serve_options options = COIL_SERVE_OPTIONS_INIT;
    coil_listener *listener;
    char address[COIL_ADDRESS_SIZE];
    int result;

    listen_options.stop_on_signals = true; /* also between being announced and serving */
    result = coil_listen(arguments->address, &listen_options, &listener);
    if (result < 0) {
        (void)fprintf(stderr, "echo: cannot listen on %s: %s\n", arguments->address,
                      coil_strerror(result));
        return result;
    }
    (void)coil_listener_address(listener, address, sizeof address);
    (void)printf("listening on %s\n", address);
    (void)fflush(stdout);

    options.stop_on_signals = true;
    result = coil_serve(listener, arguments->is_raw ? echo_bytes : echo_lines, NULL, &options);
    coil_listener_close(listener);
    return result;
}

static int usage(FILE *out, int status)
{
    (void)fprintf(out, "usage: echo --listen ADDRESS [--raw]\n"
                       "Sends back what it receives.\n\n"
                       "  --listen ADDRESS  127.0.0.1:5000, [::1]:0, :5000 or unix:PATH\n"
                       "  --raw             bytes as they come, instead of lines\n"
                       "  --help            this text\n");
    return status;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    coil_options options = COIL_OPTIONS_INIT;
    int result;
    int status = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--listen") == 0 && i + 1 < argc) {
            arguments.address = argv[++i];
        } else if (strcmp(argv[i], "--raw") == 0) {
            arguments.is_raw = true;
        } else if (strcmp(argv[i], "--help") == 0) {
            return usage(stdout, 0);
        } else {
            (void)fprintf(stderr, "echo: unknown argument %s\n", argv[i]);
            return usage(stderr, 2);
        }
    }
    if (!arguments.address)
        return usage(stderr, 2);

    options.report_overflow = true;
    result = coil_run(serve, &arguments, &options, &status);
    if (result < 0)
        (void)fprintf(stderr, "echo: %s\n", coil_strerror(result));
    return result < 0 || status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
