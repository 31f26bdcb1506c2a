/* The part of HTTP that a scrape needs, on the loopback interface only. */
#ifndef PLUGIN_METRICS_HTTP_H
#define PLUGIN_METRICS_HTTP_H

#include <stdbool.h>
#include <stddef.h>

/* A socket that listens on 127.0.0.1, or -1 with errno. */
int exporter_listen(int port);
/* The next client, or -1 with errno. Neither of the two calls blocks, and their descriptors are closed on
 * exec. */
int exporter_accept(int listener);
/* Reads the request of a client (a non-blocking socket) and answers with the text, or with an error when it
 * asks for something else. text NULL: memory was short, which is an error, too. Gives up after 2 seconds, or
 * when stop_event becomes readable. */
void exporter_answer(int client, int stop_event, const char *text, size_t size);
/* Writes all bytes to a file or a socket. The thread must block SIGPIPE. False: not all were written; errno
 * says why. */
bool exporter_send(int file, const char *data, size_t size);

#endif
