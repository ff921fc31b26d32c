/* SPDX-License-Identifier: MIT */
/* A user's first program: built against an installed coil, it must start, park and end. */
#include <coil/coil.h>
#include <stdio.h>

static int sleep_once(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_MS(1));
}

int main(void)
{
    int result = -1;
    int status = coil_run(sleep_once, NULL, NULL, &result);

    if (status < 0 || result < 0) {
        fprintf(stderr, "coil_run: %s, main: %s\n", coil_strerror(status), coil_strerror(result));
        return 1;
    }
    puts("ok");
    return 0;
}
