#include "services/apigw/core/watcher.h"

#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

using model::Object;

constexpr auto kBookmarkPeriod = std::chrono::seconds(60);

// Shared with the callbacks on their way, which find it closed when the watch is gone.
class Watcher : public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(Loop& loop, Mirror& mirror, WatchRequest request, WatchCallbacks callbacks)
      : loop_(loop), mirror_(&mirror), request_(std::move(request)), callbacks_(std::move(callbacks)) {}
  Watcher(Loop& loop, WatchCallbacks callbacks) : loop_(loop), callbacks_(std::move(callbacks)) {}

  void start() {
    auto filter =
        Filter::make(mirror_->kind(), request_.ns, request_.name, request_.label_selector, request_.field_selector);
    if (!filter.ok()) return fail_later(std::move(filter.error()));
    filter_ = std::move(*filter);
    // Only initial events wait for a revision of the future.
    bus::Command wanted;
    wanted.revision = request_.not_older_than;
    if (request_.any) wanted.match = bus::Match::kAny;
    loop_.post([self = weak_from_this(), wanted] {
      const auto watcher = self.lock();
      if (!watcher) return;
      await_view(*watcher->mirror_, wanted, [self](Status status) {
        if (const auto w = self.lock()) w->begin(std::move(status));
      });
    });
  }
  void fail_later(Error error) {
    loop_.post([self = weak_from_this(), error = std::move(error)] {
      if (const auto watcher = self.lock()) watcher->fail(error);
    });
  }
  void fail(Error error) {
    if (std::exchange(closed_, true)) return;
    moved_.reset();
    bookmarks_.reset();
    if (callbacks_.error) callbacks_.error(error);
  }
  void close() {
    closed_ = true;
    moved_.reset();
    bookmarks_.reset();
  }
  void remind() {
    if (closed_ || paused_ || !initial_told_ || !moved_ || next_ != mirror_->end()) return;
    bookmarked_ = told_ = mirror_->revision();
    if (callbacks_.bookmark) callbacks_.bookmark(bookmarked_, false);
  }
  void resume() {
    paused_ = false;
    loop_.post([self = weak_from_this()] {
      if (const auto watcher = self.lock()) watcher->pump();
    });
  }

 private:
  void begin(Status status) {
    if (closed_) return;
    if (!status.ok()) return fail(status.error());
    const uint64_t from = request_.revision.value_or(0);
    if (from > mirror_->revision()) return fail(too_large_revision(from, mirror_->revision()));
    if (from != 0) {
      const auto position = mirror_->after(from);
      if (!position) return fail(expired(from, mirror_->oldest()));
      next_ = *position;
      told_ = from;
    } else {
      next_ = mirror_->end();
      told_ = mirror_->revision();
      if (request_.initial_events) {
        const auto take = [&](const Object& object) {
          if (filter_.matches(object)) initial_.push_back(object);
        };
        request_.ns.empty() ? mirror_->cache().for_each(take) : mirror_->cache().for_each_in(request_.ns, take);
      }
    }
    moved_ = mirror_->on_moved([this] { pump(); });
    bookmarks_ = loop_.every(kBookmarkPeriod, [this] { bookmark(); });
    pump();
  }

  void pump() {
    const auto self = shared_from_this();  // a callback may end the watch
    while (!closed_ && !paused_ && !initial_.empty()) {
      const Object object = std::move(initial_.front());
      initial_.pop_front();
      tell(WatchType::kAdded, object);
    }
    if (closed_ || paused_) return;
    if (!initial_told_) {
      initial_told_ = true;
      if (callbacks_.bookmark) callbacks_.bookmark(told_, true);
    }
    while (!closed_ && !paused_ && moved_) {
      if (next_ < mirror_->begin()) return fail(expired(told_, mirror_->oldest()));
      if (next_ >= mirror_->end()) return;
      const Mirror::Entry entry = mirror_->entry(next_++);
      told_ = entry.revision;
      step(entry);
    }
  }

  void step(const Mirror::Entry& entry) {
    const bool before = filter_.matches(entry.before), after = filter_.matches(entry.after);
    if (after) {
      tell(before ? WatchType::kModified : WatchType::kAdded, entry.after);
    } else if (before) {
      tell(WatchType::kDeleted, entry.before.at(entry.revision));
    }
  }

  void tell(WatchType type, const Object& object) { paused_ = !callbacks_.event(type, object); }

  void bookmark() {
    if (mirror_->revision() != bookmarked_) remind();
  }

  Loop& loop_;
  Mirror* mirror_ = nullptr;
  WatchRequest request_;
  WatchCallbacks callbacks_;
  Filter filter_;
  std::deque<Object> initial_;
  bool closed_ = false, paused_ = false, initial_told_ = false;
  uint64_t next_ = 0, told_ = 0, bookmarked_ = 0;
  std::shared_ptr<void> moved_;
  Timer bookmarks_;
};

class Handle final : public Watch {
 public:
  explicit Handle(std::shared_ptr<Watcher> watcher) : watcher_(std::move(watcher)) {}
  ~Handle() override { watcher_->close(); }
  void resume() override { watcher_->resume(); }
  void remind() override { watcher_->remind(); }

 private:
  std::shared_ptr<Watcher> watcher_;
};

}  // namespace

std::unique_ptr<Watch> watch_mirror(Loop& loop, Mirror& mirror, WatchRequest request, WatchCallbacks callbacks) {
  auto watcher = std::make_shared<Watcher>(loop, mirror, std::move(request), std::move(callbacks));
  watcher->start();
  return std::make_unique<Handle>(watcher);
}

std::unique_ptr<Watch> failed_watch(Loop& loop, Error error, WatchCallbacks callbacks) {
  auto watcher = std::make_shared<Watcher>(loop, std::move(callbacks));
  watcher->fail_later(std::move(error));
  return std::make_unique<Handle>(watcher);
}

}  // namespace gantry::apigw
