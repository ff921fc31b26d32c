/* SPDX-License-Identifier: MIT */
/* Seeds, choices and checks of programs that race (tests/support/race.h). Without Criterion, which
 * does not run under ThreadSanitizer.
 */
#include "support/race.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <coil/coil.h>

#include "base/alloc.h"

unsigned race_begin(int argc, char **argv)
{
    const unsigned seed =
        argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : (unsigned)(coil_now() ^ getpid());

    (void)printf("seed %u\n", seed);
    (void)fflush(stdout); /* a program that hangs is killed */
    return seed;
}

int race_end(unsigned seed, int faults)
{
    if (coil__alloc_live_count() != 0) {
        (void)fprintf(stderr, "seed %u: memory is left\n", seed);
        faults++;
    }
    return faults > 0;
}

void race_check(struct race *race, bool is_true, const char *text)
{
    if (is_true)
        return;
    atomic_fetch_add(&race->faults, 1);
    (void)fprintf(stderr, "seed %u: %s\n", race->seed, text);
}

unsigned next_random(unsigned *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

unsigned below(unsigned *state, unsigned end)
{
    return next_random(state) % end;
}

bool is_interruption(int result)
{
    return result == -ETIMEDOUT || result == -ECANCELED;
}
