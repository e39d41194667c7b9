#include "services/nodeagent/cri/exec.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "libs/base/ids.h"
#include "services/nodeagent/cri/fifo.h"

namespace gantry::nodeagent {

namespace tasks = containerd::services::tasks::v1;
using containerd::services::containers::v1::Containers;
using google::protobuf::Empty;
using tasks::Tasks;

namespace {

constexpr Duration kCall = std::chrono::seconds(30);
constexpr size_t kWriteHigh = 256 * 1024, kWriteLow = 64 * 1024;
constexpr Duration kStdinRetry = std::chrono::milliseconds(2);
constexpr int kStdinTries = 5'000;
// After the process has ended, how long a child of it that holds on to its output may stay silent.
constexpr Duration kSilence = std::chrono::seconds(10);
constexpr char kProcessType[] = "types.containerd.io/opencontainers/runtime-spec/1/Process";

template <typename Response>
std::function<void(Result<Response>)> ignore() {
  return [](Result<Response>) {};
}

// Lives until the process is deleted in containerd, longer than its handle when that lets go early.
class Exec : public std::enable_shared_from_this<Exec> {
 public:
  Exec(ExecServices& services, std::string container_id, ExecOptions options, Process::Callbacks callbacks)
      : services_(services),
        container_id_(std::move(container_id)),
        options_(std::move(options)),
        callbacks_(std::move(callbacks)) {}
  ~Exec() {
    let_go();
    std::error_code ignored;
    if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
  }

  void start(Runtime::Done<std::unique_ptr<Process>> done);
  bool write(std::string_view data);
  void close_stdin();
  void resize(uint16_t columns, uint16_t rows);
  void read(bool on);
  void abandon();

 private:
  template <typename Request>
  Request request() const {
    Request request;
    request.set_container_id(container_id_);
    request.set_exec_id(id_);
    return request;
  }
  Status make_fifos();
  void run(const std::string& process, Runtime::Done<std::unique_ptr<Process>> done);
  void wait();
  void open_stdin(int tries);
  void flush_stdin();
  void end_stdin_now();
  void start_reading(Pipe& pipe);
  void on_output(Pipe& pipe, ssize_t size);
  void end_output(Pipe& pipe);
  void arm_silence();
  void finish();
  void fail_start(const Runtime::Done<std::unique_ptr<Process>>& done, Error error);
  /// No handle or timer on the loop is left; nobody is told.
  void let_go() {
    abandoned_ = finished_ = true;
    close_pipes();
    stdin_timer_.reset();
    silence_.reset();
  }
  void close_pipes() {
    in_.close();
    out_.close();
    err_.close();
  }

  ExecServices& services_;
  std::string container_id_, id_ = new_uid();
  ExecOptions options_;
  Process::Callbacks callbacks_;
  std::string directory_;
  Pipe in_, out_, err_;
  std::deque<std::string> pending_;  // not yet given to libuv: stdin is not open
  size_t writing_ = 0;               // bytes queued for stdin
  bool blocked_ = false, stdin_end_ = false, reading_ = true, abandoned_ = false, finished_ = false;
  std::optional<Result<int>> exit_;
  Timer stdin_timer_, silence_;
};

class Handle final : public Process {
 public:
  explicit Handle(std::shared_ptr<Exec> exec) : exec_(std::move(exec)) {}
  ~Handle() override { exec_->abandon(); }
  bool write(std::string_view data) override { return exec_->write(data); }
  void close_stdin() override { exec_->close_stdin(); }
  void resize(uint16_t columns, uint16_t rows) override { exec_->resize(columns, rows); }
  void read(bool on) override { exec_->read(on); }

 private:
  std::shared_ptr<Exec> exec_;
};

Status Exec::make_fifos() {
  directory_ = services_.directory + "/" + id_;
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error) return Error{Code::kInternal, fmt::format("creating {}: {}", directory_, error.message())};
  for (const char* name : {"stdin", "stdout", "stderr"}) {
    auto path = directory_ + "/" + name;
    if (mkfifo(path.c_str(), 0600) != 0)
      return Error{Code::kInternal, fmt::format("creating {}: {}", path, strerror(errno))};
  }
  if (auto s = out_.open_for_reading(services_.loop, directory_ + "/stdout", this); !s.ok()) return s;
  if (!options_.tty) return err_.open_for_reading(services_.loop, directory_ + "/stderr", this);
  err_.ended = true;
  return Done{};
}

void Exec::start(Runtime::Done<std::unique_ptr<Process>> done) {
  services_.running[id_] = [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->let_go();
  };
  containerd::services::containers::v1::GetContainerRequest request;
  request.set_id(container_id_);
  using Response = containerd::services::containers::v1::GetContainerResponse;
  services_.calls.call(
      services_.containers->async(), &Containers::Stub::async::Get, std::move(request), kCall,
      [self = shared_from_this(), done](Result<Response> response) {
        if (!response.ok()) return self->fail_start(done, response.error());
        auto spec = nlohmann::json::parse(response->container().spec().value(), nullptr, false);
        if (!spec.is_object() || !spec.contains("process")) {
          return self->fail_start(done, {Code::kInternal, "the container has no process to start from"});
        }
        auto process = spec["process"];
        process["args"] = self->options_.command;
        process["terminal"] = self->options_.tty;
        if (self->options_.tty) process["env"].push_back("TERM=xterm");
        self->run(process.dump(), done);
      });
}

void Exec::fail_start(const Runtime::Done<std::unique_ptr<Process>>& done, Error error) {
  finished_ = true;
  services_.running.erase(id_);
  close_pipes();
  done(std::move(error));
}

void Exec::run(const std::string& process, Runtime::Done<std::unique_ptr<Process>> done) {
  if (auto s = make_fifos(); !s.ok()) return fail_start(done, s.error());
  auto create = request<tasks::ExecProcessRequest>();
  if (options_.in) create.set_stdin(directory_ + "/stdin");
  create.set_stdout(directory_ + "/stdout");
  if (!options_.tty) create.set_stderr(directory_ + "/stderr");
  create.set_terminal(options_.tty);
  create.mutable_spec()->set_type_url(kProcessType);
  create.mutable_spec()->set_value(process);
  auto self = shared_from_this();
  auto started = [self, done](Result<tasks::StartResponse> response) {
    if (!response.ok()) {
      self->services_.calls.call(self->services_.tasks->async(), &Tasks::Stub::async::DeleteProcess,
                                 self->request<tasks::DeleteProcessRequest>(), kCall, ignore<tasks::DeleteResponse>());
      return self->fail_start(done, response.error());
    }
    self->wait();
    self->start_reading(self->out_);
    if (!self->options_.tty) self->start_reading(self->err_);
    if (self->options_.in) self->open_stdin(kStdinTries);
    done(std::unique_ptr<Process>(new Handle(self)));
  };
  services_.calls.call(services_.tasks->async(), &Tasks::Stub::async::Exec, std::move(create), kCall,
                       [self, done, started](Result<Empty> created) {
                         if (!created.ok()) return self->fail_start(done, created.error());
                         self->services_.calls.call(self->services_.tasks->async(), &Tasks::Stub::async::Start,
                                                    self->request<tasks::StartRequest>(), kCall, started);
                       });
}

void Exec::wait() {
  services_.calls.call(services_.tasks->async(), &Tasks::Stub::async::Wait, request<tasks::WaitRequest>(),
                       Duration::zero(), [self = shared_from_this()](Result<tasks::WaitResponse> r) {
                         if (r.ok()) {
                           self->exit_ = static_cast<int>(r->exit_status());
                         } else {
                           self->exit_ = r.error();
                         }
                         self->arm_silence();
                         self->finish();
                       });
}

// The shim opens its end when it gets to it; until there is a reader, opening for writing fails.
void Exec::open_stdin(int tries) {
  if (abandoned_ || exit_) return;
  int fd = ::open((directory_ + "/stdin").c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENXIO && tries > 0) {
      stdin_timer_ = services_.loop.after(kStdinRetry, [this, tries] { open_stdin(tries - 1); });
      return;
    }
    LOG(WARNING) << "container=" << container_id_ << " exec stdin does not open: " << strerror(errno);
    return;
  }
  if (in_.open(services_.loop, fd, this) != 0) {
    ::close(fd);
    return;
  }
  flush_stdin();
}

bool Exec::write(std::string_view data) {
  if (stdin_end_ || abandoned_ || !options_.in) return true;
  pending_.emplace_back(data);
  writing_ += data.size();
  flush_stdin();
  blocked_ = writing_ > kWriteHigh;
  return !blocked_;
}

void Exec::flush_stdin() {
  if (in_.handle == nullptr) return;
  struct Write {
    uv_write_t request;
    std::string data;
    std::weak_ptr<Exec> exec;
  };
  for (; !pending_.empty(); pending_.pop_front()) {
    auto* write = new Write{{}, std::move(pending_.front()), weak_from_this()};
    auto buffer = uv_buf_init(write->data.data(), static_cast<unsigned>(write->data.size()));
    write->request.data = write;
    int failed =
        uv_write(&write->request, reinterpret_cast<uv_stream_t*>(in_.handle), &buffer, 1, [](uv_write_t* r, int) {
          std::unique_ptr<Write> write(static_cast<Write*>(r->data));
          auto exec = write->exec.lock();
          if (!exec) return;
          exec->writing_ -= write->data.size();
          if (exec->writing_ == 0 && exec->stdin_end_) exec->end_stdin_now();
          if (exec->blocked_ && exec->writing_ <= kWriteLow) {
            exec->blocked_ = false;
            if (!exec->abandoned_ && exec->callbacks_.drained) exec->callbacks_.drained();
          }
        });
    if (failed != 0) {
      writing_ -= write->data.size();
      delete write;
    }
  }
  if (writing_ == 0 && stdin_end_) end_stdin_now();
}

void Exec::close_stdin() {
  if (stdin_end_ || !options_.in) return;
  stdin_end_ = true;
  if (in_.handle != nullptr && writing_ == 0) end_stdin_now();
}

void Exec::end_stdin_now() {
  if (in_.handle == nullptr) return;
  in_.close();
  auto close = request<tasks::CloseIORequest>();
  close.set_stdin(true);
  services_.calls.call(services_.tasks->async(), &Tasks::Stub::async::CloseIO, std::move(close), kCall,
                       ignore<Empty>());
}

void Exec::resize(uint16_t columns, uint16_t rows) {
  auto resize = request<tasks::ResizePtyRequest>();
  resize.set_width(columns);
  resize.set_height(rows);
  services_.calls.call(services_.tasks->async(), &Tasks::Stub::async::ResizePty, std::move(resize), kCall,
                       ignore<Empty>());
}

void Exec::read(bool on) {
  if (on == reading_) return;
  reading_ = on;
  for (auto* pipe : {&out_, &err_}) {
    if (pipe->handle == nullptr || pipe->ended) continue;
    if (on) {
      start_reading(*pipe);
    } else {
      uv_read_stop(reinterpret_cast<uv_stream_t*>(pipe->handle));
      pipe->reading = false;
    }
  }
  on ? arm_silence() : silence_.reset();
}

void Exec::start_reading(Pipe& pipe) {
  if (!reading_ || pipe.reading || pipe.handle == nullptr) return;
  pipe.reading = true;
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(pipe.handle),
      [](uv_handle_t* handle, size_t, uv_buf_t* buffer) {
        auto* exec = static_cast<Exec*>(handle->data);
        auto& pipe = reinterpret_cast<uv_handle_t*>(exec->out_.handle) == handle ? exec->out_ : exec->err_;
        *buffer = uv_buf_init(pipe.buffer.data(), pipe.buffer.size());
      },
      [](uv_stream_t* stream, ssize_t size, const uv_buf_t*) {
        if (stream->data == nullptr) return;
        auto exec = static_cast<Exec*>(stream->data)->shared_from_this();
        auto& pipe = reinterpret_cast<uv_stream_t*>(exec->out_.handle) == stream ? exec->out_ : exec->err_;
        exec->on_output(pipe, size);
      });
}

void Exec::on_output(Pipe& pipe, ssize_t size) {
  if (size == 0) return;
  if (size < 0) return end_output(pipe);
  if (exit_) arm_silence();
  bool is_stderr = &pipe == &err_;
  if (!abandoned_ && (is_stderr ? options_.err : options_.out)) {
    callbacks_.output(is_stderr, {pipe.buffer.data(), static_cast<size_t>(size)});
  }
}

void Exec::end_output(Pipe& pipe) {
  if (pipe.ended) return;
  pipe.ended = true;
  pipe.close();
  if (!abandoned_ && callbacks_.output_end) callbacks_.output_end(&pipe == &err_);
  finish();
}

void Exec::arm_silence() {
  if (!exit_ || !reading_ || (out_.ended && err_.ended)) return;
  silence_ = services_.loop.after(kSilence, [this] {
    auto self = shared_from_this();
    end_output(out_);
    end_output(err_);
  });
}

void Exec::finish() {
  if (!exit_ || finished_) return;
  if (!abandoned_ && !(out_.ended && err_.ended)) return;
  finished_ = true;
  services_.running.erase(id_);
  silence_.reset();
  stdin_timer_.reset();
  in_.close();
  services_.calls.call(services_.tasks->async(), &Tasks::Stub::async::DeleteProcess,
                       request<tasks::DeleteProcessRequest>(), kCall, [self = shared_from_this()](auto) {});
  if (!abandoned_) {
    abandoned_ = true;  // the last callback
    callbacks_.exited(*exit_);
  }
}

void Exec::abandon() {
  if (abandoned_) return;
  abandoned_ = true;
  close_pipes();
  pending_.clear();
  stdin_timer_.reset();
  silence_.reset();
  if (exit_) return finish();
  auto kill = request<tasks::KillRequest>();
  kill.set_signal(SIGKILL);
  services_.calls.call(services_.tasks->async(), &Tasks::Stub::async::Kill, std::move(kill), kCall, ignore<Empty>());
}

}  // namespace

void start_exec(ExecServices& services, const std::string& container_id, const ExecOptions& options,
                Process::Callbacks callbacks, Runtime::Done<std::unique_ptr<Process>> done) {
  std::make_shared<Exec>(services, container_id, options, std::move(callbacks))->start(std::move(done));
}

}  // namespace gantry::nodeagent
