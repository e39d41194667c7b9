#include <glog/logging.h>

#include "libs/projection/cache.h"

namespace gantry::projection {
namespace {

/// A copy of its own: a FlatBuffer inside another has not its alignment.
model::Object to_object(const model::Kind& kind, std::string_view bytes, uint64_t revision) {
  model::Bytes copy(bytes);
  if (!model::verify(*kind.type, copy)) {
    LOG(ERROR) << "resource=" << kind.resource << " revision=" << revision << " holds no valid object; ignored";
    return {};
  }
  return {kind, std::move(copy), revision};
}

void apply(Cache& cache, const bus::Event& event) {
  auto ns = model::str(event.namespace_()), name = model::str(event.name());
  switch (event.type()) {
    case bus::EventType::Put: {
      if (!event.object()) {
        LOG(ERROR) << "resource=" << cache.kind().resource << " " << ns << "/" << name
                   << " came without its object; ignored";
        return;
      }
      std::string_view bytes(reinterpret_cast<const char*>(event.object()->data()), event.object()->size());
      if (auto object = to_object(cache.kind(), bytes, event.revision()))
        cache.put(std::move(object), event.revision());
      return;
    }
    case bus::EventType::Delete:
    case bus::EventType::Left:
      cache.remove(ns, name, event.revision());
      return;
    case bus::EventType::Dependency:
      return;  // about another object, which is not in this cache
  }
}

}  // namespace

std::unique_ptr<bus::Feed> attach(Loop& loop, bus::Bus& bus, bus::Commands& commands, Cache& cache, bus::Chain chain) {
  bus::FeedCallbacks callbacks;
  callbacks.reset = [&cache](uint64_t head, const std::vector<bus::CommandOutcome::Item>& items) {
    std::vector<model::Object> objects;
    objects.reserve(items.size());
    for (const auto& item : items) {
      if (auto object = to_object(cache.kind(), item.object, item.revision)) objects.push_back(std::move(object));
    }
    cache.reset(head, std::move(objects));
  };
  callbacks.event = [&cache](const bus::Event& event) { apply(cache, event); };
  callbacks.synced = [&cache] { cache.mark_synced(); };
  return bus::make_feed(loop, bus, commands, std::move(chain), std::move(callbacks));
}

}  // namespace gantry::projection
