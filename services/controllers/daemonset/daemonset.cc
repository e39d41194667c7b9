#include "services/controllers/daemonset/daemonset.h"

#include "libs/model/draft.h"
#include "libs/model/schema.h"
#include "libs/model/selector.h"
#include "libs/model/workload.h"
#include "schemas/api/apps_more_v1_generated.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/daemonset/sync.h"
#include "services/controllers/framework/claim.h"

namespace gantry::controllers {

using api::apps_v1::DaemonSet;
using model::str;

namespace {

/// Nothing that decides where pods belong differs.
bool same_place(const model::Object& a, const model::Object& b) {
  static const model::Type& spec_type = *model::Schema::get().type("gantry.api.core_v1.NodeSpec");
  const auto *x = a.as<api::core_v1::Node>()->spec(), *y = b.as<api::core_v1::Node>()->spec();
  if ((x == nullptr) != (y == nullptr)) return false;
  if (x != nullptr && !model::equal(spec_type, reinterpret_cast<const flatbuffers::Table*>(x),
                                    reinterpret_cast<const flatbuffers::Table*>(y)))
    return false;
  const auto *m = a.meta()->labels(), *n = b.meta()->labels();
  if ((m == nullptr ? 0 : m->size()) != (n == nullptr ? 0 : n->size())) return false;
  return m == nullptr || std::equal(m->begin(), m->end(), n->begin(), [](const auto* p, const auto* q) {
           return str(p->key()) == str(q->key()) && str(p->value()) == str(q->value());
         });
}

}  // namespace

void DaemonSetController::setup(View& view) {
  view.need("daemonsets");
  view.need("nodes");
  view.index_by_controller("pods");
  view.index_by_controller("controllerrevisions");
}

void DaemonSetController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                                   std::vector<std::string>& keys) const {
  if (resource == "daemonsets") {
    keys.push_back(make_key(change.after ? change.after : change.before));
    return;
  }
  if (resource == "nodes") {
    if (change.before && change.after && same_place(change.before, change.after)) return;
    view.cache("daemonsets").for_each([&](const model::Object& set) { keys.push_back(make_key(set)); });
    return;
  }
  for (const model::Object* o : {&change.before, &change.after}) {
    if (!*o) continue;
    if (const auto* owner = model::controller_of(o->meta()); owner != nullptr) {
      if (str(owner->kind()) == "DaemonSet") keys.push_back(make_key(o->ns(), str(owner->name())));
    } else if (o == &change.after) {
      view.cache("daemonsets").for_each_in(o->ns(), [&](const model::Object& set) {
        const auto* spec = set.as<DaemonSet>()->spec();
        if (spec == nullptr) return;
        auto selector = model::LabelSelector::from(spec->selector());
        if (selector.ok() && selector->matches(o->meta()->labels())) keys.push_back(make_key(set));
      });
    }
  }
  if (keys.size() == 2 && keys[0] == keys[1]) keys.pop_back();
}

Decision DaemonSetController::decide(const View& view, const std::string& key, WallMicros now,
                                     const Memory& memory) const {
  Decision decision;
  const model::Object* found = view.find("daemonsets", key);
  if (found == nullptr || found->as<DaemonSet>()->spec() == nullptr) return decision;
  const model::Object set = *found;
  auto selector = model::LabelSelector::from(set.as<DaemonSet>()->spec()->selector());
  if (!selector.ok() || selector->everything()) return decision;
  const auto* status = set.as<DaemonSet>()->status();
  History history = read_history(view, set, status == nullptr ? 0 : status->collision_count().value_or(0),
                                 {.hash_label = kRevisionHash}, decision);
  auto pods = claim(
      view, "pods", set, *selector,
      [](const model::Object& pod) { return model::pod_active(*pod.as<api::core_v1::Pod>()); }, decision);
  if (!decision.commands.empty() || !history.update) return decision;
  DaemonSetSync(view, set, std::move(history), pods, now / 1'000'000, memory, decision).run();
  return decision;
}

}  // namespace gantry::controllers
