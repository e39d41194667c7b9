#include "services/controllers/framework/runner.h"

#include <glog/logging.h>

#include "libs/base/ids.h"
#include "libs/bus/doubt.h"
#include "libs/model/json.h"
#include "libs/model/object.h"
#include "libs/model/schema.h"

namespace gantry::controllers {
namespace {

constexpr size_t kTriggers = 8;  // remembered of each key

}  // namespace

Runner::Runner(Loop& loop, bus::Commands& commands, View& view, Controller& controller, projection::Recorder* recorder)
    : Runner(loop, commands, view, controller, recorder, Options()) {}

Runner::Runner(Loop& loop, bus::Commands& commands, View& view, Controller& controller, projection::Recorder* recorder,
               Options options)
    : loop_(loop),
      commands_(commands),
      view_(view),
      controller_(controller),
      recorder_(recorder),
      options_(options),
      component_(fmt::format("{}-controller", controller.name())),
      nonce_(new_uid().substr(0, 8)) {
  controller_.setup(view_);
  for (const std::string& resource : controller_.watches()) {
    view_.need(resource).on_change([this, resource, alive = alive_](const projection::Change& change) {
      if (*alive) changed(resource, change);
    });
  }
  // Commands may return revisions of caches that this controller does not watch.
  tick_ = loop_.every(std::chrono::milliseconds(100), [this] { recheck(); });
}

Runner::~Runner() { *alive_ = false; }

void Runner::lead(std::string lease, uint64_t epoch) {
  resign();
  phase_ = Phase::kCatchingUp;
  lease_ = std::move(lease);
  epoch_ = epoch;
  std::vector<const projection::Cache*> caches;
  for (const auto& [resource, cache] : view_.caches()) caches.push_back(cache.get());
  catch_up_ = projection::catch_up(loop_, commands_, std::move(caches), [this] { start(); });
  LOG(INFO) << "controller=" << controller_.name() << " epoch=" << epoch << " elected, catching up";
}

void Runner::resign() {
  ++term_;
  phase_ = Phase::kFollowing;
  catch_up_.reset();
  entries_.clear();
  queue_.clear();
  due_.clear();
  waiting_.clear();
  due_timer_.reset();
  resends_.clear();
  in_flight_ = 0;
}

void Runner::start() {
  phase_ = Phase::kLeading;
  controller_.on_lead(loop_.wall());
  for (const std::string& resource : controller_.watches()) {
    view_.cache(resource).for_each([&](const model::Object& o) { changed(resource, {{}, o}); });
  }
  LOG(INFO) << "controller=" << controller_.name() << " epoch=" << epoch_ << " leading, keys=" << entries_.size();
}

void Runner::changed(const std::string& resource, const projection::Change& change) {
  if (phase_ != Phase::kLeading) return;
  keys_.clear();
  controller_.keys_for(view_, resource, change, keys_);
  const model::Object& object = change.after ? change.after : change.before;
  for (const std::string& key : keys_) {
    auto& triggers = entries_[key].triggers;
    if (triggers.size() < kTriggers) {
      const uint64_t revision = change.after ? change.after.revision() : view_.cache(resource).revision();
      triggers.push_back({&object.kind(), make_key(object), revision});
    }
    touch(key);
  }
  if (!waiting_.empty()) wake();
}

void Runner::enqueue(std::string_view key) {
  if (phase_ == Phase::kLeading) touch(std::string(key));
}

void Runner::touch(const std::string& key) {
  Entry& entry = entries_[key];
  entry.dirty = true;
  if (entry.queued || entry.in_flight > 0 || !entry.waits.empty()) return;
  if (entry.not_before > loop_.now()) {
    schedule(key, entry, entry.not_before);
  } else {
    push(key, entry);
  }
}

std::string Runner::cause_of(const std::string& key, const Entry& entry) {
  const auto echo = [&](const Trigger& trigger) {
    return std::any_of(entry.answers.begin(), entry.answers.end(), [&](const Answer& answer) {
      return answer.result.ok() && answer.result->revision == trigger.revision &&
             answer.command.resource == trigger.kind->resource;
    });
  };
  const Trigger* found = nullptr;
  for (const Trigger& trigger : entry.triggers) {
    if (echo(trigger) || (found != nullptr && trigger.key != key)) continue;
    found = &trigger;
    if (trigger.key == key) break;
  }
  return found == nullptr ? "" : fmt::format("{}/{}@{}", found->kind->resource, found->key, found->revision);
}

void Runner::push(const std::string& key, Entry& entry) {
  entry.queued = true;
  queue_.push_back(key);
  wake();
}

void Runner::schedule(const std::string& key, Entry& entry, Duration at) {
  if (entry.due) {
    if (*entry.due <= at) return;
    auto [from, to] = due_.equal_range(*entry.due);
    for (auto it = from; it != to; ++it) {
      if (it->second == key) {
        due_.erase(it);
        break;
      }
    }
  }
  entry.due = at;
  due_.emplace(at, key);
  arm();
}

void Runner::arm() {
  if (due_.empty()) {
    due_timer_.reset();
    return;
  }
  due_timer_ = loop_.after(std::max(due_.begin()->first - loop_.now(), Duration::zero()), [this] { run_due(); });
}

void Runner::run_due() {
  while (!due_.empty() && due_.begin()->first <= loop_.now()) {
    std::string key = std::move(due_.begin()->second);
    due_.erase(due_.begin());
    Entry& entry = entries_[key];
    entry.due.reset();
    touch(key);
  }
  arm();
}

void Runner::wake() {
  if (woken_) return;
  woken_ = true;
  loop_.post([this, alive = alive_] {
    if (!*alive) return;
    woken_ = false;
    turn();
  });
}

void Runner::turn() {
  recheck();
  for (size_t n = 0; n < options_.decisions_per_turn && !queue_.empty(); ++n) {
    if (phase_ != Phase::kLeading || in_flight_ >= options_.max_in_flight) return;  // answers wake it
    std::string key = std::move(queue_.front());
    queue_.pop_front();
    decide(key);
  }
  if (!queue_.empty() && in_flight_ < options_.max_in_flight) wake();
}

bool Runner::covered(const Entry& entry) const {
  return std::all_of(entry.waits.begin(), entry.waits.end(),
                     [](const Wait& wait) { return wait.cache->revision() >= wait.revision; });
}

void Runner::recheck() {
  for (size_t i = 0; i < waiting_.size();) {
    auto it = entries_.find(waiting_[i]);
    if (it != entries_.end() && !covered(it->second)) {
      ++i;
      continue;
    }
    std::string key = std::move(waiting_[i]);
    waiting_[i] = std::move(waiting_.back());
    waiting_.pop_back();
    if (it != entries_.end()) settle(key, it->second);
  }
}

void Runner::decide(const std::string& key) {
  Entry& entry = entries_[key];
  entry.queued = false;
  entry.dirty = false;
  entry.failed = false;
  if (std::string cause = cause_of(key, entry); !cause.empty()) entry.cause = std::move(cause);
  entry.triggers.clear();
  entry.memory.answers = std::move(entry.answers);
  entry.answers.clear();
  ++counters_.decisions;
  Decision decision = controller_.decide(view_, key, loop_.wall(), entry.memory);
  entry.memory.answers.clear();
  entry.not_before = loop_.now() + options_.per_object * static_cast<int64_t>(decision.weight);
  for (const projection::Note& n : decision.notes) note(n, "");
  if (decision.requeue_at) {
    Duration delay(std::max<int64_t>(*decision.requeue_at - loop_.wall(), 1000));
    schedule(key, entry, loop_.now() + delay);
  }
  if (decision.commands.empty()) {
    entry.memory.failures = 0;
    entry.memory.error.clear();
    entry.busy = 0;
    settle(key, entry);
    return;
  }
  if (++entry.busy > options_.busy_limit) {  // it does not come to rest: two writers, or a command that changes nothing
    Duration delay = options_.backoff_first * (int64_t{1} << std::min(entry.busy - options_.busy_limit, 9u));
    entry.not_before = std::max(entry.not_before, loop_.now() + delay);
    LOG_EVERY_N(WARNING, 100) << "controller=" << controller_.name() << " key=" << key
                              << " does not settle, decisions=" << entry.busy;
  }
  entry.in_flight = decision.commands.size();
  entry.answers.reserve(decision.commands.size());
  in_flight_ += decision.commands.size();
  for (size_t i = 0; i < decision.commands.size(); ++i) {
    Planned& planned = decision.commands[i];
    bus::Command& command = planned.command;
    if (command.id.empty()) command.id = fmt::format("{}/{}/{}/{}", lease_, epoch_, nonce_, ++numbered_);
    command.lease = lease_;
    command.lease_epoch = epoch_;
    command.field_manager = component_;
    if (command.because.empty())
      command.because = entry.cause.empty() ? fmt::format("{}:{}", controller_.name(), key) : entry.cause;
    Answer answer{command, Error{}};
    answer.command.object.clear();
    answer.command.json.clear();
    entry.answers.push_back(std::move(answer));
  }
  for (size_t i = 0; i < decision.commands.size(); ++i) send(key, std::move(decision.commands[i]), i);
}

void Runner::send(const std::string& key, Planned planned, size_t slot, bool in_doubt) {
  ++counters_.commands;
  bus::Command command = planned.command;
  VLOG(2) << "controller=" << controller_.name() << " key=" << key << " " << bus::EnumNameVerb(command.verb) << " "
          << command.resource << "/" << command.name << " " << command.subresource << " "
          << (command.object.empty()
                  ? command.json
                  : model::to_json(model::Object(*model::Schema::get().by_resource(command.resource), command.object)));
  commands_.send(std::move(command), [this, key, slot, in_doubt, planned = std::move(planned), term = term_,
                                      alive = alive_](Result<bus::CommandOutcome> result) mutable {
    if (!*alive || term != term_) return;
    if (!result.ok() && (result.code() == Code::kUnknownOutcome || (in_doubt && bus::refused_unseen(result.code())))) {
      // The same id again: done once, whatever happened to the answer.
      uint64_t resend = ++counters_.resends;
      resends_[resend] =
          loop_.after(options_.resend, [this, key, slot, planned = std::move(planned), resend]() mutable {
            resends_.erase(resend);
            send(key, std::move(planned), slot, true);
          });
      return;
    }
    answered(key, planned, slot, std::move(result));
  });
}

void Runner::answered(const std::string& key, const Planned& planned, size_t slot, Result<bus::CommandOutcome> result) {
  Entry& entry = entries_[key];
  --entry.in_flight;
  --in_flight_;
  const projection::Cache* cache = view_.find_cache(planned.command.resource);
  uint64_t revision = result.ok() ? result->revision : result.error().current_revision;
  bool writes = planned.command.verb != bus::Verb::Snapshot && planned.command.verb != bus::Verb::Get;
  if (cache != nullptr && revision != 0 && writes && cache->revision() < revision) {
    entry.waits.push_back({cache, revision});
  }
  if (result.ok()) {
    std::string made;
    if (planned.on_success && !result->object.empty()) {
      const model::Kind* kind = model::Schema::get().by_resource(planned.command.resource);
      made = model::Object(*kind, result->object).name();
    }
    note(planned.on_success, made.empty() ? planned.command.name : made);
  } else {
    const Error& error = result.error();
    // Gone is what a delete wanted.
    bool gone = error.code == Code::kNotFound && planned.command.verb == bus::Verb::Delete;
    if (error.code == Code::kForbidden && !error.causes.empty() && error.causes[0].field == "lease") {
      LOG(WARNING) << "controller=" << controller_.name() << " epoch=" << epoch_ << " deposed: " << error.message;
      resign();
      if (deposed_) deposed_();
      return;
    }
    if (!gone) {
      ++counters_.failures;
      entry.failed = true;
      entry.memory.error = error.message;
      note(planned.on_failure, error.message);
      VLOG(1) << "controller=" << controller_.name() << " key=" << key << " failed: " << error.message;
    }
  }
  entry.answers[slot].result = std::move(result);
  if (entry.in_flight == 0) {
    if (covered(entry)) {
      settle(key, entry);
    } else {
      waiting_.push_back(key);
    }
  }
  if (!queue_.empty()) wake();
}

void Runner::settle(const std::string& key, Entry& entry) {
  entry.waits.clear();
  bool decided = !entry.answers.empty();  // commands were sent: look again at what they made
  if (entry.failed) {
    uint32_t n = entry.memory.failures++;
    Duration delay = std::min(options_.backoff_first * (int64_t{1} << std::min(n, 24u)), options_.backoff_max);
    entry.not_before = std::max(entry.not_before, loop_.now() + delay);
    entry.failed = false;
    touch(key);
    return;
  }
  if (decided) entry.memory.failures = 0, entry.memory.error.clear();
  if (entry.dirty || decided) {
    touch(key);
  } else if (!entry.due && entry.not_before <= loop_.now() + options_.per_object * 16) {
    entries_.erase(key);  // nothing to remember: one like new is made when it changes
  }
}

void Runner::note(const std::optional<projection::Note>& note, std::string_view what) {
  if (!note || recorder_ == nullptr) return;
  projection::Note filled = *note;
  size_t at = filled.message.find("{}");
  if (at != std::string::npos) filled.message.replace(at, 2, what);
  recorder_->record(filled, component_);
}

}  // namespace gantry::controllers
