#include <fmt/format.h>

#include "services/apigw/rules/kinds.h"

namespace gantry::apigw {

using model::str;

void default_namespace(model::Draft& draft, const model::Object& given) {
  if (!given.name().empty()) draft.set("metadata.labels[kubernetes.io/metadata.name]", given.name());
}

// stringData is only for writing: what is stored is data.
void default_secret(model::Draft& draft, const model::Object& given) {
  const auto* secret = given.as<api::core_v1::Secret>();
  if (str(secret->type()).empty()) draft.set("type", "Opaque");
  if (secret->string_data() == nullptr) return;
  for (const auto* entry : *secret->string_data()) {
    if (!plain_key(str(entry->key()))) return;  // validation will name it
  }
  for (const auto* entry : *secret->string_data())
    draft.set(fmt::format("data[{}]", str(entry->key())), str(entry->value()));
  draft.clear("stringData");
}

}  // namespace gantry::apigw
