#include "libs/base/ids.h"
#include "libs/bus/command.h"
#include "libs/bus/subject.h"

namespace gantry::bus {
namespace {

using std::chrono::milliseconds;
using Results = std::vector<std::pair<std::string, Result<CommandOutcome>>>;

class Server final : public CommandServer, public std::enable_shared_from_this<Server> {
 public:
  Server(Loop& loop, Bus& bus, CommandHandler handler, size_t max_in_flight)
      : loop_(loop), bus_(bus), handler_(std::move(handler)), max_in_flight_(max_in_flight) {}

  void start() {
    subscription_ = bus_.subscribe("gantry.cmd.*.*", "apigw", [this](const Message& m) { received(m); });
  }

  void drain(std::function<void()> done) override {
    subscription_.reset();
    drained_ = std::move(done);
    check_drained();
  }
  const Counters& counters() const override { return counters_; }
  size_t in_flight() const override { return running_.size(); }

 private:
  /// One message: answered as a whole when each of its commands is.
  struct Batch {
    std::string reply;
    std::vector<Command> commands;
    std::vector<std::optional<Result<CommandOutcome>>> results;
    size_t open = 0;
    Timer overdue;
    bool answered = false;
  };
  using BatchPtr = std::shared_ptr<Batch>;
  /// One command that the handler has, and everyone who waits for it.
  struct Running {
    Command command;
    std::vector<std::pair<BatchPtr, size_t>> waiters;
  };

  void received(const Message& message) {
    auto tokens = subject_tokens(message.subject);
    auto identity = tokens.size() == 4 ? decode_token(tokens[2]) : std::nullopt;
    if (!identity) {
      ++counters_.malformed;
      return;
    }
    // nats-server lets a client name any reply subject: without this check a client could make the gateway talk on a
    // subject that is not its own.
    if (!message.reply.starts_with(inbox_prefix(*identity) + ".") ||
        message.reply.find_first_of("*> ") != std::string_view::npos) {
      ++counters_.foreign_replies;
      LOG_EVERY_N(WARNING, 100) << "identity=" << *identity << " named the foreign reply subject '" << message.reply
                                << "': refused";
      return;
    }
    auto decoded = decode_command_batch(message.data);
    if (!decoded) {
      ++counters_.malformed;
      send(std::string(message.reply), {{"", decoded.error()}});
      return;
    }
    auto batch = std::make_shared<Batch>();
    batch->reply = message.reply;
    batch->commands = std::move(decoded->commands);
    batch->results.resize(batch->commands.size());
    batch->open = batch->commands.size();
    if (decoded->deadline_millis > 0) {
      batch->overdue = loop_.after(milliseconds(decoded->deadline_millis), [this, weak = std::weak_ptr(batch)] {
        if (auto late = weak.lock()) overdue(late);
      });
    }
    std::string verb(tokens[3]);
    std::weak_ptr<Server> alive = weak_from_this();
    for (size_t i = 0; i < batch->commands.size(); ++i) {
      begin(*identity, verb, batch, i);
      if (alive.expired()) return;
    }
  }

  void begin(const std::string& identity, const std::string& verb, const BatchPtr& batch, size_t i) {
    auto& command = batch->commands[i];
    ++counters_.commands;
    if (verb_token(command.verb) != verb) {
      return settle(
          batch, i,
          Error{Code::kForbidden, fmt::format("a {} command on the subject of {}", verb_token(command.verb), verb)});
    }
    if (command.id.empty() || command.id.size() > 128) {
      return settle(batch, i, Error{Code::kBadRequest, "a command needs an id of 1 to 128 bytes"});
    }
    auto key = identity + '\n' + command.id;
    if (auto it = running_.find(key); it != running_.end()) {
      ++counters_.repeats;
      it->second->waiters.emplace_back(batch, i);
      return;
    }
    if (running_.size() >= max_in_flight_) {
      ++counters_.shed;
      return settle(batch, i,
                    Error{.code = Code::kTooManyRequests, .message = "the gateway is busy", .retry_after_seconds = 1});
    }
    auto running = std::make_shared<Running>();
    running->command = std::move(command);
    batch->commands[i].id = running->command.id;
    batch->commands[i].verb = running->command.verb;
    running->waiters.emplace_back(batch, i);
    running_.emplace(key, running);
    handler_(identity, running->command, [weak = weak_from_this(), running, key](Result<CommandOutcome> result) {
      if (auto self = weak.lock()) self->finished(key, std::move(result));
    });
  }

  void finished(const std::string& key, Result<CommandOutcome> result) {
    auto it = running_.find(key);
    if (it == running_.end()) {
      LOG(DFATAL) << "a command was answered twice";
      return;
    }
    auto running = std::move(it->second);
    running_.erase(it);
    auto waiters = std::move(running->waiters);
    for (size_t i = 0; i + 1 < waiters.size(); ++i) settle(waiters[i].first, waiters[i].second, result);
    settle(waiters.back().first, waiters.back().second, std::move(result));
    check_drained();
  }

  void settle(const BatchPtr& batch, size_t i, Result<CommandOutcome> result) {
    if (batch->answered) return;
    batch->results[i] = std::move(result);
    if (--batch->open == 0) answer(*batch);
  }

  /// The caller has given up by now; tell it what is known, and let go of the batch. What runs goes on.
  void overdue(const BatchPtr& batch) {
    for (size_t i = 0; i < batch->results.size(); ++i) {
      if (batch->results[i]) continue;
      ++counters_.overdue;
      bool unsure = changes_state(batch->commands[i].verb);
      batch->results[i] = Error{unsure ? Code::kUnknownOutcome : Code::kTimeout, "the command's deadline has passed"};
    }
    answer(*batch);
  }

  void answer(Batch& batch) {
    batch.answered = true;
    batch.overdue.reset();
    Results results;
    results.reserve(batch.commands.size());
    for (size_t i = 0; i < batch.commands.size(); ++i) {
      results.emplace_back(batch.commands[i].id, std::move(*batch.results[i]));
    }
    send(batch.reply, std::move(results));
  }

  /// Splits by need: what does not fit is left out and asked for again by the client; what alone does not fit is an
  /// error.
  void send(const std::string& reply, Results results) {
    auto bytes = encode_reply(results);
    while (bytes.size() > bus_.max_payload()) {
      if (results.size() > 1) {
        results.erase(results.begin() + static_cast<ptrdiff_t>(results.size() / 2), results.end());
      } else {
        results.front().second =
            Error{Code::kTooLarge, "the answer is larger than a message may be: ask for less, with limit"};
      }
      bytes = encode_reply(results);
    }
    if (auto status = bus_.publish(reply, bytes); !status) {
      LOG_EVERY_N(WARNING, 100) << "reply=" << reply << " not sent: " << status.error().message;
    }
  }

  void check_drained() {
    if (!drained_ || !running_.empty()) return;
    loop_.post(std::exchange(drained_, nullptr));
  }

  Loop& loop_;
  Bus& bus_;
  CommandHandler handler_;
  size_t max_in_flight_;
  Counters counters_;
  std::unordered_map<std::string, std::shared_ptr<Running>> running_;  // by identity and id
  std::unique_ptr<Subscription> subscription_;
  std::function<void()> drained_;
};

/// What the caller owns: the server itself is shared with the answers that are still to come.
class ServerHandle final : public CommandServer {
 public:
  explicit ServerHandle(std::shared_ptr<Server> server) : server_(std::move(server)) {}
  void drain(std::function<void()> done) override { server_->drain(std::move(done)); }
  const Counters& counters() const override { return server_->counters(); }
  size_t in_flight() const override { return server_->in_flight(); }

 private:
  std::shared_ptr<Server> server_;
};

}  // namespace

std::unique_ptr<CommandServer> make_command_server(Loop& loop, Bus& bus, CommandHandler handler, size_t max_in_flight) {
  auto server = std::make_shared<Server>(loop, bus, std::move(handler), max_in_flight);
  server->start();
  return std::make_unique<ServerHandle>(std::move(server));
}

}  // namespace gantry::bus
