#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "libs/model/names.h"
#include "libs/model/selector.h"

namespace gantry::model {

namespace {

bool special(char c) { return std::string_view("=!(),><").find(c) != std::string_view::npos; }
bool space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/// Words and operators, as the API server's lexer cuts them.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : rest_(text) { advance(); }
  std::string_view peek() const { return token_; }
  bool at_end() const { return token_.empty(); }
  bool is_word() const { return !token_.empty() && !special(token_.front()); }
  std::string_view take() {
    auto token = token_;
    advance();
    return token;
  }
  bool take_if(std::string_view token) {
    if (token_ != token) return false;
    advance();
    return true;
  }

 private:
  void advance() {
    while (!rest_.empty() && space(rest_.front())) rest_.remove_prefix(1);
    size_t n = 0;
    if (!rest_.empty() && special(rest_.front())) {
      auto two = rest_.substr(0, 2);
      n = two == "==" || two == "!=" ? 2 : 1;
    } else {
      while (n < rest_.size() && !special(rest_[n]) && !space(rest_[n])) ++n;
    }
    token_ = rest_.substr(0, n);
    rest_.remove_prefix(n);
  }
  std::string_view rest_, token_;
};

Error bad(std::string what) { return {Code::kBadRequest, "unable to parse requirement: " + what}; }

Error expected(std::string_view found, std::string_view what) {
  return bad(fmt::format("found '{}', expected: {}", found, what));
}

bool to_int(std::string_view s, int64_t& out) {
  auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), out);
  return error == std::errc() && end == s.data() + s.size();
}

std::string check_key(std::string_view key) {
  auto error = check_qualified_name(key);
  return error.empty() ? "" : fmt::format("key: Invalid value: \"{}\": {}", key, error);
}

std::string check_value(std::string_view key, std::string_view value) {
  auto error = check_label_value(value);
  return error.empty() ? "" : fmt::format("values[0][{}]: Invalid value: \"{}\": {}", key, value, error);
}

}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector out;
  Lexer lexer(text);
  while (!lexer.at_end()) {
    Requirement r;
    bool negated = lexer.take_if("!");
    if (!lexer.is_word()) return expected(lexer.peek(), "identifier");
    r.key = lexer.take();
    if (auto error = check_key(r.key); !error.empty()) return bad(error);
    bool end = lexer.at_end() || lexer.peek() == ",";
    if (negated || end) {
      if (!end) return expected(lexer.peek(), "',' or 'end of string'");
      r.op = negated ? Operator::kDoesNotExist : Operator::kExists;
    } else {
      auto op = lexer.take();
      if (op == "in" || op == "notin") {
        r.op = op == "in" ? Operator::kIn : Operator::kNotIn;
        if (!lexer.take_if("(")) return expected(lexer.peek(), "'('");
        // Values may be empty: `a in (,b)` has "" too.
        while (true) {
          r.values.emplace_back(lexer.is_word() ? lexer.take() : std::string_view());
          if (lexer.take_if(")")) break;
          if (!lexer.take_if(",")) return expected(lexer.peek(), "',', or ')'");
        }
      } else if (op == "=" || op == "==" || op == "!=") {
        r.op = op == "!=" ? Operator::kNotIn : Operator::kIn;
        r.values.emplace_back(lexer.is_word() ? lexer.take() : std::string_view());
      } else if (op == ">" || op == "<") {
        r.op = op == ">" ? Operator::kGreater : Operator::kLess;
        r.values.emplace_back(lexer.is_word() ? lexer.take() : std::string_view());
        int64_t number;
        if (!to_int(r.values[0], number)) {
          return bad(fmt::format(
              "values[0]: Invalid value: \"{}\": for 'Gt', 'Lt' operators, the value must be an integer", r.values[0]));
        }
      } else {
        return expected(op, "in, notin, =, ==, !=, gt, lt");
      }
      for (const auto& value : r.values) {
        if (auto error = check_value(r.key, value); !error.empty()) return bad(error);
      }
    }
    out.requirements_.push_back(std::move(r));
    if (lexer.at_end()) break;
    if (!lexer.take_if(",")) return expected(lexer.peek(), "',' or 'end of string'");
    if (lexer.at_end()) return expected("", "identifier after ','");
  }
  return out;
}

Result<LabelSelector> LabelSelector::from(const api::meta_v1::LabelSelector* selector) {
  LabelSelector out;
  if (selector == nullptr) {
    out.nothing_ = true;
    return out;
  }
  if (selector->match_labels()) {
    for (const auto* entry : *selector->match_labels()) {
      out.requirements_.push_back({std::string(str(entry->key())), Operator::kIn, {std::string(str(entry->value()))}});
    }
  }
  if (selector->match_expressions()) {
    for (const auto* e : *selector->match_expressions()) {
      Requirement r{std::string(str(e->key())), Operator::kIn, {}};
      auto op = str(e->operator_());
      if (op == "In") {
        r.op = Operator::kIn;
      } else if (op == "NotIn") {
        r.op = Operator::kNotIn;
      } else if (op == "Exists") {
        r.op = Operator::kExists;
      } else if (op == "DoesNotExist") {
        r.op = Operator::kDoesNotExist;
      } else {
        return Error{Code::kBadRequest, fmt::format("\"{}\" is not a valid label selector operator", op)};
      }
      if (e->values()) {
        for (const auto* v : *e->values()) r.values.emplace_back(str(v));
      }
      bool wants_values = r.op == Operator::kIn || r.op == Operator::kNotIn;
      if (wants_values && r.values.empty()) {
        return Error{Code::kBadRequest,
                     "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"};
      }
      if (!wants_values && !r.values.empty()) {
        return Error{Code::kBadRequest,
                     "values: Invalid value: values set must be empty for exists and does not exist"};
      }
      out.requirements_.push_back(std::move(r));
    }
  }
  return out;
}

LabelSelector LabelSelector::from_map(const Labels* match_labels) {
  LabelSelector out;
  out.nothing_ = match_labels == nullptr || match_labels->size() == 0;
  if (out.nothing_) return out;
  for (const auto* entry : *match_labels) {
    out.requirements_.push_back({std::string(str(entry->key())), Operator::kIn, {std::string(str(entry->value()))}});
  }
  return out;
}

bool LabelSelector::matches(const Labels* labels) const {
  if (nothing_) return false;
  for (const auto& r : requirements_) {
    const auto* value = lookup(labels, r.key);
    auto listed = [&] { return std::find(r.values.begin(), r.values.end(), str(value)) != r.values.end(); };
    auto ordered = [&](bool greater) {
      int64_t have, want;
      if (!value || !to_int(str(value), have) || !to_int(r.values[0], want)) return false;
      return greater ? have > want : have < want;
    };
    bool ok = false;
    switch (r.op) {
      case Operator::kIn:
        ok = value && listed();
        break;
      case Operator::kNotIn:
        ok = !value || !listed();
        break;
      case Operator::kExists:
        ok = value;
        break;
      case Operator::kDoesNotExist:
        ok = !value;
        break;
      case Operator::kGreater:
        ok = ordered(true);
        break;
      case Operator::kLess:
        ok = ordered(false);
        break;
    }
    if (!ok) return false;
  }
  return true;
}

std::string LabelSelector::to_string() const {
  std::string out;
  for (const auto& r : requirements_) {
    if (!out.empty()) out += ',';
    auto values = r.values;
    std::sort(values.begin(), values.end());
    bool one = values.size() == 1;
    switch (r.op) {
      case Operator::kIn:
        out += one ? r.key + "=" + values[0] : fmt::format("{} in ({})", r.key, fmt::join(values, ","));
        break;
      case Operator::kNotIn:
        out += one ? r.key + "!=" + values[0] : fmt::format("{} notin ({})", r.key, fmt::join(values, ","));
        break;
      case Operator::kExists:
        out += r.key;
        break;
      case Operator::kDoesNotExist:
        out += "!" + r.key;
        break;
      case Operator::kGreater:
        out += r.key + ">" + values[0];
        break;
      case Operator::kLess:
        out += r.key + "<" + values[0];
        break;
    }
  }
  return out;
}

}  // namespace gantry::model
