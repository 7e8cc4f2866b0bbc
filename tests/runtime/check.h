/* The C tests' few tools: TEST registers a function under its name, CHECK ends the process with the line that failed.
 * tests/test_runtime.py compiles all of it with the runtime and runs one test per process: `runtime_tests NAME`. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime.h"

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition); \
            _exit(1);                                                                     \
        }                                                                                 \
    } while (0)

#define TEST(name)                                                                          \
    static void name(void);                                                                 \
    __attribute__((constructor)) static void add_##name(void) { add_test(#name, name); }    \
    static void name(void)

void add_test(const char *name, void (*body)(void));
void _exit(int status);

/* A small generator, so that each test does the same on every machine. */
static inline uint64_t next_random(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* What the system gives, under the tests' control: main.c stands between the runtime and these calls. */
extern _Atomic int64_t map_budget;     /* bytes that mmap still grants */
extern _Atomic size_t available;       /* what fb_system_available tells */
extern _Atomic int64_t thread_budget;  /* threads that pthread_create still grants */

#endif
