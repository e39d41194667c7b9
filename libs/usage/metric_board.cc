#include "libs/usage/metric_board.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "libs/base/ids.h"
#include "libs/model/quantity.h"

namespace gantry::usage {
namespace {

using nlohmann::json;

constexpr std::string_view kPrefix = "gantry.metrics.";
constexpr size_t kMostBytes = 256 << 10, kMostLabels = 32, kMostText = 256;

/// gantry.metrics.<namespace>.<name>; what a server's permissions let through, so the message need not say it again.
std::optional<std::pair<std::string, std::string>> metric_of(std::string_view subject) {
  if (!subject.starts_with(kPrefix)) return std::nullopt;
  subject.remove_prefix(kPrefix.size());
  const auto dot = subject.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  auto ns = decode_token(subject.substr(0, dot)), name = decode_token(subject.substr(dot + 1));
  if (!ns || !name || ns->empty() || name->empty() || name->size() > kMostText) return std::nullopt;
  return std::pair(std::move(*ns), std::move(*name));
}

std::optional<int64_t> milli_of(const json& value) {
  if (value.is_string()) {
    auto quantity = model::Quantity::parse(value.get_ref<const std::string&>());
    if (!quantity.ok()) return std::nullopt;
    return quantity->milli();
  }
  if (!value.is_number()) return std::nullopt;
  const double number = std::ceil(value.get<double>() * 1000);
  if (!std::isfinite(number) || std::abs(number) > 9e18) return std::nullopt;
  return static_cast<int64_t>(number);
}

bool short_text(const json& value) {
  return value.is_string() && value.get_ref<const std::string&>().size() <= kMostText;
}

/// nullopt: not what docs/integrators.md says.
std::optional<Sample> sample_of(const json& said, const MetricBoard::Limits& limits, Duration now) {
  if (!said.is_object() || !said.contains("value")) return std::nullopt;
  Sample sample;
  const auto milli = milli_of(said["value"]);
  if (!milli) return std::nullopt;
  sample.milli = *milli;
  if (const auto pod = said.find("pod"); pod != said.end()) {
    if (!short_text(*pod)) return std::nullopt;
    sample.kind = "Pod", sample.object = *pod;
  } else if (const auto object = said.find("object"); object != said.end()) {
    if (!object->is_object() || !object->contains("kind") || !object->contains("name") ||
        !short_text((*object)["kind"]) || !short_text((*object)["name"]))
      return std::nullopt;
    sample.kind = (*object)["kind"], sample.object = (*object)["name"];
  }
  if (const auto labels = said.find("labels"); labels != said.end()) {
    if (!labels->is_object() || labels->size() > kMostLabels) return std::nullopt;
    for (const auto& [key, value] : labels->items()) {
      if (key.size() > kMostText || !short_text(value)) return std::nullopt;
      sample.labels[key] = value;
    }
  }
  Duration keep = limits.keep;
  if (const auto seconds = said.find("seconds"); seconds != said.end()) {
    if (!seconds->is_number() || !(seconds->get<double>() > 0)) return std::nullopt;
    const double most = std::chrono::duration<double>(limits.keep_most).count();
    keep = Duration(static_cast<int64_t>(std::min(seconds->get<double>(), most) * 1e6));
  }
  sample.until = now + keep;
  return sample;
}

std::string identity(const Sample& sample) {
  std::string text = sample.kind + '\0' + sample.object;
  for (const auto& [key, value] : sample.labels) text.append(1, '\0').append(key).append(1, '\0').append(value);
  return text;
}

std::string encode(const std::map<std::string, std::string>& labels) {
  flatbuffers::FlatBufferBuilder b;
  std::vector<flatbuffers::Offset<api::meta_v1::StringEntry>> entries;
  for (const auto& [key, value] : labels)  // sorted, as readers expect
    entries.push_back(api::meta_v1::CreateStringEntry(b, b.CreateString(key), b.CreateString(value)));
  const auto all = b.CreateVector(entries);
  api::meta_v1::ObjectMetaBuilder meta(b);
  meta.add_labels(all);
  b.Finish(meta.Finish());
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

}  // namespace

const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* Sample::label_table() const {
  return encoded.empty() ? nullptr : flatbuffers::GetRoot<api::meta_v1::ObjectMeta>(encoded.data())->labels();
}

MetricBoard::MetricBoard(Loop& loop, bus::Bus& bus, Limits limits) : loop_(loop), limits_(limits) {
  subscription_ = bus.subscribe("gantry.metrics.*.*", "", [this](const bus::Message& message) { hear(message); });
  sweeper_ = loop_.every(limits_.keep / 4, [this] { sweep(); });
}

void MetricBoard::for_each(std::string_view ns, std::string_view name,
                           const std::function<void(const Sample&)>& visit) const {
  const auto space = namespaces_.find(ns);
  if (space == namespaces_.end()) return;
  const auto metric = space->second.metrics.find(name);
  if (metric == space->second.metrics.end()) return;
  for (const auto& [series, sample] : metric->second) {
    if (sample.until > loop_.now()) visit(sample);
  }
}

void MetricBoard::put(const std::string& ns, const std::string& name, Sample sample) {
  auto& space = namespaces_[ns];
  auto& metric = space.metrics[name];
  auto [it, added] = metric.try_emplace(identity(sample));
  if (added && (series_ >= limits_.series || space.series >= limits_.of_namespace)) {
    metric.erase(it);
    if (metric.empty()) space.metrics.erase(name);
    ++counters_.shed;
    return;
  }
  if (added) ++series_, ++space.series;
  ++counters_.heard;
  const bool changed = added || it->second.milli != sample.milli || it->second.until <= loop_.now();
  sample.time = loop_.wall();
  sample.encoded = added ? encode(sample.labels) : std::move(it->second.encoded);
  it->second = std::move(sample);
  if (!changed) return;
  dirty_.emplace(ns, name);
  if (teller_) return;
  teller_ = loop_.after(std::max(Duration::zero(), told_ + limits_.tell_each - loop_.now()), [this] { tell(); });
}

void MetricBoard::tell() {
  teller_.reset();
  told_ = loop_.now();
  const auto dirty = std::exchange(dirty_, {});
  for (const auto& [ns, name] : dirty) {
    if (changed_) changed_(ns, name);
  }
}

void MetricBoard::hear(const bus::Message& message) {
  const auto metric = metric_of(message.subject);
  const json said = metric && message.data.size() <= kMostBytes ? json::parse(message.data, nullptr, false) : json();
  if (!said.is_object() && !said.is_array()) {
    ++counters_.refused;
    return;
  }
  auto one = [&](const json& value) {
    auto sample = sample_of(value, limits_, loop_.now());
    if (!sample) {
      ++counters_.refused;
    } else {
      put(metric->first, metric->second, std::move(*sample));
    }
  };
  if (said.is_object()) return one(said);
  for (const json& value : said) one(value);
}

void MetricBoard::sweep() {
  for (auto& [ns, space] : namespaces_) {
    for (auto& [name, metric] : space.metrics) {
      const size_t gone = std::erase_if(metric, [&](const auto& e) { return e.second.until <= loop_.now(); });
      space.series -= gone, series_ -= gone;
    }
    std::erase_if(space.metrics, [](const auto& e) { return e.second.empty(); });
  }
  std::erase_if(namespaces_, [](const auto& e) { return e.second.metrics.empty(); });
}

}  // namespace gantry::usage
