package directory

// SetSearchBounds makes few users many, and returns what the bounds were.
func SetSearchBounds(few, walk int) (int, int) {
	wasFew, wasWalk := fewUsers, walkAtOnce
	fewUsers, walkAtOnce = few, walk
	return wasFew, wasWalk
}
