/* Recurrent layers: one packed weight, one parallel region a step. recurrent.h says what they compute. */
#include "recurrent.h"

#include "panels.h"

typedef struct {
    const fb_recurrent_plan *plan;
    const fb_recurrent_problem *p;
    char *packed;        /* for each panel of units: forward its gates' weights, backward all weights into it */
    int64_t panel_bytes, panels, size;
    int64_t step;        /* how many steps came before */
} job;

static int64_t units_of(const job *j, int64_t panel) {
    return fb_min(j->plan->plan->nr, j->p->units - panel * j->plan->plan->nr);
}

/* The time of a step; the states before it stand at `before`, those after it at `after`. */
typedef struct {
    int64_t time, before, after;
} moment;

static moment at_step(const fb_recurrent_problem *p, int64_t step) {
    int64_t time = p->reverse ? p->steps - 1 - step : step;
    return (moment){time, p->reverse ? time + 1 : time, p->reverse ? time : time + 1};
}

/* ---- forward */

static void pack_gates(const int64_t *args, int64_t begin, int64_t end) {
    const job *j = (const job *)(intptr_t)args[0];
    const fb_recurrent_problem *p = j->p;
    const fb_contraction *plan = j->plan->plan;
    for (int64_t panel = begin; panel < end; panel++)
        for (int64_t gate = 0; gate < p->gates; gate++)
            fb_pack_panels(plan, fb_at(p->w, (gate * p->units + panel * plan->nr) * p->units, j->size), 1, p->units,
                           p->units, units_of(j, panel),
                           j->packed + panel * j->panel_bytes + gate * fb_panels_bytes(plan, p->units, plan->nr));
}

static void step_forward(const int64_t *args, int64_t begin, int64_t end) {
    const job *j = (const job *)(intptr_t)args[0];
    const fb_recurrent_problem *p = j->p;
    const fb_contraction *plan = j->plan->plan;
    int64_t size = j->size, units = p->units, states = p->rows * units, gates = p->gates * units;
    moment t = at_step(p, j->step);
    for (int64_t panel = begin; panel < end; panel++) {
        int64_t unit = panel * plan->nr, n = units_of(j, panel);
        char *s = fb_at(p->s, t.time * p->rows * gates + unit, size);
        for (int64_t gate = 0; gate < p->gates; gate++)
            fb_product(plan, fb_at(p->h, t.before * states, size), units, 1,
                       j->packed + panel * j->panel_bytes + gate * fb_panels_bytes(plan, units, plan->nr), units,
                       fb_at(s, gate * units, size), gates, p->rows, n, units, 0);
        int64_t slots[] = {fb_slot(fb_at(p->x, t.time * p->rows * gates + unit, size)), fb_slot(s),
                           fb_slot(fb_at(p->bias, unit, size)), fb_slot(fb_at(p->h, t.before * states + unit, size)),
                           fb_slot(fb_at(p->c, t.before * states + unit, size)), fb_slot(p->lengths),
                           fb_slot(fb_at(p->h, t.after * states + unit, size)),
                           fb_slot(fb_at(p->c, t.after * states + unit, size)), n, units, t.time};
        j->plan->step(slots, 0, p->rows);
    }
}

/* ---- backward */

static void pack_units(const int64_t *args, int64_t begin, int64_t end) {
    const job *j = (const job *)(intptr_t)args[0];
    const fb_recurrent_problem *p = j->p;
    int64_t nr = j->plan->plan->nr;
    for (int64_t panel = begin; panel < end; panel++)
        fb_pack_panels(j->plan->plan, fb_at(p->w, panel * nr, j->size), p->units, 1, p->gates * p->units,
                       units_of(j, panel), j->packed + panel * j->panel_bytes);
}

/* What the step after owes this one through the product, then the cell; `step` counts from the end here, and the last
 * of all has no cell. */
static void step_backward(const int64_t *args, int64_t begin, int64_t end) {
    const job *j = (const job *)(intptr_t)args[0];
    const fb_recurrent_problem *p = j->p;
    const fb_contraction *plan = j->plan->plan;
    int64_t size = j->size, units = p->units, states = p->rows * units, gates = p->gates * units;
    for (int64_t panel = begin; panel < end; panel++) {
        int64_t unit = panel * plan->nr, n = units_of(j, panel);
        char *gh = fb_at(p->gh, unit, size);
        if (j->step) {
            moment later = at_step(p, p->steps - j->step);
            fb_product(plan, fb_at(p->ds, later.time * p->rows * gates, size), gates, 1,
                       j->packed + panel * j->panel_bytes, gates, gh, units, p->rows, n, gates, 1);
        }
        if (j->step == p->steps) continue;
        moment t = at_step(p, p->steps - 1 - j->step);
        int64_t at = t.time * p->rows * gates + unit, before = t.before * states + unit;
        int64_t slots[] = {fb_slot(fb_at(p->x, at, size)), fb_slot(fb_at(p->s, at, size)),
                           fb_slot(fb_at(p->bias, unit, size)), fb_slot(fb_at(p->h, before, size)),
                           fb_slot(fb_at(p->c, before, size)), fb_slot(p->lengths),
                           fb_slot(fb_at(p->g, t.time * states + unit, size)), fb_slot(gh),
                           fb_slot(fb_at(p->gc, unit, size)), fb_slot(fb_at(p->dx, at, size)),
                           fb_slot(fb_at(p->ds, at, size)), n, units, t.time};
        j->plan->gradients(slots, 0, p->rows);
    }
}

static int walk(job *j, int64_t steps, int64_t panel_bytes, fb_kernel pack, fb_kernel step) {
    const fb_recurrent_problem *p = j->p;
    j->size = j->plan->plan->sum_size;
    j->panels = fb_div_up(p->units, j->plan->plan->nr);
    j->panel_bytes = panel_bytes;
    size_t bytes = (size_t)(j->panels * panel_bytes);
    j->packed = fb_alloc(bytes);
    if (!j->packed) return -1;
    double work = (double)p->rows * (double)p->units * (double)p->units * (double)p->gates;
    int64_t args[] = {fb_slot(j)}, grain = work < FB_SERIAL_WORK ? j->panels : fb_grain(work, j->panels);
    fb_parallel_for(pack, args, j->panels, 1);
    for (j->step = 0; j->step < steps; j->step++) fb_parallel_for(step, args, j->panels, grain);
    fb_free(j->packed, bytes);
    return 0;
}

int fb_recurrent(const fb_recurrent_plan *plan, const fb_recurrent_problem *p) {
    job j = {.plan = plan, .p = p};
    int64_t bytes = p->gates * fb_panels_bytes(plan->plan, p->units, plan->plan->nr);
    return walk(&j, p->steps, bytes, pack_gates, step_forward);
}

int fb_recurrent_gradient(const fb_recurrent_plan *plan, const fb_recurrent_problem *p) {
    job j = {.plan = plan, .p = p};
    int64_t bytes = fb_panels_bytes(plan->plan, p->gates * p->units, plan->plan->nr);
    return walk(&j, p->steps + 1, bytes, pack_units, step_backward);
}
