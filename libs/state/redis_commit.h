// A commit as the arguments of scripts/commit.lua, and its answer as a Result. Pure.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"
#include "libs/state/store.h"

struct redisReply;

namespace gantry::state {

/// Commits that go to Redis together, as the arguments of commit.lua. All of them are one MessagePack text, a list of
/// texts for each: from a client Redis reads 16 KB at a time, each time followed by an fsync of what that completed,
/// unless a single argument is large.
class CommitArguments {
 public:
  void add(const Commit& commit, std::string_view attempt);
  /// Views into this and `token`.
  std::vector<std::string_view> with_token(std::string_view token);

 private:
  void add(const Guard& guard);
  void add(const Operation& operation);
  void add_dependents(const Operation& operation);
  void push(std::string_view text);
  void push(std::initializer_list<std::string_view> texts) {
    for (auto text : texts) push(text);
  }

  /// The head of a list stands at `at`; 5 bytes.
  void set_list(size_t at, uint32_t count);

  std::string blob_ = std::string(5, '\0');
  uint32_t commits_ = 0, count_ = 0;  // of the list that is being written
  std::string window_;
};

/// `<namespace>/<name>`, the field of an object in `:obj`.
std::string object_field(const Key& key);
Key parse_field(std::string resource, std::string_view field);

/// What commit.lua answered for one commit.
enum class CommitAnswer : uint8_t {
  kOutcome,
  kFenced,
  kFailed,  // `message` has the server's words
};
struct CommitReply {
  CommitAnswer answer = CommitAnswer::kOutcome;
  Result<Committed> outcome;
  std::string_view message;  // into the reply
};
CommitReply parse_commit_reply(const Commit& commit, const redisReply* reply);
/// The answer for all: none was looked at, because the epoch has moved.
bool is_stale(const redisReply* reply);
/// `+<revision> <revision>...`, the record of a command id.
Committed parse_record(std::string_view record);

}  // namespace gantry::state
