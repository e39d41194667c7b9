#include "libs/cron/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <span>
#include <string>
#include <vector>

namespace gantry::cron {
namespace {

constexpr std::string_view kMonths[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                        "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::string_view kWeekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Bounds {
  int min, max;
  std::span<const std::string_view> names;
};

Error invalid(std::string message) { return {.code = Code::kInvalid, .message = std::move(message)}; }

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    size_t end = std::min(text.find_first_of(separators), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

Result<int> number(std::string_view text, const Bounds& bounds) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (size_t i = 0; i < bounds.names.size(); ++i) {
    if (bounds.names[i] == lower) return bounds.min + static_cast<int>(i);
  }
  int value = 0;
  auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size())
    return invalid(fmt::format("failed to parse int from {0}: strconv.Atoi: parsing \"{0}\": invalid syntax", text));
  if (value < 0) return invalid(fmt::format("negative number ({}) not allowed: {}", value, text));
  return value;
}

struct Field {
  uint64_t bits = 0;
  bool any = false;
};

Status add_range(std::string_view text, const Bounds& bounds, Field& field) {
  const size_t slash = text.find('/');
  const std::string_view range = text.substr(0, slash);
  const size_t dash = range.find('-');
  int first = bounds.min, last = bounds.max, step = 1;
  bool any = false;
  if (range == "*" || range == "?") {
    any = true;
  } else {
    auto low = number(range.substr(0, dash), bounds);
    if (!low.ok()) return low.error();
    first = last = *low;
    if (dash != std::string_view::npos) {
      const std::string_view rest = range.substr(dash + 1);
      if (rest.find('-') != std::string_view::npos) return invalid(fmt::format("too many hyphens: {}", text));
      auto high = number(rest, bounds);
      if (!high.ok()) return high.error();
      last = *high;
    }
  }
  if (slash != std::string_view::npos) {
    const std::string_view rest = text.substr(slash + 1);
    if (rest.find('/') != std::string_view::npos) return invalid(fmt::format("too many slashes: {}", text));
    auto by = number(rest, {0, 0, {}});
    if (!by.ok()) return by.error();
    step = *by;
    if (!any && dash == std::string_view::npos) last = bounds.max;
    if (step > 1) any = false;
  }
  if (first < bounds.min)
    return invalid(fmt::format("beginning of range ({}) below minimum ({}): {}", first, bounds.min, text));
  if (last > bounds.max)
    return invalid(fmt::format("end of range ({}) above maximum ({}): {}", last, bounds.max, text));
  if (first > last)
    return invalid(fmt::format("beginning of range ({}) beyond end of range ({}): {}", first, last, text));
  if (step == 0) return invalid(fmt::format("step of range should be a positive number: {}", text));
  for (int i = first; i <= last; i += step) field.bits |= uint64_t{1} << i;
  field.any = field.any || any;
  return Done{};
}

Result<Field> parse_field(std::string_view text, const Bounds& bounds) {
  Field field;
  for (std::string_view part : split(text, ",")) {
    if (auto added = add_range(part, bounds, field); !added.ok()) return added.error();
  }
  return field;
}

/// As Go writes durations: 1h30m, 90s, 1.5h.
Result<int64_t> parse_duration(std::string_view text) {
  auto bad = [&] { return invalid(fmt::format("time: invalid duration \"{}\"", text)); };
  double seconds = 0;
  std::string_view left = text;
  if (left.empty()) return bad();
  while (!left.empty()) {
    double value = 0;
    auto read = std::from_chars(left.data(), left.data() + left.size(), value);
    if (read.ec != std::errc() || value < 0) return bad();
    left.remove_prefix(static_cast<size_t>(read.ptr - left.data()));
    static constexpr std::pair<std::string_view, double> kUnits[] = {{"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9},
                                                                     {"h", 3600},  {"m", 60},    {"s", 1}};
    const auto* unit =
        std::find_if(std::begin(kUnits), std::end(kUnits), [&](const auto& u) { return left.starts_with(u.first); });
    if (unit == std::end(kUnits)) return bad();
    left.remove_prefix(unit->first.size());
    seconds += value * unit->second;
  }
  if (seconds > 1e10) return bad();
  return std::max<int64_t>(1, static_cast<int64_t>(seconds));
}

}  // namespace

Result<Schedule> Schedule::parse(std::string_view text) {
  if (text.empty()) return invalid("empty spec string");
  Schedule schedule;
  std::string_view spec = text;
  if (text.front() == '@') {
    static constexpr std::pair<std::string_view, std::string_view> kNamed[] = {
        {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
        {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};
    const auto* named =
        std::find_if(std::begin(kNamed), std::end(kNamed), [&](const auto& n) { return n.first == text; });
    if (named == std::end(kNamed)) {
      constexpr std::string_view kEvery = "@every ";
      if (!text.starts_with(kEvery)) return invalid(fmt::format("unrecognized descriptor: {}", text));
      auto every = parse_duration(text.substr(kEvery.size()));
      if (!every.ok()) return invalid(fmt::format("failed to parse duration {}: {}", text, every.error().message));
      schedule.every_ = *every;
      return schedule;
    }
    spec = named->second;
  }
  const auto fields = split(spec, " \t\r\n");
  if (fields.size() != 5)
    return invalid(fmt::format("expected exactly 5 fields, found {}: [{}]", fields.size(), fmt::join(fields, " ")));
  const Bounds bounds[] = {{0, 59, {}}, {0, 23, {}}, {1, 31, {}}, {1, 12, kMonths}, {0, 6, kWeekdays}};
  uint64_t* const bits[] = {&schedule.minutes_, &schedule.hours_, &schedule.days_, &schedule.months_,
                            &schedule.weekdays_};
  for (size_t i = 0; i < 5; ++i) {
    auto field = parse_field(fields[i], bounds[i]);
    if (!field.ok()) return field.error();
    *bits[i] = field->bits;
    if (i == 2) schedule.any_day_ = field->any;
    if (i == 4) schedule.any_weekday_ = field->any;
  }
  return schedule;
}

bool Schedule::day_matches(const Civil& c) const {
  bool day = (days_ >> c.day & 1) != 0, weekday = (weekdays_ >> c.weekday & 1) != 0;
  return any_day_ || any_weekday_ ? day && weekday : day || weekday;
}

std::optional<int64_t> Schedule::next(int64_t after, const Zone& zone) const {
  if (every_ > 0) return after + every_;
  int64_t t = after - ((after % 60) + 60) % 60 + 60;  // offsets are whole minutes in our times
  const int64_t limit = after + int64_t{5} * 366 * 86'400;
  while (t <= limit) {
    Civil c = zone.local(t);
    if ((months_ >> c.month & 1) == 0 || !day_matches(c)) {
      int64_t of_day = c.hour * 3600 + c.minute * 60 + c.second;
      int64_t midnight = t + 86'400 - of_day;
      Civil m = zone.local(midnight);
      of_day = m.hour * 3600 + m.minute * 60 + m.second;
      if (of_day > 43'200) {  // the day was longer
        midnight += 86'400 - of_day;
      } else if (of_day > 0 && zone.local(midnight - of_day).day == m.day) {  // it was shorter
        midnight -= of_day;
      }
      t = midnight;
    } else if ((hours_ >> c.hour & 1) == 0) {
      t += 3600 - c.minute * 60 - c.second;
    } else if ((minutes_ >> c.minute & 1) == 0) {
      t += 60 - c.second;
    } else {
      return t;
    }
  }
  return std::nullopt;
}

}  // namespace gantry::cron
