#include "libs/http/exchange.h"

#include <fmt/format.h>

#include "libs/http/http1_parser.h"

namespace gantry::http {
namespace {

constexpr size_t kMaxHead = 256 * 1024;

class Preloaded final : public Stream {
 public:
  Preloaded(Loop& loop, std::shared_ptr<Stream> stream, std::string first)
      : loop_(loop), stream_(std::move(stream)), first_(std::move(first)) {}
  void write(std::string_view bytes) override { stream_->write(bytes); }
  size_t buffered() const override { return stream_->buffered(); }
  void on_drained(std::function<void()> callback) override { stream_->on_drained(std::move(callback)); }
  void on_data(std::function<void(std::string_view)> callback) override {
    if (first_.empty()) return stream_->on_data(std::move(callback));
    loop_.post([weak = std::weak_ptr(stream_), first = std::exchange(first_, {}), callback = std::move(callback)] {
      auto stream = weak.lock();
      if (!stream) return;
      stream->on_data(callback);
      callback(first);
    });
  }
  void on_close(std::function<void()> callback) override { stream_->on_close(std::move(callback)); }
  void pause() override { stream_->pause(); }
  void resume() override { stream_->resume(); }
  void close() override { stream_->close(); }
  bool closed() const override { return stream_->closed(); }

 private:
  Loop& loop_;
  std::shared_ptr<Stream> stream_;
  std::string first_;
};

class Exchange final : public ClientExchange, private Http1Sink, public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(Loop& loop, std::shared_ptr<Stream> stream, Callbacks callbacks)
      : loop_(loop), stream_(std::move(stream)), callbacks_(std::move(callbacks)) {}
  ~Exchange() override {
    if (stream_) stream_->close();
  }

  void start(const Message& message) {
    head_only_ = message.method == "HEAD";
    parser_ = Http1Parser::create(Http1Parser::Kind::kResponse, kMaxHead, *this);
    std::string out = fmt::format("{} {} HTTP/1.1\r\n", message.method, message.target);
    for (const auto& [name, value] : message.headers) out += fmt::format("{}: {}\r\n", name, value);
    bool body =
        !message.body.empty() || message.method == "POST" || message.method == "PUT" || message.method == "PATCH";
    if (body) out += fmt::format("Content-Length: {}\r\n", message.body.size());
    stream_->on_close([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->closed();
    });
    stream_->on_data([weak = weak_from_this()](std::string_view bytes) {
      if (auto self = weak.lock()) self->input(bytes);
    });
    stream_->write(out + "\r\n");
    if (!message.body.empty()) stream_->write(message.body);
  }

  void pause() override {
    if (stream_) stream_->pause();
  }
  void resume() override {
    if (stream_) stream_->resume();
  }

 private:
  void input(std::string_view bytes) {
    while (!bytes.empty() && !over_) {
      size_t used = parser_->feed(bytes);
      bytes.remove_prefix(used);
      if (status_ == 101) return upgrade(bytes);
      if (parser_->state() != Http1Parser::State::kOk) {
        return finish(Error{Code::kUnavailable, fmt::format("malformed HTTP response: {}", parser_->error())});
      }
      if (std::exchange(complete_, false)) {
        if (status_ >= 200) return finish(Done{});
        continue;  // 1xx: the answer is still to come
      }
      if (used == 0) return;
    }
  }

  void closed() {
    if (over_) return;
    parser_->finish();
    if (complete_ && status_ >= 200) return finish(Done{});
    finish(Error{Code::kUnavailable, status_ == 0 ? "EOF" : "the connection ended before the answer did"});
  }

  void upgrade(std::string_view rest) {
    if (std::exchange(over_, true)) return;
    auto stream = std::exchange(stream_, nullptr);
    stream->on_data(nullptr);
    stream->on_close(nullptr);
    auto callbacks = std::move(callbacks_);
    if (!rest.empty()) stream = preloaded(loop_, stream, std::string(rest));
    callbacks.upgraded(std::move(headers_), std::move(stream));
  }

  void finish(Status status) {
    if (std::exchange(over_, true)) return;
    stream_->close();
    auto callbacks = std::move(callbacks_);
    callbacks.end(std::move(status));
  }

  Next on_head(Http1Head head) override {
    status_ = head.status;
    if (status_ == 101) {
      headers_ = std::move(head.headers);
      return Next::kUpgrade;
    }
    if (status_ >= 200) callbacks_.head(status_, std::move(head.headers));
    return head_only_ ? Next::kNoBody : Next::kBody;
  }
  bool on_body(std::string_view bytes) override {
    if (!over_) callbacks_.data(bytes);
    return !over_;
  }
  void on_complete() override { complete_ = true; }

  Loop& loop_;
  std::shared_ptr<Stream> stream_;
  Callbacks callbacks_;
  std::unique_ptr<Http1Parser> parser_;
  Headers headers_;
  int status_ = 0;
  bool head_only_ = false, complete_ = false, over_ = false;
};

}  // namespace

std::shared_ptr<Stream> preloaded(Loop& loop, std::shared_ptr<Stream> stream, std::string first) {
  if (first.empty()) return stream;
  return std::make_shared<Preloaded>(loop, std::move(stream), std::move(first));
}

void join_streams(std::shared_ptr<Stream> one, std::shared_ptr<Stream> other) {
  // Each side's callbacks hold the other side; closing one releases both.
  auto direct = [](const std::shared_ptr<Stream>& from, const std::shared_ptr<Stream>& to) {
    from->on_close([to] { to->close(); });
    from->on_data([to, weak = std::weak_ptr(from)](std::string_view bytes) {
      to->write(bytes);
      auto from = weak.lock();
      if (!from || to->buffered() < kHighWater) return;
      from->pause();
      to->on_drained([weak] {
        if (auto from = weak.lock()) from->resume();
      });
    });
  };
  direct(one, other);
  direct(other, one);
}

std::shared_ptr<ClientExchange> ClientExchange::start(Loop& loop, std::shared_ptr<Stream> stream,
                                                      const Message& message, Callbacks callbacks) {
  auto exchange = std::make_shared<Exchange>(loop, std::move(stream), std::move(callbacks));
  exchange->start(message);
  return exchange;
}

}  // namespace gantry::http
