#include "libs/http/http2_server.h"

#include <charconv>

#include "libs/http/http2_exchange.h"

namespace gantry::http {
namespace {

constexpr int32_t kConnectionWindow = 8 * 1024 * 1024;  // the default of 64 KB lets one upload wait for every other
constexpr uint32_t kStreamWindow = 1024 * 1024;
constexpr uint64_t kResetBurst = 1000, kResetPerSecond = 33;  // CVE-2023-44487
constexpr size_t kMaxQueuedFrames = 1000;
constexpr size_t kMaxDiscarded = 4 * 1024 * 1024;
constexpr size_t kHeaderOverhead = 32;  // RFC 9113, 6.5.2

bool connection_specific(std::string_view name) {
  for (auto banned :
       {"connection", "transfer-encoding", "keep-alive", "upgrade", "proxy-connection", "content-length"}) {
    if (name == banned) return true;
  }
  return false;
}

nghttp2_nv pair_of(std::string_view name, std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

nghttp2_session_callbacks* Http2Server::callbacks() {
  static nghttp2_session_callbacks* made = [] {
    nghttp2_session_callbacks* c = nullptr;
    CHECK_EQ(nghttp2_session_callbacks_new(&c), 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(
        c, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
            of(self).begin_stream(frame->hd.stream_id);
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_header_callback(
        c, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_length,
              const uint8_t* value, size_t value_length, uint8_t, void* self) {
          auto* stream = of(self).find(frame->hd.stream_id);
          if (stream != nullptr && frame->hd.type == NGHTTP2_HEADERS) {
            of(self).header(*stream, {reinterpret_cast<const char*>(name), name_length},
                            {reinterpret_cast<const char*>(value), value_length});
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        c, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          auto* stream = of(self).find(frame->hd.stream_id);
          if (stream == nullptr) return 0;
          if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
          if (!stream->head_complete) of(self).head_complete(*stream);
          if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) of(self).request_complete(*stream);
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        c, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* bytes, size_t length, void* self) {
          if (auto* stream = of(self).find(id)) of(self).data(*stream, {reinterpret_cast<const char*>(bytes), length});
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(c, [](nghttp2_session*, int32_t id, uint32_t, void* self) {
      of(self).stream_closed(id);
      return 0;
    });
    return c;
  }();
  return made;
}

nghttp2_option* Http2Server::options() {
  static nghttp2_option* made = [] {
    nghttp2_option* o = nullptr;
    CHECK_EQ(nghttp2_option_new(&o), 0);
    nghttp2_option_set_stream_reset_rate_limit(o, kResetBurst, kResetPerSecond);
    nghttp2_option_set_no_closed_streams(o, 1);
    return o;
  }();
  return made;
}

Http2Server::Http2Server(Connection& connection) : connection_(connection), idle_since_(connection.now()) {
  CHECK_EQ(nghttp2_session_server_new2(&session_, callbacks(), this, options()), 0);
  const auto& limits = connection.core().options;
  std::array settings{
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.max_streams},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(limits.max_header_bytes)},
  };
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  channel().schedule();
}

Http2Server::~Http2Server() {
  release(held_);
  for (auto& [id, stream] : streams_) {
    forget_body(*stream);
    if (stream->exchange == nullptr) continue;
    --connection_.core().stats.active;
    std::exchange(stream->exchange, nullptr)->detach();
  }
  nghttp2_session_del(session_);
}

Http2Stream* Http2Server::find(int32_t id) {
  auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : it->second.get();
}

void Http2Server::on_bytes(std::string_view bytes) {
  ssize_t used = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (used < 0) {
    ++connection_.core().stats.refused;
    on_fill();  // the GOAWAY that says why
    return channel().close_gracefully();
  }
  // Frames that answer (SETTINGS, PING, RST_STREAM) pile up when the peer sends and does not read.
  if (nghttp2_session_get_outbound_queue_size(session_) > kMaxQueuedFrames) channel().pause();
  channel().schedule();
}

void Http2Server::on_fill() {
  while (channel().wants_output()) {
    const uint8_t* bytes = nullptr;
    ssize_t length = nghttp2_session_mem_send(session_, &bytes);
    if (length < 0) return channel().close(nghttp2_strerror(static_cast<int>(length)));
    if (length == 0) break;
    channel().append({reinterpret_cast<const char*>(bytes), static_cast<size_t>(length)});
  }
  if (nghttp2_session_get_outbound_queue_size(session_) < kMaxQueuedFrames / 2) channel().resume();
  close_if_done();
}

void Http2Server::close_if_done() {
  bool over = nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
  if (over || (drain_stage_ == 2 && streams_.empty() && nghttp2_session_want_write(session_) == 0)) {
    channel().close_gracefully();
  }
}

void Http2Server::on_writable() {
  if (waiting_.empty()) return;
  auto waiting = std::exchange(waiting_, {});
  for (int32_t id : waiting) {
    auto* stream = find(id);
    if (stream != nullptr && stream->exchange != nullptr && !stream->exchange->writable()) waiting_.push_back(id);
  }
}

void Http2Server::on_eof() {
  on_gone();
  channel().close_gracefully();
}

void Http2Server::on_gone() {
  std::vector<int32_t> ids;
  for (auto& [id, stream] : streams_) ids.push_back(id);
  for (int32_t id : ids) stream_closed(id);
}

void Http2Server::begin_stream(int32_t id) {
  auto stream = std::make_unique<Http2Stream>();
  stream->id = id;
  stream->since = connection_.now();
  streams_[id] = std::move(stream);
}

void Http2Server::header(Http2Stream& stream, std::string_view name, std::string_view value) {
  stream.header_bytes += name.size() + value.size() + kHeaderOverhead;
  auto& core = connection_.core();
  if (stream.header_bytes > core.options.max_header_bytes || stream.head_complete) return;  // too large; trailers
  const size_t bytes = name.size() + value.size() + kHeaderOverhead;
  stream.refused = stream.refused || !core.receive(bytes);
  if (stream.refused) return;
  stream.counted += bytes;
  if (name == ":method") {
    stream.method = value;
  } else if (name == ":path") {
    stream.target = value;
  } else if (name == ":authority") {
    stream.authority = value;
  } else if (!name.starts_with(':')) {
    stream.headers.add(std::string(name), std::string(value));
  }
}

void Http2Server::head_complete(Http2Stream& stream) {
  const auto& limits = connection_.core().options;
  stream.head_complete = true;
  stream.since = connection_.now();
  if (stream.header_bytes > limits.max_header_bytes) {
    return reject(stream, 431, fmt::format("headers exceed {} bytes", limits.max_header_bytes));
  }
  if (stream.refused) return reject(stream, 503, "too many requests are being received, try again");
  if (stream.method == "CONNECT") return reject(stream, 405, "CONNECT is not supported");
  auto declared = stream.headers.get("content-length");
  size_t length = 0;
  std::from_chars(declared.data(), declared.data() + declared.size(),
                  length);  // nghttp2 has checked that it is a number
  if (length > limits.max_body_bytes) {
    return reject(stream, 413,
                  fmt::format("request body of {} bytes exceeds the limit of {}", length, limits.max_body_bytes));
  }
  if (stream.headers.has_token("expect", "100-continue")) {
    nghttp2_nv status = pair_of(":status", "100");
    nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id, nullptr, &status, 1, nullptr);
  }
}

void Http2Server::data(Http2Stream& stream, std::string_view bytes) {
  if (stream.rejected) {
    // curl 7 takes an early RST_STREAM(NO_ERROR) for a failure and forgets the answer, so it may first send on for a
    // while.
    stream.discarded += bytes.size();
    if (stream.discarded > kMaxDiscarded) {
      stream.discarded = 0;
      reset(stream, NGHTTP2_NO_ERROR);
    }
    return;
  }
  auto& core = connection_.core();
  if (stream.body.size() + bytes.size() > core.options.max_body_bytes) {
    return reject(stream, 413, fmt::format("request body exceeds the limit of {} bytes", core.options.max_body_bytes));
  }
  if (!core.receive(bytes.size())) return reject(stream, 503, "too many requests are being received, try again");
  stream.counted += bytes.size();
  stream.body += bytes;
}

void Http2Server::request_complete(Http2Stream& stream) {
  stream.complete = true;
  if (stream.rejected) return;
  if (!stream.authority.empty() && !stream.headers.has("host")) stream.headers.add("host", stream.authority);
  const auto& core = connection_.core();
  const bool greedy = held_ > core.options.max_held_of_connection;
  if (greedy || (held_ > 0 && core.held > core.options.max_held_bytes))
    return reject(stream, 503, "take the answers to earlier requests first");
  bool head = stream.method == "HEAD";
  std::string what = stream.method + " " + stream.target;
  auto request = connection_.make_request(std::move(stream.method), std::move(stream.target),
                                          std::exchange(stream.headers, {}), Version::kHttp2);
  if (!request) return reject(stream, 400, request.error().message);
  request->body = std::exchange(stream.body, {});
  auto exchange = std::make_shared<Http2Exchange>(*this, stream, head, std::move(what));
  stream.exchange = exchange.get();
  connection_.dispatch(std::move(*request), std::move(exchange));
}

void Http2Server::stream_closed(int32_t id) {
  auto it = streams_.find(id);
  if (it == streams_.end()) return;
  auto stream = std::move(it->second);
  streams_.erase(it);
  if (streams_.empty()) idle_since_ = connection_.now();
  release(stream->out.size() - stream->taken);
  forget_body(*stream);
  if (stream->exchange == nullptr) return;
  --connection_.core().stats.active;
  stream->exchange->gone();
}

ssize_t Http2Server::read_output(Http2Stream& stream, uint8_t* out, size_t length, uint32_t* flags) {
  size_t waiting = stream.out.size() - stream.taken;
  if (waiting == 0 && !stream.ended) {
    stream.deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  size_t taken = stream.out.copy(reinterpret_cast<char*>(out), length, stream.taken);
  stream.moved = connection_.now();
  stream.taken += taken;
  release(taken);
  if (stream.taken == stream.out.size()) {
    if (stream.ended) *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream.out.capacity() > kLowWater) {
      std::string().swap(stream.out);
    } else {
      stream.out.clear();
    }
    stream.taken = 0;
  } else if (stream.taken > stream.out.size() / 2) {
    stream.out.erase(0, stream.taken);
    stream.taken = 0;
  }
  return static_cast<ssize_t>(taken);
}

void Http2Server::respond(Http2Stream& stream, int status, const Headers& headers, std::optional<size_t> length,
                          bool body) {
  forget_body(stream);
  stream.moved = connection_.now();
  std::vector<std::string> names;
  names.reserve(headers.size());
  for (const auto& [name, value] : headers) {
    std::string& lower = names.emplace_back(name);
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  std::string status_value = std::to_string(status), length_value = std::to_string(length.value_or(0));
  std::vector<nghttp2_nv> pairs;
  pairs.reserve(headers.size() + 3);
  pairs.push_back(pair_of(":status", status_value));
  size_t i = 0;
  for (const auto& [name, value] : headers) {
    const std::string& lower = names[i++];
    bool valid = nghttp2_check_header_name(reinterpret_cast<const uint8_t*>(lower.data()), lower.size()) != 0 &&
                 nghttp2_check_header_value(reinterpret_cast<const uint8_t*>(value.data()), value.size()) != 0;
    if (valid && !connection_specific(lower)) pairs.push_back(pair_of(lower, value));
  }
  if (!headers.has("Date")) pairs.push_back(pair_of("date", connection_.core().io->date()));
  if (length) pairs.push_back(pair_of("content-length", length_value));
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = [](nghttp2_session*, int32_t, uint8_t* out, size_t room, uint32_t* flags,
                              nghttp2_data_source* source, void* self) {
    return of(self).read_output(*static_cast<Http2Stream*>(source->ptr), out, room, flags);
  };
  nghttp2_submit_response(session_, stream.id, pairs.data(), pairs.size(), body ? &provider : nullptr);
  channel().schedule();
}

void Http2Server::wrote(Http2Stream& stream) {
  if (std::exchange(stream.deferred, false)) {
    stream.moved = connection_.now();  // nothing waited before this
    nghttp2_session_resume_data(session_, stream.id);
  }
  channel().schedule();
}

void Http2Server::reset(Http2Stream& stream, uint32_t code) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, code);
  channel().schedule();
}

void Http2Server::released(Http2Stream& stream) {
  stream.exchange = nullptr;
  --connection_.core().stats.active;
}

void Http2Server::reject(Http2Stream& stream, int status, std::string_view message) {
  forget_body(stream);
  stream.rejected = true;
  auto rejection = connection_.core().rejection(status, message);
  stream.out = std::move(rejection.body);
  hold(stream.out.size());
  stream.ended = true;
  respond(stream, status, rejection.headers, stream.out.size(), true);
}

void Http2Server::hold(size_t bytes) {
  held_ += bytes;
  connection_.core().held += bytes;
}

void Http2Server::release(size_t bytes) {
  held_ -= bytes;
  connection_.core().held -= bytes;
}

void Http2Server::forget_body(Http2Stream& stream) {
  connection_.core().receiving -= std::exchange(stream.counted, 0);
  std::string().swap(stream.body);
}

void Http2Server::check(uint64_t now_ms) {
  const auto& limits = connection_.core().options;
  auto over = [now_ms](uint64_t since, std::chrono::milliseconds limit) {
    return now_ms > since + static_cast<uint64_t>(limit.count());
  };
  if (streams_.empty() && over(idle_since_, limits.idle_timeout)) {
    nghttp2_session_terminate_session(session_, NGHTTP2_NO_ERROR);
    return channel().schedule();
  }
  for (auto& [id, stream] : streams_) {
    // A peer that never widens its window would have us keep the answer for ever.
    const bool waits = stream->out.size() > stream->taken && !stream->deferred;
    if (waits && over(stream->moved, limits.write_timeout)) {
      ++connection_.core().stats.refused;
      stream->moved = now_ms;
      reset(*stream, NGHTTP2_CANCEL);
      continue;
    }
    if (stream->complete) continue;
    if (stream->rejected) {
      if (over(stream->since, limits.body_timeout)) reset(*stream, NGHTTP2_NO_ERROR);
      continue;
    }
    if (!stream->head_complete && over(stream->since, limits.header_timeout)) {
      ++connection_.core().stats.refused;
      return channel().close("headers did not come in time");
    }
    if (stream->head_complete && over(stream->since, limits.body_timeout)) {
      reject(*stream, 408, "the request's body did not come in time");
    }
  }
}

void Http2Server::drain() {
  // First a GOAWAY that refuses nothing, so that requests on their way are still served; the final one comes with the
  // next call.
  if (drain_stage_ == 0) {
    nghttp2_submit_shutdown_notice(session_);
    drain_stage_ = 1;
  } else if (drain_stage_ == 1) {
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                          NGHTTP2_NO_ERROR, nullptr, 0);
    drain_stage_ = 2;
  }
  std::vector<int32_t> ids;
  for (auto& [id, stream] : streams_) ids.push_back(id);
  for (int32_t id : ids) {
    auto* stream = find(id);
    if (stream != nullptr && stream->exchange != nullptr) stream->exchange->drain();
  }
  channel().schedule();
}

}  // namespace gantry::http
