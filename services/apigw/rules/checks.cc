#include "services/apigw/rules/checks.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>

#include "libs/cron/schedule.h"
#include "libs/model/names.h"

namespace gantry::apigw {
namespace {

bool number(std::string_view text, int& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool goes_up(std::string_view path) {
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    if (path.substr(0, slash) == "..") return true;
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return false;
}

/// The words of an error that names a name.
using NameCheck = std::string (*)(std::string_view);
NameCheck format_of(Is is) {
  switch (is) {
    case Is::kSubdomain:
      return model::check_dns_subdomain;
    case Is::kLabel:
      return model::check_dns_label;
    case Is::kServiceName:
      return model::check_service_name;
    case Is::kQualified:
    case Is::kLabelName:
      return model::check_qualified_name;
    case Is::kPathSegment:
      return model::check_path_segment;
    case Is::kPortName:
      return model::check_port_name;
    case Is::kConfigKey:
      return check_config_key;
    case Is::kIp:
      return check_ip;
    case Is::kCidr:
      return check_cidr;
    case Is::kSchedule:
      return check_schedule;
    case Is::kTimeZone:
      return check_time_zone;
    case Is::kInnerPath:
      return check_inner_path;
    case Is::kFile:
      return check_file;
    case Is::kHttpHeader:
      return check_http_header;
    case Is::kAbsolutePath:
      return [](std::string_view p) -> std::string { return p.starts_with('/') ? "" : "must be an absolute path"; };
    case Is::kNoDots:
      return [](std::string_view p) -> std::string { return goes_up(p) ? kNoDots : ""; };
    default:
      return nullptr;
  }
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('|'), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace

bool one_of(std::string_view value, std::initializer_list<std::string_view> values) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool valid_ip(std::string_view text) {
  unsigned char buffer[sizeof(in6_addr)];
  const std::string ip(text);
  return inet_pton(AF_INET, ip.c_str(), buffer) == 1 || inet_pton(AF_INET6, ip.c_str(), buffer) == 1;
}

std::string check_ip(std::string_view ip) {
  return valid_ip(ip) ? "" : "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

std::string check_cidr(std::string_view cidr) {
  constexpr const char* kBad = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
  const size_t slash = cidr.find('/');
  if (slash == std::string_view::npos || !valid_ip(cidr.substr(0, slash))) return kBad;
  int bits = -1;
  const bool four = cidr.find(':') == std::string_view::npos;
  return number(cidr.substr(slash + 1), bits) && bits >= 0 && bits <= (four ? 32 : 128) ? "" : kBad;
}

std::string check_schedule(std::string_view schedule) {
  if (schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ="))
    return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
  auto parsed = cron::Schedule::parse(schedule);
  return parsed.ok() ? "" : parsed.error().message;
}

std::string check_time_zone(std::string_view zone) {
  if (zone.empty()) return "timeZone must be nil or non-empty string";
  std::string lower(zone);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (lower == "local") return "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
  const bool plain =
      zone.front() != '/' && !goes_up(zone) && std::all_of(zone.begin(), zone.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '/' || c == '_' || c == '-' || c == '+';
      });
  static const std::filesystem::path kZones = "/usr/share/zoneinfo";
  std::error_code error;
  // Without a database every name of the right form has to do.
  const bool known = zone == "UTC" || !std::filesystem::exists(kZones, error) ||
                     std::filesystem::is_regular_file(kZones / zone, error);
  return plain && known ? "" : fmt::format("unknown time zone {}", zone);
}

std::string check_config_key(std::string_view key) {
  if (key.size() > 253) return "must be no more than 253 characters";
  if (key == ".") return "must not be '.'";
  if (key == "..") return "must not be '..'";
  if (key.starts_with("..")) return "must not start with '..'";
  const bool plain = !key.empty() && std::all_of(key.begin(), key.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
  if (plain) return {};
  return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
         "'KEY_NAME',  or 'key-name', regex used for "
         "validation is '[-._a-zA-Z0-9]+')";
}

std::string check_inner_path(std::string_view path) {
  if (path.starts_with('/')) return kRelative;
  return goes_up(path) ? kNoDots : "";
}

std::string check_file(std::string_view path) {
  if (auto wrong = check_inner_path(path); !wrong.empty()) return wrong;
  return path.starts_with("..") ? "must not start with '..'" : "";
}

std::string check_wildcard_subdomain(std::string_view name) {
  if (name.starts_with("*.") && model::check_dns_subdomain(name.substr(2)).empty()) return "";
  return "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
         "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. "
         "'*.example.com', regex used for validation is "
         "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

std::string check_domain_path(std::string_view path) {
  const size_t slash = path.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == path.size())
    return "must be a domain-prefixed path (such as \"acme.io/foo\")";
  if (auto wrong = model::check_dns_subdomain(path.substr(0, slash)); !wrong.empty()) return wrong;
  const bool plain = std::all_of(path.begin(), path.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("/-._~!$&'()*+,;=:%@").find(static_cast<char>(c)) != std::string_view::npos;
  });
  return plain ? "" : "Invalid path";
}

std::string check_http_header(std::string_view name) {
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(),
                                                  [](unsigned char c) { return std::isalnum(c) != 0 || c == '-'; });
  return plain ? ""
               : "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used "
                 "for validation is '[-A-Za-z0-9]+')";
}

int percent_of(std::string_view text) {
  int out = -1;
  return !text.empty() && text.back() == '%' && number(text.substr(0, text.size() - 1), out) && out >= 0 ? out : -1;
}

std::string check_percent(std::string_view text) {
  return percent_of(text) >= 0
             ? ""
             : "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex "
               "used for validation is '[0-9]+%')";
}

void check_value(Is is, std::string_view words, const At& at, std::string_view text, int64_t number,
                 Problems& problems) {
  const auto within = [&](int64_t low, int64_t high, const char* detail) {
    if (number < low || number > high) problems.invalid(at.path(), number, detail);
  };
  switch (is) {
    case Is::kRequired:
      return;  // it is there
    case Is::kNotNegative:
      return within(0, INT64_MAX, kNotNegative);
    case Is::kPositive:
      return within(1, INT64_MAX, "must be greater than 0");
    case Is::kPercent:
      return within(0, 100, "must be between 0 and 100, inclusive");
    case Is::kPort:
      return within(1, 65535, kPortRange);
    case Is::kId:
      return within(0, INT32_MAX, "must be between 0 and 2147483647, inclusive");
    case Is::kMode:
      return within(0, 0777, "must be a number between 0 and 0777 (octal), both inclusive");
    case Is::kOneOf: {
      const auto supported = words_of(words);
      if (std::find(supported.begin(), supported.end(), text) == supported.end())
        problems.unsupported(at.path(), text, supported);
      return;
    }
    default:
      break;
  }
  const bool empty_too = is == Is::kTimeZone || is == Is::kLabelName || is == Is::kHttpHeader;
  const auto check = format_of(is);
  if (check == nullptr || (text.empty() && !empty_too)) return;
  if (const auto wrong = check(text); !wrong.empty()) problems.invalid(at.path(), text, wrong);
}

}  // namespace gantry::apigw
