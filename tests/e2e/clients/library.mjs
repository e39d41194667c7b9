// What programs do with a client library: lists in pages, watches, informers, every kind of patch, and errors as values.
import * as k8s from '@kubernetes/client-node';
import assert from 'node:assert';

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const dynamic = k8s.KubernetesObjectApi.makeApiClient(config);
const namespace = `library-${process.pid}`;
const path = `/api/v1/namespaces/${namespace}/configmaps`;

const until = async (what, condition) => {
  for (let i = 0; i < 600; ++i) {
    if (await condition()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail(`timed out: ${what}`);
};
const as = (type) => k8s.setHeaderOptions('Content-Type', type);
const refused = async (code, reason, promise) => {
  const error = await promise.then(() => assert.fail(`should have failed with ${code}`), (e) => e);
  assert.equal(error.code, code, error.message);
  const status = typeof error.body === 'string' ? JSON.parse(error.body) : error.body;
  assert.equal(status.kind, 'Status');
  assert.equal(status.reason, reason);
  return status;
};
const map = (name, data = { k: 'v' }, labels = { app: name }) => ({ metadata: { name, labels }, data });
const create = (name, data, labels) => core.createNamespacedConfigMap({ namespace, body: map(name, data, labels) });
const setData = async (name, data, labels) =>
  core.replaceNamespacedConfigMap({ name, namespace, body: map(name, data, labels) });
const remove = (name) => core.deleteNamespacedConfigMap({ name, namespace });
const names = (list) => list.items.map((item) => item.metadata.name);

/// A watch of ConfigMaps whose events are kept as "ADDED name".
async function watch(parameters) {
  const seen = { events: [], objects: [], ended: false };
  const controller = await new k8s.Watch(config).watch(path, parameters, (type, object) => {
    if (object.metadata?.name === 'kube-root-ca.crt') return;  // every namespace has that
    seen.events.push(`${type} ${object.metadata?.name ?? object.code}`);
    seen.objects.push(object);
  }, (error) => { seen.ended = true; seen.error = error; });
  seen.stop = () => controller.abort();
  return seen;
}

/// A revision that the gateway no longer remembers the changes since: it keeps 32 MB of a kind's.
let forgotten;
async function outgrow() {
  if (forgotten) return forgotten;
  const before = (await create('large')).metadata.resourceVersion;
  const filling = 'x'.repeat(900 * 1024);
  for (let i = 0; i < 40; ++i) await setData('large', { n: String(i), filling });
  await remove('large');
  return (forgotten = before);
}

const tests = {
  async lists() {
    const furniture = (await core.listNamespacedConfigMap({ namespace })).items.length;
    for (let i = 0; i < 25; ++i) await create(`page-${String(i).padStart(2, '0')}`, { n: String(i) }, { part: i % 2 ? 'odd' : 'even' });
    const all = await core.listNamespacedConfigMap({ namespace });
    assert.equal(all.kind, 'ConfigMapList');
    assert.equal(all.items.length, 25 + furniture);
    let page = await core.listNamespacedConfigMap({ namespace, limit: 10 });
    assert.equal(page.metadata.remainingItemCount, 15 + furniture);
    const first = page.metadata.resourceVersion;
    await create('page-05-late');  // a list in pages shows what was there when it began
    const got = names(page);
    while (page.metadata._continue) {
      page = await core.listNamespacedConfigMap({ namespace, limit: 10, _continue: page.metadata._continue });
      assert.equal(page.metadata.resourceVersion, first);
      got.push(...names(page));
    }
    assert.deepEqual(got, names(all));
    const odd = await core.listNamespacedConfigMap({ namespace, labelSelector: 'part in (odd),part!=even' });
    assert.equal(odd.items.length, 12);
    const one = await core.listNamespacedConfigMap({ namespace, fieldSelector: 'metadata.name=page-07' });
    assert.deepEqual(names(one), ['page-07']);
    const then = await core.listNamespacedConfigMap({ namespace, resourceVersion: first, resourceVersionMatch: 'Exact' });
    assert.equal(then.items.length, 25 + furniture);
    const fresh = await core.listNamespacedConfigMap({ namespace, resourceVersion: first, resourceVersionMatch: 'NotOlderThan' });
    assert.equal(fresh.items.length, 26 + furniture);
    const gone = await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'part=odd' });
    assert.equal(gone.status ?? 'Success', 'Success');
    assert.equal((await core.listNamespacedConfigMap({ namespace })).items.length, 14 + furniture);
    await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'part' });
    await remove('page-05-late');
  },

  async watches() {
    const before = (await create('seen')).metadata.resourceVersion;
    const all = await watch({ allowWatchBookmarks: true });
    const since = await watch({ resourceVersion: before });
    const chosen = await watch({ resourceVersion: before, labelSelector: 'app=chosen' });
    const named = await watch({ resourceVersion: before, fieldSelector: 'metadata.name=other' });
    const initial = await watch({ sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan', allowWatchBookmarks: true });
    await setData('seen', { k: 'w' }, { app: 'chosen' });
    await setData('seen', { k: 'x' }, { app: 'seen' });
    await create('other');
    await remove('seen');
    const changes = ['MODIFIED seen', 'MODIFIED seen', 'ADDED other', 'DELETED seen'];
    await until('all events', () => all.events.length >= 5 && since.events.length >= 4);
    assert.deepEqual(all.events, ['ADDED seen', ...changes]);
    assert.deepEqual(since.events, changes);
    await until('the chosen', () => chosen.events.length >= 2);
    assert.deepEqual(chosen.events, ['ADDED seen', 'DELETED seen'], 'a change of labels is an arrival and a departure');
    await until('the named', () => named.events.length >= 1);
    assert.deepEqual(named.events, ['ADDED other']);
    await until('the initial events', () => initial.events.length >= 6);
    assert.equal(initial.events[0], 'ADDED seen');
    const mark = initial.objects.findIndex((o) => o.metadata.annotations?.['k8s.io/initial-events-end'] === 'true');
    assert.equal(mark, 1);
    assert.equal(initial.events.filter((e) => !e.startsWith('BOOKMARK')).join(), ['ADDED seen', ...changes].join());
    const revisions = since.objects.map((o) => BigInt(o.metadata.resourceVersion));
    assert.ok(revisions.every((r, i) => i === 0 || r > revisions[i - 1]), 'revisions grow');
    for (const one of [all, since, chosen, named, initial]) one.stop();
    await until('the ends', () => all.ended && since.ended && initial.ended);
    const brief = await watch({ resourceVersion: before, timeoutSeconds: 1, allowWatchBookmarks: true });
    await until('the time-out', () => brief.ended);
    assert.match(brief.events.at(-1), /^BOOKMARK/, 'it goes with a word on how far it was');
    const old = await watch({ resourceVersion: await outgrow() });
    await until('the end', () => old.ended);
    assert.deepEqual(old.events, ['ERROR 410']);
    assert.equal(old.objects[0].reason, 'Expired');
    await remove('other');
  },

  async informers() {
    const forgotten = await outgrow();
    await create('old', {}, { app: 'informed' });
    let lists = 0;
    const told = [];
    const informer = k8s.makeInformer(config, path, async () => {
      const list = await core.listNamespacedConfigMap({ namespace, labelSelector: 'app=informed' });
      // The first list is from long ago: the watch is refused with 410, and the informer lists again.
      if (++lists === 1) list.metadata.resourceVersion = forgotten;
      return list;
    }, 'app=informed');
    for (const event of ['add', 'update', 'delete']) informer.on(event, (o) => told.push(`${event} ${o.metadata.name}`));
    const errors = [];
    informer.on('error', (error) => { errors.push(error); setTimeout(() => informer.start(), 100); });
    await informer.start();
    await until('a second list', () => lists === 2);
    await create('new', {}, { app: 'informed' });
    await setData('new', { k: 'v' }, { app: 'informed' });
    await create('uninteresting');
    await remove('old');
    await until('four events', () => told.length >= 4);
    assert.deepEqual(told, ['add old', 'add new', 'update new', 'delete old']);
    assert.deepEqual(errors, []);
    assert.deepEqual(informer.list(namespace).map((o) => o.metadata.name), ['new']);
    assert.equal(informer.get('new', namespace).data.k, 'v');
    await informer.stop();
    assert.equal(lists, 2, 'no list without need');
  },

  async patches() {
    const deployment = {
      metadata: { name: 'patched', labels: { app: 'patched' } },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: 'patched' } },
        template: {
          metadata: { labels: { app: 'patched' } },
          spec: { containers: [{ name: 'a', image: 'a:1', env: [{ name: 'X', value: '1' }] }, { name: 'b', image: 'b:1' }] },
        },
      },
    };
    await apps.createNamespacedDeployment({ namespace, body: deployment });
    const patch = (type, body, more = {}) =>
      apps.patchNamespacedDeployment({ name: 'patched', namespace, body, ...more }, as(type));
    let got = await patch(k8s.PatchStrategy.JsonPatch, [
      { op: 'test', path: '/spec/replicas', value: 0 },
      { op: 'add', path: '/metadata/annotations', value: { one: '1' } },
      { op: 'replace', path: '/spec/template/spec/containers/1/image', value: 'b:2' },
    ]);
    assert.equal(got.spec.template.spec.containers[1].image, 'b:2');
    await refused(422, 'Invalid', patch(k8s.PatchStrategy.JsonPatch, [{ op: 'test', path: '/spec/replicas', value: 7 }]));
    got = await patch(k8s.PatchStrategy.MergePatch, { metadata: { annotations: { one: null, two: '2' } } });
    assert.equal(got.metadata.annotations.two, '2');
    assert.ok(!('one' in got.metadata.annotations));
    got = await patch(k8s.PatchStrategy.StrategicMergePatch, {
      spec: { template: { spec: { containers: [{ name: 'a', env: [{ name: 'Y', value: '2' }] }, { name: 'b', $patch: 'delete' }] } } },
    });
    assert.equal(got.spec.template.spec.containers.length, 1);
    assert.deepEqual(got.spec.template.spec.containers[0].env.map((e) => e.name).sort(), ['X', 'Y']);
    await refused(415, 'UnsupportedMediaType', patch('text/plain', {}));
    const dry = await patch(k8s.PatchStrategy.MergePatch, { spec: { paused: true } }, { dryRun: 'All' });
    assert.equal(dry.spec.paused, true);
    got = await apps.readNamespacedDeployment({ name: 'patched', namespace });
    assert.ok(!got.spec.paused);
    const scaled = await apps.patchNamespacedDeploymentScale(
      { name: 'patched', namespace, body: { spec: { replicas: 2 } } }, as(k8s.PatchStrategy.MergePatch));
    assert.equal(scaled.spec.replicas, 2);
    await apps.deleteNamespacedDeployment({ name: 'patched', namespace });
  },

  async apply() {
    const apply = (manager, data, more = {}) => core.patchNamespacedConfigMap({
      name: 'applied', namespace, fieldManager: manager, ...more,
      body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied' }, data },
    }, as(k8s.PatchStrategy.ServerSideApply));
    let got = await apply('one', { a: '1', b: '1' });
    assert.deepEqual(got.metadata.managedFields.map((m) => [m.manager, m.operation]), [['one', 'Apply']]);
    const conflict = await refused(409, 'Conflict', apply('two', { a: '2' }));
    assert.equal(conflict.details.causes[0].reason, 'FieldManagerConflict');
    assert.match(conflict.details.causes[0].message, /conflict with "one"/);
    got = await apply('two', { a: '2', c: '2' }, { force: true });
    assert.deepEqual(got.data, { a: '2', b: '1', c: '2' });
    got = await apply('one', {});  // b was its own; a is no more
    assert.deepEqual(got.data, { a: '2', c: '2' });
    const again = await apply('two', { a: '2', c: '2' });
    assert.equal(again.metadata.resourceVersion, got.metadata.resourceVersion, 'nothing to do makes no revision');
    await refused(422, 'Invalid', apply(undefined, {}));
    await remove('applied');
  },

  async objectsOfAnyKind() {
    const role = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: 'any', namespace }, rules: [] };
    await dynamic.create(role);
    const read = await dynamic.read(role);
    assert.equal(read.kind, 'Role');
    read.rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }];
    const replaced = await dynamic.replace(read);
    assert.equal(replaced.rules.length, 1);
    const patched = await dynamic.patch({ ...role, metadata: { ...role.metadata, labels: { l: 'v' } } });
    assert.equal(patched.metadata.labels.l, 'v');
    const list = await dynamic.list('rbac.authorization.k8s.io/v1', 'Role', namespace);
    assert.ok(names(list).includes('any'));
    await dynamic.delete(role);
    await refused(404, 'NotFound', dynamic.read(role));
  },

  async errors() {
    await refused(404, 'NotFound', core.readNamespacedConfigMap({ name: 'none', namespace }));
    const made = await create('twice');
    await refused(409, 'AlreadyExists', create('twice'));
    const stale = map('twice');
    stale.metadata.resourceVersion = made.metadata.resourceVersion;
    await setData('twice', { k: 'changed' });
    await refused(409, 'Conflict', core.replaceNamespacedConfigMap({ name: 'twice', namespace, body: stale }));
    const invalid = await refused(422, 'Invalid', create('Not A Name'));
    assert.equal(invalid.details.causes[0].field, 'metadata.name');
    await refused(409, 'Conflict', core.deleteNamespacedConfigMap(
      { name: 'twice', namespace, body: { preconditions: { uid: '00000000-0000-0000-0000-000000000000' } } }));
    await refused(400, 'BadRequest', core.listNamespacedConfigMap({ namespace, labelSelector: 'a in (' }));
    await refused(400, 'BadRequest', core.listNamespacedConfigMap({ namespace, _continue: 'garbage', limit: 1 }));
    const generated = await core.createNamespacedConfigMap({ namespace, body: { metadata: { generateName: 'made-' } } });
    assert.match(generated.metadata.name, /^made-[a-z0-9]{5}$/);
    const dry = await core.createNamespacedConfigMap({ namespace, body: map('dry'), dryRun: 'All' });
    assert.ok(dry.metadata.uid);
    await refused(404, 'NotFound', core.readNamespacedConfigMap({ name: 'dry', namespace }));
  },
};

await core.createNamespace({ body: { metadata: { name: namespace } } });
let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok ${name}`);
  } catch (error) {
    ++failed;
    console.log(`not ok ${name}: ${error.stack}`);
  }
}
await core.deleteNamespace({ name: namespace });
console.log(failed ? `${failed} failed` : 'all passed');
process.exit(failed ? 1 : 0);
