#include "services/apigw/authz/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace gantry::apigw {
namespace {

using model::str;
using Strings = flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>;

bool has(const Strings* values, std::string_view wanted) {
  if (values == nullptr) return false;
  for (const auto* value : *values) {
    if (str(value) == wanted || str(value) == "*") return true;
  }
  return false;
}

bool url_matches(std::string_view pattern, std::string_view path) {
  if (pattern == path) return true;
  return pattern.ends_with('*') && path.starts_with(pattern.substr(0, pattern.size() - 1));
}

// "pods", "pods/log", "*/scale", "*".
bool resource_matches(std::string_view pattern, std::string_view resource, std::string_view subresource) {
  if (pattern == "*") return true;
  if (subresource.empty()) return pattern == resource;
  const size_t slash = pattern.find('/');
  if (slash == std::string_view::npos || pattern.substr(slash + 1) != subresource) return false;
  const std::string_view first = pattern.substr(0, slash);
  return first == "*" || first == resource;
}

bool named(const Strings* names, std::string_view name) {
  if (names == nullptr || names->size() == 0) return true;
  for (const auto* one : *names) {
    if (str(one) == name) return true;
  }
  return false;
}

std::vector<std::string> strings(const Strings* values) {
  std::vector<std::string> out;
  if (values == nullptr) return out;
  for (const auto* value : *values) out.emplace_back(str(value));
  return out;
}

bool has(const std::vector<std::string>& values, std::string_view wanted) {
  return std::any_of(values.begin(), values.end(), [&](const auto& v) { return v == wanted || v == "*"; });
}

bool covers_resource(const std::vector<std::string>& patterns, std::string_view wanted) {
  const size_t slash = wanted.find('/');
  const std::string_view sub = slash == std::string_view::npos ? std::string_view() : wanted.substr(slash + 1);
  for (const auto& pattern : patterns) {
    if (pattern == "*" || pattern == wanted) return true;
    if (!sub.empty() && resource_matches(pattern, wanted.substr(0, slash), sub)) return true;
  }
  return false;
}

// `one` has a single verb and either a single url, or a single group, resource and at most one name.
bool covers(const Rule& held, const Rule& one) {
  if (!has(held.verbs, one.verbs[0])) return false;
  if (!one.urls.empty()) {
    return std::any_of(held.urls.begin(), held.urls.end(),
                       [&](const auto& url) { return url_matches(url, one.urls[0]); });
  }
  if (!has(held.groups, one.groups[0]) || !covers_resource(held.resources, one.resources[0])) return false;
  if (held.names.empty()) return true;
  return !one.names.empty() && std::find(held.names.begin(), held.names.end(), one.names[0]) != held.names.end();
}

std::vector<Rule> single_parts(const Rule& rule) {
  std::vector<Rule> parts;
  for (const auto& verb : rule.verbs) {
    for (const auto& group : rule.groups) {
      for (const auto& resource : rule.resources) {
        if (rule.names.empty()) parts.push_back({{verb}, {group}, {resource}, {}, {}});
        for (const auto& name : rule.names) parts.push_back({{verb}, {group}, {resource}, {name}, {}});
      }
    }
    for (const auto& url : rule.urls) parts.push_back({{verb}, {}, {}, {}, {url}});
  }
  return parts;
}

std::string print_list(const std::vector<std::string>& values) {
  std::string out;
  for (const auto& value : values) out += fmt::format("{}\"{}\"", out.empty() ? "" : " ", value);
  return "[" + out + "]";
}

}  // namespace

bool matches(const StoredRule& rule, const Attributes& a, std::string_view group) {
  if (!has(rule.verbs(), a.verb)) return false;
  if (!a.path.empty()) {
    if (rule.non_resource_urls() == nullptr) return false;
    return std::any_of(rule.non_resource_urls()->begin(), rule.non_resource_urls()->end(),
                       [&](const auto* url) { return url_matches(str(url), a.path); });
  }
  if (!has(rule.api_groups(), group) || rule.resources() == nullptr) return false;
  const bool resource = std::any_of(rule.resources()->begin(), rule.resources()->end(), [&](const auto* pattern) {
    return resource_matches(str(pattern), a.resource, a.subresource);
  });
  return resource && named(rule.resource_names(), a.name);
}

std::string Rule::print() const {
  std::string out;
  const auto add = [&](const char* what, const std::vector<std::string>& values) {
    if (!values.empty()) out += fmt::format("{}{}:{}", out.empty() ? "" : ", ", what, print_list(values));
  };
  add("NonResourceURLs", urls);
  add("APIGroups", groups);
  add("Resources", resources);
  add("ResourceNames", names);
  add("Verbs", verbs);
  return "{" + out + "}";
}

Rule plain(const StoredRule& rule) {
  return {strings(rule.verbs()), strings(rule.api_groups()), strings(rule.resources()), strings(rule.resource_names()),
          strings(rule.non_resource_urls())};
}

std::vector<Rule> uncovered(const std::vector<Rule>& held, const std::vector<Rule>& wanted) {
  std::map<std::string, Rule> missing;  // by what they are about
  for (const auto& rule : wanted) {
    for (const auto& part : single_parts(rule)) {
      if (std::any_of(held.begin(), held.end(), [&](const Rule& h) { return covers(h, part); })) continue;
      Rule about = part;
      about.verbs.clear();
      auto& put = missing.try_emplace(about.print(), about).first->second;
      if (!has(put.verbs, part.verbs[0])) put.verbs.push_back(part.verbs[0]);
    }
  }
  std::vector<Rule> out;
  for (auto& [key, rule] : missing) out.push_back(std::move(rule));
  return out;
}

}  // namespace gantry::apigw
