/* The page of a plan: tables and SVG charts in one HTML file. */
#include "plan_page.h"

#include "html.h"
#include "note.h"
#include "output.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The chart, in units of SVG. */
enum { WIDTH = 760, HEIGHT = 420, LEFT = 80, RIGHT = 20, TOP = 20, BOTTOM = 50 };

static const char style[] =
    "svg{max-width:100%}svg "
    "text{fill:currentColor;font-size:12px}.axis{stroke:currentColor;stroke-opacity:.3}"
    ".front{fill:none;stroke:#38c;stroke-width:2}.point{fill:#888}.plan{fill:#d50}"
    ".bar{display:inline-block;height:.8em;background:#38c}.v{background:#d80}.s{background:#888}"
    ".strip span{display:inline-block;width:5px;height:.9em;background:#38c}";

const tada_plan_plane *plan_plane(const tada_plan *plan, int i)
{
    return i < 0 ? NULL : tada_plan_get_plane(plan, i / 2, (enum tada_kind)(i % 2));
}

int plan_planes(const tada_plan *plan)
{
    return 2 * tada_plan_layers(plan);
}

/* ---- quality over memory ---- */

static bool is_drawn(const tada_plan_point *point)
{
    return point->kld > 0 && isfinite(point->kld) && point->memory > 0 && point->memory < 10;
}

struct axes {
    double memory, low, high; /* most memory; logarithms of the least and the most KLD */
};

static struct axes axes_of(const tada_plan *plan)
{
    struct axes axes = {0.2, INFINITY, -INFINITY};
    for (int i = 0; i < tada_plan_points(plan); i++) {
        const tada_plan_point *point = tada_plan_get_point(plan, i);
        if (is_drawn(point)) {
            axes.memory = fmax(axes.memory, point->memory);
            axes.low = fmin(axes.low, floor(log10(point->kld)));
            axes.high = fmax(axes.high, ceil(log10(point->kld)));
        }
    }
    axes.memory = ceil(axes.memory * 10) / 10;
    axes.high = fmax(axes.high, axes.low + 1);
    return axes;
}

static double x_of(const struct axes *axes, double memory)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * memory / axes->memory;
}

static double y_of(const struct axes *axes, double kld)
{
    double share = (log10(kld) - axes->low) / (axes->high - axes->low);
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share;
}

/* The front: points that no other one beats in both; from the least memory on. */
static void put_front(FILE *file, const tada_plan *plan, const struct axes *axes)
{
    double reached = -1, best = INFINITY;
    fputs("<polyline class=\"front\" points=\"", file);
    for (;;) {
        const tada_plan_point *next = NULL;
        for (int i = 0; i < tada_plan_points(plan); i++) {
            const tada_plan_point *point = tada_plan_get_point(plan, i);
            if (is_drawn(point) && point->memory > reached && point->kld < best &&
                (!next || point->memory < next->memory ||
                 (point->memory == next->memory && point->kld < next->kld))) {
                next = point;
            }
        }
        if (!next) {
            break;
        }
        fprintf(file, "%.1f,%.1f ", x_of(axes, next->memory), y_of(axes, next->kld));
        reached = next->memory;
        best = next->kld;
    }
    fputs("\"/>\n", file);
}

static bool is_plan(const tada_plan_point *point)
{
    return strcmp(point->cache, "plan") == 0;
}

/* Names beside points, of which many lie close together: each goes above those that it would cover. */
struct labels {
    struct {
        double x, y, width;
    } of[64];
    int n;
};

static double place_label(struct labels *labels, double x, double y, const char *name)
{
    enum { LINE = 13, CHARACTER = 7 };
    double width = (double)strlen(name) * CHARACTER;
    for (int i = 0; i < labels->n;) {
        bool covers = x < labels->of[i].x + labels->of[i].width && labels->of[i].x < x + width &&
                      fabs(y - labels->of[i].y) < LINE;
        y = covers ? labels->of[i].y - LINE : y;
        i = covers ? 0 : i + 1;
    }
    if (labels->n < (int)(sizeof labels->of / sizeof *labels->of)) {
        labels->of[labels->n].x = x;
        labels->of[labels->n].y = y;
        labels->of[labels->n++].width = width;
    }
    return y;
}

static void put_chart(FILE *file, const tada_plan *plan)
{
    struct labels labels = {.n = 0};
    struct axes axes = axes_of(plan);
    if (!isfinite(axes.low)) {
        return; /* nothing to draw */
    }
    fprintf(file, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"KL divergence over memory\">\n",
            WIDTH, HEIGHT);
    for (double power = axes.low; power <= axes.high; power++) {
        double y = y_of(&axes, pow(10, power));
        fprintf(file, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT,
                WIDTH - RIGHT, y, y);
        fprintf(file, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", LEFT - 8, y + 4,
                pow(10, power));
    }
    for (int tenth = 0; tenth <= (int)(axes.memory * 10 + 0.5); tenth++) {
        fprintf(file, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d %%</text>\n",
                x_of(&axes, tenth / 10.0), HEIGHT - BOTTOM + 20, tenth * 10);
    }
    fprintf(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">memory, of the f16 cache</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
    put_front(file, plan, &axes);
    for (int i = 0; i < tada_plan_points(plan); i++) {
        const tada_plan_point *point = tada_plan_get_point(plan, i);
        if (is_drawn(point)) {
            double x = x_of(&axes, point->memory), y = y_of(&axes, point->kld);
            fprintf(file,
                    "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"/><text x=\"%.1f\" y=\"%.1f\">",
                    is_plan(point) ? "plan" : "point", x, y, is_plan(point) ? 7 : 4, x + 9,
                    place_label(&labels, x + 9, y - 5, point->cache));
            html_text(file, point->cache);
            fputs("</text>\n", file);
        }
    }
    fputs("</svg>\n", file);
}

static void put_points(FILE *file, const tada_plan *plan)
{
    fputs("<table><tr><th>cache</th><th>memory</th><th>KL divergence, nats</th></tr>\n", file);
    for (int i = 0; i < tada_plan_points(plan); i++) {
        const tada_plan_point *point = tada_plan_get_point(plan, i);
        fputs("<tr><td>", file);
        html_text(file, point->cache);
        fprintf(file, "</td><td>%.1f %%</td><td>%.5f &plusmn; %.5f</td></tr>\n", 100 * point->memory,
                point->kld, point->kld_se);
    }
    fputs("</table>\n", file);
}

/* ---- layers ---- */

static void put_weights(FILE *file, const tada_plan_plane *plane)
{
    int n = plane->width / 8;
    double mean = 0;
    for (int i = 0; i < n; i++) {
        mean += plane->recipe.weights[i] / n;
    }
    fputs("<span class=\"strip\">", file);
    for (int i = 0; i < n; i++) {
        /* How opaque a span is: hardly at a hundredth of the mean, fully at a hundred times the mean. */
        double share =
            plane->recipe.weights[i] > 0 && mean > 0 ? log10(plane->recipe.weights[i] / mean) / 4 + 0.5 : 0;
        fprintf(file, "<span style=\"opacity:%.2f\"></span>", fmin(fmax(share, 0.03), 1));
    }
    fputs("</span>", file);
}

static void put_plane(FILE *file, const tada_plan *plan, int i, double least, double most)
{
    const tada_plan_plane *plane = plan_plane(plan, i);
    double bits = plane->recipe.quarters ? plane->recipe.quarters / 4.0 : plane->recipe.bits;
    double share =
        plane->sensitivity > 0 && most > least ? log(plane->sensitivity / least) / log(most / least) : 0;
    fprintf(file,
            "<tr><td>%d %s</td><td>%.2f</td><td style=\"text-align:left\"><span class=\"bar%s\" "
            "style=\"width:%.1fem\"></span></td><td>%s</td><td>%s</td><td>%s</td><td>%d</td><td>%.6f</td><td "
            "style=\"text-align:left\"><span "
            "class=\"bar s\" style=\"width:%.1fem\"></span></td><td style=\"text-align:left\">",
            i / 2, i % 2 ? "V" : "K", bits, i % 2 ? " v" : "", bits, plan_centring_name(&plane->recipe),
            plan_rotation_name(&plane->recipe), plan_axis_name(&plane->recipe), plane->window,
            (double)plane->sensitivity, 6 * share);
    if (plane->recipe.weights) {
        put_weights(file, plane);
    }
    fputs("</td></tr>\n", file);
}

static void put_layers(FILE *file, const tada_plan *plan)
{
    double least = INFINITY, most = 0;
    for (int i = 0; i < plan_planes(plan); i++) {
        const tada_plan_plane *plane = plan_plane(plan, i);
        double sensitivity = (double)plane->sensitivity;
        if (plane->width > 0 && sensitivity > 0) {
            least = fmin(least, sensitivity);
            most = fmax(most, sensitivity);
        }
    }
    fputs("<table><tr><th>layer</th><th>bits</th><th></th><th>centring</th><th>rotation</th><th>axis</"
          "th><th>window</th><th>sensitivity</th><th></th>"
          "<th>what queries ask of each 8 channels</th></tr>\n",
          file);
    for (int i = 0; i < plan_planes(plan); i++) {
        if (plan_plane(plan, i)->width > 0) {
            put_plane(file, plan, i, least, most);
        }
    }
    fputs("</table>\n", file);
}

const char *plan_centring_name(const tada_recipe *recipe)
{
    static const char *const names[] = {"none", "tokens", "heads16", "heads8"};
    return names[recipe->centring];
}

const char *plan_rotation_name(const tada_recipe *recipe)
{
    return recipe->rotation == TADA_ROTATE_NONE ? "none" : "hadamard";
}

const char *plan_axis_name(const tada_recipe *recipe)
{
    return recipe->axis == TADA_AXIS_CHANNEL ? "channel" : "token";
}

int plan_report_write(const tada_plan *plan, const char *path, const new_file_rules *rules)
{
    struct output output;
    int status = output_open(path, rules, &output);
    if (status != 0) {
        return status;
    }
    FILE *file = output.file;
    const tada_plan_info *info = tada_plan_get_info(plan);
    html_begin(file, info->model, style);
    fputs("<p>How the key-value cache of this model is compressed, found by the method <b>", file);
    html_text(file, info->method);
    fprintf(
        file,
        "</b>. Each layer gets the bits that its sensitivity deserves, within one budget of memory.</p>\n"
        "<h2>Quality over memory</h2>\n<p>Mean KL divergence from the f16 cache on text that was not learnt "
        "from; lower is better. Memory counts everything, at a context of %d tokens. The line joins what "
        "nothing else beats.</p>\n",
        info->n_ctx);
    put_chart(file, plan);
    put_points(file, plan);
    fputs("<h2>Layers</h2>\n<p>Bits of a value, recipe, recent tokens that stay exact, and the KL divergence "
          "that the "
          "layer alone causes with few bits (bar: logarithmic).</p>\n",
          file);
    put_layers(file, plan);
    fprintf(file, "<p>Fingerprint of the model: %016" PRIx64 "</p>\n</body></html>\n", info->fingerprint);
    return output_close(&output, true);
}
