// logs and exec.
#include <fmt/format.h>
#include <unistd.h>

#include "tools/gantry/client/resources.h"
#include "tools/gantry/client/session_run.h"
#include "tools/gantry/client/verbs.h"

namespace gantry::client {
namespace {

Result<bus::SessionRequest> of_pod(const Options& options, node::SessionKind kind) {
  auto pod = parse_pod(options.arguments);
  if (!pod) return pod.error();
  bus::SessionRequest request;
  request.kind = kind;
  request.ns = options.ns;
  request.pod = std::move(*pod);
  request.container = options.container;
  return request;
}

Result<int> run(const Options& options, const bus::SessionRequest& request) {
  auto gateway = Gateway::connect(options.connect);
  if (!gateway) return gateway.error();
  return run_session((*gateway)->loop(), (*gateway)->bus(), options.connect.identity, request);
}

}  // namespace

Result<int> logs(const Options& options) {
  auto request = of_pod(options, node::SessionKind::Logs);
  if (!request) return request.error();
  request->follow = options.follow;
  request->previous = options.previous;
  request->timestamps = options.timestamps;
  if (options.tail && *options.tail >= 0) request->tail_lines = options.tail;
  request->since_seconds = options.since_seconds;
  request->limit_bytes = options.limit_bytes;
  return run(options, *request);
}

Result<int> exec(const Options& options) {
  auto request = of_pod(options, node::SessionKind::Exec);
  if (!request) return request.error();
  if (options.command.empty()) {
    return Error{.code = Code::kBadRequest,
                 .message = "you must specify at least one command for the container: gantry exec POD -- COMMAND"};
  }
  request->command = options.command;
  request->in = options.in;
  request->tty = options.tty;
  if (request->tty && !(request->in && isatty(STDIN_FILENO) != 0)) {
    if (request->in) fmt::print(stderr, "Unable to use a TTY - input is not a terminal or the right kind of file\n");
    request->tty = !request->in;
  }
  request->err = !request->tty;
  auto code = run(options, *request);
  if (code && *code != 0) fmt::print(stderr, "command terminated with exit code {}\n", *code);
  return code;
}

}  // namespace gantry::client
