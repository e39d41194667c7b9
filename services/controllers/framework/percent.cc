#include "services/controllers/framework/percent.h"

#include <charconv>

#include "libs/model/object.h"

namespace gantry::controllers {

int32_t resolve_percent(const api::meta_v1::IntOrString* value, int32_t total, bool round_up, const char* fallback) {
  if (value != nullptr && value->int_value().has_value()) return *value->int_value();
  std::string_view text = value == nullptr ? std::string_view() : model::str(value->str_value());
  if (text.empty()) text = fallback;
  int64_t percent = 0;
  std::from_chars(text.data(), text.data() + text.size(), percent);
  if (!text.ends_with('%')) return static_cast<int32_t>(percent);
  int64_t scaled = percent * total;
  return static_cast<int32_t>(round_up ? (scaled + 99) / 100 : scaled / 100);
}

}  // namespace gantry::controllers
