// What cells are made of, by JSON path, for kinds whose generated readers are not worth including. Internal to render.
#pragma once

#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

#include "libs/model/walk.h"

namespace gantry::apigw::paths {

/// "" when absent.
inline std::string text(const model::Object& o, std::string_view path) { return model::text_at(o, path); }
inline std::string text_or(const model::Object& o, std::string_view path, std::string_view absent) {
  auto found = model::find(o, path);
  return found.present() ? found.text() : std::string(absent);
}
inline bool has(const model::Object& o, std::string_view path) { return model::find(o, path).present(); }
/// `absent` when absent.
inline int64_t number(const model::Object& o, std::string_view path, int64_t absent = 0) {
  auto found = model::find(o, path);
  return found.present() ? std::strtoll(found.text().c_str(), nullptr, 10) : absent;
}
/// Calls visit with "path[0].", "path[1]."...
inline size_t each(const model::Object& o, const std::string& path,
                   const std::function<void(const std::string&)>& visit) {
  size_t n = 0;
  for (; model::find(o, path + "[" + std::to_string(n) + "]").present(); ++n)
    visit(path + "[" + std::to_string(n) + "]");
  return n;
}
inline size_t count(const model::Object& o, const std::string& path) {
  return each(o, path, [](const std::string&) {});
}
inline std::string join(const model::Object& o, const std::string& path, std::string_view separator = ",") {
  std::string out;
  each(o, path, [&](const std::string& at) { out.append(out.empty() ? "" : separator).append(text(o, at)); });
  return out;
}
/// The element of a list of conditions with this type: its path, or "".
inline std::string condition(const model::Object& o, std::string_view type) {
  std::string out;
  each(o, "status.conditions", [&](const std::string& at) {
    if (text(o, at + ".type") == type) out = at;
  });
  return out;
}
inline bool is_true(const model::Object& o, std::string_view type) {
  auto at = condition(o, type);
  return !at.empty() && text(o, at + ".status") == "True";
}

}  // namespace gantry::apigw::paths
