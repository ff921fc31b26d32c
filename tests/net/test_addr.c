/* SPDX-License-Identifier: MIT */
/* Addresses as text: what is accepted, what is refused, and that both directions agree. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "net/addr.h"

TestSuite(addr, .timeout = 30);

static void assert_result(const char *text, int expected)
{
    coil_address addr = {.length = 77};
    const int result = coil_address_parse(text, &addr);

    cr_assert_eq(result, expected, "\"%s\" gives %d", text, result);
    if (result < 0)
        cr_assert_eq(addr.length, 77, "\"%s\": untouched on failure", text);
}

static void assert_round_trip(const char *text, const char *expected)
{
    coil_address addr;
    char back[COIL_ADDRESS_SIZE];
    const int length = (int)strlen(expected);

    cr_assert_eq(coil_address_parse(text, &addr), 0, "%s", text);
    cr_assert_eq(coil_address_format(&addr, back, sizeof back), length, "%s", text);
    cr_assert_str_eq(back, expected);
    cr_assert_eq(coil_address_format(&addr, back, (size_t)length + 1), length, "just enough room");
    cr_assert_eq(coil_address_format(&addr, back, (size_t)length), -ENOBUFS);
}

Test(addr, good_addresses_come_back_in_their_shortest_form)
{
    assert_round_trip("127.0.0.1:80", "127.0.0.1:80");
    assert_round_trip("255.255.255.255:65535", "255.255.255.255:65535");
    assert_round_trip("0.0.0.0:0", "0.0.0.0:0");
    assert_round_trip("1.2.3.4:007", "1.2.3.4:7");
    assert_round_trip("[::1]:80", "[::1]:80");
    assert_round_trip("[::]:0", "[::]:0");
    assert_round_trip(":8080", "[::]:8080");
    assert_round_trip("[2001:DB8:0:0:0:0:0:1]:443", "[2001:db8::1]:443");
    assert_round_trip("[::ffff:1.2.3.4]:5", "[::ffff:1.2.3.4]:5");
    assert_round_trip("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    assert_round_trip("unix:/run/app.sock", "unix:/run/app.sock");
    assert_round_trip("unix:relative", "unix:relative");
    assert_round_trip("unix:/a:b@c", "unix:/a:b@c");
    assert_round_trip("unix:@name", "unix:@name");
    assert_round_trip("unix:@a b/c:1", "unix:@a b/c:1");
}

Test(addr, a_zone_is_a_name_or_a_number_of_an_interface)
{
    assert_round_trip("[fe80::1%lo]:80", "[fe80::1%1]:80");
    assert_round_trip("[fe80::1%1]:80", "[fe80::1%1]:80");
    assert_round_trip("[fe80::1%7]:80", "[fe80::1%7]:80");
    assert_result("[fe80::1%]:80", -EINVAL);
    assert_result("[fe80::1%no such]:80", -EINVAL);
    assert_result("[fe80::1%99999999999]:80", -EINVAL);
    assert_result("1.2.3.4%lo:80", -EINVAL);
}

Test(addr, bad_addresses_are_einval)
{
    static const char *const texts[] = {
        "",
        ":",
        "::",
        ":::",
        "[",
        "]",
        "[]",
        "[]:",
        "[]:80",
        "[:]:80",
        "80",
        "host",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:x",
        "1.2.3.4:-1",
        "1.2.3.4:+1",
        "1.2.3.4: 1",
        "1.2.3.4:1 ",
        "1.2.3.4:65536",
        "1.2.3.4:99999999999999999999",
        "1.2.3.4:4294967376",
        "1.2.3.4:0x50",
        "1.2.3:80",
        "1.2.3.4.5:80",
        "256.1.1.1:80",
        "1.2.3.:80",
        ".1.2.3:80",
        "1..2.3:80",
        "01.2.3.4:80",
        "1.2.3.4:80:90",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[::1]:",
        "[::1]x:80",
        "[::1:80",
        "::1]:80",
        "[[::1]]:80",
        "[1.2.3.4]:80",
        "[host]:80",
        "[::g]:80",
        "[1:2:3:4:5:6:7:8:9]:80",
        "[::1]:65536",
        " :80",
        "a b:80",
        "-host:80",
        "a/b:80",
        "a@b:80",
        "unix:",
        "unix:@",
        "\xff:80",
        "h\xc3\xb6st:80",
        "host:http",
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_result(texts[i], -EINVAL);
}

Test(addr, names_are_left_to_the_resolver)
{
    assert_result("localhost:80", -EDESTADDRREQ);
    assert_result("www.example.com:443", -EDESTADDRREQ);
    assert_result("example.com.:443", -EDESTADDRREQ);
    assert_result("my_host-1:0", -EDESTADDRREQ);
    assert_result("1e100.net:80", -EDESTADDRREQ);
    assert_result("a:80", -EDESTADDRREQ);
}

Test(addr, a_host_is_split_from_its_port)
{
    char host[COIL__HOST_SIZE];
    char text[COIL__HOST_SIZE + 16];
    unsigned port = 0;

    cr_assert_eq(coil__addr_split("example.com:443", host, &port), 0);
    cr_assert_str_eq(host, "example.com");
    cr_assert_eq(port, 443);
    cr_assert_eq(coil__addr_split("[::1]:1", host, &port), 0);
    cr_assert_str_eq(host, "::1");
    cr_assert_eq(port, 1);
    cr_assert_eq(coil__addr_split(":65535", host, &port), 0);
    cr_assert_str_eq(host, "");
    cr_assert_eq(port, 65535);

    memset(text, 'a', sizeof text);
    memcpy(text + COIL__HOST_SIZE - 1, ":80", sizeof ":80");
    cr_assert_eq(coil__addr_split(text, host, &port), 0);
    cr_assert_eq(strlen(host), COIL__HOST_SIZE - 1);
    memset(text, 'a', sizeof text);
    memcpy(text + COIL__HOST_SIZE, ":80", sizeof ":80");
    cr_assert_eq(coil__addr_split(text, host, &port), -EINVAL);
}

Test(addr, a_unix_path_fits_exactly_or_not_at_all)
{
    enum {
        PATH_MAX_HERE = sizeof(((struct sockaddr_un *)0)->sun_path) - 1
    };

    char text[200] = "unix:";
    coil_address addr;

    memset(text + 5, 'p', PATH_MAX_HERE);
    assert_round_trip(text, text);
    cr_assert_eq(coil_address_parse(text, &addr), 0);
    cr_assert_str_eq(coil__addr_unix_path(&addr), text + 5);
    text[5 + PATH_MAX_HERE] = 'p';
    assert_result(text, -ENAMETOOLONG);
    text[5] = '@';
    assert_result(text, -ENAMETOOLONG);
    text[5 + PATH_MAX_HERE] = '\0';
    assert_round_trip(text, text);
}

Test(addr, only_a_unix_socket_with_a_file_has_a_path)
{
    coil_address addr;

    cr_assert_eq(coil_address_parse("unix:@name", &addr), 0);
    cr_assert_null(coil__addr_unix_path(&addr));
    cr_assert_eq(coil_address_parse("1.2.3.4:5", &addr), 0);
    cr_assert_null(coil__addr_unix_path(&addr));
}

Test(addr, the_kernel_takes_and_gives_the_same_abstract_name)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    coil_address addr;
    char name[64];
    char text[COIL_ADDRESS_SIZE];

    cr_assert_eq(coil__addr_format_local(fd, text, sizeof text), 5);
    cr_assert_str_eq(text, "unix:", "without a name");
    (void)snprintf(name, sizeof name, "unix:@coil addr %d", (int)getpid());
    cr_assert_eq(coil_address_parse(name, &addr), 0);
    cr_assert_eq(addr.length, offsetof(struct sockaddr_un, sun_path) + strlen(name + 5),
                 "a NUL at the end would be part of the name");
    cr_assert_eq(bind(fd, coil__addr_sockaddr(&addr), addr.length), 0);
    cr_assert_eq(coil__addr_format_local(fd, text, sizeof text), (int)strlen(name));
    cr_assert_str_eq(text, name);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil__addr_format_local(fd, text, sizeof text), -EBADF);
}

Test(addr, a_family_without_text_is_refused)
{
    coil_address addr = {.storage = {.ss_family = AF_PACKET}, .length = 20};
    char text[COIL_ADDRESS_SIZE];

    cr_assert_eq(coil_address_format(&addr, text, sizeof text), -EAFNOSUPPORT);
}

/* Texts of address-like bytes, their NUL the last byte before an unmapped page. */
Test(addr, no_text_is_read_beyond_its_end_and_what_parses_round_trips)
{
    static const char alphabet[] = "[]:::@%/.0123456789abcfux";
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t state = 0x9e3779b97f4a7c15;
    unsigned parsed_count = 0;

    cr_assert_neq(memory, MAP_FAILED);
    cr_assert_eq(mprotect(memory + page, page, PROT_NONE), 0);
    for (unsigned i = 0; i < 300000; i++) {
        coil_address addr;
        coil_address again;
        char text[COIL_ADDRESS_SIZE];
        char *start;
        size_t length;

        state = state * 6364136223846793005U + 1442695040888963407U;
        length = (state >> 33) % 24;
        start = memory + page - length - 1;
        for (size_t at = 0; at < length; at++) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            start[at] = alphabet[(state >> 33) % (sizeof alphabet - 1)];
        }
        start[length] = '\0';
        if (coil_address_parse(start, &addr) < 0)
            continue;
        parsed_count++;
        cr_assert_gt(coil_address_format(&addr, text, sizeof text), 0, "%s", start);
        cr_assert_eq(coil_address_parse(text, &again), 0, "%s became %s", start, text);
        cr_assert_eq(again.length, addr.length);
        cr_assert_eq(memcmp(&again.storage, &addr.storage, addr.length), 0, "%s, %s", start, text);
    }
    cr_assert_gt(parsed_count, 100);
    cr_assert_eq(munmap(memory, 2 * page), 0);
}

/* ---- Comparing ---- */

static coil_address parsed(const char *text)
{
    coil_address address;

    cr_assert_eq(coil_address_parse(text, &address), 0, "%s", text);
    return address;
}

static bool equal(const char *a, const char *b)
{
    const coil_address first = parsed(a);
    const coil_address second = parsed(b);

    return coil_address_equal(&first, &second);
}

Test(addr, equal_addresses_have_the_same_host_and_port_whatever_else_is_in_the_storage)
{
    coil_address a = parsed("127.0.0.1:5");
    const coil_address b = parsed("127.0.0.1:5");

    ((char *)&a.storage)[12] = 'x'; /* sin_zero */
    cr_assert(coil_address_equal(&a, &b));
    cr_assert(equal("[::1]:5", "[0::1]:5"));
    cr_assert(equal("unix:@a", "unix:@a"));

    cr_assert_not(equal("127.0.0.1:5", "127.0.0.1:6"));
    cr_assert_not(equal("127.0.0.1:5", "127.0.0.2:5"));
    cr_assert_not(equal("[::1]:5", "[::1]:6"));
    cr_assert_not(equal("[::1]:5", "[::2]:5"));
    cr_assert_not(equal("unix:@a", "unix:@b"));
    cr_assert_not(equal("unix:@a", "unix:@ab"));
    cr_assert_not(equal("unix:@a", "unix:aa"));
    cr_assert_not(equal("127.0.0.1:5", "[::ffff:127.0.0.1]:5"));
}

Test(addr, no_address_equals_itself_only)
{
    const coil_address none = {.length = 0};
    const coil_address some = parsed(":1");

    cr_assert(coil_address_equal(&none, &none));
    cr_assert_not(coil_address_equal(&none, &some));
}

Test(addr, ipv4_goes_into_ipv6_and_comes_back)
{
    coil_address address = parsed("1.2.3.4:567");
    char text[COIL_ADDRESS_SIZE];

    coil__addr_map(&address);
    cr_assert_gt(coil_address_format(&address, text, sizeof text), 0);
    cr_assert_str_eq(text, "[::ffff:1.2.3.4]:567");
    coil__addr_unmap(&address);
    cr_assert_gt(coil_address_format(&address, text, sizeof text), 0);
    cr_assert_str_eq(text, "1.2.3.4:567");
}

Test(addr, other_addresses_are_neither_mapped_nor_unmapped)
{
    coil_address unix_address = parsed("unix:@a");
    coil_address ipv6 = parsed("[::1]:5");
    const coil_address unix_before = unix_address;
    const coil_address ipv6_before = ipv6;

    coil__addr_map(&unix_address);
    coil__addr_unmap(&unix_address);
    coil__addr_map(&ipv6);
    coil__addr_unmap(&ipv6);

    cr_assert(coil_address_equal(&unix_address, &unix_before));
    cr_assert(coil_address_equal(&ipv6, &ipv6_before));
}
