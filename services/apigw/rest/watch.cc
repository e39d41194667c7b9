// Watches over HTTP: a frame for each event, in the form that Accept asked for, until the time-out, the client or the
// core ends it.
#include <fmt/format.h>

#include <random>

#include "services/apigw/render/frames.h"
#include "services/apigw/rest/options.h"
#include "services/apigw/rest/rest.h"

namespace gantry::apigw {
namespace {

// A watcher that has this much before it is left alone until it has read: its place in the window costs nothing.
constexpr size_t kEnough = 128 * 1024;

class HttpWatch : public std::enable_shared_from_this<HttpWatch> {
 public:
  HttpWatch(Loop& loop, Frames& frames, const model::Kind& kind, const Shape& shape, FlowControl::Seat seat,
            std::shared_ptr<http::Responder> responder)
      : loop_(loop),
        frames_(frames),
        kind_(kind),
        shape_(shape),
        seat_(std::move(seat)),
        responder_(std::move(responder)) {}

  void start(Api& api, const Identity& identity, WatchOptions options) {
    keep_ = shared_from_this();  // the callbacks keep this alive until finish()
    WatchCallbacks callbacks;
    callbacks.event = [this](WatchType type, const model::Object& object) { return event(type, object); };
    callbacks.bookmark = [this](uint64_t revision, bool initial_end) { bookmark(revision, initial_end); };
    callbacks.error = [this](const Error& error) { fail(error); };
    responder_->on_close([this] { finish(); });
    timer_ = loop_.after(options.timeout, [this] { time_out(); });
    bookmarks_ = options.bookmarks;
    const auto& request = options.request;
    initial_end_wanted_ = request.initial_events && !request.revision && options.streaming_list && bookmarks_;
    watch_ = api.watch(identity, std::move(options.request), std::move(callbacks));
  }

 private:
  void open() {
    if (opened_ || finished_) return;
    opened_ = true;
    responder_->start(200,
                      {{"Content-Type", watch_content_type(shape_.encoding)},
                       {"Cache-Control", "no-cache, private"},
                       {"Vary", "Accept"}},
                      http::Length::kEndless);
  }

  bool event(WatchType type, const model::Object& object) {
    if (finished_) return true;
    open();
    const char* name = type == WatchType::kAdded ? "ADDED" : type == WatchType::kModified ? "MODIFIED" : "DELETED";
    responder_->write(*frames_.event(name, object, shape_, !std::exchange(columns_sent_, true), loop_.wall()));
    if (responder_->buffered() < kEnough) return true;
    responder_->on_drained([weak = weak_from_this()] {
      auto self = weak.lock();
      if (self && !self->finished_ && self->watch_) self->watch_->resume();
    });
    return false;
  }

  void bookmark(uint64_t revision, bool initial_end) {
    if (initial_end) seat_.reset();
    if (finished_) return;
    open();
    if (bookmarks_ && (!initial_end || initial_end_wanted_))
      responder_->write(Frames::bookmark(kind_, revision, initial_end, shape_));
  }

  // Who comes back after this need not see again what this watch has told.
  void time_out() {
    if (finished_) return;
    open();
    if (watch_) watch_->remind();
    responder_->end();
    finish();
  }

  // Once the request itself is found to be in order, an error is an event: clients expect it so.
  void fail(const Error& error) {
    if (finished_) return;
    const bool as_event = opened_ || error.code == Code::kExpired || error.code == Code::kTooLargeRevision;
    if (as_event) {
      open();
      responder_->write(Frames::error(error, shape_));
      responder_->end();
    } else {
      send_failure(*responder_, error, shape_);
    }
    finish();
  }

  void finish() {
    if (finished_) return;
    finished_ = true;
    // The core may be in the middle of calling us: let it go after this turn.
    loop_.post([self = shared_from_this()] {
      self->seat_.reset();
      self->timer_.reset();
      self->watch_.reset();
      self->keep_.reset();
    });
  }

  Loop& loop_;
  Frames& frames_;
  const model::Kind& kind_;
  const Shape shape_;
  FlowControl::Seat seat_;
  std::shared_ptr<http::Responder> responder_;
  std::unique_ptr<Watch> watch_;
  Timer timer_;
  std::shared_ptr<HttpWatch> keep_;
  bool bookmarks_ = false, initial_end_wanted_ = false;
  bool opened_ = false, finished_ = false, columns_sent_ = false;
};

}  // namespace

void start_watch(Loop& loop, Api& api, Frames& frames, const http::Request& request, const Route& route,
                 const Identity& identity, const Shape& shape, FlowControl::Seat seat,
                 std::shared_ptr<http::Responder> responder) {
  auto options = read_watch_options(route, request.query);
  if (!options.ok()) return send_failure(*responder, options.error(), shape);
  if (options->timeout.count() == 0) {
    static std::minstd_rand random(std::random_device{}());
    // Spread, so that watches do not all come back at once.
    options->timeout = std::chrono::seconds(1800 + static_cast<int64_t>(random() % 1800));
  }
  std::make_shared<HttpWatch>(loop, frames, *route.kind, shape, std::move(seat), std::move(responder))
      ->start(api, identity, std::move(*options));
}

}  // namespace gantry::apigw
