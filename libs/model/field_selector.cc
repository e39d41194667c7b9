#include <fmt/format.h>

#include <algorithm>

#include "libs/model/assembler.h"
#include "libs/model/selector.h"
#include "libs/model/walk.h"

namespace gantry::model {

namespace {

/// Cuts at the commas that no backslash escapes.
std::vector<std::string_view> terms_of(std::string_view text) {
  std::vector<std::string_view> out;
  size_t from = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == ',') {
      out.push_back(text.substr(from, i - from));
      from = i + 1;
    }
  }
  out.push_back(text.substr(from));
  return out;
}

/// Resolves \\ \, \=. False for any other escape, or an operator inside the value.
bool unescape(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '=' || text[i] == ',') return false;
    if (text[i] == '\\') {
      if (++i == text.size() || std::string_view("\\,=").find(text[i]) == std::string_view::npos) return false;
    }
    out.push_back(text[i]);
  }
  return true;
}

bool selectable(const Kind& kind, std::string_view field) {
  if (field == "metadata.name" || field == "metadata.namespace") return true;
  return std::find(kind.select.begin(), kind.select.end(), field) != kind.select.end();
}

}  // namespace

Result<FieldSelector> FieldSelector::parse(const Kind& kind, std::string_view text) {
  FieldSelector out;
  for (auto term : terms_of(text)) {
    if (term.empty()) continue;
    Requirement r;
    size_t at = term.find_first_of("!=");
    bool equal = at != std::string_view::npos && term[at] == '=';
    if (at == std::string_view::npos || (!equal && term.substr(at, 2) != "!=")) {
      return Error{Code::kBadRequest, fmt::format("invalid selector: '{}'; can't understand '{}'", text, term)};
    }
    r.field = term.substr(0, at);
    r.equal = equal;
    auto value = term.substr(at + (equal && term.substr(at, 2) != "==" ? 1 : 2));
    if (!unescape(value, r.value)) {
      return Error{Code::kBadRequest, fmt::format("invalid selector: '{}'; can't understand '{}'", text, term)};
    }
    if (!selectable(kind, r.field)) {
      return Error{Code::kBadRequest, fmt::format("field label not supported: {}", r.field)};
    }
    out.requirements_.push_back(std::move(r));
  }
  return out;
}

bool FieldSelector::matches(const Object& object) const {
  for (const auto& r : requirements_) {
    if ((field_value(object, r.field) == r.value) != r.equal) return false;
  }
  return true;
}

const std::string* FieldSelector::required(std::string_view field) const {
  for (const auto& r : requirements_) {
    if (r.equal && r.field == field) return &r.value;
  }
  return nullptr;
}

std::string field_value(const Object& object, std::string_view json_path) {
  // An Event's source is its component, or else who reports it.
  if (json_path == "source" && object.kind().kind == "Event") {
    auto component = text_at(object, "source.component");
    return component.empty() ? text_at(object, "reportingComponent") : component;
  }
  Found found = find(object, json_path);
  if (!found.known()) return "";
  if (!found.present() && !found.field->list && is_number(*found.field) && !is_time(*found.field)) {
    return found.field->scalar == Scalar::kBool ? "false" : "0";
  }
  return found.text();
}

}  // namespace gantry::model
