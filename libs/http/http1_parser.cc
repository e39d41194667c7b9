#include "libs/http/http1_parser.h"

#include <http_parser.h>

namespace gantry::http {
namespace {

// The library's own limit is process-wide; ours is per parser, so lift that one.
constexpr uint32_t kLibraryHeadLimit = 16 * 1024 * 1024;

class JoyentParser final : public Http1Parser {
 public:
  JoyentParser(Kind kind, size_t max_head_bytes, Http1Sink& sink) : sink_(sink), max_head_bytes_(max_head_bytes) {
    http_parser_init(&parser_, kind == Kind::kRequest ? HTTP_REQUEST : HTTP_RESPONSE);
    parser_.data = this;
  }

  size_t feed(std::string_view bytes) override {
    if (state_ != State::kOk) return 0;
    // http-parser skips empty lines before a message; they are no part of it.
    size_t used = http_parser_execute(&parser_, &settings(), bytes.data(), bytes.size());
    check();
    return used;
  }

  void finish() override {
    if (state_ != State::kOk) return;
    http_parser_execute(&parser_, &settings(), nullptr, 0);
    check();
  }

  State state() const override { return state_; }
  const char* error() const override { return http_errno_description(HTTP_PARSER_ERRNO(&parser_)); }
  bool idle() const override { return !in_message_; }

 private:
  static const http_parser_settings& settings();
  static JoyentParser& of(http_parser* parser) { return *static_cast<JoyentParser*>(parser->data); }

  void check() {
    auto code = HTTP_PARSER_ERRNO(&parser_);
    if (code == HPE_PAUSED) {
      http_parser_pause(&parser_, 0);  // a message is complete
    } else if (code != HPE_OK && state_ == State::kOk) {
      state_ = code == HPE_HEADER_OVERFLOW ? State::kHeadTooLarge : State::kMalformed;
    }
  }

  int stop(State state) {
    state_ = state;
    return -1;
  }

  // Counts the start line and the headers, with room for separators.
  bool fits(size_t more) { return (head_bytes_ += more) <= max_head_bytes_; }

  int on_begin() {
    in_message_ = true;
    in_trailer_ = false;
    head_ = {};
    head_bytes_ = 0;
    after_value_ = true;
    return 0;
  }

  int on_url(std::string_view piece) {
    if (!fits(piece.size())) return stop(State::kHeadTooLarge);
    head_.target += piece;
    return 0;
  }

  int on_field(std::string_view piece) {
    if (!fits(piece.size() + (after_value_ ? 4 : 0))) return stop(State::kHeadTooLarge);
    if (in_trailer_) return 0;
    if (after_value_) head_.headers.add({}, {});
    after_value_ = false;
    head_.headers.back().first += piece;
    return 0;
  }

  int on_value(std::string_view piece) {
    if (!fits(piece.size())) return stop(State::kHeadTooLarge);
    after_value_ = true;
    if (!in_trailer_) head_.headers.back().second += piece;
    return 0;
  }

  int on_headers_complete() {
    if (parser_.type == HTTP_REQUEST) head_.method = http_method_str(static_cast<http_method>(parser_.method));
    head_.status = parser_.status_code;
    head_.minor_version = parser_.http_minor;
    if (parser_.http_major != 1) return stop(State::kMalformed);
    head_.keep_alive = http_should_keep_alive(&parser_) != 0;
    head_.chunked = (parser_.flags & F_CHUNKED) != 0;
    head_.has_content_length = (parser_.flags & F_CONTENTLENGTH) != 0;
    if (head_.has_content_length) head_.content_length = parser_.content_length;
    head_.upgrade = parser_.upgrade != 0;
    in_trailer_ = true;
    switch (sink_.on_head(std::move(head_))) {
      case Http1Sink::Next::kNoBody:
        parser_.upgrade = 0;
        return 1;
      case Http1Sink::Next::kUpgrade:
        parser_.upgrade = 1;
        return 0;
      case Http1Sink::Next::kStop:
        return stop(State::kStopped);
      case Http1Sink::Next::kBody:
        break;
    }
    parser_.upgrade = 0;  // an offer that is not taken (h2c): the message goes on as HTTP/1.1
    return 0;
  }

  int on_body(std::string_view piece) { return sink_.on_body(piece) ? 0 : stop(State::kStopped); }

  int on_complete() {
    in_message_ = false;
    http_parser_pause(&parser_, 1);
    sink_.on_complete();
    return 0;
  }

  http_parser parser_{};
  Http1Sink& sink_;
  size_t max_head_bytes_, head_bytes_ = 0;
  Http1Head head_;
  State state_ = State::kOk;
  bool in_message_ = false, in_trailer_ = false, after_value_ = true;
};

const http_parser_settings& JoyentParser::settings() {
  static const http_parser_settings made = [] {
    http_parser_set_max_header_size(kLibraryHeadLimit);
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_message_begin = [](http_parser* p) { return of(p).on_begin(); };
    s.on_url = [](http_parser* p, const char* at, size_t length) { return of(p).on_url({at, length}); };
    s.on_header_field = [](http_parser* p, const char* at, size_t length) { return of(p).on_field({at, length}); };
    s.on_header_value = [](http_parser* p, const char* at, size_t length) { return of(p).on_value({at, length}); };
    s.on_headers_complete = [](http_parser* p) { return of(p).on_headers_complete(); };
    s.on_body = [](http_parser* p, const char* at, size_t length) { return of(p).on_body({at, length}); };
    s.on_message_complete = [](http_parser* p) { return of(p).on_complete(); };
    return s;
  }();
  return made;
}

}  // namespace

std::unique_ptr<Http1Parser> Http1Parser::create(Kind kind, size_t max_head_bytes, Http1Sink& sink) {
  return std::make_unique<JoyentParser>(kind, max_head_bytes, sink);
}

}  // namespace gantry::http
