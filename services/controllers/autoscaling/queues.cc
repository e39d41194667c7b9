#include "services/controllers/autoscaling/queues.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "schemas/api/autoscaling_v2_generated.h"

namespace gantry::controllers {
namespace {

using api::autoscaling_v2::HorizontalPodAutoscaler;
using model::str;
using nlohmann::json;

constexpr Duration kPatience = std::chrono::seconds(2), kStale = std::chrono::seconds(10);
constexpr size_t kMost = 1'000;  // queues: as many requests twice a second

/// It becomes a token of a subject.
bool can_be_a_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c > ' ' && c < 127 && c != '.' && c != '*' && c != '>' && c != '/' && c != '\\';
  });
}

/// What the selector lets the label be.
std::vector<std::string> values(const api::meta_v1::LabelSelector* selector, std::string_view label) {
  std::vector<std::string> all;
  if (selector == nullptr) return all;
  if (const auto* value = model::lookup(selector->match_labels(), label)) all.emplace_back(str(value));
  for (flatbuffers::uoffset_t i = 0;
       selector->match_expressions() != nullptr && i < selector->match_expressions()->size(); ++i) {
    const auto* e = selector->match_expressions()->Get(i);
    if (str(e->key()) != label || str(e->operator_()) != "In" || e->values() == nullptr) continue;
    for (const auto* value : *e->values()) all.emplace_back(str(value));
  }
  std::erase_if(all, [](const std::string& name) { return !can_be_a_name(name); });
  return all;
}

int64_t number(const json& object, const char* field) {
  const auto it = object.find(field);
  return it != object.end() && it->is_number() ? it->get<int64_t>() : 0;
}

}  // namespace

std::set<Queue> queues_wanted(const View& view) {
  std::set<Queue> all;
  view.cache("horizontalpodautoscalers").for_each([&](const model::Object& object) {
    const auto* spec = object.as<HorizontalPodAutoscaler>()->spec();
    if (spec == nullptr || spec->metrics() == nullptr) return;
    for (const auto* metric : *spec->metrics()) {
      const auto* external = metric->external();
      if (external == nullptr || external->metric() == nullptr) continue;
      const std::string_view name = str(external->metric()->name());
      if (name != kStreamMessages && name != kConsumerPending) continue;
      for (const std::string& stream : values(external->metric()->selector(), "stream")) {
        if (name == kStreamMessages) {
          all.insert({stream, ""});
        } else {
          for (const std::string& consumer : values(external->metric()->selector(), "consumer"))
            all.insert({stream, consumer});
        }
      }
    }
  });
  return all;
}

QueueWatch::QueueWatch(Loop& loop, bus::Bus& bus, usage::MetricBoard& board, std::function<std::set<Queue>()> wanted,
                       Duration period)
    : loop_(loop), bus_(bus), board_(board), wanted_(std::move(wanted)) {
  timer_ = loop_.every(period, [this] {
    size_t n = 0;
    for (const Queue& queue : wanted_()) {
      if (n++ < kMost) ask(queue);
    }
  });
}

void QueueWatch::ask(const Queue& queue) {
  if (!asked_.insert(queue).second) return;
  const std::string subject = queue.consumer.empty()
                                  ? "$JS.API.STREAM.INFO." + queue.stream
                                  : fmt::format("$JS.API.CONSUMER.INFO.{}.{}", queue.stream, queue.consumer);
  bus_.request(subject, "", kPatience, [this, queue, alive = std::weak_ptr(alive_)](const Result<std::string>& answer) {
    if (!alive.expired()) answered(queue, answer);
  });
}

void QueueWatch::answered(const Queue& queue, const Result<std::string>& answer) {
  asked_.erase(queue);
  const json said = answer.ok() ? json::parse(*answer, nullptr, false) : json();
  // Not there, or the bus is away: the metric is not known, once what was known is stale.
  if (!said.is_object() || said.contains("error")) return;
  usage::Sample sample;
  sample.labels = {{"stream", queue.stream}};
  sample.until = loop_.now() + kStale;
  int64_t messages = 0;
  if (queue.consumer.empty()) {
    if (!said.contains("state") || !said["state"].is_object()) return;
    messages = number(said["state"], "messages");
  } else {
    sample.labels["consumer"] = queue.consumer;
    messages = number(said, "num_pending") + number(said, "num_ack_pending");
  }
  sample.milli = std::min(messages, int64_t{1} << 50) * 1000;
  board_.put("", queue.consumer.empty() ? kStreamMessages : kConsumerPending, std::move(sample));
}

}  // namespace gantry::controllers
