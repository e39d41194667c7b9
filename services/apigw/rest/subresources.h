// What stands under /<resource>/<name>/: the verbs and the kind of each subresource. Pure, thread-safe.
#pragma once

#include <string>
#include <vector>

#include "libs/model/schema.h"

namespace gantry::apigw {

struct Subresource {
  std::vector<std::string> verbs;  // sorted
  std::string group, version, kind;

  bool has_verb(std::string_view verb) const;
};

/// `name` must be one of the kind's subresources.
Subresource subresource_of(const model::Kind& kind, std::string_view name);

}  // namespace gantry::apigw
