/* SPDX-License-Identifier: MIT */
/* hasher: SHA-256 of files and of all files in directories, many at a time, printed as sha256sum(1)
 * does.
 *
 *     hasher [--jobs N] PATH...
 *
 * The feeder of an imap walks the directories, depth first, each in the order of its names; a fiber
 * per file reads it through the ring and has its pieces hashed by the threads of coil/offload.h, so
 * that all cores work; the results come out in the order of the walk. Symbolic links are followed
 * where they are arguments, and left out where the walk finds them, like all that is no file.
 *
 * Lines go to standard output, errors and totals to standard error. Exit status 0, or 1 when a file
 * could not be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <coil/coil.h>
#include <openssl/evp.h>

#include "hasher_walk.h"

enum {
    JOBS_DEFAULT = 32,
    JOBS_MAX = 1000,
    PIECE_SIZE = 128 * 1024,
    OFFLOAD_MIN = 16 * 1024, /* less is hashed sooner than a thread is woken */
};

static const EVP_MD *sha256;

/* ---- Hashing: a fiber per file ---- */

struct job {
    EVP_MD_CTX *context;
    size_t length;
    char data[PIECE_SIZE];
};

static void job_free(void *arg)
{
    struct job *job = arg;

    if (job)
        EVP_MD_CTX_free(job->context);
    free(job);
}

static struct job *make_job(void)
{
    struct job *job = malloc(sizeof *job);

    if (!job)
        return NULL;
    job->context = EVP_MD_CTX_new();
    if (job->context && EVP_DigestInit_ex2(job->context, sha256, NULL) == 1)
        return job;
    job_free(job);
    return NULL;
}

static int update(void *arg)
{
    struct job *job = arg;

    return EVP_DigestUpdate(job->context, job->data, job->length) == 1 ? 0 : -EIO;
}

/* Hashes the open file. *@p job is NULL afterwards when a thread still has it. */
static int hash_open_file(int fd, struct job **job, struct item *item)
{
    ssize_t length;
    int result = 0;

    while ((length = coil_file_read(fd, (*job)->data, PIECE_SIZE, item->size)) > 0) {
        int status = 0;

        (*job)->length = (size_t)length;
        item->size += (uint64_t)length;
        if (length < OFFLOAD_MIN)
            status = update(*job);
        else
            result = coil_offload(update, *job, job_free, &status);
        if (result < 0) {
            *job = NULL;
            return result;
        }
        if (status < 0)
            return status;
    }
    if (length < 0)
        return (int)length;
    return EVP_DigestFinal_ex((*job)->context, item->hash, NULL) == 1 ? 0 : -EIO;
}

static int hash_file(void *arg)
{
    struct item *item = arg;
    struct job *job;
    int result;
    int fd;

    if (item->error < 0)
        return item->error;
    fd = coil_file_open(item->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0)
        return fd;
    job = make_job();
    result = job ? hash_open_file(fd, &job, item) : -ENOMEM;
    job_free(job);
    (void)coil_file_close(fd); /* it was only read */
    return result;
}

/* ---- The report ---- */

/* As sha256sum: a name that would break the line is escaped, and the line begins with a \. */
static void print_line(const struct item *item)
{
    if (strpbrk(item->path, "\\\n\r"))
        (void)putchar('\\');
    for (size_t i = 0; i < HASH_SIZE; i++)
        (void)printf("%02x", item->hash[i]);
    (void)printf("  ");
    for (const char *at = item->path; *at; at++) {
        if (*at == '\\')
            (void)printf("\\\\");
        else if (*at == '\n')
            (void)printf("\\n");
        else if (*at == '\r')
            (void)printf("\\r");
        else
            (void)putchar(*at);
    }
    (void)putchar('\n');
}

struct arguments {
    char **paths;
    size_t jobs;
};

static int hash_all(void *arg)
{
    const struct arguments *arguments = arg;
    struct walk walk = {.arguments = arguments->paths};
    uint64_t files = 0;
    uint64_t bytes = 0;
    uint64_t errors = 0;
    coil_imap *imap;
    void *next;
    int status;
    int result = coil_imap_new(arguments->jobs, hash_file, next_file, &walk, item_free, &imap);

    if (result < 0)
        return result;
    while ((result = coil_imap_next(imap, &next, &status)) > 0) {
        struct item *item = next;

        if (status < 0) {
            errors++;
            (void)fprintf(stderr, "hasher: %s: %s\n", item->path, coil_strerror(status));
        } else {
            files++;
            bytes += item->size;
            print_line(item);
        }
        item_free(item);
    }
    coil_imap_close(imap);
    (void)fprintf(stderr, "hasher: %" PRIu64 " files, %" PRIu64 " bytes, %" PRIu64 " errors\n",
                  files, bytes, errors);
    return result < 0 ? result : errors > 0;
}

/* ---- Arguments ---- */

static int usage(FILE *out, int status)
{
    (void)fprintf(out, "usage: hasher [--jobs N] PATH...\n"
                       "Prints the SHA-256 of files, and of all files in directories.\n\n"
                       "  --jobs N  files at a time, 1 to 1000 (default 32)\n"
                       "  --help    this text\n");
    return status;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.paths = argv + 1, .jobs = JOBS_DEFAULT};
    coil_options options = COIL_OPTIONS_INIT;
    EVP_MD *method;
    int status = 0;
    int result;

    if (argc > 1 && strcmp(argv[1], "--help") == 0)
        return usage(stdout, 0);
    if (argc > 2 && strcmp(argv[1], "--jobs") == 0) {
        char *end;

        arguments.jobs = strtoul(argv[2], &end, 10);
        if (*end || argv[2][0] < '0' || argv[2][0] > '9' || arguments.jobs < 1 ||
            arguments.jobs > JOBS_MAX)
            return usage(stderr, 2);
        arguments.paths += 2;
    }
    if (!*arguments.paths || arguments.paths[0][0] == '-')
        return usage(stderr, 2);

    method = EVP_MD_fetch(NULL, "SHA256", NULL);
    sha256 = method;
    options.report_overflow = true;
    result = method ? coil_run(hash_all, &arguments, &options, &status) : -ENOSYS;
    EVP_MD_free(method);
    if (result == 0 && fflush(stdout) != 0)
        result = -errno;
    result = result < 0 ? result : status;
    if (result < 0)
        (void)fprintf(stderr, "hasher: %s\n", coil_strerror(result));
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
