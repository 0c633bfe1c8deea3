/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting free huge pages. See hugepages.h.
 */
#include "hugepages.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

/* The kernel's folder has one entry for each page size: hugepages-2048kB/free_hugepages. */
static uint64_t free_kb(const char *folder, const char *entry)
{
    char path[PATH_MAX];
    uint64_t page_kb, nb_free = 0;

    if (sscanf(entry, "hugepages-%" SCNu64 "kB", &page_kb) != 1)
        return 0;
    if (snprintf(path, sizeof(path), "%s/%s/free_hugepages", folder, entry) >= (int)sizeof(path))
        return 0;
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    int found = fscanf(file, "%" SCNu64, &nb_free);
    fclose(file);
    return found == 1 ? page_kb * nb_free : 0;
}

uint64_t hugepages_free_mb(const char *root)
{
    char folder[PATH_MAX / 2];
    uint64_t sum_kb = 0;

    snprintf(folder, sizeof(folder), "%s/sys/kernel/mm/hugepages", root);
    DIR *dir = opendir(folder);
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        sum_kb += free_kb(folder, entry->d_name);
    closedir(dir);
    return sum_kb / 1024;
}
