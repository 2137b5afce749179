// crowdsec-client as a stream bouncer: one line for each event, until the process is stopped.
//   node stream.mjs URL KEY
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.LAPID_CLIENTS_DIR}/node/`);
const { BouncerClient } = require('crowdsec-client');

const [url, apiKey] = process.argv.slice(2);
const client = new BouncerClient({ url, auth: { apiKey } });
await client.login();
console.log('logged in');

const stream = client.Decisions.getStream({ interval: 200, scopes: ['ip', 'range'] });
stream.on('added', (d) => console.log(`added ${d.value} ${d.scope} ${d.type} ${d.origin} ${d.scenario}`));
stream.on('deleted', (d) => console.log(`deleted ${d.value} ${d.scope} ${d.type} ${d.origin} ${d.scenario}`));
stream.on('error', (e) => console.log(`error ${e.message}`));
stream.resume();

process.on('SIGTERM', async () => {
  await client.stop();
  process.exit(0);
});
