/* SPDX-License-Identifier: MIT */
/* Fibers in words (core/describe.h). */
#include "core/describe.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "core/waitq.h"

/* ---- Code ---- */

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Programs that are not position independent know their code by its final address. */
static uintptr_t load_bias(const Dl_info *info)
{
    const unsigned char *image = info->dli_fbase;
    uint16_t type;

    memcpy(&type, image + EI_NIDENT, sizeof type);
    return type == ET_EXEC ? 0 : (uintptr_t)image;
}

void coil__describe_code(struct coil__text *text, const void *return_address)
{
    /* A return address may be the first byte of the next function: the call is before it. */
    const uintptr_t at = (uintptr_t)return_address - 1;
    Dl_info info;

    if (!return_address) {
        coil__text_add(text, "?");
        return;
    }
    if (dladdr((const void *)at, &info) == 0 || !info.dli_fname || !info.dli_fbase) {
        coil__text_add_hex(text, at);
        return;
    }
    if (info.dli_sname) {
        coil__text_add(text, info.dli_sname);
        coil__text_add(text, "+");
        coil__text_add_hex(text, at - (uintptr_t)info.dli_saddr);
        coil__text_add(text, " (");
    }
    coil__text_add(text, last_component(info.dli_fname));
    coil__text_add(text, "+");
    coil__text_add_hex(text, at - load_bias(&info));
    if (info.dli_sname)
        coil__text_add(text, ")");
}

void coil__describe_function(struct coil__text *text, uintptr_t address)
{
    /* One past its beginning, as a return address would be. */
    coil__describe_code(text, (const void *)(address + 1));
}

void coil__describe_frame(struct coil__text *text, size_t number, const void *return_address)
{
    coil__text_add(text, "#");
    coil__text_add_number(text, number);
    coil__text_add(text, number < 10 ? "  " : " ");
    coil__describe_code(text, return_address);
}

/* ---- Who waits for whom ---- */

static const struct coil_fiber *owner_of(const struct coil__waiter *waiter)
{
    return waiter->owner ? *waiter->owner : NULL;
}

const struct coil_fiber *coil__describe_owner(const struct coil__tcb *tcb)
{
    const struct coil__waiter *waiter = tcb->waiter;

    if (tcb->state != COIL__FIBER_PARKED || !waiter)
        return NULL;
    if (!waiter->choice)
        return owner_of(waiter);
    for (size_t i = 0; i < waiter->choice->count; i++) {
        const struct coil__waiter *place = &waiter->choice->waiters[i];

        if (place->is_queued && owner_of(place))
            return owner_of(place);
    }
    return NULL;
}

void coil__describe_name(struct coil__text *text, const struct coil_fiber *fiber)
{
    coil__text_add_number(text, fiber->id);
    coil__text_add(text, " '");
    coil__text_add_plain(text, fiber->name, sizeof fiber->name);
    coil__text_add(text, "'");
}

void coil__assert_place(struct coil__text *text)
{
    const struct coil__sched *sched = coil__sched_this;

    if (!sched || !sched->current || !sched->current->handle)
        return;
    coil__text_add(text, " in fiber ");
    coil__describe_name(text, sched->current->handle);
}

static void describe_wait(struct coil__text *text, const struct coil__tcb *tcb)
{
    const char *name = tcb->wait_name ? tcb->wait_name : "?";
    const struct coil_fiber *owner = coil__describe_owner(tcb);

    coil__text_add(text, "waits for ");
    coil__text_add(text, name);
    if (!owner)
        return;
    coil__text_add(text, strcmp(name, "join") == 0 ? " of " : " held by ");
    if (coil__describe_is_alive(owner))
        coil__describe_name(text, owner);
    else
        coil__text_add(text, "a fiber that has ended");
}

void coil__describe_state(struct coil__text *text, const struct coil__tcb *tcb)
{
    switch ((enum coil__fiber_state)tcb->state) {
    case COIL__FIBER_READY:
        coil__text_add(text, "runnable");
        return;
    case COIL__FIBER_RUNNING:
        coil__text_add(text, "running");
        return;
    case COIL__FIBER_PARKED:
        describe_wait(text, tcb);
        return;
    }
    coil__text_add(text, "in no known state");
}

/* ---- The line ---- */

static void describe_deadline(struct coil__text *text, const struct coil__tcb *tcb, int64_t now)
{
    const int64_t deadline = coil__scope_deadline(tcb);

    if (tcb->is_cancelled)
        coil__text_add(text, ", cancelled");
    if (coil__scope_due(tcb) == -ETIMEDOUT) {
        coil__text_add(text, ", deadline passed");
    } else if (deadline != INT64_MAX) {
        coil__text_add(text, ", deadline in ");
        coil__text_add_time(text, deadline - now);
    }
}

void coil__describe_fiber(struct coil__text *text, const struct coil_fiber *fiber, int64_t now)
{
    const struct coil__tcb *tcb = fiber->tcb;

    coil__text_add(text, "fiber ");
    coil__describe_name(text, fiber);
    coil__text_add(text, ": ");
    if (!tcb) {
        coil__text_add(text, "ended");
        return;
    }
    coil__describe_state(text, tcb);
    if (tcb->state == COIL__FIBER_PARKED) {
        coil__text_add(text, " for ");
        coil__text_add_time(text, now - tcb->wait_since);
    }
    describe_deadline(text, tcb, now);
}
