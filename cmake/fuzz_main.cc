// Runs a libFuzzer-shaped target without libFuzzer (gcc has none): first every corpus file, then seeded random
// mutations of them for --seconds. The seed is --seed=N, or GANTRY_SEED, or 1, so that a run is repeated by running it
// again; tools/soak tries others. With clang, link the same target with -fsanitize=fuzzer.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::string mutate(std::mt19937_64& random, const std::vector<std::string>& corpus) {
  auto pick = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  std::string s = corpus.empty() ? std::string() : corpus[pick(corpus.size())];
  for (size_t rounds = 1 + pick(8); rounds > 0; --rounds) {
    switch (pick(5)) {
      case 0:
        s.insert(s.begin() + static_cast<ptrdiff_t>(pick(s.size() + 1)), static_cast<char>(random()));
        break;
      case 1:
        if (!s.empty()) s.erase(pick(s.size()), 1 + pick(8));
        break;
      case 2:
        if (!s.empty()) s[pick(s.size())] = static_cast<char>(random());
        break;
      case 3:
        if (!s.empty()) s[pick(s.size())] ^= static_cast<char>(1 << pick(8));
        break;
      case 4:
        if (!corpus.empty()) {
          const auto& other = corpus[pick(corpus.size())];
          size_t from = pick(other.size() + 1);
          s.insert(pick(s.size() + 1), other.substr(from, pick(32)));
        }
        break;
    }
  }
  return s;
}

}  // namespace

int main(int argc, char** argv) {
  const char* variable = std::getenv("GANTRY_SEED");
  uint64_t seed = variable != nullptr ? std::strtoull(variable, nullptr, 10) : 1;
  long seconds = 5;
  std::vector<std::string> corpus;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--seed=", 7) == 0) {
      seed = std::strtoull(argv[i] + 7, nullptr, 10);
    } else if (std::strncmp(argv[i], "--seconds=", 10) == 0) {
      seconds = std::strtol(argv[i] + 10, nullptr, 10);
    } else if (std::filesystem::is_directory(argv[i])) {
      for (const auto& file : std::filesystem::directory_iterator(argv[i])) {
        std::ifstream in(file.path(), std::ios::binary);
        corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
      }
    }
  }
  std::printf("seed %llu, corpus %zu\n", static_cast<unsigned long long>(seed), corpus.size());
  std::fflush(stdout);
  for (const auto& s : corpus) LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(s.data()), s.size());
  std::mt19937_64 random(seed);
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  uint64_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    auto s = mutate(random, corpus);
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(s.data()), s.size());
  }
  std::printf("%llu runs\n", static_cast<unsigned long long>(runs));
}
