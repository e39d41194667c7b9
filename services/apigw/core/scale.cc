#include "services/apigw/core/scale.h"

#include "libs/model/draft.h"
#include "libs/model/selector.h"
#include "schemas/api/apps_v1_generated.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

template <typename T>
model::Object scale_from(const model::Object& object) {
  const T* source = object.as<T>();
  model::Draft draft(scale_kind());
  for (const char* field : {"name", "namespace", "uid", "creationTimestamp"}) {
    draft.copy_field("metadata", field, reinterpret_cast<const flatbuffers::Table*>(object.meta()));
  }
  draft.set("spec.replicas", source->spec() == nullptr ? 1 : source->spec()->replicas().value_or(1));
  draft.set("status.replicas", source->status() == nullptr ? 0 : source->status()->replicas().value_or(0));
  if (source->spec() != nullptr) {
    if (const auto selector = model::LabelSelector::from(source->spec()->selector()); selector.ok()) {
      draft.set("status.selector", selector->to_string());
    }
  }
  return draft.build(object.revision());
}

}  // namespace

const model::Kind& scale_kind() {
  static const model::Kind& kind = *model::Schema::get().by_kind("autoscaling", "v1", "Scale");
  return kind;
}

Result<model::Object> scale_of(const model::Object& object) {
  if (object.kind().resource == "deployments") return scale_from<api::apps_v1::Deployment>(object);
  if (object.kind().resource == "replicasets") return scale_from<api::apps_v1::ReplicaSet>(object);
  return not_found(object.kind(), object.name());
}

void present_scale(Answer& answer) {
  auto scale = scale_of(answer.object);
  if (!scale.ok()) return;
  answer.object = std::move(*scale);
  answer.kind = &scale_kind();
}

}  // namespace gantry::apigw
