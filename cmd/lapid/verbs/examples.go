package verbs

import (
	"strings"

	"github.com/spf13/cobra"
)

// examples are shown by --help and in the man pages, by the words of the verb.
// Each is one line or more that works as it stands; a test looks at the verbs and flags of each.
// Addresses, names and hosts are those that are kept for documents; what an operator has to
// put in is a variable of the shell ("$KEY"). A pipe shows where the output of one verb is
// the input of another: those formats are promised to fit.
var examples = map[string]string{
	"": `lapid quickstart
lapid -c /etc/lapid/config.yaml serve
lapid decisions add --ip 192.0.2.7 --duration 4h`,
	"serve": `lapid -c /etc/lapid/config.yaml serve
lapid -c /etc/lapid/config.yaml serve -t
lapid serve --container`,
	"quickstart": `lapid quickstart
lapid quickstart --dir /tmp/try --listen 127.0.0.1:8081 --metrics 127.0.0.1:6061`,
	"shadow": `lapid -c /etc/lapid/config.yaml shadow --upstream http://127.0.0.1:8080 --listen 127.0.0.1:8090`,
	"shadow report": `lapid shadow report
lapid shadow report -o json | jq .void`,
	"shadow answer": `lapid shadow answer ours --bouncers edge-fw
lapid shadow answer theirs`,
	"shadow reset": `lapid shadow reset`,
	"ready":        `lapid ready`,
	"health": `lapid health
lapid health -o json | jq -r .error`,
	"doctor": `lapid doctor
lapid doctor --backups /srv/backups -o json | jq '.checks[] | select(.state == "broken")'`,
	"docs": `lapid docs
lapid docs moving-in | less
lapid docs push -o raw > push.md`,
	"version": `lapid version -o json`,
	"openapi": `lapid openapi > openapi.yaml
lapid openapi -o json | jq '.paths | keys'`,

	"cluster": `lapid cluster quickstart
lapid cluster status`,
	"cluster quickstart": `lapid cluster quickstart
lapid cluster quickstart --dir /tmp/cluster --port 8090`,
	"cluster keys": `lapid cluster keys /root/cluster a=192.0.2.11 b=192.0.2.12 c=192.0.2.13 --at /etc/lapid --member-data /var/lib/lapid/etcd
lapid cluster keys /root/cluster d=192.0.2.14 --etcd https://192.0.2.11:2379`,
	"cluster init": `lapid cluster init`,
	"cluster status": `lapid cluster status
lapid cluster status -o json | jq -r '.nodes[] | select(.writes) | .node'`,
	"cluster hand": `lapid cluster hand
lapid cluster hand b`,
	"cluster check": `lapid cluster check`,
	"cluster log": `lapid cluster log
lapid cluster log -n 100 -o json | jq -r '.[] | [.revision, .node] | @tsv'
lapid cluster log --follow`,
	"cluster alone":  `lapid cluster alone`,
	"cluster forget": `lapid cluster forget c`,

	"machines": `lapid machines list`,
	"machines list": `lapid machines list
lapid machines list -o json | jq -r '.[].machineId'`,
	"machines add": `lapid machines add edge-1 --auto -f edge-1.yaml -u http://lapi:8080
lapid --init machines add --auto --force`,
	"machines validate": `lapid machines validate edge-1`,
	"machines delete":   `lapid machines delete edge-1 edge-2 --ignore-missing`,
	"machines prune":    `lapid machines prune --duration 24h --force`,
	"machines inspect": `lapid machines inspect edge-1
lapid machines inspect edge-1 --hub -o raw`,

	"bouncers": `lapid bouncers list`,
	"bouncers list": `lapid bouncers list
lapid bouncers list -o json | jq -r '.[] | select(.behind > 100) | .name'`,
	"bouncers add": `lapid bouncers add edge-fw
lapid --init bouncers add edge-fw -k "$KEY" -o raw`,
	"bouncers wait": `lapid bouncers wait --revision 4711 --all
lapid bouncers wait --decision 4711 edge-fw --timeout 2m`,
	"bouncers edit": `lapid bouncers edit edge-fw --hold 25s
lapid bouncers edit edge-fw --max-entries 10000 --not-origins CAPI
lapid bouncers edit edge-fw --see-all --hold default`,
	"bouncers rotate": `lapid bouncers rotate edge-fw
lapid bouncers rotate edge-fw --grace 0 -o raw`,
	"bouncers delete":  `lapid bouncers delete edge-fw --ignore-missing`,
	"bouncers prune":   `lapid bouncers prune --duration 24h --force`,
	"bouncers inspect": `lapid bouncers inspect edge-fw -o json`,

	"operators": `lapid operators list`,
	"operators list": `lapid operators list
lapid operators list -o json | jq -r '.[] | select(.disabled) | .name'`,
	"operators add": `lapid operators add alice --role admin
lapid operators add dashboard --role viewer -p "$PASSWORD"`,
	"operators edit": `lapid operators edit alice --role operator
lapid operators edit alice --disable`,
	"operators delete":  `lapid operators delete alice --ignore-missing`,
	"operators inspect": `lapid operators inspect alice -o json`,
	"operators token": `lapid operators token alice --expires 90d
lapid operators token dashboard --expires never --comment grafana -o raw`,
	"operators revoke": `lapid operators revoke alice 3`,
	"operators link":   `lapid operators link alice`,

	"allowlists":        `lapid allowlists list`,
	"allowlists create": `lapid allowlists create office -d "our own addresses"`,
	"allowlists add": `lapid allowlists add office 192.0.2.0/24 2001:db8::/48 -d "head office"
lapid allowlists add office 198.51.100.7 -e 12h`,
	"allowlists remove": `lapid allowlists remove office 192.0.2.0/24`,
	"allowlists import": `lapid allowlists import office -i office.csv
lapid allowlists inspect office -o raw | lapid allowlists import copy -i -`,
	"allowlists list":    `lapid allowlists list -o json`,
	"allowlists inspect": `lapid allowlists inspect office`,
	"allowlists check":   `lapid allowlists check 192.0.2.7`,
	"allowlists delete":  `lapid allowlists delete office`,

	"exports": `lapid exports add edge.txt --format plain_text`,
	"exports list": `lapid exports list
lapid exports list -o json | jq -r '.[] | select(.attention != "") | .name'`,
	"exports add": `lapid exports add edge.txt --format plain_text --allow-from 192.0.2.0/24
lapid exports add router.rsc --format mikrotik --auth token --option list=blocked --limit 10000
lapid exports add blocklist --format plain_text --auth ip --allow-from 10.0.0.0/8 --path /security/blocklist`,
	"exports edit": `lapid exports edit edge.txt --origins crowdsec,cscli --limit 50000
lapid exports edit edge.txt --auth token`,
	"exports accept":  `lapid exports accept edge.txt`,
	"exports inspect": `lapid exports inspect edge.txt`,
	"exports delete":  `lapid exports delete edge.txt`,
	"secret":          `lapid secret rotate`,
	"secret rotate": `lapid secret rotate
lapid secret rotate --now`,
	"exports rotate": `lapid exports rotate edge.txt
lapid exports rotate edge.txt --end`,
	"exports render": `lapid exports render edge.txt -f edge.txt
lapid exports render edge.txt --query "ipv4only&page=2"`,

	"alerts": `lapid alerts list`,
	"alerts list": `lapid alerts list --since 1h -m
lapid alerts list --ip 192.0.2.7 -o json`,
	"alerts inspect": `lapid alerts inspect 42 --details`,
	"alerts delete": `lapid alerts delete --id 42
lapid alerts delete --id 41-49,51
lapid alerts delete --scenario crowdsecurity/ssh-bf`,
	"alerts flush": `lapid alerts flush --max-items 1000 --max-age 30d`,

	"decisions": `lapid decisions list`,
	"decisions list": `lapid decisions list --ip 192.0.2.7
lapid decisions list -a -o json > decisions.json`,
	"decisions add": `lapid decisions add --ip 192.0.2.7 --duration 4h --reason "ssh"
lapid decisions add --range 198.51.100.0/24 --duration forever
lapid decisions add --scope username --value bob --type captcha`,
	"decisions delete": `lapid decisions delete --ip 192.0.2.7
lapid decisions delete --origin cscli-import --yes
lapid decisions delete --batch-name NAME --dry-run`,
	"decisions restore": `lapid decisions restore 4711 --dry-run
lapid decisions restore 4711`,
	"decisions extend": `lapid decisions extend --ip 192.0.2.7 --duration +4h
lapid decisions extend --scenario ssh-bf --type ban --duration forever --dry-run
lapid decisions extend --id 42 --duration -1h`,
	"decisions import": `lapid decisions import -i bad.csv
curl -sf https://example.com/list.txt | lapid decisions import -i - --name drop --replace -d 24h
lapid decisions list -a -o json | lapid -c other.yaml decisions import -i - --format json`,

	"why": `lapid why 192.0.2.7
lapid why 192.0.2.7 --bouncer edge-fw --at 2h
lapid why country:DE -o json | jq .decided
lapid why decision:42`,

	"activity": `lapid activity list --limit 20`,
	"activity list": `lapid activity list --kind decision,failure --since 1h
lapid activity list --address 192.0.2.0/24 -o json`,
	"audit": `lapid audit list --since 24h`,
	"audit list": `lapid audit list --since 24h --deeds
lapid audit list --action bouncer --target edge-fw -o json
lapid audit list --before 4711 --limit 50`,
	"audit export": `lapid audit export --since 24h > audit.ndjson
lapid audit export --format cef | logger -n siem.example.org -T`,
	"audit verify": `lapid audit verify
lapid audit verify --expect 4711:"$HASH"`,

	"metrics":      `lapid metrics`,
	"metrics show": `lapid metrics show lapi bouncers`,
	"metrics list": `lapid metrics list`,

	"lapi":          `lapid lapi status`,
	"lapi status":   `lapid lapi status`,
	"lapi register": `lapid lapi register --url http://lapi:8080 --machine edge-1 --token "$TOKEN"`,

	"capi":          `lapid capi status`,
	"capi status":   `lapid capi status -o json`,
	"capi register": `lapid capi register -f /etc/lapid/online_api_credentials.yaml`,

	"papi":        `lapid papi status`,
	"papi status": `lapid papi status -o json`,
	"papi sync":   `lapid papi sync`,

	"console":         `lapid console status`,
	"console status":  `lapid console status -o raw`,
	"console enable":  `lapid console enable manual context`,
	"console disable": `lapid console disable custom tainted`,
	"console enroll": `lapid console enroll --name edge-1 --tags paris ABCDEF123456
lapid console enroll --quick`,

	"notifications":         `lapid notifications list`,
	"notifications list":    `lapid notifications list -o json`,
	"notifications inspect": `lapid notifications inspect ops_webhook`,
	"notifications test": `lapid notifications test ops_webhook
lapid notifications test ops_webhook -a '{"scenario": "crowdsecurity/ssh-bf", "source": {"cn": "FR"}}'`,
	"notifications reinject": `lapid notifications reinject 42
lapid notifications reinject 42 -a '{"remediation": true}'`,

	"profiles": `lapid profiles test --scenario crowdsecurity/ssh-bf --ip 192.0.2.7`,
	"profiles test": `lapid profiles test --scenario crowdsecurity/ssh-bf --ip 192.0.2.7 --country DE --events 6
lapid profiles test -f alert.json -o json | jq .decisions
lapid alerts inspect 42 -o json | jq .decisions=null | lapid profiles test -f -`,

	"config": `lapid config show`,
	"config show": `lapid config show
lapid config show --key api.server.listen_uri
lapid config show --key Config.API.Server.ListenURI`,
	"config show-yaml": `lapid config show-yaml`,

	"backup": `lapid backup /var/backups/lapid
lapid backup - | zstd > lapid.backup.zst`,
	"restore": `lapid restore /var/backups/lapid/lapid-20260701T000000Z-42.backup`,
	"movein": `lapid -c /etc/crowdsec/config.yaml movein --dry-run
lapid -c /etc/crowdsec/config.yaml movein
lapid movein --from sqlite:/var/lib/crowdsec/data/crowdsec.db -o json
lapid movein --back /var/backups/lapid/back --schema 1.4`,
	"movein status": `lapid movein status`,
	"check": `lapid check
lapid check /var/backups/lapid/lapid-20260701T000000Z-42.backup`,
	"man": `lapid man /usr/local/share/man/man8`,
}

// AddExamples gives every verb below root its examples. It returns the examples, by
// the words of their verb, that are of none: there should be no such.
func AddExamples(root *cobra.Command) (unused []string) {
	used := map[string]bool{}
	for _, c := range everyCommand(root) {
		_, words, _ := strings.Cut(c.CommandPath(), " ")
		used[words] = true
		if text := examples[words]; text != "" {
			c.Example = "  " + strings.ReplaceAll(text, "\n", "\n  ")
		}
	}
	for _, words := range sortedKeys(examples) {
		if !used[words] {
			unused = append(unused, words)
		}
	}
	return unused
}
