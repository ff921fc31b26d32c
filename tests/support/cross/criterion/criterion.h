/* SPDX-License-Identifier: MIT */
/* What the tests use of Criterion, for a machine that Criterion's package is not for.
 *
 * The step `aarch64` of tests/run compiles the tests against this header instead of Criterion's and
 * runs them in an emulator. As there, every test is a process of its own; options of a suite or a
 * test are init, fini, timeout and signal; and the program ends with Criterion's line of counts.
 * Messages of assertions are not formatted: the text of the assertion is printed as it is.
 */
#ifndef COIL_TESTS_SUPPORT_CROSS_CRITERION_H
#define COIL_TESTS_SUPPORT_CROSS_CRITERION_H

#pragma GCC system_header /* macros with no argument for `...`: C11 wants one */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cross_options {
    void (*init)(void);
    void (*fini)(void);
    int timeout; /* seconds */
    int signal;  /* that is to end the test */
};

struct cross_test {
    struct cross_test *next;
    const char *suite;
    const char *name; /* NULL: the options of a suite */
    void (*body)(void);
    struct cross_options options;
};

/* Appends; for the constructors that Test() and TestSuite() define. */
void cross_test_add(struct cross_test *test);

/* Prints `text` and ends the test as failed unless `is_true`. */
void cross_assert(bool is_true, const char *file, int line, const char *text);

/* The same, but the test goes on. */
void cross_expect(bool is_true, const char *file, int line, const char *text);

/* Never called, nor there: what it gets counts as used. */
int cross_used(int nothing, ...);

/* Ends the test, which counts neither as passed nor as failed. */
_Noreturn void cross_skip(void);

#define CROSS_ADD(suite_, id, name_, body_, ...)                    \
 static __attribute__((constructor)) void suite_##_##id##_add(void) \
 {                                                                  \
  static struct cross_test test = {                                 \
      .suite = #suite_,                                             \
      .name = name_,                                                \
      .body = body_,                                                \
      .options = {__VA_ARGS__},                                     \
  };                                                                \
  cross_test_add(&test);                                            \
 }

/* Ends in a declaration for the sake of the semicolon that follows. */
#define TestSuite(suite, ...)                     \
 CROSS_ADD(suite, suite, NULL, NULL, __VA_ARGS__) \
 struct suite##_suite
#define Test(suite, name, ...)                                     \
 static void suite##_##name##_test(void);                          \
 CROSS_ADD(suite, name, #name, suite##_##name##_test, __VA_ARGS__) \
 static void suite##_##name##_test(void)

#define cr_skip_test(...)  cross_skip()

#define CROSS_1(a, ...)    (a)
#define CROSS_2(a, b, ...) (b)
/* The arguments of a message count as used, although it is not formatted. */
#define CROSS_CHECK(how, is, ...) \
 ((void)sizeof(cross_used(0, __VA_ARGS__)), cross_##how((is), __FILE__, __LINE__, #__VA_ARGS__))
#define CROSS_IS(how, op, ...) \
 CROSS_CHECK(how, CROSS_1(__VA_ARGS__, 0) op CROSS_2(__VA_ARGS__, 0), __VA_ARGS__)
#define CROSS_STRING(how, op, ...) \
 CROSS_CHECK(how, strcmp(CROSS_1(__VA_ARGS__, 0), CROSS_2(__VA_ARGS__, 0)) op 0, __VA_ARGS__)
#define CROSS_ARRAY(how, a, b, size, ...) \
 CROSS_CHECK(how, memcmp((a), (b), (size)) == 0, a, b, size)

#define cr_assert(...)           CROSS_CHECK(assert, CROSS_1(__VA_ARGS__, 0), __VA_ARGS__)
#define cr_assert_not(...)       CROSS_CHECK(assert, !CROSS_1(__VA_ARGS__, 0), __VA_ARGS__)
#define cr_assert_null(...)      CROSS_CHECK(assert, !CROSS_1(__VA_ARGS__, 0), __VA_ARGS__)
#define cr_assert_not_null(...)  CROSS_CHECK(assert, CROSS_1(__VA_ARGS__, 0) != NULL, __VA_ARGS__)
#define cr_assert_eq(...)        CROSS_IS(assert, ==, __VA_ARGS__)
#define cr_assert_neq(...)       CROSS_IS(assert, !=, __VA_ARGS__)
#define cr_assert_lt(...)        CROSS_IS(assert, <, __VA_ARGS__)
#define cr_assert_leq(...)       CROSS_IS(assert, <=, __VA_ARGS__)
#define cr_assert_gt(...)        CROSS_IS(assert, >, __VA_ARGS__)
#define cr_assert_geq(...)       CROSS_IS(assert, >=, __VA_ARGS__)
#define cr_assert_str_eq(...)    CROSS_STRING(assert, ==, __VA_ARGS__)
#define cr_assert_str_neq(...)   CROSS_STRING(assert, !=, __VA_ARGS__)
#define cr_assert_str_empty(...) CROSS_CHECK(assert, *CROSS_1(__VA_ARGS__, 0) == '\0', __VA_ARGS__)
#define cr_assert_arr_eq(...)    CROSS_ARRAY(assert, __VA_ARGS__, 0)
#define cr_assert_float_eq(a, b, epsilon, ...) \
 CROSS_CHECK(assert, (a) - (b) <= (epsilon) && (b) - (a) <= (epsilon), a, b, epsilon)

#define cr_expect(...)          CROSS_CHECK(expect, CROSS_1(__VA_ARGS__, 0), __VA_ARGS__)
#define cr_expect_not(...)      CROSS_CHECK(expect, !CROSS_1(__VA_ARGS__, 0), __VA_ARGS__)
#define cr_expect_null(...)     CROSS_CHECK(expect, !CROSS_1(__VA_ARGS__, 0), __VA_ARGS__)
#define cr_expect_not_null(...) CROSS_CHECK(expect, CROSS_1(__VA_ARGS__, 0) != NULL, __VA_ARGS__)
#define cr_expect_eq(...)       CROSS_IS(expect, ==, __VA_ARGS__)
#define cr_expect_neq(...)      CROSS_IS(expect, !=, __VA_ARGS__)
#define cr_expect_lt(...)       CROSS_IS(expect, <, __VA_ARGS__)
#define cr_expect_leq(...)      CROSS_IS(expect, <=, __VA_ARGS__)
#define cr_expect_gt(...)       CROSS_IS(expect, >, __VA_ARGS__)
#define cr_expect_geq(...)      CROSS_IS(expect, >=, __VA_ARGS__)
#define cr_expect_str_eq(...)   CROSS_STRING(expect, ==, __VA_ARGS__)
#define cr_expect_str_neq(...)  CROSS_STRING(expect, !=, __VA_ARGS__)
#define cr_expect_arr_eq(...)   CROSS_ARRAY(expect, __VA_ARGS__, 0)

#endif
