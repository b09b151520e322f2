package api

import "github.com/earshot/earshot/query"

// Thin keeps at most limit of the samples that all gives, and tells of how many it kept one.
func Thin(limit int, all func(yield func(query.Sample))) (kept []query.Sample, every int) {
	t := newThinning(limit)
	all(t.add)
	return t.samples(), t.every * t.everyStream
}
