#include "services/apigw/commands/history.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "libs/base/ids.h"
#include "libs/bus/subject.h"
#include "libs/model/json.h"
#include "libs/model/served.h"
#include "schemas/bus_generated.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr Duration kAnswer = std::chrono::seconds(5);  // of JetStream's, and between two messages
constexpr uint32_t kPage = 1000;
constexpr size_t kPageBytes = 3 << 20;

uint64_t number(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// What JetStream says of a message, in its reply subject:
/// $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<stream sequence>.<consumer sequence>.<time>.<pending>
struct Place {
  uint64_t sequence = 0, pending = 0;
};
std::optional<Place> place_of(std::string_view reply) {
  const auto tokens = bus::subject_tokens(reply);
  const size_t skip = tokens.size() >= 11 ? 2 : 0;
  if (tokens.size() < 9 + skip || tokens[0] != "$JS" || tokens[1] != "ACK") return std::nullopt;
  return Place{number(tokens[5 + skip]), number(tokens[8 + skip])};
}

std::string subject_of(const model::Kind& kind, const bus::Command& command) {
  const std::string ns = !kind.namespaced ? "_" : command.ns.empty() ? "*" : encode_token(command.ns);
  const std::string name = command.name.empty() ? "*" : encode_token(command.name);
  return fmt::format("gantry.events.{}.*.{}.{}", encode_token(kind.resource), ns, name);
}

/// One page: looks at the stream, makes a consumer that ends by itself, takes what it has. Keeps itself alive.
class Reading : public std::enable_shared_from_this<Reading> {
 public:
  Reading(Loop& loop, bus::Bus& bus, std::string stream, std::string subject, const bus::Command& command,
          bus::Respond respond)
      : loop_(loop),
        bus_(bus),
        stream_(std::move(stream)),
        subject_(std::move(subject)),
        from_(number(command.continue_token)),
        limit_(command.limit == 0 ? kPage : std::min(command.limit, kPage)),
        respond_(std::move(respond)) {}

  void start() {
    ask("STREAM.INFO." + stream_, "", [self = shared_from_this()](const json& info) {
      const auto state = info.value("state", json::object());
      if (state.value("messages", uint64_t{0}) == 0) {
        self->outcome_.json = json{{"since", self->loop_.wall()}}.dump();
        return self->finish();
      }
      const auto since = model::parse_time(state.value("first_ts", ""));
      self->outcome_.json = json{{"since", since.ok() ? *since : 0}}.dump();
      self->consume();
    });
  }

 private:
  void ask(const std::string& what, const std::string& body, std::function<void(const json&)> then) {
    bus_.request("$JS.API." + what, body, kAnswer,
                 [self = shared_from_this(), then = std::move(then)](const Result<std::string>& reply) {
                   if (!reply.ok()) return self->fail(reply.error().message);
                   const auto answer = json::parse(*reply, nullptr, false);
                   if (!answer.is_object()) return self->fail("an answer that is not JSON");
                   if (answer.contains("error")) return self->fail(answer["error"].value("description", "an error"));
                   then(answer);
                 });
  }

  void consume() {
    json config = {{"ack_policy", "none"},
                   {"deliver_policy", from_ == 0 ? "all" : "by_start_sequence"},
                   {"filter_subject", subject_},
                   {"replay_policy", "instant"},
                   {"inactive_threshold", 10'000'000'000},
                   {"mem_storage", true}};
    if (from_ != 0) config["opt_start_seq"] = from_;
    ask("CONSUMER.CREATE." + stream_, json{{"stream_name", stream_}, {"config", config}}.dump(),
        [self = shared_from_this()](const json& made) {
          if (made.value("num_pending", uint64_t{0}) == 0) return self->finish();
          self->take(made.value("name", ""));
        });
  }

  void take(const std::string& consumer) {
    const std::string inbox = fmt::format("{}.history.{}", bus::inbox_prefix("apigw"), encode_token(new_uid()));
    taking_ = bus_.subscribe(inbox, "", [self = shared_from_this()](const bus::Message& m) { self->took(m); });
    const json next = {{"batch", limit_}, {"max_bytes", kPageBytes}, {"no_wait", true}};
    auto sent = bus_.publish(fmt::format("$JS.API.CONSUMER.MSG.NEXT.{}.{}", stream_, consumer), next.dump(), inbox);
    if (!sent.ok()) return fail(sent.error().message);
    wait();
  }

  void wait() {
    limit_timer_ = loop_.after(kAnswer, [self = shared_from_this()] { self->fail("it stopped in the middle"); });
  }

  void took(const bus::Message& message) {
    if (!respond_) return;
    const auto place = place_of(message.reply);
    if (!place) return finish();  // a status: no more within this batch
    pending_ = place->pending;
    last_ = place->sequence;
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(message.data.data()), message.data.size());
    if (verifier.VerifyBuffer<bus::Event>(nullptr)) outcome_.events.emplace_back(message.data);
    if (++taken_ >= limit_ || pending_ == 0) return finish();
    wait();
  }

  void finish() {
    if (!respond_) return;
    if (pending_ > 0) outcome_.continue_token = std::to_string(last_ + 1);
    end(std::move(outcome_));
  }
  void fail(const std::string& why) {
    if (respond_) end(Error{Code::kUnavailable, fmt::format("the event history cannot be read: {}", why)});
  }
  void end(Result<bus::CommandOutcome> outcome) {
    auto respond = std::move(respond_);
    respond_ = nullptr;
    // Not from inside what is being destroyed.
    loop_.post([self = shared_from_this()] {
      self->taking_.reset();
      self->limit_timer_.reset();
    });
    respond(std::move(outcome));
  }

  Loop& loop_;
  bus::Bus& bus_;
  const std::string stream_, subject_;
  const uint64_t from_;
  const uint32_t limit_;
  bus::Respond respond_;
  bus::CommandOutcome outcome_;
  std::unique_ptr<bus::Subscription> taking_;
  Timer limit_timer_;
  uint64_t pending_ = 0, last_ = 0;
  uint32_t taken_ = 0;
};

}  // namespace

bus::CommandHandler with_history(Loop& loop, bus::Bus& bus, const Api& api, std::string stream,
                                 bus::CommandHandler next) {
  return [&loop, &bus, &api, stream = std::move(stream), next = std::move(next)](
             const std::string& name, const bus::Command& command, bus::Respond respond) {
    const bool one = command.verb == bus::Verb::Get, many = command.verb == bus::Verb::List;
    if (command.subresource != kHistory || !(one || many)) return next(name, command, std::move(respond));
    const auto* kind = model::Schema::get().by_resource(command.resource);
    if (kind == nullptr || !model::stored(*kind))
      return respond(Error{Code::kNotFound, "the server could not find the requested resource"});
    if (one == command.name.empty()) return respond(Error{Code::kBadRequest, "name one object, or list them"});
    const std::string ns = kind->namespaced ? command.ns : "";
    if (one && kind->namespaced && ns.empty())
      return respond(Error{Code::kBadRequest, "the object's namespace is missing"});
    const auto allowed = api.authorize(identity_of_bus(name),
                                       {one ? "get" : "list", command.resource, "", ns, command.name, {}, false, {}});
    if (!allowed.ok()) return respond(allowed.error());
    std::make_shared<Reading>(loop, bus, stream, subject_of(*kind, command), command, std::move(respond))->start();
  };
}

}  // namespace gantry::apigw
