/* The verdict as a page. */
#include "output/html.h"
#include "verdict.h"

static const char style[] =
    ".safe{color:#183}.careful{color:#a60}.no{color:#c22}.why{text-align:left}td{vertical-align:top;"
    "border-bottom:1px solid #8886}td:not(.why){white-space:nowrap}";

static void put_cache(FILE *file, const struct verdict *v, const struct opinion *opinions, int i)
{
    const struct judgement *judgement = &opinions[i].judgement;
    const char *grade = grade_name(judgement->grade);
    int better = better_than(v, opinions, i);
    char text[256];
    fputs("<tr><td>", file);
    html_text(file, v->lineup.caches[i].spec);
    fprintf(file, "</td><td class=\"%s\"><b>%s</b></td><td>%.2f</td><td>%.1f %%</td><td class=\"why\">",
            grade, grade, (double)opinions[i].bytes / 1048576,
            100 * (double)opinions[i].bytes / (double)opinions[0].bytes);
    for (int m = 0; m < N_MEASURES; m++) {
        if (judgement->grades[m] != GRADE_UNKNOWN) {
            reason_of(v, opinions, i, (enum measure)m, text, sizeof text);
            fprintf(file, "<span class=\"%s\">", grade_name(judgement->grades[m]));
            html_text(file, text);
            fputs("</span><br>", file);
        }
    }
    fputs("</td><td>", file);
    html_text(file, better >= 0 ? v->lineup.caches[better].spec : "");
    fputs("</td></tr>\n", file);
}

static void put_impossible(FILE *file, const struct impossible *impossible)
{
    for (int i = 0; i < impossible->n; i++) {
        fputs("<tr><td>", file);
        html_text(file, impossible->caches[i].spec);
        fputs("</td><td colspan=\"5\" class=\"why\">this model cannot have it: ", file);
        html_text(file, impossible->caches[i].why);
        fputs("</td></tr>\n", file);
    }
}

int verdict_page(const struct verdict *v, const struct opinion *opinions, bool complete)
{
    struct output output;
    char setting[128], account[256];
    int status = output_open(v->options->html_path, &v->options->eval.rules, &output);
    if (status != 0) {
        return status;
    }
    setting_of(v, setting, sizeof setting);
    account_of(v, complete, account, sizeof account);
    html_begin(output.file, v->model->name, style);
    fputs("<p>Which key-value cache is safe for this model, compared with an f16 cache: ", output.file);
    html_text(output.file, account);
    fputs("; ", output.file);
    html_text(output.file, setting);
    fputs(".</p>\n<table><tr><th>cache</th><th>verdict</th><th>MiB</th><th>of f16</th><th "
          "class=\"why\">why</th>"
          "<th>next better</th></tr>\n",
          output.file);
    for (int i = 1; i < floor_index(v); i++) {
        put_cache(output.file, v, opinions, i);
    }
    put_impossible(output.file, &v->options->eval.impossible);
    fputs("</table>\n</body></html>\n", output.file);
    return output_close(&output, !ferror(output.file));
}
