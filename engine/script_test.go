package engine_test

import (
	"testing"

	"lapid/engine/enginetest"
)

// TestScenarios plays the scenario files.
func TestScenarios(t *testing.T) { enginetest.Script(t, "testdata") }
