/* The demo's web server: tells who answers. One thread, poll(2), one short request a connection.
 *
 *   GET /          pod, address, node, version and the request's headers, as text
 *   GET /version   the version alone
 *   GET /pod       the pod's name alone
 *   GET /healthz   200 ok; 503 once it has been told to stop, so that it leaves its Services before it goes
 *   GET /log?bytes=N  writes N bytes of numbered lines to stdout, then answers
 *
 * Environment: PORT (80), VERSION (1), DRAIN_SECONDS (2: how long it still serves after SIGTERM), POD_NAME, POD_IP, NODE_NAME. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CLIENTS = 512, MAX_REQUEST = 8192 };

struct client {
  int fd;
  size_t length;
  char request[MAX_REQUEST + 1];
};

static volatile sig_atomic_t stopping;
static struct client clients[MAX_CLIENTS];
static int client_count;
static char hostname[256];
static char address[INET_ADDRSTRLEN] = "?";

static void on_stop(int number) {
  (void)number;
  stopping = 1;
}

static const char *env(const char *name, const char *fallback) {
  const char *value = getenv(name);
  return value != NULL && *value != 0 ? value : fallback;
}

static void find_address(void) {
  struct ifaddrs *all, *i;
  if (getifaddrs(&all) != 0) return;
  for (i = all; i != NULL; i = i->ifa_next) {
    if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK)) continue;
    inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, address, sizeof address);
    break;
  }
  freeifaddrs(all);
}

static void write_all(int fd, const char *data, size_t length) {
  while (length > 0) {
    ssize_t n = write(fd, data, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    data += n;
    length -= (size_t)n;
  }
}

static void answer(int fd, int status, const char *body) {
  char head[256];
  int n = snprintf(head, sizeof head,
                   "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nX-Pod: %.100s\r\nConnection: close\r\n\r\n",
                   status, status == 200 ? "OK" : status == 503 ? "Service Unavailable" : "Not Found", strlen(body), hostname);
  write_all(fd, head, (size_t)n);
  write_all(fd, body, strlen(body));
}

static void fill_log(long bytes) {
  long written = 0, number = 0;
  while (written < bytes) {
    written += printf("%012ld the quick brown fox jumps over the lazy dog and comes back for another line of text\n", number++);
  }
  fflush(stdout);
}

static int is(const char *path, const char *name) {
  size_t n = strlen(name);
  return strncmp(path, name, n) == 0 && (path[n] == ' ' || path[n] == '?');
}

static void serve(struct client *c) {
  char body[MAX_REQUEST + 1024];
  char *path = strchr(c->request, ' ');
  if (path == NULL) return;
  path++;
  if (is(path, "/healthz")) {
    answer(c->fd, stopping ? 503 : 200, stopping ? "stopping\n" : "ok\n");
  } else if (is(path, "/version")) {
    snprintf(body, sizeof body, "%s\n", env("VERSION", "1"));
    answer(c->fd, 200, body);
  } else if (is(path, "/pod")) {
    snprintf(body, sizeof body, "%s\n", env("POD_NAME", hostname));
    answer(c->fd, 200, body);
  } else if (is(path, "/log")) {
    char *bytes = strstr(path, "bytes=");
    fill_log(bytes != NULL ? atol(bytes + 6) : 0);
    answer(c->fd, 200, "logged\n");
  } else if (is(path, "/")) {
    const char *headers = strchr(c->request, '\n');
    snprintf(body, sizeof body, "pod:     %s\naddress: %s\nnode:    %s\nversion: %s\n\n%s", env("POD_NAME", hostname), address,
             env("NODE_NAME", "?"), env("VERSION", "1"), headers != NULL ? headers + 1 : "");
    answer(c->fd, 200, body);
  } else {
    answer(c->fd, 404, "not found\n");
  }
}

static void read_from(struct client *c) {
  ssize_t n = read(c->fd, c->request + c->length, MAX_REQUEST - c->length);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n > 0) {
    c->length += (size_t)n;
    c->request[c->length] = 0;
    if (strstr(c->request, "\r\n\r\n") == NULL && strstr(c->request, "\n\n") == NULL && c->length < MAX_REQUEST) return;
    serve(c);
    shutdown(c->fd, SHUT_WR);
  }
  close(c->fd);
  c->fd = -1;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(void) {
  int one = 1, port = atoi(env("PORT", "80")), drain = atoi(env("DRAIN_SECONDS", "2"));
  struct sockaddr_in listen_on = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  struct sigaction stop = {.sa_handler = on_stop};
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  double stop_at = 0;
  sigset_t held, none;

  /* Only ppoll hears of a signal: it cannot come between the look at `stopping` and the wait. */
  sigemptyset(&none);
  sigemptyset(&held);
  sigaddset(&held, SIGTERM);
  sigaddset(&held, SIGINT);
  sigprocmask(SIG_BLOCK, &held, NULL);
  sigaction(SIGTERM, &stop, NULL);
  sigaction(SIGINT, &stop, NULL);
  signal(SIGPIPE, SIG_IGN);
  gethostname(hostname, sizeof hostname - 1);
  find_address();
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&listen_on, sizeof listen_on) != 0 || listen(listener, 512) != 0) {
    perror("listen");
    return 1;
  }
  printf("demo version %s on %s listens on port %d\n", env("VERSION", "1"), hostname, port);
  fflush(stdout);

  for (;;) {
    struct pollfd fds[MAX_CLIENTS + 1];
    const struct timespec moment = {.tv_nsec = 20000000};
    int i, ready, kept = 0;
    if (stopping && stop_at == 0) {
      stop_at = seconds() + drain;
      printf("demo stops in %d s\n", drain);
      fflush(stdout);
    }
    fds[0] = (struct pollfd){.fd = client_count < MAX_CLIENTS ? listener : -1, .events = POLLIN};
    for (i = 0; i < client_count; i++) fds[i + 1] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
    ready = ppoll(fds, (nfds_t)client_count + 1, stopping ? &moment : NULL, &none);
    if (ready < 0) continue;
    if (ready == 0 && client_count == 0 && stop_at != 0 && seconds() >= stop_at) return 0; /* nobody waits to be accepted */
    for (i = 0; i < client_count; i++) {
      if (fds[i + 1].revents != 0) read_from(&clients[i]);
    }
    for (i = 0; i < client_count; i++) {
      if (clients[i].fd < 0) continue;
      if (kept != i) clients[kept] = clients[i];
      kept++;
    }
    client_count = kept;
    if (fds[0].revents != 0) {
      int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
      if (fd >= 0) {
        clients[client_count].fd = fd;
        clients[client_count].length = 0;
        client_count++;
      }
    }
  }
}
