#include "libs/bus/session.h"

#include "libs/base/ids.h"
#include "libs/bus/session_core.h"
#include "libs/bus/subject.h"

namespace gantry::bus {
namespace {

constexpr Duration kOpenTimeout = std::chrono::seconds(10);
constexpr Duration kClientOpenTimeout = std::chrono::seconds(15);  // the gateway waits for the node meanwhile
constexpr size_t kMaxId = 128;
constexpr size_t kRememberedIds = 1000;  // so that a doubled request does not open twice

// Where sessions are asked for, and where the frames of one travel.
std::string node_open(std::string_view node) { return fmt::format("gantry.node.{}.down.session", encode_token(node)); }
std::string node_frames(std::string_view node, std::string_view id) {
  return fmt::format("gantry.session.{}.{}", encode_token(node), encode_token(id));
}
std::string client_open(std::string_view identity) {
  return fmt::format("gantry.client.{}.open", encode_token(identity));
}
std::string client_frames(std::string_view identity, std::string_view id) {
  return fmt::format("gantry.client.{}.{}", encode_token(identity), encode_token(id));
}

class Handle final : public Session {
 public:
  explicit Handle(std::shared_ptr<SessionCore> core) : core_(std::move(core)) {}
  ~Handle() override { core_->abandon(); }
  bool write(node::Channel channel, std::string_view data) override { return core_->write(channel, data); }
  void end(node::Channel channel) override { core_->end(channel); }
  void consume(size_t bytes) override { core_->consume(bytes); }
  void close(SessionEnd end) override { core_->close(std::move(end)); }
  size_t queued() const override { return core_->queued(); }

 private:
  std::shared_ptr<SessionCore> core_;
};

std::string str(const flatbuffers::String* s) { return s == nullptr ? std::string() : s->str(); }

std::string encode_open(const std::string& id, const SessionRequest& r) {
  flatbuffers::FlatBufferBuilder b;
  std::vector<flatbuffers::Offset<flatbuffers::String>> words;
  for (const auto& word : r.command) words.push_back(b.CreateString(word));
  if (!r.address.empty()) words = {b.CreateString(r.tls ? "tls" : "tcp"), b.CreateString(r.address)};
  auto command = b.CreateVector(words);
  auto id_text = b.CreateString(id), ns = b.CreateString(r.ns), pod = b.CreateString(r.pod),
       uid = b.CreateString(r.uid), container = b.CreateString(r.container);
  node::LogOptionsBuilder l(b);
  l.add_follow(r.follow);
  l.add_previous(r.previous);
  l.add_timestamps(r.timestamps);
  if (r.tail_lines) l.add_tail_lines(*r.tail_lines);
  if (r.since_seconds) l.add_since_seconds(*r.since_seconds);
  if (r.since_time) l.add_since_time(*r.since_time);
  if (r.limit_bytes) l.add_limit_bytes(*r.limit_bytes);
  auto logs = l.Finish();
  node::SessionOpenBuilder o(b);
  o.add_id(id_text);
  o.add_kind(r.kind);
  o.add_namespace_(ns);
  o.add_pod(pod);
  o.add_uid(uid);
  o.add_container(container);
  o.add_command(command);
  o.add_stdin(r.in);
  o.add_stdout(r.out);
  o.add_stderr(r.err);
  o.add_tty(r.tty);
  o.add_logs(logs);
  o.add_port(r.port);
  o.add_credit(kSessionWindow);
  b.Finish(o.Finish());
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

SessionRequest decode_open(const node::SessionOpen& o) {
  SessionRequest r;
  r.kind = o.kind();
  r.ns = str(o.namespace_());
  r.pod = str(o.pod());
  r.uid = str(o.uid());
  r.container = str(o.container());
  if (o.command() != nullptr) {
    for (const auto* word : *o.command()) r.command.push_back(word->str());
  }
  r.in = o.stdin();
  r.out = o.stdout();
  r.err = o.stderr();
  r.tty = o.tty();
  if (const auto* l = o.logs()) {
    auto optional = [](const auto& value) { return value ? std::optional<int64_t>(*value) : std::nullopt; };
    r.follow = l->follow();
    r.previous = l->previous();
    r.timestamps = l->timestamps();
    r.tail_lines = optional(l->tail_lines());
    r.since_seconds = optional(l->since_seconds());
    r.since_time = optional(l->since_time());
    r.limit_bytes = optional(l->limit_bytes());
  }
  r.port = o.port();
  if (r.kind == node::SessionKind::PortForward && r.pod.empty() && r.command.size() == 2) {
    r.tls = r.command[0] == "tls";
    r.address = r.command[1];
    r.command.clear();
  }
  return r;
}

std::string encode_accepted(const Error* error) {
  flatbuffers::FlatBufferBuilder b;
  flatbuffers::Offset<flatbuffers::String> text;
  if (error != nullptr) text = b.CreateString(error->message);
  b.Finish(
      node::CreateSessionAccepted(b, error != nullptr ? static_cast<uint8_t>(error->code) : 0, text, kSessionWindow));
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

/// The credit that the node grants, or its error.
Result<size_t> decode_accepted(std::string_view bytes) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (!verifier.VerifyBuffer<node::SessionAccepted>(nullptr))
    return Error{Code::kInternal, "the answer to a session request is malformed"};
  const auto& accepted = *flatbuffers::GetRoot<node::SessionAccepted>(bytes.data());
  if (accepted.error_code() == 0) return size_t{accepted.credit()};
  auto code = static_cast<Code>(accepted.error_code());
  return Error{code <= Code::kTooLargeRevision ? code : Code::kInternal, str(accepted.error())};
}

/// Turns requests into offers; doubled ones count once.
class Acceptor final : public Subscription {
 public:
  /// `frames`: the subject prefix of the session `id` that was asked for by this message; nothing: not ours to answer.
  using Frames = std::function<std::optional<std::string>(const Message&, const std::string& id)>;
  using Offered = std::function<void(const Message&, SessionAcceptor::Offer)>;
  Acceptor(Loop& loop, Bus& bus, std::string subject, std::string queue, Frames frames, Offered offered)
      : loop_(loop), bus_(bus), frames_(std::move(frames)), offered_(std::move(offered)) {
    subscription_ =
        bus_.subscribe(std::move(subject), std::move(queue), [this](const Message& message) { received(message); });
  }
  uint64_t dropped() const override { return subscription_->dropped(); }

 private:
  void received(const Message& message) {
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(message.data.data()), message.data.size());
    if (message.reply.empty() || !verifier.VerifyBuffer<node::SessionOpen>(nullptr)) {
      LOG_EVERY_N(WARNING, 100) << "a malformed session request on " << message.subject;
      return;
    }
    const auto& open = *flatbuffers::GetRoot<node::SessionOpen>(message.data.data());
    auto id = str(open.id());
    if (id.empty() || id.size() > kMaxId) return;
    auto frames = frames_(message, id);
    if (!frames || !seen_.insert(*frames).second) return;
    order_.push_back(*frames);
    if (order_.size() > kRememberedIds) {
      seen_.erase(order_.front());
      order_.pop_front();
    }
    SessionAcceptor::Offer offer;
    offer.request = decode_open(open);
    offer.accept = [&loop = loop_, &bus = bus_, frames = *frames, reply = std::string(message.reply),
                    credit = open.credit()](Session::Callbacks callbacks) -> std::unique_ptr<Session> {
      auto core = std::make_shared<SessionCore>(loop, bus, frames + ".out");
      core->listen(frames + ".in");
      core->start(std::move(callbacks), credit);
      (void)bus.publish(reply, encode_accepted(nullptr));
      return std::make_unique<Handle>(std::move(core));
    };
    offer.refuse = [&bus = bus_, reply = std::string(message.reply)](Error error) {
      (void)bus.publish(reply, encode_accepted(&error));
    };
    offered_(message, std::move(offer));
  }

  Loop& loop_;
  Bus& bus_;
  Frames frames_;
  Offered offered_;
  std::unordered_set<std::string> seen_;
  std::deque<std::string> order_;
  std::unique_ptr<Subscription> subscription_;
};

/// The identity in gantry.client.<identity>.open, if the reply goes to its own inbox: nats-server lets a client name
/// any reply subject.
std::optional<std::string> client_of(const Message& message) {
  auto tokens = subject_tokens(message.subject);
  auto identity = tokens.size() == 4 ? decode_token(tokens[2]) : std::nullopt;
  if (!identity) return std::nullopt;
  if (!message.reply.starts_with(inbox_prefix(*identity) + ".") ||
      message.reply.find_first_of("*> ") != std::string_view::npos) {
    LOG_EVERY_N(WARNING, 100) << "identity=" << *identity << " named the foreign reply subject '" << message.reply
                              << "': refused";
    return std::nullopt;
  }
  return identity;
}

/// `peer`: who is asked, for errors.
void open_at(Loop& loop, Bus& bus, const std::string& subject, const std::string& id, const std::string& frames,
             const std::string& peer, Duration timeout, const SessionRequest& request, Session::Callbacks callbacks,
             std::function<void(Result<std::unique_ptr<Session>>)> done) {
  auto core = std::make_shared<SessionCore>(loop, bus, frames + ".in");
  core->listen(frames + ".out");
  bus.request(
      subject, encode_open(id, request), timeout,
      [core, peer, callbacks = std::move(callbacks), done = std::move(done)](Result<std::string> reply) {
        if (!reply) {
          core->disown();  // it may have opened although we did not hear of it
          return done(Error{Code::kUnavailable, fmt::format("{} does not answer: {}", peer, reply.error().message)});
        }
        auto credit = decode_accepted(*reply);
        if (!credit) {
          core->abandon();
          return done(credit.error());
        }
        core->start(callbacks, *credit);
        done(std::unique_ptr<Session>(std::make_unique<Handle>(core)));
      });
}

}  // namespace

void open_session(Loop& loop, Bus& bus, const std::string& node, const SessionRequest& request,
                  Session::Callbacks callbacks, std::function<void(Result<std::unique_ptr<Session>>)> done) {
  auto id = new_uid();
  open_at(loop, bus, node_open(node), id, node_frames(node, id), "node " + node, kOpenTimeout, request,
          std::move(callbacks), std::move(done));
}

void open_client_session(Loop& loop, Bus& bus, const std::string& identity, const SessionRequest& request,
                         Session::Callbacks callbacks, std::function<void(Result<std::unique_ptr<Session>>)> done) {
  auto id = new_uid();
  open_at(loop, bus, client_open(identity), id, client_frames(identity, id), "the gateway", kClientOpenTimeout, request,
          std::move(callbacks), std::move(done));
}

std::unique_ptr<Subscription> accept_sessions(Loop& loop, Bus& bus, const std::string& node,
                                              std::function<void(SessionAcceptor::Offer)> handler) {
  return std::make_unique<Acceptor>(
      loop, bus, node_open(node), "",
      [node](const Message&, const std::string& id) { return std::optional(node_frames(node, id)); },
      [handler = std::move(handler)](const Message&, SessionAcceptor::Offer offer) { handler(std::move(offer)); });
}

std::unique_ptr<Subscription> accept_client_sessions(
    Loop& loop, Bus& bus, std::function<void(const std::string& identity, SessionAcceptor::Offer)> handler) {
  return std::make_unique<Acceptor>(
      loop, bus, "gantry.client.*.open", "apigw",
      [](const Message& message, const std::string& id) -> std::optional<std::string> {
        auto identity = client_of(message);
        if (!identity) return std::nullopt;
        return client_frames(*identity, id);
      },
      [handler = std::move(handler)](const Message& message, SessionAcceptor::Offer offer) {
        handler(*client_of(message), std::move(offer));
      });
}

}  // namespace gantry::bus
