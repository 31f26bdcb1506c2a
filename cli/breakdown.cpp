#include "breakdown.h"

#include "llama-ext.h"

#include <cstring>
#include <dlfcn.h>
#include <exception>

/* llama_get_memory_breakdown(llama_context const *), as the C++ ABI of Itanium spells it. */
static const char symbol_name[] = "_Z26llama_get_memory_breakdownPK13llama_context";

bool breakdown_get(void *library, const struct llama_context *context, struct breakdown *breakdown)
{
    decltype(&llama_get_memory_breakdown) get;
    void *symbol = dlsym(library, symbol_name);
    if (!symbol) {
        return false;
    }
    std::memcpy(&get, &symbol, sizeof get);
    *breakdown = {};
    try {
        for (const auto &entry : get(context)) {
            breakdown->weights += entry.second.model;
            breakdown->cache += entry.second.context;
            breakdown->compute += entry.second.compute;
        }
    } catch (const std::exception &) { /* C does not expect one */
        return false;
    }
    return true;
}
