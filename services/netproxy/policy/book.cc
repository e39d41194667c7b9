#include "services/netproxy/policy/book.h"

#include <fmt/format.h>

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::netproxy {
namespace {

using model::str;

bool same_labels(const model::Object& a, const model::Object& b) {
  const auto *x = a.meta()->labels(), *y = b.meta()->labels();
  size_t size = x == nullptr ? 0 : x->size();
  if (size != (y == nullptr ? 0 : y->size())) return false;
  for (size_t i = 0; i < size; ++i) {  // sorted by key
    if (str((*x)[i]->key()) != str((*y)[i]->key()) || str((*x)[i]->value()) != str((*y)[i]->value())) return false;
  }
  return true;
}

bool is_ipv4(std::string_view ip) { return !ip.empty() && ip.find(':') == std::string_view::npos; }

template <typename Containers>
void add_ports(const Containers* containers, std::vector<std::pair<std::string, std::string>>& ports) {
  if (containers == nullptr) return;
  for (const auto* container : *containers) {
    if (container->ports() == nullptr) continue;
    for (const auto* port : *container->ports()) {
      if (str(port->name()).empty()) continue;
      std::string protocol(str(port->protocol()).empty() ? "TCP" : str(port->protocol()));
      for (char& c : protocol) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      ports.emplace_back(fmt::format("{}/{}", protocol, str(port->name())),
                         std::to_string(port->container_port().value_or(0)));
    }
  }
}

}  // namespace

bool PolicyBook::Pod::operator==(const Pod& other) const {
  return local == other.local && addresses == other.addresses && ports == other.ports &&
         same_labels(object, other.object);
}

std::optional<PolicyBook::Pod> PolicyBook::read(const model::Object& object, std::string_view node) {
  if (!object) return std::nullopt;
  const auto& pod = *object.as<api::core_v1::Pod>();
  if (pod.spec() == nullptr || pod.status() == nullptr || pod.spec()->host_network().value_or(false) ||
      model::pod_terminal(pod))
    return std::nullopt;
  Pod out{object, std::string(object.ns()), str(pod.spec()->node_name()) == node, {}, {}};
  if (is_ipv4(str(pod.status()->pod_ip()))) out.addresses.emplace_back(str(pod.status()->pod_ip()));
  if (pod.status()->pod_ips() != nullptr) {
    for (const auto* ip : *pod.status()->pod_ips()) {
      std::string address(str(ip->ip()));
      if (is_ipv4(address) && std::find(out.addresses.begin(), out.addresses.end(), address) == out.addresses.end())
        out.addresses.push_back(std::move(address));
    }
  }
  if (out.addresses.empty()) return std::nullopt;
  add_ports(pod.spec()->containers(), out.ports);
  add_ports(pod.spec()->init_containers(), out.ports);  // sidecars
  return out;
}

void PolicyBook::Members::add(const std::string& element) {
  if (++counts_[element] == 1) elements_.reset();
}

void PolicyBook::Members::remove(const std::string& element) {
  auto it = counts_.find(element);
  if (it == counts_.end() || --it->second > 0) return;
  counts_.erase(it);
  elements_.reset();
}

std::shared_ptr<const std::map<std::string, std::string>> PolicyBook::Members::elements() {
  if (!elements_) {
    auto fresh = std::make_shared<std::map<std::string, std::string>>();
    for (const auto& [element, times] : counts_) fresh->emplace_hint(fresh->end(), element, "");
    elements_ = std::move(fresh);
  }
  return elements_;
}

bool PolicyBook::matches(const Selected& set, const Pod& pod) {
  bool there = set.selection.ns.empty() ? set.namespaces.contains(pod.ns) : set.selection.ns == pod.ns;
  return there && set.selection.pods.matches(pod.object.meta()->labels());
}

void PolicyBook::count(Selected& set, const Pod& pod, bool add) {
  if (!matches(set, pod)) return;
  for (const auto& address : pod.addresses) add ? set.members.add(address) : set.members.remove(address);
}

void PolicyBook::count(Named& set, const Pod& pod, bool add) {
  for (const auto& [name, number] : pod.ports) {
    if (name != set.port) continue;
    for (const auto& address : pod.addresses) {
      std::string element = address + " . " + number;
      add ? set.members.add(element) : set.members.remove(element);
    }
  }
}

void PolicyBook::count(const Pod& pod, bool add) {
  for (auto& [name, set] : selected_) count(set, pod, add);
  for (auto& [name, set] : named_) count(set, pod, add);
}

bool PolicyBook::pod(const std::string& key, const model::Object& object) {
  auto now = read(object, node_);
  auto then = pods_.find(key);
  if (then == pods_.end() ? !now : now && *now == then->second) return false;  // most status reports
  bool local = now && now->local;
  if (then != pods_.end()) {
    local = local || then->second.local;
    count(then->second, false);
    pods_.erase(then);
    local_.erase(key);
  }
  if (now) {
    count(*now, true);
    if (now->local) local_.insert(key);
    pods_.emplace(key, std::move(*now));
  }
  if (local) assigned_ = false;
  return true;
}

bool PolicyBook::name_space(const std::string& name, const model::Object& now) {
  auto& known = namespaces_[name];
  bool same = known && now && same_labels(known, now);
  known = now;
  if (!now) namespaces_.erase(name);
  if (same) return false;
  bool changed = false;
  for (auto& [id, set] : selected_) {
    if (!set.selection.ns.empty()) continue;
    bool was = set.namespaces.contains(name), is = now && set.selection.namespaces.matches(now.meta()->labels());
    if (was == is) continue;
    auto each = [&, &set = set](bool add) {
      for (auto it = pods_.lower_bound(name + "/"); it != pods_.end() && it->second.ns == name; ++it)
        count(set, it->second, add);
    };
    if (was) each(false), set.namespaces.erase(name);
    if (is) set.namespaces.insert(name), each(true);
    changed = true;
  }
  return changed;
}

bool PolicyBook::policy(const std::string& key, const model::Object& now) {
  if (now) {
    policies_.insert_or_assign(key, compile(now));
  } else {
    policies_.erase(key);
  }
  assigned_ = false;
  return true;
}

void PolicyBook::assign() {
  assigned_ = true;
  chains_.clear();
  std::set<const CompiledPolicy*> used;
  for (Direction direction : {Direction::kIngress, Direction::kEgress}) {
    auto& verdicts = verdicts_[static_cast<size_t>(direction)];
    verdicts.clear();
    for (const auto& key : local_) {
      const Pod& pod = pods_.at(key);
      std::vector<std::string> jumps;
      for (auto it = policies_.lower_bound(pod.ns + "/"); it != policies_.end() && it->second.ns == pod.ns; ++it) {
        const CompiledPolicy& policy = it->second;
        if (policy.chain(direction).empty() || !policy.subject.matches(pod.object.meta()->labels())) continue;
        jumps.push_back("jump " + policy.chain(direction));
        used.insert(&policy);
      }
      if (jumps.empty()) continue;
      std::string chain =
          "pod-" + hash(fmt::format("{}", fmt::join(jumps, " ")));  // shared by pods under the same ones
      jumps.emplace_back("drop");
      chains_[chain] = std::move(jumps);
      for (const auto& address : pod.addresses) verdicts[address] = "goto " + chain;
    }
  }
  for (const auto* policy : used) chains_.insert(policy->chains.begin(), policy->chains.end());
  use_sets(used);
}

void PolicyBook::use_sets(const std::set<const CompiledPolicy*>& policies) {
  std::set<std::string> wanted;
  for (const auto* policy : policies) {
    for (const auto& [name, selection] : policy->selections) {
      wanted.insert(name);
      auto [it, added] = selected_.try_emplace(name);
      if (!added) continue;
      it->second.selection = selection;
      for (const auto& [ns, object] : namespaces_) {
        if (selection.ns.empty() && selection.namespaces.matches(object.meta()->labels()))
          it->second.namespaces.insert(ns);
      }
      for (const auto& [key, pod] : pods_) count(it->second, pod, true);
    }
    for (const auto& [name, port] : policy->ports) {
      wanted.insert(name);
      auto [it, added] = named_.try_emplace(name);
      if (!added) continue;
      it->second.port = port.protocol + "/" + port.name;
      for (const auto& [key, pod] : pods_) count(it->second, pod, true);
    }
  }
  std::erase_if(selected_, [&](const auto& entry) { return !wanted.contains(entry.first); });
  std::erase_if(named_, [&](const auto& entry) { return !wanted.contains(entry.first); });
}

void PolicyBook::add_to(Ruleset& ruleset) {
  if (!assigned_) assign();
  ruleset.chains.insert(chains_.begin(), chains_.end());
  for (auto& [name, set] : selected_) ruleset.sets[name] = {"ipv4_addr", set.members.elements()};
  for (auto& [name, set] : named_) ruleset.sets[name] = {"ipv4_addr . inet_service", set.members.elements()};
  ruleset.elements["policy_ingress"] = verdicts_[static_cast<size_t>(Direction::kIngress)];
  ruleset.elements["policy_egress"] = verdicts_[static_cast<size_t>(Direction::kEgress)];
  for (const auto& verdicts : verdicts_) {
    for (const auto& [address, verdict] : verdicts) ruleset.elements["policy_self"][address + " . " + address];
  }
}

}  // namespace gantry::netproxy
