// exec, attach, port-forward, logs and cp by a client library: WebSocket with channels.
import * as k8s from '@kubernetes/client-node';
import assert from 'node:assert';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { PassThrough, Readable } from 'node:stream';

const config = new k8s.KubeConfig();
config.loadFromDefault();

const collect = () => {
  const stream = new PassThrough();
  stream.text = '';
  stream.on('data', (data) => (stream.text += data));
  return stream;
};
const until = async (what, condition) => {
  for (let i = 0; i < 300; ++i) {
    if (condition()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail(`timed out: ${what}`);
};

async function exec(command, stdin = null) {
  const out = collect(), err = collect();
  const status = await new Promise((done, failed) => {
    new k8s.Exec(config).exec('default', 'streams', 'main', command, out, err, stdin, false, done).catch(failed);
  });
  return { out: out.text, err: err.text, status };
}

{
  const ran = await exec(['sh', '-c', 'echo out; echo err >&2; exit 3']);
  assert.equal(ran.out, 'out\n');
  assert.equal(ran.err, 'err\n');
  assert.equal(ran.status.status, 'Failure');
  assert.equal(ran.status.details.causes[0].message, '3');
}
{
  const out = collect(), input = new PassThrough();
  const socket = await new k8s.Attach(config).attach('default', 'shell', 'main', out, null, input, false);
  input.write('said by a library\n');
  await until('the attached shell answers', () => out.text.includes('heard said by a library'));
  socket.close();
}
{
  const forward = new k8s.PortForward(config);
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    forward.portForward('default', 'streams', [80], socket, null, socket);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/`);
  assert.equal((await answer.text()).trim(), 'a page');
  server.close();
  server.closeAllConnections?.();
}
{
  const out = collect();
  await new k8s.Log(config).log('default', 'streams', 'counter', out, { tailLines: 3 });
  await until('the log', () => out.text === 'count 98\ncount 99\ncount 100\n');
}
{
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'gantry-cp-'));
  fs.writeFileSync(path.join(directory, 'one'), 'copied');
  const cp = new k8s.Cp(config);
  await cp.cpToPod('default', 'streams', 'main', directory, '/tmp');  // what the directory holds; does not wait for the end
  let ran;
  for (let i = 0; i < 50; ++i) {
    ran = await exec(['cat', '/tmp/one']);
    if (ran.out === 'copied') break;
  }
  assert.equal(ran.out, 'copied');
  fs.rmSync(directory, { recursive: true });
}
console.log('all passed');
process.exit(0);
