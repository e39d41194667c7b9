#include "services/nodeagent/resource/eviction.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "libs/model/quantity.h"

namespace gantry::nodeagent {

namespace {

struct Known {
  std::string_view signal, condition, resource;
};
constexpr std::array kKnown = {Known{"memory.available", "MemoryPressure", "memory"},
                               Known{"nodefs.available", "DiskPressure", "ephemeral-storage"},
                               Known{"nodefs.inodesFree", "DiskPressure", "inodes"},
                               Known{"imagefs.available", "DiskPressure", "ephemeral-storage"},
                               Known{"imagefs.inodesFree", "DiskPressure", "inodes"},
                               Known{"pid.available", "PIDPressure", "pids"}};

const Known* known(std::string_view signal) {
  const auto* found = std::find_if(kKnown.begin(), kKnown.end(), [&](const Known& k) { return k.signal == signal; });
  return found == kKnown.end() ? nullptr : found;
}

// Calls `take(name, value)` for each of name<value,... ; false from it ends with an error.
template <typename Take>
Status entries(std::string_view text, char between, Take take) {
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto entry = text.substr(0, comma);
    const auto at = entry.find(between);
    if (at == std::string_view::npos || !take(entry.substr(0, at), entry.substr(at + 1)))
      return Error{Code::kInvalid, fmt::format("eviction: \"{}\" is not <signal>{}<value>", entry, between)};
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return Done{};
}

// 1m30s
std::optional<Duration> parse_duration(std::string_view text) {
  Duration out{0};
  int64_t number = 0;
  bool any = false;
  for (char c : text) {
    if (c >= '0' && c <= '9') {
      number = number * 10 + (c - '0');
      any = true;
      continue;
    }
    if (!any) return std::nullopt;
    if (c == 'h')
      out += std::chrono::hours(number);
    else if (c == 'm')
      out += std::chrono::minutes(number);
    else if (c == 's')
      out += std::chrono::seconds(number);
    else
      return std::nullopt;
    number = 0;
    any = false;
  }
  return any || text.empty() ? std::nullopt : std::optional(out);
}

bool by_disk(std::string_view signal) { return signal.find("fs.") != std::string_view::npos; }

struct Weighed {
  int64_t used, requested;
};

Weighed amounts_of(const PodUse& pod, std::string_view signal) {
  if (signal == "memory.available") return {pod.memory, pod.memory_request};
  if (by_disk(signal)) return {pod.disk, pod.disk_request};
  return {pod.processes, 0};
}

void rank(std::vector<PodUse>& pods, std::string_view signal) {
  std::stable_sort(pods.begin(), pods.end(), [&](const PodUse& a, const PodUse& b) {
    const auto x = amounts_of(a, signal), y = amounts_of(b, signal);
    const bool counts = signal != "pid.available";
    const bool over_a = counts && x.used > x.requested, over_b = counts && y.used > y.requested;
    if (over_a != over_b) return over_a;
    if (a.priority != b.priority) return a.priority < b.priority;
    return x.used - x.requested > y.used - y.requested;
  });
}

std::string bytes(int64_t value) { return model::Quantity::from_bytes(value).to_string(); }

std::string message(const PodUse& pod, const Threshold& threshold, const Signal& signal) {
  const auto resource = known(threshold.signal)->resource;
  const bool counted = threshold.signal.ends_with("inodesFree") || threshold.signal == "pid.available";
  const auto print = [&](int64_t value) { return counted ? std::to_string(value) : bytes(value); };
  auto out = fmt::format("The node was low on resource: {}. Threshold quantity: {}, available: {}. ", resource,
                         print(threshold.quantity(signal)), print(signal.available));
  for (const auto& c : pod.containers) {
    const bool memory = threshold.signal == "memory.available";
    if (!memory && !by_disk(threshold.signal)) continue;
    const auto used = memory ? c.memory : c.disk, requested = memory ? c.memory_request : c.disk_request;
    if (used <= requested) continue;
    out += fmt::format("Container {} was using {}, request is {}, has larger consumption of {}. ", c.name, bytes(used),
                       requested == 0 ? "0" : bytes(requested), resource);
  }
  return out;
}

}  // namespace

int64_t Threshold::quantity(const Signal& of) const {
  return percentage > 0 ? static_cast<int64_t>(static_cast<double>(of.capacity) * percentage / 100) : value;
}

Result<std::vector<Threshold>> parse_thresholds(std::string_view text) {
  std::vector<Threshold> out;
  auto read = entries(text, '<', [&](std::string_view signal, std::string_view value) {
    if (known(signal) == nullptr) return false;
    Threshold t;
    t.signal = signal;
    if (value.ends_with('%')) {
      char* end = nullptr;
      const std::string number(value.substr(0, value.size() - 1));
      t.percentage = std::strtod(number.c_str(), &end);
      if (number.empty() || *end != '\0' || t.percentage < 0 || t.percentage > 100) return false;
      // None of it is no threshold.
      if (t.percentage == 0) return true;
    } else {
      auto parsed = model::Quantity::parse(value);
      if (!parsed.ok() || parsed->value() < 0) return false;
      t.value = parsed->value();
    }
    out.push_back(std::move(t));
    return true;
  });
  if (!read.ok()) return read.error();
  return out;
}

Result<std::vector<Threshold>> parse_soft_thresholds(std::string_view text, std::string_view graces) {
  auto out = parse_thresholds(text);
  if (!out.ok()) return out;
  std::map<std::string, Duration, std::less<>> times;
  auto read = entries(graces, '=', [&](std::string_view signal, std::string_view value) {
    const auto time = parse_duration(value);
    if (time) times[std::string(signal)] = *time;
    return time.has_value();
  });
  if (!read.ok()) return read.error();
  for (auto& t : *out) {
    const auto time = times.find(t.signal);
    if (time == times.end())
      return Error{Code::kInvalid, fmt::format("eviction: the soft threshold of {} needs a grace period", t.signal)};
    t.soft = true;
    t.grace = time->second;
  }
  return out;
}

EvictionDecision decide_eviction(const EvictionOptions& options, const Signals& signals, std::vector<PodUse> pods,
                                 WallMicros now, EvictionMemory& memory) {
  EvictionDecision out;
  const Threshold* act_on = nullptr;
  for (const auto& t : options.thresholds) {
    const auto key = fmt::format("{}/{}", t.signal, t.soft);
    const auto signal = signals.find(t.signal);
    if (signal == signals.end() || signal->second.available >= t.quantity(signal->second)) {
      memory.first_met.erase(key);
      continue;
    }
    const auto since = memory.first_met.emplace(key, now).first->second;
    if (now - since < t.grace.count()) continue;
    memory.last_pressure[std::string(known(t.signal)->condition)] = now;
    // Memory before all else, what is hard before what is soft.
    const auto weight = [](const Threshold& x) { return std::pair(x.soft, x.signal != "memory.available"); };
    if (act_on == nullptr || weight(t) < weight(*act_on)) act_on = &t;
  }
  const auto pressed = [&](const char* condition) {
    const auto last = memory.last_pressure.find(condition);
    return last != memory.last_pressure.end() && now - last->second <= options.pressure_transition.count();
  };
  out.memory_pressure = pressed("MemoryPressure");
  out.disk_pressure = pressed("DiskPressure");
  out.pid_pressure = pressed("PIDPressure");
  if (act_on == nullptr) return out;
  out.starved = act_on->signal;
  out.reclaim_disk = by_disk(act_on->signal);
  std::erase_if(pods, [](const PodUse& pod) { return pod.critical; });
  if (pods.empty()) return out;
  rank(pods, act_on->signal);
  const auto& victim = pods.front();
  out.victim = {victim.uid, message(victim, *act_on, signals.find(act_on->signal)->second),
                act_on->soft ? options.max_pod_grace_seconds : 0};
  return out;
}

}  // namespace gantry::nodeagent
