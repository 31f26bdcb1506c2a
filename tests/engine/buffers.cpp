#include "buffers.h"

#include "llama-ext.h"

#include <cstring>

size_t buffers_bytes(const struct llama_context *context, enum buffers_use use, const char *word)
{
    size_t bytes = 0;
    for (const auto &entry : llama_get_memory_breakdown(context)) {
        if (std::strstr(ggml_backend_buft_name(entry.first), word)) {
            bytes += use == BUFFERS_WEIGHTS ? entry.second.model : entry.second.context;
        }
    }
    return bytes;
}
