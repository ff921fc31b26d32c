/* SPDX-License-Identifier: MIT */
/* Directories, read in batches by offloaded calls (coil/dir.h).
 *
 * A thread that reads can't be interrupted: its fiber leaves, the call goes on. What the call uses
 * must not go away with the fiber, and what it reads must not be lost, since the kernel's position
 * in the directory has moved on. So descriptor and batch are in a listing that lives as long as
 * somebody holds it, the directory itself or a call in a thread, and the batch that an abandoned
 * call has read stays there for the next one.
 *
 * Calls of one listing take turns by its lock. Each knows the number of the batch that its fiber
 * wants, and reads only if nobody has: several abandoned calls and the one that is waited for all
 * want the same batch, and the first to come reads it. Thus no call touches a batch that a fiber is
 * looking at: that batch has been read.
 *
 * Invariants: a fiber looks at the batch only when batch_count == wanted, and wants the next one
 * only when it has taken all of it; the lock guards batch_count, length and the bytes before that.
 */
#include "io/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include <coil/offload.h>

#include "base/alloc.h"
#include "io/file.h"

enum {
    BATCH_SIZE = 32 * 1024, /* some 800 entries: a thread's round trip is nothing beside them */
    TYPE_SHIFT = 12,        /* from DT_REG to S_IFREG, as DTTOIF() */
};

COIL_STATIC_ASSERT(S_IFLNK == DT_LNK << TYPE_SHIFT, "the types are those of stat(2)");

ssize_t (*coil__dir_read)(int fd, void *batch, size_t size) = getdents64;

COIL_STATIC_ASSERT(sizeof(coil_dir_entry) == 24, "a promise of the header");

struct listing {
    pthread_mutex_t lock;
    atomic_uint reference_count;
    int fd;
    uint64_t batch_count; /* batches that have been read */
    ssize_t length;       /* of the last one; 0 at the end, or a negative errno */
    _Alignas(struct dirent64) char batch[BATCH_SIZE];
};

struct coil_dir {
    struct listing *listing;
    struct coil__tcb *reader; /* inside coil_dir_next() */
    uint64_t wanted;          /* number of the batch that `at` is in */
    ssize_t length;           /* of it, 0 before the first */
    ssize_t at;
    bool is_at_end;
};

COIL_STATIC_ASSERT(sizeof(coil_dir) <= 48, "a promise of the header");

/* ---- The listing, shared with calls in threads ---- */

static struct listing *make_listing(void)
{
    struct listing *listing = coil__alloc(sizeof *listing);

    if (!listing)
        return NULL;
    (void)pthread_mutex_init(&listing->lock, NULL);
    atomic_init(&listing->reference_count, 1);
    listing->fd = -1;
    return listing;
}

static void free_listing(struct listing *listing)
{
    (void)pthread_mutex_destroy(&listing->lock);
    coil__free(listing);
}

static bool is_last_reference(struct listing *listing)
{
    return atomic_fetch_sub(&listing->reference_count, 1) == 1;
}

struct call {
    struct listing *listing;
    uint64_t number; /* of the batch */
};

/* In a thread. */
static int read_batch(void *arg)
{
    const struct call *call = arg;
    struct listing *listing = call->listing;

    (void)pthread_mutex_lock(&listing->lock);
    if (listing->batch_count < call->number) {
        listing->length = coil__dir_read(listing->fd, listing->batch, sizeof listing->batch);
        if (listing->length < 0)
            listing->length = -errno;
        listing->batch_count = call->number;
    }
    (void)pthread_mutex_unlock(&listing->lock);
    return 0;
}

/* The end of a call, in whichever thread. Where it is the last one that holds the listing the fiber
 * has gone, so this is a thread of the pool, and may close. */
static void end_call(void *arg)
{
    struct call *call = arg;
    struct listing *listing = call->listing;

    coil__free(call);
    if (!is_last_reference(listing))
        return;
    (void)close(listing->fd);
    free_listing(listing);
}

/* Has the batch `number` read. */
static int call_for_batch(struct listing *listing, uint64_t number)
{
    struct call *call = coil__alloc(sizeof *call);
    int result;

    if (!call)
        return -ENOMEM;
    *call = (struct call){.listing = listing, .number = number};
    atomic_fetch_add(&listing->reference_count, 1);
    result = coil_offload(read_batch, call, end_call, NULL);
    if (result == 0)
        end_call(call);
    return result;
}

/* ---- Entries ---- */

/* Makes the next batch the directory's. Returns 1, 0 at the end, or an error, after which the same
 * batch is wanted again. */
static int next_batch(coil_dir *dir)
{
    const int result = call_for_batch(dir->listing, dir->wanted + 1);

    if (result < 0)
        return result;
    dir->wanted++;
    dir->at = 0;
    dir->length = dir->listing->length > 0 ? dir->listing->length : 0;
    dir->is_at_end = dir->listing->length == 0;
    if (dir->listing->length < 0)
        return (int)dir->listing->length;
    return dir->length > 0;
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Takes entries of the present batch up to one that counts. Returns false when there is none. */
static bool take_entry(coil_dir *dir, coil_dir_entry *ret_entry)
{
    while (dir->at < dir->length) {
        const struct dirent64 *found = (const void *)(dir->listing->batch + dir->at);

        dir->at += found->d_reclen;
        if (is_dots(found->d_name))
            continue;
        *ret_entry = (coil_dir_entry){
            .name = found->d_name,
            .inode = found->d_ino,
            .type = (unsigned)found->d_type << TYPE_SHIFT,
        };
        return true;
    }
    return false;
}

static int next_entry(coil_dir *dir, coil_dir_entry *ret_entry)
{
    int result = 1;

    while (result > 0) {
        if (take_entry(dir, ret_entry))
            return 1;
        if (dir->is_at_end)
            return 0;
        result = next_batch(dir);
    }
    return result;
}

int coil_dir_next(coil_dir *dir, coil_dir_entry *ret_entry)
{
    struct coil__tcb *self = coil__self();
    int result = coil__checkpoint(self);

    if (result < 0)
        return result;
    if (dir->reader)
        return -EBUSY;
    dir->reader = self;
    result = next_entry(dir, ret_entry);
    dir->reader = NULL;
    return result;
}

/* ---- Life ---- */

int coil_dir_open(int dir_fd, const char *path, coil_dir **ret_dir)
{
    coil_dir *dir = coil__alloc(sizeof *dir);
    struct listing *listing = make_listing();
    int result = -ENOMEM;

    if (dir && listing)
        result = coil__file_open_at(dir_fd, path, O_RDONLY | O_DIRECTORY, 0);
    if (result < 0) {
        coil__free(dir);
        if (listing)
            free_listing(listing);
        return result;
    }
    listing->fd = result;
    dir->listing = listing;
    coil__sched()->opened[COIL__OPENED_DIR]++;
    *ret_dir = dir;
    return 0;
}

int coil_dir_fd(const coil_dir *dir)
{
    return dir->listing->fd;
}

void coil_dir_close(coil_dir *dir)
{
    struct listing *listing;

    if (!dir)
        return;
    COIL_ASSERT(!dir->reader && "closed by its owner, when nobody reads");
    listing = dir->listing;
    coil__sched()->opened[COIL__OPENED_DIR]--;
    coil__free(dir);
    if (!is_last_reference(listing))
        return;                         /* the call in a thread closes it */
    (void)coil_file_close(listing->fd); /* it was only read */
    free_listing(listing);
}
