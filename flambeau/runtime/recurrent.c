/* Recurrent layers: one packed weight, one parallel region for all steps. recurrent.h says what they compute. */
#include "recurrent.h"

#include "panels.h"

enum {
    BLOCKS = 8,         /* as many or more, where rows allow, so that threads have equal shares */
    BLOCK_ROWS = 64,    /* at most */
    TILE_ROWS = 8,      /* rows of a block are a multiple of this */
    MOST_GATES = 4,
    SUMS_BYTES = 32768, /* a block's sums, between its products and its cells */
    LINE = 64
};

typedef struct {
    const fb_recurrent_plan *plan;
    const fb_recurrent_problem *p;
    int64_t a_off[FB_KC], b_off[FB_KC];
    char *packed; /* for each panel of units: forward its gates' weights, backward all weights into it */
    int64_t panel_bytes, panels, size;
    int64_t block_rows, row_blocks;
} job;

/* Some units of some rows. */
typedef struct {
    int64_t panel, unit, units, row, rows;
} part;

static part part_of(const job *j, int64_t block) {
    int64_t nr = j->plan->plan->nr, panel = block / j->row_blocks, row = block % j->row_blocks * j->block_rows;
    return (part){panel, panel * nr, fb_min(nr, j->p->units - panel * nr), row, fb_min(j->block_rows, j->p->rows - row)};
}

/* The time of a step; the states before it stand at `before`, those after it at `after`. */
typedef struct {
    int64_t time, before, after;
} moment;

static moment at_step(const fb_recurrent_problem *p, int64_t step) {
    int64_t time = p->reverse ? p->steps - 1 - step : step;
    return (moment){time, p->reverse ? time + 1 : time, p->reverse ? time : time + 1};
}

/* A part's first element in [times, rows, pitch]; NULL stays NULL. */
static char *part_at(const job *j, const void *of, part b, int64_t time, int64_t pitch) {
    return of ? fb_at(of, (time * j->p->rows + b.row) * pitch + b.unit, j->size) : NULL;
}

/* Columns of a part that its cells will read or write, in rows `pitch` apart. */
typedef struct {
    const char *at;
    int64_t pitch;
} piece;

/* `gates` pieces, if there are any. */
static int64_t add_pieces(const job *j, piece *to, int64_t count, const char *at, int64_t gates, int64_t pitch) {
    for (int64_t i = 0; at && i < gates; i++) to[count++] = (piece){fb_at(at, i * j->p->units, j->size), pitch};
    return count;
}

/* c (+)= a times a packed panel, while the pieces come from memory: some before each tile, for more at a time wait. */
static void product(const job *j, part b, const char *a, int64_t a_row, const char *panel, char *c, int64_t c_row,
                    int64_t k, int accumulate, const piece *pieces, int64_t count) {
    int64_t blocks = fb_div_up(k, FB_KC), nr = j->plan->plan->nr;
    for (int64_t i = 0; i < blocks; i++)
        for (int64_t row = 0; row < b.rows; row += TILE_ROWS) {
            int64_t rows = fb_min(TILE_ROWS, b.rows - row), k0 = i * FB_KC;
            for (int64_t n = i * count / blocks; n < (i + 1) * count / blocks; n++)
                for (int64_t r = row; r < row + rows; r++)
                    for (int64_t byte = 0; byte < b.units * j->size; byte += LINE)
                        __builtin_prefetch(fb_at(pieces[n].at, r * pieces[n].pitch, j->size) + byte, 1);
            fb_tile t = {fb_at(a, row * a_row + k0, j->size), fb_at(panel, k0 * nr, j->size),
                         fb_at(c, row * c_row, j->size), j->a_off, j->b_off, a_row, c_row, rows, b.units,
                         fb_min(FB_KC, k - k0), accumulate || i > 0};
            j->plan->plan->micro(&t);
        }
}

/* ---- forward */

static void pack_gates(const job *j, part b) {
    const fb_recurrent_problem *p = j->p;
    const fb_contraction *plan = j->plan->plan;
    for (int64_t gate = 0; gate < p->gates; gate++)
        fb_pack_panels(plan, fb_at(p->w, (gate * p->units + b.unit) * p->units, j->size), 1, p->units, p->units, b.units,
                       j->packed + b.panel * j->panel_bytes + gate * fb_panels_bytes(plan, p->units, plan->nr));
}

/* The first step packs. */
static void step_forward(const int64_t *args, int64_t step, int64_t block) {
    const job *j = (const job *)(intptr_t)args[0];
    const fb_recurrent_problem *p = j->p;
    const fb_contraction *plan = j->plan->plan;
    part b = part_of(j, block);
    if (step == 0) {
        if (b.row == 0) pack_gates(j, b);
        return;
    }
    int64_t units = p->units, gates = p->gates * units, s_row = p->gates * plan->nr;
    moment t = at_step(p, step - 1);
    _Alignas(64) char s[SUMS_BYTES];
    char *x = part_at(j, p->x, b, t.time, gates), *rest = part_at(j, p->rest, b, t.time, units);
    char *h = part_at(j, p->h, b, t.after, units), *c = part_at(j, p->c, b, t.after, units);
    for (int64_t gate = 0; gate < p->gates; gate++) {
        piece pieces[4];
        int64_t count = add_pieces(j, pieces, 0, fb_at(x, gate * units, j->size), 1, gates);
        if (gate == 0) count = add_pieces(j, pieces, count, h, 1, units);
        if (gate == 1) count = add_pieces(j, pieces, count, c, 1, units);
        if (gate == 2) count = add_pieces(j, pieces, count, rest, 1, units);
        product(j, b, fb_at(p->h, (t.before * p->rows + b.row) * units, j->size), units,
                j->packed + b.panel * j->panel_bytes + gate * fb_panels_bytes(plan, units, plan->nr),
                fb_at(s, gate * plan->nr, j->size), s_row, units, 0, pieces, count);
    }
    int64_t slots[] = {fb_slot(x), fb_slot(s), fb_slot(fb_at(p->bias, b.unit, j->size)),
                       fb_slot(part_at(j, p->h, b, t.before, units)), fb_slot(part_at(j, p->c, b, t.before, units)),
                       fb_slot(fb_at(p->lengths, b.row, 8)), fb_slot(h), fb_slot(c), fb_slot(x), fb_slot(rest), b.units,
                       units, plan->nr, t.time};
    j->plan->step(slots, 0, b.rows);
}

/* ---- backward */

static void pack_units(const job *j, part b) {
    fb_pack_panels(j->plan->plan, fb_at(j->p->w, b.unit, j->size), j->p->units, 1, j->p->gates * j->p->units, b.units,
                   j->packed + b.panel * j->panel_bytes);
}

/* What the step after owes this one through the product, then the cell. The first step packs, the last has no cell. */
static void step_backward(const int64_t *args, int64_t step, int64_t block) {
    const job *j = (const job *)(intptr_t)args[0];
    const fb_recurrent_problem *p = j->p;
    part b = part_of(j, block);
    if (step == 0) {
        if (b.row == 0) pack_units(j, b);
        return;
    }
    int64_t units = p->units, gates = p->gates * units, left = p->steps - step;
    moment t = at_step(p, left < 0 ? 0 : left);
    char *kept = part_at(j, p->x, b, t.time, gates), *rest = part_at(j, p->rest, b, t.time, units);
    char *h = part_at(j, p->h, b, t.before, units), *c = part_at(j, p->c, b, t.before, units);
    char *g = part_at(j, p->g, b, t.time, units), *gh = part_at(j, p->gh, b, 0, units);
    char *dx = part_at(j, p->dx, b, t.time, p->d_row), *ds = part_at(j, p->ds, b, t.time, p->d_row);
    if (step > 1) {
        moment later = at_step(p, left + 1);
        piece pieces[3 * MOST_GATES + 4];
        int64_t count = 0;
        if (left >= 0) {
            count = add_pieces(j, pieces, count, kept, p->gates, gates);
            count = add_pieces(j, pieces, count, ds, p->gates, p->d_row);
            if (dx != ds) count = add_pieces(j, pieces, count, dx, p->gates, p->d_row);
            count = add_pieces(j, pieces, count, rest, 1, units);
            count = add_pieces(j, pieces, count, h, 1, units);
            count = add_pieces(j, pieces, count, c, 1, units);
            count = add_pieces(j, pieces, count, g, 1, units);
        }
        product(j, b, fb_at(p->ds, (later.time * p->rows + b.row) * p->d_row, j->size), p->d_row,
                j->packed + b.panel * j->panel_bytes, gh, units, gates, 1, pieces, count);
    }
    if (left < 0) return;
    int64_t slots[] = {fb_slot(kept), fb_slot(rest), fb_slot(h), fb_slot(c), fb_slot(fb_at(p->lengths, b.row, 8)),
                       fb_slot(g), fb_slot(gh), fb_slot(part_at(j, p->gc, b, 0, units)), fb_slot(dx), fb_slot(ds),
                       b.units, units, p->d_row, t.time};
    j->plan->gradients(slots, 0, b.rows);
}

static int walk(const fb_recurrent_plan *plan, const fb_recurrent_problem *p, int64_t steps, int64_t panel_bytes,
                int64_t k, fb_block_kernel step) {
    int64_t size = plan->plan->sum_size, most = SUMS_BYTES / (p->gates * plan->plan->nr * size);
    job j = {.plan = plan, .p = p, .size = size, .panels = fb_div_up(p->units, plan->plan->nr),
             .panel_bytes = panel_bytes};
    if (!j.panels || !p->rows) return 0;
    for (int64_t i = 0; i < fb_min(FB_KC, k); i++) j.a_off[i] = i, j.b_off[i] = i * plan->plan->nr;
    int64_t even = fb_round_up(fb_div_up(p->rows, fb_div_up(BLOCKS, j.panels)), TILE_ROWS);
    j.block_rows = fb_max(1, fb_min(even, fb_min(most, BLOCK_ROWS)));
    j.row_blocks = fb_div_up(p->rows, j.block_rows);
    size_t bytes = (size_t)(j.panels * panel_bytes);
    j.packed = fb_alloc(bytes);
    if (!j.packed) return -1;
    int64_t args[] = {fb_slot(&j)}, blocks = j.panels * j.row_blocks;
    double work = (double)p->rows * (double)p->units * (double)(p->units * p->gates);
    fb_parallel_steps(step, args, steps, blocks, 1 + (int64_t)(FB_STEP_WORK / 2 / (work / (double)blocks)));
    fb_free(j.packed, bytes);
    return 0;
}

int fb_recurrent(const fb_recurrent_plan *plan, const fb_recurrent_problem *p) {
    int64_t bytes = p->gates * fb_panels_bytes(plan->plan, p->units, plan->plan->nr);
    return walk(plan, p, p->steps + 1, bytes, p->units, step_forward);
}

int fb_recurrent_gradient(const fb_recurrent_plan *plan, const fb_recurrent_problem *p) {
    int64_t bytes = fb_panels_bytes(plan->plan, p->gates * p->units, plan->plan->nr);
    return walk(plan, p, p->steps + 2, bytes, p->gates * p->units, step_backward);
}
