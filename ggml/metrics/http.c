/* A listening socket on 127.0.0.1, and the answer to GET /metrics. */
#define _GNU_SOURCE /* accept4, memmem */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_BYTES = 8192, PATIENCE_MS = 2000, BACKLOG = 16 };

int exporter_listen(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) {
        return -1;
    }
    /* A port whose last connections are still winding up is free; one on which another listens is not. */
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (const struct sockaddr *)(const void *)&address, sizeof address) != 0 ||
        listen(listener, BACKLOG) != 0) {
        int why = errno;
        close(listener);
        errno = why;
        return -1;
    }
    return listener;
}

int exporter_accept(int listener)
{
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

bool exporter_send(int file, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(file, data, size);
        struct pollfd room = {.fd = file, .events = POLLOUT};
        if (n < 0 && errno == EAGAIN && poll(&room, 1, PATIENCE_MS) > 0) {
            continue;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The request with its headers, as text; false: none came whole. */
static bool read_request(int client, int stop_event, char request[REQUEST_BYTES])
{
    size_t n = 0;
    long end = now_ms() + PATIENCE_MS;
    for (;;) {
        long left = end - now_ms();
        struct pollfd ready[] = {{.fd = client, .events = POLLIN}, {.fd = stop_event, .events = POLLIN}};
        if (left <= 0 || n + 1 >= REQUEST_BYTES || (poll(ready, 2, (int)left) < 0 && errno != EINTR) ||
            ready[1].revents) {
            return false;
        }
        ssize_t more = read(client, request + n, REQUEST_BYTES - 1 - n);
        if (more == 0 || (more < 0 && errno != EAGAIN && errno != EINTR)) {
            return false;
        }
        n += more > 0 ? (size_t)more : 0;
        request[n] = '\0';
        if (memmem(request, n, "\r\n\r\n", 4)) {
            return true;
        }
    }
}

void exporter_answer(int client, int stop_event, const char *text, size_t size)
{
    char request[REQUEST_BYTES], method[16] = "", path[256], version[16], header[256];
    const char *status = "200 OK";
    if (!read_request(client, stop_event, request)) {
        return;
    }
    if (sscanf(request, "%15s %255s %15s", method, path, version) != 3 ||
        strncmp(version, "HTTP/1.", 7) != 0) {
        status = "400 Bad Request";
    } else if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        status = "405 Method Not Allowed";
    } else if (path[strcspn(path, "?")] = '\0', strcmp(path, "/metrics") != 0) {
        status = "404 Not Found";
    } else if (!text) {
        status = "503 Service Unavailable";
    }
    char problem[64];
    if (*status != '2') {
        size = (size_t)snprintf(problem, sizeof problem, "%s: GET /metrics\n", status);
        text = problem;
    }
    int length = snprintf(header, sizeof header,
                          "HTTP/1.1 %s\r\n"
                          "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                          "Content-Length: %zu\r\n"
                          "Connection: close\r\n\r\n",
                          status, size);
    if (exporter_send(client, header, (size_t)length) && strcmp(method, "HEAD") != 0) {
        exporter_send(client, text, size);
    }
}
