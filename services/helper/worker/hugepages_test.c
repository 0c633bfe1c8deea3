/* SPDX-License-Identifier: Apache-2.0
 *
 * Free huge pages, read from a folder that looks like sysfs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "hugepages.h"

#define SIZES 2
static const char *const FOLDERS[] = {"/sys", "/sys/kernel", "/sys/kernel/mm", "/sys/kernel/mm/hugepages"};
static const struct {
    const char *name, *nb_free;
} PAGES[SIZES] = {{"hugepages-2048kB", "5\n"}, {"hugepages-1048576kB", "2\n"}};

static void test_all_sizes_are_added(void **state)
{
    char root[] = "/tmp/postman-hugepages-XXXXXX", path[256];

    assert_non_null(mkdtemp(root));
    assert_int_equal(hugepages_free_mb(root), 0);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s%s", root, FOLDERS[i]);
        mkdir(path, 0700);
    }
    for (int i = 0; i < SIZES; i++) {
        snprintf(path, sizeof(path), "%s%s/%s", root, FOLDERS[3], PAGES[i].name);
        mkdir(path, 0700);
        snprintf(path, sizeof(path), "%s%s/%s/free_hugepages", root, FOLDERS[3], PAGES[i].name);
        FILE *file = fopen(path, "w");
        fputs(PAGES[i].nb_free, file);
        fclose(file);
    }
    assert_int_equal(hugepages_free_mb(root), 10 + 2048);

    for (int i = 0; i < SIZES; i++) {
        snprintf(path, sizeof(path), "%s%s/%s/free_hugepages", root, FOLDERS[3], PAGES[i].name);
        unlink(path);
        snprintf(path, sizeof(path), "%s%s/%s", root, FOLDERS[3], PAGES[i].name);
        rmdir(path);
    }
    for (int i = 3; i >= 0; i--) {
        snprintf(path, sizeof(path), "%s%s", root, FOLDERS[i]);
        rmdir(path);
    }
    assert_int_equal(rmdir(root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_sizes_are_added)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
