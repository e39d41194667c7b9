// Watches over HTTP: one JSON document for each event, in the form that Accept asked for, until the time-out, the
// client or the core ends it.
#include <fmt/format.h>

#include <charconv>
#include <random>

#include "services/apigw/render/render.h"
#include "services/apigw/rest/rest.h"

namespace gantry::apigw {
namespace {

class HttpWatch : public std::enable_shared_from_this<HttpWatch> {
 public:
  HttpWatch(Loop& loop, const Route& route, Form form, RowObject rows, bool bookmarks,
            std::shared_ptr<http::Responder> responder)
      : loop_(loop),
        kind_(*route.kind),
        form_(form),
        rows_(rows),
        bookmarks_(bookmarks),
        responder_(std::move(responder)) {}

  void start(Api& api, const Identity& identity, WatchRequest request, std::chrono::seconds timeout) {
    auto self = shared_from_this();  // the callbacks keep this alive until finish()
    keep_ = self;
    WatchCallbacks callbacks;
    callbacks.event = [this](WatchType type, const model::Object& object) { return event(type, object); };
    callbacks.bookmark = [this](uint64_t revision, bool initial_end) { bookmark(revision, initial_end); };
    callbacks.error = [this](const Error& error) { fail(error); };
    responder_->on_close([this] { finish(); });
    timer_ = loop_.after(timeout, [this] {
      open();
      responder_->end();
      finish();
    });
    initial_end_wanted_ = request.initial_events && !request.revision && bookmarks_;
    watch_ = api.watch(identity, std::move(request), std::move(callbacks));
    // A client waits for the head before it believes in the watch, and an error that comes at once should be a Status
    // with its own code.
    loop_.post([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->open();
    });
  }

 private:
  void open() {
    if (opened_ || finished_) return;
    opened_ = true;
    responder_->start(200, {{"Content-Type", "application/json"}, {"Cache-Control", "no-cache, private"}},
                      http::Length::kEndless);
  }

  bool event(WatchType type, const model::Object& object) {
    if (finished_) return true;
    open();
    const char* name = type == WatchType::kAdded ? "ADDED" : type == WatchType::kModified ? "MODIFIED" : "DELETED";
    responder_->write(watch_json(name, object, form_, rows_, !std::exchange(columns_sent_, true), loop_.wall()));
    if (responder_->buffered() < http::kHighWater) return true;
    responder_->on_drained([weak = weak_from_this()] {
      auto self = weak.lock();
      if (self && !self->finished_ && self->watch_) self->watch_->resume();
    });
    return false;
  }

  void bookmark(uint64_t revision, bool initial_end) {
    if (finished_) return;
    open();
    if (bookmarks_ && (!initial_end || initial_end_wanted_))
      responder_->write(bookmark_json(kind_, revision, initial_end, form_));
  }

  void fail(const Error& error) {
    if (finished_) return;
    if (!opened_) {
      send_failure(*responder_, error);
    } else {
      responder_->write(watch_error_json(error));
      responder_->end();
    }
    finish();
  }

  void finish() {
    if (finished_) return;
    finished_ = true;
    // The core may be in the middle of calling us: let it go after this turn.
    loop_.post([self = shared_from_this()] {
      self->timer_.reset();
      self->watch_.reset();
      self->keep_.reset();
    });
  }

  Loop& loop_;
  const model::Kind& kind_;
  Form form_;
  RowObject rows_;
  bool bookmarks_;
  std::shared_ptr<http::Responder> responder_;
  std::unique_ptr<Watch> watch_;
  Timer timer_;
  std::shared_ptr<HttpWatch> keep_;
  bool opened_ = false, finished_ = false, columns_sent_ = false, initial_end_wanted_ = false;
};

}  // namespace

void start_watch(Loop& loop, Api& api, const http::Request& request, const Route& route, const Identity& identity,
                 const Accepted& accepted, RowObject rows, std::shared_ptr<http::Responder> responder) {
  const auto& query = request.query;
  WatchRequest watch;
  watch.resource = route.kind->resource;
  watch.ns = route.ns;
  watch.name = route.name;
  watch.label_selector = query.get("labelSelector");
  watch.field_selector = query.get("fieldSelector");
  auto revision = query.get("resourceVersion");
  if (!revision.empty() && revision != "0") {
    uint64_t value = 0;
    auto [end, error] = std::from_chars(revision.data(), revision.data() + revision.size(), value);
    if (error != std::errc() || end != revision.data() + revision.size()) {
      return send_failure(
          *responder,
          {Code::kBadRequest,
           fmt::format("resourceVersion: Invalid value: \"{}\": strconv.ParseUint: parsing \"{}\": invalid syntax",
                       revision, revision)});
    }
    watch.revision = value;
  }
  if (query.get("sendInitialEvents") == "false") watch.initial_events = false;
  bool streaming_list = query.get("sendInitialEvents") == "true";
  if (streaming_list) {
    watch.revision.reset();  // all of the present first, at least as new as was asked
  }
  bool bookmarks =
      query.get("allowWatchBookmarks") == "true" || query.get("allowWatchBookmarks") == "1" || streaming_list;
  int64_t seconds = 0;
  auto timeout = query.get("timeoutSeconds");
  std::from_chars(timeout.data(), timeout.data() + timeout.size(), seconds);
  if (seconds <= 0) {
    static std::minstd_rand random(std::random_device{}());
    seconds = 1800 + static_cast<int64_t>(random() % 1800);  // spread, so that watches do not all come back at once
  }
  std::make_shared<HttpWatch>(loop, route, accepted.form, rows, bookmarks, std::move(responder))
      ->start(api, identity, std::move(watch), std::chrono::seconds(std::min<int64_t>(seconds, 86'400)));
}

}  // namespace gantry::apigw
