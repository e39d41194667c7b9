// What a 2 KB pod costs in every direction, beside nlohmann-json's parse of the same text.
#include <benchmark/benchmark.h>

#include <nlohmann/json.hpp>

#include "libs/model/draft.h"
#include "libs/model/json.h"
#include "libs/model/managed_fields.h"
#include "libs/model/protobuf.h"
#include "libs/model/selector.h"
#include "libs/model/testing/random_object.h"

namespace gantry::model {
namespace {

const Kind& pods() { return *Schema::get().by_resource("pods"); }
const std::string& text() {
  static const std::string json = nlohmann::json::parse(testing::kPodJson).dump();
  return json;
}
const Object& pod() {
  static const Object object(pods(), *from_json(pods(), text()));
  return object;
}
void per_byte(benchmark::State& state, size_t size) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(size));
}

void nlohmann_parse(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(nlohmann::json::parse(text()));
  per_byte(state, text().size());
}
BENCHMARK(nlohmann_parse);

void json_to_flatbuffer(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(from_json(pods(), text()));
  per_byte(state, text().size());
}
BENCHMARK(json_to_flatbuffer);

void json_to_flatbuffer_strict(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(from_json(pods(), text(), {.strict = true}));
  per_byte(state, text().size());
}
BENCHMARK(json_to_flatbuffer_strict);

void flatbuffer_to_json(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(to_json(pod()));
  per_byte(state, text().size());
}
BENCHMARK(flatbuffer_to_json);

// MB/s of the protobuf message.
void protobuf_to_flatbuffer(benchmark::State& state) {
  auto body = to_protobuf(pod());
  auto raw = open_protobuf(body)->raw;
  for (auto _ : state) benchmark::DoNotOptimize(from_protobuf(*pods().type, raw));
  per_byte(state, raw.size());
}
BENCHMARK(protobuf_to_flatbuffer);

void flatbuffer_to_protobuf(benchmark::State& state) {
  auto size = to_protobuf(pod()).size();
  for (auto _ : state) benchmark::DoNotOptimize(to_protobuf(pod()));
  per_byte(state, size);
}
BENCHMARK(flatbuffer_to_protobuf);

void verify_flatbuffer(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(verify(*pods().type, pod().bytes()));
  per_byte(state, pod().bytes().size());
}
BENCHMARK(verify_flatbuffer);

void draft_bind(benchmark::State& state) {
  for (auto _ : state) {
    Draft draft(pod());
    draft.set("spec.nodeName", "node-0042");
    benchmark::DoNotOptimize(draft.build());
  }
}
BENCHMARK(draft_bind);

void equal_objects(benchmark::State& state) {
  Object other = Draft(pod()).build();
  for (auto _ : state) benchmark::DoNotOptimize(equal(*pods().type, pod().root(), other.root()));
}
BENCHMARK(equal_objects);

void label_selector(benchmark::State& state) {
  auto selector = *LabelSelector::parse("app=web,pod-template-hash in (7d4b9c6f5,x)");
  for (auto _ : state) benchmark::DoNotOptimize(selector.matches(pod().meta()->labels()));
}
BENCHMARK(label_selector);

// What a new object's managedFields cost its creator.
void owners_of_a_new_pod(benchmark::State& state) {
  for (auto _ : state) {
    ManagedFields owners;
    FieldChanges all;
    all.added = all_fields(*pods().type, pod().root());
    ManagedEntry writer;
    writer.manager = "kubectl";
    writer.api_version = "v1";
    writer.time = 1'700'000'000;
    note_update(owners, all, writer);
    Draft draft(pod());
    write_managed_fields(draft, std::move(owners));
    benchmark::DoNotOptimize(draft.build());
  }
}
BENCHMARK(owners_of_a_new_pod);

void changes_of_a_status(benchmark::State& state) {
  Draft draft(pod());
  draft.set("status.message", "changed");
  const Object after = draft.build();
  for (auto _ : state) benchmark::DoNotOptimize(field_changes(*pods().type, pod().root(), after.root()));
}
BENCHMARK(changes_of_a_status);

}  // namespace
}  // namespace gantry::model
