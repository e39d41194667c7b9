/* The process that holds a pod's namespaces: it reaps what is left to it and goes when it is told to. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_signal(int number) {
  if (number == SIGCHLD) {
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    return;
  }
  _exit(0);
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NOCLDSTOP};
  sigaction(SIGCHLD, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  for (;;) pause();
}
