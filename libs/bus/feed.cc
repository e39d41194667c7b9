// The chain rule and its repairs. A feed is in one of these phases:
//
//   kSnapshot  pages of a Snapshot come in; live events wait in the buffer
//   kReplay    a gap, a head beyond ours or a reconnect: pages of a Replay come in; live events wait in the buffer
//   kLive      each event is judged as it comes
//   kWaiting   a repair failed; it starts again after the back-off
//
// The buffer is by revision, so that what arrived early is applied once the hole before it is filled.
#include <random>

#include "libs/bus/events.h"
#include "libs/bus/feed_rules.h"

namespace gantry::bus {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr size_t kBufferEvents = 20'000;
constexpr size_t kBufferBytes = 64u << 20;
constexpr uint32_t kPage = 1000;
constexpr Duration kHeadGrace = milliseconds(200);  // an event may still be on its way when its head arrives
constexpr Duration kCheck = minutes(5);             // without any head or event: ask
constexpr Duration kMinBackoff = milliseconds(100), kMaxBackoff = seconds(5);
constexpr Duration kCommandDeadline = seconds(15);
constexpr int kRepairs = 5;     // in a row without getting live: slow down
constexpr int kStaleHeads = 3;  // so many heads below ours in a row: the store lost its tail

class FeedImpl final : public Feed {
 public:
  FeedImpl(Loop& loop, Bus& bus, Commands& commands, Chain chain, FeedCallbacks callbacks)
      : loop_(loop),
        commands_(commands),
        chain_(std::move(chain)),
        callbacks_(std::move(callbacks)),
        random_(std::hash<std::string>{}(chain_.subject())) {
    events_ = bus.subscribe(chain_.subject(), "", [this](const Message& m) { on_event(m.data); });
    heads_ = bus.subscribe(chain_.head_subject(), "", [this](const Message& m) { on_head(m.data); });
    connection_ = bus.on_connection([this](bool connected) {
      if (connected) on_reconnect();
    });
    check_ = loop_.every(jitter(kCheck), [this] {
      if (!std::exchange(heard_, false) && phase_ == Phase::kLive) replay();
    });
    snapshot();
  }

  uint64_t revision() const override { return revision_; }
  bool synced() const override { return phase_ == Phase::kLive; }
  const Counters& counters() const override { return counters_; }

 private:
  enum class Phase { kSnapshot, kReplay, kLive, kWaiting };

  Duration jitter(Duration d) {
    return d / 2 + Duration(static_cast<int64_t>(random_() % static_cast<uint64_t>(d.count())));
  }

  void on_event(std::string_view data) {
    const auto* event = verified_event(data);
    if (event == nullptr) {
      LOG_EVERY_N(WARNING, 100) << "malformed event on " << chain_.subject();
      return;
    }
    if (!in_chain(chain_, *event)) return;
    heard_ = true;
    if (phase_ != Phase::kLive) return keep(event->revision(), data);
    switch (judge(chain_, *event, revision_)) {
      case Verdict::kSeen:
        ++counters_.duplicates;
        return;
      case Verdict::kNext:
        apply(*event);
        return;
      case Verdict::kGap:
        ++counters_.gaps;
        keep(event->revision(), data);
        return replay();
      case Verdict::kNewEpoch:
        keep(event->revision(), data);
        return snapshot();
    }
  }

  /// Holds a live event until the repair is through. Beyond the bound everything is let go: the repair reads it from
  /// the log.
  void keep(uint64_t revision, std::string_view data) {
    if (phase_ != Phase::kLive && (buffer_.size() >= kBufferEvents || buffered_ + data.size() > kBufferBytes)) {
      buffer_.clear();
      buffered_ = 0;
    }
    auto [it, fresh] = buffer_.try_emplace(revision, data);
    if (fresh) {
      buffered_ += data.size();
    } else {
      ++counters_.duplicates;
    }
  }

  /// False if the owner destroyed this feed in its callback.
  bool apply(const Event& event) {
    revision_ = event.revision();
    stale_heads_ = 0;
    ++counters_.events;
    std::weak_ptr<int> alive = alive_;
    if (callbacks_.event) callbacks_.event(event);
    return !alive.expired();
  }

  void on_head(std::string_view data) {
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(data.data()), data.size());
    if (!verifier.VerifyBuffer<Head>(nullptr)) return;
    uint64_t head = flatbuffers::GetRoot<Head>(data.data())->revision();
    heard_ = true;
    if (head > revision_) {
      stale_heads_ = 0;
      if (phase_ != Phase::kLive || grace_) return;
      grace_ = loop_.after(kHeadGrace, [this, head] {
        grace_.reset();
        if (phase_ == Phase::kLive && revision_ < head) {
          ++counters_.gaps;
          replay();
        }
      });
    } else if (head < revision_ && phase_ == Phase::kLive && ++stale_heads_ >= kStaleHeads) {
      LOG(WARNING) << "the head of " << chain_.subject() << " is " << head << ", we have seen " << revision_
                   << ": the store has lost its tail";
      snapshot();
    } else if (head == revision_) {
      stale_heads_ = 0;
    }
  }

  void on_reconnect() {
    backoff_ = kMinBackoff;
    if (phase_ == Phase::kLive) return replay();
    if (phase_ == Phase::kWaiting) retry();
  }

  Command read(Verb verb) {
    Command command;
    command.verb = verb;
    command.resource = chain_.resource;
    command.node = chain_.node;
    command.ns = chain_.ns;
    command.limit = kPage;
    command.continue_token = token_;
    return command;
  }

  /// `then` runs only if nothing else was begun meanwhile.
  void ask(Command command, std::function<void(Result<CommandOutcome>)> then) {
    commands_.send(std::move(command), kCommandDeadline,
                   [this, alive = std::weak_ptr(alive_), round = ++round_,
                    then = std::move(then)](Result<CommandOutcome> outcome) {
                     if (!alive.expired() && round == round_) then(std::move(outcome));
                   });
  }

  void snapshot() {
    if (++repairs_ > kRepairs)
      return wait(Phase::kSnapshot, {Code::kInternal, "snapshots and replays do not fit together"});
    ++counters_.snapshots;
    phase_ = Phase::kSnapshot;
    // The snapshot covers what has arrived so far. What it does not cover belongs to a tail that the store has lost:
    // kept, it would look like a gap for ever.
    buffer_.clear();
    buffered_ = 0;
    items_.clear();
    token_.clear();
    snapshot_page();
  }

  void snapshot_page() {
    ask(read(Verb::Snapshot), [this](Result<CommandOutcome> outcome) {
      if (!outcome) return wait(Phase::kSnapshot, outcome.error());
      if (token_.empty()) snapshot_head_ = outcome->head;
      token_ = outcome->continue_token;
      items_.insert(items_.end(), std::make_move_iterator(outcome->items.begin()),
                    std::make_move_iterator(outcome->items.end()));
      if (!token_.empty()) return snapshot_page();
      backoff_ = kMinBackoff;
      revision_ = snapshot_head_;
      stale_heads_ = 0;
      auto items = std::move(items_);
      items_.clear();
      std::weak_ptr<int> alive = alive_;
      if (callbacks_.reset) callbacks_.reset(revision_, items);
      if (!alive.expired()) live();
    });
  }

  void replay() {
    if (++repairs_ > kRepairs)
      return wait(Phase::kSnapshot, {Code::kInternal, "snapshots and replays do not fit together"});
    ++counters_.replays;
    phase_ = Phase::kReplay;
    token_.clear();
    replay_page();
  }

  void replay_page() {
    auto command = read(Verb::Replay);
    command.revision = revision_;
    ask(std::move(command), [this](Result<CommandOutcome> outcome) { replayed(std::move(outcome)); });
  }

  void replayed(Result<CommandOutcome> outcome) {
    if (!outcome) {
      bool trimmed = outcome.code() == Code::kExpired || outcome.code() == Code::kTooLargeRevision;
      return trimmed ? snapshot() : wait(Phase::kReplay, outcome.error());
    }
    backoff_ = kMinBackoff;
    if (outcome->head < revision_) return snapshot();  // the store lost what we have seen
    size_t applied = 0;
    for (const auto& bytes : outcome->events) {
      const auto& event = *flatbuffers::GetRoot<Event>(bytes.data());
      if (!in_chain(chain_, event)) continue;
      auto verdict = judge(chain_, event, revision_);
      if (verdict == Verdict::kSeen) continue;
      if (verdict != Verdict::kNext) return snapshot();
      ++applied;
      if (!apply(event)) return;
    }
    if (applied > 0) repairs_ = 0;  // a lossy bus makes gap after gap: only repairs without progress count
    token_ = outcome->continue_token;
    if (revision_ < outcome->head || !token_.empty()) {
      if (applied == 0 && token_.empty()) return snapshot();  // the log does not lead to its own head
      return replay_page();
    }
    live();
  }

  /// The repair is through: what waited is judged in the order of revisions.
  void live() {
    phase_ = Phase::kLive;
    while (!buffer_.empty()) {
      auto node = buffer_.extract(buffer_.begin());
      buffered_ -= node.mapped().size();
      const auto& event = *flatbuffers::GetRoot<Event>(node.mapped().data());
      auto verdict = judge(chain_, event, revision_);
      if (verdict == Verdict::kSeen) {
        ++counters_.duplicates;
      } else if (verdict == Verdict::kNext) {
        if (!apply(event)) return;
      } else {
        keep(node.key(), node.mapped());
        ++counters_.gaps;
        return verdict == Verdict::kNewEpoch ? snapshot() : replay();
      }
    }
    repairs_ = 0;
    if (callbacks_.synced) callbacks_.synced();
  }

  void wait(Phase then, const Error& error) {
    LOG_EVERY_N(WARNING, 20) << chain_.subject() << ": " << (then == Phase::kSnapshot ? "snapshot" : "replay")
                             << " failed: " << error.message;
    phase_ = Phase::kWaiting;
    repairs_ = 0;
    waiting_for_ = then;
    again_ = loop_.after(jitter(backoff_), [this] { retry(); });
    backoff_ = std::min(backoff_ * 2, kMaxBackoff);
  }

  void retry() {
    again_.reset();
    waiting_for_ == Phase::kSnapshot ? snapshot() : replay();
  }

  Loop& loop_;
  Commands& commands_;
  Chain chain_;
  FeedCallbacks callbacks_;
  std::minstd_rand random_;

  Phase phase_ = Phase::kSnapshot, waiting_for_ = Phase::kSnapshot;
  uint64_t revision_ = 0, snapshot_head_ = 0;
  uint64_t round_ = 0;  // of the last question: older answers are ignored
  int stale_heads_ = 0, repairs_ = 0;
  bool heard_ = false;
  std::string token_;
  std::vector<CommandOutcome::Item> items_;
  std::map<uint64_t, std::string> buffer_;  // by revision
  size_t buffered_ = 0;
  Duration backoff_ = kMinBackoff;
  Counters counters_;

  Timer grace_, check_, again_;
  std::unique_ptr<Subscription> events_, heads_;
  std::shared_ptr<void> connection_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

std::unique_ptr<Feed> make_feed(Loop& loop, Bus& bus, Commands& commands, Chain chain, FeedCallbacks callbacks) {
  return std::make_unique<FeedImpl>(loop, bus, commands, std::move(chain), std::move(callbacks));
}

}  // namespace gantry::bus
