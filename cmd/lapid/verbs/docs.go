package verbs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/docs"
	"lapid/transport/inputs"
)

// docsCommand is docs: the pages that are in the program.
func docsCommand(t *Terminal) *cobra.Command {
	c := &cobra.Command{
		Use: "docs [TOPIC]", Short: "Read the documentation", Args: usage(cobra.MaximumNArgs(1)),
		Long: `Lists what can be read, one line for each topic; with a TOPIC shows it, set for a terminal. -o raw gives the page as
it is written, in Markdown. The pages are in the program: they are about this version, and need no network.`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listTopics(t, docs.Topics())
			}
			return showTopic(t, docs.Topics(), args[0])
		},
		ValidArgsFunction: func(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(given) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return topicNames(docs.Topics()), cobra.ShellCompDirectiveNoFileComp
		},
	}
	return c
}

// topicObject is a topic in JSON; Text is left out of lists.
type topicObject struct {
	Topic string `json:"topic"`
	Title string `json:"title"`
	About string `json:"about"`
	Text  string `json:"text,omitempty"` // Markdown
}

// listTopics shows what there is to read.
func listTopics(t *Terminal, topics []docs.Topic) error {
	var objects []topicObject
	var rows [][]string
	widest := 0
	for i := range topics {
		p := &topics[i]
		objects = append(objects, topicObject{Topic: p.Name, Title: p.Title, About: p.About})
		rows = append(rows, []string{p.Name, p.Title})
		widest = max(widest, len(p.Name))
	}
	switch t.Output {
	case jsonWords:
		return t.json(objects, " ")
	case raw:
		return t.csv([]string{"topic", "title"}, rows)
	}
	for _, r := range rows {
		t.print("%-*s  %s\n", widest, foreign(r[0]), r[1])
	}
	t.print("\nlapid docs TOPIC shows one.\n")
	return nil
}

// showTopic shows one.
func showTopic(t *Terminal, topics []docs.Topic, name string) error {
	i := slices.IndexFunc(topics, func(p docs.Topic) bool { return p.Name == strings.TrimSuffix(name, ".md") })
	if i < 0 {
		return unknownTopic(name, topicNames(topics))
	}
	p := &topics[i]
	switch t.Output {
	case jsonWords:
		return t.json(topicObject{p.Name, p.Title, p.About, p.Text}, " ")
	case raw:
		t.write(p.Text)
	default:
		t.write(plainPage(p.Text, t.width()))
	}
	return nil
}

// topicNames are the names of topics, in their order.
func topicNames(topics []docs.Topic) []string {
	names := make([]string, len(topics))
	for i := range topics {
		names[i] = topics[i].Name
	}
	return names
}

// unknownTopic says which topics are near: those that hold the word or a part of it, and those
// that are a slip of the finger away; or else all there are.
func unknownTopic(name string, names []string) error {
	word := strings.ToLower(name)
	near := slices.DeleteFunc(slices.Clone(names), func(topic string) bool {
		return len(word) < 2 || !strings.Contains(topic, word) && !strings.Contains(word, topic)
	})
	if slip := inputs.Nearest(name, names); slip != "" && !slices.Contains(near, slip) {
		near = append(near, slip)
	}
	if len(near) > 0 {
		return UnknownWord{fmt.Errorf("there is no topic %q; did you mean %s?", name, strings.Join(near, " or "))}
	}
	return UnknownWord{fmt.Errorf("there is no topic %q; there are %s", name, strings.Join(names, ", "))}
}
