#include "services/controllers/gc/gc.h"

#include "libs/model/json.h"
#include "libs/model/schema.h"
#include "libs/model/served.h"
#include "libs/model/workload.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

using api::meta_v1::OwnerReference;
using model::str;

constexpr const char* kOwners = "owners";
constexpr const char* kForeground = "foregroundDeletion";
constexpr const char* kOrphan = "orphan";

const std::vector<std::string>& resources() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> names;
    for (const model::Kind& kind : model::Schema::get().kinds()) {
      // Events are many, short-lived and owned by nobody.
      if (model::stored(kind) && kind.resource != "events") names.push_back(kind.resource);
    }
    return names;
  }();
  return all;
}

std::string gc_key(const model::Object& o) { return fmt::format("{}:{}", o.kind().resource, make_key(o)); }

bool holds(const model::Object& o, const char* finalizer) {
  return model::is_deleting(o.meta()) && model::has_finalizer(o.meta(), finalizer);
}

std::vector<model::Object> dependents(const View& view, std::string_view uid) {
  std::vector<model::Object> found;
  for (const std::string& resource : resources()) {
    view.each_by(resource, kOwners, uid, [&](const model::Object& o) { found.push_back(o); });
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return gc_key(a) < gc_key(b); });
  return found;
}

bool blocks(const model::Object& dependent, std::string_view owner_uid) {
  for (const OwnerReference* owner : *dependent.meta()->owner_references()) {
    if (str(owner->uid()) == owner_uid) return owner->block_owner_deletion().value_or(false);
  }
  return false;
}

/// The owner as the view has it; nullopt when its kind is not ours to judge.
std::optional<const model::Object*> find_owner(const View& view, const model::Object& dependent,
                                               const OwnerReference& owner) {
  const model::Kind* kind = model::Schema::get().by_api_version(str(owner.api_version()), str(owner.kind()));
  if (kind == nullptr || kind->resource.empty() || view.find_cache(kind->resource) == nullptr) return std::nullopt;
  const model::Object* found = view.find(kind->resource, kind->namespaced ? dependent.ns() : "", str(owner.name()));
  return found != nullptr && found->uid() == str(owner.uid()) ? found : nullptr;
}

std::string list_of(const std::string& items) { return items.empty() ? "null" : fmt::format("[{}]", items); }

// Merge patches of the metadata, guarded by the revision: what the view has of an object may be its metadata only.
bus::Command drop_owner(const model::Object& object, std::string_view uid) {
  static const model::Type& type = *model::Schema::get().type("gantry.api.meta_v1.OwnerReference");
  std::string left;
  for (const OwnerReference* owner : *object.meta()->owner_references()) {
    if (str(owner->uid()) == uid) continue;
    left += fmt::format("{}{}", left.empty() ? "" : ",",
                        model::to_json(type, reinterpret_cast<const flatbuffers::Table*>(owner)));
  }
  bus::Command command = patch(object, fmt::format(R"({{"metadata":{{"ownerReferences":{}}}}})", list_of(left)));
  command.revision = object.revision();
  return command;
}

/// The finalizer that the object carries says how its own dependents are to be treated.
const char* propagation_of(const model::Object& o) {
  if (model::has_finalizer(o.meta(), kOrphan)) return "Orphan";
  if (model::has_finalizer(o.meta(), kForeground)) return "Foreground";
  return "Background";
}

void orphan_dependents(const View& view, const model::Object& object, Decision& decision) {
  for (const model::Object& dependent : dependents(view, object.uid())) {
    ++decision.weight;
    decision.add(drop_owner(dependent, object.uid()));
  }
  if (decision.commands.empty()) decision.add(drop_finalizer(object, kOrphan));
}

/// `from` is itself waiting for its dependents, and among those that it waits for, near or far, is `to`.
bool waits_for(const View& view, const model::Object& from, const model::Object& to) {
  constexpr size_t kFarthest = 1'000;
  std::set<std::string, std::less<>> seen;
  std::vector<model::Object> next{from};
  while (!next.empty() && seen.size() < kFarthest) {
    const model::Object at = std::move(next.back());
    next.pop_back();
    if (!holds(at, kForeground) || !seen.emplace(at.uid()).second) continue;
    if (at.uid() == to.uid()) return true;
    for (model::Object& dependent : dependents(view, at.uid())) {
      if (blocks(dependent, at.uid())) next.push_back(std::move(dependent));
    }
  }
  return false;
}

void wait_for_dependents(const View& view, const model::Object& object, Decision& decision) {
  for (const model::Object& dependent : dependents(view, object.uid())) {
    ++decision.weight;
    if (waits_for(view, dependent, object)) continue;  // a circle, in which each would wait for ever
    if (blocks(dependent, object.uid())) return;       // its own key deletes it; its end wakes this one
  }
  decision.add(drop_finalizer(object, kForeground));
}

struct Owners {
  size_t solid = 0;
  std::vector<std::string> absent, ending;  // uids; ending: being deleted in the foreground
};

Owners classify(const View& view, const model::Object& object) {
  Owners owners;
  for (const OwnerReference* reference : *object.meta()->owner_references()) {
    auto owner = find_owner(view, object, *reference);
    if (!owner) {
      ++owners.solid;
    } else if (*owner == nullptr) {
      owners.absent.emplace_back(str(reference->uid()));
    } else if (holds(**owner, kForeground)) {
      owners.ending.emplace_back(str(reference->uid()));
    } else {
      ++owners.solid;
    }
  }
  return owners;
}

void drop_reference(const model::Object& object, const std::string& uid, bool absent, Decision& decision) {
  bus::Command command = drop_owner(object, uid);
  if (absent) command.absent_owner_uid = uid;
  decision.add(std::move(command));
}

}  // namespace

std::vector<std::string> GarbageCollector::watches() const { return resources(); }

void GarbageCollector::setup(View& view) {
  for (const std::string& resource : resources()) {
    view.index(resource, kOwners, [](const model::Object& o, std::vector<std::string>& values) {
      if (o.meta() == nullptr || o.meta()->owner_references() == nullptr) return;
      for (const auto* owner : *o.meta()->owner_references()) values.emplace_back(str(owner->uid()));
    });
  }
}

void GarbageCollector::keys_for(const View& view, std::string_view, const projection::Change& change,
                                std::vector<std::string>& keys) const {
  const model::Object& object = change.after ? change.after : change.before;
  auto references = [](const model::Object& o) {
    std::string text;
    if (o && o.meta()->owner_references() != nullptr) {
      for (const auto* owner : *o.meta()->owner_references()) text += fmt::format("{} ", str(owner->uid()));
    }
    return text;
  };
  auto finalizing = [](const model::Object& o) { return o && (holds(o, kForeground) || holds(o, kOrphan)); };
  std::string before = references(change.before), after = references(change.after);
  if (change.after && (finalizing(change.after) || (!after.empty() && before != after))) keys.push_back(gc_key(object));
  bool replaced = change.before && change.after && change.before.uid() != change.after.uid();
  if (!change.after || replaced || (finalizing(change.after) && !finalizing(change.before))) {
    for (const model::Object& dependent : dependents(view, change.before ? change.before.uid() : object.uid()))
      keys.push_back(gc_key(dependent));
  }
  // An owner may be waiting for this one to go, or to let go of it.
  if (change.before && change.before.meta()->owner_references() != nullptr && (!change.after || before != after)) {
    for (const auto* reference : *change.before.meta()->owner_references()) {
      auto owner = find_owner(view, change.before, *reference);
      if (owner && *owner != nullptr && finalizing(**owner)) keys.push_back(gc_key(**owner));
    }
  }
}

Decision GarbageCollector::decide(const View& view, const std::string& key, WallMicros, const Memory&) const {
  Decision decision;
  size_t colon = key.find(':');
  const model::Object* found = view.find(key.substr(0, colon), std::string_view(key).substr(colon + 1));
  if (found == nullptr || found->meta() == nullptr) return decision;
  const model::Object object = *found;
  if (holds(object, kOrphan)) {
    orphan_dependents(view, object, decision);
    return decision;
  }
  if (holds(object, kForeground)) {
    wait_for_dependents(view, object, decision);
    return decision;
  }
  if (model::is_deleting(object.meta()) || object.meta()->owner_references() == nullptr) return decision;
  Owners owners = classify(view, object);
  if (owners.absent.empty() && owners.ending.empty()) return decision;
  if (!owners.absent.empty() && owners.absent.size() + owners.ending.size() + owners.solid > 1) {
    drop_reference(object, owners.absent[0], true, decision);
  } else if (!owners.absent.empty()) {
    bus::Command command = remove(object, propagation_of(object));
    command.revision = object.revision();  // nobody gave it another owner meanwhile
    command.absent_owner_uid = owners.absent[0];
    decision.add(std::move(command));
  } else if (owners.solid > 0) {
    drop_reference(object, owners.ending[0], false, decision);
  } else {
    // Its owners wait for it: so it waits for those that block it.
    bool waits = false;
    for (const model::Object& dependent : dependents(view, object.uid()))
      waits = waits || blocks(dependent, object.uid());
    bus::Command command = remove(object, waits ? "Foreground" : propagation_of(object));
    command.revision = object.revision();
    decision.add(std::move(command));
  }
  return decision;
}

}  // namespace gantry::controllers
