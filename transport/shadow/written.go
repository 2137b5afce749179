package shadow

// written is what was written through the shadow.
type written struct{}

func newWritten(int) *written { return &written{} }

func (w *written) began(*exchange) {}
