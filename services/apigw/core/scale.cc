#include "services/apigw/core/scale.h"

#include <charconv>

#include "libs/model/draft.h"
#include "libs/model/selector.h"
#include "libs/model/walk.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

int32_t number_at(const model::Object& object, std::string_view path, int32_t fallback) {
  const std::string text = model::text_at(object, path);
  int32_t value = fallback;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// As status.selector has it: a label selector, or the plain map of a ReplicationController.
std::string selector_of(const model::Object& object) {
  const auto found = model::find(object, "spec.selector");
  if (!found.known() || !found.present()) return {};
  const flatbuffers::uoffset_t slot = found.field->slot;
  if (found.field->map) {
    const auto* labels = found.parent->GetPointer<const model::Labels*>(static_cast<flatbuffers::voffset_t>(slot));
    return model::LabelSelector::from_map(labels).to_string();
  }
  const auto selector = model::LabelSelector::from(reinterpret_cast<const api::meta_v1::LabelSelector*>(found.table()));
  return selector.ok() ? selector->to_string() : std::string();
}

}  // namespace

const model::Kind& scale_kind() {
  static const model::Kind& kind = *model::Schema::get().by_kind("autoscaling", "v1", "Scale");
  return kind;
}

int32_t scaled_to(const model::Object& object) { return number_at(object, "spec.replicas", 1); }

Result<model::Object> scale_of(const model::Object& object) {
  if (!object.kind().has_subresource("scale")) return not_found(object.kind(), object.name());
  model::Draft draft(scale_kind());
  for (const char* field : {"name", "namespace", "uid", "creationTimestamp"}) {
    draft.copy_field("metadata", field, reinterpret_cast<const flatbuffers::Table*>(object.meta()));
  }
  draft.set("spec.replicas", scaled_to(object));
  draft.set("status.replicas", number_at(object, "status.replicas", 0));
  if (const std::string selector = selector_of(object); !selector.empty()) draft.set("status.selector", selector);
  return draft.build(object.revision());
}

void present_scale(Answer& answer) {
  auto scale = scale_of(answer.object);
  if (!scale.ok()) return;
  answer.object = std::move(*scale);
  answer.kind = &scale_kind();
}

}  // namespace gantry::apigw
