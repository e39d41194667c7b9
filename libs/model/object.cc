#include "libs/model/object.h"

#include <functional>

namespace gantry::model {

namespace {

uint16_t find_metadata(const Kind& kind) {
  const Field* field = kind.type->by_json("metadata");
  return field == nullptr ? 0 : field->slot;
}

/// Where a kind's metadata stands, 0 without: looked up once, because every name() needs it.
uint16_t metadata_slot(const Kind& kind) {
  const std::vector<Kind>& kinds = Schema::get().kinds();
  static const std::vector<uint16_t> slots = [&kinds] {
    std::vector<uint16_t> out;
    for (const Kind& one : kinds) out.push_back(find_metadata(one));
    return out;
  }();
  const bool listed = std::less_equal<>()(kinds.data(), &kind) && std::less<>()(&kind, kinds.data() + kinds.size());
  return listed ? slots[static_cast<size_t>(&kind - kinds.data())] : find_metadata(kind);
}

}  // namespace

const api::meta_v1::ObjectMeta* Object::meta() const {
  if (bytes_ == nullptr) return nullptr;
  const uint16_t slot = metadata_slot(*kind_);
  return slot != 0 ? root()->GetPointer<const api::meta_v1::ObjectMeta*>(slot) : nullptr;
}

std::string_view Object::name() const {
  const auto* m = meta();
  return m ? str(m->name()) : std::string_view();
}

std::string_view Object::ns() const {
  const auto* m = meta();
  return m ? str(m->namespace_()) : std::string_view();
}

std::string_view Object::uid() const {
  const auto* m = meta();
  return m ? str(m->uid()) : std::string_view();
}

const flatbuffers::String* lookup(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* map,
                                  std::string_view key) {
  if (map == nullptr) return nullptr;
  flatbuffers::uoffset_t low = 0, high = map->size();
  while (low < high) {
    auto middle = low + (high - low) / 2;
    const auto* entry = map->Get(middle);
    int order = str(entry->key()).compare(key);
    if (order == 0) return entry->value();
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return nullptr;
}

}  // namespace gantry::model
