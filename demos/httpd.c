/* SPDX-License-Identifier: MIT */
/* httpd: an HTTP/1.1 server in plain blocking code, for files or for a greeting.
 *
 *     httpd --listen 127.0.0.1:8080 --root /srv/www
 *
 * With --root it serves the files below that directory: content types by extension, index.html for
 * directories, 304 for what the client has already. The kernel confines every open to the root, so
 * no path gets out of it, whatever its dots, escapes and symbolic links. Without --root it answers
 * "Hello, World!" on /. Each connection is a fiber; SIGTERM or SIGINT stops it gracefully: requests
 * under way are answered, then it exits with 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <coil/coil.h>

enum {
    PATH_SIZE = 4096,   /* longer ones name no file */
    PIECE_SIZE = 65536, /* of a file at a time */
};

static const char index_name[] = "index.html";

struct arguments {
    const char *address;
    const char *root; /* NULL: the greeting */
    size_t concurrency;
};

struct site {
    int root_fd;
};

/* Too big for a fiber's stack. */
struct work {
    bool is_index; /* the path is that of a directory's index */
    char path[PATH_SIZE + sizeof index_name];
    char piece[PIECE_SIZE];
};

/* ---- Answers ---- */

static int answer(coil_http_request *request, int status, const char *text)
{
    return coil_http_respond(request, status, "text/plain; charset=utf-8", text, strlen(text));
}

static int answer_error(coil_http_request *request, int error)
{
    switch (error) {
    case -EINVAL:
        return answer(request, 400, "Bad Request\n");
    case -EACCES:
    case -EPERM:
        return answer(request, 403, "Forbidden\n");
    case -ENOENT:
    case -ENOTDIR:
    case -EXDEV: /* leads out of the root */
    case -ELOOP:
    case -ENAMETOOLONG:
    case -ENXIO: /* no regular file */
        return answer(request, 404, "Not Found\n");
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case -EAGAIN:
        return answer(request, 503, "Service Unavailable\n");
    default:
        return error;
    }
}

/* Reads and drops the body, which GET and HEAD have no use for. Returns 1 to go on, else what the
 * application returns. */
static int accept_request(coil_http_request *request)
{
    const char *method = coil_http_method(request);
    char dropped[512];
    ssize_t length;

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        const int result = coil_http_header_set(request, "Allow", "GET, HEAD");

        return result < 0 ? result : answer(request, 405, "Method Not Allowed\n");
    }
    do
        length = coil_http_read(request, dropped, sizeof dropped);
    while (length > 0);
    return length < 0 ? (int)length : 1;
}

static int greet(coil_http_request *request, void *arg)
{
    static const char greeting[] = "Hello, World!";
    const char *target = coil_http_target(request);
    const int result = accept_request(request);

    (void)arg;
    if (result <= 0)
        return result;
    if (target[0] == '/' && (target[1] == '\0' || target[1] == '?'))
        return coil_http_respond(request, 200, "text/plain", greeting, sizeof greeting - 1);
    return answer(request, 404, "Not Found\n");
}

/* ---- Files ---- */

static const char *type_of(const char *path)
{
    static const struct {
        const char *extension;
        const char *type;
    } types[] = {
        {"html", "text/html; charset=utf-8"},
        {"htm", "text/html; charset=utf-8"},
        {"css", "text/css; charset=utf-8"},
        {"js", "text/javascript; charset=utf-8"},
        {"mjs", "text/javascript; charset=utf-8"},
        {"json", "application/json"},
        {"txt", "text/plain; charset=utf-8"},
        {"md", "text/plain; charset=utf-8"},
        {"csv", "text/csv; charset=utf-8"},
        {"xml", "application/xml"},
        {"svg", "image/svg+xml"},
        {"png", "image/png"},
        {"jpg", "image/jpeg"},
        {"jpeg", "image/jpeg"},
        {"gif", "image/gif"},
        {"webp", "image/webp"},
        {"ico", "image/x-icon"},
        {"woff", "font/woff"},
        {"woff2", "font/woff2"},
        {"pdf", "application/pdf"},
        {"wasm", "application/wasm"},
        {"mp3", "audio/mpeg"},
        {"mp4", "video/mp4"},
        {"zip", "application/zip"},
        {"gz", "application/gzip"},
    };

    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot && i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(dot + 1, types[i].extension) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

/* The file that the request's path names, relative to the root. Returns 0 or why there is none. */
static int find_path(const coil_http_request *request, struct work *work)
{
    const ssize_t length = coil_http_path(request, work->path, PATH_SIZE);

    if (length < 0)
        return (int)length;
    if (work->path[0] != '/')
        return -EINVAL;
    work->is_index = work->path[length - 1] == '/';
    if (work->is_index)
        memcpy(work->path + length, index_name, sizeof index_name);
    memmove(work->path, work->path + 1, strlen(work->path));
    return 0;
}

/* To the same address with a slash behind the path, so that relative links work. */
static int redirect(coil_http_request *request, char *location, size_t size)
{
    const char *target = coil_http_target(request);
    const size_t length = strlen(target);
    const size_t path_length = strcspn(target, "?");
    int result;

    if (length + 2 > size)
        return answer_error(request, -ENAMETOOLONG);
    memcpy(location, target, path_length);
    location[path_length] = '/';
    memcpy(location + path_length + 1, target + path_length, length - path_length + 1);
    result = coil_http_header_set(request, "Location", location);
    return result < 0 ? result : answer(request, 301, "Moved Permanently\n");
}

static int send_file(coil_http_request *request, int fd, uint64_t size, struct work *work)
{
    const char *type = type_of(work->path);
    uint64_t offset = 0;
    int result = coil_http_begin(request, 200, type, (int64_t)size);

    if (strcmp(coil_http_method(request), "HEAD") == 0)
        return result;
    while (result == 0 && offset < size) {
        const uint64_t left = size - offset;
        const size_t wanted = left < PIECE_SIZE ? (size_t)left : PIECE_SIZE;
        const ssize_t length = coil_file_read(fd, work->piece, wanted, offset);

        if (length <= 0)
            return length < 0 ? (int)length : -EIO; /* the file has become shorter */
        result = coil_http_write(request, work->piece, (size_t)length);
        offset += (uint64_t)length;
    }
    return result;
}

static int serve_open_file(coil_http_request *request, int fd, struct work *work)
{
    const char *known = coil_http_header(request, "If-Modified-Since");
    char date[COIL_HTTP_DATE_SIZE];
    coil_file_info info;
    int result = coil_file_stat(fd, &info);

    if (result < 0)
        return result;
    if (info.is_directory && !work->is_index)
        return redirect(request, work->piece, sizeof work->piece);
    if (!info.is_regular)
        return answer_error(request, -ENXIO);
    coil_http_date(info.modified_ns / 1000000000, date);
    result = coil_http_header_set(request, "Last-Modified", date);
    if (result < 0)
        return result;
    if (known && strcmp(known, date) == 0 && !coil_http_header(request, "If-None-Match"))
        return coil_http_respond(request, 304, NULL, NULL, 0);
    return send_file(request, fd, info.size, work);
}

static int serve_file(coil_http_request *request, void *arg)
{
    const struct site *site = arg;
    struct work *work;
    int result = accept_request(request);
    int fd;

    if (result <= 0)
        return result;
    work = malloc(sizeof *work);
    if (!work)
        return answer_error(request, -ENOMEM);
    fd = find_path(request, work);
    if (fd == 0)
        fd = coil_file_open_beneath(site->root_fd, work->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        result = answer_error(request, fd);
    } else {
        result = serve_open_file(request, fd, work);
        (void)coil_file_close(fd); /* it was only read */
    }
    free(work);
    return result;
}

/* ---- The server ---- */

static int open_root(const char *root)
{
    const int fd = coil_file_open(root, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0)
        (void)fprintf(stderr, "httpd: cannot read the directory %s: %s\n", root, coil_strerror(fd));
    return fd;
}

static int serve_on(coil_listener *listener, const struct arguments *arguments,
                    const struct site *site)
{
    coil_serve_options serve_options = COIL_SERVE_OPTIONS_INIT;
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    char address[COIL_ADDRESS_SIZE];

    (void)coil_listener_address(listener, address, sizeof address);
    (void)printf("listening on %s\n", address);
    (void)fflush(stdout);

    serve_options.stop_on_signals = true;
    serve_options.concurrency = arguments->concurrency;
    options.serve = &serve_options;
    return coil_http_serve(listener, arguments->root ? serve_file : greet, (void *)(uintptr_t)site,
                           &options);
}

static int serve(void *arg)
{
    const struct arguments *arguments = arg;
    coil_listen_options listen_options = COIL_LISTEN_OPTIONS_INIT;
    struct site site = {.root_fd = -1};
    coil_listener *listener;
    int result;

    if (arguments->root) {
        site.root_fd = open_root(arguments->root);
        if (site.root_fd < 0)
            return site.root_fd;
    }
    listen_options.stop_on_signals = true; /* also between being announced and serving */
    result = coil_listen(arguments->address, &listen_options, &listener);
    if (result < 0) {
        (void)fprintf(stderr, "httpd: cannot listen on %s: %s\n", arguments->address,
                      coil_strerror(result));
    } else {
        result = serve_on(listener, arguments, &site);
        if (result < 0)
            (void)fprintf(stderr, "httpd: %s\n", coil_strerror(result));
        coil_listener_close(listener);
    }
    (void)coil_file_close(site.root_fd);
    return result;
}

static int usage(FILE *out, int status)
{
    (void)fprintf(out, "usage: httpd --listen ADDRESS [--root DIR] [--concurrency N]\n"
                       "Serves files over HTTP, or without --root a greeting.\n\n"
                       "  --listen ADDRESS  127.0.0.1:8080, [::1]:0, :8080 or unix:PATH\n"
                       "  --root DIR        serve the files in DIR\n"
                       "  --concurrency N   connections at a time; more wait (default 100000)\n"
                       "  --help            this text\n");
    return status;
}

static bool read_count(const char *text, size_t *ret_count)
{
    char *end;
    unsigned long count;

    errno = 0;
    count = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || count == 0)
        return false;
    *ret_count = count;
    return true;
}

/* Returns -1 to go on, else the exit status. */
static int read_arguments(int argc, char **argv, struct arguments *ret_arguments)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout, 0);
        if (strcmp(argv[i], "--listen") == 0 && i + 1 < argc) {
            ret_arguments->address = argv[++i];
        } else if (strcmp(argv[i], "--root") == 0 && i + 1 < argc) {
            ret_arguments->root = argv[++i];
        } else if (strcmp(argv[i], "--concurrency") == 0 && i + 1 < argc) {
            if (!read_count(argv[++i], &ret_arguments->concurrency)) {
                (void)fprintf(stderr, "httpd: --concurrency wants a number from 1, not %s\n",
                              argv[i]);
                return 2;
            }
        } else {
            (void)fprintf(stderr, "httpd: unknown argument %s\n", argv[i]);
            return usage(stderr, 2);
        }
    }
    return ret_arguments->address ? -1 : usage(stderr, 2);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    coil_options options = COIL_OPTIONS_INIT;
    int status = 0;
    int result = read_arguments(argc, argv, &arguments);

    if (result >= 0)
        return result;
    options.report_overflow = true;
    result = coil_run(serve, &arguments, &options, &status);
    if (result < 0)
        (void)fprintf(stderr, "httpd: %s\n", coil_strerror(result));
    return result < 0 || status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
