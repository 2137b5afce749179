package verbs

import (
	"github.com/spf13/cobra"

	"lapid/transport/openapi"
)

// openapiCommand is openapi.
func openapiCommand(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Print the description of the API (OpenAPI 3.1), as YAML or, with -o json, as JSON", Args: NoArgs,
		Long: "The description of the Local API and of the operators' API over HTTP, from which clients can be generated. A running\n" +
			"server has it at /openapi.yaml, /openapi.json and, for people, /docs (openapi: public|authenticated|off in lapid.yaml).",
		RunE: func(*cobra.Command, []string) error {
			text := openapi.YAML()
			if t.Output == jsonWords {
				text = openapi.JSON()
			}
			t.write(string(text))
			return nil
		},
	}
}
