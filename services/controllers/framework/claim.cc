#include "services/controllers/framework/claim.h"

#include "libs/model/draft.h"
#include "libs/model/workload.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {

namespace {

void drop_finalizer(model::Draft& draft, const model::Object& object, std::string_view finalizer) {
  if (finalizer.empty() || !model::has_finalizer(object.meta(), finalizer)) return;
  draft.clear("metadata.finalizers");
  for (const auto* f : *object.meta()->finalizers()) {
    if (model::str(f) != finalizer) draft.set("metadata.finalizers[+]", model::str(f));
  }
}

}  // namespace

model::Bytes with_controller(const model::Object& object, const model::Object& owner, std::string_view finalizer) {
  model::Draft draft(object);
  if (!finalizer.empty() && !model::has_finalizer(object.meta(), finalizer))
    draft.set("metadata.finalizers[+]", finalizer);
  size_t n = object.meta()->owner_references() == nullptr ? 0 : object.meta()->owner_references()->size();
  draft.set("metadata.ownerReferences[+].apiVersion", owner.kind().api_version());
  std::string at = fmt::format("metadata.ownerReferences[{}].", n);
  draft.set(at + "kind", owner.kind().kind);
  draft.set(at + "name", owner.name());
  draft.set(at + "uid", owner.uid());
  draft.set(at + "controller", true);
  draft.set(at + "blockOwnerDeletion", true);
  return draft.bytes();
}

model::Bytes without_owner(const model::Object& object, std::string_view owner_uid, std::string_view finalizer) {
  model::Draft draft(object);
  drop_finalizer(draft, object, finalizer);
  draft.clear("metadata.ownerReferences");
  size_t n = 0;
  if (const auto* owners = object.meta()->owner_references()) {
    for (const auto* owner : *owners) {
      if (model::str(owner->uid()) == owner_uid) continue;
      draft.copy(fmt::format("metadata.ownerReferences[+]"), owner);
      ++n;
    }
  }
  return draft.bytes();
}

std::vector<model::Object> claim(const View& view, std::string_view resource, const model::Object& owner,
                                 const model::LabelSelector& selector,
                                 const std::function<bool(const model::Object&)>& eligible, Decision& decision,
                                 std::string_view finalizer) {
  bool deleting = model::is_deleting(owner.meta());
  std::vector<model::Object> claimed;
  for (model::Object& object : view.controlled(resource, owner.uid())) {
    ++decision.weight;
    if (selector.matches(object.meta()->labels())) {
      claimed.push_back(std::move(object));
    } else if (!deleting && !model::is_deleting(object.meta())) {
      decision.add(update(object, without_owner(object, owner.uid(), finalizer)));
    }
  }
  if (deleting) return claimed;
  for (const model::Object& object : view.orphans(resource, owner.ns())) {
    ++decision.weight;
    if (!selector.matches(object.meta()->labels()) || model::is_deleting(object.meta()) || !eligible(object)) continue;
    decision.add(update(object, with_controller(object, owner, finalizer)));
  }
  return claimed;
}

}  // namespace gantry::controllers
