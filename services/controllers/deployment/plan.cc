#include "services/controllers/deployment/plan.h"

#include <cmath>

#include "libs/model/object.h"

namespace gantry::controllers {

Rollout resolve(const api::apps_v1::DeploymentSpec& spec) {
  Rollout rollout;
  rollout.replicas = spec.replicas().value_or(1);
  const auto* strategy = spec.strategy();
  rollout.rolling = strategy == nullptr || model::str(strategy->type()) != "Recreate";
  if (!rollout.rolling) return rollout;
  const auto* rolling = strategy == nullptr ? nullptr : strategy->rolling_update();
  rollout.max_surge =
      resolve_percent(rolling == nullptr ? nullptr : rolling->max_surge(), rollout.replicas, true, "25%");
  rollout.max_unavailable =
      resolve_percent(rolling == nullptr ? nullptr : rolling->max_unavailable(), rollout.replicas, false, "25%");
  if (rollout.max_surge == 0 && rollout.max_unavailable == 0) rollout.max_unavailable = 1;  // or it would never move
  rollout.max_unavailable = std::min(rollout.max_unavailable, rollout.replicas);
  return rollout;
}

int32_t new_size(const Rollout& rollout, const Member& news, const std::vector<Member>& olds) {
  if (!rollout.rolling || news.replicas > rollout.replicas) return rollout.replicas;
  int32_t total = news.replicas;
  for (const Member& old : olds) total += old.replicas;
  int32_t allowed = rollout.replicas + rollout.max_surge;
  if (total >= allowed) return news.replicas;
  return news.replicas + std::min(allowed - total, rollout.replicas - news.replicas);
}

std::vector<Scale> shrink_old(const Rollout& rollout, const Member& news, std::vector<Member> olds) {
  // A status of an older spec may still count pods that are gone: what it promises would be taken twice.
  if (!news.settled || !std::all_of(olds.begin(), olds.end(), [](const Member& m) { return m.settled; })) return {};
  std::sort(olds.begin(), olds.end(), [](const Member& a, const Member& b) {
    return a.created != b.created ? a.created < b.created : a.name < b.name;
  });
  std::vector<int32_t> before;
  int32_t total = news.replicas, available = news.available;
  for (const Member& old : olds) {
    before.push_back(old.replicas);
    total += old.replicas;
    available += std::min(old.available, old.replicas);  // the rest is asked to go
  }
  int32_t min_available = rollout.replicas - rollout.max_unavailable;
  int32_t budget = total - min_available - (news.replicas - news.available);
  if (budget <= 0) return {};
  // What is not available anyway goes first: it costs nothing.
  for (Member& old : olds) {
    int32_t n = std::min(budget, std::max(0, old.replicas - old.available));
    old.replicas -= n;
    budget -= n;
  }
  int32_t surplus = available - min_available;
  for (Member& old : olds) {
    int32_t n = std::min(old.replicas, std::max(0, surplus));
    old.replicas -= n;
    surplus -= n;
  }
  std::vector<Scale> scales;
  for (size_t i = 0; i < olds.size(); ++i) {
    if (olds[i].replicas != before[i]) scales.push_back({olds[i].index, olds[i].replicas});
  }
  return scales;
}

namespace {

/// The share of `change` that `member` gets: it grows or shrinks as the whole does.
int32_t proportion(const Rollout& rollout, const Member& member, int32_t change, int32_t given) {
  if (member.replicas == 0 || change == given) return 0;
  int32_t share;
  if (rollout.replicas == 0) {
    share = -member.replicas;
  } else {
    if (member.max_annotation <= 0) return 0;
    double size = static_cast<double>(member.replicas) * (rollout.replicas + rollout.max_surge) / member.max_annotation;
    share = static_cast<int32_t>(std::lround(size)) - member.replicas;
  }
  int32_t left = change - given;
  return change > 0 ? std::min(share, left) : std::max(share, left);
}

}  // namespace

std::vector<Scale> rescale(const Rollout& rollout, const Member* news, std::vector<Member> olds) {
  std::vector<Member> active;
  for (const Member& old : olds) {
    if (old.replicas > 0) active.push_back(old);
  }
  if (news != nullptr && news->replicas > 0) active.push_back(*news);
  if (active.size() <= 1) {
    const Member* only = active.empty() ? news : &active[0];
    if (only == nullptr) {
      for (const Member& old : olds) {
        if (only == nullptr || old.created > only->created) only = &old;
      }
    }
    if (only == nullptr || (only->replicas == rollout.replicas && only->desired_annotation == rollout.replicas))
      return {};
    return {{only->index, rollout.replicas}};
  }
  std::vector<Scale> scales;
  bool saturated = news != nullptr && news->replicas == rollout.replicas && news->available == rollout.replicas &&
                   news->desired_annotation == rollout.replicas;
  if (saturated) {
    for (const Member& old : olds) {
      if (old.replicas > 0) scales.push_back({old.index, 0});
    }
    return scales;
  }
  if (!rollout.rolling) return {};
  int32_t total = 0;
  for (const Member& member : active) total += member.replicas;
  int32_t allowed = rollout.replicas > 0 ? rollout.replicas + rollout.max_surge : 0;
  int32_t change = allowed - total, given = 0;
  std::sort(active.begin(), active.end(), [&](const Member& a, const Member& b) {
    if (a.replicas != b.replicas) return a.replicas > b.replicas;
    if (a.created != b.created) return change > 0 ? a.created > b.created : a.created < b.created;
    return a.name < b.name;
  });
  std::vector<int32_t> sizes;
  for (const Member& member : active) {
    int32_t share = change == 0 ? 0 : proportion(rollout, member, change, given);
    sizes.push_back(member.replicas + share);
    given += share;
  }
  if (change != 0) sizes[0] = std::max(0, sizes[0] + change - given);
  // All of them, also those that keep their size: their annotations must say what this scaling was for.
  for (size_t i = 0; i < active.size(); ++i) scales.push_back({active[i].index, sizes[i]});
  return scales;
}

}  // namespace gantry::controllers
