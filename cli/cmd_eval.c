#include "cli.h"
#include "engine.h"
#include "progress.h"
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
const char eval_help[] = "usage: tada eval\n";
int eval_main(const struct command *self, int argc, char **argv)
{
    (void)self;
    struct engine e;
    struct model m;
    struct cache c[3] = {0};
    int s = engine_open(&e);
    if (!s)
        s = model_open(&e, argv[1], &m);
    const char *specs[] = {"f16", "tada", "q4_0"};
    for (int i = 0; i < 3 && !s; i++)
        s = cache_open(&m, &(struct cache_options){specs[i], 4096, 64, 32, 2}, &c[i]);
    llama_token t[64];
    for (int j = 0; j < 10 && !s; j++) {
        for (int k = 0; k < 64; k++)
            t[k] = 100 + (j * 64 + k) * 37 % 3000;
        for (int i = 0; i < 3 && !s; i++)
            s = cache_decode(&c[i], t, 64, j * 64, 2);
    }
    for (int i = 0; i < 3 && !s; i++) {
        const float *l = cache_logits(&c[i], 1);
        printf("%s %zu %zu: %f %f\n", specs[i], c[i].buffer_bytes, c[i].scratch_bytes, l[5], l[6]);
        cache_close(&c[i]);
    }
    (void)argc;
    return s;
}
