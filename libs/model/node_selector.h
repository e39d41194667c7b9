// Node selectors: of pods' affinity and of volumes. Pure functions, thread-safe.
#pragma once

#include <string_view>

#include "libs/model/selector.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::model {

/// All that the term asks for; an empty term matches nothing.
bool matches(const api::core_v1::NodeSelectorTerm& term, const Labels* labels, std::string_view node);
/// One term is enough. Null and a selector without terms match nothing.
bool matches(const api::core_v1::NodeSelector* selector, const Labels* labels, std::string_view node);

}  // namespace gantry::model
