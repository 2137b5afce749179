package verbs

import (
	"github.com/spf13/cobra"
)

// Commands are all verbs that ask a server or work on a store, each made anew: flags
// write into t and into variables of their verbs, so a tree is for one command line.
func Commands(t *Terminal) []*cobra.Command {
	return []*cobra.Command{
		healthCommand(t), readyCommand(t), versionCommand(t), docsCommand(t), machinesCommand(t), bouncersCommand(t), operatorsCommand(t), secretCommand(t), allowlistsCommand(t), alertsCommand(t),
		decisionsCommand(t), exportsCommand(t), whyCommand(t), auditCommand(t), activityCommand(t), clusterCommand(t), metricsCommand(t), lapiCommand(t), capiCommand(t), consoleCommand(t), papiCommand(t), configCommand(t), openapiCommand(t), backupCommand(t), restoreCommand(t), moveInCommand(t),
		notificationsCommand(t), profilesCommand(t), checkCommand(t), manCommand(t),
	}
}
