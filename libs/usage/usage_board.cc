#include "libs/usage/usage_board.h"

#include <algorithm>

#include "libs/base/ids.h"
#include "schemas/node_generated.h"

namespace gantry::usage {
namespace {

constexpr std::string_view kPrefix = "gantry.node.", kSuffix = ".up.stats";

// The server lets a node speak on its own subject only; what the message says of its sender is not needed.
std::optional<std::string> speaker(std::string_view subject) {
  if (!subject.starts_with(kPrefix) || !subject.ends_with(kSuffix)) return std::nullopt;
  subject.remove_prefix(kPrefix.size());
  subject.remove_suffix(kSuffix.size());
  return decode_token(subject);
}

std::string text(const flatbuffers::String* s) { return s == nullptr ? std::string() : s->str(); }

}  // namespace

void UsageBoard::Series::add(WallMicros time, uint64_t cpu_nanos, uint64_t memory_bytes, Duration window) {
  // A clock set back or a counter that fell: what was measured before does not go with it.
  if (!samples.empty() && (time <= samples.back().time || cpu_nanos < samples.back().cpu_nanos)) samples.clear();
  samples.push_back({time, cpu_nanos});
  memory = memory_bytes;
  const auto reach = std::chrono::duration_cast<std::chrono::microseconds>(window).count();
  while (samples.size() > 2 && time - samples[1].time >= reach) samples.pop_front();
}

Usage UsageBoard::Series::usage() const {
  const auto micros = static_cast<double>(samples.back().time - samples.front().time);
  const auto nanos = static_cast<double>(samples.back().cpu_nanos - samples.front().cpu_nanos);
  return {static_cast<uint64_t>(nanos / micros * 1e6), memory};
}

Measured UsageBoard::Series::measured() const {
  return {samples.back().time, std::chrono::microseconds(samples.back().time - samples.front().time)};
}

UsageBoard::UsageBoard(Loop& loop, bus::Bus& bus, Duration window, Duration patience)
    : loop_(loop), window_(window), patience_(patience) {
  subscription_ = bus.subscribe("gantry.node.*.up.stats", "", [this](const bus::Message& message) { hear(message); });
  sweeper_ = loop_.every(patience_ / 4, [this] { sweep(); });
}

std::optional<NodeMeasured> UsageBoard::node(std::string_view name) const {
  const auto it = nodes_.find(name);
  if (it == nodes_.end() || !it->second.series.known()) return std::nullopt;
  return NodeMeasured{it->second.series.measured(), it->second.series.usage()};
}

std::optional<PodMeasured> UsageBoard::pod(std::string_view uid) const {
  const auto it = pods_.find(std::string(uid));
  if (it == pods_.end()) return std::nullopt;
  PodMeasured out;
  for (const auto& [name, series] : it->second.containers) {
    if (!series.known()) continue;
    static_cast<Measured&>(out) = series.measured();
    out.containers.emplace_back(name, series.usage());
  }
  if (out.containers.empty()) return std::nullopt;
  out.node = it->second.node;
  return out;
}

void UsageBoard::hear(const bus::Message& message) {
  const auto name = speaker(message.subject);
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(message.data.data()), message.data.size());
  if (!name || !verifier.VerifyBuffer<node::Stats>()) return;
  const auto* stats = flatbuffers::GetRoot<node::Stats>(message.data.data());
  auto& node = nodes_[*name];
  node.heard = loop_.now();
  if (const auto* usage = stats->usage())
    node.series.add(stats->time(), usage->cpu_nanos(), usage->memory_working_set(), window_);
  std::vector<std::string> uids;
  if (stats->pods() != nullptr) {
    for (const auto* said : *stats->pods()) {
      auto uid = text(said->uid());
      if (uid.empty() || said->containers() == nullptr) continue;
      auto& pod = pods_[uid];
      pod.node = *name;
      std::map<std::string, Series, std::less<>> containers;
      for (const auto* container : *said->containers()) {
        const auto* usage = container->usage();
        if (usage == nullptr) continue;
        auto& series = containers[text(container->name())] = std::move(pod.containers[text(container->name())]);
        series.add(stats->time(), usage->cpu_nanos(), usage->memory_working_set(), window_);
      }
      pod.containers = std::move(containers);
      uids.push_back(std::move(uid));
    }
  }
  std::sort(uids.begin(), uids.end());
  forget(node, *name, uids);
  node.pods = std::move(uids);
}

void UsageBoard::forget(const Node& node, const std::string& name, const std::vector<std::string>& keep) {
  for (const auto& uid : node.pods) {
    if (std::binary_search(keep.begin(), keep.end(), uid)) continue;
    if (auto it = pods_.find(uid); it != pods_.end() && it->second.node == name) pods_.erase(it);
  }
}

void UsageBoard::sweep() {
  std::erase_if(nodes_, [this](const auto& entry) {
    const auto& [name, node] = entry;
    if (loop_.now() - node.heard < patience_) return false;
    forget(node, name, {});
    return true;
  });
}

}  // namespace gantry::usage
