// Reading hiredis replies without stepping outside them. Views are valid as long as the reply.
#pragma once

#include <hiredis/hiredis.h>

#include <charconv>
#include <cstdint>
#include <string_view>

namespace gantry::state {

inline bool is_array(const redisReply* reply) { return reply != nullptr && reply->type == REDIS_REPLY_ARRAY; }
inline bool is_error(const redisReply* reply) { return reply != nullptr && reply->type == REDIS_REPLY_ERROR; }
inline bool is_nil(const redisReply* reply) { return reply == nullptr || reply->type == REDIS_REPLY_NIL; }

/// Empty for what is no text.
inline std::string_view text(const redisReply* reply) {
  if (reply == nullptr || reply->str == nullptr) return {};
  bool textual =
      reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS || reply->type == REDIS_REPLY_ERROR;
  return textual ? std::string_view(reply->str, static_cast<size_t>(reply->len)) : std::string_view();
}

inline uint64_t number(std::string_view digits) {
  uint64_t out = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), out);
  return out;
}

/// An integer, or the leading digits of a text; 0 otherwise.
inline uint64_t number(const redisReply* reply) {
  if (reply != nullptr && reply->type == REDIS_REPLY_INTEGER) return static_cast<uint64_t>(reply->integer);
  return number(text(reply));
}

inline size_t size(const redisReply* reply) { return is_array(reply) ? reply->elements : 0; }
/// nullptr beyond the end.
inline const redisReply* at(const redisReply* reply, size_t i) { return i < size(reply) ? reply->element[i] : nullptr; }

}  // namespace gantry::state
