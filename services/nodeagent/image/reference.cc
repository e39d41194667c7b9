#include "services/nodeagent/image/reference.h"

#include <fmt/format.h>

#include <algorithm>

namespace gantry::nodeagent {

namespace {

constexpr std::string_view kDefaultRegistry = "docker.io", kDefaultFolder = "library/";
constexpr size_t kMaxTag = 128, kMaxPath = 255, kDigestHex = 64;

bool lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool alnum(char c) { return lower_alnum(c) || (c >= 'A' && c <= 'Z'); }
bool hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

// Lower-case letters and digits, separated by one dot, one or two underscores or any number of hyphens.
bool valid_component(std::string_view text) {
  if (text.empty() || !lower_alnum(text.front()) || !lower_alnum(text.back())) return false;
  for (size_t i = 0; i < text.size();) {
    if (lower_alnum(text[i])) {
      ++i;
      continue;
    }
    const char separator = text[i];
    size_t length = 0;
    while (i < text.size() && text[i] == separator) ++i, ++length;
    if (!lower_alnum(text[i])) return false;
    if (!(separator == '-' || (separator == '.' && length == 1) || (separator == '_' && length <= 2))) return false;
  }
  return true;
}

bool valid_registry(std::string_view text) {
  const auto colon = text.rfind(':');
  auto host = text.substr(0, colon);
  if (colon != std::string_view::npos) {
    auto port = text.substr(colon + 1);
    if (port.empty() || !std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return false;
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') return true;  // an IPv6 address
  while (true) {
    auto dot = host.find('.');
    auto label = host.substr(0, dot);
    if (label.empty() || !alnum(label.front()) || !alnum(label.back())) return false;
    if (!std::all_of(label.begin(), label.end(), [](char c) { return alnum(c) || c == '-'; })) return false;
    if (dot == std::string_view::npos) return true;
    host.remove_prefix(dot + 1);
  }
}

bool valid_tag(std::string_view tag) {
  return !tag.empty() && tag.size() <= kMaxTag && (alnum(tag[0]) || tag[0] == '_') &&
         std::all_of(tag.begin(), tag.end(), [](char c) { return alnum(c) || c == '_' || c == '.' || c == '-'; });
}

bool valid_digest(std::string_view digest) {
  const auto colon = digest.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const auto value = digest.substr(colon + 1);
  return value.size() >= 32 && std::all_of(value.begin(), value.end(), hex) &&
         (digest.substr(0, colon) != "sha256" || value.size() == kDigestHex);
}

bool valid_path(std::string_view path) {
  if (path.size() > kMaxPath) return false;
  while (true) {
    const auto slash = path.find('/');
    if (!valid_component(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

std::string ImageReference::full() const {
  std::string out = registry + "/" + path;
  if (!tag.empty()) out += ":" + tag;
  if (!digest.empty()) out += "@" + digest;
  return out;
}

Result<ImageReference> parse_image(std::string_view text) {
  const auto wrong = [&](const char* why) { return Error{Code::kInvalid, why}; };
  constexpr const char* kFormat = "invalid reference format";
  ImageReference out;
  auto rest = text;
  if (rest.size() == kDigestHex && std::all_of(rest.begin(), rest.end(), hex))
    return wrong("invalid repository name, cannot specify 64-byte hexadecimal strings");
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    out.digest = rest.substr(at + 1);
    if (!valid_digest(out.digest)) return wrong(kFormat);
    rest = rest.substr(0, at);
  }
  const auto slash = rest.find('/');
  const auto first = rest.substr(0, slash);
  if (slash != std::string_view::npos &&
      (first.find_first_of(".:[") != std::string_view::npos || first == "localhost" ||
       std::any_of(first.begin(), first.end(), [](char c) { return c >= 'A' && c <= 'Z'; }))) {
    out.registry = first;
    if (!valid_registry(first)) return wrong(kFormat);
    rest.remove_prefix(slash + 1);
  } else {
    out.registry = kDefaultRegistry;
  }
  if (out.registry == "index.docker.io") out.registry = kDefaultRegistry;
  if (const auto colon = rest.rfind(':'); colon != std::string_view::npos) {
    out.tag = rest.substr(colon + 1);
    if (!valid_tag(out.tag)) return wrong(kFormat);
    rest = rest.substr(0, colon);
  }
  std::string lower(rest);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (!valid_path(rest)) {
    if (lower != rest && valid_path(lower)) return wrong("invalid reference format: repository name must be lowercase");
    return wrong(kFormat);
  }
  out.path = rest;
  if (out.registry == kDefaultRegistry && out.path.find('/') == std::string::npos)
    out.path = std::string(kDefaultFolder) + out.path;
  if (out.tag.empty() && out.digest.empty()) out.tag = "latest";
  return out;
}

}  // namespace gantry::nodeagent
