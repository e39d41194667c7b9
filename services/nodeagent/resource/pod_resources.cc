#include "services/nodeagent/resource/pod_resources.h"

#include <algorithm>

#include "libs/model/object.h"

namespace gantry::nodeagent {

using model::Quantity;
using model::str;

namespace {

constexpr int64_t kMinShares = 2, kMaxShares = 262'144, kMinQuota = 1'000;
constexpr int64_t kCritical = 2'000'000'000;  // the priority of what the system cannot do without
constexpr std::string_view kHugepages = "hugepages-";

bool is_sidecar_spec(const core::Container& c) { return str(c.restart_policy()) == "Always"; }

void add(Amounts& to, const Amounts& from) {
  for (const auto& [name, value] : from) to[name] = to[name] + value;
}

void raise(Amounts& to, const Amounts& from) {
  for (const auto& [name, value] : from) to[name] = std::max(to[name], value);
}

// Requests default to limits.
Amounts requests_of(const core::ResourceRequirements* r) {
  auto out = amounts(r ? r->limits() : nullptr);
  for (auto& [name, value] : amounts(r ? r->requests() : nullptr)) out[name] = value;
  return out;
}

template <typename ListOf>
Amounts together(const core::PodSpec& spec, ListOf list_of) {
  Amounts running, most, sidecars;
  if (spec.containers()) {
    for (const auto* c : *spec.containers()) add(running, list_of(c->resources()));
  }
  if (spec.init_containers()) {
    for (const auto* c : *spec.init_containers()) {
      auto own = list_of(c->resources());
      if (is_sidecar_spec(*c)) {
        add(sidecars, own);
        raise(most, sidecars);
      } else {
        auto at_once = sidecars;
        add(at_once, own);
        raise(most, at_once);
      }
    }
  }
  add(running, sidecars);
  raise(running, most);
  return running;
}

bool every_container_limits(const core::PodSpec& spec, std::string_view resource) {
  bool all = true;
  for (const auto* list : {spec.containers(), spec.init_containers()}) {
    if (list == nullptr) continue;
    for (const auto* c : *list) {
      const auto* limits = c->resources() ? c->resources()->limits() : nullptr;
      all = all && limits != nullptr && model::lookup(limits, resource) != nullptr;
    }
  }
  return all;
}

// 2Mi -> 2MB, as the kernel names the files.
std::string page_size(std::string_view name) {
  std::string out(name);
  if (out.ends_with('i')) out.back() = 'B';
  return out;
}

void set_hugepages(const Amounts& limits, Resources& out) {
  for (const auto& [name, value] : limits) {
    if (name.starts_with(kHugepages)) out.hugepages[page_size(name.substr(kHugepages.size()))] = value.value();
  }
}

void set_limits(const Amounts& requests, const Amounts& limits, Resources& out) {
  out.cpu_shares = cpu_shares(amount(requests, "cpu").value_or(0));
  if (auto cpu = amount(limits, "cpu"); cpu && *cpu > 0) {
    out.cpu_period = kCpuPeriod;
    out.cpu_quota = cpu_quota(*cpu);
  }
  out.memory_limit = amount(limits, "memory").value_or(0);
  set_hugepages(limits, out);
}

}  // namespace

Amounts amounts(const ResourceEntries* entries) {
  Amounts out;
  if (entries == nullptr) return out;
  for (const auto* entry : *entries) {
    if (auto value = Quantity::parse(str(entry->value())); value.ok()) out[std::string(str(entry->key()))] = *value;
  }
  return out;
}

std::optional<int64_t> amount(const Amounts& list, std::string_view resource) {
  const auto found = list.find(resource);
  if (found == list.end()) return std::nullopt;
  return resource == "cpu" ? found->second.milli() : found->second.value();
}

PodResources pod_resources(const core::PodSpec& spec) {
  PodResources out;
  out.requests = together(spec, requests_of);
  out.limits = together(spec, [](const core::ResourceRequirements* r) { return amounts(r ? r->limits() : nullptr); });
  std::erase_if(out.limits, [&](const auto& entry) {
    return !entry.first.starts_with(kHugepages) && !every_container_limits(spec, entry.first);
  });
  if (const auto* own = spec.resources()) {
    for (auto& [name, value] : requests_of(own)) out.requests[name] = value;
    for (auto& [name, value] : amounts(own->limits())) out.limits[name] = value;
  }
  const auto overhead = amounts(spec.overhead());
  add(out.requests, overhead);
  for (const auto& [name, value] : overhead) {
    if (auto limit = out.limits.find(name); limit != out.limits.end()) limit->second = limit->second + value;
  }
  return out;
}

int64_t cpu_shares(int64_t milli) { return std::clamp(milli * 1024 / 1000, kMinShares, kMaxShares); }

int64_t cpu_quota(int64_t milli) { return std::max(kMinQuota, milli * kCpuPeriod / 1000); }

int64_t cpu_weight(int64_t shares) {
  return std::clamp<int64_t>(1 + (std::max(shares, kMinShares) - kMinShares) * 9'999 / (kMaxShares - kMinShares), 1,
                             10'000);
}

int64_t oom_score_adj(const core::PodSpec& spec, const core::Container& container, int64_t memory_bytes) {
  if (spec.priority().value_or(0) >= kCritical) return -997;
  switch (pod_qos(spec)) {
    case Qos::kGuaranteed:
      return -997;
    case Qos::kBestEffort:
      return 1000;
    case Qos::kBurstable:
      break;
  }
  if (memory_bytes == 0) return 999;
  const auto request = amount(requests_of(container.resources()), "memory").value_or(0);
  // Exactly, for a request of many gigabytes on a machine of terabytes.
  const auto share = static_cast<int64_t>(static_cast<__int128>(request) * 1000 / memory_bytes);
  return std::clamp<int64_t>(1000 - share, 3, 999);
}

Resources container_resources(const core::PodSpec& spec, const core::Container& container, int64_t memory_bytes) {
  Resources out;
  const auto* r = container.resources();
  set_limits(requests_of(r), amounts(r ? r->limits() : nullptr), out);
  out.oom_score_adj = oom_score_adj(spec, container, memory_bytes);
  return out;
}

Resources pod_cgroup_resources(const core::PodSpec& spec) {
  Resources out;
  const auto all = pod_resources(spec);
  set_limits(all.requests, all.limits, out);
  return out;
}

}  // namespace gantry::nodeagent
