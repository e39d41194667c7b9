#include "libs/bus/subject.h"

#include "libs/base/ids.h"

namespace gantry::bus {
namespace {

/// Takes the next token off `rest`.
std::string_view next_token(std::string_view& rest) {
  size_t dot = rest.find('.');
  auto token = rest.substr(0, dot);
  rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
  return token;
}

}  // namespace

bool subject_matches(std::string_view pattern, std::string_view subject) { return pattern_covers(pattern, subject); }

bool pattern_covers(std::string_view outer, std::string_view inner) {
  while (!outer.empty() && !inner.empty()) {
    auto o = next_token(outer), i = next_token(inner);
    if (o == ">") return true;
    if (i == ">" || (o != "*" && o != i)) return false;
  }
  return outer.empty() && inner.empty();
}

bool patterns_overlap(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    auto x = next_token(a), y = next_token(b);
    if (x == ">" || y == ">") return true;
    if (x != "*" && y != "*" && x != y) return false;
  }
  return a.empty() && b.empty();
}

std::vector<std::string_view> subject_tokens(std::string_view subject) {
  std::vector<std::string_view> tokens;
  while (!subject.empty()) tokens.push_back(next_token(subject));
  return tokens;
}

std::string inbox_prefix(std::string_view identity) { return "_INBOX." + encode_token(identity); }

}  // namespace gantry::bus
