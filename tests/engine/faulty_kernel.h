/* SPDX-License-Identifier: MIT */
/* A kernel that refuses, fails and does things by halves, for tests of the io_uring engine.
 *
 * The engine's three system calls are replaced by functions that pass on to the real ones, after
 * doing what `fault` asks for.
 */
#ifndef COIL_TESTS_ENGINE_FAULTY_KERNEL_H
#define COIL_TESTS_ENGINE_FAULTY_KERNEL_H

#include "engine/engine_fixture.h"
#include "engine/uring.h"

struct fault {
    unsigned refused_setup_flags; /* -EINVAL for set-ups with any of these */
    int setup_error;              /* of the first `setup_error_count` set-ups */
    unsigned setup_error_count;
    unsigned sq_max;           /* -ENOMEM for more entries; 0 for no limit */
    unsigned missing_features; /* taken away from what set-up reports */
    int register_error;        /* of `register_opcode` */
    unsigned register_opcode;
    bool is_registered_fd_useless;
    unsigned enter_fail_at; /* the N-th enter fails, from 1 */
    unsigned enter_fail_count;
    int enter_error;
    unsigned submit_max;       /* entries taken by an enter; 0 for no limit */
    bool is_without_multishot; /* as Linux before 5.19 */
    int cancelled_result;      /* what cancelled requests end with instead of -ECANCELED */

    unsigned setup_count;
    unsigned enter_count;
    unsigned entry_count;     /* submitted since `uring` was set */
    unsigned cancel_position; /* of the first cancel among them, from 1 */
    unsigned last_sq_entries;
    unsigned last_cq_entries;
    struct coil__uring *uring;
};

extern struct fault fault;

/* Before each test: no faults, and nothing in the environment. */
void faulty_kernel_install(void);

#define URING_TEST(suite, name) Test(suite, name, .init = faulty_kernel_install, .timeout = 30)

/* Uses all of the engine: standing orders, sends, operations, a cancel. */
void use_engine(struct bench *bench);

void open_use_close(void);

/* Opens an engine, which must fail and leave nothing. Returns the error. */
int open_failing(char why[256]);

#endif
