#include "libs/projection/cache.h"

namespace gantry::projection {
namespace {

/// What an event says about an object whose body does not travel.
model::Bytes metadata_only(const model::Kind& kind, const bus::Event& event) {
  flatbuffers::FlatBufferBuilder b;
  auto text = [&](const flatbuffers::String* s) {
    return s == nullptr || s->size() == 0 ? flatbuffers::Offset<flatbuffers::String>() : b.CreateString(s);
  };
  auto name = text(event.name()), ns = text(event.namespace_()), uid = text(event.uid());
  api::meta_v1::ObjectMetaBuilder meta(b);
  meta.add_name(name);
  meta.add_namespace_(ns);
  meta.add_uid(uid);
  auto metadata = meta.Finish();
  const auto* field = kind.type->by_json("metadata");
  auto table = b.StartTable();
  b.AddOffset(field->slot, metadata);
  b.Finish(flatbuffers::Offset<flatbuffers::Table>(b.EndTable(table)));
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

void apply(Cache& cache, const bus::Event& event) {
  auto ns = model::str(event.namespace_()), name = model::str(event.name());
  if (event.type() == bus::EventType::Dependency) return cache.cover(event.revision());  // about something else
  if (event.type() == bus::EventType::Delete || event.type() == bus::EventType::Left) {
    return cache.remove(ns, name, event.revision());
  }
  model::Bytes bytes;
  if (event.object() != nullptr && event.object()->size() > 0) {
    bytes.assign(reinterpret_cast<const char*>(event.object()->data()), event.object()->size());
    if (!model::verify(*cache.kind().type, bytes)) {
      LOG(ERROR) << cache.kind().resource << "=" << ns << "/" << name << ": malformed object at revision "
                 << event.revision();
      bytes.clear();
    }
  }
  if (bytes.empty()) bytes = metadata_only(cache.kind(), event);
  cache.put(model::Object(cache.kind(), std::move(bytes), event.revision()), event.revision());
}

}  // namespace

std::unique_ptr<bus::Feed> attach(Loop& loop, bus::Bus& bus, bus::Commands& commands, Cache& cache, bus::Chain chain) {
  bus::FeedCallbacks callbacks;
  callbacks.reset = [&cache](uint64_t head, const std::vector<bus::CommandOutcome::Item>& items) {
    std::vector<model::Object> objects;
    objects.reserve(items.size());
    for (const auto& item : items) {
      if (!model::verify(*cache.kind().type, item.object)) {
        LOG(ERROR) << cache.kind().resource << ": malformed object in a snapshot, revision " << item.revision;
        continue;
      }
      objects.emplace_back(cache.kind(), item.object, item.revision);
    }
    cache.reset(head, std::move(objects));
  };
  callbacks.event = [&cache](const bus::Event& event) { apply(cache, event); };
  callbacks.synced = [&cache] { cache.mark_synced(); };
  return make_feed(loop, bus, commands, std::move(chain), std::move(callbacks));
}

}  // namespace gantry::projection
