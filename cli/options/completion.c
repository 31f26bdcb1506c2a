/* Completion of arguments in shells, from the tables of all commands. */
#include "options.h"
#include "specs.h"

#include <string.h>

/* What a shell can propose. */
static bool is_shown(const struct option_row *row)
{
    return row->names && !row->hidden && row->kind != OPTION_REFUSED && row->kind != OPTION_END;
}

static bool is_cache(const struct option_row *row)
{
    return row->kind == OPTION_CACHE || row->kind == OPTION_CACHES;
}

static void put_words(const char *words, FILE *stream)
{
    for (; *words; words++) {
        fputc(*words == '|' ? ' ' : *words, stream);
    }
}

static void put_caches(FILE *stream)
{
    for (int i = 0; spec_names[i]; i++) {
        fprintf(stream, "%s%s", i ? " " : "", spec_names[i]);
    }
}

static void put_commands(const struct command *const *commands, int n, FILE *stream)
{
    for (int i = 0; i < n; i++) {
        fprintf(stream, "%s ", commands[i]->name);
    }
}

/* All names of a row. */
static void each_name(const struct option_row *row, const char *before, const char *after, FILE *stream)
{
    const char *name;
    size_t length;
    for (int i = 0; (name = option_name(row->names, i, &length)); i++) {
        fprintf(stream, "%s%.*s%s", before, (int)length, name, after);
    }
}

/* ---- bash ---- */

/* The line, not the words of the shell: it splits those at colons and equals signs. */
static const char bash_start[] =
    "# Completion of tada for bash, as 'tada --completion bash' writes it.\n"
    "_tada() {\n"
    "    local line=${COMP_LINE:0:COMP_POINT} words current previous list= kind= before=\n"
    "    read -ra words <<< \"$line\"\n"
    "    [[ $line == *[[:space:]] ]] && words+=('')\n"
    "    current=${words[-1]}\n"
    "    previous=${words[-2]}\n"
    "    if [[ $current == --*=* ]]; then\n"
    "        previous=${current%%=*}\n"
    "        before=$previous=\n"
    "        current=${current#*=}\n"
    "    fi\n"
    "    COMPREPLY=()\n"
    "    if ((${#words[@]} == 2)) || [[ ${#words[@]} == 3 && ${words[1]} == help ]]; then\n";

static const char bash_end[] =
    "    case $kind in\n"
    "    files | folders)\n"
    "        compopt -o filenames\n"
    "        mapfile -t COMPREPLY < <(compgen -A \"$([[ $kind == files ]] && echo file || echo directory)\" "
    "-- \"$current\")\n"
    "        return\n"
    "        ;;\n"
    "    caches)\n"
    "        if [[ $current == *tada:@* ]]; then\n"
    "            compopt -o nospace\n"
    "            before+=${current%%@*}@\n"
    "            current=${current#*@}\n"
    "            mapfile -t COMPREPLY < <(compgen -A file -- \"$current\")\n"
    "        else\n"
    "            if [[ $current == *,* ]]; then\n"
    "                before+=${current%,*},\n"
    "                current=${current##*,}\n"
    "            fi\n"
    "            mapfile -t COMPREPLY < <(compgen -W \"$caches\" -- \"$current\")\n"
    "        fi\n"
    "        ;;\n"
    "    *)\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$list\" -- \"$current\")\n"
    "        ;;\n"
    "    esac\n"
    "    # The shell replaces what comes after the last of the characters at which it splits.\n"
    "    local whole=$before$current part=\n"
    "    [[ $COMP_WORDBREAKS == *:* && $whole == *:* ]] && part=${whole%\"${whole##*:}\"}\n"
    "    [[ $COMP_WORDBREAKS == *=* && ${whole#\"$part\"} == *=* ]] && part=${whole%\"${whole##*=}\"}\n"
    "    local i\n"
    "    for i in \"${!COMPREPLY[@]}\"; do\n"
    "        COMPREPLY[i]=$before${COMPREPLY[i]}\n"
    "        COMPREPLY[i]=${COMPREPLY[i]#\"$part\"}\n"
    "    done\n"
    "}\n"
    "complete -F _tada tada\n";

static const char *kind_of(const struct option_row *row)
{
    return is_cache(row)                ? "caches"
           : row->kind == OPTION_FOLDER ? "folders"
           : row->kind == OPTION_FILE   ? "files"
                                        : NULL;
}

static void put_bash_row(const struct option_row *row, FILE *stream)
{
    const char *name;
    size_t length;
    if (!is_shown(row) || !option_has_value(row)) {
        return;
    }
    fputs("        ", stream);
    for (int i = 0; (name = option_name(row->names, i, &length)); i++) {
        fprintf(stream, "%s%.*s", i ? " | " : "", (int)length, name);
    }
    const char *kind = kind_of(row);
    if (kind) {
        fprintf(stream, ") kind=%s ;;\n", kind);
    } else {
        fputs(") list='", stream);
        put_words(row->words ? row->words : "", stream);
        fputs("' ;;\n", stream);
    }
}

static void put_bash_command(const struct command *command, FILE *stream)
{
    fprintf(stream, "    elif [[ ${words[1]} == %s ]]; then\n        case $previous in\n", command->name);
    for (const struct option_row *row = command->options; !option_is_last(row); row++) {
        put_bash_row(row, stream);
    }
    fputs("        *) list='", stream);
    for (const struct option_row *row = command->options; !option_is_last(row); row++) {
        if (is_shown(row)) {
            each_name(row, "", " ", stream);
        }
    }
    /* Commands that take operands, or start a tool, are completed with paths as well. */
    bool operands = command->operand || command->passes_to;
    fprintf(stream, "'%s ;;\n        esac\n", operands ? "; [[ $current == -* ]] || kind=files" : "");
}

static void write_bash(const struct command *const *commands, int n, FILE *stream)
{
    fputs(bash_start, stream);
    fputs("        list='", stream);
    put_commands(commands, n, stream);
    fputs("help --help --version'\n", stream);
    for (int i = 0; i < n; i++) {
        put_bash_command(commands[i], stream);
    }
    fputs("    fi\n    local caches='", stream);
    put_caches(stream);
    fputs("'\n", stream);
    fputs(bash_end, stream);
}

/* A list of options has room for the first part of a description only. */
static size_t length_of_description(const char *text)
{
    size_t n = strcspn(text, ":;(");
    while (n > 0 && text[n - 1] == ' ') {
        n--;
    }
    return n;
}

/* ---- zsh ---- */

/* Within single quotes, in a description between brackets. */
static void put_description(const char *text, FILE *stream)
{
    for (size_t left = length_of_description(text); left > 0; left--, text++) {
        if (*text == '\'') {
            fputs("'\\''", stream);
        } else {
            fputs(strchr("[]:\\", *text) ? "\\" : "", stream);
            fputc(*text, stream);
        }
    }
}

static void put_zsh_action(const struct option_row *row, FILE *stream)
{
    if (!option_has_value(row)) {
        return;
    }
    fputc(':', stream);
    put_description(row->value, stream);
    fputc(':', stream);
    if (is_cache(row)) {
        fputs("_tada_caches", stream);
    } else if (row->kind == OPTION_FILE) {
        fputs("_files", stream);
    } else if (row->kind == OPTION_FOLDER) {
        fputs("_files -/", stream);
    } else if (row->words) {
        fputc('(', stream);
        put_words(row->words, stream);
        fputc(')', stream);
    } else {
        fputc(' ', stream);
    }
}

static void put_zsh_row(const struct option_row *row, FILE *stream)
{
    const char *name;
    size_t length;
    for (int i = 0; is_shown(row) && (name = option_name(row->names, i, &length)); i++) {
        fputs(" \\\n            '", stream);
        if (row->kind == OPTION_CACHES) {
            fputc('*', stream); /* it may be repeated */
        } else {
            fputc('(', stream);
            each_name(row, " ", "", stream);
            fputc(')', stream);
        }
        fprintf(stream, "%.*s%s[", (int)length, name, option_has_value(row) && name[1] == '-' ? "=" : "");
        put_description(row->help, stream);
        fputc(']', stream);
        put_zsh_action(row, stream);
        fputc('\'', stream);
    }
}

static void write_zsh(const struct command *const *commands, int n, FILE *stream)
{
    fputs("#compdef tada\n"
          "# Completion of tada for zsh, as 'tada --completion zsh' writes it.\n"
          "_tada_caches() {\n"
          "    if compset -P '(*,|)tada:@'; then\n"
          "        _files\n"
          "    else\n"
          "        compset -P '*,'\n"
          "        local -a caches=(",
          stream);
    put_caches(stream);
    fputs(")\n"
          "        compadd -a caches\n"
          "    fi\n"
          "}\n"
          "_tada() {\n"
          "    if ((CURRENT == 2)) || [[ $CURRENT == 3 && $words[2] == help ]]; then\n"
          "        local -a commands=(\n",
          stream);
    for (int i = 0; i < n; i++) {
        fprintf(stream, "            '%s:", commands[i]->name);
        put_description(commands[i]->summary, stream);
        fputs("'\n", stream);
    }
    fputs("            'help:show the help of a command')\n"
          "        _describe command commands\n"
          "        return\n"
          "    fi\n"
          "    local curcontext=$curcontext\n"
          "    shift words\n"
          "    ((CURRENT--))\n"
          "    case $words[1] in\n",
          stream);
    for (int i = 0; i < n; i++) {
        fprintf(stream, "    %s)\n        _arguments", commands[i]->name);
        for (const struct option_row *row = commands[i]->options; !option_is_last(row); row++) {
            put_zsh_row(row, stream);
        }
        fputs(commands[i]->operand || commands[i]->passes_to ? " \\\n            '*:file:_files'" : "",
              stream);
        fputs("\n        ;;\n", stream);
    }
    fputs("    esac\n}\n_tada \"$@\"\n", stream);
}

/* ---- fish ---- */

static void put_quoted(const char *text, FILE *stream)
{
    fputc('\'', stream);
    for (size_t left = length_of_description(text); left > 0; left--, text++) {
        fputs(*text == '\'' || *text == '\\' ? "\\" : "", stream);
        fputc(*text, stream);
    }
    fputc('\'', stream);
}

static void put_fish_row(const struct command *command, const struct option_row *row, FILE *stream)
{
    const char *name;
    size_t length;
    fprintf(stream, "complete -c tada -n '__fish_seen_subcommand_from %s'", command->name);
    for (int i = 0; (name = option_name(row->names, i, &length)); i++) {
        bool is_long = name[1] == '-';
        fprintf(stream, " -%c %.*s",
                is_long      ? 'l'
                : length > 2 ? 'o'
                             : 's',
                (int)length - 1 - is_long, name + 1 + is_long);
    }
    if (is_cache(row)) {
        fputs(" -x -a '", stream);
        put_caches(stream);
        fputc('\'', stream);
    } else if (row->kind == OPTION_FOLDER) {
        fputs(" -x -a '(__fish_complete_directories)'", stream);
    } else if (row->kind == OPTION_FILE) {
        fputs(" -r -F", stream);
    } else if (option_has_value(row)) {
        fputs(" -x -a '", stream);
        put_words(row->words ? row->words : "", stream);
        fputc('\'', stream);
    }
    fputs(" -d ", stream);
    put_quoted(row->help, stream);
    fputc('\n', stream);
}

static void write_fish(const struct command *const *commands, int n, FILE *stream)
{
    fputs("# Completion of tada for fish, as 'tada --completion fish' writes it.\n"
          "complete -c tada -f\n"
          "complete -c tada -n __fish_use_subcommand -a help -d 'show the help of a command'\n"
          "complete -c tada -n '__fish_seen_subcommand_from help' -a '",
          stream);
    put_commands(commands, n, stream);
    fputs("'\n", stream);
    for (int i = 0; i < n; i++) {
        const struct command *command = commands[i];
        fprintf(stream, "complete -c tada -n __fish_use_subcommand -a %s -d ", command->name);
        put_quoted(command->summary, stream);
        fputc('\n', stream);
        if (command->operand || command->passes_to) {
            fprintf(stream, "complete -c tada -n '__fish_seen_subcommand_from %s' -F\n", command->name);
        }
        for (const struct option_row *row = command->options; !option_is_last(row); row++) {
            if (is_shown(row)) {
                put_fish_row(command, row, stream);
            }
        }
    }
}

bool completion_write(const char *shell, const struct command *const *commands, int n, FILE *stream)
{
    static const struct {
        const char *shell;
        void (*write)(const struct command *const *, int, FILE *);
    } writers[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
        if (strcmp(shell, writers[i].shell) == 0) {
            writers[i].write(commands, n, stream);
            return true;
        }
    }
    return false;
}
