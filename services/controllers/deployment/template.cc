#include "services/controllers/deployment/template.h"

#include <glog/logging.h>

#include "libs/base/ids.h"
#include "libs/model/draft.h"
#include "libs/model/json.h"
#include "libs/model/schema.h"

namespace gantry::controllers {
namespace {

const model::Type& type_of(const char* name) {
  const model::Type* type = model::Schema::get().type(name);
  CHECK(type != nullptr) << name;
  return *type;
}

using Entries = flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>;

/// Maps are sorted by key, so two with the same content have the same sequence.
bool same_map(const Entries* a, const Entries* b, std::string_view ignored) {
  size_t i = 0, j = 0, n = a == nullptr ? 0 : a->size(), m = b == nullptr ? 0 : b->size();
  for (;;) {
    if (i < n && model::str(a->Get(i)->key()) == ignored) ++i;
    if (j < m && model::str(b->Get(j)->key()) == ignored) ++j;
    if (i == n || j == m) return i == n && j == m;
    if (model::str(a->Get(i)->key()) != model::str(b->Get(j)->key())) return false;
    if (model::str(a->Get(i)->value()) != model::str(b->Get(j)->value())) return false;
    ++i, ++j;
  }
}

}  // namespace

bool same_template(const api::core_v1::PodTemplateSpec* a, const api::core_v1::PodTemplateSpec* b) {
  if (a == nullptr || b == nullptr) return a == b;
  static const model::Type& spec = type_of("gantry.api.core_v1.PodSpec");
  const auto *ma = a->metadata(), *mb = b->metadata();
  if (!same_map(ma == nullptr ? nullptr : ma->labels(), mb == nullptr ? nullptr : mb->labels(), kTemplateHash))
    return false;
  if (!same_map(ma == nullptr ? nullptr : ma->annotations(), mb == nullptr ? nullptr : mb->annotations(), ""))
    return false;
  if (a->spec() == nullptr || b->spec() == nullptr) return a->spec() == b->spec();
  return model::equal(spec, reinterpret_cast<const flatbuffers::Table*>(a->spec()),
                      reinterpret_cast<const flatbuffers::Table*>(b->spec()));
}

std::string template_hash(const api::core_v1::PodTemplateSpec* pod_template, int32_t collisions) {
  static const model::Type& type = type_of("gantry.api.core_v1.PodTemplateSpec");
  // JSON is canonical here: fields in schema order, maps by key.
  std::string text = model::to_json(type, reinterpret_cast<const flatbuffers::Table*>(pod_template));
  if (collisions > 0) text += fmt::format("#{}", collisions);
  uint32_t hash = 2166136261u;  // FNV-1a
  for (unsigned char c : text) hash = (hash ^ c) * 16777619u;
  return safe_encode(std::to_string(hash));
}

}  // namespace gantry::controllers
