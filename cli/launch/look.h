/* What becomes of the KV cache in a tool that `tada run` and `tada serve` start. */
#ifndef TADA_CLI_LAUNCH_LOOK_H
#define TADA_CLI_LAUNCH_LOOK_H

#include "engine/outlook.h"
#include "launch.h"
#include "server_options.h"

/* The file of the model; NULL: it is not known before the tool runs. */
const char *launch_model(const struct launch *launch, const struct server_options *options);

/* Looks at a model, this one or its draft. False: it cannot be told. */
bool launch_look(const struct launch *launch, const struct server_options *options,
                 const struct server_cache *cache, const char *path, struct outlook *outlook);

/* Says, in a line, what leaves something uncompressed: arguments, the model, GPUs. outlook NULL: the model is
 * not known. */
void launch_tell(const struct launch *launch, const struct server_options *options,
                 const struct outlook *outlook);

#endif
