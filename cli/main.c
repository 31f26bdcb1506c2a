/* The tada command: picks the subcommand. */
#include "commands.h"
#include "find/paths.h"
#include "options/nearest.h"
#include "options/options.h"
#include "output/note.h"
#include "tada.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {
    &run_command,     &serve_command,     &rpc_command,
#ifdef TADA_MEASURES
    &verdict_command, &calibrate_command,
#endif
#ifdef TADA_INSPECTS
    &inspect_command,
#endif
#ifdef TADA_MEASURES
    &eval_command,    &bench_command,     &size_command,
#endif
    &pack_command,    &unpack_command,    &doctor_command,
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    struct nearest nearest = nearest_to(name);
    for (int i = 0; i < N_COMMANDS; i++) {
        nearest_try(&nearest, commands[i]->name, strlen(commands[i]->name));
    }
    if (*nearest.name) {
        return cli_usage(NULL, "'%s' is not a tada command; did you mean '%s'?", name, nearest.name);
    }
    char names[256] = "";
    for (int i = 0; i < N_COMMANDS; i++) {
        strcat(strcat(names, commands[i]->name), ", ");
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
        fprintf(stream, "  %-9s  %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("  help       show the help of a command: tada help COMMAND\n"
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
          "exit status: 0 success, 1 a problem, 2 wrong usage, 130 interrupted; run, serve\n"
          "and rpc: that of the llama.cpp tool.\n",
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
    help_print(command, stdout);
    return 0;
}

/* For the build: "--completion SHELL", and "--man COMMAND" with the source of its page at standard input. */
static int write_for_build(const char *what, const char *name)
{
    if (strcmp(what, "--completion") == 0) {
        return completion_write(name, commands, N_COMMANDS, stdout)
                   ? 0
                   : cli_usage(NULL, "There is completion for bash, zsh and fish, not for %s.", name);
    }
    const struct command *command = find_command(name);
    if (!command) {
        return unknown_command(name);
    }
    manual_write(command, stdin, stdout);
    return 0;
}

static int dispatch(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL;
    if (!first) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(first, "-h") == 0 || strcmp(first, "--help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(first, "-V") == 0 || strcmp(first, "--version") == 0) {
        printf("tada %s\n", tada_version());
        return 0;
    }
    if (argc == 3 && (strcmp(first, "--completion") == 0 || strcmp(first, "--man") == 0)) {
        return write_for_build(first, argv[2]);
    }
    if (*first == '-') {
        return cli_usage(
            NULL, "Unknown option '%s': options of llama.cpp come after 'run', 'serve' or 'rpc'.", first);
    }
    if (strcmp(first, "help") == 0) {
        return help_main(argc - 1, argv + 1);
    }
    const struct command *command = find_command(first);
    return command ? command->run(command, argc - 1, argv + 1) : unknown_command(first);
}

/* A file must not come to lie where a stream is closed, as what is said would go into it: also in the tools
 * that are started. Reading such a stream, or writing to it, still fails. */
static void fill_closed_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}

int main(int argc, char **argv)
{
    fill_closed_streams();
    int status = dispatch(argc, argv);
    /* Output that a full disk swallowed must not look like success. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return cli_fail("Standard output could not be written (%s): make room or choose another file.",
                        strerror(errno));
    }
    return status;
}
