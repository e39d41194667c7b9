#include "libs/yaml/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <cmath>
#include <cstdlib>

namespace gantry::yaml {
namespace {

using nlohmann::json;

struct Failure {
  std::string message;
};

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

/// An integer in YAML 1.1's notations, else null.
json integer(std::string_view text) {
  std::string digits(text);
  const bool negative = !digits.empty() && digits[0] == '-';
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) digits.erase(0, 1);
  int base = 10;
  if (digits.starts_with("0x")) {
    base = 16;
    digits.erase(0, 2);
  } else if (digits.starts_with("0b")) {
    base = 2;
    digits.erase(0, 2);
  } else if (digits.starts_with("0o")) {
    base = 8;
    digits.erase(0, 2);
  } else if (digits.size() > 1 && digits[0] == '0') {
    base = 8;
  }
  if (digits.empty() || !std::isalnum(static_cast<unsigned char>(digits[0]))) return nullptr;
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(digits.c_str(), &end, base);
  if (*end != 0 || errno != 0) return nullptr;
  if (!negative) return value;
  if (value > 1ULL << 63) return nullptr;
  return static_cast<int64_t>(0 - value);
}

json real(const std::string& text) {
  if (text.find_first_of("0123456789") == std::string::npos ||
      text.find_first_not_of("0123456789+-.eE") != std::string::npos)
    return nullptr;
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (*end != 0 || !std::isfinite(value)) return nullptr;
  return value;
}

/// What a plain (unquoted) scalar means.
json plain(const std::string& text) {
  if (one_of(text, {"", "~", "null", "Null", "NULL"})) return nullptr;
  if (one_of(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})) return true;
  if (one_of(text, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})) return false;
  if (auto value = integer(text); !value.is_null()) return value;
  if (auto value = real(text); !value.is_null()) return value;
  return text;
}

json convert(const YAML::Node& node);

void add_entry(json& object, const std::string& key, json value, int line) {
  if (object.contains(key)) throw Failure{fmt::format("line {}: key \"{}\" already set in map", line, key)};
  object[key] = std::move(value);
}

json convert_map(const YAML::Node& node) {
  json out = json::object();
  std::vector<json> merged;
  for (const auto& entry : node) {
    const int line = entry.first.Mark().line + 1;
    if (!entry.first.IsScalar()) throw Failure{fmt::format("line {}: a key must be a scalar", line)};
    const std::string key = entry.first.Scalar();
    if (key == "<<" && entry.first.Tag() == "?") {
      const json value = convert(entry.second);
      if (value.is_array()) {
        merged.insert(merged.end(), value.begin(), value.end());
      } else {
        merged.push_back(value);
      }
      continue;
    }
    add_entry(out, key, convert(entry.second), line);
  }
  for (const auto& base : merged) {
    for (const auto& [key, value] : base.items()) {
      if (!out.contains(key)) out[key] = value;
    }
  }
  return out;
}

json convert(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Map:
      return convert_map(node);
    case YAML::NodeType::Sequence: {
      json out = json::array();
      for (const auto& item : node) out.push_back(convert(item));
      return out;
    }
    case YAML::NodeType::Scalar:
      return node.Tag() == "?" ? plain(node.Scalar()) : json(node.Scalar());
    default:
      return nullptr;
  }
}

bool needs_quotes(const std::string& text) {
  if (!plain(text).is_string()) return true;
  if (std::string_view("-?:,[]{}#&*!|>'\"%@` ").find(text[0]) != std::string_view::npos) return true;
  if (text.back() == ' ' || text.back() == ':') return true;
  if (text.find(": ") != std::string::npos || text.find(" #") != std::string::npos) return true;
  if (one_of(text, {"y", "Y", "n", "N", "=", "<<"})) return true;
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

/// True if a literal block (|) shows the text as it is.
bool fits_block(const std::string& text) {
  if (text.find('\n') == std::string::npos || text[0] == ' ' || text[0] == '\n') return false;
  return std::none_of(text.begin(), text.end(),
                      [](unsigned char c) { return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f; });
}

void emit(const json& value, int indent, std::string& out);

void emit_text(const std::string& text, int indent, std::string& out) {
  if (!text.empty() && fits_block(text)) {
    const bool ends = text.back() == '\n', more = text.size() > 1 && ends && text[text.size() - 2] == '\n';
    out += more ? "|+" : ends ? "|" : "|-";
    std::string_view rest = text;
    if (ends) rest.remove_suffix(1);
    for (;;) {
      const size_t end = rest.find('\n');
      const auto line = rest.substr(0, end);
      out += '\n';
      if (!line.empty()) out.append(static_cast<size_t>(indent), ' ').append(line);
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
    return;
  }
  out += needs_quotes(text) ? json(text).dump() : text;
}

void emit_map(const json& value, int indent, std::string& out, bool first_inline) {
  for (const auto& [key, item] : value.items()) {
    if (!first_inline) out.append(static_cast<size_t>(indent), ' ');
    first_inline = false;
    out += (key.empty() || needs_quotes(key) ? json(key).dump() : key) + ":";
    if (item.is_object() && !item.empty()) {
      out += '\n';
      emit_map(item, indent + 2, out, false);
    } else if (item.is_array() && !item.empty()) {
      out += '\n';
      emit(item, indent, out);
    } else {
      out += ' ';
      emit(item, indent + 2, out);
    }
  }
}

void emit(const json& value, int indent, std::string& out) {
  if (value.is_array() && !value.empty()) {
    for (const auto& item : value) {
      out.append(static_cast<size_t>(indent), ' ');
      out += "- ";
      if (item.is_object() && !item.empty()) {
        emit_map(item, indent + 2, out, true);
      } else if (item.is_array() && !item.empty()) {
        std::string inner;
        emit(item, indent + 2, inner);
        out += inner.substr(static_cast<size_t>(indent) + 2);
      } else {
        emit(item, indent + 2, out);
      }
    }
    return;
  }
  if (value.is_object() && !value.empty()) return emit_map(value, indent, out, false);
  if (value.is_string()) {
    emit_text(value.get_ref<const std::string&>(), indent, out);
  } else {
    out += value.dump();
  }
  out += '\n';
}

}  // namespace

Result<std::vector<json>> parse(std::string_view text) {
  std::vector<json> out;
  try {
    for (const auto& document : YAML::LoadAll(std::string(text))) {
      auto value = convert(document);
      if (!value.is_null()) out.push_back(std::move(value));
    }
  } catch (const YAML::Exception& e) {
    return Error{.code = Code::kBadRequest,
                 .message = fmt::format("error converting YAML to JSON: yaml: line {}: {}", e.mark.line + 1, e.msg)};
  } catch (const Failure& failure) {
    return Error{.code = Code::kBadRequest, .message = "error converting YAML to JSON: yaml: " + failure.message};
  }
  return out;
}

std::string write(const json& value) {
  std::string out;
  emit(value, 0, out);
  return out;
}

}  // namespace gantry::yaml
