// Internal to libs/model: writing JSON text.
#pragma once

#include <simdjson.h>

#include <string>
#include <string_view>

namespace gantry::model {

/// "text" with its quotes and escapes. Bytes of 0x80 and above pass as they are.
void write_json_string(std::string_view text, std::string& out);
/// Shortest text that reads back as the same number; NaN and infinities, which JSON lacks, as null.
void write_json_double(double value, std::string& out);

/// The value without white space, its escapes and numbers in their shortest form: writing what was read from it changes
/// nothing.
void write_json_value(const simdjson::dom::element& value, std::string& out);

/// The text with every byte that is not part of UTF-8 replaced by U+FFFD.
std::string valid_utf8(std::string_view text);

}  // namespace gantry::model
