// The HTTP/1 parser: any bytes either fail or give messages, and give the same messages however they are cut. The first
// byte chooses requests or responses and the cut.
#include <glog/logging.h>

#include "libs/http/http1_parser.h"

namespace {

using namespace gantry::http;

class Recorder final : public Http1Sink {
 public:
  Next on_head(Http1Head head) override {
    said += fmt::format("{} {} {} 1.{}{}{}\n", head.method, head.target, head.status, head.minor_version,
                        head.keep_alive ? " keep" : "", head.chunked ? " chunked" : "");
    size_t bytes = head.target.size();
    for (const auto& [name, value] : head.headers) {
      said += fmt::format("{}: {}\n", name, value);
      bytes += name.size() + value.size();
    }
    CHECK_LE(bytes, kMaxHead);
    return head.headers.has("X-Stop") ? Next::kStop : head.upgrade ? Next::kUpgrade : Next::kBody;
  }
  bool on_body(std::string_view bytes) override {
    said += bytes;
    return said.size() < 1'000'000;
  }
  void on_complete() override { said += "\ncomplete\n"; }

  static constexpr size_t kMaxHead = 4096;
  std::string said;
};

std::pair<std::string, Http1Parser::State> parse(Http1Parser::Kind kind, std::string_view bytes, size_t cut) {
  Recorder recorder;
  const auto parser = Http1Parser::create(kind, Recorder::kMaxHead, recorder);
  while (!bytes.empty() && parser->state() == Http1Parser::State::kOk) {
    std::string_view piece = bytes.substr(0, cut);
    bytes.remove_prefix(piece.size());
    while (!piece.empty() && parser->state() == Http1Parser::State::kOk) {
      const size_t used = parser->feed(piece);
      CHECK_LE(used, piece.size());
      if (used == 0) break;  // upgraded
      piece.remove_prefix(used);
    }
  }
  if (parser->state() == Http1Parser::State::kOk) parser->finish();
  return {recorder.said, parser->state()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto kind = data[0] % 2 == 0 ? Http1Parser::Kind::kRequest : Http1Parser::Kind::kResponse;
  const auto whole = parse(kind, bytes, bytes.size() + 1);
  const auto cut = parse(kind, bytes, 1 + data[0] / 2 % 32);
  if (whole.second == Http1Parser::State::kOk && cut.second == Http1Parser::State::kOk)
    CHECK_EQ(whole.first, cut.first);
  return 0;
}
