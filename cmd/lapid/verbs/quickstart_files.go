package verbs

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
)

// Files of a quickstart's folder.
const (
	quickCredentials = "local_api_credentials.yaml"
	quickKey         = "bouncer.key"
	quickOwn         = "lapid.yaml"
	quickName        = "quickstart" // of its machine and its bouncer
	quickOperator    = "admin"      // who logs in to its console
)

// noConsole is what --console says where none is wanted.
const noConsole = "off"

// quick is what the flags of quickstart say. checkQuick fills in the
// addresses that were not given.
type quick struct {
	dir, listen, metrics string
	console              string // noConsole: none
	moves                bool   // an address was given and is another than before
	asRoot               bool   // also in a folder of another user's
}

// configure writes the configuration. Values are written so that any YAML
// reader takes them for the texts they are.
func (q *quick) configure(file string) error {
	host, port, err := net.SplitHostPort(q.metrics)
	if err != nil {
		return fmt.Errorf("--metrics: %w", err)
	}
	// The settings come first: a quickstart that is interrupted here begins again.
	if own := filepath.Join(q.dir, quickOwn); datadir.Missing(own) {
		text := quickOwnText
		if q.console != noConsole {
			text += fmt.Sprintf(quickConsoleText, config.Scalar(q.console))
		}
		if err := datadir.WriteSecret(own, []byte(text)); err != nil {
			return err
		}
	}
	return datadir.WriteSecret(file, fmt.Appendf(nil, quickText, config.Scalar(q.dir), config.Scalar(filepath.Join(q.dir, quickCredentials)),
		config.Scalar(q.listen), config.Scalar(host), port))
}

// quickOwnText are lapid's own settings.
const quickOwnText = `# Written by "lapid quickstart": lapid's own settings, beside config.yaml.
# What is allowlisted is free, whatever is banned around it, before or after.
allowlist_wins: true
`

// quickConsoleText adds the console: its address.
const quickConsoleText = `# The web console for operators.
console:
  listen: %s
`

// quickText is the configuration of a quickstart: folder, credentials, address
// of the API, host and port of the metrics.
const quickText = `# Written by "lapid quickstart"; change it as you like.
config_paths:
  data_dir: %s
db_config:
  flush:
    max_items: 5000
    max_age: 7d
api:
  client:
    credentials_path: %s
  server:
    listen_uri: %s
prometheus:
  enabled: true
  level: full
  listen_addr: %s
  listen_port: %s
`

// move writes other addresses into a configuration that quickstart has written.
// Only lines that are as they were written are changed, so a file that the operator
// has rewritten is left alone, with an error that says what to change.
func (q *quick) move(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(q.metrics)
	if err != nil {
		return fmt.Errorf("--metrics: %w", err)
	}
	for key, value := range map[string]string{"listen_uri": config.Scalar(q.listen), "listen_addr": config.Scalar(host), "listen_port": port} {
		line := regexp.MustCompile(`(?m)^( +` + key + `:) .*$`)
		if len(line.FindAll(text, -1)) != 1 {
			return fmt.Errorf("%s is not as quickstart writes it: change %s there instead of giving an address", file, key)
		}
		text = line.ReplaceAllFunc(text, func(old []byte) []byte {
			return append(append([]byte{}, line.FindSubmatch(old)[1]...), " "+value...)
		})
	}
	return datadir.WriteSecret(file, text)
}
