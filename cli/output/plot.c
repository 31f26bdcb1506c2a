/* Plots: gnuplot reads its script and the data from a pipe. */
#include "plot.h"

#include "note.h"
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* What the ending of a file wants gnuplot to draw; NULL: nothing that is known. */
static const char *terminal_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    const char *ending = dot && dot > path && dot[-1] != '/' ? dot : "";
    if (output_is_stdout(path)) {
        return "svg";
    }
    return strcasecmp(ending, ".svg") == 0 ? "svg" : strcasecmp(ending, ".png") == 0 ? "png" : NULL;
}

bool plot_is_known(const char *path)
{
    return terminal_of(path) != NULL;
}

/* Starts gnuplot with these descriptors as its streams; false: it could not be started. */
static bool start_gnuplot(const char *argument, int in, int out, pid_t *child)
{
    char *const arguments[] = {"gnuplot", (char *)argument, NULL};
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) {
        return false;
    }
    bool ready = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO) == 0 &&
                 posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO) == 0;
    bool started = ready && posix_spawnp(child, "gnuplot", &actions, NULL, arguments, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    return started;
}

/* Whether the child ended well. */
static bool ended_well(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int plot_check(void)
{
    pid_t child;
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool works = nothing >= 0 && start_gnuplot("--version", nothing, nothing, &child) && ended_well(child);
    if (nothing >= 0) {
        close(nothing);
    }
    if (!works) {
        cli_fail("gnuplot, which draws the plot, does not start: install it (Debian: gnuplot-nox) or leave "
                 "out the plot.");
        return EXIT_USAGE;
    }
    return 0;
}

/* A string of gnuplot, in which only quotes are special. */
static void print_quoted(FILE *script, const char *text)
{
    fputc('\'', script);
    for (text = SHOWN(text); *text; text++) {
        if (*text == '\'') {
            fputc('\'', script);
        }
        fputc(*text, script);
    }
    fputc('\'', script);
}

static void print_setting(FILE *script, const char *what, const char *text)
{
    fprintf(script, "set %s ", what);
    print_quoted(script, text);
    fputc('\n', script);
}

static void print_panel(FILE *script, const struct plot_panel *panel, int number)
{
    double last = 0;
    fprintf(script, "$data%d << END\n", number);
    for (int i = 0; i < panel->n_points; i++) {
        fprintf(script, "%.17g", panel->x[i]);
        for (int line = 0; line < panel->n_lines; line++) {
            fprintf(script, " %.17g", panel->y[line * panel->n_points + i]);
        }
        fputc('\n', script);
        last = panel->x[i] > last ? panel->x[i] : last;
    }
    fputs("END\n", script);
    print_setting(script, "title", panel->title);
    print_setting(script, "xlabel", panel->x_label);
    print_setting(script, "ylabel", panel->y_label);
    fprintf(script, "set xrange [0:%.17g]\nset yrange [0:*]\nset key outside\nset grid\nplot",
            last > 0 ? 1.05 * last : 1);
    for (int line = 0; line < panel->n_lines; line++) {
        fprintf(script, "%s $data%d using 1:%d title ", line ? "," : "", number, line + 2);
        print_quoted(script, panel->names[line]);
        fprintf(script, " with %s linewidth 2 pointtype 7 pointsize 0.6",
                panel->n_points > 1 ? "linespoints" : "points");
    }
    fputc('\n', script);
}

static void print_script(FILE *script, const char *terminal, const struct plot_panel *panels, int n_panels)
{
    /* Not enhanced: "q4_0" is no index. */
    fprintf(script,
            "set terminal %s size 800,%d noenhanced font 'sans-serif,12' background rgb 'white'\n"
            "set multiplot layout %d,1\n",
            terminal, 360 * n_panels, n_panels);
    for (int i = 0; i < n_panels; i++) {
        print_panel(script, &panels[i], i);
    }
    fputs("unset multiplot\n", script);
}

/* Draws into a file that is open; false: gnuplot did not do it. */
static bool draw_plot(int file, const char *terminal, const struct plot_panel *panels, int n_panels)
{
    int ends[2];
    pid_t child;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    bool started = start_gnuplot("-", ends[0], file, &child);
    close(ends[0]);
    FILE *script = fdopen(ends[1], "w");
    if (!script) {
        close(ends[1]);
        if (started) {
            ended_well(child);
        }
        return false;
    }
    if (started) {
        print_script(script, terminal, panels, n_panels);
    }
    bool written = !ferror(script);
    written = fclose(script) == 0 && written;
    return started && ended_well(child) && written;
}

/* gnuplot calls it a success when there was no room: it draws in memory, and what is written is watched. */
static bool copy_plot(int from, FILE *to)
{
    char bytes[4096];
    ssize_t n = lseek(from, 0, SEEK_SET) == 0 ? 1 : -1;
    while (n > 0) {
        n = read(from, bytes, sizeof bytes);
        if (n > 0) {
            fwrite(bytes, 1, (size_t)n, to);
        }
    }
    return n == 0;
}

int plot_write(const char *path, const new_file_rules *rules, const struct plot_panel *panels, int n_panels)
{
    struct output output;
    int status = output_open(path, rules, &output);
    if (status != 0) {
        return status;
    }
    /* A gnuplot that ends early must not end us. */
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGPIPE, &ignore, &before);
    int memory = memfd_create("plot", MFD_CLOEXEC);
    bool drawn = memory >= 0 && draw_plot(memory, terminal_of(path), panels, n_panels) &&
                 copy_plot(memory, output.file);
    sigaction(SIGPIPE, &before, NULL);
    if (memory >= 0) {
        close(memory);
    }
    status = output_close(&output, drawn);
    return drawn ? status : cli_fail("gnuplot failed, and %s was not written: see what it says above.", path);
}
