/* Batched matrix products: blocking, packing and threads around a plan's micro-kernel.
 *
 * c is cut into chunks, one task each. A task walks K block by block; within a block it goes through its columns in
 * panels of nr, and the micro-kernel runs down all its rows. Operands are read where they lie as long as that is fast,
 * and copied to scratch, in the order they are used in, where it isn't: vectors run along n, so b must have stride 1
 * there, and rows whose addresses share cache sets evict each other. Panels that several chunks use are packed
 * beforehand. Every choice here is about time only; contract.h says what fixes the bits. Read next: convolve.c. */
#include "contract.h"

#include <stdatomic.h>

#include "tiling.h"

enum {
    CHUNK_ROWS = 252,       /* rows of a chunk: with FB_KC columns of a they stay in the second-level cache */
    SHARED_ROWS = 128,      /* the fewest, where b is packed once for all chunks */
    SHARED_TASKS = 8,       /* enough tasks then, for threads to end together */
    SHARED_BYTES = 64 << 20, /* the largest b to be packed at once */
    ROW_TASKS = 4,          /* of one row: long stretches of b for each */
    ROW_BYTES = 8192,       /* of sums, then */
    PANELS = 8              /* as many to a chunk of that */
};

typedef struct {
    const fb_contraction *plan;
    fb_matmul_problem p;
    int64_t m_chunk, n_chunk, m_chunks, n_chunks;
    int64_t b_pitch, sums_pitch; /* 0: b is read in place, sums are kept in c */
    int copy_a, by_row;
    char *packed;          /* all of b, [batch, block of K, panel, k, b_pitch], if that is needed more than once */
    int64_t panels, packs; /* panels in a row of b, and how many there are in all */
    double work;           /* multiply-adds */
    size_t a_bytes, b_bytes, scratch_bytes;
    atomic_int failed;
} job;

/* Columns of c become those along which it is contiguous; of a vector without bias, the longer side. */
static void orient(fb_matmul_problem *p) {
    int rows_fit = p->m == 1 || p->c_m == 1, columns_fit = p->n == 1 || p->c_n == 1;
    if (!rows_fit || (columns_fit && (p->n >= p->m || p->bias))) return;
    fb_matmul_problem q = *p;
    p->a = q.b, p->a_m = q.b_n, p->a_k = q.b_k;
    p->b = q.a, p->b_n = q.a_m, p->b_k = q.a_k;
    for (int d = 0; d < 2; d++) p->a_batch[d] = q.b_batch[d], p->b_batch[d] = q.a_batch[d];
    p->m = q.n, p->c_m = q.c_n, p->bias_m = q.bias_n;
    p->n = q.m, p->c_n = q.c_m, p->bias_n = q.bias_m;
}

/* Whether b must be packed: it lies across, its rows end where readable memory may, or evict each other. */
static int must_pack(const job *j, int64_t rows) {
    const fb_contraction *plan = j->plan;
    const fb_matmul_problem *p = &j->p;
    int64_t size = plan->sum_size, spills = plan->overread && p->n % plan->nr;
    return plan->operand_size != size || (p->b_n != 1 && p->n > 1) || spills ||
           (rows > 28 && p->n * fb_min(p->k, FB_KC) * size > FB_L1_BYTES);
}

/* How c is cut and which operands are copied. */
static void schedule(job *j, int64_t batches) {
    const fb_contraction *plan = j->plan;
    const fb_matmul_problem *p = &j->p;
    int64_t kc = fb_min(p->k, FB_KC), size = plan->sum_size;
    int convert = plan->operand_size != size;

    j->by_row = plan->dots && !convert && p->m == 1 && p->n > 1 && p->k > 1 && (p->b_k == 1 || p->b_n == 1);
    if (!j->by_row && must_pack(j, p->m)) j->b_pitch = p->n <= plan->lanes ? plan->lanes : plan->nr;
    j->panels = fb_div_up(p->n, plan->nr);
    int64_t copies = (p->b_batch[0] ? p->batch[0] : 1) * (p->b_batch[1] ? p->batch[1] : 1);
    j->packs = copies * fb_div_up(p->k, FB_KC) * j->panels;
    int shared = j->b_pitch && p->m > 3 * CHUNK_ROWS && j->packs <= SHARED_BYTES / (FB_KC * plan->nr * size);
    if (!shared) j->packs = 0;

    int64_t rows = fb_div_up(batches * p->m, FB_TASKS);
    j->m_chunk = shared ? fb_min(fb_max(rows, SHARED_ROWS), CHUNK_ROWS) : CHUNK_ROWS;
    j->m_chunks = fb_div_up(p->m, j->m_chunk);
    j->m_chunk = fb_round_up(fb_div_up(p->m, j->m_chunks), shared ? 8 : 2);
    j->m_chunks = fb_div_up(p->m, j->m_chunk);
    int64_t tasks = j->by_row ? ROW_TASKS : shared ? SHARED_TASKS : FB_TASKS;
    int64_t wanted = j->work < FB_SERIAL_WORK ? 1 : fb_div_up(tasks, batches * j->m_chunks);
    int64_t per_chunk = fb_div_up(j->panels, fb_min(j->panels, wanted));
    j->n_chunk = per_chunk * plan->nr;
    j->n_chunks = fb_div_up(j->panels, per_chunk);

    rows = fb_min(p->m, j->m_chunk);
    j->copy_a = convert || (per_chunk > 2 && rows * kc * size > FB_L1_BYTES);
    j->sums_pitch = convert ? j->n_chunk : 0;
    j->a_bytes = j->copy_a ? (size_t)fb_round_up(rows * (kc + 16) * size, 64) : 0;
    j->b_bytes = shared ? 0 : (size_t)fb_round_up(kc * j->b_pitch * size, 64);
    j->scratch_bytes = j->a_bytes + j->b_bytes + (size_t)(rows * j->sums_pitch * size);
}

/* Where a panel of b is packed. */
static char *packed_at(const job *j, int64_t b0, int64_t b1, int64_t block, int64_t panel) {
    const fb_matmul_problem *p = &j->p;
    int64_t copy = (p->b_batch[0] ? b0 : 0) * (p->b_batch[1] ? p->batch[1] : 1) + (p->b_batch[1] ? b1 : 0);
    return fb_at(j->packed, (copy * fb_div_up(p->k, FB_KC) + block) * j->panels + panel,
                 FB_KC * j->plan->nr * j->plan->sum_size);
}

static void pack_panel(const job *j, const char *b, int64_t k0, int64_t col, int64_t n, char *to) {
    const fb_matmul_problem *p = &j->p;
    fb_packing t = {fb_at(b, k0 * p->b_k + col * p->b_n, j->plan->operand_size), to, NULL, p->b_n, p->b_k, j->b_pitch,
                    n, fb_min(FB_KC, p->k - k0)};
    j->plan->pack(&t);
}

/* Panels [begin, end) of all of b. */
static void pack_all(const int64_t *args, int64_t begin, int64_t end) {
    const job *j = (const job *)(intptr_t)args[0];
    const fb_matmul_problem *p = &j->p;
    int64_t nr = j->plan->nr, blocks = fb_div_up(p->k, FB_KC), inner = p->b_batch[1] ? p->batch[1] : 1;
    for (int64_t i = begin; i < end; i++) {
        int64_t panel = i % j->panels, block = i / j->panels % blocks, copy = i / j->panels / blocks;
        int64_t b0 = copy / inner, b1 = copy % inner;
        const char *b = fb_at(p->b, b0 * p->b_batch[0] + b1 * p->b_batch[1], j->plan->operand_size);
        pack_panel(j, b, block * FB_KC, panel * nr, fb_min(nr, p->n - panel * nr), packed_at(j, b0, b1, block, panel));
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
                      j1 - j0, 1};
    if (plan->finish) plan->finish(args, 0, 1);
}

static void chunk(const job *j, int64_t task, char *scratch) {
    const fb_contraction *plan = j->plan;
    const fb_matmul_problem *p = &j->p;
    int64_t size = plan->sum_size, in = plan->operand_size;
    int64_t nc = task % j->n_chunks, mc = task / j->n_chunks % j->m_chunks, b = task / j->n_chunks / j->m_chunks;
    int64_t b0 = b / p->batch[1], b1 = b % p->batch[1];
    int64_t i0 = mc * j->m_chunk, rows = fb_min(j->m_chunk, p->m - i0);
    int64_t j0 = nc * j->n_chunk, j1 = fb_min(j0 + j->n_chunk, p->n);
    char *a = fb_at(p->a, b0 * p->a_batch[0] + b1 * p->a_batch[1] + i0 * p->a_m, in);
    char *bs = fb_at(p->b, b0 * p->b_batch[0] + b1 * p->b_batch[1], in);
    char *c = fb_at(p->c, b0 * p->c_batch[0] + b1 * p->c_batch[1] + i0 * p->c_m, in);
    char *bias = fb_at(p->bias, b0 * p->bias_batch[0] + b1 * p->bias_batch[1] + i0 * p->bias_m, in);
    char *panel = scratch + j->a_bytes, *sums = panel + j->b_bytes;
    int64_t a_off[FB_KC], b_off[FB_KC];
    int64_t k0 = 0;

    if (j->by_row) {
        one_row(j, a, bs, c, bias, j0, j1);
        return;
    }
    do {
        int64_t kc = fb_min(FB_KC, p->k - k0), a_row = p->a_m, a_step = p->a_k;
        int64_t b_step = j->b_pitch ? j->b_pitch : p->b_k;
        const char *a_block = fb_at(a, k0 * p->a_k, in);
        if (j->copy_a) {
            /* Row by row, whatever ran before; the padding keeps rows out of each other's cache sets. */
            fb_packing t = {a_block, scratch, NULL, p->a_k, p->a_m, kc + 16, kc, rows};
            plan->pack(&t);
            a_block = scratch, a_row = kc + 16, a_step = 1;
        }
        for (int64_t k = 0; k < kc; k++) a_off[k] = k * a_step, b_off[k] = k * b_step;
        for (int64_t col = j0; col < j1; col += plan->nr) {
            int64_t n = fb_min(plan->nr, j1 - col);
            const char *b_block = fb_at(bs, k0 * p->b_k + col * p->b_n, in);
            if (j->packed) {
                b_block = packed_at(j, b0, b1, k0 / FB_KC, col / plan->nr);
            } else if (j->b_pitch) {
                pack_panel(j, bs, k0, col, n, panel);
                b_block = panel;
            }
            int64_t c_row = j->sums_pitch ? j->sums_pitch : p->c_m;
            char *out = j->sums_pitch ? fb_at(sums, col - j0, size) : fb_at(c, col, size);
            fb_tile t = {a_block, b_block, out, a_off, b_off, a_row, c_row, rows, n, kc, k0 > 0};
            plan->micro(&t);
            if (plan->finish && k0 + kc == p->k) {
                int64_t args[] = {fb_slot(out), fb_slot(fb_at(c, col, in)),
                                  fb_slot(fb_at(bias, col * p->bias_n, in)), c_row, p->c_m, p->bias_m, n, rows};
                plan->finish(args, 0, rows);
            }
        }
        k0 += kc;
    } while (k0 < p->k);
}

static void chunks(const int64_t *args, int64_t begin, int64_t end) {
    job *j = (job *)(intptr_t)args[0];
    _Alignas(64) char small[FB_STACK_BYTES];
    char *scratch = j->scratch_bytes <= FB_STACK_BYTES ? small : fb_alloc(j->scratch_bytes);
    if (!scratch) {
        atomic_store(&j->failed, 1);
        return;
    }
    for (int64_t task = begin; task < end; task++) chunk(j, task, scratch);
    if (scratch != small) fb_free(scratch, j->scratch_bytes);
}

int fb_matmul(const fb_contraction *plan, const fb_matmul_problem *problem) {
    job j = {.plan = plan, .p = *problem};
    int64_t batches = j.p.batch[0] * j.p.batch[1];
    if (!batches || !j.p.m || !j.p.n) return 0;
    j.work = (double)batches * (double)j.p.m * (double)j.p.n * (double)j.p.k;
    orient(&j.p);
    schedule(&j, batches);
    int64_t args[] = {fb_slot(&j)}, tasks = batches * j.m_chunks * j.n_chunks;
    size_t packed_bytes = (size_t)(j.packs * FB_KC * plan->nr * plan->sum_size);
    if (j.packs) {
        j.packed = fb_alloc(packed_bytes);
        if (!j.packed) return -1;
        fb_parallel_for(pack_all, args, j.packs, PANELS);
    }
    if (j.work < FB_SERIAL_WORK)
        chunks(args, 0, tasks);
    else
        fb_parallel_for(chunks, args, tasks, fb_grain(j.work, tasks));
    fb_free(j.packed, packed_bytes);
    return atomic_load(&j.failed) ? -1 : 0;
}
