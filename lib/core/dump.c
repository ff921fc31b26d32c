/* SPDX-License-Identifier: MIT */
/* The dump of all fibers (coil/dump.h).
 *
 * The registry lists fibers in the order of their numbers, and a parent's number is smaller than
 * its children's. So one pass over an array of them, with a binary search for each parent, links
 * the tree, and a walk along the links prints it without recursion: 10,000 fibers take some
 * milliseconds. The array is mapped for the occasion. Without it the fibers come flat.
 *
 * Everything is read as it is found: the registry is followed for as many steps as there are
 * fibers, pointers that are NULL too early end it.
 */
#include "core/dump.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/options.h"
#include "core/backtrace.h"
#include "core/circle.h"
#include "core/describe.h"

enum {
    BUFFER_SIZE = 1024,
    DEPTH_SHOWN = 20, /* deeper children are indented no further */
    NOBODY = -1,
    WRITE_PATIENCE_MS = 1000, /* for a descriptor that does not block and is full */
};

/* A fiber in the tree. Links are indices, or NOBODY. */
struct node {
    const struct coil_fiber *fiber;
    ptrdiff_t parent;
    ptrdiff_t child;   /* the oldest */
    ptrdiff_t sibling; /* the next younger one */
};

struct tree {
    struct node *nodes;
    ptrdiff_t count;
    ptrdiff_t root; /* the oldest fiber without a parent */
};

struct dump {
    struct coil__text *text;
    const struct coil__sched *sched;
    const coil_dump_options *options;
    int64_t now;
};

/* ---- A fiber ---- */

static void indent(struct coil__text *text, size_t depth)
{
    coil__text_add(text, "\n");
    for (size_t i = 0; i < depth && i < DEPTH_SHOWN; i++)
        coil__text_add(text, "  ");
}

static void add_details(const struct dump *dump, const struct coil_fiber *fiber, size_t depth)
{
    const struct coil__stacks *stacks = &dump->sched->stacks;
    struct coil__text *text = dump->text;

    indent(text, depth + 1);
    coil__text_add(text, "runs ");
    coil__describe_function(text, (uintptr_t)fiber->tcb->entry);
    coil__text_add(text, ", spawned at ");
    coil__describe_code(text, fiber->spawn_site);
    if (fiber->parent_id > 0) {
        coil__text_add(text, " by ");
        coil__text_add_number(text, fiber->parent_id);
    }
    coil__text_add(text, ", stack ");
    coil__text_add_number(text, coil__stack_resident(stacks, fiber->tcb->stack_top) / 1024);
    coil__text_add(text, " KiB of ");
    coil__text_add_number(text, stacks->usable_size / 1024);
}

static void add_backtrace(const struct dump *dump, const struct coil__tcb *tcb, size_t depth)
{
    const void *addresses[COIL__BACKTRACE_MAX];
    const size_t count = coil__backtrace(tcb, addresses, COIL__BACKTRACE_MAX);

    for (size_t i = 0; i < count; i++) {
        indent(dump->text, depth + 1);
        coil__describe_frame(dump->text, i, addresses[i]);
    }
}

static void add_fiber(const struct dump *dump, const struct coil_fiber *fiber, size_t depth)
{
    if (dump->options->fiber_id > 0 && fiber->id != dump->options->fiber_id)
        return;
    indent(dump->text, depth);
    coil__describe_fiber(dump->text, fiber, dump->now);
    if (!fiber->tcb || dump->options->no_details)
        return;
    add_details(dump, fiber, depth);
    if (!dump->options->no_backtraces)
        add_backtrace(dump, fiber->tcb, depth);
}

/* ---- The tree ---- */

/* The index of fiber number `id` among the first `count`, or NOBODY. */
static ptrdiff_t find(const struct node *nodes, ptrdiff_t count, uint64_t id)
{
    ptrdiff_t low = 0;
    ptrdiff_t high = count;

    while (low < high) {
        const ptrdiff_t middle = low + (high - low) / 2;

        if (nodes[middle].fiber->id == id)
            return middle;
        if (nodes[middle].fiber->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NOBODY;
}

static void collect(struct tree *tree, const struct coil__sched *sched, size_t room)
{
    const struct coil_fiber *fiber = coil__fiber_next(sched, NULL);

    while (fiber && (size_t)tree->count < room) {
        tree->nodes[tree->count] = (struct node){
            .fiber = fiber,
            .parent = find(tree->nodes, tree->count, fiber->parent_id),
            .child = NOBODY,
            .sibling = NOBODY,
        };
        tree->count++;
        fiber = coil__fiber_next(sched, fiber);
    }
}

/* From the youngest to the oldest, each in front of its siblings. */
static void link_children(struct tree *tree)
{
    tree->root = NOBODY;
    for (ptrdiff_t i = tree->count - 1; i >= 0; i--) {
        struct node *node = &tree->nodes[i];
        ptrdiff_t *first = node->parent == NOBODY ? &tree->root : &tree->nodes[node->parent].child;

        node->sibling = *first;
        *first = i;
    }
}

static void add_tree(const struct dump *dump, const struct tree *tree)
{
    ptrdiff_t at = tree->root;
    size_t depth = 0;

    while (at != NOBODY) {
        add_fiber(dump, tree->nodes[at].fiber, depth);
        if (tree->nodes[at].child != NOBODY) {
            at = tree->nodes[at].child;
            depth++;
            continue;
        }
        while (tree->nodes[at].sibling == NOBODY && tree->nodes[at].parent != NOBODY) {
            at = tree->nodes[at].parent;
            depth--;
        }
        at = tree->nodes[at].sibling;
    }
}

static void add_flat(const struct dump *dump)
{
    const struct coil_fiber *fiber = coil__fiber_next(dump->sched, NULL);

    for (size_t i = 0; fiber && i < dump->sched->fiber_count; i++) {
        add_fiber(dump, fiber, 0);
        fiber = coil__fiber_next(dump->sched, fiber);
    }
}

/* ---- All of it ---- */

static size_t count_ready(const struct coil__sched *sched)
{
    const struct coil__list *link = sched->ready.next;
    size_t count = 0;

    while (link && link != &sched->ready && count < sched->fiber_count) {
        count++;
        link = link->next;
    }
    return count;
}

static void add_heading(const struct dump *dump)
{
    const struct coil__sched *sched = dump->sched;
    struct coil__text *text = dump->text;

    coil__text_add(text, "coil: ");
    coil__text_add_number(text, sched->fiber_count);
    coil__text_add(text, " fiber");
    coil__text_add(text, coil__text_plural(sched->fiber_count));
    coil__text_add(text, ", ");
    coil__text_add_number(text, count_ready(sched));
    coil__text_add(text, " runnable, ");
    coil__text_add_number(text, sched->turn_count);
    coil__text_add(text, " turns, ");
    coil__text_add_number(text, sched->switch_count);
    coil__text_add(text, " switches");
}

static void add_circle(const struct coil__tcb *first, void *arg)
{
    const struct dump *dump = arg;

    indent(dump->text, 0);
    coil__circle_describe(dump->text, first);
}

int coil__dump_text(struct coil__text *text, struct coil__sched *sched,
                    const coil_dump_options *options)
{
    struct dump dump = {text, sched, options, coil__clock_now()};
    const size_t room = sched->fiber_count;
    struct tree tree = {.nodes = NULL};

    if (options->fiber_id > 0 && !coil__fiber_find(sched, options->fiber_id))
        return -ENOENT;
    add_heading(&dump);
    if (room > 0 && options->fiber_id == 0)
        tree.nodes = coil__map(room * sizeof *tree.nodes);
    if (tree.nodes) {
        collect(&tree, sched, room);
        link_children(&tree);
        add_tree(&dump, &tree);
        coil__unmap(tree.nodes, room * sizeof *tree.nodes);
    } else {
        add_flat(&dump);
    }
    if (options->fiber_id == 0)
        coil__circles_visit(sched, add_circle, &dump);
    coil__text_add(text, "\n");
    return 0;
}

/* ---- To a descriptor ---- */

struct output {
    struct coil__text text;
    int fd;
    int error; /* the first one; what comes after is dropped */
    char buffer[BUFFER_SIZE];
};

static bool is_writable_soon(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};

    return poll(&wanted, 1, WRITE_PATIENCE_MS) > 0;
}

static void write_out(struct coil__text *text)
{
    struct output *output = container_of(text, struct output, text);
    size_t done = 0;

    while (done < text->len && output->error == 0) {
        const ssize_t written = write(output->fd, text->data + done, text->len - done);

        if (written >= 0)
            done += (size_t)written;
        else if (errno != EINTR && !(errno == EAGAIN && is_writable_soon(output->fd)))
            output->error = -errno;
    }
    text->len = 0;
}

int coil_dump_with(int fd, const coil_dump_options *options)
{
    struct coil__sched *sched = coil__sched_this;
    const int errno_of_caller = errno;
    struct output output = {.fd = fd};
    coil_dump_options read;
    int result = coil__options_read(&read, sizeof read, options);

    if (result < 0)
        return result;
    coil__text_init(&output.text, output.buffer, sizeof output.buffer, write_out);
    if (sched) {
        result = coil__dump_text(&output.text, sched, &read);
    } else {
        coil__text_add(&output.text, "coil: this thread is not inside coil_run()\n");
        result = -ESRCH;
    }
    write_out(&output.text);
    errno = errno_of_caller;
    return output.error < 0 ? output.error : result;
}

int coil_dump(int fd)
{
    return coil_dump_with(fd, NULL);
}
