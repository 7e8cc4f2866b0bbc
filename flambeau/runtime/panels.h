/* panels.h: products with a right operand that is packed once and used again, for attention.c and recurrent.c.
 *
 * A packed operand b[rows, columns] lies in panels of the plan's nr columns, each row by row. */
#ifndef FLAMBEAU_PANELS_H
#define FLAMBEAU_PANELS_H

#include "contract.h"
#include "tiling.h"

/* Bytes of a packed operand, a multiple of 64. */
static inline int64_t fb_panels_bytes(const fb_contraction *plan, int64_t rows, int64_t columns) {
    return fb_round_up(rows * fb_round_up(columns, plan->nr) * plan->sum_size, 64);
}

/* b[k, n] = from[k * from_k + n * from_n], of the sums' dtype, packed into `to`. */
static inline void fb_pack_panels(const fb_contraction *plan, const char *from, int64_t from_k, int64_t from_n,
                                  int64_t rows, int64_t columns, char *to) {
    for (int64_t col = 0; col < columns; col += plan->nr) {
        fb_packing t = {fb_at(from, col * from_n, plan->sum_size), fb_at(to, col * rows, plan->sum_size), NULL, from_n,
                        from_k, plan->nr, fb_min(plan->nr, columns - col), rows};
        plan->pack_sums(&t);
    }
}

/* c[i, n] (+)= sum over k of a[i * a_row + k * a_k] * b[k, n], with the first k of b's packed rows; c's rows are c_row
 * apart. */
static inline void fb_product(const fb_contraction *plan, const char *a, int64_t a_row, int64_t a_k, const char *b,
                              int64_t b_rows, char *c, int64_t c_row, int64_t m, int64_t n, int64_t k, int accumulate) {
    int64_t a_off[FB_KC], b_off[FB_KC], size = plan->sum_size;
    for (int64_t k0 = 0; k0 < k; k0 += FB_KC) {
        int64_t kc = fb_min(FB_KC, k - k0);
        for (int64_t i = 0; i < kc; i++) a_off[i] = i * a_k, b_off[i] = i * plan->nr;
        for (int64_t col = 0; col < n; col += plan->nr) {
            fb_tile t = {fb_at(a, k0 * a_k, size), fb_at(b, col * b_rows + k0 * plan->nr, size), fb_at(c, col, size),
                         a_off, b_off, a_row, c_row, m, fb_min(plan->nr, n - col), kc, accumulate || k0 > 0};
            plan->micro(&t);
        }
    }
}

#endif
