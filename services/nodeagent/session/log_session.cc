#include "services/nodeagent/session/log_session.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace gantry::nodeagent {

namespace {
constexpr size_t kBlock = 256 * 1024;
// How often to ask whether the container still runs, at the end of its log. New data does not wait for this.
constexpr Duration kLook = std::chrono::milliseconds(500);
}  // namespace

struct LogSession::File {
  int fd = -1;
  ~File() {
    if (fd >= 0) ::close(fd);
  }
  std::string read(uint64_t offset, size_t length) const {
    std::string data(length, '\0');
    size_t got = 0;
    while (got < length) {
      auto n = pread(fd, data.data() + got, length - got, static_cast<off_t>(offset + got));
      if (n <= 0) break;
      got += static_cast<size_t>(n);
    }
    data.resize(got);
    return data;
  }
};

LogSession::LogSession(UvLoop& loop, Executor& executor, Options options, std::function<void()> finished)
    : loop_(loop),
      executor_(executor),
      options_(std::move(options)),
      finished_(std::move(finished)),
      printer_(options_.filter) {}

LogSession::~LogSession() {
  if (watcher_ == nullptr) return;
  watcher_->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(watcher_),
           [](uv_handle_t* h) { delete reinterpret_cast<uv_fs_event_t*>(h); });
}

bus::Session::Callbacks LogSession::callbacks() {
  bus::Session::Callbacks callbacks;
  callbacks.data = [this](node::Channel, std::string_view data, bool) { session_->consume(data.size()); };
  callbacks.closed = [this](const bus::SessionEnd&) {
    done_ = true;
    finished_();
  };
  callbacks.writable = [this] {
    blocked_ = false;
    read_next();
  };
  return callbacks;
}

void LogSession::start(std::unique_ptr<bus::Session> session) {
  session_ = std::move(session);
  file_ = std::make_shared<File>();
  file_->fd = open(options_.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_->fd < 0) {
    // A container that has not written yet, or whose log is gone.
    if (errno != ENOENT) return finish(fmt::format("opening the log: {}", strerror(errno)));
    return finish("");
  }
  if (options_.follow) watch();
  begin_at();
}

void LogSession::begin_at() {
  if (!options_.tail_lines) return read_next();
  auto offset = std::make_shared<uint64_t>(0);
  reading_ = true;
  executor_.run(
      [offset, file = file_, lines = *options_.tail_lines] {
        struct stat info {};
        fstat(file->fd, &info);
        *offset = find_tail(static_cast<uint64_t>(info.st_size), lines,
                            [&](uint64_t at, size_t length) { return file->read(at, length); });
      },
      [this, offset, weak = std::weak_ptr<bool>(alive_)] {
        if (weak.expired()) return;
        reading_ = false;
        offset_ = *offset;
        read_next();
      });
}

void LogSession::watch() {
  watcher_ = new uv_fs_event_t;
  uv_fs_event_init(loop_.raw(), watcher_);
  watcher_->data = this;
  uv_fs_event_start(
      watcher_,
      [](uv_fs_event_t* handle, const char*, int, int) {
        auto* self = static_cast<LogSession*>(handle->data);
        if (self == nullptr) return;
        self->changed_ = true;
        self->read_next();
      },
      options_.path.c_str(), 0);
}

void LogSession::read_next() {
  if (reading_ || blocked_ || done_) return;
  reading_ = true;
  changed_ = false;
  auto data = std::make_shared<std::string>();
  executor_.run([data, file = file_, offset = offset_] { *data = file->read(offset, kBlock); },
                [this, data, weak = std::weak_ptr<bool>(alive_)] {
                  if (weak.expired()) return;
                  reading_ = false;
                  on_read(*data);
                });
}

void LogSession::on_read(const std::string& data) {
  if (done_) return;
  if (data.empty()) return at_end();
  last_look_ = false;
  offset_ += data.size();
  std::string out;
  printer_.feed(data, out);
  if (!out.empty() && !session_->write(node::Channel::Stdout, out)) blocked_ = true;
  if (printer_.full()) return finish("");
  read_next();
}

void LogSession::at_end() {
  if (!options_.follow) return finish("");
  if (changed_) return read_next();
  if (!options_.running()) {
    // What was written between our last read and its end is there by now: one more look.
    if (last_look_) return finish("");
    last_look_ = true;
    return read_next();
  }
  look_ = loop_.after(kLook, [this] { read_next(); });
}

void LogSession::finish(const std::string& error) {
  if (std::exchange(done_, true)) return;
  look_.reset();
  bus::SessionEnd end;
  end.error = error;
  session_->close(end);  // `closed` follows when what is queued has gone
}

}  // namespace gantry::nodeagent
