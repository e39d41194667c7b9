// Requests a second of the server, with its client on the same loop and thread: the figure includes the client's
// (small) share.
#include <benchmark/benchmark.h>

#include "libs/http/channel.h"
#include "libs/http/server.h"

namespace gantry::http {
namespace {

constexpr std::string_view kRequest =
    "GET /api/v1/namespaces/default/pods/web-1 HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\nUser-Agent: "
    "bench\r\n\r\n";

/// Sends one request after the other; counts answers by their known size.
class Connection final : private ChannelHandler {
 public:
  Connection(const std::shared_ptr<IoContext>& io, uint16_t port, size_t depth)
      : depth_(depth), channel_(Channel::create(io)) {
    sockaddr_in address{};
    uv_ip4_addr("127.0.0.1", port, &address);
    channel_->attach(this);
    channel_->connect(reinterpret_cast<sockaddr*>(&address), nullptr, {});
  }
  ~Connection() {
    channel_->detach();
    channel_->close();
  }

  size_t answers = 0;

 private:
  void on_ready(std::string_view) override {
    for (size_t i = 0; i < depth_; ++i) channel_->write(kRequest);
  }
  void on_bytes(std::string_view bytes) override {
    if (answer_size_ == 0) answer_size_ = bytes.size() / depth_;
    received_ += bytes.size();
    while (received_ >= answer_size_) {
      received_ -= answer_size_;
      ++answers;
      channel_->write(kRequest);
    }
  }
  void on_eof() override { CHECK(false); }
  void on_closed() override {}

  size_t depth_, answer_size_ = 0, received_ = 0;
  std::shared_ptr<Channel> channel_;
};

void BM_Http1(benchmark::State& state) {
  UvLoop loop;
  std::string body(1024, 'x');
  Server server(loop, {}, [&](Request, std::shared_ptr<Responder> responder) {
    responder->send(200, {{"Content-Type", "application/json"}}, body);
  });
  CHECK(server.start().ok());
  auto io = IoContext::create(loop);
  std::vector<std::unique_ptr<Connection>> connections;
  for (int i = 0; i < state.range(0); ++i) {
    connections.push_back(std::make_unique<Connection>(io, server.port(), static_cast<size_t>(state.range(1))));
  }
  for (auto _ : state) loop.run_once();
  state.SetItemsProcessed(static_cast<int64_t>(server.stats().requests));
}
BENCHMARK(BM_Http1)->Args({1, 1})->Args({64, 1})->Args({64, 8})->ArgNames({"connections", "pipeline"});

}  // namespace
}  // namespace gantry::http
