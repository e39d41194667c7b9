// GET pods/<name>/log: a session with the pod's node, streamed as it comes, as slowly as the client reads.
#include <fmt/format.h>

#include <charconv>

#include "libs/model/json.h"
#include "services/apigw/rest/rest.h"
#include "services/apigw/sessions/pod_target.h"
#include "services/apigw/streams/streams.h"

namespace gantry::apigw {
namespace {

class LogStream : public std::enable_shared_from_this<LogStream> {
 public:
  LogStream(Loop& loop, bool follow, std::shared_ptr<http::Responder> responder)
      : loop_(loop), follow_(follow), responder_(std::move(responder)) {}

  void open(bus::Bus& bus, const PodTarget& target) {
    keep_ = shared_from_this();
    responder_->on_close([this] { finish(); });
    bus::Session::Callbacks callbacks;
    callbacks.data = [this](node::Channel, std::string_view data, bool) { write(data); };
    callbacks.closed = [this](const bus::SessionEnd& end) { closed(end); };
    bus::open_session(loop_, bus, target.node, target.request, std::move(callbacks),
                      [this, self = shared_from_this()](Result<std::unique_ptr<bus::Session>> session) {
                        if (!session.ok()) {
                          refuse_stream(*responder_, session.error());
                          return finish();
                        }
                        if (finished_) return;  // the client left meanwhile: dropping the session tells the node
                        session_ = std::move(*session);
                        start();
                        if (owed_ > 0) session_->consume(std::exchange(owed_, 0));
                      });
  }

 private:
  void start() {
    if (std::exchange(started_, true) || finished_) return;
    responder_->start(200, {{"Content-Type", "text/plain"}}, follow_ ? http::Length::kEndless : http::Length::kFinite);
  }

  void write(std::string_view data) {
    if (finished_) return;
    start();
    responder_->write(data);
    owed_ += data.size();
    if (responder_->buffered() < http::kHighWater) return repay();
    responder_->on_drained([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->repay();
    });
  }

  void repay() {
    if (session_ && owed_ > 0) session_->consume(std::exchange(owed_, 0));
  }

  void closed(const bus::SessionEnd& end) {
    if (finished_) return;
    if (!end.error.empty()) {
      LOG(WARNING) << "log stream broke off: " << end.error;
      if (!started_) {
        send_failure(*responder_, {Code::kInternal, end.error});
      } else {
        responder_->abort();
      }
    } else {
      start();
      responder_->end();
    }
    finish();
  }

  void finish() {
    if (std::exchange(finished_, true)) return;
    loop_.post([self = shared_from_this()] {
      self->session_.reset();
      self->keep_.reset();
    });
  }

  Loop& loop_;
  bool follow_;
  std::shared_ptr<http::Responder> responder_;
  std::unique_ptr<bus::Session> session_;
  std::shared_ptr<LogStream> keep_;
  size_t owed_ = 0;
  bool started_ = false, finished_ = false;
};

Status read_number(const http::Query& query, const char* name, int64_t least, std::optional<int64_t>& out) {
  const auto* text = query.find(name);
  if (text == nullptr) return Done{};
  int64_t value = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) {
    return Error{Code::kBadRequest, fmt::format("invalid value for {}: {}", name, *text)};
  }
  if (value < least) {
    Error invalid{
        Code::kInvalid,
        fmt::format("PodLogOptions \"\" is invalid: {}: Invalid value: {}: must be greater than or equal to {}", name,
                    value, least)};
    invalid.causes.push_back({"FieldValueInvalid",
                              fmt::format("Invalid value: {}: must be greater than or equal to {}", value, least),
                              name});
    invalid.kind = "PodLogOptions";
    return invalid;
  }
  out = value;
  return Done{};
}

}  // namespace

void start_logs(Loop& loop, Api& api, bus::Bus& bus, http::Request request, const Route& route,
                const Identity& identity, std::shared_ptr<http::Responder> responder) {
  const auto& query = request.query;
  auto flag = [&](const char* name) { return query.get(name) == "true" || query.get(name) == "1"; };
  bus::SessionRequest options;
  options.kind = node::SessionKind::Logs;
  options.follow = flag("follow");
  options.previous = flag("previous");
  options.timestamps = flag("timestamps");
  for (auto status : {read_number(query, "tailLines", 0, options.tail_lines),
                      read_number(query, "sinceSeconds", 1, options.since_seconds),
                      read_number(query, "limitBytes", 1, options.limit_bytes)}) {
    if (!status.ok()) return send_failure(*responder, status.error());
  }
  if (const auto stream = query.get("stream"); !stream.empty() && stream != "All") {
    constexpr const char* kWhy = "Forbidden: may not be specified";  // one stream of the two, as without the feature
    Error forbidden{Code::kInvalid, fmt::format("PodLogOptions \"\" is invalid: stream: {}", kWhy)};
    forbidden.causes.push_back({"FieldValueForbidden", kWhy, "stream"});
    forbidden.kind = "PodLogOptions";
    return send_failure(*responder, forbidden);
  }
  if (const auto* since = query.find("sinceTime")) {
    auto time = model::parse_time(*since);
    if (!time.ok()) return send_failure(*responder, time.error());
    options.since_time = *time / 1'000'000;
  }
  options.ns = route.ns;
  options.pod = route.name;
  options.container = query.get("container");
  find_pod_target(api, identity, options, [&loop, &bus, responder](Result<PodTarget> target) {
    if (responder->closed()) return;  // nobody would end the session
    if (!target.ok()) return send_failure(*responder, target.error());
    std::make_shared<LogStream>(loop, target->request.follow, responder)->open(bus, *target);
  });
}

}  // namespace gantry::apigw
