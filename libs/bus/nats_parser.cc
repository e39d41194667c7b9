#include "libs/bus/nats_parser.h"

#include <array>
#include <charconv>

namespace gantry::bus {
namespace {

constexpr size_t kMaxLine = 1 << 20;       // an INFO with many URLs is the longest
constexpr size_t kMaxMessage = 128 << 20;  // far above any max_payload that we configure

bool is(std::string_view word, std::string_view upper) {
  return word.size() == upper.size() && std::equal(word.begin(), word.end(), upper.begin(), [](char a, char b) {
           return (a >= 'a' && a <= 'z' ? a - 32 : a) == b;
         });
}

template <typename T>
bool number(std::string_view text, T& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

Error invalid(std::string_view line) { return {Code::kInvalid, fmt::format("not NATS: '{}'", line.substr(0, 100))}; }

}  // namespace

Status NatsParser::feed(std::string_view bytes) {
  bool stashed = !rest_.empty();
  if (stashed) {
    rest_.append(bytes);
    bytes = rest_;
    if (bytes.size() < needed_) return Done{};
  }
  size_t used = 0;
  needed_ = 0;
  while (!stopped_ && used < bytes.size()) {
    auto length = parse(bytes.substr(used));
    if (!length) return length.error();
    if (*length == 0) break;
    used += *length;
  }
  if (stashed) {
    rest_.erase(0, used);
  } else {
    rest_.assign(bytes.substr(used));
  }
  return Done{};
}

Result<size_t> NatsParser::parse(std::string_view bytes) {
  size_t end = bytes.find("\r\n");
  if (end == std::string_view::npos) {
    if (bytes.size() > kMaxLine) return invalid(bytes);
    return size_t{0};
  }
  auto line = bytes.substr(0, end);
  auto op = line.substr(0, line.find_first_of(" \t"));
  auto rest = line.substr(std::min(line.size(), op.size() + 1));
  if (is(op, "MSG")) return parse_message(rest, bytes, false);
  if (is(op, "HMSG")) return parse_message(rest, bytes, true);
  if (is(op, "PING")) {
    callbacks_.ping();
  } else if (is(op, "PONG")) {
    callbacks_.pong();
  } else if (is(op, "INFO")) {
    callbacks_.info(rest);
  } else if (is(op, "-ERR")) {
    callbacks_.error(rest);
  } else if (!is(op, "+OK")) {
    return invalid(line);
  }
  return end + 2;
}

/// MSG subject sid [reply] size | HMSG subject sid [reply] header-size size
Result<size_t> NatsParser::parse_message(std::string_view line, std::string_view bytes, bool headers) {
  std::array<std::string_view, 5> words;
  size_t count = 0, begin = static_cast<size_t>(line.data() - bytes.data()) + line.size() + 2;
  for (size_t at = 0; at < line.size();) {
    size_t end = std::min(line.find_first_of(" \t", at), line.size());
    if (end > at) {
      if (count == words.size()) return invalid(line);
      words[count++] = line.substr(at, end - at);
    }
    at = end + 1;
  }
  size_t least = headers ? 4 : 3;
  if (count != least && count != least + 1) return invalid(line);
  uint64_t sid = 0;
  size_t header_size = 0, size = 0;
  if (!number(words[1], sid) || !number(words[count - 1], size) ||
      (headers && !number(words[count - 2], header_size)) || header_size > size || size > kMaxMessage) {
    return invalid(line);
  }
  size_t total = begin + size + 2;
  if (bytes.size() < total) {
    needed_ = total;
    return size_t{0};
  }
  if (bytes.substr(total - 2, 2) != "\r\n") return invalid(line);
  auto reply = count == least + 1 ? words[2] : std::string_view();
  std::string_view status;
  if (auto head = bytes.substr(begin, header_size); head.starts_with("NATS/1.0 ")) {
    status = head.substr(9, head.find_first_of(" \r", 9) - 9);
  }
  callbacks_.message(sid, words[0], reply, status, bytes.substr(begin + header_size, size - header_size));
  return total;
}

}  // namespace gantry::bus
