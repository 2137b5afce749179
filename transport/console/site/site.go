package site

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

//go:embed templates/*.html
var templates embed.FS

//go:embed assets
var assets embed.FS

// Site renders pages below one base path. It may be used by any goroutine.
type Site struct {
	base   string
	lookup string // a URL with {ip} where an address belongs; "": none
	pages  map[string]*template.Template
}

// Page is one page with what its frame shows. Title is its heading, Name the template, without
// .html; the entry of the navigation is that name too, unless At says another.
type Page struct {
	Title, Name, At string
	Who             string // the operator; "": a stranger, who gets no navigation
	Role            string
	Operates        bool // decisions, alerts and items may be changed by who asks
	Admin           bool // everything may
	ReadOnly        bool // nothing may, by anybody
	Cluster         bool // the server is a node of one
	Theme           string
	Density         string         // of rows: compact, or as usual
	Zone            *time.Location // of the times that are shown
	Now             time.Time
	Here            string // path and query, to come back to
	Version         string
	Revision        uint64
	Live            bool // news are listened for
	Notices         []Notice
	Data            any
}

// Notice is what a write has done, or why it was refused.
type Notice struct {
	Text string
	Bad  bool
	Undo *Form
}

// Form is a button that sends fields somewhere.
type Form struct {
	Action, Label string
	Fields        [][2]string
}

// pageNames are the templates that are pages; layout and parts are in each.
var pageNames = func() (names []string) {
	list, _ := fs.Glob(templates, "templates/*.html")
	for _, file := range list {
		if name := strings.TrimSuffix(path.Base(file), ".html"); name != "layout" && name != "parts" {
			names = append(names, name)
		}
	}
	return names
}()

// New parses the templates. lookup is a URL that pages link to from an address, which {ip} stands for; "": none. It panics when one cannot be parsed: they are in the program.
func New(base, lookup string) *Site {
	s := &Site{base: base, lookup: lookup, pages: map[string]*template.Template{}}
	common := template.Must(template.New("layout").Funcs(s.words()).ParseFS(templates, "templates/layout.html", "templates/parts.html"))
	for _, name := range pageNames {
		s.pages[name] = template.Must(template.Must(common.Clone()).ParseFS(templates, "templates/"+name+".html"))
	}
	return s
}

// Render writes a page. It is made whole first: an error leaves nothing half sent.
func (s *Site) Render(p *Page) ([]byte, error) {
	t := s.pages[p.Name]
	if t == nil {
		return nil, fmt.Errorf("there is no page %q", p.Name)
	}
	if p.Zone == nil {
		p.Zone = time.UTC
	}
	if p.At == "" {
		p.At = p.Name
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout", p); err != nil {
		return nil, err
	}
	return visible(b.Bytes()), nil
}

// visible writes what cannot be seen, or turns the order of what is beside it round, as an escape. Values of fields stay
// as they are: they are sent back.
func visible(page []byte) []byte {
	if bytes.IndexFunc(page, unseen) < 0 {
		return page
	}
	out := make([]byte, 0, len(page)+64)
	inField := false
	for i := 0; i < len(page); {
		r, n := utf8.DecodeRune(page[i:])
		if r == '"' {
			inField = bytes.HasSuffix(page[:i+1], []byte(` value="`))
		}
		if unseen(r) && !inField {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = append(out, page[i:i+n]...)
		}
		i += n
	}
	return out
}

func unseen(r rune) bool {
	return r != '\n' && r != '\t' && r != '\r' && (unicode.Is(unicode.Cc, r) || r != '\u00ad' && unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029')
}

// Asset is a file for browsers.
type Asset struct {
	Type string
	Body []byte
	Gzip []byte // the same, packed
}

// asset names carry the beginning of a hash of what they hold, so that browsers may keep them for ever.
type shelf struct {
	byName map[string]*Asset // as it is asked for
	named  map[string]string // file → as it is asked for
}

var assetTypes = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

var allAssets = sync.OnceValue(func() *shelf {
	all := &shelf{map[string]*Asset{}, map[string]string{}}
	_ = fs.WalkDir(assets, "assets", func(file string, d fs.DirEntry, err error) error {
		kind := assetTypes[path.Ext(file)]
		if err != nil || d.IsDir() || kind == "" {
			return err
		}
		body, err := assets.ReadFile(file)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		ext := path.Ext(file)
		short := path.Base(file)
		name := strings.TrimSuffix(short, ext) + "." + hex.EncodeToString(sum[:6]) + ext
		all.byName[name], all.named[short] = &Asset{kind, body, packed(body)}, name
		return nil
	})
	return all
})

func packed(body []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // the level is one
	_, _ = z.Write(body)                                    // to memory
	_ = z.Close()
	return out.Bytes()
}

// Find is the asset of a name as pages have it; nil: there is none. What it holds never changes.
func Find(name string) *Asset { return allAssets().byName[name] }
