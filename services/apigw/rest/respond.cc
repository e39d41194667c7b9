#include "services/apigw/rest/respond.h"

#include <algorithm>
#include <optional>

#include "libs/http/gzip.h"
#include "services/apigw/render/list_writer.h"

namespace gantry::apigw {
namespace {

constexpr size_t kCompressFrom = 128 * 1024;
constexpr size_t kPiece = 128 * 1024;

/// A warning header as RFC 7234 has it; quotes and backslashes escaped, control characters dropped.
std::string warning_header(const std::string& text) {
  std::string out = "299 - \"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

/// Kinds whose delete answers with the object as it was; the others with a Status.
bool answers_with_object(const model::Kind& kind) {
  static constexpr std::string_view kKinds[] = {"pods",
                                                "services",
                                                "podtemplates",
                                                "resourcequotas",
                                                "persistentvolumes",
                                                "persistentvolumeclaims",
                                                "serviceaccounts",
                                                "storageclasses",
                                                "volumeattachments",
                                                "csinodes",
                                                "csidrivers"};
  return std::find(std::begin(kKinds), std::end(kKinds), kind.resource) != std::end(kKinds);
}

http::Headers headers_of(const Shape& shape, const std::vector<std::string>& warnings) {
  http::Headers headers{{"Content-Type", content_type(shape.encoding)},
                        {"Cache-Control", "no-cache, private"},
                        {"Vary", "Accept, Accept-Encoding"}};
  for (const auto& warning : warnings) headers.add("Warning", warning_header(warning));
  return headers;
}

void send(http::Responder& responder, int status, const ResponseStyle& style, const std::vector<std::string>& warnings,
          std::string body) {
  auto headers = headers_of(style.shape, warnings);
  if (style.gzip && body.size() > kCompressFrom) {
    std::string packed;
    http::Gzip().add(body, true, packed);
    body = std::move(packed);
    headers.add("Content-Encoding", "gzip");
  }
  responder.send(status, std::move(headers), std::move(body));
}

/// A long list on its way: a piece for each turn of the loop, none while the peer has not taken the last ones.
class Sender : public std::enable_shared_from_this<Sender> {
 public:
  Sender(Turns& turns, std::shared_ptr<http::Responder> responder, const ResponseStyle& style, ListWriter writer)
      : turns_(turns), responder_(std::move(responder)), style_(style), writer_(std::move(writer)) {}

  void start(const std::vector<std::string>& warnings) {
    std::string piece;
    const bool more = writer_.more(piece, kPiece);
    if (!more) return send(*responder_, 200, style_, warnings, std::move(piece));
    auto headers = headers_of(style_.shape, warnings);
    if (style_.gzip) {
      gzip_.emplace();
      headers.add("Content-Encoding", "gzip");
    }
    responder_->start(200, std::move(headers));
    write(piece, more);
  }

 private:
  void next() {
    if (responder_->closed()) return;
    std::string piece;
    const bool more = writer_.more(piece, kPiece);
    write(piece, more);
  }

  void write(std::string_view piece, bool more) {
    if (gzip_) {
      std::string packed;
      gzip_->add(piece, !more, packed);
      responder_->write(packed);
    } else {
      responder_->write(piece);
    }
    if (!more) return responder_->end();
    const auto go_on = [self = shared_from_this()] { self->next(); };
    if (responder_->buffered() > http::kHighWater) return responder_->on_drained(go_on);
    turns_.add(go_on);
  }

  Turns& turns_;
  std::shared_ptr<http::Responder> responder_;
  const ResponseStyle style_;
  ListWriter writer_;
  std::optional<http::Gzip> gzip_;
};

}  // namespace

void Turns::add(std::function<void()> piece) {
  waiting_.push_back(std::move(piece));
  if (waiting_.size() == 1) loop_.post(alive_.guard([this] { run(); }));
}

void Turns::run() {
  auto piece = std::move(waiting_.front());
  piece();
  waiting_.pop_front();
  if (!waiting_.empty()) loop_.post(alive_.guard([this] { run(); }));
}

void send_answer(Loop& loop, Turns& turns, std::shared_ptr<http::Responder> responder, const ResponseStyle& style,
                 const model::Kind& kind, Answer answer) {
  const auto whole = [&](int status) {
    send(*responder, status, style, answer.warnings, encode_object(answer.object, style.shape, loop.wall()));
  };
  switch (answer.outcome) {
    case Answer::Outcome::kList: {
      ListMeta meta{answer.revision, answer.continue_token, answer.remaining};
      ListWriter writer(kind, std::move(answer.items), std::move(meta), style.shape, loop.wall());
      std::make_shared<Sender>(turns, std::move(responder), style, std::move(writer))->start(answer.warnings);
      return;
    }
    case Answer::Outcome::kObject:
      return whole(style.ok);
    case Answer::Outcome::kCreated:
      return whole(201);
    case Answer::Outcome::kDeleted:
      if (answer.object && answers_with_object(answer.object.kind())) return whole(200);
      return send(*responder, 200, style, answer.warnings, encode_success(&answer.object, style.shape));
    default:
      return send(*responder, 201, style, answer.warnings, encode_success(nullptr, style.shape));
  }
}

void send_failure(http::Responder& responder, const Error& error, const Shape& shape) {
  http::Headers headers{{"Content-Type", content_type(shape.encoding)}, {"Cache-Control", "no-cache, private"}};
  if (const uint32_t seconds = retry_after(error); seconds != 0) headers.add("Retry-After", std::to_string(seconds));
  responder.send(http_status(error.code), std::move(headers), encode_status(error, shape));
}

}  // namespace gantry::apigw
