/* A model of random weights with so many heads, whose K and V have a share in common. make_model FILE HEADS
 * SHARE */
#include "random_model.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: make_model FILE HEADS SHARE\n");
        return 2;
    }
    int heads = atoi(argv[2]);
    model_shape shape = {"heads", FAMILY_LLAMA, heads, heads, 32, 0, 0, (float)atof(argv[3])};
    return random_model_write(&shape, argv[1]) ? 0 : 1;
}
