#include "libs/model/json_text.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <array>
#include <cmath>
#include <iterator>

namespace gantry::model {

namespace dom = simdjson::dom;

namespace {

constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> table{};
  for (int c = 0x20; c < 256; ++c) table[static_cast<size_t>(c)] = c != '"' && c != '\\';
  return table;
}();

}  // namespace

void write_json_string(std::string_view text, std::string& out) {
  out.push_back('"');
  size_t from = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    if (kPlain[c]) continue;
    out.append(text, from, i - from);
    from = i + 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
    }
  }
  out.append(text, from, text.size() - from);
  out.push_back('"');
}

void write_json_double(double value, std::string& out) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  fmt::format_to(std::back_inserter(out), "{}", value);
}

std::string valid_utf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return std::string(text);
  std::string out;
  for (size_t i = 0; i < text.size();) {
    auto c = static_cast<unsigned char>(text[i]);
    size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    auto piece = text.substr(i, n);
    if (simdjson::validate_utf8(piece.data(), piece.size())) {
      out += piece;
      i += n;
    } else {
      out += "\xef\xbf\xbd";
      ++i;
    }
  }
  return out;
}

void write_json_value(const dom::element& value, std::string& out) {
  switch (value.type()) {
    case dom::element_type::ARRAY: {
      out.push_back('[');
      bool first = true;
      dom::array items = value.get_array().value_unsafe();
      for (auto e : items) {
        if (!first) out.push_back(',');
        first = false;
        write_json_value(e, out);
      }
      out.push_back(']');
      break;
    }
    case dom::element_type::OBJECT: {
      out.push_back('{');
      bool first = true;
      dom::object fields = value.get_object().value_unsafe();
      for (auto [key, e] : fields) {
        if (!first) out.push_back(',');
        first = false;
        write_json_string(key, out);
        out.push_back(':');
        write_json_value(e, out);
      }
      out.push_back('}');
      break;
    }
    case dom::element_type::STRING:
      write_json_string(value.get_string().value_unsafe(), out);
      break;
    case dom::element_type::BOOL:
      out += value.get_bool().value_unsafe() ? "true" : "false";
      break;
    case dom::element_type::INT64:
      out += std::to_string(value.get_int64().value_unsafe());
      break;
    case dom::element_type::UINT64:
      out += std::to_string(value.get_uint64().value_unsafe());
      break;
    case dom::element_type::DOUBLE: {
      // "-0" would read back as the integer 0.
      double number = value.get_double().value_unsafe();
      if (number == 0 && std::signbit(number)) {
        out += "-0.0";
      } else {
        write_json_double(number, out);
      }
    } break;
    case dom::element_type::NULL_VALUE:
      out += "null";
      break;
  }
}

}  // namespace gantry::model
