/* A file as llama.cpp saves it, out of a cache of ours:  make_session SPEC WIDTH HEAD_DIM LAYERS CELLS FILE
 */
#include "../unit/session_file.h"

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: make_session SPEC WIDTH HEAD_DIM LAYERS CELLS FILE\n");
        return 2;
    }
    session_shape shape = {argv[1], atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), CELLS_LATER};
    random_init();
    bytes b = sequence_file(&shape);
    write_file(argv[6], b.data, b.size);
    free(b.data);
    return 0;
}
