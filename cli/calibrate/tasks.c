/* Reading and checking a task set. */
#include "tasks.h"

#include "output/json_lines.h"
#include "output/note.h"

#include <stdlib.h>
#include <string.h>

static void free_task(struct task *task)
{
    for (int i = 0; i < task->n_choices; i++) {
        free(task->choices[i]);
    }
    free(task->choices);
    free(task->prompt);
    free(task->answer);
}

static const char *take_choices(const cJSON *json, struct task *task)
{
    int n = cJSON_GetArraySize(json);
    task->right = -1;
    if (!cJSON_IsArray(json) || n < 2) {
        return "has \"choices\" that are no list of two or more strings";
    }
    task->choices = calloc((size_t)n, sizeof *task->choices);
    if (!task->choices) {
        return "finds no memory";
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, json)
    {
        const char *choice = cJSON_GetStringValue(item);
        if (!choice || !*choice) {
            return "has \"choices\" that are no list of two or more strings";
        }
        task->choices[task->n_choices] = strdup(choice);
        if (!task->choices[task->n_choices]) {
            return "finds no memory";
        }
        task->right = strcmp(choice, task->answer) == 0 ? task->n_choices : task->right;
        task->n_choices++;
    }
    return task->right < 0 ? "has an \"answer\" that is none of its \"choices\"" : NULL;
}

static const char *take_task(const cJSON *json, struct task *task)
{
    const char *prompt = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "prompt"));
    const char *answer = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "answer"));
    const cJSON *choices = cJSON_GetObjectItemCaseSensitive(json, "choices");
    if (!prompt || !answer || !*prompt || !*answer) {
        return "has no \"prompt\" and \"answer\" that are strings with something in them";
    }
    task->prompt = strdup(prompt);
    task->answer = strdup(answer);
    if (!task->prompt || !task->answer) {
        return "finds no memory";
    }
    if (choices) {
        return take_choices(choices, task);
    }
    if (strstr(answer, "####")) {
        answer_number(answer, task->number);
    }
    return NULL;
}

static const char *add_task(const cJSON *json, void *context)
{
    struct tasks *tasks = context;
    struct task task = {.prompt = NULL};
    const char *why = take_task(json, &task);
    struct task *list = why ? NULL : reallocarray(tasks->list, (size_t)tasks->n + 1, sizeof *list);
    if (!list) {
        free_task(&task);
        return why ? why : "finds no memory";
    }
    tasks->list = list;
    list[tasks->n++] = task;
    return NULL;
}

int tasks_read(const char *path, struct tasks *tasks)
{
    static const char hint[] = "a file with a {\"prompt\": ..., \"answer\": ...} a line";
    *tasks = (struct tasks){NULL, 0};
    int status = json_lines_read("calibrate", path, hint, add_task, tasks);
    if (status == 0 && tasks->n == 0) {
        status = cli_usage("calibrate", "%s has no tasks: give %s.", path, hint);
    }
    return status;
}

void tasks_free(struct tasks *tasks)
{
    for (int i = 0; i < tasks->n; i++) {
        free_task(&tasks->list[i]);
    }
    free(tasks->list);
    *tasks = (struct tasks){NULL, 0};
}
