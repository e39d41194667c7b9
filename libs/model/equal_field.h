// Internal to libs/model: equality of one field.
#pragma once

#include "libs/model/assembler.h"

namespace gantry::model {

/// True if the field, which both tables have, means the same in them.
bool equal_field(const Field& field, const flatbuffers::Table* a, const flatbuffers::Table* b);

}  // namespace gantry::model
