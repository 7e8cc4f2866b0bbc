/* Runs what test_neon.py wrote to the file argv[1] and prints all buffers as they are afterwards.
 *
 * The file is a sequence of jobs of 8-byte words; a block is its length in bytes and its bytes, filled up to a word.
 *   images, each a block; buffers, each a block; the job's kind; then
 *   kernel (0): slots, each a word and whether it is a buffer's number; begin, end
 *   driver (1-4): the plan's twelve words, in which the place of a kernel holds an image's number plus 1; whether sums
 *                 are floating; the problem's words, of which the first four are a buffer's number plus 1, or 0
 * Images stand at the start of a page, buffers end with one: whoever reads or writes beyond is stopped. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "contract.h"

enum { PAGE = 4096, MOST = 64 };
static const char *at;

static int64_t word(void) {
    int64_t x;
    memcpy(&x, at, 8);
    at += 8;
    return x;
}

/* A block with its last byte before a page that nobody may touch, or its first at the start of a page. */
static char *block(int64_t *length, int code) {
    *length = word();
    size_t room = (*length + PAGE - 1) / PAGE * PAGE;
    char *p = mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *start = code ? p : p + room - *length;
    if (p == MAP_FAILED) exit(3);
    memcpy(start, at, *length);
    at += (*length + 7) / 8 * 8;
    mprotect(p + room, PAGE, PROT_NONE);
    if (code) {
        mprotect(p, room, PROT_READ | PROT_EXEC);
        __builtin___clear_cache(p, p + room);
    }
    return start;
}

static int blocks(char **starts, int64_t *lengths, int code) {
    int n = (int)word();
    for (int k = 0; k < n; k++) starts[k] = block(&lengths[k], code);
    return n;
}

static int run(char **images, char **buffers) {
    int64_t kind = word(), words[MOST] = {0};
    if (kind == 0) {
        int64_t n = word();
        for (int64_t k = 0; k < n; k++) {
            words[k] = word();
            if (word()) words[k] = (int64_t)(intptr_t)buffers[words[k]];
        }
        int64_t begin = word();
        ((fb_kernel)(void *)images[0])(words, begin, word());
        return 0;
    }
    int64_t plan[12];
    for (int k = 0; k < 12; k++) {
        plan[k] = word();
        if (k >= 5 && plan[k]) plan[k] = (int64_t)(intptr_t)images[plan[k] - 1];
    }
    int64_t floating = word(), n = word();
    for (int64_t k = 0; k < n; k++) {
        words[k] = word();
        if (k < 4 && words[k]) words[k] = (int64_t)(intptr_t)buffers[words[k] - 1];
    }
    const fb_contraction *how = (const void *)plan;
    fb_multiplication product = {how->operand_size, 1, 1, 0, floating, how->pack, *how};
    switch (kind) {
    case 1: return fb_multiply(&product, (const void *)words);
    case 2: return fb_conv(how, (const void *)words);
    case 3: return fb_conv_data_gradient(how, (const void *)words);
    case 4: return fb_conv_weight_gradient(how, (const void *)words);
    }
    return 4;
}

int main(int argc, char **argv) {
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (!file || fseek(file, 0, SEEK_END)) return 1;
    long length = ftell(file);
    char *jobs = malloc(length);
    rewind(file);
    if (!jobs || fread(jobs, 1, length, file) != (size_t)length) return 2;
    for (at = jobs; at < jobs + length;) {
        char *images[MOST], *buffers[MOST];
        int64_t sizes[MOST], lengths[MOST];
        blocks(images, sizes, 1);
        int n = blocks(buffers, lengths, 0), failed = run(images, buffers);
        if (failed) return failed;
        for (int k = 0; k < n; k++) fwrite(buffers[k], 1, lengths[k], stdout);
    }
    return 0;
}
