package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"lapid/engine"
	"lapid/transport"
	"lapid/transport/openapi"
)

// Settings are ours alone. They cannot stand in config.yaml, which other
// programs read strictly: they are written into lapid.yaml beside it, or
// given as environment variables, LAPID_ and the key in capitals, which win.
// A name once given keeps its meaning. The zero value is what holds without
// any.
type Settings struct {
	// DataDir takes the place of config_paths.data_dir.
	DataDir string `yaml:"data_dir"`
	// AdminSocket is the path of the operator's socket; default admin.sock in
	// the folder lapid of the data directory.
	AdminSocket string `yaml:"admin_socket"`
	// ListenURI takes the place of api.server.listen_uri, and switches the server on
	// where api.server.enable is false: config.yaml can so be shared with a log
	// processor beside.
	ListenURI string `yaml:"listen_uri"`
	// Metrics takes the place of prometheus: host:port of the metrics listener, or
	// off; default what prometheus says.
	Metrics string `yaml:"metrics"`
	// ListenSocketMode is who may connect to api.server.listen_socket, in octal;
	// default 0660, the server's user and group, whatever the umask is. A client
	// of that socket counts as one from 127.0.0.1.
	ListenSocketMode string `yaml:"listen_socket_mode"`
	// AccessLog writes one line per request, as the reference does. By default only
	// where common.log_media is file, into a file of its own: at full speed the lines
	// cost more than the answers.
	AccessLog *bool `yaml:"access_log"`
	// Sync, when false, answers writes before the disk has them: a crash of the
	// machine, not of the process, may lose the last of them. Default true.
	Sync *bool `yaml:"sync"`
	// OnFilterError says what a failing profile filter without an on_error of
	// its own does: refuse (default, the whole request is refused, as in the
	// reference) or continue (the next profile is tried and the log tells).
	OnFilterError string `yaml:"on_filter_error"`
	// Memory is how much memory the server may take, such as 512MiB; default: the
	// least that its control group, GOMEMLIMIT and the machine allow. What is kept for
	// request bodies, connections and waiting writes is a part of it.
	Memory string `yaml:"memory"`
	// SnapshotEvery is how much time may pass between two snapshots of the store
	// while there is something to write down, such as 90s; default 10m. A start
	// replays what came after the last one.
	SnapshotEvery string `yaml:"snapshot_every"`
	// RowsPerKey is how many rows of bouncers one API key, or one certificate's name,
	// gets by coming from new addresses; default 10000. When one more comes, the one
	// that was heard of longest ago is forgotten: its bouncer begins anew when it
	// comes again. What the operator adds is not counted.
	RowsPerKey int `yaml:"bouncer_rows_per_key"`
	// IPv6Prefix is the length, in bits, of the IPv6 prefixes whose addresses share a
	// row of bouncers, and with it a place in the stream: 64 where each bouncer has a
	// network of its own and changes its address in it. Default 128: each address
	// has its own, as in the reference.
	IPv6Prefix int `yaml:"bouncer_ipv6_prefix"`
	// MaxHeaderBytes is how long the request line and the headers of a request may
	// be together, such as 256KiB, between 4KiB and 1MiB; default 64KiB. More get
	// 431. Beyond 8 KiB they are paid for out of the memory of request bodies.
	MaxHeaderBytes string `yaml:"max_header_bytes"`
	// Loops is how many loops hold connections that have no goroutine of their own:
	// auto (default, one for each processor), a number from 1 to 256, or off, when
	// each connection has one. Connections over TLS come to them when their handshake is done.
	Loops string `yaml:"loops"`
	// BookmarkJournal is how much of the journal is kept on the disk for a reader of the
	// history (a Bookmark of the engine) that has fallen behind, such as 256MiB; default
	// 1GiB. A reader further behind starts over, and the log names it.
	BookmarkJournal string `yaml:"bookmark_journal"`
	// ShrunkenLists says what becomes of a list of the Central API that is empty or has
	// less than half of the entries that are in force: hold (default, what is in force
	// goes on until its time is over, and the log says so) or accept.
	ShrunkenLists string `yaml:"capi_shrunken_lists"`
	// MoveIn, when auto, has a start on a store without bouncers and machines take over
	// the database that db_config names (lapid movein), once; a start that cannot do that
	// fails. Default off: a start says which database is there, as long as nothing was taken
	// over. With never it does not.
	MoveIn string `yaml:"movein"`
	// AllowlistWins, when true, frees what is allowlisted whatever else is decided, before or
	// after: bouncers are told a banned range without the allowlisted addresses in it. Default
	// false, as in the reference: an allowlist ends what it overlaps when it is written, and
	// keeps alerts away, and a range that is banned later bans all that is in it.
	AllowlistWins bool `yaml:"allowlist_wins"`
	// Exports are lists for devices that cannot be bouncers, served at /exports/NAME. They are
	// changed here alone; others are made by lapid exports add. It has no variable.
	Exports []ExportSetting `yaml:"exports"`
	// Console is the operators' listener over HTTP. Of it LAPID_CONSOLE_LISTEN gives listen alone.
	Console ConsoleSettings `yaml:"console"`
	// Audit is how much of the audit is kept. It has no variable.
	Audit Audit `yaml:"audit"`
	// OpenAPI is who may have the description of the API, at /openapi.json, /openapi.yaml and
	// /docs of the Local API's listener and the console's: public (default, for it holds nothing
	// secret), authenticated (whom that listener lets in) or off.
	OpenAPI string `yaml:"openapi"`
	// Backup is where backups are made by the server itself. It has no variable.
	Backup Backup `yaml:"backup"`
	// Cluster makes this server one of several with one history.
	Cluster ClusterSettings `yaml:"cluster"`
	// Relay makes this server follow the nodes of a cluster, and serve bouncers alone.
	Relay RelaySettings `yaml:"relay"`
}

// Audit is what lapid.yaml says of the audit.
type Audit struct {
	// MaxAge is for how long a row is kept, such as 90d (default), from an hour to 20 years.
	MaxAge string `yaml:"max_age"`
	// MaxRows is how many are kept, of what was done and of what is counted each; default
	// 1000000, from 1000 to 100000000.
	MaxRows int `yaml:"max_rows"`
	// Off, when true, has none be written. What there is stays, and can be read.
	Off bool `yaml:"off"`
}

// options are the engine's; nil: none is written. An error is of a value that means nothing.
func (a *Audit) options() (*engine.AuditOptions, error) {
	o := &engine.AuditOptions{MaxRows: a.MaxRows}
	if a.MaxRows != 0 && (a.MaxRows < 1000 || a.MaxRows > 100_000_000) {
		return nil, fmt.Errorf("audit.max_rows must be between 1000 and 100000000, not %d", a.MaxRows)
	}
	if a.MaxAge != "" {
		d, err := engine.ParseDuration(a.MaxAge)
		if err != nil || d < time.Hour || d > 20*365*24*time.Hour {
			return nil, fmt.Errorf("audit.max_age must be a duration from 1h to 7300d, such as 90d, not %q", a.MaxAge)
		}
		o.MaxAge = d
	}
	if a.Off {
		return nil, nil
	}
	return o, nil
}

// Backup is what lapid.yaml says of backups that the server makes by itself.
type Backup struct {
	// Dir is the folder they are in, with its whole path, outside of the store, best on another disk, and of
	// this server alone; none: there are none.
	Dir string `yaml:"dir"`
	// Every is the time between two, such as 24h (default), from a minute to 365 days.
	Every string `yaml:"every"`
	// Keep is how many stay, the newest; default 7, from 1 to 1000. Only files that are named as those that the
	// server makes by itself, lapid-auto-TIME-REVISION.backup, are ever removed.
	Keep int `yaml:"keep"`
}

// Plan is how often, and how many stay; 0 and 0 where none are made. A Setup that was loaded gives no error.
func (b *Backup) Plan() (every time.Duration, keep int, err error) {
	if b.Dir == "" {
		if b.Every != "" || b.Keep != 0 {
			return 0, 0, errors.New("backup.dir is missing: say in which folder backups are to be made")
		}
		return 0, 0, nil
	}
	if !filepath.IsAbs(b.Dir) {
		return 0, 0, fmt.Errorf("backup.dir must be a whole path such as /var/backups/lapid, not %q", b.Dir)
	}
	if every = 24 * time.Hour; b.Every != "" {
		d, err := engine.ParseDuration(b.Every)
		if err != nil || d < time.Minute || d > 365*24*time.Hour {
			return 0, 0, fmt.Errorf("backup.every must be a duration from 1m to 365d, such as 24h, not %q", b.Every)
		}
		every = d
	}
	if keep = cmp.Or(b.Keep, 7); keep < 1 || keep > 1000 {
		return 0, 0, fmt.Errorf("backup.keep must be between 1 and 1000, not %d", keep)
	}
	return every, keep, nil
}

// checkShrunken: the two words that there are.
func (s *Settings) checkShrunken() error {
	if w := s.ShrunkenLists; w != "" && w != "hold" && w != "accept" {
		return fmt.Errorf("capi_shrunken_lists must be hold or accept, not %q", w)
	}
	return nil
}

// BookmarkBytes is the setting in bytes, 0 when it is not given.
func (s *Settings) BookmarkBytes() (int64, error) {
	if s.BookmarkJournal == "" {
		return 0, nil
	}
	n, ok := sizeOf(s.BookmarkJournal)
	if !ok || n < 1<<20 {
		return 0, fmt.Errorf("bookmark_journal must be a number of bytes from 1MiB to 1048576GiB, such as 256MiB or 2GiB, not %q", s.BookmarkJournal)
	}
	return n, nil
}

// LoopCount is loops as transport.Options has it: 0 for auto and when it is not given,
// transport.NoLoops for off. As with the next ones, a Setup that was loaded gives no error:
// loading refuses what cannot be read.
func (s *Settings) LoopCount() (int, error) {
	switch s.Loops {
	case "", "auto":
		return 0, nil
	case "off":
		return transport.NoLoops, nil
	}
	n, err := strconv.Atoi(s.Loops)
	if err != nil || n < 1 || n > mostLoops {
		return 0, fmt.Errorf("loops must be auto, off or a number from 1 to %d, not %q", mostLoops, s.Loops)
	}
	return n, nil
}

// mostLoops is far more than serve any machine; each takes its buffers.
const mostLoops = 256

// UsualHeaderBytes is what max_header_bytes is when it is not given, in bytes.
const UsualHeaderBytes = 64 << 10

// HeaderBytes is max_header_bytes in bytes, between 4 KiB and 1 MiB; 0 when it is not given.
func (s *Settings) HeaderBytes() (int, error) {
	if s.MaxHeaderBytes == "" {
		return 0, nil
	}
	n, ok := sizeOf(s.MaxHeaderBytes)
	if !ok || n < 4<<10 || n > 1<<20 {
		return 0, fmt.Errorf("max_header_bytes must be a number of bytes between 4KiB and 1MiB, such as 256KiB, not %q", s.MaxHeaderBytes)
	}
	return int(n), nil
}

// checkRows checks what is said of rows of bouncers; 0 is the default.
func (s *Settings) checkRows() error {
	if n := s.RowsPerKey; n < 0 || n > mostRowsPerKey {
		return fmt.Errorf("bouncer_rows_per_key must be between 1 and %d, not %d", mostRowsPerKey, n)
	}
	return nil
}

// checkPrefix checks what is said of IPv6 prefixes; 0 is the default.
func (s *Settings) checkPrefix() error {
	if n := s.IPv6Prefix; n != 0 && (n < shortestPrefix || n > 128) {
		return fmt.Errorf("bouncer_ipv6_prefix must be between %d and 128, not %d", shortestPrefix, n)
	}
	return nil
}

const (
	mostRowsPerKey = 10_000_000 // some four gigabytes
	shortestPrefix = 32         // what an address registry gives a provider
)

// longestSnapshotInterval bounds what a start replays and the journal holds.
const longestSnapshotInterval = 30 * 24 * time.Hour

// SnapshotInterval is snapshot_every as a duration, from a second to 30 days; 0 when it is not given.
func (s *Settings) SnapshotInterval() (time.Duration, error) {
	if s.SnapshotEvery == "" {
		return 0, nil
	}
	d, err := engine.ParseDuration(s.SnapshotEvery)
	if err != nil || d < time.Second || d > longestSnapshotInterval {
		return 0, fmt.Errorf("snapshot_every must be a duration from 1s to 30d, such as 10m, not %q", s.SnapshotEvery)
	}
	return d, nil
}

// MemoryBytes is memory in bytes, 64 MiB or more; 0 when it is not given.
func (s *Settings) MemoryBytes() (int64, error) {
	if s.Memory == "" {
		return 0, nil
	}
	n, ok := sizeOf(s.Memory)
	if !ok || n < leastMemory {
		return 0, fmt.Errorf("memory must be a number of bytes, 64MiB or more, such as 512MiB or 2GiB, not %q", s.Memory)
	}
	return n, nil
}

// sizeOf reads a number of bytes with a unit or without, such as 512MiB.
// Units are powers of 1024, in the spellings of the help.
func sizeOf(text string) (bytes int64, ok bool) {
	number := strings.TrimSpace(strings.TrimRight(text, "kKmMgGiB "))
	unit := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(text[len(number):])), "B"), "I")
	shift, ok := map[string]int{"": 0, "K": 10, "M": 20, "G": 30}[unit]
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n <= 0 || n > 1<<50>>shift {
		return 0, false
	}
	return n << shift, true
}

// leastMemory is what a server does not work with. Less is refused: the
// least shares that are made of it take more than half.
const leastMemory = 64 << 20

// SocketMode is listen_socket_mode as permission bits, with those for the owner to read
// and write; 0 when it is not given.
func (s *Settings) SocketMode() (fs.FileMode, error) {
	if s.ListenSocketMode == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s.ListenSocketMode, "0o"), 8, 32)
	if err != nil || n == 0 || n > 0o777 || n&0o600 != 0o600 {
		return 0, fmt.Errorf("listen_socket_mode must be a mode in octal that lets the server's user in, such as 0660, not %q", s.ListenSocketMode)
	}
	return fs.FileMode(n), nil
}

// loadSettings reads lapid.yaml, if it is there, and the environment. places
// is where each key that was given stands. A file that is not there is no
// error. The environment is read key by key, as if it stood in the file.
func loadSettings(file string, env Environment) (s Settings, places map[string]*node, err error) {
	places = map[string]*node{}
	if file != "" {
		tree, err := readOne(file, expander(env))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, nil, fmt.Errorf("while loading settings: %w", err)
		}
		if tree != nil && tree.further != nil {
			return s, nil, fmt.Errorf("while loading settings: %s: a second document begins here: the settings are one, put all of them into the first", tree.further.at())
		}
		d, err := decodeTree(tree, &s)
		if err != nil {
			return s, nil, fmt.Errorf("while loading settings: %w", err)
		}
		maps.Copy(places, d.places)
	}
	var given node
	given.kind = isMap
	for _, key := range variableKeys() {
		name := "LAPID_" + strings.ToUpper(key)
		if text, ok := env(name); ok {
			value := &node{file: "environment variable " + name, kind: isScalar, text: text, plain: true}
			given.entries = append(given.entries, entry{&node{kind: isScalar, text: key}, value})
		}
	}
	if text, ok := env(consoleVariable); ok {
		s.Console.Listen = text
	}
	if tree := variableTree(reflect.TypeFor[ClusterSettings](), clusterVariables, env); tree != nil {
		given.entries = append(given.entries, entry{&node{kind: isScalar, text: "cluster"}, tree})
	}
	if tree := variableTree(reflect.TypeFor[RelaySettings](), relayVariables, env); tree != nil {
		given.entries = append(given.entries, entry{&node{kind: isScalar, text: "relay"}, tree})
	}
	d, err := decodeTree(&given, &s)
	if err != nil {
		return s, nil, err
	}
	maps.Copy(places, d.places)
	return s, places, s.check(places)
}

// consoleVariable gives console.listen, the only variable for a key within a key.
const consoleVariable = "LAPID_CONSOLE_LISTEN"

// variableKeys are the keys that variables can give: those that have one value, and no keys or lists within.
func variableKeys() []string {
	var keys []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Settings]()) {
		if kind := f.Type.Kind(); kind != reflect.Struct && kind != reflect.Slice {
			keys = append(keys, f.Tag.Get("yaml"))
		}
	}
	return keys
}

// settingVariables are the names of all variables that give a setting.
func settingVariables() []string {
	var names []string
	for _, key := range variableKeys() {
		names = append(names, "LAPID_"+strings.ToUpper(key))
	}
	names = append(append(names, consoleVariable), variablesOf(reflect.TypeFor[ClusterSettings](), clusterVariables)...)
	return append(names, variablesOf(reflect.TypeFor[RelaySettings](), relayVariables)...)
}

// check refuses values that mean nothing, with their place. It is called
// once, at the end of the reading, so the getters above need not look again.
func (s *Settings) check(places map[string]*node) error {
	_, every := s.SnapshotInterval()
	_, memory := s.MemoryBytes()
	_, mode := s.SocketMode()
	_, heads := s.HeaderBytes()
	_, loops := s.LoopCount()
	_, bookmarks := s.BookmarkBytes()
	_, exports := s.DeclaredExports(0)
	_, audit := s.Audit.options()
	_, _, backup := s.Backup.Plan()
	consoleKey, console := s.Console.check()
	clusterKey, cluster := s.Cluster.check()
	relayKey, relay := s.Relay.check()
	for _, c := range []struct {
		key string
		err error
	}{
		{"on_filter_error", s.checkFilterError()}, {"snapshot_every", every}, {"bouncer_rows_per_key", s.checkRows()},
		{"bouncer_ipv6_prefix", s.checkPrefix()}, {"memory", memory}, {"listen_socket_mode", mode}, {"metrics", s.checkMetrics()},
		{"max_header_bytes", heads}, {"loops", loops}, {"bookmark_journal", bookmarks}, {"capi_shrunken_lists", s.checkShrunken()}, {"movein", s.checkMoveIn()},
		{"exports", exports},
		{"audit", audit}, {"backup", backup},
		{"openapi", s.checkOpenAPI()},
		{consoleKey, console}, {clusterKey, cluster}, {"cluster", s.alone()},
		{relayKey, relay}, {"relay", s.followsAlone()},
		{"cluster", empty(places["cluster"], &s.Cluster, "a node")}, {"relay", empty(places["relay"], &s.Relay, "a relay")},
	} {
		if n := places[c.key]; c.err != nil && n != nil {
			return fmt.Errorf("%s: %w", n.at(), c.err)
		} else if c.err != nil {
			return c.err
		}
	}
	return nil
}

// checkOpenAPI: the three words that there are.
func (s *Settings) checkOpenAPI() error {
	if !openapi.Access(s.OpenAPI).Valid() {
		return fmt.Errorf("openapi must be public, authenticated or off, not %q", s.OpenAPI)
	}
	return nil
}

// checkFilterError: the two words that there are.
func (s *Settings) checkFilterError() error {
	if w := s.OnFilterError; w != "" && w != "refuse" && w != "continue" {
		return fmt.Errorf("on_filter_error must be refuse or continue, not %q", w)
	}
	return nil
}

// checkMetrics: an address with a port, or off.
func (s *Settings) checkMetrics() error {
	if s.Metrics == "" || s.Metrics == "off" {
		return nil
	}
	_, port, err := net.SplitHostPort(s.Metrics)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("metrics must be host:port or off, not %q", s.Metrics)
	}
	return nil
}

// empty refuses a section that stands there with nothing in it: it would make a server for itself, whose bouncers are told that
// nobody is banned.
func empty(at *node, section interface{ On() bool }, what string) error {
	if at == nil || section.On() || !reflect.ValueOf(section).Elem().IsZero() {
		return nil
	}
	return fmt.Errorf("there is nothing in it: say what %s needs, or leave the section out", what)
}
