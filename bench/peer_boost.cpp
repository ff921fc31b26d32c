// SPDX-License-Identifier: MIT
//
// The cases of `bench/run core --peers` on Boost.Fiber: a fiber where coil has one, the library's
// round robin scheduler, channels, locks and sleeps. It has no select, no semaphore and no I/O.
// Prints what measure.c prints.
#include <boost/fiber/all.hpp>

#include <time.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace fibers = boost::fibers;

static int64_t now()
{
    timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return int64_t{time.tv_sec} * 1000000000 + time.tv_nsec;
}

static int64_t scaled(int64_t taken, long operations, long count)
{
    return static_cast<int64_t>(static_cast<double>(taken) * double(count) / double(operations));
}

static int64_t yield_among(long number, long count)
{
    bool is_over = false;
    std::vector<fibers::fiber> others;

    for (long i = 1; i < number; i++) {
        others.emplace_back([&] {
            while (!is_over)
                boost::this_fiber::yield();
        });
    }
    boost::this_fiber::yield();

    const int64_t start = now();
    for (long i = 0; i < count; i += number)
        boost::this_fiber::yield();
    const int64_t taken = now() - start;

    is_over = true;
    for (auto &other : others)
        other.join();
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

static int64_t yield_10000(long count)
{
    return yield_among(10000, count);
}

/* Stacks are kept in a pool here, as coil keeps them; Boost's default maps each anew. */
static int64_t spawn_join(long count)
{
    fibers::pooled_fixedsize_stack stacks(64 * 1024);
    const int64_t start = now();

    for (long i = 0; i < count; i++)
        fibers::fiber(fibers::launch::post, std::allocator_arg, stacks, [] {}).join();
    return now() - start;
}

static int64_t spawn_join_64(long count)
{
    fibers::pooled_fixedsize_stack stacks(64 * 1024);
    const int64_t start = now();

    for (long i = 0; i < count; i += 64) {
        fibers::fiber batch[64];

        for (auto &one : batch)
            one = fibers::fiber(fibers::launch::post, std::allocator_arg, stacks, [] {});
        for (auto &one : batch)
            one.join();
    }
    return now() - start;
}

template <typename Channel> static int64_t ping_pong(long count, Channel &there, Channel &back)
{
    fibers::fiber partner([&] {
        uint64_t item;

        for (long i = 0; i < count; i += 2) {
            there.pop(item);
            back.push(item + 1);
        }
    });
    uint64_t item = 0;

    boost::this_fiber::yield();
    const int64_t start = now();
    for (long i = 0; i < count; i += 2) {
        there.push(item);
        back.pop(item);
    }
    const int64_t taken = now() - start;
    partner.join();
    return taken;
}

static int64_t chan_ping_pong(long count)
{
    fibers::unbuffered_channel<uint64_t> there;
    fibers::unbuffered_channel<uint64_t> back;

    return ping_pong(count, there, back);
}

static int64_t chan_ping_pong_1(long count)
{
    fibers::buffered_channel<uint64_t> there(2); /* room for one: a slot stays free */
    fibers::buffered_channel<uint64_t> back(2);

    return ping_pong(count, there, back);
}

static int64_t chan_stream(long count)
{
    fibers::buffered_channel<uint64_t> items(64);
    fibers::fiber producer([&] {
        for (long i = 0; i < count; i++)
            items.push(uint64_t(i));
        items.close();
    });
    uint64_t item;
    const int64_t start = now();

    while (items.pop(item) == fibers::channel_op_status::success)
        continue;
    const int64_t taken = now() - start;
    producer.join();
    return taken;
}

static int64_t mutex_contended(long count)
{
    fibers::mutex mutex;
    const auto contend = [&] {
        for (long i = 0; i < count; i += 2) {
            mutex.lock();
            boost::this_fiber::yield();
            mutex.unlock();
        }
    };
    const int64_t start = now();
    fibers::fiber one(contend);
    fibers::fiber other(contend);

    one.join();
    other.join();
    return now() - start;
}

/* At most 200 items under way, results in input order: a queue of futures. */
static int64_t imap(long count)
{
    constexpr int items = 100000;
    fibers::pooled_fixedsize_stack stacks(64 * 1024);
    fibers::buffered_channel<fibers::future<int>> queue(256);
    const int64_t start = now();
    fibers::fiber feeder([&] {
        for (int i = 0; i < items; i++) {
            fibers::packaged_task<int()> task([i] {
                boost::this_fiber::yield();
                return i;
            });

            queue.push(task.get_future());
            fibers::fiber(fibers::launch::post, std::allocator_arg, stacks, std::move(task))
                .detach();
        }
        queue.close();
    });
    fibers::future<int> result;

    for (int next = 0; queue.pop(result) == fibers::channel_op_status::success; next++) {
        if (result.get() != next)
            std::exit(1);
    }
    feeder.join();
    return scaled(now() - start, items, count);
}

static int64_t timer_expiry(long count)
{
    constexpr int sleepers = 100000;
    fibers::pooled_fixedsize_stack stacks(64 * 1024);
    std::vector<fibers::fiber> fibers_(sleepers);
    const int64_t start = now();

    for (int i = 0; i < sleepers; i++) {
        fibers_[size_t(i)] = fibers::fiber(fibers::launch::post, std::allocator_arg, stacks, [i] {
            const std::chrono::microseconds more(i * 7919L % 50000);

            boost::this_fiber::sleep_for(std::chrono::milliseconds(100) + more);
        });
    }
    for (auto &one : fibers_)
        one.join();
    return scaled(now() - start, sleepers, count);
}

struct measure_case {
    const char *name;
    int64_t (*run)(long count);
};

static const measure_case cases[] = {
    {"yield_2", yield_2},
    {"yield_64", yield_64},
    {"yield_10000", yield_10000},
    {"spawn_join", spawn_join},
    {"spawn_join_64", spawn_join_64},
    {"chan_ping_pong", chan_ping_pong},
    {"chan_ping_pong_1", chan_ping_pong_1},
    {"chan_stream", chan_stream},
    {"mutex_contended", mutex_contended},
    {"imap", imap},
    {"timer_expiry", timer_expiry},
};

static long number(const char *text)
{
    char *end;
    const long value = std::strtol(text, &end, 10);

    return end == text || *end || value < 1 ? 0 : value;
}

int main(int argc, char **argv)
{
    const char *only = nullptr;
    const char *separator = "";
    long count = 200000;
    long repeat = 21;
    bool is_usage = argc % 2 == 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (std::strcmp(argv[i], "--count") == 0)
            count = number(argv[i + 1]);
        else if (std::strcmp(argv[i], "--repeat") == 0)
            repeat = number(argv[i + 1]);
        else if (std::strcmp(argv[i], "--only") == 0)
            only = argv[i + 1];
        else
            is_usage = true;
    }
    if (is_usage || count == 0 || repeat == 0) {
        std::fprintf(stderr, "usage: %s [--count N] [--repeat N] [--only CASE]\n", argv[0]);
        return 2;
    }
    std::printf("{");
    for (const auto &one : cases) {
        if (only && std::strcmp(only, one.name) != 0)
            continue;
        std::printf("%s\"%s\": [", separator, one.name);
        separator = ", ";
        for (long i = 0; i <= repeat; i++) {
            const double ns = double(one.run(count)) / double(count);

            if (i > 0)
                std::printf("%s%.3f", i > 1 ? ", " : "", ns);
        }
        std::printf("]");
    }
    std::printf("}\n");
    return 0;
}
