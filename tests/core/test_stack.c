/* SPDX-License-Identifier: MIT */
/* Stacks: guards fault, memory is committed by touch and given back, mappings stay few.
 *
 * Faults happen in child processes. Whether a page is resident is asked from the kernel. */
#include "core/stack.h"

#include <coil/log.h>

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/sanitize.h"

enum {
    MANY = 20000,
    SEVERAL = 40
};

static const size_t page = 4096;
static const size_t mib = 1024UL * 1024;

TestSuite(stack, .timeout = 60);

static struct coil__stacks stacks;
static void *tops[MANY];

/* As a call, for compilers that complain of dead code behind a constant. */
static bool has_asan(void)
{
    return COIL__HAS_ASAN;
}

static void set_up(void)
{
    coil__stacks_init(&stacks, page * 16);
}

static void get_many(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tops[i] = coil__stack_get(&stacks);
        cr_assert_not_null(tops[i]);
    }
}

static void put_many(size_t count)
{
    for (size_t i = 0; i < count; i++)
        coil__stack_put(&stacks, tops[i]);
}

/* Whether the process dies of SIGSEGV when it writes to `address`. */
static bool is_fatal(char *address)
{
    int status = 0;
    const pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        *(volatile char *)address = 1;
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

/* The guard faults over its whole width, and the usable part does not. */
static void assert_guarded(void *top)
{
    char *bottom = coil__stack_bottom(&stacks, top);

    cr_assert(is_fatal(bottom - 1));
    cr_assert(is_fatal(bottom - stacks.guard_size));
    cr_assert_not(is_fatal(bottom));
    cr_assert_not(is_fatal((char *)top - 1));
}

static size_t mapping_count(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    size_t lines = 0;

    cr_assert_not_null(maps);
    for (int c = getc(maps); c != EOF; c = getc(maps))
        lines += c == '\n';
    (void)fclose(maps);
    return lines;
}

static size_t resident_bytes(size_t count)
{
    size_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += coil__stack_resident(&stacks, tops[i]);
    return sum;
}

/* What the process has mapped, and what of it is in memory. */
static void process_bytes(size_t *ret_mapped, size_t *ret_resident)
{
    FILE *statm = fopen("/proc/self/statm", "re");
    char line[200];
    char *rest = line;

    cr_assert_not_null(statm);
    cr_assert_not_null(fgets(line, sizeof line, statm));
    (void)fclose(statm);
    *ret_mapped = strtoul(rest, &rest, 10);
    *ret_resident = strtoul(rest, &rest, 10);
    *ret_mapped *= page;
    *ret_resident *= page;
}

Test(stack, sizes_are_whole_pages_and_zero_means_the_default)
{
    coil__stacks_init(&stacks, 1);
    cr_assert_eq(stacks.usable_size, page);
    coil__stacks_init(&stacks, 10000);
    cr_assert_eq(stacks.usable_size, 3 * page);
    coil__stacks_init(&stacks, 0);
    cr_assert_geq(stacks.usable_size, page * 16);
    coil__stacks_fini(&stacks);
    cr_assert_eq(coil__alloc_total_count(), 0, "nothing is mapped before it is needed");
}

Test(stack, stacks_are_writable_aligned_and_do_not_overlap, .init = set_up)
{
    get_many(SEVERAL);
    for (int i = 0; i < SEVERAL; i++) {
        cr_assert_eq((uintptr_t)tops[i] % page, 0);
        memset(coil__stack_bottom(&stacks, tops[i]), i + 1, stacks.usable_size);
    }
    for (int i = 0; i < SEVERAL; i++) {
        const char *bottom = coil__stack_bottom(&stacks, tops[i]);

        cr_assert_eq(bottom[0], i + 1);
        cr_assert_eq(memcmp(bottom, bottom + 1, stacks.usable_size - 1), 0);
    }
    cr_assert_eq(stacks.live_count, SEVERAL);
    put_many(SEVERAL);
    coil__stacks_fini(&stacks);
    cr_assert_eq(coil__alloc_live_count(), 0);
}

Test(stack, the_stack_given_back_last_is_reused_first, .init = set_up)
{
    get_many(3);
    put_many(3);
    cr_assert_eq(stacks.free_count, 3);

    cr_assert_eq(coil__stack_get(&stacks), tops[2]);
    cr_assert_eq(coil__stack_get(&stacks), tops[1]);
    cr_assert_eq(coil__stack_get(&stacks), tops[0]);
    cr_assert_eq(stacks.free_count, 0);
}

Test(stack, the_guard_faults_in_the_first_and_in_later_stacks, .init = set_up)
{
    get_many(SEVERAL);

    assert_guarded(tops[0]);
    assert_guarded(tops[1]);
    assert_guarded(tops[SEVERAL - 1]);
}

Test(stack, the_guard_still_faults_after_recycling_and_after_trimming, .init = set_up)
{
    get_many(1);
    memset(coil__stack_bottom(&stacks, tops[0]), 1, stacks.usable_size);
    put_many(1);
    cr_assert_eq(coil__stack_get(&stacks), tops[0]);
    assert_guarded(tops[0]);

    put_many(1);
    coil__stacks_trim(&stacks, 0, SIZE_MAX);
    cr_assert_eq(coil__stack_get(&stacks), tops[0]);
    assert_guarded(tops[0]);
}

Test(stack, mprotect_guards_where_the_kernel_has_no_cheap_ones, .init = set_up)
{
    coil__stack_guard_limit(COIL__GUARD_MPROTECT);
    get_many(SEVERAL);

    cr_assert_eq(stacks.guard, COIL__GUARD_MPROTECT);
    assert_guarded(tops[0]);
    assert_guarded(tops[SEVERAL - 1]);
    put_many(SEVERAL);
    coil__stacks_trim(&stacks, 0, SIZE_MAX);
    get_many(SEVERAL);
    assert_guarded(tops[0]);
}

Test(stack, locked_memory_gets_mprotect_guards, .init = set_up)
{
    /* The cheap guards refuse locked memory. Without the right to lock there is nothing to see. */
    if (mlockall(MCL_FUTURE | MCL_ONFAULT) < 0)
        cr_skip_test("may not lock memory");
    get_many(2);
    cr_assert_neq(stacks.guard, COIL__GUARD_CANARY);
    assert_guarded(tops[1]);
    (void)munlockall();
}

static int log_count;

static void count_log(coil_log_level level, const char *message, void *arg)
{
    (void)arg;
    cr_assert_eq(level, COIL_LOG_WARNING);
    cr_assert_not_null(strstr(message, "no guard"));
    log_count++;
}

Test(stack, without_any_guard_stacks_work_and_the_log_says_so_once, .init = set_up)
{
    coil_log_set(count_log, NULL);
    coil__stack_guard_limit(COIL__GUARD_CANARY);
    get_many(SEVERAL);

    cr_assert_eq(stacks.guard, COIL__GUARD_CANARY);
    cr_assert_eq(log_count, 1);
    memset(coil__stack_bottom(&stacks, tops[1]), 1, stacks.usable_size);
}

static void say_nothing(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)message;
    (void)arg;
}

static void get_without_guards(size_t count)
{
    coil_log_set(say_nothing, NULL);
    coil__stack_guard_limit(COIL__GUARD_CANARY);
    get_many(count);
}

Test(stack, a_byte_written_below_a_stack_without_guard_is_seen, .init = set_up)
{
    for (ptrdiff_t below = 1; below <= 512; below++) {
        char *byte;

        get_without_guards(1);
        byte = coil__stack_bottom(&stacks, tops[0]) - below;
        cr_assert(coil__stack_is_intact(&stacks, tops[0]));
        *byte = (char)~*byte;
        cr_assert_not(coil__stack_is_intact(&stacks, tops[0]), "%zd bytes below", below);
        *byte = (char)~*byte;
        put_many(1);
    }
}

Test(stack, a_canary_stays_with_its_stack_and_speaks_for_no_other, .init = set_up)
{
    get_without_guards(3);
    for (int i = 0; i < 3; i++)
        memset(coil__stack_bottom(&stacks, tops[i]), 1, stacks.usable_size);
    put_many(3);
    coil__stacks_trim(&stacks, 1, SIZE_MAX);
    get_many(3);
    cr_assert_eq(stacks.canary_count, 3);

    *(coil__stack_bottom(&stacks, tops[1]) - 8) = 0;

    cr_assert(coil__stack_is_intact(&stacks, tops[0]));
    cr_assert_not(coil__stack_is_intact(&stacks, tops[1]));
    cr_assert(coil__stack_is_intact(&stacks, tops[2]));
}

Test(stack, in_a_slab_that_loses_its_guards_half_way_each_stack_has_its_own, .init = set_up)
{
    get_many(2);
    coil_log_set(say_nothing, NULL);
    stacks.guard = COIL__GUARD_CANARY; /* as a refusal leaves it */
    tops[2] = coil__stack_get(&stacks);

    cr_assert_eq(stacks.canary_count, 1);
    assert_guarded(tops[1]);
    cr_assert(coil__stack_is_intact(&stacks, tops[1]));
    cr_assert(coil__stack_is_intact(&stacks, tops[2]));
    *(coil__stack_bottom(&stacks, tops[2]) - 1) ^= 1;
    cr_assert_not(coil__stack_is_intact(&stacks, tops[2]));
}

Test(stack, when_mprotect_runs_out_of_mappings_stacks_go_without_guards, .init = set_up)
{
    enum {
        BEYOND_MAX_MAP_COUNT = 40000
    };

    void *last = NULL;

    if (has_asan())
        cr_skip_test("ASan needs mappings of its own");
    coil_log_set(count_log, NULL);
    coil__stack_guard_limit(COIL__GUARD_MPROTECT);
    for (int i = 0; i < BEYOND_MAX_MAP_COUNT && log_count == 0; i++)
        last = coil__stack_get(&stacks);
    if (log_count == 0)
        cr_skip_test("vm.max_map_count is higher than usual");

    cr_assert_not_null(last);
    *((char *)last - 1) = 1;
    cr_assert_eq(stacks.guard, COIL__GUARD_CANARY);
    cr_assert(coil__stack_is_intact(&stacks, last));
}

Test(stack, many_stacks_cost_few_mappings_and_no_memory_until_touched, .init = set_up)
{
    const size_t mappings = mapping_count();
    size_t mapped;
    size_t resident_before;
    size_t resident_after;

    process_bytes(&mapped, &resident_before);
    get_many(MANY);
    process_bytes(&mapped, &resident_after);

    cr_assert_leq(mapping_count(), mappings + 200);
    cr_assert_leq(coil__alloc_total_count(), 200, "slabs grow");
    cr_assert_eq(resident_bytes(MANY), 0);
    /* Page tables and the records beside the slabs; ASan adds its own bookkeeping. */
    if (!has_asan())
        cr_assert_leq(resident_after, resident_before + (size_t)MANY * 100);

    for (int i = 0; i < MANY; i++)
        *((char *)tops[i] - 1) = 1;
    cr_assert_eq(resident_bytes(MANY), (size_t)MANY * page, "one page each, no huge pages");
    put_many(MANY);
    coil__stacks_fini(&stacks);
    cr_assert_eq(coil__alloc_live_count(), 0);
    if (!has_asan()) /* which keeps mappings of its own for what it once watched */
        cr_assert_leq(mapping_count(), mappings + 20);
}

/* The line of flags that the kernel shows for the mapping which holds `address`. */
static bool has_mapping_flag(const void *address, const char *flag)
{
    FILE *smaps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool is_inside = false;
    bool is_found = false;

    cr_assert_not_null(smaps);
    while (fgets(line, sizeof line, smaps)) {
        char *rest = line;
        const uintptr_t from = strtoul(rest, &rest, 16);

        /* "from-to flags ..." opens a mapping; the other lines are "Name: value". */
        if (*rest == '-')
            is_inside =
                (uintptr_t)address >= from && (uintptr_t)address < strtoul(rest + 1, NULL, 16);
        if (is_inside && strncmp(line, "VmFlags:", 8) == 0)
            is_found = strstr(line, flag) != NULL;
    }
    (void)fclose(smaps);
    return is_found;
}

Test(stack, huge_pages_are_refused, .init = set_up)
{
    get_many(SEVERAL);

    cr_assert(has_mapping_flag((char *)tops[0] - 1, " nh"));
    cr_assert(has_mapping_flag((char *)tops[SEVERAL - 1] - 1, " nh"));
}

Test(stack, resident_counts_pages_down_to_the_deepest, .init = set_up)
{
    get_many(1);
    cr_assert_eq(coil__stack_resident(&stacks, tops[0]), 0);
    memset((char *)tops[0] - 10000, 1, 10000);
    cr_assert_eq(coil__stack_resident(&stacks, tops[0]), 3 * page);
    memset(coil__stack_bottom(&stacks, tops[0]), 1, stacks.usable_size);
    cr_assert_eq(coil__stack_resident(&stacks, tops[0]), stacks.usable_size);
}

Test(stack, resident_works_for_stacks_of_many_pages)
{
    coil__stacks_init(&stacks, 3 * mib + page);
    get_many(2);
    memset(coil__stack_bottom(&stacks, tops[1]), 1, stacks.usable_size);
    cr_assert_eq(coil__stack_resident(&stacks, tops[1]), stacks.usable_size);
    cr_assert_eq(coil__stack_resident(&stacks, tops[0]), 0);
    memset(coil__stack_bottom(&stacks, tops[0]), 1, mib);
    cr_assert_eq(coil__stack_resident(&stacks, tops[0]), mib);
    assert_guarded(tops[1]);
}

Test(stack, trimming_gives_back_all_but_the_warmest, .init = set_up)
{
    get_many(SEVERAL);
    for (int i = 0; i < SEVERAL; i++)
        memset((char *)tops[i] - 2 * page, 1, 2 * page);
    put_many(SEVERAL);

    coil__stacks_trim(&stacks, 10, SIZE_MAX);

    cr_assert_eq(stacks.free_count, 10);
    cr_assert_eq(stacks.cold_count, SEVERAL - 10);
    cr_assert_eq(resident_bytes(SEVERAL - 10), 0);
    cr_assert_eq(resident_bytes(SEVERAL), 20 * page);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(coil__stack_get(&stacks), tops[SEVERAL - 1 - i]);
}

Test(stack, trimmed_stacks_are_reused_before_new_ones_are_made, .init = set_up)
{
    bool is_seen[SEVERAL] = {false};

    get_many(SEVERAL);
    put_many(SEVERAL);
    coil__stacks_trim(&stacks, 3, SIZE_MAX);
    coil__stacks_trim(&stacks, 3, SIZE_MAX);
    coil__stacks_trim(&stacks, 0, SIZE_MAX);

    const int64_t before = coil__alloc_total_count();

    for (int i = 0; i < SEVERAL; i++) {
        void *top = coil__stack_get(&stacks);
        int found = 0;

        while (found < SEVERAL && tops[found] != top)
            found++;
        cr_assert_lt(found, SEVERAL, "not one of the old");
        cr_assert_not(is_seen[found], "handed out twice");
        is_seen[found] = true;
    }
    cr_assert_eq(stacks.cold_count, 0);
    cr_assert_eq(coil__alloc_total_count(), before);
}

Test(stack, trimming_keeps_the_contents_of_stacks_in_use, .init = set_up)
{
    get_many(3);
    for (int i = 0; i < 3; i++)
        memset(coil__stack_bottom(&stacks, tops[i]), 7, stacks.usable_size);
    coil__stack_put(&stacks, tops[1]);

    coil__stacks_trim(&stacks, 0, SIZE_MAX);

    for (int i = 0; i < 3; i += 2) {
        const char *bottom = coil__stack_bottom(&stacks, tops[i]);

        cr_assert_eq(bottom[0], 7);
        cr_assert_eq(memcmp(bottom, bottom + 1, stacks.usable_size - 1), 0);
    }
}

Test(stack, an_address_in_a_guard_names_the_stack_above_it, .init = set_up)
{
    void *top = NULL;

    get_many(SEVERAL);
    for (int i = 0; i < SEVERAL; i++) {
        const char *bottom = coil__stack_bottom(&stacks, tops[i]);

        cr_assert(coil__stacks_guard_hit(&stacks, bottom - 1, &top));
        cr_assert_eq(top, tops[i]);
        cr_assert(coil__stacks_guard_hit(&stacks, bottom - stacks.guard_size, &top));
        cr_assert_eq(top, tops[i]);
    }
}

Test(stack, an_address_elsewhere_is_no_guard_hit, .init = set_up)
{
    char here = 0;
    void *top = &here;

    cr_assert_not(coil__stacks_guard_hit(&stacks, &here, &top));
    get_many(1);

    cr_assert_not(coil__stacks_guard_hit(&stacks, NULL, &top));
    cr_assert_not(coil__stacks_guard_hit(&stacks, &here, &top));
    cr_assert_not(coil__stacks_guard_hit(&stacks, (char *)tops[0] - 1, &top));
    cr_assert_not(coil__stacks_guard_hit(&stacks, coil__stack_bottom(&stacks, tops[0]), &top));
    cr_assert_not(coil__stacks_guard_hit(&stacks, tops[0], &top), "a slot not handed out yet");
    cr_assert_eq(top, &here);
}

Test(stack, each_failing_allocation_gives_null_and_leaks_nothing)
{
    int64_t after = 0;
    void *top = NULL;

    for (; !top; after++) {
        cr_assert_lt(after, 20);
        coil__stacks_init(&stacks, 0);
        coil__alloc_fail_after(after);
        top = coil__stack_get(&stacks);
        coil__alloc_fail_after(-1);
        if (top)
            coil__stack_put(&stacks, top);
        cr_assert_eq(stacks.live_count, 0);
        coil__stacks_fini(&stacks);
        cr_assert_eq(coil__alloc_live_count(), 0);
    }
    cr_assert_geq(after, 3, "mapping and record can fail");
}

Test(stack, where_a_large_slab_does_not_fit_a_smaller_one_does, .init = set_up)
{
    struct rlimit limit;
    const size_t per_stack = stacks.usable_size + stacks.guard_size;
    size_t count = 0;
    size_t mapped;
    size_t resident;

    get_many(2 * mib / per_stack);
    process_bytes(&mapped, &resident);
    cr_assert_eq(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = mapped + 3 * mib; /* not enough for the 4 MiB that are planned */
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);

    while (count < 1000 && coil__stack_get(&stacks))
        count++;
    limit.rlim_cur = limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);

    cr_assert_geq(count, 2 * mib / per_stack);
    cr_assert_leq(count, 3 * mib / per_stack);
}

/* Whether ASan stops a process that writes to `address`. */
static bool is_reported(char *address)
{
    int status = 0;
    const pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        (void)close(STDERR_FILENO);
        *(volatile char *)address = 1;
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

Test(stack, a_free_stack_is_poisoned_and_a_recycled_one_is_clean_again, .init = set_up)
{
    if (!has_asan())
        cr_skip_test("ASan only");
    get_many(1);
    /* What a fiber leaves that ends without returning from its frames. */
    coil__sanitize_poison((char *)tops[0] - 512, 64);
    put_many(1);
    cr_assert(is_reported((char *)tops[0] - 1));
    cr_assert(is_reported(coil__stack_bottom(&stacks, tops[0])));

    cr_assert_eq(coil__stack_get(&stacks), tops[0]);
    memset(coil__stack_bottom(&stacks, tops[0]), 1, stacks.usable_size);
    coil__stack_put(&stacks, tops[0]);
    coil__stacks_trim(&stacks, 0, SIZE_MAX);
    cr_assert_eq(coil__stack_get(&stacks), tops[0]);
    memset(coil__stack_bottom(&stacks, tops[0]), 1, stacks.usable_size);
}

Test(stack, ending_with_a_stack_handed_out_stops_the_program, .init = set_up, .signal = SIGABRT)
{
    get_many(1);
    coil__stacks_fini(&stacks);
}
