/* Attention: blocks of queries against blocks of keys, weights in cache only. attention.h says what fixes the bits. */
#include "attention.h"

#include <stdatomic.h>
#include <string.h>

#include "panels.h"

enum {
    DELTAS = 65536,      /* products of g and y, as many to a chunk */
    TASKS = 16,          /* parts a problem is cut into, if there are fewer heads: for threads to end together */
    PITCH = FB_KEYS + 16 /* between rows of scores: the padding keeps them out of each other's cache sets */
};

typedef struct {
    const fb_attention_plan *plan;
    const fb_attention_problem *p;
    int64_t size;        /* bytes of a number */
    int64_t chunk, chunks; /* queries of a task, and tasks of a head */
    int64_t key_chunk, key_chunks; /* keys of a task, and tasks of a head of k and v */
    int want_queries, want_keys; /* which gradients a task computes */
    char *delta;         /* [batch, heads, queries] */
    atomic_int failed;
} job;

static char *row_of(const job *j, const void *x, const int64_t *stride, int64_t b, int64_t head, int64_t row) {
    return fb_at(x, b * stride[0] + head * stride[1] + row * stride[2], j->size);
}

static int64_t slot_of(double x) {
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* How many keys of [k0, k0 + keys) the queries before i1 see. */
static int64_t visible(const fb_attention_problem *p, int64_t i1, int64_t k0, int64_t keys) {
    return p->causal ? fb_max(0, fb_min(keys, i1 - k0)) : keys;
}

static const void *mask_at(const fb_attention_problem *p, int64_t b, int64_t head, int64_t i, int64_t k) {
    const int64_t *s = p->mask_stride;
    return p->mask ? fb_at(p->mask, b * s[0] + head * s[1] + i * s[2] + k, p->mask_size) : NULL;
}

/* The number of a weight among all, by which dropout draws. */
static int64_t element(const fb_attention_problem *p, int64_t b, int64_t head, int64_t i, int64_t k) {
    return ((b * p->heads + head) * p->queries + i) * p->keys + k;
}

/* ---- forward */

static int64_t forward_bytes(const job *j) {
    const fb_attention_problem *p = j->p;
    const fb_contraction *plan = j->plan->plan;
    int64_t keys = fb_min(p->keys, FB_KEYS), queries = fb_min(j->chunk, p->queries);
    return fb_panels_bytes(plan, p->width, keys) + fb_panels_bytes(plan, keys, p->v_width) +
           FB_QUERIES * PITCH * j->size + queries * (p->v_width + 2) * j->size;
}

/* A chunk of one head's queries. */
static void forward(const job *j, int64_t task, char *scratch) {
    const fb_attention_problem *p = j->p;
    const fb_contraction *plan = j->plan->plan;
    int64_t first = task % j->chunks * j->chunk, end = fb_min(first + j->chunk, p->queries), rows = end - first;
    int64_t head = task / j->chunks % p->heads, b = task / j->chunks / p->heads;
    int64_t kv = head / (p->heads / p->kv_heads), size = j->size, wv = p->v_width;
    int64_t most_keys = fb_min(p->keys, FB_KEYS);
    char *kt = scratch, *v = kt + fb_panels_bytes(plan, p->width, most_keys);
    char *s = v + fb_panels_bytes(plan, most_keys, wv);
    char *sums = s + FB_QUERIES * PITCH * size, *most = sums + rows * wv * size, *total = most + rows * size;

    memset(total, 0, (size_t)(rows * size));
    memset(sums, 0, (size_t)(rows * wv * size));
    for (int64_t i = 0; i < rows; i++) {
        if (size == 4)
            ((float *)most)[i] = -__builtin_inff();
        else
            ((double *)most)[i] = -__builtin_inf();
    }
    for (int64_t k0 = 0; k0 < p->keys; k0 += FB_KEYS) {
        int64_t keys = visible(p, end, k0, fb_min(FB_KEYS, p->keys - k0));
        if (!keys) break;
        fb_pack_panels(plan, row_of(j, p->k, p->k_stride, b, kv, k0), 1, p->k_stride[2], p->width, keys, kt);
        fb_pack_panels(plan, row_of(j, p->v, p->v_stride, b, kv, k0), p->v_stride[2], 1, keys, wv, v);
        for (int64_t i0 = first; i0 < end; i0 += FB_QUERIES) {
            int64_t m = fb_min(FB_QUERIES, end - i0), n = visible(p, i0 + m, k0, keys), at = i0 - first;
            if (!n) continue;
            fb_product(plan, row_of(j, p->q, p->q_stride, b, head, i0), p->q_stride[2], 1, kt, p->width, s, PITCH, m, n,
                       p->width, 0);
            int64_t args[] = {fb_slot(s), fb_slot(mask_at(p, b, head, i0, k0)), fb_slot(most + at * size),
                              fb_slot(total + at * size), fb_slot(sums + at * wv * size), n,
                              p->causal ? i0 + 1 - k0 : FB_KEYS, PITCH, p->mask_stride[2], k0 ? wv : 0,
                              element(p, b, head, i0, k0), p->keys, p->seed, p->call, slot_of(p->scale), slot_of(p->p)};
            j->plan->scores(args, 0, m);
            fb_product(plan, s, PITCH, 1, v, keys, sums + at * wv * size, wv, m, wv, n, 1);
        }
    }
    int64_t row = (b * p->heads + head) * p->queries + first;
    int64_t args[] = {fb_slot(sums), fb_slot(most), fb_slot(total), fb_slot(row_of(j, p->y, p->y_stride, b, head, first)),
                      fb_slot(fb_at(p->lse, row, size)), wv, p->y_stride[2]};
    j->plan->finish(args, 0, rows);
}

/* ---- backward */

static int64_t backward_bytes(const job *j) {
    const fb_attention_problem *p = j->p;
    const fb_contraction *plan = j->plan->plan;
    int64_t keys = fb_min(p->keys, FB_KEYS), queries = fb_min(p->queries, FB_QUERIES), w = p->width, wv = p->v_width;
    return fb_panels_bytes(plan, w, keys) + fb_panels_bytes(plan, wv, keys) + fb_panels_bytes(plan, keys, w) +
           fb_panels_bytes(plan, queries, w) + fb_panels_bytes(plan, queries, wv) + 2 * FB_QUERIES * PITCH * j->size;
}

/* Gradients that queries [i_first, i_end) of one head and keys [k0, k0 + keys) owe each other. */
static void block_gradients(const job *j, int64_t b, int64_t head, int64_t i_first, int64_t i_end, int64_t k0,
                            int64_t keys, char *scratch) {
    const fb_attention_problem *p = j->p;
    const fb_contraction *plan = j->plan->plan;
    int64_t kv = head / (p->heads / p->kv_heads), size = j->size, w = p->width, wv = p->v_width;
    int64_t most_keys = fb_min(p->keys, FB_KEYS), queries = fb_min(p->queries, FB_QUERIES);
    char *kt = scratch, *vt = kt + fb_panels_bytes(plan, w, most_keys), *kp = vt + fb_panels_bytes(plan, wv, most_keys);
    char *qp = kp + fb_panels_bytes(plan, most_keys, w), *gp = qp + fb_panels_bytes(plan, queries, w);
    char *s = gp + fb_panels_bytes(plan, queries, wv), *gs = s + FB_QUERIES * PITCH * size;
    const char *k = row_of(j, p->k, p->k_stride, b, kv, k0), *v = row_of(j, p->v, p->v_stride, b, kv, k0);
    char *dk = row_of(j, p->dk, p->dk_stride, b, kv, k0), *dv = row_of(j, p->dv, p->dv_stride, b, kv, k0);

    fb_pack_panels(plan, k, 1, p->k_stride[2], w, keys, kt);
    fb_pack_panels(plan, v, 1, p->v_stride[2], wv, keys, vt);
    if (j->want_queries) fb_pack_panels(plan, k, p->k_stride[2], 1, keys, w, kp);
    for (int64_t i0 = i_first; i0 < i_end; i0 += FB_QUERIES) {
        int64_t m = fb_min(FB_QUERIES, i_end - i0), n = visible(p, i0 + m, k0, keys);
        if (!n) continue;
        const char *q = row_of(j, p->q, p->q_stride, b, head, i0), *g = row_of(j, p->g, p->g_stride, b, head, i0);
        int64_t row = (b * p->heads + head) * p->queries + i0;
        fb_product(plan, q, p->q_stride[2], 1, kt, w, s, PITCH, m, n, w, 0);
        fb_product(plan, g, p->g_stride[2], 1, vt, wv, gs, PITCH, m, n, wv, 0);
        int64_t args[] = {fb_slot(s), fb_slot(gs), fb_slot(mask_at(p, b, head, i0, k0)), fb_slot(fb_at(p->lse, row, size)),
                          fb_slot(fb_at(j->delta, row, size)), n, p->causal ? i0 + 1 - k0 : FB_KEYS, PITCH,
                          p->mask_stride[2], element(p, b, head, i0, k0), p->keys, p->seed, p->call, slot_of(p->scale),
                          slot_of(p->p)};
        j->plan->gradients(args, 0, m);
        if (j->want_keys) {
            fb_pack_panels(plan, q, p->q_stride[2], 1, m, w, qp);
            fb_pack_panels(plan, g, p->g_stride[2], 1, m, wv, gp);
            fb_product(plan, s, 1, PITCH, gp, m, dv, p->dv_stride[2], n, wv, m, 1);
            fb_product(plan, gs, 1, PITCH, qp, m, dk, p->dk_stride[2], n, w, m, 1);
        }
        if (j->want_queries) {
            char *dq = row_of(j, p->dq, p->dq_stride, b, head, i0);
            fb_product(plan, gs, PITCH, 1, kp, keys, dq, p->dq_stride[2], m, w, n, 1);
        }
    }
}

/* The queries that share one head of keys and values, against some of its keys: one task writes what it writes alone. */
static void backward(const job *j, int64_t task, char *scratch) {
    const fb_attention_problem *p = j->p;
    int64_t group = p->heads / p->kv_heads;
    int64_t kc = task % j->key_chunks, ic = task / j->key_chunks % j->chunks, rest = task / j->key_chunks / j->chunks;
    int64_t kv = rest % p->kv_heads, b = rest / p->kv_heads;
    int64_t i_first = ic * j->chunk, i_end = fb_min(i_first + j->chunk, p->queries);
    int64_t k_end = fb_min((kc + 1) * j->key_chunk, p->keys);
    for (int64_t k0 = kc * j->key_chunk; k0 < k_end; k0 += FB_KEYS)
        for (int64_t head = kv * group; head < (kv + 1) * group; head++)
            block_gradients(j, b, head, i_first, i_end, k0, fb_min(FB_KEYS, k_end - k0), scratch);
}

/* Heads [begin, end): each row's sum of g y. */
static void deltas(const int64_t *args, int64_t begin, int64_t end) {
    const job *j = (const job *)(intptr_t)args[0];
    const fb_attention_problem *p = j->p;
    for (int64_t i = begin; i < end; i++) {
        int64_t b = i / p->heads, head = i % p->heads;
        int64_t slots[] = {fb_slot(row_of(j, p->g, p->g_stride, b, head, 0)),
                           fb_slot(row_of(j, p->y, p->y_stride, b, head, 0)),
                           fb_slot(fb_at(j->delta, i * p->queries, j->size)), p->v_width, p->g_stride[2], p->y_stride[2]};
        j->plan->deltas(slots, 0, p->queries);
    }
}

/* ---- threads */

static void run(const int64_t *args, int64_t begin, int64_t end) {
    job *j = (job *)(intptr_t)args[0];
    int back = args[1] != 0;
    size_t bytes = (size_t)(back ? backward_bytes(j) : forward_bytes(j));
    char *scratch = fb_alloc(bytes);
    if (!scratch) {
        atomic_store(&j->failed, 1);
        return;
    }
    for (int64_t task = begin; task < end; task++) (back ? backward : forward)(j, task, scratch);
    fb_free(scratch, bytes);
}

static int start(job *j, int64_t tasks, int back) {
    const fb_attention_problem *p = j->p;
    double work = (double)p->batch * (double)p->heads * (double)p->queries * (double)p->keys * (double)p->width * 2;
    int64_t args[] = {fb_slot(j), back};
    if (work < FB_SERIAL_WORK)
        run(args, 0, tasks);
    else
        fb_parallel_for(run, args, tasks, fb_grain(work, tasks));
    return atomic_load(&j->failed) ? -1 : 0;
}

/* Cuts n rows into pieces of whole blocks, `wanted` or fewer. */
static int64_t cut(int64_t n, int64_t block, int64_t wanted, int64_t *pieces) {
    int64_t size = fb_max(block, fb_round_up(fb_div_up(n, fb_max(1, wanted)), block));
    *pieces = fb_max(1, fb_div_up(n, size));
    return size;
}

int fb_attention(const fb_attention_plan *plan, const fb_attention_problem *p) {
    job j = {.plan = plan, .p = p, .size = plan->plan->sum_size};
    int64_t heads = p->batch * p->heads;
    if (!heads || !p->queries) return 0;
    j.chunk = cut(p->queries, 2 * FB_QUERIES, fb_div_up(TASKS, heads), &j.chunks);
    return start(&j, heads * j.chunks, 0);
}

static int gradients(job *j, int64_t heads) {
    const fb_attention_problem *p = j->p;
    j->chunk = p->queries, j->chunks = 1, j->key_chunk = p->keys, j->key_chunks = 1;
    j->want_queries = j->want_keys = 1;
    if (heads >= TASKS / 2 || (p->queries <= FB_QUERIES && p->keys <= FB_KEYS)) return start(j, heads, 1);
    /* Few heads: one pass over pieces of the queries for their gradients, another over pieces of the keys. */
    j->want_keys = 0;
    j->chunk = cut(p->queries, FB_QUERIES, fb_div_up(TASKS, heads), &j->chunks);
    if (start(j, heads * j->chunks, 1)) return -1;
    j->want_keys = 1, j->want_queries = 0;
    j->chunk = p->queries, j->chunks = 1;
    j->key_chunk = cut(p->keys, FB_KEYS, fb_div_up(TASKS, heads), &j->key_chunks);
    return start(j, heads * j->key_chunks, 1);
}

int fb_attention_gradient(const fb_attention_plan *plan, const fb_attention_problem *p) {
    job j = {.plan = plan, .p = p, .size = plan->plan->sum_size};
    int64_t heads = p->batch * p->kv_heads, rows = p->batch * p->heads * p->queries, keys = heads * p->keys;
    memset(p->dq, 0, (size_t)(rows * p->width * j.size));
    memset(p->dk, 0, (size_t)(keys * p->width * j.size));
    memset(p->dv, 0, (size_t)(keys * p->v_width * j.size));
    if (!rows || !keys) return 0;
    size_t bytes = (size_t)(rows * j.size);
    if (!(j.delta = fb_alloc(bytes))) return -1;
    int64_t args[] = {fb_slot(&j)};
    fb_parallel_for(deltas, args, p->batch * p->heads, fb_div_up(DELTAS, p->queries * p->v_width));
    int status = gradients(&j, heads);
    fb_free(j.delta, bytes);
    return status;
}
