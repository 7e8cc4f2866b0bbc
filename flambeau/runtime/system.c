/* What the machine allows this process: processors by affinity and cgroup, memory by RAM, swap and cgroup. Both
 * cgroup versions are read: a limit holds for the group named in /proc/self/cgroup and for each group above it, and
 * inside a container the named path may not exist while its root does. */
#define _GNU_SOURCE
#include <ctype.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* The tests compile this file against a tree of their own. */
#ifndef FB_CGROUP_SELF
#define FB_CGROUP_SELF "/proc/self/cgroup"
#endif
#ifndef FB_CGROUP_ROOT
#define FB_CGROUP_ROOT "/sys/fs/cgroup"
#endif

#define MAX_CPUS 16384
#define UNLIMITED INT64_MAX

/* The whitespace-separated numbers of `dir`/`name`; "max", -1 and what is missing are UNLIMITED. */
static void read_numbers(const char *dir, const char *name, int count, int64_t *out) {
    char path[8192], word[32];
    for (int i = 0; i < count; i++) out[i] = UNLIMITED;
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) return;
    FILE *file = fopen(path, "re");
    if (file == NULL) return;
    for (int i = 0; i < count && fscanf(file, "%31s", word) == 1; i++)
        if (isdigit((unsigned char)word[0])) out[i] = strtoll(word, NULL, 10);
    fclose(file);
}

struct limits {
    int64_t cpus, memory;
};

static void tighten(int64_t *limit, int64_t value) {
    if (value > 0 && value < *limit) *limit = value;
}

/* Processors as a whole number: part of one is rounded up. */
static int64_t quota_in_cpus(int64_t quota, int64_t period) {
    if (quota == UNLIMITED || period == UNLIMITED || period <= 0) return UNLIMITED;
    return quota / period + (quota % period != 0);
}

/* Applies the limits found in `mount` + `group` and in every directory above it up to `mount`. */
static void apply_group(struct limits *limits, const char *mount, const char *group) {
    char dir[4096];
    if (snprintf(dir, sizeof dir, "%s%s", mount, group) >= (int)sizeof dir) return;
    size_t root = strlen(mount);
    for (;;) {
        int64_t v[2];
        read_numbers(dir, "cpu.max", 2, v);
        tighten(&limits->cpus, quota_in_cpus(v[0], v[1]));
        read_numbers(dir, "cpu.cfs_quota_us", 1, &v[0]);
        read_numbers(dir, "cpu.cfs_period_us", 1, &v[1]);
        tighten(&limits->cpus, quota_in_cpus(v[0], v[1]));
        read_numbers(dir, "memory.max", 1, v);
        tighten(&limits->memory, v[0]);
        read_numbers(dir, "memory.limit_in_bytes", 1, v);
        tighten(&limits->memory, v[0]);
        char *slash = strrchr(dir, '/');
        if (slash == NULL || (size_t)(slash - dir) < root) return;
        *slash = '\0';
    }
}

static struct limits cgroup_limits(void) {
    struct limits limits = {UNLIMITED, UNLIMITED};
    FILE *file = fopen(FB_CGROUP_SELF, "re");
    if (file == NULL) return limits;
    char line[4096], mount[8192];
    while (fgets(line, sizeof line, file) != NULL) {
        /* hierarchy-ID ":" controllers ":" path; version 2 has ID 0 and no controllers */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        if (controllers == NULL) continue;
        char *group = strchr(++controllers, ':');
        if (group == NULL) continue;
        *group++ = '\0';
        if (*controllers == '\0') {
            apply_group(&limits, FB_CGROUP_ROOT, group);
            apply_group(&limits, FB_CGROUP_ROOT "/unified", group);
        } else if (strstr(controllers, "cpu") != NULL || strstr(controllers, "memory") != NULL) {
            snprintf(mount, sizeof mount, "%s/%s", FB_CGROUP_ROOT, controllers);
            apply_group(&limits, mount, group);
        }
    }
    fclose(file);
    return limits;
}

int fb_system_cpus(void) {
    int64_t cpus = 1;
    cpu_set_t *set = CPU_ALLOC(MAX_CPUS);
    if (set != NULL) {
        if (sched_getaffinity(0, CPU_ALLOC_SIZE(MAX_CPUS), set) == 0) cpus = CPU_COUNT_S(CPU_ALLOC_SIZE(MAX_CPUS), set);
        CPU_FREE(set);
    }
    tighten(&cpus, cgroup_limits().cpus);
    return cpus < 1 ? 1 : (int)cpus;
}

/* A line of /proc/meminfo in bytes, or -1. */
static int64_t meminfo(const char *name) {
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL) return -1;
    char line[256];
    int64_t bytes = -1;
    size_t length = strlen(name);
    while (bytes < 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, length) == 0 && line[length] == ':')
            bytes = strtoll(line + length + 1, NULL, 10) * 1024;
    fclose(file);
    return bytes;
}

size_t fb_system_memory(void) {
    int64_t ram = meminfo("MemTotal"), swap = meminfo("SwapTotal");
    int64_t bytes = ram < 0 ? UNLIMITED : ram + (swap < 0 ? 0 : swap);
    tighten(&bytes, cgroup_limits().memory);
    return (size_t)bytes;
}

size_t fb_system_available(void) {
    int64_t bytes = meminfo("MemAvailable");
    return bytes < 0 ? SIZE_MAX : (size_t)bytes;
}
