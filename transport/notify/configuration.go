package notify

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Configuration is one notification as it was written, with variables put in. It is not
// changed once it was handed over.
type Configuration struct {
	Name string // at most longestName bytes
	Type string

	Format         string        // a text/template; see Compile
	GroupWait      time.Duration // 0: none
	GroupThreshold int           // 0: each alert is a message of its own; at most MostGrouped
	MaxRetry       int           // 0: for as long as firstRound
	Timeout        time.Duration // of one attempt; 0: UsualTimeout

	// Program is the plugin program that sends, instead of what is built in; nil: none.
	Program *Program

	// What the type needs; the one of Type is there where it is built in.
	HTTP  *HTTP
	Slack *Slack
	Email *Email
	File  *File
}

// BuiltIn are the types that need no plugin program.
var BuiltIn = []string{"email", "file", "http", "slack"}

const (
	// UsualTimeout is how long one attempt may last when nothing says so.
	UsualTimeout = 5 * time.Second
	// MostGrouped is the highest group_threshold: a courier holds as many alerts in memory.
	MostGrouped = 1000
	// longestName leaves room for the beginning of the bookmark's name.
	longestName = 256
	// MostNotifications bounds how many there may be, each with a courier and a bookmark.
	// The engine has 64 bookmarks for all of its readers.
	MostNotifications = 32
)

// HTTP sends the text as the body of a request.
type HTTP struct {
	URL        string            `yaml:"url"`
	UnixSocket string            `yaml:"unix_socket"` // the URL's host is only a header then
	Method     string            `yaml:"method"`      // default GET
	Headers    map[string]string `yaml:"headers"`
	SkipVerify bool              `yaml:"skip_tls_verification"`
	CAFile     string            `yaml:"ca_cert_path"`
	CertFile   string            `yaml:"cert_path"`
	KeyFile    string            `yaml:"key_path"`
}

// Slack posts the text to an incoming webhook.
type Slack struct {
	Webhook   string `yaml:"webhook"`
	Channel   string `yaml:"channel"`
	Username  string `yaml:"username"`
	IconEmoji string `yaml:"icon_emoji"`
	IconURL   string `yaml:"icon_url"`
}

// Email sends the text as the HTML of a mail.
type Email struct {
	Host           string   `yaml:"smtp_host"`
	Port           int      `yaml:"smtp_port"` // default 25
	Username       string   `yaml:"smtp_username"`
	Password       string   `yaml:"smtp_password"`
	Sender         string   `yaml:"sender_email"`
	SenderName     string   `yaml:"sender_name"`
	Receivers      []string `yaml:"receiver_emails"`
	Subject        string   `yaml:"email_subject"`
	Encryption     string   `yaml:"encryption_type"` // ssltls (default), starttls, none
	Auth           string   `yaml:"auth_type"`       // login (default), plain, crammd5, none
	Hello          string   `yaml:"helo_host"`       // default localhost
	ConnectTimeout string   `yaml:"connect_timeout"` // default 10s
	SendTimeout    string   `yaml:"send_timeout"`    // default 10s
}

// File appends the text to a file.
type File struct {
	Path   string  `yaml:"log_path"`
	Rotate *Rotate `yaml:"rotate"`
}

// Rotate puts a file away that has become too large.
type Rotate struct {
	Enabled  bool `yaml:"enabled"`
	MaxSize  int  `yaml:"max_size"`  // MiB; default 100
	MaxAge   int  `yaml:"max_age"`   // days; 0: however old
	MaxFiles int  `yaml:"max_files"` // default 5
	Compress bool `yaml:"compress"`
}

// Check refuses what cannot work, and says in words of the file which key is wrong.
func (c *Configuration) Check() error {
	switch {
	case c.Name == "":
		return fmt.Errorf("a notification needs a name")
	case len(c.Name) > longestName:
		return fmt.Errorf("name has %d bytes, and at most %d", len(c.Name), longestName)
	case c.GroupWait < 0, c.Timeout < 0:
		return fmt.Errorf("group_wait and timeout of '%s' must not be negative", c.Name)
	case c.GroupThreshold < 0 || c.GroupThreshold > MostGrouped:
		return fmt.Errorf("group_threshold of '%s' must be between 0 and %d, not %d", c.Name, MostGrouped, c.GroupThreshold)
	case c.MaxRetry < 0:
		return fmt.Errorf("max_retry of '%s' must not be negative", c.Name)
	}
	if _, err := compile(c.Format); err != nil {
		return fmt.Errorf("format of '%s': %w", c.Name, err)
	}
	_, err := newSender(c)
	return err
}

// webAddress checks an address without showing it: it may be a secret.
func webAddress(key, text string) error {
	u, err := url.Parse(text)
	if text == "" || err != nil || !slices.Contains([]string{"http", "https"}, u.Scheme) || u.Host == "" {
		return fmt.Errorf("%s must be the address of a webhook, https://…", key)
	}
	return nil
}

// headerText tells whether a text may stand in a header.
func headerText(text string) bool { return !strings.ContainsAny(text, "\r\n\x00") }

// newSender makes what sends for a configuration, checking it.
func newSender(c *Configuration) (Sender, error) {
	var s Sender
	var err error
	switch {
	case c.Program != nil:
		s, err = newPlugged(c.Name, c.Program)
	case c.HTTP != nil:
		s, err = newWebhook(c.HTTP)
	case c.Slack != nil:
		s, err = newChat(c.Slack)
	case c.Email != nil:
		s, err = newMailer(c.Email)
	case c.File != nil:
		s, err = newLogbook(c.File)
	default:
		return nil, fmt.Errorf("notification '%s': nothing sends the type '%s'", c.Name, c.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("notification '%s': %w", c.Name, err)
	}
	return s, nil
}
