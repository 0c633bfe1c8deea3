/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration file: a good one, and each way to get it wrong with the words that say so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"

#define KEY_LINE "cid_key=000102030405060708090a0b0c0d0e0F\n"
#define GOOD                                                                                                           \
    "# a comment\n\nhelper_id=3\nincarnation=4294967295\n" KEY_LINE "data_address=198.18.0.10/24\n"                    \
    "device=net_af_packet0,iface=eth1\ncontrol_socket=/run/w.sock\n"

static void test_a_good_file(void **state)
{
    struct worker_config c;
    char error[256] = "";

    assert_int_equal(config_parse(&c, GOOD "gateway=198.18.0.1\r\nhugepages=yes\nidle=spin\ncpu=1", error, 256), 0);
    assert_int_equal(c.helper_id, 3);
    assert_int_equal(c.incarnation, UINT32_MAX);
    assert_int_equal(c.cid_key[15], 15);
    assert_true(ip_equal(c.ip, ip_of_v4(0xc612000a)));
    assert_int_equal(c.prefix_len, 96 + 24);
    assert_true(ip_equal(c.gateway, ip_of_v4(0xc6120001)));
    assert_string_equal(c.device, "net_af_packet0,iface=eth1");
    assert_string_equal(c.control_socket, "/run/w.sock");
    assert_int_equal(c.hugepages, 1);
    assert_int_equal(c.idle, CONFIG_IDLE_SPIN);
    assert_int_equal(c.cpu, 1);
    assert_int_equal(config_parse(&c, GOOD, error, 256), 0);
    assert_int_equal(c.client_port, 4701);
    assert_int_equal(c.trunk_port, 4702);
    assert_int_equal(c.hold_us_max, 100);
    assert_int_equal(c.trunk_bytes_max, 1440);
    assert_int_equal(c.cpu, CONFIG_CPU_ANY);
    assert_int_equal(c.idle, CONFIG_IDLE_SLEEP);
    assert_true(ip_is_none(c.gateway));
}

static const struct {
    const char *text, *says;
} WRONG[] = {
    {"", "helper_id is missing"},
    {"helper_id=3\n", "incarnation is missing"},
    {GOOD "no equals sign\n", "line 9: not key=value"},
    {GOOD "hepler=1\n", "line 9: unknown key 'hepler'"},
    {GOOD "helper_id=4\n", "line 9: helper_id is given twice"},
    {"helper_id=0\n", "line 1: helper_id must be from 1 to 65535"},
    {"helper_id=65536\n", "line 1: helper_id must be from 1 to 65535"},
    {"helper_id=\n", "line 1: helper_id must be"},
    {"helper_id=-1\n", "line 1: helper_id must be"},
    {"helper_id=1x\n", "line 1: helper_id must be"},
    {"helper_id= 1\n", "line 1: helper_id must be"},
    {"helper_id=99999999999999999999999\n", "line 1: helper_id must be"},
    {"cid_key=00\n", "line 1: cid_key is not valid"},
    {"cid_key=000102030405060708090a0b0c0d0e0g\n", "line 1: cid_key is not valid (32 hex digits"},
    {"data_address=198.18.0.10\n", "line 1: data_address must be an address of a host with its prefix length"},
    {"data_address=198.18.0.10/31\n", "line 1: data_address must be"},
    {"data_address=198.18.0/24\n", "line 1: data_address must be"},
    {"data_address=2001:db8::1/127\n", "line 1: data_address must be"},
    {"data_address=ff02::1/64\n", "line 1: data_address must be"},
    {"data_address=::ffff:1.2.3.4/64\n", "line 1: data_address must be"},
    {"data_address=224.0.0.1/24\n", "line 1: data_address must be"},
    {GOOD "gateway=198.18.1.1\n", "gateway must be another host"},
    {GOOD "gateway=198.18.0.10\n", "gateway must be another host"},
    {GOOD "gateway=198.18.0.255\n", "gateway must be another host"},
    {GOOD "client_port=4702\n", "client_port and trunk_port must differ"},
    {GOOD "flows_max=100000\n", "flows_max must be a power of two"},
    {GOOD "trunk_bytes_max=1412\n", "line 9: trunk_bytes_max must be from 1413 to 1472"},
    {GOOD "hold_us_max=10001\n", "line 9: hold_us_max must be from 0 to 10000"},
    {GOOD "hugepages=maybe\n", "line 9: hugepages is not valid (yes or no)"},
    {GOOD "idle=never\n", "line 9: idle is not valid (sleep or spin"},
    {GOOD "cpu=all\n", "line 9: cpu must be"},
    {"device=\n", "line 1: device must have from 1 to 255 characters"},
};

static void test_each_mistake_is_named(void **state)
{
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        struct worker_config c;
        char error[256] = "";
        int result = config_parse(&c, WRONG[i].text, error, sizeof(error));
        if (result != -1 || strncmp(error, WRONG[i].says, strlen(WRONG[i].says)) != 0)
            fail_msg("row %zu: '%s', not '%s'", i, error, WRONG[i].says);
    }
}

static void test_a_wrong_key_is_not_repeated(void **state)
{
    struct worker_config c;
    char error[256];

    assert_int_equal(config_parse(&c, "cid_key=0123456789abcdeffedcba9876543210ff\n", error, sizeof(error)), -1);
    assert_null(strstr(error, "0123"));
}

static void test_overlong_lines(void **state)
{
    struct worker_config c;
    char error[256], text[700];

    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(config_parse(&c, text, error, sizeof(error)), -1);
    assert_string_equal(error, "line 1 is longer than 511 characters");
}

static void test_the_file_must_be_private(void **state)
{
    struct worker_config c;
    char error[256], path[] = "/tmp/postman-config-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0 && write(fd, GOOD, strlen(GOOD)) == (ssize_t)strlen(GOOD));
    assert_int_equal(config_load(&c, path, error, sizeof(error)), 0);
    fchmod(fd, 0640);
    assert_int_equal(config_load(&c, path, error, sizeof(error)), -1);
    assert_non_null(strstr(error, "chmod 600"));
    close(fd);
    unlink(path);
    assert_int_equal(config_load(&c, path, error, sizeof(error)), -1);
    assert_non_null(strstr(error, "No such file"));
    assert_int_equal(config_load(&c, "/tmp", error, sizeof(error)), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_file),
        cmocka_unit_test(test_each_mistake_is_named),
        cmocka_unit_test(test_a_wrong_key_is_not_repeated),
        cmocka_unit_test(test_overlong_lines),
        cmocka_unit_test(test_the_file_must_be_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
