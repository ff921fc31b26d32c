/* SPDX-License-Identifier: MIT */
/* The overflow reporter (core/overflow.h). Everything in the handler is async-signal-safe. */
#include "core/overflow.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/signal_stack.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned user_count;
static struct sigaction previous_segv;
static struct sigaction previous_bus;

static void write_text(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));

    (void)written; /* nothing else can be done in a fault handler */
}

static void write_number(uint64_t number)
{
    char digits[24];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    write_text(&digits[at]);
}

static void write_report(const struct coil__tcb *tcb, const char *ending)
{
    write_text("coil: stack overflow in fiber ");
    write_number(tcb->handle->id);
    write_text(" '");
    write_text(tcb->handle->name);
    write_text("': more than ");
    write_number(tcb->sched->stacks.usable_size);
    write_text(" bytes of stack; move big arrays to the heap or raise coil_options.stack_size");
    write_text(ending);
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
    const struct sigaction *previous = signal_number == SIGBUS ? &previous_bus : &previous_segv;

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

void coil__overflow_report_begin(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    coil__signal_stack_begin();
    (void)sigemptyset(&action.sa_mask);
    (void)pthread_mutex_lock(&lock);
    if (user_count++ == 0) {
        (void)sigaction(SIGSEGV, &action, &previous_segv);
        (void)sigaction(SIGBUS, &action, &previous_bus);
    }
    (void)pthread_mutex_unlock(&lock);
}

void coil__overflow_report_end(void)
{
    (void)pthread_mutex_lock(&lock);
    if (--user_count == 0) {
        (void)sigaction(SIGSEGV, &previous_segv, NULL);
        (void)sigaction(SIGBUS, &previous_bus, NULL);
    }
    (void)pthread_mutex_unlock(&lock);
    coil__signal_stack_end();
}
