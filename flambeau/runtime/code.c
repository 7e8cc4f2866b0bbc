/* Executable memory: a flat, position-independent image becomes a callable copy. A page is writable or executable,
 * never both, so this also works where the system forbids the combination. Read runtime.h for the contract. */
#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

static size_t whole_pages(size_t nbytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (nbytes + page - 1) / page * page;
}

void *fb_code_load(const void *image, size_t nbytes) {
    if (image == NULL || nbytes == 0 || nbytes > (size_t)1 << 40) return NULL;
    size_t size = whole_pages(nbytes);
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    memcpy(p, image, nbytes);
    if (mprotect(p, size, PROT_READ | PROT_EXEC) != 0) {
        munmap(p, size);
        return NULL;
    }
    /* Nothing on x86; on ARM the instruction cache does not see stores by itself. */
    __builtin___clear_cache(p, p + nbytes);
    return p;
}

void fb_code_unload(void *p, size_t nbytes) {
    if (p != NULL) munmap(p, whole_pages(nbytes));
}
