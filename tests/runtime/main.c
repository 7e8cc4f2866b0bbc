/* Runs the test named on the command line. Also what the tests change about the system: the linker's --wrap puts the
 * functions here in the place of mmap, munmap, pthread_create and fb_system_available. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"

#define MAX_TESTS 100

static struct {
    const char *name;
    void (*body)(void);
} tests[MAX_TESTS];
static int test_count;

void add_test(const char *name, void (*body)(void)) {
    if (test_count == MAX_TESTS) abort();
    tests[test_count].name = name;
    tests[test_count++].body = body;
}

_Atomic int64_t map_budget = INT64_MAX / 2, thread_budget = INT64_MAX / 2;
_Atomic size_t available = SIZE_MAX;

size_t __wrap_fb_system_available(void) { return available; }

void *__real_mmap(void *at, size_t nbytes, int protection, int flags, int file, off_t offset);
int __real_munmap(void *p, size_t nbytes);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *attributes, void *(*body)(void *), void *argument);

void *__wrap_mmap(void *at, size_t nbytes, int protection, int flags, int file, off_t offset) {
    if (atomic_fetch_sub(&map_budget, (int64_t)nbytes) >= (int64_t)nbytes)
        return __real_mmap(at, nbytes, protection, flags, file, offset);
    atomic_fetch_add(&map_budget, (int64_t)nbytes);
    errno = ENOMEM;
    return MAP_FAILED;
}

int __wrap_munmap(void *p, size_t nbytes) {
    atomic_fetch_add(&map_budget, (int64_t)nbytes);
    return __real_munmap(p, nbytes);
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    if (atomic_fetch_sub(&thread_budget, 1) > 0) return __real_pthread_create(t, attributes, body, argument);
    atomic_fetch_add(&thread_budget, 1);
    return EAGAIN;
}

int main(int argc, char **argv) {
    for (int i = 0; argc == 2 && i < test_count; i++) {
        if (strcmp(tests[i].name, argv[1]) != 0) continue;
        tests[i].body();
        fb_set_num_threads(1); /* the thread sanitizer wants every thread joined */
        return 0;
    }
    fprintf(stderr, "usage: %s NAME\n", argv[0]);
    return 2;
}
