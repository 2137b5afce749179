// Package docs is the user's pages: the Markdown files beside this one, in the program.
// lapid docs shows them; whatever else shows them takes them from here.
package docs

import (
	"embed"
	"slices"
	"strings"
)

//go:embed *.md
var files embed.FS

// Topic is one page.
type Topic struct {
	Name  string // of the file without its end, as an operator types it
	Title string // the first line of the page
	About string // its first sentence, on one line; what the page is for
	Text  string // all of it, Markdown
}

// order is how topics are listed: as one meets them. What is not here comes behind, by its name.
var order = []string{
	"quick-start", "install", "containers", "kubernetes", "moving-in", "configuration", "tls", "bouncers", "profiles", "allowlists", "push", "write-a-bouncer", "exports", "doors",
	"operators", "console", "audit", "operations", "cluster", "runbook", "security", "faq", "comparison", "limits",
}

// Topics are all pages, in the order in which they are listed. Each call gives new ones.
func Topics() []Topic {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // they are in the program
	}
	topics := make([]Topic, 0, len(entries))
	for _, e := range entries {
		text, err := files.ReadFile(e.Name())
		if err != nil {
			panic(err) // likewise
		}
		topics = append(topics, topicOf(strings.TrimSuffix(e.Name(), ".md"), string(text)))
	}
	slices.SortStableFunc(topics, func(a, b Topic) int { return place(a.Name) - place(b.Name) })
	return topics
}

// place is where a topic stands in order.
func place(name string) int {
	if i := slices.Index(order, name); i >= 0 {
		return i
	}
	return len(order)
}

// topicOf reads the head of a page: its title, an empty line, its first paragraph.
func topicOf(name, text string) Topic {
	title, rest, _ := strings.Cut(text, "\n")
	paragraph, _, _ := strings.Cut(strings.TrimLeft(rest, "\n"), "\n\n")
	about := strings.Join(strings.Fields(paragraph), " ")
	if sentence, _, more := strings.Cut(about, ". "); more {
		about = sentence + "."
	}
	return Topic{Name: name, Title: strings.TrimSpace(strings.TrimPrefix(title, "#")), About: about, Text: text}
}
