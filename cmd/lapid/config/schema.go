package config

// Config is the reference's config.yaml as written: every key that its strict
// reader knows, and no other. What is tagged here:"ignored" is accepted because
// other programs read the same file; one warning at the start lists it.
// Fields hold what was given; defaults and checks are in config_check.go.
// A key that other programs need must be added here as soon as they do, or this
// server refuses a file that they accept.
type Config struct {
	Common  Common        `yaml:"common"`
	Paths   Paths         `yaml:"config_paths"`
	DB      Database      `yaml:"db_config"`
	API     API           `yaml:"api"`
	Metrics MetricsPlace  `yaml:"prometheus"`
	Plugins *PluginConfig `yaml:"plugin_config"`
	CLI     CLIConfig     `yaml:"cscli"`
	Service *LogProcessor `yaml:"crowdsec_service" here:"ignored"`
}

// Common says where the log goes. Rotation is lapid's own where the log is
// in files: what is too large, too many or too old goes (log_rotation.go).
type Common struct {
	Media      string `yaml:"log_media"`     // stdout (default), file, syslog
	Level      string `yaml:"log_level"`     // default info
	Format     string `yaml:"log_format"`    // text (default), json
	Dir        string `yaml:"log_dir"`       // default /var/log
	MaxSize    int    `yaml:"log_max_size"`  // MiB; default 500
	MaxFiles   int    `yaml:"log_max_files"` // default 3
	MaxAge     int    `yaml:"log_max_age"`   // days; default 28
	Compress   *bool  `yaml:"compress_logs"` // default true
	ForceColor bool   `yaml:"force_color_logs" here:"ignored"`
	Daemonize  bool   `yaml:"daemonize" here:"ignored"`
	PIDDir     string `yaml:"pid_dir" here:"ignored"`
	WorkingDir string `yaml:"working_dir" here:"ignored"`
}

// Paths are the directories of an installation. Only data_dir, notification_dir and
// plugin_dir have an effect; a relative data_dir depends on where the server is started, and is warned of.
type Paths struct {
	ConfigDir     string `yaml:"config_dir"`       // default: the directory of the file
	DataDir       string `yaml:"data_dir"`         // required; ours is the folder lapid below it
	Notifications string `yaml:"notification_dir"` // default: the folder notifications beside the file
	Plugins       string `yaml:"plugin_dir"`       // where programs notification-TYPE are; needed where a notification has no built-in type
	Simulation    string `yaml:"simulation_path" here:"ignored"`
	Index         string `yaml:"index_path" here:"ignored"`
	Hub           string `yaml:"hub_dir" here:"ignored"`
	Patterns      string `yaml:"pattern_dir" here:"ignored"`
}

// Database is the reference's SQL store, of which only retention is left.
// The keys of the connection are read to name the database that is not taken over,
// and for nothing else.
type Database struct {
	Type      string `yaml:"type" here:"ignored"`
	Path      string `yaml:"db_path" here:"ignored"`
	User      string `yaml:"user" here:"ignored"`
	Password  string `yaml:"password" here:"ignored"`
	Name      string `yaml:"db_name" here:"ignored"`
	Host      string `yaml:"host" here:"ignored"`
	Port      int    `yaml:"port" here:"ignored"`
	SSLMode   string `yaml:"sslmode" here:"ignored"`
	SSLCACert string `yaml:"ssl_ca_cert" here:"ignored"`
	SSLCert   string `yaml:"ssl_client_cert" here:"ignored"`
	SSLKey    string `yaml:"ssl_client_key" here:"ignored"`
	MaxOpen   int    `yaml:"max_open_conns" here:"ignored"`
	WAL       *bool  `yaml:"use_wal" here:"ignored"`
	BulkSize  int    `yaml:"decision_bulk_size" here:"ignored"`
	LogLevel  string `yaml:"log_level" here:"ignored"`
	Flush     *Flush `yaml:"flush"` // nil: nothing is ever flushed
}

// Flush bounds what is kept. Durations may be written with days. What is not
// given is kept for ever, but usage metrics.
type Flush struct {
	MaxItems      *int        `yaml:"max_items"`       // how many alerts are kept, beside those with running decisions; default: any number
	MaxAge        string      `yaml:"max_age"`         // for how long an alert is kept, such as 7d; default: for ever
	MetricsMaxAge string      `yaml:"metrics_max_age"` // default 7d
	Bouncers      *Autodelete `yaml:"bouncers_autodelete"`
	Machines      *Autodelete `yaml:"agents_autodelete"`
}

// Autodelete says after which silence bouncers or machines are removed.
// Each by the way in which they log in; "" is never. Two of the six combinations mean
// nothing and are warned of.
type Autodelete struct {
	Cert     string `yaml:"cert"`           // silence after which one with a certificate goes
	APIKey   string `yaml:"api_key"`        // … a bouncer with a key
	Password string `yaml:"login_password"` // … a machine with a password
}

// API holds the sections about the Local API.
type API struct {
	Server *APIServer `yaml:"server"`
	Client *APIClient `yaml:"client"`
	CTI    *CTI       `yaml:"cti" here:"ignored"`
}

// APIServer is the Local API itself. At least one of listen_uri and
// listen_socket must be there. With ForwardedFor and no proxies, every IPv4
// peer is a proxy, as in the reference.
type APIServer struct {
	Enable              *bool             `yaml:"enable"`        // default true
	ListenURI           string            `yaml:"listen_uri"`    // host:port
	ListenSocket        string            `yaml:"listen_socket"` // path of a Unix socket, beside listen_uri or in its place
	LogLevel            string            `yaml:"log_level"`     // in place of common.log_level
	ProfilesPath        string            `yaml:"profiles_path"` // default: the stock profiles
	ConsolePath         string            `yaml:"console_path"`  // default /etc/crowdsec/console.yaml
	TLS                 *TLS              `yaml:"tls"`
	ForwardedFor        bool              `yaml:"use_forwarded_for_headers"`        // believe X-Forwarded-For and X-Real-IP of trusted_proxies; without those, of every IPv4 peer
	TrustedProxies      []string          `yaml:"trusted_proxies"`                  // addresses and ranges whose headers are believed; implies the key above
	TrustedIPs          []string          `yaml:"trusted_ips"`                      // addresses and ranges that may delete alerts; loopback and the socket always may
	NoRemoteRegistering bool              `yaml:"disable_remote_lapi_registration"` // machines may register from this machine alone
	AutoRegistration    *AutoRegistration `yaml:"auto_registration"`
	Online              *OnlineClient     `yaml:"online_client"`
	CAPIWhitelists      string            `yaml:"capi_whitelists_path"` // of the Central API's lists alone
	PAPILogLevel        string            `yaml:"papi_log_level" here:"ignored"`
	NoUsageExport       bool              `yaml:"disable_usage_metrics_export"` // the Central API is told no usage metrics
}

// TLS is about the server's certificate and its clients'. Without a certificate the
// server speaks plain HTTP. Units (OU), the revocation list and how long its verdicts
// hold are in force again with a reload, the files of certificates too; the other
// words need a restart.
type TLS struct {
	CertFile        string   `yaml:"cert_file"`           // PEM, with the certificates between it and its root behind it
	KeyFile         string   `yaml:"key_file"`            // PEM
	CAFile          string   `yaml:"ca_cert_path"`        // authorities of client certificates, beside the system's
	Verification    string   `yaml:"client_verification"` // VerifyClientCertIfGiven (default), RequireAndVerifyClientCert, NoClientCert, RequestClientCert, RequireAnyClientCert
	AgentsOU        []string `yaml:"agents_allowed_ou"`   // units whose holders are machines; none: nobody
	BouncersOU      []string `yaml:"bouncers_allowed_ou"` // units whose holders are bouncers; none: nobody
	CRLFile         string   `yaml:"crl_path"`            // PEM, one or more revocation lists; read again when it changes
	CacheExpiration string   `yaml:"cache_expiration"`    // for how long a verdict on revocation holds; default 1h
	ServerName      string   `yaml:"server_name" here:"ignored"`
}

// AutoRegistration lets machines register themselves with a shared token.
// Token and ranges are both required: 32 characters, and at least one range in CIDR
// form.
type AutoRegistration struct {
	Enabled       bool     `yaml:"enabled"`        // default false
	Token         string   `yaml:"token"`          // 32 characters at least
	AllowedRanges []string `yaml:"allowed_ranges"` // CIDR, from where machines may register with it
}

// OnlineClient is the connection to the Central API (Setup.Central).
type OnlineClient struct {
	Credentials string `yaml:"credentials_path"` // the account; lapid capi register writes it
	Sharing     *bool  `yaml:"sharing"`          // default true
	Pull        *Pull  `yaml:"pull"`
}

// Pull says what is fetched from the Central API.
type Pull struct {
	Community  *bool `yaml:"community"`  // default true
	Blocklists *bool `yaml:"blocklists"` // default true
}

// APIClient is how this machine's own tools reach the Local API. The server
// itself does not read it.
type APIClient struct {
	Credentials string `yaml:"credentials_path"`     // file with url, login and password, or with certificates
	Insecure    *bool  `yaml:"insecure_skip_verify"` // do not look at the server's certificate; default false
	Unregister  bool   `yaml:"unregister_on_exit" here:"ignored"`
}

// CTI is the reputation service that filters could ask. No filter of ours
// asks it.
type CTI struct {
	Key          string `yaml:"key"`
	CacheTimeout string `yaml:"cache_timeout"`
	CacheSize    int    `yaml:"cache_size"`
	Enabled      *bool  `yaml:"enabled"`
	LogLevel     string `yaml:"log_level"`
}

// MetricsPlace is the Prometheus listener. It has no credentials, so its
// address decides who may read.
type MetricsPlace struct {
	Enabled bool   `yaml:"enabled"`     // default false
	Level   string `yaml:"level"`       // full (default), aggregated, none
	Addr    string `yaml:"listen_addr"` // default 127.0.0.1
	Port    int    `yaml:"listen_port"` // default 6060
}

// PluginConfig names the user that notification plugins run as.
type PluginConfig struct {
	User  string `yaml:"user"`  // user that programs of plugin_dir run as
	Group string `yaml:"group"` // its group
}

// CLIConfig is about the operator's verbs. Flags win.
type CLIConfig struct {
	Output      string `yaml:"output"` // human (default), json, raw
	Color       string `yaml:"color"`  // auto (default), yes, no
	HubBranch   string `yaml:"hub_branch" here:"ignored"`
	HubContent  bool   `yaml:"hub_with_content" here:"ignored"`
	MetricsURI  string `yaml:"prometheus_uri" here:"ignored"`
	HubTemplate string `yaml:"__hub_url_template__" here:"ignored"`
}

// LogProcessor is the part of the reference that reads logs. Nothing of it
// is used: alerts come over the API.
type LogProcessor struct {
	Enable         *bool     `yaml:"enable"`
	Acquisition    string    `yaml:"acquisition_path"`
	AcquisitionDir string    `yaml:"acquisition_dir"`
	ConsoleContext string    `yaml:"console_context_path"`
	ContextLength  int       `yaml:"console_context_value_length"`
	Parsers        int       `yaml:"parser_routines"`
	Buckets        int       `yaml:"buckets_routines"`
	Outputs        int       `yaml:"output_routines"`
	StateInput     string    `yaml:"state_input_file"`
	StateOutput    string    `yaml:"state_output_dir"`
	DNSCache       *DNSCache `yaml:"dns_cache"`
}

// DNSCache belongs to the log processor.
type DNSCache struct {
	TTL         string `yaml:"ttl"`
	NegativeTTL string `yaml:"negative_ttl"`
	Size        int    `yaml:"size"`
}

// Credentials is the file by which this machine's tools log in. The same
// file serves cscli and the log processors of the reference. URL may be the
// path of a socket.
type Credentials struct {
	URL      string `yaml:"url"`
	Login    string `yaml:"login"`
	Password string `yaml:"password"`
	CAFile   string `yaml:"ca_cert_path"`
	KeyFile  string `yaml:"key_path"`
	CertFile string `yaml:"cert_path"`
}
