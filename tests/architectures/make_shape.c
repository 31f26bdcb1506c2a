/* Writes a model of models.txt to a file, for scripts.   make_shape LIBRARIES MODELS NAME FILE */
#include "shapes.h"

#include "ggml-backend.h"

#include <stdio.h>

enum { SEED = 1 };

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) {
        fputs(text, stderr);
    }
}

int main(int argc, char **argv)
{
    static shape_list list;
    if (argc != 5 || !shapes_read(argv[2], &list)) {
        fputs("usage: make_shape LIBRARIES MODELS NAME FILE\n", stderr);
        return 2;
    }
    llama_log_set(quiet, NULL);
    ggml_backend_load_all_from_path(argv[1]);
    llama_backend_init();
    const tiny_shape *shape = shapes_find(&list, argv[3]);
    struct llama_model *model = shape ? shape_model(shape, SEED) : NULL;
    if (!model) {
        fprintf(stderr, "There is no model %s.\n", argv[3]);
        return 1;
    }
    llama_model_save_to_file(model, argv[4]);
    llama_model_free(model);
    return 0;
}
