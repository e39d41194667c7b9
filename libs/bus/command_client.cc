#include "libs/base/ids.h"
#include "libs/bus/command.h"
#include "libs/bus/doubt.h"

namespace gantry::bus {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMaxWaiting = 100'000;
constexpr size_t kBatchCommands = 256;
constexpr size_t kBatchBytes = 1u << 20;
constexpr Duration kMinAttempt = milliseconds(1000);  // before an unanswered command is sent again
constexpr Duration kMinBackoff = milliseconds(50), kMaxBackoff = milliseconds(1000);

/// One command until its answer.
struct Waiting {
  Command command;
  size_t size;  // roughly, encoded
  Duration deadline;
  CommandDone done;
  int open = 0;  // attempts that may have reached a gateway
  bool finished = false;
};
using WaitingPtr = std::shared_ptr<Waiting>;

size_t rough_size(const Command& c) {
  return 256 + c.id.size() + c.name.size() + c.ns.size() + c.object.size() + c.json.size() + c.label_selector.size() +
         c.field_selector.size() + c.continue_token.size() + c.because.size();
}

class Client final : public Commands {
 public:
  Client(Loop& loop, Bus& bus, std::string identity)
      : loop_(loop), bus_(bus), prefix_("gantry.cmd." + encode_token(identity) + ".") {
    connection_ = bus_.on_connection([this](bool connected) {
      if (connected) resend_all();
    });
  }

  void send(Command command, Duration deadline, CommandDone done) override {
    auto size = rough_size(command);
    if (size > bus_.max_payload() / 2) {
      return fail_soon(std::move(done),
                       {Code::kTooLarge, fmt::format("{} {}/{}: {} bytes are more than a command may have",
                                                     verb_token(command.verb), command.ns, command.name, size)});
    }
    if (waiting_ >= kMaxWaiting) {
      return fail_soon(std::move(done), {Code::kTooManyRequests, "too many commands wait for their answer"});
    }
    if (command.id.empty()) command.id = new_uid();
    ++waiting_;
    auto entry = std::make_shared<Waiting>(Waiting{std::move(command), size, loop_.now() + deadline, std::move(done)});
    queue(entry);
  }

 private:
  /// One batch and the timer that sends again what has no answer yet.
  struct Flight {
    std::vector<WaitingPtr> commands;
    Duration attempt{}, backoff = kMinBackoff;
    Timer again;
  };

  void fail_soon(CommandDone done, Error error) {
    loop_.post([done = std::move(done), error = std::move(error)] { done(error); });
  }

  void queue(const WaitingPtr& entry) {
    queued_.push_back(entry);
    if (queued_.size() > 1) return;
    loop_.post([this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) flush_queue();
    });
  }

  /// Commands of one verb and (to the second) one deadline share a message.
  void flush_queue() {
    std::map<std::pair<Verb, int64_t>, std::vector<WaitingPtr>> batches;
    std::map<std::pair<Verb, int64_t>, size_t> bytes;
    auto queued = std::move(queued_);
    queued_.clear();
    for (auto& entry : queued) {
      auto key = std::pair(entry->command.verb, (entry->deadline - loop_.now()) / std::chrono::seconds(1));
      auto& batch = batches[key];
      if (batch.size() >= kBatchCommands || (!batch.empty() && bytes[key] + entry->size > kBatchBytes)) {
        launch(std::exchange(batch, {}));
        bytes[key] = 0;
      }
      bytes[key] += entry->size;
      batch.push_back(std::move(entry));
    }
    for (auto& [key, batch] : batches) launch(std::move(batch));
  }

  void launch(std::vector<WaitingPtr> batch) {
    uint64_t id = next_flight_++;
    auto& flight = flights_[id];
    flight.commands = std::move(batch);
    flight.attempt = std::max(kMinAttempt, (flight.commands.front()->deadline - loop_.now()) / 4);
    attempt(id);
  }

  void attempt(uint64_t id) {
    auto it = flights_.find(id);
    if (it == flights_.end()) return;
    auto& flight = it->second;
    std::vector<WaitingPtr> sent, late;
    std::vector<const Command*> commands;
    Duration first = Duration::max();
    for (auto& entry : flight.commands) {
      if (entry->finished) continue;
      if (entry->deadline <= loop_.now()) {
        late.push_back(entry);
        continue;
      }
      first = std::min(first, entry->deadline);
      commands.push_back(&entry->command);
      sent.push_back(entry);
    }
    if (sent.empty()) {
      flights_.erase(it);
    } else {
      flight.commands = sent;
      Duration left = first - loop_.now();
      flight.again = loop_.after(std::min(flight.attempt, left), [this, id] { attempt(id); });
      for (auto& entry : sent) ++entry->open;
      auto bytes = encode_batch(commands, static_cast<uint32_t>(std::max<int64_t>(1, left / milliseconds(1))));
      bus_.request(prefix_ + verb_token(sent.front()->command.verb), bytes, left,
                   [this, alive = std::weak_ptr(alive_), id, sent](Result<std::string> reply) {
                     if (!alive.expired()) answered(id, sent, std::move(reply));
                   });
    }
    for (size_t i = 0; i < late.size(); ++i) {
      std::weak_ptr<int> alive = alive_;
      expire(late[i]);
      if (alive.expired()) return;
    }
  }

  void answered(uint64_t id, const std::vector<WaitingPtr>& sent, Result<std::string> reply) {
    if (!reply) {
      if (reply.code() == Code::kTimeout) return;  // attempt() knows the deadline
      for (auto& entry : sent) --entry->open;
      if (reply.code() == Code::kTooLarge) return settle(id, sent, reply.error());
      return retry_soon(id);
    }
    auto results = decode_reply(*reply);
    if (!results) return settle(id, sent, results.error());
    if (results->size() == 1 && results->front().first.empty() && !results->front().second) {
      return settle(id, sent, results->front().second.error());  // the batch as a whole was refused
    }
    std::unordered_map<std::string_view, Result<CommandOutcome>*> by_id;
    for (auto& [command_id, result] : *results) by_id.emplace(command_id, &result);
    std::weak_ptr<int> alive = alive_;
    bool open = false;
    for (const auto& entry : sent) {
      if (entry->finished) continue;
      auto it = by_id.find(entry->command.id);
      if (it == by_id.end() || it->second->code() == Code::kUnknownOutcome) {  // the gateway does not know: ask again
        open = true;
        continue;
      }
      if (changes_state(entry->command.verb) && refused_unseen(it->second->code()) && --entry->open > 0) {
        open = true;  // an attempt before this one may have been carried out: only its outcome will do
        continue;
      }
      finish(entry, std::move(*it->second));
      if (alive.expired()) return;
    }
    if (open) {
      retry_soon(id);
    } else {
      drop_if_done(id);
    }
  }

  void retry_soon(uint64_t id) {
    auto it = flights_.find(id);
    if (it == flights_.end()) return;
    auto& flight = it->second;
    Duration wait = flight.backoff;
    for (auto& entry : flight.commands) {
      if (!entry->finished) wait = std::clamp(entry->deadline - loop_.now(), Duration::zero(), wait);
    }
    flight.again = loop_.after(wait, [this, id] { attempt(id); });
    flight.backoff = std::min(flight.backoff * 2, kMaxBackoff);
  }

  void settle(uint64_t id, const std::vector<WaitingPtr>& sent, const Error& error) {
    std::weak_ptr<int> alive = alive_;
    for (const auto& entry : sent) {
      if (entry->finished) continue;
      finish(entry, error);
      if (alive.expired()) return;
    }
    drop_if_done(id);
  }

  void drop_if_done(uint64_t id) {
    auto it = flights_.find(id);
    if (it == flights_.end()) return;
    auto& commands = it->second.commands;
    if (std::all_of(commands.begin(), commands.end(), [](auto& entry) { return entry->finished; })) flights_.erase(it);
  }

  void expire(const WaitingPtr& entry) {
    const auto& c = entry->command;
    auto what = fmt::format("{} {} {}/{}", verb_token(c.verb), c.resource, c.ns, c.name);
    if (entry->open == 0) return finish(entry, Error{Code::kUnavailable, what + ": no gateway on the bus"});
    if (!changes_state(c.verb)) return finish(entry, Error{Code::kTimeout, what + ": no answer in time"});
    finish(entry, Error{Code::kUnknownOutcome, what + ": no answer in time; retry with the same command id"});
  }

  void finish(const WaitingPtr& entry, Result<CommandOutcome> result) {
    entry->finished = true;
    --waiting_;
    auto done = std::move(entry->done);
    done(std::move(result));  // may destroy this
  }

  /// What was under way when the connection broke may never have arrived.
  void resend_all() {
    std::vector<uint64_t> ids;
    for (auto& [id, flight] : flights_) {
      flight.backoff = kMinBackoff;
      ids.push_back(id);
    }
    std::weak_ptr<int> alive = alive_;
    for (auto id : ids) {
      attempt(id);
      if (alive.expired()) return;
    }
  }

  Loop& loop_;
  Bus& bus_;
  std::string prefix_;
  size_t waiting_ = 0;
  std::vector<WaitingPtr> queued_;
  std::map<uint64_t, Flight> flights_;  // by age
  uint64_t next_flight_ = 1;
  std::shared_ptr<void> connection_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

std::unique_ptr<Commands> make_command_client(Loop& loop, Bus& bus, std::string identity) {
  return std::make_unique<Client>(loop, bus, std::move(identity));
}

}  // namespace gantry::bus
