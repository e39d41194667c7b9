#include "tools/load/phases.h"

#include <fmt/format.h>

#include <algorithm>

#include "libs/model/object.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::load {
namespace {

using model::str;

/// The uid of the owner that controls it.
std::string controller_of(const api::meta_v1::ObjectMeta* meta) {
  if (meta == nullptr || meta->owner_references() == nullptr) return "";
  for (const auto* owner : *meta->owner_references()) {
    if (owner->controller().value_or(false)) return std::string(str(owner->uid()));
  }
  return "";
}

bool is_ready(const api::core_v1::Pod& pod) {
  if (pod.status() == nullptr || pod.status()->conditions() == nullptr) return false;
  return std::any_of(pod.status()->conditions()->begin(), pod.status()->conditions()->end(),
                     [](const auto* c) { return str(c->type()) == "Ready" && str(c->status()) == "True"; });
}

struct Samples {
  std::vector<int64_t> micros;
  void add(int64_t from, int64_t to) {
    if (from > 0 && to > 0) micros.push_back(to - from);
  }
  std::string row(const char* phase) {
    if (micros.empty()) return "";
    std::sort(micros.begin(), micros.end());
    const auto at = [&](double q) {
      return static_cast<double>(micros[static_cast<size_t>(q * static_cast<double>(micros.size() - 1))]) / 1e3;
    };
    return fmt::format("| {} | {} | {:.1f} | {:.1f} | {:.1f} |\n", phase, micros.size(), at(0.5), at(0.99), at(1));
  }
};

std::string rate(const char* what, std::vector<int64_t> times) {
  std::erase(times, 0);
  if (times.size() < 2) return "";
  const auto [first, last] = std::minmax_element(times.begin(), times.end());
  const double seconds = std::max(1e-6, static_cast<double>(*last - *first) / 1e6);
  return fmt::format("{}: {} in {:.2f} s, {:.0f}/s\n", what, times.size(), seconds,
                     static_cast<double>(times.size() - 1) / seconds);
}

}  // namespace

void Phases::on_event(const bus::Event& event) {
  ++events_;
  if (first_event_ == 0) first_event_ = event.time();
  last_event_ = std::max(last_event_, event.time());
  const auto resource = str(event.resource());
  if (resource == "pods") return on_pod(event);
  if (!event.created() || event.type() != bus::EventType::Put || event.object() == nullptr) return;
  const std::string uid(str(event.uid()));
  if (resource == "deployments") deployments_.emplace(uid, event.time());
  if (resource != "replicasets") return;
  const auto* kind = model::Schema::get().by_resource("replicasets");
  const std::string bytes(reinterpret_cast<const char*>(event.object()->data()), event.object()->size());
  if (!model::verify(*kind->type, bytes)) return;
  const model::Object set(*kind, bytes);
  sets_.emplace(uid, SetTimes{controller_of(set.meta()), std::string(set.name()), event.time()});
}

void Phases::on_pod(const bus::Event& event) {
  const std::string uid(str(event.uid()));
  if (event.type() == bus::EventType::Delete) {
    if (auto pod = pods_.find(uid); pod != pods_.end()) pod->second.deleted = true;
    return;
  }
  if (event.type() != bus::EventType::Put || event.object() == nullptr) return;
  const auto* kind = model::Schema::get().by_resource("pods");
  const std::string bytes(reinterpret_cast<const char*>(event.object()->data()), event.object()->size());
  if (!model::verify(*kind->type, bytes)) return;
  const model::Object object(*kind, bytes);
  const auto& pod = *object.as<api::core_v1::Pod>();
  auto found = pods_.find(uid);
  if (found == pods_.end()) {
    if (!event.created()) return;  // older than we are: its times are not all known
    found = pods_.emplace(uid, PodTimes{controller_of(object.meta()), event.time()}).first;
    ++created_;
  }
  auto& times = found->second;
  const auto node = pod.spec() == nullptr ? std::string_view{} : str(pod.spec()->node_name());
  if (times.bound == 0 && !node.empty()) {
    times.bound = event.time();
    times.hollow = node.starts_with("hollow-");
    ++bound_;
  }
  if (times.running == 0 && pod.status() != nullptr && str(pod.status()->phase()) == "Running") {
    times.running = event.time();
    ++running_;
  }
  if (times.ready == 0 && is_ready(pod)) times.ready = event.time();
}

std::string Phases::report() const {
  Samples to_set, to_pod, to_bound, to_running, to_ready, total;
  std::vector<int64_t> created, bound, running;
  for (const auto& [uid, set] : sets_) {
    if (auto deployment = deployments_.find(set.owner); deployment != deployments_.end())
      to_set.add(deployment->second, set.created);
  }
  for (const auto& [uid, pod] : pods_) {
    created.push_back(pod.created);
    bound.push_back(pod.bound);
    running.push_back(pod.running);
    to_bound.add(pod.created, pod.bound);
    to_running.add(pod.bound, pod.running);
    to_ready.add(pod.running, pod.ready);
    const auto set = sets_.find(pod.owner);
    if (set == sets_.end()) continue;
    to_pod.add(set->second.created, pod.created);
    if (auto deployment = deployments_.find(set->second.owner); deployment != deployments_.end())
      total.add(deployment->second, pod.running);
  }
  return "| phase | samples | p50 ms | p99 ms | max ms |\n|---|---|---|---|---|\n" +
         to_set.row("Deployment -> ReplicaSet") + to_pod.row("ReplicaSet -> pod created") +
         to_bound.row("pod created -> bound") + to_running.row("bound -> Running") + to_ready.row("Running -> Ready") +
         total.row("Deployment -> pod Running") + "\n" + rate("created", std::move(created)) +
         rate("bound", std::move(bound)) + rate("running", std::move(running));
}

}  // namespace gantry::load
