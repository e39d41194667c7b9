// Several gateways behind one address, and kill -9 of one after the other under watches, informers and writes:
//   node gateways.mjs URL PID [URL PID...]
// Clients reach the first gateway that lives through a balancer of their own; all but the last one are killed. Watches go on elsewhere
// from their last revision: each must have told what an undisturbed watch of the last gateway told, no event less or twice. What was acknowledged is
// there, once; what only one may have (a name, a ClusterIP, a node port), one has.
import * as k8s from '@kubernetes/client-node';
import assert from 'node:assert';
import net from 'node:net';

const gateways = [];
for (let i = 2; i < process.argv.length; i += 2) gateways.push({ url: process.argv[i], port: new URL(process.argv[i]).port, pid: Number(process.argv[i + 1]) });

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const until = async (what, condition) => {
  for (let i = 0; i < 1200; ++i) {
    if (await condition()) return;
    await sleep(50);
  }
  assert.fail(`timed out: ${typeof what === 'function' ? what() : what}`);
};

// One address. A connection goes to the first gateway that takes it, and ends with its gateway.
const balancer = net.createServer((client) => {
  client.on('error', () => {});
  const dial = (i) => {
    if (i === gateways.length) return client.destroy();
    let connected = false;
    const server = net.connect(gateways[i].port, '127.0.0.1', () => {
      connected = true;
      client.pipe(server).pipe(client);
    });
    server.on('error', () => (connected ? client.destroy() : dial(i + 1)));
    server.on('close', () => connected && client.destroy());
    client.on('close', () => server.destroy());
  };
  dial(0);
});
await new Promise((done) => balancer.listen(0, '127.0.0.1', done));

const configFor = (server) => {
  const config = new k8s.KubeConfig();
  config.loadFromDefault();
  config.clusters[0] = { ...config.clusters[0], server };
  return config;
};
const any = configFor(`https://127.0.0.1:${balancer.address().port}`);
const last = configFor(gateways.at(-1).url);
const anyCore = any.makeApiClient(k8s.CoreV1Api), lastCore = last.makeApiClient(k8s.CoreV1Api);
const namespace = `gateways-${process.pid}`;
const path = `/api/v1/namespaces/${namespace}/configmaps`;
await lastCore.createNamespace({ body: { metadata: { name: namespace } } });

/// Goes on after each end from where it was, as client-go's reflectors do.
class Watcher {
  constructor(config, from, selector) {
    Object.assign(this, { config, revision: from, selector, events: [], resumed: 0, expired: 0, stopped: false });
    this.run();
  }
  async run() {
    const query = { resourceVersion: this.revision, allowWatchBookmarks: true };
    if (this.selector) query.labelSelector = this.selector;
    this.controller = await new k8s.Watch(this.config).watch(path, query, (type, object) => {
      if (type === 'ERROR') return void ++this.expired;
      this.revision = object.metadata.resourceVersion;
      if (type !== 'BOOKMARK') this.events.push(`${type} ${object.metadata.name} ${object.metadata.resourceVersion}`);
    }, async () => {
      if (this.stopped) return;
      ++this.resumed;
      await sleep(20);
      this.run();
    });
  }
  stop() { this.stopped = true; this.controller?.abort(); }
}

const from = (await lastCore.listNamespacedConfigMap({ namespace })).metadata.resourceVersion;
const undisturbed = new Watcher(last, from), chosen = new Watcher(last, from, 'half=odd');
const watchers = [];
for (let i = 0; i < 30; ++i) watchers.push(new Watcher(any, from, i % 3 === 0 ? 'half=odd' : undefined));

const informer = k8s.makeInformer(any, path, () => anyCore.listNamespacedConfigMap({ namespace }));
let lists = 0;
informer.on('connect', () => ++lists);
informer.on('error', () => setTimeout(() => informer.start(), 20));
await informer.start();

// Writers through the balancer. An unknown outcome is tried again: whether it was done before is told by 409.
const acknowledged = new Map();  // name -> value
let going = true, retried = 0;
async function insist(action, alreadyDone) {
  for (let tries = 0; ; ++tries) {
    try {
      return await action();
    } catch (error) {
      if (tries > 0 && error.code === alreadyDone) return undefined;
      if (typeof error.code === 'number' && error.code < 500) throw error;
      ++retried;
      await sleep(20);
    }
  }
}
async function writer(id) {
  for (let n = 0; going; ++n) {
    const name = `w${id}-${n}`, labels = { half: n % 2 ? 'odd' : 'even' };
    const body = (value) => ({ metadata: { name, labels }, data: { value } });
    await insist(() => anyCore.createNamespacedConfigMap({ namespace, body: body('1') }), 409);
    acknowledged.set(name, '1');
    await insist(() => anyCore.replaceNamespacedConfigMap({ name, namespace, body: body('2') }));
    acknowledged.set(name, '2');
    if (n % 3 !== 0) continue;
    await insist(() => anyCore.deleteNamespacedConfigMap({ name, namespace }), 404);
    acknowledged.delete(name);
  }
}
// What only one may have: the same asked for through every gateway at once, again and again.
const won = new Map();
async function racer(core, id) {
  for (let n = 0; going; ++n) {
    const service = (name, spec) => ({ metadata: { name }, spec: { ports: [{ port: 80, ...spec.port }], ...spec.more } });
    const attempts = [
      [`name ${n}`, service(`same-${n}`, {})],
      [`address ${n}`, service(`address-${n}-${id}`, { more: { clusterIP: `10.96.200.${1 + (n % 250)}` } })],
      [`port ${n}`, service(`port-${n}-${id}`, { port: { nodePort: 31000 + (n % 1000) }, more: { type: 'NodePort' } })],
    ];
    for (const [prize, body] of attempts) {
      try {
        const made = await core.createNamespacedService({ namespace, body });
        won.set(prize, [...(won.get(prize) ?? []), made.metadata.uid]);
      } catch (error) {
        if (typeof error.code !== 'number' || error.code >= 500) await sleep(20);  // unknown: whoever asks next is told
      }
    }
    if (n === 80) return;
  }
}
// A quota of 50 pods, and 500 creates through all gateways, begun just before the first of them is killed.
const crowded = `${namespace}-crowded`;
await lastCore.createNamespace({ body: { metadata: { name: crowded } } });
await lastCore.createNamespacedResourceQuota({ namespace: crowded, body: { metadata: { name: 'few' }, spec: { hard: { pods: '50' } } } });
let attempts = 0;
async function crowd(core) {
  await sleep(2400);
  while (attempts < 500) {
    const body = { metadata: { name: `pod-${attempts++}` }, spec: { schedulerName: 'nobody', containers: [{ name: 'c', image: 'i' }] } };
    try {
      await core.createNamespacedPod({ namespace: crowded, body });
    } catch (error) {
      if (typeof error.code !== 'number' || error.code >= 500) await sleep(20);
      else assert.equal(error.code, 403, error.message);
    }
  }
}
const work = [];
for (let id = 0; id < 6; ++id) work.push(writer(id));
for (const gateway of gateways) {
  const core = configFor(gateway.url).makeApiClient(k8s.CoreV1Api);
  work.push(racer(core, gateway.port));
  for (let i = 0; i < 4; ++i) work.push(crowd(core));
}
for (const gateway of gateways.slice(0, -1)) {
  await sleep(2500);
  const told = undisturbed.events.length;
  process.kill(gateway.pid, 'SIGKILL');
  await until('writes to go on', () => undisturbed.events.length > told + 50);
}
await sleep(1000);
going = false;
await Promise.all(work);

const caughtUp = (watcher, model) => watcher.events.at(-1) === model.events.at(-1);
const final = (await lastCore.listNamespacedConfigMap({ namespace }));
await until('the undisturbed watch', () => undisturbed.events.some((e) => e.endsWith(` ${final.metadata.resourceVersion}`)));
for (const watcher of watchers) await until('a watch to catch up', () => caughtUp(watcher, watcher.selector ? chosen : undisturbed));
const different = watchers.filter((w) => w.events.join('\n') !== (w.selector ? chosen : undisturbed).events.join('\n'));
for (const watcher of different.slice(0, 3)) {
  const model = (watcher.selector ? chosen : undisturbed).events;
  const i = model.findIndex((e, n) => watcher.events[n] !== e);
  console.log(`differs at ${i}: got ${watcher.events.slice(i - 1, i + 3)}; wanted ${model.slice(i - 1, i + 3)}`);
}
assert.equal(different.length, 0, `${different.length} of ${watchers.length} watches lost or doubled events`);
assert.ok(watchers.every((w) => w.resumed >= gateways.length - 1), 'every watch went on elsewhere');
assert.ok(watchers.every((w) => w.expired === 0), 'none had to list again');
assert.equal(undisturbed.resumed, 0);

const kept = (objects) => objects.filter((object) => object.metadata.name !== 'kube-root-ca.crt');  // every namespace has that
const there = new Map(kept(final.items).map((item) => [item.metadata.name, item.data.value]));
for (const [name, value] of acknowledged) assert.equal(there.get(name), value, `${name} was acknowledged`);
for (const name of there.keys()) assert.ok(acknowledged.has(name), `${name} was deleted`);
await until('the informer', () => kept(informer.list(namespace)).length === there.size);
for (const object of kept(informer.list(namespace))) assert.equal(object.data.value, there.get(object.metadata.name));
for (const [prize, uids] of won) assert.equal(uids.length, 1, `${prize} was given ${uids.length} times`);
const services = (await lastCore.listNamespacedService({ namespace })).items;
const distinct = (what, values) => assert.equal(new Set(values).size, values.length, `${what} are given once`);
distinct('ClusterIPs', services.map((s) => s.spec.clusterIP));
distinct('node ports', services.flatMap((s) => s.spec.ports.map((p) => p.nodePort)).filter(Boolean));

assert.ok(attempts >= 500);
assert.equal((await lastCore.listNamespacedPod({ namespace: crowded })).items.length, 50, 'a quota is exact');
await lastCore.deleteNamespace({ name: crowded });

for (const watcher of [...watchers, undisturbed, chosen]) watcher.stop();
await informer.stop();
await lastCore.deleteNamespace({ name: namespace });
console.log(`${undisturbed.events.length} events, ${watchers.length} watches, ${retried} requests tried again, ${won.size} prizes`);
console.log('all passed');
process.exit(0);
