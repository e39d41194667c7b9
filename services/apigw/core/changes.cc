#include "services/apigw/core/changes.h"

#include "libs/model/draft.h"
#include "libs/model/selector.h"
#include "schemas/api/core_v1_generated.h"
#include "schemas/bus_generated.h"
#include "services/apigw/core/world.h"

namespace gantry::apigw {
namespace {

using flatbuffers::FlatBufferBuilder;
using model::str;
using Entries = std::vector<flatbuffers::Offset<api::meta_v1::StringEntry>>;

bool same_labels(const model::Object& a, const model::Object& b) {
  const auto* x = a.meta() == nullptr ? nullptr : a.meta()->labels();
  const auto* y = b.meta() == nullptr ? nullptr : b.meta()->labels();
  const size_t n = x == nullptr ? 0 : x->size();
  if (n != (y == nullptr ? 0 : y->size())) return false;
  for (flatbuffers::uoffset_t i = 0; i < n; ++i) {
    if (str(x->Get(i)->key()) != str(y->Get(i)->key()) || str(x->Get(i)->value()) != str(y->Get(i)->value()))
      return false;
  }
  return true;
}

Entries old_labels(FlatBufferBuilder& b, const model::Object& before, const model::Object& after) {
  Entries entries;
  if (!before || !after || same_labels(before, after) || before.meta()->labels() == nullptr) return entries;
  for (const auto* label : *before.meta()->labels()) {
    const auto key = b.CreateString(label->key());
    entries.push_back(api::meta_v1::CreateStringEntry(b, key, b.CreateString(str(label->value()))));
  }
  return entries;
}

Entries old_fields(FlatBufferBuilder& b, const model::Object& before, const model::Object& after) {
  Entries entries;
  if (!before || !after) return entries;
  std::vector<std::string> fields = before.kind().select;
  std::sort(fields.begin(), fields.end());  // a map's entries are sorted by key
  for (const auto& field : fields) {
    const std::string old = model::field_value(before, field);
    if (old == model::field_value(after, field)) continue;
    const auto key = b.CreateString(field);
    entries.push_back(api::meta_v1::CreateStringEntry(b, key, b.CreateString(old)));
  }
  return entries;
}

std::string event(bus::EventType type, const model::Object& before, const model::Object& after, const Origin& origin) {
  const model::Object& object = after ? after : before;
  const model::Bytes body = announced(object);
  FlatBufferBuilder b(body.size() + 512);
  const auto bytes = b.CreateVector(reinterpret_cast<const uint8_t*>(body.data()), body.size());
  const Entries labels = old_labels(b, before, after), fields = old_fields(b, before, after);
  const auto labels_offset = labels.empty() ? 0 : b.CreateVector(labels);
  const auto fields_offset = fields.empty() ? 0 : b.CreateVector(fields);
  const auto user = b.CreateString(origin.user), verb = b.CreateString(origin.verb),
             because = b.CreateString(origin.because);
  const auto cause = bus::CreateCause(b, user, verb, because);
  const auto resource = b.CreateString(object.kind().resource), ns = b.CreateString(object.ns()),
             name = b.CreateString(object.name());
  const auto uid = b.CreateString(object.uid()), command = b.CreateString(origin.command_id);
  const std::string node = partition(object), old_node = before ? partition(before) : node;
  const auto node_offset = b.CreateString(node);
  const flatbuffers::Offset<flatbuffers::String> old_node_offset = old_node == node ? 0 : b.CreateString(old_node);
  // The revisions are place holders: the commit assigns them, and whoever reads the log fills them in.
  b.Finish(bus::CreateEvent(b, resource, type, 1, ns, name, uid, node_offset, 1, 1, 1, !before, bytes, labels_offset,
                            fields_offset, old_node_offset, origin.time, cause, command));
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

state::Operation operation(const World& world, const model::Object& object) {
  state::Operation op;
  op.key = {object.kind().resource, std::string(object.ns()), std::string(object.name())};
  op.uid = object.uid();
  op.node = op.old_node = partition(object);
  op.dependents = world.dependents(op.key.resource, op.key.ns, op.key.name);
  return op;
}

}  // namespace

std::string partition(const model::Object& object) {
  if (object.kind().resource == "nodes") return std::string(object.name());
  if (object.kind().resource != "pods") return {};
  const auto* spec = object.as<api::core_v1::Pod>()->spec();
  return spec == nullptr ? std::string() : std::string(str(spec->node_name()));
}

model::Bytes announced(const model::Object& object) {
  if (object.kind().resource != "secrets") return object.bytes();
  model::Draft draft(object.kind());
  draft.copy("metadata", object.meta());
  draft.clear("metadata.annotations");
  draft.clear("metadata.managedFields");
  return draft.bytes();
}

state::Operation put(const World& world, const model::Object& before, const model::Object& after,
                     const Origin& origin) {
  state::Operation op = operation(world, after);
  op.kind = state::Operation::Kind::kPut;
  op.object = after.bytes();
  if (before) op.old_node = partition(before);
  op.event = event(bus::EventType::Put, before, after, origin);
  return op;
}

state::Operation erase(const World& world, const model::Object& last, const Origin& origin) {
  state::Operation op = operation(world, last);
  op.kind = state::Operation::Kind::kDelete;
  op.event = event(bus::EventType::Delete, last, {}, origin);
  return op;
}

}  // namespace gantry::apigw
