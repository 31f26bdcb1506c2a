/* As much of HTTP as a scrape needs; on the loopback interface only. */
#ifndef PLUGIN_METRICS_HTTP_H
#define PLUGIN_METRICS_HTTP_H

#include <stdbool.h>
#include <stddef.h>

/* A socket that listens on 127.0.0.1, or -1 with errno. */
int exporter_listen(int port);
/* The next client, or -1 with errno. Neither call waits, and what they open is not handed on to other
 * programs. */
int exporter_accept(int listener);
/* Reads the request of a client (a socket that does not block) and answers it with the text, or an error when
 * it asks for something else; text NULL: memory is short. Gives up after 2 seconds, or when stop_event
 * becomes readable. */
void exporter_answer(int client, int stop_event, const char *text, size_t size);
/* Writes all of it to a file or a socket; false: not all, with errno. Signals must be blocked. */
bool exporter_send(int file, const char *data, size_t size);

#endif
