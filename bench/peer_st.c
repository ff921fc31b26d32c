/* SPDX-License-Identifier: MIT */
/* The cases of `bench/run core --peers` on State Threads. It has no channels and no select; a yield
 * is a sleep of no time, as its manual says; its semaphore is a counter with a condition. Built and
 * printed like coil's own cases; only the threads are others.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <st.h>

#include "measure.h"

enum {
    SLEEPERS = 10000, /* each has mappings of its own, and vm.max_map_count is 65,530 */
    DATAGRAMS = 20000,
};

static int is_over;

static void require(int is_true, const char *what)
{
    measure_check(is_true ? 0 : -EIO, what);
}

static void *yield_until_over(void *arg)
{
    (void)arg;
    while (!is_over)
        (void)st_usleep(0);
    return NULL;
}

static st_thread_t spawn(void *(*entry)(void *arg), void *arg)
{
    st_thread_t thread = st_thread_create(entry, arg, 1, 64 * 1024);

    require(thread != NULL, "st_thread_create");
    return thread;
}

static void join(st_thread_t thread)
{
    require(st_thread_join(thread, NULL) == 0, "st_thread_join");
}

static int64_t yield_among(long number, long count)
{
    st_thread_t *others = calloc((size_t)number, sizeof(*others));
    int64_t start;
    int64_t taken;

    require(others != NULL, "calloc");
    is_over = 0;
    for (long i = 1; i < number; i++)
        others[i] = spawn(yield_until_over, NULL);
    (void)st_usleep(0);

    start = measure_now();
    for (long i = 0; i < count; i += number)
        (void)st_usleep(0);
    taken = measure_now() - start;

    is_over = 1;
    for (long i = 1; i < number; i++)
        join(others[i]);
    free(others);
    return taken;
}

static int64_t yield_2(long count)
{
    return yield_among(2, count);
}

static int64_t yield_64(long count)
{
    return yield_among(64, count);
}

static void *nothing(void *arg)
{
    return arg;
}

static int64_t spawn_join(long count)
{
    const int64_t start = measure_now();

    for (long i = 0; i < count; i++)
        join(spawn(nothing, NULL));
    return measure_now() - start;
}

static int64_t spawn_join_64(long count)
{
    const int64_t start = measure_now();

    for (long i = 0; i < count; i += 64) {
        st_thread_t batch[64];

        for (int k = 0; k < 64; k++)
            batch[k] = spawn(nothing, NULL);
        for (int k = 0; k < 64; k++)
            join(batch[k]);
    }
    return measure_now() - start;
}

struct contended {
    st_mutex_t mutex;
    long count;
};

static void *contend(void *arg)
{
    const struct contended *contended = arg;

    for (long i = 0; i < contended->count; i += 2) {
        require(st_mutex_lock(contended->mutex) == 0, "st_mutex_lock");
        (void)st_usleep(0);
        require(st_mutex_unlock(contended->mutex) == 0, "st_mutex_unlock");
    }
    return NULL;
}

static int64_t mutex_contended(long count)
{
    struct contended contended = {.mutex = st_mutex_new(), .count = count};
    const int64_t start = measure_now();
    st_thread_t one = spawn(contend, &contended);
    st_thread_t other = spawn(contend, &contended);

    join(one);
    join(other);
    (void)st_mutex_destroy(contended.mutex);
    return measure_now() - start;
}

struct permits {
    st_cond_t cond;
    unsigned count;
};

static void acquire(struct permits *permits)
{
    while (permits->count == 0)
        (void)st_cond_wait(permits->cond);
    permits->count--;
}

static void release(struct permits *permits)
{
    permits->count++;
    (void)st_cond_signal(permits->cond);
}

struct pair {
    struct permits mine;
    struct permits theirs;
    long count;
};

static void *answer(void *arg)
{
    struct pair *pair = arg;

    for (long i = 0; i < pair->count; i += 2) {
        acquire(&pair->theirs);
        release(&pair->mine);
    }
    return NULL;
}

static int64_t sem_hand_over(long count)
{
    struct pair pair = {.mine.cond = st_cond_new(), .theirs.cond = st_cond_new(), .count = count};
    st_thread_t partner = spawn(answer, &pair);
    int64_t start;
    int64_t taken;

    (void)st_usleep(0);
    start = measure_now();
    for (long i = 0; i < count; i += 2) {
        release(&pair.theirs);
        acquire(&pair.mine);
    }
    taken = measure_now() - start;
    join(partner);
    (void)st_cond_destroy(pair.mine.cond);
    (void)st_cond_destroy(pair.theirs.cond);
    return taken;
}

static void *sleep_once(void *arg)
{
    (void)st_usleep(100000 + (st_utime_t)(uintptr_t)arg * 7919 % 50000);
    return NULL;
}

static int64_t timer_expiry(long count)
{
    static st_thread_t sleepers[SLEEPERS];
    const int64_t start = measure_now();

    for (size_t i = 0; i < SLEEPERS; i++)
        sleepers[i] = spawn(sleep_once, (void *)(uintptr_t)i);
    for (size_t i = 0; i < SLEEPERS; i++)
        join(sleepers[i]);
    return (measure_now() - start) * count / SLEEPERS;
}

static st_netfd_t open_server(struct sockaddr_in *ret_address)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);

    require(bind(fd, (const struct sockaddr *)&address, sizeof address) == 0, "bind");
    require(getsockname(fd, (struct sockaddr *)&address, &size) == 0, "getsockname");
    *ret_address = address;
    return st_netfd_open_socket(fd);
}

/* Connected, as coil's and Go's are: the kernel then looks for no route. */
static st_netfd_t open_client(const struct sockaddr_in *address)
{
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);

    require(connect(fd, (const struct sockaddr *)address, sizeof *address) == 0, "connect");
    return st_netfd_open_socket(fd);
}

static void *echo(void *arg)
{
    st_netfd_t server = arg;

    for (long i = 0; i < DATAGRAMS; i += 2) {
        struct sockaddr_in from;
        int size = sizeof from;
        char data[64];
        const int length = st_recvfrom(server, data, sizeof data, (struct sockaddr *)&from, &size,
                                       ST_UTIME_NO_TIMEOUT);

        require(length > 0, "st_recvfrom");
        require(st_sendto(server, data, length, (struct sockaddr *)&from, size,
                          ST_UTIME_NO_TIMEOUT) == length,
                "st_sendto");
    }
    return NULL;
}

static int64_t udp_echo(long count)
{
    struct sockaddr_in address;
    st_netfd_t server = open_server(&address);
    st_netfd_t client = open_client(&address);
    st_thread_t partner = spawn(echo, server);
    const int64_t start = measure_now();
    int64_t taken;

    for (long i = 0; i < DATAGRAMS; i += 2) {
        char data[64] = "";

        require(st_write(client, data, sizeof data, ST_UTIME_NO_TIMEOUT) == sizeof data,
                "st_write");
        require(st_read(client, data, sizeof data, ST_UTIME_NO_TIMEOUT) == sizeof data, "st_read");
    }
    taken = measure_now() - start;
    join(partner);
    (void)st_netfd_close(server);
    (void)st_netfd_close(client);
    return taken * count / DATAGRAMS;
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {
        {"yield_2", yield_2},
        {"yield_64", yield_64},
        {"spawn_join", spawn_join},
        {"spawn_join_64", spawn_join_64},
        {"mutex_contended", mutex_contended},
        {"sem_hand_over", sem_hand_over},
        {"timer_expiry", timer_expiry},
        {"udp_echo", udp_echo},
        {0},
    };

    (void)st_set_eventsys(ST_EVENTSYS_ALT); /* epoll */
    require(st_init() == 0, "st_init");
    return measure_main(argc, argv, cases);
}
