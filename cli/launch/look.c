#include "look.h"

#include "engine/probe.h"
#include "output/note.h"

const char *launch_model(const struct launch *launch, const struct server_options *options)
{
    const char *path = *launch->model.path ? launch->model.path : options->model;
    return options->models || options->remote ? NULL : path;
}

bool launch_look(const struct launch *launch, const struct server_options *options,
                 const struct server_cache *cache, const char *path, struct outlook *outlook)
{
    enum { MOST_CELLS = 1 << 28 };
    long long cells = cache->cells * (cache->unified ? 1 : cache->slots);
    const struct size_options sizes = {.model_path = path,
                                       .n_ctx = (int)cells,
                                       .parallel = cache->slots,
                                       .unified = cache->unified,
                                       .n_ubatch = server_options_ubatch(options),
                                       .n_threads = 1,
                                       .n_gpu_layers = server_options_gpu_layers(options),
                                       .in_ram = server_option_is_off(options->offload),
                                       .swa_full =
                                           options->swa_full && !server_option_is_off(options->swa_full)};
    return cells > 0 && cells <= MOST_CELLS && outlook_look(&sizes, launch->cache, outlook);
}

void launch_tell(const struct launch *launch, const struct server_options *options,
                 const struct outlook *outlook)
{
    char gpus[256] = "", text[OUTLOOK_TEXT] = "";
    if (launch->spec.stock || !server_options_tell(options)) {
        return;
    }
    if (outlook) {
        outlook_tell(outlook, text);
    } else if (!server_option_is_off(options->offload)) {
        probe_gpus(launch->tool.path, gpus, sizeof gpus);
    }
    if (*text) {
        cli_note("%s", text);
    } else if (*gpus) {
        cli_note("layers that llama.cpp puts on %s keep an uncompressed cache there; -nkvo keeps it in RAM, "
                 "compressed.",
                 gpus);
    }
}
