#include "libs/state/redis_commit.h"

#include <fmt/format.h>

#include <set>

#include "libs/base/ids.h"
#include "libs/state/failures.h"
#include "libs/state/redis_reply.h"

namespace gantry::state {
namespace {

/// Both halves padded, so that the script compares them as text without rounding.
std::string print_sequence(uint64_t epoch, uint64_t number) { return fmt::format("{:020}.{:020}", epoch, number); }

}  // namespace

std::string object_field(const Key& key) { return key.ns + '/' + key.name; }

Key parse_field(std::string resource, std::string_view field) {
  auto slash = field.find('/');  // a namespace has none
  if (slash == std::string_view::npos) return {std::move(resource), "", std::string(field)};
  return {std::move(resource), std::string(field.substr(0, slash)), std::string(field.substr(slash + 1))};
}

CommitArguments::CommitArguments() {
  auto window = std::chrono::duration_cast<std::chrono::milliseconds>(kCommandWindow).count();
  argv_.insert(argv_.end(), {"", hold(std::to_string(window))});
}

void CommitArguments::add(const Commit& commit, std::string_view attempt) {
  const size_t start = argv_.size();
  argv_.insert(argv_.end(),
               {"", commit.command_id, hold(std::string(attempt)), hold(std::to_string(commit.guards.size()))});
  for (const auto& guard : commit.guards) add(guard);
  for (const auto& operation : commit.operations) add(operation);
  argv_[start] = hold(std::to_string(argv_.size() - start - 1));
}

const std::vector<std::string_view>& CommitArguments::with_token(std::string_view token) {
  argv_[0] = token;
  return argv_;
}

void CommitArguments::add(const Guard& guard) {
  auto push = [&](std::string_view kind, std::string_view p, std::string_view q = {}, std::string_view x = {},
                  std::string_view y = {}) {
    argv_.insert(argv_.end(), {kind, p, q, x, y});
  };
  switch (guard.kind) {
    case Guard::Kind::kRevision:
      return push("r", guard.key.resource, hold(object_field(guard.key)), hold(std::to_string(guard.number)));
    case Guard::Kind::kUid:
      return push("u", guard.key.resource, hold(object_field(guard.key)), guard.text);
    case Guard::Kind::kUidAbsent:
      return push("a", guard.text);
    case Guard::Kind::kUidPresent:
      return push("p", guard.text);
    case Guard::Kind::kClaimAbsent:
      return push("c", guard.text);
    case Guard::Kind::kCounter:
      return push("n", guard.text, {}, hold(std::to_string(guard.number)), hold(std::to_string(guard.delta)));
    case Guard::Kind::kLease:
      return push("l", guard.text, {}, hold(std::to_string(guard.number)));
    case Guard::Kind::kSequence:
      return push("s", guard.text, {}, hold(print_sequence(guard.number, guard.number2)));
  }
}

void CommitArguments::add(const Operation& operation) {
  switch (operation.kind) {
    case Operation::Kind::kPut:
      argv_.insert(argv_.end(), {"P", operation.key.resource, hold(object_field(operation.key)), operation.uid,
                                 operation.object, operation.event, hold(encode_token(operation.node)),
                                 hold(encode_token(operation.old_node)), hold(encode_token(operation.key.ns))});
      return add_dependents(operation);
    case Operation::Kind::kDelete:
      argv_.insert(argv_.end(),
                   {"D", operation.key.resource, hold(object_field(operation.key)), operation.uid, operation.event,
                    hold(encode_token(operation.node)), hold(encode_token(operation.key.ns))});
      return add_dependents(operation);
    case Operation::Kind::kClaim:
      argv_.insert(argv_.end(), {"C", operation.text, operation.uid});
      return;
    case Operation::Kind::kRelease:
      argv_.insert(argv_.end(), {"R", operation.text, operation.uid});
      return;
    case Operation::Kind::kCount:
      argv_.insert(argv_.end(), {"N", operation.text, hold(std::to_string(operation.delta))});
      return;
    case Operation::Kind::kLease:
      argv_.insert(argv_.end(), {"L", operation.text, hold(std::to_string(operation.number))});
      return;
  }
}

void CommitArguments::add_dependents(const Operation& operation) {
  // Each chain gets one entry for a revision: the object's own partition has it already.
  std::set<std::string_view> told{operation.node};
  std::vector<std::string_view> tokens;
  for (const auto& node : operation.dependents) {
    if (told.insert(node).second) tokens.push_back(hold(encode_token(node)));
  }
  argv_.push_back(hold(std::to_string(tokens.size())));
  argv_.insert(argv_.end(), tokens.begin(), tokens.end());
}

CommitReply parse_commit_reply(const Commit& commit, const redisReply* reply) {
  auto internal = [](std::string_view what) {
    return CommitReply{.answer = CommitAnswer::kOutcome,
                       .outcome = Error{.code = Code::kInternal, .message = fmt::format("commit.lua: {}", what)},
                       .message = {}};
  };
  if (!is_array(reply)) return internal("an answer that it never gives");
  auto tag = text(at(reply, 0));
  if (tag == "E") return {.answer = CommitAnswer::kFailed, .outcome = Committed{}, .message = text(at(reply, 1))};
  if (tag == "!") return {.answer = CommitAnswer::kFenced, .outcome = Committed{}, .message = {}};
  if (tag == "+" || tag == "=") {
    Committed out{.revisions = {}, .duplicate = tag == "="};
    for (size_t i = 1; i < size(reply); ++i) out.revisions.push_back(number(at(reply, i)));
    return {.answer = CommitAnswer::kOutcome, .outcome = std::move(out), .message = {}};
  }
  if (tag != "-") return internal("an answer that it never gives");
  auto index = number(at(reply, 3));
  auto why = text(at(reply, 1)), holder = text(at(reply, 5));
  auto current = number(at(reply, 4));
  if (text(at(reply, 2)) == "g" && index >= 1 && index <= commit.guards.size()) {
    const auto& guard = commit.guards[index - 1];
    return {.answer = CommitAnswer::kOutcome,
            .outcome = failure(why, guard.key, guard.text, current, holder),
            .message = {}};
  }
  if (index >= 1 && index <= commit.operations.size()) {
    const auto& operation = commit.operations[index - 1];
    return {.answer = CommitAnswer::kOutcome,
            .outcome = failure(why, operation.key, operation.text, current, holder),
            .message = {}};
  }
  return internal("an index that the commit does not have");
}

bool is_stale(const redisReply* reply) { return is_array(reply) && text(at(reply, 0)) == "~"; }

Committed parse_record(std::string_view record) {
  Committed out;
  for (size_t begin = 1; begin < record.size();) {
    auto digits = record.substr(begin, record.find(' ', begin) - begin);
    out.revisions.push_back(number(digits));
    begin += digits.size() + 1;
  }
  return out;
}

}  // namespace gantry::state
