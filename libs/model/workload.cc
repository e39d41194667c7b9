#include "libs/model/workload.h"

namespace gantry::model {

using api::core_v1::Node;
using api::core_v1::NodeCondition;
using api::core_v1::Pod;
using api::core_v1::PodCondition;
using api::core_v1::PodSpec;
using api::core_v1::Taint;
using api::core_v1::Toleration;
using api::meta_v1::ObjectMeta;
using api::meta_v1::OwnerReference;

std::string_view pod_template_path(std::string_view resource) {
  static constexpr std::pair<std::string_view, std::string_view> kPaths[] = {
      {"deployments", "spec.template"},
      {"replicasets", "spec.template"},
      {"replicationcontrollers", "spec.template"},
      {"statefulsets", "spec.template"},
      {"daemonsets", "spec.template"},
      {"jobs", "spec.template"},
      {"cronjobs", "spec.jobTemplate.spec.template"},
      {"podtemplates", "template"}};
  for (const auto& [name, path] : kPaths) {
    if (name == resource) return path;
  }
  return "";
}

const OwnerReference* controller_of(const ObjectMeta* meta) {
  if (meta == nullptr || meta->owner_references() == nullptr) return nullptr;
  for (const auto* owner : *meta->owner_references()) {
    if (owner->controller().value_or(false)) return owner;
  }
  return nullptr;
}

bool is_deleting(const ObjectMeta* meta) { return meta != nullptr && meta->deletion_timestamp().has_value(); }

bool has_finalizer(const ObjectMeta* meta, std::string_view finalizer) {
  if (meta == nullptr || meta->finalizers() == nullptr) return false;
  for (const auto* f : *meta->finalizers()) {
    if (str(f) == finalizer) return true;
  }
  return false;
}

int64_t created_at(const ObjectMeta* meta) { return meta == nullptr ? 0 : meta->creation_timestamp().value_or(0); }

std::string_view annotation(const ObjectMeta* meta, std::string_view key) {
  return meta == nullptr ? std::string_view() : str(lookup(meta->annotations(), key));
}

std::string_view label(const ObjectMeta* meta, std::string_view key) {
  return meta == nullptr ? std::string_view() : str(lookup(meta->labels(), key));
}

const PodCondition* condition(const Pod& pod, std::string_view type) {
  if (pod.status() == nullptr || pod.status()->conditions() == nullptr) return nullptr;
  for (const auto* c : *pod.status()->conditions()) {
    if (str(c->type()) == type) return c;
  }
  return nullptr;
}

const NodeCondition* condition(const Node& node, std::string_view type) {
  if (node.status() == nullptr || node.status()->conditions() == nullptr) return nullptr;
  for (const auto* c : *node.status()->conditions()) {
    if (str(c->type()) == type) return c;
  }
  return nullptr;
}

bool pod_terminal(const Pod& pod) {
  if (pod.status() == nullptr) return false;
  std::string_view phase = str(pod.status()->phase());
  return phase == "Succeeded" || phase == "Failed";
}

bool pod_active(const Pod& pod) { return !pod_terminal(pod) && !is_deleting(pod.metadata()); }

bool pod_ready(const Pod& pod) {
  const PodCondition* c = condition(pod, "Ready");
  return c != nullptr && str(c->status()) == "True";
}

bool pod_available(const Pod& pod, int32_t min_ready_seconds, int64_t now) {
  const PodCondition* c = condition(pod, "Ready");
  if (c == nullptr || str(c->status()) != "True") return false;
  if (min_ready_seconds <= 0) return true;
  return c->last_transition_time().has_value() && *c->last_transition_time() + min_ready_seconds <= now;
}

bool node_ready(const Node& node) {
  const NodeCondition* c = condition(node, "Ready");
  return c != nullptr && str(c->status()) == "True";
}

bool tolerates(const Toleration& toleration, const Taint& taint) {
  std::string_view effect = str(toleration.effect()), key = str(toleration.key()), op = str(toleration.operator_());
  if (!effect.empty() && effect != str(taint.effect())) return false;
  if (!key.empty() && key != str(taint.key())) return false;
  if (op == "Exists") return true;
  if (op.empty() || op == "Equal") return str(toleration.value()) == str(taint.value());
  return false;
}

const Toleration* toleration_for(const PodSpec* spec, const Taint& taint) {
  if (spec == nullptr || spec->tolerations() == nullptr) return nullptr;
  for (const auto* toleration : *spec->tolerations()) {
    if (tolerates(*toleration, taint)) return toleration;
  }
  return nullptr;
}

}  // namespace gantry::model
