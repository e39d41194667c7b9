// base64 as Go's StdEncoding reads and writes it.
#pragma once

#include <string>
#include <string_view>

namespace gantry::model {

void base64_encode(std::string_view bytes, std::string& out);
/// Line breaks are skipped. False with the offset of the first wrong byte.
bool base64_decode(std::string_view text, std::string& out, size_t& bad_at);

}  // namespace gantry::model
