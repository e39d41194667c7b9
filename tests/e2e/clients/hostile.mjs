// What a peer may do to a gateway over the network: node hostile.mjs URL PID DIRECTORY (of keys). After each the same process serves at once, and
// has not grown beyond what it may.
import assert from 'node:assert';
import fs from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';

const url = new URL(process.argv[2]), pid = process.argv[3], keys = process.argv[4];
const credentials = {
  ca: fs.readFileSync(`${keys}/ca.crt`),
  cert: fs.readFileSync(`${keys}/kubernetes-admin.crt`),
  key: fs.readFileSync(`${keys}/kubernetes-admin.key`),
};
const address = { host: url.hostname, port: Number(url.port) };
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const megabytes = () => Number(/VmRSS:\s*(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;

const ask = (path, options = {}, body) =>
  new Promise((done, failed) => {
    const request = https.request({ ...address, ...credentials, path, agent: false, ...options }, (response) => {
      let text = '';
      response.on('data', (data) => (text += data));
      response.on('end', () => done({ status: response.statusCode, text }));
      response.on('error', failed);
    });
    request.on('error', failed);
    request.end(body);
  });
const open = (text, alpn = ['http/1.1']) =>
  new Promise((done) => {
    const socket = tls.connect({ ...address, ...credentials, ALPNProtocols: alpn }, () => {
      if (text) socket.write(text);
      done(socket);
    });
    socket.received = '';
    socket.on('data', (data) => (socket.received += data.toString('latin1')));
    socket.on('error', () => done(socket));
    socket.on('close', () => (socket.over = true));
  });
const many = (n, make) => Promise.all(Array.from({ length: n }, (_, i) => make(i)));
const isStatus = (answer, code) => {
  assert.equal(answer.status, code, answer.text.slice(0, 300));
  const status = JSON.parse(answer.text);
  assert.equal(status.kind, 'Status');
  assert.equal(status.code, code);
};
const MAPS = '/api/v1/namespaces/default/configmaps';

const attacks = {
  async 'connections that say nothing'() {
    const sockets = await many(1000, () => new Promise((done) => { const s = net.connect(address, () => done(s)); s.on('error', () => done(s)); }));
    return () => sockets.forEach((s) => s.destroy());
  },
  async 'requests that come a byte at a time'() {
    const sockets = await many(200, () => open('GET /api HTTP/1.1\r\nHost: x\r\nX-Slow: '));
    const timer = setInterval(() => sockets.forEach((s) => s.over || s.write('a')), 50);
    await sleep(1000);
    clearInterval(timer);
    return () => sockets.forEach((s) => s.destroy());
  },
  async 'bodies that never end'() {
    const head = `POST ${MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 3000000\r\n\r\n`;
    const sockets = await many(150, () => open(head + ' '.repeat(2_900_000)));
    await sleep(2000);
    assert.ok(sockets.some((s) => s.received.startsWith('HTTP/1.1 503 ')), 'who comes late is told to come again');
    return () => sockets.forEach((s) => s.destroy());
  },
  async 'headers and bodies that are too large'() {
    isStatus(await ask(MAPS, { method: 'POST', headers: { 'Content-Type': 'application/json', 'Content-Length': 100_000_000 } }), 413);
    const socket = await open(`GET /api HTTP/1.1\r\nHost: x\r\nX-Large: ${'x'.repeat(70_000)}\r\n\r\n`);
    for (let i = 0; i < 400 && !socket.over; ++i) await sleep(50);
    assert.match(socket.received, /^HTTP\/1.1 431 /);
    assert.match(socket.received, /"kind":"Status"/);
  },
  async 'what is no HTTP'() {
    for (const text of ['\0'.repeat(1000), 'GET\r\n\r\n', '\x16\x03\x01\x02\x00\x01', 'x'.repeat(100_000), 'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n']) {
      const socket = await open(text);
      for (let i = 0; i < 400 && !socket.over; ++i) await sleep(50);
      assert.match(socket.received, /^HTTP\/1.1 4/);
    }
  },
  async 'rapid resets'() {
    for (let round = 0; round < 5; ++round) {
      const session = http2.connect(url.origin, credentials);
      session.on('error', () => {});
      await new Promise((done) => session.once('connect', done).once('close', done));
      for (let i = 0; i < 5000 && !session.closed && !session.destroyed; ++i) {
        const stream = session.request({ ':path': `${MAPS}?watch=1` });
        stream.on('error', () => {});
        stream.close(http2.constants.NGHTTP2_CANCEL);
        if (i % 100 === 0) await sleep(1);
      }
      session.destroy();
    }
  },
  async 'many streams that want much and take nothing'() {
    const sessions = await many(10, () => new Promise((done) => {
      const session = http2.connect(url.origin, { ...credentials, settings: { initialWindowSize: 0 } }, () => done(session));
      session.on('error', () => {});
    }));
    for (const session of sessions)
      for (let i = 0; i < 200; ++i) session.request({ ':path': '/openapi/v2' }).on('error', () => {});
    await sleep(2000);
    return () => sessions.forEach((s) => s.destroy());
  },
  async 'watches that are not read'() {
    const sockets = await many(100, async () => {
      const socket = await open(`GET ${MAPS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n`);
      socket.pause();
      return socket;
    });
    for (let i = 0; i < 60; ++i) {
      const body = JSON.stringify({ metadata: { name: 'large' }, data: { i: String(i), filling: 'x'.repeat(800_000) } });
      const answer = await ask(i ? `${MAPS}/large` : MAPS, { method: i ? 'PUT' : 'POST', headers: { 'Content-Type': 'application/json' } }, body);
      assert.ok(answer.status < 300, answer.text.slice(0, 300));
    }
    await ask(`${MAPS}/large`, { method: 'DELETE' });
    return () => sockets.forEach((s) => s.destroy());
  },
};
const before = megabytes();
let most = 0, failed = 0;
for (const [name, attack] of Object.entries(attacks)) {
  try {
    const end = await attack();
    const start = Date.now();
    isStatus(await ask(`${MAPS}/none`), 404);
    const took = Date.now() - start;
    most = Math.max(most, megabytes());
    assert.ok(took < 5000, `others waited ${took} ms`);
    end?.();
    console.log(`ok ${name}: others waited ${took} ms, ${megabytes().toFixed(0)} MB`);
  } catch (error) {
    ++failed;
    console.log(`not ok ${name}: ${error.stack}`);
  }
}
assert.ok(most < before + 500, `${before} MB before, ${most} MB at most`);
console.log(failed ? `${failed} failed` : 'all passed');
process.exit(failed ? 1 : 0);
