// crowdsec-client as a log processor: reports an attacker, finds the alert, deletes it.
//   node watcher.mjs URL MACHINE PASSWORD ADDRESS
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.LAPID_CLIENTS_DIR}/node/`);
const { WatcherClient } = require('crowdsec-client');

const [url, machineID, password, address] = process.argv.slice(2);
const client = new WatcherClient({ url, auth: { machineID, password, autoRenew: true }, heartbeat: true });
await client.login();
console.log('logged in');

const now = new Date().toISOString();
const pushed = await client.Alerts.pushAlerts([{
  scenario: 'node/watcher', scenario_hash: '', scenario_version: '', message: `${address} attacked`,
  capacity: 5, leakspeed: '10s', events_count: 6, events: [], start_at: now, stop_at: now,
  simulated: false, remediation: true, source: { scope: 'Ip', value: address, ip: address },
}]);
console.log(`pushed ${pushed.length}`);

const found = (await client.Alerts.search({ scenario: 'node/watcher', has_active_decision: true })) ?? [];
console.log(`found ${found.length} ${found[0]?.source.value} ${found[0]?.decisions[0].type}`);

const decisions = await client.Decisions.delete({ ip: address });
console.log(`ended ${decisions.nbDeleted}`);
const alerts = await client.Alerts.deleteById(String(found[0].id));
console.log(`deleted ${alerts.nbDeleted}`);
await client.stop();
process.exit(0); // its heartbeat timer outlives stop()
