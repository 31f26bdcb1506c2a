/* A tiny model of random weights, by the name of its shape, or an adapter for it; or one with so many heads,
 * whose K and V have a share in common, perhaps with channels of K that are so many times as large as the
 * others; or one with heads of so many values, which types of llama.cpp may not divide.
 */
#include "random_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc == 4 && (strcmp(argv[2], "shape") == 0 || strcmp(argv[2], "adapter") == 0)) {
        const model_shape *shape;
        for (int i = 0; (shape = random_model_shape(i)); i++) {
            if (strcmp(shape->name, argv[3]) == 0) {
                return !(argv[2][0] == 's' ? random_model_write : random_adapter_write)(shape, argv[1]);
            }
        }
    }
    if (argc == 4 && strcmp(argv[2], "head_dim") == 0) {
        model_shape shape = {"head_dim", FAMILY_LLAMA, 4, 2, atoi(argv[3]), 0, 0, 0, 0};
        return random_model_write(&shape, argv[1]) ? 0 : 1;
    }
    if ((argc != 4 && argc != 5) || atoi(argv[2]) < 1) {
        fprintf(
            stderr,
            "usage: make_model FILE HEADS SHARE [LARGE] | FILE head_dim N | FILE shape NAME | FILE adapter "
            "NAME\n");
        return 2;
    }
    int heads = atoi(argv[2]);
    model_shape shape = {"heads",
                         FAMILY_LLAMA,
                         heads,
                         heads,
                         32,
                         0,
                         0,
                         (float)atof(argv[3]),
                         argc == 5 ? (float)atof(argv[4]) : 0};
    return random_model_write(&shape, argv[1]) ? 0 : 1;
}
