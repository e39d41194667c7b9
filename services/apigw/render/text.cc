#include "services/apigw/render/text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gantry::apigw {
namespace {

using nlohmann::json;

/// A string that YAML reads back as this string when it stands without quotes.
bool plain(std::string_view s) {
  if (s.empty() || s.front() == ' ' || s.back() == ' ' || s.back() == ':') return false;
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '/' || c == '_'; };
  if (!letter(s.front())) return false;  // numbers, dates, indicators
  for (const char* word : {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}) {
    if (std::equal(s.begin(), s.end(), word, word + std::char_traits<char>::length(word),
                   [](char a, char b) { return (a | 0x20) == b; }))
      return false;
  }
  for (size_t i = 0; i < s.size(); ++i) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c < 0x20 || c >= 0x7f) return false;
    if (c == ':' && s[i + 1] == ' ') return false;
    if (c == '#' && s[i - 1] == ' ') return false;
  }
  return true;
}

/// Text of several lines that a literal block shows as it is.
bool literal(std::string_view s) {
  if (s.find('\n') == std::string_view::npos || s.front() == ' ' || s.front() == '\n') return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x20 || c == '\n'; });
}

void scalar(const json& value, size_t depth, std::string& out) {
  if (!value.is_string()) {
    out += value.empty() && value.is_structured() ? (value.is_object() ? "{}" : "[]") : value.dump();
    return;
  }
  const auto& text = value.get_ref<const std::string&>();
  if (plain(text)) {
    out += text;
  } else if (literal(text)) {
    out += text.back() != '\n' ? "|-" : text.ends_with("\n\n") ? "|+" : "|";
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      out += '\n';
      if (end > at) out.append(depth * 2, ' ').append(text, at, end - at);
      at = end + 1;
    }
  } else {
    out += value.dump(-1, ' ', false, json::error_handler_t::replace);  // JSON's quoting is YAML's too
  }
}

void block(const json& value, size_t depth, bool in_list, std::string& out) {
  bool first = in_list;
  const auto begin = [&] {
    if (!std::exchange(first, false)) out.append(depth * 2, ' ');
  };
  if (value.is_object()) {
    for (const auto& [key, child] : value.items()) {
      begin();
      scalar(key, depth + 1, out);
      out += ':';
      if (child.is_structured() && !child.empty()) {
        out += '\n';
        block(child, child.is_array() ? depth : depth + 1, false, out);
      } else {
        out += ' ';
        scalar(child, depth + 1, out);
        out += '\n';
      }
    }
    return;
  }
  for (const auto& child : value) {
    begin();
    out += "- ";
    if (child.is_structured() && !child.empty()) {
      block(child, depth + 1, true, out);
    } else {
      scalar(child, depth + 1, out);
      out += '\n';
    }
  }
}

}  // namespace

std::string indent_json(std::string_view json) {
  std::string out;
  out.reserve(json.size() * 2);
  size_t depth = 0;
  bool quoted = false;
  const auto line = [&] { out.append("\n").append(depth * 2, ' '); };
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (quoted) {
      out += c;
      if (c == '\\' && i + 1 < json.size()) out += json[++i];
      if (c == '"') quoted = false;
      continue;
    }
    switch (c) {
      case '{':
      case '[':
        out += c;
        if (i + 1 < json.size() && (json[i + 1] == '}' || json[i + 1] == ']')) {
          out += json[++i];
          break;
        }
        ++depth;
        line();
        break;
      case '}':
      case ']':
        --depth;
        line();
        out += c;
        break;
      case ',':
        out += c;
        line();
        break;
      case ':':
        out += ": ";
        break;
      default:
        quoted = c == '"';
        out += c;
    }
  }
  return out;
}

std::string json_to_yaml(std::string_view text) {
  const auto tree = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (tree.is_discarded()) return {};
  std::string out;
  if (tree.is_structured() && !tree.empty()) {
    block(tree, 0, false, out);
  } else {
    scalar(tree, 0, out);
    out += '\n';
  }
  return out;
}

}  // namespace gantry::apigw
