/* Calls of a library's routine for one matrix after another: what LAPACK lacks, a loop over a batch, as a kernel for
 * fb_parallel_for. Every parameter of such a routine is an address, as Fortran has it. Read runtime.h. */
#include <stdint.h>

#include "runtime.h"

typedef void (*routine)(char *, char *, char *, char *, char *, char *, char *, char *, char *, char *, char *, char *,
                        char *, char *, char *);

/* args: the routine, then FB_EACH_PARAMETERS times an address and the bytes it moves from one matrix to the next.
 * Routines with fewer parameters don't look at the last ones, which the caller of a C function takes away itself. */
void fb_call_each(const int64_t *args, int64_t begin, int64_t end) {
    routine f = (routine)(intptr_t)args[0];
    for (int64_t i = begin; i < end; i++) {
        char *p[FB_EACH_PARAMETERS];
        for (int j = 0; j < FB_EACH_PARAMETERS; j++) p[j] = (char *)(intptr_t)(args[1 + 2 * j] + i * args[2 + 2 * j]);
        f(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14]);
    }
}
