// Internal to render: the parts that single objects, lists and watch events share. They append JSON text.
#pragma once

#include <string>

#include "services/apigw/render/render.h"

namespace gantry::apigw {

std::string list_meta_json(const ListMeta& meta);
std::string column_definitions(const model::Kind& kind);
void append_partial(std::string& out, const model::Object& object);
void append_row(std::string& out, const model::Object& object, RowObject rows, WallMicros now);

}  // namespace gantry::apigw
