#include "services/nodeagent/cri/attach.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/http/dial.h"
#include "libs/http/spdy.h"

namespace gantry::nodeagent {
namespace {

using http::SpdySession;

constexpr size_t kMaxStatus = 64 * 1024;

class Attached final : public Process, public http::SpdyHandler {
 public:
  Attached(std::shared_ptr<http::Stream> stream, const ExecOptions& options, Callbacks callbacks)
      : callbacks_(std::move(callbacks)) {
    session_ = SpdySession::create(std::move(stream), SpdySession::Role::kClient, *this);
    auto open = [&](const char* type) { return session_->open({{"streamtype", type}}); };
    error_ = open("error");
    if (options.in) in_ = open("stdin");
    if (options.out) out_ = open("stdout");
    if (options.err && !options.tty) err_ = open("stderr");
    if (options.tty) resize_ = open("resize");
  }
  ~Attached() override {
    session_->detach();
    session_->close();
  }

  bool write(std::string_view data) override {
    if (in_ != 0) session_->write(in_, data);
    return session_->buffered() < http::kHighWater;
  }
  void close_stdin() override {
    if (in_ != 0) session_->finish(in_);
  }
  void resize(uint16_t columns, uint16_t rows) override {
    if (resize_ != 0) session_->write(resize_, fmt::format("{{\"Width\":{},\"Height\":{}}}\n", columns, rows));
  }
  void read(bool on) override { on ? session_->resume() : session_->pause(); }

 private:
  void on_stream(uint32_t stream, const http::Headers&, bool) override {
    session_->reset(stream, SpdySession::kRefused);  // a runtime opens none
  }
  void on_data(uint32_t stream, std::string_view data, bool fin) override {
    session_->consume(stream, data.size());
    if (stream == error_) {
      if (status_.size() < kMaxStatus) status_ += data;
      if (fin) end();
      return;
    }
    auto alive = std::weak_ptr(alive_);
    if (!data.empty()) callbacks_.output(stream == err_, data);
    if (fin && !alive.expired() && callbacks_.output_end) callbacks_.output_end(stream == err_);
  }
  void on_reset(uint32_t stream, uint32_t) override {
    if (stream == error_) end();
  }
  void on_drained() override {
    if (callbacks_.drained) callbacks_.drained();
  }
  void on_closed(const std::string&) override { end(); }

  void end() {
    if (std::exchange(ended_, true)) return;
    auto status = nlohmann::json::parse(status_, nullptr, false);
    bool failed = status.is_object() && status.contains("status") && status["status"] == "Failure";
    if (failed) {
      auto message = status.contains("message") && status["message"].is_string()
                         ? status["message"].get<std::string>()
                         : "the runtime broke the attachment off";
      return callbacks_.exited(Error{Code::kInternal, message});
    }
    callbacks_.exited(0);
  }

  Callbacks callbacks_;
  std::shared_ptr<SpdySession> session_;
  uint32_t error_ = 0, in_ = 0, out_ = 0, err_ = 0, resize_ = 0;
  std::string status_;
  bool ended_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

void start_attach(UvLoop& loop, const std::string& url, const ExecOptions& options, Process::Callbacks callbacks,
                  Runtime::Done<std::unique_ptr<Process>> done) {
  constexpr std::string_view kScheme = "http://";
  auto slash = url.find('/', kScheme.size());
  if (!url.starts_with(kScheme) || slash == std::string::npos) {
    return done(Error{Code::kInternal, fmt::format("the runtime's attach URL \"{}\" is not understood", url)});
  }
  http::UpgradeRequest request;
  request.to.address = url.substr(kScheme.size(), slash - kScheme.size());
  request.target = url.substr(slash);
  request.headers = {{"Upgrade", "SPDY/3.1"}, {"X-Stream-Protocol-Version", "v4.channel.k8s.io"}};
  http::upgrade(loop, std::move(request),
                [options, callbacks = std::move(callbacks),
                 done = std::move(done)](Result<std::shared_ptr<http::Stream>> stream) {
                  if (!stream.ok()) return done(stream.error());
                  done(std::unique_ptr<Process>(new Attached(*stream, options, callbacks)));
                });
}

}  // namespace gantry::nodeagent
