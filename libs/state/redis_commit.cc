#include "libs/state/redis_commit.h"

#include <fmt/format.h>

#include <cstring>
#include <optional>
#include <set>

#include "libs/base/ids.h"
#include "libs/state/failures.h"
#include "libs/state/redis_reply.h"
#include "schemas/bus_generated.h"

namespace gantry::state {
namespace {

/// Both halves padded, so that the script compares them as text without rounding.
std::string print_sequence(uint64_t epoch, uint64_t number) { return fmt::format("{:020}.{:020}", epoch, number); }

/// "<first> <last>", counted from 1, of the object's bytes in the event, which most events carry: they travel once
/// then.
std::optional<std::string> place_in_event(const Operation& operation) {
  const auto* object = flatbuffers::GetRoot<bus::Event>(operation.event.data())->object();  // verified by check_commit
  if (object == nullptr || object->size() == 0 || object->size() != operation.object.size() ||
      std::memcmp(object->data(), operation.object.data(), object->size()) != 0) {
    return std::nullopt;
  }
  const auto first = reinterpret_cast<const char*>(object->data()) - operation.event.data() + 1;
  return fmt::format("{} {}", first, first + object->size() - 1);
}

}  // namespace

std::string object_field(const Key& key) { return key.ns + '/' + key.name; }

Key parse_field(std::string resource, std::string_view field) {
  auto slash = field.find('/');  // a namespace has none
  if (slash == std::string_view::npos) return {std::move(resource), "", std::string(field)};
  return {std::move(resource), std::string(field.substr(0, slash)), std::string(field.substr(slash + 1))};
}

void CommitArguments::push(std::string_view text) {
  ++count_;
  const auto size = static_cast<uint32_t>(text.size());
  const auto byte = [&](uint32_t value) { blob_.push_back(static_cast<char>(value & 0xff)); };
  if (size < 32) {
    byte(0xa0 | size);
  } else if (size < 0x10000) {
    byte(0xda), byte(size >> 8), byte(size);
  } else {
    byte(0xdb), byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size);
  }
  blob_.append(text);
}

void CommitArguments::set_list(size_t at, uint32_t count) {
  blob_[at] = static_cast<char>(0xdd);
  for (size_t i = 0; i < 4; ++i) blob_[at + 1 + i] = static_cast<char>(count >> (24 - 8 * i) & 0xff);
}

std::vector<std::string_view> CommitArguments::with_token(std::string_view token) {
  set_list(0, commits_);
  window_ = std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(kCommandWindow).count());
  return {token, window_, blob_};
}

void CommitArguments::add(const Commit& commit, std::string_view attempt) {
  const size_t head = blob_.size();
  blob_.append(5, '\0');
  count_ = 0;
  ++commits_;
  push({commit.command_id, attempt, std::to_string(commit.guards.size())});
  for (const auto& guard : commit.guards) add(guard);
  for (const auto& operation : commit.operations) add(operation);
  set_list(head, count_);
}

void CommitArguments::add(const Guard& guard) {
  const auto put = [&](std::string_view kind, std::string_view p, std::string_view q = {}, std::string_view x = {},
                       std::string_view y = {}) {
    push({kind, p, q, x, y});
  };
  switch (guard.kind) {
    case Guard::Kind::kRevision:
      return put("r", guard.key.resource, object_field(guard.key), std::to_string(guard.number));
    case Guard::Kind::kUid:
      return put("u", guard.key.resource, object_field(guard.key), guard.text);
    case Guard::Kind::kUidAbsent:
      return put("a", guard.text);
    case Guard::Kind::kUidPresent:
      return put("p", guard.text);
    case Guard::Kind::kClaimAbsent:
      return put("c", guard.text);
    case Guard::Kind::kCounter:
      return put("n", guard.text, {}, std::to_string(guard.number), std::to_string(guard.delta));
    case Guard::Kind::kLease:
      return put("l", guard.text, {}, std::to_string(guard.number));
    case Guard::Kind::kSequence:
      return put("s", guard.text, {}, print_sequence(guard.number, guard.number2));
  }
}

void CommitArguments::add(const Operation& operation) {
  switch (operation.kind) {
    case Operation::Kind::kPut:
      if (auto place = place_in_event(operation)) {
        push({"Q", operation.key.resource, object_field(operation.key), operation.uid, *place, operation.event});
      } else {
        push({"P", operation.key.resource, object_field(operation.key), operation.uid, operation.object,
              operation.event});
      }
      push({encode_token(operation.node), encode_token(operation.old_node), encode_token(operation.key.ns)});
      return add_dependents(operation);
    case Operation::Kind::kDelete:
      push({"D", operation.key.resource, object_field(operation.key), operation.uid, operation.event,
            encode_token(operation.node), encode_token(operation.key.ns)});
      return add_dependents(operation);
    case Operation::Kind::kClaim:
      return push({"C", operation.text, operation.uid});
    case Operation::Kind::kRelease:
      return push({"R", operation.text, operation.uid});
    case Operation::Kind::kCount:
      return push({"N", operation.text, std::to_string(operation.delta)});
    case Operation::Kind::kShare:
      return push(
          {"S", operation.text, operation.uid, std::to_string(operation.number), std::to_string(operation.delta)});
    case Operation::Kind::kCloseAccount:
      return push({"X", operation.text});
    case Operation::Kind::kLease:
      return push({"L", operation.text, std::to_string(operation.number)});
  }
}

void CommitArguments::add_dependents(const Operation& operation) {
  // Each chain gets one entry for a revision: the object's own partition has it already.
  std::set<std::string_view> told{operation.node};
  std::vector<std::string_view> nodes;
  for (const auto& node : operation.dependents) {
    if (told.insert(node).second) nodes.push_back(node);
  }
  push(std::to_string(nodes.size()));
  for (const auto node : nodes) push(encode_token(node));
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
