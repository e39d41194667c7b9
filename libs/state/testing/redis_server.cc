#include "libs/state/testing/redis_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "libs/state/redis_start.h"

namespace gantry::state::testing {
namespace {

int free_port() {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t length = sizeof(address);
  bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
               getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  close(fd);
  return bound ? ntohs(address.sin_port) : 0;
}

std::string print(const redisReply* reply) {
  if (reply == nullptr || reply->type == REDIS_REPLY_NIL) return "";
  if (reply->type == REDIS_REPLY_INTEGER) return std::to_string(reply->integer);
  if (reply->type != REDIS_REPLY_ARRAY) return {reply->str, static_cast<size_t>(reply->len)};
  std::string out;
  for (size_t i = 0; i < reply->elements; ++i) out += (i > 0 ? " " : "") + print(reply->element[i]);
  return out;
}

bool wait_for(const std::function<bool()>& condition) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

RedisServer::RedisServer(std::vector<std::string> arguments) : arguments_(std::move(arguments)), port_(free_port()) {
  std::string pattern = (std::filesystem::temp_directory_path() / "gantry-redis-XXXXXX").string();
  directory_ = mkdtemp(pattern.data());
  start();
}

RedisServer::~RedisServer() {
  resume();
  kill();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void RedisServer::start() {
  std::vector<std::string> words{"sh",
                                 "-c",
                                 kStartRedis,
                                 "redis-start",
                                 directory_,
                                 "--unixsocket",
                                 socket(),
                                 "--port",
                                 std::to_string(port_),
                                 "--bind",
                                 "127.0.0.1",
                                 "--dir",
                                 directory_,
                                 "--appendonly",
                                 "yes",
                                 "--appendfsync",
                                 "always",
                                 "--save",
                                 "",
                                 "--logfile",
                                 directory_ + "/log",
                                 "--repl-diskless-sync-delay",
                                 "0"};
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  unlink(socket().c_str());
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  EXPECT_TRUE(wait_for([this] { return command({"PING"}) == "PONG"; }))
      << "redis-server does not answer: " << directory_;
}

void RedisServer::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::kill(-pid_, SIGKILL);  // a child that rewrites the append-only file would go on writing
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void RedisServer::tear(size_t bytes) {
  std::string last;
  for (const auto& file : std::filesystem::directory_iterator(directory_ + "/appendonlydir")) {
    if (file.path().string().find(".incr.") != std::string::npos) last = std::max(last, file.path().string());
  }
  std::filesystem::resize_file(last, std::filesystem::file_size(last) - bytes);
}

void RedisServer::pause() {
  if (pid_ > 0) ::kill(pid_, SIGSTOP);
}
void RedisServer::resume() {
  if (pid_ > 0) ::kill(pid_, SIGCONT);
}

std::string RedisServer::command(const std::vector<std::string>& words) {
  auto* context = redisConnectUnix(socket().c_str());
  std::string out;
  if (context != nullptr && context->err == 0) {
    std::vector<const char*> argv;
    std::vector<size_t> lengths;
    for (const auto& word : words) {
      argv.push_back(word.data());
      lengths.push_back(word.size());
    }
    auto* reply =
        static_cast<redisReply*>(redisCommandArgv(context, static_cast<int>(argv.size()), argv.data(), lengths.data()));
    out = print(reply);
    if (reply != nullptr) freeReplyObject(reply);
  }
  if (context != nullptr) redisFree(context);
  return out;
}

void RedisServer::replicate(const RedisServer& master) {
  command({"REPLICAOF", "127.0.0.1", std::to_string(master.port())});
  EXPECT_TRUE(wait_for([this] {
    auto info = command({"INFO", "replication"});
    return info.find("master_link_status:up") != std::string::npos &&
           info.find("master_sync_in_progress:0") != std::string::npos;
  })) << "no replication";
}

}  // namespace gantry::state::testing
