#include "tools/gantry/client/session_run.h"

#include <signal.h>

#include "tools/gantry/client/streams.h"
#include "tools/gantry/client/terminal.h"

namespace gantry::client {
namespace {

/// A signal on the loop while it lives.
class OnSignal {
 public:
  OnSignal(UvLoop& loop, int signal, std::function<void()> call) : call_(std::move(call)), handle_(new uv_signal_t) {
    uv_signal_init(loop.raw(), handle_);
    handle_->data = this;
    uv_signal_start(
        handle_, [](uv_signal_t* h, int) { static_cast<OnSignal*>(h->data)->call_(); }, signal);
  }
  ~OnSignal() {
    uv_close(reinterpret_cast<uv_handle_t*>(handle_), [](uv_handle_t* h) { delete reinterpret_cast<uv_signal_t*>(h); });
  }
  OnSignal(const OnSignal&) = delete;
  OnSignal& operator=(const OnSignal&) = delete;

 private:
  std::function<void()> call_;
  uv_signal_t* handle_;  // freed by the loop
};

class Run {
 public:
  Run(UvLoop& loop, const bus::SessionRequest& request, SessionStreams streams)
      : loop_(loop),
        request_(request),
        streams_(streams),
        out_(
            loop, streams.out, [this](size_t n) { wrote(n); }, [this] { over(0); }),
        err_(
            loop, streams.err, [this](size_t n) { wrote(n); }, [this] { over(0); }) {}

  Result<int> open(bus::Bus& bus, const std::string& identity) {
    bus::Session::Callbacks callbacks{
        .data = [this](node::Channel channel, std::string_view data, bool) { received(channel, data); },
        .closed = [this](const bus::SessionEnd& end) { closed(end); },
        .writable =
            [this] {
              if (in_) in_->next();
            }};
    bus::open_client_session(loop_, bus, identity, request_, std::move(callbacks),
                             [this](Result<std::unique_ptr<bus::Session>> session) {
                               if (!session.ok()) return over(session.error());
                               session_ = std::move(*session);
                               begin();
                             });
    while (!result_ || (drain_ && out_.pending() + err_.pending() > 0)) loop_.run_once();
    session_.reset();
    leave(bus);
    return *result_;
  }

 private:
  void begin() {
    // So that the terminal is put back and the other side is told.
    for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
      signals_.push_back(std::make_unique<OnSignal>(loop_, signal, [this, signal] { over(128 + signal); }));
    }
    if (request_.tty) {
      if (request_.in) raw_.emplace(streams_.in);
      tell_size();
      signals_.push_back(std::make_unique<OnSignal>(loop_, SIGWINCH, [this] { tell_size(); }));
    }
    if (!request_.in) return;
    in_ = std::make_unique<Reader>(loop_, streams_.in, [this](std::string_view data) {
      if (data.empty()) return session_->end(node::Channel::Stdin);
      if (session_->write(node::Channel::Stdin, data)) in_->next();
    });
  }

  void tell_size() {
    const auto size = terminal_size(streams_.in);
    if (!size.empty()) session_->write(node::Channel::Resize, size);
  }

  void received(node::Channel channel, std::string_view data) {
    if (!data.empty()) (channel == node::Channel::Stderr ? err_ : out_).write(data);
  }

  void wrote(size_t bytes) {
    if (session_) session_->consume(bytes);
  }

  void closed(const bus::SessionEnd& end) {
    if (result_) return;
    drain_ = true;
    if (!end.error.empty()) {
      result_ = Error{Code::kUnavailable, end.error};
    } else {
      result_ = end.exit_code.value_or(0);
    }
  }

  /// Without waiting for anything.
  void over(Result<int> result) {
    if (!result_) result_ = std::move(result);
    drain_ = false;
  }

  /// Until the bus has what we said last.
  void leave(bus::Bus& bus) {
    auto said = std::make_shared<bool>(false);
    bus.flush([said](const Status&) { *said = true; });
    const auto limit = loop_.after(std::chrono::seconds(1), [said] { *said = true; });
    while (!*said) loop_.run_once();
  }

  UvLoop& loop_;
  const bus::SessionRequest& request_;
  SessionStreams streams_;
  std::optional<Result<int>> result_;
  bool drain_ = false;  // the output is still worth waiting for
  std::unique_ptr<bus::Session> session_;
  std::unique_ptr<Reader> in_;
  Writer out_, err_;
  // Last, so that they go first: a second Ctrl-C ends the program even if nobody takes its output.
  std::optional<RawTerminal> raw_;
  std::vector<std::unique_ptr<OnSignal>> signals_;
};

}  // namespace

Result<int> run_session(UvLoop& loop, bus::Bus& bus, const std::string& identity, const bus::SessionRequest& request,
                        SessionStreams streams) {
  return Run(loop, request, streams).open(bus, identity);
}

}  // namespace gantry::client
