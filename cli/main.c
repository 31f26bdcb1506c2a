/* The tada command: picks the subcommand. */
#include "cli.h"
#include "tada.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct command commands[] = {
    {"run", "talk to a model or complete a text, with llama-cli", run_help, run_main},
    {"serve", "serve a model over HTTP, with llama-server", serve_help, serve_main},
    {"rpc", "lend memory and processors to a llama.cpp elsewhere", rpc_help, rpc_main},
#ifdef TADA_MEASURES
    {"calibrate", "find the best cache for your model and a memory budget", calibrate_help, calibrate_main},
    {"inspect", "show what a plan says, layer by layer", inspect_help, inspect_main},
    {"eval", "measure what a cache costs in quality, on your model and text", eval_help, eval_main},
    {"bench", "measure speed and memory of caches, side by side", bench_help, bench_main},
    {"size", "tell how much memory a model and a cache will take", size_help, size_main},
#endif
    {"pack", "make a saved session of llama.cpp as small as its compressed cache", pack_help, pack_main},
    {"unpack", "give the saved session back, byte for byte", unpack_help, unpack_main},
    {"doctor", "check this computer, llama.cpp and the plug-in", doctor_help, doctor_main},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

int cli_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("tada: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return EXIT_PROBLEM;
}

int cli_usage(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("tada: ", stderr);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\nSee 'tada %s%s--help'.\n", command ? command : "", command ? " " : "");
    va_end(arguments);
    return EXIT_USAGE;
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* The command that was most likely meant: the one with the longest common start, if any. */
static const struct command *guess_command(const char *name)
{
    const struct command *best = NULL;
    size_t best_common = 0;
    for (int i = 0; i < N_COMMANDS; i++) {
        size_t common = 0;
        while (name[common] && name[common] == commands[i].name[common]) {
            common++;
        }
        if (common > best_common) {
            best_common = common;
            best = &commands[i];
        }
    }
    return best;
}

static int unknown_command(const char *name)
{
    const struct command *guess = guess_command(name);
    if (guess) {
        return cli_usage(NULL, "'%s' is not a tada command; did you mean '%s'?", name, guess->name);
    }
    char names[256] = "";
    for (int i = 0; i < N_COMMANDS; i++) {
        strcat(strcat(names, commands[i].name), ", ");
    }
    return cli_usage(NULL, "'%s' is not a tada command; use one of %shelp.", name, names);
}

static void print_help(FILE *stream)
{
    fputs("usage: tada COMMAND [ARGS...]\n"
          "       tada --version | --help\n"
          "\n"
          "Runs llama.cpp with a key-value cache of a fraction of the usual memory.\n"
          "\n"
          "commands:\n",
          stream);
    for (int i = 0; i < N_COMMANDS; i++) {
        fprintf(stream, "  %-8s  %s\n", commands[i].name, commands[i].summary);
    }
    fputs("  help      show the help of a command: tada help COMMAND\n"
          "\n"
          "options:\n"
          "  -V, --version  print the version and exit\n"
          "  -h, --help     print this help and exit\n"
          "\n"
          "environment:\n"
          "  TADA_CACHE      cache spec when --cache is not given; see 'tada help run'\n"
          "  TADA_LLAMA_BIN  folder with the llama.cpp tools\n"
          "  TADA_LLAMA_LIB  folder with libllama.so, for measuring without those tools\n"
          "  TADA_PLANS      folder of plans; see 'tada help serve'\n"
          "  TADA_PLUGIN     path of " PLUGIN_FILE "\n"
          "  TADA_KERNELS    use slower kernels than the CPU allows: scalar, avx2, neon...\n"
          "\n"
          "exit status: 0 success, 1 a problem, 2 wrong usage; run, serve and rpc: that of the llama.cpp "
          "tool.\n",
          stream);
}

static int help_main(int argc, char **argv)
{
    bool own = argc == 1 || (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
                                           strcmp(argv[1], "help") == 0));
    if (own) {
        print_help(stdout);
        return 0;
    }
    if (argc > 2) {
        return cli_usage(NULL, "'tada help' takes one command, such as 'tada help run'.");
    }
    const struct command *command = find_command(argv[1]);
    if (!command) {
        return unknown_command(argv[1]);
    }
    fputs(command->help, stdout);
    return 0;
}

static int dispatch(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    opterr = 0;
    /* "+": what follows the command belongs to it. */
    int option = getopt_long(argc, argv, "+hV", options, NULL);
    if (option == 'h') {
        print_help(stdout);
        return 0;
    }
    if (option == 'V') {
        printf("tada %s\n", tada_version());
        return 0;
    }
    if (option != -1) {
        return cli_usage(
            NULL, "Unknown option '%s': options of llama.cpp come after 'run', 'serve' or 'rpc'.", argv[1]);
    }
    argc -= optind;
    argv += optind;
    if (argc == 0) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[0], "help") == 0) {
        return help_main(argc, argv);
    }
    const struct command *command = find_command(argv[0]);
    if (!command) {
        return unknown_command(argv[0]);
    }
    optind = 0; /* the command parses its own arguments from the start */
    return command->run(command, argc, argv);
}

int main(int argc, char **argv)
{
    int status = dispatch(argc, argv);
    /* Output that a full disk swallowed must not look like success. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return cli_fail("Standard output could not be written (%s): make room or choose another file.",
                        strerror(errno));
    }
    return status;
}
