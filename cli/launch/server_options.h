/* What the options of llama-server that matter to the cache say, and what llama-server makes of them. */
#ifndef TADA_CLI_LAUNCH_SERVER_OPTIONS_H
#define TADA_CLI_LAUNCH_SERVER_OPTIONS_H

#include <stdbool.h>

/* Values as they are given; NULL: neither an option nor its variable LLAMA_ARG_... is. Switches: "on", "off".
 */
struct server_options {
    const char *model;
    const char *context, *parallel, *per_slot, *unified, *fit;
    const char *flash, *offload, *type_k, *type_v;
    const char *gpu_layers, *devices, *ubatch;
    const char *swa_full, *checkpoints; /* what windows and recurrent layers can go back to */
    const char *cache_ram;              /* MiB for prompts of idle slots */
    const char *draft;                  /* a model that drafts, and its cache's types */
    const char *draft_k, *draft_v;
    const char *sessions; /* the folder of slots */
    const char *models;   /* a folder or list of models: a router, which starts servers */
    const char *remote;   /* a model that is fetched: its path is not known before */
};

/* From n arguments and the environment. What llama-server would refuse is not looked for. */
void server_options_read(struct server_options *options, char *const *arguments, int n);

/* An option says off, by one of the words of llama.cpp. */
bool server_option_is_off(const char *value);

/* A type of K or V is that of caches that are compressed; NULL: it was not given. */
bool server_option_is_f16(const char *type);

/* Whether these options let anything be compressed. */
bool server_options_compress(const struct server_options *options);
/* The same; where it is false, a line says why. */
bool server_options_tell(const struct server_options *options);

/* The shape of the cache: cells of a stream, streams, slots. */
struct server_cache {
    int slots;
    bool unified;    /* slots share one stream */
    long long cells; /* of each stream; 0: unknown */
    bool at_most;    /* fewer when memory is short */
};

/* n_ctx_train: of the model, 0: unknown. */
void server_options_cache(const struct server_options *options, int n_ctx_train, struct server_cache *cache);

/* Layers on GPUs; -1: as many as fit. */
int server_options_gpu_layers(const struct server_options *options);
/* Tokens that are computed at once. */
int server_options_ubatch(const struct server_options *options);
/* MiB for prompts of idle slots; -1: there is no limit. */
int server_options_cache_ram(const struct server_options *options);
/* Of a slot's states in between, to which a request can go back. */
int server_options_checkpoints(const struct server_options *options);

#endif
