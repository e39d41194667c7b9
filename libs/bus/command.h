// Commands to apigw: request/reply with ids, batches and deadlines. See schemas/command.fbs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/base/result.h"
#include "libs/bus/bus.h"
#include "libs/model/object.h"
#include "schemas/command_generated.h"

namespace gantry::bus {

/// What a read's revision means.
enum class Match : uint8_t {
  kNewest,        // all that was committed before the command came, and `revision` besides
  kAny,           // whatever is at hand
  kNotOlderThan,  // at least `revision`
  kExact,         // as it was at `revision`
};

/// A command as plain values; see schemas/command.fbs for what each field means. An empty id is filled in by the
/// client.
struct Command {
  std::string id;
  Verb verb = Verb::Get;
  std::string resource, subresource, ns, name;
  std::string object, json;  // FlatBuffer, or JSON text
  PatchType patch_type = PatchType::Merge;
  std::string uid;
  uint64_t revision = 0;
  std::string absent_owner_uid;
  std::string lease;
  uint64_t lease_epoch = 0;
  uint64_t sequence_epoch = 0, sequence_number = 0;
  std::optional<int64_t> grace_period_seconds;
  std::string propagation;
  bool dry_run = false;
  std::string field_manager, field_validation;
  bool force = false;
  std::string node;
  std::string label_selector, field_selector;
  uint32_t limit = 0;
  std::string continue_token;
  bool as_json = false, as_table = false;
  std::string because;
  Match match = Match::kNewest;  // only within a gateway: it does not travel
};

struct CommandOutcome {
  uint64_t revision = 0;
  std::string uid;
  std::string object, json;
  struct Item {
    uint64_t revision;
    std::string object;
  };
  std::vector<Item> items;
  std::string continue_token;
  std::vector<std::string> events;  // verified gantry.bus.Event
  uint64_t head = 0;
  std::vector<std::string> warnings;
  bool duplicate = false;
};

using CommandDone = std::function<void(Result<CommandOutcome>)>;

/// Who sends commands: everything outside apigw depends on this interface only.
class Commands {
 public:
  virtual ~Commands() = default;
  /// Sends one command. Commands sent within one turn of the loop travel in one batch per verb. A lost answer is
  /// retried with the same id until the deadline, then kUnknownOutcome. Errors are apigw's.
  virtual void send(Command command, Duration deadline, CommandDone done) = 0;
  void send(Command command, CommandDone done) { send(std::move(command), std::chrono::seconds(10), std::move(done)); }
};

/// Commands over a Bus as `identity` (gantry.cmd.<identity>.<verb>). Loop's thread only; `bus` and `loop` outlive it.
/// Attempts to reach apigw go out at once, again after a part of the deadline, and on each reconnect. kUnavailable:
/// nobody listened until the deadline; kTimeout: a read that got no answer; kTooLarge: the command itself is beyond
/// half of max_payload; kTooManyRequests: 100,000 commands wait here already.
std::unique_ptr<Commands> make_command_client(Loop& loop, Bus& bus, std::string identity);

/// Answers for one command; must be called exactly once, on the loop's thread, in any order.
using Respond = std::function<void(Result<CommandOutcome>)>;
/// `command` is valid until `respond` was called.
using CommandHandler = std::function<void(const std::string& identity, const Command& command, Respond respond)>;

/// The receiving side (apigw): subscribes gantry.cmd.*.* in queue group "apigw", verifies, splits batches, enforces
/// deadlines and a bound on what is in flight (kTooManyRequests beyond), refuses reply subjects outside
/// _INBOX.<identity>., and answers. A repeat of a command that is still being handled waits for its outcome instead of
/// running twice. An answer beyond the bus' max_payload becomes kTooLarge. Destroying it forgets what is in flight; a
/// `respond` after that does nothing.
class CommandServer {
 public:
  virtual ~CommandServer() = default;
  struct Counters {
    uint64_t commands = 0, malformed = 0, foreign_replies = 0, shed = 0, repeats = 0, overdue = 0;
  };
  virtual const Counters& counters() const = 0;
  virtual size_t in_flight() const = 0;
  /// Stops taking new ones; calls back when what is in flight has been answered.
  virtual void drain(std::function<void()> done) = 0;
};
std::unique_ptr<CommandServer> make_command_server(Loop& loop, Bus& bus, CommandHandler handler,
                                                   size_t max_in_flight = 10'000);

/// Encodings, also for the simulation's direct wiring.
std::string encode_batch(const std::vector<const Command*>& commands, uint32_t deadline_millis);
Result<std::vector<Command>> decode_batch(std::string_view bytes);
/// A batch with what is beside the commands.
struct CommandBatchValue {
  std::vector<Command> commands;
  uint32_t deadline_millis = 0;  // 0: none
};
Result<CommandBatchValue> decode_command_batch(std::string_view bytes);
std::string encode_reply(const std::vector<std::pair<std::string, Result<CommandOutcome>>>& results);
Result<std::vector<std::pair<std::string, Result<CommandOutcome>>>> decode_reply(std::string_view bytes);
/// The last token of gantry.cmd.<identity>.<verb>: the verb in lower case.
std::string verb_token(Verb verb);
/// False for verbs that only read: repeating them does no harm and their loss leaves no doubt.
bool changes_state(Verb verb);

}  // namespace gantry::bus
