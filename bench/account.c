/* SPDX-License-Identifier: MIT */
/* Reads the CPU clock of the process and /proc/PID/task/TID/schedstat of its threads (account.h).
 *
 * The sum of the threads' own CPU times would do while all of them live, but a worker of io_uring
 * that ends within a measurement would take away what it had before.
 */
#include "account.h"

#include "raw.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static void add_wait(const char *path, struct account *account)
{
    uint64_t cpu_ns = 0;
    uint64_t wait_ns = 0;
    FILE *file = fopen(path, "re");

    if (!file)
        return; /* it has just ended */
    if (fscanf(file, "%" SCNu64 " %" SCNu64, &cpu_ns, &wait_ns) == 2)
        account->wait_ns += wait_ns;
    fclose(file);
}

static uint64_t cpu_time(int pid)
{
    struct timespec time;
    clockid_t clock;
    const int error = clock_getcpuclockid(pid, &clock);

    if (error)
        raw_die("clock_getcpuclockid", error);
    if (clock_gettime(clock, &time) < 0)
        raw_die("clock_gettime", errno);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

uint64_t account_clock(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

struct account account_of(int pid)
{
    char path[300];
    struct account account = {.cpu_ns = cpu_time(pid)};

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        raw_die(path, errno);
    for (;;) {
        const struct dirent *task = readdir(tasks);

        if (!task)
            break;
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
        add_wait(path, &account);
    }
    closedir(tasks);
    return account;
}

struct account account_settled(int pid, int pause_ms)
{
    if (pid == 0)
        return (struct account){0};
    (void)nanosleep(&(struct timespec){.tv_nsec = pause_ms * 1000000L}, NULL);
    return account_of(pid);
}

uint64_t account_difference(uint64_t later, uint64_t earlier)
{
    return later > earlier ? later - earlier : 0;
}

void account_print(const char *who, const struct account *before, const struct account *after)
{
    printf(", \"%s_cpu_ns\": %" PRIu64 ", \"%s_wait_ns\": %" PRIu64, who,
           account_difference(after->cpu_ns, before->cpu_ns), who,
           account_difference(after->wait_ns, before->wait_ns));
}
