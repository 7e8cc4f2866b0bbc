/* Arguments: numbers of threads. Products through fb_multiply with kernels in plain C, as an exported program would bring them, for a run under the
 * sanitizers: pairs that share a word, bytes with a starting row, complex numbers, long K, at several thread counts. The
 * sums are of integers, so that any order gives the same, and are compared with the plainest of loops. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"

enum { NR = 5 };
static int group, parts, starts; /* of the plan in use, for the kernels */

static int32_t element(const void *from, int64_t index) {
    if (group == 4) return ((const int8_t *)from)[index];
    if (group == 2) return ((const int16_t *)from)[index];
    return ((const int32_t *)from)[index];
}

static int32_t word_product(uint32_t a, uint32_t b) {
    uint32_t sum = 0;
    if (group == 1) return (int32_t)(a * b);
    for (int e = 0; e < group; e++) {
        int bits = 32 / group;
        int32_t x = (int32_t)(a << (32 - bits * (e + 1))) >> (32 - bits);
        int32_t y = (int32_t)(b << (32 - bits * (e + 1))) >> (32 - bits);
        sum += (uint32_t)(x * y);
    }
    return (int32_t)sum;
}

static void micro(const fb_tile *t) {
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; j < t->n; j++) {
            const char *a = (const char *)t->a + i * t->a_row * 4;
            const int32_t *b = (const int32_t *)t->b + j;
            int32_t *c = (int32_t *)t->c + i * t->c_row + j;
            uint32_t sum = starts ? (uint32_t)b[t->b_off[t->k]] : 0, word;
            for (int64_t k = 0; k < t->k; k++) {
                memcpy(&word, a + t->a_off[k] * 4, 4);
                sum += (uint32_t)word_product(word, (uint32_t)b[t->b_off[k]]);
            }
            *c = (int32_t)((t->accumulate ? (uint32_t)*c : 0) + sum);
        }
}

static void pack_rows(const fb_packing *p, int first) {
    int64_t steps = (p->n + group - 1) / group;
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t k = 0; k < steps; k++) {
            uint32_t word = 0, mask = group == 1 ? ~0u : (1u << 32 / group) - 1;
            for (int e = 0; e < group && k * group + e < p->n; e++) {
                int64_t row = p->off ? p->off[i] : i * p->from_i;
                int32_t x = element(p->from, row + (k * group + e) * p->from_k);
                word |= ((uint32_t)x & mask) << (32 / group * e);
            }
            ((uint32_t *)p->to)[k * p->to_k + i] = word;
        }
        if (first) ((int32_t *)p->to)[steps * p->to_k + i] = 7;
    }
}

static void pack_words(const fb_packing *p) { pack_rows(p, starts); }
static void pack_a(const fb_packing *p) { pack_rows(p, 0); }

static void pack_parts(const fb_packing *p) {
    for (int64_t i = 0; i < p->m / 2; i++)
        for (int64_t k = 0; k < p->n / 2; k++) {
            const int32_t *from = (const int32_t *)p->from + 2 * (i * p->from_i + k * p->from_k);
            int32_t *to = (int32_t *)p->to + 2 * k * p->to_k + 2 * i;
            to[0] = from[0], to[1] = from[1], to[p->to_k] = -from[1], to[p->to_k + 1] = from[0];
        }
}

static void finish(const int64_t *args, int64_t begin, int64_t end) {
    const int32_t *sums = (const int32_t *)args[0], *bias = (const int32_t *)args[2];
    int32_t *c = (int32_t *)args[1];
    for (int64_t i = begin; i < end; i++)
        for (int64_t j = 0; j < args[6]; j++)
            c[i * args[4] + j] = (int32_t)(args[8] * sums[i * args[3] + j] + args[9] * bias[i * args[5] + j]);
}

static uint64_t state = 88172645463325252u;
static int64_t draw(int64_t n) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (int64_t)(state % (uint64_t)n);
}

static int check(int64_t m, int64_t n, int64_t k, int turned, int with_bias) {
    int64_t size = group == 1 ? 4 * parts : 4 / group, count = m * n * parts;
    char *a = malloc((size_t)(m * k * size + 1)), *b = malloc((size_t)(k * n * size + 1));
    int32_t *c = malloc((size_t)count * 4), *bias = malloc((size_t)count * 4), wrong = 0;
    for (int64_t i = 0; i < m * k * size; i++) a[i] = (char)(i % (4 / group) ? 0 : draw(100));
    for (int64_t i = 0; i < k * n * size; i++) b[i] = (char)(i % (4 / group) ? 0 : draw(100));
    for (int64_t i = 0; i < count; i++) bias[i] = (int32_t)draw(1000);
    fb_pack_kernel of_b = parts == 2 ? pack_parts : pack_words;
    fb_multiplication how = {4, group, parts, starts, 0, group > 1 && starts ? pack_a : of_b,
                             {.operand_size = size, .sum_size = 4, .nr = parts == 2 ? 6 : NR, .lanes = parts == 2 ? 6 : NR,
                              .micro = micro, .pack = of_b, .pack_sums = pack_a, .finish = with_bias ? finish : NULL}};
    if (parts == 2) how.pack_a = pack_a;
    int64_t am = turned & 1 ? 1 : k, ak = turned & 1 ? m : 1, bk = turned & 2 ? 1 : n, bn = turned & 2 ? k : 1;
    fb_matmul_problem p = {.a = a, .b = b, .bias = with_bias ? bias : NULL, .c = c, .batch = {1, 1}, .m = m, .n = n, .k = k,
                           .a_m = am, .a_k = ak, .b_k = bk, .b_n = bn, .c_m = n, .c_n = 1, .bias_m = n,
                           .bias_n = 1, .scale = {3, 2}};
    if (fb_multiply(&how, &p)) return 1;
    int64_t blocks = ((k * parts + group - 1) / group + FB_KC - 1) / FB_KC;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            int64_t sum[2] = {starts ? 7 * (blocks ? blocks : 1) : 0, 0};
            for (int64_t l = 0; l < k; l++) {
                int64_t x = i * am + l * ak, y = l * bk + j * bn;
                if (parts == 1) {
                    sum[0] += (int64_t)element(a, x) * element(b, y);
                } else {
                    const int32_t *u = (const int32_t *)(void *)a + 2 * x, *v = (const int32_t *)(void *)b + 2 * y;
                    sum[0] += (int64_t)u[0] * v[0] - (int64_t)u[1] * v[1];
                    sum[1] += (int64_t)u[0] * v[1] + (int64_t)u[1] * v[0];
                }
            }
            for (int e = 0; e < parts; e++) {
                int64_t at = (i * n + j) * parts + e;
                wrong += c[at] != (with_bias ? 3 * sum[e] + 2 * bias[at] : sum[e]);
            }
        }
    free(a), free(b), free(c), free(bias);
    if (wrong) printf("group %d parts %d starts %d, %d x %d x %d, turned %d, bias %d: %d wrong\n", group, parts, starts,
                      (int)m, (int)n, (int)k, turned, with_bias, wrong);
    return wrong != 0;
}

int main(int argc, char **argv) {
    static const int kinds[][3] = {{1, 1, 0}, {2, 1, 0}, {4, 1, 1}, {1, 2, 0}};
    static const int64_t shapes[][3] = {{1, 1, 1}, {5, 7, 9}, {13, 33, 70}, {3, 5, 0}, {1, 40, 301}, {40, 1, 33},
                                        {760, 9, 260}, {10, 8, 5000}, {70, 64, 130}};
    int wrong = 0;
    for (int i = 1; i < argc; i++)
        for (int kind = 0; kind < 4; kind++)
            for (int shape = 0; shape < 9; shape++)
                for (int turned = 0; turned < 4; turned++) {
                    fb_set_num_threads(atoi(argv[i]));
                    group = kinds[kind][0], parts = kinds[kind][1], starts = kinds[kind][2];
                    wrong += check(shapes[shape][0], shapes[shape][1], shapes[shape][2], turned, (shape + turned) % 2);
                }
    puts(wrong ? "wrong" : "ok");
    return wrong != 0;
}
