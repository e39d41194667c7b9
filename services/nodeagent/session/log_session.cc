#include "services/nodeagent/session/log_session.h"

namespace gantry::nodeagent {

namespace {
constexpr size_t kBlock = 256 * 1024;
// How often to ask whether the container still runs, at the end of its log. New data does not wait for this.
constexpr Duration kLook = std::chrono::milliseconds(500);
// The same once it has ended, until the runtime has closed the log, and for how long at most.
constexpr Duration kLastLook = std::chrono::milliseconds(20);
constexpr Duration kLongestWriting = std::chrono::seconds(10);
}  // namespace

LogSession::LogSession(UvLoop& loop, Executor& executor, Options options, std::function<void()> finished)
    : loop_(loop),
      executor_(executor),
      options_(std::move(options)),
      finished_(std::move(finished)),
      printer_(options_.filter) {}

LogSession::~LogSession() { unwatch(); }

void LogSession::unwatch() {
  if (watcher_ == nullptr) return;
  watcher_->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(watcher_),
           [](uv_handle_t* h) { delete reinterpret_cast<uv_fs_event_t*>(h); });
  watcher_ = nullptr;
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
  files_ = std::make_shared<LogFiles>(options_.path);
  if (options_.follow) watch();
  begin_at();
}

void LogSession::begin_at() {
  reading_ = true;
  auto opened = std::make_shared<Status>(Done{});
  executor_.run([opened, files = files_, lines = options_.tail_lines] { *opened = files->open(lines); },
                [this, opened, weak = std::weak_ptr<bool>(alive_)] {
                  if (weak.expired()) return;
                  reading_ = false;
                  if (!opened->ok()) return finish(opened->error().message);
                  read_next();
                });
}

void LogSession::watch() {
  // A rotation replaces the file: the watch begins again on the new one.
  unwatch();
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
  struct Block {
    std::string data;
    bool rotated = false, settled = false;
  };
  auto block = std::make_shared<Block>();
  executor_.run(
      [block, files = files_, follow = options_.follow] {
        auto before = files->current();
        block->data = files->read(kBlock, follow);
        block->rotated = files->current() != before;
        block->settled = follow && block->data.empty() && files->settled();
      },
      [this, block, weak = std::weak_ptr<bool>(alive_)] {
        if (weak.expired()) return;
        reading_ = false;
        if (block->rotated && options_.follow && !done_) watch();
        on_read(block->data, block->settled);
      });
}

void LogSession::on_read(const std::string& data, bool settled) {
  if (done_) return;
  if (data.empty()) return at_end(settled);
  last_look_ = false;
  std::string out;
  printer_.feed(data, out);
  if (!out.empty() && !session_->write(node::Channel::Stdout, out)) blocked_ = true;
  if (printer_.full()) return finish("");
  read_next();
}

void LogSession::at_end(bool settled) {
  if (!options_.follow) return finish("");
  if (changed_) return read_next();
  if (!options_.running()) {
    // What was written between our last read and the end of writing is there by now: one more look.
    if (last_look_) return finish("");
    if (!ended_at_) ended_at_ = loop_.now();
    last_look_ = settled || loop_.now() - *ended_at_ > kLongestWriting;
    if (last_look_) return read_next();
    look_ = loop_.after(kLastLook, [this] { read_next(); });
    return;
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
