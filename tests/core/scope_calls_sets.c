/* SPDX-License-Identifier: MIT */
/* Parking calls on channels, selects and sets of fibers (tests/core/scope_calls.h). */
#include "core/scope_calls.h"

#include "core/scope_checks.h"

static struct {
    coil_chan *empty;
    coil_chan *half; /* an item, and room for one more */
    coil_chan *full;
    coil_xchan *xempty;
    coil_xchan *xhalf;
    coil_xchan *xfull;
    coil_xsem *xnone;
    coil_xsem *xone;
    coil_group busy_group; /* these run a fiber without end */
    coil_pool *busy_pool;
    coil_pile *busy_pile;
    coil_imap *busy_imap;
    coil_group idle_group;
    coil_pool *idle_pool;
    coil_pile *ready_pile; /* a result is always there */
    coil_imap *ready_imap;
    coil_respool *taken;
    coil_respool *spare;
    coil_resource *resource;
} fixture;

static int sleep_forever(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_NEVER);
}

static int return_five(void *arg)
{
    (void)arg;
    return 5;
}

/* ---- Channels ---- */

static int wait_send(void)
{
    const int item = 1;

    return coil_chan_send(fixture.full, &item);
}

static int succeed_send(void)
{
    int item = 1;
    const int result = coil_chan_send(fixture.half, &item);

    if (result == 0)
        cr_assert_eq(coil_chan_try_recv(fixture.half, &item), 1);
    return result;
}

static int wait_recv(void)
{
    int item;

    return coil_chan_recv(fixture.empty, &item);
}

static int succeed_recv(void)
{
    int item = 1;
    const int result = coil_chan_recv(fixture.half, &item);

    if (result == 1)
        cr_assert_eq(coil_chan_try_send(fixture.half, &item), 0);
    return result;
}

static int wait_peek(void)
{
    int item;

    return coil_chan_peek(fixture.empty, &item);
}

static int succeed_peek(void)
{
    int item;

    return coil_chan_peek(fixture.half, &item);
}

static int wait_chan_join(void)
{
    return coil_chan_join(fixture.full);
}

static int succeed_chan_join(void)
{
    return coil_chan_join(fixture.empty);
}

static int wait_xsend(void)
{
    const int item = 1;

    return coil_xchan_send(fixture.xfull, &item);
}

static int succeed_xsend(void)
{
    int item = 1;
    const int result = coil_xchan_send(fixture.xhalf, &item);

    if (result == 0)
        cr_assert_eq(coil_xchan_try_recv(fixture.xhalf, &item), 1);
    return result;
}

static int wait_xrecv(void)
{
    int item;

    return coil_xchan_recv(fixture.xempty, &item);
}

static int succeed_xrecv(void)
{
    int item = 1;
    const int result = coil_xchan_recv(fixture.xhalf, &item);

    if (result == 1)
        cr_assert_eq(coil_xchan_try_send(fixture.xhalf, &item), 0);
    return result;
}

static int wait_xsem(void)
{
    return coil_xsem_acquire(fixture.xnone);
}

static int succeed_xsem(void)
{
    const int result = coil_xsem_acquire(fixture.xone);

    if (result == 0)
        coil_xsem_release(fixture.xone);
    return result;
}

/* ---- Several things at once ---- */

static int wait_select(void)
{
    const int sent = 1;
    int item;
    coil_case cases[] = {coil_case_recv(fixture.empty, &item), coil_case_send(fixture.full, &sent)};

    return coil_select(cases, 2);
}

static int succeed_select(void)
{
    int item = 1;
    coil_case cases[] = {coil_case_recv(fixture.empty, &item), coil_case_recv(fixture.half, &item)};
    const int result = coil_select(cases, 2);

    if (result == 1)
        cr_assert_eq(coil_chan_try_send(fixture.half, &item), 0);
    return result;
}

static int wait_all(void)
{
    const int sent = 1;
    int item;
    coil_case cases[] = {coil_case_recv(fixture.empty, &item), coil_case_send(fixture.full, &sent)};

    return coil_wait_all(cases, 2, NULL);
}

static int succeed_all(void)
{
    const int sent = 1;
    int item = 1;
    coil_case cases[] = {coil_case_recv(fixture.half, &item), coil_case_send(fixture.half, &sent)};

    return coil_wait_all(cases, 2, NULL);
}

/* ---- Sets of fibers ---- */

static int wait_group(void)
{
    return coil_group_wait(&fixture.busy_group);
}

static int succeed_group(void)
{
    return coil_group_wait(&fixture.idle_group);
}

static int wait_pool_spawn(void)
{
    return coil_pool_spawn_detached(fixture.busy_pool, return_five, NULL);
}

static int succeed_pool_spawn(void)
{
    const int result = coil_pool_spawn_detached(fixture.idle_pool, return_five, NULL);

    return result < 0 ? result : coil_pool_wait(fixture.idle_pool);
}

static int wait_pool(void)
{
    return coil_pool_wait(fixture.busy_pool);
}

static int succeed_pool(void)
{
    return coil_pool_wait(fixture.idle_pool);
}

static int wait_pile_spawn(void)
{
    return coil_pile_spawn(fixture.busy_pile, return_five, NULL);
}

static int succeed_pile_spawn(void)
{
    coil_pile *pile;
    int result;

    cr_assert_eq(coil_pile_new(fixture.idle_pool, 0, NULL, &pile), 0);
    result = coil_pile_spawn(pile, return_five, NULL);
    coil_pile_close(pile);
    return result;
}

static int wait_pile(void)
{
    void *item;

    return coil_pile_next(fixture.busy_pile, &item, NULL);
}

static int succeed_pile(void)
{
    void *item;
    const int result = coil_pile_next(fixture.ready_pile, &item, NULL);

    if (result == 1)
        cr_assert_eq(coil_pile_spawn(fixture.ready_pile, return_five, NULL), 0);
    return result;
}

static int wait_imap(void)
{
    void *item;

    return coil_imap_next(fixture.busy_imap, &item, NULL);
}

static int succeed_imap(void)
{
    void *item;

    return coil_imap_next(fixture.ready_imap, &item, NULL);
}

static int wait_resource(void)
{
    coil_resource *resource;

    return coil_respool_get(fixture.taken, "", &resource);
}

static int succeed_resource(void)
{
    coil_resource *resource;
    const int result = coil_respool_get(fixture.spare, "", &resource);

    if (result == 0)
        coil_respool_put(resource);
    return result;
}

static const struct parking_call calls[] = {
    {"send", wait_send, succeed_send},
    {"recv", wait_recv, succeed_recv},
    {"peek", wait_peek, succeed_peek},
    {"join of a channel", wait_chan_join, succeed_chan_join},
    {"send to a core", wait_xsend, succeed_xsend},
    {"recv from a core", wait_xrecv, succeed_xrecv},
    {"sem between cores", wait_xsem, succeed_xsem},
    {"select", wait_select, succeed_select},
    {"wait for all", wait_all, succeed_all},
    {"group", wait_group, succeed_group},
    {"spawn into a pool", wait_pool_spawn, succeed_pool_spawn},
    {"pool", wait_pool, succeed_pool},
    {"spawn into a pile", wait_pile_spawn, succeed_pile_spawn},
    {"pile", wait_pile, succeed_pile},
    {"imap", wait_imap, succeed_imap},
    {"resource", wait_resource, succeed_resource},
};

/* ---- The fixture ---- */

static int feed_for_ever(void *arg, void **ret_item)
{
    *ret_item = arg;
    return 1;
}

static int create_nothing(const char *key, void *arg, void **ret_value)
{
    (void)key;
    *ret_value = arg;
    return 0;
}

static coil_respool *new_respool(void)
{
    coil_respool_options options = COIL_RESPOOL_OPTIONS_INIT;
    coil_respool *pool;

    options.create = create_nothing;
    options.max = 1;
    cr_assert_eq(coil_respool_new(&options, &pool), 0);
    return pool;
}

static void open_channels(void)
{
    const int item = 1;

    cr_assert_eq(coil_chan_new(1, sizeof(int), &fixture.empty), 0);
    cr_assert_eq(coil_chan_new(2, sizeof(int), &fixture.half), 0);
    cr_assert_eq(coil_chan_new(1, sizeof(int), &fixture.full), 0);
    cr_assert_eq(coil_chan_try_send(fixture.half, &item), 0);
    cr_assert_eq(coil_chan_try_send(fixture.full, &item), 0);
    cr_assert_eq(coil_xchan_new(1, sizeof(int), &fixture.xempty), 0);
    cr_assert_eq(coil_xchan_new(2, sizeof(int), &fixture.xhalf), 0);
    cr_assert_eq(coil_xchan_new(1, sizeof(int), &fixture.xfull), 0);
    cr_assert_eq(coil_xchan_try_send(fixture.xhalf, &item), 0);
    cr_assert_eq(coil_xchan_try_send(fixture.xfull, &item), 0);
    cr_assert_eq(coil_xsem_new(0, &fixture.xnone), 0);
    cr_assert_eq(coil_xsem_new(1, &fixture.xone), 0);
}

void scope_calls_sets_open(void)
{
    open_channels();
    coil_group_enter(&fixture.busy_group, 0);
    coil_group_enter(&fixture.idle_group, 0);
    cr_assert_eq(coil_group_spawn(&fixture.busy_group, sleep_forever, NULL, NULL), 0);
    cr_assert_eq(coil_pool_new(1, &fixture.busy_pool), 0);
    cr_assert_eq(coil_pool_new(1, &fixture.idle_pool), 0);
    cr_assert_eq(coil_pile_new(fixture.busy_pool, 0, NULL, &fixture.busy_pile), 0);
    cr_assert_eq(coil_pile_new(fixture.idle_pool, 0, NULL, &fixture.ready_pile), 0);
    cr_assert_eq(coil_pile_spawn(fixture.busy_pile, sleep_forever, NULL), 0);
    cr_assert_eq(coil_pile_spawn(fixture.ready_pile, return_five, NULL), 0);
    cr_assert_eq(coil_imap_new(1, sleep_forever, feed_for_ever, &fixture, NULL, &fixture.busy_imap),
                 0);
    cr_assert_eq(coil_imap_new(1, return_five, feed_for_ever, &fixture, NULL, &fixture.ready_imap),
                 0);
    fixture.taken = new_respool();
    fixture.spare = new_respool();
    cr_assert_eq(coil_respool_get(fixture.taken, "", &fixture.resource), 0);
    parking_calls_add(calls, sizeof calls / sizeof calls[0]);
}

static void close_channels(void)
{
    cr_assert_eq(coil_chan_len(fixture.empty), 0);
    cr_assert_eq(coil_chan_len(fixture.half), 1);
    cr_assert_eq(coil_chan_len(fixture.full), 1);
    cr_assert_eq(coil_chan_sending(fixture.full), 0);
    cr_assert_eq(coil_xchan_len(fixture.xempty), 0);
    cr_assert_eq(coil_xchan_len(fixture.xhalf), 1);
    cr_assert_eq(coil_xchan_len(fixture.xfull), 1);
    cr_assert_eq(coil_xsem_balance(fixture.xnone), 0);
    cr_assert_eq(coil_xsem_balance(fixture.xone), 1);
    coil_chan_free(fixture.empty);
    coil_chan_free(fixture.half);
    coil_chan_free(fixture.full);
    coil_xchan_free(fixture.xempty);
    coil_xchan_free(fixture.xhalf);
    coil_xchan_free(fixture.xfull);
    coil_xsem_free(fixture.xnone);
    coil_xsem_free(fixture.xone);
}

void scope_calls_sets_close(void)
{
    void *item;

    close_channels();
    coil_group_cancel(&fixture.busy_group);
    cr_assert_eq(coil_group_leave(&fixture.busy_group), 0);
    cr_assert_eq(coil_group_leave(&fixture.idle_group), 0);
    cr_assert_eq(coil_pile_next(fixture.ready_pile, &item, NULL), 1,
                 "the one that is always there");
    cr_assert_eq(coil_pile_next(fixture.ready_pile, &item, NULL), 0, "and no other");
    coil_pile_close(fixture.busy_pile);
    coil_pile_close(fixture.ready_pile);
    cr_assert_eq(coil_pool_waiting(fixture.busy_pool), 0);
    cr_assert_eq(coil_pool_free_count(fixture.busy_pool), 1);
    cr_assert_eq(coil_pool_free_count(fixture.idle_pool), 1);
    coil_pool_free(fixture.busy_pool);
    coil_pool_free(fixture.idle_pool);
    coil_imap_close(fixture.busy_imap);
    coil_imap_close(fixture.ready_imap);
    coil_respool_put(fixture.resource);
    coil_respool_free(fixture.taken);
    coil_respool_free(fixture.spare);
}
