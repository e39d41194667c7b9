// Sessions that carry bytes both ways: exec, attach, port-forward and dial. Back-pressure goes through in both
// directions: what the peer does not read is not read from the process, and what the process does not take gives no
// credit back.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "libs/bus/session.h"
#include "libs/http/responder.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// A process in a container: one of its own (exec; destroying this kills it) or the container's (attach; destroying
/// this detaches). Loop's thread only.
class ExecSession {
 public:
  explicit ExecSession(std::function<void()> finished) : finished_(std::move(finished)) {}
  Process::Callbacks process_callbacks();
  bus::Session::Callbacks session_callbacks();
  /// Both ends are there: begins. What the process said before waits in here.
  void start(std::unique_ptr<Process> process, std::unique_ptr<bus::Session> session);

 private:
  void to_process(node::Channel channel, std::string_view data, bool end);
  void close(bus::SessionEnd end);

  std::function<void()> finished_;
  std::unique_ptr<Process> process_;
  std::unique_ptr<bus::Session> session_;
  std::vector<std::pair<bool, std::string>> early_;
  std::optional<bus::SessionEnd> early_end_;
  size_t owed_ = 0;  // bytes whose credit waits for the process
  bool done_ = false;
};

/// A TCP connection into a pod. Takes the socket. Loop's thread only; destroying it closes the connection.
class PortSession {
 public:
  PortSession(UvLoop& loop, int fd, std::function<void()> finished);
  ~PortSession();
  bus::Session::Callbacks session_callbacks();
  void start(std::unique_ptr<bus::Session> session);

 private:
  struct Socket;
  void read(bool on);
  void to_socket(std::string_view data, bool end);
  void close(const std::string& error);
  /// Each side may end on its own; the session ends when both have.
  void close_if_ended();

  std::function<void()> finished_;
  std::unique_ptr<bus::Session> session_;
  Socket* socket_;
  bool done_ = false, input_ended_ = false;
};

/// A connection to any address, for the gateway's proxy. Ends when the peer closes. Loop's thread only.
class DialSession {
 public:
  DialSession(std::shared_ptr<http::Stream> stream, std::function<void()> finished);
  bus::Session::Callbacks session_callbacks();
  void start(std::unique_ptr<bus::Session> session);

 private:
  std::function<void()> finished_;
  std::unique_ptr<bus::Session> session_;
  std::shared_ptr<http::Stream> stream_;
  size_t owed_ = 0;
  bool done_ = false;
};

}  // namespace gantry::nodeagent
