/* tada pack, tada unpack: sessions of llama.cpp in the size of the compressed cache. */
#include "commands.h"
#include "look.h"
#include "options/rows.h"
#include "output/note.h"
#include "output/progress.h"
#include "session.h"
#include "new_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char ending[] = ".tada";

static int session_main(const struct command *self, int argc, char **argv);

struct job {
    bool packs, json, replaces, lists, tests;
    struct operands files;
    const char *from, *to;
    char usual[PATH_MAX]; /* for `to` */
};

#define FIELD(member) .field = offsetof(struct job, member)

/* The rows of both commands. */
#define SESSION_ROWS(what, otherwise, printed)                                                               \
    {.names = "-o, --output",                                                                                \
     .value = "OUT",                                                                                         \
     .help = what,                                                                                           \
     .unset = otherwise,                                                                                     \
     FIELD(to),                                                                                              \
     .kind = OPTION_FILE,                                                                                    \
     .in_usage = true},                                                                                      \
        {.names = "-f, --force",                                                                             \
         .help = "replace OUT if it is there already",                                                       \
         FIELD(replaces),                                                                                    \
         .kind = OPTION_SWITCH,                                                                              \
         .in_usage = true},                                                                                  \
        {.names = "--json",                                                                                  \
         .help = "print {\"stock_bytes\", \"packed_bytes\", \"planes\", \"rows\", \"raw_rows\"}" printed,    \
         FIELD(json),                                                                                        \
         .kind = OPTION_SWITCH,                                                                              \
         .in_usage = true},                                                                                  \
        ROW_HELP,                                                                                            \
    {                                                                                                        \
        0                                                                                                    \
    }

/* The rest of their descriptions. */
#define SESSION_COMMAND(damaged)                                                                             \
    .operand_problem = "Give one file.",                                                                     \
    .notes = "OUT appears whole or not at all, with the mode and, where that is allowed, the owner of what " \
             "it replaces, else of FILE; FILE stays. " damaged                                               \
             "FILE - is standard input, OUT - standard output (the default for the former); what is "        \
             "printed goes to standard error then.\n"                                                        \
             "\n"                                                                                            \
             "exit status: 0 success, 1 a problem, 2 wrong usage or input, 130 interrupted.\n",              \
    .run = session_main

static const struct option_row pack_options[] = {
    {.names = "-l, --list",
     .help = "list what is in packed sessions, and in prompts that 'tada serve --prompt-cache' stored",
     FIELD(lists),
     .kind = OPTION_SWITCH,
     .in_usage = true,
     .or_next = true},
    {.names = "-t, --test",
     .help = "test them: checksums, and every number; a line for each that is sound, a sentence for others",
     FIELD(tests),
     .kind = OPTION_SWITCH,
     .in_usage = true},
    SESSION_ROWS("the packed file", "FILE.tada",
                 "; with -l and -t a list of all that is known of each file")};
static const struct option_row unpack_options[] = {
    SESSION_ROWS("the unpacked file", "FILE without its ending .tada", "")};

const struct command pack_command = {
    .name = "pack",
    .summary = "make a saved session of llama.cpp as small as its cache",
    .about = "Makes a small file of one that llama.cpp saved a sequence in (slot saves of llama-server, the "
             "prompt "
             "cache of llama-completion). 'tada unpack' gives the same file back, byte for byte. How much "
             "smaller it "
             "gets depends on the cache that it was saved from: rows that a compressed cache held become as "
             "small as "
             "they were there, rows of an f16 cache stay as they are.\n",
    .options = pack_options,
    .operand = "FILE...",
    .operand_field = offsetof(struct job, files),
    .operands = true,
    SESSION_COMMAND("Several files are for -l and -t. "),
};

const struct command unpack_command = {
    .name = "unpack",
    .summary = "give the saved session back, byte for byte",
    .about = "Gives back the file that 'tada pack' packed, byte for byte, for llama.cpp to restore.\n",
    .options = unpack_options,
    .operand = "FILE",
    .operand_field = offsetof(struct job, from),
    SESSION_COMMAND("A damaged file is refused. "),
};

static bool step(void *context, uint64_t done, uint64_t total)
{
    progress_show(context, (double)done, (double)total, "");
    return !interrupted();
}

/* When no output is named. */
static int usual_output(const struct command *self, struct job *job)
{
    if (strcmp(job->from, "-") == 0) {
        job->to = job->from;
        return 0;
    }
    size_t length = strlen(job->from), cut = length > strlen(ending) ? length - strlen(ending) : 0;
    if (!job->packs && (cut == 0 || strcmp(job->from + cut, ending) != 0 || job->from[cut - 1] == '/')) {
        return cli_usage(self->name, "%s does not end in %s: name the output with -o.", job->from, ending);
    }
    length = job->packs ? length : cut;
    if (length + sizeof ending > sizeof job->usual) {
        return cli_usage(self->name, "The name of the file is too long: name the output with -o.");
    }
    memcpy(job->usual, job->from, length);
    strcpy(job->usual + length, job->packs ? ending : "");
    job->to = job->usual;
    return 0;
}

static void print_sizes(const struct job *job, const session_sizes *sizes)
{
    FILE *stream = new_file_is_stdout(job->to) ? stderr : stdout;
    if (job->json) {
        fprintf(stream,
                "{\"stock_bytes\": %" PRIu64 ", \"packed_bytes\": %" PRIu64 ", \"planes\": %" PRIu64
                ", \"rows\": %" PRIu64 ", \"raw_rows\": %" PRIu64 "}\n",
                sizes->plain, sizes->packed, sizes->planes, sizes->rows, sizes->raw_rows);
        return;
    }
    double mib = 1 << 20;
    if (!job->packs) {
        fprintf(stream, "%s: %.1f MiB, of %.1f MiB in %s\n", SHOWN(job->to), (double)sizes->plain / mib,
                (double)sizes->packed / mib, SHOWN(job->from));
        return;
    }
    double part = sizes->plain ? 100.0 * (double)sizes->packed / (double)sizes->plain : 0;
    fprintf(stream, "%s: %.1f MiB, %.1f %% of %.1f MiB", SHOWN(job->to), (double)sizes->packed / mib, part,
            (double)sizes->plain / mib);
    if (sizes->rows > 0) {
        fprintf(stream, "; %.1f %% of the rows are not compressed",
                100.0 * (double)sizes->raw_rows / (double)sizes->rows);
    }
    fputc('\n', stream);
}

static int look(const struct command *self, const struct job *job)
{
    if (job->lists && job->tests) {
        return cli_usage(self->name, "-l and -t do not go together: give one of them.");
    }
    if (job->to || job->replaces) {
        return cli_usage(self->name, "%s writes no file: leave out %s.", job->lists ? "-l" : "-t",
                         job->to ? "-o" : "-f");
    }
    interrupt_watch();
    return pack_look(&job->files, job->lists, job->json);
}

static int session_main(const struct command *self, int argc, char **argv)
{
    struct job job = {.packs = self == &pack_command};
    int parsed;
    if (!options_parse(self, argc, argv, &job, &parsed)) {
        return parsed;
    }
    if (job.lists || job.tests) {
        return look(self, &job);
    }
    if (job.packs && job.files.n != 1) {
        return cli_usage(self->name, "%s", self->operand_problem);
    }
    job.from = job.packs ? job.files.at[0] : job.from;
    parsed = job.to ? 0 : usual_output(self, &job);
    if (parsed != 0) {
        return parsed;
    }
    if (new_file_is_stdout(job.to) && isatty(STDOUT_FILENO)) {
        return cli_usage(self->name, "A session is nothing for a terminal: give a file with -o.");
    }
    tada_error error = {""};
    session_sizes sizes;
    struct progress progress;
    interrupt_watch();
    progress_start(&progress, self->name);
    const session_watch watch = {step, &progress};
    enum tada_status status =
        job.packs ? session_pack_file(job.from, job.to, job.replaces, &watch, &sizes, &error)
                  : session_unpack_file(job.from, job.to, job.replaces, &watch, &sizes, &error);
    progress_clear(&progress);
    if (status != TADA_OK) {
        cli_fail("%s", error.text);
        return interrupted() ? EXIT_INTERRUPTED : status == TADA_E_MEMORY ? EXIT_PROBLEM : EXIT_USAGE;
    }
    print_sizes(&job, &sizes);
    return 0;
}
