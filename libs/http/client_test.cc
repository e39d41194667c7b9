#include "libs/http/client.h"

#include "libs/http/testing/test_server.h"

namespace gantry::http {
namespace {

using std::chrono::milliseconds;
using testing::ServerTest;

class ClientTest : public ServerTest {};

TEST_F(ClientTest, GetsAndPosts) {
  serve(false);
  auto got = call({.url = url("/hello?a=b")});
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->headers.get("content-type"), "text/plain");
  EXPECT_EQ(got->body, "hello\n");
  EXPECT_EQ(seen[0].target, "/hello?a=b");
  got = call({.method = "POST", .url = url("/echo"), .headers = {{"X-Y", "z"}}, .body = std::string(500'000, 'b')});
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->body.size(), 500'000u);
  EXPECT_EQ(seen[1].headers.get("x-y"), "z");
  EXPECT_EQ(call({.url = url("/missing")})->status, 404);
  EXPECT_EQ(call({.method = "HEAD", .url = url("/hello")})->body, "");
  EXPECT_EQ(call({.url = fmt::format("http://localhost:{}/hello", server->port())})->body, "hello\n");
}

TEST_F(ClientTest, TlsVerifiesTheServerAndShowsItsOwnCertificate) {
  serve(true);
  auto files = ca.client("bob", {"devs"});
  auto client = Client::create(loop, {.ca_file = ca.ca_file(), .cert_file = files.cert, .key_file = files.key});
  ASSERT_TRUE(client.ok()) << client.error().message;
  auto run = [&](Client& with, std::string to) {
    std::optional<Result<Response>> result;
    auto call = with.call({.url = std::move(to)}, [&](Result<Response> answer) { result.emplace(std::move(answer)); });
    wait([&] { return result.has_value(); });
    return std::move(*result);
  };
  auto got = run(**client, url("/who"));
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(got->body, "bob:devs");
  EXPECT_EQ(run(**client, fmt::format("https://localhost:{}/who", server->port()))->body, "bob:devs");

  testing::TestCa other(dir.path(), "other-ca");
  auto stranger = Client::create(loop, {.ca_file = other.ca_file()});
  got = run(**stranger, url("/who"));
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.code(), Code::kUnavailable);
  EXPECT_NE(got.error().message.find("certificate"), std::string::npos) << got.error().message;

  auto careless = Client::create(loop, {.insecure_skip_verify = true});
  EXPECT_EQ(run(**careless, url("/who"))->body, "anonymous");
  EXPECT_EQ(Client::create(loop, {.ca_file = "/no/file"}).code(), Code::kInvalid);

  ca.server("elsewhere");  // fits 127.0.0.1 and localhost only
  auto wrong = run(**client, fmt::format("https://127.0.0.2:{}/who", server->port()));
  EXPECT_FALSE(wrong.ok());
}

TEST_F(ClientTest, StreamsTheBody) {
  serve(true);
  std::string body;
  int status = 0, pieces = 0;
  auto got = call({.url = url("/stream?n=1000&size=1024"),
                   .on_data =
                       [&](std::string_view piece) {
                         body += piece;
                         ++pieces;
                       },
                   .on_head = [&](int s, const Headers&) { status = s; }});
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(status, 200);
  EXPECT_EQ(body.size(), 1000u * 1024u);
  EXPECT_GT(pieces, 1);
  EXPECT_EQ(got->body, "");
}

TEST_F(ClientTest, ErrorsSayWhatHappened) {
  serve(false);
  routes["/never"] = [kept = std::make_shared<std::vector<std::shared_ptr<Responder>>>()](
                         Request, std::shared_ptr<Responder> responder) { kept->push_back(responder); };
  routes["/half"] = [](Request, std::shared_ptr<Responder> responder) {
    responder->start(200, {});
    responder->write("half");
  };
  EXPECT_EQ(call({.url = "ftp://x/"}).code(), Code::kInvalid);
  EXPECT_EQ(call({.url = "nonsense"}).code(), Code::kInvalid);
  EXPECT_EQ(call({.url = "http://127.0.0.1:1/"}).code(), Code::kUnavailable);
  EXPECT_EQ(call({.url = url("/never"), .deadline = milliseconds(50)}).code(), Code::kTimeout);
  EXPECT_EQ(call({.url = url("/half")}).code(), Code::kUnknownOutcome);
  EXPECT_EQ(call({.url = url("/stream?n=100&size=1000"), .max_body_bytes = 1000}).code(), Code::kTooLarge);
}

TEST_F(ClientTest, DroppingTheCallCancels) {
  serve(false);
  bool gone = false;
  routes["/watch"] = [&](Request, std::shared_ptr<Responder> responder) {
    responder->start(200, {}, Length::kEndless);
    responder->write("event");
    responder->on_close([&gone, responder] { gone = true; });
  };
  auto client = *Client::create(loop, {});
  std::shared_ptr<Call> call;
  int pieces = 0;
  call = client->call({.url = url("/watch"),
                       .deadline = milliseconds(0),
                       .on_data =
                           [&](std::string_view) {
                             ++pieces;
                             call.reset();
                           }},
                      [](Result<Response>) { FAIL() << "cancelled"; });
  EXPECT_TRUE(wait([&] { return gone; }));
  EXPECT_EQ(pieces, 1);
}

}  // namespace
}  // namespace gantry::http
