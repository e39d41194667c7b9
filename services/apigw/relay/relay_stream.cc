#include "services/apigw/relay/relay_stream.h"

#include <fmt/format.h>
#include <glog/logging.h>

#include <charconv>

#include "libs/base/ids.h"
#include "libs/bus/events.h"
#include "libs/model/object.h"
#include "schemas/bus_generated.h"

namespace gantry::apigw {
namespace {

using model::str;

constexpr size_t kBatch = 500;
constexpr auto kRetry = std::chrono::milliseconds(50);
constexpr int kCheckTicks = 5;  // seconds between looks at the store's heads
constexpr int kTrimTicks = 5;
constexpr auto kLively = std::chrono::seconds(2);
constexpr int kQuietTicks = 20;

uint64_t parse(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

template <typename F>
auto RelayStream::guard(F f) {
  return [f = std::move(f), alive = std::weak_ptr(token_)](auto&&... args) mutable {
    if (!alive.expired()) f(std::forward<decltype(args)>(args)...);
  };
}

RelayStream::RelayStream(Loop& loop, state::Store& store, bus::Bus& bus, std::string resource,
                         const RelayConfig& config, Relay::Counters& counters)
    : loop_(loop), store_(store), bus_(bus), resource_(std::move(resource)), config_(config), counters_(counters) {
  watch_ = store_.watch(resource_, guard([this] { pump(); }));
  // What was in the connection's buffer may be lost with the connection.
  connection_ = bus_.on_connection(guard([this](bool connected) {
    if (connected && started_) rewind("the bus was reconnected");
  }));
  begin();
}

void RelayStream::begin() {
  store_.get_cursor("relay/" + resource_, guard([this](Result<std::optional<std::string>> cursor) {
                      if (!cursor.ok()) {
                        retry_ = loop_.after(kRetry, [this] { begin(); });
                        return;
                      }
                      if (*cursor) cursor_ = position_ = saved_ = parse(**cursor);
                      started_ = true;
                      load_heads();
                      pump();
                    }));
}

// All chains for a while: whoever lost the tail of the relay before this one finds out.
void RelayStream::load_heads() {
  store_.heads(resource_, guard([this](Result<std::vector<std::pair<std::string, state::Revision>>> heads) {
                 if (!heads.ok()) {
                   heads_retry_ = loop_.after(kRetry, [this] { load_heads(); });
                   return;
                 }
                 for (const auto& [chain, head] : *heads) {
                   Chain& known = chains_[chain];  // what was published meanwhile is newer
                   known = {std::max(known.head, head), loop_.now()};
                 }
               }));
}

void RelayStream::pump() {
  if (!started_ || !bus_.connected()) return;
  if (reading_) {
    again_ = true;
    return;
  }
  reading_ = true;
  again_ = false;
  const uint64_t from = position_;
  store_.read_log(resource_, from, kBatch, guard([this, from](Result<std::vector<state::LogEntry>> entries) {
                    reading_ = false;
                    if (entries.ok()) {
                      if (from == position_) publish(*entries);
                      if (again_ || entries->size() == kBatch) pump();
                      return;
                    }
                    if (entries.code() != Code::kExpired) {
                      retry_ = loop_.after(kRetry, [this] { pump(); });
                      return;
                    }
                    // The log was trimmed past the cursor: subscribers will find the gap and take a snapshot.
                    store_.head(resource_, guard([this](Result<state::Revision> head) {
                                  if (!head.ok()) {
                                    retry_ = loop_.after(kRetry, [this] { pump(); });
                                    return;
                                  }
                                  LOG(ERROR) << "events not published, the log was trimmed: resource=" << resource_
                                             << " after=" << position_ << " to=" << *head;
                                  position_ = *head;
                                  chains_.clear();  // or the store has lost its tail
                                  load_heads();
                                  pump();
                                }));
                  }));
}

void RelayStream::publish(const std::vector<state::LogEntry>& entries) {
  for (const auto& entry : entries) {
    if (entry.revision <= position_) continue;
    if (Status sent = publish_entry(entry); !sent.ok()) {
      retry_ = loop_.after(kRetry, [this] { pump(); });
      break;
    }
    position_ = entry.revision;
  }
  if (position_ > cursor_) confirm();
}

Status RelayStream::publish_entry(const state::LogEntry& entry) {
  const auto* event = flatbuffers::GetRoot<bus::Event>(entry.event.data());
  const auto touch = [&](std::string chain) { chains_[std::move(chain)] = {entry.revision, loop_.now()}; };
  if (Status sent = publish_event(str(event->node()), entry.event); !sent.ok()) return sent;
  touch("all");
  touch("node." + encode_token(str(event->node())));
  touch("namespace." + encode_token(str(event->namespace_())));
  for (const auto& [node, bytes] : entry.node_events) {
    if (Status sent = publish_event(node, bytes); !sent.ok()) return sent;
    touch("node." + encode_token(node));
  }
  return Done{};
}

Status RelayStream::publish_event(std::string_view node, const std::string& bytes) {
  const auto* event = flatbuffers::GetRoot<bus::Event>(bytes.data());
  const std::string subject = bus::event_subject(resource_, node, str(event->namespace_()), str(event->name()));
  // A stream that listens keeps one of each, however often it is published. Events of a node chain share a revision.
  std::string id = fmt::format("{}/{}", resource_, event->revision());
  if (event->type() == bus::EventType::Left || event->type() == bus::EventType::Dependency)
    id += fmt::format("/{}", node);
  Status sent = bus_.publish_with_id(subject, bytes, id);
  if (!sent.ok() && sent.code() == Code::kTooLarge) {
    LOG(ERROR) << "event too large for the bus, subscribers repair it by snapshot: subject=" << subject
               << " bytes=" << bytes.size();
    return Done{};
  }
  if (sent.ok()) ++counters_.events;
  return sent;
}

void RelayStream::confirm() {
  if (flushing_) return;
  flushing_ = true;
  const uint64_t covered = position_;
  bus_.flush(guard([this, covered](Status flushed) {
    flushing_ = false;
    if (!flushed.ok()) return rewind(flushed.error().message);
    if (covered > cursor_ && covered <= position_) cursor_ = covered;
    save_cursor();
    if (position_ > cursor_) confirm();
  }));
}

void RelayStream::save_cursor() {
  if (saving_ || saved_ == cursor_) return;
  saving_ = true;
  const uint64_t saving = cursor_;
  store_.set_cursor("relay/" + resource_, std::to_string(saving), guard([this, saving](Status saved) {
                      saving_ = false;
                      if (saved.ok()) saved_ = saving;
                      if (saved.ok() && saved_ != cursor_) save_cursor();
                    }));
}

void RelayStream::rewind(const std::string& why) {
  if (position_ > cursor_) {
    LOG(WARNING) << "events published again: resource=" << resource_ << " after=" << cursor_ << " reason=" << why;
    ++counters_.rewinds;
    position_ = cursor_;
  }
  retry_ = loop_.after(kRetry, [this] { pump(); });
}

void RelayStream::publish_heads() {
  if (!started_) return;
  for (auto it = chains_.begin(); it != chains_.end();) {
    if (loop_.now() - it->second.seen > config_.active) {
      it = chains_.erase(it);
      continue;
    }
    // A lost tail shows within a second; a chain that has been quiet for a while is told now and then, each in its own
    // second: thousands of nodes' chains would be thousands of messages a second.
    const bool quiet = loop_.now() - it->second.seen > kLively;
    if (quiet && (ticks_ + static_cast<int>(std::hash<std::string>()(it->first) % kQuietTicks)) % kQuietTicks != 0) {
      ++it;
      continue;
    }
    flatbuffers::FlatBufferBuilder b(128);
    const auto resource = b.CreateString(resource_), chain = b.CreateString(it->first);
    b.Finish(bus::CreateHead(b, resource, chain, it->second.head));
    const std::string subject = fmt::format("gantry.heads.{}.{}", encode_token(resource_), it->first);
    if (bus_.publish(subject, {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()}).ok())
      ++counters_.heads;
    ++it;
  }
  ++ticks_;
  if (ticks_ % kCheckTicks == 0) check_store();
  if (ticks_ % kTrimTicks == 0) trim();
}

void RelayStream::check_store() {
  // What was published after the question says nothing about its answer.
  store_.head(resource_, guard([this, asked = position_](Result<state::Revision> head) {
                if (!head.ok() || *head >= asked) return;
                LOG(WARNING) << "the store has lost its tail: resource=" << resource_ << " published=" << position_
                             << " head=" << *head;
                cursor_ = position_ = *head;
                chains_.clear();
                load_heads();
                save_cursor();
                pump();
              }));
}

// Only what was published goes, and what is old enough that a snapshot serves better than a replay.
void RelayStream::trim() {
  const uint64_t in_epoch = cursor_ & ((uint64_t{1} << state::kEpochShift) - 1);
  if (in_epoch <= config_.keep || cursor_ < trimmed_ + config_.keep / 10) return;
  trimmed_ = cursor_;
  store_.trim(resource_, cursor_ - config_.keep, guard([this](Status trimmed) {
                if (!trimmed.ok())
                  LOG(WARNING) << "log not trimmed: resource=" << resource_ << " error=" << trimmed.error().message;
              }));
}

}  // namespace gantry::apigw
