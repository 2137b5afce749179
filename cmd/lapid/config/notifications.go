package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lapid/cmd/lapid/datadir"
	"lapid/engine/profile"
	"lapid/transport/notify"
)

// Notification is one document of the notification directory, as it was written.
type Notification struct {
	Type, Name string
	File       string
	Profiles   []string // those that name it, in their order; none: it is not sent

	at       string // where the document begins
	words    *node  // the keys that are the server's
	settings *node  // those of its type; nothing put in yet
}

// notifyWords are the keys of a notification that are the server's, whatever its type.
type notifyWords struct {
	Type      string `yaml:"type"`
	Name      string `yaml:"name"`
	Format    string `yaml:"format"`
	Wait      string `yaml:"group_wait"`
	Threshold int    `yaml:"group_threshold"`
	MaxRetry  int    `yaml:"max_retry"`
	Timeout   string `yaml:"timeout"`
}

// mostNotificationFiles bounds how many files of the directory are read.
const mostNotificationFiles = 1000

// NotificationDir is where notifications are configured: notification_dir, or the folder
// notifications beside the configuration; "" where there is no configuration.
func (s *Setup) NotificationDir() string {
	p := &s.Config.Paths
	switch {
	case p.Notifications != "":
		return p.Notifications
	case p.ConfigDir != "":
		return filepath.Join(p.ConfigDir, "notifications")
	case s.File != "":
		return filepath.Join(filepath.Dir(s.File), "notifications")
	}
	return ""
}

// Notifications reads what is written in the directory, in the order of the files. Of two
// of one name the later one counts, which is a warning to log. A directory that is not
// there holds none. specs say which are named.
func (s *Setup) Notifications(specs []profile.Spec, log *slog.Logger) ([]*Notification, error) {
	files, err := notificationFiles(s.NotificationDir())
	if err != nil {
		return nil, err
	}
	var list []*Notification
	for _, file := range files {
		trees, err := readTrees(file, nil)
		if err != nil {
			return nil, err
		}
		for i, tree := range trees {
			n, err := notificationOf(file, i, tree)
			if err != nil {
				return nil, err
			}
			if at := slices.IndexFunc(list, func(o *Notification) bool { return o.Name == n.Name }); at >= 0 {
				log.Warn(fmt.Sprintf("%s: notification '%s' is defined multiple times: this one counts", n.at, n.Name))
				list = slices.Delete(list, at, at+1)
			}
			for i := range specs {
				if slices.Contains(specs[i].Notifications, n.Name) {
					n.Profiles = append(n.Profiles, specs[i].Name)
				}
			}
			list = append(list, n)
		}
	}
	return list, nil
}

// sent are the configurations of the notifications that profiles name and that can be
// sent. A name without one is told by the profiles.
func (s *Setup) sent(specs []profile.Spec, log *slog.Logger) ([]*notify.Configuration, error) {
	if !slices.ContainsFunc(specs, func(p profile.Spec) bool { return len(p.Notifications) > 0 }) {
		return nil, nil // nothing of the directory is looked at
	}
	written, err := s.Notifications(specs, log)
	if err != nil {
		return nil, err
	}
	var list []*notify.Configuration
	for _, n := range written {
		switch {
		case len(n.Profiles) == 0:
		case !slices.Contains(notify.BuiltIn, n.Type) && s.pluginProgram(n.Type) == "":
			log.Warn(fmt.Sprintf("%s: nothing sends notifications of type '%s' here: %s are built in, and there is no program notification-%s in plugin_dir", n.at, n.Type, strings.Join(notify.BuiltIn, ", "), n.Type))
		default:
			c, err := s.Configuration(n)
			if err != nil {
				return nil, err
			}
			if strings.Contains(c.Format, "CrowdsecCTI") {
				log.Warn(fmt.Sprintf("%s: the format of '%s' asks CrowdsecCTI, which no service answers here: each of its messages is given up", n.words.get("format").at(), n.Name))
			} else {
				tryFormat(n, c, log)
			}
			list = append(list, c)
		}
	}
	s.doubtPrograms(list, log)
	if len(list) > notify.MostNotifications {
		return nil, fmt.Errorf("profiles name %d notifications, and at most %d are sent", len(list), notify.MostNotifications)
	}
	return list, nil
}

// tryFormat warns of a format that a sample alert cannot be put into words with.
func tryFormat(n *Notification, c *notify.Configuration, log *slog.Logger) {
	const within = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := notify.TryFormat(ctx, c.Format); err != nil {
		log.Warn(fmt.Sprintf("%s: the format of '%s' fails for a sample alert: messages about alerts that it fails for are given up: %v", formatPlace(n.words.get("format"), err), n.Name, err))
	}
}

// notificationFiles lists the files of a directory that are read, by their names.
func notificationFiles(dir string) ([]string, error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading notifications: %w", datadir.Permitted(err, dir))
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if len(files) > mostNotificationFiles {
		return nil, fmt.Errorf("%s holds %d files of notifications, and at most %d are read", dir, len(files), mostNotificationFiles)
	}
	return files, nil
}

// notificationOf parts a document into what is the server's and what is its type's.
func notificationOf(file string, i int, tree *node) (*Notification, error) {
	n := &Notification{File: file, at: tree.at()}
	if tree.kind != isMap {
		return nil, fmt.Errorf("%s: a notification must be a map, this is %s", n.at, tree.kind)
	}
	words, settings := *tree, *tree
	words.entries, settings.entries = nil, nil
	for _, e := range tree.entries {
		if slices.Contains([]string{"type", "name", "format", "group_wait", "group_threshold", "max_retry", "timeout"}, e.key.text) {
			words.entries = append(words.entries, e)
		} else {
			settings.entries = append(settings.entries, e)
		}
	}
	n.words, n.settings = &words, &settings
	for key, into := range map[string]*string{"type": &n.Type, "name": &n.Name} {
		if v := tree.get(key); v != nil && v.kind == isScalar {
			*into = v.text
		}
	}
	if n.Type == "" {
		return nil, fmt.Errorf("%s: error in %s: document %d: missing required field 'type'", n.at, file, i)
	}
	return n, nil
}

// Configuration is a notification as it is sent, with variables and the contents of files
// put in, checked. Errors have a place and hold no secrets.
func (s *Setup) Configuration(n *Notification) (*notify.Configuration, error) {
	var w notifyWords
	if _, err := decodeTree(n.words, &w); err != nil {
		return nil, err
	}
	c := &notify.Configuration{Type: w.Type, Name: w.Name, Format: w.Format, GroupThreshold: w.Threshold, MaxRetry: w.MaxRetry}
	var err error
	if err := notify.CheckFormat(w.Format); err != nil {
		return nil, fmt.Errorf("%s: format of '%s': %w", formatPlace(n.words.get("format"), err), n.Name, err)
	}
	if c.GroupWait, err = goDuration(w.Wait); err != nil {
		return nil, fmt.Errorf("%s: group_wait %w", n.words.get("group_wait").at(), err)
	}
	if c.Timeout, err = goDuration(w.Timeout); err != nil {
		return nil, fmt.Errorf("%s: timeout %w", n.words.get("timeout").at(), err)
	}
	settings, err := putIn(n.settings, s.env)
	if err != nil {
		return nil, err
	}
	if program := s.pluginProgram(n.Type); program != "" {
		as := s.Config.Plugins
		if as == nil {
			return nil, fmt.Errorf("plugins are enabled (%s), but the plugin_config section is missing in the configuration: say there as which user and group they run", program)
		}
		document := n.words.yaml() + settings.yaml()
		if n.words.get("timeout") == nil {
			document += "timeout: " + notify.UsualTimeout.String() + "\n"
		}
		c.Program = &notify.Program{Path: program, Type: n.Type, Document: document, User: as.User, Group: as.Group, Secrets: settings.secrets(""), Withheld: s.withheld()}
	} else if err := decodeBuiltIn(c, settings); err != nil {
		return nil, err
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", n.at, err)
	}
	return c, nil
}

// withheld are the secrets that stand in the configuration itself, with variables put in;
// not what is too short to be one.
func (s *Setup) withheld() []string {
	const shortest = 5
	if s.tree == nil {
		return nil
	}
	return slices.DeleteFunc(s.tree.secrets(""), func(word string) bool { return len(word) < shortest })
}

// formatPlace is where in the file an error of a template is, by the line that it names.
func formatPlace(n *node, err error) string {
	_, rest, _ := strings.Cut(err.Error(), "template: format:")
	number, _, _ := strings.Cut(rest, ":")
	line, bad := strconv.Atoi(number)
	file, unread := os.ReadFile(n.file)
	if lines := strings.Split(string(file), "\n"); bad == nil && unread == nil && n.line > 0 && n.line <= len(lines) {
		first := n.line
		if written := lines[first-1]; strings.Contains(written, ": |") || strings.Contains(written, ": >") {
			first++ // the text begins below
		}
		return fmt.Sprintf("%s:%d", n.file, first+line-1)
	}
	return n.at()
}

// doubtPrograms warns of files in plugin_dir that are no plugin programs, one line each,
// once some profile names a notification: those that are used were refused.
func (s *Setup) doubtPrograms(used []*notify.Configuration, log *slog.Logger) {
	entries, err := os.ReadDir(s.Config.Paths.Plugins)
	if err != nil || s.Config.Paths.Plugins == "" {
		return // a program that is named and not there has its own line
	}
	for _, e := range entries {
		path := filepath.Join(s.Config.Paths.Plugins, e.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		if slices.ContainsFunc(used, func(c *notify.Configuration) bool { return c.Program != nil && c.Program.Path == path }) {
			continue
		}
		if err := notify.CheckProgram(path); err != nil {
			log.Warn(fmt.Sprintf("%s: this program is not used, and is refused as soon as a profile needs it: %v", s.Config.Paths.Plugins, err))
		}
	}
}

// pluginProgram is the program that sends a type, "" when there is none.
func (s *Setup) pluginProgram(kind string) string {
	if s.Config.Paths.Plugins == "" || kind != filepath.Base(kind) {
		return ""
	}
	path := filepath.Join(s.Config.Paths.Plugins, "notification-"+kind)
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return ""
	}
	return path
}

// decodeBuiltIn reads the keys of a type strictly. One that is not built in gets none.
func decodeBuiltIn(c *notify.Configuration, settings *node) error {
	own := *settings
	own.entries = slices.DeleteFunc(slices.Clone(settings.entries), func(e entry) bool {
		return e.key.text == "log_level" // of programs
	})
	var into any
	switch c.Type {
	case "http":
		c.HTTP = &notify.HTTP{}
		into = c.HTTP
	case "slack":
		c.Slack = &notify.Slack{}
		into = c.Slack
	case "email":
		c.Email = &notify.Email{}
		into = c.Email
	case "file":
		c.File = &notify.File{}
		into = c.File
	default:
		return nil
	}
	_, err := decodeTree(&own, into)
	return err
}

// goDuration reads a duration of the field: Go's, or a bare number of nanoseconds.
func goDuration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(n), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("must be a duration such as 30s or 5m, not %s", shownWord(text))
	}
	return d, nil
}

// putIn is a tree with what its words stand for: $NAME and ${NAME} for a variable,
// ${file:PATH} for what a file holds, without the end of its last line. It is put into
// each word alone, so that whatever a secret holds does not change the document.
func putIn(n *node, env Environment) (*node, error) {
	filled := *n
	filled.items, filled.entries = slices.Clone(n.items), slices.Clone(n.entries)
	var err error
	if n.kind == isScalar {
		if filled.text, err = secretIn(n.text, env); err != nil {
			return nil, fmt.Errorf("%s: %w", n.at(), err)
		}
		filled.plain = n.plain && !strings.ContainsAny(n.text, "$") || n.plain && plainNumber(filled.text)
	}
	for i := range filled.items {
		if filled.items[i], err = putIn(n.items[i], env); err != nil {
			return nil, err
		}
	}
	for i := range filled.entries {
		if filled.entries[i].value, err = putIn(n.entries[i].value, env); err != nil {
			return nil, err
		}
	}
	return &filled, nil
}

// plainNumber tells whether a word that was put in may stand for a number or a truth.
func plainNumber(text string) bool {
	_, err := strconv.Atoi(text)
	return err == nil || text == "true" || text == "false"
}

// secretIn puts variables and files into one word.
func secretIn(text string, env Environment) (string, error) {
	const begins, longest = "${file:", 1 << 20
	var out strings.Builder
	expand := expander(env)
	for {
		before, rest, found := strings.Cut(text, begins)
		path, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			out.WriteString(expand(text))
			return out.String(), nil
		}
		secret, err := readPlain(path, longest)
		if err != nil {
			return "", err
		}
		out.WriteString(expand(before))
		out.Write(bytes.TrimRight(secret, "\r\n"))
		text = after
	}
}

// Written is the whole document as it was written, without its secrets, for JSON; with the
// timeout that holds where it has none.
func (n *Notification) Written() map[string]any {
	words, _ := n.words.plainValue().(map[string]any)
	settings, _ := n.settings.masked("").plainValue().(map[string]any)
	all := map[string]any{"timeout": notify.UsualTimeout.String()}
	maps.Copy(all, words)
	maps.Copy(all, settings)
	return all
}

// YAML is the same in YAML.
func (n *Notification) YAML() string {
	text := n.words.yaml()
	if n.words.get("timeout") == nil {
		text += "timeout: " + notify.UsualTimeout.String() + "\n"
	}
	return text + n.settings.masked("").yaml()
}

// hiddenWord stands for a secret.
const hiddenWord = "***"

// shortestSecret is how long a word must be to be hidden in what programs say: shorter ones
// are in other words too.
const shortestSecret = 3

// secrets are the words of a tree that masked hides, with variables put in; of addresses
// what follows the host.
func (n *node) secrets(key string) (list []string) {
	for _, item := range n.items {
		list = append(list, item.secrets(key)...)
	}
	for _, e := range n.entries {
		below := e.key.text
		if key == "headers" {
			below = key
		}
		list = append(list, e.value.secrets(below)...)
	}
	if n.kind != isScalar || !hidden(key, n.text) {
		return list
	}
	word := n.text
	if u, err := url.Parse(word); err == nil && u.Host != "" {
		word = u.RequestURI()
	}
	if len(word) >= shortestSecret {
		list = append(list, word)
	}
	return list
}

// hidden tells whether what a key holds is a secret.
func hidden(key, word string) bool {
	lower := strings.ToLower(key)
	if word == "" || strings.HasSuffix(lower, "_path") { // of a file
		return false
	}
	if u, err := url.Parse(word); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != ""
	}
	return slices.ContainsFunc([]string{"password", "token", "secret", "key"}, func(part string) bool { return strings.Contains(lower, part) }) ||
		slices.Contains([]string{"headers", "webhook", "url"}, lower)
}

// masked is a tree whose secrets are hidden: what keys of that name hold, all headers, and
// of addresses all but the host. A word that only names a variable or a file is shown.
func (n *node) masked(key string) *node {
	shown := *n
	shown.items, shown.entries = slices.Clone(n.items), slices.Clone(n.entries)
	for i := range shown.items {
		shown.items[i] = n.items[i].masked(key)
	}
	for i, e := range n.entries {
		below := e.key.text
		if key == "headers" {
			below = key
		}
		shown.entries[i].value = e.value.masked(below)
	}
	if n.kind != isScalar || strings.Contains(n.text, "$") || !hidden(key, n.text) {
		return &shown
	}
	shown.text, shown.plain = hiddenWord, false
	if u, err := url.Parse(n.text); err == nil && u.Host != "" {
		shown.text = u.Scheme + "://" + u.Host + "/" + hiddenWord
	}
	return &shown
}

// plainValue is a tree in values that any encoder knows.
func (n *node) plainValue() any {
	switch n.kind {
	case isMap:
		m := map[string]any{}
		for _, e := range n.entries {
			m[e.key.text] = e.value.plainValue()
		}
		return m
	case isList:
		list := make([]any, len(n.items))
		for i, item := range n.items {
			list[i] = item.plainValue()
		}
		return list
	case isNull:
		return nil
	}
	if b, ok := yamlBool(n); ok {
		return b
	}
	if i, err := strconv.Atoi(n.text); err == nil && n.plain {
		return i
	}
	return n.text
}
