package engine

func (w *inquiry) hides(row *BouncerRow, r *record) string { return "" }
