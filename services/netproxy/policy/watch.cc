#include "services/netproxy/policy/watch.h"

#include <fmt/format.h>

namespace gantry::netproxy {
namespace {

const model::Object& subject(const projection::Change& change) { return change.after ? change.after : change.before; }

std::string key(const projection::Change& change) {
  return fmt::format("{}/{}", subject(change).ns(), subject(change).name());
}

}  // namespace

PolicyWatch::PolicyWatch(Loop& loop, bus::Bus& bus, bus::Commands& commands, std::string node,
                         std::function<void()> changed)
    : book_(std::move(node)),
      pods_(*model::Schema::get().by_resource("pods")),
      namespaces_(*model::Schema::get().by_resource("namespaces")) {
  pods_.on_change([this, changed](const projection::Change& change) {
    if (book_.pod(key(change), change.after)) changed();
  });
  namespaces_.on_change([this, changed](const projection::Change& change) {
    if (book_.name_space(std::string(subject(change).name()), change.after)) changed();
  });
  for (auto* cache : {&pods_, &namespaces_}) {
    cache->on_synced([this, changed] {
      if (synced()) changed();
    });
  }
  pod_feed_ = projection::attach(loop, bus, commands, pods_, bus::Chain{"pods", "", ""});
  namespace_feed_ = projection::attach(loop, bus, commands, namespaces_, bus::Chain{"namespaces", "", ""});
}

void PolicyWatch::policy(const projection::Change& change) { book_.policy(key(change), change.after); }

}  // namespace gantry::netproxy
