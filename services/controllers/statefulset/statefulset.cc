#include "services/controllers/statefulset/statefulset.h"

#include "libs/model/selector.h"
#include "libs/model/workload.h"
#include "schemas/api/apps_more_v1_generated.h"
#include "services/controllers/framework/claim.h"
#include "services/controllers/framework/revisions.h"
#include "services/controllers/statefulset/members.h"
#include "services/controllers/statefulset/sync.h"

namespace gantry::controllers {

using api::apps_v1::StatefulSet;
using model::str;

void StatefulSetController::setup(View& view) {
  view.need("statefulsets");
  view.need("persistentvolumeclaims");
  view.index_by_controller("pods");
  view.index_by_controller("controllerrevisions");
}

void StatefulSetController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                                     std::vector<std::string>& keys) const {
  const model::Object& object = change.after ? change.after : change.before;
  if (resource == "statefulsets") {
    keys.push_back(make_key(object));
    return;
  }
  if (resource == "persistentvolumeclaims") {  // one that goes makes room for its successor
    if (change.after && !model::is_deleting(change.after.meta())) return;
    view.cache("statefulsets").for_each_in(object.ns(), [&](const model::Object& set) {
      if (set.as<StatefulSet>()->spec() == nullptr ||
          set.as<StatefulSet>()->spec()->volume_claim_templates() == nullptr)
        return;
      if (object.name().find(fmt::format("-{}-", set.name())) != std::string_view::npos) keys.push_back(make_key(set));
    });
    return;
  }
  for (const model::Object* o : {&change.before, &change.after}) {
    if (!*o) continue;
    if (const auto* owner = model::controller_of(o->meta()); owner != nullptr) {
      if (str(owner->kind()) == "StatefulSet") keys.push_back(make_key(o->ns(), str(owner->name())));
    } else if (o == &change.after) {
      view.cache("statefulsets").for_each_in(o->ns(), [&](const model::Object& set) {
        if (resource == "pods" && !ordinal_of(set.name(), o->name())) return;
        const auto* spec = set.as<StatefulSet>()->spec();
        if (spec == nullptr) return;
        auto selector = model::LabelSelector::from(spec->selector());
        if (selector.ok() && selector->matches(o->meta()->labels())) keys.push_back(make_key(set));
      });
    }
  }
  if (keys.size() == 2 && keys[0] == keys[1]) keys.pop_back();
}

Decision StatefulSetController::decide(const View& view, const std::string& key, WallMicros now, const Memory&) const {
  Decision decision;
  const model::Object* found = view.find("statefulsets", key);
  if (found == nullptr || found->as<StatefulSet>()->spec() == nullptr) return decision;
  const model::Object set = *found;
  const auto& spec = *set.as<StatefulSet>()->spec();
  auto selector = model::LabelSelector::from(spec.selector());
  if (!selector.ok() || selector->everything()) return decision;
  const auto* status = set.as<StatefulSet>()->status();
  History history = read_history(view, set, status == nullptr ? 0 : status->collision_count().value_or(0),
                                 HistoryOptions{}, decision);
  auto pods = claim(
      view, "pods", set, *selector,
      [&](const model::Object& pod) { return ordinal_of(set.name(), pod.name()).has_value(); }, decision);
  if (!decision.commands.empty() || !history.update) return decision;
  const int64_t seconds = now / 1'000'000;
  std::vector<Replica> replicas;
  for (const model::Object& pod : pods) {
    if (auto ordinal = ordinal_of(set.name(), pod.name()))
      replicas.push_back(describe(pod, *ordinal, spec.min_ready_seconds().value_or(0), seconds));
  }
  StatefulSetSync(view, set, std::move(history), std::move(replicas), decision).run();
  return decision;
}

}  // namespace gantry::controllers
