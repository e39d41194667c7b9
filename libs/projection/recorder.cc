#include "libs/projection/recorder.h"

#include <glog/logging.h>

#include "libs/model/draft.h"
#include "libs/model/json.h"
#include "libs/model/schema.h"

namespace gantry::projection {
namespace {

constexpr Duration kDeadline = std::chrono::seconds(60);  // the gateway takes Events behind real work

}  // namespace

Recorder::Recorder(Loop& loop, bus::Commands& commands, std::string component, std::string instance)
    : Recorder(loop, commands, std::move(component), std::move(instance), Options()) {}

Recorder::Recorder(Loop& loop, bus::Commands& commands, std::string component, std::string instance, Options options)
    : loop_(loop),
      commands_(commands),
      component_(std::move(component)),
      instance_(std::move(instance)),
      options_(options) {}

Recorder::~Recorder() { *alive_ = false; }

bool Recorder::allow(std::string_view uid) {
  auto [it, fresh] = buckets_.try_emplace(std::string(uid));
  Bucket& bucket = it->second;
  Duration now = loop_.now();
  if (fresh) {
    bucket = {static_cast<double>(options_.burst), now};
  } else {
    double refilled = static_cast<double>((now - bucket.at).count()) / static_cast<double>(options_.refill.count());
    bucket = {std::min<double>(options_.burst, bucket.tokens + refilled), now};
  }
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  if (buckets_.size() > options_.max_remembered * 4) buckets_.clear();  // bounded; forgetting only allows a new burst
  return true;
}

void Recorder::record(const Note& note, std::string_view component) {
  if (!note.about || note.about.meta() == nullptr) return;
  int64_t now = loop_.wall() / 1'000'000;
  std::string id = fmt::format("{}\n{}\n{}\n{}\n{}", component, note.about.uid(), note.type, note.reason, note.message);
  if (!allow(note.about.uid()) || queue_.size() >= options_.max_queued) {
    ++shed_;
    return;
  }
  bus::Command command;
  command.resource = "events";
  auto seen = seen_.find(id);
  if (seen != seen_.end()) {
    ages_.splice(ages_.end(), ages_, seen->second.age);
    command.verb = bus::Verb::Patch;
    command.patch_type = bus::PatchType::Merge;
    command.ns = seen->second.ns;
    command.name = seen->second.name;
    command.json = fmt::format(R"({{"count":{},"lastTimestamp":"{}"}})", ++seen->second.count, model::format_time(now));
  } else {
    static const model::Kind& kind = *model::Schema::get().by_resource("events");
    std::string ns = note.about.ns().empty() ? "default" : std::string(note.about.ns());
    // Unique as Kubernetes makes it: the object's name and the time.
    std::string name =
        fmt::format("{}.{:x}", note.about.name(), loop_.wall() * 1000 + static_cast<int64_t>(numbered_++ % 1000));
    model::Draft event(kind);
    event.set("metadata.name", name);
    event.set("metadata.namespace", ns);
    event.set("involvedObject.kind", note.about.kind().kind);
    event.set("involvedObject.apiVersion", note.about.kind().api_version());
    event.set("involvedObject.name", note.about.name());
    if (!note.about.ns().empty()) event.set("involvedObject.namespace", note.about.ns());
    event.set("involvedObject.uid", note.about.uid());
    if (note.about.revision() != 0) {
      event.set("involvedObject.resourceVersion", std::to_string(note.about.revision()));
    }
    event.set("type", note.type);
    event.set("reason", note.reason);
    event.set("message", note.message);
    event.set("source.component", component);
    event.set("firstTimestamp", now);
    event.set("lastTimestamp", now);
    event.set("count", 1);
    event.set("reportingComponent", component);
    if (!instance_.empty()) event.set("reportingInstance", instance_);
    command.verb = bus::Verb::Create;
    command.ns = ns;
    command.object = event.bytes();
    ages_.push_back(id);
    seen_.emplace(std::move(id), Seen{ns, name, 1, std::prev(ages_.end())});
    if (ages_.size() > options_.max_remembered) {
      seen_.erase(ages_.front());
      ages_.pop_front();
    }
  }
  queue_.push_back(std::move(command));
  pump();
}

void Recorder::pump() {
  if (pumping_ || queue_.empty() || in_flight_ >= options_.max_in_flight) return;
  pumping_ = true;
  // Posted, so that the real work of this turn goes first.
  loop_.post([this, alive = alive_] {
    if (!*alive) return;
    pumping_ = false;
    while (!queue_.empty() && in_flight_ < options_.max_in_flight) {
      ++in_flight_;
      bus::Command command = std::move(queue_.front());
      queue_.pop_front();
      commands_.send(std::move(command), kDeadline, [this, alive](const Result<bus::CommandOutcome>& result) {
        if (!*alive) return;
        --in_flight_;
        if (!result.ok()) {
          ++shed_;
          VLOG(1) << "an Event was not recorded: " << result.error().message;
        }
        pump();
      });
    }
  });
}

}  // namespace gantry::projection
