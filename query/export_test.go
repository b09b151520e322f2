package query

// LookupBounds sets where a lookup changes from one way to another, for tests
// with few calls; the returned function sets what was.
func LookupBounds(rows, moments int) (restore func()) {
	r, m := manyRows, fewMoments
	manyRows, fewMoments = rows, moments
	return func() { manyRows, fewMoments = r, m }
}
