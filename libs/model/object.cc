#include "libs/model/object.h"

namespace gantry::model {

const api::meta_v1::ObjectMeta* Object::meta() const {
  if (bytes_ == nullptr) return nullptr;
  const Field* field = kind_->type->by_json("metadata");
  return field ? root()->GetPointer<const api::meta_v1::ObjectMeta*>(field->slot) : nullptr;
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
