// Byte streams over the bus (logs, exec, attach, port-forward) with credits: a sender never has more on the way than
// the receiver has granted.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "libs/bus/bus.h"
#include "schemas/node_generated.h"

namespace gantry::bus {

struct SessionEnd {
  std::optional<int> exit_code;
  std::string error;  // empty: a clean end
};

/// One side of a session. Loop's thread only. Destroying it closes the session ("gone"), also from within a callback;
/// no callback comes after. The bus and the loop outlive it.
class Session {
 public:
  virtual ~Session() = default;
  struct Callbacks {
    /// Data or (empty, end=true) the end of a channel. The credit for `data` goes back only after consume() is called.
    std::function<void(node::Channel channel, std::string_view data, bool end)> data;
    std::function<void(const SessionEnd&)> closed;  // once; nothing after it
    std::function<void()> writable;                 // credit came back after write() had returned false
  };
  /// Queues data; returns false when the sender should wait for writable(). Frames are cut to 64 KiB. What is queued
  /// beyond the credit is bounded: more than 4 MiB closes the session.
  virtual bool write(node::Channel channel, std::string_view data) = 0;
  virtual void end(node::Channel channel) = 0;
  virtual void consume(size_t bytes) = 0;
  /// Sends what is queued first, then the close; `closed` is called when that is done. Destroying the session earlier
  /// drops what is queued.
  virtual void close(SessionEnd end) = 0;
  /// Bytes queued that wait for credit.
  virtual size_t queued() const = 0;
};

/// SessionRequest::address of the agent's own health server.
inline constexpr char kAgentAddress[] = "agent";

/// The only word of SessionRequest::command, with kind Logs: not what a container wrote is asked for but how its pod
/// came to be ready, one node.PodTrace (schemas/trace.fbs) on stdout.
inline constexpr char kTraceCommand[] = "trace";

struct SessionRequest {
  node::SessionKind kind = node::SessionKind::Logs;
  std::string ns, pod, uid, container;
  std::vector<std::string> command;
  bool in = false, out = true, err = true, tty = false;
  // logs
  bool follow = false, previous = false, timestamps = false;
  std::optional<int64_t> tail_lines, since_seconds, since_time, limit_bytes;
  uint16_t port = 0;  // port-forward
  /// PortForward without a pod: a TCP connection from the node to ip:port, or to kAgentAddress, for the proxy
  /// subresources. With `tls` the node speaks TLS to it and accepts any certificate.
  std::string address;
  bool tls = false;
  bool trace() const { return kind == node::SessionKind::Logs && command.size() == 1 && command[0] == kTraceCommand; }
};

/// apigw's side: asks the node, answers with an open session or the node's error (kUnavailable when the agent does not
/// answer). A peer that sends nothing for 30 s while pinged each 10 s is gone: closed with an error.
void open_session(Loop& loop, Bus& bus, const std::string& node, const SessionRequest& request,
                  Session::Callbacks callbacks, std::function<void(Result<std::unique_ptr<Session>>)> done);

/// A client's side (the CLI): asks any gateway, which authorizes `identity` and joins the session to the pod's node.
/// Errors as open_session's, in the API server's words.
void open_client_session(Loop& loop, Bus& bus, const std::string& identity, const SessionRequest& request,
                         Session::Callbacks callbacks, std::function<void(Result<std::unique_ptr<Session>>)> done);

/// The node's side: called for each request; either accept (returns callbacks and keeps the session it is given) or
/// refuse.
class SessionAcceptor {
 public:
  virtual ~SessionAcceptor() = default;
  /// Called once per request. `accept(callbacks)` opens the session and returns it; `refuse(error)` declines. Exactly
  /// one of them, now or later.
  struct Offer {
    SessionRequest request;
    std::function<std::unique_ptr<Session>(Session::Callbacks)> accept;
    std::function<void(Error)> refuse;
  };
};
std::unique_ptr<Subscription> accept_sessions(Loop& loop, Bus& bus, const std::string& node,
                                              std::function<void(SessionAcceptor::Offer)> handler);

/// The gateway's side towards clients: `identity` is who asks, by the subject that only it may publish on. One member
/// of the queue group `apigw` gets each request. A reply subject outside of the identity's inbox is not answered.
std::unique_ptr<Subscription> accept_client_sessions(
    Loop& loop, Bus& bus, std::function<void(const std::string& identity, SessionAcceptor::Offer)> handler);

}  // namespace gantry::bus
