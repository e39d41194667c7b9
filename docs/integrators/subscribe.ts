// Prints the pods of a Gantry cluster as they change.
//
//   node build/subscribe.js --url tls://172.30.0.1:4222 --ca CA.pem --creds USER.creds [--namespace NS] [--count N] [--from-now]
//
// Each line is `<PUT|DELETE> <namespace>/<name> revision=<r> node=<n> phase=<p> [gap]`. `gap` means that an event before this one was missed: a program that keeps
// state takes a snapshot then (a `List` through the API, or the Snapshot command).
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { ByteBuffer } from 'flatbuffers';
import { connect, credsAuthenticator } from 'nats';

import { Pod } from './gen/gantry/api/core-v1/pod';
import { Event } from './gen/gantry/bus/event';
import { EventType } from './gen/gantry/bus/event-type';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      url: { type: 'string', default: 'tls://127.0.0.1:4222' },
      ca: { type: 'string' },
      creds: { type: 'string' },
      identity: { type: 'string', default: 'admin' },
      namespace: { type: 'string' },
      count: { type: 'string', default: '0' },
    },
  });
  const connection = await connect({
    servers: values.url!.replace(/^tls:\/\//, ''),
    tls: values.ca ? { caFile: values.ca } : undefined,
    authenticator: values.creds ? credsAuthenticator(readFileSync(values.creds)) : undefined,
    inboxPrefix: `_INBOX.${values.identity}`,
    maxReconnectAttempts: -1,
  });
  // A subject is an index: gantry.events.<resource>.<node or _>.<namespace or _>.<name>
  const subject = values.namespace ? `gantry.events.pods.*.${values.namespace}.*` : 'gantry.events.pods.>';
  const subscription = connection.subscribe(subject);
  await connection.flush();
  console.error(`subscribed to ${subject}`);

  let last = 0n;
  let left = Number(values.count);
  for await (const message of subscription) {
    const event = Event.getRootAsEvent(new ByteBuffer(message.data));
    // Left and Dependency belong to the chain of a node only.
    if (event.type() !== EventType.Put && event.type() !== EventType.Delete) continue;
    if (event.revision() <= last) continue; // seen
    const previous = values.namespace ? event.previousInNamespace() : event.previous();
    const gap = last !== 0n && previous > last;
    last = event.revision();

    const bytes = event.objectArray();
    // A copy: FlatBuffers wants the object's own alignment.
    const pod = bytes ? Pod.getRootAsPod(new ByteBuffer(bytes.slice())) : null;
    const verb = event.type() === EventType.Put ? 'PUT' : 'DELETE';
    const phase = pod?.status()?.phase() ?? '';
    console.log(
      `${verb} ${event.namespace()}/${event.name()} revision=${event.revision()} node=${event.node() ?? ''} phase=${phase}${gap ? ' gap' : ''}`,
    );
    if (--left === 0) break;
  }
  await connection.drain();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
