#include "services/controllers/deployment/members.h"

#include <charconv>

#include "libs/model/draft.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "services/controllers/deployment/template.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

using api::apps_v1::Deployment;
using api::apps_v1::ReplicaSet;

int64_t number(std::string_view text, int64_t fallback) {
  int64_t value = fallback;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// Those that a ReplicaSet must not take over from its Deployment.
bool own_annotation(std::string_view key) {
  return key == "kubectl.kubernetes.io/last-applied-configuration" || key == kRevision || key == kRevisionHistory ||
         key == kDesiredReplicas || key == kMaxReplicas || key == "deprecated.deployment.rollback.to";
}

template <typename F>
void each_shared_annotation(const model::Object& deployment, F visit) {
  if (deployment.meta()->annotations() == nullptr) return;
  for (const auto* entry : *deployment.meta()->annotations()) {
    if (!own_annotation(model::str(entry->key()))) visit(model::str(entry->key()), model::str(entry->value()));
  }
}

}  // namespace

int64_t revision_of(const model::Object& object) { return number(model::annotation(object.meta(), kRevision), 0); }

std::vector<Member> to_members(const std::vector<model::Object>& sets) {
  std::vector<Member> members;
  for (size_t i = 0; i < sets.size(); ++i) {
    const auto& rs = *sets[i].as<ReplicaSet>();
    Member m;
    m.index = i;
    m.name = sets[i].name();
    m.created = model::created_at(rs.metadata());
    m.replicas = rs.spec()->replicas().value_or(1);
    if (const auto* status = rs.status()) {
      m.actual = status->replicas().value_or(0);
      m.ready = status->ready_replicas().value_or(0);
      m.available = status->available_replicas().value_or(0);
      m.settled = status->observed_generation().value_or(0) >= rs.metadata()->generation().value_or(0);
    }
    m.desired_annotation = static_cast<int32_t>(number(model::annotation(rs.metadata(), kDesiredReplicas), -1));
    m.max_annotation = static_cast<int32_t>(number(model::annotation(rs.metadata(), kMaxReplicas), -1));
    members.push_back(std::move(m));
  }
  return members;
}

std::optional<size_t> find_new(const model::Object& deployment, const std::vector<model::Object>& sets) {
  std::optional<size_t> found;
  const auto* wanted = deployment.as<Deployment>()->spec()->template_();
  for (size_t i = 0; i < sets.size(); ++i) {
    if (!same_template(sets[i].as<ReplicaSet>()->spec()->template_(), wanted)) continue;
    if (!found || model::created_at(sets[i].meta()) < model::created_at(sets[*found].meta())) found = i;
  }
  return found;
}

void SetChanges::scale(const Scale& scale) {
  const model::Object& set = sets_[scale.index];
  int32_t before = set.as<ReplicaSet>()->spec()->replicas().value_or(1);
  int32_t desired = rollout_.replicas, max = rollout_.replicas + rollout_.max_surge;
  bool annotated = number(model::annotation(set.meta(), kDesiredReplicas), -1) == desired &&
                   number(model::annotation(set.meta(), kMaxReplicas), -1) == max;
  if (before == scale.replicas && annotated) return;
  Change& change = changes_[scale.index];
  change.annotations[kDesiredReplicas] = std::to_string(desired);
  change.annotations[kMaxReplicas] = std::to_string(max);
  if (before == scale.replicas) return;
  change.replicas = scale.replicas;
  change.note =
      projection::Note{deployment_, "Normal", "ScalingReplicaSet",
                       fmt::format("Scaled {} replica set {} from {} to {}", scale.replicas > before ? "up" : "down",
                                   set.name(), before, scale.replicas)};
}

void SetChanges::sync_new(size_t index, int64_t revision) {
  const model::Object& set = sets_[index];
  Change change;
  each_shared_annotation(deployment_, [&](std::string_view key, std::string_view value) {
    const auto* has = model::lookup(set.meta()->annotations(), key);
    if (has == nullptr || model::str(has) != value) change.annotations[std::string(key)] = value;
  });
  int64_t now = revision_of(set);
  if (now < revision) {
    change.annotations[kRevision] = std::to_string(revision);
    if (now > 0) {
      std::string history(model::annotation(set.meta(), kRevisionHistory));
      change.annotations[kRevisionHistory] = history.empty() ? std::to_string(now) : fmt::format("{},{}", history, now);
    }
  }
  int32_t min_ready = deployment_.as<Deployment>()->spec()->min_ready_seconds().value_or(0);
  if (set.as<ReplicaSet>()->spec()->min_ready_seconds().value_or(0) != min_ready) change.min_ready = min_ready;
  if (!change.annotations.empty() || change.min_ready) changes_[index] = std::move(change);
}

void SetChanges::plan(Decision& decision) const {
  for (const auto& [index, change] : changes_) {
    std::string annotations, spec;
    for (const auto& [key, value] : change.annotations) {
      annotations += fmt::format("{}{}:{}", annotations.empty() ? "" : ",", quote(key), quote(value));
    }
    if (change.replicas) spec += fmt::format(R"("replicas":{})", *change.replicas);
    if (change.min_ready) spec += fmt::format(R"({}"minReadySeconds":{})", spec.empty() ? "" : ",", *change.min_ready);
    std::string json = fmt::format(R"({{"metadata":{{"annotations":{{{}}}}})", annotations);
    if (!spec.empty()) json += fmt::format(R"(,"spec":{{{}}})", spec);
    decision.commands.push_back({patch(sets_[index], json + "}"), change.note});
  }
}

model::Bytes make_set(const model::Object& deployment, const Rollout& rollout, const std::string& name,
                      const std::string& hash, int32_t replicas, int64_t revision) {
  static const model::Kind& kind = *model::Schema::get().by_resource("replicasets");
  const auto* spec = deployment.as<Deployment>()->spec();
  model::Draft rs(kind);
  rs.set("metadata.name", name);
  rs.set("metadata.namespace", deployment.ns());
  if (spec->template_() != nullptr && spec->template_()->metadata() != nullptr) {
    rs.copy_field("metadata", "labels", reinterpret_cast<const flatbuffers::Table*>(spec->template_()->metadata()));
  }
  rs.set(fmt::format("metadata.labels[{}]", kTemplateHash), hash);
  each_shared_annotation(deployment, [&](std::string_view key, std::string_view value) {
    rs.set(fmt::format("metadata.annotations[{}]", key), value);
  });
  rs.set(fmt::format("metadata.annotations[{}]", kRevision), std::to_string(revision));
  rs.set(fmt::format("metadata.annotations[{}]", kDesiredReplicas), std::to_string(rollout.replicas));
  rs.set(fmt::format("metadata.annotations[{}]", kMaxReplicas), std::to_string(rollout.replicas + rollout.max_surge));
  rs.set("metadata.ownerReferences[+].apiVersion", deployment.kind().api_version());
  rs.set("metadata.ownerReferences[0].kind", deployment.kind().kind);
  rs.set("metadata.ownerReferences[0].name", deployment.name());
  rs.set("metadata.ownerReferences[0].uid", deployment.uid());
  rs.set("metadata.ownerReferences[0].controller", true);
  rs.set("metadata.ownerReferences[0].blockOwnerDeletion", true);
  rs.set("spec.replicas", replicas);
  if (spec->min_ready_seconds().value_or(0) > 0) rs.set("spec.minReadySeconds", *spec->min_ready_seconds());
  rs.copy("spec.selector", spec->selector());
  rs.set(fmt::format("spec.selector.matchLabels[{}]", kTemplateHash), hash);
  rs.copy("spec.template", spec->template_());
  rs.set(fmt::format("spec.template.metadata.labels[{}]", kTemplateHash), hash);
  return rs.bytes();
}

void clean_history(const model::Object& deployment, std::vector<model::Object> olds, Decision& decision) {
  int32_t limit = deployment.as<Deployment>()->spec()->revision_history_limit().value_or(10);
  std::erase_if(olds, [](const model::Object& o) { return model::is_deleting(o.meta()); });
  if (limit == INT32_MAX || olds.size() <= static_cast<size_t>(std::max(0, limit))) return;
  std::sort(olds.begin(), olds.end(), [](const model::Object& a, const model::Object& b) {
    int64_t x = revision_of(a), y = revision_of(b);
    if (x != y) return x < y;
    int64_t s = model::created_at(a.meta()), t = model::created_at(b.meta());
    return s != t ? s < t : a.name() < b.name();
  });
  olds.resize(olds.size() - static_cast<size_t>(std::max(0, limit)));
  for (const model::Object& o : olds) {
    const auto& rs = *o.as<ReplicaSet>();
    bool idle = rs.spec()->replicas().value_or(1) == 0 && rs.status() != nullptr &&
                rs.status()->replicas().value_or(0) == 0 &&
                rs.metadata()->generation().value_or(0) <= rs.status()->observed_generation().value_or(0);
    if (idle) decision.add(remove(o, "Background"));
  }
}

}  // namespace gantry::controllers
