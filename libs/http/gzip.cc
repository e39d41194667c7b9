#include "libs/http/gzip.h"

#include <glog/logging.h>
#include <zlib.h>

#include <cstdlib>

namespace gantry::http {
namespace {

constexpr int kGzipWindow = 15 + 16;  // zlib's way to ask for gzip instead of zlib
constexpr int kLevel = 1, kMemory = 8;

}  // namespace

bool accepts_gzip(const Headers& headers) {
  for (const auto item : headers.list("Accept-Encoding")) {
    const size_t semicolon = item.find(';');
    auto name = item.substr(0, semicolon);
    while (name.ends_with(' ')) name.remove_suffix(1);
    if (!iequals(name, "gzip") && name != "*") continue;
    const size_t q = semicolon == std::string_view::npos ? semicolon : item.find("q=", semicolon);
    return q == std::string_view::npos || std::strtod(std::string(item.substr(q + 2)).c_str(), nullptr) > 0;
  }
  return false;
}

struct Gzip::State {
  z_stream stream{};
};

Gzip::Gzip() : state_(std::make_unique<State>()) {
  CHECK_EQ(deflateInit2(&state_->stream, kLevel, Z_DEFLATED, kGzipWindow, kMemory, Z_DEFAULT_STRATEGY), Z_OK);
}

Gzip::~Gzip() { deflateEnd(&state_->stream); }

void Gzip::add(std::string_view input, bool last, std::string& out) {
  auto& s = state_->stream;
  s.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
  s.avail_in = static_cast<uInt>(input.size());
  int result = Z_OK;
  do {
    const size_t before = out.size();
    out.resize(before + std::max<size_t>(4096, input.size() / 4));
    s.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    s.avail_out = static_cast<uInt>(out.size() - before);
    result = deflate(&s, last ? Z_FINISH : Z_NO_FLUSH);
    out.resize(out.size() - s.avail_out);
  } while (last ? result == Z_OK : s.avail_out == 0);
}

std::string gunzip(std::string_view bytes, size_t limit) {
  z_stream s{};
  if (inflateInit2(&s, kGzipWindow) != Z_OK) return {};
  s.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  s.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  int result = Z_OK;
  while (result == Z_OK && out.size() <= limit) {
    const size_t before = out.size();
    out.resize(before + 65536);
    s.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    s.avail_out = 65536;
    result = inflate(&s, Z_NO_FLUSH);
    out.resize(out.size() - s.avail_out);
  }
  inflateEnd(&s);
  return result == Z_STREAM_END && out.size() <= limit ? out : std::string();
}

}  // namespace gantry::http
