#include "libs/model/names.h"

#include <fmt/format.h>

#include <algorithm>

namespace gantry::model {

namespace {

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool lower_alnum(char c) { return lower(c) || digit(c); }
bool alnum(char c) { return lower_alnum(c) || upper(c); }

/// Inner characters by `inner`, both ends by `end`.
template <typename End, typename Inner>
bool shaped(std::string_view s, End end, Inner inner) {
  return !s.empty() && end(s.front()) && end(s.back()) && std::all_of(s.begin(), s.end(), inner);
}

bool dns_label(std::string_view s) {
  return shaped(s, lower_alnum, [](char c) { return lower_alnum(c) || c == '-'; });
}

bool qualified(std::string_view s) {
  return shaped(s, alnum, [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

std::string too_many_bytes(size_t limit) { return fmt::format("must be no more than {} bytes", limit); }

}  // namespace

std::string check_dns_label(std::string_view name) {
  if (name.size() > 63) return too_many_bytes(63);
  if (dns_label(name)) return "";
  return "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
         "with an "
         "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
         "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
}

std::string check_dns_subdomain(std::string_view name) {
  if (name.size() > 253) return too_many_bytes(253);
  auto rest = name;
  while (true) {
    size_t dot = rest.find('.');
    if (!dns_label(rest.substr(0, dot))) break;
    if (dot == std::string_view::npos) return "";
    rest.remove_prefix(dot + 1);
  }
  return "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
         "start and end with "
         "an alphanumeric character (e.g. 'example.com', regex used for validation is "
         "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

std::string check_service_name(std::string_view name) {
  if (name.size() > 63) return too_many_bytes(63);
  if (dns_label(name) && lower(name.front())) return "";
  return "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
         "character, and end with "
         "an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
         "'[a-z]([-a-z0-9]*[a-z0-9])?')";
}

std::string check_qualified_name(std::string_view name) {
  constexpr std::string_view kRule =
      "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
      "(e.g. 'MyName',  "
      "or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
  size_t slash = name.find('/');
  auto local = name;
  if (slash != std::string_view::npos) {
    auto prefix = name.substr(0, slash);
    local = name.substr(slash + 1);
    if (local.find('/') != std::string_view::npos) {
      return "a qualified name " + std::string(kRule) +
             " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
    }
    if (prefix.empty()) return "prefix part must be non-empty";
    if (auto error = check_dns_subdomain(prefix); !error.empty()) return "prefix part " + error;
  }
  if (local.empty()) return "name part must be non-empty";
  if (local.size() > 63) return "name part " + too_many_bytes(63);
  if (!qualified(local)) return "name part " + std::string(kRule);
  return "";
}

std::string check_label_value(std::string_view value) {
  if (value.size() > 63) return too_many_bytes(63);
  if (value.empty() || qualified(value)) return "";
  return "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
         "and end with an "
         "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
         "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
}

std::string check_port_name(std::string_view name) {
  if (name.size() > 15) return too_many_bytes(15);
  if (!std::all_of(name.begin(), name.end(), [](char c) { return lower_alnum(c) || c == '-'; })) {
    return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
  }
  if (std::none_of(name.begin(), name.end(), lower)) return "must contain at least one letter (a-z)";
  if (name.find("--") != std::string_view::npos) return "must not contain consecutive hyphens";
  if (name.front() == '-' || name.back() == '-') return "must not begin or end with a hyphen";
  return "";
}

std::string check_env_name(std::string_view name) {
  if (name.empty()) return "must be non-empty";
  // Relaxed since 1.34: any printable ASCII character but '='.
  if (std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~' && c != '='; })) return "";
  return "a valid environment variable name must consist only of printable ASCII characters other than '='";
}

std::string check_path_segment(std::string_view name) {
  if (name == "." || name == "..") return fmt::format("may not be '{}'", name);
  for (char c : {'/', '%'}) {
    if (name.find(c) != std::string_view::npos) return fmt::format("may not contain '{}'", c);
  }
  return "";
}

}  // namespace gantry::model
