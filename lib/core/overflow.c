/* SPDX-License-Identifier: MIT */
/* The overflow reporter (core/overflow.h). Everything in the handler is async-signal-safe.
 *
 * It passes every fault on to whoever was there before. A handler that others installed over ours
 * most likely passes on to ours; were ours installed over that one at the next run, the two would
 * call each other for ever. So ours, once buried, is left where it is until it is uncovered.
 */
#include "core/overflow.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/describe.h"
#include "core/handler.h"

enum {
    LINE_SIZE = 320, /* the longest has some 250 bytes */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned user_count;

struct fault {
    int number;
    struct coil__handler handler;
};

static struct fault faults[] = {{.number = SIGSEGV}, {.number = SIGBUS}};

static void write_report(const struct coil__tcb *tcb, const char *ending)
{
    char line[LINE_SIZE];
    struct coil__text text;
    ssize_t written;

    coil__text_init(&text, line, sizeof line, NULL);
    coil__text_add(&text, "coil: stack overflow in fiber ");
    coil__describe_name(&text, tcb->handle);
    coil__text_add(&text, ": more than ");
    coil__text_add_number(&text, tcb->sched->stacks.usable_size);
    coil__text_add(&text, " bytes of stack; move big arrays to the heap or raise "
                          "coil_options.stack_size");
    coil__text_add(&text, ending);
    written = write(STDERR_FILENO, line, text.len);
    (void)written; /* nothing else can be done in a fault handler */
}

static void report(const struct coil__sched *sched, const void *address)
{
    const struct coil__tcb *tcb = sched->current;
    void *top;

    if (tcb && coil__stacks_guard_hit(&sched->stacks, address, &top))
        write_report(tcb, "\n");
}

_Noreturn void coil__overflow_die(const struct coil__tcb *tcb)
{
    write_report(tcb, " (seen as it ends, for its stack has no guard page)\n");
    abort();
}

/* As if whoever was here before had been called by the kernel. */
static void pass_on(int signal_number, siginfo_t *info, void *context)
{
    const struct sigaction *previous = &faults[signal_number == SIGBUS].handler.previous;

    if (previous->sa_flags & SA_SIGINFO) {
        previous->sa_sigaction(signal_number, info, context);
    } else if (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN) {
        previous->sa_handler(signal_number);
    } else {
        /* No function to call: returning repeats the fault under the default action. */
        (void)sigaction(signal_number, previous, NULL);
        if (info->si_code <= 0) /* from kill(2) or the like: nothing would repeat it */
            (void)raise(signal_number);
    }
}

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    const struct coil__sched *sched = coil__sched_this;

    if (sched)
        report(sched, info->si_addr);
    pass_on(signal_number, info, context);
}

static const struct sigaction action = {
    .sa_sigaction = on_fault,
    .sa_flags = SA_SIGINFO | SA_ONSTACK,
};

static void install(struct fault *fault)
{
    if (fault->handler.is_buried && !coil__handler_is(fault->number, &action) &&
        !coil__handler_is(fault->number, &fault->handler.previous))
        return;
    (void)coil__handler_install(fault->number, &action, &fault->handler);
    fault->handler.is_buried = false; /* it is on top of whatever there is */
}

void coil__overflow_report_begin(void)
{
    (void)pthread_mutex_lock(&lock);
    if (user_count++ == 0)
        for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
            install(&faults[i]);
    (void)pthread_mutex_unlock(&lock);
}

void coil__overflow_report_end(void)
{
    (void)pthread_mutex_lock(&lock);
    if (--user_count == 0)
        for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
            coil__handler_remove(faults[i].number, &action, &faults[i].handler);
    (void)pthread_mutex_unlock(&lock);
}
