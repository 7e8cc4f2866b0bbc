/* Batched matrix products: blocking, packing and threads around a plan's micro-kernel.
 *
 * Everything is counted in words, which are as wide as a sum: a word of a and one of b have one operand each, or a group
 * of them along k; and an element of complex numbers has two words, whose product with two words of b gives two sums.
 * c is cut into units of few rows, and a thread takes many of them at a time at first, then fewer, so that all end
 * together. It walks K block by block; within a block it goes through its columns in panels of nr, and the micro-kernel
 * runs down all its rows. Operands are read where they lie as long as that is fast, and copied to scratch, in the order
 * they are used in, where it isn't: vectors run along n, so b must have stride 1 there, and rows whose addresses share
 * cache sets evict each other. Panels that several units use are packed beforehand. Few sums over a long k are cut along
 * k instead, and the blocks' sums added in order. Every choice here is about time only; contract.h says what fixes the
 * bits. Read next: convolve.c. */
#include "contract.h"

#include <stdatomic.h>
#include <string.h>

#include "tiling.h"

enum {
    CHUNK_ROWS = 240,       /* most rows at a time: with FB_KC columns of a they stay in the second-level cache */
    CHUNK_STEP = 24,        /* they are a multiple of this, for whatever height of tile */
    UNIT_ROWS = 12,         /* rows of a unit are a multiple of this */
    UNITS = 48,             /* so many units, for threads to end together */
    SHARED_BYTES = 64 << 20, /* the largest b to be packed at once */
    SETS_BYTES = 2048,      /* rows at multiples of this share few sets of the first-level cache */
    ROW_TASKS = 4,          /* of one row: long stretches of b for each */
    ROW_BYTES = 8192,       /* of sums, then */
    PART_BYTES = 8 << 20,   /* the most sums of blocks of K to be kept until they are added */
    ADDITIONS = 32768       /* of those, as many to a chunk */
};

typedef struct {
    const fb_contraction *plan;
    const fb_multiplication *how;
    fb_matmul_problem p;
    int64_t words; /* k in words */
    int64_t nr;    /* columns of a panel */
    int64_t m_unit, m_units, m_chunk; /* rows of a unit, units along m, and most rows at a time */
    int64_t n_chunk, n_chunks;
    int64_t b_pitch, sums_pitch; /* 0: b is read in place, sums are kept in c */
    int64_t a_pitch;             /* of a copied */
    int64_t splits;              /* blocks of K that are tasks of their own; 1: none is */
    char *part;                  /* their sums, [block, batch, m, n] */
    int copy_a, across, by_row; /* a is copied; so that rows lie across, to[k * a_pitch + i] */
    char *packed;          /* all of b, [batch, block of K, panel, k, b_pitch], if that is needed more than once */
    int64_t panels, packs; /* panels in a row of b, and how many there are in all */
    char *copied;          /* all of a, likewise, [batch, block of K, m or, across, k, a_pitch] */
    int64_t strips, copies; /* of CHUNK_STEP rows */
    double work;           /* multiply-adds */
    size_t a_bytes, b_bytes, scratch_bytes;
    atomic_int failed;
} job;

/* Columns of c become those along which it is contiguous; of a vector, the longer side, if its bias can follow. */
static void orient(fb_matmul_problem *p) {
    int rows_fit = p->m == 1 || p->c_m == 1, columns_fit = p->n == 1 || p->c_n == 1;
    if (!rows_fit || (columns_fit && (p->n >= p->m || (p->bias && p->bias_m != 1)))) return;
    fb_matmul_problem q = *p;
    p->a = q.b, p->a_m = q.b_n, p->a_k = q.b_k;
    p->b = q.a, p->b_n = q.a_m, p->b_k = q.a_k;
    for (int d = 0; d < 2; d++) p->a_batch[d] = q.b_batch[d], p->b_batch[d] = q.a_batch[d];
    p->m = q.n, p->c_m = q.c_n, p->bias_m = q.bias_n;
    p->n = q.m, p->c_n = q.c_m, p->bias_n = q.bias_m;
}

/* Complex numbers as pairs of real ones. Only b keeps its strides, which the pack kernel knows how to read. */
static void split_pairs(fb_matmul_problem *p) {
    p->k *= 2, p->n *= 2, p->a_m *= 2, p->a_k *= 2, p->c_m *= 2, p->bias_m *= 2;
    for (int d = 0; d < 2; d++) p->a_batch[d] *= 2, p->c_batch[d] *= 2, p->bias_batch[d] *= 2;
}

/* Whether b must be packed: it lies across, its rows end where readable memory may, or evict each other. */
static int must_pack(const job *j, int64_t rows) {
    const fb_contraction *plan = j->plan;
    const fb_matmul_problem *p = &j->p;
    int64_t size = plan->sum_size, spills = plan->overread && p->n % plan->nr;
    return plan->operand_size != size || (p->b_n != 1 && p->n > 1) || spills ||
           (rows > 28 && p->b_k > plan->nr && p->n * fb_min(j->words, FB_KC) * size > FB_L1_BYTES);
}

/* Whether a can't be read where it lies: its words aren't whole ones, or not what the micro-kernel multiplies. */
static int must_copy(const job *j) {
    const fb_multiplication *how = j->how;
    const fb_matmul_problem *p = &j->p;
    if (how->group == 1) return how->parts == 1 && j->plan->operand_size != j->plan->sum_size;
    return how->pack_a != j->plan->pack || p->a_k != 1 || p->k % how->group || (p->m > 1 && p->a_m % how->group);
}

/* How c is cut and which operands are copied. */
static void schedule(job *j, int64_t batches) {
    const fb_contraction *plan = j->plan;
    const fb_multiplication *how = j->how;
    const fb_matmul_problem *p = &j->p;
    int64_t kc = fb_min(j->words, FB_KC), size = plan->sum_size, blocks = fb_div_up(j->words, FB_KC);
    int own_sums = how->result_size != size;

    j->by_row = plan->dots && how->group == 1 && how->parts == 1 && plan->operand_size == size && p->m == 1 &&
                p->n > 1 && p->k > 1 && (p->b_k == 1 || p->b_n == 1);
    /* Three vectors are two panels rather than part of a panel of four. */
    j->nr = plan->nr == 4 * plan->lanes && !plan->overread && p->n <= 3 * plan->lanes ? 2 * plan->lanes : plan->nr;
    if (!j->by_row && must_pack(j, p->m)) j->b_pitch = p->n <= plan->lanes ? plan->lanes : j->nr;
    j->panels = fb_div_up(p->n, j->nr);
    int64_t copies = (p->b_batch[0] ? p->batch[0] : 1) * (p->b_batch[1] ? p->batch[1] : 1);
    j->packs = copies * blocks * j->panels;
    /* Few rows are not cut if there are panels enough: each is packed by its task and never leaves the cache. */
    int whole = p->m <= 2 * CHUNK_ROWS && batches * j->panels >= UNITS / 6;
    int shared = j->b_pitch && !whole && j->packs <= SHARED_BYTES / (FB_KC * j->nr * size);

    /* Sums that wait in scratch for their rounding stay in the second-level cache, all columns of a row if they fit. */
    int64_t wanted = j->work < FB_SERIAL_WORK ? 1 : j->by_row ? ROW_TASKS : UNITS;
    int64_t most = fb_max(4 * CHUNK_STEP, FB_L2_BYTES / (p->n * size) / CHUNK_STEP * CHUNK_STEP);
    j->m_chunk = own_sums ? fb_min(CHUNK_ROWS, most) : CHUNK_ROWS;
    int64_t least = whole ? p->m : j->b_pitch && !shared ? CHUNK_ROWS : UNIT_ROWS;
    j->m_units = fb_min(fb_div_up(wanted, batches), fb_div_up(p->m, least));
    j->m_unit = fb_round_up(fb_div_up(p->m, j->m_units), UNIT_ROWS);
    j->m_units = fb_div_up(p->m, j->m_unit);
    wanted = fb_max(1, wanted / (batches * j->m_units));
    if (own_sums) wanted = fb_max(wanted, fb_div_up(fb_min(p->m, j->m_chunk) * p->n * size, FB_L2_BYTES));
    int64_t per_chunk = fb_div_up(j->panels, fb_min(j->panels, wanted));
    j->n_chunk = per_chunk * j->nr;
    j->n_chunks = fb_div_up(j->panels, per_chunk);
    if (!shared || j->m_units == 1) j->packs = 0;

    int few = !j->by_row && blocks > 1 && batches * j->m_units * j->n_chunks < FB_TASKS / 2;
    int kept = (double)blocks * (double)(batches * p->m * p->n) * (double)size <= PART_BYTES;
    j->splits = few && kept && j->work >= FB_SERIAL_WORK && fb_num_threads() > 1 ? blocks : 1;

    /* Rows of a stay in the first-level cache while a tile uses them, wherever they lie, but if they lie across at
     * steps that hit the same sets. */
    int64_t rows = fb_min(p->m, j->m_chunk);
    int evicted = how->parts == 1 && p->a_m == 1 && p->a_k * size % SETS_BYTES == 0 && p->n > 2 * plan->lanes;
    j->copy_a = must_copy(j) || (evicted && rows * kc * size > FB_L1_BYTES);
    j->across = j->copy_a && (how->group > 1 || p->a_m == 1);
    j->strips = fb_div_up(p->m, CHUNK_STEP);
    j->copies = j->copy_a && j->n_chunks > 1 && !j->by_row
                    ? (p->a_batch[0] ? p->batch[0] : 1) * (p->a_batch[1] ? p->batch[1] : 1) * blocks * j->strips
                    : 0;
    if (j->copies * CHUNK_STEP > SHARED_BYTES / ((FB_KC + 16) * size)) j->copies = 0;
    /* An odd number of cache lines: rows then don't share sets. */
    j->a_pitch = j->across ? fb_round_up(j->copies ? p->m : rows, 32) + 16 : kc + 16;
    j->sums_pitch = own_sums && j->splits == 1 ? j->n_chunk : 0;
    j->a_bytes = j->copy_a && !j->copies ? (size_t)fb_round_up((j->across ? kc : rows) * j->a_pitch * size, 64) : 0;
    j->b_bytes = j->packs ? 0 : (size_t)fb_round_up((kc + how->starts) * j->b_pitch * size, 64);
    j->scratch_bytes = j->a_bytes + j->b_bytes + (size_t)(rows * j->sums_pitch * size);
}

/* Bytes of a packed panel of b. */
static int64_t panel_bytes(const job *j) { return (FB_KC + j->how->starts) * j->nr * j->plan->sum_size; }

/* Where a panel of b is packed. */
static char *packed_at(const job *j, int64_t b0, int64_t b1, int64_t block, int64_t panel) {
    const fb_matmul_problem *p = &j->p;
    int64_t copy = (p->b_batch[0] ? b0 : 0) * (p->b_batch[1] ? p->batch[1] : 1) + (p->b_batch[1] ? b1 : 0);
    return fb_at(j->packed, (copy * fb_div_up(j->words, FB_KC) + block) * j->panels + panel, panel_bytes(j));
}

/* Where column `col` of b's word k0 lies. */
static char *b_at(const job *j, const char *b, int64_t k0, int64_t col) {
    int64_t parts = j->how->parts, k = k0 * j->how->group / parts;
    return fb_at(b, k * j->p.b_k + col / parts * j->p.b_n, j->plan->operand_size);
}

static void pack_panel(const job *j, const char *b, int64_t k0, int64_t col, int64_t n, char *to) {
    const fb_matmul_problem *p = &j->p;
    int64_t group = j->how->group;
    fb_packing t = {b_at(j, b, k0, col), to, NULL, p->b_n, p->b_k, j->b_pitch, n,
                    fb_min(FB_KC * group, p->k - k0 * group)};
    j->plan->pack(&t);
}

/* Asks for one of `parts` equal parts of what will be packed next. */
static void fetch(const job *j, const char *b, int64_t k0, int64_t col, int64_t part, int64_t parts) {
    const fb_matmul_problem *p = &j->p;
    int64_t size = j->plan->operand_size, group = j->how->group, n = fb_min(j->nr, p->n - col);
    int64_t k = fb_min(FB_KC * group, p->k - k0 * group), across = p->b_k == 1;
    int64_t rows = across ? n : k, length = (across ? k : n) * size, row = (across ? p->b_n : p->b_k) * size;
    const char *from = b_at(j, b, k0, col);
    for (int64_t r = rows * part / parts; r < rows * (part + 1) / parts; r++)
        for (int64_t x = 0; x < length; x += 64) __builtin_prefetch(from + r * row + x, 0, 2);
}

/* Bytes of a block of a copied beforehand. */
static int64_t copy_bytes(const job *j) {
    return (j->across ? FB_KC : j->p.m) * j->a_pitch * j->plan->sum_size;
}

/* Where a's word k0 of row i is copied beforehand. */
static char *copied_at(const job *j, int64_t b0, int64_t b1, int64_t k0, int64_t i) {
    const fb_matmul_problem *p = &j->p;
    int64_t copy = (p->a_batch[0] ? b0 : 0) * (p->a_batch[1] ? p->batch[1] : 1) + (p->a_batch[1] ? b1 : 0);
    char *block = fb_at(j->copied, copy * fb_div_up(j->words, FB_KC) + k0 / FB_KC, copy_bytes(j));
    return fb_at(block, j->across ? i : i * j->a_pitch, j->plan->sum_size);
}

/* Copies rows of a, from word k0 on. */
static void copy_rows(const job *j, const char *a, int64_t k0, int64_t rows, char *to) {
    const fb_matmul_problem *p = &j->p;
    int64_t group = j->how->group, size = j->plan->operand_size;
    const char *from = fb_at(a, k0 * group * p->a_k, size);
    if (j->across) {
        fb_packing t = {from, to, NULL, p->a_m, p->a_k, j->a_pitch, rows, fb_min(FB_KC * group, p->k - k0 * group)};
        j->how->pack_a(&t);
    } else {
        fb_packing t = {from, to, NULL, p->a_k, p->a_m, j->a_pitch, fb_min(FB_KC, j->words - k0), rows};
        j->how->pack_a(&t);
    }
}

/* Panels and strips [begin, end) of all of b and a. */
static void pack_all(const int64_t *args, int64_t begin, int64_t end) {
    const job *j = (const job *)(intptr_t)args[0];
    const fb_matmul_problem *p = &j->p;
    int64_t nr = j->nr, blocks = fb_div_up(j->words, FB_KC), size = j->plan->operand_size;
    for (int64_t i = begin; i < end; i++) {
        int is_b = i < j->packs;
        int64_t at = is_b ? i : i - j->packs, parts = is_b ? j->panels : j->strips, part = at % parts;
        const int64_t *step = is_b ? p->b_batch : p->a_batch;
        int64_t block = at / parts % blocks, copy = at / parts / blocks, inner = step[1] ? p->batch[1] : 1;
        int64_t b0 = copy / inner, b1 = copy % inner, start = b0 * step[0] + b1 * step[1], k0 = block * FB_KC;
        if (is_b) {
            int64_t n = fb_min(nr, p->n - part * nr);
            pack_panel(j, fb_at(p->b, start, size), k0, part * nr, n, packed_at(j, b0, b1, block, part));
        } else {
            int64_t row = part * CHUNK_STEP;
            copy_rows(j, fb_at(p->a, start + row * p->a_m, size), k0, fb_min(CHUNK_STEP, p->m - row),
                      copied_at(j, b0, b1, k0, row));
        }
    }
}

/* One row times columns [j0, j1): as many at a time as are read together or, where rows of b run along c, have room
 * for their sums in the first-level cache. */
static void one_row(const job *j, const char *a, const char *b, char *c, const char *bias, int64_t j0, int64_t j1) {
    const fb_contraction *plan = j->plan;
    const fb_matmul_problem *p = &j->p;
    int64_t size = plan->sum_size, a_off[FB_KC], across = p->b_k == 1 && p->b_n != 1, row = across ? p->b_n : p->b_k;
    _Alignas(64) char room[ROW_BYTES];
    for (int64_t k = 0; k < fb_min(FB_KC, p->k); k++) a_off[k] = k * p->a_k;
    for (int64_t col = j0, n; col < j1; col += n) {
        n = fb_min(across ? plan->lanes : ROW_BYTES / size, j1 - col);
        for (int64_t k0 = 0; k0 < p->k; k0 += FB_KC) {
            fb_tile t = {fb_at(a, k0 * p->a_k, size), fb_at(b, k0 * p->b_k + col * p->b_n, size), fb_at(c, col, size),
                         a_off, across ? NULL : (const int64_t *)(const void *)room, row, 0, 1, n,
                         fb_min(FB_KC, p->k - k0), k0 > 0};
            plan->dots(&t);
        }
    }
    char *out = fb_at(c, j0, size);
    int64_t args[] = {fb_slot(out), fb_slot(out), fb_slot(fb_at(bias, j0 * p->bias_n, size)), 0, 0, p->bias_m,
                      j1 - j0, 1, p->scale[0], p->scale[1]};
    if (plan->finish) plan->finish(args, 0, 1);
}

/* Rows [i0, i0 + rows) of a chunk of columns, over one block of K or all. */
static void chunk(const job *j, int64_t task, int64_t i0, int64_t rows, char *scratch) {
    const fb_contraction *plan = j->plan;
    const fb_multiplication *how = j->how;
    const fb_matmul_problem *p = &j->p;
    int64_t size = plan->sum_size, in = how->parts == 1 ? plan->operand_size : size, to = how->result_size;
    int64_t split = task % j->splits, nc = task / j->splits % j->n_chunks, b = task / j->splits / j->n_chunks;
    int64_t b0 = b / p->batch[1], b1 = b % p->batch[1];
    int64_t j0 = nc * j->n_chunk, j1 = fb_min(j0 + j->n_chunk, p->n);
    char *a = fb_at(p->a, b0 * p->a_batch[0] + b1 * p->a_batch[1] + i0 * p->a_m, in);
    char *bs = fb_at(p->b, b0 * p->b_batch[0] + b1 * p->b_batch[1], plan->operand_size);
    char *c = fb_at(p->c, b0 * p->c_batch[0] + b1 * p->c_batch[1] + i0 * p->c_m, to);
    char *bias = fb_at(p->bias, b0 * p->bias_batch[0] + b1 * p->bias_batch[1] + i0 * p->bias_m, to);
    char *panel = scratch + j->a_bytes, *sums = panel + j->b_bytes;
    int64_t a_off[FB_KC], b_off[FB_KC + 1];
    int64_t first = j->splits > 1 ? split * FB_KC : 0, k0 = first;
    int64_t last = j->splits > 1 ? fb_min(first + FB_KC, j->words) : j->words;

    if (j->by_row) {
        one_row(j, a, bs, c, bias, j0, j1);
        return;
    }
    do {
        int64_t kc = fb_min(FB_KC, last - k0), a_row = p->a_m / how->group, a_step = p->a_k;
        int64_t b_step = j->b_pitch ? j->b_pitch : p->b_k;
        const char *a_block = fb_at(a, k0 * how->group / how->parts * p->a_k, in);
        if (j->copy_a) {
            if (!j->copies) copy_rows(j, a, k0, rows, scratch);
            a_block = j->copies ? copied_at(j, b0, b1, k0, i0) : scratch;
            a_row = j->across ? 1 : j->a_pitch, a_step = j->across ? j->a_pitch : 1;
        }
        if (how->parts == 1)
            for (int64_t k = 0; k < kc; k++) a_off[k] = k * a_step;
        else
            for (int64_t k = 0; k < kc; k++) a_off[k] = k / 2 * a_step + k % 2;
        for (int64_t k = 0; k < kc + how->starts; k++) b_off[k] = k * b_step;
        for (int64_t col = j0; col < j1; col += j->nr) {
            int64_t n = fb_min(j->nr, j1 - col);
            const char *b_block;
            if (j->packed) {
                b_block = packed_at(j, b0, b1, k0 / FB_KC, col / j->nr);
            } else if (j->b_pitch) {
                pack_panel(j, bs, k0, col, n, panel);
                b_block = panel;
            } else {
                b_block = b_at(j, bs, k0, col);
            }
            int64_t c_row = j->sums_pitch ? j->sums_pitch : p->c_m;
            char *out = j->sums_pitch ? fb_at(sums, col - j0, size) : fb_at(c, col, size);
            if (j->part) {
                c_row = p->n;
                out = fb_at(j->part, ((split * p->batch[0] * p->batch[1] + b) * p->m + i0) * p->n + col, size);
            }
            /* A panel packed here is next read from memory: it is on its way while this one is multiplied. */
            int64_t next_col = col + j->nr < j1 ? col + j->nr : j0, next_k = next_col > col ? k0 : k0 + kc;
            int ahead = j->b_pitch && !j->packed && how->parts == 1 && next_k < last;
            int64_t step = ahead ? CHUNK_STEP : rows;
            for (int64_t i = 0; i < rows; i += step) {
                fb_tile t = {fb_at(a_block, i * a_row, size), b_block, fb_at(out, i * c_row, size), a_off, b_off, a_row,
                             c_row, fb_min(step, rows - i), n, kc, k0 > first};
                plan->micro(&t);
                if (ahead) fetch(j, bs, next_k, next_col, i / step, fb_div_up(rows, step));
            }
            if (plan->finish && !j->part && k0 + kc == last) {
                int64_t args[] = {fb_slot(out), fb_slot(fb_at(c, col, to)), fb_slot(fb_at(bias, col * p->bias_n, to)),
                                  c_row, p->c_m, p->bias_m, n, rows, p->scale[0], p->scale[1]};
                plan->finish(args, 0, rows);
            }
        }
        k0 += kc;
    } while (k0 < last);
}

#define ADD(type)                                                                                 \
    for (int64_t r = 1; r < j->splits; r++)                                                       \
        for (int64_t e = 0; e < p->n; e++) ((type *)sums)[e] += ((const type *)sums)[r * stride + e];

/* Rows [begin, end) of the whole batch: adds the sums of the blocks of K to those of the first, in order. */
static void add_parts(const int64_t *args, int64_t begin, int64_t end) {
    const job *j = (const job *)(intptr_t)args[0];
    const fb_matmul_problem *p = &j->p;
    int64_t size = j->plan->sum_size, to = j->how->result_size, stride = p->batch[0] * p->batch[1] * p->m * p->n;
    for (int64_t row = begin; row < end; row++) {
        char *sums = fb_at(j->part, row * p->n, size);
        int64_t b = row / p->m, i = row % p->m, b0 = b / p->batch[1], b1 = b % p->batch[1];
        char *c = fb_at(p->c, b0 * p->c_batch[0] + b1 * p->c_batch[1] + i * p->c_m, to);
        char *bias = fb_at(p->bias, b0 * p->bias_batch[0] + b1 * p->bias_batch[1] + i * p->bias_m, to);
        if (j->how->floating && size == 4) {
            ADD(float)
        } else if (j->how->floating) {
            ADD(double)
        } else if (size == 4) {
            ADD(uint32_t)
        } else {
            ADD(uint64_t)
        }
        int64_t slots[] = {fb_slot(sums), fb_slot(c), fb_slot(bias), 0, 0, 0, p->n, 1, p->scale[0], p->scale[1]};
        if (j->plan->finish)
            j->plan->finish(slots, 0, 1);
        else
            memcpy(c, sums, (size_t)(p->n * size));
    }
}

static void chunks(const int64_t *args, int64_t begin, int64_t end) {
    job *j = (job *)(intptr_t)args[0];
    _Alignas(64) char small[FB_STACK_BYTES];
    char *scratch = j->scratch_bytes <= FB_STACK_BYTES ? small : fb_alloc(j->scratch_bytes);
    if (!scratch) {
        atomic_store(&j->failed, 1);
        return;
    }
    for (int64_t unit = begin, n; unit < end; unit += n) {
        int64_t first = unit % j->m_units;
        n = fb_min(end - unit, j->m_units - first);
        int64_t i0 = first * j->m_unit, i1 = fb_min(i0 + n * j->m_unit, j->p.m);
        int64_t step = fb_round_up(fb_div_up(i1 - i0, fb_div_up(i1 - i0, j->m_chunk)), CHUNK_STEP);
        for (; i0 < i1; i0 += step) chunk(j, unit / j->m_units, i0, fb_min(step, i1 - i0), scratch);
    }
    if (scratch != small) fb_free(scratch, j->scratch_bytes);
}

int fb_multiply(const fb_multiplication *how, const fb_matmul_problem *problem) {
    const fb_contraction *plan = &how->plan;
    job j = {.plan = plan, .how = how, .p = *problem};
    int64_t batches = j.p.batch[0] * j.p.batch[1];
    if (!batches || !j.p.m || !j.p.n) return 0;
    /* Which factor's parts come first decides the order of a complex sum. */
    if (how->parts == 1)
        orient(&j.p);
    else
        split_pairs(&j.p);
    j.words = fb_div_up(j.p.k, how->group);
    j.work = (double)batches * (double)j.p.m * (double)j.p.n * (double)j.words;
    schedule(&j, batches);
    int64_t args[] = {fb_slot(&j)}, tasks = batches * j.m_units * j.n_chunks * j.splits;
    size_t packed_bytes = (size_t)(j.packs * panel_bytes(&j));
    size_t part_bytes = j.splits > 1 ? (size_t)(j.splits * batches * j.p.m * j.p.n * plan->sum_size) : 0;
    if (part_bytes && !(j.part = fb_alloc(part_bytes))) return -1;
    size_t copied_bytes = (size_t)(j.copies / j.strips * copy_bytes(&j));
    if ((packed_bytes && !(j.packed = fb_alloc(packed_bytes))) ||
        (copied_bytes && !(j.copied = fb_alloc(copied_bytes)))) {
        fb_free(j.packed, packed_bytes);
        fb_free(j.part, part_bytes);
        return -1;
    }
    if (j.packs + j.copies) fb_parallel_for(pack_all, args, j.packs + j.copies, 1);
    if (j.work < FB_SERIAL_WORK)
        chunks(args, 0, tasks);
    else
        fb_parallel_for(chunks, args, tasks, fb_grain(j.work, tasks));
    if (j.part && !atomic_load(&j.failed))
        fb_parallel_for(add_parts, args, batches * j.p.m, fb_div_up(ADDITIONS, j.splits * j.p.n));
    fb_free(j.copied, copied_bytes);
    fb_free(j.packed, packed_bytes);
    fb_free(j.part, part_bytes);
    return atomic_load(&j.failed) ? -1 : 0;
}

int fb_matmul(const fb_contraction *plan, const fb_matmul_problem *problem) {
    fb_multiplication how = {plan->operand_size, 1, 1, 0, 1, plan->pack, *plan};
    return fb_multiply(&how, problem);
}
