/* A program that uses the installed library. */
#include <stdio.h>
#include <tada.h>

int main(void)
{
    tada_spec spec;
    tada_error error;
    printf("tada %s, %s\n", tada_version(), tada_kernels_name());
    return tada_spec_parse("tada:4/3", &spec, &error) != TADA_OK;
}
