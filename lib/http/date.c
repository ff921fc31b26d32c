/* SPDX-License-Identifier: MIT */
/* Dates as HTTP writes them (RFC 9110 5.6.7).
 *
 * gmtime(3) would do, but it looks after the time zone on the way: locks, an environment variable,
 * sometimes a file, on a fiber's small stack. The calendar in UTC is a dozen lines of arithmetic:
 * days are counted in eras of 400 years that begin on 1 March, so that the leap day is the last one
 * of its year.
 */
#include <string.h>

#include <coil/http.h>

enum {
    SECONDS_PER_DAY = 86400,
    DAYS_PER_ERA = 146097,
    DAYS_BEFORE_1970 = 719468, /* from 1 March of year 0 */
};

static const int64_t seconds_min = -62167219200; /* 1 January 0 */
static const int64_t seconds_max = 253402300799; /* the last second of 9999 */

static void put_two(char *at, int64_t number)
{
    at[0] = (char)('0' + number / 10);
    at[1] = (char)('0' + number % 10);
}

void coil_http_date(int64_t seconds, char *ret_text)
{
    static const char names_of_days[] = "ThuFriSatSunMonTueWed"; /* 1 January 1970 was a Thursday */
    static const char names_of_months[] = "MarAprMayJunJulAugSepOctNovDecJanFeb";
    const int64_t clamped = seconds < seconds_min   ? seconds_min
                            : seconds > seconds_max ? seconds_max
                                                    : seconds;
    const int64_t second = ((clamped % SECONDS_PER_DAY) + SECONDS_PER_DAY) % SECONDS_PER_DAY;
    const int64_t day = (clamped - second) / SECONDS_PER_DAY;
    const int64_t shifted = day + DAYS_BEFORE_1970 + DAYS_PER_ERA; /* one era on: never negative */
    const int64_t era = shifted / DAYS_PER_ERA - 1;
    const int64_t of_era = shifted % DAYS_PER_ERA;
    const int64_t year_of_era =
        (of_era - of_era / 1460 + of_era / 36524 - of_era / (DAYS_PER_ERA - 1)) / 365;
    const int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t month = (5 * of_year + 2) / 153; /* 0 is March */
    const int64_t year = era * 400 + year_of_era + (month >= 10);

    memcpy(ret_text, "Thu, 01 Jan 1970 00:00:00 GMT", COIL_HTTP_DATE_SIZE);
    memcpy(ret_text, names_of_days + (day % 7 + 7) % 7 * 3, 3);
    put_two(ret_text + 5, of_year - (153 * month + 2) / 5 + 1);
    memcpy(ret_text + 8, names_of_months + month * 3, 3);
    put_two(ret_text + 12, year / 100);
    put_two(ret_text + 14, year % 100);
    put_two(ret_text + 17, second / 3600);
    put_two(ret_text + 20, second / 60 % 60);
    put_two(ret_text + 23, second % 60);
}
