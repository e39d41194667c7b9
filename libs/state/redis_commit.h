// A commit as the arguments of scripts/commit.lua, and its answer as a Result. Pure.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"
#include "libs/state/store.h"

struct redisReply;

namespace gantry::state {

/// Commits that go to Redis together. Views into the commits, which must outlive it.
class CommitArguments {
 public:
  CommitArguments();
  void add(const Commit& commit, std::string_view attempt);
  const std::vector<std::string_view>& with_token(std::string_view token);

 private:
  void add(const Guard& guard);
  void add(const Operation& operation);
  void add_dependents(const Operation& operation);
  std::string_view hold(std::string text) { return held_.emplace_back(std::move(text)); }

  std::deque<std::string> held_;  // a deque: views into it stay valid
  std::vector<std::string_view> argv_;
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
