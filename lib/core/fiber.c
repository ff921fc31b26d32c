/* SPDX-License-Identifier: MIT */
/* Fibers: spawn, end, join, handles (coil/fiber.h).
 *
 * A new fiber's control block is put at the top of its stack, below a colour of 0 to 31 cache
 * lines; its first frame starts right under it, so that a shallow fiber touches one page. At the
 * end the result moves to the handle, and the stack is recycled as soon as something runs on
 * another one: by the next spawn, the next end, or the loop. Whoever still holds the handle does
 * not hold the stack.
 *
 * Invariant: a handle has one reference from the running fiber and one per coil_fiber_ref() or
 * ret_fiber; it is freed with the last one.
 */
#include <coil/fiber.h>

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/sanitize.h"
#include "base/text.h"
#include "core/describe.h"
#include "core/local.h"
#include "core/overflow.h"
#include "core/switch.h"
#include "core/waitq.h"

enum {
    CACHE_LINE = 64,
    /* Free stacks that stay warm for the next burst: a few megabytes. Beyond, after a second, a
     * slice of them, some millisecond's work, is given back ten times a second. */
    STACKS_KEPT = 512,
    STACKS_TRIMMED = 1024,

    SITE_SIZE = 160, /* a spawn site, in words */

    COLOUR_COUNT = 32, /* half a page of them: control block and first frames keep the other half */
};

static const coil_time trim_delay = COIL_SECONDS(1);
static const coil_time trim_interval = COIL_MS(100);

COIL_STATIC_ASSERT(sizeof(struct coil__tcb) <= 192, "part of the 2,100 byte budget (design D10)");
COIL_STATIC_ASSERT(sizeof(struct coil_fiber) <= 112, "counts in the memory per parked fiber");
COIL_STATIC_ASSERT(sizeof(coil_exit_hook) == 24, "a promise of the header");

/* Clears an object of 64 to 192 bytes, a constant. In parts, because gcc makes a string instruction
 * of what is larger than 64, and that takes longer than the rest of a spawn. */
static COIL_ALWAYS_INLINE void clear(void *object, size_t size)
{
    char *const bytes = object;
    const size_t second = size < 128 ? size - 64 : 64;

    memset(bytes, 0, 64);
    memset(bytes + 64, 0, second);
    memset(bytes + 64 + second, 0, size - 64 - second);
}

COIL_COLD static void report_failure(struct coil__sched *sched, const struct coil_fiber *fiber)
{
    char site[SITE_SIZE];
    struct coil__text text;

    if (sched->unhandled) {
        sched->unhandled(fiber, fiber->result, sched->unhandled_arg);
        return;
    }
    coil__text_init(&text, site, sizeof site, NULL);
    coil__describe_code(&text, fiber->spawn_site);
    coil__log(COIL_LOG_WARNING,
              "fiber %llu '%s' ended with %d (%s) and nobody can collect it, spawned at %s",
              (unsigned long long)fiber->id, fiber->name, fiber->result,
              coil_strerror(fiber->result), site);
}

/* Called when nobody can ask for the result any more. */
static inline void report_unhandled(struct coil__sched *sched, const struct coil_fiber *fiber)
{
    if (fiber->result < 0 && !fiber->is_collected && fiber->result != -ECANCELED)
        report_failure(sched, fiber);
}

static inline void drop_reference(struct coil__sched *sched, struct coil_fiber *fiber)
{
    COIL_ASSERT(fiber->reference_count > 0);
    if (--fiber->reference_count > 0)
        return;
    report_unhandled(sched, fiber);
    coil__slab_put(&sched->handles, fiber);
}

/* The result is handed over: when a joiner runs, the handle may be gone with its last reference. */
static void wake_joiners(struct coil_fiber *handle)
{
    struct coil__waiter *joiner;

    while ((joiner = coil__waitq_first(&handle->joiners)) != NULL) {
        *(int *)joiner->object = handle->result;
        handle->is_collected = true;
        coil__waiter_wake(joiner, 0);
    }
}

/* Each hook is taken off before it is called: its storage may go meanwhile, and a hook that adds
 * another one has it called in its turn. */
static void run_exit_hooks(struct coil_fiber *handle)
{
    while (handle->exit_hooks) {
        coil_exit_hook *hook = handle->exit_hooks;

        handle->exit_hooks = hook->next;
        handle->is_collected = true;
        hook->fn(handle, handle->result, hook->arg);
    }
}

/* What others have attached to the fiber, while it still is one: all of it may park, and while it
 * does, more may come. */
static void wind_up(struct coil__tcb *self)
{
    struct coil_fiber *handle = self->handle;

    do {
        if (COIL_UNLIKELY(handle->exit_hooks))
            run_exit_hooks(handle);
        if (COIL_UNLIKELY(self->locals))
            coil__local_end(self);
        if (handle->result < 0 && handle->reference_count == 1 &&
            coil__waitq_is_empty(&handle->joiners)) {
            report_unhandled(self->sched, handle);
            handle->is_collected = true;
        }
    } while (COIL_UNLIKELY(handle->exit_hooks || self->locals));
}

/* Whoever waits for such a lock waits for ever, and its owner would be a handle that is gone; the
 * members of such a group run on in storage that most likely is gone with the fiber. */
COIL_COLD static void refuse_to_end(const struct coil__tcb *self)
{
    if (self->locks_held) {
        coil__log(COIL_LOG_ERROR, "fiber %llu '%s' ends and still holds %u lock%s",
                  (unsigned long long)self->handle->id, self->handle->name, self->locks_held,
                  coil__text_plural(self->locks_held));
    } else {
        coil__log(COIL_LOG_ERROR, "fiber %llu '%s' ends and has not left %u group%s",
                  (unsigned long long)self->handle->id, self->handle->name, self->groups_open,
                  coil__text_plural(self->groups_open));
    }
    COIL_ASSERT(!self->locks_held && "a fiber unlocks before it ends");
    COIL_ASSERT(!self->groups_open && "a fiber leaves its groups before it ends");
}

/* The life of a fiber, on its own stack. Afterwards only the stack is left of it, which
 * coil__fiber_exit() leaves. */
static void fiber_main(void *arg)
{
    struct coil__tcb *self = arg;
    struct coil_fiber *handle = self->handle;
    struct coil__sched *sched = self->sched;

    coil__sanitize_switch_end(NULL);
    handle->result = self->entry(self->arg);

    COIL_ASSERT(!self->scope && "a fiber leaves its scopes before it ends");
    wind_up(self);
    COIL_ASSERT(!self->scope && "so do its exit hooks and destructors");
    if (!coil__stack_is_intact(&sched->stacks, self->stack_top))
        coil__overflow_die(self);
    if (COIL_UNLIKELY(self->locks_held | self->groups_open))
        refuse_to_end(self);
    handle->tcb = NULL;
    coil__list_remove(&handle->registry);
    sched->fiber_count--;
    wake_joiners(handle);
    drop_reference(sched, handle);
}

static struct coil__tcb *make_tcb(struct coil__sched *sched, void *stack_top)
{
    const size_t offset = (size_t)(sched->colour_next++ % COLOUR_COUNT) * CACHE_LINE;
    const size_t size = (sizeof(struct coil__tcb) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    struct coil__tcb *tcb = (void *)((char *)stack_top - offset - size);

    clear(tcb, sizeof *tcb);
    tcb->sched = sched;
    tcb->stack_top = stack_top;
    tcb->state = COIL__FIBER_READY;
    tcb->context = coil__switch_prepare(tcb, fiber_main, tcb);
    tcb->sanitizer_fiber = coil__sanitize_fiber_new();
    return tcb;
}

/* What a fiber that spawns leaves to its child. On failure the child's stack is given back. */
static int inherit(struct coil__sched *sched, struct coil__tcb *child)
{
    int result = 0;

    if (COIL_UNLIKELY(sched->current && sched->current->locals))
        result = coil__local_inherit(sched->current, child);
    if (COIL_UNLIKELY(result < 0)) {
        coil__sanitize_fiber_free(child->sanitizer_fiber);
        coil__stack_put(&sched->stacks, child->stack_top);
    }
    return result;
}

int coil__fiber_spawn(struct coil__sched *sched, int (*entry)(void *), void *arg,
                      const void *spawn_site, struct coil_fiber **ret_fiber)
{
    struct coil_fiber *handle;
    struct coil__tcb *tcb;
    void *stack_top;
    int result;

    if (sched->fiber_count >= sched->fibers_max)
        return -EAGAIN;
    coil__fiber_reap(sched);

    handle = coil__slab_get(&sched->handles);
    if (!handle)
        return -ENOMEM;
    stack_top = coil__stack_get(&sched->stacks);
    if (!stack_top) {
        coil__slab_put(&sched->handles, handle);
        return -ENOMEM;
    }

    tcb = make_tcb(sched, stack_top);
    result = inherit(sched, tcb);
    if (result < 0) {
        coil__slab_put(&sched->handles, handle);
        return result;
    }
    tcb->entry = entry;
    tcb->arg = arg;
    tcb->handle = handle;
    tcb->is_cancelled = sched->is_ending;
    tcb->interrupts = sched->is_ending;
    clear(handle, sizeof *handle);
    handle->tcb = tcb;
    handle->id = ++sched->id_last;
    handle->parent_id = sched->current ? sched->current->handle->id : 0;
    handle->spawn_site = spawn_site;
    handle->reference_count = ret_fiber ? 2 : 1;
    coil__waitq_init(&handle->joiners);
    coil__list_push_back(&sched->registry, &handle->registry);
    coil__list_push_back(&sched->ready, &tcb->link);
    if (++sched->fiber_count > sched->fiber_peak)
        sched->fiber_peak = sched->fiber_count;
    sched->spawn_count++;
    if (ret_fiber)
        *ret_fiber = handle;
    return 0;
}

/* After a burst of fibers: gives stacks back, a slice at a time, until a reserve is left. */
void coil__fiber_trim(struct coil__timer *timer)
{
    struct coil__sched *sched = container_of(timer, struct coil__sched, trim);

    coil__stacks_trim(&sched->stacks, STACKS_KEPT, STACKS_TRIMMED);
    if (sched->stacks.free_count > STACKS_KEPT)
        coil__timer_arm(&sched->timers, timer, coil__clock_deadline(trim_interval));
}

COIL_COLD static void trim_later(struct coil__sched *sched)
{
    if (!coil__heap_has(&sched->trim.node))
        coil__timer_arm(&sched->timers, &sched->trim, coil__clock_deadline(trim_delay));
}

void coil__fiber_bury(struct coil__sched *sched)
{
    struct coil__tcb *tcb = sched->zombie;

    sched->zombie = NULL;
    coil__sanitize_fiber_free(tcb->sanitizer_fiber);
    coil__stack_put(&sched->stacks, tcb->stack_top);
    if (COIL_UNLIKELY(sched->stacks.free_count > STACKS_KEPT))
        trim_later(sched);
}

/* ---- Public ---- */

int coil_spawn(int (*fn)(void *), void *arg, coil_fiber **ret_fiber)
{
    return coil__fiber_spawn(coil__sched(), fn, arg, __builtin_return_address(0), ret_fiber);
}

int coil_try_join(coil_fiber *fiber, int *ret_result)
{
    if (fiber->tcb)
        return -EAGAIN;
    fiber->is_collected = true;
    if (ret_result)
        *ret_result = fiber->result;
    return 0;
}

int coil_join(coil_fiber *fiber, int *ret_result)
{
    struct coil__tcb *self = coil__self();
    int value = 0;
    int result;

    if (fiber == self->handle)
        return -EDEADLK;
    result = coil__checkpoint(self);
    if (result < 0)
        return result;
    if (fiber->tcb) {
        result = coil__waitq_park_owned(&fiber->joiners, "join", &value, &fiber);
        if (result < 0)
            return result;
    } else {
        value = fiber->result;
        fiber->is_collected = true;
    }
    if (ret_result)
        *ret_result = value;
    return 0;
}

void coil_cancel(coil_fiber *fiber)
{
    struct coil__tcb *tcb = fiber->tcb;

    if (!tcb || tcb->is_cancelled)
        return;
    COIL_ASSERT(tcb->sched == coil__sched_this && "a fiber's handle stays on its core");
    tcb->is_cancelled = true;
    tcb->interrupts++;
    coil__interrupt_if_due(tcb);
}

coil_fiber *coil_fiber_ref(coil_fiber *fiber)
{
    COIL_ASSERT(fiber->reference_count > 0);
    fiber->reference_count++;
    return fiber;
}

void coil_fiber_unref(coil_fiber *fiber)
{
    if (fiber)
        drop_reference(coil__sched(), fiber);
}

coil_fiber *coil_self(void)
{
    struct coil__sched *sched = coil__sched_this;

    return sched && sched->current ? sched->current->handle : NULL;
}

uint64_t coil_fiber_id(const coil_fiber *fiber)
{
    return fiber->id;
}

uint64_t coil_fiber_parent_id(const coil_fiber *fiber)
{
    return fiber->parent_id;
}

const void *coil_fiber_spawn_site(const coil_fiber *fiber)
{
    return fiber->spawn_site;
}

const char *coil_fiber_name(const coil_fiber *fiber)
{
    return fiber->name;
}

void coil_fiber_name_set(coil_fiber *fiber, const char *name)
{
    const size_t len = strnlen(name, sizeof fiber->name - 1);

    memcpy(fiber->name, name, len);
    fiber->name[len] = '\0';
}

void coil_unhandled_set(coil_unhandled_hook *hook, void *arg)
{
    struct coil__sched *sched = coil__sched();

    sched->unhandled = hook;
    sched->unhandled_arg = arg;
}

/* ---- Exit hooks ---- */

void coil_on_exit(coil_fiber *fiber, coil_exit_hook *hook,
                  void (*fn)(coil_fiber *fiber, int result, void *arg), void *arg)
{
    coil_exit_hook **end = &fiber->exit_hooks;

    *hook = (coil_exit_hook){.fn = fn, .arg = arg};
    if (!fiber->tcb) {
        fiber->is_collected = true;
        fn(fiber, fiber->result, arg);
        return;
    }
    while (*end) {
        COIL_ASSERT(*end != hook && "a hook is added once");
        end = &(*end)->next;
    }
    *end = hook;
}

bool coil_off_exit(coil_fiber *fiber, coil_exit_hook *hook)
{
    for (coil_exit_hook **link = &fiber->exit_hooks; *link; link = &(*link)->next) {
        if (*link != hook)
            continue;
        *link = hook->next;
        return true;
    }
    return false;
}
