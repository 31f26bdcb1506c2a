/* A model of random weights with so many heads, whose K and V have a share in common. make_model FILE HEADS
 * SHARE [FAMILY]: another family than llama has shapes of its own. */
#include "random_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const model_shape others[] = {
    {"gemma2", FAMILY_GEMMA2, 4, 2, 64, 0, 64, 0},
    {"mla", FAMILY_MLA, 4, 1, 64, 64, 0, 0},
    {"hybrid", FAMILY_HYBRID, 4, 2, 32, 0, 0, 0},
};

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: make_model FILE HEADS SHARE [FAMILY]\n");
        return 2;
    }
    int heads = atoi(argv[2]);
    model_shape shape = {"heads", FAMILY_LLAMA, heads, heads, 32, 0, 0, (float)atof(argv[3])};
    for (size_t i = 0; argc == 5 && i < sizeof others / sizeof *others; i++) {
        shape = strcmp(argv[4], others[i].name) == 0 ? others[i] : shape;
    }
    return random_model_write(&shape, argv[1]) ? 0 : 1;
}
