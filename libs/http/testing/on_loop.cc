#include "libs/http/testing/on_loop.h"

#include <glog/logging.h>
#include <stdlib.h>
#include <uv.h>

#include <filesystem>
#include <fstream>

namespace gantry::http::testing {

bool run_until(UvLoop& loop, const std::function<bool()>& done, std::chrono::milliseconds deadline) {
  bool late = false;
  Timer timer = loop.after(deadline, [&] { late = true; });
  while (true) {
    if (done()) return true;
    if (late) return false;
    loop.run_once();
  }
}

TempDir::TempDir() : path_("/tmp/gantry-http-XXXXXX") { CHECK(mkdtemp(path_.data()) != nullptr); }

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::write(const std::string& name, const std::string& content) const {
  std::string file = path_ + "/" + name;
  std::ofstream(file, std::ios::binary) << content;
  return file;
}

struct Process::State {
  uv_process_t process{};
  uv_pipe_t in{}, out{}, err{};
  uv_write_t write{};
  std::string input, out_text, err_text;
  char buffer[65536];
  bool exited = false, dropped = false;
  int status = 0, open = 3, handles = 4;

  bool done() const { return exited && open == 1; }  // stdin aside, both outputs have ended

  static void start_reading(uv_pipe_t* pipe) {
    uv_read_start(
        reinterpret_cast<uv_stream_t*>(pipe),
        [](uv_handle_t* handle, size_t, uv_buf_t* buffer) {
          auto* state = static_cast<State*>(handle->data);
          *buffer = uv_buf_init(state->buffer, sizeof state->buffer);
        },
        [](uv_stream_t* stream, ssize_t length, const uv_buf_t* buffer) {
          auto* state = static_cast<State*>(stream->data);
          bool is_out = reinterpret_cast<uv_pipe_t*>(stream) == &state->out;
          if (length > 0) {
            (is_out ? state->out_text : state->err_text).append(buffer->base, static_cast<size_t>(length));
          } else if (length < 0) {
            uv_read_stop(stream);
            --state->open;
          }
        });
  }

  template <typename Handle>
  void close(Handle* handle) {
    auto* raw = reinterpret_cast<uv_handle_t*>(handle);
    if (uv_is_closing(raw) != 0) return;
    uv_close(raw, [](uv_handle_t* closed) {
      auto* state = static_cast<State*>(closed->data);
      if (--state->handles == 0) delete state;
    });
  }
};

Process::Process(UvLoop& loop, std::vector<std::string> argv, std::string input) : state_(new State) {
  state_->input = std::move(input);
  for (auto* pipe : {&state_->in, &state_->out, &state_->err}) {
    uv_pipe_init(loop.raw(), pipe, 0);
    pipe->data = state_;
  }
  state_->process.data = state_;
  std::vector<char*> args;
  for (auto& arg : argv) args.push_back(arg.data());
  args.push_back(nullptr);
  uv_stdio_container_t stdio[3];
  stdio[0].flags = static_cast<uv_stdio_flags>(UV_CREATE_PIPE | UV_READABLE_PIPE);
  stdio[0].data.stream = reinterpret_cast<uv_stream_t*>(&state_->in);
  stdio[1].flags = stdio[2].flags = static_cast<uv_stdio_flags>(UV_CREATE_PIPE | UV_WRITABLE_PIPE);
  stdio[1].data.stream = reinterpret_cast<uv_stream_t*>(&state_->out);
  stdio[2].data.stream = reinterpret_cast<uv_stream_t*>(&state_->err);
  uv_process_options_t options{};
  options.file = args[0];
  options.args = args.data();
  options.stdio = stdio;
  options.stdio_count = 3;
  options.exit_cb = [](uv_process_t* process, int64_t status, int signal) {
    auto* state = static_cast<State*>(process->data);
    state->exited = true;
    state->status = signal != 0 ? 128 + signal : static_cast<int>(status);
  };
  int rc = uv_spawn(loop.raw(), &state_->process, &options);
  CHECK_EQ(rc, 0) << argv[0] << ": " << uv_strerror(rc);
  State::start_reading(&state_->out);
  State::start_reading(&state_->err);
  uv_buf_t buffer = uv_buf_init(state_->input.data(), state_->input.size());
  state_->write.data = state_;
  auto* in = reinterpret_cast<uv_stream_t*>(&state_->in);
  if (state_->input.empty()) {
    state_->close(&state_->in);
  } else {
    uv_write(&state_->write, in, &buffer, 1, [](uv_write_t* write, int) {
      auto* state = static_cast<State*>(write->data);
      state->close(&state->in);
    });
  }
}

Process::~Process() {
  if (!state_->exited) kill();
  state_->close(&state_->in);
  state_->close(&state_->out);
  state_->close(&state_->err);
  state_->close(&state_->process);
}

bool Process::exited() const { return state_->done(); }
int Process::status() const { return state_->status; }
const std::string& Process::out() const { return state_->out_text; }
const std::string& Process::err() const { return state_->err_text; }
void Process::kill() { uv_process_kill(&state_->process, SIGKILL); }

Finished run_process(UvLoop& loop, std::vector<std::string> argv, std::string input,
                     std::chrono::milliseconds deadline) {
  Process process(loop, std::move(argv), std::move(input));
  if (!run_until(
          loop, [&] { return process.exited(); }, deadline)) {
    process.kill();
    return {-1, process.out(), process.err()};
  }
  return {process.status(), process.out(), process.err()};
}

}  // namespace gantry::http::testing
