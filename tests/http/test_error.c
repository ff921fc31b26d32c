/* SPDX-License-Identifier: MIT */
/* Every way in which HTTP can be wrong has an answer. */
#include "http/error.h"

#include <criterion/criterion.h>

Test(error, every_error_has_a_status_and_a_text_of_its_own, .timeout = 20)
{
    for (int error = COIL__HTTP_BAD_LINE; error >= COIL__HTTP_LONG_TRAILERS; error--) {
        const int status = coil__http_error_status(error);

        cr_expect(status == 400 || status == 414 || status == 431 || status == 501 ||
                  status == 505);
        for (int other = error - 1; other >= COIL__HTTP_LONG_TRAILERS; other--)
            cr_expect_str_neq(coil__http_error_text(error), coil__http_error_text(other));
    }
    cr_expect_eq(coil__http_error_status(COIL__HTTP_BAD_LINE), 400);
    cr_expect_eq(coil__http_error_status(COIL__HTTP_BAD_HOST), 400);
    cr_expect_eq(coil__http_error_status(COIL__HTTP_BAD_LENGTH), 400);
    cr_expect_eq(coil__http_error_status(COIL__HTTP_BAD_CODING), 400);
    cr_expect_eq(coil__http_error_status(COIL__HTTP_UNKNOWN_CODING), 501);
    cr_expect_eq(coil__http_error_status(COIL__HTTP_BAD_VERSION), 505);
    cr_expect_eq(coil__http_error_status(-1), 400);
}
