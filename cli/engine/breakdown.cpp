#include "breakdown.h"

#include "llama-ext.h"

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
    decltype(&ggml_backend_buft_is_host) is_host; /* in what libllama depends on */
    *breakdown = {};
    if (!find(library, breakdown_symbol, get) || !find(library, "ggml_backend_buft_is_host", is_host)) {
        return false;
    }
    try {
        for (const auto &entry : get(context)) {
            breakdown->weights += entry.second.model;
            breakdown->repacked += is_host(entry.first) ? 0 : entry.second.model;
            breakdown->cache += entry.second.context;
            breakdown->compute += entry.second.compute;
        }
    } catch (const std::exception &) { /* C does not expect one */
        return false;
    }
    return true;
}
