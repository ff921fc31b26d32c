/* SPDX-License-Identifier: MIT */
/* The backdoor (coil/backdoor.h): a program like any other on top of coil_serve().
 *
 * An answer is built in memory first, in one go and without parking, so it shows one moment; only
 * then is it sent, which may park. A command is a word and at most one more; what it means is a
 * look-up in a table.
 */
#include <coil/backdoor.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <coil/address.h>
#include <coil/listener.h>
#include <coil/scope.h>
#include <coil/stats.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/options.h"
#include "core/describe.h"
#include "core/dump.h"

enum {
    MODE_DEFAULT = 0600,
    CLIENTS_DEFAULT = 8,
    LINE_SIZE = 256, /* the longest command has a dozen bytes */
    ANSWER_SIZE = 4096,
    TIMERS_SHOWN = 100,
    COMMANDS_END = 11, /* with the end mark */
    PATH_SIZE = 160,   /* "unix:" and a path, which the kernel limits to 108 bytes */
};

static const coil_time idle_default = COIL_SECONDS(600);

struct coil_backdoor {
    coil_listener *listener; /* of the fiber that serves it */
    coil_fiber *fiber;
    bool is_closing; /* by the program */
    coil_backdoor_options options;
};

COIL_STATIC_ASSERT(sizeof(coil_backdoor) <= 72, "a promise of the header");

/* ---- Answers ---- */

/* Doubles the buffer; without memory the rest of the answer is lost, which its end then shows. */
static void grow(struct coil__text *text)
{
    char *larger = coil__realloc(text->data, text->size * 2);

    if (!larger)
        return;
    text->data = larger;
    text->size *= 2;
}

static void add_line(struct coil__text *text, const char *name, uint64_t number)
{
    coil__text_add(text, name);
    coil__text_add(text, " ");
    coil__text_add_number(text, number);
    coil__text_add(text, "\n");
}

/* ---- Commands ---- */

struct command {
    const char *name;
    bool has_id;
    const char *help;
    /* Adds to the answer. Returns 0, or a negative errno that ends it instead of "ok". */
    int (*run)(struct coil__text *answer, uint64_t id, const coil_backdoor *backdoor);
};

static const struct command commands[COMMANDS_END];

static int run_help(struct coil__text *answer, uint64_t id, const coil_backdoor *backdoor)
{
    (void)id;
    (void)backdoor;
    for (const struct command *command = commands; command->name; command++) {
        coil__text_add(answer, command->name);
        coil__text_add(answer, command->has_id ? " ID  " : "  ");
        coil__text_add(answer, command->help);
        coil__text_add(answer, "\n");
    }
    return 0;
}

static int dump(struct coil__text *answer, uint64_t id, bool no_details)
{
    coil_dump_options options = COIL_DUMP_OPTIONS_INIT;

    options.fiber_id = id;
    options.no_details = no_details;
    return coil__dump_text(answer, coil__sched(), &options);
}

static int run_ps(struct coil__text *answer, uint64_t id, const coil_backdoor *backdoor)
{
    (void)backdoor;
    return dump(answer, id, true);
}

static int run_dump(struct coil__text *answer, uint64_t id, const coil_backdoor *backdoor)
{
    (void)backdoor;
    return dump(answer, id, false);
}

static void add_address(struct coil__text *answer, const char *before, int fd,
                        int (*ask)(int, struct sockaddr *, socklen_t *))
{
    coil_address address = {.length = sizeof address.storage};
    char text[COIL_ADDRESS_SIZE];

    if (ask(fd, (struct sockaddr *)&address.storage, &address.length) < 0 ||
        coil_address_format(&address, text, sizeof text) < 0)
        return;
    coil__text_add(answer, before);
    coil__text_add_plain(answer, text, sizeof text); /* peers choose theirs */
}

static int ask_own(int fd, struct sockaddr *address, socklen_t *length)
{
    return getsockname(fd, address, length);
}

static int ask_peer(int fd, struct sockaddr *address, socklen_t *length)
{
    return getpeername(fd, address, length);
}

static void add_descriptor(struct coil__text *answer, DIR *directory, const char *name)
{
    char target[LINE_SIZE];
    const ssize_t len = readlinkat(dirfd(directory), name, target, sizeof target);
    const int fd = (int)strtol(name, NULL, 10);

    if (len < 0 || fd == dirfd(directory))
        return;
    coil__text_add(answer, name);
    coil__text_add(answer, " ");
    coil__text_add_plain(answer, target, (size_t)len);
    add_address(answer, " at ", fd, ask_own);
    add_address(answer, " to ", fd, ask_peer);
    coil__text_add(answer, "\n");
}

static int run_fds(struct coil__text *answer, uint64_t id, const coil_backdoor *backdoor)
{
    DIR *directory = opendir("/proc/self/fd");
    const struct dirent *entry;

    (void)id;
    (void)backdoor;
    if (!directory)
        return -errno;
    while ((entry = readdir(directory)) != NULL) /* NOLINT(concurrency-mt-unsafe): its own stream */
        if (entry->d_name[0] != '.')
            add_descriptor(answer, directory, entry->d_name);
    (void)closedir(directory);
    return 0;
}

static int run_timers(struct coil__text *answer, uint64_t id, const coil_backdoor *backdoor)
{
    struct coil__timers *timers = &coil__sched()->timers;
    const int64_t now = coil__clock_now();
    struct coil__timer *nearest[TIMERS_SHOWN];
    const size_t count = coil__timers_nearest(timers, nearest, TIMERS_SHOWN);

    (void)id;
    (void)backdoor;
    add_line(answer, "armed", timers->count);
    for (size_t i = 0; i < count; i++) {
        coil__text_add(answer, "in ");
        coil__text_add_time(answer, nearest[i]->node.key - now);
        coil__text_add(answer, " ");
        coil__describe_function(answer, (uintptr_t)nearest[i]->fire);
        coil__text_add(answer, "\n");
    }
    return 0;
}

static int run_stats(struct coil__text *answer, uint64_t id, const coil_backdoor *backdoor)
{
    coil_stats_info stats = COIL_STATS_INIT;
    const int result = coil_stats(&stats);

    (void)id;
    (void)backdoor;
    if (result < 0)
        return result;
    add_line(answer, "fibers", stats.fibers);
    add_line(answer, "fibers_peak", stats.fibers_peak);
    add_line(answer, "ready", stats.ready);
    add_line(answer, "spawns", stats.spawns);
    add_line(answer, "switches", stats.switches);
    add_line(answer, "turns", stats.turns);
    add_line(answer, "timers", stats.timers);
    add_line(answer, "posts", stats.posts);
    add_line(answer, "enters", stats.enters);
    add_line(answer, "submissions", stats.submissions);
    add_line(answer, "completions", stats.completions);
    add_line(answer, "requests", stats.requests);
    add_line(answer, "queued_submissions", stats.queued_submissions);
    add_line(answer, "cancels", stats.cancels);
    add_line(answer, "overflows", stats.overflows);
    add_line(answer, "starved_receives", stats.starved_receives);
    add_line(answer, "rearms", stats.rearms);
    add_line(answer, "wakes", stats.wakes);
    add_line(answer, "offload_threads", stats.offload_threads);
    add_line(answer, "offload_running", stats.offload_running);
    add_line(answer, "offload_queued", stats.offload_queued);
    add_line(answer, "stacks", stats.stacks);
    add_line(answer, "stacks_warm", stats.stacks_warm);
    add_line(answer, "stacks_cold", stats.stacks_cold);
    add_line(answer, "stack_slabs", stats.stack_slabs);
    add_line(answer, "stack_bytes", stats.stack_bytes);
    return 0;
}

static int run_kill(struct coil__text *answer, uint64_t id, const coil_backdoor *backdoor)
{
    struct coil_fiber *fiber = coil__fiber_find(coil__sched(), id);

    (void)answer;
    if (!fiber)
        return -ENOENT;
    if (fiber == coil_self())
        return -ESHUTDOWN; /* as "quit": a cancelled fiber could not send the answer */
    if (fiber == backdoor->fiber)
        return -EPERM; /* the last tool of all is not lost by a slip */
    coil_cancel(fiber);
    return 0;
}

static int run_drain(struct coil__text *answer, uint64_t id, const coil_backdoor *backdoor)
{
    (void)answer;
    (void)id;
    if (!backdoor->options.drain)
        return -EOPNOTSUPP;
    backdoor->options.drain(backdoor->options.arg);
    return 0;
}

static int run_quit(struct coil__text *answer, uint64_t id, const coil_backdoor *backdoor)
{
    (void)answer;
    (void)id;
    (void)backdoor;
    return -ESHUTDOWN;
}

static const struct command commands[COMMANDS_END] = {
    {"help", false, "this list", run_help},
    {"ps", false, "all fibers, a line each", run_ps},
    {"dump", false, "all fibers with their backtraces", run_dump},
    {"bt", true, "one fiber with its backtrace", run_dump},
    {"fds", false, "descriptors of the process", run_fds},
    {"timers", false, "armed timers and what they call", run_timers},
    {"stats", false, "numbers of the scheduler", run_stats},
    {"kill", true, "cancels a fiber", run_kill},
    {"drain", false, "stops the program gracefully, if it has said how", run_drain},
    {"quit", false, "ends this connection", run_quit},
    {NULL, false, NULL, NULL},
};

/* ---- A client ---- */

/* The number that is all of `text`; 0, which no fiber has, for anything else. */
static uint64_t read_id(const char *text)
{
    uint64_t id = 0;

    if (!*text || strlen(text) > 19)
        return 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return 0;
        id = id * 10 + (uint64_t)(*text - '0');
    }
    return id;
}

/* Runs the command in `line`. Returns what it does, or -EINVAL for what is none. */
static int run_line(char *line, struct coil__text *answer, const coil_backdoor *backdoor)
{
    char *rest = line;
    const char *name = strsep(&rest, " ");
    const uint64_t id = rest ? read_id(rest) : 0;

    for (const struct command *command = commands; command->name; command++) {
        if (strcmp(command->name, name) != 0)
            continue;
        if (command->has_id ? id == 0 : rest != NULL)
            return -EINVAL;
        return command->run(answer, id, backdoor);
    }
    return -EINVAL;
}

/* Answers one line, of `len` bytes without its end. Returns -ESHUTDOWN after the last one. */
static int answer_line(coil_stream *client, char *line, size_t len, const coil_backdoor *backdoor)
{
    struct coil__text answer;
    char *data = coil__alloc(ANSWER_SIZE);
    int result;

    if (!data)
        return -ENOMEM;
    coil__text_init(&answer, data, ANSWER_SIZE, grow);
    result = strlen(line) == len ? run_line(line, &answer, backdoor) : -EINVAL;
    if (result == -EINVAL)
        coil__text_add(&answer, "error: no such command; help lists them\n");
    else if (result < 0 && result != -ESHUTDOWN)
        coil__text_add(&answer, "error: ");
    if (result < 0 && result != -EINVAL && result != -ESHUTDOWN) {
        coil__text_add(&answer, coil_strerror(result));
        coil__text_add(&answer, "\n");
    }
    coil_write(client, answer.data, answer.len);
    if (result >= 0 || result == -ESHUTDOWN)
        coil_write(client, "ok\n", 3); /* also when memory has cut the answer short */
    coil__free(answer.data);
    return result == -ESHUTDOWN ? result : 0;
}

/* Reads a line and answers it; a negative result ends the connection. */
static int serve_line(coil_stream *client, const coil_backdoor *backdoor)
{
    static const char too_long[] = "error: the line is too long\n";
    char line[LINE_SIZE];
    ssize_t len = coil_read_line(client, line, sizeof line);

    if (len == -EMSGSIZE) {
        const int result = coil_skip_line(client);

        coil_write(client, too_long, sizeof too_long - 1);
        return result;
    }
    if (len <= 0)
        return len < 0 ? (int)len : -ESHUTDOWN;
    if (line[len - 1] == '\n')
        len--;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    line[len] = '\0';
    return len == 0 ? 0 : answer_line(client, line, (size_t)len, backdoor);
}

static int serve_client(coil_stream *client, void *arg)
{
    const coil_backdoor *backdoor = arg;
    int result;

    coil_fiber_name_set(coil_self(), "backdoor client");
    do {
        coil_scope idle;

        coil_scope_enter(&idle, backdoor->options.idle);
        result = serve_line(client, backdoor);
        (void)coil_scope_leave(&idle);
    } while (result >= 0);
    return 0; /* how a client leaves is nobody's concern */
}

/* ---- Opening and closing ---- */

static int serve(void *arg)
{
    coil_backdoor *backdoor = arg;
    coil_serve_options options = COIL_SERVE_OPTIONS_INIT;
    int result;

    options.concurrency = backdoor->options.clients_max;
    result = coil_serve(backdoor->listener, serve_client, backdoor, &options);
    coil_listener_close(backdoor->listener); /* who connects would wait in vain */
    if (!backdoor->is_closing && !coil__sched()->is_ending)
        coil__log(COIL_LOG_WARNING, "the backdoor has ended: %s", coil_strerror(result));
    return 0;
}

static int listen_at(const char *path, const coil_backdoor_options *options,
                     coil_listener **ret_listener)
{
    coil_listen_options listen_options = COIL_LISTEN_OPTIONS_INIT;
    char address[PATH_SIZE] = "unix:";
    const size_t prefix = strlen(address);
    size_t len;

    if (strncmp(path, address, prefix) == 0)
        path += prefix;
    len = strlen(path);
    if (len == 0 || prefix + len >= sizeof address)
        return len == 0 ? -EINVAL : -ENAMETOOLONG;
    memcpy(address + prefix, path, len + 1);
    listen_options.unix_mode = options->mode;
    return coil_listen(address, &listen_options, ret_listener);
}

static int read_options(coil_backdoor_options *ret_options, const coil_backdoor_options *options)
{
    const int result = coil__options_read(ret_options, sizeof *ret_options, options);

    if (result < 0)
        return result;
    if (!ret_options->mode)
        ret_options->mode = MODE_DEFAULT;
    if (!ret_options->clients_max)
        ret_options->clients_max = CLIENTS_DEFAULT;
    if (!ret_options->idle)
        ret_options->idle = idle_default;
    return 0;
}

int coil_backdoor_open(const char *path, const coil_backdoor_options *options,
                       coil_backdoor **ret_backdoor)
{
    coil_backdoor_options chosen;
    coil_backdoor *backdoor;
    int result = read_options(&chosen, options);

    if (result < 0)
        return result;
    backdoor = coil__alloc(sizeof *backdoor);
    if (!backdoor)
        return -ENOMEM;
    backdoor->options = chosen;
    result = listen_at(path, &chosen, &backdoor->listener);
    if (result < 0) {
        coil__free(backdoor);
        return result;
    }
    result = coil_spawn(serve, backdoor, &backdoor->fiber);
    if (result < 0) {
        coil_listener_close(backdoor->listener);
        coil__free(backdoor);
        return result;
    }
    coil_fiber_name_set(backdoor->fiber, "backdoor");
    coil__sched()->opened[COIL__OPENED_BACKDOOR]++;
    *ret_backdoor = backdoor;
    return 0;
}

void coil_backdoor_close(coil_backdoor *backdoor)
{
    coil_scope shield;

    if (!backdoor)
        return;
    backdoor->is_closing = true;
    coil_cancel(backdoor->fiber);
    coil_scope_enter_shield(&shield, COIL_NEVER);
    (void)coil_join(backdoor->fiber, NULL);
    (void)coil_scope_leave(&shield);
    coil_fiber_unref(backdoor->fiber);
    coil__sched()->opened[COIL__OPENED_BACKDOOR]--;
    coil__free(backdoor);
}
