// @crowdsec/nodejs-bouncer: one line for each address with what the bouncer would do to it.
//   node live.mjs URL KEY live|stream ADDRESS...
import { pathToFileURL } from 'node:url';

const home = `${process.env.LAPID_CLIENTS_DIR}/node/node_modules/@crowdsec/nodejs-bouncer/dist/index.js`;
const { CrowdSecBouncer } = await import(pathToFileURL(home));

const [url, bouncerApiToken, mode, ...addresses] = process.argv.slice(2);
const bouncer = new CrowdSecBouncer({ url, bouncerApiToken, streamMode: mode === 'stream' });
const health = await bouncer.lapiClient.checkConnectionHealth();
console.log(`health ${health.status} ${health.error}`);
if (mode === 'stream') {
  const { new: added, deleted } = await bouncer.refreshDecisions();
  console.log(`refreshed ${added.length} ${deleted.length}`);
}
for (const address of addresses) {
  const { remediation, origin } = await bouncer.getIpRemediation(address);
  console.log(`${address} ${remediation} ${origin}`);
}
