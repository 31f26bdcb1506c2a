/* Version and status texts. */
#include "tada.h"

const char *tada_version(void)
{
    return TADA_VERSION;
}

int tada_version_number(void)
{
    return TADA_VERSION_NUMBER;
}

const char *tada_status_name(enum tada_status status)
{
    switch (status) {
    case TADA_OK:
        return "ok";
    case TADA_E_ARGUMENT:
        return "invalid argument";
    case TADA_E_MEMORY:
        return "out of memory";
    case TADA_E_UNSUPPORTED:
        return "not supported";
    case TADA_E_FILE:
        return "bad file";
    }
    return "unknown status";
}
