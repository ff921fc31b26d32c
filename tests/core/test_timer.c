/* SPDX-License-Identifier: MIT */
/* Timers fire in exact order of deadline, equal ones in order of arming, none early and none
 * forgotten, however far away they are: checked against a search through all of them, in a time
 * that the tests make up. */
#include "core/timer.h"

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/list.h"

enum {
    ALARMS = 400,
    STEPS = 40000,
    FIRED_MAX = 4 * ALARMS,
};

TestSuite(timer, .timeout = 60);

static const int64_t tick = INT64_C(1) << COIL__TIMER_TICK_BITS;
static const int64_t millisecond = 1000000;
static const int64_t boot = INT64_C(123456789012345);

struct alarm {
    struct coil__timer timer;
    int64_t deadline; /* INT64_MAX while it is disarmed */
    unsigned order;   /* of arming */
    int64_t again;    /* when it fires, it is armed once more for this deadline; 0: it is not */
};

static struct coil__timers timers;
static struct alarm alarms[ALARMS];
static struct alarm *fired[FIRED_MAX];
static size_t fired_count;
static unsigned order;

static uint64_t seed;
static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void arm(struct alarm *alarm, int64_t deadline)
{
    alarm->deadline = deadline;
    alarm->order = ++order;
    coil__timer_arm(&timers, &alarm->timer, deadline);
}

static void disarm(struct alarm *alarm)
{
    alarm->deadline = INT64_MAX;
    coil__timer_disarm(&timers, &alarm->timer);
}

static void note(struct coil__timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);

    cr_assert_not(coil__heap_has(&timer->node));
    cr_assert_lt(fired_count, FIRED_MAX);
    fired[fired_count++] = alarm;
    alarm->deadline = INT64_MAX;
    if (alarm->again)
        arm(alarm, alarm->again);
    alarm->again = 0;
}

static void set_up(void)
{
    const char *given = getenv("COIL_TEST_SEED");

    seed = given ? strtoull(given, NULL, 10) : (uint64_t)coil__clock_now() | 1;
    random_state = seed;
    for (size_t i = 0; i < ALARMS; i++) {
        alarms[i] = (struct alarm){.timer.fire = note, .deadline = INT64_MAX};
        alarms[i].timer.node.key = INT64_MAX;
    }
}

/* ---- What should be: a search ---- */

static struct alarm *first_armed(void)
{
    struct alarm *first = NULL;

    for (size_t i = 0; i < ALARMS; i++) {
        struct alarm *alarm = &alarms[i];

        if (alarm->deadline == INT64_MAX)
            continue;
        if (!first || alarm->deadline < first->deadline ||
            (alarm->deadline == first->deadline && alarm->order < first->order))
            first = alarm;
    }
    return first;
}

static size_t count_armed(void)
{
    size_t count = 0;

    for (size_t i = 0; i < ALARMS; i++)
        count += alarms[i].deadline != INT64_MAX;
    return count;
}

static int64_t next_deadline(void)
{
    const struct alarm *first = first_armed();

    return first ? first->deadline : INT64_MAX;
}

/* The first timers as they should be, told from a copy of the deadlines. */
static void check_nearest(void)
{
    static int64_t kept[ALARMS];
    struct coil__timer *nearest[20];
    const size_t count = coil__timers_nearest(&timers, nearest, 20);
    const size_t armed = count_armed();

    cr_assert_eq(count, armed < 20 ? armed : 20);
    for (size_t i = 0; i < ALARMS; i++)
        kept[i] = alarms[i].deadline;
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(nearest[i], &first_armed()->timer, "seed %llu", (unsigned long long)seed);
        first_armed()->deadline = INT64_MAX;
    }
    for (size_t i = 0; i < ALARMS; i++)
        alarms[i].deadline = kept[i];
}

/* Fires at `now` and checks that what fired is what should have, in that order. */
static void fire_checked(int64_t now)
{
    static struct alarm *expected[ALARMS];
    static int64_t kept[ALARMS];
    size_t count = 0;

    for (size_t i = 0; i < ALARMS; i++)
        kept[i] = alarms[i].deadline;
    for (struct alarm *alarm; (alarm = first_armed()) && alarm->deadline <= now;) {
        expected[count++] = alarm;
        alarm->deadline = INT64_MAX;
    }
    for (size_t i = 0; i < ALARMS; i++)
        alarms[i].deadline = kept[i];

    fired_count = 0;
    coil__timers_fire_due(&timers, now);

    cr_assert_eq(fired_count, count, "%zu fired for %zu, seed %llu", fired_count, count,
                 (unsigned long long)seed);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(fired[i], expected[i], "seed %llu", (unsigned long long)seed);
}

/* A duration of any order of magnitude: from nothing to years. */
static int64_t any_duration(unsigned bits)
{
    return (int64_t)(next_random() >> (64U - 1 - next_random() % bits));
}

/* Where buckets begin and end, or close by. */
static int64_t near_an_edge(int64_t at)
{
    const unsigned shift =
        COIL__TIMER_TICK_BITS + COIL__TIMER_SLOT_BITS * (unsigned)(next_random() % 4);

    return (int64_t)(((uint64_t)at >> shift) << shift) + (int64_t)(next_random() % 3) - 1;
}

static int64_t any_deadline(int64_t now)
{
    const int64_t late = now + any_duration(52);

    switch (next_random() % 4) {
    case 0:
        return near_an_edge(late);
    case 1:
        return now - any_duration(40); /* has passed */
    case 2:
        return now - now % millisecond + millisecond; /* the same as others */
    default:
        return late;
    }
}

Test(timer, a_long_random_history_agrees_with_a_search_through_all_timers, .init = set_up)
{
    int64_t now = boot;

    (void)fprintf(stderr, "timer: COIL_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (int step = 0; step < STEPS; step++) {
        struct alarm *alarm = &alarms[next_random() % ALARMS];

        if (alarm->deadline == INT64_MAX)
            arm(alarm, any_deadline(now));
        else if (next_random() % 4)
            disarm(alarm);
        cr_assert_eq(timers.count, count_armed());
        if (next_random() % 2)
            cr_assert_eq(coil__timers_next(&timers), next_deadline(), "seed %llu",
                         (unsigned long long)seed);
        if (next_random() % 16 == 0)
            check_nearest();
        if (next_random() % 4 == 0) {
            const int64_t next = next_deadline();

            now += any_duration(next_random() % 16 ? 30 : 48);
            if (next_random() % 2 && next != INT64_MAX && next > now)
                now = next - (int64_t)(next_random() % 2); /* as the loop does it */
            fire_checked(now);
        }
    }
}

/* ---- By hand ---- */

Test(timer, equal_deadlines_fire_in_the_order_of_arming_wherever_they_were_meanwhile,
     .init = set_up)
{
    const int64_t deadline = boot + 3600000 * millisecond;
    int64_t now = boot;

    for (size_t i = 0; i < 80; i++) {
        fire_checked(now);
        arm(&alarms[i], deadline);
        now = deadline - (deadline - now) / 4 * 3; /* through all levels */
    }
    fire_checked(deadline);
    cr_assert_eq(fired_count, 80);
    for (size_t i = 0; i < 80; i++)
        cr_assert_eq(fired[i], &alarms[i]);
}

Test(timer, a_timer_fires_at_its_deadline_and_not_a_nanosecond_earlier, .init = set_up)
{
    int64_t now = boot;

    for (int64_t wait = 1; wait < (INT64_C(1) << 60); wait = wait * 3 + 1) {
        coil__timers_fire_due(&timers, now);
        arm(&alarms[0], now + wait);
        cr_assert_eq(coil__timers_next(&timers), now + wait);
        fire_checked(now + wait - 1);
        cr_assert_eq(coil__timers_next(&timers), now + wait);
        fire_checked(now + wait);
        cr_assert_eq(fired_count, 1);
        disarm(&alarms[0]);
    }
}

Test(timer, what_is_armed_after_long_idleness_fires_in_order, .init = set_up)
{
    const int64_t now = boot + 7200000 * millisecond;

    coil__timers_fire_due(&timers, boot);
    for (size_t i = 0; i < ALARMS; i++)
        arm(&alarms[i], now + (int64_t)(i * 7919 % ALARMS) * tick / 3);
    cr_assert_eq(coil__timers_next(&timers), now);
    for (int64_t at = now; count_armed() > 0; at += tick)
        fire_checked(at);
}

Test(timer, the_last_deadline_of_all_and_one_before_the_clock_began_have_a_place, .init = set_up)
{
    coil__timers_fire_due(&timers, boot);
    arm(&alarms[0], INT64_MAX - 1);
    arm(&alarms[1], -5);
    arm(&alarms[2], INT64_MAX); /* never */

    fire_checked(boot);
    cr_assert_eq(fired_count, 1);
    cr_assert_eq(coil__timers_next(&timers), INT64_MAX - 1);
    fire_checked(INT64_MAX - 1);
    cr_assert_eq(fired_count, 1);
    cr_assert_eq(timers.count, 0);
}

Test(timer, one_that_is_armed_again_as_it_fires_fires_at_once_when_it_is_due, .init = set_up)
{
    arm(&alarms[0], boot);
    alarms[0].again = boot + tick;
    arm(&alarms[1], boot + 1);
    arm(&alarms[2], boot + 100 * tick);

    coil__timers_fire_due(&timers, boot + 2 * tick);

    cr_assert_eq(fired_count, 3);
    cr_assert_eq(fired[0], &alarms[0]);
    cr_assert_eq(fired[1], &alarms[1]);
    cr_assert_eq(fired[2], &alarms[0]);
    cr_assert_eq(coil__timers_next(&timers), boot + 100 * tick);
}

Test(timer, disarmed_ones_leave_nothing_at_any_time, .init = set_up)
{
    coil__timers_fire_due(&timers, boot);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ALARMS; i++)
            arm(&alarms[i], boot + (int64_t)(i * i * i) * tick);
        if (round == 1)
            (void)coil__timers_next(&timers);
        if (round == 2)
            coil__timers_fire_due(&timers, boot + tick);
        for (size_t i = 0; i < ALARMS; i++) {
            disarm(&alarms[i]);
            disarm(&alarms[i]);
        }

        cr_assert_eq(timers.count, 0);
        cr_assert_eq(coil__timers_next(&timers), INT64_MAX);
        fire_checked(boot + tick);
    }
}

/* Or each timer would be spread through all levels in its short life. */
Test(timer, a_near_deadline_lies_on_the_lowest_level_however_long_ago_the_last_timer_fired,
     .init = set_up)
{
    const int64_t now = ((boot >> 40) + 1) << 40;

    coil__timers_fire_due(&timers, boot);
    arm(&alarms[0], now + (INT64_C(1) << 45));
    coil__timers_fire_due(&timers, now);
    cr_assert_eq(timers.levels & 1, 0);
    arm(&alarms[1], now + tick);

    cr_assert_eq(coil__timers_next(&timers), now + tick);
    cr_assert_eq(timers.levels & 1, 1);
}
