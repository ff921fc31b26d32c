/* SPDX-License-Identifier: MIT */
/* Reads /proc/PID/task/TID/schedstat (account.h): of every thread, because io_uring's own workers
 * are among them.
 */
#include "account.h"

#include "raw.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static void add_thread(const char *path, struct account *account)
{
    uint64_t cpu_ns = 0;
    uint64_t wait_ns = 0;
    FILE *file = fopen(path, "re");

    if (!file)
        return; /* it has just ended */
    if (fscanf(file, "%" SCNu64 " %" SCNu64, &cpu_ns, &wait_ns) == 2) {
        account->cpu_ns += cpu_ns;
        account->wait_ns += wait_ns;
    }
    fclose(file);
}

struct account account_of(int pid)
{
    char path[300];
    struct account account = {0};

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
        add_thread(path, &account);
    }
    closedir(tasks);
    return account;
}

void account_print(const char *who, const struct account *before, const struct account *after)
{
    printf(", \"%s_cpu_ns\": %" PRIu64 ", \"%s_wait_ns\": %" PRIu64, who,
           after->cpu_ns - before->cpu_ns, who, after->wait_ns - before->wait_ns);
}
