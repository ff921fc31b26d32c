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
 * Lines go to standard output, through coil, so that only the fiber that writes waits for a slow
 * reader; errors and totals to standard error. Exit status 0, or 1 when a file could not be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <coil/coil.h>
#include <openssl/evp.h>

#include "hasher_walk.h"
#include "plain.h"

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

/* Whatever the walk has seen, something else may have taken the place of the file since. */
static int check_file(int fd)
{
    coil_file_info info;
    const int result = coil_file_stat(fd, &info);

    return result < 0 || info.is_regular ? result : -EINVAL;
}

static int hash_file(void *arg)
{
    struct item *item = arg;
    const int no_link = item->is_argument ? 0 : O_NOFOLLOW;
    struct job *job = NULL;
    int result;
    int fd;

    if (item->error < 0)
        return item->error;
    fd = coil_file_open(item->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | no_link, 0);
    if (fd < 0)
        return fd;
    result = check_file(fd);
    if (result == 0) {
        job = make_job();
        result = job ? hash_open_file(fd, &job, item) : -ENOMEM;
    }
    job_free(job);
    (void)coil_file_close(fd); /* it was only read */
    return result;
}

/* ---- The report ---- */

/* As sha256sum: a name that would break the line is escaped, and the line begins with a \. */
static int print_line(coil_stream *out, const struct item *item)
{
    static const char digits[] = "0123456789abcdef";

    if (strpbrk(item->path, "\\\n\r"))
        coil_write(out, "\\", 1);
    for (size_t i = 0; i < HASH_SIZE; i++) {
        coil_write(out, &digits[item->hash[i] >> 4], 1);
        coil_write(out, &digits[item->hash[i] & 15], 1);
    }
    coil_write(out, "  ", 2);
    for (const char *at = item->path; *at; at++) {
        if (*at == '\\')
            coil_write(out, "\\\\", 2);
        else if (*at == '\n')
            coil_write(out, "\\n", 2);
        else if (*at == '\r')
            coil_write(out, "\\r", 2);
        else
            coil_write(out, at, 1);
    }
    return coil_write(out, "\n", 1);
}

struct arguments {
    char **paths;
    size_t jobs;
};

struct totals {
    uint64_t files;
    uint64_t bytes;
    uint64_t errors;
};

/* Anybody may have made the name. */
static void print_error(struct item *item, int status)
{
    make_plain(item->path, strlen(item->path));
    (void)fprintf(stderr, "hasher: %s: %s\n", item->path, coil_strerror(status));
}

static int report(struct totals *totals, coil_stream *out, struct item *item, int status)
{
    if (status < 0) {
        totals->errors++;
        print_error(item, status);
        return 0;
    }
    totals->files++;
    totals->bytes += item->size;
    return print_line(out, item);
}

static int report_all(struct totals *totals, coil_stream *out, coil_imap *imap)
{
    const bool is_interactive = isatty(STDOUT_FILENO) == 1;
    void *item;
    int status;
    int result;

    while ((result = coil_imap_next(imap, &item, &status)) > 0) {
        result = report(totals, out, item, status);
        if (result == 0 && is_interactive)
            result = coil_flush(out);
        item_free(item);
        if (result < 0)
            return result;
    }
    return result < 0 ? result : coil_flush(out);
}

static int hash_all(void *arg)
{
    const struct arguments *arguments = arg;
    struct walk walk = {.arguments = arguments->paths};
    struct totals totals = {0};
    coil_imap *imap;
    coil_stream *out;
    int result = coil_stdout(&out);

    if (result < 0)
        return result;
    result = coil_imap_new(arguments->jobs, hash_file, next_file, &walk, item_free, &imap);
    if (result < 0)
        return result;
    result = report_all(&totals, out, imap);
    coil_imap_close(imap);
    walk_end(&walk);
    if (result < 0)
        return result;
    (void)fprintf(stderr, "hasher: %" PRIu64 " files, %" PRIu64 " bytes, %" PRIu64 " errors\n",
                  totals.files, totals.bytes, totals.errors);
    return totals.errors > 0;
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
    result = result < 0 ? result : status;
    if (result < 0)
        (void)fprintf(stderr, "hasher: %s\n", coil_strerror(result));
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
