// What a single value may be, in the API server's words. Pure functions, thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "services/apigw/rules/at.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {

inline constexpr const char* kNotNegative = "must be greater than or equal to 0";
inline constexpr const char* kPortRange = "must be between 1 and 65535, inclusive";
inline constexpr const char* kNoDots = "must not contain '..'";
inline constexpr const char* kRelative = "must be a relative path";

// Each returns "" or what is wrong.
std::string check_ip(std::string_view ip);
std::string check_cidr(std::string_view cidr);
std::string check_schedule(std::string_view schedule);
std::string check_time_zone(std::string_view zone);
std::string check_config_key(std::string_view key);
/// Relative, and never up.
std::string check_inner_path(std::string_view path);
/// A file of a volume: an inner path that does not start with "..".
std::string check_file(std::string_view path);
std::string check_wildcard_subdomain(std::string_view name);
/// `acme.io/foo`
std::string check_domain_path(std::string_view path);
std::string check_http_header(std::string_view name);
/// "93%"
std::string check_percent(std::string_view text);

bool valid_ip(std::string_view ip);
bool one_of(std::string_view value, std::initializer_list<std::string_view> values);
/// The number before the %; -1 when it is none.
int percent_of(std::string_view text);

/// What a row of a table demands of a value.
enum class Is : uint8_t {
  kRequired,     // there and not empty; `words`: the detail
  kNotNegative,  // >= 0
  kPositive,     // > 0
  kPercent,      // 0 to 100
  kPort,         // a port's number, 1 to 65535
  kId,           // of a user or group: 0 to 2^31 - 1
  kMode,         // of a file: 0 to 0777
  kOneOf,        // `words`, separated by "|"
  kSubdomain,    // the formats: an empty string passes
  kLabel,
  kServiceName,  // RFC 1035
  kQualified,
  kLabelName,  // qualified; empty is an error, too
  kPathSegment,
  kPortName,
  kConfigKey,
  kIp,
  kCidr,
  kSchedule,
  kTimeZone,
  kInnerPath,
  kFile,
  kAbsolutePath,
  kNoDots,
  kHttpHeader,
};

/// Checks a value that is there: `text` as model::Found::text() prints it, `number` for the numeric ones.
void check_value(Is is, std::string_view words, const At& at, std::string_view text, int64_t number,
                 Problems& problems);

}  // namespace gantry::apigw
