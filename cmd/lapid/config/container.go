package config

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"lapid/transport/capi"
)

// Container is what the environment of a container says, in the words of the reference's
// image: where the configuration is, what stands in it otherwise, which bouncers and
// machines there shall be. It is made once and not changed. It holds secrets.
type Container struct {
	Bouncers []ContainerBouncer // in the order of their names
	Machines []ContainerMachine // AGENT_USERNAME first
	Replace  bool               // a bouncer that is there gets the key that is given here
	Local    LocalMachine       // whose credentials are written for cscli
	Online   OnlineAccount
	Level    string // of the log; "": what the configuration says
	Test     bool   // only test the configuration

	notes   []string // sentences for the log, such as what was set and means nothing here
	file    string   // CONFIG_FILE, or where the reference's image has it
	named   bool     // … by CONFIG_FILE
	environ []string
	secrets string
	set     map[string]string // the environment, with what _FILE named
	over    *node             // what the environment has in place of the file's
}

// ContainerBouncer is one that a variable or a secret gives.
type ContainerBouncer struct {
	Name, Key string
	From      string // the variable, or the path of the secret
}

// ContainerMachine is one that may log in with its password.
type ContainerMachine struct {
	Name, Password string
	From           string // the variable of the name
}

// LocalMachine is who logs in with the credentials file of this container.
type LocalMachine struct {
	Name                      string // CUSTOM_HOSTNAME, or localhost
	Named                     bool   // by CUSTOM_HOSTNAME
	URL                       string // LOCAL_API_URL; "": where this server listens
	CAFile, CertFile, KeyFile string // with USE_TLS; "": not said
}

// OnlineAccount is what is wanted of the Central API.
type OnlineAccount struct {
	Off     bool     // DISABLE_ONLINE_API
	Key     string   // with which this server is enrolled; "": it is not
	Name    string   // … and as what; "": the host's
	Tags    []string // … with these
	Options []string // of console.yaml that are on
}

// SecretsFolder is where secrets of a container are mounted.
const SecretsFolder = "/run/secrets"

// ReadContainer reads an environment, "NAME=value" each, and the folder of secrets, which need
// not be there. What cannot be meant is an error of one sentence, without a value.
func ReadContainer(environ []string, secrets string) (*Container, error) {
	c := &Container{environ: environ, secrets: secrets, set: map[string]string{}}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		c.set[name] = value
	}
	if c.true("DISABLE_LOCAL_API") {
		return nil, errors.New("DISABLE_LOCAL_API is true, and nothing would be left to run: lapid is the Local API alone; take the variable away, or run the log processor's own image")
	}
	if err := c.readFiles(); err != nil {
		return nil, err
	}
	if err := c.readBouncers(); err != nil {
		return nil, err
	}
	c.readMachines()
	c.readLevel()
	c.readOnline()
	if err := c.readOverlay(); err != nil {
		return nil, err
	}
	c.noteIgnored()
	return c, nil
}

// lookup implements Environment.
func (c *Container) lookup(name string) (string, bool) {
	value, ok := c.set[name]
	return value, ok
}

// true is how the reference's image reads a truth: true in any case, all else is false.
func (c *Container) true(name string) bool { return strings.EqualFold(c.set[name], "true") }

// note keeps a sentence for the log.
func (c *Container) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// largestSecret is more than any key or password has, in bytes.
const largestSecret = 64 << 10

// readSecret is the content of a file without the line ends behind it.
func readSecret(file string) (string, error) {
	text, err := readPlain(file, largestSecret)
	return strings.TrimRight(string(text), "\r\n"), err
}

// fromFiles are the variables that may be given as files, NAME_FILE. Those of others that end
// so hold paths, or are names of bouncers.
var fromFiles = []string{"AGENT_PASSWORD", "CS_LAPI_SECRET", "REGISTRATION_TOKEN", "ENROLL_KEY"}

// readFiles puts the contents of files in the place of their names.
func (c *Container) readFiles() error {
	for _, name := range fromFiles {
		file := c.set[name+"_FILE"]
		if file == "" {
			continue
		}
		if c.set[name] != "" {
			return fmt.Errorf("both %s and %[1]s_FILE are set: take one of them away", name)
		}
		text, err := readSecret(file)
		if err != nil {
			return fmt.Errorf("%s_FILE: %w", name, err)
		}
		c.set[name] = text
	}
	return nil
}

// readBouncers takes every variable that has bouncer_key in its name, in any case, and then the
// secrets that begin so. The name of the bouncer is what stands behind the second underscore.
func (c *Container) readBouncers() error {
	var names []string
	for name, value := range c.set {
		if strings.Contains(strings.ToLower(name), "bouncer_key") && name != replaceVariable && value != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		c.addBouncer(name, c.set[name], "variable "+name)
	}
	var files []string
	for _, begin := range []string{"bouncer_key", "BOUNCER_KEY"} {
		list, err := filepath.Glob(filepath.Join(c.secrets, begin+"*"))
		if err != nil {
			return err
		}
		files = append(files, list...)
	}
	for _, file := range files {
		key, err := readSecret(file)
		if err != nil {
			return fmt.Errorf("the secret of a bouncer: %w", err)
		}
		if key != "" {
			c.addBouncer(filepath.Base(file), key, "secret "+file)
		}
	}
	switch word := c.set[replaceVariable]; word {
	case "", "keep":
	case "replace":
		c.Replace = true
	default:
		return fmt.Errorf("%s must be keep or replace, not %q", replaceVariable, word)
	}
	return nil
}

// addBouncer notes one. The first of a name counts, as in the reference, where it is there then.
func (c *Container) addBouncer(given, key, from string) {
	parts := strings.SplitN(given, "_", 3)
	name := parts[len(parts)-1]
	at := slices.IndexFunc(c.Bouncers, func(b ContainerBouncer) bool { return b.Name == name })
	switch {
	case len(parts) < 3 || name == "":
		c.note("the %s names no bouncer: call it BOUNCER_KEY_ and the bouncer's name", from)
	case at < 0:
		c.Bouncers = append(c.Bouncers, ContainerBouncer{name, key, from})
	case c.Bouncers[at].Key != key:
		c.note("the %s has another key for the bouncer %q than the %s, which counts", from, name, c.Bouncers[at].From)
	}
}

// moreMachines are further ones beside AGENT_USERNAME: AGENT_USERNAME_2 with AGENT_PASSWORD_2.
var moreMachines = regexp.MustCompile(`^AGENT_USERNAME_[0-9]{1,4}$`)

func (c *Container) readMachines() {
	names := []string{"AGENT_USERNAME"}
	for name := range c.set {
		if moreMachines.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, variable := range names {
		other := strings.Replace(variable, "USERNAME", "PASSWORD", 1)
		name, password := c.set[variable], c.set[other]
		switch {
		case name != "" && password != "":
			c.Machines = append(c.Machines, ContainerMachine{name, password, variable})
		case name != "" || password != "":
			c.note("of %s and %s only one is set: no machine is added", variable, other)
		}
	}
	c.Local = LocalMachine{Name: c.set["CUSTOM_HOSTNAME"], URL: c.set["LOCAL_API_URL"]}
	if c.Local.Named = c.Local.Name != ""; !c.Local.Named {
		c.Local.Name = "localhost"
	}
}

// readLevel: of several levels the one with the most lines wins.
func (c *Container) readLevel() {
	c.Test = c.true("TEST_MODE")
	for _, level := range []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"} {
		if c.true("LEVEL_" + level) {
			c.Level = strings.ToLower(level)
			break
		}
	}
	if zone := c.set["TZ"]; zone != "" {
		if _, err := time.LoadLocation(strings.TrimPrefix(zone, ":")); err != nil {
			c.note("TZ names no time zone that is known: times in the log are UTC")
		}
	}
}

// consoleVariables are the options of console.yaml by what ENABLE_CONSOLE_ is followed by.
var consoleVariables = map[string]string{
	"MANAGEMENT": "console_management", "MANUAL": "manual", "CUSTOM": "custom", "TAINTED": "tainted", "CONTEXT": "context",
}

func (c *Container) readOnline() {
	c.Online = OnlineAccount{Off: c.true("DISABLE_ONLINE_API"), Key: c.set["ENROLL_KEY"], Name: c.set["ENROLL_INSTANCE_NAME"]}
	c.Online.Tags = strings.FieldsFunc(c.set["ENROLL_TAGS"], func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' })
	for name, option := range consoleVariables {
		if c.set["ENABLE_CONSOLE_"+name] != "" { // also to false
			c.Online.Options = append(c.Online.Options, option)
		}
	}
	slices.Sort(c.Online.Options)
	if c.Online.Off && c.Online.Key != "" {
		c.Online.Key = ""
		c.note("ENROLL_KEY has no effect: DISABLE_ONLINE_API is true")
	}
}

// share puts in what the environment says of console.yaml.
func (o *OnlineAccount) share(c *capi.Console) {
	for _, option := range o.Options {
		*c.Option(option) = true
	}
}

// readOverlay makes a tree of what the environment has in place of the file's.
func (c *Container) readOverlay() error {
	c.file, c.named = stockConfig, c.set["CONFIG_FILE"] != ""
	if c.named {
		c.file = c.set["CONFIG_FILE"]
	}
	c.over = &node{kind: isMap}
	c.take("METRICS_PORT", "prometheus", "listen_port")
	c.take("CAPI_WHITELISTS_PATH", "api", "server", "capi_whitelists_path")
	c.take("PLUGIN_DIR", "config_paths", "plugin_dir")
	switch word := strings.ToLower(c.set["INSECURE_SKIP_VERIFY"]); word {
	case "":
	case "true", "false":
		c.lay("INSECURE_SKIP_VERIFY", &node{kind: isScalar, text: word, plain: true}, "api", "client", "insecure_skip_verify")
	default:
		return errors.New("INSECURE_SKIP_VERIFY must be true or false")
	}
	if c.Online.Off {
		c.lay("DISABLE_ONLINE_API", &node{kind: isNull}, "api", "server", "online_client")
	}
	c.readTLS()
	return nil
}

// tlsVariables mean something only with USE_TLS.
var tlsVariables = []string{"LAPI_CERT_FILE", "LAPI_KEY_FILE", "CERT_FILE", "KEY_FILE", "CACERT_FILE", "CLIENT_CERT_FILE", "CLIENT_KEY_FILE", "AGENTS_ALLOWED_OU", "BOUNCERS_ALLOWED_OU"}

// readTLS reads the names of certificates. Where USE_TLS is not true, what the file says of TLS
// stays in force: the reference's image would take it out, and speak in the open.
func (c *Container) readTLS() {
	if !c.true("USE_TLS") {
		if set := c.among(tlsVariables); len(set) > 0 {
			c.note("without USE_TLS=true these have no effect: %s", strings.Join(set, ", "))
		}
		return
	}
	for _, one := range [][2]string{{"LAPI_CERT_FILE", "cert_file"}, {"LAPI_KEY_FILE", "key_file"}} {
		name := one[0]
		if old := strings.TrimPrefix(name, "LAPI_"); c.set[name] == "" && c.set[old] != "" {
			c.note("%s is called %s today", old, name)
			name = old
		}
		c.take(name, "api", "server", "tls", one[1])
	}
	c.take("CACERT_FILE", "api", "server", "tls", "ca_cert_path")
	c.takeList("AGENTS_ALLOWED_OU", "api", "server", "tls", "agents_allowed_ou")
	c.takeList("BOUNCERS_ALLOWED_OU", "api", "server", "tls", "bouncers_allowed_ou")
	c.Local.CAFile, c.Local.CertFile, c.Local.KeyFile = c.set["CACERT_FILE"], c.set["CLIENT_CERT_FILE"], c.set["CLIENT_KEY_FILE"]
}

// among are those of some variables that are set.
func (c *Container) among(names []string) (set []string) {
	for _, name := range names {
		if c.set[name] != "" {
			set = append(set, name)
		}
	}
	return set
}

// take lays the value of a variable, if it is set, over a key.
func (c *Container) take(name string, path ...string) {
	if value := c.set[name]; value != "" {
		c.lay(name, &node{kind: isScalar, text: value, plain: true}, path...)
	}
}

// takeList is take for a list with commas.
func (c *Container) takeList(name string, path ...string) {
	if c.set[name] == "" {
		return
	}
	list := &node{kind: isList}
	for item := range strings.SplitSeq(c.set[name], ",") {
		if item = strings.TrimSpace(item); item != "" {
			list.items = append(list.items, &node{kind: isScalar, text: item, file: inEnvironment + name})
		}
	}
	c.lay(name, list, path...)
}

// inEnvironment begins the place of what a variable says.
const inEnvironment = "environment variable "

// lay puts a value below the overlay, at the place of its variable.
func (c *Container) lay(name string, value *node, path ...string) {
	value.file = inEnvironment + name
	at := c.over
	for _, key := range path[:len(path)-1] {
		next := at.get(key)
		if next == nil {
			next = &node{kind: isMap, file: value.file}
			at.entries = append(at.entries, entry{&node{kind: isScalar, text: key, file: value.file}, next})
		}
		at = next
	}
	at.entries = append(at.entries, entry{&node{kind: isScalar, text: path[len(path)-1], file: value.file}, value})
}

// without an effect here, because it is the log processor's, the hub's, or the other image's own.
var ignoredVariables = regexp.MustCompile(`^(USE_WAL|GID|UNREGISTER_ON_EXIT|COLLECTIONS|PARSERS|SCENARIOS|POSTOVERFLOWS|CONTEXTS|APPSEC_.+|` +
	`DISABLE_(COLLECTIONS|PARSERS|SCENARIOS|POSTOVERFLOWS|CONTEXTS|APPSEC_.+)|(NO|DO)_HUB_UPGRADE|TYPE|DSN|CI_TESTING|DEBUG|CROWDSEC_BYPASS_DB_VOLUME_CHECK|CROWDSEC_FEATURE_.+)$`)

// noteIgnored names what was set and means nothing here, in one sentence.
func (c *Container) noteIgnored() {
	var set []string
	for name, value := range c.set {
		if value != "" && ignoredVariables.MatchString(name) {
			set = append(set, name)
		}
	}
	if len(set) > 0 {
		slices.Sort(set)
		c.note("set, but without a meaning for lapid: %s", strings.Join(set, ", "))
	}
}

// containerText is the configuration where there is none.
//
//go:embed container.yaml
var containerText string

// Load reads the configuration as Load does: file, or CONFIG_FILE, or /etc/crowdsec/config.yaml. Where
// nobody names one and there is none, what is built in holds. The environment goes over the file,
// and FILE.local over both.
func (c *Container) Load(file string) (*Setup, error) {
	s := &Setup{File: file, env: c.lookup, container: c}
	if file == "" {
		s.File, s.Found = c.file, !c.named
	}
	beside := filepath.Dir(s.File)
	base, err := readOne(s.File, expander(c.lookup))
	if errors.Is(err, fs.ErrNotExist) && s.Found {
		base, err = c.builtIn(beside)
	}
	if err == nil {
		if base == nil {
			base = &node{file: s.File, kind: isMap}
		}
		base, err = merge(base, c.over)
	}
	if err == nil {
		base, err = overlaid(s.File, base, expander(c.lookup))
	}
	if err != nil {
		return nil, fmt.Errorf("while loading configuration file: %w", err)
	}
	if err := s.take(base, filepath.Join(beside, "lapid.yaml")); err != nil {
		return nil, err
	}
	c.addOnline(s, beside)
	s.Warnings = append(s.Warnings, c.notes...)
	return s, nil
}

// builtIn is the configuration that is built in, for files in a folder.
func (c *Container) builtIn(beside string) (*node, error) {
	trees, err := parseTrees("the configuration that is built in", containerText, nil)
	if err != nil {
		return nil, err
	}
	server, client := trees[0].get("api").get("server"), trees[0].get("api").get("client")
	for _, n := range []*node{client.get("credentials_path"), server.get("console_path")} {
		n.text = filepath.Join(beside, n.text)
	}
	if profiles := filepath.Join(beside, "profiles.yaml"); isThere(profiles) {
		server.entries = append(server.entries, entry{&node{kind: isScalar, text: "profiles_path"}, &node{kind: isScalar, text: profiles, file: profiles}})
	}
	return trees[0], nil
}

func isThere(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// addOnline gives a server that is to be enrolled an account of its own, where none is named.
func (c *Container) addOnline(s *Setup, beside string) {
	if a := s.Config.API.Server; c.Online.Key != "" && a != nil && a.Online == nil {
		a.Online = &OnlineClient{Credentials: filepath.Join(beside, "online_api_credentials.yaml")}
	}
}

// Container is what the environment said; nil where this is none.
func (s *Setup) Container() *Container { return s.container }

// replaceVariable says what becomes of a bouncer whose key is another than the stored one, and
// ContainerVariable that verbs go by the environment as serve --container does.
const (
	replaceVariable   = "LAPID_BOUNCER_KEYS"
	ContainerVariable = "LAPID_CONTAINER"
)

// Again reads the environment's files once more, as a reload does.
func (c *Container) again() (*Container, error) { return ReadContainer(c.environ, c.secrets) }
