/* SPDX-License-Identifier: MIT */
/* The crawler's frontier and mirror: each URL once, each body in its own place, none outside. */
#include "demos/crawler_frontier.h"
#include "demos/crawler_output.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/fiber_test.h"

/* ---- Paths ---- */

static void check_path(const char *url, const char *want)
{
    char path[PATH_ROOM];

    cr_expect_eq(output_path("D", url, path, sizeof path), (int)strlen(want), "%s", url);
    cr_expect_str_eq(path, want);
}

Test(crawler_files, paths_follow_the_url, .timeout = 20)
{
    check_path("http://h/", "D/h/index.html");
    check_path("http://h:81/a/b.html", "D/h:81/a/b.html");
    check_path("http://[::1]/a/", "D/[::1]/a/index.html");
    check_path("http://h/a%20b/%C3%A9", "D/h/a b/\xc3\xa9");
    check_path("http://h/a?x=1&y", "D/h/a?x=1&y");
    check_path("http://h/?x", "D/h/index.html?x");
    check_path("http://h/a//b", "D/h/a/%/b");
}

Test(crawler_files, no_name_leads_out_of_the_directory_or_into_another, .timeout = 20)
{
    check_path("http://h/%2E%2E/%2e/x", "D/h/%2E%2E/%2E/x");
    check_path("http://h/../x", "D/h/%2E%2E/x");
    check_path("http://../x", "D/%2E%2E/x");
    check_path("http://h/..%2F..%2Fetc", "D/h/..%2F..%2Fetc");
    check_path("http://h/a%00b%0A", "D/h/a%00b%0A");
    check_path("http://h/a?../../x", "D/h/a?..%2F..%2Fx");
    check_path("http://h/a?%2F", "D/h/a?%252F");
    check_path("http://h/a%3Fb", "D/h/a%3Fb");
    check_path("http://h/a%25b", "D/h/a%25b");
    check_path("http://h/...", "D/h/...");
}

Test(crawler_files, long_names_are_shortened_and_stay_apart, .timeout = 20)
{
    char url[1000];
    char path[2][PATH_ROOM];

    for (int i = 0; i < 2; i++) {
        (void)snprintf(url, sizeof url, "http://h/%0400d%d", 0, i);
        cr_assert_gt(output_path("D", url, path[i], PATH_ROOM), 0);
        cr_expect_lt(strlen(path[i] + 4), 255);
    }
    cr_expect_str_neq(path[0], path[1]);
    cr_expect_eq(output_path("D", url, path[0], 100), -ENAMETOOLONG);
}

/* ---- Bodies ---- */

static void make_directory(char *directory)
{
    (void)snprintf(directory, 32, "%s", "/tmp/coil-crawler-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
}

static void expect_file(const char *path, const char *want)
{
    char text[64] = "";
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    cr_assert_geq(fd, 0, "%s", path);
    cr_expect_eq(read(fd, text, sizeof text - 1), (ssize_t)strlen(want));
    cr_expect_str_eq(text, want);
    (void)close(fd);
}

FIBER_TEST(crawler_files, a_body_appears_whole_or_not_at_all)
{
    char directory[32];
    char path[PATH_ROOM];
    struct output output = {.directory = directory};
    struct sink *sink = malloc(sizeof *sink);

    make_directory(directory);
    cr_assert_not_null(sink);
    cr_assert_eq(sink_open(&output, "http://h/a/b", sink), 0);
    cr_assert_eq(sink_write(sink, "hello ", 6), 0);
    (void)snprintf(path, sizeof path, "%s/h/a/b", directory);
    cr_expect_neq(access(path, F_OK), 0, "not there before it is complete");
    cr_assert_eq(sink_write(sink, "world", 5), 0);
    cr_assert_eq(sink_commit(sink), 0);
    expect_file(path, "hello world");

    cr_assert_eq(sink_open(&output, "http://h/a/b", sink), 0);
    cr_assert_eq(sink_write(sink, "new", 3), 0);
    sink_abort(sink);
    expect_file(path, "hello world");

    cr_assert_eq(unlink(path), 0);
    for (int i = 0; i < 3; i++) {
        *strrchr(path, '/') = '\0';
        cr_assert_eq(rmdir(path), 0, "nothing else was left in %s", path);
    }
    free(sink);
}

static void mirror(struct output *output, const char *url)
{
    struct sink *sink = malloc(sizeof *sink);

    cr_assert_not_null(sink);
    cr_assert_eq(sink_open(output, url, sink), 0);
    cr_assert_eq(sink_write(sink, url, strlen(url)), 0);
    cr_expect_eq(sink_commit(sink), 0, "%s", url);
    free(sink);
}

static void remove_tree(const char *directory)
{
    char path[PATH_ROOM];
    const char *const left[] = {"h/d/e/f", "h/d/e%", "h/d/e", "h/d/index.html",
                                "h/d%",    "h/d",    "h",     ""};

    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", directory, left[i]);
        cr_expect_eq(remove(path), 0, "%s", left[i]);
    }
}

FIBER_TEST(crawler_files, a_page_and_pages_below_it_get_the_same_files_in_any_order)
{
    static const char *const urls[] = {"http://h/d", "http://h/d/", "http://h/d/e",
                                       "http://h/d/e/f"};
    static const char *const files[] = {"d%", "d/index.html", "d/e%", "d/e/f"};
    char path[PATH_ROOM];
    char directory[32];
    int orders = 0;

    for (int order = 0; order < 256; order++) { /* each is four numbers of urls */
        struct output output = {.directory = directory};
        const int at[] = {order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6};

        if ((1 << at[0] | 1 << at[1] | 1 << at[2] | 1 << at[3]) != 15)
            continue;
        orders++;
        make_directory(directory);
        for (int i = 0; i < 8; i++) /* again, over what is there */
            mirror(&output, urls[at[i % 4]]);
        for (int i = 0; i < 4; i++) {
            (void)snprintf(path, sizeof path, "%s/h/%s", directory, files[i]);
            expect_file(path, urls[i]);
        }
        remove_tree(directory);
    }
    cr_assert_eq(orders, 24);
}

FIBER_TEST(crawler_files, what_is_in_the_way_and_no_page_stays)
{
    char path[PATH_ROOM];
    char directory[32];
    struct output output = {.directory = directory};
    struct sink *sink = malloc(sizeof *sink);

    make_directory(directory);
    (void)snprintf(path, sizeof path, "%s/h", directory);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_not_null(sink);
    cr_assert_eq(sink_open(&output, "http://h/a", sink), 0);
    cr_expect_eq(sink_commit(sink), -ENOTDIR);
    cr_expect_eq(remove(path), 0);
    cr_expect_eq(remove(directory), 0, "nothing else was left");
    free(sink);
}

/* ---- Frontier ---- */

FIBER_TEST(crawler_files, each_url_is_handed_out_once_in_order)
{
    struct frontier frontier;
    const char *url = NULL;
    char text[32];

    frontier_init(&frontier, 5000);
    for (int i = 0; i < 6000; i++) {
        (void)snprintf(text, sizeof text, "http://h/%d", i / 2);
        cr_assert_eq(frontier_add(&frontier, text, true), i % 2 == 0);
    }
    cr_expect_eq(frontier.count, 3000);
    for (int i = 0; i < 3000; i++) {
        cr_assert_eq(frontier_take(&frontier, &url), 1);
        (void)snprintf(text, sizeof text, "http://h/%d", i);
        cr_assert_str_eq(url, text);
        frontier_done(&frontier);
    }
    cr_expect_eq(frontier_take(&frontier, &url), 0);
    cr_expect_eq(frontier_add(&frontier, "http://h/1", false), 1, "twice if not unique");
    frontier_free(&frontier);
}

FIBER_TEST(crawler_files, what_is_over_the_limit_is_counted)
{
    struct frontier frontier;

    frontier_init(&frontier, 2);
    cr_expect_eq(frontier_add(&frontier, "a", true), 1);
    cr_expect_eq(frontier_add(&frontier, "b", true), 1);
    cr_expect_eq(frontier_add(&frontier, "a", true), 0);
    cr_expect_eq(frontier.dropped, 0);
    cr_expect_eq(frontier_add(&frontier, "c", true), 0);
    cr_expect_eq(frontier.dropped, 1);
    frontier_free(&frontier);
}

static int take(void *arg)
{
    const char *url;

    return frontier_take(arg, &url);
}

FIBER_TEST(crawler_files, the_end_comes_when_nothing_is_in_flight_and_not_before)
{
    struct frontier frontier;
    coil_fiber *waiting;

    frontier_init(&frontier, 10);
    cr_expect_eq(take(&frontier), 0, "nothing to crawl");
    cr_assert_eq(frontier_add(&frontier, "a", true), 1);
    cr_assert_eq(take(&frontier), 1);
    waiting = spawn_until_parked(take, &frontier);
    cr_assert_eq(frontier_add(&frontier, "b", true), 1);
    cr_expect_eq(join_and_drop(waiting), 1, "a page under way brought a link");
    waiting = spawn_until_parked(take, &frontier);
    frontier_done(&frontier);
    coil_yield();
    cr_expect_eq(coil_sem_balance(&frontier.news), -1, "the other page may bring more");
    frontier_done(&frontier);
    cr_expect_eq(join_and_drop(waiting), 0);
    frontier_free(&frontier);
}
