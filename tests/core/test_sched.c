/* SPDX-License-Identifier: MIT */
/* Turns: who runs when. Yield and sleep, fairness, and that nothing starves I/O and timers.
 *
 * Orders are exact; of durations only the lower bound is asserted, since the machine is shared. How
 * long somebody had to wait is measured in what another fiber did meanwhile.
 */
#include "support/fiber_test.h"

#include <sys/socket.h>
#include <unistd.h>

enum {
    FIBERS = 64,
    LAPS = 100,
};

/* ---- Yield ---- */

struct track {
    int *steps;
    int *count;
    int name;
    int laps;
};

static int run_laps(void *arg)
{
    const struct track *track = arg;

    for (int i = 0; i < track->laps; i++) {
        track->steps[(*track->count)++] = track->name;
        coil_yield();
    }
    return 0;
}

FIBER_TEST(sched, yielding_fibers_take_turns_exactly)
{
    static int steps[FIBERS * LAPS];
    struct track tracks[FIBERS];
    coil_fiber *fibers[FIBERS];
    int count = 0;

    for (int i = 0; i < FIBERS; i++) {
        tracks[i] = (struct track){.steps = steps, .count = &count, .name = i, .laps = LAPS};
        cr_assert_eq(coil_spawn(run_laps, &tracks[i], &fibers[i]), 0);
    }
    for (int i = 0; i < FIBERS; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_eq(count, FIBERS * LAPS);
    for (int i = 0; i < count; i++)
        cr_assert_eq(steps[i], i % FIBERS, "step %d was taken by %d", i, steps[i]);
}

FIBER_TEST(sched, a_lonely_yield_returns)
{
    for (int i = 0; i < 10000; i++)
        coil_yield();
}

/* ---- Starving nobody: each loop ends only when a timer and a reader had their turn ---- */

struct progress {
    coil_stream *stream;
    int events;
    bool is_chain_over;
    coil_sem sem;
};

static int sleep_then_count(void *arg)
{
    struct progress *progress = arg;
    const int result = coil_sleep(COIL_MS(2));

    progress->events++;
    return result;
}

static int read_then_count(void *arg)
{
    struct progress *progress = arg;
    char byte;
    const ssize_t result = coil_read(progress->stream, &byte, 1);

    progress->events++;
    return (int)result;
}

/* Runs `loop` while one fiber sleeps and one reads what only arrives when the loop is under way. */
static void expect_progress_during(void (*loop)(struct progress *progress))
{
    struct progress progress = {0};
    coil_fiber *sleeper;
    coil_fiber *reader;
    int fd;

    stream_and_fd(&progress.stream, &fd);
    sleeper = spawn_until_parked(sleep_then_count, &progress);
    reader = spawn_until_parked(read_then_count, &progress);
    cr_assert_eq(write(fd, "x", 1), 1);
    loop(&progress);

    cr_assert_eq(progress.events, 2);
    cr_assert_eq(join_and_drop(sleeper), 0);
    cr_assert_eq(join_and_drop(reader), 1);
    cr_assert_eq(coil_close(progress.stream), 0);
    cr_assert_eq(close(fd), 0);
}

static void yield_until_done(struct progress *progress)
{
    while (progress->events < 2)
        coil_yield();
}

FIBER_TEST(sched, a_loop_that_yields_starves_neither_timers_nor_input)
{
    expect_progress_during(yield_until_done);
}

static int yield_until_done_fiber(void *arg)
{
    yield_until_done(arg);
    return 0;
}

static void yield_in_many_fibers(struct progress *progress)
{
    coil_fiber *fibers[10];

    for (int i = 0; i < 10; i++)
        cr_assert_eq(coil_spawn(yield_until_done_fiber, progress, &fibers[i]), 0);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
}

FIBER_TEST(sched, many_fibers_that_yield_starve_neither_timers_nor_input)
{
    expect_progress_during(yield_in_many_fibers);
}

static void acquire_until_done(struct progress *progress)
{
    coil_sem_init(&progress->sem, 1);
    while (progress->events < 2) {
        cr_assert_eq(coil_sem_acquire(&progress->sem), 0);
        coil_sem_release(&progress->sem);
    }
}

FIBER_TEST(sched, a_loop_of_calls_that_succeed_at_once_starves_nobody)
{
    expect_progress_during(acquire_until_done);
}

static void drop_message(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)message;
    (void)arg;
}

static void fail_until_done(struct progress *progress)
{
    coil_scope scope;

    coil_log_set(drop_message, NULL); /* rightly says that the results are ignored */
    coil_scope_enter(&scope, 0);
    while (progress->events < 2)
        cr_assert_eq(coil_sleep(COIL_MS(1)), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    coil_log_set(NULL, NULL);
}

FIBER_TEST(sched, a_loop_of_calls_that_fail_at_once_starves_nobody)
{
    expect_progress_during(fail_until_done);
}

static int spawn_successor(void *arg)
{
    struct progress *progress = arg;

    if (progress->events < 2)
        return coil_spawn(spawn_successor, progress, NULL);
    progress->is_chain_over = true;
    coil_sem_release(&progress->sem);
    return 0;
}

static void spawn_chain_until_done(struct progress *progress)
{
    coil_sem_init(&progress->sem, 0);
    cr_assert_eq(coil_spawn(spawn_successor, progress, NULL), 0);
    cr_assert_eq(coil_sem_acquire(&progress->sem), 0);
    cr_assert(progress->is_chain_over);
}

FIBER_TEST(sched, a_chain_of_fibers_that_spawn_and_end_starves_nobody)
{
    expect_progress_during(spawn_chain_until_done);
}

/* ---- Sleep ---- */

/* ---- Timers beside fibers that compute ---- */

static void burn(coil_time duration)
{
    const int64_t start = coil_now();

    while (coil_now() - start < duration)
        continue;
}

struct labour {
    coil_chan *items;
    bool is_over;
    int laps;
};

static int burn_and_yield(void *arg)
{
    struct labour *labour = arg;

    while (!labour->is_over) {
        burn(COIL_MS(1));
        labour->laps++;
        coil_yield();
    }
    return 0;
}

FIBER_TEST(sched, a_fiber_that_computes_and_yields_does_not_delay_timers)
{
    struct labour labour = {0};
    coil_fiber *burner;

    cr_assert_eq(coil_spawn(burn_and_yield, &labour, &burner), 0);
    cr_assert_eq(coil_sleep(COIL_MS(10)), 0);
    labour.is_over = true;

    cr_assert_lt(labour.laps, 100, "each lasts a millisecond");
    cr_assert_eq(join_and_drop(burner), 0);
}

static int send_items(void *arg)
{
    const struct labour *labour = arg;
    const int item = 1;

    while (coil_chan_send(labour->items, &item) == 0)
        continue;
    return 0;
}

static int burn_for_each_item(void *arg)
{
    struct labour *labour = arg;
    int item;

    while (coil_chan_recv(labour->items, &item) == 1) {
        burn(COIL_US(200));
        labour->laps++;
    }
    return 0;
}

FIBER_TEST(sched, a_consumer_that_computes_and_never_has_to_wait_does_not_delay_timers)
{
    struct labour labour = {0};
    coil_fiber *sender;
    coil_fiber *consumer;

    cr_assert_eq(coil_chan_new(64, sizeof(int), &labour.items), 0);
    cr_assert_eq(coil_spawn(send_items, &labour, &sender), 0);
    cr_assert_eq(coil_spawn(burn_for_each_item, &labour, &consumer), 0);
    cr_assert_eq(coil_sleep(COIL_MS(10)), 0);
    coil_chan_close(labour.items);

    cr_assert_lt(labour.laps, 500, "each lasts 200 us");
    cr_assert_eq(join_and_drop(sender), 0);
    cr_assert_eq(join_and_drop(consumer), 0);
    coil_chan_free(labour.items);
}

FIBER_TEST(sched, sleep_lasts_at_least_as_long_as_asked_also_after_a_burn)
{
    static const coil_time durations[] = {1, COIL_US(100), COIL_MS(1), COIL_MS(5)};
    int64_t start;

    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        start = coil_now();
        cr_assert_eq(coil_sleep(durations[i]), 0);
        cr_assert_geq(coil_now() - start, durations[i]);
    }
    start = coil_now();
    while (coil_now() - start < COIL_MS(5))
        continue;
    start = coil_now();
    cr_assert_eq(coil_sleep(COIL_MS(2)), 0);
    cr_assert_geq(coil_now() - start, COIL_MS(2));
}

FIBER_TEST(sched, zero_and_negative_sleeps_are_yields)
{
    static const coil_time durations[] = {0, -1, -COIL_SECONDS(5), INT64_MIN};
    int steps[8];
    int count = 0;
    struct track track = {.steps = steps, .count = &count, .laps = 4};
    coil_fiber *other;

    cr_assert_eq(coil_spawn(run_laps, &track, &other), 0);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(coil_sleep(durations[i]), 0);
        cr_assert_eq(count, i + 1);
    }
    cr_assert_eq(join_and_drop(other), 0);
}

struct sleep_turn {
    coil_time time;
    char *log;
    char name;
};

static int sleep_then_log(void *arg)
{
    const struct sleep_turn *turn = arg;
    const int result = coil_sleep(turn->time);

    strncat(turn->log, &turn->name, 1);
    return result;
}

/* Starts five sleepers. Whether it is certain that their deadlines are in the order of their names:
 * on a busy machine who began later may have to wake later too. */
static bool start_sleepers(coil_time unit, struct sleep_turn *turns, coil_fiber **ret_fibers)
{
    static const char names[] = "eacdb";
    int64_t first[5]; /* their deadlines lie between these, by name */
    int64_t last[5];
    bool is_certain = true;

    for (int i = 0; i < 5; i++) {
        const int place = names[i] - 'a';

        turns[i].name = names[i];
        turns[i].time = (place + 1) * unit;
        first[place] = coil_now() + turns[i].time;
        ret_fibers[i] = spawn_until_parked(sleep_then_log, &turns[i]);
        last[place] = coil_now() + turns[i].time;
    }
    for (int place = 1; place < 5; place++)
        is_certain = is_certain && last[place - 1] < first[place];
    return is_certain;
}

FIBER_TEST(sched, sleepers_wake_in_the_order_of_their_deadlines)
{
    bool is_certain = false;

    for (coil_time unit = COIL_MS(1); !is_certain; unit *= 2) {
        char log[6] = "";
        struct sleep_turn turns[5];
        coil_fiber *fibers[5];

        for (int i = 0; i < 5; i++)
            turns[i].log = log;
        is_certain = start_sleepers(unit, turns, fibers);
        for (int i = 0; i < 5; i++)
            cr_assert_eq(join_and_drop(fibers[i]), 0);
        if (is_certain)
            cr_assert_str_eq(log, "abcde");
    }
}

/* Timers can be given the same deadline to the nanosecond, sleeps can't. */
struct alarm_clock {
    struct coil__timer timer;
    char *log;
    char name;
};

static void ring_alarm(struct coil__timer *timer)
{
    struct alarm_clock *alarm = container_of(timer, struct alarm_clock, timer);

    strncat(alarm->log, &alarm->name, 1);
}

FIBER_TEST(sched, equal_deadlines_fire_in_the_order_of_arming)
{
    char log[27] = "";
    struct alarm_clock alarms[26];
    const int64_t deadline = coil_now() + COIL_MS(2);

    for (int i = 0; i < 26; i++) {
        alarms[i] =
            (struct alarm_clock){.timer.fire = ring_alarm, .log = log, .name = (char)('a' + i)};
        coil__timer_arm(&coil__sched_this->timers, &alarms[i].timer, deadline);
    }
    coil__timer_disarm(&coil__sched_this->timers, &alarms[5].timer);
    coil__timer_disarm(&coil__sched_this->timers, &alarms[5].timer);
    cr_assert_eq(coil_sleep(COIL_MS(3)), 0);

    cr_assert_str_eq(log, "abcdeghijklmnopqrstuvwxyz");
}

FIBER_TEST(sched, a_sleeper_that_is_cancelled_leaves_no_timer)
{
    char log[2] = "";
    struct sleep_turn turn = {coil_now() + COIL_SECONDS(3600), log, 'x'};
    coil_fiber *fiber = spawn_until_parked(sleep_then_log, &turn);

    cr_assert_neq(coil__timers_next(&coil__sched_this->timers), INT64_MAX);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);

    cr_assert_eq(coil__timers_next(&coil__sched_this->timers), INT64_MAX);
}

/* ---- Running a function on the loop's stack ---- */

struct big_call {
    int sum;
};

static void add_much(void *arg)
{
    struct big_call *call = arg;
    volatile char big[128 * 1024];

    for (size_t i = 0; i < sizeof big; i += 1024)
        big[i] = 1;
    for (size_t i = 0; i < sizeof big; i += 1024)
        call->sum += big[i];
}

static int call_on_loop(void *arg)
{
    coil__sched_call(add_much, arg);
    return coil_sleep(0);
}

FIBER_TEST(sched, a_function_that_needs_much_stack_runs_on_the_loops)
{
    struct big_call call = {0};
    coil_fiber *fibers[2];

    cr_assert_eq(coil_spawn(call_on_loop, &call, &fibers[0]), 0);
    cr_assert_eq(coil_spawn(call_on_loop, &call, &fibers[1]), 0);
    cr_assert_eq(join_and_drop(fibers[0]), 0);
    cr_assert_eq(join_and_drop(fibers[1]), 0);

    cr_assert_eq(call.sum, 256);
}
