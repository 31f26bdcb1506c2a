/* Options of llama.cpp's tools (common/arg.cpp, tools/llama-bench) that people try with commands that take
 * others. A command that takes one of them, or knows better what to do, has it in its own table. */
#include "options.h"

#define REFUSED(option_names, instead)                                                                       \
    {                                                                                                        \
        .names = option_names, .kind = OPTION_REFUSED, .help = instead                                       \
    }

const struct option_row llama_options[] = {
    REFUSED("-ctk, --cache-type-k, -ctv, --cache-type-v",
            "name the types of keys and values with --cache, as in --cache q8_0/q4_0"),
    REFUSED("-fa, --flash-attn",
            "flash attention is always on, as only it reads compressed caches; leave it out"),
    REFUSED("-ngl, --gpu-layers, --n-gpu-layers, -dev, --device, -sm, --split-mode, -mg, --main-gpu, -ts, "
            "--tensor-split",
            "the cache stays in the memory of the computer, where it is compressed; leave it out"),
    REFUSED("-kvo, --kv-offload, -nkvo, --no-kv-offload",
            "the cache always stays in the memory of the computer; leave it out"),
    REFUSED("-hf, -hfr, --hf-repo, -hff, --hf-file, -mu, --model-url, -dr, --docker-repo",
            "give the path of a GGUF file with -m; 'tada run' fetches models with -hf"),
    REFUSED("-np, --parallel, -kvu, --kv-unified, -no-kvu, --no-kv-unified",
            "one sequence is measured; 'tada size' tells what several of them take"),
    REFUSED("-b, --batch-size, -ub, --ubatch, --ubatch-size",
            "the batches of this measurement are what it compares by; leave it out"),
    REFUSED("-tb, --threads-batch", "-t is for batches, too"),
    REFUSED("-c, --ctx-size", "the context follows from the other options; leave it out"),
    REFUSED("-f, --file", "no text is read; leave it out"),
    REFUSED("-p, --prompt", "nothing is asked of the model; 'tada run' takes a prompt"),
    REFUSED("-n, --predict, --n-predict, --n-gen",
            "'tada eval' writes tokens with --generate, 'tada bench' times them with --decode"),
    REFUSED("--n-prompt", "'tada bench' times prompts with --prefill"),
    REFUSED("-d, --n-depth, --depth", "'tada bench' is for speed at some depth"),
    REFUSED("-r, --repetitions, --repeat", "'tada bench' repeats"),
    REFUSED("-o, --output", "--json FILE writes the results to a file"),
    REFUSED("-s, --seed", "nothing here is left to chance; leave it out"),
    {0},
};
