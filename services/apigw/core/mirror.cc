#include "services/apigw/core/mirror.h"

#include <glog/logging.h>

#include "libs/base/ids.h"
#include "schemas/bus_generated.h"

namespace gantry::apigw {
namespace {

constexpr size_t kReadLimit = 1000;
constexpr size_t kMaxWindowBytes = 32 << 20;
// After a burst the window shrinks to this much, as its entries grow older than lists and watches come back for.
constexpr size_t kQuietWindow = 1024;
constexpr auto kWindowAge = std::chrono::minutes(5);
constexpr auto kRetry = std::chrono::milliseconds(100);

size_t weight(const Mirror::Entry& entry) { return 200 + (entry.after ? entry.after.bytes().size() : 0); }

std::string_view bytes_of(const flatbuffers::Vector<uint8_t>* v) {
  return v == nullptr ? std::string_view() : std::string_view(reinterpret_cast<const char*>(v->data()), v->size());
}

}  // namespace

Mirror::Mirror(Loop& loop, state::Store& store, const model::Kind& kind, size_t window)
    : loop_(loop), store_(store), cache_(kind), max_window_(window), bodies_apart_(kind.resource == "secrets") {}

void Mirror::start() {
  watch_ = store_.watch(kind().resource, alive_.guard([this] { read_more(); }));
  expiry_ = loop_.every(std::chrono::seconds(1), [this] {
    trim();
    std::vector<Done> late;
    for (auto it = waiters_.begin(); it != waiters_.end();) {
      if (it->second.deadline > loop_.now()) {
        ++it;
        continue;
      }
      late.push_back(std::move(it->second.done));
      it = waiters_.erase(it);
    }
    for (auto& done : late)
      done(Error{Code::kTimeout, "the gateway's view of " + kind().resource + " is behind the store; try again"});
  });
  load();
}

// The heads come after the snapshot, so that none is missing. One that is ahead of the snapshot counts only up to it:
// who got it as the head of what the snapshot holds would never ask for what lies between.
void Mirror::load() {
  if (loading_) return;
  loading_ = true;
  store_.snapshot(kind().resource, alive_.guard([this](Result<state::Snapshot> snapshot) {
    if (!snapshot.ok()) return load_failed(snapshot.error());
    store_.heads(kind().resource, alive_.guard([this, snapshot = std::move(*snapshot)](auto heads) mutable {
      if (!heads.ok()) return load_failed(heads.error());
      loaded(std::move(snapshot), *heads);
    }));
  }));
}

void Mirror::load_failed(const Error& error) {
  loading_ = false;
  LOG_IF(WARNING, synced_ || error.code != Code::kUnavailable)
      << "snapshot failed, trying again: resource=" << kind().resource << " error=" << error.message;
  retry_ = loop_.after(kRetry, [this] { load(); });
}

void Mirror::loaded(state::Snapshot snapshot, const std::vector<std::pair<std::string, state::Revision>>& heads) {
  loading_ = false;
  heads_.clear();
  for (const auto& [chain, head] : heads) heads_[chain] = std::min(head, snapshot.revision);
  std::vector<model::Object> objects;
  objects.reserve(snapshot.objects.size());
  for (auto& stored : snapshot.objects) {
    if (!model::verify(*kind().type, stored.object)) {
      LOG(ERROR) << "unreadable object left out: " << kind().resource << "=" << stored.key.ns << "/" << stored.key.name;
      continue;
    }
    objects.emplace_back(kind(), std::move(stored.object), stored.revision);
  }
  // What came between the window's end and the snapshot was not seen one by one: watches from before it must start
  // again.
  first_ += window_.size() + 1;
  window_.clear();
  window_bytes_ = 0;
  revision_ = oldest_ = std::max(snapshot.revision, kNever);
  past_.forget_before(revision_);
  cache_.reset(revision_, std::move(objects));
  synced_ = true;
  cache_.mark_synced();
  moved();
  read_more();
}

void Mirror::read_more() {
  if (!synced_ || loading_) return;
  if (reading_) {
    again_ = true;
    return;
  }
  reading_ = true;
  again_ = false;
  store_.read_log(kind().resource, written(), kReadLimit,
                  alive_.guard([this](Result<std::vector<state::LogEntry>> entries) {
                    if (!entries.ok()) {
                      reading_ = false;
                      if (entries.code() == Code::kExpired) return load();
                      retry_ = loop_.after(kRetry, [this] { read_more(); });
                      return;
                    }
                    if (entries->size() == kReadLimit) again_ = true;
                    if (bodies_apart_ && !entries->empty()) return fill_bodies(std::move(*entries));
                    apply(*entries, {});
                  }));
}

// Only the newest state of an object can be fetched: entries that were overtaken are left out, so that no revision
// shows what it never was.
void Mirror::fill_bodies(std::vector<state::LogEntry> entries) {
  struct Pending {
    std::vector<state::LogEntry> entries;
    std::map<uint64_t, std::string> bodies;
    size_t left = 1;
    bool failed = false;
  };
  auto pending = std::make_shared<Pending>();
  pending->entries = std::move(entries);
  const auto finish = [this, pending] {
    if (--pending->left > 0) return;
    if (!pending->failed) return apply(pending->entries, pending->bodies);
    reading_ = false;
    retry_ = loop_.after(kRetry, [this] { read_more(); });
  };
  for (const auto& entry : pending->entries) {
    const auto* event = flatbuffers::GetRoot<bus::Event>(entry.event.data());
    if (event->type() != bus::EventType::Put) continue;
    ++pending->left;
    const state::Key key{kind().resource, std::string(model::str(event->namespace_())),
                         std::string(model::str(event->name()))};
    store_.get(key,
               alive_.guard([pending, finish, revision = entry.revision](Result<std::optional<state::Stored>> stored) {
                 if (!stored.ok()) {
                   pending->failed = true;
                 } else if (*stored && (*stored)->revision == revision) {
                   pending->bodies[revision] = std::move((*stored)->object);
                 }
                 finish();
               }));
  }
  finish();
}

void Mirror::apply(const std::vector<state::LogEntry>& entries, const std::map<uint64_t, std::string>& bodies) {
  reading_ = false;
  for (const auto& entry : entries) {
    if (entry.revision <= revision_) continue;
    if (!apply_one(entry, bodies)) return load();
  }
  if (!entries.empty()) moved();
  if (again_) read_more();
}

// False when the log does not follow from what is known: a new store epoch or a gap.
bool Mirror::apply_one(const state::LogEntry& entry, const std::map<uint64_t, std::string>& bodies) {
  const auto* event = flatbuffers::GetRoot<bus::Event>(entry.event.data());
  const bool same_epoch =
      revision_ == kNever || (entry.revision >> state::kEpochShift) == (revision_ >> state::kEpochShift);
  if (!same_epoch || event->previous() > revision_) return false;
  revision_ = entry.revision;
  raise_heads(entry);
  const std::string_view ns = model::str(event->namespace_()), name = model::str(event->name());
  const model::Object* found = cache_.find(ns, name);
  const model::Object before = found == nullptr ? model::Object() : *found;
  if (event->type() == bus::EventType::Delete) {
    cache_.remove(ns, name, revision_);
    if (before) remember({revision_, before, {}});
    return true;
  }
  std::string body;
  if (bodies_apart_) {
    const auto it = bodies.find(entry.revision);
    if (it == bodies.end()) return true;
    body = it->second;
  } else {
    body = bytes_of(event->object());
  }
  if (!model::verify(*kind().type, body)) {
    LOG(ERROR) << "unreadable event left out: " << kind().resource << "=" << ns << "/" << name
               << " revision=" << entry.revision;
    return true;
  }
  model::Object after(kind(), std::move(body), entry.revision);
  cache_.put(after, revision_);
  remember({revision_, before, std::move(after)});
  return true;
}

void Mirror::raise_heads(const state::LogEntry& entry) {
  const auto* event = flatbuffers::GetRoot<bus::Event>(entry.event.data());
  const auto raise = [&](const std::string& chain) {
    uint64_t& head = heads_[chain];
    head = std::max(head, entry.revision);
  };
  raise("all");
  raise("node." + encode_token(model::str(event->node())));
  raise("namespace." + encode_token(model::str(event->namespace_())));
  for (const auto& [node, bytes] : entry.node_events) raise("node." + encode_token(node));
}

uint64_t Mirror::chain_head(const std::string& chain) const {
  const auto it = heads_.find(chain);
  return it == heads_.end() ? 0 : it->second;
}

void Mirror::remember(Entry entry) {
  entry.at = loop_.now();
  window_bytes_ += weight(entry);
  window_.push_back(std::move(entry));
  trim();
}

void Mirror::trim() {
  const auto too_much = [this] {
    if (window_.size() > max_window_) return true;
    if (window_bytes_ > kMaxWindowBytes) return window_.size() > 1;
    return window_.size() > kQuietWindow && window_.front().at + kWindowAge < loop_.now();
  };
  const uint64_t before = oldest_;
  while (too_much()) {
    oldest_ = window_.front().revision;
    window_bytes_ -= weight(window_.front());
    window_.pop_front();
    ++first_;
  }
  if (oldest_ != before) past_.forget_before(oldest_);
}

std::optional<uint64_t> Mirror::after(uint64_t revision) const {
  if (revision < oldest_) return std::nullopt;
  const auto it = std::upper_bound(window_.begin(), window_.end(), revision,
                                   [](uint64_t r, const Entry& entry) { return r < entry.revision; });
  return first_ + static_cast<uint64_t>(it - window_.begin());
}

void Mirror::await(uint64_t revision, Done done, Duration limit) {
  if (synced_ && revision_ >= revision) return done(gantry::Done{});
  waiters_.emplace(revision, Waiter{loop_.now() + limit, std::move(done)});
  read_more();
}

void Mirror::at_head(Done done) {
  head_next_.push_back(std::move(done));
  if (head_sent_.empty()) send_head();
}

// One question at a time; whoever asks while it is on its way joins the next, because its answer may be older than what
// they have seen.
void Mirror::send_head() {
  head_sent_ = std::move(head_next_);
  head_next_.clear();
  store_.head(kind().resource, alive_.guard([this](Result<state::Revision> head) {
    auto waiting = std::move(head_sent_);
    head_sent_.clear();
    if (!head_next_.empty()) send_head();
    if (!head.ok()) {
      for (auto& done : waiting) done(head.error());
      return;
    }
    // The store has forgotten what was seen here: a replica without the tail took over.
    if (synced_ && std::max(*head, kNever) < revision_) {
      synced_ = false;
      load();
    }
    for (auto& done : waiting) await(*head, std::move(done));
  }));
}

std::shared_ptr<void> Mirror::on_moved(std::function<void()> callback) {
  auto held = std::make_shared<std::function<void()>>(std::move(callback));
  listeners_.push_back(held);
  return held;
}

void Mirror::moved() {
  std::vector<Done> ready;
  while (!waiters_.empty() && waiters_.begin()->first <= revision_) {
    ready.push_back(std::move(waiters_.begin()->second.done));
    waiters_.erase(waiters_.begin());
  }
  for (auto& done : ready) done(gantry::Done{});
  for (auto it = listeners_.begin(); it != listeners_.end();) {
    if (const auto listener = it->lock()) {
      (*listener)();
      ++it;
    } else {
      it = listeners_.erase(it);
    }
  }
}

}  // namespace gantry::apigw
