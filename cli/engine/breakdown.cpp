#include "breakdown.h"

#include "llama-ext.h"

#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <exception>

/* llama_get_memory_breakdown(llama_context const *), as the C++ ABI of Itanium spells it. */
static const char breakdown_symbol[] = "_Z26llama_get_memory_breakdownPK13llama_context";

template <typename Function> static bool find(void *library, const char *name, Function &function)
{
    void *symbol = dlsym(library, name);
    std::memcpy(&function, &symbol, sizeof function);
    return symbol != nullptr;
}

bool breakdown_get(void *library, const struct llama_context *context, struct breakdown *breakdown)
{
    decltype(&llama_get_memory_breakdown) get;
    /* In what libllama depends on. */
    decltype(&ggml_backend_buft_is_host) is_host;
    decltype(&ggml_backend_buft_get_device) device_of;
    decltype(&ggml_backend_dev_type) type_of;
    decltype(&ggml_backend_dev_name) name_of;
    *breakdown = {};
    if (!find(library, breakdown_symbol, get) || !find(library, "ggml_backend_buft_is_host", is_host) ||
        !find(library, "ggml_backend_buft_get_device", device_of) ||
        !find(library, "ggml_backend_dev_type", type_of) ||
        !find(library, "ggml_backend_dev_name", name_of)) {
        return false;
    }
    try {
        for (const auto &entry : get(context)) {
            breakdown->weights += entry.second.model;
            breakdown->repacked += is_host(entry.first) ? 0 : entry.second.model;
            breakdown->cache += entry.second.context;
            ggml_backend_dev_t device = device_of(entry.first);
            if (entry.second.context > 0 && device && type_of(device) != GGML_BACKEND_DEVICE_TYPE_CPU) {
                size_t used = std::strlen(breakdown->gpus);
                breakdown->elsewhere += entry.second.context;
                std::snprintf(breakdown->gpus + used, sizeof breakdown->gpus - used, "%s%s",
                              used > 0 ? ", " : "", name_of(device));
            }
            breakdown->compute += entry.second.compute;
        }
    } catch (const std::exception &) { /* C does not expect one */
        return false;
    }
    return true;
}
