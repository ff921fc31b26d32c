/* SPDX-License-Identifier: MIT */
/* Options, repetitions and JSON (measure.h). */
#include "measure.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <coil/coil.h>

enum {
    COUNT_DEFAULT = 200000, /* some milliseconds: short enough to fall between two disturbances */
    REPEAT_DEFAULT = 21,
    REPEAT_MAX = 10000,
};

struct plan {
    const struct measure_case *cases;
    const char *only; /* names with commas between, or NULL: all */
    long count;
    long repeat;
};

int64_t measure_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t measure_scaled(int64_t taken, long operations, long count)
{
    return (int64_t)((double)taken / (double)operations * (double)count);
}

void measure_check(int result, const char *what)
{
    if (result >= 0)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, coil_strerror(result));
    exit(EXIT_FAILURE);
}

static void run_case(const struct plan *plan, const struct measure_case *chosen)
{
    (void)printf("\"%s\": [", chosen->name);
    for (long i = 0; i <= plan->repeat; i++) {
        const int64_t ns = chosen->run(plan->count);

        if (i > 0)
            (void)printf("%s%.3f", i > 1 ? ", " : "", (double)ns / (double)plan->count);
    }
    (void)printf("]");
}

static bool is_chosen(const char *only, const char *name)
{
    const size_t length = strlen(name);

    while (only) {
        const char *comma = strchr(only, ',');

        if (strncmp(only, name, length) == 0 && (only[length] == ',' || only[length] == '\0'))
            return true;
        only = comma ? comma + 1 : NULL;
    }
    return false;
}

static int run_plan(void *arg)
{
    const struct plan *plan = arg;
    bool is_first = true;

    (void)printf("{");
    for (const struct measure_case *chosen = plan->cases; chosen->name; chosen++) {
        if (plan->only && !is_chosen(plan->only, chosen->name))
            continue;
        (void)printf("%s", is_first ? "" : ", ");
        is_first = false;
        run_case(plan, chosen);
    }
    (void)printf("}\n");
    return 0;
}

static long number(const char *option, const char *text, long max)
{
    char *end;
    const long value = strtol(text, &end, 10);

    if (end == text || *end || value < 1 || value > max) {
        (void)fprintf(stderr, "%s %s: not a number from 1 to %ld\n", option, text, max);
        exit(2);
    }
    return value;
}

_Noreturn static void explain(const char *program, const struct measure_case *cases, bool is_asked)
{
    FILE *out = is_asked ? stdout : stderr;

    (void)fprintf(
        out,
        "usage: %s [--count N] [--repeat N] [--only CASE,...]\n"
        "Performs each case N times in a repetition, after one that warms up and does not\n"
        "count, and prints the nanoseconds of CPU time per operation of each repetition\n"
        "as JSON. What is not among the cases is left out. Cases:",
        program);
    for (; cases->name; cases++)
        (void)fprintf(out, " %s", cases->name);
    (void)fprintf(out, "\n");
    exit(is_asked ? EXIT_SUCCESS : 2);
}

static struct plan parse(int argc, char **argv, const struct measure_case *cases)
{
    struct plan plan = {.cases = cases, .count = COUNT_DEFAULT, .repeat = REPEAT_DEFAULT};

    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--count") == 0) {
            plan.count = number(argv[i], argv[i + 1], 1000000000);
        } else if (i + 1 < argc && strcmp(argv[i], "--repeat") == 0) {
            plan.repeat = number(argv[i], argv[i + 1], REPEAT_MAX);
        } else if (i + 1 < argc && strcmp(argv[i], "--only") == 0) {
            plan.only = argv[i + 1];
        } else {
            explain(argv[0], cases, strcmp(argv[i], "--help") == 0);
        }
    }
    return plan;
}

int measure_main(int argc, char **argv, const struct measure_case *cases)
{
    struct plan plan = parse(argc, argv, cases);

    return run_plan(&plan);
}

int measure_main_in_fiber_with(int argc, char **argv, const struct measure_case *cases,
                               const coil_options *options)
{
    struct plan plan = parse(argc, argv, cases);

    measure_check(coil_run(run_plan, &plan, options, NULL), "coil_run");
    return 0;
}

int measure_main_in_fiber(int argc, char **argv, const struct measure_case *cases)
{
    return measure_main_in_fiber_with(argc, argv, cases, NULL);
}
