// A JetStream stream of its own: node stream.mjs URL CA CREDS IDENTITY make|add N|purge|drop STREAM
import { readFileSync } from 'node:fs';
import { connect, credsAuthenticator } from 'nats';

const [url, ca, creds, identity, stream, verb, count] = process.argv.slice(2);
const connection = await connect({
  servers: url.replace(/^tls:\/\//, ''),
  tls: { caFile: ca },
  authenticator: credsAuthenticator(readFileSync(creds)),
  inboxPrefix: `_INBOX.${identity}`,
});
const manager = await connection.jetstreamManager();
if (verb === 'make') await manager.streams.add({ name: stream, subjects: [`${stream}.>`] });
if (verb === 'add') for (let i = 0; i < Number(count); i++) await connection.jetstream().publish(`${stream}.n`, `${i}`);
if (verb === 'purge') await manager.streams.purge(stream);
if (verb === 'drop') await manager.streams.delete(stream);
await connection.drain();
